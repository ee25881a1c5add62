//! A runner and its work directory, as found on disk.

use super::{FileId, FilesystemId, ProcessId, Reservation, Uid};
use crate::as_json::adapters;
use schemars::JsonSchema;
use serde::Serialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One self-hosted runner: a directory with `.runner`, `bin/Runner.Listener` or `_work` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// `agentName` of `.runner`, else the root's directory name; with its root where several have one name. For display and
    /// `--runner`; never an identity.
    pub name: String,
    /// Where it is installed, free of symbolic links.
    pub root: PathBuf,
    /// The root's identity.
    pub root_id: FileId,
    /// The owner of the root directory.
    pub owner: Uid,
    /// The work directory of its jobs.
    pub work: Work,
}

impl Runner {
    /// Its configured name. [`Runner::name`] has the root added if several runners have the same name.
    pub fn own_name(&self) -> &str {
        let root = self.root.to_str().unwrap_or_default();
        let name = self.name.strip_suffix(root).and_then(|name| name.strip_suffix(" in "));
        name.unwrap_or(&self.name)
    }

    /// The work directory, when it is one that can be examined.
    pub fn work_dir(&self) -> Option<&WorkDir> {
        match &self.work {
            Work::Present(dir) => Some(dir),
            Work::Absent { .. } | Work::Unusable { .. } => None,
        }
    }

    /// The root, as a directory from which entries can be claimed. Its filesystem is assumed to be the work directory's; code that needs
    /// certainty checks it.
    pub fn root_dir(&self) -> WorkDir {
        let filesystem = self.work_dir().map_or(FilesystemId { major: 0, minor: 0 }, |work| work.filesystem);
        WorkDir { path: self.root.clone(), id: self.root_id, owner: self.owner, filesystem }
    }

    /// The work directory's path, for display.
    pub fn work_path(&self) -> &Path {
        match &self.work {
            Work::Present(dir) => &dir.path,
            Work::Absent { path } | Work::Unusable { path, .. } => path,
        }
    }
}

/// The work directory that `.runner` names, `_work` by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// It exists.
    Present(WorkDir),
    /// It does not exist (yet): no job has run.
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// It exists and must not be used: unreadable, a filesystem's root, or of another user.
    Unusable {
        /// As configured.
        path: PathBuf,
        /// The reason, as text for people.
        reason: String,
    },
}

/// A work directory with its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkDir {
    /// Absolute and free of symbolic links when it was resolved.
    pub path: PathBuf,
    /// Its identity. Runners with the same one share the work directory.
    pub id: FileId,
    /// Its owner.
    pub owner: Uid,
    /// Its filesystem.
    pub filesystem: FilesystemId,
}

/// Whether the jobs of a runner run our started-hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarded {
    /// They run it.
    Yes,
    /// They do not, or it cannot be proved; the reason, as text for people.
    No(String),
}

impl Guarded {
    /// True for [`Guarded::Yes`].
    pub fn is_guarded(&self) -> bool {
        matches!(self, Guarded::Yes)
    }
}

/// Whether `_work/<directory>` can be the runner's directory for a repository: the runner's other directories begin with `_`, the guard's
/// with a dot.
pub fn is_repository_dir(directory: &OsStr) -> bool {
    let name = directory.as_encoded_bytes();
    !name.is_empty() && !matches!(name[0], b'_' | b'.') && !name.contains(&b'/')
}

/// A job, as its lease names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Job {
    /// `owner/name`.
    pub repository: String,
    /// The workflow run's number.
    pub run_id: String,
    /// The job's id in its workflow.
    pub job: String,
}

/// The record of a started-hook about its job, valid while the Worker lives. Leases only add protection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The Worker: the lease is valid exactly as long as this process lives.
    pub worker: ProcessId,
    /// The boot it was written in.
    pub boot_id: String,
    /// The pid namespace of `worker`.
    pub pid_namespace: u64,
    /// The runner's root.
    pub root: PathBuf,
    /// The root's identity.
    pub root_id: FileId,
    /// The work directory's identity, if it exists.
    pub work_id: Option<FileId>,
    /// The job.
    pub job: Job,
    /// When the hook ran.
    pub since: SystemTime,
    /// The space that the job is expected to use; none without a forecast.
    pub reserved: Option<Reservation>,
}

/// A runner in JSON: its name and its root.
#[derive(Serialize, JsonSchema)]
pub(super) struct RunnerFields {
    name: String,
    #[serde(flatten, with = "crate::as_json::AtRoot")]
    root: PathBuf,
    #[serde(flatten, with = "crate::as_json::AtWork")]
    work: PathBuf,
}

adapters! {
    /// A runner where it has an object of its own.
    pub(super) WholeRunner: Runner => RunnerFields, |runner| RunnerFields {
        name: runner.own_name().to_owned(),
        root: runner.root.clone(),
        work: runner.work_path().to_owned(),
    };
    /// A runner by its name only.
    pub(super) RunnerName: Runner => String, |runner| runner.name.clone();
}
