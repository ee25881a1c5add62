//! The goal of a run on one filesystem, and the lesser goal where that is out of reach.
//!
//! Other data may fill so much of a disk that removing all caches would not bring it down to `pressure.low`. Removing them all at every
//! job's start would make each build cold and change nothing. So where everything removable does not suffice, the goal is lower: below
//! critical and above the floors; and where that is out of reach as well, enough free space for a job to start.

use super::pressure;
use crate::config::Watermarks;
use crate::model::{ActionResult, Aim, Balance, Filesystem, Level, Need, Room, RunReport, Usage};

/// A `pressure.low` below this means that everything removable is removed: no disk in use is ever so empty.
const ALL_OF_IT: u8 = 10;

/// The shortfall to each goal, the highest goal first. A lower goal never has a larger shortfall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Vec<(Aim, Need)>);

/// The goals on a filesystem of this usage.
pub fn ladder(usage: &Usage, marks: &Watermarks) -> Ladder {
    let low = pressure::lacking(usage, marks);
    if marks.low.get() < ALL_OF_IT {
        return Ladder(vec![(Aim::Low, low)]);
    }
    let (critical, floor) =
        (above(usage, marks.critical.get().saturating_sub(1)), pressure::below_floor(usage, marks));
    // Half of the distance between critical and full.
    let brink = above(usage, marks.critical.get() + (100 - marks.critical.get()) / 2);
    let few_inodes =
        |parts: u64| pressure::inode_floor(usage, marks).div_ceil(parts).saturating_sub(usage.inodes_free);
    let rung = |bytes: u64, inodes: u64| Need { bytes: bytes.min(low.bytes), inodes: inodes.min(low.inodes) };
    Ladder(vec![
        (Aim::Low, low),
        (Aim::BelowCritical, rung(critical.max(floor), low.inodes)),
        (Aim::BelowCritical, rung(critical, few_inodes(2))),
        (Aim::OffTheBrink, rung(brink.min(critical), few_inodes(5))),
    ])
}

/// The disks whose goal a run has missed, or would miss: under pressure, and below the goal after the planned removals.
pub fn missed(report: &RunReport, marks: &Watermarks) -> Vec<Filesystem> {
    let is_missed = |balance: &&Balance| {
        let planned = report.outcomes.iter().filter(|outcome| {
            let base = outcome.action.cache.base(&outcome.action.runner);
            outcome.result == ActionResult::Planned
                && base.is_some_and(|base| base.filesystem == balance.before.id)
        });
        let gained = planned.fold(Need::default(), |sum, outcome| sum.plus(outcome.action.cache.yields()));
        let had_pressure = pressure::level(&balance.before.usage, marks) != Level::Ok;
        had_pressure && !pressure::lacking(&balance.after, marks).less(gained).is_met()
    };
    let missed = report.balances.iter().filter(is_missed);
    missed.map(|balance| Filesystem { usage: balance.after, ..balance.before.clone() }).collect()
}

/// Bytes in use above this share of what can be used.
fn above(usage: &Usage, percent: u8) -> u64 {
    let reachable = u128::from(usage.used_bytes) + u128::from(usage.available_bytes);
    u128::from(usage.used_bytes).saturating_sub(reachable * u128::from(percent) / 100) as u64
}

/// The demand for room on a disk that live jobs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// The jobs alone.
    Jobs,
    /// The disk is under pressure as well.
    JobsAndPressure,
}

/// The goals where live jobs need room. If that is out of reach but the jobs' expected need is not, everything removable is removed.
/// Otherwise the goals are those without live jobs: on a disk without pressure none.
pub fn ladder_for_jobs(usage: &Usage, marks: &Watermarks, demand: Demand, room: Room) -> Ladder {
    let rest = match demand {
        Demand::JobsAndPressure => ladder(usage, marks).0,
        Demand::Jobs => vec![(Aim::Low, Need::default())],
    };
    let least = rest[0].1;
    let rung = |wanted: u64| Need {
        bytes: wanted.saturating_sub(usage.available_bytes).max(least.bytes),
        inodes: least.inodes,
    };
    let (need, expected) = (rung(room.need), rung(room.expected.min(room.need)));
    if need == least {
        return Ladder(rest);
    }
    Ladder([(Aim::Jobs, need), (Aim::JobsOnAverage, expected)].into_iter().chain(rest).collect())
}

impl Ladder {
    /// The goal where everything is within reach, and its shortfall.
    pub fn highest(&self) -> (Aim, Need) {
        self.0[0]
    }

    /// The highest goal within `reach`, and its shortfall: of bytes and of inodes separately. A goal that nothing can reach is still
    /// pursued.
    pub fn aim(&self, reach: Need) -> (Aim, Need) {
        let last = &self.0[self.0.len() - 1];
        let taken = |rung: &(Aim, Need)| match rung.0 {
            Aim::JobsOnAverage => self.highest().1,
            _ => rung.1,
        };
        let bytes = self.0.iter().find(|(_, need)| need.bytes <= reach.bytes).unwrap_or(last);
        let inodes = self.0.iter().find(|(_, need)| need.inodes <= reach.inodes).unwrap_or(last);
        (bytes.0.max(inodes.0), Need { bytes: taken(bytes).bytes, inodes: inodes.1.inodes })
    }

