//! Room for a job before it needs it: what earlier runs took, what live jobs still need, and what is done when that is not there.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Fs, Host, Job, Listener, MIB, Runner, Systemd, usage};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(86_400);

const DISK: u64 = 400;

/// A host with a disk of its own; none without root.
fn host(forecast: &str) -> Option<Host> {
    if !kit::needs_root("mounts a tmpfs") {
        return None;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: DISK, inodes: 20_000 });
    host.configure(|settings| settings.extra = format!("[forecast]\n{forecast}\n"));
    Some(host)
}

/// Such a host with a runner, on which the job `acme/app` has run once and taken so many MiB.
fn after_one_job(forecast: &str, mib: u64) -> Option<(Host, Runner, Listener)> {
    let host = host(forecast)?;
    let runner = host.runner("actions-runner-1").build();
    let mut listener = runner.listen();
    run_once(&runner, &mut listener, "acme/app", mib);
    Some((host, runner, listener))
}

/// Two runners of a host, on each of which that job has run three times and taken 60 MiB.
fn two_runners(host: &Host, names: [&str; 2]) -> ([Runner; 2], [Listener; 2]) {
    let runners = names.map(|name| host.runner(name).build());
    let mut listeners = runners.each_ref().map(Runner::listen);
    for (runner, listener) in runners.iter().zip(&mut listeners) {
        (0..3).for_each(|_| run_once(runner, listener, "acme/app", 60));
    }
    (runners, listeners)
}

fn write(path: &Path, mib: u64) {
    let mut file = File::options().create(true).append(true).open(path).expect("our own file");
    (0..mib).for_each(|_| file.write_all(&[0x5a; MIB as usize]).expect("there is room"));
}

/// Leaves so many MiB available.
fn leave(host: &Host, mib: u64) {
    let available = usage(&host.runners()).1 / MIB;
    write(&host.runners().join("ballast"), available - mib);
    let (percent, _) = usage(&host.runners());
    assert!(percent < 85, "the watermarks have nothing to do with it: {percent}");
}

/// A whole job that writes so many MiB, and takes them away after its end.
fn run_once(runner: &Runner, listener: &mut Listener, repository: &str, mib: u64) {
    let mut job = listener.begin_job(repository);
    job.hook_started().expect_ok();
    job.steps(&format!("head -c {mib}M /dev/zero > output")).expect_ok();
    job.hook_completed().expect_ok();
    job.finish(listener);
    for entry in std::fs::read_dir(&runner.work).expect("it is there").flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            std::fs::remove_dir_all(entry.path()).expect("our own directory");
        }
    }
}

fn cache_of_sibling(host: &Host) -> PathBuf {
    host.runner("actions-runner-2").build().cache("acme/old", "target", 60 * MIB, 3 * DAY)
}

fn begin(listener: &mut Listener, repository: &str) -> (Job, String) {
    let mut job = listener.begin_job(repository);
    let said = job.hook_started().expect_ok().text();
    (job, said)
}

#[test]
fn room_is_made_for_a_job_that_has_run_before_and_for_no_other() {
    for (forecast, repository, is_made) in
        [("", "acme/app", true), ("", "acme/never-seen", false), ("enabled = false", "acme/app", false)]
    {
        let Some((host, _runner, mut listener)) = after_one_job(forecast, 60) else { return };
        let cache = cache_of_sibling(&host);
        leave(&host, 80);
        // 60 MiB, and 1.65 standard deviations of a job that has run once: 109 MiB.
        let (_job, said) = begin(&mut listener, repository);
        assert_eq!(!cache.exists(), is_made, "{forecast} {repository}: {said}");
        if is_made {
            assert!(said.contains("live jobs are expected to need its space"), "{said}");
            assert!(!said.contains("::warning"), "{said}");
        }
    }
}

#[test]
fn the_first_jobs_of_a_host_find_nothing_changed_by_the_forecast() {
    let Some(host) = host("unknown = \"1TiB\"") else { return };
    let runner = host.runner("actions-runner-1").build();
    let cache = cache_of_sibling(&host);
    leave(&host, 70);
    let mut listener = runner.listen();
    let (_job, said) = begin(&mut listener, "acme/app");
    assert!(cache.exists() && !said.contains("::"), "{said}");
    host.guard(&["sweep", "--json"]).expect_code(&[0]);
    assert!(cache.exists(), "nor by a sweep while that job lives");
    // The control: the same cache goes under pressure.
    write(&host.runners().join("more"), 30);
    host.guard(&["sweep", "--json"]).expect_code(&[0]);
    assert!(!cache.exists());
}

