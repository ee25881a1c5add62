use super::*;
use crate::model::{AccessTimes, Extra};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

/// A complete unit of the registry, built at 0 and armed after a job that ended at 100 and had used it.
fn unit(hash: u64, needs: &[u64]) -> Unit {
    Unit {
        label: format!("unit {hash}"),
        role: format!("role {hash}"),
        hashes: vec![hash],
        needs: needs.to_vec(),
        state: UnitState::Complete,
        built: at(0),
        read: at(0),
        armed: at(100),
        cost: Duration::from_secs(10),
        origin: Origin::Dependency,
        bytes: MIB,
        members: Vec::new(),
    }
}

fn target(units: Vec<Unit>) -> CargoTarget {
    CargoTarget { units, ..Default::default() }
}

/// Tier, bytes in MiB and units of each step.
fn shape(offer: &TrimOffer) -> Vec<(&'static str, u64, usize)> {
    offer.steps.iter().map(|step| (step.tier.as_str(), step.bytes / MIB, step.units)).collect()
}

#[test]
fn units_unused_for_the_longest_time_are_deleted_first() {
    let long_ago = Unit { armed: at(50), bytes: 2 * MIB, ..unit(1, &[]) };
    let longest_ago = Unit { armed: at(10), bytes: 3 * MIB, ..unit(2, &[]) };
    let used_by_the_last_job = unit(3, &[]);
    let used_right_now = Unit { read: at(200), armed: at(10), bytes: 4 * MIB, ..unit(4, &[]) };
    let units = vec![long_ago, longest_ago, used_by_the_last_job, used_right_now];
    let offer = offer(&target(units), AccessTimes::Move);
    assert_eq!(offer.bits, ReferenceBits::Trusted);
    assert_eq!(shape(&offer)[..2], [("unused", 3, 1), ("unused", 2, 1)]);
    assert!(shape(&offer)[2..].iter().all(|(tier, ..)| *tier == "live"));
}

#[test]
fn a_unit_without_its_fingerprint_or_dependency_is_broken_with_what_depends_on_it_unless_it_was_used() {
    let torn = Unit { state: UnitState::Broken, armed: at(10), ..unit(1, &[]) };
    let above = Unit { armed: at(10), ..unit(2, &[1]) };
    let lacks = Unit { armed: at(10), ..unit(3, &[99]) };
    let fine = Unit { armed: at(10), ..unit(4, &[]) };
    let used_all_the_same = unit(5, &[98]);
    let offer = offer(&target(vec![torn, above, lacks, fine, used_all_the_same]), AccessTimes::Move);
    let tiers: Vec<_> = shape(&offer).into_iter().map(|(tier, ..)| tier).collect();
    assert_eq!(tiers, ["broken", "broken", "broken", "unused", "live"]);
}

#[test]
fn unreliable_access_times_are_not_used() {
    let units = || vec![unit(1, &[]), Unit { armed: at(10), ..unit(2, &[]) }];
    for answer in [AccessTimes::Stay, AccessTimes::Unknown("it could not be tried".to_owned())] {
        let offer = offer(&target(units()), answer);
        assert!(matches!(offer.bits, ReferenceBits::Untrusted(_)));
        assert!(offer.steps.iter().all(|step| step.tier == TrimTier::Live), "of different roles, all stay");
    }
    // Used, although its dependency was not: where builds run, reads do not count.
    let odd = vec![unit(1, &[2]), Unit { armed: at(10), ..unit(2, &[]) }];
    assert!(matches!(offer(&target(odd), AccessTimes::Move).bits, ReferenceBits::Untrusted(_)));
    // Never armed.
    let new = vec![Unit { armed: at(0), ..unit(1, &[]) }];
    assert!(matches!(offer(&target(new), AccessTimes::Move).bits, ReferenceBits::Untrusted(_)));
    assert_eq!(offer(&target(units()), AccessTimes::Move).bits, ReferenceBits::Trusted, "and these tell");
}

#[test]
fn without_access_times_the_newest_of_each_role_counts_as_used_with_all_it_needs() {
    let old = Unit { role: "app".into(), bytes: 2 * MIB, ..unit(1, &[3]) };
    let new = Unit { role: "app".into(), built: at(9), ..unit(2, &[4]) };
    let units = vec![old, new, Unit { bytes: 3 * MIB, ..unit(3, &[]) }, unit(4, &[])];
    let offer = offer(&target(units), AccessTimes::Stay);
    assert_eq!(shape(&offer)[..2], [("unused", 2, 1), ("unused", 3, 1)]);
    assert_eq!(offer.bytes_in(TrimTier::Live), 2 * MIB);
}

