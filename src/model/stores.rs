//! Data types of stores: what engines and build tools keep for themselves, and what was asked of their own collections.

use super::{FilesystemId, Usage};
use crate::as_json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

/// Whose store it is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    IntoStaticStr,
    VariantArray,
    EnumString,
    VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
pub enum StoreKind {
    /// Docker's build cache.
    Buildkit,
    /// Docker's images.
    DockerImages,
    /// containerd's images, by its CRI.
    Containerd,
    /// sccache's local cache.
    Sccache,
    /// ccache's cache.
    Ccache,
    /// The Nix store.
    Nix,
    /// pnpm's content-addressable store.
    Pnpm,
    /// Go's build cache.
    Go,
    /// Bazel's disk cache.
    BazelDisk,
}

impl StoreKind {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as VariantArray>::VARIANTS;

    /// Their names, in the same order.
    pub const NAMES: &'static [&'static str] = <Self as VariantNames>::VARIANTS;

    /// The name in the configuration, in metrics and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// The program that collects it; Bazel's has no usual name.
    pub fn usual_program(self) -> Option<&'static str> {
        Some(match self {
            Self::Buildkit | Self::DockerImages => "docker",
            Self::Containerd => "crictl",
            Self::Sccache => "sccache",
            Self::Ccache => "ccache",
            Self::Nix => "nix-collect-garbage",
            Self::Pnpm => "pnpm",
            Self::Go => "go",
            Self::BazelDisk => return None,
        })
    }

    /// Whether it is a directory of some user's, which has to be named. The others know where their store is.
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Sccache | Self::Ccache | Self::Pnpm | Self::Go | Self::BazelDisk)
    }

    /// Whether its tool can be asked for so many bytes and no more. Go empties its cache, and pnpm drops all that no project
    /// refers to.
    pub fn is_bounded(self) -> bool {
        !matches!(self, Self::Pnpm | Self::Go)
    }

    /// Whether the tool itself keeps its collection and builds apart: Nix by its own lock and roots, ccache because each entry is
    /// replaced and removed as a whole and one that is gone is compiled again.
    pub fn locks_builds_out(self) -> bool {
        matches!(self, Self::Nix | Self::Ccache)
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One `[[store]]`, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRule {
    /// Its name; unique.
    pub name: String,
    /// Whose it is.
    pub kind: StoreKind,
    /// The program and its first arguments; never empty.
    pub command: Vec<String>,
    /// Where it is, if its tool is not asked.
    pub path: Option<PathBuf>,
    /// Collected down to this without pressure as well; 0 = no cap.
    pub max_size: u64,
    /// Never asked for less than this.
    pub keep: u64,
    /// How long one collection may take.
    pub timeout: Duration,
    /// Whether it may be collected while jobs run.
    pub beside_jobs: bool,
}

/// What is known of a store before anything is asked of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreFacts {
    /// Where it lies.
    pub path: Option<PathBuf>,
    /// On which filesystem, and how full that is.
    pub filesystem: Option<(FilesystemId, Usage)>,
    /// How large it is; none where it was not asked for or its tool does not tell.
    pub bytes: Option<u64>,
    /// Why it cannot be collected: its tool is not there, does not answer, or must not be run.
    pub problem: Option<String>,
    /// Its last collection gave next to nothing, and was not long ago.
    pub rests: bool,
}

/// Whether builds may be going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostState {
    /// Every runner of the host is provably idle.
    Idle,
    /// One is not, or it cannot be told; why.
    InUse(String),
}

/// Why a store is to be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum StoreReason {
    /// Its disk lacks space or inodes.
    Pressure,
    /// It is larger than `max_size`.
    Size,
}

impl StoreReason {
    /// The name for JSON and the journal.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How much is to be asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// So many bytes are wanted of it.
    pub bytes: u64,
    /// What it may keep, where its size is known.
    pub keep: Option<u64>,
}

