use super::*;
use crate::model::reap::{EnvironmentKind, Pattern, ReapReason};
use crate::reap::sources::Objection;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::UNIX_EPOCH;

const NOW: u64 = 1_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// A source with prepared answers, used one by one; the last one is repeated. Deletes take effect unless the test says otherwise.
#[derive(Default)]
struct FakeSource {
    listings: RefCell<VecDeque<Result<Vec<Environment>, SourceError>>>,
    last: RefCell<Vec<Environment>>,
    lies: bool,
    fails: bool,
    objections: RefCell<VecDeque<Option<Objection>>>,
    log: RefCell<Vec<String>>,
}

impl FakeSource {
    fn of(listing: Vec<Environment>) -> Self {
        Self { last: RefCell::new(listing), ..Self::default() }
    }

    fn then(self, listing: Result<Vec<Environment>, SourceError>) -> Self {
        self.listings.borrow_mut().push_back(listing);
        self
    }

    fn deletes(&self) -> Vec<String> {
        self.log.borrow().iter().filter_map(|line| line.strip_prefix("delete ")).map(str::to_owned).collect()
    }
}

impl EnvironmentSource for FakeSource {
    fn list(&self, _: SystemTime) -> Result<Vec<Environment>, SourceError> {
        self.log.borrow_mut().push("list".into());
        match self.listings.borrow_mut().pop_front() {
            Some(listing) => listing,
            None => Ok(self.last.borrow().clone()),
        }
    }

    fn objection(&self, environment: &Environment) -> Option<Objection> {
        self.log.borrow_mut().push(format!("ask {}", environment.id));
        self.objections.borrow_mut().pop_front().unwrap_or(None)
    }

    fn delete(&self, environment: &Environment) -> Result<(), SourceError> {
        self.log.borrow_mut().push(format!("delete {}", environment.id));
        if self.fails {
            return Err(SourceError::Refused("no".into()));
        }
        if !self.lies {
            self.last.borrow_mut().retain(|other| other.id != environment.id);
        }
        Ok(())
    }
}

#[derive(Default)]
struct RecordedEvents(Vec<String>);

impl ReapEvents for RecordedEvents {
    fn begun(&mut self, _: &ReapRule) {
        self.0.push("begun".into());
    }
    fn outcome(&mut self, _: &ReapRule, reaping: &Reaping, _: Duration) {
        self.0.push(format!("{} {}", reaping.result.as_str(), reaping.environment.id));
    }
    fn list_failed(&mut self, _: &ReapRule, why: &str) {
        self.0.push(format!("list failed: {why}"));
    }
}

fn rule() -> ReapRule {
    ReapRule {
        name: "e".into(),
        kind: EnvironmentKind::Command,
        command: vec!["x".into()],
        matches: vec![Pattern::parse("vm-*").unwrap()],
        keep: vec![Pattern::parse("vm-keep*").unwrap()],
        max_age: Duration::from_secs(7200),
        never_started_grace: Duration::from_secs(21_600),
        batch: 2,
        pause: Duration::ZERO,
        max_per_run: 20,
        timeout: Duration::from_secs(5),
        min_age: Duration::from_secs(3600),
        stale_generation: false,
        worker_check: vec![],
        busy_snapshot: None,
    }
}

/// Stopped `hours` ago by its own account.
fn stopped(id: &str, hours: u64) -> Environment {
    Environment {
        since: Some(now() - Duration::from_secs(hours * 3600)),
        ..Environment::new(id, id, EnvironmentState::Stopped)
    }
}

fn running(id: &str) -> Environment {
    Environment::new(id, id, EnvironmentState::Running)
}

fn run_with(
    fake: &FakeSource,
    rule: &ReapRule,
    execution: Execution,
    runners: &dyn Fn(&BTreeSet<String>) -> HashMap<String, Liveness>,
) -> (EntryReport, Vec<String>) {
    let mut told = RecordedEvents::default();
    let deadline = Instant::now() + Duration::from_secs(600);
    let mut run = ReapRun { rule, source: fake, runners, clock: now, deadline, execution, events: &mut told };
    let report = run.run(&mut FirstSeen::default());
    (report, told.0)
}

fn run(fake: &FakeSource, execution: Execution) -> EntryReport {
    run_with(fake, &rule(), execution, &|_| HashMap::new()).0
}

