//! Pressure: when to act, how much is needed, how severe it is.

use crate::config::Watermarks;
use crate::model::{Level, Need, Usage};

/// Which of the marks a filesystem has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// `pressure.high`.
    pub high: bool,
    /// `pressure.min_free`.
    pub min_free: bool,
    /// `pressure.min_free_inodes`.
    pub min_free_inodes: bool,
}

/// Which of the marks it has reached.
pub fn reached(usage: &Usage, marks: &Watermarks) -> Reached {
    Reached {
        high: usage.used_percent() >= marks.high.get(),
        min_free: usage.available_bytes < byte_floor(usage, marks),
        min_free_inodes: usage.inodes_free < inode_floor(usage, marks),
    }
}

/// How severe it is.
pub fn level(usage: &Usage, marks: &Watermarks) -> Level {
    let reached = reached(usage, marks);
    if usage.used_percent() >= marks.critical.get() {
        Level::Critical
    } else if reached.high || reached.min_free || reached.min_free_inodes {
        Level::High
    } else {
        Level::Ok
    }
}

/// How much has to be freed to reach the goal: Use% at or below low, and both floors respected. Nothing when the level is [`Level::Ok`]:
/// between low and high the guard does nothing.
pub fn need(usage: &Usage, marks: &Watermarks) -> Need {
    if level(usage, marks) == Level::Ok { Need::default() } else { lacking(usage, marks) }
}

/// The shortfall to the goal, with or without pressure: once it has begun to act, the guard continues to the goal.
pub fn lacking(usage: &Usage, marks: &Watermarks) -> Need {
    let reachable = u128::from(usage.used_bytes) + u128::from(usage.available_bytes);
    let low = reachable * u128::from(marks.low.get()) / 100;
    let above_low = u128::from(usage.used_bytes).saturating_sub(low) as u64;
    Need {
        bytes: above_low.max(below_floor(usage, marks)),
        inodes: inode_floor(usage, marks).saturating_sub(usage.inodes_free),
    }
}

/// Whether a filesystem has a shortfall of inodes and none of bytes.
pub fn lacks_inodes_alone(usage: &Usage, marks: &Watermarks) -> bool {
    let need = lacking(usage, marks);
    need.bytes == 0 && need.inodes > 0
}

/// The shortfall to `pressure.min_free`, in bytes.
pub(super) fn below_floor(usage: &Usage, marks: &Watermarks) -> u64 {
    byte_floor(usage, marks).saturating_sub(usage.available_bytes)
}

/// `pressure.min_free`, where it can be met: a floor above the filesystem's own size would make the guard prune for ever.
fn byte_floor(usage: &Usage, marks: &Watermarks) -> u64 {
    if floor_is_out_of_reach(usage, marks) { 0 } else { marks.min_free }
}

/// Whether `pressure.min_free` is more than the filesystem could ever have available.
pub fn floor_is_out_of_reach(usage: &Usage, marks: &Watermarks) -> bool {
    marks.min_free >= usage.used_bytes.saturating_add(usage.available_bytes)
}