#[test]
fn units_in_use_are_deleted_with_their_dependents_and_the_workspaces_own_first() {
    let base = Unit { bytes: MIB, cost: Duration::from_secs(60), ..unit(1, &[]) };
    let middle = Unit { bytes: MIB, cost: Duration::from_secs(30), ..unit(2, &[1]) };
    let own = Unit { origin: Origin::Workspace, cost: Duration::from_secs(999), ..unit(3, &[2]) };
    let offer = offer(&target(vec![base, middle, own]), AccessTimes::Move);
    assert_eq!(shape(&offer), [("live", 1, 1), ("live", 1, 1), ("live", 1, 1)]);
    assert!(offer.steps[0].cost < Duration::from_secs(1), "the next commit rebuilds it anyway");
    assert!(offer.steps[1].cost > Duration::from_secs(29));
}

#[test]
fn a_trim_ends_inside_a_closure_as_soon_as_it_has_enough() {
    let base = Unit { bytes: 60 * MIB, cost: Duration::from_secs(1), ..unit(1, &[]) };
    let dear = Unit { cost: Duration::from_secs(20), ..unit(2, &[1]) };
    let cheap = Unit { bytes: 2 * MIB, cost: Duration::from_secs(10), ..unit(3, &[1]) };
    let offer = offer(&target(vec![base, dear, cheap]), AccessTimes::Move);
    // The closure of `base` has the least build time for a byte. A target without its dependents alone is one that cargo can use.
    assert_eq!(shape(&offer), [("live", 2, 1), ("live", 1, 1), ("live", 60, 1)]);
    assert_eq!(offer.steps_for(2 * MIB, TrimTier::Live), 1);
}

#[test]
fn forged_circles_are_offered_as_well() {
    let units = vec![unit(1, &[2]), unit(2, &[1]), unit(3, &[3, 1])];
    let offer = offer(&target(units), AccessTimes::Move);
    assert_eq!(shape(&offer), [("live", 1, 1); 3]);
}

#[test]
fn no_more_steps_are_taken_than_are_needed_and_none_that_is_too_dear() {
    let extra = |kind, bytes| Extra { kind, changed: at(0), bytes, members: Vec::new() };
    let mut all = target(vec![Unit { armed: at(10), ..unit(1, &[]) }, unit(2, &[])]);
    all.extras = vec![extra(ExtraKind::Incremental, 5 * MIB), extra(ExtraKind::Leftover, 4 * MIB)];
    let offer = offer(&all, AccessTimes::Move);
    assert_eq!(shape(&offer), [("unused", 1, 1), ("leftover", 4, 0), ("incremental", 5, 0), ("live", 1, 1)]);
    for (bytes, dearest, steps) in [
        (0, TrimTier::Live, 0),
        (1, TrimTier::Live, 1),
        (MIB + 1, TrimTier::Live, 2),
        (u64::MAX, TrimTier::Leftover, 2),
        (u64::MAX, TrimTier::Live, 4),
    ] {
        assert_eq!(offer.steps_for(bytes, dearest), steps, "{bytes} {dearest:?}");
    }
    assert_eq!(offer.first(2).dearest, TrimTier::Leftover);
    assert_eq!(offer.first(9).bytes, 11 * MIB);
}

proptest! {
    #[test]
    fn every_unit_is_offered_once_and_never_before_the_tiers_below_it(
        edges in prop::collection::vec((0u64..30, 0u64..32), 0..60),
        armed in prop::collection::vec(0u64..5, 30),
        tells in any::<bool>(),
    ) {
        let units = (0..30u64).map(|hash| {
            let needs: Vec<u64> = edges.iter().filter(|(of, _)| *of == hash).map(|(_, need)| *need).collect();
            Unit { armed: at(armed[hash as usize] * 50), ..unit(hash, &needs) }
        });
        let access_times = if tells { AccessTimes::Move } else { AccessTimes::Stay };
        let offer = offer(&target(units.collect()), access_times);
        prop_assert_eq!(offer.steps.iter().map(|step| step.units).sum::<usize>(), 30);
        prop_assert_eq!(offer.steps.iter().map(|step| step.bytes).sum::<u64>(), 30 * MIB);
        prop_assert!(offer.steps.windows(2).all(|pair| pair[0].tier <= pair[1].tier));
    }
}
