//! `doctor`: a host that is set up well passes, and each thing that is wrong is named with its fix.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Canary, Fs, Holder, Host, Systemd, needs_root};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A host on which nothing is wrong: wired, swept, armed.
fn well() -> (Host, Systemd) {
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let systemd = Systemd::on(&mut host);
    systemd.unit("disk-guard-sweep.timer", "/".as_ref());
    systemd.unit("disk-guard-request.path", "/".as_ref());
    host.runner("actions-runner-1").build();
    host.sweep();
    (host, systemd)
}

fn checks(host: &Host, code: i32) -> Vec<Value> {
    let report = host.guard(&["doctor", "--json"]).expect_code(&[code]).report().0;
    report["checks"].as_array().expect("a list").clone()
}

#[track_caller]
fn find<'c>(checks: &'c [Value], id: &str) -> &'c Value {
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id} in {checks:#?}"))
}

#[test]
fn a_host_that_is_set_up_well_passes() {
    if !needs_root("the shared directories are root's") {
        return;
    }
    let (host, _systemd) = well();
    let checks = checks(&host, 0);
    for id in [
        "configuration",
        "runners",
        "kernel",
        "visibility",
        "run-dir",
        "lock-file",
        "leases",
        "requests",
        "lock",
        "last-sweep",
        "timer",
        "path-unit",
        "hook:actions-runner-1",
        "completed-hook:actions-runner-1",
        "member:actions-runner-1",
    ] {
        assert_eq!(find(&checks, id)["state"], "ok", "{:#}", find(&checks, id));
    }
    assert!(checks.iter().any(|check| check["id"].as_str().is_some_and(|id| id.starts_with("filesystem:"))
        && check["state"] == "ok"));
    assert!(checks.iter().all(|check| (check["state"] == "ok") == check["fix"].is_null()), "{checks:#?}");
    let text = host.guard(&["doctor"]).expect_code(&[0]).stdout();
    assert!(text.contains("0 fail"), "{text}");
}

#[test]
fn each_fault_is_named_with_its_fix() {
    if !needs_root("the shared directories are root's") {
        return;
    }
    type Break = fn(&mut Host, &Systemd);
    let faults: [(&str, &str, &str, Break); 14] = [
        ("hook:actions-runner-2", "fail", "correct the line", |host, _| {
            // The runner trims nothing.
            let env = format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={} \n", host.started_script().display());
            host.runner("actions-runner-2").env(&env).build();
        }),
        ("hook:actions-runner-2", "fail", "correct the line", |host, _| {
            let env = format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={}\n", host.base.join("hooks.sh").display());
            std::fs::create_dir(host.base.join("hooks.sh")).expect("our own directory");
            host.runner("actions-runner-2").env(&env).build();
        }),
        ("completed-hook:actions-runner-2", "fail", "correct the line", |host, _| {
            let (started, lost) = (host.started_script(), host.base.join("none.sh"));
            let env = format!(
                "ACTIONS_RUNNER_HOOK_JOB_STARTED={}\nACTIONS_RUNNER_HOOK_JOB_COMPLETED={}\n",
                started.display(),
                lost.display()
            );
            host.runner("actions-runner-2").env(&env).build();
        }),
        ("hook:actions-runner-2", "fail", "disk-guard install", |host, _| {
            host.runner("actions-runner-2").unguarded().build();
        }),
        ("completed-hook:actions-runner-2", "warn", "disk-guard install", |host, _| {
            let env = format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={}\n", host.started_script().display());
            host.runner("actions-runner-2").env(&env).build();
        }),
        ("hook:actions-runner-1", "fail", "disk-guard install", |host, _| {
            std::fs::remove_file(host.started_script()).expect("it is ours");
        }),
        ("hook:actions-runner-1", "fail", "chmod", |host, _| chmod(&host.started_script(), 0o700)),
        ("requests", "fail", "systemd-tmpfiles", |host, _| chmod(&host.run_dir().join("requests"), 0o777)),
        ("leases", "fail", "systemd-tmpfiles", |host, _| {
            std::fs::remove_dir(host.run_dir().join("leases")).expect("it is empty");
        }),
        ("lock-file", "fail", "systemd-tmpfiles", |host, _| chmod(&host.host_lock(), 0o666)),
        ("glob:/nonexistent/runner-*", "warn", "runners.roots", |host, _| {
            host.configure(|settings| settings.roots.push("/nonexistent/runner-*".into()));
        }),
        ("runners", "fail", "runners.roots", |host, _| {
            host.configure(|settings| settings.roots = vec!["/nonexistent/runner-*".into()]);
        }),
        ("timer", "fail", "systemctl enable --now", |_, systemd| {
            let unit = systemd.directory.join("units/disk-guard-sweep.timer/ActiveState");
            std::fs::write(unit, "inactive\n").expect("ours");
        }),
        ("last-sweep", "warn", "disk-guard sweep", |host, systemd| {
            std::fs::remove_dir_all(host.state_dir().join("sweep")).expect("it is ours");
            let unit = systemd.directory.join("units/disk-guard-sweep.timer/LastTriggerUSec");
            std::fs::write(unit, "Sat 2026-11-21 09:45:00 UTC\n").expect("ours");
        }),
    ];
    for (id, state, fix, fault) in faults {
        let (mut host, systemd) = well();
        fault(&mut host, &systemd);
        let checks = checks(&host, i32::from(state == "fail"));
        let check = find(&checks, id);
        assert_eq!(check["state"], state, "{check:#}");
        assert!(check["fix"].as_str().is_some_and(|text| text.contains(fix)), "{check:#}");
    }
    // Right after the package has come its timer has not fired yet, and nothing is wrong with that.
    let (host, _systemd) = well();
    std::fs::remove_dir_all(host.state_dir().join("sweep")).expect("it is ours");
    let checks = checks(&host, 0);
    assert_eq!(find(&checks, "last-sweep")["state"], "ok", "{checks:#?}");
}

