//! Which runners are found, where they work, and what hostile names among them do: nothing.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{self, Canary, Host, MIB, Stopped, parse_as_runner, plant_cache};
use nix::libc;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn host_that_wants_everything() -> Host {
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    host
}

#[test]
fn every_shape_of_a_runner_is_found_with_its_name_and_its_work_directory() {
    if !kit::sees_everything() {
        return;
    }
    let host = host_that_wants_everything();
    let outside = host.base.join("elsewhere");
    let runners = [
        host.runner("actions-runner-1").named("configured").build(),
        host.runner("actions-runner-2").named("jit").jit().build(),
        host.runner("actions-runner-3").named("forgotten").without_dot_runner().build(),
        host.runner("actions-runner-4").plain_bin().build(),
        host.runner("actions-runner-5").work_folder(outside.join("absolute")).build(),
        host.runner("actions-runner-6").work_folder("../../elsewhere/relative").build(),
        host.runner("actions-runner-7").named("windows-minded").crlf().build(),
        host.runner("actions-runner-8").work_folder("nested/_work").build(),
    ];
    assert_eq!(runners[2].name, "actions-runner-3", "without `.runner` the directory names it");
    assert_eq!(runners[5].work, outside.join("relative"));
    let caches: Vec<_> =
        runners.iter().map(|runner| runner.cache("acme/widgets", "target", MIB, 2 * DAY)).collect();
    // What is no runner, although its name fits.
    std::fs::create_dir(host.runners().join("actions-runner-decoy")).expect("our own directory");
    std::fs::write(host.runners().join("actions-runner-file"), "").expect("our own file");
    symlink("nowhere", host.runners().join("actions-runner-dangling")).expect("our own link");

    let status = host.status();
    assert_eq!(status.0["runners"].as_array().map(Vec::len), Some(runners.len()), "{:#}", status.0);
    for (runner, cache) in runners.iter().zip(&caches) {
        let shown = status.runner(&runner.name);
        assert_eq!(shown["root"], runner.root.to_str().unwrap());
        assert_eq!(shown["work"], runner.work.to_str().unwrap());
        assert_eq!((&shown["state"], &shown["guarded"]), (&"idle".into(), &true.into()), "{shown:#}");
        assert_eq!(shown["caches"][0]["path"], cache.to_str().unwrap(), "{shown:#}");
    }
    let sweep = host.sweep();
    for cache in &caches {
        assert_eq!(sweep.outcome(cache), "removed", "{:#}", sweep.0);
        assert!(!cache.exists() && cache.parent().unwrap().join("Cargo.toml").exists());
    }
}

#[test]
fn a_work_folder_that_is_not_the_runners_own_is_refused() {
    if !kit::sees_everything() {
        return;
    }
    let host = host_that_wants_everything();
    let everything = host.runner("actions-runner-1").work_folder("/").build();
    let itself = host.runner("actions-runner-2").work_folder(".").build();
    // Trees that would be caches of theirs if such a work folder counted.
    let traps = [everything.root.join("_work/r/r/target"), itself.root.join("r/r/target")];
    traps.iter().for_each(|trap| plant_cache(trap, MIB, 2 * DAY));
    let canaries = traps.each_ref().map(|trap| Canary::of(trap));
    let control = host.runner("actions-runner-3").build().cache("acme/widgets", "target", MIB, 2 * DAY);
    for runner in [&everything, &itself] {
        assert_eq!(host.status().runner(&runner.name)["state"], "unknown");
        host.guard(&["check", "--runner", &runner.name]).expect_code(&[11]);
    }
    let sweep = host.sweep();
    canaries.iter().for_each(Canary::assert_intact);
    // A runner that claims the whole disk shares the fate of all; without it the others are judged by themselves.
    if sweep.outcome(&control) != "removed" {
        std::fs::remove_dir_all(&everything.root).expect("our own directory");
        assert_eq!(host.sweep().outcome(&control), "removed");
    }
}

#[test]
fn runners_that_share_a_work_directory_share_its_fate() {
    if !kit::sees_everything() {
        return;
    }
    let host = host_that_wants_everything();
    let shared = host.base.join("shared/_work");
    let one = host.runner("actions-runner-1").work_folder(&shared).build();
    let two = host.runner("actions-runner-2").work_folder("../../shared/_work").build();
    let alone = host.runner("actions-runner-3").build();
    let cache = one.cache("acme/widgets", "target", MIB, 2 * DAY);
    let control = alone.cache("acme/widgets", "target", MIB, 2 * DAY);
    let canary = Canary::of(&cache);
    let mut listener = two.listen();
    // Its job has another repository; what is shared is shared.
    let job = listener.begin_job("acme/other");
    for name in [&one.name, &two.name] {
        assert_eq!(host.status().runner(name)["state"], "busy", "{name}");
    }
    let sweep = host.sweep();
    assert_eq!(sweep.outcome(&cache), "kept");
    assert_eq!(sweep.outcome(&control), "removed", "{:#}", sweep.0);
    canary.assert_intact();
    job.finish(&mut listener);
    assert_eq!(host.sweep().outcome(&cache), "removed", "and it is planned once, not once for each");
}

