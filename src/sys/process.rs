//! The identity of a process: pid, start time, boot and pid namespace, read below a given `/proc`.

use crate::model::{Pid, ProcessId, StartTime, Uid};
use procfs::FromRead as _;
use procfs::process::Stat;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// Why a process could not be examined. `Gone` is a result, `Hidden` is not.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It does not exist (any more).
    #[error("process {0} is gone")]
    Gone(Pid),
    /// It exists, and the answer is hidden from us.
    #[error("process {pid} cannot be examined: {source}")]
    Hidden {
        /// Which.
        pid: Pid,
        /// The system's error.
        source: io::Error,
    },
}

impl LookError {
    /// Classifies an error of reading below `/proc/PID`. `ESRCH` comes from files of a process that died after the open.
    pub fn from_io(pid: Pid, source: io::Error) -> Self {
        const ESRCH: i32 = nix::libc::ESRCH;
        match source.kind() {
            io::ErrorKind::NotFound => Self::Gone(pid),
            _ if source.raw_os_error() == Some(ESRCH) => Self::Gone(pid),
            _ => Self::Hidden { pid, source },
        }
    }
}

/// The part of `/proc/PID/stat` that identifies a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Pid and start time.
    pub id: ProcessId,
    /// The parent, as of now.
    pub parent: Pid,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// Dead and waiting to be reaped: holds no files.
    pub is_zombie: bool,
    /// A kernel thread: has no memory, no files and no directories of its own.
    pub is_kernel_thread: bool,
}

/// Parses `/proc/PID/stat`.
pub(super) fn parse_stat(pid: Pid, mut file: File) -> Result<Identity, LookError> {
    // A name of 64 bytes and 50 numbers of 20 digits. The kernel writes the line at once (fs/proc/base.c, `proc_single_show`), so one read
    // has all of it, including its line end; a cut number would identify another process.
    let mut line = [0; 2048];
    let size = file.read(&mut line).map_err(|error| LookError::from_io(pid, error))?;
    identity(pid, &line[..size]).map_err(|why| LookError::Hidden { pid, source: io::Error::other(why) })
}

/// Why a line of `/proc/PID/stat` is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatError {
    /// It has no end.
    #[error("its stat line is cut")]
    Cut,
    /// It belongs to another process, or is no such line.
    #[error("its stat line is not its own")]
    Foreign,
    /// It cannot be parsed.
    #[error(transparent)]
    Unreadable(#[from] procfs::ProcError),
}

/// The content of the line of `pid`.
///
/// # Errors
/// [`StatError`].
pub(crate) fn identity(pid: Pid, line: &[u8]) -> Result<Identity, StatError> {
    /// `PF_KTHREAD`, include/linux/sched.h.
    const KERNEL_THREAD: u32 = 0x0020_0000;
    let line = line.strip_suffix(b"\n").ok_or(StatError::Cut)?;
    if !has_shape(pid, line) {
        return Err(StatError::Foreign);
    }
    let stat = Stat::from_read(line)?;
    Ok(Identity {
        id: ProcessId { pid, start: StartTime(stat.starttime) },
        parent: Pid(stat.ppid),
        comm: stat.comm,
        is_zombie: matches!(stat.state, 'Z' | 'X'),
        is_kernel_thread: stat.flags & KERNEL_THREAD != 0,
    })
}

/// `PID (NAME) S ...`: the procfs crate 0.18 panics on a line that has its parentheses elsewhere.
fn has_shape(pid: Pid, line: &[u8]) -> bool {
    let behind_name = line.iter().rposition(|&byte| byte == b')').map(|at| &line[at + 1..]);
    line.starts_with(format!("{pid} (").as_bytes())
        && matches!(behind_name, Some([b' ', state, ..]) if state.is_ascii_alphabetic())
}

/// `btime` in the text of `/proc/stat`.
pub(crate) fn boot_time(stat: &[u8]) -> Option<SystemTime> {
    let line = stat.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"btime "))?;
    let seconds = std::str::from_utf8(line).ok()?.trim().parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// How long after boot a process started.
pub fn since_boot(start: StartTime) -> Duration {
    let ticks_per_second = procfs::ticks_per_second().max(1);
    Duration::from_millis(start.0.saturating_mul(1000) / ticks_per_second)
}

/// When a process started on a host that was started at `boot`.
pub fn started(boot: SystemTime, start: StartTime) -> Option<SystemTime> {
    boot.checked_add(since_boot(start))
}

