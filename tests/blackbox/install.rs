//! `install` and `uninstall` on whole hosts: what stands in `.env` afterwards, who runs, and what hostile runners can make of it.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Canary, Host, Run, Runner, Systemd, needs_root};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

const STARTED: &str = "ACTIONS_RUNNER_HOOK_JOB_STARTED";
const COMPLETED: &str = "ACTIONS_RUNNER_HOOK_JOB_COMPLETED";

fn host() -> (Host, Systemd) {
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let systemd = Systemd::on(&mut host);
    (host, systemd)
}

fn guard(host: &Host, verb: &str, more: &[&str]) -> Run {
    let hooks = host.base.join("hooks");
    let hooks = hooks.to_str().expect("UTF-8");
    host.guard(&[&[verb, "--json", "--hooks-dir", hooks], more].concat())
}

fn install(host: &Host) -> Value {
    guard(host, "install", &[]).expect_code(&[0]).report().0
}

fn env(runner: &Runner) -> Vec<u8> {
    std::fs::read(runner.root.join(".env")).unwrap_or_default()
}

fn outcome<'v>(report: &'v Value, runner: &Runner) -> &'v Value {
    let all = report["runners"].as_array().expect("a list");
    all.iter().find(|r| r["name"] == runner.name.as_str()).expect("the runner is in the report")
}

