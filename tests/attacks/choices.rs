//! Who decides: what one user lays where root comes along to lead it to what is another's, and what members of the group put into
//! the directories that all guards share.

use crate::kit::{Canary, MIB, SHARED_GID, needs_root, plant_cache};
use crate::scene::{DAY, HOSTILE, Scene, bounded};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// A user who owns no runner that any glob names.
const VICTIM: u32 = 12_555;

/// A home of the victim's that looks like a work directory: a marked cache, and what retention would take.
fn home(scene: &Scene) -> PathBuf {
    let home = scene.host.base.join("home-of-the-victim");
    plant_cache(&home.join("src/project/target"), MIB / 4, 2 * DAY);
    fs::create_dir_all(home.join("_temp")).expect("a directory");
    fs::write(home.join("_temp/thesis"), "years of work").expect("a file");
    give(&home, VICTIM);
    home
}

fn give(tree: &Path, user: u32) {
    for entry in walkdir::WalkDir::new(tree) {
        let entry = entry.expect("our own");
        lchown(entry.path(), Some(user), Some(SHARED_GID)).expect("root gives away");
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("our own");
}

#[test]
fn a_writer_of_the_runner_file_leads_root_into_no_other_home() {
    if !needs_root("runners of several users") {
        return;
    }
    // How the hostile user comes to say where a runner of root's works.
    type Way = (&'static str, fn(&Path));
    let ways: [Way; 3] = [
        ("its `.runner` is the user's", |root| {
            lchown(root.join(".runner"), Some(HOSTILE.0), Some(HOSTILE.1)).expect("root gives away");
        }),
        ("its directory is open to everybody", |root| mode(root, 0o777)),
        ("its `.runner` is open to everybody", |root| mode(&root.join(".runner"), 0o666)),
    ];
    for (what, open) in ways {
        let mut scene = Scene::in_memory(100_000);
        let home = home(&scene);
        let root = scene.hostile.root.clone();
        lchown(&root, Some(0), Some(0)).expect("root takes back");
        lchown(root.join(".runner"), Some(0), Some(0)).expect("root takes back");
        open(&root);
        let own = scene.bait("acme/widgets");
        if what.contains("user's") {
            // The control: such a runner is served as long as its work directory is that user's.
            assert_eq!(scene.sweep().outcome(&own), "removed", "{what}");
        }
        fs::write(
            root.join(".runner"),
            format!("{{\"agentName\":\"hostile\",\"workFolder\":\"{}\"}}", home.display()),
        )
        .expect("our own");
        scene.cherish(&home);
        scene.sweep();
        assert!(!home.join(".disk-guard").exists(), "{what}");
        let status = scene.host.status();
        assert_eq!(status.runner("hostile")["state"], "unknown", "{what}");
        assert!(status.runner("hostile").to_string().contains("can write"), "{what}: {:#}", status.0);
    }
}

#[test]
fn a_link_that_a_user_lays_leads_root_to_no_runner_that_no_glob_names() {
    if !needs_root("runners of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let elsewhere = scene.host.base.join("private/ci-7");
    let private = scene.host.runner_at(&elsewhere).user(VICTIM, SHARED_GID).build();
    let kept = private.cache("acme/secret", "target", MIB / 4, 2 * DAY);
    let homes = scene.host.runners().join("homes");
    fs::create_dir_all(homes.join("mallory")).expect("a directory");
    lchown(homes.join("mallory"), Some(HOSTILE.0), Some(HOSTILE.1)).expect("root gives away");
    let glob = homes.join("*/actions-runner*").to_str().expect("UTF-8").to_owned();
    scene.host.configure(|settings| settings.roots.push(glob));
    symlink(&elsewhere, homes.join("mallory/actions-runner-1")).expect("a link");
    scene.cherish(&kept);
    let report = scene.sweep();
    assert!(!report.lists(&kept), "{:#}", report.0);
    let said = scene.host.guard(&["status"]).expect_code(&[0]).stdout();
    assert!(said.contains("its real path is") && said.contains("add its path"), "{said}");
    // The control: the same link, where root alone could have laid it.
    lchown(homes.join("mallory"), Some(0), Some(0)).expect("root takes back");
    let control = private.cache("acme/open", "target", MIB / 4, 2 * DAY);
    let report = bounded(&scene.host.call(&["sweep", "--json"])).run.expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&control), "removed", "{:#}", report.0);
}

#[test]
fn foreign_entries_among_the_records_are_removed_by_one_sweep_and_block_nobody() {
    if !needs_root("records of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let run = scene.host.run_dir();
    let put = |place: &str, text: &[u8]| {
        let path = run.join(place);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        fs::write(&path, text).expect("a file");
        lchown(&path, Some(HOSTILE.0), Some(HOSTILE.1)).expect("root gives away");
    };
    for number in 0..5_000 {
        put(&format!("requests/.x{number}"), b"");
    }
    put("requests/1-1", b"sweep");
    for place in ["leases/.x", "leases/1-1-1-1", "requests/.y", "tickets/.x", "counters/.x"] {
        put(place, &vec![0; 1 << 20]);
    }
    put("tickets/deep/er/still", b"x");
    // Jobs of containers that are gone, by the thousand, in due form and about the innocent runner.
    let id = fs::metadata(&scene.innocent.root).expect("it is there");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("/proc is mounted");
    for number in 0..4_200_u64 {
        let lease = serde_json::json!({
            "worker_pid": 7, "worker_start": 1_000 + number, "boot_id": boot.trim(), "pid_namespace": 4_026_539_000_u64 + number,
            "root": scene.innocent.root, "root_dev": id.dev(), "root_ino": id.ino(), "work": null, "repository": "o/r",
            "run_id": "1", "job": "j", "since_unix": 1,
        });
        put(
            &format!("leases/{:x}-{:x}-7-{}", id.dev(), id.ino(), 1_000 + number),
            lease.to_string().as_bytes(),
        );
    }
    let report = scene.sweep();
    assert!(report.0["notes"].to_string().contains("no records of a guard's"), "{:#}", report.0["notes"]);
    for place in ["leases", "requests", "tickets"] {
        let left: Vec<_> = fs::read_dir(run.join(place)).expect("it is there").flatten().collect();
        assert!(left.is_empty(), "{place}: {} are left, {:?}", left.len(), left.first());
    }
    assert!(!run.join("counters/.x").exists());
    // A lease of a Worker that lives stays, whatever lies about it.
    let canary = Canary::of(&scene.innocent.checkout("acme/source"));
    let mut listener = scene.innocent.listen();
    let mut job = listener.begin_job("acme/source");
    job.hook_started().expect_ok();
    assert_eq!(scene.host.leases().len(), 1);
    for number in 0..700 {
        put(&format!("leases/1-{number:x}-1-1"), b"{}");
    }
    bounded(&scene.host.call(&["sweep", "--json"])).run.expect_code(&[0, 20]);
    assert!(scene.host.leases().iter().any(|lease| fs::read(lease).is_ok_and(|text| text.len() > 10)));
    canary.assert_intact();
    job.finish(&mut listener);
}

/// Who can write the directory of root's configuration can put another file of root's in its place.
#[test]
fn a_configuration_in_a_directory_that_others_can_write_is_refused_by_root() {
    if !needs_root("owns files as several users") {
        return;
    }
    let scene = Scene::in_memory(100_000);
    let place = scene.host.base.join("etc");
    fs::create_dir(&place).expect("our own directory");
    let config = place.join("config.toml");
    fs::copy(scene.host.config(), &config).expect("our own file");
    let link = scene.host.base.join("linked.toml");
    std::os::unix::fs::symlink(&config, &link).expect("a link");
    let sweep_by = |config: &Path| {
        let mut call = scene.host.call(&["sweep", "--json"]);
        call.arguments[1] = config.into();
        bounded(&call).run
    };
    for (mode, owner) in [(0o777, 0), (0o755, HOSTILE.0), (0o775, 0)] {
        let bait = scene.bait("acme/widgets");
        std::os::unix::fs::chown(&place, Some(owner), Some(HOSTILE.1)).expect("root gives away");
        fs::set_permissions(&place, PermissionsExt::from_mode(mode)).expect("a mode");
        for config in [&config, &link] {
            let run = sweep_by(config).expect_code(&[3]);
            assert!(run.stderr().contains("can write this directory"), "{mode:o} {owner}: {}", run.stderr());
        }
        assert!(bait.exists());
        // The positive control: the same file, where root alone can put one.
        std::os::unix::fs::chown(&place, Some(0), Some(0)).expect("root takes it back");
        fs::set_permissions(&place, PermissionsExt::from_mode(0o755)).expect("a mode");
        sweep_by(&link).expect_code(&[0, 20]);
        assert!(!bait.exists());
    }
}
