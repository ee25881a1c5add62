//! `metrics`.

use super::{Context, complain, print};
use crate::report::exit::Exit;
use crate::run_dir::RunDir;
use crate::runs::metrics::exposition;

/// Prints what monitoring reads.
pub(super) fn run(context: &Context) -> Exit {
    let run = RunDir::open_existing(&context.config.paths.run_dir).ok().flatten();
    match exposition(&context.snapshot(), run.as_ref()) {
        Ok(text) => {
            print(&text);
            Exit::Done
        }
        Err(error) => {
            complain(&error);
            Exit::Error
        }
    }
}
