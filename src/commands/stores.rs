//! `stores`: what engines and build tools keep for all jobs, entry by entry as `[[store]]` says; also a part of a sweep that a
//! person runs, and of `plan`.

use super::entries::{self, Part};
use super::run_log::RunLog;
use super::{Context, complain, now, present};
use crate::model::Execution;
use crate::model::ledger::Scope;
use crate::model::stores::{StoreReport, StoreResult, StoreRule, StoresRecord, StoresReport};
use crate::observe::filesystems::MountTable;
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::{escape, human, json, store_words};
use crate::run_dir::RunDir;
use crate::setup::state::StateDir;
use crate::stores::engine::{Run, StoreEvents};
use crate::stores::host::ThisHost;
use crate::stores::record;
use std::time::{Duration, Instant};

/// All entries together; what is left is for the next run.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Collects, or shows what would be collected.
pub(super) fn run(context: &Context, execution: Execution, chosen: &[String], as_json: bool) -> Exit {
    let rules = match entries::chosen("store", &context.config.stores, |rule| &rule.name, chosen) {
        Ok(rules) => rules.into_iter().cloned().collect::<Vec<StoreRule>>(),
        Err(exit) => return exit,
    };
    let report = match collect(context, &rules, execution) {
        Ok(report) => report,
        Err(exit) => return exit,
    };
    present(
        &context.screen,
        as_json,
        || json::stores(&report, json::Layout::Pretty),
        || human::stores(&report, &context.screen),
    );
    if report.is_failed() { Exit::Error } else { Exit::Done }
}

/// The part of a sweep or a plan; `None` where nothing is configured.
pub(super) fn part(context: &Context, part: Part, execution: Execution) -> Option<StoresReport> {
    if context.config.stores.is_empty() || part == Part::Left {
        return None;
    }
    let report = collect(context, &context.config.stores, execution).ok()?;
    if report.is_failed() && execution == Execution::Apply {
        complain(
            &"stores could not all be collected; the sweep itself did not fail: see its report, or `disk-guard status`",
        );
    }
    Some(report)
}

fn collect(context: &Context, rules: &[StoreRule], execution: Execution) -> Result<StoresReport, Exit> {
    let begun = Instant::now();
    // Without the directory of leases nobody would tell of a job that comes.
    let run = match execution {
        Execution::Apply if !rules.is_empty() => RunDir::open(&context.config.paths.run_dir).map(Some),
        _ => RunDir::open_existing(&context.config.paths.run_dir),
    };
    let run = match run {
        Ok(run) => run,
        Err(error) if execution == Execution::Apply => {
            complain(&error);
            return Err(Exit::Error);
        }
        Err(_) => None,
    };
    let state = StateDir::at(&context.config.paths.state_dir);
    let before = record::read(&state).unwrap_or_default();
    let mut log = StoreLog { run_log: None, context };
    let mut work = Run {
        rules,
        programs: &context.config.paths.programs,
        marks: &context.config.watermarks,
        mounts: &MountTable::read(&context.proc),
        host: &ThisHost::new(&context.config, &context.proc, run.as_ref(), now),
        before: &before,
        now: now(),
        deadline: begun + TIME_LIMIT,
        execution,
        events: &mut log,
    };
    let report = work.run();
    if execution == Execution::Apply && !rules.is_empty() {
        remember(context, &state, &before, &report);
    }
    if let Some(run_log) = &mut log.run_log {
        run_log.stores_ended(&report, begun.elapsed());
    }
    Ok(report)
}

/// The record goes on where nobody can write: it is for display, and for how soon a store is asked again.
fn remember(context: &Context, state: &StateDir, before: &StoresRecord, report: &StoresReport) {
    let configured: Vec<&str> = context.config.stores.iter().map(|rule| rule.name.as_str()).collect();
    let record = record::after(before, report, &configured, now());
    if let Err(error) = state.write_file(record::DIRECTORY, record::FILE, &record::to_bytes(&record)) {
        complain(&error);
    }
}

/// Tells the journal and the ledger; a run that collects nothing leaves no entry.
struct StoreLog<'a> {
    run_log: Option<RunLog>,
    context: &'a Context,
}

impl StoreEvents for StoreLog<'_> {
    fn outcome(&mut self, report: &StoreReport) {
        let context = self.context;
        let (kind, reason) = match &report.result {
            StoreResult::Collected => (EventKind::Collected, store_words::reason(report)),
            StoreResult::Interrupted(_) => (EventKind::Collected, "interrupted"),
            StoreResult::Failed(_) => (EventKind::Error, "store-failed"),
            StoreResult::Deferred => (EventKind::Kept, report.result.as_str()),
            StoreResult::Planned | StoreResult::Kept => return,
        };
        let run_log = self.run_log.get_or_insert_with(|| {
            let mut run_log = RunLog::new(&context.config, &context.proc, Scope::Stores, None);
            run_log.begun();
            run_log
        });
        let mut event = Event::new(kind, store_words::deed(report))
            .rule(&report.name)
            .reason(reason)
            .bytes(report.freed_bytes)
            .duration(report.took);
        if let Some(detail) = store_words::detail(report) {
            event = event.summary(escape::text(&detail).into_owned());
        } else {
            event = event.summary("every runner was idle, seen again right before it".to_owned());
        }
        run_log.tell(match &report.facts.path {
            Some(path) => event.path(path),
            None => event,
        });
    }
}
