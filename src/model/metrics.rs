//! The counters, and the data for monitoring.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// A counter. A new counter needs a variant here and a line in the table of `report::prometheus`; gauges are read from the host on request.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, VariantArray, EnumString,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Counter {
    /// Caches, by outcome.
    Actions,
    /// Caches that were needed and kept, by the strongest evidence.
    Refusals,
    /// Freed bytes, by runner, rule and reason.
    Reclaimed,
    /// Bytes freed because equal files share their blocks.
    DedupeFreed,
    /// Jobs that were refused because the disk stayed above critical.
    JobsRefused,
    /// Times that the host lock was not obtained.
    LockTimeouts,
    /// Errors.
    Errors,
}

impl Counter {
    /// All of them.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The names of its labels, in the order of their values.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Actions => &["outcome"],
            Self::Refusals => &["evidence"],
            Self::Reclaimed => &["runner", "rule", "reason"],
            Self::DedupeFreed | Self::JobsRefused | Self::LockTimeouts | Self::Errors => &[],
        }
    }
}

/// The reason for bytes that are freed from unfinished trash, whose runner and rule are no longer known.
pub const TRASH: &str = "trash";

/// The outcomes that are counted, as `ActionResult` names them.
pub const OUTCOMES: [&str; 6] = ["removed", "kept", "restored", "changed", "failed", "deferred"];

/// Something whose duration is kept as a histogram.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, VariantArray, EnumString,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Timing {
    /// A started-hook, from its configuration being read to its end.
    HookStarted,
    /// A completed-hook.
    HookCompleted,
    /// The wait for the host lock, to hold it together with others.
    LockShared,
    /// The wait for the host lock, to hold it alone.
    LockExclusive,
}

impl Timing {
    /// All of them.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The upper bounds of its buckets but the last, in microseconds. A hook takes a millisecond on a healthy disk and at most
    /// its time limit; a lock is waited for at most `hook.lock_wait`.
    pub fn bounds(self) -> &'static [u64] {
        const MS: u64 = 1000;
        const S: u64 = 1000 * MS;
        match self {
            Self::HookStarted | Self::HookCompleted => &[
                2500,
                5 * MS,
                10 * MS,
                25 * MS,
                50 * MS,
                100 * MS,
                250 * MS,
                500 * MS,
                S,
                2500 * MS,
                5 * S,
                10 * S,
                30 * S,
                60 * S,
                120 * S,
                300 * S,
            ],
            Self::LockShared | Self::LockExclusive => &[
                MS,
                2500,
                5 * MS,
                10 * MS,
                25 * MS,
                50 * MS,
                100 * MS,
                250 * MS,
                500 * MS,
                S,
                2500 * MS,
                5 * S,
                10 * S,
                30 * S,
            ],
        }
    }
}

/// One counter with the values of its labels.
pub type Series = (Counter, Vec<String>);

/// What one run has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The counts.
    pub counts: BTreeMap<Series, u64>,
    /// Durations in microseconds.
    pub timings: Vec<(Timing, u64)>,
    /// The end of a sweep, when it was one.
    pub sweep: Option<SweepEnd>,
}

impl Tally {
    /// Counts.
    pub fn count(&mut self, counter: Counter, labels: &[&str], by: u64) {
        debug_assert_eq!(labels.len(), counter.labels().len());
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let count = self.counts.entry((counter, labels)).or_default();
        *count = count.saturating_add(by);
    }
}

/// How a sweep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepEnd {
    /// When, in seconds since the epoch.
    pub at: u64,
    /// How long it took, in microseconds.
    pub took: u64,
    /// Whether it could run to its end, whether or not it met its goal.
    pub success: bool,
    /// Whether every disk under pressure has reached its goal.
    pub goal_met: bool,
    /// Whether it repaired no work directory because more than one is contaminated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wider_contamination: bool,
}

/// Durations, counted by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// The count of each bucket and of the one beyond the last bound; not cumulative.
    pub buckets: Vec<u64>,
    /// Their sum, in microseconds.
    pub sum: u64,
}

