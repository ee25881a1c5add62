//! The last sweep's measurements of the host's jobs, for hooks: `forecast.json` in the shared directory, which only root writes.
//!
//! A hook runs as its runner's user and has a few milliseconds. It can neither measure nor read files of other users, so the sweep does.
//! Without the file nothing is known of other runners.

use crate::model::FilesystemId;
use crate::run_dir::RunDir;
use crate::setup::place;
use crate::setup::place::own;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

const FILE: &str = "forecast.json";

const VERSION: u32 = 1;

/// The guard never writes a longer file.
const MAX_BYTES: u64 = 256 << 10;

/// Footprints of jobs, directories' names and live jobs that are kept.
pub(super) const MAX_OTHERS: usize = 200;
pub(super) const MAX_SHARES: usize = 512;
pub(super) const MAX_LIVE: usize = 512;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Summary {
    version: u32,
    /// The largest share that any repository has been seen to have on one runner, in bytes.
    pub largest: u64,
    /// Footprints of jobs of this host, in bytes.
    pub others: Vec<u64>,
    /// By directory below a work directory, the largest share that it has on any runner.
    pub shares: BTreeMap<String, u64>,
    /// By filesystem, what its runners' largest jobs would take if they all began at once.
    worst: BTreeMap<String, u64>,
    /// The size of each lease's job at the time of the sweep.
    pub live: BTreeMap<String, u64>,
}

impl Summary {
    /// An empty one.
    pub fn new() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Reads it; none where no sweep has written one, or it cannot be understood.
    pub fn of(run: &RunDir) -> Option<Self> {
        let text = run.read_beside(FILE, MAX_BYTES).ok()?;
        let summary: Self = serde_json::from_slice(&text).ok()?;
        (summary.version == VERSION).then_some(summary)
    }

    /// Writes it.
    ///
    /// # Errors
    /// The system's error.
    pub fn publish(&self, run: &RunDir) -> io::Result<()> {
        let text = serde_json::to_vec(self).expect("numbers and strings serialise");
        place::replace_soon(run.dir(), FILE, &text, own(0o644))
    }

    /// The space that the largest jobs of a filesystem's runners would use together; of all filesystems if this one is unknown.
    pub fn worst(&self, filesystem: FilesystemId) -> u64 {
        let all = || self.worst.values().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
        self.worst.get(&filesystem.to_string()).copied().unwrap_or_else(all)
    }

    /// Adds a runner's largest job.
    pub(super) fn add_worst(&mut self, filesystem: FilesystemId, bytes: u64) {
        let sum = self.worst.entry(filesystem.to_string()).or_default();
        *sum = sum.saturating_add(bytes);
    }

    /// Records the size of a directory on one runner.
    pub(super) fn add_share(&mut self, directory: &str, bytes: u64) {
        self.largest = self.largest.max(bytes);
        if self.shares.len() < MAX_SHARES || self.shares.contains_key(directory) {
            let share = self.shares.entry(directory.to_owned()).or_default();
            *share = bytes.max(*share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_a_damaged_one_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        assert_eq!(Summary::of(&run), None);
        let mut summary = Summary::new();
        let (here, there) = (FilesystemId { major: 8, minor: 1 }, FilesystemId { major: 8, minor: 2 });
        summary.add_worst(here, 5);
        summary.add_worst(here, 6);
        summary.add_worst(there, u64::MAX);
        (0..2 * MAX_SHARES as u64).for_each(|n| summary.add_share(&format!("r{n}"), n));
        summary.publish(&run).unwrap();
        let read = Summary::of(&run).unwrap();
        assert_eq!(read, summary);
        assert_eq!((read.worst(here), read.shares.len()), (11, MAX_SHARES));
        assert_eq!(read.worst(FilesystemId { major: 9, minor: 9 }), u64::MAX, "no more than everything");
        for damaged in ["", "{", "{\"version\":7}"] {
            std::fs::write(temp.path().join(FILE), damaged).unwrap();
            assert_eq!(Summary::of(&run), None, "{damaged}");
        }
    }
}
