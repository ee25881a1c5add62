//! The instant between a look and a deed: who wins, and what a crash in it leaves.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Canary, Entry, Fs, Host, Job, Listener, MIB, Runner, Stopped, plant_cache, until};
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

struct Scene {
    host: Host,
    runner: Runner,
    cache: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let mut host = Host::new();
        host.configure(|settings| {
            settings.want_everything();
            settings.lock_wait = "1s";
        });
        let runner = host.runner("actions-runner-1").build();
        let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
        Self { host, runner, cache }
    }

    /// The job's steps look at their tree all the time, from before the guard goes on until the returned file is there.
    fn start_to_look(&self, job: &mut Job) -> PathBuf {
        let (looked, done) = (self.host.base.join("looked"), self.host.base.join("done"));
        job.start_steps(&format!(
            "while test ! -e {done}; do\n{CHECK}touch {looked}\ndone\n{CHECK}",
            done = done.display(),
            looked = looked.display()
        ));
        until("the steps to look once", || looked.exists().then_some(()));
        done
    }

    /// The control: a sweep removes the cache now.
    #[track_caller]
    fn goes(&self, when: &str) {
        assert_eq!(self.host.sweep().outcome(&self.cache), "removed", "{when}");
    }

    /// Everything below the work directory that is, or was, the cache: in place or in trash.
    fn trees(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find(&self.runner.work, "libwidget-0000.rlib", &mut found);
        found
    }
}

fn find(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name() == name {
            found.push(entry.path());
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&entry.path(), name, found);
        }
    }
}

/// The rename of the cache itself, by its own name.
fn claims_cache(call: &Entry) -> bool {
    call.number == libc::SYS_renameat2 && call.text(1) == "target"
}

fn start_job(runner: &Runner) -> (Listener, Job) {
    let mut listener = runner.listen();
    let job = listener.begin_job("acme/widgets");
    (listener, job)
}

/// Steps that fail when the tree is not there whole.
const CHECK: &str = "test -f target/CACHEDIR.TAG\ntest -s target/debug/deps/libwidget-0000.rlib\n";

/// Where the slot is made and all is looked at, and the lock is not yet taken.
fn before_lock(scene: &Scene) -> Stopped {
    let lock = scene.host.host_lock();
    Stopped::at(&scene.host.call(&["sweep", "--json"]), move |call| {
        call.number == libc::SYS_flock
            && call.file(0) == lock
            && call.arguments[1] & libc::LOCK_EX as u64 != 0
    })
}

#[test]
fn a_job_that_starts_before_the_lock_is_taken_wins() {
    if !kit::sees_everything() {
        return;
    }
    let mut scene = Scene::new();
    let canary = Canary::of(&scene.cache);
    // Whatever the guard looked at before its lock is old by now.
    let stopped = before_lock(&scene);
    // The hook of the job itself would prune what is its own.
    scene.host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let (mut listener, mut job) = start_job(&scene.runner);
    job.hook_started().expect_ok();
    let done = scene.start_to_look(&mut job);
    let report = stopped.release().expect_code(&[0, 20]).report();
    std::fs::write(&done, "").expect("our own file");
    let steps = job.await_steps();
    assert_eq!(steps.code, 0, "the job never misses its tree: {}\n{:#}", steps.text(), report.0);
    assert_eq!(report.outcome(&scene.cache), "kept", "{:#}", report.0);
    canary.assert_intact();
    job.finish(&mut listener);
    scene.host.configure(|settings| settings.want_everything());
    scene.goes("without a job it goes");
}

/// Nothing tells of it under the lock but its Worker.
#[test]
fn a_job_without_a_hook_run_gets_its_tree_back() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let canary = Canary::of(&scene.cache);
    let stopped = before_lock(&scene);
    let (mut listener, mut job) = start_job(&scene.runner);
    job.steps(CHECK);
    let report = stopped.release().expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&scene.cache), "restored", "{:#}", report.0);
    canary.assert_intact();
    assert_eq!(job.steps(CHECK).code, 0);
    job.finish(&mut listener);
    scene.goes("without a job it goes");
}