fn results(report: &EntryReport) -> Vec<(&str, &str)> {
    let pair = |reaping: &'_ Reaping| (reaping.environment.id.clone(), reaping.result.as_str());
    let leaked: Vec<(String, &str)> = report.reapings.iter().map(pair).collect();
    leaked.into_iter().map(|(id, result)| (Box::leak(id.into_boxed_str()) as &str, result)).collect()
}

#[test]
fn one_that_runs_is_asked_for_the_plan_and_again_right_before_its_delete() {
    let idle = || Environment {
        created: Some(now() - Duration::from_secs(9000)),
        since: Some(now() - Duration::from_secs(9000)),
        ..Environment::new("vm-1", "vm-1", EnvironmentState::Idle)
    };
    let works = || Some(Objection::Works("a Worker".into()));
    let cannot = || Some(Objection::CannotTell("no answer".into()));
    for (what, objections, verdict, result, is_gone) in [
        ("nothing works in it", vec![], "idle", "reaped", true),
        ("a Worker runs", vec![works()], "claimed", "kept", false),
        ("it does not answer", vec![cannot()], "unproven", "kept", false),
        ("a Worker begins before its delete", vec![None, works()], "idle", "changed", false),
        ("it does not answer before its delete", vec![None, cannot()], "idle", "changed", false),
    ] {
        let fake = FakeSource {
            objections: RefCell::new(objections.into()),
            ..FakeSource::of(vec![idle(), stopped("vm-2", 3)])
        };
        let report = run(&fake, Execution::Apply);
        let name = match &report.reapings[0].verdict {
            ReapDecision::Reap(reason) => reason.as_str(),
            ReapDecision::Stay(stays) => stays.as_str(),
        };
        assert_eq!((name, report.reapings[0].result.as_str()), (verdict, result), "{what}");
        let gone: &[&str] = if is_gone { &["vm-2", "vm-1"] } else { &["vm-2"] };
        assert_eq!(fake.deletes(), gone, "{what}: the stopped one goes in any case");
        assert_eq!(report.unproven(), usize::from(verdict == "unproven"), "{what}");
    }
    let fake = FakeSource::of(vec![idle()]);
    run(&fake, Execution::DryRun);
    assert_eq!(*fake.log.borrow(), ["list", "ask vm-1"], "a dry run asks as well");
    // Those that do not answer do not use up the limit, and no run asks without end.
    let many: Vec<Environment> = (0..100).map(|n| Environment { id: format!("vm-{n}"), ..idle() }).collect();
    let fake =
        FakeSource { objections: RefCell::new((0..100).map(|_| cannot()).collect()), ..FakeSource::of(many) };
    let report = run(&fake, Execution::Apply);
    let asked = fake.log.borrow().iter().filter(|line| line.starts_with("ask")).count();
    assert_eq!((asked, report.unproven(), fake.deletes().len()), (60, 60, 0));
}

#[test]
fn of_a_mixed_batch_exactly_the_leaked_environments_are_deleted() {
    let fake = FakeSource::of(vec![
        stopped("vm-1", 3),
        running("vm-2"),
        stopped("vm-3", 1),
        Environment::new("vm-4", "vm-4", EnvironmentState::Unknown("?".into())),
        Environment::new("vm-5", "vm-5", EnvironmentState::Terminated),
        stopped("vm-keep-6", 9),
        stopped("other", 9),
        stopped("vm-7", 5),
        Environment {
            created: Some(now() - Duration::from_secs(30_000)),
            since: Some(now() - Duration::from_secs(30_000)),
            ..Environment::new("vm-8", "vm-8", EnvironmentState::NeverStarted)
        },
    ]);
    let preview = run(&fake, Execution::DryRun);
    assert_eq!(*fake.log.borrow(), ["list"], "a dry run lists once and deletes nothing");
    let report = run(&fake, Execution::Apply);
    let planned: Vec<_> =
        results(&preview).into_iter().filter(|(_, result)| *result == "planned").map(|(id, _)| id).collect();
    let reaped: Vec<_> =
        results(&report).into_iter().filter(|(_, result)| *result == "reaped").map(|(id, _)| id).collect();
    assert_eq!((planned.as_slice(), planned.clone()), (&["vm-1", "vm-7", "vm-8"][..], reaped));
    assert_eq!(fake.deletes(), ["vm-8", "vm-7", "vm-1"], "the longest idle goes first");
    assert_eq!((report.listed, report.unknown(), report.waiting(), report.leaked()), (9, 1, 1, 0));
    assert!(!report.is_failed());
    assert_eq!(fake.last.borrow().len(), 6);
}

