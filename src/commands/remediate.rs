//! `remediate`, and the safe repairs of a sweep.

use super::run_log::RunLog;
use super::{Context, audit, complain, now, overview, print, show};
use crate::cli::RemediateArgs;
use crate::hygiene::act::{RepairError, Repairs, Returned};
use crate::lock::LockError;
use crate::model::Execution;
use crate::model::hygiene::{RemediateMode, RepairReport};
use crate::model::ledger::Scope;
use crate::model::{Runner, Weight};
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::{escape, human, json};
use crate::run_dir::RunDir;
use crate::setup::units;
use std::time::{Duration, Instant};

/// A person waits for it.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// A sweep's repairs leave the rest to the next one.
const SWEEP_LIMIT: Duration = Duration::from_secs(600);

/// Puts one repository right, or shows what it would do.
pub(super) fn run(context: &Context, args: &RemediateArgs) -> Exit {
    let snapshot = context.snapshot();
    let alive = overview::alive(&snapshot);
    let runners: Vec<&Runner> = alive.facts.runners.iter().map(|facts| &facts.runner).collect();
    let runner = match units::named(&runners, &args.runner) {
        Ok(index) => runners[index].clone(),
        Err(why) => {
            complain(&why);
            return Exit::Error;
        }
    };
    let run = match RunDir::open(&context.config.paths.run_dir) {
        Ok(run) => run,
        Err(error) => {
            complain(&error);
            return Exit::Error;
        }
    };
    let begun = Instant::now();
    let mut run_log = RunLog::new(&context.config, &context.proc, Scope::Remediate, Some(&runner));
    let execution = Execution::of(!args.apply);
    if execution == Execution::Apply {
        run_log.begun();
        put_back(context, &run, snapshot.runners(), &mut run_log);
    }
    let git = audit::git(context);
    let mut repairs =
        Repairs { deadline: begun + TIME_LIMIT, git: git.as_ref(), ..repairs(context, &run, &mut run_log) };
    let allowed = match execution {
        Execution::Apply if !args.even_if_widespread => repairs.refuse_if_widespread(),
        Execution::Apply | Execution::DryRun => Ok(()),
    };
    let result = allowed.and_then(|()| {
        repairs.repair(runner.root_id, &args.repository, args.mode.map(RemediateMode::from), execution)
    });
    if let Err(error @ RepairError::Widespread(_)) = &result {
        run_log.tell(widespread(error));
    }
    if let Ok(report) = &result {
        tell(&mut run_log, report);
    }
    if execution == Execution::Apply {
        run_log.tell(ended(&result, begun.elapsed()).runner(&runner));
    }
    match result {
        Ok(report) => {
            if args.json {
                print(&json::repair(&report, json::Layout::Pretty));
            } else {
                show(&context.screen, &human::repair(&report, &context.screen));
            }
            exit(&report)
        }
        Err(error) => {
            complain(&error);
            failed(&error)
        }
    }
}

fn exit(report: &RepairReport) -> Exit {
    if report.objections.iter().any(|evidence| evidence.weight == Weight::InUse) {
        Exit::Busy
    } else if !report.objections.is_empty() {
        Exit::Unknown
    } else if !report.dry_run && report.undone > 0 {
        Exit::Error
    } else {
        Exit::Done
    }
}

fn failed(error: &RepairError) -> Exit {
    match error {
        RepairError::Lock(LockError::TimedOut { .. }) => Exit::LockTimeout,
        RepairError::Widespread(_) => Exit::WiderIncident,
        _ => Exit::Error,
    }
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

/// What was done, and what could not be, for the journal and the ledger.
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

/// A sweep's part, where the configuration asks for it and we are root: nobody else can give anything back. With more than one
/// contaminated repository nothing is repaired.
pub(super) fn sweep(context: &Context, run: &RunDir, run_log: &mut RunLog) -> Exit {
    if !context.config.hygiene_repair || !nix::unistd::geteuid().is_root() {
        return Exit::Done;
    }
    let git = audit::git(context);
    let result = Repairs { git: git.as_ref(), ..repairs(context, run, run_log) }.sweep();
    match result {
        Ok(reports) => reports.iter().for_each(|report| tell(run_log, report)),
        // The lock's failure has been told where it happened.
        Err(RepairError::Lock(_)) => {}
        Err(error @ RepairError::Widespread(_)) => {
            complain(&error);
            run_log.tell(widespread(&error));
            return Exit::WiderIncident;
        }
        Err(error) => {
            run_log
                .tell(Event::new(EventKind::Error, format!("work directories cannot be put right: {error}")));
        }
    }
    Exit::Done
}

/// Puts back what repairs that have died have left in quarantine. Before trash is emptied: what lost its place becomes trash.
pub(super) fn put_back(context: &Context, run: &RunDir, runners: &[Runner], run_log: &mut RunLog) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let result = repairs(context, run, run_log).put_back(runners);
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
                let text = format!("{quarantine}, left by a repair that died, cannot be put back: {why}");
                Event::new(EventKind::Error, text).path(&left.quarantine)
            }
        };
        run_log.tell(event.runner(&left.runner));
    }
}

/// Repairs for as long as those of a sweep may take.
fn repairs<'a>(context: &'a Context, run: &'a RunDir, run_log: &'a mut RunLog) -> Repairs<'a> {
    Repairs {
        config: &context.config,
        proc: &context.proc,
        run,
        clock: now,
        deadline: Instant::now() + SWEEP_LIMIT,
        git: None,
        events: run_log,
    }
}
