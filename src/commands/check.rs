//! `check`: whether a runner, or the owner of a path, is provably idle. Other cleaners ask this before they delete.

use super::{Context, Format, complain, present};
use crate::cli::CheckArgs;
use crate::overview::check::{CheckQuestion, answer};
use crate::report::exit::Exit;
use crate::report::{human, json};

/// Answers with the exit code, and with the evidence for it.
pub(super) fn run(context: &Context, args: &CheckArgs) -> Exit {
    let question = match (&args.runner, &args.path) {
        (Some(name), _) => CheckQuestion::Runner(name),
        (None, Some(path)) => CheckQuestion::Path(path),
        (None, None) => {
            complain(&"neither --runner nor --path was given");
            return Exit::Error;
        }
    };
    match answer(&context.snapshot(), question) {
        Ok(result) => {
            present(
                &context.screen,
                Format::of(args.json),
                || json::check(&result, json::Layout::Pretty),
                || human::check(&result, &context.screen),
            );
            Exit::of_check(result.state)
        }
        Err(error) => {
            complain(&error);
            Exit::Error
        }
    }
}
