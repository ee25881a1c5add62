//! `why`, `history` and `blame`: what was done, to what, on which evidence; or proof that nothing was.

use super::{Context, complain, now, present, show, trim};
use crate::ledger::answer::{of_runner, owners, presence, read, without_dots};
use crate::ledger::when;
use crate::model::TargetView;
use crate::model::ledger::{Presence, Window};
use crate::policy::ledger as policy;
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::text::words;
use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How far around the time at which a path vanished the guard's runs are listed.
const AROUND: Duration = Duration::from_secs(600);

/// And how far back for a path that is still there.
const LATELY: Duration = Duration::from_secs(24 * 3600);

/// Answers for a path.
pub(super) fn why(context: &Context, path: &Path, since: Option<&str>, as_json: bool) -> Exit {
    let now = now();
    let since = match since.map(|text| when::parse(text, now)).transpose() {
        Ok(since) => since,
        Err(reason) => return usage(&reason),
    };
    let owners = owners(context.snapshot().runners());
    let ledger = read(&context.config.paths, SystemTime::UNIX_EPOCH, &owners);
    if let Some(name) = path.to_str().filter(|name| !name.contains('/'))
        && let Some(answer) = policy::why_environment(&ledger, name)
    {
        present(
            &context.screen,
            as_json,
            || json::why_environment(&answer, json::Layout::Pretty),
            || human::why_environment(&answer, now, &context.screen),
        );
        return Exit::Done;
    }
    let path = of_runner(path, &owners).unwrap_or_else(|| path.to_owned());
    let path = match std::path::absolute(&path) {
        Ok(path) => without_dots(&path),
        Err(error) => return usage(&format_args!("{} is no path: {error}", path.display())),
    };
    let (real, presence) = presence(&path);
    let real = real.filter(|real| *real != path);
    let window = match (since, &presence) {
        (Some(from), _) => Window { from, to: now },
        (None, Presence::Gone(_, changed)) => Window::around(*changed, AROUND),
        (None, Presence::Present | Presence::Hidden(_)) => Window { from: now - LATELY, to: now },
    };
    let spellings: Vec<&Path> = std::iter::once(path.as_path()).chain(real.as_deref()).collect();
    let runner = policy::runner_of(&spellings, &owners).map(str::to_owned);
    let answer = policy::why(&ledger, (path.clone(), real.clone()), presence, runner, window);
    present(
        &context.screen,
        as_json,
        || json::why(&answer, json::Layout::Pretty),
        || human::why(&answer, now, &context.screen),
    );
    if !as_json {
        // What is no cargo target, or cannot be read, has no such line.
        let target = trim::read(context, &path).ok().map(|offer| TargetView::of(&path, "", &offer));
        if let Some(text) = target.and_then(|target| words::unused(&target, now)) {
            show(&context.screen, &format!("\n{text}.\n"));
        }
    }
    Exit::Done
}

/// Answers for a time.
pub(super) fn blame(context: &Context, at: &str, reach: &str, as_json: bool) -> Exit {
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
        as_json,
        || json::blame(&answer, json::Layout::Pretty),
        || human::blame(&answer, now, &context.screen),
    );
    Exit::Done
}

/// What was done since a time.
pub(super) fn history(context: &Context, since: &str, as_json: bool) -> Exit {
    let now = now();
    let since = match when::parse(since, now) {
        Ok(since) => since,
        Err(reason) => return usage(&reason),
    };
    let ledger = read(&context.config.paths, since, &owners(context.snapshot().runners()));
    let answer = policy::history(&ledger, Window { from: since, to: now });
    present(
        &context.screen,
        as_json,
        || json::history(&answer, json::Layout::Pretty),
        || human::history(&answer, now, &context.screen),
    );
    Exit::Done
}

fn usage(reason: &dyn Display) -> Exit {
    complain(reason);
    Exit::Usage
}
