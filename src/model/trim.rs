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

/// A target directory, read into what cargo builds, reuses and throws away as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CargoTarget {
    /// What cargo has built.
    pub units: Vec<Unit>,
    /// What belongs to no unit and that cargo makes again when it is missing.
    pub extras: Vec<Extra>,
    /// Cargo's lock of each profile that holds units, relative to the target directory.
    pub locks: Vec<PathBuf>,
    /// Allocated bytes of all units and extras.
    pub bytes: u64,
}

/// One thing that cargo builds: a crate, a test executable, a build script or its run. It goes as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// For people: the package, with its kind (`serde lib-serde`).
    pub label: String,
    /// What it was built for: units of one role replace each other. Only an estimate, since features are unified per command.
    pub role: String,
    /// Its fingerprints, each a unit of its own kind in one directory.
    pub hashes: Vec<u64>,
    /// The fingerprints of what it was built from.
    pub needs: Vec<u64>,
    /// Whether cargo could read it: it has a fingerprint that is complete.
    pub state: UnitState,
    /// When it was built: the modification time of its fingerprint.
    pub built: SystemTime,
    /// When a build last read its fingerprint, as far as the filesystem tells.
    pub read: SystemTime,
    /// When its fingerprint was last armed or changed (`st_ctime`).
    pub armed: SystemTime,
    /// How long its build took.
    pub cost: Duration,
    /// Whether it belongs to the workspace, so that the next commit is likely to rebuild it anyway.
    pub origin: Origin,
    /// Allocated bytes that its removal gives back.
    pub bytes: u64,
    /// Its files and directories, in the order in which they have to go.
    pub members: Vec<Member>,
}

/// Whether a unit can be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitState {
    /// It has a fingerprint.
    Complete,
    /// Its fingerprint is missing or torn: cargo builds it again whatever else there is.
    Broken,
}

/// Where a unit's source lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the workspace.
    Workspace,
    /// In a registry or a git checkout.
    Dependency,
}

/// Something beside the units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// What it is.
    pub kind: ExtraKind,
    /// When something in it was last written.
    pub changed: SystemTime,
    /// Allocated bytes that its removal gives back.
    pub bytes: u64,
    /// Its files and directories.
    pub members: Vec<Member>,
}

/// What an extra is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExtraKind {
    /// Documentation, packages, timings, scratch files of tests, and artefacts that no fingerprint names.
    Leftover,
    /// The compiler's incremental state of one crate.
    Incremental,
}

/// Whether the filesystem tells when a build last used a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceBits {
    /// It does: access times move (relatime), and what a build needs is a closed set.
    Trusted,
    /// It does not, and why.
    Untrusted(String),
}

/// Whether reads update access times on a filesystem. Where they do, a build shows what it has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTimes {
    /// They do.
    Move,
    /// They do not, as under noatime.
    Stay,
    /// It could not be found out, and why.
    Unknown(String),
}

/// How dear a step is; the cheapest to lose first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum TrimTier {
    /// No build can reuse it: its fingerprint, or one of what it was built from, is gone.
    Broken,
    /// No build has used it since others were used; without reference bits, one of the same role is newer.
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

/// One step of a trim: what goes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrimStep {
    /// How dear it is.
    pub tier: TrimTier,
    /// Allocated bytes that it gives back.
    pub bytes: u64,
    /// How long the build of what goes took; what the next commit rebuilds anyway counts nothing.
    pub cost: Duration,
    /// When a build last used any of it, as far as is known.
    pub last_used: SystemTime,
    /// How many units go; 0 for what is none.
    pub units: usize,
    /// What goes, in this order.
    pub members: Vec<Member>,
}

/// In which order a target directory can be trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrimOffer {
    /// The steps, the cheapest first. Any number of them from the first on leaves a target that cargo can use.
    pub steps: Vec<TrimStep>,
    /// What has to be locked while they are taken, relative to the target directory.
    pub locks: Vec<PathBuf>,
    /// Whether `Unused` rests on what builds have read.
    pub bits: ReferenceBits,
    /// Allocated bytes of all that was looked at.
    pub bytes: u64,
}

impl TrimOffer {
    /// How many of the steps, from the first on, give at least `bytes` without any dearer than `dearest`; all such steps when they
    /// do not suffice.
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

/// What a target directory holds, by how dear it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TargetView {
    /// The target directory.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// Its runner's name.
    pub runner: String,
    /// Allocated bytes of all that was looked at.
    pub bytes: u64,
    /// Those of units that no build uses.
    pub unused_bytes: u64,
    /// When a build last used any of the units that none uses any more, as far as is known.
    #[serde(with = "as_json::OptionalTime")]
    pub last_used: Option<SystemTime>,
    /// Allocated bytes by tier, in the order of [`TrimTier::ALL`].
    #[serde(with = "Tiers")]
    pub tiers: Vec<(TrimTier, u64)>,
}

impl TargetView {
    /// Of what was found in a target.
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

/// Units and extras of a target directory that go, while the rest of it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrimPart {
    /// What goes, in this order: of each unit its fingerprint first.
    pub members: Arc<[Member]>,
    /// Cargo's locks, held while the members are moved; relative to the cache.
    pub locks: Arc<[PathBuf]>,
    /// Allocated bytes that are given back.
    pub bytes: u64,
    /// How many units go.
    pub units: usize,
    /// The dearest tier among them.
    pub dearest: TrimTier,
}

adapters! {
    /// Bytes by the names of tiers.
    Tiers: [(TrimTier, u64)] => BTreeMap<&'static str, u64>, |tiers| {
        tiers.iter().map(|(tier, bytes)| (tier.as_str(), *bytes)).collect()
    };
}
