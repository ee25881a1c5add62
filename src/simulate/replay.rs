//! A replay of this host's past with another configuration or another size of its disk.
//!
//! The samples of sweeps show how much jobs have written, and deleted again, between two sweeps. The replay writes the same bytes to a disk
//! of the other size, evenly between two sweeps. At each sweep and at each start of a job the other configuration decides with the
//! product's own code ([`crate::policy::pressure`], [`crate::policy::forecast`]) how much is removed: for the watermarks, and, if the
//! forecast is enabled, for the expected need of live jobs. The replay assumes that idle caches hold the requested bytes. The reported
//! peak is the use of the disk before that removal.
//!
//! The expected size of a past job is its expected size today, by its runner's history. A warm job has it at its start; a cold job reaches
//! it evenly until its end.

use crate::config::Watermarks;
use crate::model::metrics::Sample;
use crate::model::{Basis, Level, Usage};
use crate::policy::forecast::{self, Estimate};
use crate::policy::pressure;

/// One sweep of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Point {
    /// When, in seconds since the epoch.
    pub at: u64,
    /// Percent in use before the sweep.
    pub was: u8,
    /// Percent that would have been in use.
    pub would: u8,
}

/// The result of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Replayed {
    /// The sweeps, the oldest first.
    pub points: Vec<Point>,
    /// Bytes that sweeps freed.
    pub freed: u64,
    /// Bytes that sweeps would have freed.
    pub would_free: u64,
    /// Bytes that hooks freed when jobs began.
    pub freed_by_hooks: u64,
    /// Bytes that hooks would have freed, for the watermarks or for live jobs.
    pub would_free_by_hooks: u64,
    /// Bytes that sweeps and hooks would have freed for live jobs alone.
    pub would_free_for_jobs: u64,
    /// Sweeps that found the disk at or above `pressure.critical`, and that would have.
    pub critical: usize,
    /// See `critical`.
    pub would_critical: usize,
    /// Sweeps before which the disk would have been full: jobs would have died.
    pub would_be_full: usize,
}

/// One replayed disk of this host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct PastDisk {
    /// Its mount point, escaped.
    pub mount: String,
    /// Its size.
    pub was: u64,
    /// The other size.
    pub size: u64,
    /// The result.
    #[serde(flatten)]
    pub replayed: Replayed,
}

/// Jobs of the same time, from the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Builds {
    /// The number that started.
    pub began: usize,
    /// Those that started after their runner had lost a cache of their repository.
    pub cold: usize,
}

/// A job of the past.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastJob {
    /// When it started, in seconds since the epoch.
    pub began: u64,
    /// When it ended; `None` if unknown.
    pub ended: Option<u64>,
    /// The bytes that it is expected to hold at its end.
    pub estimate: Estimate,
    /// The basis of that estimate.
    pub basis: Basis,
    /// Whether its cache had been removed before it started.
    pub is_cold: bool,
}

impl PastJob {
    /// The bytes that it is expected to add after `at`; none while it does not run.
    fn left(&self, at: u64) -> Option<(Estimate, Basis)> {
        if self.began > at || self.ended.is_some_and(|ended| ended <= at) {
            return None;
        }
        let held = match self.ended {
            _ if !self.is_cold => 1.0,
            Some(ended) => (at - self.began) as f64 / (ended - self.began).max(1) as f64,
            None => 0.0,
        };
        Some((self.estimate.less(self.estimate.mean * held), self.basis))
    }
}

/// The bytes that a hook has freed at a job's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastRemoval {
    /// When, in seconds since the epoch.
    pub at: u64,
    /// How much.
    pub bytes: u64,
}

/// The known past of one disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownPast<'a> {
    /// The samples of sweeps, the oldest first.
    pub samples: &'a [Sample],
    /// The jobs of runners on this disk.
    pub jobs: &'a [PastJob],
    /// The removals by hooks on this disk.
    pub removals: &'a [PastRemoval],
}

