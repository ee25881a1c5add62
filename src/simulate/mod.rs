//! A host with co-located runners, simulated minute by minute, to compare ways of making room before a job needs it.
//!
//! What decides is the product's own code: [`crate::policy::forecast`] and [`crate::policy::pressure`]. What is simulated is the world:
//! jobs that arrive, grow, keep what they have built as a warm cache, and die when the disk is full. Everything comes from a seed, so
//! two runs of one case are equal.
//!
//! - A job has a footprint (what its repository takes on its runner at its end), a temporary part on top of it (gone at its end) and
//!   a duration. It grows by its footprint less what is warm there; a cold build takes up to 1.8 times as long.
//! - A job is given to a runner and may wait there, in its started-hook. Other runners go on.
//! - Idle caches go whole, coldest first. Those of runners that are busy or wait stay.
//! - A job that writes to a full disk dies; nine tenths of what it has written stay behind.

mod host;
pub mod past;
mod random;
mod replay;
pub mod table;
mod workload;

pub use host::{Admission, Case, OnShort, Sampling, run};
pub use replay::{Against, Builds, Known, PastDisk, PastJob, Point, Removal, Replayed, replay};
pub use workload::{HOSTS, Host, JobKind};

/// What came of one simulated host, or the mean over several seeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct Outcome {
    /// Jobs that ended well.
    pub done: f64,
    /// Jobs that died because the disk was full.
    pub died: f64,
    /// Those of 1,000 jobs that died.
    pub died_per_1000: f64,
    /// Jobs that were refused.
    pub refused: f64,
    /// Minutes that a job waited on average.
    pub wait_minutes: f64,
    /// Hours of work that were lost by those that died.
    pub lost_hours: f64,
    /// GiB evicted a day.
    pub evicted_gib_a_day: f64,
    /// Percent of the jobs that began with less than half of their footprint warm.
    pub cold_percent: f64,
}

impl Outcome {
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
