//! `why`, `blame` and `history`: what was done is named with its evidence, the innocent are cleared, and what somebody else
//! has written in the guard's name is told apart.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Fs, Host, MIB, Report, Runner, SHARED_GID, fill_bytes, usage};
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const ALICE: u32 = 12_001;
const BOB: u32 = 12_002;

/// A host on which every idle cache is wanted, and the ledger's files have a place for everybody.
fn host() -> Host {
    let mut host = Host::new();
    host.configure(kit::Settings::want_everything);
    others_may_write(&host);
    host
}

fn others_may_write(host: &Host) {
    let others = host.state_dir().join("ledger.d");
    std::fs::create_dir_all(&others).expect("the state directory is ours");
    if nix::unistd::geteuid().is_root() {
        chown(&others, Some(0), Some(SHARED_GID)).expect("root gives away");
    }
    std::fs::set_permissions(&others, PermissionsExt::from_mode(0o1770)).expect("it is ours");
}

#[track_caller]
fn ask(host: &Host, arguments: &[&str]) -> Value {
    let Report(value) = host.guard(arguments).expect_code(&[0]).report();
    value
}

#[track_caller]
fn why(host: &Host, path: &Path) -> Value {
    ask(host, &["why", path.to_str().expect("UTF-8"), "--json"])
}

