//! Repairs of work directories: one repository at a person's request, or the safe repairs of a sweep.

use super::Host;
use crate::clock::now;
use crate::hygiene::act::{RepairError, Repairs, Returned};
use crate::hygiene::observe::Git;
use crate::model::hygiene::{RemediateMode, RepairReport};
use crate::model::ledger::Scope;
use crate::model::{Execution, Runner};
use crate::report::escape;
use crate::report::events::{Event, EventKind};
use crate::run_dir::RunDir;
use crate::run_log::RunLog;
use crate::sys::program::Programs;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

/// The limit of a repair that a person waits for.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// The limit of a sweep's repairs. The next sweep continues.
const SWEEP_LIMIT: Duration = Duration::from_secs(600);

/// The extent of contamination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contamination {
    /// The sweep could repair it, or there is none, or it was not looked for.
    Bounded,
    /// To several repositories: nothing was repaired.
    Wider,
}

/// The options of `remediate`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemediateOptions<'a> {
    pub(crate) repository: &'a OsStr,
    pub(crate) mode: Option<RemediateMode>,
    pub(crate) execution: Execution,
    /// Repair although several repositories are contaminated.
    pub(crate) even_if_widespread: bool,
}

/// Git, where one of the directories of programs has it.
pub(crate) fn git(host: &Host<'_>) -> Option<Git> {
    let directories = &host.config.paths.programs;
    Programs(directories).find("git").ok().map(|path| Git::new(path, directories))
}

/// Repairs one repository of `runner`, or reports what would be done.
///
/// # Errors
/// See [`RepairError`].
pub(crate) fn run(
    host: &Host<'_>,
    run: &RunDir,
    (runner, all): (&Runner, &[Runner]),
    options: RemediateOptions<'_>,
) -> Result<RepairReport, RepairError> {
    let begun = Instant::now();
    let mut run_log = RunLog::new(host.config, host.proc, Scope::Remediate, Some(runner));
    if options.execution == Execution::Apply {
        run_log.begun();
        put_back(host, run, all, &mut run_log);
    }
    let git = git(host);
    let mut repairs =
        Repairs { deadline: begun + TIME_LIMIT, git: git.as_ref(), ..repairs(host, run, &mut run_log) };
    let allowed = match options.execution {
        Execution::Apply if !options.even_if_widespread => repairs.refuse_if_widespread(),
        Execution::Apply | Execution::DryRun => Ok(()),
    };
    let result = allowed
        .and_then(|()| repairs.repair(runner.root_id, options.repository, options.mode, options.execution));
    match &result {
        Err(error @ RepairError::Widespread(_)) => run_log.tell(widespread(error)),
        Err(_) => {}
        Ok(report) => tell(&mut run_log, report),
    }
    if options.execution == Execution::Apply {
        run_log.tell(ended(&result, begun.elapsed()).runner(runner));
    }
    result
}

fn ended(result: &Result<RepairReport, RepairError>, took: Duration) -> Event {
    let text = match result {
        Ok(report) if !report.objections.is_empty() && report.done == 0 => {
            "remediate: nothing was done, the runner is not provably idle".to_owned()
        }
        Ok(report) => format!("remediate: {} done, {} left", report.done, report.undone),
        Err(error) => format!("remediate: {error}"),
    };
    let event = Event::new(EventKind::RunEnded, text).duration(took);
    match result {
        Ok(report) => event.reason(report.mode.as_str()),
        Err(_) => event,
    }
}

fn widespread(error: &RepairError) -> Event {
    Event::new(EventKind::WiderIncident, escape::text(&error.to_string()))
}

/// Reports to the journal and the ledger what was done and what could not be.
fn tell(run_log: &mut RunLog, report: &RepairReport) {
    if let Some(event) = Event::of_repair(report) {
        run_log.tell(event);
    }
    if !report.dry_run && !report.objections.is_empty() {
        let text = format!("{} is left alone: its runner is not provably idle", report.path.display());
        let event = Event::new(EventKind::Kept, text).runner(&report.runner).path(&report.path);
        run_log.tell(event.reason("protected").evidence(&report.objections));
    }
}

/// A sweep's repairs, where the configuration asks for them and the sweep runs as root, who alone can change owners. With more than
/// one contaminated repository nothing is repaired.
pub(crate) fn of_sweep(host: &Host<'_>, run: &RunDir, run_log: &mut RunLog) -> Contamination {
    if !host.config.hygiene_repair || !crate::sys::process::is_root() {
        return Contamination::Bounded;
    }
    let git = git(host);
    let result = Repairs { git: git.as_ref(), ..repairs(host, run, run_log) }.sweep();
    match result {
        Ok(reports) => reports.iter().for_each(|report| tell(run_log, report)),
        // The cycle has reported the lock's failure.
        Err(RepairError::Lock(_)) => {}
        Err(error @ RepairError::Widespread(_)) => {
            (host.complain)(&error);
            run_log.tell(widespread(&error));
            return Contamination::Wider;
        }
        Err(error) => {
            run_log
                .tell(Event::new(EventKind::Error, format!("work directories cannot be repaired: {error}")));
        }
    }
    Contamination::Bounded
}

/// Puts back what repairs that were killed have left in quarantine. This comes before trash is emptied, because what cannot be put
/// back becomes trash.
pub(crate) fn put_back(host: &Host<'_>, run: &RunDir, runners: &[Runner], run_log: &mut RunLog) {
    if !crate::sys::process::is_root() {
        return;
    }
    let result = repairs(host, run, run_log).put_back(runners);
    for left in result.unwrap_or_default() {
        let quarantine = escape::path(&left.quarantine);
        let event = match &left.result {
            Returned::There(place) => {
                let text = format!("{} is back in its place: a repair had died", escape::path(place));
                Event::new(EventKind::Restored, text).path(place)
            }
            Returned::Trash => continue,
            Returned::Kept(evidence) => {
                let text = format!(
                    "{quarantine}, left by a repair that died, waits until its runner is provably idle"
                );
                Event::new(EventKind::Kept, text)
                    .path(&left.quarantine)
                    .reason("protected")
                    .evidence(evidence)
            }
            Returned::Failed(why) => {
                let text = format!("{quarantine}, left by a repair that died, cannot be restored: {why}");
                Event::new(EventKind::Error, text).path(&left.quarantine)
            }
        };
        run_log.tell(event.runner(&left.runner));
    }
}

/// Repairs with the time limit of a sweep.
fn repairs<'a>(host: &Host<'a>, run: &'a RunDir, run_log: &'a mut RunLog) -> Repairs<'a> {
    Repairs {
        config: host.config,
        proc: host.proc,
        run,
        clock: now,
        deadline: Instant::now() + SWEEP_LIMIT,
        git: None,
        events: run_log,
    }
}
