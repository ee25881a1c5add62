//! `check` for people.

use super::screen::{Screen, Tone};
use super::state_tone;
use super::table::{Align, Cell, Table};
use crate::model::{CheckResult, Liveness};
use crate::report::{escape, words};
use std::fmt::Write as _;

/// The verdict on the first line, then what it rests on, the strongest first.
pub fn check(result: &CheckResult, screen: &Screen) -> String {
    let mut out = String::new();
    let verdict = screen.paint(state_tone(result.state), result.state.as_str());
    let _ = writeln!(out, "{}: {verdict}, {}", subject(result), meaning(result.state));
    if result.evidence.is_empty() {
        return out;
    }
    out.push('\n');
    let mut evidence: Vec<_> = result.evidence.iter().collect();
    evidence.sort_by_key(|e| (e.weight, e.kind));
    let mut table = Table::new([("EVIDENCE", Align::Left)], "DETAIL");
    for piece in evidence {
        let within = piece.within.as_deref().map(|p| format!(" [{}]", escape::path(p))).unwrap_or_default();
        table.row(
            [Cell::new(Tone::Plain, piece.kind.as_str())],
            format!("{}{within}", words::evidence(piece)),
        );
    }
    table.render(screen, &mut out);
    out
}

fn subject(result: &CheckResult) -> String {
    let runner = result.runner.as_deref().map(escape::text);
    match (result.path.as_deref().map(escape::path), runner) {
        (Some(path), Some(runner)) => format!("{path} (runner {runner})"),
        (Some(path), None) => format!("{path} (in no runner's work directory)"),
        (None, Some(runner)) => runner.into_owned(),
        (None, None) => "nothing".to_owned(),
    }
}

fn meaning(state: Liveness) -> &'static str {
    match state {
        Liveness::Idle => "provably not in use",
        Liveness::Busy => "leave it alone",
        Liveness::Unknown => "which protects it like a job: leave it alone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_busy_runner_shows_its_strongest_evidence_first() {
        let result = CheckResult {
            runner: Some("runner\u{1b}[31m-1".into()),
            path: None,
            state: Liveness::Busy,
            evidence: vec![samples::recent("/home/ci/x\ny".as_ref()), samples::hidden(), samples::worker()],
        };
        insta::assert_snapshot!(check(&result, &Screen::plain(80)), @r"
        runner\x1b[31m-1: busy, leave it alone

        EVIDENCE        DETAIL
        worker-process  Worker pid 4711
        visibility      process 991 of uid 1002 cannot be examined: its open files may
                        lie here
        recent-content  newest content is 3 min old, the idle floor is 10 min
                        [/home/ci/x\ny]
        ");
    }

    #[test]
    fn an_idle_path() {
        let result = CheckResult {
            runner: Some("runner-2".into()),
            path: Some("/home/ci/runner-2/_work/app".into()),
            state: Liveness::Idle,
            evidence: vec![],
        };
        insta::assert_snapshot!(check(&result, &Screen::plain(80)), @"/home/ci/runner-2/_work/app (runner runner-2): idle, provably not in use");
    }
}
