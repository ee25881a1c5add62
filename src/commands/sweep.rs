//! `sweep` and `plan`: the timer's pass over all runners, or a preview of it.

use super::entries::SweepPart;
use super::{Context, Format, complain, now, print, reap, show, stores};
use crate::cycle::CycleError;
use crate::lock::LockError;
use crate::model::{Execution, RunReport};
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::runs::remediate::Contamination;
use crate::runs::sweep::{self, Swept};

/// The parts of a sweep that other verbs do alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) reap: SweepPart,
    pub(super) stores: SweepPart,
}

/// Shows what a sweep would do now.
pub(super) fn preview(context: &Context, parts: Parts, format: Format) -> Exit {
    present(context, &sweep::preview(&context.host()), parts, Execution::DryRun, format);
    Exit::Done
}

/// Sweeps.
pub(super) fn run(context: &Context, parts: Parts, format: Format) -> Exit {
    match sweep::run(&context.host()) {
        Ok(swept) => {
            present(context, &swept.report, parts, Execution::Apply, format);
            exit(&swept)
        }
        Err(error) => {
            complain(&error);
            Exit::Error
        }
    }
}

fn exit(swept: &Swept) -> Exit {
    match &swept.result {
        Err(CycleError::Lock(error)) => {
            complain(error);
            match error {
                LockError::TimedOut { .. } => Exit::LockTimeout,
                LockError::RunDir(_) | LockError::System { .. } => Exit::Error,
            }
        }
        Ok(()) if !swept.report.goal_met => Exit::GoalNotReached,
        Ok(()) if swept.contamination == Contamination::Wider => Exit::WiderIncident,
        Ok(()) => Exit::Done,
    }
}

/// Stores and the reaper come last. They do not change how the sweep ends, and have records of their own.
fn present(context: &Context, report: &RunReport, parts: Parts, execution: Execution, format: Format) {
    let stores = || stores::part(context, parts.stores, execution);
    let reaper = || reap::part(context, parts.reap, execution);
    if format == Format::Json {
        let (collected, reaped) = (stores(), reaper());
        print(&json::sweep(report, collected.as_ref(), reaped.as_ref(), json::Layout::Pretty));
        return;
    }
    show(&context.screen, &human::run(report, now(), &context.screen));
    if let Some(collected) = stores() {
        show(&context.screen, &format!("\n{}", human::stores(&collected, &context.screen)));
    }
    if let Some(reaped) = reaper() {
        show(&context.screen, &format!("\n{}", human::reap(&reaped, &context.screen)));
    }
}
