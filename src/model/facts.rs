//! What was observed, before anything is decided.

#[cfg(any(test, fuzzing))]
use super::Visibility;
use super::{Cache, FileId, Filesystem, Guarded, Lease, ProcessFacts, Remark, Runner, Uid};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

/// Everything that one look at the host found.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// The wall clock at the time of the look; ages are counted from here.
    pub now: SystemTime,
    /// The runners, in the order of discovery.
    pub runners: Vec<RunnerFacts>,
    /// Caches outside of work directories, each by itself.
    pub declared: Vec<DeclaredFacts>,
    /// The process table's part. Its runner indices are those of `runners`.
    pub processes: ProcessFacts,
    /// Every lease that was found.
    pub leases: Vec<LeaseSeen>,
    /// By what it shows later whether a job has begun or ended since processes were looked at.
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
    /// For tests and fuzzers: these runners on a host where every process is seen and none is at work.
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

/// What was found out about one cache outside of work directories. To the process table's part it is the runner after those
/// of `runners`, in this order.
#[derive(Debug, Clone)]
pub struct DeclaredFacts {
    /// The directory that it is claimed from, as a runner with this one cache.
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

/// What was found out about one runner.
#[derive(Debug, Clone)]
pub struct RunnerFacts {
    /// The runner.
    pub runner: Runner,
    /// Whether its jobs pass through our hook.
    pub guarded: Guarded,
    /// Where it may be in use by hosts that are not seen from here, for people.
    pub other_hosts: Option<String>,
    /// What its Listener's log says.
    pub received: JobReceived,
    /// What could go, by the rules alone.
    pub caches: Vec<Cache>,
    /// Locks of others on those caches, and locks that could not be tried.
    pub locks: Vec<ForeignLock>,
    /// Trees that an earlier run claimed in their own place and did not get to delete; relative to the work directory.
    pub leftovers: Vec<PathBuf>,
}

/// What a Listener's log says of a job that has no Worker yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobReceived {
    /// No job is open, or there is no log.
    No,
    /// A job was received and not finished.
    Pending {
        /// The log's line. Holds a job's name: escape before printing.
        detail: String,
        /// When, as the line says.
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
    /// Held, or not to be told.
    pub state: LockState,
    /// The file or directory that is locked.
    pub file: PathBuf,
}

/// The kinds of locks by which others say "in use".
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
    /// Somebody holds it.
    Held,
    /// It could not be tried; the system's error.
    CannotTell(String),
}

/// What changes with every job that begins or ends: which leases there are, and when one last came or went. The times of files are as
/// coarse as a clock's tick, so that two changes may have one time: then it is the names that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobsTurn(pub Option<(SystemTime, Vec<OsString>)>);

impl JobsTurn {
    /// Whether certainly no job has begun or ended between the two.
    pub fn is_still(&self, later: &Self) -> bool {
        self.0.is_some() && self == later
    }
}

/// A lease file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSeen {
    /// The file's name in the lease directory.
    pub file: String,
    /// Who wrote it, as the filesystem knows.
    pub owner: Uid,
    /// The root it speaks of: by its content, else by its name.
    pub root: Option<FileId>,
    /// Its content, when it could be read.
    pub lease: Option<Lease>,
    /// Whether it is valid.
    pub state: LeaseState,
}

/// Whether a lease's Worker lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// It does.
    Live,
    /// It does not: another boot, another process, or none.
    Dead,
    /// It cannot be told, which protects.
    CannotTell(String),
}
