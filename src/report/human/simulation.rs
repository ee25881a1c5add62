//! `simulate` for people.

use super::screen::{Screen, Tone};
use super::table::{Align, Cell, Table};
use crate::simulate::{Builds, PastDisk, Point, Replayed, SimulationOutcome};
use crate::text::words;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// Rows of a plot; each is the fullest of its time.
const ROWS: usize = 24;

/// Columns of a bar.
const BAR: usize = 20;

/// One table: a row for each way of making room on each host.
pub fn simulation(
    rows: &[(&str, &str, SimulationOutcome)],
    seeds: u64,
    days: u32,
    screen: &Screen,
) -> String {
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

/// How full each disk was, and would have been.
pub fn past(disks: &[PastDisk], jobs: &Builds, screen: &Screen) -> String {
    let mut out = String::new();
    if disks.is_empty() {
        out.push_str("No sweep has observed this host's disks yet: there is no past to replay.\n");
        return out;
    }
    for disk in disks {
        let replayed = &disk.replayed;
        let _ = writeln!(
            out,
            "{}: {} -> {}, {}",
            disk.mount,
            words::size(disk.was),
            words::size(disk.size),
            words::count(replayed.points.len(), "sweep")
        );
        let mut table =
            Table::new([("  TIME", Align::Left), ("WAS", Align::Left), ("WOULD HAVE BEEN", Align::Left)], "");
        for point in fullest(&replayed.points) {
            let time = words::timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(point.at));
            let bar = |percent: u8| format!("{} {percent:>3}%", super::status::drawn(percent, BAR));
            let tone = if point.would >= 100 { Tone::Bad } else { Tone::Plain };
            table.row(
                [
                    Cell::plain(format!("  {}", time.strftime("%m-%d %H:%M"))),
                    Cell::plain(bar(point.was)),
                    Cell::new(tone, bar(point.would)),
                ],
                "",
            );
        }
        table.render(screen, &mut out);
        let text = format!(
            "sweeps freed {} and would have freed {}; {} of them found it at or above `critical`, {} would have, and {} of those full",
            words::size(replayed.freed),
            words::size(replayed.would_free),
            replayed.critical,
            replayed.would_critical,
            replayed.would_be_full
        );
        screen.paragraph(&mut out, Tone::Plain, "  ", &text);
        if replayed.freed_by_hooks + replayed.would_free_by_hooks + replayed.would_free_for_jobs > 0 {
            screen.paragraph(&mut out, Tone::Plain, "  ", &by_hooks(replayed));
        }
        out.push('\n');
    }
    let (freed, would): (f64, f64) = disks.iter().fold((0.0, 0.0), |(freed, would), disk| {
        (freed + disk.replayed.freed as f64, would + disk.replayed.would_free as f64)
    });
    let mut text = format!(
        "{} started in that time, {} of them after a cache of their repository had been removed",
        words::count(jobs.began, "job"),
        jobs.cold
    );
    if freed > 0.0 {
        let cold = (jobs.cold as f64 * would / freed).min(jobs.began as f64);
        let _ = write!(text, "; scaled to the bytes that would have been removed, about {cold:.0}");
    }
    screen.paragraph(&mut out, Tone::Plain, "", &text);
    out
}

/// What hooks did when jobs began.
pub(in crate::report) fn by_hooks(replayed: &Replayed) -> String {
    format!(
        "when jobs started, hooks freed {} and would have freed {}; hooks and sweeps would have freed {} more than the watermarks ask for, because live jobs were expected to need it",
        words::size(replayed.freed_by_hooks),
        words::size(replayed.would_free_by_hooks),
        words::size(replayed.would_free_for_jobs)
    )
}

/// The points as they are plotted: of each part of the time the one that would have been fullest.
fn fullest(points: &[Point]) -> Vec<Point> {
    let size = points.len().div_ceil(ROWS).max(1);
    points.chunks(size).filter_map(|part| part.iter().max_by_key(|point| point.would).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_that_would_have_been_fuller() {
        let point = |hour: u64, was, would| Point { at: 1_772_600_000 + hour * 3600, was, would };
        let replayed = Replayed {
            points: vec![point(0, 50, 70), point(1, 60, 84), point(2, 71, 100)],
            freed: 1 << 30,
            would_free: 3 << 30,
            critical: 0,
            would_critical: 1,
            would_be_full: 1,
            ..Replayed::default()
        };
        let disk = PastDisk { mount: "/home".into(), was: 100 << 30, size: 70 << 30, replayed };
        let text = past(&[disk], &Builds { began: 9, cold: 1 }, &Screen::plain(80));
        insta::assert_snapshot!(text, @r#"
        /home: 100 GiB -> 70.0 GiB, 3 sweeps
          TIME         WAS                          WOULD HAVE BEEN
          03-04 04:53  [##########..........]  50%  [##############......]  70%
          03-04 05:53  [############........]  60%  [################....]  84%
          03-04 06:53  [##############......]  71%  [####################] 100%
          sweeps freed 1.00 GiB and would have freed 3.00 GiB; 0 of them found it at or
          above `critical`, 1 would have, and 1 of those full

        9 jobs started in that time, 1 of them after a cache of their repository had
        been removed; scaled to the bytes that would have been removed, about 3
        "#);
        assert!(past(&[], &Builds::default(), &Screen::plain(80)).contains("no past"));
        let for_jobs =
            Replayed { would_free_by_hooks: 5 << 30, would_free_for_jobs: 2 << 30, ..Replayed::default() };
        assert!(
            by_hooks(&for_jobs)
                .contains("would have freed 5.00 GiB; hooks and sweeps would have freed 2.00 GiB")
        );
    }

    #[test]
    fn a_plot_has_a_row_for_each_part_of_the_time_and_keeps_its_peaks() {
        let points: Vec<Point> =
            (0..96).map(|at| Point { at, was: 1, would: if at == 41 { 99 } else { 5 } }).collect();
        let rows = fullest(&points);
        assert_eq!((rows.len(), rows.iter().filter(|row| row.would == 99).count()), (24, 1));
    }
}
