//! What proves that a runner is in use, one kind after the other: each protects its runner while it is there, lets a
//! neighbour's cache go meanwhile, and stops protecting when it ends.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{self, Canary, Holder, Host, MIB, Report, Runner, grow_old, standin, until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// A host under pressure with the runner that a test is about and a neighbour whose cache may go.
struct Scene {
    host: Host,
    subject: Runner,
    cache: PathBuf,
    neighbour: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let mut host = Host::new();
        host.configure(|settings| settings.want_everything());
        let subject = host.runner("actions-runner-1").build();
        let cache = subject.cache("acme/widgets", "target", MIB, 2 * DAY);
        let neighbour = host.runner("actions-runner-2").build().cache("acme/gadgets", "target", MIB, 2 * DAY);
        Self { host, subject, cache, neighbour }
    }

    /// The subject is protected by `kind`, in `state`, and the neighbour's cache is not.
    #[track_caller]
    fn assert_protected(&self, kind: &str, state: &str) {
        let canary = Canary::of(&self.cache);
        let status = self.host.status();
        let runner = status.runner(&self.subject.name);
        assert_eq!(runner["state"], state, "{runner:#}");
        let plan = self.host.plan();
        for report in [&plan, &self.host.sweep()] {
            assert_eq!(report.outcome(&self.cache), "kept", "{:#}", report.0);
            assert!(report.evidence(&self.cache).contains(kind), "{kind}: {:#}", report.action(&self.cache));
        }
        assert_eq!(plan.outcome(&self.neighbour), "planned", "{:#}", plan.0);
        assert!(!self.neighbour.exists(), "a neighbour is not protected by it");
        canary.assert_intact();
        let check = self.host.guard(&["check", "--runner", &self.subject.name, "--json"]);
        let code = match state {
            "busy" => 10,
            "unknown" => 11,
            _ => 0,
        };
        let check = check.expect_code(&[code]).report();
        assert_eq!(check.0["state"], state);
        // Also what forbids a claim without anybody being at work is said to other cleaners.
        assert!(Report::kinds(&check.0).contains(kind), "{:#}", check.0);
    }

    /// Nothing protects the subject any more: its cache goes.
    #[track_caller]
    fn assert_released(&self) {
        let sweep = self.host.sweep();
        assert_eq!(sweep.outcome(&self.cache), "removed", "{:#}", sweep.0);
        assert!(!self.cache.exists());
    }
}

#[test]
fn a_worker_process() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let mut listener = scene.subject.listen();
    // No hook has run: the process alone protects.
    let job = listener.begin_job("acme/widgets");
    scene.assert_protected("worker-process", "busy");
    job.finish(&mut listener);
    scene.assert_released();
}

#[test]
fn protected_caches_are_not_measured_on_a_satisfied_disk() {
    if !kit::sees_everything() {
        return;
    }
    let mut scene = Scene::new();
    scene.host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (100, 99, 100);
        settings.max_age = "1d";
    });
    let canary = Canary::of(&scene.cache);
    let mut listener = scene.subject.listen();
    let job = listener.begin_job("acme/widgets");
    let sweep = scene.host.sweep();
    assert_eq!(sweep.outcome(&scene.cache), "kept", "{:#}", sweep.0);
    let evidence = sweep.evidence(&scene.cache);
    assert!(evidence.contains("worker-process") && !evidence.contains("recent-content"), "{evidence:?}");
    assert!(sweep.action(&scene.cache)["bytes"].is_null(), "{:#}", sweep.action(&scene.cache));
    assert_eq!(sweep.outcome(&scene.neighbour), "removed", "{:#}", sweep.0);
    assert!(sweep.action(&scene.neighbour)["bytes"].as_u64() >= Some(MIB));
    canary.assert_intact();
    // Where space is lacking it counts how much is held.
    scene.host.configure(|settings| settings.want_everything());
    let sweep = scene.host.sweep();
    assert!(sweep.action(&scene.cache)["bytes"].as_u64() >= Some(MIB), "{:#}", sweep.action(&scene.cache));
    canary.assert_intact();
    job.finish(&mut listener);
    scene.assert_released();
}

