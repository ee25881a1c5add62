//! The answers that are drawn from the ledger: runs, and what `why`, `blame` and `history` return.

use super::{ActionKind, Extent, Judged, PathRelation, Scope, Trust, Window, Writer};
use crate::as_json::named;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;
use std::time::SystemTime;
use strum::IntoStaticStr;

named!(RunEnd, PathVerdict);

/// One run with its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRun {
    /// The kind of run; `None` if its entries do not state it.
    pub scope: Option<Scope>,
    /// The writer of its entries.
    pub writer: Writer,
    /// Its trust.
    pub trust: Trust,
    /// Its first and last entry.
    pub window: Window,
    /// How it ended.
    pub end: RunEnd,
    /// Its entries in their order.
    pub entries: Vec<Judged>,
    /// The bytes that it removed.
    pub freed_bytes: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RunEnd {
    /// It has an entry about its end.
    #[strum(serialize = "ended")]
    Complete,
    /// It began and has no entry about its end: killed, or still running.
    Open,
    /// A hook that found a healthy disk and did nothing else.
    NothingToDo,
    /// The entry about its beginning is missing, too.
    Unknown,
}

impl RunEnd {
    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl LedgerRun {
    /// The number of its entries of this kind.
    pub fn count(&self, deed: ActionKind) -> usize {
        self.entries.iter().filter(|judged| judged.record().deed == deed).count()
    }
}

/// The ledger as it was read, in the order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The entries.
    pub entries: Vec<Judged>,
    /// How far it reaches.
    pub extent: Extent,
}

/// The answer to `why`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The path in question, absolute.
    pub path: PathBuf,
    /// The same path with links resolved, if that differs.
    pub real: Option<PathBuf>,
    /// Whether it exists now; if not, the nearest existing directory above it and its last change.
    pub present: Presence,
    /// The answer.
    pub verdict: PathVerdict,
    /// Authentic entries about it, in the order of time.
    pub entries: Vec<(PathRelation, Judged)>,
    /// The runs with these entries.
    pub acts: Vec<LedgerRun>,
    /// Entries about it that are not trusted.
    pub foreign: Vec<(PathRelation, Judged)>,
    /// The span that `runs` covers.
    pub window: Window,
    /// The guard's runs in that span.
    pub runs: Vec<LedgerRun>,
    /// How far the ledger reaches.
    pub extent: Extent,
    /// The runner to which the path belongs.
    pub runner: Option<String>,
}

/// The answer to `why` for the name of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhyEnvironment {
    /// The name in question.
    pub name: String,
    /// Authentic entries about it, in the order of time.
    pub entries: Vec<Judged>,
    /// Entries about it that are not trusted.
    pub foreign: Vec<Judged>,
    /// How far the ledger reaches.
    pub extent: Extent,
}

/// Whether a path exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It exists.
    Present,
    /// It does not exist; the nearest existing directory above it, and the last time an entry was created or removed there.
    Gone(PathBuf, SystemTime),
    /// Unknown; why.
    Hidden(String),
}

/// The ledger's answer about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum PathVerdict {
    /// The guard removed it, or something that contained it.
    Removed,
    /// The guard removed something inside it.
    RemovedInside,
    /// The guard claimed it and has not reported the end: it is in trash, or the run was killed.
    Claimed,
    /// The guard claimed it and put it back.
    Restored,
    /// The guard repaired owner or mode of it or of something in it, and removed nothing.
    Repaired,
    /// The guard examined it and kept it.
    Kept,
    /// It is in a store that was collected by its own tool, which may have deleted it.
    Collected,
    /// No entry concerns it, in a ledger that is complete since a known time.
    NotTouched,
    /// No entry concerns it, and the ledger does not have the runs of all users.
    NoEvidence,
}

impl PathVerdict {
    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The answer to `blame`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// The time asked about.
    pub at: SystemTime,
    /// The span around it.
    pub window: Window,
    /// Authentic runs in it.
    pub runs: Vec<LedgerRun>,
    /// Entries in it that are not trusted.
    pub foreign: Vec<Judged>,
    /// The last action before it.
    pub before: Option<Judged>,
    /// The first action after it.
    pub after: Option<Judged>,
    /// How far the ledger reaches.
    pub extent: Extent,
}

/// The answer to `history`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The span.
    pub window: Window,
    /// The actions and refusals in it.
    pub deeds: Vec<Judged>,
    /// The number of runs.
    pub runs: usize,
    /// The number of caches that were examined and kept.
    pub kept: usize,
    /// Entries that are not trusted.
    pub foreign: Vec<Judged>,
    /// What was removed, by rule.
    pub by_rule: Vec<Total>,
    /// What was removed, by runner.
    pub by_runner: Vec<Total>,
    /// How far the ledger reaches.
    pub extent: Extent,
}

/// A sum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Total {
    /// The name of the rule or runner.
    pub name: String,
    /// The number of trees.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
}
