//! Who does not see every process cannot prove that a sibling is idle.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{self, Call, Canary, Holder, Host, MIB, SHARED_GID};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const ALICE: u32 = 12_001;
const BOB: u32 = 12_002;

/// `before` in front of the guard's command line.
fn wrapped(host: &Host, before: &[&str], command: &[&str]) -> Call {
    let call = host.call(command);
    let mut arguments: Vec<OsString> = before[1..].iter().map(OsString::from).collect();
    arguments.push(call.program.into());
    arguments.extend(call.arguments);
    Call { program: before[0].into(), arguments, user: None }
}

#[test]
fn a_foreign_pid_namespace_and_a_hiding_proc_leave_everything_unproved() {
    if !kit::needs_root("makes namespaces and mounts a /proc in one of them") {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    let runner = host.runner("actions-runner-1").user(ALICE, SHARED_GID).build();
    let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    // A new mount of /proc in a private namespace: a remount would hide processes from the whole computer.
    let hiding = format!(
        "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid {ALICE} --regid {SHARED_GID} --clear-groups \"$0\" \"$@\""
    );
    for before in [
        vec!["/usr/bin/unshare", "--pid", "--fork", "--mount-proc"],
        vec!["/usr/bin/unshare", "--mount", "--propagation", "private", "sh", "-c", &hiding],
    ] {
        let report = wrapped(&host, &before, &["plan", "--json"]).run().expect_code(&[0, 20]).report();
        assert_eq!(report.outcome(&cache), "kept", "{before:?}: {:#}", report.0);
        assert!(report.evidence(&cache).contains("visibility"), "{before:?}: {:#}", report.action(&cache));
    }
    let sweep = host.sweep();
    assert_eq!(sweep.outcome(&cache), "removed", "who sees everything may: {:#}", sweep.0);
    assert_eq!(host.status().0["visibility"]["state"], "complete");
}

#[test]
fn an_ordinary_user_gets_one_reason_when_the_leases_are_unreadable() {
    if !kit::needs_root("runs the guard as another user") {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    let runner = host.runner("actions-runner-1").user(ALICE, SHARED_GID).build();
    let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o750);
    std::fs::set_permissions(host.run_dir(), closed).expect("our own directory");
    let call = Call { user: Some((BOB, BOB)), ..host.call(&["status", "--json"]) };
    let seen = call.run().expect_code(&[0]).report();
    let reasons: Vec<&str> = seen.0["visibility"]["reasons"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it.as_str())
        .collect();
    let closed = format!("leases cannot be read: {} is closed to this user", host.run_dir().display());
    assert_eq!(reasons.iter().filter(|reason| **reason == closed).count(), 1, "{reasons:?}");
    assert!(reasons.iter().filter(|reason| reason.contains("Permission denied")).count() <= 1, "{reasons:?}");
    assert_eq!(host.sweep().outcome(&cache), "removed", "root sees all of it");
}

#[test]
fn doctor_reports_the_options_of_the_proc_in_use_alone() {
    if !kit::needs_root("mounts procfs with hidepid in a private namespace") {
        return;
    }
    let host = Host::new();
    host.runner("actions-runner-1").user(ALICE, SHARED_GID).build();
    let beside = host.runners().parent().expect("a parent").join("beside");
    std::fs::create_dir(&beside).expect("our own directory");
    let odd = "odd=$1/$(printf 'mount\\377'); mkdir \"$odd\" && mount -t tmpfs none \"$odd\"";
    let hide = "mount -t proc -o hidepid=2 proc";
    for (mounts, state) in [
        ("true".to_owned(), "ok"),
        (format!("{hide} \"$1\""), "ok"),
        (format!("{hide} /proc"), "warn"),
        (format!("{odd} && {hide} /proc"), "warn"),
    ] {
        let script = format!("({mounts}) && shift && exec \"$@\"");
        let private = ["/usr/bin/unshare", "--mount", "--propagation", "private", "sh", "-c"];
        let before = [&private[..], &[&script, "sh", beside.to_str().unwrap()]].concat();
        let doctor = wrapped(&host, &before, &["doctor", "--json"]).run().expect_code(&[0, 1]).report();
        let checks = doctor.0["checks"].as_array().expect("a list");
        let found = checks.iter().find(|check| check["id"] == "visibility-hooks").expect("that check");
        assert_eq!(found["state"], state, "{mounts}: {found:#}");
        let _ = std::fs::remove_dir(beside.join(OsStr::from_bytes(b"mount\xff")));
    }
}

#[test]
fn an_unprivileged_hook_cannot_clear_a_sibling_of_another_user() {
    if !kit::needs_root("runs runners as two users") {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    let own = host.runner("actions-runner-1").user(ALICE, SHARED_GID).build();
    let other = host.runner("actions-runner-2").user(BOB, SHARED_GID).build();
    let own_cache = own.cache("acme/gadgets", "target", MIB, 2 * DAY);
    let other_cache = other.cache("acme/widgets", "target", MIB, 2 * DAY);
    let canary = Canary::of(&other_cache);
    // What this process does is hidden from Alice.
    let mut inside = Command::new("setpriv");
    inside.args(["--reuid", &BOB.to_string(), "--regid", &SHARED_GID.to_string(), "--clear-groups"]);
    inside.args(["sh", "-c", "echo holding; exec cat"]).current_dir(&other_cache);
    let inside = Holder::run(&mut inside);

    let mut listener = own.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    assert!(!own_cache.exists(), "its own cache is within its power");
    canary.assert_intact();
    job.finish(&mut listener);
    drop(inside);
    assert_eq!(host.sweep().outcome(&other_cache), "removed", "root sees that it is idle");
}

#[test]
fn a_process_too_deep_to_be_named_protects_the_runner_it_is_in_and_no_other() {
    if !kit::sees_everything() {
        return;
    }
    for what in ["deep", "deep-open"] {
        let mut host = Host::new();
        host.configure(|settings| settings.want_everything());
        let subject = host.runner("actions-runner-1").build();
        let cache = subject.cache("acme/widgets", "target", MIB, 2 * DAY);
        let neighbour = host.runner("actions-runner-2").build();
        let neighbour = neighbour.cache("acme/gadgets", "target", MIB, 2 * DAY);
        let canary = Canary::of(&cache);
        let elsewhere = Holder::new(what, &host.base);
        if what == "deep" {
            let named = std::fs::read_link(format!("/proc/{}/cwd", elsewhere.pid()));
            assert_eq!(named.unwrap_err().raw_os_error(), Some(nix::libc::ENAMETOOLONG));
        }
        let inside = Holder::new(what, &subject.work.join("_temp"));
        let sweep = host.sweep();
        assert_eq!(sweep.outcome(&cache), "kept", "{what}: {:#}", sweep.0);
        canary.assert_intact();
        assert_eq!(sweep.outcome(&neighbour), "removed", "{what}: {:#}", sweep.0);
        drop(inside);
        let sweep = host.sweep();
        assert_eq!(sweep.outcome(&cache), "removed", "{what}: {:#}", sweep.0);
    }
}