/// The parameters of a replay.
#[derive(Debug, Clone, Copy)]
pub struct Against {
    /// The disk's size.
    pub size: u64,
    /// The watermarks.
    pub marks: Watermarks,
    /// Whether the forecast for live jobs is enabled.
    pub forecast: bool,
}

/// Scales usage to `total` bytes without reserved blocks.
fn usage(used: u64, total: u64) -> Usage {
    let used = used.min(total);
    Usage {
        total_bytes: total,
        used_bytes: used,
        available_bytes: total - used,
        inodes_total: 0,
        inodes_free: 0,
    }
}

impl Against {
    /// The bytes that are removed at `at` for the watermarks, and the additional bytes for live jobs.
    fn goes(&self, usage: &Usage, jobs: &[PastJob], at: u64) -> (u64, u64) {
        let for_marks = pressure::need(usage, &self.marks).bytes.min(usage.used_bytes);
        let live = jobs.iter().filter(|_| self.forecast).filter_map(|job| job.left(at));
        let room = forecast::room(live, forecast::most_guessed(usage, &self.marks));
        let for_jobs = room.need.saturating_sub(usage.available_bytes).min(usage.used_bytes);
        (for_marks, for_jobs.saturating_sub(for_marks))
    }
}

/// Replays a disk's past; `own` are the marks that were in effect.
pub fn replay(known: &KnownPast<'_>, own: &Watermarks, against: &Against) -> Replayed {
    let mut replayed = Replayed::default();
    let mut before: Option<&Sample> = None;
    let mut used = known.samples.first().map_or(0, |first| first.before);
    for sample in known.samples {
        if let Some(before) = before {
            used = between(known, before, sample, used, against, &mut replayed);
        }
        before = Some(sample);
        replayed.would_be_full += usize::from(used >= against.size);
        let (was, would) = (usage(sample.before, sample.total), usage(used, against.size));
        replayed.points.push(Point { at: sample.at, was: was.used_percent(), would: would.used_percent() });
        replayed.freed += sample.before.saturating_sub(sample.after);
        replayed.critical += usize::from(pressure::level(&was, own) == Level::Critical);
        replayed.would_critical += usize::from(pressure::level(&would, &against.marks) == Level::Critical);
        let (for_marks, for_jobs) = against.goes(&would, known.jobs, sample.at);
        replayed.would_free += for_marks + for_jobs;
        replayed.would_free_for_jobs += for_jobs;
        used = would.used_bytes - for_marks - for_jobs;
    }
    replayed
}

