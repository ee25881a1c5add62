//! What the process table tells, as facts: who works, who listens, who holds files, who has mounts.

use super::{ProcessId, Uid, Visibility};
use std::path::PathBuf;
use std::time::SystemTime;

/// One scan of `/proc`, for all runners at once. Runner indices are those of the slice that was scanned for.
#[derive(Debug, Clone)]
pub struct ProcessFacts {
    /// Whether everything could be examined.
    pub visibility: Visibility,
    /// Every `Runner.Worker` of the host.
    pub workers: Vec<WorkerSeen>,
    /// Every `Runner.Listener` of a discovered runner.
    pub listeners: Vec<ListenerSeen>,
    /// Every process that holds something inside a work directory.
    pub holders: Vec<Holder>,
    /// Every mount of a work directory or a part of it.
    pub mounts: Vec<MountSeen>,
}

/// A `Runner.Worker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSeen {
    /// Which process.
    pub process: ProcessId,
    /// Who runs it.
    pub owner: Uid,
    /// Whose Worker it is.
    pub attribution: Attribution,
}

/// Whose Worker it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribution {
    /// That of the runner with this index.
    Runner(usize),
    /// Provably that of a runner which shares nothing with the discovered ones.
    Elsewhere(String),
    /// It cannot be told.
    Unattributed(String),
}

/// A `Runner.Listener`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSeen {
    /// Which process.
    pub process: ProcessId,
    /// The runner's index.
    pub runner: usize,
    /// When it started.
    pub started: SystemTime,
}

/// A process with something of a work directory in its hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The runner's index.
    pub runner: usize,
    /// Which process.
    pub process: ProcessId,
    /// Its name.
    pub comm: String,
    /// How it holds it.
    pub how: Hold,
    /// What it holds, as a path in the observer's view of the work directory.
    pub path: PathBuf,
}

/// How a process holds a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Working directory.
    Cwd,
    /// Root directory.
    Root,
    /// The program it runs.
    Executable,
    /// A mapping.
    Mapping,
    /// An open file or directory.
    OpenFile,
}

/// A mount of a work directory or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSeen {
    /// The runner's index.
    pub runner: usize,
    /// A process that sees the mount.
    pub process: ProcessId,
    /// Its name.
    pub comm: String,
    /// Where it is mounted there.
    pub mount_point: PathBuf,
    /// What is mounted, as a path in the observer's view of the work directory.
    pub inside: PathBuf,
}