/// The commands of one outcome, each as a line.
fn commands(report: &Value, outcome: &str) -> Vec<String> {
    let all = report["commands"].as_array().expect("a list").iter().filter(|c| c["outcome"] == outcome);
    let words = |c: &Value| c["command"].as_array().expect("a list").clone();
    all.map(|c| words(c).iter().map(|w| w.as_str().expect("text")).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn every_shape_of_env_is_wired_once_and_put_back_to_the_byte() {
    let (host, _systemd) = host();
    let started = host.started_script().display().to_string();
    let shapes = [
        String::new(),
        "LANG=C.UTF-8".into(),
        "LANG=C.UTF-8\nSECRET=\"a b\"  \n".into(),
        "LANG=C.UTF-8\r\nX=1\r\n".into(),
        format!("{STARTED}=/opt/pre.sh\r\nX=1"),
        format!("X=1\n{STARTED}=/opt/a.sh\n{STARTED}=/opt/b.sh\n{COMPLETED}=/opt/post.sh\n"),
    ];
    let runners: Vec<Runner> = (0..shapes.len())
        .map(|n| host.runner(&format!("actions-runner-{n}")).env(&shapes[n]).build())
        .collect();
    let none = host.runner("actions-runner-none").env("").build();
    std::fs::remove_file(none.root.join(".env")).expect("it was there");

    let report = install(&host);
    assert!(runners.iter().chain([&none]).all(|runner| outcome(&report, runner)["outcome"] == "changed"));
    let wired: Vec<Vec<u8>> = runners.iter().map(env).collect();
    assert!(String::from_utf8_lossy(&env(&none)).starts_with(&format!("{STARTED}={started}\n")));
    for runner in runners.iter().chain([&none]) {
        assert_eq!(host.status().runner(&runner.name)["guarded"], true, "{}", runner.name);
    }
    let report = install(&host);
    assert!(runners.iter().all(|runner| outcome(&report, runner)["outcome"] == "unchanged"), "{report:#}");
    assert_eq!(runners.iter().map(env).collect::<Vec<_>>(), wired, "installed again");

    guard(&host, "uninstall", &[]).expect_code(&[0]);
    for (runner, shape) in runners.iter().zip(&shapes) {
        assert_eq!(String::from_utf8(env(runner)).expect("UTF-8"), *shape);
    }
    assert!(!none.root.join(".env").exists(), "what was made goes");
    assert_eq!(std::fs::read_dir(host.state_dir().join("hooks")).expect("it is there").count(), 0);
    assert_eq!(std::fs::read_dir(host.state_dir().join("wired")).expect("it is there").count(), 0);
}

#[test]
fn a_dry_run_shows_every_change_and_touches_nothing() {
    let (host, systemd) = host();
    let runner =
        host.runner("actions-runner-1").env(&format!("SECRET=hunter2\n{STARTED}=/opt/pre.sh\n")).build();
    systemd.unit("disk-guard-sweep.timer", "/".as_ref());
    let canaries = [Canary::of(&runner.root), Canary::of(&host.state_dir())];
    let hooks = host.base.join("hooks");
    let run = host
        .guard(&["install", "--dry-run", "--hooks-dir", hooks.to_str().expect("UTF-8")])
        .expect_code(&[0]);
    let text = run.stdout();
    for wanted in [
        format!("-{STARTED}=/opt/pre.sh"),
        format!("+{STARTED}={}", host.state_dir().join("hooks").display()),
        format!("+{COMPLETED}={}", host.completed_script().display()),
        "Nothing was touched".into(),
    ] {
        assert!(text.contains(&wanted), "{wanted}\n{text}");
    }
    assert!(!text.contains("hunter2"), "other lines may be secrets:\n{text}");
    assert!(
        !nix::unistd::geteuid().is_root()
            || text.contains("systemctl enable --now disk-guard-sweep.timer [planned]")
    );
    canaries.iter().for_each(Canary::assert_intact);
    assert!(systemd.orders().is_empty());
}

#[test]
fn a_foreign_hook_still_runs_and_its_exit_code_decides_for_the_job() {
    let (host, _systemd) = host();
    let (log, code) = (host.sockets().join("foreign.log"), host.sockets().join("code"));
    std::fs::write(&code, "0").expect("our own file");
    let foreign = |which: &str| {
        let path = host.base.join(format!("hooks/foreign-it's-{which}.sh"));
        // A pipe whose first part fails: fine with `bash -e`, as the runner has it, and not with `-o pipefail`.
        let text =
            format!("false | true\necho {which} >>{}; exit $(cat {})\n", log.display(), code.display());
        std::fs::write(&path, text).expect("our own file");
        path.display().to_string()
    };
    let (pre, post) = (foreign("pre"), foreign("post"));
    let text = format!("{STARTED}={pre}\n{COMPLETED}={post}\n");
    let runner = host.runner("actions-runner-1").env(&text).build();
    install(&host);
    assert_eq!(host.status().runner(&runner.name)["guarded"], true, "a chain of ours is ours");

    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    assert_eq!(host.leases().len(), 1, "ours ran");
    job.hook_completed().expect_ok();
    assert_eq!(host.leases().len(), 0);
    assert_eq!(std::fs::read_to_string(&log).expect("theirs ran"), "pre\npost\n");
    std::fs::write(&code, "7").expect("our own file");
    assert_eq!((job.hook_started().code, job.hook_completed().code), (7, 7));
    assert_eq!(host.leases().len(), 0, "ours ran all the same");
    job.finish(&mut listener);

    guard(&host, "uninstall", &[]).expect_code(&[0]);
    assert_eq!(env(&runner), text.as_bytes());
    let chains = || std::fs::read_dir(host.state_dir().join("hooks")).expect("it is there").count();
    assert_eq!(chains(), 2, "the Listener that runs still names them");
    drop(listener);
    guard(&host, "uninstall", &[]).expect_code(&[0]);
    assert_eq!(chains(), 0);
}

#[test]
fn hostile_env_files_are_refused_and_lead_root_nowhere() {
    let (host, _systemd) = host();
    let victim = host.base.join("victim");
    std::fs::create_dir(&victim).expect("our own");
    std::fs::write(victim.join("secret"), "root's\n").expect("our own");
    let bad = ["link", "hard", "fifo", "directory", "js"].map(|shape| {
        let runner = host.runner(&format!("actions-runner-{shape}")).env("A=1\n").build();
        let env = runner.root.join(".env");
        std::fs::remove_file(&env).expect("it was there");
        match shape {
            "link" => symlink(victim.join("secret"), &env).expect("a link"),
            "hard" => std::fs::hard_link(victim.join("secret"), &env).expect("a hard link"),
            "fifo" => nix::unistd::mkfifo(&env, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO"),
            "directory" => std::fs::create_dir(&env).expect("a directory"),
            _ => std::fs::write(&env, format!("{STARTED}=/opt/pre.js\n")).expect("a file"),
        }
        runner
    });
    let good = host.runner("actions-runner-good").env("A=1\n").build();
    let canary = Canary::of(&victim);
    let report = guard(&host, "install", &[]).expect_code(&[1]).report().0;
    canary.assert_intact();
    for runner in &bad {
        assert_eq!(outcome(&report, runner)["outcome"], "blocked", "{report:#}");
        assert!(
            outcome(&report, runner)["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(".env") || reason.contains("/opt/pre.js"))
        );
    }
    assert_eq!(outcome(&report, &good)["outcome"], "changed", "one bad runner does not stop the others");
    guard(&host, "uninstall", &[]).expect_code(&[1]);
    canary.assert_intact();
    assert_eq!(env(&good), b"A=1\n");
}

#[test]
fn owner_and_mode_stay_and_nothing_is_left_beside() {
    if !needs_root("files of another user") {
        return;
    }
    let (host, _systemd) = host();
    let runner = host.runner("actions-runner-1").env("A=1\n").user(12_001, 12_001).build();
    let path = runner.root.join(".env");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("it is ours");
    let bare = host.runner("actions-runner-2").env("").user(12_002, 12_002).build();
    std::fs::remove_file(bare.root.join(".env")).expect("it was there");
    let stranger = host.runner("actions-runner-3").env("A=1\n").user(12_003, 12_003).build();
    std::os::unix::fs::chown(stranger.root.join(".env"), Some(12_009), None).expect("root gives away");
    let report = guard(&host, "install", &[]).expect_code(&[1]).report().0;
    let manner = |path: &std::path::Path| {
        let status = std::fs::metadata(path).expect("it is there");
        (status.uid(), status.gid(), status.mode() & 0o7777)
    };
    assert_eq!(manner(&path), (12_001, 12_001, 0o600));
    assert_eq!(manner(&bare.root.join(".env")), (12_002, 12_002, 0o644));
    assert_eq!(outcome(&report, &stranger)["outcome"], "blocked", "{report:#}");
    let left = std::fs::read_dir(&runner.root).expect("it is there").flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("disk-guard")));
}

#[test]
fn a_user_connects_only_its_own_runners_and_the_rest_is_reported() {
    if !needs_root("two users") {
        return;
    }
    let (host, systemd) = host();
    let own = host.runner("actions-runner-1").env("A=1\n").user(12_001, kit::SHARED_GID).build();
    let other = host.runner("actions-runner-2").env("A=1\n").user(12_002, kit::SHARED_GID).build();
    let hooks = host.base.join("hooks");
    let mut call = host.call(&["install", "--json", "--hooks-dir", hooks.to_str().expect("UTF-8")]);
    call.user = Some((12_001, kit::SHARED_GID));
    let refused = call.run().expect_code(&[1]);
    assert!(refused.stderr().contains("paths.state_dir"), "{}", refused.stderr());
    assert_eq!((env(&own), env(&other)), (b"A=1\n".into(), b"A=1\n".into()), "nothing half-done");
    std::os::unix::fs::chown(host.state_dir(), Some(12_001), None).expect("root gives away");
    let report = call.run().expect_code(&[0]).report().0;
    assert_eq!(outcome(&report, &own)["outcome"], "changed");
    assert_eq!(outcome(&report, &other)["outcome"], "not-ours");
    assert!(report["notes"].to_string().contains("not root"), "{report:#}");
    assert!(systemd.orders().is_empty());
    let refused = guard(&host, "install", &[]).expect_code(&[1]);
    assert!(
        refused.stderr().contains("by users other than root"),
        "root trusts no state of others: {}",
        refused.stderr()
    );
}

#[test]
fn units_are_enabled_and_only_idle_listeners_restarted() {
    if !needs_root("units are root's") {
        return;
    }
    let (host, systemd) = host();
    let [idle, busy, forger, unitless] = ["1-idle", "2-busy", "3-forger", "4-unitless"]
        .map(|name| host.runner(&format!("actions-runner-{name}")).env("A=1\n").build());
    let units = [&idle, &busy].map(|runner| systemd.unit_of(runner));
    std::fs::write(forger.root.join(".service"), &units[0]).expect("a forged .service");
    for unit in ["disk-guard-sweep.timer", "disk-guard-request.path"] {
        systemd.unit(unit, "/".as_ref());
    }
    let mut listeners = [&idle, &busy, &forger, &unitless].map(Runner::listen);
    let job = listeners[1].begin_job("acme/app");

    let report = guard(&host, "install", &["--dry-run", "--restart-idle"]).expect_code(&[0]).report().0;
    let enable = "systemctl enable --now disk-guard-sweep.timer disk-guard-request.path";
    assert_eq!(commands(&report, "planned"), [enable.to_owned(), format!("systemctl restart {}", units[0])]);
    assert!(systemd.orders().is_empty());

    let report = install(&host);
    assert_eq!(
        commands(&report, "for-you"),
        units.each_ref().map(|unit| format!("systemctl restart {unit}"))
    );
    assert_eq!(systemd.orders(), [enable]);
    let notes = report["notes"].to_string();
    assert!(notes.contains("does not work in this root") && notes.contains("does not exist"), "{notes}");

    // Wired anew, so that all Listeners are stale again, whatever the clock's grain.
    guard(&host, "uninstall", &[]).expect_code(&[0]);
    systemd.orders();
    let report = guard(&host, "install", &["--restart-idle"]).expect_code(&[0]).report().0;
    assert_eq!(systemd.orders(), [enable.to_owned(), format!("systemctl restart {}", units[0])]);
    assert_eq!(commands(&report, "for-you"), [format!("systemctl restart {}", units[1])]);
    drop(job);
}

#[test]
fn without_systemd_the_rest_is_done_and_the_lack_is_reported() {
    let mut host = Host::new();
    let empty = host.base.join("sbin");
    host.configure(|settings| settings.extra = format!("programs = [{empty:?}]\n"));
    let runner = host.runner("actions-runner-1").env("A=1\n").build();
    let report = install(&host);
    assert_eq!(outcome(&report, &runner)["outcome"], "changed");
    assert!(report["notes"].to_string().contains("no systemctl"), "{report:#}");
    let nowhere = host.guard(&["install", "--hooks-dir", "/nonexistent"]).expect_code(&[1]);
    assert!(nowhere.stderr().contains("--hooks-dir"), "{}", nowhere.stderr());
}

#[test]
fn runners_users_join_the_group_unless_configured_otherwise() {
    if !needs_root("groups are root's") {
        return;
    }
    let (host, systemd) = host();
    host.runner("actions-runner-1").env("A=1\n").user(1, 1).build();
    host.runner("actions-runner-2").env("A=1\n").user(1, 1).build();
    guard(&host, "install", &["--no-group"]).expect_code(&[0]);
    assert!(systemd.orders().is_empty());
    install(&host);
    let is_there = nix::unistd::Group::from_name("disk-guard").is_ok_and(|group| group.is_some());
    let make = (!is_there).then_some("groupadd --system disk-guard");
    let join = "usermod --append --groups disk-guard daemon";
    assert_eq!(systemd.orders(), make.into_iter().chain([join]).collect::<Vec<_>>());
}

/// What the package's removal runs: nothing is found by globs, and nobody stays out of service for good.
#[test]
fn recorded_changes_are_undone_everywhere_and_drained_runners_are_resumed_or_named() {
    if !needs_root("units are root's") {
        return;
    }
    let (mut host, systemd) = host();
    let [wired, swept, held] = ["1-wired", "2-swept", "3-held"]
        .map(|name| host.runner(&format!("actions-runner-{name}")).env("A=1\r\nB=2").build());
    let gone = host.runner("actions-runner-4-gone").env("A=1\n").build();
    let bare = host.runner("actions-runner-5-bare").env("A=1\n").build();
    let units = [&swept, &held].map(|runner| systemd.unit_of(runner));
    install(&host);
    for runner in [&swept, &held] {
        host.guard(&["drain", &runner.name]).expect_code(&[0]);
    }
    for entry in std::fs::read_dir(host.state_dir().join("drained")).expect("it is there").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("a record");
        if text.contains("2-swept") {
            std::fs::write(entry.path(), text.replace("\"hand\"", "\"auto\"")).expect("it is ours");
        }
    }
    std::fs::remove_dir_all(&gone.root).expect("it is ours");
    for part in [".runner", "bin", "_work"] {
        let path = bare.root.join(part);
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
    }
    // Wired by hand: found, and not recorded.
    let line = format!("{STARTED}={}\n", host.started_script().display());
    let by_hand = host.runner("actions-runner-6-hand").env(&line).build();
    std::fs::write(host.state_dir().join("wired/broken.json"), "{").expect("it is ours");
    let far = host.base.join("far");
    std::fs::create_dir(&far).expect("our own");
    host.configure(|settings| settings.roots = vec![host_glob(&far), host_glob(&by_hand.root)]);
    let listener = by_hand.listen();
    systemd.orders();

    let tried = guard(&host, "uninstall", &["--recorded", "--dry-run"]).expect_code(&[1]).report().0;
    assert_eq!(outcome(&tried, &wired)["outcome"], "planned", "{tried:#}");
    assert!(systemd.orders().is_empty() && env(&wired).len() > 8, "a dry run");

    let report = guard(&host, "uninstall", &["--recorded"]).expect_code(&[1]).report().0;
    for runner in [&wired, &swept, &held] {
        assert_eq!(env(runner), b"A=1\r\nB=2", "{report:#}");
    }
    assert_eq!(env(&bare), b"A=1\n", "the next runner there has no hook that is gone: {report:#}");
    assert_eq!(env(&by_hand), line.as_bytes(), "somebody else's line stays");
    let gone =
        report["runners"].as_array().expect("a list").iter().find(|r| r["name"] == "actions-runner-4-gone");
    assert!(gone.expect("it is told")["notes"].to_string().contains("directory is gone"), "{report:#}");
    assert!(report["notes"].to_string().contains("not by our record"), "{report:#}");
    assert!(
        report["runners"].to_string().contains("broken.json"),
        "the record that is none is told: {report:#}"
    );
    assert_eq!(
        systemd.orders(),
        [format!("systemctl start {}", units[0])],
        "what a sweep drained comes back"
    );
    assert_eq!(
        commands(&report, "for-you"),
        [format!("systemctl start {}", units[1])],
        "what a person drained is named"
    );
    let left = |kind: &str| std::fs::read_dir(host.state_dir().join(kind)).expect("it is there").count();
    assert_eq!((left("wired"), left("drained")), (1, 0), "but for the broken record");
    let named = std::fs::read_to_string(host.state_dir().join("removal/still-named")).expect("it is written");
    let words: Vec<&str> = named.lines().map(|line| line.split(' ').next().expect("a word")).collect();
    assert_eq!(words.len(), 2, "{named}");
    assert!(words.contains(&"env") && words.iter().any(|word| word.parse::<u32>().is_ok()), "{named}");
    drop(listener);
    std::fs::remove_file(host.state_dir().join("wired/broken.json")).expect("it is ours");
    std::fs::write(by_hand.root.join(".env"), "").expect("it is ours");
    guard(&host, "uninstall", &["--recorded"]).expect_code(&[0]);
    let named = std::fs::read_to_string(host.state_dir().join("removal/still-named")).expect("it is written");
    assert_eq!(named, "", "nothing names the hooks any more");
}

fn host_glob(path: &std::path::Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn an_installation_ends_with_its_result_and_the_one_remaining_command() {
    if !needs_root("units are root's") {
        return;
    }
    let (host, systemd) = host();
    let runner = host.runner("actions-runner-1").env("A=1\n").build();
    let idle = host.runner("actions-runner-2").env("A=1\n").build();
    systemd.unit_of(&runner);
    systemd.unit_of(&idle);
    let mut listeners = [&runner, &idle].map(Runner::listen);
    let job = listeners[0].begin_job("acme/app");
    let hooks = host.base.join("hooks");
    let text = |more: &[&str]| {
        let hooks = hooks.to_str().expect("UTF-8");
        host.guard(&[&["install", "--hooks-dir", hooks], more].concat()).stdout()
    };
    for (more, summary, left) in [
        (&["--dry-run"][..], "2 runners: 2 to be changed", "disk-guard install --restart-idle"),
        (&[], "2 runners: 2 wired", "disk-guard install --restart-idle"),
        (&["--restart-idle"], "2 runners: 2 as they should be", "disk-guard install --restart-idle"),
    ] {
        let said = text(more);
        assert!(said.contains(&format!("\nSummary: {summary}\nLeft to do: {left}\n")), "{said}");
    }
    std::fs::write(idle.root.join(".env"), format!("{STARTED}=/opt/pre.js\n")).expect("it is ours");
    let said = text(&[]);
    assert!(said.contains("1 blocked") && said.contains("Left to do: disk-guard install\n"), "{said}");
    drop(job);
    drop(listeners);
    std::fs::write(idle.root.join(".env"), "").expect("it is ours");
    let said = text(&[]);
    assert!(said.contains("Left to do: disk-guard doctor\n"), "{said}");
}

/// No circle of advice: who has called us from JavaScript, as was said, is told that one job is all that is missing.
#[test]
fn a_hook_in_javascript_that_calls_us_is_left_alone_and_needs_one_job() {
    let (host, _systemd) = host();
    let (yes, no) = (host.base.join("hooks/pre.js"), host.base.join("hooks/other.js"));
    std::fs::write(
        &yes,
        "require('child_process').execFileSync('/usr/bin/disk-guard', ['hook', 'started'], {stdio: 'inherit'})\n",
    )
    .expect("our own file");
    std::fs::write(&no, "console.log('disk-guard')\n").expect("our own file");
    let completed = host.completed_script().display().to_string();
    let env_of = |hook: &std::path::Path| format!("{STARTED}={}\n{COMPLETED}={completed}\n", hook.display());
    let calls = host.runner("actions-runner-1").env(&env_of(&yes)).build();
    let other = host.runner("actions-runner-2").env(&env_of(&no)).build();
    let report = guard(&host, "install", &[]).expect_code(&[1]).report().0;
    assert_eq!(outcome(&report, &calls)["outcome"], "unchanged", "{report:#}");
    let refused = outcome(&report, &other)["reason"].as_str().expect("a reason");
    assert!(refused.contains("call `disk-guard hook started` from it"), "{refused}");
    let checks = host.guard(&["doctor", "--json"]).report().0["checks"].clone();
    let check = |runner: &Runner| {
        let id = format!("hook:{}", runner.name);
        let found = checks.as_array().expect("a list").iter().find(|check| check["id"] == id.as_str());
        found.expect("it is examined").clone()
    };
    assert_eq!(check(&calls)["state"], "warn", "{:#}", check(&calls));
    assert!(check(&calls)["fix"].to_string().contains("first job"), "{:#}", check(&calls));
    assert_eq!(check(&other)["state"], "fail", "{:#}", check(&other));
}
