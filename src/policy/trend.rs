//! How fast a filesystem fills, from the samples of sweeps.

use crate::model::metrics::{Sample, Samples};

/// Older samples are not representative.
const WINDOW: u64 = 2 * 3600;

/// A rate over less time is noise. Sweeps that hooks ask for may follow each other by seconds.
const SHORTEST: u64 = 300;

/// Samples of one filesystem; at one a quarter of an hour, a day.
const MAX_SAMPLES: usize = 96;

/// Filesystems that are remembered.
const MAX_FILESYSTEMS: usize = 256;

/// Adds a sweep's sample of one filesystem. Samples with a time in the future, or of another filesystem, are dropped.
pub fn remember(samples: &mut Samples, mount: &str, sample: Sample) {
    if samples.len() >= MAX_FILESYSTEMS && !samples.contains_key(mount) {
        return;
    }
    let known = samples.entry(mount.to_owned()).or_default();
    known.retain(|old| old.at <= sample.at && old.total == sample.total);
    known.push(sample);
    let surplus = known.len().saturating_sub(MAX_SAMPLES);
    known.drain(..surplus);
}

/// Bytes a second that were written and not deleted again by others than a sweep, over the last two hours up to `now` (seconds since the
/// epoch); `used` is the latest use. Negative while the disk empties; `None` without enough samples.
pub fn fill_rate(samples: &[Sample], now: u64, used: u64) -> Option<f64> {
    let recent: Vec<&Sample> =
        samples.iter().filter(|sample| sample.at <= now && sample.at >= now.saturating_sub(WINDOW)).collect();
    let (first, last) = (recent.first()?, recent.last()?);
    let span = now - first.at;
    if span < SHORTEST {
        return None;
    }
    // What a sweep freed lies within a sample; what others wrote lies between two.
    let between = recent.windows(2).map(|pair| i128::from(pair[1].before) - i128::from(pair[0].after));
    let grown = between.sum::<i128>() + i128::from(used) - i128::from(last.after);
    Some(grown as f64 / span as f64)
}

/// Seconds until `available` bytes are used up; infinite while the disk does not fill.
pub fn seconds_to_full(available: u64, rate: f64) -> f64 {
    if rate > 0.0 { available as f64 / rate } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn sample(ago: u64, before: u64, after: u64) -> Sample {
        Sample { at: NOW - ago, before, after, total: 10_000_000 }
    }

    #[test]
    fn bytes_freed_by_sweeps_are_no_negative_growth() {
        for (samples, used, expected) in [
            (vec![], 0, None),
            (vec![sample(100, 5, 5)], 5000, None),
            (vec![sample(1000, 0, 0)], 5000, Some(5.0)),
            (vec![sample(1000, 9000, 0)], 5000, Some(5.0)),
            (vec![sample(2000, 0, 0), sample(1000, 5000, 1000)], 6000, Some(5.0)),
            (vec![sample(2000, 0, 1000), sample(1000, 6000, 1000)], 6000, Some(5.0)),
            (vec![sample(1000, 0, 5000)], 0, Some(-5.0)),
            (vec![sample(300, 0, 0)], 3000, Some(10.0)),
            (vec![sample(7200, 0, 0)], 7200, Some(1.0)),
            (vec![sample(9000, 0, 0), sample(1000, 4000, 4000)], 6000, Some(2.0)),
        ] {
            assert_eq!(fill_rate(&samples, NOW, used), expected, "{samples:?}");
        }
    }

    #[test]
    fn only_a_filling_disk_gets_a_time_until_full() {
        assert_eq!(seconds_to_full(1000, 10.0), 100.0);
        for rate in [0.0, -3.0] {
            assert_eq!([0, 1000].map(|available| seconds_to_full(available, rate)), [f64::INFINITY; 2]);
        }
    }

    #[test]
    fn memory_is_bounded_and_forgets_other_disks_and_the_future() {
        let mut samples = Samples::new();
        for at in 0..1000 {
            remember(&mut samples, "/a", Sample { at, before: 0, after: 0, total: 1 });
        }
        assert_eq!((samples["/a"].len(), samples["/a"][0].at), (MAX_SAMPLES, 1000 - MAX_SAMPLES as u64));
        remember(&mut samples, "/a", Sample { at: 950, before: 0, after: 0, total: 1 });
        assert_eq!(samples["/a"].last().map(|sample| sample.at), Some(950), "the clock was set back");
        assert!(samples["/a"].is_sorted_by_key(|sample| sample.at));
        remember(&mut samples, "/a", Sample { at: 2000, before: 0, after: 0, total: 2 });
        assert_eq!(samples["/a"].len(), 1);
        for mount in 0..1000 {
            remember(&mut samples, &format!("/{mount}"), Sample { at: 1, before: 0, after: 0, total: 1 });
        }
        assert_eq!(samples.len(), MAX_FILESYSTEMS);
    }
}
