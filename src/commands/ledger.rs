//! `why`, `history` and `blame`: what was done, to what, on which evidence; or proof that nothing was.

use super::{Context, Format, complain, now, present, show, trim};
use crate::ledger::answer::{self, WhyAnswer, owners, read};
use crate::ledger::when;
use crate::model::TargetView;
use crate::model::ledger::{Presence, Why, Window};
use crate::policy::ledger as policy;
use crate::report::exit::Exit;
use crate::report::{escape, human, json};
use crate::text::words;
use std::fmt::Display;
use std::path::Path;
use std::time::SystemTime;

/// Answers for a path, a runner or an environment.
pub(super) fn why(context: &Context, path: &Path, since: Option<&str>, format: Format) -> Exit {
    let now = now();
    let since = match since.map(|text| when::parse(text, now)).transpose() {
        Ok(since) => since,
        Err(reason) => return usage(&reason),
    };
    match answer::why(&context.config.paths, &owners(context.snapshot().runners()), path, since, now) {
        Ok(WhyAnswer::Environment(answer)) => present(
            &context.screen,
            format,
            || json::why_environment(&answer, json::Layout::Pretty),
            || human::why_environment(&answer, now, &context.screen),
        ),
        Ok(WhyAnswer::Path(answer)) => {
            if format == Format::Text && is_unknown_name(path, &answer) {
                let name = escape::path(path);
                show(
                    &context.screen,
                    &format!("`{name}` is no runner's name and no environment's: it is taken as a path.\n\n"),
                );
            }
            present(
                &context.screen,
                format,
                || json::why(&answer, json::Layout::Pretty),
                || human::why(&answer, now, &context.screen),
            );
            if format == Format::Text {
                unused(context, &answer.path);
            }
        }
        Err(error) => return usage(&format_args!("{} is not a path: {error}", path.display())),
    }
    Exit::Done
}

/// Whether what was asked about is a single word that names nothing.
fn is_unknown_name(asked: &Path, answer: &Why) -> bool {
    let is_word = asked.components().count() == 1 && !asked.has_root();
    is_word
        && answer.path.file_name() == asked.file_name()
        && answer.runner.is_none()
        && answer.present != Presence::Present
}

/// How much of a cargo target no build has used; nothing of what is no target or cannot be read.
fn unused(context: &Context, path: &Path) {
    let target = trim::read(context, path).ok().map(|offer| TargetView::of(path, "", &offer));
    if let Some(text) = target.and_then(|target| words::unused(&target, now())) {
        show(&context.screen, &format!("\n{text}.\n"));
    }
}

/// Answers for a time.
pub(super) fn blame(context: &Context, at: &str, reach: &str, format: Format) -> Exit {
    let now = now();
    let (at, reach) = match (when::parse(at, now), when::span(reach)) {
        (Ok(at), Ok(reach)) => (at, reach),
        (Err(reason), _) | (_, Err(reason)) => return usage(&reason),
    };
    // The whole ledger: the action before may be long ago.
    let ledger = read(&context.config.paths, SystemTime::UNIX_EPOCH, &owners(context.snapshot().runners()));
    let answer = policy::blame(&ledger, at, Window::around(at, reach));
    present(
        &context.screen,
        format,
        || json::blame(&answer, json::Layout::Pretty),
        || human::blame(&answer, now, &context.screen),
    );
    Exit::Done
}

/// What was done since a time.
pub(super) fn history(context: &Context, since: &str, format: Format) -> Exit {
    let now = now();
    let since = match when::parse(since, now) {
        Ok(since) => since,
        Err(reason) => return usage(&reason),
    };
    let ledger = read(&context.config.paths, since, &owners(context.snapshot().runners()));
    let answer = policy::history(&ledger, Window { from: since, to: now });
    present(
        &context.screen,
        format,
        || json::history(&answer, json::Layout::Pretty),
        || human::history(&answer, now, &context.screen),
    );
    Exit::Done
}

fn usage(reason: &dyn Display) -> Exit {
    complain(reason);
    Exit::Usage
}
