//! The results of one look at the host's processes and mounts: facts only. `policy` decides what they mean for a runner.
//!
//! Runners are named by their index in the list that was passed to the observer. Names and paths come from processes and from disk: escape
//! them before printing.

use super::{ProcessId, Uid, Visibility};
use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

/// The results of one scan, for all runners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Whether every process of the host was seen.
    pub visibility: Visibility,
    /// Every `Runner.Worker` on the host.
    pub workers: Vec<WorkerSeen>,
    /// The Listeners of the given runners.
    pub listeners: Vec<ListenerSeen>,
    /// Workers and Listeners of other runners. Information for people; no decision uses them.
    pub strangers: Vec<Stranger>,
    /// Processes that use something inside a work directory.
    pub holders: Vec<Holder>,
    /// Mounts of a work directory, of a part of it, or inside it.
    pub mounts: Vec<MountSeen>,
    /// Directories of the host outside of work directories that a process in another mount namespace has mounted. Information for people.
    pub binds: Vec<(ProcessId, PathBuf)>,
    /// Runners whose work directory could not be located: their holders are unknown.
    pub unlocated: Vec<Unlocated>,
}

/// A `Runner.Worker`: a job is running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSeen {
    /// Which process.
    pub process: ProcessId,
    /// Its user.
    pub owner: Uid,
    /// The runner whose job it runs.
    pub attribution: Attribution,
    /// If it is unattributed: the work directories that it could use.
    pub reach: WorkerReach,
}

/// The work directories in which an unattributed Worker could be at work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerReach {
    /// The indices of runners whose work directories it could use, as far as known.
    pub runners: Vec<usize>,
    /// Whether these are all.
    pub is_whole: bool,
    /// Whether it is in the group of the shared directory, as every runner's user is.
    pub is_member: bool,
}

/// The runner of a Worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribution {
    /// The runner of this index.
    Runner(usize),
    /// Another runner, whose work directory provably overlaps none of the given ones; its place.
    Elsewhere(String),
    /// Unknown, so it may belong to any runner; the reason.
    Unattributed(String),
}

/// A `Runner.Listener` of one of the runners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSeen {
    /// Which process.
    pub process: ProcessId,
    /// Its runner's index.
    pub runner: usize,
    /// Its user.
    pub owner: Uid,
    /// When it started, by the present wall clock.
    pub started: SystemTime,
    /// Whether this time can be compared with times of files and log lines. It cannot if the clocks disagree.
    pub is_ordered: bool,
}

/// A process of another runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Which process.
    pub process: ProcessId,
    /// `Runner.Worker` or `Runner.Listener`.
    pub program: &'static str,
    /// Its user.
    pub owner: Uid,
    /// Its runner's root.
    pub root: PathBuf,
}

/// A process that holds something inside a runner's work directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The runner's index.
    pub runner: usize,
    /// Which process.
    pub process: ProcessId,
    /// The Worker of its job, by ancestry; none for a process that has left its parents.
    pub under: Option<ProcessId>,
    /// Its name.
    pub comm: String,
    /// How it uses it.
    pub how: HeldBy,
    /// The used path, as named in the process's mount namespace. Empty: one of many paths that were not recorded.
    pub path: PathBuf,
}

/// How a process holds a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HeldBy {
    /// Its working directory.
    Cwd,
    /// Its root directory.
    Root,
    /// Its executable.
    Executable,
    /// A file mapped into its memory.
    Mapping,
    /// An open file or directory.
    OpenFile,
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cwd => "working directory",
            Self::Root => "root directory",
            Self::Executable => "executable",
            Self::Mapping => "mapped file",
            Self::OpenFile => "open file",
        })
    }
}

/// A mount that gives a work directory, or a part of it, another name, or that lies inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSeen {
    /// The runner's index.
    pub runner: usize,
    /// One process of the mount namespace in which it is.
    pub process: ProcessId,
    /// That process's name.
    pub comm: String,
    /// Where it is mounted in that namespace.
    pub mount_point: PathBuf,
    /// Which part of the work directory it concerns.
    pub inside: PathBuf,
    /// Whether the host's own namespace has it as well: then an administrator has set it up, and it is no evidence of use.
    pub is_of_host: bool,
}

/// A runner whose work directory could not be placed on its filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocated {
    /// The runner's index.
    pub runner: usize,
    /// The reason, as text for people.
    pub reason: String,
}