    /// The shortfall to this goal; where a goal has several levels, the smallest.
    pub fn lacking(&self, aim: Aim) -> Need {
        self.0.iter().rfind(|(rung, _)| *rung == aim).map_or(self.0[0].1, |(_, need)| *need)
    }
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
            min_free: min_free * GIB,
            min_free_inodes: Percent::new(5),
        }
    }

    fn disk(used: u64, inodes_free: u64) -> Usage {
        let available = 1000 - used;
        Usage {
            total_bytes: 1000 * GIB,
            used_bytes: used * GIB,
            available_bytes: available * GIB,
            inodes_total: 1000,
            inodes_free,
        }
    }

    fn gib(bytes: u64) -> Need {
        Need { bytes: bytes * GIB, inodes: 0 }
    }

    #[test]
    fn the_aim_is_the_highest_within_reach() {
        for (used, min_free, reach, aim, bytes) in [
            (880, 0, 130, Aim::Low, 130),            // just enough
            (880, 0, 129, Aim::BelowCritical, 0),    // it is below critical already
            (960, 0, 129, Aim::BelowCritical, 20),   // to 94 %, which df prints as less than critical
            (900, 120, 100, Aim::BelowCritical, 20), // above the floor
            (900, 220, 100, Aim::BelowCritical, 0),  // the floor is out of reach, and the disk below critical
            (990, 0, 20, Aim::OffTheBrink, 20),
            (980, 0, 20, Aim::OffTheBrink, 10),
            (970, 0, 20, Aim::OffTheBrink, 0),
            (1000, 0, 5, Aim::OffTheBrink, 30), // not even that: all of it
        ] {
            let found = ladder(&disk(used, 500), &marks(min_free)).aim(gib(reach));
            assert_eq!(found, (aim, gib(bytes)), "{used} {min_free} {reach}");
        }
    }

    #[test]
    fn the_highest_aim_within_reach_is_chosen() {
        let marks = Watermarks { low: Percent::new(1), ..marks(0) };
        assert_eq!(ladder(&disk(880, 500), &marks).aim(gib(1)), (Aim::Low, gib(870)));
    }

    #[test]
    fn room_for_jobs_comes_first_and_its_mean_where_that_is_out_of_reach() {
        let room = Room { need: 300 * GIB, expected: 200 * GIB };
        let calm = ladder_for_jobs(&disk(800, 500), &marks(0), Demand::Jobs, room);
        for (reach, aim, bytes) in [
            (100, Aim::Jobs, 100),
            (99, Aim::JobsOnAverage, 100), // 200 are available
        ] {
            assert_eq!(calm.aim(gib(reach)), (aim, gib(bytes)), "{reach}");
        }
        let tight = ladder_for_jobs(&disk(850, 500), &marks(0), Demand::Jobs, room);
        assert_eq!(tight.aim(gib(149)), (Aim::JobsOnAverage, gib(150)));
        assert_eq!(tight.aim(gib(49)), (Aim::Low, gib(0)), "nothing goes for a goal that nothing reaches");
        let pressed = ladder_for_jobs(&disk(880, 500), &marks(0), Demand::JobsAndPressure, room);
        assert_eq!(pressed.aim(gib(200)), (Aim::Jobs, gib(180)));
        assert_eq!(pressed.aim(gib(150)), (Aim::JobsOnAverage, gib(180)));
        assert_eq!(pressed.aim(gib(100)), ladder(&disk(880, 500), &marks(0)).aim(gib(100)));
        let roomy = ladder_for_jobs(&disk(500, 500), &marks(0), Demand::Jobs, room);
        assert_eq!(roomy.highest(), (Aim::Low, Need::default()), "there is room");
    }

    #[test]
    fn inodes_have_aims_of_their_own() {
        let aim = |free, reach| ladder(&disk(500, free), &marks(0)).aim(Need { bytes: 0, inodes: reach });
        assert_eq!(aim(20, 30), (Aim::Low, Need { bytes: 0, inodes: 30 }));
        assert_eq!(aim(20, 29), (Aim::BelowCritical, Need { bytes: 0, inodes: 5 }));
        assert_eq!(aim(2, 10), (Aim::OffTheBrink, Need { bytes: 0, inodes: 8 }));
    }

    proptest! {
        #[test]
        fn a_lesser_aim_never_asks_for_more(
            used in 0u64..=1000, inodes in 0u64..1000, min_free in 0u64..2000, bytes in 0u64..1000, reach in 0u64..100,
        ) {
            let ladder = ladder(&disk(used, inodes), &marks(min_free));
            for pair in ladder.0.windows(2) {
                prop_assert!(pair[1].1.bytes <= pair[0].1.bytes && pair[1].1.inodes <= pair[0].1.inodes);
            }
            let (aim, need) = ladder.aim(Need { bytes: bytes * GIB, inodes: reach });
            prop_assert!(need.bytes <= ladder.0[0].1.bytes);
            prop_assert!(aim != Aim::Low || need == ladder.0[0].1);
        }
    }
}
