//! Nothing is lost, whatever ends a guard and whenever: killed, out of memory, without power, or suspended and woken, at every
//! boundary between two changes that it makes to files and locks of others.
//!
//! The boundaries are not guessed: each run is traced, and ended at its first changing system call, at its second, and so on,
//! until a run comes to its end. After each, what may go is whole in its place, or what is left of it lies in trash; nothing else
//! has been touched; the dead hold neither lock nor lease; and the next run finishes.
//!
//! A power loss is a copy of the disk's image at that instant, once as it is and once with all written out that was on its way;
//! what lies in memory, as leases do, is gone then. `DISK_GUARD_SOAK` makes the tree larger and ends every run at every boundary in
//! every way, and says how many those were with `-- --nocapture`. Without it, what repeats itself is sampled: deletion loses its
//! power and its memory at every twentieth boundary, and the guard's own records, which lie elsewhere, are a matter of a few.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

#[path = "../kit/mod.rs"]
mod kit;

mod also;
mod ends;
mod hooks;
mod others;
mod scene;

use also::Also;
use ends::{Ends, assert_met};
use scene::Scene;

fn soak() -> bool {
    std::env::var_os("DISK_GUARD_SOAK").is_some()
}

#[test]
fn an_interrupted_sweep_loses_nothing_and_the_next_one_finishes() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let (boundaries, run) = scene.end_everywhere(&scene.sweep(), Ends::Dead, Also::nothing);
    assert_eq!(run.report().outcome(scene.cache()), "removed");
    assert_met(
        &boundaries,
        &[
            "`flock",
            "`mkdir trash",
            "`mkdir slot-",
            "`rename target",
            "`unlink",
            "`rmdir tree",
            "`rmdir slot-",
        ],
    );
}

#[test]
fn a_sweep_interrupted_while_returning_a_tree_loses_nothing() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let (boundaries, run) =
        scene.end_everywhere(&scene.sweep(), Ends::Dead, || Also::builds_in_what_is_claimed(&scene.runner));
    assert_eq!(run.report().outcome(scene.cache()), "restored");
    assert_met(&boundaries, &["`rename target to tree", "`rename tree to target", "`rmdir slot-"]);
}

#[test]
fn a_suspended_sweep_continues_without_harm_beside_another() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let (boundaries, run) = scene.end_everywhere(&scene.sweep(), Ends::Suspended, Also::nothing);
    assert_eq!(run.report().outcome(scene.cache()), "removed");
    assert_met(&boundaries, &["`flock", "`mkdir slot-", "`rename target", "`unlink", "`rmdir slot-"]);
}

#[test]
fn a_sweep_suspended_while_returning_a_tree_continues_without_harm() {
    let Some(scene) = Scene::with_a_cache() else { return };
    let (boundaries, run) = scene
        .end_everywhere(&scene.sweep(), Ends::Suspended, || Also::builds_in_what_is_claimed(&scene.runner));
    assert_eq!(run.report().outcome(scene.cache()), "restored");
    assert_met(&boundaries, &["`rename target to tree", "`rename tree to target", "`rmdir slot-"]);
}
