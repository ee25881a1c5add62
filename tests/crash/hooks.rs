//! Hooks: below a Worker, which dies with them or lives on.

use crate::also::Also;
use crate::ends::{Ends, assert_met};
use crate::scene::Scene;

const OWN: [&str; 4] = ["/leases/.", "`rename target to tree", "`unlink", "`rmdir slot-"];
const RESTORED: [&str; 3] = ["`rename target to tree", "`rename tree to target", "`rmdir slot-"];

#[test]
fn an_interrupted_hook_loses_nothing_and_its_lease_lives_with_its_worker() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let hook = scene.hook(&scene.runner);
    let (boundaries, _) = scene.end_everywhere(&hook, Ends::Dead, Also::nothing);
    assert_met(&boundaries, &OWN);
}

#[test]
fn a_hook_interrupted_while_returning_a_siblings_tree_loses_nothing() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let hook = scene.hook(&scene.third);
    let (boundaries, _) =
        scene.end_everywhere(&hook, Ends::Dead, || Also::builds_in_what_is_claimed(&scene.runner));
    assert_met(&boundaries, &RESTORED);
}

/// What is beside it: a sweep, and where that waits in vain for the lock, a third runner's hook.
#[test]
fn a_suspended_hook_delays_nobody_and_its_cache_is_left_alone() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let hook = scene.hook(&scene.runner);
    let (boundaries, _) = scene.end_everywhere(&hook, Ends::Suspended, Also::nothing);
    assert_met(&boundaries, &OWN);
}

#[test]
fn a_hook_suspended_while_returning_a_siblings_tree_continues_without_harm() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let hook = scene.hook(&scene.third);
    let (boundaries, _) =
        scene.end_everywhere(&hook, Ends::Suspended, || Also::builds_in_what_is_claimed(&scene.runner));
    assert_met(&boundaries, &RESTORED);
}
