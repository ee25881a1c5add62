//! `install --json`, `uninstall --json`.

use super::{Document, Layout};
use crate::model::{SetupCommand, SetupReport, SetupRunner};
use schemars::JsonSchema;
use serde::Serialize;

/// The report and its summary.
#[derive(Serialize, JsonSchema)]
pub(super) struct SetupDoc<'a> {
    verb: &'a str,
    dry_run: bool,
    runners: &'a [SetupRunner],
    commands: &'a [SetupCommand],
    notes: &'a [String],
    summary: String,
    next: Option<NextDoc>,
}

#[derive(Serialize, JsonSchema)]
struct NextDoc {
    command: String,
    why: String,
}

/// The document for `install` and `uninstall`.
pub fn setup(report: &SetupReport, layout: Layout) -> String {
    let doc = SetupDoc {
        verb: report.verb,
        dry_run: report.dry_run,
        runners: &report.runners,
        commands: &report.commands,
        notes: &report.notes,
        summary: report.summary(),
        next: report.next().map(|(command, why)| NextDoc { command, why }),
    };
    Document::of(doc, layout)
}