/// The pid of this process, read once: the standard library makes a system call each time.
pub fn own_pid() -> Pid {
    static OWN: OnceLock<Pid> = OnceLock::new();
    *OWN.get_or_init(|| Pid(std::process::id() as i32))
}

/// Whether this process acts as root, read once. It never changes its own user, only that of programs that it starts.
pub fn is_root() -> bool {
    static IS_ROOT: OnceLock<bool> = OnceLock::new();
    *IS_ROOT.get_or_init(|| nix::unistd::geteuid().is_root())
}

/// A procfs.
#[derive(Debug, Clone)]
pub struct Proc {
    root: PathBuf,
}

impl Proc {
    /// The one mounted at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `root/PID/file`.
    pub fn path_of(&self, pid: Pid, file: &str) -> PathBuf {
        self.root.join(format!("{pid}/{file}"))
    }

    /// The process that has this pid now.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn identify(&self, pid: Pid) -> Result<Identity, LookError> {
        let file = File::open(self.path_of(pid, "stat")).map_err(|error| LookError::from_io(pid, error))?;
        parse_stat(pid, file)
    }

    /// The user a process runs as: the owner of its directory. A process that is not dumpable shows as root's.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn owner(&self, pid: Pid) -> Result<Uid, LookError> {
        std::fs::metadata(self.root.join(pid.to_string()))
            .map(|metadata| Uid(metadata.uid()))
            .map_err(|error| LookError::from_io(pid, error))
    }

    /// Whether exactly this process still runs. A zombie does not.
    ///
    /// # Errors
    /// [`LookError::Hidden`] when it cannot be told.
    pub fn is_alive(&self, process: ProcessId) -> Result<bool, LookError> {
        match self.identify(process.pid) {
            Ok(now) => Ok(now.id == process && !now.is_zombie),
            Err(LookError::Gone(_)) => Ok(false),
            Err(hidden) => Err(hidden),
        }
    }

    /// When the host was started (`btime` of `/proc/stat`, whole seconds).
    pub fn boot_time(&self) -> Option<SystemTime> {
        boot_time(&std::fs::read(self.root.join("stat")).ok()?)
    }

    /// When the host was started, to the millisecond, by the present wall clock; `None` when that and `/proc/stat` differ: then one of the
    /// clocks is not the host's, and no times can be ordered by them.
    pub fn boot_time_exactly(&self) -> Option<SystemTime> {
        let said = self.boot_time()?;
        let clock = |id| Duration::try_from(rustix::time::clock_gettime(id)).ok();
        let since_boot = clock(rustix::time::ClockId::Boottime)?;
        let wall = SystemTime::UNIX_EPOCH.checked_add(clock(rustix::time::ClockId::Realtime)?)?;
        let exact = wall.checked_sub(since_boot)?;
        let apart = exact.duration_since(said).unwrap_or_else(|earlier| earlier.duration());
        (apart <= Duration::from_secs(2)).then_some(exact)
    }

    /// This boot's id (`sys/kernel/random/boot_id`).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn boot_id(&self) -> io::Result<String> {
        // 36 characters and a line end, which the kernel writes at once.
        let mut text = [0; 64];
        let size = File::open(self.root.join("sys/kernel/random/boot_id"))?.read(&mut text)?;
        Ok(String::from_utf8_lossy(text[..size].trim_ascii()).into_owned())
    }

    /// The inode number of our own pid namespace.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn pid_namespace(&self) -> io::Result<u64> {
        std::fs::metadata(self.root.join("self/ns/pid")).map(|metadata| metadata.ino())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_another_shape_is_no_answer() {
        let line = std::fs::read("/proc/self/stat").unwrap();
        let pid = Pid(std::process::id() as i32);
        assert_eq!(identity(pid, &line).unwrap().id.pid, pid, "the control");
        for odd in [
            &b"\n"[..],
            b"()\n",
            b"7 )(\n",
            b"7 (x)\n",
            b"7 (x) \n",
            b"7 (x)\xc3\xa9 1\n",
            b"8 (x) S 1\n",
            b"7 (x) S 1",
        ] {
            assert!(identity(Pid(7), odd).is_err(), "{}", String::from_utf8_lossy(odd));
        }
        assert!(identity(Pid(pid.0 + 1), &line).is_err(), "another's line");
    }
}
