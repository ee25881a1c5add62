//! `blame`: what the guard did around a time.

use super::super::screen::{Screen, Tone};
use super::entry::{by, subject, unbelieved};
use super::{extent, moment, runs, stamp};
use crate::model::ledger::{Blame, Judged, LedgerRun};
use std::time::SystemTime;

/// What the guard did around a time.
pub fn blame(blame: &Blame, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let has_done = |run: &LedgerRun| run.entries.iter().any(|judged| judged.record().deed.touches());
    let is_covered = blame.extent.complete_since().is_some_and(|since| since <= blame.window.from);
    let span = format!("between {} and {}", stamp(blame.window.from), stamp(blame.window.to));
    let (tone, text) = if blame.runs.iter().any(has_done) {
        (Tone::Warn, format!("The guard removed or moved things {span} UTC:"))
    } else if is_covered && blame.runs.is_empty() {
        (Tone::Good, format!("The guard took no action {span} UTC."))
    } else if is_covered {
        (Tone::Good, format!("The guard removed nothing and moved nothing {span} UTC."))
    } else {
        let reach = match blame.extent.complete_since().or(blame.extent.oldest()) {
            Some(since) => {
                format!("the ledger only reaches back to {} or is incomplete", moment(since, now))
            }
            None => "the ledger is empty".to_owned(),
        };
        (
            Tone::Warn,
            format!("There is no evidence that the guard removed or moved anything {span} UTC, but {reach}."),
        )
    };
    screen.paragraph(&mut out, tone, "", &screen.paint(tone, &text));
    out.push('\n');
    if !blame.runs.is_empty() {
        runs(&blame.runs, screen, &mut out);
        out.push('\n');
    }
    for (label, deed) in
        [("Its last action before: ", &blame.before), ("Its next action after: ", &blame.after)]
    {
        let text = deed.as_ref().map_or_else(|| "none in the ledger".to_owned(), |deed| brief(deed, now));
        screen.paragraph(&mut out, Tone::Plain, label, &text);
    }
    unbelieved(blame.foreign.len(), "disk-guard blame --json", screen, &mut out);
    extent(&blame.extent, now, screen, &mut out);
    out
}

fn brief(judged: &Judged, now: SystemTime) -> String {
    let record = judged.record();
    let what = subject(record);
    format!(
        "{}, {} {what}, {}",
        moment(record.time, now),
        record.deed.as_str(),
        by(record.details.scope.as_ref())
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::screen;
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_time() {
        insta::assert_snapshot!(blame(&samples::blame(), samples::now(), &screen()), @"
        The guard took no action between 2026-03-04 12:27:30 and 2026-03-04 12:29:30 UTC.

        Its last action before: 2026-03-04 12:25:20 UTC (1 h ago), removed
                                /home/ci/runner-2/_work/app/app/target, by a sweep
        Its next action after: none in the ledger

        1 entry is rejected and not counted: see `foreign` in `disk-guard blame --json`.

        The ledger
          journal: since 2026-03-03 14:25:10 UTC (24 h ago); the journal is kept in memory: it starts with
                   this boot
          file: since 2026-02-02 14:25:10 UTC (30 d ago)
        ");
    }
}
