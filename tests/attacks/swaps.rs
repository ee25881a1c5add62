//! Directories exchanged for links, and for each other, at the very moment in which they are used.

use crate::attacker::Attacker;
use crate::kit::{Canary, Stopped, needs_root, plant_cache};
use crate::scene::{DAY, HOSTILE, Scene};
use nix::libc;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

/// Runs while the attacker exchanges one pair of names.
const RUNS: usize = 2;

/// Exchanges `place` with a link to `target` while the guard sweeps.
fn swap_with_link(scene: &mut Scene, place: &Path, target: &Path) {
    let mut evil = place.as_os_str().to_owned();
    evil.push(".evil");
    let evil = Path::new(&evil);
    symlink(target, evil).expect("a link");
    scene.hostile.own(evil);
    let mut attacker = Attacker::start(Some(HOSTILE), "swap", &[place, evil]);
    for _ in 0..RUNS {
        scene.sweep();
        attacker.assert_raced();
        if [place, evil].iter().any(|name| name.symlink_metadata().is_err()) {
            // One of the two was trash at that moment, and went.
            break;
        }
    }
    drop(attacker);
    if place.is_symlink() {
        std::fs::remove_file(place).expect("the link");
        let _ = std::fs::rename(evil, place);
    } else {
        let _ = std::fs::remove_file(evil);
    }
}

#[test]
fn a_link_swapped_in_for_any_component_leads_nowhere() {
    if !needs_root("sweeps what a hostile user swaps") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let precious = scene.precious.clone();
    let root = scene.hostile.root.clone();
    // The names above a cache, in place and in trash, each with what it would lead to if it were followed.
    for (below, target) in [
        ("_work", ""),
        ("_work/widgets", "widgets"),
        ("_work/widgets/widgets", "widgets/widgets"),
        ("_work/widgets/widgets/target", "widgets/widgets/target"),
        ("_work/widgets/widgets/target/debug", "widgets/widgets/target/debug"),
        ("_work/.disk-guard", ".disk-guard"),
        ("_work/.disk-guard/trash", ".disk-guard/trash"),
        ("_work/.disk-guard/trash/slot-1-1", ".disk-guard/trash/slot-1-1"),
        ("_work/.disk-guard/trash/slot-1-1/tree", ".disk-guard/trash/slot-1-1/tree"),
    ] {
        scene.bait("acme/widgets");
        plant_cache(&scene.doomed().join("target"), 4096, 2 * DAY);
        scene.hostile.own(&scene.hostile.work.join(".disk-guard"));
        swap_with_link(&mut scene, &root.join(below), &precious.join(target));
    }
    scene.bait("acme/widgets");
    let bait = scene.hostile.work.join("widgets/widgets/target");
    assert_eq!(scene.sweep().outcome(&bait), "removed", "left alone, it goes");
}

#[test]
fn directories_that_are_moved_about_while_they_are_deleted_take_nothing_with_them() {
    if !needs_root("sweeps what a hostile user moves about") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    for _ in 0..3 {
        let tree = scene.doomed();
        for outer in 0..16 {
            for inner in 0..40 {
                std::fs::create_dir_all(tree.join(format!("d{outer}/{inner}"))).expect("a directory");
                std::fs::write(tree.join(format!("d{outer}/{inner}/file")), "x").expect("a file");
            }
            symlink(&scene.precious, tree.join(format!("d{outer}/link"))).expect("a link");
        }
        scene.hostile.own(&tree);
        let mut attacker = Attacker::start(Some(HOSTILE), "storm", &[&tree]);
        scene.sweep();
        attacker.assert_raced();
        drop(attacker);
        scene.sweep();
        assert!(!tree.exists(), "left alone, it goes");
    }
}

#[test]
fn a_cache_repeatedly_exchanged_for_an_unmarked_directory_costs_no_other_runner_anything() {
    if !needs_root("sweeps what a hostile user exchanges") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let bait = scene.bait("acme/widgets");
    // Of another user, in a place that the attacker may write: it may rename it, and may not delete it.
    let foreign = bait.with_file_name("foreign");
    plant_cache(&foreign, 4096, 2 * DAY);
    std::fs::remove_file(foreign.join("CACHEDIR.TAG")).expect("our own file");
    let inode = std::fs::metadata(&foreign).expect("it is there").ino();
    for _ in 0..4 * RUNS {
        let mut attacker = Attacker::start(Some(HOSTILE), "swap", &[&bait, &foreign]);
        scene.sweep();
        attacker.assert_raced();
        drop(attacker);
        let left = [&bait, &foreign].map(|path| std::fs::metadata(path).map(|now| now.ino()).ok());
        assert!(left.contains(&Some(inode)), "root's own directory is still there: {left:?}");
        if left.contains(&None) {
            // The right one was claimed at a moment when it lay there.
            return;
        }
    }
}

