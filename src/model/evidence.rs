//! What speaks for or against a runner being idle.

use crate::as_json::{self, named};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use strum::{IntoStaticStr, VariantArray, VariantNames};

/// The kinds of evidence, named as the contract names them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, VariantArray, VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
pub enum EvidenceKind {
    /// A `Runner.Worker` whose executable lies in this runner's root.
    WorkerProcess,
    /// A `Runner.Worker` that cannot be attributed to any runner.
    UnattributedWorker,
    /// A lease whose Worker lives.
    Lease,
    /// A process with its cwd, root, executable, a mapping or an open file inside.
    ProcessInside,
    /// A mount of the work directory or a part of it, in any mount namespace.
    MountInside,
    /// Cargo's lock on a profile directory is held.
    BuildLock,
    /// A flock on the directory itself is held.
    DirectoryLock,
    /// Content younger than the idle floor.
    RecentContent,
    /// The Listener has received a job and not finished it.
    JobReceived,
    /// Jobs do not pass through our hook.
    Unguarded,
    /// Something that could hold the runner's files cannot be examined.
    Visibility,
}

impl EvidenceKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: &'static [Self] = <Self as VariantArray>::VARIANTS;

    /// Their names, in the same order.
    pub const NAMES: &'static [&'static str] = <Self as VariantNames>::VARIANTS;

    /// The contract's name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The meaning of a piece of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Weight {
    /// It is in use.
    InUse,
    /// It could not be examined; this protects as much as [`Weight::InUse`].
    CannotTell,
    /// It is not in use, but must not be claimed (recent content, unguarded).
    Forbids,
}

named!(EvidenceKind, Liveness);

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Evidence {
    /// What kind.
    pub kind: EvidenceKind,
    /// Text for people: user, pid, file, age. May contain names from disk: escape before printing.
    pub detail: String,
    /// The directory that it concerns; `None`: the whole work directory of the runner.
    #[serde(flatten, with = "as_json::Within")]
    pub within: Option<PathBuf>,
    /// Its meaning.
    #[serde(skip)]
    pub weight: Weight,
}

impl Evidence {
    /// Evidence about the whole work directory.
    pub fn new(kind: EvidenceKind, weight: Weight, detail: impl Into<String>) -> Self {
        Self { kind, weight, within: None, detail: detail.into() }
    }

    /// Evidence about one directory.
    pub fn within(kind: EvidenceKind, weight: Weight, path: PathBuf, detail: impl Into<String>) -> Self {
        Self { kind, weight, within: Some(path), detail: detail.into() }
    }
}

/// The strongest piece: use, then doubt, then prohibition; equal ones in the order of their kinds.
pub fn strongest(evidence: &[Evidence]) -> Option<&Evidence> {
    evidence.iter().min_by_key(|e| (e.weight, e.kind))
}

/// The state of a runner that follows from the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[must_use]
#[strum(serialize_all = "kebab-case")]
pub enum Liveness {
    /// It is provably not in use.
    Idle,
    /// It is in use.
    Busy,
    /// Its use cannot be determined; this protects as `Busy` does.
    Unknown,
}

impl Liveness {
    /// The contract's name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether the observer sees every process of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// It sees every process.
    Complete,
    /// It does not; the reasons, as text for people.
    Partial(Vec<String>),
}
