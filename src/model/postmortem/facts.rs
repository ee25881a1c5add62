//! What was observed of a death. Plain data.
//!
//! Text comes from logs that a runner's user can write, and from process names that anybody chooses: escape it before printing.
//! Facts carry their source, so that a verdict can name it.

use super::{Death, Missing};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The result of reading a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed<T> {
    /// Its content.
    Known(T),
    /// It could not be read.
    Unknown(Missing),
}

impl<T> Observed<T> {
    /// A source that could not be read, and how to make it available the next time.
    pub fn missing(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self::Unknown(Missing { what: what.into(), how: how.into() })
    }

    /// Its content, if it could be read.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, if known.
    pub at: Option<SystemTime>,
    /// The line, cut to a bounded length.
    pub text: String,
}

/// An error in a runner's log, by the words of the system's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// `ENOSPC`: no byte or no inode was left.
    NoSpace,
    /// `EDQUOT`: the user's share was used up.
    Quota,
    /// `ENFILE`: the host's table of open files was full.
    FileTable,
    /// `EMFILE`: the process had all descriptors that it may have.
    Descriptors,
    /// `EIO`.
    InputOutput,
    /// `EROFS`: the filesystem is read-only, which a kernel makes it after an error.
    ReadOnly,
    /// `ENOMEM`, or the runtime's own exception for it.
    Memory,
    /// `EAGAIN` at the start of a process or thread: the group or the user has all tasks that it may have.
    Tasks,
}

/// The content of the Worker's own log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerLog {
    /// The file's name; of the first page where there are several.
    pub name: String,
    /// The job's id, by which the Listener's log knows it.
    pub job_id: Option<String>,
    /// `Job completed.`: the job's task has ended, possibly by an exception.
    pub completed: Option<LogLine>,
    /// The job was cancelled, or the Worker was asked to shut down.
    pub cancelled: Option<LogLine>,
    /// The runner shuts down, and why.
    pub shutdown: Option<LogLine>,
    /// The result of the job's steps, as the Worker logs it.
    pub result: Option<(Reported, LogLine)>,
    /// The Worker has reported the job's end to the service.
    pub reported: Option<LogLine>,
    /// A process of a step that was ended by SIGKILL.
    pub killed_step: Option<LogLine>,
    /// Complaints, the latest last.
    pub complaints: Vec<(Complaint, LogLine)>,
    /// Its last line.
    pub last: Option<LogLine>,
    /// The last line has no end: the write was cut off.
    pub is_cut: bool,
    /// The longest silence between two lines.
    pub silence: Option<(SystemTime, Duration)>,
}

/// A result of a job, as the runner names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// The job succeeded.
    Succeeded,
    /// The job succeeded with warnings.
    SucceededWithIssues,
    /// A step failed, or the Worker did.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It did not have to run.
    Skipped,
    /// The runner lost the right to run it.
    Abandoned,
}

/// The content of the Listener's logs about the job, by its id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerLog {
    /// The job was received.
    pub received: Option<LogLine>,
    /// The Worker's pid.
    pub worker_pid: Option<i32>,
    /// The Worker's exit code as the Listener saw it: 128 + N after a signal.
    pub finished: Option<(i32, LogLine)>,
    /// The result that was reported.
    pub result: Option<(Reported, LogLine)>,
    /// Another line that ends the job for the Listener.
    pub closed: Option<LogLine>,
    /// The service, a person behind it or a job that came after it cancelled the job.
    pub cancelled: Option<LogLine>,
    /// The Listener itself was asked to stop while the job ran.
    pub shutdown: Option<LogLine>,
    /// The service ended the job, or could not be reached for too long.
    pub lost_contact: Option<LogLine>,
    /// The Listener killed the Worker.
    pub stopped: Option<LogLine>,
    /// The exception that ended the Worker, which the Listener logs after the job's end.
    pub exception: Option<LogLine>,
    /// A Listener began after the job was received, and before its end was noted.
    pub restarted: Option<LogLine>,
    /// The job's lease with the service could not be renewed.
    pub lost_renewal: Option<LogLine>,
    /// Errors while the job ran, and in the Worker's last output after its end.
    pub complaints: Vec<(Complaint, LogLine)>,
    /// The last line that was written while the job ran.
    pub last: Option<LogLine>,
    /// The longest silence between two lines while the job ran: a lease is renewed every minute.
    pub silence: Option<(SystemTime, Duration)>,
    /// The last line of this Listener has no end, and no other log continues it: the write was cut off.
    pub is_cut: Option<LogLine>,
    /// The number of Listeners that started since and logged nothing.
    pub empty_logs: usize,
    /// Whether everything that the Listener wrote since the job began was read.
    pub is_whole: bool,
}

