//! How much space a job will need, and how much the host needs so that its live jobs and this one can finish.
//!
//! A job's **footprint** is the space that its repository takes on its runner when the job has ended. The part that is already warm is not
//! needed again. A job that has run before is expected to take the mean of its footprints; the uncertainty is a variance, with a prior
//! spread of 35 % that weighs as much as three runs. The host needs the sum of what its jobs have not used yet, plus 1.65 standard
//! deviations of that sum: jobs are rarely all at their largest at once, so the deviations themselves are not added up.
//!
//! Amounts are bytes as `f64`: they are estimates.

use super::trend;
use crate::config::Watermarks;
use crate::model::metrics::Sample;
use crate::model::{Basis, Reservation, Room, Usage};
use std::time::Duration;

/// Standard deviations above the mean of the sum that are kept free: 95 of 100 such sums stay below.
const DEVIATIONS: f64 = 1.65;

/// The spread of a job's footprint, as a share of its mean, before any run is known.
const PRIOR_SPREAD: f64 = 0.35;

/// How many runs the prior spread weighs as much as.
const PRIOR_RUNS: f64 = 3.0;

/// The spread for a job without any known run.
const UNKNOWN_SPREAD: f64 = 0.5;

/// From this many footprints of other jobs on the host their mean is used instead of the configured size.
const ENOUGH_OTHERS: usize = 10;

/// A job that has grown past its mean is expected to grow further by this share of a standard deviation.
const TAIL: f64 = 0.8;

/// The minimum that is expected of any job.
const LEAST: f64 = (1u64 << 30) as f64;

/// An amount that is not known exactly.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimate {
    /// Bytes to be expected.
    pub mean: f64,
    /// The variance, in bytes squared.
    pub variance: f64,
}

impl Estimate {
    /// This many bytes suffice in 95 of 100 cases.
    pub fn bound(self) -> f64 {
        self.mean + DEVIATIONS * self.variance.max(0.0).sqrt()
    }

    /// What remains of it when `used` bytes have been used. Past the mean only the tail remains, which shrinks with the distance.
    #[must_use]
    pub fn less(self, used: f64) -> Self {
        if used <= self.mean {
            return Self { mean: self.mean - used, variance: self.variance };
        }
        let deviation = self.variance.max(0.0).sqrt();
        if deviation == 0.0 {
            return Self::default();
        }
        let left = (-(used - self.mean) / deviation).exp();
        Self { mean: TAIL * deviation * left, variance: self.variance * left }
    }
}

/// What is known of a job before it begins.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The footprints of its earlier runs, in bytes.
    pub own: &'a [f64],
    /// The largest share that its repository has on any runner of the host now; `None` when it has none.
    pub largest_share: Option<f64>,
    /// Footprints of other jobs of the host.
    pub others: &'a [f64],
    /// The configured size of a job of which nothing is known.
    pub unknown: f64,
    /// The part of its footprint that is warm on its runner.
    pub warm: f64,
}

/// The expected growth of a job's repository.
pub fn growth(known: &Known<'_>) -> Estimate {
    let (footprint, _) = footprint(known);
    Estimate { mean: (footprint.mean - known.warm).max(LEAST), variance: footprint.variance }
}

/// How much a job's repository will hold on its runner when the job has ended, and what the estimate rests on.
pub fn footprint(known: &Known<'_>) -> (Estimate, Basis) {
    if !known.own.is_empty() {
        return (from_runs(known.own), Basis::History);
    }
    if let Some(share) = known.largest_share.filter(|share| *share > 0.0) {
        let variance = (PRIOR_SPREAD * share).powi(2) * 2.0;
        return (Estimate { mean: share, variance }, Basis::Repository);
    }
    if known.others.len() >= ENOUGH_OTHERS {
        let mean = mean(known.others);
        let variance = squares(known.others, mean) / known.others.len() as f64;
        return (Estimate { mean, variance }, Basis::Host);
    }
    let mean = known.unknown + known.warm;
    (Estimate { mean, variance: (UNKNOWN_SPREAD * mean).powi(2) }, Basis::Unknown)
}