#[test]
fn a_worker_of_an_unknown_runner_protects_every_runner() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let stranger = scene.host.runner_at(&scene.host.base.join("elsewhere/actions-runner-9")).build();
    let caches = [Canary::of(&scene.cache), Canary::of(&scene.neighbour)];
    let mut listener = stranger.listen();
    let job = listener.begin_job("acme/other");
    // It cannot be told any more where that runner works: perhaps in one of ours.
    std::fs::write(stranger.root.join(".runner"), "{").expect("our own file");
    let sweep = scene.host.sweep();
    for cache in [&scene.cache, &scene.neighbour] {
        assert_eq!(sweep.outcome(cache), "kept");
        assert!(sweep.evidence(cache).contains("unattributed-worker"), "{:#}", sweep.action(cache));
    }
    assert_eq!(scene.host.status().runner(&scene.subject.name)["state"], "unknown");
    caches.iter().for_each(Canary::assert_intact);
    job.finish(&mut listener);
    scene.assert_released();
    assert!(!scene.neighbour.exists());
}

#[test]
fn a_worker_of_a_runner_elsewhere_protects_nobody_here() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let stranger = scene.host.runner_at(&scene.host.base.join("elsewhere/actions-runner-9")).build();
    let mut listener = stranger.listen();
    let job = listener.begin_job("acme/other");
    scene.assert_released();
    job.finish(&mut listener);
}

#[test]
fn a_lease_as_long_as_its_worker_lives() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    // The hook that writes the lease must not want the space itself.
    let mut host = scene.host;
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let mut listener = scene.subject.listen();
    let mut job = listener.begin_job("acme/widgets");
    job.hook_started().expect_ok();
    assert_eq!(host.leases().len(), 1);
    host.configure(|settings| settings.want_everything());
    let scene = Scene { host, ..scene };
    scene.assert_protected("lease", "busy");
    let job_shown = scene.host.status().runner(&scene.subject.name)["job"].clone();
    assert_eq!(job_shown["repository"], "acme/widgets", "{job_shown}");
    assert_eq!(job_shown["run_id"], job.run_id.as_str(), "{job_shown}");

    // The Worker dies without ending its lease: the file is there and protects nothing.
    job.kill_worker();
    assert_eq!(listener.finished(), 137);
    assert_eq!(scene.host.leases().len(), 1);
    scene.assert_released();
    assert_eq!(scene.host.leases().len(), 0, "a sweep removes the leases of the dead");
}

#[test]
fn a_process_inside_however_it_is_inside() {
    if !kit::sees_everything() {
        return;
    }
    for what in ["cwd", "open", "map", "exe", "root"] {
        if what == "root" && !kit::needs_root("changes a process's root") {
            continue;
        }
        let scene = Scene::new();
        let checkout = scene.cache.parent().expect("the checkout");
        let holder = match what {
            "open" | "map" => Holder::new(what, &checkout.join("Cargo.toml")),
            "exe" => {
                let tool = checkout.join("tool");
                std::fs::copy(standin(), &tool).expect("a tool in the checkout");
                until("the tool to be free for execution", || {
                    let busy = Command::new(&tool).stdin(Stdio::null()).stderr(Stdio::null()).status();
                    busy.is_ok().then_some(())
                });
                Holder::run(Command::new(&tool).args(["hold", "nothing"]).current_dir("/"))
            }
            _ => Holder::new(what, checkout),
        };
        scene.assert_protected("process-inside", "busy");
        drop(holder);
        scene.assert_released();
    }
}

#[test]
fn a_mount_in_another_namespace_as_a_container_job_has_it() {
    if !kit::needs_root("makes a mount namespace") {
        return;
    }
    let scene = Scene::new();
    let at = scene.host.base.join("__w");
    std::fs::create_dir(&at).expect("a mount point");
    let mut container = Command::new("unshare");
    container.args(["--mount", "--propagation", "private", "sh", "-c"]);
    container.arg("mount --bind \"$0\" \"$1\" && echo holding && exec cat").arg(&scene.subject.work).arg(&at);
    let container = Holder::run(container.current_dir("/"));
    scene.assert_protected("mount-inside", "busy");
    drop(container);
    scene.assert_released();
}

/// A real build that waits for a FIFO in its build script.
struct Build {
    cargo: Child,
    fifo: PathBuf,
}

impl Build {
    fn start(checkout: &Path, fifo: PathBuf) -> Self {
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let script = format!(
            "fn main() {{ std::fs::write({:?}, \"\").unwrap(); std::fs::read({:?}).unwrap(); }}\n",
            checkout.join("begun"),
            fifo
        );
        std::fs::write(checkout.join("build.rs"), script).expect("a build script");
        std::fs::write(
            checkout.join("Cargo.lock"),
            "version = 4\n[[package]]\nname = \"widget\"\nversion = \"0.1.0\"\n",
        )
        .expect("a lock file");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--offline", "--quiet", "--manifest-path"]).arg(checkout.join("Cargo.toml"));
        cargo.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR").current_dir("/");
        let cargo = cargo.stdin(Stdio::null()).spawn().expect("cargo starts");
        let build = Self { cargo, fifo };
        until("the build script to run", || checkout.join("begun").exists().then_some(()));
        build
    }

