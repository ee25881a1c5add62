//! Mounts whose server is gone, as FUSE, sshfs and NFS leave them: whoever touches one waits for ever.

use crate::kit::{Canary, MIB, needs_root, plant_cache};
use crate::scene::{DAY, Scene, bounded};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A FUSE filesystem that nobody serves: not even its first request is answered.
struct Dead {
    place: PathBuf,
    _server: File,
}

impl Dead {
    fn over(place: &Path) -> Self {
        let server = File::options().read(true).write(true).open("/dev/fuse").expect("the kernel has FUSE");
        let mode = if place.is_dir() { "40755" } else { "100644" };
        let options = format!("fd={},rootmode={mode},user_id=0,group_id=0,allow_other", server.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("dead"), place, Some("fuse.dead"), flags, Some(options.as_str())).expect("root mounts");
        Self { place: place.to_owned(), _server: server }
    }

    /// With a directory made for it.
    fn at(place: &Path) -> Self {
        std::fs::create_dir_all(place).expect("a place");
        Self::over(place)
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        let _ = umount2(&self.place, MntFlags::MNT_DETACH);
    }
}

/// Every verb that looks at the host ends, and soon. They wait side by side.
#[track_caller]
fn assert_all_end(scene: &Scene, where_it_is: &str) {
    let verbs = [
        &["status", "--json"][..],
        &["metrics"],
        &["plan"],
        &["doctor"],
        &["audit"],
        &["check", "--runner", "actions-runner-innocent"],
        &["postmortem"],
    ];
    let took = std::thread::scope(|scope| {
        let started = verbs.map(|verb| {
            let call = scene.host.call(verb);
            scope.spawn(move || {
                let begun = Instant::now();
                let _ = bounded(&call);
                (verb, begun.elapsed())
            })
        });
        started.map(|verb| verb.join().expect("it ends within bounds"))
    });
    for (verb, took) in took {
        assert!(took.as_secs() < 20, "{where_it_is}: {verb:?} took {took:?}");
    }
}

#[test]
fn a_dead_mount_anywhere_blocks_no_verb_and_a_sweep_serves_the_others() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let textfile = scene.host.state_dir().join("x.prom");
    scene.host.configure(|settings| {
        settings.idle_floor = "0s";
        settings.extra = format!("[metrics]\ntextfile = {:?}\n", textfile.display().to_string());
    });
    let bait = scene.bait("acme/widgets");
    let hostile = scene.hostile.root.clone();
    let work = scene.hostile.work.clone();
    std::fs::write(bait.join("debug/file"), "").expect("a file");
    std::fs::create_dir_all(work.join("acme")).expect("a directory");
    std::fs::write(work.join("acme/file"), "").expect("a file");
    std::fs::create_dir_all(hostile.join("_diag")).expect("a directory");
    // Whether the hostile runner's cache goes all the same; where nothing is said of it, it may or may not.
    for (place, goes) in [
        (scene.host.base.join("elsewhere"), Some(true)),
        (scene.host.base.join("odd\\ name\nwith a line"), Some(true)),
        (scene.host.runners().join("no-runner"), Some(true)),
        (work.join("acme/widgets/mnt"), None),
        (work.join("acme/file"), None),
        (bait.join("debug/mnt"), Some(false)),
        (bait.join("debug/file"), Some(false)),
        (work.join("acme/widgets/target-dead"), None),
        (hostile.join("bin"), None),
        (hostile.join("_diag"), None),
        (work.join(".disk-guard"), None),
        (work.join("_temp"), None),
        (work.clone(), Some(false)),
        (hostile.clone(), Some(false)),
    ] {
        let shown = place.display().to_string();
        let dead = if place.exists() { Dead::over(&place) } else { Dead::at(&place) };
        assert_all_end(&scene, &shown);
        let begun = Instant::now();
        let report = scene.sweep();
        assert!(begun.elapsed().as_secs() < 20, "{shown}: the sweep took {:?}", begun.elapsed());
        if place == hostile || place == work {
            assert!(report.0["notes"].to_string().contains("does not answer"), "{:#}", report.0);
            let status = scene.host.status();
            let runner = status.0["runners"]
                .as_array()
                .expect("a list")
                .iter()
                .find(|runner| runner["root"].as_str() == hostile.to_str());
            let runner = runner.expect("it is there");
            assert_ne!(runner["state"], "idle", "{shown}: {runner:#}");
            assert!(runner.to_string().contains("does not answer"), "{shown}: {runner:#}");
        }
        drop(dead);
        if let Some(goes) = goes {
            assert_eq!(bait.exists(), !goes, "{shown}: {:#}", report.0);
        }
        if !bait.exists() {
            scene.bait("acme/widgets");
            std::fs::write(bait.join("debug/file"), "").expect("a file");
        }
    }
    // The positive control: what was kept for a dead mount goes without it.
    let report = scene.sweep();
    assert_eq!(report.outcome(&bait), "removed", "{:#}", report.0);
    assert!(textfile.exists(), "every sweep has written its metrics");
}

#[test]
fn a_path_through_a_dead_mount_is_reported_and_not_followed() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let base = scene.host.base.clone();
    let dead = Dead::at(&base.join("far"));
    std::os::unix::fs::symlink(
        base.join("far/actions-runner-9"),
        scene.host.runners().join("actions-runner-link"),
    )
    .expect("a link");
    let globs = [
        scene.host.runners().join("*"),
        base.join("far/actions-runner-*"),
        base.join("far/actions-runner-1"),
        base.join("*/actions-runner-x*"),
    ];
    let globs = globs.map(|glob| glob.to_str().expect("UTF-8").to_owned());
    scene.host.configure(|settings| settings.roots = globs.to_vec());
    assert_all_end(&scene, "on the way to roots");
    let report = scene.sweep();
    assert!(report.0["notes"].to_string().contains("does not answer"), "{:#}", report.0);
    let status = scene.host.status();
    for unseen in ["far/actions-runner-1", "runners/actions-runner-link"] {
        let root = base.join(unseen);
        let runners = status.0["runners"].as_array().expect("a list");
        let found = runners.iter().find(|runner| runner["root"].as_str() == root.to_str());
        assert_eq!(found.expect("it is there")["state"], "unknown", "{unseen}: {:#}", status.0);
    }
    drop(dead);
}

