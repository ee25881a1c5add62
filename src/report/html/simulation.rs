//! `simulate --html`.

use super::page;
use crate::report::escape;
use crate::report::human::by_hooks;
use crate::report::words;
use crate::simulate::{Builds, PastDisk, Point, SimulationOutcome};
use maud::{Markup, html};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// Ways of making room on simulated hosts.
pub fn simulation(
    rows: &[(&str, &str, SimulationOutcome)],
    seeds: u64,
    days: u32,
    now: SystemTime,
) -> String {
    let mut hosts: Vec<&str> = rows.iter().map(|(host, ..)| *host).collect();
    hosts.dedup();
    let line = html! { (days) " simulated days, means of " (seeds) " seeds. Died: of 1,000 jobs, those that met a full disk." };
    let told = html! {
        @for name in hosts {
            section {
                h2 { (escape::text(name)) }
                (ways(rows.iter().filter(|(host, ..)| *host == name)))
            }
        }
    };
    page("ways of making room", now, &line, &told)
}

fn ways<'r>(rows: impl Iterator<Item = &'r (&'r str, &'r str, SimulationOutcome)> + Clone) -> Markup {
    let most = rows.clone().map(|(.., outcome)| outcome.died_per_1000).fold(1.0, f64::max);
    html! {
        table {
            thead { tr { th { "Room is made by" } th { "Died" } th class="number" { "of 1,000" } th class="number" { "Done" } th class="number" { "Refused" } th class="number" { "Minutes waited" } th class="number" { "GiB evicted a day" } } }
            tbody {
                @for (_, case, outcome) in rows {
                    tr {
                        td { (escape::text(case)) }
                        td { meter class="critical" min="0" max=(format!("{most:.1}")) value=(format!("{:.1}", outcome.died_per_1000)) {} }
                        td class="number" { (format!("{:.1}", outcome.died_per_1000)) }
                        td class="number" { (format!("{:.0}", outcome.done)) }
                        td class="number" { (format!("{:.0}", outcome.refused)) }
                        td class="number" { (format!("{:.1}", outcome.wait_minutes)) }
                        td class="number" { (format!("{:.0}", outcome.evicted_gib_a_day)) }
                    }
                }
            }
        }
    }
}

/// How full this host's disks were, and would have been.
pub fn past(disks: &[PastDisk], jobs: &Builds, now: SystemTime) -> String {
    let line = html! {
        (words::count(jobs.began, "job")) " started in that time, " (jobs.cold) " of them after a cache of their repository had been removed"
    };
    let told = html! {
        @if disks.is_empty() { p { "No sweep has observed this host's disks yet: there is no past to replay." } }
        @for disk in disks { (one(disk)) }
    };
    page("this host's own past", now, &line, &told)
}

fn one(disk: &PastDisk) -> Markup {
    let replayed = &disk.replayed;
    let time = |point: Option<&Point>| {
        let at = point.and_then(|point| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(point.at)));
        at.map(|at| words::timestamp(at).strftime("%F %H:%M UTC").to_string()).unwrap_or_default()
    };
    html! {
        section {
            // Escaped when it was written down.
            h2 { (disk.mount) ": " (words::size(disk.was)) " → " (words::size(disk.size)) }
            (plot(&replayed.points))
            p {
                (time(replayed.points.first())) " to " (time(replayed.points.last())) ", Use%: "
                span class="was" { "as it was" } ", " span class="would" { "as it would have been" }
            }
            dl {
                dt { "Sweeps" } dd { (replayed.points.len()) ", freed " (words::size(replayed.freed)) ", would have freed " (words::size(replayed.would_free)) }
                dt { "Hooks" } dd { (by_hooks(replayed)) }
                dt { "Critical" } dd { (replayed.critical) " of the sweeps found it critical, " (replayed.would_critical) " would have" }
                dt { "Full" } dd { (replayed.would_be_full) " would have found it so" }
            }
        }
    }
}

/// Use% by time, with a line at each quarter.
fn plot(points: &[Point]) -> Markup {
    let (first, last) =
        (points.first().map_or(0, |point| point.at), points.last().map_or(1, |point| point.at));
    let span = last.saturating_sub(first).max(1) as f64;
    let line = |of: fn(&Point) -> u8| {
        points.iter().fold(String::new(), |mut line, point| {
            let x = 1000.0 * point.at.saturating_sub(first) as f64 / span;
            let _ = write!(line, "{x:.1},{} ", 100 - of(point).min(100));
            line
        })
    };
    html! {
        svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="Use% by time" {
            @for quarter in [0, 25, 50, 75, 100] { line x1="0" x2="1000" y1=(quarter) y2=(quarter) {} }
            polyline class="was" points=(line(|point| point.was).trim_end()) {}
            polyline class="would" points=(line(|point| point.would).trim_end()) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::simulate::Replayed;

    #[test]
    fn a_simulation_has_a_table_for_each_host() {
        let outcome = SimulationOutcome { died_per_1000: 40.0, done: 960.0, ..SimulationOutcome::default() };
        let less = SimulationOutcome { died_per_1000: 4.25, done: 996.0, ..outcome };
        let rows = [("web", "watermarks", outcome), ("web", "forecast", less), ("gate", "<forecast>", less)];
        let page = simulation(&rows, 3, 21, samples::now());
        assert_eq!((page.matches("<table>").count(), page.matches("<meter").count()), (2, 3), "{page}");
        for told in ["21 simulated days", ">40.0<", ">4.2<", "max=\"40.0\"", "&lt;forecast&gt;"] {
            assert!(page.contains(told), "{told} is missing in:\n{page}");
        }
    }

    #[test]
    fn a_past_is_drawn_and_summarised() {
        let point = |at, was, would| Point { at, was, would };
        let replayed = Replayed {
            points: vec![point(100, 50, 60), point(200, 60, 100)],
            would_be_full: 1,
            would_free_for_jobs: 2 << 30,
            ..Replayed::default()
        };
        let disk = PastDisk { mount: "/srv/<ci>".into(), was: 100 << 30, size: 70 << 30, replayed };
        let page = past(&[disk], &Builds { began: 9, cold: 1 }, samples::now());
        for told in [
            "/srv/&lt;ci&gt;: 100 GiB → 70.0 GiB",
            "points=\"0.0,50 1000.0,40\"",
            "points=\"0.0,40 1000.0,0\"",
            "1 would have found it so",
            "would have freed 2.00 GiB more",
            "9 jobs started",
        ] {
            assert!(page.contains(told), "{told} is missing in:\n{page}");
        }
        for needs in ["http://", "https://", "src=", "href=", "url(", "@import", "<script"] {
            assert!(!page.contains(needs), "{needs}");
        }
        assert!(past(&[], &Builds::default(), samples::now()).contains("no past to replay"));
    }
}
