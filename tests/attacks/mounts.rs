//! Mounts inside caches, under them, and over what is being deleted.

use crate::attacker::Attacker;
use crate::kit::{Fs, MIB, needs_root, plant_cache};
use crate::scene::{DAY, HOSTILE, Scene};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::Path;

/// Mounted until dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn bind(from: &Path, at: &'a Path) -> Self {
        mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .expect("a file can be bind-mounted");
        Self(at)
    }

    fn overlay(lower: &Path, at: &'a Path, scratch: &Path) -> Self {
        let [upper, work] = ["upper", "work"].map(|name| scratch.join(name));
        for directory in [&upper, &work] {
            std::fs::create_dir_all(directory).expect("a directory of the overlay");
        }
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .expect("an overlay can be mounted");
        Self(at)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn bind_and_overlay_mounts_inside_a_cache_or_as_one_are_left_alone() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let precious = scene.precious.clone();
    let [inside, itself, overlaid, deep] =
        ["inside", "itself", "overlaid", "deep"].map(|name| scene.bait(&format!("acme/{name}")));
    let directory = inside.join("debug/mounted");
    std::fs::create_dir(&directory).expect("a place");
    let over_a_directory = Mounted::bind(&precious, &directory);
    let over_a_cache = Mounted::bind(&precious.join("widgets/widgets/target"), &itself);
    let file = deep.join("debug/.cargo-lock");
    let tag = precious.join("widgets/widgets/target/CACHEDIR.TAG");
    let over_a_file = Mounted::bind(&tag, &file);
    let scratch = scene.host.base.join("scratch");
    let place = overlaid.join("debug/overlay");
    std::fs::create_dir(&place).expect("a place");
    let overlay = Mounted::overlay(&precious, &place, &scratch);
    let report = scene.sweep();
    for cache in [&inside, &overlaid, &deep] {
        assert_eq!(report.outcome(cache), "kept", "{:#}", report.0);
        assert!(report.evidence(cache).contains("mount-inside"), "{:#}", report.action(cache));
    }
    // What is mounted there lies elsewhere: it is not even listed as this runner's.
    assert!(!report.with_outcome("removed").contains(&itself), "{:#}", report.0);
    assert!(place.join("widgets/widgets/target").exists());
    drop((overlay, over_a_file, over_a_cache, over_a_directory));
    let report = scene.sweep();
    for cache in [&inside, &itself, &overlaid, &deep] {
        assert_eq!(report.outcome(cache), "removed", "without the mount, it goes: {:#}", report.0);
    }
}

#[test]
fn a_work_directory_on_an_overlay_or_a_bind_mount_is_one_like_any_other() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let bound = scene.host.runner("actions-runner-bound").user(12_002, HOSTILE.1).build();
    let elsewhere = scene.host.base.join("elsewhere");
    scene.host.mount(Fs::Tmpfs { mib: 64, inodes: 10_000 }, &elsewhere);
    let elsewhere = elsewhere.join("work");
    std::fs::create_dir(&elsewhere).expect("a place");
    bound.own(&elsewhere);
    scene.host.bind(&elsewhere, &bound.work);
    let cache = bound.cache("acme/bound", "target", MIB / 4, 2 * DAY);
    // What lies under the mount is out of sight, and stays.
    let overlaid = scene.host.runner("actions-runner-overlaid").user(12_003, HOSTILE.1).build();
    let below = overlaid.cache("acme/below", "target", MIB / 4, 2 * DAY);
    scene.cherish(&below);
    let lower = scene.host.base.join("lower");
    plant_cache(&lower.join("widgets/widgets/target"), MIB / 4, 2 * DAY);
    overlaid.own(&lower);
    scene.cherish(&lower);
    let scratch = scene.host.base.join("scratch");
    std::fs::create_dir_all(scratch.join("upper")).expect("a directory");
    overlaid.own(&scratch);
    let (work, seen) = (overlaid.work.clone(), overlaid.work.join("widgets/widgets/target"));
    let overlay = Mounted::overlay(&lower, &work, &scratch);
    let control = scene.control();
    let report = scene.host.sweep();
    assert_eq!(report.outcome(&cache), "removed", "{:#}", report.0);
    assert_eq!(report.outcome(&control), "removed", "{:#}", report.0);
    // An overlay may refuse to rename what lies in its lower layer (EXDEV): then it stays whole.
    let went = report.with_outcome("removed").contains(&seen);
    assert!(
        went || report.outcome(&seen) == "failed" && seen.join("CACHEDIR.TAG").exists(),
        "{:#}",
        report.0
    );
    assert!(!below.exists(), "what lies under the mount is out of sight");
    drop(overlay);
    scene.assert_intact();
}

#[test]
fn a_mount_over_a_tree_during_its_deletion_is_not_emptied() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    for _ in 0..4 {
        let tree = scene.doomed();
        for outer in 0..16 {
            for inner in 0..60 {
                std::fs::create_dir_all(tree.join(format!("d{outer}/{inner}"))).expect("a directory");
                std::fs::write(tree.join(format!("d{outer}/{inner}/file")), "x").expect("a file");
            }
        }
        scene.hostile.own(&tree);
        let precious = scene.precious.clone();
        // As a container's runtime does it at a job's word: root's own mounts, in everybody's sight.
        let mut attacker = Attacker::start(None, "mount", &[&precious, &tree]);
        scene.sweep();
        attacker.succeeded();
        drop(attacker);
        for number in 0..16 {
            while umount2(&tree.join(format!("d{number}")), MntFlags::MNT_DETACH).is_ok() {}
        }
        scene.sweep();
        assert!(!tree.exists(), "without mounts, the rest goes");
    }
}

#[test]
fn mounts_in_a_namespace_of_the_attackers_own_lead_nowhere() {
    if !needs_root("sweeps what a hostile user mounts on") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let bait = scene.bait("acme/widgets");
    let precious = scene.precious.clone();
    let mut attacker =
        match Attacker::try_start(Some(HOSTILE), "mount-privately", &[&precious, &bait.join("debug")]) {
            Ok(attacker) => attacker,
            Err(why) => {
                let _ = std::io::Write::write_all(
                    &mut std::io::stderr(),
                    format!("skipped, this machine gives users {why}\n").as_bytes(),
                );
                return;
            }
        };
    crate::kit::until("a private mount", || (attacker.succeeded() > 0).then_some(()));
    for _ in 0..2 {
        scene.bait("acme/widgets");
        scene.sweep();
    }
    drop(attacker);
    scene.bait("acme/widgets");
    assert_eq!(scene.sweep().outcome(&bait), "removed", "without an attacker, it goes");
}
