//! What a host can run out of beside the space that caches take.
//!
//! Names come from processes and from disk: escape them before printing.

use super::{Level, Pid};
use crate::as_json::adapters;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// All limits at one moment. Values that could not be read are absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CapacityFacts {
    /// Open files of the whole host against `fs.file-max`: beyond it open(2) fails with ENFILE.
    pub files: Option<Share>,
    /// Processes and threads of the whole host against the smaller of `kernel.pid_max` and `kernel.threads-max`.
    pub tasks: Option<Share>,
    /// Unavailable memory (`MemTotal - MemAvailable`) of all memory, in bytes.
    pub memory: Option<Share>,
    /// Swap in use, in bytes; none where there is no swap.
    pub swap: Option<Share>,
    /// Pressure stall information.
    pub stalls: Vec<Stall>,
    /// The control groups in which runners' Listeners run.
    pub groups: Vec<RunnerGroup>,
    /// Files without a name that processes still hold open, on the filesystems of work directories.
    pub deleted: Vec<DeletedFile>,
    /// The directories of journal files, with their sizes in bytes.
    pub journals: Vec<(PathBuf, u64)>,
    /// Image and container storage.
    pub stores: Vec<ContainerStore>,
}

/// A used part of a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// In use.
    pub used: u64,
    /// The total.
    pub of: u64,
}

impl Share {
    /// Used part of the total, from 0 to 1; larger if the limit was lowered below the use.
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
    /// All tasks waited.
    pub full: f64,
}

/// The control group of a runner's Listener, which its jobs share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunnerGroup {
    /// The runner's name.
    pub runner: String,
    /// The group, below its hierarchy's root.
    pub group: String,
    /// Memory in use, of the group's own limit; `of` is 0 if it has none.
    #[serde(flatten, with = "Memory")]
    pub memory: Option<Share>,
    /// The maximum of its memory so far, in bytes (Linux 5.19 with cgroup v2).
    #[serde(rename = "memory_peak_bytes")]
    pub memory_peak: Option<u64>,
    /// The number of its processes that were killed for lack of memory since the group was created.
    pub oom_kills: Option<u64>,
    /// Tasks now, of the group's own limit; `of` is 0 if it has none.
    #[serde(flatten, with = "Tasks")]
    pub tasks: Option<Share>,
    /// The number of forks that this limit has refused.
    pub forks_refused: Option<u64>,
}

/// A deleted file that still uses space.
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
    /// Its data root, as the engine reports it.
    pub root: PathBuf,
    /// The bytes that it uses, as the engine reports them.
    pub bytes: u64,
    /// The unused bytes, as the engine reports them; `None` if it does not.
    pub reclaimable: Option<u64>,
}

/// The facts, judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Capacity {
    /// One sentence: the limit that is reached first.
    pub verdict: String,
    /// The limits, the nearest first.
    pub limits: Vec<Limit>,
    /// Other users of space than caches, the largest first.
    pub holdings: Vec<Holding>,
    /// The runners' control groups, as they were read.
    pub groups: Vec<RunnerGroup>,
}

/// A limited resource.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Limit {
    /// Its stable name: `bytes inodes files tasks memory swap stall-cpu stall-memory stall-io group-memory group-oom group-tasks`.
    pub resource: &'static str,
    /// A mount point or a runner; none for the host itself.
    pub subject: Option<String>,
    /// Between 0 and 1.
    #[serde(rename = "used_ratio", with = "Ratio")]
    pub ratio: f64,
    /// Its level.
    pub level: Level,
    /// The limit and its symptom, in one sentence.
    pub said: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// A user of space that no cache rule covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Holding {
    /// Its stable name: `deleted-files containers journal reserved`.
    pub kind: &'static str,
    /// A process, an engine, a directory or a mount point.
    pub subject: String,
    /// Bytes.
    pub bytes: u64,
    /// Unused bytes of it; `None` if unknown.
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

/// A share of memory in JSON. The limit is null if there is none.
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
    /// A ratio with four digits: further digits would differ between any two looks.
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
