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

/// What can be wrong with a part of a work directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum FindingKind {
    /// Belongs to another user than the runner's, as what container jobs leave does.
    ForeignOwner,
    /// A directory that its owner cannot list, enter or change: nothing in it can be deleted.
    LockedDirectory,
    /// A lock file of git's, older than the idle floor, that no process holds.
    StaleLock,
    /// Foreign, and with a second name that may lie outside the work directory.
    HardLinked,
    /// Foreign, and a device, a socket, a FIFO or a set-uid program: never given to anybody.
    #[strum(serialize = "special-file")]
    Special,
    /// The checkout was begun and not brought to its end.
    #[strum(serialize = "interrupted-checkout")]
    Interrupted,
    /// Git finds objects missing or broken.
    BrokenGit,
    /// An object or a pack of git's that is empty or no such file at all: the next fetch can fail by it.
    DamagedObject,
    /// Part of a transfer that was broken off: `tmp_pack_*`, LFS's `incomplete`. It takes space and harms nothing.
    UnfinishedTransfer,
    /// A file without its owner's write bit. Git's own objects are so by nature and are not counted.
    ReadOnlyFile,
    /// No repository of the runner's is checked out here any more.
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

/// What findings of one kind ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; no checkout fails by it.
    Note,
    /// Owner, mode or a lock file: can be put right in place.
    Repairable,
    /// Cannot: only a fresh clone helps.
    Replace,
}

impl Severity {
    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What the findings about one part of a work directory add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum AreaCondition {
    /// Nothing that a checkout would fail by.
    Clean,
    /// `remediate --mode chown` or `unlock` puts it right.
    Repairable,
    /// `remediate --mode reset` lets the next job clone afresh.
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
    /// Which.
    pub kind: FindingKind,
    /// What they ask for.
    pub severity: Severity,
    /// How many entries.
    pub count: u64,
    /// A few of them, relative to the work directory.
    #[serde(with = "as_json::Paths")]
    pub examples: Vec<PathBuf>,
    /// More, in words. May hold names from disk: escape before printing.
    pub detail: String,
}

/// One entry with something wrong, as it was when it was seen: a repair compares again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// Relative to the work directory.
    pub below: PathBuf,
    /// What is wrong.
    pub kind: FindingKind,
    /// Its identity.
    pub id: FileId,
    /// Whose it is.
    pub owner: Uid,
    /// Type and permission bits.
    pub mode: u32,
    /// Last modification.
    pub modified: SystemTime,
}

/// A directory directly in a work directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AreaKind {
    /// A repository's: `_work/<this>/<checkout>`.
    Repository,
    /// One of the runner's own: `_actions`, `_temp`, `_tool` and the like.
    RunnersOwn,
}

/// Whose a git directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitKind {
    /// The repository's own checkout: `_work/x/x/.git`.
    Checkout,
    /// Another one below it: a checkout into a path, a clone that a job made.
    Nested,
    /// A submodule's, `.git/modules/x`: a checkout's own is made from it.
    Module,
}

/// A git directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitDir {
    /// Relative to the work directory.
    pub below: PathBuf,
    /// Whose.
    pub kind: GitKind,
}

/// What a walk over one area saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AreaScan {
    /// Entries looked at.
    pub entries: u64,
    /// How many of each kind.
    pub counts: BTreeMap<FindingKind, u64>,
    /// Those entries, at most a bounded number; parents before what is in them.
    pub defects: Vec<Defect>,
    /// More, in words, by kind.
    pub details: BTreeMap<FindingKind, String>,
    /// Git directories, relative to the work directory.
    pub gits: Vec<GitDir>,
    /// There are more of those.
    pub has_more_gits: bool,
    /// Whether the walk came to its end.
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
    /// Whose.
    #[serde(skip)]
    pub kind: AreaKind,
    /// The verdict.
    pub verdict: AreaCondition,
    /// How it is best put right; `None` when nothing is to be done, or can be.
    pub mode: Option<RemediateMode>,
    /// Whether all of it was seen.
    #[serde(rename = "whole")]
    pub is_whole: bool,
    /// What it rests on, the gravest first.
    pub findings: Vec<Finding>,
    /// What could not be judged, in words.
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
    /// Of which kind.
    pub kind: LeftoverKind,
    /// Where.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// Its newest entry.
    #[serde(with = "as_json::Time")]
    pub newest: SystemTime,
}

/// What an audit found out about one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerAudit {
    /// The runner.
    pub runner: Runner,
    /// Whether it is in use.
    pub state: Liveness,
    /// Why nothing was examined, if nothing was: a job changes its tree while it is looked at.
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
    /// More than one repository is contaminated: what did it works on this host, not in one repository.
    pub fn is_wider_incident(&self) -> bool {
        self.contaminated > 1
    }
}

/// How a repository is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RemediateMode {
    /// Owner's permission bits are given back, stale lock files taken away.
    Unlock,
    /// Foreign entries are given back to the runner's user.
    Chown,
    /// All of it is moved to trash: the next job clones afresh.
    Reset,
}

impl RemediateMode {
    /// The word for the command line and JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Repaired {
    /// A preview: it would be changed.
    Planned,
    /// It is as it should be.
    Done,
    /// It is no longer what was seen: left alone.
    Changed(String),
    /// It must not be changed; why.
    Refused(String),
    /// The system refused; its error.
    Failed(String),
}

impl Repaired {
    /// The name for JSON.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }

    /// Why it was not done.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Planned | Self::Done => None,
            Self::Changed(why) | Self::Refused(why) | Self::Failed(why) => Some(why),
        }
    }
}

/// One entry and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Relative to the work directory.
    #[serde(flatten, with = "as_json::AtPath")]
    pub below: PathBuf,
    /// What is or was to be done, in words: `owner 0 -> 1001`, `mode 0555 -> 0755`.
    #[serde(rename = "change")]
    pub what: String,
    /// What became of it.
    #[serde(flatten)]
    pub result: Repaired,
}

/// The result of repairing one area.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RepairReport {
    /// True when nothing was touched.
    pub dry_run: bool,
    /// Whose.
    #[serde(with = "RunnerName")]
    pub runner: Runner,
    /// The area.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// How.
    pub mode: RemediateMode,
    /// How many were or would be changed.
    pub done: u64,
    /// How many were not.
    pub undone: u64,
    /// Bytes that a reset moves to trash or has deleted.
    pub bytes: u64,
    /// What speaks against touching it; then nothing was, or no more from then on.
    #[serde(rename = "evidence")]
    pub objections: Vec<Evidence>,
    /// Entries and what became of them; with many the first, those that were not done before the others.
    pub changes: Vec<Change>,
    /// For people.
    pub notes: Vec<String>,
}

named!(FindingKind, Severity, AreaCondition, LeftoverKind, RemediateMode);
outcomes!(Repaired);
