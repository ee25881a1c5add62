//! `why`: what happened to one path, or to one environment.

use super::super::screen::{Screen, Tone};
use super::entry::{by, foreign, story};
use super::{extent, moment, runs, span, stamp};
use crate::model::ledger::{ActionKind, LedgerRun, PathVerdict, Presence, Trust, Why, WhyEnvironment};
use crate::report::escape;
use std::fmt::Write as _;
use std::time::SystemTime;

/// The history of a path.
pub fn why(why: &Why, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let path = escape::path(&why.path);
    let (tone, answer) = answer(why, &path, now);
    screen.paragraph(&mut out, tone, "", &screen.paint(tone, &answer));
    if let Some(real) = &why.real {
        let _ = writeln!(out, "Without links it is {}.", escape::path(real));
    }
    presence(why, now, screen, &mut out);
    if !why.entries.is_empty() {
        let _ = writeln!(out, "\n{}", screen.paint(Tone::Heading, "Actions"));
        for (relation, judged) in &why.entries {
            story(judged, Some(*relation), screen, &mut out);
        }
        grounds(&why.acts, screen, &mut out);
    }
    foreign(why.foreign.iter().map(|(_, judged)| judged), screen, &mut out);
    let is_clear =
        matches!(why.verdict, PathVerdict::NotTouched | PathVerdict::NoEvidence | PathVerdict::Kept);
    if is_clear {
        let _ = writeln!(
            out,
            "\n{}",
            screen.paint(Tone::Heading, &format!("Actions of the guard {}", span(&why.window)))
        );
        runs(&why.runs, screen, &mut out);
    }
    extent(&why.extent, now, screen, &mut out);
    out
}

fn answer(why: &Why, path: &str, now: SystemTime) -> (Tone, String) {
    let last = |deed: ActionKind| {
        why.entries.iter().rev().map(|(_, judged)| judged).find(|judged| judged.record().deed == deed)
    };
    let when = |deed: ActionKind| {
        last(deed).map(|judged| format!(" {}", moment(judged.record().time, now))).unwrap_or_default()
    };
    let whose = |deed: ActionKind| match last(deed).map(|judged| &judged.trust) {
        Some(Trust::Owner(uid)) => {
            format!(
                " This entry was written by uid {uid} about its own runner: its jobs could have written it too."
            )
        }
        _ => String::new(),
    };
    match why.verdict {
        PathVerdict::Removed => (
            Tone::Warn,
            format!("disk-guard removed {path}{}.{}", when(ActionKind::Removed), whose(ActionKind::Removed)),
        ),
        PathVerdict::RemovedInside => (
            Tone::Warn,
            format!(
                "disk-guard removed something inside {path}{}; the rest was not touched.{}",
                when(ActionKind::Removed),
                whose(ActionKind::Removed)
            ),
        ),
        PathVerdict::Claimed => (
            Tone::Warn,
            format!(
                "disk-guard moved {path} to trash{} and recorded no result: the run is still going, or was killed.{}",
                when(ActionKind::Claimed),
                whose(ActionKind::Claimed)
            ),
        ),
        PathVerdict::Collected => (
            Tone::Warn,
            format!(
                "{path} is in a store that its own tool collected{} on disk-guard's request: that may have deleted it.",
                when(ActionKind::Collected)
            ),
        ),
        PathVerdict::Restored => (
            Tone::Good,
            format!(
                "disk-guard claimed {path}{} and put it back; nothing of it was removed.",
                when(ActionKind::Restored)
            ),
        ),
        PathVerdict::Repaired => (
            Tone::Warn,
            format!(
                "disk-guard changed owner or mode of entries of {path}{}, and removed nothing of it.{}",
                when(ActionKind::Repaired),
                whose(ActionKind::Repaired)
            ),
        ),
        PathVerdict::Kept => (
            Tone::Good,
            format!(
                "disk-guard did not touch {path}: it examined it and kept it, last{}.",
                when(ActionKind::Kept)
            ),
        ),
        PathVerdict::NotTouched => {
            let since = why.extent.complete_since().map(|since| moment(since, now)).unwrap_or_default();
            (
                Tone::Good,
                format!(
                    "disk-guard did not touch {path}: its ledger is complete since {since} and has no action on this path, above it or below it."
                ),
            )
        }
        PathVerdict::NoEvidence => {
            let reach = match why.extent.complete_since().or(why.extent.oldest()) {
                Some(since) => {
                    format!("the ledger only reaches back to {} and is incomplete", moment(since, now))
                }
                None => "the ledger is still empty".to_owned(),
            };
            (
                Tone::Warn,
                format!("There is no evidence that disk-guard touched {path}, but {reach}: see below."),
            )
        }
    }
}

