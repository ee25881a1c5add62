//! `forecast` for people.

use super::screen::{Screen, Tone};
use super::table::{Align, Cell, Table};
use crate::model::metrics::Trend;
use crate::model::{Basis, DiskForecast, Forecasting, JobForecast};
use crate::text::{escape, words};
use std::fmt::Write as _;
use std::time::Duration;

/// Each disk with what live jobs need there, and each job's part.
pub fn forecast(disks: &[DiskForecast], forecasting: Forecasting, screen: &Screen) -> String {
    let mut out = String::new();
    if forecasting == Forecasting::Off {
        let _ = writeln!(out, "The forecast is switched off (`[forecast] enabled = false`).");
        return out;
    }
    if disks.is_empty() {
        let _ = writeln!(out, "Nothing to forecast: no runner's disk was found, or no lease can be read.");
        return out;
    }
    for (index, disk) in disks.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        one(disk, screen, &mut out);
    }
    out
}

fn one(disk: &DiskForecast, screen: &Screen, out: &mut String) {
    let tone = if disk.lacking_bytes() > 0 { Tone::Warn } else { Tone::Good };
    let _ = writeln!(out, "{}", screen.paint(tone, &escape::path(&disk.filesystem.mount)));
    screen.paragraph(out, Tone::Plain, "  ", &said(disk));
    if disk.jobs.is_empty() {
        return;
    }
    let mut table = Table::new(
        [
            ("  RUNNER", Align::Left),
            ("RESERVED", Align::Right),
            ("HOLDS", Align::Right),
            ("TO COME", Align::Right),
        ],
        "JOB AND BASIS OF ITS ESTIMATE",
    );
    for job in &disk.jobs {
        table.row(
            [
                Cell::plain(format!("  {}", escape::text(&job.runner))),
                Cell::plain(words::size(job.reserved_bytes)),
                Cell::plain(words::size(job.realised_bytes)),
                Cell::plain(words::size(job.expected_bytes)),
            ],
            of(job),
        );
    }
    table.render(screen, out);
}

fn of(job: &JobForecast) -> String {
    let basis = match job.basis {
        Basis::History => "its earlier runs",
        Basis::Repository => "its repository on other runners",
        Basis::Host => "other jobs of this host",
        Basis::Unknown => "no earlier run is known: forecast.unknown, at most a quarter of the disk",
    };
    let claimed = job.claimed_bytes.map(|bytes| format!("; it claims {}", words::size(bytes)));
    format!(
        "{} {}: {basis}{}",
        escape::text(&job.job.repository),
        escape::text(&job.job.job),
        claimed.unwrap_or_default()
    )
}

/// Need, reserved, realised, fill rate and time to full in one sentence.
pub(super) fn said(disk: &DiskForecast) -> String {
    let jobs = match disk.jobs.len() {
        0 => "no live job".to_owned(),
        _ => format!(
            "{}; {} are reserved and {} held",
            words::room(disk),
            words::size(disk.reserved_bytes()),
            words::size(disk.realised_bytes())
        ),
    };
    let short = match disk.lacking_bytes() {
        0 => String::new(),
        bytes => format!(": {} short", words::size(bytes)),
    };
    format!("{jobs}{short}{}", disk.trend.map(|trend| filling(&trend)).unwrap_or_default())
}

fn filling(trend: &Trend) -> String {
    if trend.bytes_per_second <= 0.0 {
        return "; it does not fill".to_owned();
    }
    let hourly = words::size((trend.bytes_per_second * 3600.0) as u64);
    let full =
        Duration::try_from_secs_f64(trend.seconds_to_full).map_or_else(|_| "never".to_owned(), words::span);
    format!("; it fills by {hourly} an hour: full in {full}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn disks_with_their_jobs() {
        let disks = [samples::forecast()];
        insta::assert_snapshot!(forecast(&disks, Forecasting::On, &Screen::plain(80)), @r#"
        /home
          2 live jobs on /home may need 31.0 GiB more (22.0 GiB expected), and 21.0 GiB
          are available; 28.0 GiB are reserved and 6.00 GiB held: 10.0 GiB short; it
          fills by 6.71 GiB an hour: full in 3 h
          RUNNER         RESERVED     HOLDS   TO COME
          runner-1       20.0 GiB  4.00 GiB  16.0 GiB
            acme/app build: its earlier runs
          x\n::error::y  8.00 GiB  2.00 GiB  6.00 GiB
            acme/app test: other jobs of this host; it claims 900 GiB
        "#);
        assert!(forecast(&disks, Forecasting::Off, &Screen::plain(80)).contains("switched off"));
        assert!(forecast(&[], Forecasting::On, &Screen::plain(80)).contains("no runner's disk was found"));
    }
}
