//! Work-directory hygiene: what an audit finds, what it adds up to, and what a repair changes.

use super::runner::RunnerName;
use super::{Evidence, FileId, Liveness, Runner, Uid};
use crate::as_json::{self, named, outcomes};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;
use strum::IntoStaticStr;

/// The kinds of defects in a work directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum FindingKind {
    /// It belongs to another user than the runner's, for example because a container job left it.
    ForeignOwner,
    /// A directory that its owner cannot list, enter or change: nothing in it can be deleted.
    LockedDirectory,
    /// A lock file of git's, older than the idle floor, that no process holds.
    StaleLock,
    /// Of another user, with a second name that may be outside the work directory.
    HardLinked,
    /// Of another user, and a device, a socket, a FIFO or a set-uid program: its owner is never changed.
    #[strum(serialize = "special-file")]
    Special,
    /// An unfinished checkout.
    #[strum(serialize = "interrupted-checkout")]
    Interrupted,
    /// Git finds objects missing or broken.
    BrokenGit,
    /// An object or pack of git that is empty or has another format: the next fetch can fail because of it.
    DamagedObject,
    /// Part of an interrupted transfer: `tmp_pack_*`, `incomplete` of LFS. It uses space and is harmless.
    UnfinishedTransfer,
    /// A file without its owner's write bit. Git's objects are always read-only and do not count.
    ReadOnlyFile,
    /// The directory of a repository that the runner no longer has.
    Abandoned,
    /// Another filesystem is mounted here: kept, and not examined.
    Mount,
    /// Could not be examined.
    Unseen,
}

impl FindingKind {
    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What a finding requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Severity {
    /// Information; no checkout fails because of it.
    Note,
    /// Owner, mode or a lock file: it can be repaired in place.
    Repairable,
    /// It needs a fresh clone.
    Replace,
}

impl Severity {
    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The condition of one part of a work directory, from all its findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum AreaCondition {
    /// No finding that makes a checkout fail.
    Clean,
    /// `remediate --mode chown` or `unlock` repairs it.
    Repairable,
    /// It needs `remediate --mode reset`, after which the next job makes a fresh clone.
    Replace,
}

impl AreaCondition {
    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Findings of one kind about one part of a work directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The kind of defect.
    pub kind: FindingKind,
    /// What they require.
    pub severity: Severity,
    /// How many entries.
    pub count: u64,
    /// A few of them, relative to the work directory.
    #[serde(with = "as_json::Paths")]
    pub examples: Vec<PathBuf>,
    /// Details as text. May contain names from disk: escape before printing.
    pub detail: String,
}

/// One defective entry, as observed. A repair compares it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// Relative to the work directory.
    pub below: PathBuf,
    /// The kind of defect.
    pub kind: FindingKind,
    /// Its identity.
    pub id: FileId,
    /// Its owner.
    pub owner: Uid,
    /// Type and permission bits.
    pub mode: u32,
    /// Last modification.
    pub modified: SystemTime,
}

/// A directory directly in a work directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AreaKind {
    /// The directory of a repository: `_work/<this>/<checkout>`.
    Repository,
    /// A directory of the runner itself: `_actions`, `_temp`, `_tool` and similar.
    RunnersOwn,
}

/// The kinds of git directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitKind {
    /// The repository's own checkout: `_work/x/x/.git`.
    Checkout,
    /// A clone below it: a checkout into a path, or a clone that a job made.
    Nested,
    /// A submodule's, `.git/modules/x`.
    Module,
}

/// A git directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitDir {
    /// Relative to the work directory.
    pub below: PathBuf,
    /// Its kind.
    pub kind: GitKind,
}

/// The result of a walk over one area.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AreaScan {
    /// Entries looked at.
    pub entries: u64,
    /// How many of each kind.
    pub counts: BTreeMap<FindingKind, u64>,
    /// Those entries, a bounded number of them, parents before their content.
    pub defects: Vec<Defect>,
    /// Details as text, by kind.
    pub details: BTreeMap<FindingKind, String>,
    /// Git directories, relative to the work directory.
    pub gits: Vec<GitDir>,
    /// Whether there are more git directories.
    pub has_more_gits: bool,
    /// Whether the walk was completed.
    pub is_whole: bool,
}

