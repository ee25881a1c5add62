//! Self-clean tickets: what others want of a busy runner, it gives itself when its job is over; and nobody can make it give more.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{self, Canary, Holder, Host, Job, Listener, MIB, Runner, SHARED_GID, needs_root};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn pressed() -> Host {
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    host
}

fn calm(host: &mut Host) {
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
}

fn tickets(host: &Host) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(host.run_dir().join("tickets")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Where a runner's ticket lies.
fn ticket(host: &Host, runner: &Runner) -> PathBuf {
    let root = std::fs::metadata(&runner.root).expect("it is there");
    host.run_dir().join(format!("tickets/{:x}-{:x}", root.dev(), root.ino()))
}

fn write_ticket(host: &Host, runner: &Runner, caches: &[&str]) {
    let text = serde_json::json!({"schema": 1, "caches": caches}).to_string();
    std::fs::write(ticket(host, runner), text).expect("a ticket");
}

/// A runner in the middle of a job.
fn at_work(runner: &Runner) -> (Listener, Job) {
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    (listener, job)
}

fn whole_job(runner: &Runner) {
    let (mut listener, mut job) = at_work(runner);
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
}

#[test]
fn a_busy_sibling_answers_a_request_when_its_job_ends() {
    let host = pressed();
    let [busy, other, third] = [1, 2, 3].map(|n| host.runner(&format!("actions-runner-{n}")).build());
    let (mut listener, mut job) = at_work(&busy);
    let wanted = busy.cache("acme/widgets", "target", MIB, 2 * DAY);
    let (mut third_listener, third_job) = at_work(&third);
    let thirds = third.cache("acme/widgets", "target", MIB, 2 * DAY);
    let canaries = [Canary::of(&wanted), Canary::of(&thirds)];
    whole_job(&other);
    canaries.iter().for_each(Canary::assert_intact);
    assert_eq!(tickets(&host).len(), 2, "one for each that is at work");

    let late = busy.cache("acme/late", "target", MIB, 2 * DAY);
    let late_canary = Canary::of(&late);
    let hook = job.hook_completed().expect_ok();
    assert!(!wanted.exists(), "{}", hook.text());
    late_canary.assert_intact();
    canaries[1].assert_intact();
    assert!(wanted.parent().expect("a checkout").join("Cargo.toml").exists());
    assert_eq!((hook.parsed().groups, hook.parsed().annotations.len()), (1, 0), "{}", hook.text());
    assert_eq!(tickets(&host), [ticket(&host, &third)]);
    assert_eq!(host.leases().len(), 1, "its own lease has ended");
    job.finish(&mut listener);
    third_job.finish(&mut third_listener);
}

#[test]
fn a_sweep_leaves_tickets_too_and_withdraws_obsolete_ones() {
    let mut host = pressed();
    let busy = host.runner("actions-runner-1").build();
    let (mut listener, mut job) = at_work(&busy);
    let wanted = busy.cache("acme/widgets", "target", MIB, 2 * DAY);
    let canary = Canary::of(&wanted);
    host.sweep();
    assert_eq!(tickets(&host), [ticket(&host, &busy)]);
    calm(&mut host);
    host.sweep();
    assert!(tickets(&host).is_empty(), "the disk has room again");
    write_ticket(&host, &busy, &["widgets/widgets/target"]);
    job.hook_completed().expect_ok();
    canary.assert_intact();
    assert!(tickets(&host).is_empty(), "without pressure nothing goes, and the ticket is done with");
    job.finish(&mut listener);
}

#[test]
fn a_forged_ticket_reaches_nothing_but_declared_caches_of_its_own_runner() {
    let host = pressed();
    let [own, sibling] = [1, 2].map(|n| host.runner(&format!("actions-runner-{n}")).build());
    let (mut listener, mut job) = at_work(&own);
    let (mut others_listener, others_job) = at_work(&sibling);
    let declared = own.cache("acme/widgets", "target", MIB, Duration::ZERO);
    let siblings = sibling.cache("acme/widgets", "target", MIB, 2 * DAY);
    let unmarked = own.cache("acme/plain", "target", MIB, 2 * DAY);
    std::fs::remove_file(unmarked.join("CACHEDIR.TAG")).expect("it was there");
    let outside = host.base.join("outside");
    kit::plant_cache(&outside.join("target"), MIB, 2 * DAY);
    symlink(&outside, own.work.join("widgets/widgets/link")).expect("a link");
    let canaries =
        [&siblings, &unmarked, &outside, &own.work.join("widgets/widgets/src"), &own.work.join("_tool")]
            .map(|path| Canary::of(path));
    let root = Path::new("/").join(&siblings).display().to_string();
    write_ticket(
        &host,
        &own,
        &[
            "widgets/widgets/target",
            "widgets/widgets/src",
            "widgets/widgets",
            "widgets",
            "_tool",
            "_tool/Python",
            ".",
            "",
            "..",
            "/",
            "../../actions-runner-2/_work/widgets/widgets/target",
            &root,
            "plain/plain/target",
            "widgets/widgets/link/target",
            "widgets/widgets/link",
            "widgets/../widgets/widgets/target/../src",
            "\u{0}",
            "\n::error::x",
            "##[add-mask]x",
        ],
    );
    let hook = job.hook_completed().expect_ok();
    assert!(!declared.exists(), "the positive control\n{}", hook.text());
    canaries.iter().for_each(Canary::assert_intact);
    assert!(own.work.join("widgets/widgets/link").is_symlink());
    job.finish(&mut listener);
    others_job.finish(&mut others_listener);
}

#[test]
fn broken_tickets_are_no_fault_of_the_job() {
    let host = pressed();
    let runner = host.runner("actions-runner-1").build();
    let mut listener = runner.listen();
    for kind in ["garbage", "huge", "directory", "fifo", "link"] {
        let mut job = listener.begin_job("acme/app");
        job.hook_started().expect_ok();
        let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
        let canary = Canary::of(&cache);
        let path = ticket(&host, &runner);
        match kind {
            "garbage" => std::fs::write(&path, b"\xff{\"caches\":3").expect("ours"),
            "huge" => std::fs::write(&path, vec![b'['; 1 << 20]).expect("ours"),
            "directory" => std::fs::create_dir(&path).expect("ours"),
            "fifo" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("ours"),
            _ => {
                let other = host.base.join("other-ticket");
                std::fs::write(&other, r#"{"schema":1,"caches":["widgets/widgets/target"]}"#).expect("ours");
                symlink(&other, &path).expect("a link");
            }
        }
        job.hook_completed().expect_ok();
        canary.assert_intact();
        let _ = std::fs::remove_dir(&path).or_else(|_| std::fs::remove_file(&path));
        job.finish(&mut listener);
    }
}

#[test]
fn a_process_left_behind_in_a_cache_protects_it() {
    let host = pressed();
    let runner = host.runner("actions-runner-1").build();
    let (mut listener, mut job) = at_work(&runner);
    let [held, free] =
        ["held", "free"].map(|name| runner.cache(&format!("acme/{name}"), "target", MIB, 2 * DAY));
    write_ticket(&host, &runner, &["held/held/target", "free/free/target"]);
    let canary = Canary::of(&held);
    let holder = Holder::new("open", &held.join("CACHEDIR.TAG"));
    job.hook_completed().expect_ok();
    canary.assert_intact();
    assert!(!free.exists(), "the positive control");
    drop(holder);
    job.finish(&mut listener);
}

#[test]
fn tickets_pass_between_users() {
    if !needs_root("three users") {
        return;
    }
    let host = pressed();
    let [one, two] = [(1, 12_001), (2, 12_002)]
        .map(|(n, user)| host.runner(&format!("actions-runner-{n}")).user(user, SHARED_GID).build());
    let (mut listener, mut job) = at_work(&one);
    let wanted = one.cache("acme/widgets", "target", MIB, 2 * DAY);
    whole_job(&two);
    assert_eq!(tickets(&host), [ticket(&host, &one)], "a hook without root's eyes asks, too");
    let hook = job.hook_completed().expect_ok();
    assert!(!wanted.exists(), "{}", hook.text());
    job.finish(&mut listener);
    host.sweep();
    assert!(tickets(&host).is_empty(), "what its user may not remove, the sweep does");
}
