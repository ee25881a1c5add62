//! A plan and what became of it.

use super::{Cache, Evidence, Filesystem, FilesystemId, Runner, SpaceHolder, TargetView, Usage};
use strum::{IntoStaticStr, VariantNames};

/// What is to be done, and for everything that is left alone: why. A plan is data; it is printed by a dry run and
/// executed by `reclaim`, which may skip or stop but never adds.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// One entry a cache, in the order of execution; what is kept comes last.
    pub actions: Vec<Action>,
    /// What each filesystem needs, as far as known before anything is removed.
    pub needs: Vec<(FilesystemId, Need)>,
    /// The goals among them that are out of reach.
    pub shortfalls: Vec<Shortfall>,
    /// Targets that were read for what no build uses.
    pub targets: Vec<TargetView>,
}

impl Plan {
    /// The actions that remove something.
    pub fn removals(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|a| matches!(a.decision, Decision::Remove(_)))
    }
}

/// One cache and what is decided about it.
#[derive(Debug, Clone)]
pub struct Action {
    /// Whose it is.
    pub runner: Runner,
    /// What.
    pub cache: Cache,
    /// Remove or keep.
    pub decision: Decision,
}

/// Remove or keep, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may go, and is wanted.
    Remove(RemoveReason),
    /// It stays.
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
    /// Nothing asks for its space.
    NotNeeded,
    /// It may be in use, or must not be touched; the evidence says why.
    Protected(Vec<Evidence>),
    /// `siblings.claim = "never"`.
    SiblingsOff,
    /// Its space is shared, and would not come free.
    GivesLittle,
    /// It belongs to somebody whose things the guard does not remove.
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

/// What a run aims at on a filesystem, the highest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Aim {
    /// What live jobs need in 95 of 100 cases.
    Jobs,
    /// That is out of reach, and what they are expected to need is not: as much of it as there is.
    JobsOnAverage,
    /// `pressure.low`, and every floor.
    #[default]
    Low,
    /// That is out of reach: below critical, and above the floors as far as they are within reach.
    BelowCritical,
    /// That is out of reach as well: some room for a job.
    OffTheBrink,
}

impl Aim {
    /// For JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A goal that all that the guard may remove cannot reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortfall {
    /// Where.
    pub filesystem: FilesystemId,
    /// What the goal lacks.
    pub need: Need,
    /// What all caches there would give.
    pub reach: Need,
    /// The goal.
    pub goal: Aim,
    /// What is aimed at instead.
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
    /// True when nothing is lacking.
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

/// What became of one action.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The action, with its cache and runner.
    pub action: Action,
    /// What happened.
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

/// What happened to one cache.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum ActionResult {
    /// A dry run: it would be removed.
    Planned,
    /// Claimed and deleted; all of it is gone.
    Removed,
    /// Left alone, as decided.
    Kept,
    /// Claimed, then put back because doubt arose after the claim.
    Restored(Vec<Evidence>),
    /// It is no longer what was planned (another inode or owner, or gone): left alone.
    Changed(String),
    /// The system refused; what it said.
    Failed(String),
    /// Not done this time: the goal was met before its turn, time ran out, or it is in trash for the next run.
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
    /// Which, as it was before.
    pub before: Filesystem,
    /// Its usage afterwards; the same as before in a dry run.
    pub after: Usage,
    /// The goal that is out of reach there, if it is.
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
    /// What became of every cache.
    pub outcomes: Vec<Outcome>,
    /// Bytes of the trees that were removed in this run, unfinished trash of earlier runs included; where files can share space,
    /// what has been measured to come free.
    pub freed_bytes: u64,
    /// What holds the disks whose goal is missed, the largest first.
    pub holding: Vec<SpaceHolder>,
    /// Targets that were read for what no build uses; in a preview.
    pub targets: Vec<TargetView>,
    /// What became of equal files, where they are to share their blocks.
    pub dedupe: Option<super::dedupe::DedupeReport>,
    /// What people should know: globs that match nothing, runners that vanished. Not errors.
    pub notes: Vec<String>,
}

/// What a runner's caches take of a disk, and the job that keeps them there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheHolder {
    /// The runner's name.
    pub runner: String,
    /// Allocated bytes of its caches.
    pub bytes: u64,
    /// What runs there, as its lease tells.
    pub job: Option<super::Job>,
}
