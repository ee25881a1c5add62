//! `status`: the host at a glance.

use super::{Context, Format, output, present};
use crate::cycle::StaleUnits;
use crate::model::HostStatus;
use crate::overview::status::{HolderSearch, collect};
use crate::report::exit::Exit;
use crate::report::{html, human, json, stream};
use std::path::Path;
use std::time::Duration;

/// How often `--watch` looks again.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);

/// Shows the host.
pub(super) fn run(context: &Context, format: Format) -> Exit {
    let status = collect(&context.snapshot(), HolderSearch::Asked, StaleUnits::Read);
    show(context, format, &status, json::Layout::Pretty);
    Exit::Done
}

/// Shows the host again and again, until interrupted. Each document is one line.
pub(super) fn repeat(context: &Context, format: Format) -> Exit {
    loop {
        // Searching for users of the disk and for stale units takes too long to be repeated.
        let status = collect(&context.snapshot(), HolderSearch::Unasked, StaleUnits::Leave);
        show(context, format, &status, json::Layout::Line);
        if stream::is_over() {
            return Exit::Done;
        }
        std::thread::sleep(INTERVAL);
    }
}

fn show(context: &Context, format: Format, status: &HostStatus, layout: json::Layout) {
    present(
        &context.screen,
        format,
        || json::status(status, layout),
        || human::status(status, &context.screen),
    );
}

/// Writes the page for a browser.
pub(super) fn page(context: &Context, file: &Path) -> Exit {
    output::write_page(
        file,
        &html::status(&collect(&context.snapshot(), HolderSearch::Asked, StaleUnits::Read)),
    )
}
