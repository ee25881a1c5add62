//! What a cargo target directory is made of, and what of it can go without the next build noticing.

use super::Member;
use crate::as_json::{self, adapters};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use strum::{IntoStaticStr, VariantArray};

/// The content of a target directory, in units that cargo builds, reuses and discards as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CargoTarget {
    /// The units that cargo has built.
    pub units: Vec<Unit>,
    /// Other content, which cargo creates again if it is missing.
    pub extras: Vec<Extra>,
    /// Cargo's lock of each profile that holds units, relative to the target directory.
    pub locks: Vec<PathBuf>,
    /// Allocated bytes of all units and extras.
    pub bytes: u64,
}

/// One unit of cargo: a crate, a test executable, a build script or its run. It is removed as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// For people: the package, with its kind (`serde lib-serde`).
    pub label: String,
    /// Its purpose: units of one role replace each other. This is an estimate, because features are unified per command.
    pub role: String,
    /// Its fingerprints, each a unit of its own kind in one directory.
    pub hashes: Vec<u64>,
    /// The fingerprints of its dependencies.
    pub needs: Vec<u64>,
    /// Whether cargo can reuse it.
    pub state: UnitState,
    /// When it was built: the modification time of its fingerprint.
    pub built: SystemTime,
    /// When a build last read its fingerprint, if the filesystem records that.
    pub read: SystemTime,
    /// When its fingerprint was last armed or changed (`st_ctime`).
    pub armed: SystemTime,
    /// The duration of its build.
    pub cost: Duration,
    /// Whether it belongs to the workspace, so that the next commit is likely to rebuild it anyway.
    pub origin: Origin,
    /// Allocated bytes that its removal frees.
    pub bytes: u64,
    /// Its files and directories, in the order of their removal.
    pub members: Vec<Member>,
}

/// Whether a unit can be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitState {
    /// It has a fingerprint.
    Complete,
    /// Its fingerprint is missing or damaged: cargo builds it again in any case.
    Broken,
}

/// The place of a unit's source code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the workspace.
    Workspace,
    /// In a registry or a git checkout.
    Dependency,
}

/// Other content of a target directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Its kind.
    pub kind: ExtraKind,
    /// Its last modification.
    pub changed: SystemTime,
    /// Allocated bytes that its removal frees.
    pub bytes: u64,
    /// Its files and directories.
    pub members: Vec<Member>,
}

/// The kinds of other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExtraKind {
    /// Documentation, packages, timings, scratch files of tests, and artefacts that no fingerprint names.
    Leftover,
    /// The compiler's incremental state of one crate.
    Incremental,
}

/// Whether the filesystem records when a build last used a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceBits {
    /// It does: access times are updated (relatime), and the used units include all their dependencies.
    Trusted,
    /// It does not; the reason.
    Untrusted(String),
}

/// Whether reads update access times on a filesystem. If so, they show which units a build has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTimes {
    /// They do.
    Move,
    /// They do not, as under noatime.
    Stay,
    /// Unknown; the reason.
    Unknown(String),
}

/// The cost of a step, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum TrimTier {
    /// No build can reuse it: its fingerprint, or that of a dependency, is missing.
    Broken,
    /// No build has used it since others were used; without access times, a unit of the same role is newer.
    Unused,
    /// Documentation, packages, scratch files, artefacts without a fingerprint.
    Leftover,
    /// Incremental state: the crate is compiled from its sources, its dependencies are kept.
    Incremental,
    /// In use: the next build compiles it again.
    Live,
}

impl TrimTier {
    /// All of them, the cheapest first.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// For JSON, the journal and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One step of a trim: entries that are removed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrimStep {
    /// Its cost.
    pub tier: TrimTier,
    /// Allocated bytes that it frees.
    pub bytes: u64,
    /// The build time of the removed units. Units that the next commit rebuilds anyway count 0.
    pub cost: Duration,
    /// The last known use by a build.
    pub last_used: SystemTime,
    /// The number of removed units; 0 for other content.
    pub units: usize,
    /// The removed entries, in this order.
    pub members: Vec<Member>,
}