fn presence(why: &Why, now: SystemTime, screen: &Screen, out: &mut String) {
    let text = match &why.present {
        Presence::Present if matches!(why.verdict, PathVerdict::Removed | PathVerdict::Claimed) => {
            "The path exists now: it has been created again since.".to_owned()
        }
        Presence::Present => return,
        Presence::Gone(above, changed) => format!(
            "The path does not exist. In {} an entry was last created or removed {}.",
            escape::path(above),
            moment(*changed, now)
        ),
        Presence::Hidden(reason) => {
            format!("Whether it exists cannot be determined: {}.", escape::text(reason))
        }
    };
    screen.paragraph(out, Tone::Plain, "", &text);
}

/// The cause of the runs: the pressure that they found.
fn grounds(acts: &[LedgerRun], screen: &Screen, out: &mut String) {
    for judged in acts.iter().flat_map(|run| &run.entries) {
        if judged.record().deed == ActionKind::Pressure {
            let text = format!(
                "{}  {} ({})",
                stamp(judged.record().time),
                escape::log_line(&judged.record().details.message),
                by(judged.record().details.scope.as_ref())
            );
            screen.paragraph(out, Tone::Plain, "  because of pressure: ", &text);
        }
    }
}

/// The history of an environment.
pub fn why_environment(why: &WhyEnvironment, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let name = escape::text(&why.name);
    let reaped = why.entries.iter().rev().find(|judged| judged.record().deed == ActionKind::Reaped);
    let (tone, text) = match (reaped, why.entries.last()) {
        (Some(judged), _) => {
            (Tone::Warn, format!("disk-guard reaped {name} {}.", moment(judged.record().time, now)))
        }
        (None, Some(judged)) => (
            Tone::Warn,
            format!(
                "disk-guard tried to reap {name} and failed, last {}.",
                moment(judged.record().time, now)
            ),
        ),
        (None, None) => (Tone::Good, format!("No accepted entry names the environment {name}.")),
    };
    screen.paragraph(&mut out, tone, "", &screen.paint(tone, &text));
    if !why.entries.is_empty() {
        let _ = writeln!(out, "\n{}", screen.paint(Tone::Heading, "Actions"));
    }
    for judged in &why.entries {
        story(judged, None, screen, &mut out);
    }
    foreign(why.foreign.iter(), screen, &mut out);
    extent(&why.extent, now, screen, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::screen;
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_removed_cache() {
        insta::assert_snapshot!(why(&samples::why_removed(), samples::now(), &screen()), @r"
        disk-guard removed /home/ci/runner-2/_work/app/app/target/debug 2026-03-04 12:25:20 UTC (1 h ago).
        The path does not exist. In /home/ci/runner-2/_work/app/app an entry was last created or removed
        2026-03-04 12:25:15 UTC (1 h ago).

        Actions
          2026-03-04 12:25:15  claimed  8.00 GiB  /home/ci/runner-2/_work/app/app/target
              which contained the path in question
              runner-2, cargo-target, reason: pressure
              by a sweep; written by root pid 77 (/usr/bin/disk-guard) [journal and file]
          2026-03-04 12:25:20  removed  8.00 GiB  /home/ci/runner-2/_work/app/app/target
              which contained the path in question
              runner-2, cargo-target, reason: pressure
              evidence: no sign of use at the claim; newest content 3 d old
              by a sweep; written by root pid 77 (/usr/bin/disk-guard) [journal and file]
          because of pressure: 2026-03-04 12:25:11  /home is 92 % full: high (by a sweep)

        The ledger
          journal: since 2026-03-03 14:25:10 UTC (24 h ago); the journal is kept in memory: it starts with
                   this boot
          file: since 2026-02-02 14:25:10 UTC (30 d ago)
        ");
    }

    #[test]
    fn a_cleared_path_and_a_forged_entry() {
        insta::assert_snapshot!(why(&samples::why_innocent(), samples::now(), &screen()), @r"
        disk-guard did not touch /home/ci/runner-1/_work/\x1b[2J\u{202e}/x: its ledger is complete since
        2026-02-02 14:25:10 UTC (30 d ago) and has no action on this path, above it or below it.
        The path does not exist. In /home/ci/runner-1/_work an entry was last created or removed 2026-03-04
        12:28:30 UTC (1 h ago).

        Rejected entries
          2026-03-04 12:28:30  removed  8.00 GiB  /home/ci/runner-1/_work/\x1b[2J\u{202e}
              runner-2, cargo-target, reason: pressure
              evidence: \u{9b}31m
              by the hook of runner-9\n::error::x; claims to be disk-guard's, written by uid 1009 pid 77
              [file]
              rejected: its path is not uid 1009's

        Actions of the guard between 2026-03-04 12:15:10 and 2026-03-04 12:35:10 UTC
          2026-03-04 12:25:10  sweep: removed 1 (8.00 GiB); kept 2: worker-process 2 [root pid 77
                                      (/usr/bin/disk-guard)]
              removed  8.00 GiB  /home/ci/runner-2/_work/app/app/target
          1 hook of runner-1: a job started or ended, without another action

        The ledger
          journal: since 2026-03-03 14:25:10 UTC (24 h ago); the journal is kept in memory: it starts with
                   this boot
          file: since 2026-02-02 14:25:10 UTC (30 d ago)
        ");
    }
}