#[test]
fn each_delete_has_a_listing_immediately_before_and_after_it() {
    let fake = FakeSource::of(vec![stopped("vm-1", 3), stopped("vm-2", 4)]);
    run(&fake, Execution::Apply);
    assert_eq!(*fake.log.borrow(), ["list", "list", "delete vm-2", "list", "list", "delete vm-1", "list"]);
}

#[test]
fn an_environment_that_changed_after_the_plan_is_kept() {
    let plan = || vec![stopped("vm-1", 3), stopped("vm-2", 5)];
    let with = |change: Environment| vec![change, stopped("vm-2", 5)];
    for (what, then) in [
        ("it runs", with(running("vm-1"))),
        ("it was used", with(Environment { mark: "2".into(), ..stopped("vm-1", 3) })),
        ("it was renamed", with(Environment { name: "vm-x".into(), ..stopped("vm-1", 3) })),
        ("it stopped again just now", with(stopped("vm-1", 0))),
        ("a job claims it", with(Environment { claim: Some("job".into()), ..stopped("vm-1", 3) })),
        ("it is unknown", with(Environment::new("vm-1", "vm-1", EnvironmentState::Unknown("?".into())))),
        ("it terminated", with(Environment::new("vm-1", "vm-1", EnvironmentState::Terminated))),
        ("somebody deletes it", with(Environment { is_ending: true, ..stopped("vm-1", 3) })),
        ("it is gone", vec![stopped("vm-2", 5)]),
    ] {
        let fake = FakeSource::of(then).then(Ok(plan()));
        let report = run(&fake, Execution::Apply);
        assert_eq!(results(&report), [("vm-1", "changed"), ("vm-2", "reaped")], "{what}");
        assert_eq!(fake.deletes(), ["vm-2"], "{what}: the control goes");
        assert!(!report.is_failed(), "{what}");
    }
}

#[test]
fn a_delete_that_fails_or_removes_nothing_is_reported_as_a_failure() {
    for (lies, fails, expected) in [(false, false, "reaped"), (true, false, "lied"), (false, true, "failed")]
    {
        let fake = FakeSource { lies, fails, ..FakeSource::of(vec![stopped("vm-1", 3)]) };
        let (report, told) = run_with(&fake, &rule(), Execution::Apply, &|_| HashMap::new());
        assert_eq!(results(&report), [("vm-1", expected)]);
        assert_eq!(
            (report.is_failed(), report.leaked()),
            (expected != "reaped", usize::from(expected != "reaped"))
        );
        assert_eq!(told, ["begun".to_owned(), format!("{expected} vm-1")]);
    }
}

#[test]
fn listings_that_fail_reap_nothing_more() {
    let partial = || Err(SourceError::Partial("cut".into()));
    let both = || vec![stopped("vm-1", 3), stopped("vm-2", 4)];
    let fake = FakeSource::of(both()).then(partial());
    let report = run(&fake, Execution::Apply);
    assert!(report.is_failed() && fake.deletes().is_empty() && report.reapings.is_empty());
    let fake = FakeSource::of(both()).then(Ok(both())).then(partial());
    let report = run(&fake, Execution::Apply);
    assert_eq!(results(&report), [("vm-1", "deferred"), ("vm-2", "deferred")], "before the first delete");
    assert!(report.is_failed() && fake.deletes().is_empty());
    let fake = FakeSource::of(both()).then(Ok(both())).then(Ok(both())).then(partial());
    let report = run(&fake, Execution::Apply);
    assert_eq!(results(&report), [("vm-1", "deferred"), ("vm-2", "failed")], "after the first delete");
    assert_eq!(fake.deletes(), ["vm-2"]);
    let twice = vec![stopped("vm-1", 3), stopped("vm-1", 3)];
    let report = run(&FakeSource::of(twice), Execution::Apply);
    assert!(report.error.as_deref().unwrap_or_default().contains("twice"), "{report:?}");
}