impl ListenerLog {
    /// Whether the Listener has logged the job's end.
    pub fn has_end(&self) -> bool {
        self.finished.is_some() || self.result.is_some() || self.closed.is_some()
    }
}

/// Where an out-of-memory kill was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OomScope {
    /// The host had no memory left.
    Host,
    /// This cgroup was at its limit.
    Group(String),
    /// A cgroup was at its limit; which one is unknown.
    SomeGroup,
    /// Unknown.
    Unknown,
}

/// The content of a kernel message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEvent {
    /// A process was killed for lack of memory.
    OomKill {
        /// Its pid.
        pid: i32,
        /// Its name.
        comm: String,
        /// The limit that was reached.
        scope: OomScope,
        /// The cgroup that the process was in.
        group: Option<String>,
    },
    /// A process was chosen to be killed; one of its children may have been killed in its place.
    OomChoice {
        /// Its pid.
        pid: i32,
        /// The limit that was reached.
        scope: OomScope,
    },
    /// The group in which a process is about to be killed, and the group with the limit: kernels before 5.0.
    OomGroup {
        /// The group of the process.
        group: String,
        /// The group that is at its limit.
        limit: String,
    },
    /// All processes of this group are about to be killed for lack of memory (`memory.oom.group`).
    OomWholeGroup {
        /// The group.
        group: String,
    },
    /// A process died of a fault of its own.
    Fault {
        /// The id of its thread, which is its pid for the first one.
        pid: i32,
        /// Its name.
        comm: String,
    },
    /// A disk could not be read or written, or a filesystem detected damage.
    InputOutput,
    /// There was no room below a filesystem, or for the filesystem's own records.
    NoRoom,
    /// The table of open files was full.
    FileTable,
    /// No task could be started: this cgroup was at its limit.
    ForkRejected {
        /// The group.
        group: String,
    },
    /// The host was suspended or resumed.
    Suspend,
}

/// A kernel message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLine {
    /// When.
    pub at: SystemTime,
    /// The event.
    pub event: KernelEvent,
    /// The message.
    pub text: String,
}

/// The kernel's messages around the death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLog {
    /// `journal` or `kmsg`.
    pub source: &'static str,
    /// Whether it is complete for the requested span.
    pub is_complete: bool,
    /// The relevant messages.
    pub lines: Vec<KernelLine>,
}

/// An action of a service or a person on the host, from the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostDeed {
    /// A daemon ended the Worker or all of its unit or container for lack of memory, or reports that the kernel did.
    MemoryKill,
    /// A person or a script ran a command to kill or stop.
    Order,
    /// systemd began to stop the unit.
    UnitStop,
    /// systemd sent SIGKILL into the unit.
    UnitKill,
    /// A container or pod of the runner's name was ended.
    ContainerEnd,
    /// The host was asked to shut down.
    GoingDown,
    /// The unit's own output complains.
    Complaint(Complaint),
}

/// A line of the journal that is not the kernel's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLine {
    /// When.
    pub at: SystemTime,
    /// Its writer, as the entry names it.
    pub source: String,
    /// The action.
    pub deed: HostDeed,
    /// Whether only root, or the service itself, can have written it.
    pub is_trusted: bool,
    /// The message.
    pub text: String,
}

/// The journal's lines about the host's services around the death.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostLog {
    /// Whether it is complete for the requested span.
    pub is_complete: bool,
    /// The relevant lines.
    pub lines: Vec<HostLine>,
}

/// systemd's properties of the runner's unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitRecord {
    /// Its name.
    pub name: String,
    /// `Result`: `success`, `oom-kill`, `signal`, `core-dump`, `timeout`, `watchdog`, `exit-code`.
    pub result: String,
    /// `ActiveState`.
    pub active: String,
    /// The last end of the main process, which is the Listener's parent: `ExecMainCode` (1 exited, 2 killed, 3 dumped core) and
    /// `ExecMainStatus` (the exit code or the signal).
    pub main: Option<(i32, i32)>,
    /// When that was.
    pub main_exited: Option<SystemTime>,
    /// How often systemd has started it again.
    pub restarts: u32,
    /// Its cgroup.
    pub group: Option<String>,
}

