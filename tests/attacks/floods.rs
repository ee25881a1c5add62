//! More and more of something, planted before a run or added while it is at work.

use crate::attacker::{Attacker, hold};
use crate::kit::{needs_root, plant_cache};
use crate::scene::{DAY, HOSTILE, Scene, bounded};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_tree_that_is_refilled_while_it_is_deleted_is_given_up_in_the_end() {
    if !needs_root("sweeps what a hostile user refills") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let tree = scene.doomed();
    let mut attacker = Attacker::start(Some(HOSTILE), "refill", &[&tree]);
    for _ in 0..2 {
        scene.sweep();
        attacker.assert_raced();
    }
    drop(attacker);
    scene.sweep();
    assert!(!tree.exists(), "left alone, it goes");
}

#[test]
fn trash_that_grows_all_the_time_blocks_no_other_cache() {
    if !needs_root("sweeps what a hostile user floods") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let trash = scene.hostile.work.join(".disk-guard/trash");
    let tree = scene.doomed();
    // More than one look takes in, and each open at once would be more than a process may have open.
    for number in 0..6_000 {
        fs::create_dir_all(trash.join(format!("planted-{number}/tree"))).expect("a directory");
    }
    scene.hostile.own(&scene.hostile.work.join(".disk-guard"));
    scene.sweep();
    let mut attacker = Attacker::start(Some(HOSTILE), "flood", &[&trash, "slot-9-".as_ref()]);
    scene.sweep();
    attacker.assert_raced();
    drop(attacker);
    scene.sweep();
    assert!(!tree.exists());
}

#[test]
fn thousands_of_odd_entries_in_trash_are_reported_in_a_few_lines_and_hold_up_no_hook() {
    if !needs_root("sweeps what a hostile user floods") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let trash = scene.hostile.work.join(".disk-guard/trash");
    let tree = scene.doomed();
    for number in 0..6_000 {
        let path = trash.join(format!("planted-{number}"));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
    }
    scene.hostile.own(&scene.hostile.work.join(".disk-guard"));
    let control = scene.control();
    let bounded_sweep = bounded(&scene.host.call(&["sweep", "--json"]));
    bounded_sweep.assert_modest();
    let lines = bounded_sweep.run.stderr().lines().count();
    assert!(lines < 200, "{lines} lines of events");
    assert!(bounded_sweep.run.stderr().contains("more entries of trash"), "{}", bounded_sweep.run.stderr());
    assert_eq!(bounded_sweep.run.expect_code(&[0, 20]).report().outcome(&control), "removed");
    // A hook of the flooded runner under pressure ends by its own limit.
    scene.host.configure(|settings| settings.time_limit = "2s");
    let mut hook =
        scene.host.call(&["hook", "started", "--runner-root", &scene.hostile.root.display().to_string()]);
    hook.user = Some(HOSTILE);
    let begun = std::time::Instant::now();
    let run = bounded(&hook).run.expect_code(&[0]);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert!(run.stdout().lines().chain(run.stderr().lines()).count() < 300, "{run:?}");
    scene.sweep();
    assert!(!tree.exists());
}

#[test]
fn planted_lookalikes_of_claims_in_place_are_deleted_and_block_no_other_cache() {
    if !needs_root("sweeps what a hostile user floods") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let checkout = scene.hostile.checkout("acme/widgets");
    let bait = scene.bait("acme/widgets");
    for number in 0..3_000 {
        let planted = checkout.join(format!(".disk-guard-trash-1-{number}"));
        fs::create_dir(&planted).expect("a directory");
        fs::write(planted.join("file"), "x").expect("a file");
    }
    scene.hostile.own(&checkout);
    assert_eq!(scene.sweep().outcome(&bait), "removed");
    let mut attacker = Attacker::start(Some(HOSTILE), "flood", &[&checkout, ".disk-guard-trash-2-".as_ref()]);
    scene.sweep();
    attacker.assert_raced();
    drop(attacker);
    scene.sweep();
    let left = fs::read_dir(&checkout).expect("it is there").flatten();
    let left = left.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".disk-guard-trash-1-"));
    assert_eq!(left.count(), 0, "what was planted first has gone");
}

