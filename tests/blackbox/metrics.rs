//! What monitoring is told: counters of all users that survive reboots and full disks, and a file that node_exporter takes.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{self, Fs, Host, MIB, SHARED_GID, fill_bytes};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const ALICE: u32 = 12_001;
const BOB: u32 = 12_002;

/// Every disk is under pressure, and runners run as Alice.
fn pressed() -> Host {
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    host.runner_user = Some((ALICE, SHARED_GID));
    host
}

fn metrics(host: &Host) -> String {
    host.guard(&["metrics"]).expect_code(&[0]).stdout()
}

/// The value of one series; `None` when it is not there.
fn value(text: &str, series: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines
        .find(|(name, _)| *name == format!("disk_guard_{series}"))
        .map(|(_, value)| value.parse().expect("a number"))
}

fn pending(host: &Host) -> usize {
    std::fs::read_dir(host.run_dir().join("counters")).map_or(0, Iterator::count)
}

/// `promtool check metrics`; what is missing is said.
fn check(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let _ = std::io::stderr()
                .write_all(b"skipped, not installed: promtool (apt-get install prometheus)\n");
            return;
        }
        child => child.expect("promtool starts"),
    };
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
}

const RECLAIMED: &str =
    r#"reclaimed_bytes_total{runner="actions-runner-1",rule="cargo-target",reason="pressure"}"#;
const HOOKS: &str = r#"hook_duration_seconds_count{hook="started"}"#;

