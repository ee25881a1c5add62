//! The nouns of a post-mortem: whose death, what was observed of it, and what follows. Plain data.
//!
//! Text in them comes from logs that a runner's user can write, and from process names that anybody chooses: escape it
//! before printing. Facts carry their source, so that a verdict can name it.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A job whose end is asked about, and its Worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// The runner's name.
    pub runner: String,
    /// Where the runner is.
    #[serde(skip)]
    pub root: PathBuf,
    /// `owner/name`, where a lease told it.
    pub repository: Option<String>,
    /// The workflow run's number, where a lease told it.
    pub run_id: Option<String>,
    /// The job's id in its workflow, where a lease told it.
    pub job: Option<String>,
    /// The Worker's pid, where a lease told it.
    pub worker_pid: Option<i32>,
    /// The boot that the lease was written in.
    pub boot_id: Option<String>,
    /// The Worker's own log.
    pub worker_log: Option<String>,
    /// When the Worker began, or else its job's hook ran.
    #[serde(with = "moment::option")]
    pub started: Option<SystemTime>,
    /// The last line that the Worker wrote.
    #[serde(with = "moment::option")]
    pub last_sign: Option<SystemTime>,
    /// When it was over, where somebody saw that.
    #[serde(rename = "ended_at", with = "moment::option")]
    pub ended: Option<SystemTime>,
}

/// Something that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// What it says.
    Known(T),
    /// It could not be seen.
    Unknown(Missing),
}

impl<T> Seen<T> {
    /// What could not be seen, and how to have it next time.
    pub fn missing(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self::Unknown(Missing { what: what.into(), how: how.into() })
    }

    /// What it says, if it could be seen.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was written, where it says so.
    pub at: Option<SystemTime>,
    /// The line, cut to a bounded length.
    pub text: String,
}

/// What a runner's log complains of, by the words of the system's error.
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
    /// `ENOMEM`, or the runtime's own word for it.
    Memory,
}

/// What the Worker's own log says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerLog {
    /// The file's name.
    pub name: String,
    /// The job's id, by which the Listener's log knows it.
    pub job_id: Option<String>,
    /// `Job completed.`: a clean end.
    pub completed: Option<Line>,
    /// The job was cancelled, or the Worker was told to shut down.
    pub cancelled: Option<Line>,
    /// Complaints, the latest last.
    pub complaints: Vec<(Complaint, Line)>,
    /// Its last line.
    pub last: Option<Line>,
    /// The last line has no end: the write was cut off.
    pub is_cut: bool,
    /// The longest silence between two lines.
    pub silence: Option<(SystemTime, Duration)>,
}

/// What the Listener's log says of the job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerLog {
    /// The job was received.
    pub received: Option<Line>,
    /// The Worker's exit code as the Listener saw it: 128 + N after a signal.
    pub finished: Option<(i32, Line)>,
    /// The result that was reported.
    pub result: Option<Line>,
    /// A Listener began after the job was received, and before its end was noted.
    pub restarted: Option<Line>,
    /// The job's lease with the service could not be renewed.
    pub lost_renewal: Option<Line>,
    /// Complaints while the job ran.
    pub complaints: Vec<(Complaint, Line)>,
    /// The longest silence between two lines while the job ran: a lease is renewed every minute.
    pub silence: Option<(SystemTime, Duration)>,
}

/// Where an out-of-memory kill was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OomScope {
    /// The host had no memory left.
    Host,
    /// This cgroup was at its limit.
    Group(String),
    /// A cgroup was at its limit; which was not told.
    SomeGroup,
}

/// What a kernel message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEvent {
    /// A process was killed for want of memory.
    OomKill {
        /// Its pid.
        pid: i32,
        /// Its name.
        comm: String,
        /// Whose limit it was.
        scope: OomScope,
        /// The cgroup that the process was in.
        group: Option<String>,
    },
    /// A process died of a fault of its own.
    Fault {
        /// Its pid.
        pid: i32,
        /// Its name.
        comm: String,
    },
    /// A disk could not be read or written, or a filesystem found itself damaged.
    InputOutput,
    /// The table of open files was full.
    FileTable,
    /// The host went to sleep or woke up.
    Suspend,
}

/// A kernel message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLine {
    /// When.
    pub at: SystemTime,
    /// What it tells.
    pub event: KernelEvent,
    /// Itself.
    pub text: String,
}

