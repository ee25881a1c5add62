//! `postmortem` for people: the answer first, then its basis, what it was not, what could not be seen, and what to do.
//!
//! Lines of evidence come from logs that a runner's user can write: all of them are escaped here.

use super::screen::{Screen, Tone, wrap};
use super::words;
use crate::model::postmortem::{Case, Cause, Confidence, Death, Diagnosis, Ended, Report};
use crate::report::escape;
use std::fmt::Write as _;
use std::time::SystemTime;

/// The indent of text.
const INDENT: usize = 2;

/// All cases, the latest first.
pub fn postmortem(report: &Report, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let deaths = report.cases.iter().filter(|case| case.verdict.ended == Ended::Abruptly).count();
    let whose = match &report.runner {
        Some(name) => escape::text(name).into_owned(),
        None => words::count(report.runners, "runner"),
    };
    let since = words::clock(report.since, now);
    let (tone, answer) = match deaths {
        0 => (Tone::Good, "no death".to_owned()),
        deaths => (Tone::Bad, words::count(deaths, "death")),
    };
    let _ = writeln!(
        out,
        "{} since {since} among {} of {whose}",
        screen.paint(tone, &answer),
        words::count(report.jobs, "job")
    );
    for case in &report.cases {
        out.push('\n');
        one(case, now, screen, &mut out);
    }
    if !report.notes.is_empty() {
        out.push('\n');
    }
    super::notes(&mut out, screen, &report.notes);
    out
}

fn one(case: &Case, now: SystemTime, screen: &Screen, out: &mut String) {
    let (death, verdict) = (&case.death, &case.verdict);
    let title = format!("{}: {}", escape::text(&death.runner), escape::text(&verdict.summary));
    let sure = match verdict.cause {
        Cause::CleanEnd | Cause::Running | Cause::Unknown => String::new(),
        _ => format!(" ({}, {})", verdict.cause.as_str(), verdict.confidence.as_str()),
    };
    let title = screen.paint(tone(verdict), &format!("{title}{sure}"));
    screen.paragraph(out, Tone::Plain, "", &title);
    paragraph(out, screen, &about(death, now));
    if case.kept {
        let text = format!("Kept from {}, when it was examined.", words::clock(case.examined, now));
        paragraph(out, screen, &text);
    }
    section(
        out,
        screen,
        "Evidence",
        verdict.evidence.iter().map(|proof| {
            let at = proof.at.map(|at| format!(" at {}", moment(at, now))).unwrap_or_default();
            format!("{}{at}: {}", escape::text(&proof.source), escape::text(&proof.text))
        }),
    );
    section(
        out,
        screen,
        "Ruled out",
        verdict
            .ruled_out
            .iter()
            .map(|ruled| format!("{}: {}", ruled.cause.as_str(), escape::text(&ruled.by))),
    );
    section(
        out,
        screen,
        "Not seen",
        verdict
            .missing
            .iter()
            .map(|missing| format!("{} -> {}", escape::text(&missing.what), escape::text(&missing.how))),
    );
    section(
        out,
        screen,
        "What to do",
        (!verdict.advice.is_empty()).then(|| verdict.advice.clone()).into_iter(),
    );
}

fn tone(verdict: &Diagnosis) -> Tone {
    match (verdict.ended, verdict.cause, verdict.confidence) {
        (Ended::Cleanly, Cause::CleanEnd, _) => Tone::Good,
        (Ended::NotYet, Cause::Running, _) => Tone::Busy,
        (_, _, Confidence::Possible) => Tone::Warn,
        _ => Tone::Bad,
    }
}

/// The job, its Worker, and its times.
fn about(death: &Death, now: SystemTime) -> String {
    let mut parts = Vec::new();
    if let Some(repository) = &death.repository {
        let run = death.run_id.as_deref().map(|run| format!(" #{}", escape::text(run))).unwrap_or_default();
        let job = death.job.as_deref().map(|job| format!(" `{}`", escape::text(job))).unwrap_or_default();
        parts.push(format!("job {}{run}{job}", escape::text(repository)));
    }
    if let Some(pid) = death.worker_pid {
        parts.push(format!("Worker pid {pid}"));
    }
    for (what, at) in
        [("began", death.started), ("last sign of life", death.last_sign), ("ended", death.ended)]
    {
        if let Some(at) = at {
            parts.push(format!("{what} {}", moment(at, now)));
        }
    }
    parts.push(format!("in {}", escape::path(&death.root)));
    parts.join(", ")
}

/// To the second, with the date when it is another day's.
fn moment(at: SystemTime, now: SystemTime) -> String {
    let (at, now) = (words::timestamp(at), words::timestamp(now));
    let is_today = at.strftime("%F").to_string() == now.strftime("%F").to_string();
    at.strftime(if is_today { "%H:%M:%S" } else { "%F %H:%M:%S" }).to_string()
}

fn section(out: &mut String, screen: &Screen, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "{:INDENT$}{}", "", screen.paint(Tone::Heading, title));
    for line in lines {
        let (bullet, width) = ("- ", screen.width() - INDENT - 2);
        for (number, line) in wrap(&line, width).into_iter().enumerate() {
            let lead = if number == 0 { bullet } else { "  " };
            let _ = writeln!(out, "{:INDENT$}{lead}{line}", "");
        }
    }
}

fn paragraph(out: &mut String, screen: &Screen, text: &str) {
    for line in wrap(text, screen.width() - INDENT) {
        let _ = writeln!(out, "{:INDENT$}{line}", "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_death_with_everything() {
        let text = postmortem(&samples::postmortem(), samples::now(), &Screen::plain(100));
        insta::assert_snapshot!(text, @r"
        1 death since 13:25 UTC among 3 jobs of runner-1

        runner-1: the kernel killed the Worker because the cgroup /ci was at its memory limit
        (out-of-memory, certain)
          job acme/app #77 `build\n::error::x`, Worker pid 4711, began 14:00:00, last sign of life 14:24:00,
          ended 14:24:01, in /home/ci/runner-1
          Kept from 14:24 UTC, when it was examined.
          Evidence
          - Listener log at 14:24:01: Worker finished for job 8f. Code: 137
          - exit code: 137 = 128 + 9: SIGKILL ended it
          - kernel (journal) at 14:24:00: Memory cgroup out of memory: Killed process 4711 (\x1b[31m##[x])
          Ruled out
          - disk-guard: while the job ran it removed /home/ci/runner-2/_work/a/a/target (8 bytes) and
            nothing else
          Not seen
          - the runner's unit -> install it as a service
          What to do
          - give the host more memory

        note: runner-2: its logs cannot be read
        ");
    }

    #[test]
    fn a_postmortem_without_deaths_is_reported_in_one_line() {
        let report = Report { cases: Vec::new(), runner: None, ..samples::postmortem() };
        let text = postmortem(&report, samples::now(), &Screen::plain(80));
        insta::assert_snapshot!(text, @r"
        no death since 13:25 UTC among 3 jobs of 1 runner

        note: runner-2: its logs cannot be read
        ");
    }
}