#[test]
fn a_job_that_starts_between_the_last_check_and_the_claim_wins() {
    if !kit::sees_everything() {
        return;
    }
    let mut scene = Scene::new();
    let canary = Canary::of(&scene.cache);
    let stopped = Stopped::at(&scene.host.call(&["sweep", "--json"]), claims_cache);
    // Held at the entry: the guard has looked, and has not renamed. Its lock is held, so the hook gives up waiting.
    scene.host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let (mut listener, mut job) = start_job(&scene.runner);
    let hook = job.hook_started().expect_ok();
    assert!(hook.duration >= Duration::from_millis(900), "{:?}\n{}", hook.duration, hook.text());
    let done = scene.start_to_look(&mut job);
    // The hook, which could not wait any longer, has fenced its runner off: the rename that was due fails.
    stopped.to_exit();
    assert!(scene.cache.join("CACHEDIR.TAG").exists(), "not even for an instant is it out of its place");
    let report = stopped.release().expect_code(&[0, 20]).report();
    std::fs::write(&done, "").expect("our own file");
    let steps = job.await_steps();
    assert_eq!(steps.code, 0, "the job never misses its tree: {}\n{:#}", steps.text(), report.0);
    assert_ne!(report.outcome(&scene.cache), "removed", "{:#}", report.0);
    canary.assert_intact();
    job.finish(&mut listener);
    scene.host.configure(|settings| settings.want_everything());
    scene.goes("without a job it goes");
}

/// Nothing tells of such a build but its processes, and those are looked at before the lock is taken.
#[test]
fn a_build_that_has_begun_since_the_look_and_outlives_its_worker_keeps_its_tree() {
    if !kit::sees_everything() {
        return;
    }
    for what in [
        Outlived::Worker,
        Outlived::WorkerAndLease,
        Outlived::Job,
        Outlived::WorkerWithoutLease,
        Outlived::WorkerWithoutHook,
    ] {
        outlive(what);
    }
}

/// What a build outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlived {
    /// Its Worker dies.
    Worker,
    /// Its Worker dies, and its lease is cleared away.
    WorkerAndLease,
    /// Its job ends without it.
    Job,
    /// Its Worker dies, of which no lease could be left: no inode was to be had for it.
    WorkerWithoutLease,
    /// Its Worker dies, and its runner has no hook, which is allowed.
    WorkerWithoutHook,
}

fn outlive(what: Outlived) {
    let mut scene = Scene::new();
    if what == Outlived::WorkerWithoutHook {
        scene.runner = scene.host.runner("actions-runner-2").unguarded().build();
        scene.cache = scene.runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    }
    // Time enough for what follows.
    scene.host.configure(|settings| (settings.lock_wait, settings.allow_unguarded) = ("1min", true));
    if what == Outlived::WorkerWithoutLease {
        let leases = scene.host.run_dir().join("leases");
        scene.host.mount(Fs::Tmpfs { mib: 1, inodes: 1 }, &leases);
    }
    let canary = Canary::of(&scene.cache);
    let stopped = before_lock(&scene);
    scene.host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let (mut listener, mut job) = start_job(&scene.runner);
    if what != Outlived::WorkerWithoutHook {
        let hook = job.hook_started().expect_ok();
        let is_left = !scene.host.leases().is_empty();
        assert_eq!(is_left, what != Outlived::WorkerWithoutLease, "{what:?}: {}", hook.text());
    }
    let (pid, done) = (scene.host.base.join("pid"), scene.host.base.join("done"));
    // A runner ends what bears its job's mark.
    job.steps(&format!(
        "RUNNER_TRACKING_ID= bash -ec 'while test ! -e {}; do\n{CHECK}done' >/dev/null 2>&1 &\necho $! >{}\n",
        done.display(),
        pid.display()
    ));
    let build = std::fs::read_to_string(&pid).expect("the build's number").trim().parse().expect("a number");
    if what == Outlived::Job {
        job.hook_completed().expect_ok();
        job.finish(&mut listener);
    } else {
        job.kill_worker();
        listener.finished();
    }
    if what == Outlived::WorkerAndLease {
        scene.host.sweep();
        assert_eq!(scene.host.leases(), Vec::<PathBuf>::new(), "{what:?}");
    }
    let report = stopped.release().expect_code(&[0, 20]).report();
    assert!(kit::is_alive(build), "{what:?}: the build goes on, and misses nothing");
    assert_eq!(report.outcome(&scene.cache), "kept", "{what:?}: {:#}", report.0);
    assert!(report.evidence(&scene.cache).contains("process-inside"), "{what:?}: {:#}", report.0);
    canary.assert_intact();
    std::fs::write(&done, "").expect("our own file");
    until("the build to end", || (!kit::is_alive(build)).then_some(()));
    scene.host.configure(|settings| settings.want_everything());
    scene.goes(&format!("{what:?}: without a build it goes"));
}