#[test]
fn unused_bytes_of_live_jobs_are_held_free_and_shown() {
    let Some(host) = host("") else { return };
    let (_runners, mut listeners) = two_runners(&host, ["actions-runner-1", "actions-runner-3"]);
    let cache = cache_of_sibling(&host);
    let (mut first, _) = begin(&mut listeners[0], "acme/app");
    assert!(cache.exists(), "there is room for one");
    let forecast = host.guard(&["forecast", "--json"]).expect_code(&[0]).report();
    let disk = &forecast.0["disks"][0];
    let mib = |key: &str| disk[key].as_u64().expect("a figure") / MIB;
    assert_eq!((mib("reserved_bytes"), mib("realised_bytes")), (60, 0), "{disk:#}");
    assert_eq!(disk["jobs"][0]["basis"], "history");
    first.steps("head -c 40M /dev/zero > output").expect_ok();
    let status = host.status();
    let seen = &status.filesystem(&host.runners())["forecast"];
    assert_eq!(seen["realised_bytes"].as_u64().map(|bytes| bytes / MIB), Some(40), "{seen:#}");
    assert_eq!(seen["expected_bytes"].as_u64().map(|bytes| bytes / MIB), Some(20), "{seen:#}");
    assert!(host.guard(&["metrics"]).stdout().contains("disk_guard_filesystem_need_bytes{"));

    leave(&host, 85);
    let planned = host.plan();
    assert!(planned.with_outcome("planned").is_empty(), "20 MiB and a margin are there: {:#}", planned.0);
    let (_second, said) = begin(&mut listeners[1], "acme/app");
    assert!(!cache.exists(), "80 MiB and a margin are not: {said}");
}

#[test]
fn a_sweep_frees_the_same_room_and_names_the_jobs_it_is_for() {
    let Some((host, _runner, mut listener)) = after_one_job("", 60) else { return };
    let (_job, _) = begin(&mut listener, "acme/app");
    let cache = cache_of_sibling(&host);
    leave(&host, 80);
    let plan = host.plan();
    assert_eq!(plan.action(&cache)["reason"], "forecast", "{:#}", plan.0);
    let sweep = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
    assert_eq!(
        (sweep.outcome(&cache), sweep.action(&cache)["reason"].as_str()),
        ("removed", Some("forecast"))
    );
    assert_eq!(sweep.0["goal_met"], true);
    assert!(host.run_dir().join("forecast.json").exists());
    let metrics = host.guard(&["metrics"]).stdout();
    assert!(metrics.contains("reason=\"forecast\"}"), "{metrics}");
    // What the sweep has seen can be played again.
    let past = |more: &[&str]| {
        let arguments = [&["simulate", "--history", "--json"], more].concat();
        host.guard(&arguments).expect_code(&[0]).report().0["disks"].clone()
    };
    let (same, small) = (past(&[]), past(&["--size", "300MiB"]));
    let disk = |disks: &serde_json::Value| {
        let disks = disks.as_array().expect("a list").clone();
        disks.into_iter().find(|disk| disk["mount"] == host.runners().to_str().expect("UTF-8")).expect("ours")
    };
    let point =
        |disks: &serde_json::Value, key: &str| disk(disks)["points"][0][key].as_u64().expect("a figure");
    assert_eq!(point(&same, "was"), point(&same, "would"), "{same:#}");
    assert_eq!(point(&small, "would"), 100, "{small:#}");
    assert_eq!(
        host.guard(&["simulate", "--size", "1GiB"]).code,
        Some(2),
        "without --history it means nothing"
    );
}

#[test]
fn a_disk_that_fills_fast_is_swept_again_sooner_where_systemd_runs_the_sweep() {
    let Some(mut host) = host("") else { return };
    let systemd = Systemd::on(&mut host);
    systemd.unit("disk-guard-sweep.service", Path::new("/"));
    host.runner("actions-runner-1").build();
    write(&host.runners().join("ballast"), 200);
    let sweep = |by_systemd: bool| {
        let mut command = host.call(&["sweep", "--json"]).command();
        if by_systemd {
            command.env("INVOCATION_ID", "1");
        }
        let output = command.output().expect("it runs");
        let orders = systemd.orders();
        (String::from_utf8_lossy(&output.stdout).into_owned(), orders)
    };
    let (calm, orders) = sweep(true);
    assert!(!calm.contains("is due in") && orders.is_empty(), "{calm} {orders:?}");

    // As if it had been empty ten minutes ago.
    let file = host.state_dir().join("counters/totals.json");
    let mut totals: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("the sweep has written it")).expect("JSON");
    let seen = &mut totals["samples"][host.runners().to_str().expect("UTF-8")][0];
    let at = seen[0].as_u64().expect("a time");
    (seen[0], seen[1], seen[2]) = ((at - 600).into(), 0.into(), 0.into());
    std::fs::write(&file, totals.to_string()).expect("our own file");
    let (by_hand, orders) = sweep(false);
    assert!(by_hand.contains("is due in") && by_hand.contains("starts with the timer"), "{by_hand}");
    assert!(orders.is_empty(), "{orders:?}");
    let (by_systemd, orders) = sweep(true);
    assert!(
        by_systemd.contains("is due in") && !by_systemd.contains("starts with the timer"),
        "{by_systemd}"
    );
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert_eq!(orders[0], "systemctl stop -- disk-guard-sweep-early.timer");
    let seconds =
        orders[1].split("--on-active=").nth(1).and_then(|rest| rest.split('s').next()).expect("a time");
    assert!((60..900).contains(&seconds.parse::<u64>().expect("seconds")), "{}", orders[1]);
    assert!(orders[1].ends_with("start --no-block disk-guard-sweep.service"), "{}", orders[1]);
}

