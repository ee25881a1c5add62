//! The other ways in which something is moved: files by their names, a cache for which no slot can be made, and a file that a
//! repair has in its hands.

use crate::also::Also;
use crate::ends::{Ends, assert_met};
use crate::kit::{self, Call, Entry, Stopped, change};
use crate::scene::{Ground, Scene, Stake};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Old logs of a runner, of which some stay, on a disk without pressure.
fn old_logs() -> Option<Scene> {
    Scene::of(Ground::calm(), |runner| {
        let log = |name: &str, age| file(&runner.root.join("_diag").join(name), age);
        for day in 3..5 {
            log(&format!("Worker_202601{day:02}-050607-utc.log"), 15 * DAY);
        }
        let logs = (1..3).map(|day| log(&format!("Worker_202601{day:02}-050607-utc.log"), 30 * DAY));
        let page = log(
            "pages/0f8fad5b-d9cb-469f-a165-70867728950e_0f8fad5b-d9cb-469f-a165-70867728950e_1.log",
            30 * DAY,
        );
        Stake { goes: logs.chain([page]).collect(), ..Stake::default() }
    })
}

fn file(path: &Path, age: Duration) -> PathBuf {
    std::fs::create_dir_all(path.parent().expect("it lies in a directory")).expect("a directory");
    std::fs::write(path, path.as_os_str().as_encoded_bytes()).expect("a file of the test");
    kit::grow_old(path, age);
    path.to_owned()
}

#[test]
fn a_sweep_interrupted_while_claiming_files_loses_nothing() {
    let Some(scene) = old_logs() else { return };
    let (boundaries, run) = scene.end_everywhere(&scene.sweep(), Ends::Dead, Also::nothing);
    assert_eq!(run.report().outcome(&scene.runner.root.join("_diag")), "removed");
    assert_met(&boundaries, &["`mkdir slot-", ".log to 0", ".log to 2", "`unlink 0", "`rmdir slot-"]);
}

#[test]
fn a_sweep_interrupted_while_returning_files_loses_nothing() {
    let Some(scene) = old_logs() else { return };
    let (boundaries, run) =
        scene.end_everywhere(&scene.sweep(), Ends::Dead, || Also::locks_the_slot(&scene.runner));
    assert_eq!(run.report().outcome(&scene.runner.root.join("_diag")), "restored");
    assert_met(&boundaries, &[".log to 0", "`rename 0 to ", "`rename 2 to ", "`rmdir slot-"]);
}

/// Not one inode is left.
fn no_inode() -> Option<Scene> {
    Scene::of(Ground { inodes: 192, ..Ground::pressed() }, |runner| {
        let cache = runner.cache("acme/widgets", "target", 4096, 2 * DAY);
        kit::fill_inodes(&runner.root.join("ballast"));
        Stake { goes: vec![cache], ..Stake::default() }
    })
}

#[test]
fn an_interrupted_claim_without_a_slot_loses_nothing() {
    let Some(scene) = no_inode() else { return };
    let (boundaries, run) = scene.end_everywhere(&scene.sweep(), Ends::Dead, Also::nothing);
    assert_eq!(run.report().outcome(scene.cache()), "removed");
    assert_met(&boundaries, &["`write", "`rename target to .disk-guard-trash-", "`rmdir .disk-guard-trash-"]);
}

#[test]
fn an_interrupted_return_of_a_claim_without_a_slot_loses_nothing() {
    let Some(scene) = no_inode() else { return };
    let (boundaries, run) =
        scene.end_everywhere(&scene.sweep(), Ends::Dead, || Also::builds_in_what_is_claimed(&scene.runner));
    assert_eq!(run.report().outcome(scene.cache()), "restored");
    assert_met(&boundaries, &["`rename target to .disk-guard-trash-", " to target`"]);
}

/// What a container job has left in the tree of a runner that belongs to an ordinary user.
fn contaminated() -> Option<Scene> {
    Scene::of(Ground { user: Some((12_001, 12_001)), ..Ground::calm() }, |runner| {
        let dist = runner.checkout("acme/widgets").join("dist");
        runner.own(&runner.work);
        let given_back = ["deep/out", "deep", "link"].map(|name| dist.join(name));
        file(&given_back[0], DAY);
        symlink("/etc/passwd", &given_back[2]).expect("a link");
        Stake { given_back: given_back.into_iter().chain([dist]).collect(), ..Stake::default() }
    })
}

fn repair(scene: &Scene) -> Call {
    scene.host.call(&[
        "remediate",
        "--even-if-widespread",
        &scene.runner.name,
        "widgets",
        "--mode",
        "chown",
        "--apply",
        "--json",
    ])
}

#[test]
fn the_file_of_an_interrupted_repair_is_returned() {
    let Some(scene) = contaminated() else { return };
    let (boundaries, run) = scene.end_everywhere(&repair(&scene), Ends::Dead, Also::nothing);
    assert_eq!(run.report().0["done"], 4);
    assert_met(
        &boundaries,
        &[
            "`mkdir repair-",
            "`symlink repair-",
            "`rename out to entry",
            "`chown",
            "`rename entry to out",
            "`unlink repair-",
            "`rmdir repair-",
        ],
    );
}

/// Neither put under a running job nor deleted.
#[test]
fn a_file_held_by_a_dead_repair_waits_until_its_runner_is_idle() {
    let Some(scene) = contaminated() else { return };
    let mut disk = scene.afresh();
    let out = &scene.stake.given_back[0];
    let puts_back = |entry: &Entry| change(entry).is_some_and(|what| what == "rename entry to out");
    Stopped::at(&repair(&scene), puts_back).kill();
    assert!(!out.exists(), "it is in its hands");
    let living = scene.keep_workers();
    let mut worker = scene.hook(&scene.runner).command().spawn().expect("it starts");
    kit::until("the job to begin", || (!scene.leases().is_empty()).then_some(()));
    scene.host.sweep();
    scene.check("swept while its runner is busy");
    assert!(!out.exists(), "it is not put under a running job");
    drop(living);
    worker.wait().expect("it is our child");
    scene.finish("its runner is idle");
    disk.unmount();
}
