//! Ten thousand environments, listed by a program and decided, in a dry run: the goal is under a second.
//!
//! `cargo bench --bench reap [-- ENVIRONMENTS]`.
#![allow(clippy::disallowed_methods, reason = "the bench lays out files of its own and reads the clock")]

use disk_guard::model::Execution;
use disk_guard::model::reap::{EnvironmentKind, Pattern, ReapReport, ReapRule, Reaping};
use disk_guard::reap::engine::{ReapEvents, ReapRun};
use disk_guard::reap::first_seen::FirstSeen;
use disk_guard::reap::sources;
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

const ROUNDS: usize = 9;

struct Nobody;

impl ReapEvents for Nobody {
    fn begun(&mut self, _: &ReapRule) {}
    fn outcome(&mut self, _: &ReapRule, _: &Reaping, _: Duration) {}
    fn list_failed(&mut self, _: &ReapRule, _: &str) {}
}

fn main() {
    let count = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10_000);
    let temp = tempfile::tempdir().expect("a directory");
    println!("{count} environments, every fourth leaked, medians of {ROUNDS}");
    for (kind, item) in [
        (EnvironmentKind::Tart, tart as fn(usize) -> String),
        (EnvironmentKind::Command, own),
        (EnvironmentKind::Kubernetes, pod),
    ] {
        let rule = rule(kind, &tool(temp.path(), kind, count, item));
        let mut times: Vec<Duration> = (0..ROUNDS).map(|_| once(&rule, count)).collect();
        times.sort();
        println!(
            "{:<12} listed and decided {:>9.1} ms",
            kind.as_str(),
            times[ROUNDS / 2].as_secs_f64() * 1e3
        );
    }
    println!("goal: under a second");
}

fn once(rule: &ReapRule, count: usize) -> Duration {
    let source = sources::of(rule, &[PathBuf::from("/usr/bin"), "/bin".into()]);
    let begun = Instant::now();
    let mut run = ReapRun {
        rule,
        source: source.as_ref(),
        runners: &|_| HashMap::new(),
        clock: SystemTime::now,
        deadline: begun + Duration::from_secs(60),
        execution: Execution::DryRun,
        events: &mut Nobody,
    };
    let report = run.run(&mut FirstSeen::default());
    let took = begun.elapsed();
    assert_eq!((report.listed, report.error.as_deref()), (count, None), "all are listed");
    assert_eq!(report.reapings.len(), count, "all are matched");
    drop(ReapReport { dry_run: true, entries: vec![report] });
    took
}

fn tart(n: usize) -> String {
    let state = if n.is_multiple_of(4) { "stopped" } else { "running" };
    format!(
        r#"{{"Source":"local","Name":"vm-{n}","Disk":50,"Size":21,"Running":{},"State":"{state}"}}"#,
        state == "running"
    )
}

fn own(n: usize) -> String {
    let state = if n.is_multiple_of(4) { "stopped" } else { "running" };
    format!(r#"{{"id":"vm-{n}","state":"{state}","since":"2026-01-01T00:00:00Z","labels":{{"ci":"yes"}}}}"#)
}

fn pod(n: usize) -> String {
    let state = if n.is_multiple_of(4) {
        r#"{"waiting":{"reason":"ImagePullBackOff"}}"#
    } else {
        r#"{"running":{}}"#
    };
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"vm-{n}","namespace":"ci","uid":"u{n}","resourceVersion":"7","creationTimestamp":"2026-01-01T00:00:00Z","labels":{{"app":"runner"}}}},"spec":{{"containers":[{{"name":"runner"}}]}},"status":{{"phase":"Pending","containerStatuses":[{{"name":"runner","state":{state},"started":false,"restartCount":0,"lastState":{{}}}}]}}}}"#
    )
}

/// A program that prints the list.
fn tool(dir: &Path, kind: EnvironmentKind, count: usize, item: fn(usize) -> String) -> String {
    let items: Vec<String> = (0..count).map(item).collect();
    let items = items.join(",");
    let document = match kind {
        EnvironmentKind::Command => format!(r#"{{"schema":1,"complete":true,"environments":[{items}]}}"#),
        EnvironmentKind::Kubernetes => format!(r#"{{"kind":"List","metadata":{{}},"items":[{items}]}}"#),
        _ => format!("[{items}]"),
    };
    let list = dir.join(format!("{kind}.json"));
    std::fs::write(&list, document).expect("a file");
    let program = dir.join(kind.as_str());
    std::fs::write(&program, format!("#!/bin/sh\nexec cat {}\n", list.display())).expect("a file");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    program.display().to_string()
}

fn rule(kind: EnvironmentKind, program: &str) -> ReapRule {
    ReapRule {
        name: "bench".into(),
        kind,
        command: vec![program.into()],
        matches: vec![Pattern::parse("vm-*").unwrap(), Pattern::parse("label:ci=none").unwrap()],
        keep: vec![Pattern::parse("vm-keep-*").unwrap()],
        max_age: Duration::from_secs(7200),
        never_started_grace: Duration::from_secs(21_600),
        batch: 5,
        pause: Duration::ZERO,
        max_per_run: 20,
        timeout: Duration::from_secs(60),
        min_age: Duration::from_secs(3600),
        stale_generation: false,
        worker_check: vec![],
        busy_snapshot: None,
    }
}
