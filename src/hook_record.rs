//! The record by which a started-hook shows that jobs of its Listener run it: one record for each Listener.
//!
//! Whether a hook runs is only known once one has run. A record proves that a hook which this Listener's Worker had started used this very
//! run directory. It is bound to the Listener by pid and start time, in this boot and this pid namespace: a later Listener, which may read
//! another `.env`, has none. It is bound to the hook's script by the script's identity: an edited script has to prove itself again.
//!
//! It is written by the runner's user, who can write anything into it. A record of another owner than the Listener's user does not count,
//! and a forged one removes only the protection that the forger's own runner has as an unguarded one.

use crate::model::{FileId, Lease, Pid, ProcessId, StartTime, Uid};
use crate::run_dir::{Records, RunDir, RunDirError};
use crate::sys::dir::changed;
use crate::sys::process::{LookError, Proc};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The file's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HookRecordFile {
    root: (u64, u64),
    listener_pid: i32,
    listener_start: u64,
    boot_id: String,
    pid_namespace: u64,
    /// The hook's exact path, if the hook received it, and its script's version.
    hook: Option<(Vec<u8>, Version)>,
}

/// Device, inode, size and both times, in nanoseconds: a changed script differs in one of them.
type Version = (u64, u64, u64, i128, i128);

/// The name of a Listener's record.
fn file_name(root: FileId, listener: ProcessId) -> String {
    format!("{:x}-{:x}-{}-{}", root.dev, root.ino, listener.pid, listener.start.0)
}

/// The Listener that a record's name refers to.
pub(crate) fn listener_of_name(name: &str) -> Option<ProcessId> {
    let mut parts = name.split('-').skip(2);
    let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(ProcessId { pid: Pid(pid), start: StartTime(start) })
}

fn version(file: &Metadata) -> Version {
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let (written, changed) =
        (nanoseconds(file.mtime(), file.mtime_nsec()), nanoseconds(file.ctime(), file.ctime_nsec()));
    (file.dev(), file.ino(), file.size(), written, changed)
}

/// Writes the record of a hook that was run for `lease`'s Worker, whose parent is `listener`. `hook` is the path by which the runner knows
/// the hook. An existing record is kept; a hook that was run in the background proves nothing.
///
/// # Errors
/// [`RunDirError`]: the runner then counts as guarded by its `.env` alone, or not at all.
pub fn leave(
    run: &RunDir,
    proc: &Proc,
    lease: &Lease,
    listener: ProcessId,
    hook: Option<&OsStr>,
) -> Result<(), RunDirError> {
    let name = file_name(lease.root_id, listener);
    let script = hook.and_then(|path| Some((path, std::fs::metadata(path).ok()?)));
    // Two system calls for all jobs of a Listener except its first, and the first after its script was changed.
    if let Ok(left) = run.left_at(Records::Hooks, &name)
        && script.as_ref().is_none_or(|(_, script)| changed(script) < left)
    {
        return Ok(());
    }
    if is_in_background(proc) {
        return Ok(());
    }
    let hook = script.map(|(path, script)| (path.as_bytes().to_vec(), version(&script)));
    let written = HookRecordFile {
        root: (lease.root_id.dev, lease.root_id.ino),
        listener_pid: listener.pid.0,
        listener_start: listener.start.0,
        boot_id: lease.boot_id.clone(),
        pid_namespace: lease.pid_namespace,
        hook,
    };
    let text = serde_json::to_vec(&written).expect("numbers and strings serialise");
    run.publish(Records::Hooks, &name, &text)
}

/// Whether a shell has started this process without waiting for it: a shell without job control makes such commands ignore SIGINT and
/// SIGQUIT (POSIX, "Signals and Error Handling"). The job may begin before this point is reached, so the hook proves nothing.
fn is_in_background(proc: &Proc) -> bool {
    const BOTH: u64 = 1 << (nix::libc::SIGINT - 1) | 1 << (nix::libc::SIGQUIT - 1);
    // With room for all of it, so that it is not read in pieces: every hook pays for this.
    let mut status = Vec::with_capacity(4096);
    let file = File::open(proc.root().join("self/status"));
    let _ = file.and_then(|file| file.take(1 << 20).read_to_end(&mut status));
    let ignored =
        str::from_utf8(&status).unwrap_or_default().lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & BOTH == BOTH)
}

/// Whether a hook has proved that jobs of `listener`, which runs as `user`, run it. `may_touch` decides whether the hook's path may be
/// looked at.
pub fn stands(
    run: &RunDir,
    proc: &Proc,
    root: FileId,
    (listener, user): (ProcessId, Uid),
    may_touch: &dyn Fn(&Path) -> bool,
) -> bool {
    let Ok((owner, text)) = run.read_with_owner(Records::Hooks, &file_name(root, listener)) else {
        return false;
    };
    let Ok(written) = understand(&text) else { return false };
    let is_here = || {
        proc.boot_id().is_ok_and(|boot| boot == written.boot_id)
            && proc.pid_namespace().is_ok_and(|namespace| namespace == written.pid_namespace)
    };
    let is_of = written.root == (root.dev, root.ino)
        && (written.listener_pid, written.listener_start) == (listener.pid.0, listener.start.0);
    (owner == user || owner == Uid::ROOT) && is_of && is_here() && written.is_unchanged(may_touch)
}

impl HookRecordFile {
    fn is_unchanged(&self, may_touch: &dyn Fn(&Path) -> bool) -> bool {
        let Some((hook, was)) = &self.hook else { return true };
        let hook = PathBuf::from(OsString::from_vec(hook.clone()));
        !may_touch(&hook) || std::fs::metadata(&hook).is_ok_and(|now| version(&now) == *was)
    }
}