#[test]
fn the_cache_of_the_starting_job_is_kept() {
    let Some((host, runner, mut listener)) = after_one_job("", 90) else { return };
    let (own, other) = (
        runner.cache("acme/app", "target", 20 * MIB, 3 * DAY),
        runner.cache("acme/other", "target", 20 * MIB, DAY),
    );
    leave(&host, 70);
    let (_job, said) = begin(&mut listener, "acme/app");
    assert!(own.exists() && !other.exists(), "{said}");
}

#[test]
fn a_hook_without_room_warns_and_refuses_the_job_only_when_configured() {
    for (forecast, code, annotation) in [
        ("", 0, "::warning"),
        ("on_short = \"wait\"", 0, "::warning"),
        ("on_short = \"refuse\"", 1, "::error"),
    ] {
        let Some((host, _runner, mut listener)) = after_one_job(forecast, 60) else { return };
        leave(&host, 70);
        let mut job = listener.begin_job("acme/app");
        let begun = Instant::now();
        let hook = job.hook_started();
        assert_eq!(hook.code, code, "{forecast}: {}", hook.text());
        let text = hook.text();
        assert_eq!(text.matches(annotation).count(), 1, "{forecast}: {text}");
        assert!(text.contains("may need"), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody is live whose end could help");
    }
    // The control: one that fits is refused by nobody.
    let Some((_host, _runner, mut listener)) = after_one_job("on_short = \"refuse\"", 20) else { return };
    let (_job, said) = begin(&mut listener, "acme/app");
    assert!(!said.contains("::"), "{said}");
}

#[test]
fn a_hook_waits_for_a_siblings_end_no_longer_than_configured() {
    for (wait, ends) in [("1min", true), ("3s", false)] {
        let Some(host) = host(&format!("on_short = \"wait\"\nwait = \"{wait}\"")) else { return };
        let (_runners, mut listeners) = two_runners(&host, ["actions-runner-1", "actions-runner-2"]);
        let [one, two] = &mut listeners;
        let (mut first, _) = begin(one, "acme/app");
        leave(&host, 120);
        let mut second = two.begin_job("acme/app");
        let begun = Instant::now();
        second.start_hook("started");
        assert!(second.poll_hook("started", Duration::from_secs(2)).is_none(), "it waits");
        if ends {
            first.hook_completed().expect_ok();
            first.finish(one);
        }
        let text = second.await_hook("started").expect_ok().text();
        assert!(text.contains("waiting for room"), "{text}");
        assert_eq!(text.contains("there is room now"), ends, "{text}");
        assert_eq!(text.contains("::warning"), !ends, "{text}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
}

#[test]
fn forged_and_damaged_histories_affect_no_other_runner_and_are_reported() {
    let Some((host, runner, mut listener)) = after_one_job("", 60) else { return };
    let cache = cache_of_sibling(&host);
    let file = runner.work.join(".disk-guard/footprints");
    let honest = std::fs::read_to_string(&file).expect("the completed-hook has written it");
    let runs = honest.split("\"runs\":").nth(1).expect("it has runs").split(']').next().expect("a list");
    let forge = |bytes: u64| honest.replace(runs, &format!("[{bytes}"));
    leave(&host, 130);
    for (text, is_told) in [
        (forge(u64::MAX), true),
        ("{garbage".to_owned(), true),
        ("x".repeat(1 << 20), true),
        (honest.replace("\"at\":", "\"at\":99999999"), true),
        (honest.clone(), false),
    ] {
        std::fs::write(&file, &text).expect("our own file");
        let sweep = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
        let notes = sweep.0["notes"].to_string();
        assert_eq!(notes.contains("the history of its jobs is rejected"), is_told, "{text:.80}: {notes}");
        let (mut job, said) = begin(&mut listener, "acme/app");
        assert!(cache.exists(), "{text:.80}: {said}");
        job.hook_completed().expect_ok();
        job.finish(&mut listener);
    }
    // A history of a size that a disk may have is believed up to a quarter of this one, for its own runner.
    std::fs::write(&file, forge(1 << 49)).expect("our own file");
    let (_job, said) = begin(&mut listener, "acme/app");
    assert!(cache.exists(), "130 MiB are there, and a quarter is less: {said}");
    let disk = host.guard(&["forecast", "--json"]).expect_code(&[0]).report();
    let job = &disk.0["disks"][0]["jobs"][0];
    assert_eq!(job["claimed_bytes"], 1u64 << 49, "{job:#}");
    // Each live job's own bytes have come off the disk's: a quarter of the disk, or twice what the guard has seen.
    assert!(job["reserved_bytes"].as_u64().is_some_and(|bytes| bytes <= DISK * MIB / 3), "{job:#}");
}
