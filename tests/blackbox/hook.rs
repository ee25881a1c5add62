//! The job hooks as the runner runs them: what they do, what they survive, what they print.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Canary, Holder, Host, MIB, Script, parse_as_runner, until};
use std::path::PathBuf;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// No disk is ever under pressure.
fn calm() -> Host {
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    host
}

/// Every disk always is.
fn pressed() -> Host {
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    host
}

/// Runs a whole job and hands back its started-hook's result.
fn job_on(host: &Host, name: &str) -> Script {
    let runner = host.runner(name).build();
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    let hook = job.hook_started();
    job.finish(&mut listener);
    hook
}

#[test]
fn without_pressure_a_lease_is_all_there_is() {
    if !kit::sees_everything() {
        return;
    }
    let host = calm();
    let runner = host.runner("actions-runner-1").build();
    let caches =
        ["acme/app", "acme/other"].map(|repository| runner.cache(repository, "target", MIB, 9 * DAY));
    let canaries = caches.each_ref().map(|cache| Canary::of(cache));
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    assert!(host.leases().is_empty());
    let hook = job.hook_started().expect_ok();
    assert_eq!(hook.parsed().annotations.len(), 0, "{}", hook.text());
    assert!(!hook.held, "nothing of it outlives it");
    assert_eq!(host.leases().len(), 1);
    let status = host.status();
    let shown = status.runner(&runner.name);
    assert_eq!(shown["state"], "busy");
    assert_eq!(shown["job"]["repository"], "acme/app", "{shown:#}");
    canaries.iter().for_each(Canary::assert_intact);

    assert!(job.steps("test -d \"$GITHUB_WORKSPACE\"").code == 0);
    job.hook_completed().expect_ok();
    assert_eq!(host.leases().len(), 0, "the completed-hook ends the lease");
    job.finish(&mut listener);
    assert_eq!(host.status().runner(&runner.name)["state"], "idle");
}

#[test]
fn under_pressure_a_hook_frees_its_own_and_idle_caches_and_nothing_busy() {
    if !kit::sees_everything() {
        return;
    }
    let host = pressed();
    let own = host.runner("actions-runner-1").build();
    let idle = host.runner("actions-runner-2").build();
    let busy = host.runner("actions-runner-3").build();
    let caches = [&own, &idle, &busy].map(|runner| runner.cache("acme/widgets", "target", MIB, 2 * DAY));
    // Content as young as can be: one's own goes all the same, its job has not begun.
    let young = own.cache("acme/young", "target", MIB, Duration::ZERO);
    let siblings_young = idle.cache("acme/young", "target", MIB, Duration::ZERO);
    let canaries = [Canary::of(&caches[2]), Canary::of(&siblings_young)];

    let mut busy_listener = busy.listen();
    let busy_job = busy_listener.begin_job("acme/widgets");
    let mut listener = own.listen();
    let mut job = listener.begin_job("acme/app");
    let hook = job.hook_started().expect_ok();
    assert!(!caches[0].exists() && !young.exists(), "its own\n{}", hook.text());
    assert!(!caches[1].exists(), "an idle sibling's\n{}", hook.text());
    canaries.iter().for_each(Canary::assert_intact);
    assert!(caches.iter().all(|cache| cache.parent().unwrap().join("Cargo.toml").exists()));
    assert_eq!(hook.parsed().groups, 1, "it tells what it did in one group:\n{}", hook.text());
    job.finish(&mut listener);
    drop(busy_job);
}

#[test]
fn siblings_can_be_put_out_of_reach() {
    let mut host = pressed();
    host.configure(|settings| settings.claim = "never");
    let runner = host.runner("actions-runner-1").build();
    let own = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    let other = host.runner("actions-runner-2").build().cache("acme/widgets", "target", MIB, 2 * DAY);
    let canary = Canary::of(&other);
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    assert!(!own.exists());
    canary.assert_intact();
    job.finish(&mut listener);
}

