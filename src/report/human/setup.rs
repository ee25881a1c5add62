//! `install` and `uninstall` for people: a diff of each `.env`, then the commands.

use super::notes;
use super::screen::{Screen, Tone};
use crate::actions_runner::layout;
use crate::model::{CommandOutcome, SetupOutcome, SetupReport};
use crate::report::escape;
use std::fmt::Write as _;

/// Only lines that change are shown: other lines of a `.env` may be secrets.
pub fn setup(report: &SetupReport, screen: &Screen) -> String {
    let mut out = String::new();
    for runner in &report.runners {
        let tone = match runner.outcome {
            SetupOutcome::Changed | SetupOutcome::Unchanged => Tone::Good,
            SetupOutcome::Planned | SetupOutcome::NotOurs(_) => Tone::Warn,
            SetupOutcome::Blocked(_) | SetupOutcome::Failed(_) => Tone::Bad,
        };
        let state = screen.paint(tone, runner.outcome.as_str());
        let label = format!("{}: {state}", escape::text(&runner.name));
        match runner.outcome.reason() {
            Some(reason) => {
                let _ = writeln!(out, "{label}: {}", escape::text(reason));
            }
            None => {
                let _ = writeln!(out, "{label}");
            }
        }
        if !runner.changes.is_empty() {
            let env = escape::path(&runner.root.join(layout::ENV));
            let _ = writeln!(out, "  --- {env}\n  +++ {env}");
        }
        for change in &runner.changes {
            let _ = writeln!(out, "  @@ line {} @@", change.line);
            for (sign, tone, text) in [("-", Tone::Bad, &change.removed), ("+", Tone::Good, &change.added)] {
                if let Some(text) = text {
                    let line = format!("{sign}{}", escape::bytes(text));
                    let _ = writeln!(out, "  {}", screen.paint(tone, &line));
                }
            }
        }
        for chain in &runner.chains {
            let _ = writeln!(out, "  chain script {}", escape::path(chain));
        }
        for note in &runner.notes {
            screen.paragraph(&mut out, Tone::Warn, "  note: ", &escape::text(note));
        }
    }
    for (title, wanted) in [("Commands", false), ("To be run by you at a suitable time", true)] {
        let chosen: Vec<_> = report
            .commands
            .iter()
            .filter(|command| (command.outcome == CommandOutcome::ForYou) == wanted)
            .collect();
        if !chosen.is_empty() {
            let _ = writeln!(out, "\n{}", screen.paint(Tone::Heading, title));
        }
        for command in chosen {
            let line = escape::text(&command.words.join(" ")).into_owned();
            let state = match &command.outcome {
                CommandOutcome::ForYou => String::new(),
                CommandOutcome::Failed(why) => format!(" [failed: {}]", escape::text(why)),
                other => format!(" [{}]", other.as_str()),
            };
            let _ = writeln!(out, "  {line}{state}\n      {}", escape::text(&command.why));
        }
    }
    if !report.notes.is_empty() {
        out.push('\n');
        notes(&mut out, screen, &report.notes);
    }
    if report.dry_run {
        let _ = writeln!(out, "\nNothing was touched: this was a dry run.");
    }
    let tone = if report.is_whole() { Tone::Good } else { Tone::Bad };
    out.push('\n');
    screen.paragraph(&mut out, tone, "Summary: ", &report.summary());
    if let Some((command, why)) = report.next() {
        let command = screen.paint(Tone::Heading, &command);
        let _ = writeln!(out, "Left to do: {command}");
        screen.paragraph(&mut out, Tone::Plain, &" ".repeat(12), &why);
    }
    out
}
