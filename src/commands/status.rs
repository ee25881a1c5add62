//! `status`: the host at a glance.

use super::{Context, Format, output, present};
use crate::cycle::Stale;
use crate::overview::status::{Holders, collect};
use crate::report::exit::Exit;
use crate::report::{html, human, json};
use std::path::Path;
use std::time::Duration;

/// How often `--watch` looks again.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);

/// Shows the host; with `watch` again and again until interrupted.
pub(super) fn run(context: &Context, format: Format, watch: bool) -> Exit {
    loop {
        // Too much to walk again and again.
        let status = match watch {
            true => collect(&context.snapshot(), Holders::Unasked, Stale::Leave),
            false => collect(&context.snapshot(), Holders::Asked, Stale::Read),
        };
        present(
            &context.screen,
            format,
            || json::status(&status, if watch { json::Layout::Line } else { json::Layout::Pretty }),
            || human::status(&status, &context.screen),
        );
        if !watch || output::is_over() {
            return Exit::Done;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Writes the page for a browser.
pub(super) fn page(context: &Context, file: &Path) -> Exit {
    output::write_page(file, &html::status(&collect(&context.snapshot(), Holders::Asked, Stale::Read)))
}
