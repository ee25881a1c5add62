//! A host with co-located runners, simulated minute by minute, to compare ways of freeing space before a job needs it.
//!
//! Decisions come from the product's own code: [`crate::policy::forecast`] and [`crate::policy::pressure`]. The host is simulated: jobs
//! arrive, grow, keep their build as a warm cache, and die when the disk is full. A seed determines everything, so two runs of one case
//! are equal.
//!
//! - A job has a footprint (the bytes of its repository on its runner at its end), a temporary part on top of it (removed at its end) and
//!   a duration. It grows by its footprint minus the warm bytes; a cold build takes up to 1.8 times as long.
//! - A job is assigned to a runner and may wait there, in its started-hook. Other runners continue.
//! - Idle caches are removed whole, coldest first. Those of busy or waiting runners are kept.
//! - A job that writes to a full disk dies; nine tenths of its written bytes remain.

mod host;
pub mod past;
mod random;
mod replay;
pub mod table;
mod workload;

pub use host::{Admission, OnShortage, Sampling, SimulationCase, run};
pub use replay::{Against, Builds, KnownPast, PastDisk, PastJob, PastRemoval, Point, Replayed, replay};
pub use workload::{HOSTS, JobKind, SimulatedHost};

/// The result of one simulated host, or the mean over several seeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct SimulationOutcome {
    /// Jobs that ended well.
    pub done: f64,
    /// Jobs that died because the disk was full.
    pub died: f64,
    /// Those of 1,000 jobs that died.
    pub died_per_1000: f64,
    /// Jobs that were refused.
    pub refused: f64,
    /// Average minutes that a job waited.
    pub wait_minutes: f64,
    /// Hours of work lost by the jobs that died.
    pub lost_hours: f64,
    /// GiB evicted a day.
    pub evicted_gib_a_day: f64,
    /// Percent of the jobs that started with less than half of their footprint warm.
    pub cold_percent: f64,
}

impl SimulationOutcome {
    /// The mean over several runs.
    pub fn mean(all: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| all.iter().map(value).sum::<f64>() / all.len().max(1) as f64;
        Self {
            done: of(|one| one.done),
            died: of(|one| one.died),
            died_per_1000: of(|one| one.died_per_1000),
            refused: of(|one| one.refused),
            wait_minutes: of(|one| one.wait_minutes),
            lost_hours: of(|one| one.lost_hours),
            evicted_gib_a_day: of(|one| one.evicted_gib_a_day),
            cold_percent: of(|one| one.cold_percent),
        }
    }
}

#[cfg(test)]
mod tests;