    /// Lets the build script go on; nobody waits when it is gone.
    fn let_go(&self) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let _ = std::fs::File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&self.fifo);
    }

    fn end(mut self) -> bool {
        self.let_go();
        self.cargo.wait().expect("it is our child").success()
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        self.let_go();
        let _ = self.cargo.kill();
        let _ = self.cargo.wait();
    }
}

#[test]
fn a_real_build_by_cargos_own_lock() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let checkout = scene.cache.parent().expect("the checkout");
    let build = Build::start(checkout, scene.host.base.join("fifo"));
    grow_old(&scene.cache, 2 * DAY);
    scene.assert_protected("build-lock", "busy");
    assert!(build.end(), "the build ends as if nothing had been");
    grow_old(&scene.cache, 2 * DAY);
    scene.assert_released();
}

#[test]
fn a_lock_on_the_directory() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let lock = Holder::new("flock", &scene.cache);
    scene.assert_protected("directory-lock", "busy");
    drop(lock);
    scene.assert_released();
}

#[test]
fn young_content_however_old_the_directory_looks() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let deep = scene.cache.join("debug/deps/widget-4f1a9c2b7de03a55.d");
    let now = std::fs::File::options().append(true).open(&deep).expect("a file of the cache");
    now.set_modified(jiff::Timestamp::now().into()).expect("it is ours");
    drop(now);
    scene.assert_protected("recent-content", "idle");
    // The other way round: directories that look young over old files are no sign of life.
    grow_old(&scene.cache, 2 * DAY);
    std::fs::write(scene.cache.join("debug/passing"), "").expect("it is ours");
    std::fs::remove_file(scene.cache.join("debug/passing")).expect("it is ours");
    scene.assert_released();
}

#[test]
fn a_job_that_was_received_and_has_no_worker_yet() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Scene::new();
    let mut listener = scene.subject.listen();
    assert_eq!(scene.host.status().runner(&scene.subject.name)["state"], "idle", "listening is not working");
    listener.receive();
    scene.assert_protected("job-received", "busy");
    listener.start_worker("acme/widgets").finish(&mut listener);
    scene.assert_released();
}

#[test]
fn a_missing_hook() {
    if !kit::sees_everything() {
        return;
    }
    let mut scene = Scene::new();
    let bare = scene.host.runner("actions-runner-3").unguarded().build();
    let cache = bare.cache("acme/widgets", "target", MIB, 2 * DAY);
    scene.subject = bare;
    scene.cache = cache;
    scene.assert_protected("unguarded", "idle");
    assert_eq!(scene.host.status().runner(&scene.subject.name)["guarded"], false);
    assert_eq!(scene.host.status().runner("actions-runner-1")["guarded"], true);
    scene.host.configure(|settings| settings.allow_unguarded = true);
    scene.assert_released();
}

/// As an administrator sets hosts up: a shared tool cache and a tmpfs below the work directory, a second name of one cache.
#[test]
fn mounts_of_the_hosts_own_keep_their_places_and_nothing_else() {
    if !kit::sees_everything() {
        return;
    }
    let mut scene = Scene::new();
    let bound = scene.subject.cache("acme/bound", "target", MIB, 2 * DAY);
    let tools = scene.host.base.join("tools");
    let export = scene.host.base.join("export");
    for dir in [&tools, &export, &scene.subject.work.join("_tool"), &scene.subject.work.join("_actions")] {
        std::fs::create_dir_all(dir).expect("a directory of ours");
    }
    std::fs::write(tools.join("shared"), "root's").expect("our own file");
    scene.host.bind(&tools, &scene.subject.work.join("_tool"));
    scene.host.bind(&tools, &scene.subject.work.join("_actions"));
    scene.host.bind(&bound, &export);
    let canary = Canary::of(&bound);
    assert_eq!(scene.host.status().runner(&scene.subject.name)["state"], "idle");
    let sweep = scene.host.sweep();
    assert_eq!(sweep.outcome(&bound), "kept", "{:#}", sweep.0);
    assert!(sweep.evidence(&bound).contains("mount-inside"), "{:#}", sweep.action(&bound));
    assert_eq!(
        sweep.outcome(&scene.cache),
        "removed",
        "whatever comes before it in the directory: {:#}",
        sweep.0
    );
    assert_eq!(sweep.outcome(&scene.neighbour), "removed");
    canary.assert_intact();
    assert!(tools.join("shared").exists() && scene.subject.work.join("_tool/shared").exists());
}
