//! `remediate`: repairs one repository of a runner.

use super::{Context, Format, complain, overview, present};
use crate::cli::RemediateArgs;
use crate::hygiene::act::RepairError;
use crate::lock::LockError;
use crate::model::hygiene::{RemediateMode, RepairReport};
use crate::model::{Execution, Runner, Weight};
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::run_dir::RunDir;
use crate::runs::remediate::{self, RemediateOptions};
use crate::setup::units;

/// Repairs one repository, or shows what would be done.
pub(super) fn run(context: &Context, args: &RemediateArgs) -> Exit {
    let snapshot = context.snapshot();
    let alive = overview::alive(&snapshot);
    let runners: Vec<&Runner> = alive.facts.runners.iter().map(|facts| &facts.runner).collect();
    let runner = match units::named(&runners, &args.runner) {
        Ok(index) => runners[index],
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
    let options = RemediateOptions {
        repository: &args.repository,
        mode: args.mode.map(RemediateMode::from),
        execution: Execution::of(!args.apply),
        even_if_widespread: args.even_if_widespread,
    };
    match remediate::run(&context.host(), &run, (runner, snapshot.runners()), options) {
        Ok(report) => {
            present(
                &context.screen,
                Format::of(args.json),
                || json::repair(&report, json::Layout::Pretty),
                || human::repair(&report, &context.screen),
            );
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