/// A filesystem that an unprivileged user serves can fall silent at any moment: root does not enter it.
#[test]
fn root_does_not_enter_what_another_user_serves() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let own = scene.host.base.join("precious-control");
    std::fs::create_dir_all(own.join("x")).expect("a place");
    scene.cherish(&own);
    let work = scene.hostile.work.clone();
    let server = File::options().read(true).write(true).open("/dev/fuse").expect("the kernel has FUSE");
    let options =
        format!("fd={},rootmode=40755,user_id=12666,group_id=12666,allow_other", server.as_raw_fd());
    mount(Some("x"), &work, Some("fuse.x"), MsFlags::MS_NOSUID, Some(options.as_str())).expect("root mounts");
    let served = Dead { place: work.clone(), _server: server };
    let begun = Instant::now();
    scene.sweep();
    assert!(begun.elapsed().as_secs() < 10, "it is not even asked: {:?}", begun.elapsed());
    assert!(scene.host.status().0.to_string().contains("served by another user"));
    drop(served);
    let _ = Canary::of(&own);
}

/// The configuration and what it declares are read before anything else is known.
#[test]
fn a_dead_mount_below_declared_caches_or_the_configuration_keeps_nobody_waiting() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let targets = scene.host.base.join("targets");
    let declared = targets.join("ci/run-1");
    scene.host.configure(|settings| {
        settings.extra = format!(
            "[[cache]]\nname = \"runs\"\nroots = [\"{}/ci/run-*\"]\nrunners = []\nmarker = \"CACHEDIR.TAG\"\n",
            targets.display()
        );
    });
    plant_cache(&declared, MIB / 4, 2 * DAY);
    for place in [targets.clone(), targets.join("ci")] {
        let shown = place.display().to_string();
        let dead = Dead::over(&place);
        assert_all_end(&scene, &shown);
        let hook = scene.innocent.hook_below_a_worker(&scene.host, "started");
        let begun = Instant::now();
        let hook = bounded(&hook).run.expect_code(&[0]);
        assert!(begun.elapsed().as_secs() < 10, "{shown}: {:?}\n{}", begun.elapsed(), hook.stdout());
        assert!(!hook.stdout().contains("is not valid"), "{shown}: {}", hook.stdout());
        let report = scene.sweep();
        assert!(report.0["notes"].to_string().contains("does not answer"), "{:#}", report.0);
        drop(dead);
        assert!(declared.exists(), "{shown}");
    }
    // The positive control: without a dead mount it is a declared cache as any other.
    let report = scene.sweep();
    assert_eq!(report.outcome(&declared), "removed", "{:#}", report.0);

    let far = Dead::at(&scene.host.base.join("far"));
    for verb in
        [&["status"][..], &["sweep"], &["doctor"], &["check-config"], &["history"], &["reap", "--dry-run"]]
    {
        let mut call = scene.host.call(verb);
        let at = call.arguments.iter().position(|argument| *argument == scene.host.config().as_os_str());
        call.arguments[at.expect("it is named")] = far.place.join("config.toml").into();
        let begun = Instant::now();
        let run = bounded(&call).run.expect_code(&[1]);
        assert!(begun.elapsed().as_secs() < 10, "{verb:?}: {:?}", begun.elapsed());
        let said = run.stdout() + &run.stderr();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("does not answer"), "{verb:?}: {said}");
    }
}

/// Root looks at scripts that a runner's `.env` names, at programs, and at what the guards share.
#[test]
fn a_dead_mount_below_scripts_programs_or_shared_records_keeps_no_verb() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(200_000);
    let [scripts, programs, cache] = ["scripts", "programs", "ccache"].map(|name| scene.host.base.join(name));
    std::fs::create_dir_all(&cache).expect("a place");
    scene.host.configure(|settings| {
        let (program, cache) = (programs.join("ccache"), cache.display());
        settings.extra = format!(
            "[[store]]\nkind = \"ccache\"\ncommand = [{program:?}]\npath = \"{cache}\"\nmax_size = \"1MiB\"\n"
        );
    });
    let env = format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={}\n", scripts.join("started.sh").display());
    std::fs::write(scene.hostile.root.join(".env"), env).expect("our own file");
    let leases = scene.host.run_dir().join("leases");
    std::fs::create_dir_all(&leases).expect("a place");
    let more = [
        &["install", "--dry-run", "--no-group"][..],
        &["stores", "--dry-run"],
        &["forecast"],
        &["notify", "--dry-run"],
    ];
    for place in [scripts, programs, scene.host.run_dir(), leases] {
        let shown = place.display().to_string();
        let dead = Dead::at(&place);
        assert_all_end(&scene, &shown);
        for verb in more {
            let begun = Instant::now();
            let _ = bounded(&scene.host.call(verb));
            assert!(begun.elapsed().as_secs() < 20, "{shown}: {verb:?} took {:?}", begun.elapsed());
        }
        if !place.starts_with(scene.host.run_dir()) {
            scene.sweep();
        }
        drop(dead);
    }
    // The positive control: what could not be read for a while keeps nothing afterwards.
    scene.sweep();
}