/// The same for people, on one line.
#[track_caller]
fn told(host: &Host, arguments: &[&str]) -> String {
    let text = host.guard(arguments).expect_code(&[0]).stdout();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn deeds(entries: &Value) -> Vec<&str> {
    entries.as_array().expect("a list").iter().map(|entry| entry["deed"].as_str().expect("text")).collect()
}

/// A host, its runner, and a cache of it that a sweep has removed.
fn after_a_sweep(host: &Host) -> (Runner, PathBuf) {
    let runner = host.runner("actions-runner-1").build();
    let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    assert_eq!(host.sweep().outcome(&cache), "removed");
    (runner, cache)
}

#[test]
fn a_removed_cache_is_named_with_its_evidence_and_its_run() {
    let host = host();
    let (runner, cache) = after_a_sweep(&host);
    let answer = why(&host, &cache);
    assert_eq!(answer["verdict"], "removed", "{answer:#}");
    assert_eq!(answer["runner"], runner.name.as_str());
    assert_eq!(deeds(&answer["entries"]), ["claimed", "removed"], "{answer:#}");
    let removed = &answer["entries"][1];
    assert_eq!(removed["scope"]["kind"], "sweep");
    assert_eq!(removed["reason"], "pressure");
    assert_eq!(removed["rule"], "cargo-target");
    assert!(removed["bytes"].as_u64().expect("a number") >= MIB);
    assert!(removed["evidence"].as_str().expect("text").contains("newest content 2 d old"), "{removed:#}");
    assert_eq!(removed["writer"]["uid"], nix::unistd::geteuid().as_raw());
    assert_ne!(removed["trust"], "foreign");
    assert_eq!(deeds(&answer["acts"][0]["entries"]), ["begun", "pressure", "claimed", "removed", "ended"]);

    for (path, verdict, relation) in [
        (cache.join("debug/deps/libwidget-0000.rlib"), "removed", "inside"),
        (runner.root.clone(), "removed-inside", "contains"),
        (runner.root.join("_work/../_work/widgets"), "removed-inside", "contains"),
    ] {
        let answer = why(&host, &path);
        assert_eq!(answer["verdict"], verdict, "{}", path.display());
        assert_eq!(answer["entries"][1]["relation"], relation, "{}", path.display());
    }
    let text = told(&host, &["why", cache.to_str().expect("UTF-8")]);
    assert!(text.starts_with("disk-guard removed "), "{text}");
    assert!(text.contains("because of pressure") && text.contains("by a sweep; written by"), "{text}");
}

#[test]
fn a_path_without_entries_is_cleared_with_what_was_deleted_instead() {
    if !kit::needs_root("only in root's state directory do all runs leave entries") {
        return;
    }
    let host = host();
    let (runner, cache) = after_a_sweep(&host);
    // Somebody else's deed, after the ledger began.
    let source = runner.work.join("widgets/widgets/src");
    std::fs::remove_dir_all(&source).expect("our own file");
    let answer = why(&host, &source);
    assert_eq!(answer["verdict"], "not-touched", "{answer:#}");
    assert_eq!(answer["present"], false);
    assert_eq!(answer["entries"].as_array().map(Vec::len), Some(0));
    assert_eq!(answer["runs"][0]["scope"]["kind"], "sweep", "{answer:#}");
    let done = answer["runs"][0]["entries"].as_array().expect("a list");
    assert!(done.iter().any(|entry| entry["path"] == cache.to_str().expect("UTF-8")), "{answer:#}");
    assert!(answer["coverage"]["complete_since"].is_string(), "{answer:#}");
    let text = told(&host, &["why", source.to_str().expect("UTF-8")]);
    assert!(text.starts_with("disk-guard did not touch "), "{text}");
    assert!(text.contains(cache.to_str().expect("UTF-8")), "the run beside it is told: {text}");
    assert_eq!(why(&host, &cache)["verdict"], "removed", "the control");
}

#[test]
fn a_ledger_that_does_not_reach_back_clears_nobody() {
    let host = host();
    let runner = host.runner("actions-runner-1").build();
    let checkout = runner.checkout("acme/widgets");
    std::fs::remove_dir_all(checkout.join("src")).expect("our own file");
    kit::grow_old(&checkout, DAY);
    let path = checkout.join("src");
    assert_eq!(why(&host, &path)["verdict"], "no-evidence", "an empty ledger");
    runner.cache("acme/other", "target", MIB, 2 * DAY);
    host.sweep();
    let answer = why(&host, &path);
    assert_eq!(answer["verdict"], "no-evidence", "it begins after the path was gone: {answer:#}");
    let text = told(&host, &["why", path.to_str().expect("UTF-8")]);
    assert!(text.contains("only reaches back to"), "{text}");
}

#[test]
fn without_a_place_for_other_users_hooks_nobody_is_cleared() {
    let host = host();
    let (runner, _) = after_a_sweep(&host);
    std::fs::remove_dir(host.state_dir().join("ledger.d")).expect("it is empty");
    let answer = why(&host, &runner.work.join("widgets/widgets/src"));
    if answer["coverage"]["places"][0]["everybody"] == true {
        return; // This machine has a journal, which tells of everybody.
    }
    assert_eq!(answer["verdict"], "no-evidence", "{answer:#}");
    let gaps = answer["coverage"]["places"][1]["gaps"].to_string();
    assert!(gaps.contains("hooks of users other than root"), "{gaps}");
}

/// Puts a line into `ledger.d` as `user` could: a true one, retold about `path` and `runner`.
fn forge(host: &Host, user: u32, path: &Path, runner: &Runner) {
    let truth = std::fs::read_to_string(host.state_dir().join("ledger.jsonl")).expect("the ledger");
    let line = truth.lines().find(|line| line.contains("\"removed\"")).expect("a removal");
    let mut line: Value = serde_json::from_str(line).expect("JSON");
    line["path"] = path.to_str().expect("UTF-8").into();
    line["runner"] = runner.name.as_str().into();
    line["scope"] = "hook".into();
    line["hook_runner"] = runner.name.as_str().into();
    let file = host.state_dir().join(format!("ledger.d/{user}.jsonl"));
    std::fs::write(&file, format!("{line}\n")).expect("the directory is ours");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("it is ours");
    chown(&file, Some(user), Some(SHARED_GID)).expect("root gives away");
}

#[test]
fn a_forged_entry_about_another_users_runner_is_listed_separately() {
    if !kit::needs_root("files of several users") {
        return;
    }
    let host = host();
    after_a_sweep(&host);
    let alices = host.runner("actions-runner-2").user(ALICE, SHARED_GID).build();
    let bobs = host.runner("actions-runner-3").user(BOB, SHARED_GID).build();
    let bobs_source = bobs.checkout("acme/widgets").join("src");
    let alices_source = alices.checkout("acme/widgets").join("src");
    forge(&host, ALICE, &bobs_source, &bobs);
    let answer = why(&host, &bobs_source);
    assert_eq!(answer["verdict"], "not-touched", "{answer:#}");
    assert_eq!(deeds(&answer["foreign"]), ["removed"]);
    assert_eq!(answer["foreign"][0]["writer"]["uid"], ALICE);
    let text = told(&host, &["why", bobs_source.to_str().expect("UTF-8")]);
    assert!(text.contains(&format!("claims to be disk-guard's, written by uid {ALICE}")), "{text}");
    let history = ask(&host, &["history", "--json"]);
    assert_eq!(
        (history["foreign"].as_array().map(Vec::len), &history["by_runner"][1]),
        (Some(1), &Value::Null)
    );

    // About her own runner Alice is believed, and named.
    forge(&host, ALICE, &alices_source, &alices);
    let answer = why(&host, &alices_source);
    assert_eq!((&answer["verdict"], &answer["entries"][0]["trust"]), (&"removed".into(), &"owner".into()));
    let text = told(&host, &["why", alices_source.to_str().expect("UTF-8")]);
    assert!(text.contains("its jobs could have written it too"), "{text}");
}

#[test]
fn a_hook_of_a_runners_user_leaves_its_entries_in_a_file_of_its_own() {
    if !kit::needs_root("a runner of another user") {
        return;
    }
    let mut host = host();
    host.runner_user = Some((ALICE, SHARED_GID));
    let runner = host.runner("actions-runner-1").build();
    let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    assert!(!cache.exists());
    job.finish(&mut listener);
    let file = host.state_dir().join(format!("ledger.d/{ALICE}.jsonl"));
    assert!(file.exists(), "{:?}", std::fs::read_dir(host.state_dir()).map(Iterator::count));
    let answer = why(&host, &cache);
    assert_eq!(answer["verdict"], "removed", "{answer:#}");
    let removed = &answer["entries"][1];
    assert_eq!(removed["scope"]["hook_runner"], runner.name.as_str(), "{removed:#}");
    assert_eq!((&removed["trust"], &removed["writer"]["uid"]), (&"owner".into(), &ALICE.into()));
    assert_eq!(answer["acts"][0]["end"], "ended", "{answer:#}");
}

#[test]
fn a_missing_state_directory_is_made_and_one_that_is_no_directory_harms_nothing() {
    let host = host();
    std::fs::remove_dir_all(host.state_dir()).expect("our own directory");
    let (runner, cache) = after_a_sweep(&host);
    assert_eq!(why(&host, &cache)["verdict"], "removed");
    std::fs::remove_dir_all(host.state_dir()).expect("our own directory");
    std::fs::write(host.state_dir(), "").expect("a file in its place");
    let next = runner.cache("acme/other", "target", MIB, 2 * DAY);
    let run = host.guard(&["sweep", "--json"]).expect_code(&[0, 20]);
    assert_eq!(run.report().outcome(&next), "removed");
    assert_eq!(host.guard(&["why", "/x"]).expect_code(&[0]).code, Some(0));
}

#[test]
fn a_read_only_state_directory_harms_nothing() {
    if !kit::needs_root("mounts a filesystem") {
        return;
    }
    let mut host = host();
    let state = host.state_dir();
    host.mount(Fs::Tmpfs { mib: 1, inodes: 100 }, &state);
    let mut remount = std::process::Command::new("mount");
    assert!(remount.args(["-o", "remount,ro"]).arg(&state).status().expect("mount runs").success());
    let runner = host.runner("actions-runner-1").build();
    let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    let run = host.guard(&["sweep", "--json"]).expect_code(&[0, 20]);
    assert_eq!(run.report().outcome(&cache), "removed");
    assert!(run.stderr().contains("cannot be written"), "it is told once: {}", run.stderr());
    why(&host, &cache);
}

#[test]
fn on_a_full_disk_entries_wait_for_the_room_that_their_run_makes() {
    if !kit::needs_root("mounts and fills small filesystems") {
        return;
    }
    for fs in [Fs::Ext4 { mib: 64, inodes: 1500 }, Fs::Tmpfs { mib: 64, inodes: 1500 }] {
        let mut host = Host::on(fs);
        let on_disk = host.runners().join(".state");
        std::fs::create_dir(&on_disk).expect("the disk has room");
        std::fs::set_permissions(&on_disk, PermissionsExt::from_mode(0o755)).expect("it is ours");
        let state = host.state_dir();
        host.bind(&on_disk, &state);
        let runner = host.runner("actions-runner-1").build();
        let cache = runner.cache("acme/widgets", "target", 4 * MIB, 2 * DAY);
        fill_bytes(&host.runners().join("ballast.bin"));
        assert_eq!(usage(&host.runners()), (100, 0), "not one byte is left");
        assert_eq!(host.sweep().outcome(&cache), "removed", "{fs:?}");
        let answer = why(&host, &cache);
        assert_eq!(answer["verdict"], "removed", "{fs:?}: {answer:#}");
        assert_eq!(
            deeds(&answer["acts"][0]["entries"]),
            ["begun", "pressure", "claimed", "removed", "ended"],
            "{fs:?}: nothing is lost"
        );
    }
}

#[test]
fn blame_reports_the_actions_in_its_window_and_those_around_it() {
    let host = host();
    let (_, cache) = after_a_sweep(&host);
    let now = ask(&host, &["blame", "--at", "now", "--json"]);
    assert_eq!(now["runs"][0]["removed"], 1, "{now:#}");
    assert_eq!(now["before"], Value::Null);
    let then = ask(&host, &["blame", "--at", "2h ago", "--window", "5min", "--json"]);
    assert_eq!(then["runs"].as_array().map(Vec::len), Some(0));
    assert_eq!(then["after"]["path"], cache.to_str().expect("UTF-8"));
    let text = told(&host, &["blame", "--at", "-2h"]);
    assert!(text.contains("Its next action after: 20") && text.contains("only reaches back"), "{text}");
    for wrong in [
        &["blame", "--at", "teatime"][..],
        &["blame", "--at", "now", "--window", "x"],
        &["history", "--since", "?"],
    ] {
        let run = host.guard(wrong).expect_code(&[2]);
        assert!(run.stderr().contains("expected"), "{}", run.stderr());
    }
}

#[test]
fn history_sums_by_rule_and_runner() {
    let host = host();
    let (runner, cache) = after_a_sweep(&host);
    let history = ask(&host, &["history", "--since", "1h ago", "--json"]);
    assert_eq!(deeds(&history["entries"]), ["removed"], "{history:#}");
    assert_eq!(history["entries"][0]["path"], cache.to_str().expect("UTF-8"));
    assert_eq!(
        (&history["by_rule"][0]["name"], &history["by_rule"][0]["count"]),
        (&"cargo-target".into(), &1.into())
    );
    assert_eq!(history["by_runner"][0]["name"], runner.name.as_str());
    assert_eq!(history["freed_bytes"], history["by_runner"][0]["bytes"]);
    let text = host.guard(&["history"]).expect_code(&[0]).stdout();
    assert!(text.contains("By runner") && text.contains("cargo-target"), "{text}");
}

/// One line of the journal as a user's program sends it.
fn send(user: u32, fields: &[(&str, &str)]) {
    let text: String = fields.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", &user.to_string(), "--regid", &user.to_string(), "--clear-groups"]);
    command.args(["logger", "--journald"]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("setpriv is part of util-linux");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), text.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success(), "logger speaks to journald");
}

