//! Who is protected by what: processes by a Worker's name, Workers of runners that no glob names, scripts and environments that
//! only look like our hook's.

use crate::kit::{Host, MIB, Report, Runner, Settings, grow_old, needs_root, until};
use crate::scene::{DAY, HOSTILE, Scene, bounded};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A user who owns no runner and is in no group of ours.
const NOBODY: (u32, u32) = (65_534, 65_534);

/// A process that is ended with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(until("the program to be free for execution", || quiet.spawn().ok()))
    }

    /// Waits until the process has this name.
    fn called(self, name: &str) -> Self {
        let comm = format!("/proc/{}/comm", self.0.id());
        until(name, || (fs::read_to_string(&comm).ok()?.trim() == name).then_some(()));
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `sleep` by another name.
fn disguised(path: &Path) -> PathBuf {
    fs::create_dir_all(path.parent().expect("it lies somewhere")).expect("our own directory");
    let _ = fs::remove_file(path);
    fs::copy("/bin/sleep", path).expect("sleep can be copied");
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    path.to_owned()
}

fn sweep(host: &Host) -> Report {
    bounded(&host.call(&["sweep", "--json"])).run.expect_code(&[0, 20]).report()
}

#[test]
fn a_process_by_a_workers_name_that_can_work_nowhere_keeps_nothing() {
    if !needs_root("processes of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    // In a directory of its own, as if in a runner's, and as if in one that works in the innocent's work directory.
    let base = scene.host.base.join("stranger");
    let plain = disguised(&base.join("x/Runner.Worker"));
    let as_runner = disguised(&base.join("y/bin/Runner.Worker"));
    let as_guest = disguised(&base.join("z/bin/Runner.Worker"));
    let settings = format!("{{\"agentName\": \"z\", \"workFolder\": {:?}}}", scene.innocent.work);
    fs::write(base.join("z/.runner"), settings).expect("our own file");
    for program in [&plain, &as_runner, &as_guest] {
        let as_user = |(user, group): (u32, u32)| {
            let mut command = Command::new(program);
            command.arg("600").uid(user).gid(group).current_dir("/");
            Running::start(&mut command).called("Runner.Worker")
        };
        let stranger = as_user(NOBODY);
        scene.sweep();
        drop(stranger);
        // The same process, of a user who owns a runner and is in the group, may be anybody's Worker.
        let control = scene.control();
        let _worker = as_user(HOSTILE);
        let report = sweep(&scene.host);
        assert_eq!(report.outcome(&control), "kept", "{:#}", report.0);
        assert!(report.evidence(&control).contains("unattributed-worker"), "{:#}", report.action(&control));
    }
    // What works inside a work directory is evidence about that one, whoever it is, and about no other.
    let (control, other) = (scene.control(), scene.bait("acme/other"));
    let inside = Running::start(
        Command::new(&plain).arg("600").uid(NOBODY.0).gid(NOBODY.1).current_dir(&scene.innocent.work),
    )
    .called("Runner.Worker");
    let report = sweep(&scene.host);
    assert_eq!(report.outcome(&control), "kept", "{:#}", report.0);
    assert!(report.evidence(&control).contains("unattributed-worker"), "{:#}", report.action(&control));
    assert_eq!(report.outcome(&other), "removed", "{:#}", report.0);
    drop(inside);
    scene.sweep();
}

/// A host under pressure, a runner with a cache that is fresh, and the hook of that runner.
fn hooked() -> (Host, Runner, PathBuf) {
    let mut host = Host::new();
    host.configure(Settings::want_everything);
    let runner = host.runner("actions-runner-1").build();
    let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    (host, runner, cache)
}

#[test]
fn a_hook_takes_no_target_in_which_a_worker_of_an_unlisted_runner_works() {
    if !needs_root("proves runners idle") {
        return;
    }
    let (host, runner, cache) = hooked();
    let other = host
        .runner_at(&host.base.join("elsewhere/actions-runner-9"))
        .work_folder(runner.work.to_str().expect("UTF-8"))
        .build();
    let mut listener = other.listen();
    let job = listener.begin_job("acme/widgets");
    let hook = runner.hook_below_a_worker(&host, "started");
    grow_old(&cache, 2 * DAY);
    hook.run().expect_code(&[0]);
    assert!(cache.exists(), "the job of the unlisted runner works in it");
    let check = host.guard(&["check", "--runner", &runner.name, "--json"]).expect_code(&[10, 11]).report();
    assert!(Report::kinds(&check.0).contains("unattributed-worker"), "{:#}", check.0);
    job.finish(&mut listener);
    hook.run().expect_code(&[0]);
    assert!(!cache.exists(), "the control: nobody works in it any more");
}

#[test]
fn a_stranger_in_a_checkout_protects_it_from_its_own_runners_hook() {
    if !needs_root("proves runners idle") {
        return;
    }
    let (host, runner, cache) = hooked();
    let elsewhere = runner.cache("acme/gadgets", "target", MIB, 2 * DAY);
    let hook = runner.hook_below_a_worker(&host, "started");
    let stranger = Running::start(
        Command::new("sleep").arg("600").current_dir(cache.parent().expect("it lies in a checkout")),
    );
    hook.run().expect_code(&[0]);
    assert!(cache.exists(), "somebody is between two builds in that checkout");
    assert!(!elsewhere.exists(), "the control: another checkout of the same runner");
    drop(stranger);
    hook.run().expect_code(&[0]);
    assert!(!cache.exists());
}

fn guarded(host: &Host, runner: &Runner) -> bool {
    host.status().runner(&runner.name)["guarded"].as_bool().expect("a truth")
}

#[test]
fn an_environment_that_is_moved_in_is_not_in_force() {
    if !needs_root("looks at processes of others") {
        return;
    }
    let (host, runner, _) = hooked();
    let env = runner.root.join(".env");
    let text = fs::read(&env).expect("it is there");
    fs::remove_file(&env).expect("it is ours");
    let old = runner.listen();
    std::thread::sleep(Duration::from_millis(50));
    // As mv, cp -p, rsync -a and tar leave it: with an old time of writing.
    let prepared = runner.root.join(".env.prepared");
    fs::write(&prepared, &text).expect("our own file");
    let file = fs::File::options().append(true).open(&prepared).expect("our own file");
    file.set_modified(std::time::SystemTime::now() - DAY).expect("it is ours");
    fs::rename(&prepared, &env).expect("our own file");
    assert!(!guarded(&host, &runner), "its Listener has read none");
    std::thread::sleep(Duration::from_millis(50));
    let new = runner.listen();
    assert!(!guarded(&host, &runner), "of two Listeners the older has read none");
    old.kill();
    assert!(guarded(&host, &runner), "the control: the one that is left has read it");
    drop(new);
    assert!(guarded(&host, &runner), "the next one will read it");
}

/// A Listener goes by the path that it was started at. When another root is put there it is of none that is known, and starts its
/// Workers there all the same.
#[test]
fn a_root_that_is_put_in_an_others_place_has_a_listener_that_has_not_read_it() {
    if !needs_root("looks at processes of others") {
        return;
    }
    let (host, runner, _) = hooked();
    let (root, env) = (&runner.root, runner.root.join(".env"));
    let text = fs::read(&env).expect("it is there");
    fs::remove_file(&env).expect("it is ours");
    let old = runner.listen();
    std::thread::sleep(Duration::from_millis(50));
    let (new, away) = (host.base.join("new"), host.base.join("away"));
    let copied = std::process::Command::new("cp").arg("-a").args([root, &new]).status();
    assert!(copied.expect("cp runs").success());
    fs::write(new.join(".env"), &text).expect("our own file");
    fs::rename(root, &away).expect("our own directory");
    fs::rename(&new, root).expect("our own directory");
    assert!(!guarded(&host, &runner), "its Listener has read another one");
    old.kill();
    assert!(guarded(&host, &runner), "the control: the next one will read it");
}

#[test]
fn a_script_counts_as_guarded_once_it_has_run_our_hook() {
    if !needs_root("looks at processes of others") {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let (program, config) = (host.program().display().to_string(), host.config().display().to_string());
    let ours = format!("{program} --config {config} hook started");
    for (number, (script, shown_by_text, shown_by_job)) in [
        (format!("exec {ours}\n"), true, true),
        (format!("if [ -n \"$CI\" ]; then {ours}; fi\n"), false, true),
        (format!("exit 0\n{ours}\n"), false, false),
        (format!("{ours} &\nsleep 0.5\n"), false, false),
    ]
    .into_iter()
    .enumerate()
    {
        let path = host.base.join(format!("hooks/wrapper-{number}.sh"));
        fs::write(&path, &script).expect("our own file");
        let text = format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={}\n", path.display());
        let runner = host.runner(&format!("actions-runner-{number}")).env(&text).build();
        let mut listener = runner.listen();
        assert_eq!(guarded(&host, &runner), shown_by_text, "before a job: {script}");
        let mut job = listener.begin_job("acme/app");
        job.hook_started().expect_ok();
        job.finish(&mut listener);
        assert_eq!(guarded(&host, &runner), shown_by_job, "after a job: {script}");
        drop(listener);
        let _next = runner.listen();
        assert_eq!(guarded(&host, &runner), shown_by_text, "the next Listener has to show it anew: {script}");
    }
}

#[test]
fn a_listener_that_sees_another_run_directory_is_unguarded() {
    if !needs_root("makes a mount namespace") {
        return;
    }
    let (host, runner, _) = hooked();
    let listener = disguised(&runner.bin.join("Runner.Listener"));
    let start = |mount: &str| {
        let script = format!("{mount} exec {} 600", listener.display());
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        Running::start(&mut command).called("Runner.Listener")
    };
    host.sweep();
    let other = start(&format!("mount -t tmpfs t {} &&", host.run_dir().display()));
    assert!(!guarded(&host, &runner), "its hooks meet another lock");
    drop(other);
    let same = start("");
    assert!(guarded(&host, &runner), "the control: a mount namespace with the same directory in it");
    drop(same);
}

#[test]
fn a_work_directory_that_hosts_share_is_unknown_unless_it_is_named_as_local() {
    if !needs_root("mounts") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let share = scene.host.base.join("share");
    let [lower, upper, work] = ["lower", "upper", "layer-work"].map(|name| scene.host.base.join(name));
    for directory in [&share, &lower, &upper, &work] {
        fs::create_dir(directory).expect("our own directory");
    }
    let layers = format!(
        "lowerdir={},upperdir={},workdir={},allow_other",
        lower.display(),
        upper.display(),
        work.display()
    );
    let mut mount = Command::new("fuse-overlayfs");
    mount.args(["-f", "-o", &layers]).arg(&share);
    let server = Running::start(&mut mount);
    let shown = share.display().to_string();
    until("the share to be mounted", || {
        let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
        table.lines().any(|line| line.contains(&shown) && line.contains("fuse")).then_some(())
    });
    let root = share.join("actions-runner-7");
    let runner = scene.host.runner_at(&root).user(12_007, HOSTILE.1).build();
    scene.host.configure(|settings| settings.roots.push(root.display().to_string()));
    let cache = runner.cache("acme/shared", "target", MIB / 4, 2 * DAY);
    // Its Listener runs on another host: the log alone tells of it.
    let job = "a0000000-0000-0000-0000-000000000001";
    let line = |text: &str| format!("[2026-01-02 03:04:05Z INFO JobDispatcher] {text}\n");
    let log = line(&format!("Job request 7 for plan 1-2-3 job {job} received."))
        + &line(&format!("Successfully renew job {job}, job is valid till 01/02/2030 03:14:07"));
    let diag = root.join("_diag/Runner_20260102-030400-utc.log");
    fs::write(&diag, &log).expect("a log");

    let report = scene.sweep();
    assert_eq!(report.outcome(&cache), "kept", "{:#}", report.0);
    let kinds = report.evidence(&cache);
    assert!(kinds.contains("visibility") && kinds.contains("job-received"), "{:#}", report.action(&cache));
    assert_eq!(scene.host.status().runner(&runner.name)["state"], "busy");
    let doctor = scene.host.guard(&["doctor", "--json"]).report();
    let checks = doctor.0["checks"].as_array().expect("a list");
    let told =
        checks.iter().find(|check| check["id"] == format!("shared:{}", runner.name)).expect("it is told");
    assert!(told["fix"].as_str().is_some_and(|fix| fix.contains("runners.local")), "{told:#}");

    fs::write(&diag, log + &line(&format!("Worker finished for job {job}. Code: 100"))).expect("a log");
    let report = scene.sweep();
    assert_eq!(report.outcome(&cache), "kept", "another host may still use it: {:#}", report.0);
    assert_eq!(scene.host.status().runner(&runner.name)["state"], "unknown");

    let local = format!("local = [\"{}\"]\n", share.display());
    let text = fs::read_to_string(scene.host.config()).expect("our own file");
    fs::write(scene.host.config(), text.replace("[runners]\n", &format!("[runners]\n{local}")))
        .expect("our own file");
    let report = scene.sweep();
    assert_eq!(report.outcome(&cache), "removed", "it is this host's alone: {:#}", report.0);
    let _ = Command::new("umount").arg(&share).status();
    drop(server);
}