#[test]
fn a_runner_is_not_mistaken_for_one_with_the_same_name_prefix() {
    if !kit::sees_everything() {
        return;
    }
    for (busy, idle) in [("actions-runner-1", "actions-runner-10"), ("actions-runner-10", "actions-runner-1")]
    {
        let host = host_that_wants_everything();
        let (busy, idle) = (host.runner(busy).build(), host.runner(idle).build());
        let kept = busy.cache("acme/widgets", "target", MIB, 2 * DAY);
        let gone = idle.cache("acme/widgets", "target", MIB, 2 * DAY);
        let canary = Canary::of(&kept);
        let mut listener = busy.listen();
        let job = listener.begin_job("acme/widgets");
        let sweep = host.sweep();
        assert_eq!((sweep.outcome(&kept), sweep.outcome(&gone)), ("kept", "removed"), "{:#}", sweep.0);
        canary.assert_intact();
        job.finish(&mut listener);
    }
}

#[test]
fn a_glob_without_matches_is_reported() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = host_that_wants_everything();
    let cache = host.runner("actions-runner-1").build().cache("acme/widgets", "target", MIB, 2 * DAY);
    let nothing = host.base.join("no-such-place/actions-runner*");
    host.configure(|settings| settings.roots.push(nothing.to_str().unwrap().to_owned()));
    for command in [["status"], ["plan"], ["sweep"]] {
        let run = host.guard(&command).expect_code(&[0, 20]);
        let said = run.stdout() + &run.stderr();
        assert!(said.contains("no-such-place/actions-runner*"), "{command:?} is silent about it:\n{said}");
    }
    assert!(!cache.exists(), "the other glob still works");
}

#[test]
fn a_runner_that_vanishes_meanwhile_is_no_error() {
    if !kit::sees_everything() {
        return;
    }
    let host = host_that_wants_everything();
    let vanishing = host.runner("actions-runner-1").build();
    vanishing.cache("acme/widgets", "target", MIB, 2 * DAY);
    let cache = host.runner("actions-runner-2").build().cache("acme/widgets", "target", MIB, 2 * DAY);
    let stopped = Stopped::at(&host.call(&["sweep", "--json"]), |call| {
        [libc::SYS_openat, libc::SYS_openat2].contains(&call.number)
            && call.text(1).ends_with("actions-runner-1")
    });
    std::fs::remove_dir_all(&vanishing.root).expect("our own directory");
    let report = stopped.release().expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&cache), "removed", "{:#}", report.0);
}

#[test]
fn hostile_names_are_shown_and_never_obeyed() {
    let host = host_that_wants_everything();
    let own = host.runner("actions-runner-1").named("nice\n::error::named").build();
    let busy = host.runner("actions-runner-2").named("##[add-mask]named\u{1b}[2J\r::error::x").build();
    let names: [&[u8]; 4] = [
        b"target-\n::error::cache",
        b"target-##[add-mask]cache",
        b"target-\xff\xfe",
        b"target-\x1b[31m\r::add-mask::x",
    ];
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for (runner, list) in [(&own, &mut gone), (&busy, &mut kept)] {
        let checkout = runner.checkout("acme/widgets");
        for name in names {
            let cache = checkout.join(OsStr::from_bytes(name));
            plant_cache(&cache, MIB / 8, 2 * DAY);
            list.push(cache);
        }
    }
    let mut listener = busy.listen();
    let other = listener.begin_job("acme/widgets");

    for command in [vec!["status"], vec!["plan"], vec!["sweep", "--dry-run"]] {
        let run = host.guard(&command).expect_code(&[0, 20]);
        assert_harmless(&run.stdout, &run.stderr);
        assert!(run.stdout().contains("add-mask"), "{command:?} shows them, escaped:\n{}", run.stdout());
    }
    let plan = host.plan();
    let exact: Vec<&str> =
        plan.0["actions"].as_array().unwrap().iter().filter_map(|a| a["path_bytes"].as_str()).collect();
    assert_eq!(exact.len(), 2, "the two that are not UTF-8 are there exactly: {:#}", plan.0);

    let mut own_listener = own.listen();
    let mut job = own_listener.begin_job("acme/widgets");
    let hook = job.hook_started();
    assert_harmless(&hook.stdout, &hook.stderr);
    let hook = hook.expect_ok();
    assert!(gone.iter().all(|cache| !cache.exists()), "{}", hook.text());
    assert!(kept.iter().all(|cache| cache.exists()));
    drop(other);
}

/// Nothing the runner would obey, and no control character but line ends.
#[track_caller]
fn assert_harmless(stdout: &[u8], stderr: &[u8]) {
    let parsed = parse_as_runner(stdout, stderr);
    parsed.assert_safe();
    for stream in [stdout, stderr] {
        let bad = stream.iter().find(|byte| byte.is_ascii_control() && !b"\n\t".contains(byte));
        assert_eq!(bad, None, "a raw control character in:\n{}", String::from_utf8_lossy(stream));
        assert!(std::str::from_utf8(stream).is_ok(), "output is UTF-8");
    }
}
