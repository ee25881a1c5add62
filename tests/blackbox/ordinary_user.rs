//! What a user sees who is neither root nor in the group: a plain sentence about that, and no claim about what was not looked at.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Call, Fs, Host, MIB, Run, needs_root};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Someone with no right to anything of the host.
const STRANGER: (u32, u32) = (65_534, 65_534);

fn as_stranger(host: &Host, arguments: &[&str]) -> Run {
    Call { user: Some(STRANGER), ..host.call(arguments) }.run()
}

/// A host with a runner in a directory that is closed to others, as homes are.
fn closed_host() -> Host {
    let mut host = Host::on(Fs::Tmpfs { mib: 100, inodes: 20_000 });
    host.configure(|settings| settings.max_age = "7d");
    let runner = host.runner("actions-runner-1").build();
    runner.cache("acme/app", "target", 8 * MIB, 9 * DAY);
    std::fs::set_permissions(host.runners(), std::fs::Permissions::from_mode(0o700)).expect("it is ours");
    for name in ["run/leases", "run/requests", "run/tickets", "run/counters"] {
        std::fs::set_permissions(host.base.join(name), std::fs::Permissions::from_mode(0o700))
            .expect("it is ours");
    }
    host
}

#[test]
fn a_user_who_may_not_look_is_told_to_be_root_and_nothing_is_called_clean() {
    if !needs_root("runs the guard as another user") {
        return;
    }
    let host = closed_host();
    let status = as_stranger(&host, &["status"]).expect_code(&[0]).stdout();
    assert!(status.contains("run as root") && !status.contains("not matched by runners.roots"), "{status}");
    let audit = as_stranger(&host, &["audit"]).expect_code(&[1]);
    assert!(audit.stdout().contains("no runner was found") && !audit.stdout().contains("clean"), "{audit:?}");
    assert!(audit.stdout().contains("run as root"), "{}", audit.stdout());
    let doctor = as_stranger(&host, &["doctor"]).expect_code(&[1]).stdout();
    assert!(doctor.contains("this user sees no runner"), "{doctor}");
    assert!(!doctor.contains("add the runners' directories"), "{doctor}");
    let check = as_stranger(&host, &["check", "--runner", "actions-runner-1"]).expect_code(&[1]).stderr();
    assert!(check.contains("there is no runner `actions-runner-1`; no runner is found at all"), "{check}");
    let postmortem = as_stranger(&host, &["postmortem"]).expect_code(&[0]).stdout();
    assert!(postmortem.contains("nothing was examined"), "{postmortem}");

    // The control: root sees the same host.
    let audit = host.guard(&["audit"]).stdout();
    assert!(audit.contains("\nactions-runner-1: idle"), "{audit}");
    let status = host.guard(&["status"]).expect_code(&[0]).stdout();
    assert!(status.contains("actions-runner-1") && !status.contains("run as root"), "{status}");
}

#[test]
fn a_sweep_by_a_user_who_may_not_take_the_lock_ends_with_one_line() {
    if !needs_root("runs the guard as another user") {
        return;
    }
    let host = closed_host();
    let sweep = as_stranger(&host, &["sweep"]).expect_code(&[1]);
    assert_eq!(sweep.stderr().lines().count(), 1, "{}", sweep.stderr());
    assert!(sweep.stderr().contains("run as root") && sweep.stdout().is_empty(), "{sweep:?}");
    let freed = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
    assert!(freed.0["freed_bytes"].as_u64() >= Some(8 * MIB), "the control: {:#}", freed.0);
}