/// One area and its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AreaAudit {
    /// Its name in the work directory.
    #[serde(rename = "directory", with = "as_json::FileName")]
    pub name: OsString,
    /// Absolute, for display.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// Its kind.
    #[serde(skip)]
    pub kind: AreaKind,
    /// The verdict.
    pub verdict: AreaCondition,
    /// The recommended repair; `None` if none is needed or possible.
    pub mode: Option<RemediateMode>,
    /// Whether it was examined completely.
    #[serde(rename = "whole")]
    pub is_whole: bool,
    /// The findings behind the verdict, the gravest first.
    pub findings: Vec<Finding>,
    /// Parts that could not be judged, as text.
    pub notes: Vec<String>,
}

/// A leftover in a runner's directory outside of any repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum LeftoverKind {
    /// `_work/_update`, of a self-update that did not end.
    Update,
    /// `_work/_temp` of an unfinished job.
    Temp,
    /// `_diag/pages` or `_diag/blocks`: logs that were not uploaded.
    #[strum(serialize = "log-pages")]
    Pages,
    /// `bin.X` or `externals.X` of a version that the runner no longer uses.
    OldVersion,
}

impl LeftoverKind {
    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One leftover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Leftover {
    /// Its kind.
    pub kind: LeftoverKind,
    /// Its path.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// Its newest entry.
    #[serde(with = "as_json::Time")]
    pub newest: SystemTime,
}

/// The audit of one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerAudit {
    /// The runner.
    pub runner: Runner,
    /// Whether it is in use.
    pub state: Liveness,
    /// Why nothing was examined, if so: a job changes its tree during the examination.
    pub skipped: Option<String>,
    /// The areas of its work directory.
    pub areas: Vec<AreaAudit>,
    /// Leftovers.
    pub leftovers: Vec<Leftover>,
}

/// An audit of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// Each runner; one that shares its work directory with an earlier one has no areas of its own.
    pub runners: Vec<RunnerAudit>,
    /// The worst verdict.
    pub verdict: AreaCondition,
    /// How many repositories are not clean.
    pub contaminated: usize,
    /// For people: what could not be read.
    pub notes: Vec<String>,
}

impl AuditReport {
    /// Whether more than one repository is contaminated: the cause is then on this host and not in one repository.
    pub fn is_wider_incident(&self) -> bool {
        self.contaminated > 1
    }
}

/// How a repository is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RemediateMode {
    /// The owner's permission bits are restored, and stale lock files removed.
    Unlock,
    /// Entries of other users get the runner's user as their owner.
    Chown,
    /// The whole repository is moved to trash, and the next job makes a fresh clone.
    Reset,
}

impl RemediateMode {
    /// The name for the command line and JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The result for one entry.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Repaired {
    /// A preview: it would be changed.
    Planned,
    /// It was changed.
    Done,
    /// It differs from the observation and was not changed.
    Changed(String),
    /// It must not be changed; the reason.
    Refused(String),
    /// The error of the system.
    Failed(String),
}

impl Repaired {
    /// The name for JSON.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }

    /// Why it was not changed.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Planned | Self::Done => None,
            Self::Changed(why) | Self::Refused(why) | Self::Failed(why) => Some(why),
        }
    }
}

/// One entry and the result for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Relative to the work directory.
    #[serde(flatten, with = "as_json::AtPath")]
    pub below: PathBuf,
    /// The change as text: `owner 0 -> 1001`, `mode 0555 -> 0755`.
    #[serde(rename = "change")]
    pub what: String,
    /// The result.
    #[serde(flatten)]
    pub result: Repaired,
}

/// The result of repairing one area.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RepairReport {
    /// True when nothing was touched.
    pub dry_run: bool,
    /// Its runner.
    #[serde(with = "RunnerName")]
    pub runner: Runner,
    /// The area.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// How.
    pub mode: RemediateMode,
    /// The number of entries that were or would be changed.
    pub done: u64,
    /// The number of entries that were not.
    pub undone: u64,
    /// Bytes that a reset moves to trash or has deleted.
    pub bytes: u64,
    /// The evidence against a repair. If there is any, nothing was changed, or nothing more after it appeared.
    #[serde(rename = "evidence")]
    pub objections: Vec<Evidence>,
    /// The entries with their results, those that were not changed first; of many only the first.
    pub changes: Vec<Change>,
    /// For people.
    pub notes: Vec<String>,
}

named!(FindingKind, Severity, AreaCondition, LeftoverKind, RemediateMode);
outcomes!(Repaired);