/// The steps in which a target directory can be trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrimOffer {
    /// The steps, the cheapest first. After any number of them, counted from the first, cargo can use the target.
    pub steps: Vec<TrimStep>,
    /// Files to lock during the removal, relative to the target directory.
    pub locks: Vec<PathBuf>,
    /// Whether `Unused` is derived from access times.
    pub bits: ReferenceBits,
    /// Allocated bytes of everything that was examined.
    pub bytes: u64,
}

impl TrimOffer {
    /// The number of steps, counted from the first, that free at least `bytes` and cost at most `dearest`; all such steps if they do not
    /// suffice.
    pub fn steps_for(&self, bytes: u64, dearest: TrimTier) -> usize {
        let mut gained = 0;
        let mut count = 0;
        for step in self.steps.iter().take_while(|step| step.tier <= dearest) {
            if gained >= bytes {
                break;
            }
            gained += step.bytes;
            count += 1;
        }
        count
    }

    /// Bytes in the steps of one tier.
    pub fn bytes_in(&self, tier: TrimTier) -> u64 {
        self.steps.iter().filter(|step| step.tier == tier).map(|step| step.bytes).sum()
    }

    /// The first `count` steps as one part of a cache.
    pub fn first(&self, count: usize) -> TrimPart {
        let taken = &self.steps[..count.min(self.steps.len())];
        TrimPart {
            members: taken.iter().flat_map(|step| step.members.iter().cloned()).collect(),
            locks: self.locks.clone().into(),
            bytes: taken.iter().map(|step| step.bytes).sum(),
            units: taken.iter().map(|step| step.units).sum(),
            dearest: taken.iter().map(|step| step.tier).max().unwrap_or(TrimTier::Broken),
        }
    }
}

/// The content of a target directory, by cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TargetView {
    /// The target directory.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// Its runner's name.
    pub runner: String,
    /// Allocated bytes of everything that was examined.
    pub bytes: u64,
    /// Those of unused units.
    pub unused_bytes: u64,
    /// The last known use of one of the unused units by a build.
    #[serde(with = "as_json::OptionalTime")]
    pub last_used: Option<SystemTime>,
    /// Allocated bytes by tier, in the order of [`TrimTier::ALL`].
    #[serde(with = "Tiers")]
    pub tiers: Vec<(TrimTier, u64)>,
}

impl TargetView {
    /// From the steps of a target.
    pub fn of(path: &Path, runner: &str, offer: &TrimOffer) -> Self {
        let unused = offer.steps.iter().filter(|step| step.tier == TrimTier::Unused);
        Self {
            path: path.to_owned(),
            runner: runner.to_owned(),
            tiers: TrimTier::ALL.iter().map(|tier| (*tier, offer.bytes_in(*tier))).collect(),
            bytes: offer.bytes,
            unused_bytes: offer.bytes_in(TrimTier::Broken).saturating_add(offer.bytes_in(TrimTier::Unused)),
            last_used: unused.map(|step| step.last_used).max(),
        }
    }
}

/// The part of a target directory that is removed while the rest is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrimPart {
    /// The removed entries in this order: of each unit its fingerprint first.
    pub members: Arc<[Member]>,
    /// Cargo's locks, held while the members are moved; relative to the cache.
    pub locks: Arc<[PathBuf]>,
    /// Allocated bytes that are freed.
    pub bytes: u64,
    /// The number of removed units.
    pub units: usize,
    /// The highest cost among them.
    pub dearest: TrimTier,
}

adapters! {
    /// Bytes by the names of tiers.
    Tiers: [(TrimTier, u64)] => BTreeMap<&'static str, u64>, |tiers| {
        tiers.iter().map(|(tier, bytes)| (tier.as_str(), *bytes)).collect()
    };
}
