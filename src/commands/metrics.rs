//! `metrics`.

use super::{Context, complain, print};
use crate::report::exit::Exit;
use crate::run_dir::RunDir;
use crate::runs::metrics::{exposition, without_counts};

/// Prints what monitoring reads.
pub(super) fn run(context: &Context) -> Exit {
    let run = RunDir::open_existing(&context.config.paths.run_dir).ok().flatten();
    print(&exposition(&context.snapshot(), run.as_ref(), |error| complain(&without_counts(error))));
    Exit::Done
}
