//! `forecast`: how much room live jobs need, and when the disks are full.

use super::{Context, Format, complain, now, present};
use crate::model::Forecasting;
use crate::overview::forecast::{PATIENCE, survey};
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::run_dir::RunDir;

/// Shows it.
pub(super) fn run(context: &Context, format: Format) -> Exit {
    let path = &context.config.paths.run_dir;
    let run = match RunDir::open_existing(path) {
        Ok(Some(run)) => Some(run),
        Ok(None) => {
            complain(&format_args!(
                "{} does not exist: jobs leave their leases there; run `systemd-tmpfiles --create disk-guard.conf`",
                path.display()
            ));
            None
        }
        Err(error) => {
            complain(&error);
            None
        }
    };
    let seen = survey(&context.snapshot(), run.as_ref(), PATIENCE);
    let forecasting = if context.config.forecast.enabled { Forecasting::On } else { Forecasting::Off };
    present(
        &context.screen,
        format,
        || json::forecast(&seen.disks, now(), forecasting),
        || human::forecast(&seen.disks, forecasting, &context.screen),
    );
    Exit::Done
}
