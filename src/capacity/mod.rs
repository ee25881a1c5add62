//! Host capacity: which limit is the real one.
//!
//! "No space left on device" is reported for blocks, inodes and quotas; a build dies of the host's file table, of its control
//! group's memory or of a full process table with messages that sound like its own fault. This module reads the host's limits
//! ([`observe`]), judges each with one sentence ([`verdict`]), and changes nothing.
//!
//! What cannot be read is left out: capacity is orientation, and no decision about a cache rests on it. Every wait is bounded;
//! container engines are asked through their own command line ([`stores`]), all at the same time.

pub mod cgroups;
pub mod deleted;
pub mod kernel;
pub mod stores;
pub mod verdict;

use crate::model::{Capacity, CapacityFacts, Filesystem, FilesystemStatus, HostFacts};
use crate::sys::process::Proc;
use crate::sys::program::Programs;
use std::time::Duration;

/// How long the container engines may think.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads everything.
pub fn observe(proc: &Proc, programs: Programs<'_>, facts: &HostFacts) -> CapacityFacts {
    std::thread::scope(|scope| {
        let stores = scope.spawn(|| stores::all(programs, PATIENCE));
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
            stores: stores.join().unwrap_or_default(),
        }
    })
}

/// Reads and judges.
pub fn examine(
    proc: &Proc,
    programs: Programs<'_>,
    facts: &HostFacts,
    filesystems: &[FilesystemStatus],
) -> Capacity {
    verdict::judge(&observe(proc, programs, facts), filesystems)
}
