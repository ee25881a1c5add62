//! `postmortem`.

use super::{Context, Format, complain, now, overview, present};
use crate::ledger::when;
use crate::postmortem::inquiry::Question;
use crate::report::exit::Exit;
use crate::report::{human, json};

/// Answers.
pub(super) fn run(context: &Context, runner: Option<&str>, since: &str, format: Format) -> Exit {
    let since = match when::parse(since, now()) {
        Ok(since) => since,
        Err(reason) => {
            complain(&reason);
            return Exit::Usage;
        }
    };
    let host = &overview::alive(&context.snapshot()).facts;
    let question = Question { config: &context.config, proc: &context.proc, host, runner, since };
    let report = match question.answer() {
        Ok(report) => report,
        Err(reason) => {
            complain(&reason);
            return Exit::Error;
        }
    };
    present(
        &context.screen,
        format,
        || json::postmortem(&report, json::Layout::Pretty),
        || human::postmortem(&report, now(), &context.screen),
    );
    Exit::Done
}
