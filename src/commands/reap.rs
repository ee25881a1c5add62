//! `reap`: leaked environments, entry by entry as `[[reap]]` says; also the last part of a sweep that a person runs.

use super::entries::{self, Part};
use super::run_log::RunLog;
use super::{Context, complain, now, overview, present};
use crate::model::Execution;
use crate::model::Liveness;
use crate::model::ledger::Scope;
use crate::model::reap::{ReapReport, ReapResult, ReapRule, Reaping};
use crate::policy::liveness;
use crate::reap::engine::{ReapEvents, Run};
use crate::reap::first_seen::{self, FirstSeen};
use crate::reap::{record, sources};
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::{human, json, reap_words};
use crate::setup::state::StateDir;
use crate::text::escape;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// All entries together; what is left is for the next run.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Reaps, or shows what would be reaped.
pub(super) fn run(context: &Context, execution: Execution, chosen: &[String], as_json: bool) -> Exit {
    let rules = match entries::chosen("reap", &context.config.reaps, |rule| &rule.name, chosen) {
        Ok(rules) => rules,
        Err(exit) => return exit,
    };
    let report = reap(context, &rules, execution);
    present(
        &context.screen,
        as_json,
        || json::reap(&report, json::Layout::Pretty),
        || human::reap(&report, &context.screen),
    );
    if report.is_failed() { Exit::Error } else { Exit::Done }
}

/// The sweep's part; `None` where nothing is configured.
pub(super) fn part(context: &Context, part: Part, execution: Execution) -> Option<ReapReport> {
    let rules: Vec<&ReapRule> = context.config.reaps.iter().collect();
    if rules.is_empty() || part == Part::Left {
        return None;
    }
    let report = reap(context, &rules, execution);
    if report.is_failed() {
        complain(
            &"the reaper failed in part; the sweep itself did not: see its report, or `disk-guard status`",
        );
    }
    Some(report)
}

fn reap(context: &Context, rules: &[&ReapRule], execution: Execution) -> ReapReport {
    let begun = Instant::now();
    let state = StateDir::at(&context.config.paths.state_dir);
    let mut log = ReapLog { run_log: None, context };
    let mut report = ReapReport { dry_run: execution.is_dry_run(), entries: Vec::new() };
    for rule in rules {
        let source = sources::of(rule, &context.config.paths.programs);
        let file = record::seen_file(&rule.name);
        let remembered = state.read_file(record::DIRECTORY, &file, first_seen::MAX_BYTES);
        let mut seen = match &remembered {
            Ok(Some(bytes)) => FirstSeen::parse(bytes),
            Ok(None) | Err(_) => FirstSeen::default(),
        };
        let mut run = Run {
            rule,
            source: source.as_ref(),
            runners: &|named| runners(context, named),
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
                entry.notes.push(format!("since when things are idle cannot be remembered: {error}"));
            }
        }
        report.entries.push(entry);
    }
    if execution == Execution::Apply && !rules.is_empty() {
        remember(context, &state, &report);
    }
    log.ended(&report, begun.elapsed());
    report
}

/// The record goes on where nobody can write: it is for display, and no decision rests on it.
fn remember(context: &Context, state: &StateDir, report: &ReapReport) {
    let before = state.read_file(record::DIRECTORY, record::FILE, record::MAX_BYTES).ok().flatten();
    let before = before.and_then(|bytes| record::parse(&bytes));
    let configured: Vec<&str> = context.config.reaps.iter().map(|rule| rule.name.as_str()).collect();
    let record = record::after(before, report, &configured, now());
    if let Err(error) = state.write_file(record::DIRECTORY, record::FILE, &record::to_bytes(&record)) {
        complain(&error);
    }
}

/// The runners that environments name, each as `check` would answer. Two of one name answer for each other.
fn runners(context: &Context, named: &BTreeSet<String>) -> HashMap<String, Liveness> {
    let alive = overview::alive(&context.snapshot());
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
    context: &'a Context,
}

impl ReapLog<'_> {
    fn run_log(&mut self) -> &mut RunLog {
        let context = self.context;
        self.run_log.get_or_insert_with(|| {
            let mut run_log = RunLog::new(&context.config, &context.proc, Scope::Reap, None);
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