pub(super) fn inode_floor(usage: &Usage, marks: &Watermarks) -> u64 {
    (u128::from(usage.inodes_total) * u128::from(marks.min_free_inodes.get()) / 100) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::Percent;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn marks(min_free: u64) -> Watermarks {
        Watermarks {
            high: Percent::new(85),
            low: Percent::new(75),
            critical: Percent::new(95),
            min_free,
            min_free_inodes: Percent::new(5),
        }
    }

    fn disk(used: u64, available: u64, inodes_free: u64) -> Usage {
        Usage {
            total_bytes: (used + available) * GIB,
            used_bytes: used * GIB,
            available_bytes: available * GIB,
            inodes_total: 1000,
            inodes_free,
        }
    }

    #[test]
    fn levels() {
        for (used, available, inodes, min_free, expected) in [
            (84, 16, 500, 0, Level::Ok),
            (85, 15, 500, 0, Level::High),
            (849, 151, 500, 0, Level::High), // 84.9 % is 85 % to df
            (95, 5, 500, 0, Level::Critical),
            (50, 50, 500, 51, Level::High), // below the floor
            (50, 50, 500, 50, Level::Ok),   // exactly at it
            (50, 50, 49, 0, Level::High),   // inodes
            (50, 50, 50, 0, Level::Ok),
            (5, 5, 500, 15, Level::Ok), // a floor that this disk cannot have
        ] {
            let usage = disk(used, available, inodes);
            assert_eq!(
                level(&usage, &marks(min_free * GIB)),
                expected,
                "{used}/{available}/{inodes}/{min_free}"
            );
        }
    }

    #[test]
    fn the_tighter_of_watermark_and_floor_rules() {
        assert_eq!(need(&disk(84, 16, 500), &marks(0)).bytes, 0, "it rests between low and high");
        assert_eq!(need(&disk(90, 10, 500), &marks(0)).bytes, 15 * GIB);
        assert_eq!(need(&disk(90, 10, 500), &marks(40 * GIB)).bytes, 30 * GIB);
        assert_eq!(need(&disk(50, 50, 20), &marks(0)), Need { bytes: 0, inodes: 30 });
    }

    #[test]
    fn a_filesystem_without_inode_counts_never_lacks_them() {
        let btrfs = Usage { inodes_total: 0, inodes_free: 0, ..disk(50, 50, 0) };
        assert_eq!(level(&btrfs, &marks(0)), Level::Ok);
    }

    proptest! {
        /// Freeing what was needed is enough, and one percent less is not.
        #[test]
        fn the_need_is_exact(used in 0u64..1 << 50, available in 1u64..1 << 50, min_free in 0u64..1 << 50) {
            let usage = Usage { total_bytes: used + available, used_bytes: used, available_bytes: available,
                inodes_total: 0, inodes_free: 0 };
            let marks = marks(min_free);
            let need = need(&usage, &marks);
            if need.bytes > 0 && need.bytes <= used {
                let freed = |bytes: u64| Usage { used_bytes: used - bytes, available_bytes: available + bytes, ..usage };
                prop_assert!(lacking(&freed(need.bytes), &marks).is_met());
                prop_assert!(!lacking(&freed(need.bytes - 1), &marks).is_met());
                prop_assert_eq!(level(&freed(need.bytes), &marks), Level::Ok);
            }
        }

        /// Between low and high the guard does nothing: a disk that was brought down to low may grow by almost the whole distance before
        /// anything is needed again.
        #[test]
        fn between_the_watermarks_nothing_is_needed(
            used in 0u64..1 << 50, available in 1u64..1 << 50, low in 0u8..99, distance in 1u8..100, growth in 0.0f64..1.0,
        ) {
            let high = low.saturating_add(distance).min(100);
            let marks = Watermarks { low: Percent::new(low), high: Percent::new(high), critical: Percent::new(100), ..marks(0) };
            let usage = Usage { total_bytes: used + available, used_bytes: used, available_bytes: available,
                inodes_total: 0, inodes_free: 0 };
            let freed = lacking(&usage, &marks).bytes;
            let room = (used + available) / 100 * u64::from(high - low - 1);
            let grown = used - freed + (room as f64 * growth) as u64;
            prop_assume!(grown <= used + available);
            let later = Usage { used_bytes: grown, available_bytes: used + available - grown, ..usage };
            prop_assert_eq!(level(&later, &marks), Level::Ok);
            prop_assert!(need(&later, &marks).is_met());
        }

        #[test]
        fn a_fuller_disk_is_never_better_and_never_needs_less(
            used in 0u64..1 << 50, available in 0u64..1 << 50, more in 0u64..1 << 50, min_free in 0u64..1 << 50,
            inodes in 0u64..1000, fewer in 0u64..1000,
        ) {
            let marks = marks(min_free);
            let usage = Usage { total_bytes: used + available, used_bytes: used, available_bytes: available,
                inodes_total: 1000, inodes_free: inodes };
            let more = more.min(available);
            let fuller = Usage { used_bytes: used + more, available_bytes: available - more,
                inodes_free: inodes.saturating_sub(fewer), ..usage };
            prop_assert!(level(&fuller, &marks) >= level(&usage, &marks));
            let (before, after) = (need(&usage, &marks), need(&fuller, &marks));
            prop_assert!(after.bytes >= before.bytes && after.inodes >= before.inodes);
            prop_assert_eq!(level(&usage, &marks) == Level::Ok, before.is_met());
        }
    }
}
