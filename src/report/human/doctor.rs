//! `doctor` for people.

use super::few;
use super::screen::{Screen, Tone, fit};
use super::table::{Align, Cell, Table};
use crate::model::{Check, CheckState, by_fix};
use crate::report::escape;
use std::borrow::Cow;
use std::fmt::Write as _;

/// A name longer than this loses its middle.
const MAX_ID: usize = 34;

/// The remedies, root causes first, each with all checks that it repairs; then the checks that are well; what has the same result for several runners takes one line.
pub fn doctor(checks: &[Check], screen: &Screen) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (ill, weak, well) = (count(CheckState::Fail), count(CheckState::Warn), count(CheckState::Ok));
    let mut out = String::new();
    let verdict = match (ill, weak) {
        (0, 0) => screen.paint(Tone::Good, "this host is set up well"),
        (0, _) => screen.paint(Tone::Warn, "this host is guarded, but not completely"),
        _ => screen.paint(Tone::Bad, "this host is not guarded correctly"),
    };
    let _ = writeln!(out, "{verdict}: {ill} fail, {weak} warn, {well} ok\n");
    for (number, remedy) in by_fix(checks).iter().enumerate() {
        let label = format!("{}. ", number + 1);
        let fix = escape::text(&remedy.fix);
        screen.paragraph(&mut out, Tone::Heading, &label, &fix);
        for finding in findings(&remedy.checks) {
            let tone = if finding.state == CheckState::Fail { Tone::Bad } else { Tone::Warn };
            let label = format!("   {}  ", finding.state.as_str());
            let of = match finding.subjects.as_slice() {
                [] => String::new(),
                subjects => format!(" ({})", few(subjects)),
            };
            let text = format!("{}{of}: {}", finding.kind, finding.detail);
            screen.paragraph(&mut out, tone, &label, &escape::text(&text));
        }
        out.push('\n');
    }
    let mut table = Table::new([("STATE", Align::Left), ("CHECK", Align::Left)], "DETAIL");
    let are_well: Vec<&Check> = checks.iter().filter(|check| check.state == CheckState::Ok).collect();
    for finding in findings(&are_well) {
        let (name, detail) = match finding.subjects.as_slice() {
            [] => (finding.kind.to_owned(), finding.detail),
            [one] => (format!("{}:{one}", finding.kind), finding.detail),
            several => (
                format!("{} ({})", finding.kind, several.len()),
                format!("{}: {}", few(several), finding.detail).into(),
            ),
        };
        table.row(
            [Cell::new(Tone::Good, finding.state.as_str()), Cell::plain(fit(&name, MAX_ID))],
            escape::text(&detail),
        );
    }
    if well > 0 {
        table.render(screen, &mut out);
    }
    out
}

/// Findings of one kind, with the same words for all that they concern.
struct DoctorFinding<'c> {
    state: CheckState,
    kind: &'c str,
    subjects: Vec<&'c str>,
    detail: Cow<'c, str>,
}

/// The process makes no difference between findings.
fn without_pid(detail: &str) -> Cow<'_, str> {
    let split = detail.split_once(" (pid ").and_then(|(before, rest)| Some((before, rest.split_once(')')?)));
    match split {
        Some((before, (pid, behind))) if pid.parse::<u32>().is_ok() => format!("{before}{behind}").into(),
        _ => detail.into(),
    }
}

fn findings<'c>(checks: &[&'c Check]) -> Vec<DoctorFinding<'c>> {
    let mut findings: Vec<DoctorFinding<'c>> = Vec::new();
    for check in checks {
        let (kind, subject) = match check.id.split_once(':') {
            Some((kind, subject)) => (kind, Some(subject)),
            None => (check.id.as_str(), None),
        };
        let same = |found: &&mut DoctorFinding<'_>| {
            (found.state, found.kind, without_pid(&found.detail))
                == (check.state, kind, without_pid(&check.detail))
        };
        match findings.iter_mut().find(same) {
            Some(found) => {
                found.subjects.extend(subject);
                found.detail = without_pid(&check.detail);
            }
            None => findings.push(DoctorFinding {
                state: check.state,
                kind,
                subjects: subject.into_iter().collect(),
                detail: check.detail.as_str().into(),
            }),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_printed_first_with_their_fix() {
        let hooks =
            (1..=9).map(|n| Check::fail(format!("hook:ci-{n}"), "it has no `.env`", "disk-guard install"));
        let mut checks = vec![
            Check::ok("group", "it is there"),
            Check::ok("member:ci-1", "it runs as root"),
            Check::ok("member:ci-2", "it runs as root"),
            Check::ok("hook:ci-0", "is ours"),
            Check::warn("timer", "not armed", "arm it"),
            Check::fail(
                "hook:a\u{1b}[31m",
                "its `.env` names /x.sh, which is not there",
                "disk-guard install",
            ),
        ];
        checks.extend(hooks);
        checks.extend((1..=2).map(|n| {
            Check::fail(format!("hook:old-{n}"), format!("older (pid {n}), as it is"), "restart it")
        }));
        insta::assert_snapshot!(doctor(&checks, &Screen::plain(80)), @r"
        this host is not guarded correctly: 12 fail, 1 warn, 4 ok

        1. disk-guard install
           fail  hook (a\x1b[31m): its `.env` names /x.sh, which is not there
           fail  hook (ci-1, ci-2, ci-3, ci-4, ci-5, ci-6 and 3 more): it has no `.env`

        2. restart it
           fail  hook (old-1, old-2): older, as it is

        3. arm it
           warn  timer: not armed

        STATE  CHECK       DETAIL
        ok     group       it is there
        ok     member (2)  ci-1, ci-2: it runs as root
        ok     hook:ci-0   is ours
        ");
    }
}
