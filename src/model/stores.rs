//! Data types of stores: what engines and build tools keep for themselves, and what was asked of their own collections.

use super::{FilesystemId, Usage};
use crate::as_json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

/// The kinds of stores.
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

    /// Whether it is a user's directory that has to be configured. The other tools know where their store is.
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Sccache | Self::Ccache | Self::Pnpm | Self::Go | Self::BazelDisk)
    }

    /// Whether its tool can free a given number of bytes. Go empties its cache, and pnpm removes everything that no project references.
    pub fn is_bounded(self) -> bool {
        !matches!(self, Self::Pnpm | Self::Go)
    }

    /// Whether the tool itself protects running builds from its collection: Nix by its lock and roots; ccache because each entry is
    /// replaced and removed as a whole, and a missing one is compiled again.
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
    /// Its kind.
    pub kind: StoreKind,
    /// The program and its first arguments; never empty.
    pub command: Vec<String>,
    /// Its directory, unless its tool knows it.
    pub path: Option<PathBuf>,
    /// Also collected down to this without pressure; 0: no limit.
    pub max_size: u64,
    /// Never collected below this.
    pub keep: u64,
    /// The time limit of one collection.
    pub timeout: Duration,
    /// Whether it may be collected while jobs run.
    pub beside_jobs: bool,
}

/// The facts about a store before its collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreFacts {
    /// Its path.
    pub path: Option<PathBuf>,
    /// Its filesystem and the usage of that.
    pub filesystem: Option<(FilesystemId, Usage)>,
    /// Its size; none if it was not measured or its tool does not report it.
    pub bytes: Option<u64>,
    /// Why it cannot be collected: its tool is not there, does not answer, or must not be run.
    pub problem: Option<String>,
    /// Whether its last collection freed almost nothing and was recent.
    pub rests: bool,
}

/// Whether builds may be running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostState {
    /// Every runner of the host is provably idle.
    Idle,
    /// One is not, or that is unknown; the reason.
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

/// The amount that a store has to free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// The bytes to free.
    pub bytes: u64,
    /// The bytes that it may keep, if its size is known.
    pub keep: Option<u64>,
}

/// The decision about one store.
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
    /// Not needed: its disk has room, or other stores free enough.
    NotNeeded,
    /// It is not larger than `keep`.
    AtItsFloor,
    /// Its last collection freed almost nothing.
    Rests,
    /// A build may be running; whose.
    InUse(String),
    /// It cannot be examined, or its tool cannot be used; the reason.
    Unusable(String),
}

impl Leaves {
    /// The name for JSON and the journal.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// The result of a collection.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum StoreResult {
    /// A dry run: it would be collected.
    Planned,
    /// Left alone.
    Kept,
    /// Its tool has collected it.
    Collected,
    /// Its tool was ended because a job started; the sign of that job.
    Interrupted(String),
    /// Its tool failed, took too long, or reported an error.
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

/// The result of a run for one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreReport {
    /// The entry's name.
    pub name: String,
    /// Its kind.
    pub kind: StoreKind,
    /// The facts.
    pub facts: StoreFacts,
    /// The decision.
    pub verdict: StoreVerdict,
    /// The result.
    pub result: StoreResult,
    /// The measured increase of free bytes on its filesystem meanwhile.
    pub freed_bytes: u64,
    /// The duration of its tool's calls.
    pub took: Duration,
}

impl StoreReport {
    /// The bytes that it had, or would have, to free.
    pub fn asked_bytes(&self) -> u64 {
        match &self.verdict {
            StoreVerdict::Collect(_, portion) => portion.bytes,
            StoreVerdict::Leave(_) => 0,
        }
    }

    /// Whether there was an error.
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
    /// One entry per `[[store]]`, in the order of the configuration.
    pub stores: Vec<StoreReport>,
}

impl StoresReport {
    /// Whether there was an error.
    pub fn is_failed(&self) -> bool {
        self.stores.iter().any(StoreReport::is_failed)
    }

    /// Freed bytes.
    pub fn freed_bytes(&self) -> u64 {
        self.stores.iter().map(|store| store.freed_bytes).sum()
    }
}

/// The result of the last run, and sums of all runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoresRecord {
    /// One entry per store.
    pub stores: Vec<StoreRecord>,
    /// Freed bytes, by kind.
    #[serde(rename = "freed_bytes_total")]
    pub freed_total: BTreeMap<String, u64>,
    /// Collections that failed, by kind.
    pub failed_total: BTreeMap<String, u64>,
}

/// The last run's result for one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRecord {
    /// The entry's name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// When the run was.
    #[serde(with = "as_json::WholeSeconds")]
    pub time: SystemTime,
    /// Its size when it was last measured.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The result.
    #[serde(default)]
    pub outcome: String,
    /// Freed bytes.
    #[serde(default)]
    pub freed_bytes: u64,
    /// Its last collection, and the freed bytes.
    #[serde(default)]
    pub collected: Option<Collected>,
    /// The time until which it is not collected again, because its last collection freed almost nothing.
    #[serde(default, with = "as_json::OptionalWholeSeconds")]
    pub rests_until: Option<SystemTime>,
    /// The error, or why it was left alone.
    #[serde(default)]
    pub detail: Option<String>,
}

/// A collection: its time and the freed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected(#[serde(with = "as_json::WholeSeconds")] pub SystemTime, pub u64);