/// Simulates the writes of jobs between two sweeps and the removals of their hooks. Returns the bytes in use before the second sweep.
fn between(
    known: &KnownPast<'_>,
    first: &Sample,
    second: &Sample,
    mut used: u64,
    against: &Against,
    replayed: &mut Replayed,
) -> u64 {
    let is_within = |at: u64| at > first.at && at <= second.at;
    let freed: u64 = known.removals.iter().filter(|one| is_within(one.at)).map(|one| one.bytes).sum();
    replayed.freed_by_hooks += freed;
    let grown = i128::from(second.before) - i128::from(first.after) + i128::from(freed);
    let span = i128::from(second.at.saturating_sub(first.at).max(1));
    let written = |used: u64, seconds: u64| {
        (i128::from(used) + grown * i128::from(seconds) / span).clamp(0, i128::from(u64::MAX)) as u64
    };
    let mut begins: Vec<u64> = known.jobs.iter().map(|job| job.began).filter(|at| is_within(*at)).collect();
    begins.sort_unstable();
    let mut last = first.at;
    for at in begins {
        used = written(used, at - last);
        last = at;
        let would = usage(used, against.size);
        let (for_marks, for_jobs) = against.goes(&would, known.jobs, at);
        replayed.would_free_by_hooks += for_marks + for_jobs;
        replayed.would_free_for_jobs += for_jobs;
        used -= for_marks + for_jobs;
    }
    written(used, second.at.saturating_sub(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, units::Percent};

    const G: u64 = 1 << 30;

    fn sample(at: u64, before: u64, after: u64) -> Sample {
        Sample { at, before: before * G, after: after * G, total: 100 * G }
    }

    fn marks(high: u8, low: u8) -> Watermarks {
        Watermarks {
            high: Percent::new(high),
            low: Percent::new(low),
            min_free: 0,
            ..Config::default().watermarks
        }
    }

    fn against(size: u64, marks: Watermarks) -> Against {
        Against { size: size * G, marks, forecast: false }
    }

    fn of(samples: &[Sample]) -> KnownPast<'_> {
        KnownPast { samples, ..KnownPast::default() }
    }

    /// It grows by 10 GiB between sweeps, and goes from 90 to 70.
    fn past() -> Vec<Sample> {
        vec![sample(0, 70, 70), sample(1, 80, 80), sample(2, 90, 70), sample(3, 80, 80), sample(4, 90, 70)]
    }

    #[test]
    fn under_its_own_configuration_the_past_comes_out_as_it_was() {
        let same = replay(&of(&past()), &marks(85, 70), &against(100, marks(85, 70)));
        assert!(same.points.iter().all(|point| point.was == point.would), "{same:?}");
        assert_eq!((same.freed, same.would_free), (40 * G, 40 * G));
        assert_eq!((same.critical, same.would_be_full), (0, 0));
    }

    #[test]
    fn a_smaller_disk_is_fuller_and_lower_marks_free_more() {
        let small = replay(&of(&past()), &marks(85, 70), &against(75, marks(85, 70)));
        assert_eq!(small.points[0].would, 94);
        assert!(small.would_free > small.freed / 2 && small.would_critical <= small.points.len());
        let tiny = replay(&of(&past()), &marks(85, 70), &against(60, marks(100, 99)));
        assert!(tiny.would_be_full > 0, "{tiny:?}");
        let lower = replay(&of(&past()), &marks(85, 70), &against(100, marks(75, 50)));
        assert!(lower.would_free > lower.freed, "{lower:?}");
        assert_eq!(replay(&of(&[]), &marks(85, 70), &against(0, marks(85, 70))), Replayed::default());
    }

    #[test]
    fn bytes_freed_by_hooks_were_written_before() {
        // Nothing has grown between the sweeps, because a hook has freed as much as jobs have written.
        let samples = [sample(0, 80, 80), sample(900, 80, 80)];
        let removals = [PastRemoval { at: 450, bytes: 15 * G }];
        let known = KnownPast { removals: &removals, ..of(&samples) };
        let without = replay(&known, &marks(85, 70), &against(100, marks(100, 99)));
        assert_eq!((without.points[1].was, without.points[1].would), (80, 95));
        assert_eq!((without.freed_by_hooks, without.would_free_by_hooks), (15 * G, 0));
    }

    #[test]
    fn with_a_forecast_room_is_made_when_a_job_begins_and_without_it_is_not() {
        let samples = [sample(0, 60, 60), sample(900, 60, 60), sample(1800, 84, 84)];
        let job = |is_cold| PastJob {
            began: 1000,
            ended: Some(1700),
            estimate: Estimate { mean: (50 * G) as f64, variance: 0.0 },
            basis: Basis::History,
            is_cold,
        };
        let freed = |jobs: &[PastJob], forecast| {
            let known = KnownPast { jobs, ..of(&samples) };
            let replayed =
                replay(&known, &marks(85, 70), &Against { forecast, ..against(100, marks(85, 70)) });
            assert_eq!(replayed.would_free_by_hooks, replayed.would_free_for_jobs, "there is no pressure");
            replayed.would_free_by_hooks / G
        };
        // Some 63 GiB are in use when it begins, and it needs 50.
        assert_eq!(freed(&[job(true)], true), 12);
        assert_eq!((freed(&[job(true)], false), freed(&[job(false)], true), freed(&[], true)), (0, 0, 0));
        let guess = PastJob { basis: Basis::Unknown, ..job(true) };
        assert_eq!(freed(&[guess], true), 0, "a guess asks for no more than a disk without pressure has");
    }
}
