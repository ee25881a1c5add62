//! Mounts that answer until a walk is in the middle of them, and never again, as a server's that dies or a network's that breaks:
//! who is inside by then is beyond SIGKILL.

use crate::kit::dying::{Dying, operation};
use crate::kit::{Fs, Host, SHARED_GID, needs_root};
use crate::scene::{HOSTILE, Scene, bounded};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

#[test]
fn a_mount_that_stops_answering_during_a_walk_blocks_no_verb() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    scene.host.configure(|settings| settings.idle_floor = "0s");
    let work = scene.hostile.work.clone();
    let owner = HOSTILE.0;
    for verb in [&["status", "--json"][..], &["plan", "--json"], &["audit", "--json"], &["sweep", "--json"]] {
        let dying = Dying::over(&work, owner);
        let control = scene.control();
        let begun = Instant::now();
        let run = if verb[0] == "sweep" {
            // Beside what it asserts: the other runner's cache is reclaimed.
            let report = scene.sweep();
            (report.0["notes"].to_string(), String::new())
        } else {
            let run = bounded(&scene.host.call(verb)).run;
            (run.stdout(), run.stderr())
        };
        let took = begun.elapsed();
        assert!(dying.is_silent(), "{verb:?}: it has not come so far: {run:?}");
        assert!(took.as_secs() < 45, "{verb:?} took {took:?}");
        assert!(run.0.contains("does not answer"), "{verb:?}: {run:?}");
        if verb[0] != "sweep" {
            assert!(run.1.contains("stopped answering while it was read"), "{verb:?}: {run:?}");
            let others =
                if verb[0] == "plan" { control.to_str().expect("UTF-8") } else { "actions-runner-innocent" };
            assert!(run.0.contains(others), "{verb:?} goes on with the others: {run:?}");
        }
        drop(dying);
    }
    // The positive control: without that mount the same runner is looked at.
    let bait = scene.bait("acme/widgets");
    let report = scene.sweep();
    assert_eq!(report.outcome(&bait), "removed", "{:#}", report.0);
}

#[test]
fn a_mount_that_answers_some_calls_and_not_others_blocks_no_verb() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    scene.host.configure(|settings| settings.idle_floor = "0s");
    let work = scene.hostile.work.clone();
    for verb in [&["status", "--json"][..], &["sweep", "--json"]] {
        let partly = Dying::partly(&work, HOSTILE.0);
        let control = scene.control();
        let begun = Instant::now();
        let run = bounded(&scene.host.call(verb)).run.expect_code(&[0, 20]);
        assert!(partly.is_silent(), "{verb:?}: it has not come so far: {run:?}");
        assert!(begun.elapsed().as_secs() < 45, "{verb:?} took {:?}", begun.elapsed());
        assert!(run.stdout().contains("does not answer every call"), "{verb:?}: {run:?}");
        if verb[0] == "sweep" {
            assert_eq!(run.report().outcome(&control), "removed", "the other runner's cache goes");
        } else {
            assert!(run.stdout().contains("actions-runner-innocent"), "{run:?}");
        }
    }
}

/// Whether a process holds the lock of this file.
fn is_locked(file: &Path) -> bool {
    let inode = std::fs::metadata(file).expect("it is there").ino();
    let locks = std::fs::read_to_string("/proc/locks").expect("everybody may read it");
    locks.lines().any(|line| !line.contains("->") && line.contains(&format!(":{inode} ")))
}

#[test]
fn a_mount_that_stops_answering_under_the_host_lock_blocks_neither_the_lock_nor_the_sweep() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    scene.host.configure(|settings| settings.idle_floor = "0s");
    let (work, lock) = (scene.hostile.work.clone(), scene.host.host_lock());
    let dying = Dying::until(&work, HOSTILE.0, move |asked| {
        asked.operation() == operation::LOOKUP && is_locked(&lock)
    });
    let begun = Instant::now();
    // The cache of the other runner is reclaimed in the same run.
    let report = scene.sweep();
    assert!(dying.is_silent(), "it has met the lock: {:#}", report.0);
    assert!(begun.elapsed().as_secs() < 45, "{:?}", begun.elapsed());
    assert!(report.0["notes"].to_string().contains("does not answer"), "{:#}", report.0);
    assert!(!is_locked(&scene.host.host_lock()), "nobody is kept from it");
    drop(dying);
    let bait = scene.bait("acme/widgets");
    assert_eq!(scene.sweep().outcome(&bait), "removed", "the same runner without that mount");
}

