//! The names of runners, for completions.

use super::{Context, print};
use crate::report::exit::Exit;
use std::collections::BTreeSet;

/// Prints those that a shell reads as one word. No process is looked at.
pub(super) fn run(context: &Context) -> Exit {
    let runners = context.snapshot().found.runners;
    let is_word =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let names: BTreeSet<String> =
        runners.into_iter().map(|runner| runner.name).filter(|name| is_word(name)).collect();
    print(&names.into_iter().map(|name| name + "\n").collect::<String>());
    Exit::Done
}