#[test]
fn the_guards_own_faults_are_warnings_and_never_fail_a_job() {
    if !kit::sees_everything() {
        return;
    }
    type Break = fn(&Host) -> PathBuf;
    let faults: [(&str, Break); 4] = [
        ("a configuration that is none", |host| {
            std::fs::write(host.config(), "[pressure]\nhihg = 5\n").expect("our own file");
            host.config()
        }),
        ("a configuration that is missing", |host| {
            std::fs::remove_file(host.config()).expect("our own file");
            host.config()
        }),
        ("a shared directory that is a file", |host| {
            std::fs::remove_dir_all(host.run_dir()).expect("our own directory");
            std::fs::write(host.run_dir(), "").expect("our own file");
            host.run_dir()
        }),
        ("leases that are a file", |host| {
            std::fs::remove_dir_all(host.run_dir().join("leases")).expect("our own directory");
            std::fs::write(host.run_dir().join("leases"), "").expect("our own file");
            host.run_dir()
        }),
    ];
    for (fault, break_it) in faults {
        let host = pressed();
        let sibling = host.runner("actions-runner-2").build().cache("acme/widgets", "target", MIB, 2 * DAY);
        let canary = Canary::of(&sibling);
        break_it(&host);
        let hook = job_on(&host, "actions-runner-1").expect_ok();
        assert_eq!(hook.parsed().annotations.len(), 1, "{fault}: one warning\n{}", hook.text());
        canary.assert_intact();
    }
    let host = pressed();
    let sibling = host.runner("actions-runner-2").build().cache("acme/widgets", "target", MIB, 2 * DAY);
    job_on(&host, "actions-runner-1").expect_ok();
    assert!(!sibling.exists(), "without a fault it would have gone");
}

#[test]
fn a_read_only_shared_directory_is_a_warning_too() {
    if !kit::needs_root("mounts a read-only directory") {
        return;
    }
    let mut host = pressed();
    let cache = host.runner("actions-runner-2").build().cache("acme/widgets", "target", MIB, 2 * DAY);
    let canary = Canary::of(&cache);
    let run = host.run_dir();
    host.bind(&run, &run);
    nix::mount::mount(
        None::<&str>,
        &run,
        None::<&str>,
        nix::mount::MsFlags::MS_BIND | nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_RDONLY,
        None::<&str>,
    )
    .expect("a bind mount can be made read-only");
    let hook = job_on(&host, "actions-runner-1").expect_ok();
    assert_eq!(hook.parsed().annotations.len(), 1, "{}", hook.text());
    canary.assert_intact();
}

#[test]
fn a_lock_that_is_never_released_delays_a_hook_by_its_bound_and_no_more() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = pressed();
    host.configure(|settings| settings.lock_wait = "300ms");
    let own = host.runner("actions-runner-1").build();
    let sibling = host.runner("actions-runner-2").build().cache("acme/widgets", "target", MIB, 2 * DAY);
    let canary = Canary::of(&sibling);
    let holder = Holder::new("flock", &host.host_lock());
    let mut listener = own.listen();
    let mut job = listener.begin_job("acme/app");
    let hook = job.hook_started().expect_ok();
    assert!(hook.duration >= Duration::from_millis(300), "it waited: {:?}", hook.duration);
    assert!(hook.duration < Duration::from_secs(10), "and not for long: {:?}", hook.duration);
    assert_eq!(hook.parsed().annotations.len(), 1, "{}", hook.text());
    canary.assert_intact();
    job.finish(&mut listener);
    host.guard(&["sweep"]).expect_code(&[75]);
    let status = host.status();
    assert_eq!(status.0["lock"]["held"], true);
    assert_eq!(status.0["lock"]["holders"][0]["pid"], holder.pid(), "{:#}", status.0["lock"]);
    drop(holder);
    assert_eq!(host.sweep().outcome(&sibling), "removed");
}

#[test]
fn exhaustion_refuses_a_job_only_when_configured() {
    for (on_exhausted, code, command, title) in
        [("warn", 0, "warning", "stays above its critical mark"), ("refuse", 1, "error", "was not started")]
    {
        let mut host = pressed();
        // Critical at 1 %: whatever is freed, the disk stays above it.
        host.configure(|settings| {
            settings.critical = 1;
            settings.on_exhausted = on_exhausted;
            settings.time_limit = "3s";
        });
        let runner = host.runner("actions-runner-1").build();
        let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
        let mut listener = runner.listen();
        let mut job = listener.begin_job("acme/app");
        let hook = job.hook_started();
        assert_eq!(hook.code, code, "{on_exhausted}:\n{}", hook.text());
        let parsed = hook.parsed();
        parsed.assert_safe();
        assert_eq!(parsed.annotations.len(), 1, "{}", hook.text());
        assert!(hook.text().contains(title), "{}", hook.text());
        assert!(
            hook.text().contains(&format!("::{command} title=This host's disk%2C not your change::")),
            "{}",
            hook.text()
        );
        assert!(hook.duration < Duration::from_secs(20), "{:?}", hook.duration);
        assert!(!cache.exists(), "it freed what it could before it gave up");
    }
}

