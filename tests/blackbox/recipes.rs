//! The recipes by which other reapers ask first, against the real `disk-guard check` and its real exit codes.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Host, needs_root};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/recipes").join(name)
}

/// `disk-guard` with the host's configuration.
fn guard(host: &Host) -> PathBuf {
    let path = host.base.join("sbin/guard");
    let line =
        format!("#!/bin/sh\nexec {} --config {} \"$@\"\n", host.program().display(), host.config().display());
    std::fs::write(&path, line).expect("a script");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    path
}

fn ask(guard: &Path, arguments: &[&str]) -> Output {
    Command::new(recipe("ask-first.sh")).args(arguments).env("DISK_GUARD", guard).output().expect("it runs")
}

/// A Worker of somebody else's test makes every runner of the machine unknown for a moment: asked again until it is clear.
fn ask_until(guard: &Path, arguments: &[&str], code: i32) -> Output {
    for _ in 0..50 {
        let output = ask(guard, arguments);
        if output.status.code() == Some(code) {
            return output;
        }
    }
    panic!("{arguments:?} does not answer {code}: {:?}", ask(guard, arguments))
}

#[test]
fn a_delete_runs_for_an_idle_runner_and_for_no_other() {
    if !needs_root("proves a runner idle") {
        return;
    }
    let host = Host::new();
    let guard = guard(&host);
    let runner = host.runner("actions-runner-1").build();
    let flag = host.base.join("deleted");
    let delete = ["--", "touch", flag.to_str().expect("UTF-8")];
    let question = [&[runner.name.as_str()][..], &delete].concat();
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    let busy = ask_until(&guard, &question, 10);
    assert!(!flag.exists() && String::from_utf8_lossy(&busy.stderr).contains("left alone, busy"), "{busy:?}");
    let path = runner.root.join("_work").display().to_string();
    let by_path = [&["--path", path.as_str()][..], &delete].concat();
    ask_until(&guard, &by_path, 10);
    let rounds = || {
        let delete = host.base.join("delete.sh");
        std::fs::write(&delete, format!("#!/bin/sh\necho \"$1\" >>{}.list\n", flag.display()))
            .expect("a script");
        std::fs::set_permissions(&delete, PermissionsExt::from_mode(0o755)).expect("it is ours");
        let mut command = Command::new(recipe("reap-runners.sh"));
        command.arg(delete).args([&runner.name, "no-such-runner"]).env("DISK_GUARD", &guard);
        command.output().expect("it runs").status.code()
    };
    let list = host.base.join("deleted.list");
    assert_eq!((rounds(), list.exists()), (Some(1), false), "busy, and one that nobody knows");
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
    ask_until(&guard, &question, 0);
    assert!(flag.exists(), "the control");
    for _ in 0..50 {
        if list.exists() {
            break;
        }
        assert_eq!(rounds(), Some(1), "one could still not be asked about");
    }
    let deleted = std::fs::read_to_string(&list).expect("the idle one was deleted");
    assert!(deleted.lines().all(|line| line == runner.name), "{deleted}");
}

#[test]
fn every_other_answer_means_leave_it() {
    let host = Host::new();
    let guard = guard(&host);
    let flag = host.base.join("deleted");
    let fake = |shell: &str| {
        let path = host.base.join("sbin/fake");
        std::fs::write(&path, format!("#!/bin/sh\n{shell}\n")).expect("a script");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
        path
    };
    let delete = ["ci-1", "--", "touch", flag.to_str().expect("UTF-8")];
    for (shell, code) in [
        ("exit 11", 11),
        ("exit 10", 10),
        ("exit 1", 1),
        ("exit 3", 1),
        ("exit 75", 1),
        ("exit 127", 1),
        ("kill -9 $$", 1),
    ] {
        assert_eq!(ask(&fake(shell), &delete).status.code(), Some(code), "{shell}");
    }
    let hangs = Command::new(recipe("ask-first.sh"))
        .args(delete)
        .env("DISK_GUARD", fake("exec sleep 600"))
        .env("CHECK_TIMEOUT", "1")
        .output();
    assert_eq!(hangs.expect("it runs").status.code(), Some(1));
    assert_eq!(ask(Path::new("/nonexistent/disk-guard"), &delete).status.code(), Some(1));
    assert_eq!(ask(&guard, &["no-such-runner", "--", "touch", "/nonexistent"]).status.code(), Some(1));
    for wrong in [
        &["ci-1"][..],
        &[],
        &["ci-1", "touch"],
        &["ci-1", "--"],
        &["--path", "--", "x"],
        &["--what", "--", "x"],
    ] {
        assert_eq!(ask(&guard, wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert!(!flag.exists());
    assert_eq!(ask(&fake("exit 0"), &delete).status.code(), Some(0), "the control");
    assert!(flag.exists());
}
