//! `simulate` for people.

use super::screen::{Screen, Tone};
use super::table::{Align, Cell, Table};
use crate::simulate::Outcome;
use std::fmt::Write as _;

/// One table: a row for each way of making room on each host.
pub fn simulation(rows: &[(&str, &str, Outcome)], seeds: u64, days: u32, screen: &Screen) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{days} simulated days, means of {seeds} seeds. DIED: of 1,000 jobs, those that met a full disk.\n\
         MIN: how long a job waited for room. GIB/DAY: what was evicted.\n"
    );
    let mut table = Table::new(
        [
            ("ROOM IS MADE BY", Align::Left),
            ("DIED", Align::Right),
            ("DONE", Align::Right),
            ("REFUSED", Align::Right),
            ("MIN", Align::Right),
            ("GIB/DAY", Align::Right),
        ],
        "HOST",
    );
    for (host, case, outcome) in rows {
        table.row(
            [
                Cell::new(Tone::Plain, *case),
                Cell::new(Tone::Plain, format!("{:.1}", outcome.died_per_1000)),
                Cell::new(Tone::Plain, format!("{:.0}", outcome.done)),
                Cell::new(Tone::Plain, format!("{:.0}", outcome.refused)),
                Cell::new(Tone::Plain, format!("{:.1}", outcome.wait_minutes)),
                Cell::new(Tone::Plain, format!("{:.0}", outcome.evicted_gib_a_day)),
            ],
            (*host).to_owned(),
        );
    }
    table.render(screen, &mut out);
    out
}
