//! `reap` for people: the deletions, the failures, and why the rest is kept; and the line of each entry in `status`.

use super::screen::{Screen, Tone};
use super::{notes, words};
use crate::model::reap::{EntryReport, ReapRecord, ReapReport, ReapResult, Reaping};
use crate::report::{escape, reap_words};
use std::fmt::Write as _;
use std::time::SystemTime;

/// Further ones that are kept for the same kind of reason are only counted.
const NAMED: usize = 8;

/// The report of a run, or of a dry one.
pub fn reap(report: &ReapReport, screen: &Screen) -> String {
    let mut out = String::new();
    if report.entries.is_empty() {
        let text = "no [[reap]] is configured, so nothing is reaped; see disk-guard.toml(5)";
        screen.paragraph(&mut out, Tone::Plain, "", text);
        return out;
    }
    for (number, entry) in report.entries.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        one(entry, screen, &mut out);
    }
    if report.dry_run {
        let _ = writeln!(out, "\nDry run: nothing was deleted, and nothing recorded.");
    }
    out
}

fn one(entry: &EntryReport, screen: &Screen, out: &mut String) {
    let label = format!("{} ({}): ", escape::text(&entry.name), entry.kind);
    screen.paragraph(out, Tone::Heading, &label, &reap_words::sums(entry));
    if let Some(error) = &entry.error {
        screen.paragraph(out, Tone::Bad, "  failed: ", &escape::text(error));
    }
    group("Would reap", Tone::Good, entry, |result| *result == ReapResult::Planned, screen, out);
    group("Reaped", Tone::Good, entry, |result| *result == ReapResult::Reaped, screen, out);
    group("FAILED", Tone::Bad, entry, ReapResult::is_failure, screen, out);
    group("Changed", Tone::Warn, entry, |result| matches!(result, ReapResult::Changed(_)), screen, out);
    group("Left", Tone::Warn, entry, |result| matches!(result, ReapResult::Deferred(_)), screen, out);
    group("Stays", Tone::Plain, entry, |result| *result == ReapResult::Kept, screen, out);
    notes(out, screen, &entry.notes);
}

fn group(
    heading: &str,
    tone: Tone,
    entry: &EntryReport,
    wanted: impl Fn(&ReapResult) -> bool,
    screen: &Screen,
    out: &mut String,
) {
    let chosen: Vec<&Reaping> = entry.reapings.iter().filter(|reaping| wanted(&reaping.result)).collect();
    if chosen.is_empty() {
        return;
    }
    let _ = writeln!(out, "  {}", screen.paint(tone, heading));
    // Deletions are listed completely; there may be thousands of kept ones.
    let is_long = matches!(chosen[0].result, ReapResult::Kept | ReapResult::Deferred(_));
    let shown = if is_long { NAMED } else { chosen.len() };
    for reaping in chosen.iter().take(shown) {
        let environment = &reaping.environment;
        let size = environment.bytes.map(|bytes| format!(" ({})", words::size(bytes))).unwrap_or_default();
        let label = format!("    {}{size}: ", escape::text(&environment.name));
        let mut text = reap_words::why(reaping);
        if let Some(result) = reap_words::result(&reaping.result) {
            text = format!("{text}; {result}");
        }
        if !is_long && !environment.holds.is_empty() {
            let held: Vec<_> = environment.holds.iter().map(|held| escape::text(held)).collect();
            text = format!("{text}; with {}", held.join(", "));
        }
        screen.paragraph(out, Tone::Plain, &label, &text);
    }
    if let Some(more @ 1..) = chosen.len().checked_sub(shown) {
        let _ = writeln!(out, "    and {more} more; --json lists all");
    }
}

/// The line of `status` about the reaper's last run.
pub fn reap_record(record: Option<&ReapRecord>, now: SystemTime, screen: &Screen, out: &mut String) {
    for entry in record.iter().flat_map(|record| &record.entries) {
        let tone = match (&entry.counts.error, entry.counts.failed + entry.counts.leaked) {
            (Some(_), _) => Tone::Bad,
            (None, 1..) => Tone::Warn,
            (None, 0) => Tone::Plain,
        };
        let mut text = format!("{} of {} leaked", entry.counts.leaked, entry.counts.matched);
        for (count, what) in [
            (entry.counts.waiting, "not idle for long enough"),
            (entry.counts.unproven, "without proof"),
            (entry.counts.unknown, "unknown"),
            (entry.counts.failed, "failed to delete"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        let _ = write!(text, "; {} ago", words::elapsed(entry.time, now));
        if let Some(error) = &entry.counts.error {
            let _ = write!(text, "; it could not be listed: {}", escape::text(error));
        }
        let label =
            format!("Reaper           {} ({}): ", escape::text(&entry.name), escape::text(&entry.kind));
        screen.paragraph(out, tone, &label, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
    use crate::report::samples;

    #[test]
    fn a_run_at_80_columns() {
        insta::assert_snapshot!(reap(&samples::reap(Execution::Apply), &Screen::plain(80)), @r"
        clones (tart): 12 listed, 8 matched: 1 reaped, 3 leaked, 2 failed, 1 not idle
                       for long enough, 1 unknown
          Reaped
            runner-1 (88.0 GiB): stopped for 3 h; with its disk
          FAILED
            runner-2\n::error::: stopped for 3 h; its delete reported success, but it is
                                 still listed
            runner-3: never started, for 3 h; `tart delete` failed: no
          Changed
            runner-4: stopped for 3 h; left alone right before its delete: it is running
                      now
          Left
            runner-5: stopped for 3 h; left for the next run: max_per_run is reached
          Stays
            runner-6: it runs
            runner-7: its shape is not known: State suspended
            runner-8: stopped for 1 h, max_age is 2 h

        vms (libvirt): 0 listed, 0 matched
          failed: `virsh list` failed: no
        ");
    }

    #[test]
    fn a_dry_run() {
        insta::assert_snapshot!(reap(&samples::reap(Execution::DryRun), &Screen::plain(80)), @r"
        clones (tart): 12 listed, 8 matched: 5 leaked, 1 not idle for long enough, 1
                       unknown
          Would reap
            runner-1 (88.0 GiB): stopped for 3 h; with its disk
            runner-2\n::error::: stopped for 3 h
            runner-3: never started, for 3 h
            runner-4: stopped for 3 h
            runner-5: stopped for 3 h
          Stays
            runner-6: it runs
            runner-7: its shape is not known: State suspended
            runner-8: stopped for 1 h, max_age is 2 h

        vms (libvirt): 0 listed, 0 matched
          failed: `virsh list` failed: no

        Dry run: nothing was deleted, and nothing recorded.
        ");
    }

    #[test]
    fn nothing_is_configured() {
        let text = reap(&ReapReport::default(), &Screen::plain(100));
        assert!(text.contains("no [[reap]] is configured"), "{text}");
    }

    #[test]
    fn the_line_of_status() {
        let mut out = String::new();
        reap_record(Some(&samples::reap_record()), samples::now(), &Screen::plain(80), &mut out);
        insta::assert_snapshot!(out, @r"
        Reaper           clones (tart): 3 of 8 leaked, 1 not idle for long enough, 1
                                        unknown, 2 failed to delete; 10 min ago
        Reaper           vms (libvirt): 0 of 0 leaked; 10 min ago; it could not be
                                        listed: `virsh list` failed: no
        ");
    }
}
