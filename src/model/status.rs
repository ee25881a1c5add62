//! The host at a glance, and the answer to "is it idle?".

use super::dedupe::DedupeRecord;
use super::reap::ReapRecord;
use super::runner::WholeRunner;
use super::stores::StoresRecord;
use super::{
    Cache, Capacity, DiskForecast, Evidence, Filesystem, Guarded, Job, Level, Liveness, Pid, Runner,
    SpaceHolder, TargetView, Usage, Visibility,
};
use crate::as_json::{self, adapters};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;
use std::time::SystemTime;
use strum::{IntoStaticStr, VariantArray};

/// Everything `status` shows, as of one moment.
#[derive(Debug, Clone)]
pub struct HostStatus {
    /// The host's name.
    pub host: String,
    /// The moment: ages are counted from here.
    pub time: SystemTime,
    /// Whether every process could be seen.
    pub visibility: Visibility,
    /// Who holds the host lock.
    pub lock: LockView,
    /// Bytes in trash directories, to be deleted by the next run.
    pub trash_bytes: u64,
    /// The filesystems that hold work directories.
    pub filesystems: Vec<FilesystemStatus>,
    /// The host's other disks, for orientation; the guard does not act on them.
    pub other_disks: Vec<Disk>,
    /// What holds the disks whose goal is missed, the largest first.
    pub holding: Vec<SpaceHolder>,
    /// One entry a runner.
    pub runners: Vec<RunnerStatus>,
    /// The caches outside of work directories.
    pub declared: Vec<DeclaredStatus>,
    /// Cargo targets that were read for what no build uses.
    pub targets: Vec<TargetView>,
    /// What live jobs need, by filesystem; none where the forecast is switched off.
    pub forecasts: Vec<DiskForecast>,
    /// What the host can run out of beside that.
    pub capacity: Capacity,
    /// What the reaper found in its last run; none where it never ran.
    pub reap: Option<ReapRecord>,
    /// What became of stores in the last run; none where it never ran.
    pub stores: Option<StoresRecord>,
    /// What equal files of several runners shared in the last sweep; none where it never did that.
    pub dedupe: Option<DedupeRecord>,
    /// What people should know; not errors. May hold names from disk: escape before printing.
    pub notes: Vec<String>,
    /// How many runners each configured glob found.
    pub root_matches: Vec<RootMatches>,
    /// The cache rules, and whether each is in force.
    pub rules: Vec<RuleStatus>,
    /// Whether those are the globs that nobody has configured: most hosts have runners in one of the places only.
    pub roots_are_built_in: bool,
}

/// A cache rule of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleStatus {
    /// Its name.
    pub name: String,
    /// Not with `enabled = false`: what it would match is left alone.
    #[serde(rename = "enabled")]
    pub is_enabled: bool,
}

/// A filesystem and how bad it is.
#[derive(Debug, Clone)]
pub struct FilesystemStatus {
    /// Which, and its usage.
    pub filesystem: Filesystem,
    /// Against the configured watermarks and floors.
    pub level: Level,
}

/// A disk that holds no work directory.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// `ext4`, `vfat`, ...
    pub fs_type: String,
    /// How full it is.
    pub usage: Usage,
}

/// One entry of `runners.roots` and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RootMatches {
    /// The glob as configured.
    #[serde(rename = "root")]
    pub pattern: String,
    /// Runners found by it.
    pub runners: usize,
}

/// The host lock as seen from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LockView {
    /// Whether anybody holds it.
    pub held: bool,
    /// Those who do, as far as they can be seen.
    pub holders: Vec<LockHolder>,
}

/// A process that holds the host lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LockHolder {
    /// Its pid.
    pub pid: Pid,
    /// Its name (`comm`).
    pub process: String,
    /// When that process started, which bounds how long it can have held the lock.
    #[serde(with = "as_json::OptionalTime")]
    pub since: Option<SystemTime>,
}

/// A runner and all that is known of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunnerStatus {
    /// Which.
    #[serde(flatten, with = "WholeRunner")]
    pub runner: Runner,
    /// Liveness alone; see `guarded` for whether its caches may be claimed.
    pub state: Liveness,
    /// Whether its jobs pass through our hook.
    #[serde(with = "IsGuarded")]
    pub guarded: Guarded,
    /// Whether it is out of service, or will be when its job has ended.
    pub drained: Option<OutOfService>,
    /// What `state` rests on, and what else forbids a claim.
    pub evidence: Vec<Evidence>,
    /// The job it runs, when its lease tells.
    pub job: Option<JobView>,
    /// Its caches.
    pub caches: Vec<Cache>,
    /// Bytes that a sweep could take from it now.
    pub reclaimable_bytes: u64,
    /// Bytes in caches that must not be taken from it now.
    pub blocked_bytes: u64,
}

impl RunnerStatus {
    /// What people are shown: liveness, and whether it takes jobs.
    pub fn standing(&self) -> Standing {
        match (self.state, self.drained) {
            (Liveness::Idle, Some(_)) => Standing::Drained,
            (_, Some(_)) => Standing::Draining,
            (Liveness::Busy, None) => Standing::Busy,
            (Liveness::Idle, None) => Standing::Idle,
            (Liveness::Unknown, None) => Standing::Unknown,
        }
    }
}

/// Liveness, and whether a runner takes jobs, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Standing {
    /// It has a job.
    Busy,
    /// It has none.
    Idle,
    /// That cannot be told.
    Unknown,
    /// It is to be out of service, and may have a job still.
    Draining,
    /// It is idle and takes no job.
    Drained,
}

impl Standing {
    /// All of them, in the order of headlines.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// That a runner is out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OutOfService {
    /// Whether a person took it out, who also brings it back; else a sweep did (`drain.auto`), and brings it back itself.
    #[serde(rename = "by", with = "Hand")]
    pub by_hand: bool,
    /// Since when.
    #[serde(with = "as_json::Time")]
    pub since: SystemTime,
}

/// A cache outside of work directories, which the configuration declares.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DeclaredStatus {
    /// Which.
    #[serde(flatten)]
    pub cache: Cache,
    /// The runners that may use it.
    pub runners: Vec<String>,
    /// Whether a sweep could take it now.
    #[serde(rename = "reclaimable")]
    pub is_reclaimable: bool,
    /// What speaks against claiming it.
    pub evidence: Vec<Evidence>,
}

/// A running job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JobView {
    /// Which.
    #[serde(flatten)]
    pub job: Job,
    /// When it began.
    #[serde(with = "as_json::Time")]
    pub since: SystemTime,
}

/// The answer of `check`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CheckResult {
    /// The runner asked about, or the one that the path belongs to; `None` when it belongs to none.
    pub runner: Option<String>,
    /// The path asked about, if it was a path.
    #[serde(flatten, with = "as_json::AtAnyPath")]
    pub path: Option<PathBuf>,
    /// The verdict.
    pub state: Liveness,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

adapters! {
    /// Whether a runner is guarded.
    IsGuarded: Guarded => bool, Guarded::is_guarded;
    /// Who took a runner out of service.
    Hand: bool => String, |by_hand| if *by_hand { "hand" } else { "auto" }.to_owned();
}