#[test]
fn a_real_journal_tells_who_wrote_what_and_the_file_tells_the_same() {
    if !kit::needs_journald() {
        return;
    }
    kit::in_own_run(|| {
        let _journald = kit::Journald::start();
        let host = host();
        let (runner, cache) = after_a_sweep(&host);
        let bobs = host.runner("actions-runner-3").user(BOB, SHARED_GID).build();
        let bobs_source = bobs.checkout("acme/widgets").join("src");
        let path = bobs_source.to_str().expect("UTF-8");
        send(
            ALICE,
            &[
                ("MESSAGE", "removed"),
                ("SYSLOG_IDENTIFIER", "disk-guard"),
                ("DISK_GUARD_EVENT", "removed"),
                ("DISK_GUARD_RUNNER", &bobs.name),
                ("DISK_GUARD_PATH", path),
                ("_UID", "0"),
            ],
        );
        kit::journalctl(&["--sync"]);

        let answer = why(&host, &cache);
        assert_eq!(answer["verdict"], "removed", "{answer:#}");
        assert_eq!(deeds(&answer["entries"]), ["claimed", "removed"], "told once each: {answer:#}");
        let removed = &answer["entries"][1];
        assert_eq!(removed["sources"], serde_json::json!(["journal", "file"]), "{answer:#}");
        assert_eq!((&removed["trust"], &removed["writer"]["uid"]), (&"root".into(), &0.into()));
        assert_eq!(removed["rule"], "cargo-target");
        assert_eq!(answer["coverage"]["places"][0]["everybody"], true, "{answer:#}");

        let answer = why(&host, &bobs_source);
        assert_eq!(answer["verdict"], "not-touched", "{answer:#}");
        assert_eq!(answer["foreign"][0]["writer"]["uid"], ALICE, "{answer:#}");

        // The file alone, as after a reboot with a journal in memory.
        kit::journalctl(&["--rotate"]);
        kit::journalctl(&["--vacuum-time=1us"]);
        let answer = why(&host, &cache);
        assert_eq!(answer["verdict"], "removed", "{answer:#}");
        assert_eq!(answer["entries"][1]["sources"], serde_json::json!(["file"]), "{answer:#}");

        // The journal alone, as with a state directory that takes nothing.
        std::fs::remove_dir_all(host.state_dir()).expect("our own directory");
        std::fs::write(host.state_dir(), "").expect("a file in its place");
        let next = runner.cache("acme/other", "target", MIB, 2 * DAY);
        assert_eq!(host.sweep().outcome(&next), "removed");
        kit::journalctl(&["--sync"]);
        let answer = why(&host, &next);
        assert_eq!(answer["entries"][1]["sources"], serde_json::json!(["journal"]), "{answer:#}");
    });
}
