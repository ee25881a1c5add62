//! Host capacity: which limit a job meets first.
//!
//! "No space left on device" is reported for blocks, inodes and quotas. The host's limit of open files, a control group's memory limit and
//! a full process table make a build fail with messages that look like its own fault. This module reads the host's limits ([`observe`]),
//! judges each in one sentence ([`verdict`]), and changes nothing.
//!
//! Values that cannot be read are left out: they inform people, and no decision about a cache depends on them. Every wait is bounded;
//! container engines are asked through their own command line ([`stores`]), all at the same time.

pub mod cgroups;
pub mod deleted;
pub mod kernel;
pub mod stores;
pub mod verdict;

use crate::model::{Capacity, CapacityFacts, Filesystem, FilesystemStatus, HostFacts};
use crate::sys::process::Proc;
use std::path::PathBuf;
use std::time::Duration;
use stores::EnginesAsked;

/// How long the container engines may think.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads everything. `engines` were asked before, by [`ask_engines`].
pub fn observe(proc: &Proc, engines: EnginesAsked, facts: &HostFacts) -> CapacityFacts {
    let filesystems: Vec<&Filesystem> = facts.filesystems.iter().collect();
    CapacityFacts {
        files: kernel::files(proc),
        tasks: kernel::tasks(proc),
        memory: kernel::memory(proc),
        swap: kernel::swap(proc),
        stalls: kernel::stalls(proc),
        groups: cgroups::of_runners(proc, facts),
        deleted: deleted::held_open(proc, &filesystems),
        journals: stores::journals(),
        stores: engines.answers(),
    }
}

/// Starts the queries of container engines. They run while the caller observes the host, because they take longer than anything else here.
pub fn ask_engines(programs: &[PathBuf]) -> EnginesAsked {
    EnginesAsked::new(programs, PATIENCE)
}

/// Reads and judges.
pub fn examine(
    proc: &Proc,
    engines: EnginesAsked,
    facts: &HostFacts,
    filesystems: &[FilesystemStatus],
) -> Capacity {
    verdict::judge(&observe(proc, engines, facts), filesystems)
}
