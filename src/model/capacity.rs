//! What a host can run out of beside the space that caches take.
//!
//! Names come from processes and from disk: escape them before printing.

use super::{Level, Pid};
use crate::as_json::adapters;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// Everything that was found, as of one moment. What could not be read is not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CapacityFacts {
    /// Open files of the whole host against `fs.file-max`: beyond it open(2) fails with ENFILE.
    pub files: Option<Share>,
    /// Processes and threads of the whole host against the smaller of `kernel.pid_max` and `kernel.threads-max`.
    pub tasks: Option<Share>,
    /// Memory that is not available (`MemTotal - MemAvailable`), in bytes.
    pub memory: Option<Share>,
    /// Swap in use, in bytes; none where there is no swap.
    pub swap: Option<Share>,
    /// Pressure stall information.
    pub stalls: Vec<Stall>,
    /// The control groups in which runners' Listeners run.
    pub groups: Vec<RunnerGroup>,
    /// Files without a name that processes still hold open, on the filesystems of work directories.
    pub deleted: Vec<DeletedFile>,
    /// Files of the journal, where they lie and how large they are.
    pub journals: Vec<(PathBuf, u64)>,
    /// Image and container storage.
    pub stores: Vec<ContainerStore>,
}

/// So much of so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// In use.
    pub used: u64,
    /// All there is.
    pub of: u64,
}

impl Share {
    /// Between 0 and 1, and above where a limit was lowered below its use.
    pub fn ratio(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.used as f64 / self.of as f64 }
    }
}

/// How long tasks waited for a resource (`/proc/pressure`), as percentages of the last minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Stall {
    /// `cpu`, `memory` or `io`.
    pub resource: &'static str,
    /// At least one task waited.
    pub some: f64,
    /// All tasks waited: nothing was done.
    pub full: f64,
}

/// The control group of a runner's Listener, which its jobs share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunnerGroup {
    /// The runner's name.
    pub runner: String,
    /// The group, below its hierarchy's root.
    pub group: String,
    /// Memory now against the group's own limit; `of` is 0 where it has none.
    #[serde(flatten, with = "Memory")]
    pub memory: Option<Share>,
    /// The most memory that it ever had, in bytes (Linux 5.19 with cgroup v2).
    #[serde(rename = "memory_peak_bytes")]
    pub memory_peak: Option<u64>,
    /// How often a process in it was killed for memory since the group was made.
    pub oom_kills: Option<u64>,
    /// Tasks now against the group's own limit; `of` is 0 where it has none.
    #[serde(flatten, with = "Tasks")]
    pub tasks: Option<Share>,
    /// How often a fork was refused by that limit.
    pub forks_refused: Option<u64>,
}

/// A file that has no name any more and still takes space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedFile {
    /// One process that holds it.
    pub pid: Pid,
    /// That process's name.
    pub comm: String,
    /// The name it had.
    pub path: PathBuf,
    /// Where its filesystem is mounted.
    pub mount: PathBuf,
    /// Allocated bytes.
    pub bytes: u64,
}

/// Where a container engine keeps images and containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStore {
    /// `docker`, `podman` or `containerd`.
    pub engine: &'static str,
    /// Its data root, as it says.
    pub root: PathBuf,
    /// What it says it takes, in bytes.
    pub bytes: u64,
    /// What it says nobody uses, in bytes; `None` when it does not say.
    pub reclaimable: Option<u64>,
}

/// The facts, judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Capacity {
    /// One sentence: which limit is the real one.
    pub verdict: String,
    /// What can run out, the nearest to its end first.
    pub limits: Vec<Limit>,
    /// What takes space and is no cache, the largest first.
    pub holdings: Vec<Holding>,
    /// The runners' control groups, as they were read.
    pub groups: Vec<RunnerGroup>,
}

/// Something that can run out.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Limit {
    /// A name that stays: `bytes inodes files tasks memory swap stall-cpu stall-memory stall-io group-memory group-oom group-tasks`.
    pub resource: &'static str,
    /// Of what: a mount point, a runner; none for the host itself.
    pub subject: Option<String>,
    /// Between 0 and 1.
    #[serde(rename = "used_ratio", with = "Ratio")]
    pub ratio: f64,
    /// How bad it is.
    pub level: Level,
    /// Which limit it is and how it shows, in one sentence.
    pub said: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// Something that takes space and that no cache rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Holding {
    /// A name that stays: `deleted-files containers journal reserved`.
    pub kind: &'static str,
    /// Who or where: a process, an engine, a directory, a mount point.
    pub subject: String,
    /// Bytes.
    pub bytes: u64,
    /// Bytes of it that nobody uses; `None` where that cannot be told.
    #[serde(rename = "reclaimable_bytes")]
    pub reclaimable: Option<u64>,
    /// Whether it is enough to matter.
    #[serde(skip)]
    pub is_notable: bool,
    /// What it is, in one sentence.
    pub said: String,
    /// What to do about it.
    pub advice: String,
}

/// A share of memory in JSON. A limit that is null is none.
#[derive(Serialize, JsonSchema)]
struct MemoryFields {
    memory_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
}

/// A share of tasks in JSON.
#[derive(Serialize, JsonSchema)]
struct TaskFields {
    tasks: Option<u64>,
    tasks_limit: Option<u64>,
}

adapters! {
    /// A ratio: four digits, since more would only differ from one look to the next.
    Ratio: f64 => f64, |ratio| (ratio * 1e4).round() / 1e4;
    /// A share of memory.
    Memory: Option<Share> => MemoryFields, |share| {
        MemoryFields { memory_bytes: share.map(|share| share.used), memory_limit_bytes: limit(*share) }
    };
    /// A share of tasks.
    Tasks: Option<Share> => TaskFields, |share| {
        TaskFields { tasks: share.map(|share| share.used), tasks_limit: limit(*share) }
    };
}

fn limit(share: Option<Share>) -> Option<u64> {
    share.map(|share| share.of).filter(|of| *of > 0)
}
