//! A run over what engines and build tools keep for all jobs, entry by entry as `[[store]]` says.

use super::Host;
use crate::clock::now;
use crate::model::Execution;
use crate::model::ledger::Scope;
use crate::model::stores::{StoreReport, StoreResult, StoreRule, StoresRecord, StoresReport};
use crate::observe::filesystems::MountTable;
use crate::report::events::{Event, EventKind};
use crate::report::{escape, store_words};
use crate::run_dir::{RunDir, RunDirError};
use crate::run_log::RunLog;
use crate::setup::state::StateDir;
use crate::stores::engine::{StoreEvents, StoreRun};
use crate::stores::host::ThisHost;
use crate::stores::record;
use std::time::{Duration, Instant};

/// The limit for all entries together. The next run continues with what is left.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Collects what `rules` name, or reports what would be collected.
///
/// # Errors
/// The run directory cannot be opened, so that nothing would show that a job begins.
pub(crate) fn run(
    host: &Host<'_>,
    rules: &[StoreRule],
    execution: Execution,
) -> Result<StoresReport, RunDirError> {
    let begun = Instant::now();
    // A job that begins shows by its lease alone.
    let run = match execution {
        Execution::Apply if !rules.is_empty() => RunDir::open(&host.config.paths.run_dir).map(Some),
        _ => RunDir::open_existing(&host.config.paths.run_dir),
    };
    let run = match run {
        Ok(run) => run,
        Err(error) if execution == Execution::Apply => return Err(error),
        Err(_) => None,
    };
    let state = StateDir::at(&host.config.paths.state_dir);
    let before = record::read(&state).unwrap_or_default();
    let mut log = StoreLog { run_log: None, host };
    let mut work = StoreRun {
        rules,
        programs: &host.config.paths.programs,
        marks: &host.config.watermarks,
        mounts: &MountTable::read(host.proc),
        host: &ThisHost::new(host.config, host.proc, run.as_ref(), now),
        before: &before,
        now: now(),
        deadline: begun + TIME_LIMIT,
        execution,
        events: &mut log,
    };
    let report = work.run();
    if execution == Execution::Apply && !rules.is_empty() {
        remember(host, &state, &before, &report);
    }
    if let Some(run_log) = &mut log.run_log {
        run_log.stores_ended(&report, begun.elapsed());
    }
    Ok(report)
}

/// Writes the record. A failure does not end the run: the record is for display, and for how soon a store is collected again.
fn remember(host: &Host<'_>, state: &StateDir, before: &StoresRecord, report: &StoresReport) {
    let configured: Vec<&str> = host.config.stores.iter().map(|rule| rule.name.as_str()).collect();
    let record = record::after(before, report, &configured, now());
    if let Err(error) = state.write_file(record::DIRECTORY, record::FILE, &record::to_bytes(&record)) {
        (host.complain)(&error);
    }
}

/// Tells the journal and the ledger; a run that collects nothing leaves no entry.
struct StoreLog<'a> {
    run_log: Option<RunLog>,
    host: &'a Host<'a>,
}

impl StoreEvents for StoreLog<'_> {
    fn outcome(&mut self, report: &StoreReport) {
        let host = self.host;
        let (kind, reason) = match &report.result {
            StoreResult::Collected => (EventKind::Collected, store_words::reason(report)),
            StoreResult::Interrupted(_) => (EventKind::Collected, "interrupted"),
            StoreResult::Failed(_) => (EventKind::Error, "store-failed"),
            StoreResult::Deferred => (EventKind::Kept, report.result.as_str()),
            StoreResult::Planned | StoreResult::Kept => return,
        };
        let run_log = self.run_log.get_or_insert_with(|| {
            let mut run_log = RunLog::new(host.config, host.proc, Scope::Stores, None);
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
            event = event.summary("every runner was idle, checked again right before it".to_owned());
        }
        run_log.tell(match &report.facts.path {
            Some(path) => event.path(path),
            None => event,
        });
    }
}