#[test]
fn a_job_that_starts_after_the_claim_waits_for_it_and_builds_cold() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let stopped = Stopped::at(&scene.host.call(&["sweep", "--json"]), claims_cache);
    stopped.to_exit();
    assert!(!scene.cache.exists(), "claimed");
    // No Worker yet when the guard looks again; the hook comes while the lock is held.
    let report = stopped.release().expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&scene.cache), "removed");
    let (mut listener, mut job) = start_job(&scene.runner);
    job.hook_started().expect_ok();
    assert_eq!(job.steps("test ! -e target && mkdir target").code, 0);
    job.finish(&mut listener);
}

#[test]
fn a_worker_that_appears_during_the_claim_gets_its_tree_back() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let canary = Canary::of(&scene.cache);
    let stopped = Stopped::at(&scene.host.call(&["sweep", "--json"]), claims_cache);
    stopped.to_exit();
    assert!(!scene.cache.exists(), "claimed");
    let (mut listener, mut job) = start_job(&scene.runner);
    let report = stopped.release().expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&scene.cache), "restored", "{:#}", report.0);
    assert!(!report.evidence(&scene.cache).is_empty(), "{:#}", report.action(&scene.cache));
    canary.assert_intact();
    assert_eq!(job.steps(CHECK).code, 0);
    job.finish(&mut listener);
    assert_eq!(scene.host.sweep().outcome(&scene.cache), "removed");
}

#[test]
fn nothing_is_deleted_under_the_lock() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let stopped = Stopped::at(&scene.host.call(&["sweep", "--json"]), |call| {
        call.number == libc::SYS_unlinkat && call.arguments[2] & libc::AT_REMOVEDIR as u64 == 0
    });
    assert!(!scene.cache.exists(), "claimed, and about to be deleted");
    assert!(!scene.trees().is_empty(), "nothing is deleted yet");
    let lock = File::open(scene.host.host_lock()).expect("the host lock");
    let taken = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
    assert!(taken.is_ok(), "another guard could take the host lock now");
    drop(taken);
    assert_eq!(stopped.release().expect_code(&[0, 20]).report().outcome(&scene.cache), "removed");
}

