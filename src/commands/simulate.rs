//! `simulate`: how many jobs would have died, on simulated hosts; and how full this host's disks would have been.

use super::output::AnswerForm;
use super::{Context, complain, now};
use crate::config::units::Size;
use crate::config::{Config, Named};
use crate::overview::past::replayed;
use crate::report::exit::Exit;
use crate::report::{html, human, json};
use crate::simulate::table::{Sensitivity, table};
use std::path::Path;

/// Which table the command line asks for.
pub(super) struct SimulateOptions<'a> {
    pub(super) hosts: &'a [String],
    pub(super) seeds: u64,
    pub(super) days: u32,
    pub(super) sensitivity: Sensitivity,
}

/// Simulates every case on every host that is asked for.
pub(super) fn run(context: &Context, options: &SimulateOptions<'_>, shape: AnswerForm<'_>) -> Exit {
    let rows = match table(options.hosts, options.seeds, options.days, options.sensitivity) {
        Ok(rows) => rows,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    shape.print(
        context,
        || json::simulation(&rows, options.seeds, options.days),
        || human::simulation(&rows, options.seeds, options.days, &context.screen),
        || html::simulation(&rows, options.seeds, options.days, now()),
    )
}

/// What of this host's past is asked for.
pub(super) struct HistoryOptions<'a> {
    pub(super) size: Option<Size>,
    pub(super) against: Option<&'a Path>,
}

/// Plays this host's past again.
pub(super) fn history(context: &Context, options: &HistoryOptions<'_>, shape: AnswerForm<'_>) -> Exit {
    if let Some(Size(0)) = options.size {
        complain(&"--size: found 0 B, expected the size of a disk, such as 300GiB");
        return Exit::Usage;
    }
    let other = match options.against.map(|path| Config::load(path, Named::ByHand)).transpose() {
        Ok(other) => other,
        Err(error) => {
            complain(&error);
            return Exit::ConfigInvalid;
        }
    };
    let config = other.as_ref().unwrap_or(&context.config);
    let (rows, builds) = match replayed(&context.snapshot(), config, options.size) {
        Ok(replayed) => replayed,
        Err(error) => {
            complain(&error);
            return Exit::Error;
        }
    };
    shape.print(
        context,
        || json::past(&rows, &builds),
        || human::past(&rows, &builds, &context.screen),
        || html::past(&rows, &builds, now()),
    )
}