#[test]
fn an_unidentified_runner_loses_nothing_and_deletes_nothing() {
    let host = pressed();
    let runner = host.runner("actions-runner-1").build();
    let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    let canary = Canary::of(&cache);
    // By hand, without a Worker above: the environment claims a runner, ancestry does not.
    let mut command = host.call(&["hook", "started"]).command();
    command.env("RUNNER_NAME", &runner.name).env("GITHUB_WORKSPACE", runner.work.join("widgets/widgets"));
    let output = command.env("RUNNER_WORKSPACE", runner.work.join("widgets")).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let parsed = parse_as_runner(&output.stdout, &output.stderr);
    parsed.assert_safe();
    assert_eq!(parsed.annotations.len(), 1, "{}", String::from_utf8_lossy(&output.stdout));
    canary.assert_intact();

    // A Worker outside the configured roots: the same.
    let stranger = host.runner_at(&host.base.join("elsewhere/actions-runner-9")).build();
    let strangers = stranger.cache("acme/widgets", "target", MIB, 2 * DAY);
    let strangers = Canary::of(&strangers);
    let mut listener = stranger.listen();
    let mut job = listener.begin_job("acme/app");
    let hook = job.hook_started().expect_ok();
    assert_eq!(hook.parsed().annotations.len(), 1, "{}", hook.text());
    canary.assert_intact();
    strangers.assert_intact();
    job.finish(&mut listener);

    let root = runner.root.to_str().unwrap();
    host.guard(&["hook", "started", "--runner-root", root]).expect_code(&[0]);
    assert!(!cache.exists(), "named by hand it is told, and frees its own");
}

#[test]
fn a_poisoned_environment_leads_nowhere() {
    let host = pressed();
    let own = host.runner("actions-runner-1").build();
    let victim = host.runner("actions-runner-2").build();
    let own_cache = own.cache("acme/widgets", "target", MIB, 2 * DAY);
    // Young, so that only a claim as "one's own" could take it.
    let victims = victim.cache("acme/widgets", "target", MIB, Duration::ZERO);
    let canary = Canary::of(&victims);
    let checkout = victims.parent().unwrap().to_str().unwrap().to_owned();
    let mut listener = own.listen();
    listener.receive();
    let mut job = listener.start_worker("acme/app");
    let failures = job.prepare(&[
        ("RUNNER_NAME", "actions-runner-2"),
        ("RUNNER_WORKSPACE", "/"),
        ("GITHUB_WORKSPACE", &checkout),
        ("GITHUB_REPOSITORY", "acme/widgets\n::error::x"),
        ("GITHUB_REF", "##[add-mask]x"),
        ("GITHUB_JOB", "x\r::stop-commands::y"),
    ]);
    assert!(failures.is_empty());
    let hook = job.hook_started().expect_ok();
    canary.assert_intact();
    assert!(!own_cache.exists(), "{}", hook.text());
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
}

#[test]
fn a_cancelled_job_with_a_hanging_hook_leaves_a_host_that_works() {
    if !kit::sees_everything() {
        return;
    }
    let host = pressed();
    let runner = host.runner("actions-runner-1").build();
    let cache = host.runner("actions-runner-2").build().cache("acme/widgets", "target", MIB, 2 * DAY);
    let holder = Holder::new("flock", &host.host_lock());
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.start_hook("started");
    job.cancel();
    assert!(job.poll_hook("started", Duration::from_millis(50)).is_none(), "it waits for the lock");
    // The user loses patience; the runner kills the Worker and what it started.
    drop(job);
    listener.finished();
    drop(holder);
    until("the lock to be free", || (host.status().0["lock"]["held"] == false).then_some(()));
    assert_eq!(host.sweep().outcome(&cache), "removed");
}
