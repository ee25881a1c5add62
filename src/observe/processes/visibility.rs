//! Whether the whole host is visible from here.
//!
//! Complete means: the initial pid namespace, a procfs that shows every process, and no living process with unread links, files, mappings
//! or mounts. Each missing condition is one reason, in words for people and bounded in length.

use super::mountinfo;
use crate::model::{Pid, Uid, Visibility};
use crate::sys::dir::stat_at;
use crate::sys::process::{LookError, Proc};
use crate::sys::process_dir::ProcessDir;
use rustix::fs::{AtFlags, CWD};
use std::os::unix::fs::MetadataExt as _;

/// `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
/// `PROC_USER_INIT_INO`, the same.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;
/// include/uapi/linux/capability.h
const CAP_SYS_PTRACE: u32 = 19;
/// `PROC_SUPER_MAGIC`, include/uapi/linux/magic.h.
const PROC_MAGIC: u64 = 0x9fa0;

/// The reasons that limit the view before any process is looked at. `own_mounts` is our own mountinfo.
pub(super) fn obstacles(proc: &Proc, own_mounts: Option<&[mountinfo::Mount<'_>]>) -> Vec<String> {
    let mut reasons = Vec::new();
    match proc.pid_namespace() {
        Ok(INITIAL_PID_NAMESPACE) => {}
        Ok(_) => {
            reasons.push("not in the host's pid namespace: processes outside it are invisible".to_owned())
        }
        Err(error) => reasons.push(format!("our own pid namespace cannot be determined: {error}")),
    }
    if let Err(error) = proc.identify(Pid(1)) {
        reasons.push(format!("pid 1 is not visible: {error}"));
    }
    match own_mounts {
        Some(mounts) => reasons.extend(restriction(proc, mounts)),
        None => reasons.push("our own mounts cannot be read".to_owned()),
    }
    reasons
}

/// What the options of the procfs hide.
///
/// Measured (Linux 6.18, a new procfs with `hidepid=2`): root with CAP_SYS_PTRACE in the initial user namespace sees and reads every
/// process. Root without that capability is admitted by its group (the default `gid=0`) and reads no link of other users' processes; other
/// users see only their own processes, without any error (fs/proc/base.c, `has_pid_permissions`).
fn restriction(proc: &Proc, mounts: &[mountinfo::Mount<'_>]) -> Option<String> {
    let is_procfs = rustix::fs::statfs(proc.root()).is_ok_and(|fs| fs.f_type as u64 == PROC_MAGIC);
    if !is_procfs {
        // A substitute that the administrator configured: it has no options, and pid 1 must be in it all the same.
        return None;
    }
    let Some(mount) = mount_of(proc, mounts) else {
        return Some("the options of /proc cannot be determined".to_owned());
    };
    if mountinfo::option(mount.options, "subset").is_some() {
        return Some("/proc is mounted with subset=".to_owned());
    }
    let hidepid = hidepid_of(mount)?;
    if may_trace_all(proc) {
        return None;
    }
    Some(format!("/proc is mounted with hidepid={hidepid}: processes of other users are invisible"))
}

/// How the procfs at `proc` hides processes from users: the value of its option `hidepid`, if that hides any.
pub fn hidepid(proc: &Proc) -> Option<String> {
    let table = mountinfo::read_own(proc.root()).ok()?;
    hidepid_of(mount_of(proc, &mountinfo::parse(&table)?)?)
}

/// The mount that the procfs at `proc` is; another procfs may be mounted elsewhere, with other options.
fn mount_of<'m, 't>(proc: &Proc, mounts: &'m [mountinfo::Mount<'t>]) -> Option<&'m mountinfo::Mount<'t>> {
    let status = stat_at(CWD, proc.root(), AtFlags::empty()).ok()?;
    mounts.iter().find(|mount| mount.id == status.mount_id)
}

fn hidepid_of(mount: &mountinfo::Mount<'_>) -> Option<String> {
    let hidepid = mountinfo::option(mount.options, "hidepid")?;
    let hidepid = String::from_utf8_lossy(&hidepid).into_owned();
    (!matches!(hidepid.as_str(), "0" | "off")).then_some(hidepid)
}

/// Whether CAP_SYS_PTRACE is effective in the initial user namespace. Anything unreadable means no.
fn may_trace_all(proc: &Proc) -> bool {
    let initial = std::fs::metadata(proc.root().join("self/ns/user"))
        .is_ok_and(|metadata| metadata.ino() == INITIAL_USER_NAMESPACE);
    let effective = std::fs::read_to_string(proc.root().join("self/status")).ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    initial && effective.is_some_and(|mask| mask >> CAP_SYS_PTRACE & 1 == 1)
}

/// Processes that exist and could not be read.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    count: usize,
    example: Option<String>,
}

/// The first process of the pid namespace. If that is the host's own (in any other, visibility is partial for that reason), it is the init
/// system: it works in `/`, opens no runner's files, and even root may not examine it if a security module protects it. Everything else
/// depends on it already; it is the only process that is trusted here.
const INIT: Pid = Pid(1);

impl Hidden {
    /// Counts one, unless it is the host's init.
    pub(super) fn add(&mut self, dir: &ProcessDir, error: &LookError) {
        if dir.pid() == INIT {
            return;
        }
        let mut comm = [0; 64];
        let comm = dir.comm(&mut comm).map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        self.note(|| describe(dir.pid(), &comm, dir.owner().ok(), error));
    }

    /// Counts one whose directory is hidden.
    pub(super) fn add_unopened(&mut self, pid: Pid, error: &LookError) {
        self.note(|| describe(pid, "", None, error));
    }

    fn note(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        self.example.get_or_insert_with(example);
    }

    pub(super) fn merge(&mut self, other: Hidden) {
        self.count += other.count;
        self.example = self.example.take().or(other.example);
    }

    /// The reason, if there is one.
    pub(super) fn reason(self) -> Option<String> {
        let example = self.example?;
        Some(match self.count {
            1 => format!("1 process cannot be examined ({example})"),
            count => format!("{count} processes cannot be examined (e.g. {example})"),
        })
    }
}

fn describe(pid: Pid, comm: &str, owner: Option<Uid>, error: &LookError) -> String {
    use std::fmt::Write as _;
    let mut text = format!("pid {pid}");
    if !comm.is_empty() {
        text.push(' ');
        text.push_str(comm);
    }
    if let Some(owner) = owner {
        // Writing to a String does not fail.
        let _ = write!(text, ", uid {owner}");
    }
    if let LookError::Hidden { source, .. } = error {
        let _ = write!(text, ": {source}");
    }
    text
}

/// The verdict that follows from all reasons.
pub(super) fn verdict(reasons: Vec<String>) -> Visibility {
    if reasons.is_empty() { Visibility::Complete } else { Visibility::Partial(reasons) }
}