#[test]
fn thousands_of_tiny_caches_cost_few_lines_and_no_other_runner() {
    if !needs_root("sweeps a hostile user's work directory") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let checkout = scene.hostile.checkout("acme/widgets");
    let tag = "Signature: 8a477f597d28d172789f06886806bc55";
    for number in 0..5_000 {
        let cache = checkout.join(format!("{}/target-{number}", number % 10));
        fs::create_dir_all(&cache).expect("a directory");
        fs::write(cache.join("CACHEDIR.TAG"), tag).expect("a tag");
    }
    scene.hostile.own(&checkout);
    let control = scene.control();
    // Young, so all of them are kept.
    let bounded = bounded(&scene.host.call(&["sweep", "--json"]));
    bounded.assert_modest();
    let lines = bounded.run.stderr().lines().count();
    assert!(lines < 200, "{lines} lines of events");
    let report = bounded.run.expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&control), "removed");
    assert_eq!(report.with_outcome("kept").len(), 4096, "so many of one runner in one look");
    assert!(report.0["notes"].to_string().contains("more than 4096 caches"), "{:#}", report.0["notes"]);
    scene.assert_intact();
}

#[test]
fn hundreds_of_caches_are_claimed_with_few_descriptors() {
    if !needs_root("sweeps a hostile user's work directory") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let checkout = scene.hostile.checkout("acme/widgets");
    for number in 0..150 {
        plant_cache(&checkout.join(format!("target-{number}")), 4096, 2 * DAY);
    }
    scene.hostile.own(&checkout);
    let report = scene.sweep();
    let removed = report.with_outcome("removed").len();
    assert_eq!(removed, 151, "every one, and the innocent's: {:.4000}", format!("{:#}", report.0));
}

#[test]
fn thousands_of_unreadable_directories_are_reported_in_a_few_lines() {
    if !needs_root("closes directories of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let checkout = scene.hostile.checkout("acme/widgets");
    for number in 0..20_000 {
        let closed = checkout.join(format!("closed-{number}"));
        fs::create_dir(&closed).expect("a directory");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("it is ours");
    }
    scene.hostile.own(&checkout);
    scene.sweep();
    // Whom these permissions do stop: the hook of another runner's user.
    let control = scene.control();
    let root = scene.innocent.root.display().to_string();
    let mut hook = scene.host.call(&["hook", "started", "--runner-root", &root]);
    hook.user = scene.innocent.user;
    let ran = bounded(&hook);
    ran.assert_modest();
    let run = ran.run.expect_code(&[0]);
    assert!(!control.exists(), "its own goes: {}{}", run.stdout(), run.stderr());
    let mut plan = scene.host.call(&["plan", "--json"]);
    plan.user = scene.innocent.user;
    let ran = bounded(&plan);
    ran.assert_modest();
    let notes = ran.run.expect_code(&[0, 20]).report().0["notes"].as_array().expect("a list").len();
    assert!((1..100).contains(&notes), "{notes} notes");
}

#[test]
fn handles_of_directories_too_deep_to_be_named_cost_a_bounded_look() {
    if !needs_root("looks at another user's processes") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    // Nobody's business: in no runner, and any user of the host can do it.
    let place = scene.host.runners().join("elsewhere");
    fs::create_dir(&place).expect("a directory");
    scene.hostile.own(&place);
    let few = hold("deep-20", &place);
    scene.sweep();
    drop(few);
    // More than anybody climbs from: what is not placed may be anywhere, so it protects; and the look ends.
    let many = hold("deep-200", &place);
    let control = scene.control();
    let ran = bounded(&scene.host.call(&["sweep", "--json"]));
    ran.assert_modest();
    let report = ran.run.expect_code(&[0, 20]).report();
    assert!(report.evidence(&control).contains("visibility"), "{:#}", report.0);
    drop(many);
    assert_eq!(scene.sweep().outcome(&control), "removed");
}