/// The number of processes of a cgroup that were killed for lack of memory since it was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryEvents {
    /// The group's path in its hierarchy.
    pub group: String,
    /// The file that it was read from.
    pub file: String,
    /// `oom_kill`.
    pub oom_kills: u64,
    /// Whether groups below are counted, too: in the second version of cgroups.
    pub counts_below: bool,
}

/// The number of tasks that could not be started in a cgroup since it was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEvents {
    /// The file that it was read from.
    pub file: String,
    /// `max` of `pids.events`.
    pub refused: u64,
}

/// Pressure stall information: per cent of the last 300 s in which tasks waited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PressureFigures {
    /// All of them, for memory (`full avg300`).
    pub memory: f64,
    /// All of them, for the disk (`full avg300`).
    pub io: f64,
}

/// An action of the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardDeed {
    /// When.
    pub at: SystemTime,
    /// `removed`, `claimed`, `restored`.
    pub deed: &'static str,
    /// The path.
    pub path: PathBuf,
    /// The amount in bytes.
    pub bytes: Option<u64>,
}

/// What the guard did while the job ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardDeeds {
    /// By this runner's own started-hook, before the job's first step, which is allowed.
    pub by_own_hook: Vec<GuardDeed>,
    /// In this runner's directories, by any other run.
    pub here: Vec<GuardDeed>,
    /// Elsewhere on the host.
    pub elsewhere: Vec<GuardDeed>,
    /// The last entry about a disk under pressure meanwhile.
    pub pressure: Option<LogLine>,
    /// The last entry about a disk above critical meanwhile.
    pub critical: Option<LogLine>,
    /// Since when the ledger is complete.
    pub complete_since: Option<SystemTime>,
}

/// The present usage of the disk of the work directory, or of the disk with the runner's own files if that is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskNow {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Use% as df counts it.
    pub used_percent: u8,
    /// Bytes that are available.
    pub available_bytes: u64,
    /// Inodes that are free; `None` where the filesystem counts none.
    pub inodes_free: Option<u64>,
}

impl DiskNow {
    /// Whether almost nothing can be written there: a job that ended may have freed a little.
    pub fn is_full(&self) -> bool {
        self.available_bytes < 1 << 20
            || self.used_percent >= 99
            || self.inodes_free.is_some_and(|free| free < 16)
    }
}

/// The host's boot and clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostClock {
    /// This boot's id.
    pub boot_id: String,
    /// When it began.
    pub booted: SystemTime,
    /// How long the host was suspended since then (CLOCK_BOOTTIME minus CLOCK_MONOTONIC).
    pub slept: Duration,
    /// How far the wall clock was moved forward since the job's lease was written, as happens on a machine that was frozen from outside.
    pub put_forward: Option<Duration>,
}

/// All observations about one death.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The death.
    pub death: Death,
    /// When this was observed.
    pub now: SystemTime,
    /// Whether the Worker still lives.
    pub worker_lives: bool,
    /// Since when the runner has the Listener that runs now; `None` = it has none.
    pub listener_since: Option<SystemTime>,
    /// The Worker's log.
    pub worker: Observed<WorkerLog>,
    /// The Listener's log.
    pub listener: Observed<ListenerLog>,
    /// The kernel's messages.
    pub kernel: Observed<KernelLog>,
    /// Actions of services and people, from the journal.
    pub host: Observed<HostLog>,
    /// The unit.
    pub unit: Observed<UnitRecord>,
    /// The unit's name by the runner's own `.service`, whether or not systemd can be asked.
    pub unit_name: Option<String>,
    /// Whether the pids in the job's records are those in the kernel's messages. They are not if they come from another pid namespace.
    pub pids_are_the_kernels: bool,
    /// The cgroup's count of kills.
    pub memory: Observed<MemoryEvents>,
    /// The cgroup's count of tasks that were refused.
    pub tasks: Option<TaskEvents>,
    /// Pressure now.
    pub pressure: Observed<PressureFigures>,
    /// The disk now.
    pub disk: Observed<DiskNow>,
    /// The guard's actions.
    pub guard: Observed<GuardDeeds>,
    /// Boot and clocks.
    pub clock: Observed<HostClock>,
}
