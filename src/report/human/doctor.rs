//! `doctor` for people.

use super::screen::{Screen, Tone, fit};
use super::table::{Align, Cell, Table};
use crate::model::{Check, CheckState};
use crate::report::escape;
use std::fmt::Write as _;

/// A name longer than this loses its middle.
const MAX_ID: usize = 34;

/// What is wrong first, each with its fix; then what is well.
pub fn doctor(checks: &[Check], screen: &Screen) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (ill, weak, well) = (count(CheckState::Fail), count(CheckState::Warn), count(CheckState::Ok));
    let mut out = String::new();
    let verdict = match (ill, weak) {
        (0, 0) => screen.paint(Tone::Good, "this host is set up well"),
        (0, _) => screen.paint(Tone::Warn, "this host is guarded, but could be better"),
        _ => screen.paint(Tone::Bad, "this host is not guarded as it should be"),
    };
    let _ = writeln!(out, "{verdict}: {ill} fail, {weak} warn, {well} ok\n");
    let mut table = Table::new([("STATE", Align::Left), ("CHECK", Align::Left)], "DETAIL");
    let mut sorted: Vec<&Check> = checks.iter().collect();
    sorted.sort_by_key(|check| std::cmp::Reverse(check.state));
    for check in sorted {
        let tone = match check.state {
            CheckState::Ok => Tone::Good,
            CheckState::Warn => Tone::Warn,
            CheckState::Fail => Tone::Bad,
        };
        let fix = check.fix.as_deref().map(|fix| format!(" -> {}", escape::text(fix))).unwrap_or_default();
        table.row(
            [Cell::new(tone, check.state.as_str()), Cell::plain(fit(&check.id, MAX_ID))],
            format!("{}{fix}", escape::text(&check.detail)),
        );
    }
    table.render(screen, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_first_with_its_fix() {
        let checks = [
            Check::ok("group", "it is there"),
            Check::warn("timer", "not armed", "arm it"),
            Check::fail("hook:a\u{1b}[31m", "no `.env`", "disk-guard install"),
        ];
        insta::assert_snapshot!(doctor(&checks, &Screen::new(80, false)), @r"
        this host is not guarded as it should be: 1 fail, 1 warn, 1 ok

        STATE  CHECK           DETAIL
        fail   hook:a\x1b[31m  no `.env` -> disk-guard install
        warn   timer           not armed -> arm it
        ok     group           it is there
        ");
    }
}
