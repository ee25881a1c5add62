//! This host's own past against another configuration or another size of its disk.
//!
//! What jobs have written between two sweeps, and deleted of it again, is known from what sweeps have seen of the disk. It is written
//! again to a disk of the other size, and at each sweep the other watermarks decide, by the product's own code
//! ([`crate::policy::pressure`]), how much goes. It is taken that idle caches hold what is asked for: how full the disk would have
//! been without that is what is told as the peak.

use crate::config::Watermarks;
use crate::model::metrics::Sample;
use crate::model::{Level, Usage};
use crate::policy::pressure;

/// One sweep of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Point {
    /// When, in seconds since the epoch.
    pub at: u64,
    /// Percent that were in use before the sweep.
    pub was: u8,
    /// Percent that would have been.
    pub would: u8,
}

/// What would have come of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Replayed {
    /// The sweeps, the oldest first.
    pub points: Vec<Point>,
    /// Bytes that sweeps freed.
    pub freed: u64,
    /// Bytes that they would have freed.
    pub would_free: u64,
    /// Sweeps that found the disk at or above `pressure.critical`, and that would have.
    pub critical: usize,
    /// See `critical`.
    pub would_critical: usize,
    /// Sweeps before which the disk would have been full: jobs would have died.
    pub would_be_full: usize,
}

/// One disk of this host, played again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct PastDisk {
    /// Its mount point, escaped.
    pub mount: String,
    /// Its size.
    pub was: u64,
    /// The other size.
    pub size: u64,
    /// What came of it.
    #[serde(flatten)]
    pub replayed: Replayed,
}

/// Jobs of the same time, as the ledger has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Builds {
    /// How many began.
    pub began: usize,
    /// Those whose runner had lost a cache of their repository since its job before.
    pub cold: usize,
}

/// What makes a disk in use what `total` bytes allow: reserved blocks are left out.
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

/// Plays `samples` again on a disk of `size` bytes under `marks`; `own` are the marks that held.
pub fn replay(samples: &[Sample], own: &Watermarks, size: u64, marks: &Watermarks) -> Replayed {
    let mut replayed = Replayed::default();
    let mut before: Option<&Sample> = None;
    let mut used = samples.first().map_or(0, |first| first.before);
    for sample in samples {
        if let Some(before) = before {
            let grown = i128::from(sample.before) - i128::from(before.after);
            used = (i128::from(used) + grown).clamp(0, i128::from(u64::MAX)) as u64;
        }
        before = Some(sample);
        replayed.would_be_full += usize::from(used >= size);
        let (was, would) = (usage(sample.before, sample.total), usage(used, size));
        replayed.points.push(Point { at: sample.at, was: was.used_percent(), would: would.used_percent() });
        replayed.freed += sample.before.saturating_sub(sample.after);
        replayed.critical += usize::from(pressure::level(&was, own) == Level::Critical);
        replayed.would_critical += usize::from(pressure::level(&would, marks) == Level::Critical);
        let goes = pressure::need(&would, marks).bytes.min(would.used_bytes);
        replayed.would_free += goes;
        used = would.used_bytes - goes;
    }
    replayed
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

    /// It grows by 10 GiB between sweeps, and goes from 90 to 70.
    fn past() -> Vec<Sample> {
        vec![sample(0, 70, 70), sample(1, 80, 80), sample(2, 90, 70), sample(3, 80, 80), sample(4, 90, 70)]
    }

    #[test]
    fn under_its_own_configuration_the_past_comes_out_as_it_was() {
        let same = replay(&past(), &marks(85, 70), 100 * G, &marks(85, 70));
        assert!(same.points.iter().all(|point| point.was == point.would), "{same:?}");
        assert_eq!((same.freed, same.would_free), (40 * G, 40 * G));
        assert_eq!((same.critical, same.would_be_full), (0, 0));
    }

    #[test]
    fn a_smaller_disk_is_fuller_and_lower_marks_free_more() {
        let small = replay(&past(), &marks(85, 70), 75 * G, &marks(85, 70));
        assert_eq!(small.points[0].would, 94);
        assert!(small.would_free > small.freed / 2 && small.would_critical <= small.points.len());
        let tiny = replay(&past(), &marks(85, 70), 60 * G, &marks(100, 99));
        assert!(tiny.would_be_full > 0, "{tiny:?}");
        let lower = replay(&past(), &marks(85, 70), 100 * G, &marks(75, 50));
        assert!(lower.would_free > lower.freed, "{lower:?}");
        assert_eq!(replay(&[], &marks(85, 70), 0, &marks(85, 70)), Replayed::default());
    }
}