/// How much a job is expected to hold, given its earlier runs; at least one run.
pub fn from_runs(runs: &[f64]) -> Estimate {
    let (count, mean) = (runs.len() as f64, mean(runs));
    let prior = (PRIOR_SPREAD * mean).powi(2);
    let spread = (PRIOR_RUNS * prior + squares(runs, mean)) / (PRIOR_RUNS + count - 1.0);
    // The mean itself is less certain with fewer runs.
    Estimate { mean, variance: spread * (1.0 + 1.0 / count) }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn squares(values: &[f64], mean: f64) -> f64 {
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// The free space that `jobs` need: the sum of the estimates of what each has not used yet.
pub fn need(jobs: impl IntoIterator<Item = Estimate>) -> f64 {
    let sum = jobs.into_iter().fold(Estimate::default(), |sum, job| Estimate {
        mean: sum.mean + job.mean,
        variance: sum.variance + job.variance,
    });
    sum.bound()
}

impl From<&Reservation> for Estimate {
    fn from(reservation: &Reservation) -> Self {
        Self { mean: reservation.bytes as f64, variance: (reservation.deviation as f64).powi(2) }
    }
}

/// Bytes of an estimate, as they are recorded.
pub fn whole(bytes: f64) -> u64 {
    // Saturates.
    bytes.max(0.0) as u64
}

/// The upper bound for a single job: a quarter of its disk, or twice the largest share that the guard itself has measured. Without a
/// bound, a value that a job writes about itself could demand the whole disk.
pub fn most_of_one(usage: &Usage, largest_seen: u64) -> u64 {
    let reachable = usage.used_bytes.saturating_add(usage.available_bytes);
    (reachable / 4).max(largest_seen.saturating_mul(2)).min(reachable)
}

/// The upper bound for all jobs without history together: the space that is free on a disk without pressure. So an estimate without data
/// never removes a cache by itself.
pub fn most_guessed(usage: &Usage, marks: &Watermarks) -> u64 {
    let reachable = u128::from(usage.used_bytes) + u128::from(usage.available_bytes);
    (reachable * u128::from(100 - marks.high.get().min(100)) / 100) as u64
}

/// The space that has to be available for what live jobs have not used yet.
pub fn room(left: impl IntoIterator<Item = (Estimate, Basis)>, most_guessed: u64) -> Room {
    let (mut known, mut guessed) = (Estimate::default(), Estimate::default());
    for (estimate, basis) in left {
        let sum = if basis == Basis::Unknown { &mut guessed } else { &mut known };
        *sum = Estimate { mean: sum.mean + estimate.mean, variance: sum.variance + estimate.variance };
    }
    Room {
        need: whole(known.bound()).saturating_add(whole(guessed.bound()).min(most_guessed)),
        expected: whole(known.mean).saturating_add(whole(guessed.mean).min(most_guessed)),
    }
}

/// When the disk will be full, given its `usage` now and an earlier one; `None` while it does not fill, or when nothing is known.
pub fn time_to_full(samples: &[Sample], now: u64, usage: &Usage) -> Option<Duration> {
    let rate = trend::fill_rate(samples, now, usage.used_bytes)?;
    let seconds = trend::seconds_to_full(usage.available_bytes, rate);
    Duration::try_from_secs_f64(seconds).ok()
}

/// When the next sweep is due on a disk that will be full after `to_full`: after a third of that time, between one and fifteen minutes.
pub fn next_sweep(to_full: Option<Duration>) -> Duration {
    const SOONEST: Duration = Duration::from_secs(60);
    const LATEST: Duration = Duration::from_secs(15 * 60);
    to_full.map_or(LATEST, |time| (time / 3).clamp(SOONEST, LATEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const G: f64 = (1u64 << 30) as f64;

    fn known<'a>(own: &'a [f64], others: &'a [f64]) -> Known<'a> {
        Known { own, largest_share: None, others, unknown: 20.0 * G, warm: 0.0 }
    }

    #[test]
    fn a_job_is_expected_to_take_the_mean_of_its_runs_less_what_is_warm() {
        let runs = [10.0 * G, 12.0 * G, 14.0 * G];
        assert_eq!(growth(&known(&runs, &[])).mean, 12.0 * G);
        assert_eq!(growth(&Known { warm: 9.0 * G, ..known(&runs, &[]) }).mean, 3.0 * G);
        assert_eq!(growth(&Known { warm: 99.0 * G, ..known(&runs, &[]) }).mean, LEAST, "never nothing");
    }

    #[test]
    fn the_more_runs_there_are_the_surer_is_the_estimate() {
        let one = growth(&known(&[10.0 * G], &[])).variance;
        let ten = growth(&known(&[10.0 * G; 10], &[])).variance;
        assert!(ten < one / 3.0, "{one} {ten}");
        let scattered = growth(&known(&[5.0 * G, 15.0 * G], &[])).variance;
        assert!(scattered > growth(&known(&[10.0 * G, 10.0 * G], &[])).variance);
    }

    #[test]
    fn an_unknown_job_takes_its_repositorys_largest_share_else_the_hosts_mean_else_the_configured_size() {
        let others = [4.0 * G; 10];
        let all = Known { largest_share: Some(30.0 * G), ..known(&[], &others) };
        assert_eq!(growth(&all).mean, 30.0 * G);
        assert_eq!(growth(&known(&[], &others)).mean, 4.0 * G);
        assert_eq!(growth(&known(&[], &others[..9])).mean, 20.0 * G);
    }

    #[test]
    fn deviations_of_several_jobs_are_pooled() {
        let job = Estimate { mean: 10.0, variance: 4.0 };
        assert_eq!(need([job]), 10.0 + 1.65 * 2.0);
        assert_eq!(need([job; 4]), 40.0 + 1.65 * 4.0, "not four times 1.65 times 2");
        assert_eq!(need([]), 0.0);
    }

    #[test]
    fn used_bytes_reduce_the_need_of_a_job_and_a_tail_remains_beyond_its_mean() {
        let job = Estimate { mean: 10.0, variance: 4.0 };
        assert_eq!(job.less(4.0), Estimate { mean: 6.0, variance: 4.0 });
        let beyond = job.less(11.0);
        assert!(beyond.mean > 0.0 && beyond.mean < 2.0 && beyond.variance < 4.0, "{beyond:?}");
        assert!(job.less(20.0).bound() < beyond.bound());
    }

    #[test]
    fn a_guess_asks_for_no_more_than_a_disk_without_pressure_has() {
        let marks = crate::config::Config::default().watermarks;
        let usage = Usage {
            total_bytes: 100 << 30,
            used_bytes: 84 << 30,
            available_bytes: 16 << 30,
            inodes_total: 0,
            inodes_free: 0,
        };
        let unknown = (Estimate { mean: 20.0 * G, variance: (10.0 * G).powi(2) }, Basis::Unknown);
        let guessed = room([unknown; 8], most_guessed(&usage, &marks));
        assert_eq!(guessed, Room { need: 15 << 30, expected: 15 << 30 });
        let known = (Estimate { mean: 20.0 * G, variance: 0.0 }, Basis::History);
        let both = room([unknown, known], most_guessed(&usage, &marks));
        assert_eq!(both, Room { need: 35 << 30, expected: 35 << 30 }, "what is known counts in full");
        assert_eq!(room([], u64::MAX), Room::default());
    }

    #[test]
    fn the_share_of_one_job_is_limited_to_a_quarter_of_the_disk_or_twice_the_measured_bytes() {
        let usage = Usage {
            total_bytes: 400,
            used_bytes: 300,
            available_bytes: 100,
            inodes_total: 0,
            inodes_free: 0,
        };
        assert_eq!(most_of_one(&usage, 0), 100);
        assert_eq!(most_of_one(&usage, 150), 300);
        assert_eq!(most_of_one(&usage, u64::MAX), 400, "never more than there is");
    }

    #[test]
    fn the_sweep_follows_the_fill_within_its_bounds() {
        for (to_full, due) in [(None, 900), (Some(30), 60), (Some(1800), 600), (Some(1_000_000), 900)] {
            let to_full = to_full.map(Duration::from_secs);
            assert_eq!(next_sweep(to_full), Duration::from_secs(due), "{to_full:?}");
        }
    }

    proptest! {
        #[test]
        fn needs_are_finite_and_never_negative(
            own in prop::collection::vec(0.0f64..1e15, 0..20),
            used in 0.0f64..1e15,
            warm in 0.0f64..1e15,
        ) {
            let estimate = growth(&Known { warm, ..known(&own, &[]) });
            let left = estimate.less(used);
            for amount in [estimate.bound(), left.bound(), need([estimate, left])] {
                prop_assert!(amount.is_finite() && amount >= 0.0);
            }
            prop_assert!(left.mean <= estimate.mean + 0.8 * estimate.variance.sqrt());
        }
    }
}
