//! Claims of some files with their slot beside them, on any filesystem.

use super::files::scene;
use super::*;
use crate::reclaim::in_place_claim;

fn claim_beside(scene: &Scene, recheck: &mut Recheck<'_>) -> Claim {
    let place = CacheEntry::find(&scene.work, &scene.cache).unwrap();
    super::super::subvolume::claim(place, (&scene.lock, &scene.work, scene.owner), &scene.cache, recheck)
}

/// The guard's own entries beside the cache.
fn beside(scene: &Scene) -> Vec<String> {
    let names = scene.work.descend("r/r").unwrap().names(9).unwrap();
    names.into_iter().map(|name| name.into_string().unwrap()).filter(|name| name != "target").collect()
}

#[test]
fn units_are_in_a_slot_of_the_subvolume_or_returned_and_nothing_remains() {
    let (scene, members) = scene();
    assert!(matches!(claim_beside(&scene, &mut |_| busy()), Claim::Refused(_)));
    assert!(matches!(
        claim_beside(&scene, &mut |moment| match moment {
            Phase::Before => Vec::new(),
            Phase::After(_) => busy(),
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
        in_place_claim::fence(&scene.run, &scene.work).unwrap();
        Vec::new()
    });
    assert!(matches!(outcome, Claim::Changed(_)), "{outcome:?}");
    assert_eq!((scene.left().len(), beside(&scene).len()), (3, 0));

    let outcome = claim_beside(&scene, &mut |moment| match moment {
        Phase::Before => Vec::new(),
        Phase::After(_) => {
            in_place_claim::fence(&scene.run, &scene.work).unwrap();
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

/// A settled claim is being deleted, and a fence leaves it alone.
#[test]
fn a_fence_leaves_a_finished_claim_alone() {
    let (scene, members) = scene();
    let Claim::Claimed(claimed) = claim_beside(&scene, &mut |_| Vec::new()) else { panic!() };
    in_place_claim::fence(&scene.run, &scene.work).unwrap();
    assert_eq!(claimed.parent.descend(&claimed.name).unwrap().names(9).unwrap().len(), members.len());
}

/// The same steps as `hooks/job-started.sh` without this program.
fn fence_by_script(scene: &Scene) {
    let script = include_str!("../../../../hooks/job-started.sh");
    let (_, fence) = script.split_once("# --- fence").unwrap();
    let (fence, _) = fence.split_once("# --- end of fence").unwrap();
    let run = scene.path.join("run").display().to_string();
    let script = format!("#{}\nfence", fence.replace("/run/disk-guard", &run));
    let mut bash = std::process::Command::new("bash");
    let ran = bash.args(["-c", &script]).current_dir(scene.path.join("work/r/r")).output().unwrap();
    assert!(ran.status.code().is_some(), "{ran:?}");
}

#[test]
fn the_script_fences_claims_beside_their_place_as_well() {
    for is_whole in [true, false] {
        for at in ["never", "before", "after"] {
            let (mut scene, _) = scene();
            if is_whole {
                scene.cache.part = Part::Whole;
            }
            let mut recheck = |moment: Phase<'_>| {
                let is_before = matches!(moment, Phase::Before);
                if (at == "before" && is_before) || (at == "after" && !is_before) {
                    fence_by_script(&scene);
                }
                if is_before { Vec::new() } else { busy() }
            };
            let place = CacheEntry::find(&scene.work, &scene.cache).unwrap();
            let outcome = match is_whole {
                true => place.take_beside(&scene.lock, &scene.work, &scene.cache, &mut recheck),
                false => claim_beside(&scene, &mut recheck),
            };
            let (is_in_place, left) = (scene.left().len() == 3, beside(&scene).len());
            match at {
                "never" => assert!(matches!(outcome, Claim::Restored(_)) && is_in_place && left == 0),
                "before" => assert!(matches!(outcome, Claim::Changed(_)) && is_in_place && left == 0),
                _ => assert!(matches!(outcome, Claim::Claimed(_)) && !is_in_place && left == 1, "{left}"),
            }
        }
    }
}