/// The kernel's messages around the death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLog {
    /// `journal` or `kmsg`.
    pub source: &'static str,
    /// Whether nothing of the time asked about can be missing.
    pub is_complete: bool,
    /// Those that tell something.
    pub lines: Vec<KernelLine>,
}

/// What systemd says of the runner's unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Its name.
    pub name: String,
    /// `Result`: `success`, `oom-kill`, `signal`, `core-dump`, `timeout`, `watchdog`, `exit-code`.
    pub result: String,
    /// `ActiveState`.
    pub active: String,
    /// How the main process, which is the Listener's parent, ended last: `ExecMainCode` (1 exited, 2 killed, 3 dumped core) and
    /// `ExecMainStatus` (the exit code or the signal).
    pub main: Option<(i32, i32)>,
    /// When that was.
    pub main_exited: Option<SystemTime>,
    /// How often systemd has started it again.
    pub restarts: u32,
    /// Its cgroup.
    pub group: Option<String>,
}

/// How often processes of a cgroup were killed for want of memory since it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryEvents {
    /// The group's path in its hierarchy.
    pub group: String,
    /// The file that says so.
    pub file: String,
    /// `oom_kill`.
    pub oom_kills: u64,
    /// Whether groups below are counted, too: in the second version of cgroups.
    pub counts_below: bool,
}

/// Pressure stall information: per cent of the last 300 s in which tasks waited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// All of them, for memory (`full avg300`).
    pub memory: f64,
    /// All of them, for the disk (`full avg300`).
    pub io: f64,
}

/// A deed of the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardDeed {
    /// When.
    pub at: SystemTime,
    /// `removed`, `claimed`, `restored`.
    pub deed: &'static str,
    /// What.
    pub path: PathBuf,
    /// How much.
    pub bytes: Option<u64>,
}

/// What the guard did while the job ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardDeeds {
    /// By this runner's own started-hook, before its job's first step: what it may.
    pub by_own_hook: Vec<GuardDeed>,
    /// In this runner's directories, by anybody else.
    pub here: Vec<GuardDeed>,
    /// Elsewhere on the host.
    pub elsewhere: Vec<GuardDeed>,
    /// How often it found a disk under pressure meanwhile, and the last such entry.
    pub pressure: Option<Line>,
    /// Since when the ledger tells of everything.
    pub complete_since: Option<SystemTime>,
}

/// How full the disk of the work directory is now.
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

/// The host's boot and clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostClock {
    /// This boot's id.
    pub boot_id: String,
    /// When it began.
    pub booted: SystemTime,
    /// How long the host has slept since then (CLOCK_BOOTTIME less CLOCK_MONOTONIC).
    pub slept: Duration,
    /// How far the wall clock has been put forward since the job's lease was written: what a machine does that was
    /// frozen from outside.
    pub put_forward: Option<Duration>,
}

/// Everything that was observed about one death.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Whose.
    pub death: Death,
    /// When this was observed.
    pub now: SystemTime,
    /// Whether the Worker still lives.
    pub worker_lives: bool,
    /// Since when the runner has the Listener that runs now; `None` = it has none.
    pub listener_since: Option<SystemTime>,
    /// The Worker's log.
    pub worker: Seen<WorkerLog>,
    /// The Listener's log.
    pub listener: Seen<ListenerLog>,
    /// The kernel's messages.
    pub kernel: Seen<KernelLog>,
    /// The unit.
    pub unit: Seen<UnitState>,
    /// The cgroup's count of kills.
    pub memory: Seen<MemoryEvents>,
    /// Pressure now.
    pub pressure: Seen<Pressure>,
    /// The disk now.
    pub disk: Seen<DiskNow>,
    /// The guard's deeds.
    pub guard: Seen<GuardDeeds>,
    /// Boot and clocks.
    pub clock: Seen<HostClock>,
}

