//! Hooks: below a Worker, which dies with them or lives on.

use crate::also::Also;
use crate::ends::{Ends, assert_met};
use crate::scene::Scene;

const OWN: [&str; 4] = ["/leases/.", "`rename target to tree", "`unlink", "`rmdir slot-"];
const RESTORED: [&str; 3] = ["`rename target to tree", "`rename tree to target", "`rmdir slot-"];

#[test]
fn whatever_ends_a_hook_nothing_is_lost_and_its_lease_lives_with_its_worker() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let hook = scene.hook(&scene.runner);
    let (boundaries, _) = scene.end_everywhere(&hook, Ends::Dead, Also::nothing);
    assert_met(&boundaries, &OWN);
}

#[test]
fn whatever_ends_a_hook_that_puts_a_siblings_tree_back_nothing_is_lost() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let hook = scene.hook(&scene.third);
    let (boundaries, _) =
        scene.end_everywhere(&hook, Ends::Dead, || Also::builds_in_what_is_claimed(&scene.runner));
    assert_met(&boundaries, &RESTORED);
}

/// What is beside it: a sweep, and where that waits in vain for the lock, a third runner's hook.
#[test]
fn wherever_a_hook_is_suspended_nobody_waits_for_it_and_its_cache_is_let_be() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let hook = scene.hook(&scene.runner);
    let (boundaries, _) = scene.end_everywhere(&hook, Ends::Suspended, Also::nothing);
    assert_met(&boundaries, &OWN);
}

#[test]
fn wherever_a_hook_that_puts_a_siblings_tree_back_is_suspended_it_goes_on_without_harm() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let hook = scene.hook(&scene.third);
    let (boundaries, _) =
        scene.end_everywhere(&hook, Ends::Suspended, || Also::builds_in_what_is_claimed(&scene.runner));
    assert_met(&boundaries, &RESTORED);
}