#[test]
fn a_foreign_entry_named_like_the_trash_is_neither_used_nor_touched() {
    if !needs_root("sweeps a hostile user's work directory") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let home = scene.hostile.work.join(".disk-guard");
    let bait = scene.bait("acme/widgets");
    let canary = Canary::of(&bait);
    for what in ["link", "file", "somebody else's", "dangling link", "trash is a link", "trash is a file"] {
        match what {
            "link" => symlink(scene.precious.join(".disk-guard"), &home).expect("a link"),
            "dangling link" => symlink("nowhere", &home).expect("a link"),
            "file" => std::fs::write(&home, "").expect("a file"),
            "trash is a link" => {
                std::fs::create_dir(&home).expect("a directory");
                symlink(scene.precious.join(".disk-guard/trash"), home.join("trash")).expect("a link");
            }
            "trash is a file" => {
                std::fs::create_dir(&home).expect("a directory");
                std::fs::write(home.join("trash"), "").expect("a file");
            }
            _ => {
                std::fs::create_dir_all(home.join("trash/slot-1-1/tree")).expect("a directory");
                std::os::unix::fs::chown(&home, Some(12_777), Some(12_777)).expect("root gives away");
            }
        }
        if what != "somebody else's" {
            scene.hostile.own(&home);
        }
        let planted = Canary::of(&home);
        let report = scene.sweep();
        assert_eq!(report.outcome(&bait), "failed", "{what}: {:#}", report.0);
        let reason = report.action(&bait)["detail"].as_str().expect("text").to_owned();
        assert!(reason.contains("remove it"), "{what}: it says what to do: {reason}");
        canary.assert_intact();
        planted.assert_intact();
        let _ = std::fs::remove_file(&home);
        let _ = std::fs::remove_dir_all(&home);
    }
    assert_eq!(scene.sweep().outcome(&bait), "removed", "with the place free, it goes");
}

#[test]
fn a_directory_of_roots_that_is_put_in_the_trashs_place_is_not_given_away() {
    if !needs_root("root makes the trash of a hostile user") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let bait = scene.bait("acme/widgets");
    let (home, private) = (scene.hostile.work.join(".disk-guard"), scene.hostile.work.join("private"));
    std::fs::create_dir(&private).expect("a directory");
    std::fs::write(private.join("secret"), "root's alone").expect("a file");
    let owner = |path: &Path| std::fs::metadata(path).expect("it is there").uid();
    // Held between making the directory and opening it.
    let name = home.clone();
    let stopped = Stopped::at(&scene.host.call(&["sweep", "--json"]), move |call| {
        call.number == libc::SYS_openat2 && call.text(1) == ".disk-guard" && name.exists()
    });
    assert_eq!(owner(&home), 0, "made, and not given away yet");
    std::fs::rename(&home, home.with_extension("aside")).expect("our own directory");
    std::fs::rename(&private, &home).expect("our own directory");
    let report = stopped.release().expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&bait), "failed", "{:#}", report.0);
    assert_eq!(owner(&home), 0, "what it has not made it does not give away");
    assert_eq!(std::fs::read_to_string(home.join("secret")).expect("it is there"), "root's alone");
    std::fs::rename(&home, &private).expect("our own directory");
    assert_eq!(scene.sweep().outcome(&bait), "removed", "with the place free, it goes");
    assert_eq!(
        owner(&home),
        HOSTILE.0,
        "what it has made it gives to the runner, whose hook must be able to fence"
    );
}

#[test]
fn a_tree_claimed_by_mistake_is_returned_even_when_its_name_is_taken() {
    if !needs_root("root claims in a hostile user's work directory") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let bait = scene.bait("acme/widgets");
    let checkout = bait.parent().expect("a checkout").to_owned();
    // Outside of the work directory: in it, what carries cargo's tag is a cache under any name.
    let aside = scene.hostile.root.join("aside");
    // Root's own, without a marker: its name is the attacker's to change, its content is not.
    let private = checkout.join("private");
    plant_cache(&private, 4096, 2 * DAY);
    std::fs::remove_file(private.join("CACHEDIR.TAG")).expect("our own file");
    let before = std::fs::metadata(&private).expect("it is there").ino();
    let stopped = Stopped::at(&scene.host.call(&["sweep", "--json"]), |call| {
        call.number == libc::SYS_renameat2 && call.text(1) == "target"
    });
    std::fs::rename(&bait, &aside).expect("our own tree");
    std::fs::rename(&private, &bait).expect("our own tree");
    stopped.to_exit();
    assert!(!bait.exists(), "claimed, by its name");
    std::fs::create_dir(&bait).expect("its place is free");
    let report = stopped.release().expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&bait), "changed", "{:#}", report.0);
    let returned = std::fs::read_dir(&checkout)
        .expect("it is there")
        .flatten()
        .find(|entry| entry.file_name().as_encoded_bytes().starts_with(b"returned-by-disk-guard-"));
    let returned = returned.unwrap_or_else(|| panic!("it lies beside: {:#}", report.0)).path();
    assert_eq!(std::fs::metadata(&returned).expect("it is there").ino(), before);
    assert!(returned.join("debug/deps/libwidget-0000.rlib").exists(), "whole");
    std::fs::remove_dir(&bait).expect("our own directory");
    std::fs::rename(&aside, &bait).expect("our own tree");
    assert_eq!(scene.sweep().outcome(&bait), "removed", "left alone, it goes");
    assert!(returned.exists(), "and what is no cache stays");
}
