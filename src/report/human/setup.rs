//! `install` and `uninstall` for people: a diff of each `.env`, then the commands.

use super::notes;
use super::screen::{Screen, Tone};
use crate::actions_runner::layout;
use crate::model::{CommandOutcome, SetupCommand, SetupOutcome, SetupReport, SetupRunner};
use crate::report::escape;
use std::fmt::Write as _;

/// Only lines that change are shown: other lines of a `.env` may be secrets. What is the same for several runners is printed once.
pub fn setup(report: &SetupReport, screen: &Screen) -> String {
    let mut out = String::new();
    for alike in report.runners.chunk_by(are_alike) {
        runners(alike, screen, &mut out);
    }
    for (title, wanted) in [("Commands", false), ("To be run by you at a suitable time", true)] {
        let is_chosen = |command: &&SetupCommand| (command.outcome == CommandOutcome::ForYou) == wanted;
        let chosen: Vec<_> = report.commands.iter().filter(is_chosen).collect();
        if !chosen.is_empty() {
            let _ = writeln!(out, "\n{}", screen.paint(Tone::Heading, title));
        }
        for alike in chosen.chunk_by(|one, next| purpose(one, report).1 == purpose(next, report).1) {
            commands(alike, report, screen, &mut out);
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

fn are_alike(one: &SetupRunner, next: &SetupRunner) -> bool {
    one.outcome == next.outcome
        && one.changes == next.changes
        && one.notes == next.notes
        && [one, next].iter().all(|runner| runner.chains.is_empty())
}

/// Runners with the same outcome and the same changes.
fn runners(alike: &[SetupRunner], screen: &Screen, out: &mut String) {
    let [first, ..] = alike else { return };
    let tone = match first.outcome {
        SetupOutcome::Changed | SetupOutcome::Unchanged => Tone::Good,
        SetupOutcome::Planned | SetupOutcome::NotOurs(_) => Tone::Warn,
        SetupOutcome::Blocked(_) | SetupOutcome::Failed(_) => Tone::Bad,
    };
    let names: Vec<_> = alike.iter().map(|runner| escape::text(&runner.name)).collect();
    let reason =
        first.outcome.reason().map(|reason| format!(": {}", escape::text(reason))).unwrap_or_default();
    let state = screen.paint(tone, first.outcome.as_str());
    let _ = writeln!(out, "{}: {state}{reason}", names.join(", "));
    if !first.changes.is_empty() {
        let files: Vec<_> = alike.iter().map(|runner| escape::path(&runner.root.join(layout::ENV))).collect();
        // Of several files a second list of the same names says nothing more.
        if let [file] = &files[..] {
            let _ = writeln!(out, "  --- {file}");
        }
        for file in &files {
            let _ = writeln!(out, "  +++ {file}");
        }
    }
    let mut last = None;
    for change in &first.changes {
        if last.is_none_or(|last: usize| last + 1 != change.line) {
            let _ = writeln!(out, "  @@ line {} @@", change.line);
        }
        last = Some(change.line);
        for (sign, tone, text) in [("-", Tone::Bad, &change.removed), ("+", Tone::Good, &change.added)] {
            if let Some(text) = text {
                let line = format!("{sign}{}", escape::bytes(text));
                let _ = writeln!(out, "  {}", screen.paint(tone, &line));
            }
        }
    }
    for chain in &first.chains {
        let _ = writeln!(out, "  chain script {}", escape::path(chain));
    }
    for note in &first.notes {
        screen.paragraph(out, Tone::Warn, "  note: ", &escape::text(note));
    }
}

/// Whom a command is for, where that is a runner, and what for.
fn purpose<'c>(command: &'c SetupCommand, report: &SetupReport) -> (Option<&'c str>, &'c str) {
    match command.why.split_once(": ") {
        Some((name, why)) if report.runners.iter().any(|runner| runner.name == name) => (Some(name), why),
        _ => (None, &command.why),
    }
}

/// Commands with the same purpose.
fn commands(alike: &[&SetupCommand], report: &SetupReport, screen: &Screen, out: &mut String) {
    for command in alike {
        let line = escape::text(&command.words.join(" ")).into_owned();
        let state = match &command.outcome {
            CommandOutcome::ForYou => String::new(),
            CommandOutcome::Failed(why) => format!(" [failed: {}]", escape::text(why)),
            other => format!(" [{}]", other.as_str()),
        };
        let _ = writeln!(out, "  {line}{state}");
    }
    let named = alike.iter().filter_map(|command| purpose(command, report).0);
    let names: Vec<_> = named.map(escape::text).collect();
    let whom = if names.is_empty() { String::new() } else { format!("{}: ", names.join(", ")) };
    let why = alike.first().map(|command| purpose(command, report).1).unwrap_or_default();
    screen.paragraph(out, Tone::Plain, "      ", &format!("{whom}{}", escape::text(why)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SetupChange;

    fn runner(name: &str, outcome: SetupOutcome) -> SetupRunner {
        let added = |line, text: &str| SetupChange { line, removed: None, added: Some(text.into()) };
        SetupRunner {
            name: name.into(),
            root: format!("/home/ci/{name}").into(),
            changes: match outcome {
                SetupOutcome::Changed => {
                    vec![added(2, "STARTED=/a"), added(3, "COMPLETED=/b"), added(7, "X=1")]
                }
                _ => Vec::new(),
            },
            outcome,
            chains: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn command(line: &str, why: &str, outcome: CommandOutcome) -> SetupCommand {
        SetupCommand { words: line.split(' ').map(str::to_owned).collect(), why: why.into(), outcome }
    }

    #[test]
    fn what_is_the_same_for_several_runners_is_printed_once() {
        let restart = |name: &str| {
            let why = format!("{name}: its Listener reads `.env` only when it starts");
            command(&format!("systemctl restart {name}.service"), &why, CommandOutcome::ForYou)
        };
        let report = SetupReport {
            verb: "install",
            runners: vec![
                runner("ci-1", SetupOutcome::Changed),
                runner("ci-2", SetupOutcome::Changed),
                runner("ci-3", SetupOutcome::Blocked("its `.env` is a link".into())),
                runner("ci-4", SetupOutcome::Unchanged),
            ],
            commands: vec![
                command("usermod -aG g a", "lets this user's runners in", CommandOutcome::Done),
                command(
                    "usermod -aG g b",
                    "lets this user's runners in",
                    CommandOutcome::Failed("no b".into()),
                ),
                command("systemctl enable x", "the sweep", CommandOutcome::Done),
                restart("ci-1"),
                restart("ci-2"),
                restart("gone"),
            ],
            ..SetupReport::default()
        };
        insta::assert_snapshot!(setup(&report, &Screen::plain(60)), @r"
        ci-1, ci-2: changed
          +++ /home/ci/ci-1/.env
          +++ /home/ci/ci-2/.env
          @@ line 2 @@
          +STARTED=/a
          +COMPLETED=/b
          @@ line 7 @@
          +X=1
        ci-3: blocked: its `.env` is a link
        ci-4: unchanged

        Commands
          usermod -aG g a [done]
          usermod -aG g b [failed: no b]
              lets this user's runners in
          systemctl enable x [done]
              the sweep

        To be run by you at a suitable time
          systemctl restart ci-1.service
          systemctl restart ci-2.service
              ci-1, ci-2: its Listener reads `.env` only when it
              starts
          systemctl restart gone.service
              gone: its Listener reads `.env` only when it starts

        Summary: 4 runners: 2 wired, 1 as they should be, 1 blocked
        Left to do: disk-guard install
                    again, once the obstacle above is removed
        ");
    }
}