/// A record from its text.
///
/// # Errors
/// The text is no record.
pub(crate) fn understand(text: &[u8]) -> serde_json::Result<HookRecordFile> {
    serde_json::from_slice(text)
}

/// Removes records of Listeners that are gone. Returns how many were removed.
///
/// # Errors
/// [`RunDirError`] when the directory cannot be read.
pub fn remove_dead(run: &RunDir, proc: &Proc) -> Result<usize, RunDirError> {
    let is_dead = |name: &OsStr| match name.to_str().and_then(listener_of_name) {
        None => false,
        Some(listener) => match proc.identify(listener.pid) {
            Ok(now) => now.id != listener,
            Err(LookError::Gone(_)) => true,
            Err(LookError::Hidden { .. }) => false,
        },
    };
    let records = run.read_some(Records::Hooks, crate::run_dir::MAX_RECORDS)?;
    let dead = records.into_iter().filter(|record| !record.name.as_encoded_bytes().starts_with(b"."));
    let dead = dead.filter(|record| is_dead(&record.name));
    Ok(dead.filter(|record| run.remove(Records::Hooks, &record.name).is_ok()).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Job;
    use std::time::SystemTime;

    const ROOT: FileId = FileId { dev: 10, ino: 77 };

    struct Scene {
        temp: tempfile::TempDir,
        run: RunDir,
        proc: Proc,
        me: ProcessId,
        user: Uid,
    }

    fn scene() -> Scene {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(&temp.path().join("run")).unwrap();
        let proc = Proc::new(Path::new("/proc"));
        let me = proc.identify(Pid(std::process::id() as i32)).unwrap().id;
        std::fs::write(temp.path().join("hook.sh"), "exec disk-guard hook started").unwrap();
        Scene { temp, run, proc, me, user: Uid(nix::unistd::geteuid().as_raw()) }
    }

    impl Scene {
        fn lease(&self) -> Lease {
            Lease {
                worker: self.me,
                boot_id: self.proc.boot_id().unwrap(),
                pid_namespace: self.proc.pid_namespace().unwrap(),
                root: "/r".into(),
                root_id: ROOT,
                work_id: None,
                job: Job::default(),
                since: SystemTime::UNIX_EPOCH,
                reserved: None,
            }
        }

        fn stands(&self, listener: ProcessId, user: Uid) -> bool {
            stands(&self.run, &self.proc, ROOT, (listener, user), &|_| true)
        }
    }

    #[test]
    fn a_record_stands_for_its_listener_and_its_script_alone() {
        let scene = scene();
        let hook = scene.temp.path().join("hook.sh");
        let leave =
            |lease: &Lease| leave(&scene.run, &scene.proc, lease, scene.me, Some(hook.as_os_str())).unwrap();
        assert!(!scene.stands(scene.me, scene.user), "there is none yet");
        leave(&scene.lease());
        assert!(scene.stands(scene.me, scene.user));
        let reused = ProcessId { start: StartTime(scene.me.start.0 + 1), ..scene.me };
        assert!(!scene.stands(reused, scene.user), "a later process of the same pid");
        assert!(!scene.stands(scene.me, Uid(scene.user.0 + 1)) || scene.user == Uid::ROOT, "another's word");

        std::fs::write(&hook, "exit 0\nexec disk-guard hook started").unwrap();
        assert!(!scene.stands(scene.me, scene.user), "the script is another one by now");
        assert!(
            stands(&scene.run, &scene.proc, ROOT, (scene.me, scene.user), &|_| false),
            "it is not looked at"
        );
        leave(&scene.lease());
        assert!(scene.stands(scene.me, scene.user), "it has shown anew what it does");

        let forget = || scene.run.remove(Records::Hooks, OsStr::new(&file_name(ROOT, scene.me))).unwrap();
        for foreign in [
            Lease { boot_id: "another".into(), ..scene.lease() },
            Lease { pid_namespace: 5, ..scene.lease() },
        ] {
            forget();
            leave(&foreign);
            assert!(!scene.stands(scene.me, scene.user), "{foreign:?}");
        }
        forget();
        leave(&scene.lease());
        assert!(scene.stands(scene.me, scene.user), "the control");
    }

    #[test]
    fn records_of_dead_processes_are_removed_and_those_of_live_ones_are_kept() {
        let scene = scene();
        leave(&scene.run, &scene.proc, &scene.lease(), scene.me, None).unwrap();
        let gone = ProcessId { pid: Pid(i32::MAX), start: StartTime(1) };
        leave(&scene.run, &scene.proc, &scene.lease(), gone, None).unwrap();
        scene.run.publish(Records::Hooks, "x", b"flood").unwrap();
        assert_eq!(remove_dead(&scene.run, &scene.proc).unwrap(), 1);
        assert!(scene.stands(scene.me, scene.user), "one without a script stands for the Listener");
        assert_eq!(remove_dead(&scene.run, &scene.proc).unwrap(), 0);
    }

    #[test]
    fn a_name_speaks_of_one_listener() {
        let id = ProcessId { pid: Pid(4), start: StartTime(9) };
        assert_eq!(listener_of_name(&file_name(ROOT, id)), Some(id));
        for odd in ["", "a-b", "a-b-4", "a-b-4-x", "a-b-4-9-1", "a-b--4-9"] {
            assert_eq!(listener_of_name(odd), None, "{odd}");
        }
    }
}