#[test]
fn counts_of_an_unprivileged_hook_are_reported_at_once_folded_once_and_kept_across_a_boot() {
    if !kit::sees_everything() {
        return;
    }
    let host = pressed();
    let runner = host.runner("actions-runner-1").build();
    runner.cache("acme/app", "target", 2 * MIB, DAY);
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/widgets");
    assert_eq!(value(&metrics(&host), HOOKS), Some(0.0));
    job.hook_started().expect_ok();
    let text = metrics(&host);
    let reclaimed = value(&text, RECLAIMED).expect("the hook has freed something");
    assert!(reclaimed >= 2.0 * MIB as f64, "{text}");
    assert_eq!(value(&text, HOOKS), Some(1.0));
    assert_eq!(
        value(&text, r#"lock_wait_seconds_count{mode="shared"}"#),
        value(&text, r#"lock_wait_seconds_bucket{mode="shared",le="+Inf"}"#)
    );
    assert_eq!(value(&text, r#"runner_state{runner="actions-runner-1",state="busy"}"#), Some(1.0), "{text}");
    assert_eq!(value(&text, "last_sweep_success"), None, "there was none");
    check(&text);
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
    assert!(pending(&host) >= 2);

    host.sweep();
    assert_eq!(pending(&host), 0, "all of it is folded");
    let text = metrics(&host);
    assert_eq!((value(&text, RECLAIMED), value(&text, HOOKS)), (Some(reclaimed), Some(1.0)), "{text}");
    assert_eq!(value(&text, r#"hook_duration_seconds_count{hook="completed"}"#), Some(1.0));
    assert_eq!(value(&text, "last_sweep_success"), Some(1.0));
    check(&text);

    // Another boot: nothing is left in the shared directory.
    std::fs::remove_dir_all(host.run_dir().join("counters")).expect("our own");
    assert_eq!(value(&metrics(&host), RECLAIMED), Some(reclaimed));
    host.sweep();
    assert_eq!(value(&metrics(&host), RECLAIMED), Some(reclaimed));
}

#[test]
fn unreadable_counts_are_left_out_and_the_rest_is_reported() {
    let host = Host::new();
    host.runner("actions-runner-1").build();
    host.sweep();
    let state = host.state_dir();
    let present = r#"runner_state{runner="actions-runner-1",state="idle"}"#;
    let healthy = metrics(&host);
    assert!(value(&healthy, "last_sweep_success").is_some() && value(&healthy, present).is_some());
    let put_back = state.with_extension("aside");
    for place in [state.join("counters/totals.json"), state.join("counters"), state.clone()] {
        for kind in ["a FIFO", "a file", "a link to itself"] {
            if kind == "a file" && place.extension().is_some() {
                continue;
            }
            std::fs::rename(&place, &put_back).expect("our own");
            match kind {
                "a FIFO" => nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO"),
                "a file" => std::fs::write(&place, "x").expect("a file"),
                _ => symlink(&place, &place).expect("a link"),
            }
            let run = host.guard(&["metrics"]).expect_code(&[0]);
            let (text, said) = (run.stdout(), run.stderr());
            assert!(said.contains("the counts of earlier runs are left out"), "{place:?}, {kind}: {said}");
            assert!(said.contains(&state.display().to_string()) || said.contains("counters"), "{said}");
            assert!(value(&text, present).is_some(), "{place:?}, {kind}: {text}");
            // Zeros would look like a restart of all counts.
            for absent in ["_total{", "_total ", "hook_duration_seconds", "last_sweep"] {
                assert!(!text.contains(absent), "{place:?}, {kind}: {text}");
            }
            check(&text);
            std::fs::remove_file(&place).expect("our own");
            std::fs::rename(&put_back, &place).expect("our own");
        }
    }
    assert!(value(&metrics(&host), "last_sweep_success").is_some(), "with the counts back they are told");
}

#[test]
fn a_record_counts_for_its_owners_runners_alone() {
    if !kit::sees_everything() {
        return;
    }
    let host = pressed();
    host.runner("actions-runner-1").build();
    let forge = |name: &str, owner: u32| {
        let path = host.run_dir().join("counters").join(name);
        let record = r#"{"version":1,"counts":[["reclaimed",["actions-runner-1","cargo-target","pressure"],5000],["actions",["removed"],18446744073709551615],["actions",["\ninvented 1"],7]],"timings":[["hook-started",18446744073709551615]],"sweep":{"at":99999999999,"took":1,"success":true,"goal_met":true}}"#;
        std::fs::write(&path, format!("{record}\n")).expect("our own");
        chown(&path, Some(owner), None).expect("root gives away");
    };
    forge("1-forged", BOB);
    std::fs::write(host.run_dir().join("counters/2-junk"), "disk_guard_actions_total 1e9\n")
        .expect("our own");
    symlink("/etc/passwd", host.run_dir().join("counters/3-link")).expect("our own");
    let text = metrics(&host);
    assert_eq!(value(&text, RECLAIMED), None, "{text}");
    assert_eq!(value(&text, "last_sweep_timestamp_seconds"), None);
    assert_eq!(value(&text, HOOKS), Some(0.0), "longer than a day");
    assert!(!text.contains("invented"), "{text}");
    check(&text);
    host.sweep();
    assert_eq!(value(&metrics(&host), RECLAIMED), None);
    let removed = value(&metrics(&host), r#"actions_total{outcome="removed"}"#).expect("it is always there");
    assert!(removed <= 1000.0, "one record counts so much and no more: {removed}");

    forge("4-own", ALICE);
    assert_eq!(value(&metrics(&host), RECLAIMED), Some(5000.0), "the control");
    host.sweep();
    assert_eq!(value(&metrics(&host), RECLAIMED), Some(5000.0));
}

#[test]
fn a_sweep_writes_the_text_file_whole_in_a_links_place() {
    let mut host = Host::new();
    let directory = host.base.join("textfile");
    let file = directory.join("disk-guard.prom");
    host.configure(|settings| settings.extra = format!("[metrics]\ntextfile = {:?}\n", file));
    host.runner("actions-runner-1").named("a \"b\"\\\n{c=\u{202e}} 1").build();
    host.runner("actions-runner-2").named("twin").build().cache("acme/app", "target", MIB, DAY);
    host.runner("actions-runner-3").named("twin").build().cache("acme/app", "target", MIB, DAY);

    let run = host.guard(&["sweep"]).expect_code(&[0]);
    assert!(
        run.stderr().contains("metrics.textfile") && run.stderr().contains("does not exist"),
        "{}",
        run.stderr()
    );

    std::fs::create_dir(&directory).expect("our own");
    let victim = host.base.join("victim");
    std::fs::write(&victim, "precious").expect("our own");
    symlink(&victim, &file).expect("our own");
    let run = host.guard(&["sweep"]).expect_code(&[0]);
    assert!(!run.stderr().contains("metrics.textfile"), "{}", run.stderr());
    assert_eq!(std::fs::read_to_string(&victim).expect("it is there"), "precious");
    let metadata = std::fs::symlink_metadata(&file).expect("it is there");
    assert!(metadata.is_file() && metadata.permissions().mode() & 0o7777 == 0o644);
    assert_eq!(std::fs::read_dir(&directory).expect("our own").count(), 1, "no draft is left");
    let text = std::fs::read_to_string(&file).expect("text");
    assert!(text.ends_with('\n') && text.contains("disk_guard_last_sweep_success 1\n"), "{text}");
    assert!(text.contains("twin in "), "{text}");
    let roots = format!("root_matches{{root=\"{}/*\"}}", host.runners().display());
    assert_eq!(value(&text, &roots), Some(3.0), "{text}");
    check(&text);
}

/// The state directory's disk is full when there is most to count.
#[test]
fn on_a_full_disk_counts_wait_for_room() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = pressed();
    let state = host.state_dir();
    host.mount(Fs::Tmpfs { mib: 1, inodes: 64 }, &state);
    let runner = host.runner("actions-runner-1").build();
    runner.cache("acme/app", "target", MIB, DAY);
    fill_bytes(&state.join("full"));
    let run = host.guard(&["sweep", "--json"]).expect_code(&[0, 20]);
    assert!(run.stderr().contains("for the next sweep"), "{}", run.stderr());
    let before = value(&metrics(&host), r#"lock_wait_seconds_count{mode="shared"}"#).expect("always there");
    assert!(pending(&host) > 0 && before > 0.0);
    assert_eq!(value(&metrics(&host), "last_sweep_success"), Some(1.0), "told from what is pending");
    std::fs::remove_file(state.join("full")).expect("our own");
    host.sweep();
    assert_eq!(pending(&host), 0);
    let after = value(&metrics(&host), r#"lock_wait_seconds_count{mode="shared"}"#).expect("always there");
    assert!(after > before, "the first sweep's and the second's: {before} {after}");
}

#[test]
fn metrics_are_printed_without_any_state() {
    let host = Host::new();
    std::fs::remove_dir_all(host.run_dir()).expect("our own");
    let text = metrics(&host);
    assert_eq!(value(&text, r#"actions_total{outcome="removed"}"#), Some(0.0));
    assert!(!Path::new(&host.run_dir()).exists(), "looking makes nothing");
    check(&text);
}