#[test]
fn a_run_takes_no_more_than_its_cap() {
    let fake = FakeSource::of((1..=9).map(|n| stopped(&format!("vm-{n}"), 2 + n)).collect());
    let capped = ReapRule { max_per_run: 3, ..rule() };
    let (report, _) = run_with(&fake, &capped, Execution::Apply, &|_| HashMap::new());
    assert_eq!(fake.deletes(), ["vm-9", "vm-8", "vm-7"]);
    assert_eq!((report.reaped(), report.leaked()), (3, 6));
    assert!(!report.is_failed(), "what is left for the next run is no failure");
}

#[test]
fn a_run_past_its_deadline_deletes_nothing() {
    let fake = FakeSource::of(vec![stopped("vm-1", 3)]);
    let (rule, mut told) = (rule(), RecordedEvents::default());
    let deadline = Instant::now();
    let mut run = ReapRun {
        rule: &rule,
        source: &fake,
        runners: &|_| HashMap::new(),
        clock: now,
        deadline,
        execution: Execution::Apply,
        events: &mut told,
    };
    let report = run.run(&mut FirstSeen::default());
    assert_eq!((results(&report), fake.deletes().len()), (vec![("vm-1", "deferred")], 0));
}

#[test]
fn an_environment_of_a_busy_runner_is_kept_even_when_its_job_starts_late() {
    let of_runner = |id: &str, runner: &str| Environment { runner: Some(runner.into()), ..stopped(id, 3) };
    let calls = RefCell::new(0);
    // r2 takes a job after the plan was made.
    let runners = |named: &BTreeSet<String>| {
        *calls.borrow_mut() += 1;
        let first = *calls.borrow() == 1;
        let state = |name: &str| match name {
            "r1" => Liveness::Busy,
            "r2" if !first => Liveness::Busy,
            _ => Liveness::Idle,
        };
        named.iter().map(|name| (name.clone(), state(name))).collect()
    };
    let fake =
        FakeSource::of(vec![of_runner("vm-1", "r1"), of_runner("vm-2", "r2"), of_runner("vm-3", "r3")]);
    let (report, _) = run_with(&fake, &rule(), Execution::Apply, &runners);
    assert_eq!(results(&report), [("vm-1", "kept"), ("vm-2", "changed"), ("vm-3", "reaped")]);
}

#[test]
fn without_times_of_its_own_an_environment_has_to_be_seen_for_long() {
    let bare = || vec![Environment::new("vm-1", "vm-1", EnvironmentState::Stopped)];
    let (rule, mut seen) = (rule(), FirstSeen::default());
    for (hours_ago, expected) in [(3, "kept"), (2, "kept"), (1, "reaped")] {
        // The same clock for all: the remembered time is older instead.
        let mut older = FirstSeen::default();
        older.observe(&bare(), now() - Duration::from_secs(3600 * (4 - hours_ago)));
        if hours_ago < 3 {
            seen = older;
        }
        let fake = FakeSource::of(bare());
        let mut told = RecordedEvents::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut run = ReapRun {
            rule: &rule,
            source: &fake,
            runners: &|_| HashMap::new(),
            clock: now,
            deadline,
            execution: Execution::Apply,
            events: &mut told,
        };
        let expected = if hours_ago == 2 { "reaped" } else { expected };
        assert_eq!(results(&run.run(&mut seen)), [("vm-1", expected)], "{hours_ago}");
    }
}

/// The same ten thousand that the bench times.
#[test]
fn ten_thousand_are_judged_and_only_the_leaked_go() {
    let listing: Vec<Environment> = (0..10_000)
        .map(|n| match n % 4 {
            0 => stopped(&format!("vm-{n}"), 3),
            1 => running(&format!("vm-{n}")),
            2 => stopped(&format!("other-{n}"), 3),
            _ => {
                Environment::new(format!("vm-{n}"), format!("vm-{n}"), EnvironmentState::Unknown("?".into()))
            }
        })
        .collect();
    let report = run(&FakeSource::of(listing), Execution::Apply);
    assert_eq!((report.listed, report.reapings.len(), report.unknown()), (10_000, 7500, 2500));
    assert_eq!((report.reaped(), report.leaked()), (20, 2480));
    let reason = |reaping: &&Reaping| reaping.verdict == ReapDecision::Reap(ReapReason::Stopped);
    assert!(
        report
            .reapings
            .iter()
            .filter(reason)
            .all(|reaping| reaping.environment.state == EnvironmentState::Stopped)
    );
}
