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

/// The content of `status` at one moment.
#[derive(Debug, Clone)]
pub struct HostStatus {
    /// The host's name.
    pub host: String,
    /// The moment from which ages are counted.
    pub time: SystemTime,
    /// Whether every process could be seen.
    pub visibility: Visibility,
    /// Who holds the host lock.
    pub lock: LockView,
    /// Bytes in trash directories, to be deleted by the next run.
    pub trash_bytes: u64,
    /// The filesystems that hold work directories.
    pub filesystems: Vec<FilesystemStatus>,
    /// The host's other disks, as information; the guard does not act on them.
    pub other_disks: Vec<Disk>,
    /// The largest users of the disks whose goal is missed, the largest first.
    pub holding: Vec<SpaceHolder>,
    /// One entry per runner.
    pub runners: Vec<RunnerStatus>,
    /// The caches outside of work directories.
    pub declared: Vec<DeclaredStatus>,
    /// Cargo targets that were read for what no build uses.
    pub targets: Vec<TargetView>,
    /// The need of live jobs, by filesystem; none if the forecast is disabled.
    pub forecasts: Vec<DiskForecast>,
    /// The host's other limits.
    pub capacity: Capacity,
    /// The result of the reaper's last run; none if it never ran.
    pub reap: Option<ReapRecord>,
    /// The result of the last run over stores; none if there was none.
    pub stores: Option<StoresRecord>,
    /// The last sweep's result of sharing blocks; none if there was none.
    pub dedupe: Option<DedupeRecord>,
    /// Remarks for people; not errors. May contain names from disk: escape before printing.
    pub notes: Vec<String>,
    /// How many runners each configured glob found.
    pub root_matches: Vec<RootMatches>,
    /// The cache rules, and whether each is enabled.
    pub rules: Vec<RuleStatus>,
    /// Whether those are the built-in globs, most of which match nothing on most hosts.
    pub roots_are_built_in: bool,
    /// Whether directories that may hold runners are closed to this user.
    pub are_roots_closed: bool,
}

/// A cache rule of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleStatus {
    /// Its name.
    pub name: String,
    /// False with `enabled = false`: its matches are kept.
    #[serde(rename = "enabled")]
    pub is_enabled: bool,
}

/// A filesystem and its level.
#[derive(Debug, Clone)]
pub struct FilesystemStatus {
    /// The filesystem and its usage.
    pub filesystem: Filesystem,
    /// Its level by the configured watermarks and floors.
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
    /// Whether it is held.
    pub held: bool,
    /// The visible processes that hold it.
    pub holders: Vec<LockHolder>,
}

/// A process that holds the host lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LockHolder {
    /// Its pid.
    pub pid: Pid,
    /// Its name (`comm`).
    pub process: String,
    /// When that process started: it cannot have held the lock for longer.
    #[serde(with = "as_json::OptionalTime")]
    pub since: Option<SystemTime>,
}

/// The status of a runner.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunnerStatus {
    /// The runner.
    #[serde(flatten, with = "WholeRunner")]
    pub runner: Runner,
    /// Liveness alone; see `guarded` for whether its caches may be claimed.
    pub state: Liveness,
    /// Whether its jobs run our hook.
    #[serde(with = "IsGuarded")]
    pub guarded: Guarded,
    /// Whether it is out of service, or will be when its job has ended.
    pub drained: Option<OutOfService>,
    /// The evidence behind `state`, and other evidence that forbids a claim.
    pub evidence: Vec<Evidence>,
    /// Its job, according to its lease.
    pub job: Option<JobView>,
    /// Its caches.
    pub caches: Vec<Cache>,
    /// Bytes that a sweep could remove now.
    pub reclaimable_bytes: u64,
    /// Bytes in caches that must not be removed now.
    pub blocked_bytes: u64,
}

impl RunnerStatus {
    /// The state that is shown to people: liveness, and whether it takes jobs.
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

/// The state of a runner as one word: liveness, and whether it takes jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Standing {
    /// It has a job.
    Busy,
    /// It has none.
    Idle,
    /// Unknown.
    Unknown,
    /// It is being drained, and may still have a job.
    Draining,
    /// It is idle and takes no job.
    Drained,
}

impl Standing {
    /// All of them, in the order of headlines.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The record of a drained runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OutOfService {
    /// Whether a person has drained it, who also has to resume it. Otherwise a sweep did (`drain.auto`) and resumes it itself.
    #[serde(rename = "by", with = "Hand")]
    pub by_hand: bool,
    /// Since when.
    #[serde(with = "as_json::Time")]
    pub since: SystemTime,
}

/// A cache outside of work directories, which the configuration declares.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DeclaredStatus {
    /// The cache.
    #[serde(flatten)]
    pub cache: Cache,
    /// The runners that may use it.
    pub runners: Vec<String>,
    /// Whether a sweep could remove it now.
    #[serde(rename = "reclaimable")]
    pub is_reclaimable: bool,
    /// The evidence against claiming it.
    pub evidence: Vec<Evidence>,
}

/// A running job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JobView {
    /// The job.
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
    /// The evidence behind it.
    pub evidence: Vec<Evidence>,
}

adapters! {
    /// Whether a runner is guarded.
    IsGuarded: Guarded => bool, Guarded::is_guarded;
    /// Whether a person or a sweep has drained a runner.
    Hand: bool => String, |by_hand| if *by_hand { "hand" } else { "auto" }.to_owned();
}
