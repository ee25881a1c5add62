//! A run of the reaper: leaked environments, entry by entry as `[[reap]]` says.

use super::Host;
use crate::clock::now;
use crate::model::Execution;
use crate::model::Liveness;
use crate::model::ledger::Scope;
use crate::model::reap::{ReapReport, ReapResult, ReapRule, Reaping};
use crate::overview;
use crate::policy::liveness;
use crate::reap::engine::{ReapEvents, ReapRun};
use crate::reap::first_seen::{self, FirstSeen};
use crate::reap::{record, sources};
use crate::report::events::{Event, EventKind};
use crate::report::reap_words;
use crate::run_log::RunLog;
use crate::setup::state::StateDir;
use crate::text::escape;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// The limit for all entries together. The next run continues with what is left.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Reaps what `rules` allow, or reports what would be reaped.
pub(crate) fn run(host: &Host<'_>, rules: &[&ReapRule], execution: Execution) -> ReapReport {
    let begun = Instant::now();
    let state = StateDir::at(&host.config.paths.state_dir);
    let mut log = ReapLog { run_log: None, host };
    let mut report = ReapReport { dry_run: execution.is_dry_run(), entries: Vec::new() };
    for rule in rules {
        let source = sources::of(rule, &host.config.paths.programs);
        let file = record::seen_file(&rule.name);
        let remembered = state.read_file(record::DIRECTORY, &file, first_seen::MAX_BYTES);
        let mut seen = match &remembered {
            Ok(Some(bytes)) => FirstSeen::parse(bytes),
            Ok(None) | Err(_) => FirstSeen::default(),
        };
        let mut run = ReapRun {
            rule,
            source: source.as_ref(),
            runners: &|named| runners(host, named),
            clock: now,
            deadline: begun + TIME_LIMIT,
            execution,
            events: &mut log,
        };
        let before = seen.clone();
        let mut entry = run.run(&mut seen);
        if execution == Execution::Apply && seen != before {
            let written = state.write_file(record::DIRECTORY, &file, &seen.to_bytes());
            if let Err(error) = written {
                entry.notes.push(format!("first-seen times cannot be recorded: {error}"));
            }
        }
        report.entries.push(entry);
    }
    if execution == Execution::Apply && !rules.is_empty() {
        remember(host, &state, &report);
    }
    log.ended(&report, begun.elapsed());
    report
}

/// Writes the record. A failure does not end the run: the record is for display, and no decision depends on it.
fn remember(host: &Host<'_>, state: &StateDir, report: &ReapReport) {
    let before = state.read_file(record::DIRECTORY, record::FILE, record::MAX_BYTES).ok().flatten();
    let before = before.and_then(|bytes| record::parse(&bytes));
    let configured: Vec<&str> = host.config.reaps.iter().map(|rule| rule.name.as_str()).collect();
    let record = record::after(before, report, &configured, now());
    if let Err(error) = state.write_file(record::DIRECTORY, record::FILE, &record::to_bytes(&record)) {
        (host.complain)(&error);
    }
}

/// The runners that environments name, each as `check` would answer. Two of one name answer for each other.
fn runners(host: &Host<'_>, named: &BTreeSet<String>) -> HashMap<String, Liveness> {
    let alive = overview::alive(&host.snapshot());
    let mut states: HashMap<String, Liveness> = HashMap::new();
    for (index, facts) in alive.facts.runners.iter().enumerate() {
        let name = &facts.runner.name;
        if named.contains(name) {
            let state = liveness::judge(&alive.evidence[index]);
            let both = states.entry(name.clone()).or_insert(state);
            if state != *both {
                *both = Liveness::Unknown;
            }
        }
    }
    states
}

/// Tells the journal and the ledger; a run that deletes nothing and fails at nothing leaves no entry.
struct ReapLog<'a> {
    run_log: Option<RunLog>,
    host: &'a Host<'a>,
}

impl ReapLog<'_> {
    fn run_log(&mut self) -> &mut RunLog {
        let host = self.host;
        self.run_log.get_or_insert_with(|| {
            let mut run_log = RunLog::new(host.config, host.proc, Scope::Reap, None);
            run_log.begun();
            run_log
        })
    }

    fn ended(&mut self, report: &ReapReport, took: Duration) {
        if let Some(run_log) = &mut self.run_log {
            run_log.reaper_ended(report, took);
        }
    }
}

impl ReapEvents for ReapLog<'_> {
    fn begun(&mut self, _: &ReapRule) {
        self.run_log();
    }

    fn outcome(&mut self, rule: &ReapRule, reaping: &Reaping, took: Duration) {
        let environment = &reaping.environment;
        let (kind, reason) = match &reaping.result {
            ReapResult::Reaped => (EventKind::Reaped, reap_words::verdict(&reaping.verdict)),
            ReapResult::Lied => (EventKind::Error, "reap-lied"),
            ReapResult::Failed(_) => (EventKind::Error, "reap-failed"),
            ReapResult::Changed(_) | ReapResult::Kept => (EventKind::Kept, "changed"),
            ReapResult::Planned | ReapResult::Deferred(_) => return,
        };
        let event = Event::new(kind, reap_words::deed(rule, reaping))
            .environment(&environment.name)
            .rule(&rule.name)
            .reason(reason)
            .summary(reap_words::grounds(reaping))
            .job_name(environment.job.as_deref())
            .duration(took);
        self.run_log().tell(match environment.bytes {
            Some(bytes) => event.bytes(bytes),
            None => event,
        });
    }

    fn list_failed(&mut self, rule: &ReapRule, why: &str) {
        let text = format!(
            "{} ({}) cannot be listed, nothing more is reaped: {}",
            rule.name,
            rule.kind,
            escape::text(why)
        );
        self.run_log().tell(Event::new(EventKind::Error, text).rule(&rule.name).reason("reap-list-failed"));
    }
}