#[test]
fn the_next_run_finishes_every_claim_of_a_killed_guard() {
    if !kit::sees_everything() {
        return;
    }
    type Where = fn(&Entry) -> bool;
    let instants: [(&str, Where, bool); 3] = [
        ("before the rename", claims_cache, false),
        ("after the rename", claims_cache, true),
        ("while deleting", |call| call.number == libc::SYS_unlinkat && call.text(1).ends_with(".rlib"), true),
    ];
    for (instant, wanted, past) in instants {
        let scene = Scene::new();
        let canary = Canary::of(&scene.cache);
        let stopped = Stopped::at(&scene.host.call(&["sweep", "--json"]), wanted);
        if past {
            stopped.to_exit();
        }
        assert_eq!(stopped.kill().signal, Some(libc::SIGKILL));
        if past {
            assert!(!scene.cache.exists(), "{instant}");
            let trash = scene.host.status().0["trash_bytes"].as_u64();
            assert!(trash > Some(0), "{instant}: unfinished trash shows: {trash:?}");
        } else {
            canary.assert_intact();
        }
        // The lock of the dead has released itself.
        let sweep = scene.host.sweep();
        assert!(!scene.cache.exists() && scene.trees().is_empty(), "{instant}: {:?}", scene.trees());
        assert!(sweep.0["freed_bytes"].as_u64() > Some(0), "{instant}: {:#}", sweep.0);
        assert_eq!(scene.host.status().0["trash_bytes"], 0, "{instant}");
        assert!(scene.cache.parent().unwrap().join("Cargo.toml").exists());
    }
}

#[test]
fn guards_that_delete_the_same_tree_report_the_freed_bytes_once() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let stopped = Stopped::at(&scene.host.call(&["sweep", "--json"]), |call| {
        call.number == libc::SYS_unlinkat && call.arguments[2] & libc::AT_REMOVEDIR as u64 == 0
    });
    assert!(!scene.cache.exists() && !scene.trees().is_empty(), "claimed, and about to be deleted");
    let helper = scene.host.sweep();
    assert!(scene.trees().is_empty(), "nobody waits for a guard that stands still: {:?}", scene.trees());
    assert_eq!(helper.0["freed_bytes"], 0, "{:#}", helper.0);
    let claimer = stopped.release().expect_code(&[0, 20]).report();
    assert_eq!(claimer.outcome(&scene.cache), "removed", "{:#}", claimer.0);
    assert_eq!(claimer.0["freed_bytes"], claimer.action(&scene.cache)["bytes"], "{:#}", claimer.0);
    let metrics = scene.host.guard(&["metrics"]).expect_code(&[0]).stdout();
    let reclaimed: Vec<_> = metrics.lines().filter(|line| line.contains("_reclaimed_bytes_total{")).collect();
    assert_eq!(reclaimed.len(), 1, "of the cache, and nothing of trash: {reclaimed:?}");
}

#[test]
fn a_guard_reports_bytes_freed_on_behalf_of_a_crashed_run() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let deletes = |call: &Entry| {
        call.number == libc::SYS_unlinkat && call.arguments[2] & libc::AT_REMOVEDIR as u64 == 0
    };
    let claimer = Stopped::at(&scene.host.call(&["sweep", "--json"]), deletes);
    let helper = Stopped::at(&scene.host.call(&["sweep", "--json"]), deletes);
    assert_eq!(claimer.kill().signal, Some(libc::SIGKILL));
    let helper = helper.release().expect_code(&[0, 20]).report();
    assert!(scene.trees().is_empty(), "{:?}", scene.trees());
    assert!(helper.0["freed_bytes"].as_u64() > Some(0), "{:#}", helper.0);
}