fn chmod(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
}

#[test]
fn an_invalid_configuration_is_a_finding_and_no_crash() {
    let (host, _systemd) = well();
    std::fs::write(host.config(), "[pressure]\nhihg = 5\n").expect("our own file");
    let checks = checks(&host, 1);
    assert_eq!(
        (checks.len(), &checks[0]["id"], &checks[0]["state"]),
        (1, &"configuration".into(), &"fail".into())
    );
    assert!(checks[0]["detail"].as_str().is_some_and(|detail| detail.contains("hihg")));
}

#[test]
fn a_listener_older_than_its_env_file_is_reported_with_its_unit() {
    if !needs_root("units are root's") {
        return;
    }
    let (host, systemd) = well();
    let runner = host.runner("actions-runner-2").build();
    let unit = systemd.unit_of(&runner);
    let _listener = runner.listen();
    let later = std::time::Duration::from_secs(60);
    let env = std::fs::File::options().append(true).open(runner.root.join(".env")).expect("it is there");
    env.set_modified(env.metadata().and_then(|m| m.modified()).expect("a time") + later).expect("it is ours");
    let checks = checks(&host, 1);
    assert_eq!(find(&checks, "hook:actions-runner-2")["fix"], format!("systemctl restart {unit}"));
}

#[test]
fn a_lock_that_is_held_is_waited_for_briefly_and_nothing_is_changed() {
    if !needs_root("the shared directories are root's") {
        return;
    }
    let (host, _systemd) = well();
    checks(&host, 0);
    let canaries = [host.run_dir(), host.state_dir(), host.runners().join("actions-runner-1/_work/_tool")]
        .map(|p| Canary::of(&p));
    let _holder = Holder::new("flock", &host.host_lock());
    let begun = std::time::Instant::now();
    let checks = checks(&host, 0);
    assert_eq!(find(&checks, "lock")["state"], "warn", "{:#}", find(&checks, "lock"));
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    canaries.iter().for_each(Canary::assert_intact);
}

/// As a filesystem remounts itself when its disk fails.
#[test]
fn a_filesystem_that_has_become_read_only_is_a_fault() {
    if !needs_root("mounts") {
        return;
    }
    let (mut host, _systemd) = well();
    let runners = host.runners();
    host.mount(Fs::Tmpfs { mib: 64, inodes: 4000 }, &runners);
    host.runner("actions-runner-1").build();
    let remount = |how: &str| {
        let mounted = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&runners).status();
        assert!(mounted.expect("mount runs").success(), "{how}");
    };
    let id = format!("filesystem:{}", runners.display());
    let code = |state: &str| if state == "fail" { 1 } else { 0 };
    for (how, state) in [("rw", "ok"), ("ro", "fail"), ("rw", "ok")] {
        remount(how);
        let checks = checks(&host, code(state));
        let check = find(&checks, &id);
        assert_eq!(check["state"], state, "{how}: {check:#}");
        assert_eq!(check["detail"].as_str().is_some_and(|detail| detail.contains("read-only")), how == "ro");
    }
}
