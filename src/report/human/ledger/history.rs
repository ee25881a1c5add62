//! `history`: what was done since a time, as a table, and its sums.

use super::super::screen::Screen;
use super::super::table::{Align, Cell, Table};
use super::super::{fit, words};
use super::entry::{subject, tone, unbelieved};
use super::{extent, moment, stamp};
use crate::model::ledger::{ActionKind, History, Judged, Scope, Total};
use std::fmt::Write as _;
use std::time::SystemTime;

/// What was done since a time, as a table, and its sums.
pub fn history(history: &History, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let freed: u64 = history.by_rule.iter().map(|total| total.bytes).sum();
    let removed: usize = history.by_rule.iter().map(|total| total.count).sum();
    let _ = writeln!(
        out,
        "Since {}: freed {} in {}, {}.",
        moment(history.window.from, now),
        words::size(freed),
        words::count(removed, "tree"),
        words::count(history.runs, "run"),
    );
    if !history.deeds.is_empty() {
        out.push('\n');
        let mut table = Table::new(
            [
                ("TIME (UTC)", Align::Left),
                ("WHAT", Align::Left),
                ("SIZE", Align::Right),
                ("RUNNER", Align::Left),
                ("WHY", Align::Left),
                ("BY", Align::Left),
            ],
            "PATH",
        );
        for judged in &history.deeds {
            table.row(row(judged, screen), subject(judged.record()));
        }
        table.render(screen, &mut out);
    }
    sums("By rule", &history.by_rule, screen, &mut out);
    sums("By runner", &history.by_runner, screen, &mut out);
    unbelieved(history.foreign.len(), "disk-guard history --json", screen, &mut out);
    extent(&history.extent, now, screen, &mut out);
    out
}

fn row(judged: &Judged, screen: &Screen) -> [Cell; 6] {
    let record = judged.record();
    let name = |text: Option<&str>| fit(text.unwrap_or("-"), screen.width() / 5);
    let by = match &record.details.scope {
        None => "?".to_owned(),
        Some(Scope::Sweep) => "sweep".to_owned(),
        Some(Scope::Reap) => "reap".to_owned(),
        Some(Scope::Stores) => "stores".to_owned(),
        Some(Scope::Hook(_)) => "hook".to_owned(),
        Some(Scope::Remediate) => "remediate".to_owned(),
    };
    let deed = match record.deed {
        ActionKind::Claimed => "claimed, no end",
        other => other.as_str(),
    };
    [
        Cell::plain(stamp(record.time)),
        Cell::new(tone(record.deed), deed),
        Cell::plain(record.details.bytes.map_or_else(|| "-".to_owned(), words::size)),
        Cell::plain(name(record.details.runner.as_deref())),
        Cell::plain(name(record.details.reason.as_deref())),
        Cell::plain(by),
    ]
}

fn sums(heading: &'static str, totals: &[Total], screen: &Screen, out: &mut String) {
    if totals.is_empty() {
        return;
    }
    out.push('\n');
    let mut table =
        Table::new([(heading, Align::Left), ("TREES", Align::Right), ("FREED", Align::Right)], "");
    for total in totals {
        let name = fit(&total.name, screen.width() / 2);
        table.row(
            [Cell::plain(name), Cell::plain(total.count.to_string()), Cell::plain(words::size(total.bytes))],
            "",
        );
    }
    table.render(screen, out);
}

#[cfg(test)]
mod tests {
    use super::super::tests::screen;
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_day() {
        insta::assert_snapshot!(history(&samples::history(), samples::now(), &screen()), @"
        Since 2026-03-03 14:25:10 UTC (24 h ago): freed 8.00 GiB in 1 tree, 2 runs.

        TIME (UTC)           WHAT         SIZE  RUNNER    WHY       BY
        2026-03-04 12:25:20  removed  8.00 GiB  runner-2  pressure  sweep
            /home/ci/runner-2/_work/app/app/target

        By rule       TREES     FREED
        cargo-target      1  8.00 GiB

        By runner  TREES     FREED
        runner-2       1  8.00 GiB

        1 entry is rejected and not counted: see `foreign` in `disk-guard history --json`.

        The ledger
          journal: since 2026-03-03 14:25:10 UTC (24 h ago); the journal is kept in memory: it starts with
                   this boot
          file: since 2026-02-02 14:25:10 UTC (30 d ago)
        ");
    }
}