/// Why a job or its runner ended, the more specific first: of two that are equally certain the first is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It has not ended.
    Running,
    /// The Worker ended as it meant to.
    CleanEnd,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// No room was left on a disk.
    DiskFull,
    /// No file could be opened any more.
    FilesExhausted,
    /// A disk failed.
    DiskFailed,
    /// disk-guard took something that the job needed.
    DiskGuard,
    /// The host went down, or was started anew.
    Reboot,
    /// The host slept, or was frozen.
    Suspended,
    /// A fault of the Worker's own: SIGSEGV, SIGABRT and their like.
    Crash,
    /// Somebody sent it a signal that ends a process.
    Killed,
    /// The Listener died, and nobody was left to lead the job to its end.
    ListenerDied,
    /// systemd ended the runner's unit.
    UnitStopped,
    /// The Worker ended itself with an error.
    RunnerError,
    /// It cannot be told.
    Unknown,
}

impl Cause {
    /// Its name in JSON and in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::CleanEnd => "clean-end",
            Self::OutOfMemory => "out-of-memory",
            Self::DiskFull => "disk-full",
            Self::FilesExhausted => "files-exhausted",
            Self::DiskFailed => "disk-failed",
            Self::DiskGuard => "disk-guard",
            Self::Reboot => "reboot",
            Self::Suspended => "suspended",
            Self::Crash => "crash",
            Self::Killed => "killed",
            Self::ListenerDied => "listener-died",
            Self::UnitStopped => "unit-stopped",
            Self::RunnerError => "runner-error",
            Self::Unknown => "unknown",
        }
    }
}

/// How far a verdict goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// It fits, and so may other causes.
    Possible,
    /// It fits, and nothing else that was looked at does.
    Likely,
    /// A witness that cannot err says so: the kernel, an exit code, another boot.
    Certain,
}

impl Confidence {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// How the Worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It has not.
    NotYet,
    /// It said so.
    Cleanly,
    /// It said nothing: a death.
    Abruptly,
}

impl Ended {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotYet => "not-yet",
            Self::Cleanly => "cleanly",
            Self::Abruptly => "abruptly",
        }
    }
}

/// A line of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Where it was read.
    pub source: String,
    /// When it happened.
    #[serde(with = "moment::option")]
    pub at: Option<SystemTime>,
    /// What it says.
    pub text: String,
    /// The cause that it speaks for.
    pub points_to: Cause,
}

/// A cause that it was not, and by which datum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledOut {
    /// Which.
    pub cause: Cause,
    /// By what.
    pub by: String,
}

/// What could not be seen, and how to have it the next time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What.
    pub what: String,
    /// How to capture it.
    pub how: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Verdict {
    /// How the Worker ended.
    pub ended: Ended,
    /// Why.
    pub cause: Cause,
    /// How far that goes.
    pub confidence: Confidence,
    /// In one sentence.
    pub summary: String,
    /// What it rests on; what speaks for something else stands last.
    pub evidence: Vec<Proof>,
    /// What it was not.
    pub ruled_out: Vec<RuledOut>,
    /// What could not be seen.
    pub missing: Vec<Missing>,
    /// What to do.
    pub advice: String,
}

/// A death with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Whose.
    pub death: Death,
    /// Why.
    pub verdict: Verdict,
    /// When it was looked into.
    #[serde(with = "moment")]
    pub examined: SystemTime,
    /// True when it was kept from then: what it rests on may be gone by now.
    #[serde(default)]
    pub kept: bool,
}

/// The answer of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was asked: since when.
    pub since: SystemTime,
    /// Which runner.
    pub runner: Option<String>,
    /// How many jobs of how many runners were looked at.
    pub jobs: usize,
    /// Runners that were looked at.
    pub runners: usize,
    /// The cases, the latest first.
    pub cases: Vec<Case>,
    /// For people: what could not be looked at.
    pub notes: Vec<String>,
}

/// Times as RFC 3339 in UTC, whole seconds.
mod moment {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::time::SystemTime;

    fn text(time: SystemTime) -> String {
        let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<Timestamp>().map(SystemTime::from).map_err(serde::de::Error::custom)
    }

    pub(super) mod option {
        use super::{Deserializer, Serializer, SystemTime, Timestamp, text};
        use serde::Deserialize as _;

        pub(in super::super) fn serialize<S: Serializer>(
            time: &Option<SystemTime>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => serializer.serialize_some(&text(*time)),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<SystemTime>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            let parse = |text: String| text.parse::<Timestamp>().map(SystemTime::from);
            text.map(parse).transpose().map_err(serde::de::Error::custom)
        }
    }
}