#[test]
fn a_tree_that_differs_from_the_plan_is_kept() {
    if !kit::sees_everything() {
        return;
    }
    type Swap = fn(&Path, &Path);
    let swaps: [(&str, Swap); 3] = [
        ("another directory", |cache, _| plant_cache(cache, MIB, 2 * DAY)),
        ("a symlink to something precious", |cache, precious| {
            std::os::unix::fs::symlink(precious, cache).expect("our own link");
        }),
        ("a file", |cache, _| std::fs::write(cache, "precious").expect("our own file")),
    ];
    for (what, swap) in swaps {
        let scene = Scene::new();
        let control = scene.runner.cache("acme/control", "target", MIB, DAY);
        let precious = scene.host.base.join("precious");
        plant_cache(&precious, MIB, 2 * DAY);
        let precious_canary = Canary::of(&precious);
        let stopped = before_lock(&scene);
        std::fs::rename(&scene.cache, scene.host.base.join("aside")).expect("our own tree");
        swap(&scene.cache, &precious);
        let status = |path: &Path| path.symlink_metadata().map(|now| (now.file_type(), now.len())).ok();
        let swapped = status(&scene.cache);
        let report = stopped.release().expect_code(&[0, 20]).report();
        assert_eq!(report.outcome(&scene.cache), "changed", "{what}: {:#}", report.0);
        assert_eq!(status(&scene.cache), swapped, "{what}: what has taken its place stays");
        precious_canary.assert_intact();
        assert_eq!(report.outcome(&control), "removed", "{what}: the rest of the plan is done");
    }
}

#[test]
fn a_swap_at_the_very_rename_is_put_back() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let stopped = Stopped::at(&scene.host.call(&["sweep", "--json"]), claims_cache);
    let aside = scene.host.base.join("aside");
    std::fs::rename(&scene.cache, &aside).expect("our own tree");
    plant_cache(&scene.cache, MIB, 2 * DAY);
    let canaries = [Canary::of(&scene.cache), Canary::of(&aside)];
    let report = stopped.release().expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&scene.cache), "changed", "{:#}", report.0);
    canaries.iter().for_each(Canary::assert_intact);
    assert_eq!(scene.host.sweep().outcome(&scene.cache), "removed", "planned anew, it goes");
}

#[test]
fn links_and_mounts_inside_a_cache_lead_nowhere() {
    if !kit::sees_everything() {
        return;
    }
    let mut scene = Scene::new();
    let precious = scene.host.base.join("precious");
    plant_cache(&precious, MIB, 2 * DAY);
    let canary = Canary::of(&precious);
    std::os::unix::fs::symlink(&precious, scene.cache.join("debug/link")).expect("our own link");
    kit::grow_old(&scene.cache, 2 * DAY);
    assert_eq!(scene.host.sweep().outcome(&scene.cache), "removed");
    canary.assert_intact();

    if kit::needs_root("bind-mounts a directory into a cache") {
        let cache = scene.runner.cache("acme/mounted", "target", MIB, 2 * DAY);
        let control =
            scene.host.runner("actions-runner-2").build().cache("acme/control", "target", MIB, 2 * DAY);
        let inside = cache.join("debug/mounted");
        scene.host.bind(&precious, &inside);
        let sweep = scene.host.sweep();
        assert_ne!(sweep.outcome(&cache), "removed", "{:#}", sweep.0);
        canary.assert_intact();
        assert_eq!(sweep.outcome(&control), "removed", "{:#}", sweep.0);
    }
}

#[test]
fn an_unmarked_directory_is_no_cache() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let bare = scene.runner.cache("acme/bare", "target", MIB, 2 * DAY);
    std::fs::remove_file(bare.join("CACHEDIR.TAG")).expect("our own file");
    let forged = scene.runner.cache("acme/forged", "target", MIB, 2 * DAY);
    std::fs::write(forged.join("CACHEDIR.TAG"), "Signature: none\n").expect("our own file");
    kit::grow_old(&forged, 2 * DAY);
    let named = scene.runner.cache("acme/named", "artefacts", MIB, 2 * DAY);
    // Tagged, under a name that no rule declares, and not by cargo.
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# by another tool\n";
    std::fs::write(named.join("CACHEDIR.TAG"), tag).expect("our own file");
    kit::grow_old(&named, 2 * DAY);
    let canaries = [&bare, &forged, &named].map(|tree| Canary::of(tree));
    let sweep = scene.host.sweep();
    assert_eq!(sweep.with_outcome("removed"), std::slice::from_ref(&scene.cache), "{:#}", sweep.0);
    canaries.iter().for_each(Canary::assert_intact);
}
