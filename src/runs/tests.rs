//! Runs on a host of plain files.

use super::remediate::Contamination;
use super::*;
use crate::model::ledger::Scope;
use crate::model::{Execution, Liveness};
use crate::overview::check::{CheckError, CheckQuestion, answer};
use crate::plain_host::PlainHost;
use crate::run_dir::{Records, RunDir};
use crate::run_log::RunLog;
use std::fs;
use std::path::PathBuf;

/// A runner with one cache that is larger than its rule allows, a run directory and a state directory.
struct Scene {
    base: PathBuf,
    config: Config,
    proc: Proc,
    _files: PlainHost,
}

impl Scene {
    fn new(more: &str) -> Self {
        let files = PlainHost::new();
        files.runner_with_a_cache();
        let more = format!(
            "[pressure]\nmin_free = \"0\"\nmin_free_inodes = \"0%\"\nhigh = \"100%\"\ncritical = \"100%\"\n\
             [metrics]\ntextfile = \"{}/metrics.prom\"\n{more}",
            files.base.display()
        );
        let config = files.config("runner", &more);
        Self { proc: Proc::new(&config.paths.proc), config, base: files.base.clone(), _files: files }
    }

    fn host(&self) -> Host<'_> {
        Host { config: &self.config, proc: &self.proc, complain: |error| panic!("{error}") }
    }

    fn run_dir(&self) -> RunDir {
        RunDir::open(&self.config.paths.run_dir).unwrap()
    }
}

#[test]
fn a_sweep_answers_requests_clears_what_is_no_record_and_writes_the_metrics() {
    let scene = Scene::new("");
    let run = scene.run_dir();
    for records in [Records::Requests, Records::Counters] {
        run.prepare(records).unwrap();
    }
    let [requests, counters] = ["requests", "counters"].map(|name| scene.base.join("run").join(name));
    fs::write(requests.join("disk-7"), "").unwrap();
    fs::create_dir_all(counters.join("no-record/deep")).unwrap();

    let swept = sweep::run(&scene.host()).unwrap();
    assert!(swept.result.is_ok() && swept.report.goal_met);
    assert_eq!(swept.contamination, Contamination::Bounded);
    assert_eq!(fs::read_dir(&requests).unwrap().count(), 0, "the request is answered");
    assert!(!counters.join("no-record").exists());
    let noted =
        swept.report.notes.iter().any(|note| note.contains("were no records") && note.contains("counters"));
    assert!(noted, "{:?}", swept.report.notes);
    let metrics = fs::read_to_string(scene.base.join("metrics.prom")).unwrap();
    assert!(metrics.contains("disk_guard_last_sweep_success 1"), "{metrics}");
    assert!(
        scene.base.join("runner/_work/app/app/target").exists(),
        "no disk is full, and no rule limits it"
    );
}

#[test]
fn a_preview_changes_nothing() {
    let scene = Scene::new("[[cache]]\nname = \"cargo-target\"\nmax_size = \"1KiB\"\n");
    let report = sweep::preview(&scene.host());
    assert_eq!(report.outcomes.len(), 1, "it would be looked at");
    assert!(scene.base.join("runner/_work/app/app/target/debug/lib.rlib").exists());
    assert_eq!(fs::read_dir(scene.base.join("run")).unwrap().count(), 0, "nor does it leave a record");
    assert!(!scene.base.join("state").exists() && !scene.base.join("metrics.prom").exists());
}

#[test]
fn a_run_over_nothing_leaves_no_record() {
    let scene = Scene::new("");
    let reaped = reap::run(&scene.host(), &[], Execution::Apply);
    assert!(reaped.entries.is_empty() && !reaped.is_failed());
    let collected = stores::run(&scene.host(), &[], Execution::Apply).unwrap();
    assert!(!collected.is_failed());
    assert!(
        dedupe::run(&scene.host(), &scene.run_dir(), &mut run_log(&scene)).is_none(),
        "it is off by default"
    );
    service::enforce(&scene.host());
    assert!(!scene.base.join("state").exists());
}

fn run_log(scene: &Scene) -> RunLog {
    RunLog::new(&scene.config, &scene.proc, Scope::Sweep, None)
}

#[test]
fn check_answers_for_the_runner_of_a_path_or_reports_why_it_cannot() {
    let scene = Scene::new("");
    let snapshot = scene.host().snapshot();
    let cache = scene.base.join("runner/_work/app/app/target");
    let of_path = answer(&snapshot, CheckQuestion::Path(&cache)).unwrap();
    assert_eq!(of_path.runner.as_deref(), Some("runner-1"));
    assert_eq!(of_path.path.as_deref(), Some(cache.as_path()));
    let of_name = answer(&snapshot, CheckQuestion::Runner("runner-1")).unwrap();
    assert_eq!((of_name.runner, of_name.state), (of_path.runner, of_path.state));

    let elsewhere = answer(&snapshot, CheckQuestion::Path(&scene.base.join("run"))).unwrap();
    assert_eq!((elsewhere.runner, elsewhere.state), (None, Liveness::Unknown));
    let unnamed = answer(&snapshot, CheckQuestion::Runner("runner-9")).unwrap_err();
    assert!(
        matches!(unnamed, CheckError::Unnamed(_)) && unnamed.to_string().contains("runner-1"),
        "{unnamed}"
    );
    let missing = answer(&snapshot, CheckQuestion::Path(&scene.base.join("missing/target"))).unwrap_err();
    assert!(matches!(missing, CheckError::Unresolved { .. }), "{missing}");
}
