//! What was observed, before anything is decided.

#[cfg(any(test, fuzzing))]
use super::Visibility;
use super::{Cache, FileId, Filesystem, Guarded, Lease, ProcessFacts, Remark, Runner, Uid};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

/// The results of one look at the host.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// The wall clock at the time of the look; ages are counted from here.
    pub now: SystemTime,
    /// The runners, in the order of discovery.
    pub runners: Vec<RunnerFacts>,
    /// Caches outside of work directories.
    pub declared: Vec<DeclaredFacts>,
    /// The results from the process table. Its runner indices are those of `runners`.
    pub processes: ProcessFacts,
    /// Every lease that was found.
    pub leases: Vec<LeaseSeen>,
    /// The state of the lease directory when processes were looked at, to detect later whether a job has begun or ended since.
    pub turn: JobsTurn,
    /// The filesystems that hold work directories.
    pub filesystems: Vec<Filesystem>,
    /// For people: globs that match nothing, what could not be read.
    pub notes: Vec<String>,
    /// For the host's administrator, and not for a job's log.
    pub remarks: Vec<Remark>,
}

#[cfg(any(test, fuzzing))]
impl HostFacts {
    /// For tests and fuzzers: these runners on a host where every process is visible and no Worker runs.
    pub(crate) fn quiet(now: SystemTime, runners: Vec<RunnerFacts>) -> Self {
        let processes = ProcessFacts {
            visibility: Visibility::Complete,
            workers: Vec::new(),
            listeners: Vec::new(),
            strangers: Vec::new(),
            holders: Vec::new(),
            mounts: Vec::new(),
            binds: Vec::new(),
            unlocated: Vec::new(),
        };
        Self {
            now,
            runners,
            declared: Vec::new(),
            processes,
            leases: Vec::new(),
            turn: JobsTurn::default(),
            filesystems: Vec::new(),
            notes: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

/// The facts about one cache outside of work directories. In the results from the process table its index follows those of `runners`, in
/// this order.
#[derive(Debug, Clone)]
pub struct DeclaredFacts {
    /// A runner that represents the directory from which it is claimed, with this one cache.
    pub stand_in: RunnerFacts,
    /// The runners that may use it.
    pub users: Vec<usize>,
}

impl DeclaredFacts {
    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.stand_in.caches[0]
    }
}

/// The facts about one runner.
#[derive(Debug, Clone)]
pub struct RunnerFacts {
    /// The runner.
    pub runner: Runner,
    /// Whether its jobs run our hook.
    pub guarded: Guarded,
    /// The filesystem on which other hosts may use it unseen, as text for people.
    pub other_hosts: Option<String>,
    /// The state of jobs in its Listener's log.
    pub received: JobReceived,
    /// The caches that match a rule.
    pub caches: Vec<Cache>,
    /// Locks of others on those caches, and locks that could not be tried.
    pub locks: Vec<ForeignLock>,
    /// Trees that an earlier run claimed in place and did not delete, relative to the work directory.
    pub leftovers: Vec<PathBuf>,
}

/// Whether a Listener's log shows a job that has no Worker yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobReceived {
    /// No job is open, or there is no log.
    No,
    /// A job was received and not finished.
    Pending {
        /// The log's line. Holds a job's name: escape before printing.
        detail: String,
        /// The time of that line.
        at: Option<SystemTime>,
        /// When the log was last written to, or otherwise changed.
        written: Option<SystemTime>,
    },
    /// The log is there and cannot be read.
    CannotTell(String),
}

/// A lock that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignLock {
    /// The cache it protects.
    pub cache: PathBuf,
    /// Build or directory.
    pub kind: LockKind,
    /// Whether it is held.
    pub state: LockState,
    /// The file or directory that is locked.
    pub file: PathBuf,
}

/// The kinds of locks by which other programs mark a directory as in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Cargo's, on a profile directory.
    Build,
    /// A flock on a directory, the convention of systemd-tmpfiles.
    Directory,
}

/// Whether it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// A process holds it.
    Held,
    /// It could not be tried; the system's error.
    CannotTell(String),
}

/// A value that changes with every job that begins or ends: the names of all leases, and the time of the last change of their directory.
/// File times have the resolution of a clock tick, so two changes may have the same time; then the names differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobsTurn(pub Option<(SystemTime, Vec<OsString>)>);

impl JobsTurn {
    /// Whether it is certain that no job has begun or ended in between.
    pub fn is_still(&self, later: &Self) -> bool {
        self.0.is_some() && self == later
    }
}

/// A lease file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSeen {
    /// The file's name in the lease directory.
    pub file: String,
    /// The file's owner.
    pub owner: Uid,
    /// The root of its runner, by its content or otherwise by its name.
    pub root: Option<FileId>,
    /// Its content, if it could be parsed.
    pub lease: Option<Lease>,
    /// Whether it is valid.
    pub state: LeaseState,
}

/// Whether a lease's Worker lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// The Worker lives.
    Live,
    /// The Worker is dead: another boot, another process, or none.
    Dead,
    /// Unknown, which protects.
    CannotTell(String),
}
