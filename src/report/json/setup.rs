//! `install --json`, `uninstall --json`.

use super::{Layout, SCHEMA, document, path_fields};
use crate::model::{CommandOutcome, SetupReport};
use crate::report::escape;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
pub(super) struct Doc<'a> {
    schema: u32,
    verb: &'a str,
    dry_run: bool,
    runners: Vec<RunnerDoc<'a>>,
    commands: Vec<CommandDoc<'a>>,
    notes: &'a [String],
    summary: String,
    next: Option<NextDoc>,
}

#[derive(Serialize, JsonSchema)]
struct NextDoc {
    command: String,
    why: String,
}

#[derive(Serialize, JsonSchema)]
struct RunnerDoc<'a> {
    name: &'a str,
    root: String,
    outcome: &'static str,
    reason: Option<&'a str>,
    changes: Vec<ChangeDoc>,
    chains: Vec<String>,
    notes: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct ChangeDoc {
    line: usize,
    removed: Option<String>,
    added: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct CommandDoc<'a> {
    command: &'a [String],
    why: &'a str,
    outcome: &'static str,
    reason: Option<&'a str>,
}

/// The document for `install` and `uninstall`.
pub fn setup(report: &SetupReport, layout: Layout) -> String {
    let line = |text: &Option<Vec<u8>>| text.as_deref().map(escape::bytes);
    let runners = report.runners.iter().map(|runner| RunnerDoc {
        name: &runner.name,
        root: path_fields(&runner.root).0,
        outcome: runner.outcome.as_str(),
        reason: runner.outcome.reason(),
        changes: runner
            .changes
            .iter()
            .map(|change| ChangeDoc {
                line: change.line,
                removed: line(&change.removed),
                added: line(&change.added),
            })
            .collect(),
        chains: runner.chains.iter().map(|path| path_fields(path).0).collect(),
        notes: &runner.notes,
    });
    let commands = report.commands.iter().map(|command| CommandDoc {
        command: &command.words,
        why: &command.why,
        outcome: command.outcome.as_str(),
        reason: match &command.outcome {
            CommandOutcome::Failed(why) => Some(why),
            _ => None,
        },
    });
    document(
        &Doc {
            schema: SCHEMA,
            verb: report.verb,
            dry_run: report.dry_run,
            runners: runners.collect(),
            commands: commands.collect(),
            notes: &report.notes,
            summary: report.summary(),
            next: report.next().map(|(command, why)| NextDoc { command, why }),
        },
        layout,
    )
}