/// What is decided about one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreVerdict {
    /// To be collected.
    Collect(StoreReason, Portion),
    /// Left alone.
    Leave(Leaves),
}

/// Why a store is left alone.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Leaves {
    /// Nothing is needed of it: its disk has room, or other stores give enough.
    NotNeeded,
    /// It holds no more than `keep`.
    AtItsFloor,
    /// Its last collection gave next to nothing.
    Rests,
    /// Somebody may build; who.
    InUse(String),
    /// It cannot be looked at, or its tool cannot be used; why.
    Unusable(String),
}

impl Leaves {
    /// The name for JSON and the journal.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum StoreResult {
    /// A dry run: it would be collected.
    Planned,
    /// Left alone.
    Kept,
    /// Its tool has done what it was asked for.
    Collected,
    /// Its tool was ended, because a job came; why it is thought so.
    Interrupted(String),
    /// Its tool failed, took too long, or said so of itself.
    Failed(String),
    /// The run had no time for it.
    Deferred,
}

impl StoreResult {
    /// The name for JSON.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// One store's part of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreReport {
    /// The entry's name.
    pub name: String,
    /// Its kind.
    pub kind: StoreKind,
    /// What was known.
    pub facts: StoreFacts,
    /// What was decided.
    pub verdict: StoreVerdict,
    /// What came of it.
    pub result: StoreResult,
    /// Bytes that its filesystem has gained meanwhile, as measured.
    pub freed_bytes: u64,
    /// How long its tool took.
    pub took: Duration,
}

impl StoreReport {
    /// How much was, or would be, asked of it.
    pub fn asked_bytes(&self) -> u64 {
        match &self.verdict {
            StoreVerdict::Collect(_, portion) => portion.bytes,
            StoreVerdict::Leave(_) => 0,
        }
    }

    /// Whether something went wrong.
    pub fn is_failed(&self) -> bool {
        matches!(self.result, StoreResult::Failed(_))
            || matches!(self.verdict, StoreVerdict::Leave(Leaves::Unusable(_)))
    }
}

/// A run over all stores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoresReport {
    /// Whether nothing was collected.
    pub dry_run: bool,
    /// One entry a `[[store]]`, in the order of the configuration.
    pub stores: Vec<StoreReport>,
}

impl StoresReport {
    /// Whether something went wrong.
    pub fn is_failed(&self) -> bool {
        self.stores.iter().any(StoreReport::is_failed)
    }

    /// Bytes that came free.
    pub fn freed_bytes(&self) -> u64 {
        self.stores.iter().map(|store| store.freed_bytes).sum()
    }
}

/// What the last run found and did, and sums since the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoresRecord {
    /// One entry a store.
    pub stores: Vec<StoreRecord>,
    /// Bytes that came free, by kind.
    #[serde(rename = "freed_bytes_total")]
    pub freed_total: BTreeMap<String, u64>,
    /// Collections that failed, by kind.
    pub failed_total: BTreeMap<String, u64>,
}

/// The last run's word on one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRecord {
    /// The entry's name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// When the run was.
    #[serde(with = "as_json::WholeSeconds")]
    pub time: SystemTime,
    /// How large it was when that was last asked for.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// What came of it.
    #[serde(default)]
    pub outcome: String,
    /// Bytes that came free.
    #[serde(default)]
    pub freed_bytes: u64,
    /// When it was last collected, and what that gave.
    #[serde(default)]
    pub collected: Option<Collected>,
    /// Until when nothing more is asked of it: its last collection gave next to nothing.
    #[serde(default, with = "as_json::OptionalWholeSeconds")]
    pub rests_until: Option<SystemTime>,
    /// What went wrong, or why it was left alone.
    #[serde(default)]
    pub detail: Option<String>,
}

/// A collection: when, and how many bytes came free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected(#[serde(with = "as_json::WholeSeconds")] pub SystemTime, pub u64);