#[test]
fn a_mount_that_stops_answering_during_a_repair_blocks_neither_the_lock_nor_the_sweep() {
    if !needs_root("mounts") {
        return;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: 64, inodes: 20_000 });
    host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (99, 98, 100);
        settings.extra += "[hygiene]\nrepair = true\n";
    });
    let hostile = host.runner("actions-runner-hostile").user(HOSTILE.0, HOSTILE.1).build();
    let innocent = host.runner("actions-runner-innocent").user(12_001, SHARED_GID).build();
    let (work, lock) = (hostile.work.clone(), host.host_lock());
    // Trash is emptied before anything is repaired, and nothing is claimed on a disk without pressure.
    let slot = innocent.work.join(".disk-guard/trash/slot-1-1");
    let leave_trash = || {
        std::fs::create_dir_all(slot.join("tree/deep")).expect("our own directory");
        innocent.own(&innocent.work.join(".disk-guard"));
    };
    let text = std::fs::read_to_string(host.config()).expect("our own file");
    let local = format!("[runners]\nlocal = [\"{}\"]\n", work.display());
    std::fs::write(host.config(), text.replace("[runners]\n", &local)).expect("our own file");
    let sweep = || {
        leave_trash();
        let run = bounded(&host.call(&["sweep", "--json"])).run.expect_code(&[0]);
        assert!(!slot.exists(), "the other runner's trash is emptied");
        run
    };
    leave_trash();
    let emptied = slot.clone();
    let dying = Dying::contaminated(&work, HOSTILE.0, move |asked| {
        asked.operation() == operation::LOOKUP && !emptied.exists() && is_locked(&lock)
    });
    let begun = Instant::now();
    let run = sweep();
    assert!(dying.is_silent(), "it has met the lock: {run:?}");
    assert!(begun.elapsed().as_secs() < 45, "{:?}", begun.elapsed());
    assert!(run.stdout().contains("does not answer"), "{run:?}");
    assert!(!is_locked(&host.host_lock()), "nobody is kept from it");
    drop(dying);
    // The positive control: without that mount such a directory is repaired.
    let left = hostile.checkout("acme/left");
    std::os::unix::fs::chown(&left, Some(0), Some(0)).expect("root gives away");
    sweep();
    assert_eq!(std::fs::metadata(&left).expect("it is there").uid(), HOSTILE.0);
}

#[test]
fn a_mount_that_stops_answering_during_a_repair_by_hand_ends_it_with_the_reason() {
    if !needs_root("mounts") {
        return;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: 64, inodes: 20_000 });
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (99, 98, 100));
    let hostile = host.runner("actions-runner-hostile").user(HOSTILE.0, HOSTILE.1).build();
    let text = std::fs::read_to_string(host.config()).expect("our own file");
    let local = format!("[runners]\nlocal = [\"{}\"]\n", hostile.work.display());
    std::fs::write(host.config(), text.replace("[runners]\n", &local)).expect("our own file");
    let remediate = |repository: &str| {
        let verb = ["remediate", "actions-runner-hostile", repository, "--mode", "chown", "--apply"];
        bounded(&host.call(&verb)).run
    };
    let dying = Dying::over(&hostile.work, HOSTILE.0);
    let begun = Instant::now();
    let run = remediate("acme");
    assert!(dying.is_silent(), "it has not come so far: {run:?}");
    assert!(begun.elapsed().as_secs() < 45, "{:?}", begun.elapsed());
    assert!(run.stderr().contains("stopped answering while it was read"), "{run:?}");
    drop(dying);
    // The positive control: without that mount such a directory is repaired.
    let left = hostile.checkout("acme/left");
    std::os::unix::fs::chown(&left, Some(0), Some(0)).expect("root gives away");
    let run = remediate("left").expect_code(&[0]);
    assert_eq!(std::fs::metadata(&left).expect("it is there").uid(), HOSTILE.0, "{run:?}");
}
