//! Claims of some files whose slot lies beside them. Whether a filesystem makes that necessary is no matter here.

use super::files::scene;
use super::*;
use crate::reclaim::beside;

fn claim_beside(scene: &Scene, doubt: &mut Doubt<'_>) -> Claim {
    let place = Place::find(&scene.work, &scene.cache).unwrap();
    super::super::subvolume::claim(place, (&scene.lock, &scene.work, scene.owner), &scene.cache, doubt)
}

/// What there is of ours beside the cache.
fn beside(scene: &Scene) -> Vec<String> {
    let names = scene.work.descend("r/r").unwrap().names(9).unwrap();
    names.into_iter().map(|name| name.into_string().unwrap()).filter(|name| name != "target").collect()
}

#[test]
fn they_lie_in_a_slot_beside_or_are_back_and_nothing_is_left() {
    let (scene, members) = scene();
    assert!(matches!(claim_beside(&scene, &mut |_| busy()), Claim::Refused(_)));
    assert!(matches!(
        claim_beside(&scene, &mut |moment| match moment {
            Moment::Before => Vec::new(),
            Moment::After(_) => busy(),
        }),
        Claim::Restored(_)
    ));
    assert_eq!((scene.left().len(), beside(&scene).len()), (3, 0));
    let Claim::Claimed(claimed) = claim_beside(&scene, &mut |_| Vec::new()) else { panic!() };
    assert_eq!(claimed.parent.descend(&claimed.name).unwrap().names(9).unwrap().len(), members.len());
    assert!(scene.left().is_empty() && claimed.slot.is_none());
    assert!(beside(&scene)[0].starts_with(CLAIMED_BESIDE), "the next run finds it");
}

#[test]
fn a_fence_before_the_renames_makes_them_fail_and_one_after_them_keeps_them_from_coming_back() {
    let (scene, _) = scene();
    let outcome = claim_beside(&scene, &mut |_| {
        beside::fence(&scene.run, &scene.work).unwrap();
        Vec::new()
    });
    assert!(matches!(outcome, Claim::Changed(_)), "{outcome:?}");
    assert_eq!((scene.left().len(), beside(&scene).len()), (3, 0));

    let outcome = claim_beside(&scene, &mut |moment| match moment {
        Moment::Before => Vec::new(),
        Moment::After(_) => {
            beside::fence(&scene.run, &scene.work).unwrap();
            busy()
        }
    });
    assert!(matches!(outcome, Claim::Claimed(_)), "{outcome:?}");
    assert!(scene.left().is_empty(), "nothing is put under a running job");
    let left = beside(&scene);
    assert!(left.len() == 1 && left[0].starts_with(CLAIMED_BESIDE), "the next run deletes it: {left:?}");
    let taken = scene.work.descend(Path::new("r/r").join(&left[0])).unwrap();
    assert_eq!(taken.names(9).unwrap().len(), 3);
}

/// A claim that is settled is being deleted, and a fence lets it be.
#[test]
fn a_fence_lets_a_settled_claim_be() {
    let (scene, members) = scene();
    let Claim::Claimed(claimed) = claim_beside(&scene, &mut |_| Vec::new()) else { panic!() };
    beside::fence(&scene.run, &scene.work).unwrap();
    assert_eq!(claimed.parent.descend(&claimed.name).unwrap().names(9).unwrap().len(), members.len());
}