impl Histogram {
    /// An empty one.
    pub fn new(timing: Timing) -> Self {
        Self { buckets: vec![0; timing.bounds().len() + 1], sum: 0 }
    }

    fn observe(&mut self, timing: Timing, micros: u64) {
        let bounds = timing.bounds();
        let place = bounds.iter().position(|bound| micros <= *bound).unwrap_or(bounds.len());
        self.buckets[place] = self.buckets[place].saturating_add(1);
        self.sum = self.sum.saturating_add(micros);
    }
}

/// The sums of all counts on this host. A sum saturates instead of overflowing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// The counters.
    pub counts: BTreeMap<Series, u64>,
    /// The histograms.
    pub histograms: BTreeMap<Timing, Histogram>,
    /// The last sweep.
    pub last_sweep: Option<SweepEnd>,
}

impl Totals {
    /// Adds a run.
    pub fn add(&mut self, tally: &Tally) {
        for (series, by) in &tally.counts {
            let count = self.counts.entry(series.clone()).or_default();
            *count = count.saturating_add(*by);
        }
        for (timing, micros) in &tally.timings {
            let histogram = self.histograms.entry(*timing).or_insert_with(|| Histogram::new(*timing));
            histogram.observe(*timing, *micros);
        }
        self.last_sweep = self.last_sweep.into_iter().chain(tally.sweep).max_by_key(|end| end.at);
    }

    /// The value of one series; 0 if there is none.
    pub fn get(&self, counter: Counter, labels: &[&str]) -> u64 {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.counts.get(&(counter, labels)).copied().unwrap_or_default()
    }
}

/// How full a filesystem was when a sweep began and when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, in seconds since the epoch.
    pub at: u64,
    /// Bytes in use before the sweep.
    pub before: u64,
    /// And after it.
    pub after: u64,
    /// The filesystem's size. If it has changed, it is another filesystem.
    pub total: u64,
}

/// How fast a filesystem fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// The rate of writing; negative while it empties.
    pub bytes_per_second: f64,
    /// The time until nothing is available; infinite while it does not fill.
    pub seconds_to_full: f64,
}

/// Samples of filesystems by their mount points, the oldest first.
pub type Samples = BTreeMap<String, Vec<Sample>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ActionResult;
    use strum::VariantNames as _;

    #[test]
    fn bounds_grow_and_every_duration_has_its_bucket() {
        for &timing in Timing::ALL {
            assert!(timing.bounds().is_sorted_by(|a, b| a < b), "{timing:?}");
            let mut totals = Totals::default();
            let timings = [0, timing.bounds()[0], timing.bounds()[0] + 1, u64::MAX];
            totals
                .add(&Tally { timings: timings.map(|micros| (timing, micros)).to_vec(), ..Tally::default() });
            let histogram = &totals.histograms[&timing];
            assert_eq!((histogram.buckets[0], histogram.buckets[1]), (2, 1), "a bound lies in its bucket");
            assert_eq!(histogram.buckets.last(), Some(&1));
            assert_eq!(histogram.sum, u64::MAX, "it stays there");
        }
    }

    #[test]
    fn totals_stay_at_their_largest_value_and_know_the_latest_sweep() {
        let mut tally = Tally::default();
        tally.count(Counter::Errors, &[], u64::MAX);
        tally.count(Counter::Errors, &[], 5);
        let end =
            |at| Some(SweepEnd { at, took: 1, success: true, goal_met: true, wider_contamination: false });
        tally.sweep = end(7);
        let mut totals = Totals { last_sweep: end(9), ..Totals::default() };
        totals.add(&tally);
        totals.add(&tally);
        assert_eq!(totals.get(Counter::Errors, &[]), u64::MAX);
        assert_eq!(totals.last_sweep, end(9));
    }

    #[test]
    fn outcomes_have_the_names_of_results() {
        let done = ActionResult::VARIANTS.iter().filter(|name| **name != ActionResult::Planned.as_str());
        assert!(done.eq(&OUTCOMES), "every result but that of a dry run is counted");
    }
}
