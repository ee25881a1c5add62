//! A plan and what became of it.

use super::{Cache, Evidence, Filesystem, FilesystemId, Runner, SpaceHolder, TargetView, Usage};
use strum::{IntoStaticStr, VariantNames};

/// The planned removals, and the reason for every cache that is kept. A plan is data: a dry run prints it, and `reclaim` executes it, which
/// may skip or stop but never adds.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// One entry per cache, in the order of execution; kept caches are last.
    pub actions: Vec<Action>,
    /// The need of each filesystem before anything is removed.
    pub needs: Vec<(FilesystemId, Need)>,
    /// The goals that are out of reach.
    pub shortfalls: Vec<Shortfall>,
    /// The cargo targets that were examined for unused units.
    pub targets: Vec<TargetView>,
}

impl Plan {
    /// The actions that remove something.
    pub fn removals(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|a| matches!(a.decision, Decision::Remove(_)))
    }
}

/// One cache and the decision about it.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its runner.
    pub runner: Runner,
    /// The cache.
    pub cache: Cache,
    /// Remove or keep.
    pub decision: Decision,
}

/// Remove or keep, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is removed.
    Remove(RemoveReason),
    /// It is kept.
    Keep(KeepReason),
}

/// Why a cache is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RemoveReason {
    /// Its filesystem is under pressure.
    Pressure,
    /// Live jobs are expected to need its space.
    Forecast,
    /// It is older than the rule's `max_age`.
    Age,
    /// It is larger than the rule's `max_size`.
    Size,
    /// A person asked for it.
    Asked,
}

impl RemoveReason {
    /// For JSON, the journal and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a cache is kept.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum KeepReason {
    /// Its space is not needed.
    NotNeeded,
    /// It may be in use, or must not be touched; the evidence says why.
    Protected(Vec<Evidence>),
    /// `siblings.claim = "never"`.
    SiblingsOff,
    /// Its space is shared, so its removal would not free it.
    GivesLittle,
    /// It belongs to a user whose files the guard does not remove.
    ForeignOwner(String),
}

impl KeepReason {
    /// For JSON and the journal.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

impl Decision {
    /// The name of its reason, for JSON and the journal.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Remove(reason) => reason.as_str(),
            Self::Keep(reason) => reason.as_str(),
        }
    }
}

/// The goals of a run on a filesystem, the highest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Aim {
    /// Enough for live jobs in 95 of 100 cases.
    Jobs,
    /// If that is out of reach: the expected need of live jobs, and as much more as possible.
    JobsOnAverage,
    /// `pressure.low`, and every floor.
    #[default]
    Low,
    /// If that is out of reach: below critical, and above the floors as far as possible.
    BelowCritical,
    /// If that is out of reach as well: some room for a job.
    OffTheBrink,
}

impl Aim {
    /// For JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A goal that cannot be reached by removing everything removable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortfall {
    /// Its filesystem.
    pub filesystem: FilesystemId,
    /// The shortfall to the goal.
    pub need: Need,
    /// The amount that all caches there would free.
    pub reach: Need,
    /// The goal.
    pub goal: Aim,
    /// The goal that is used instead.
    pub aim: Aim,
}

/// The shortfall of a filesystem to its goal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// Bytes.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl Need {
    /// Whether nothing is needed.
    pub fn is_met(&self) -> bool {
        self.bytes == 0 && self.inodes == 0
    }

    /// What remains when `gained` has been freed.
    #[must_use]
    pub fn less(self, gained: Need) -> Need {
        Need {
            bytes: self.bytes.saturating_sub(gained.bytes),
            inodes: self.inodes.saturating_sub(gained.inodes),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Need) -> Need {
        Need {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }

    /// Whether freeing this would bring `open` closer to being met.
    pub fn helps(self, open: Need) -> bool {
        (open.bytes > 0 && self.bytes > 0) || (open.inodes > 0 && self.inodes > 0)
    }
}

/// The result of one action.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The action, with its cache and runner.
    pub action: Action,
    /// The result.
    pub result: ActionResult,
}

impl Outcome {
    /// The evidence that stopped the removal, before or after the claim.
    pub fn evidence(&self) -> &[Evidence] {
        match (&self.result, &self.action.decision) {
            (ActionResult::Restored(evidence), _) => evidence,
            (_, Decision::Keep(KeepReason::Protected(evidence))) => evidence,
            _ => &[],
        }
    }
}

/// The result for one cache.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum ActionResult {
    /// A dry run: it would be removed.
    Planned,
    /// Claimed and deleted; all of it is gone.
    Removed,
    /// Kept, as decided.
    Kept,
    /// Claimed, then moved back because of new evidence.
    Restored(Vec<Evidence>),
    /// It differs from the plan (another inode or owner, or gone) and was kept.
    Changed(String),
    /// The error of the system.
    Failed(String),
    /// Not done in this run: the goal was met before, time ran out, or it is in trash for the next run.
    Deferred(String),
}

impl ActionResult {
    /// The contract's name.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// A filesystem before and after a run.
#[derive(Debug, Clone)]
pub struct Balance {
    /// The filesystem before.
    pub before: Filesystem,
    /// Its usage afterwards; the same as before in a dry run.
    pub after: Usage,
    /// The goal there, if it is out of reach.
    pub shortfall: Option<Shortfall>,
}

/// The result of a sweep, a plan or a hook's run.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// True when nothing was touched.
    pub dry_run: bool,
    /// Whether every filesystem that was under pressure has reached its goal.
    pub goal_met: bool,
    /// Filesystems before and after.
    pub balances: Vec<Balance>,
    /// The result for every cache.
    pub outcomes: Vec<Outcome>,
    /// Bytes of the trees that this run removed, including unfinished trash of earlier runs; where files can share space, the measured
    /// gain.
    pub freed_bytes: u64,
    /// The largest users of the disks whose goal is missed, the largest first.
    pub holding: Vec<SpaceHolder>,
    /// The cargo targets that were examined for unused units; only in a preview.
    pub targets: Vec<TargetView>,
    /// The result of sharing blocks, if that is enabled.
    pub dedupe: Option<super::dedupe::DedupeReport>,
    /// What people should know: globs that match nothing, runners that vanished. Not errors.
    pub notes: Vec<String>,
}

/// A runner whose caches use a disk, and the job because of which they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheHolder {
    /// The runner's name.
    pub runner: String,
    /// Allocated bytes of its caches.
    pub bytes: u64,
    /// The job there, according to its lease.
    pub job: Option<super::Job>,
}
