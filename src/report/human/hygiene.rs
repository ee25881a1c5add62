//! `audit` and `remediate` for people: the verdict first, then what it rests on, then what to do.

use super::screen::{Screen, Tone, fit};
use super::table::{Align, Cell, Table};
use super::{notes, state_tone, words};
use crate::model::hygiene::{
    AreaAudit, AreaCondition, AreaKind, AuditReport, Finding, FindingKind, LeftoverKind, RemediateMode,
    RepairReport, Repaired, Severity,
};
use crate::report::escape;
use std::fmt::Write as _;
use std::time::SystemTime;

/// A name longer than this loses its middle.
const MAX_NAME: usize = 24;

/// The host's verdict, then each runner: the areas that are not clean, and leftovers.
pub fn audit(report: &AuditReport, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    headline(report, screen, &mut out);
    let is_shown = |area: &&AreaAudit| !area.findings.is_empty() || !area.notes.is_empty();
    let mut was_long = true;
    for audit in &report.runners {
        // Runners about which there is nothing more to say stand line by line.
        let is_long = audit.areas.iter().any(|area| is_shown(&area)) || !audit.leftovers.is_empty();
        if is_long || was_long {
            out.push('\n');
        }
        was_long = is_long;
        let state = screen.paint(state_tone(audit.state), audit.state.as_str());
        let clean = audit
            .areas
            .iter()
            .filter(|area| is_repository(area) && area.verdict == AreaCondition::Clean)
            .count();
        let _ = write!(out, "{}: {state}", escape::text(&audit.runner.name));
        match &audit.skipped {
            Some(why) => {
                let _ = writeln!(out, "; {}", escape::text(why));
                continue;
            }
            None => {
                let _ = writeln!(out, ", {clean} clean");
            }
        }
        let mut table = Table::new([("VERDICT", Align::Left), ("DIRECTORY", Align::Left)], "FINDINGS");
        let mut rows = 0;
        for area in audit.areas.iter().filter(is_shown) {
            table.row(
                [
                    Cell::new(tone(area.verdict), area.verdict.as_str()),
                    Cell::plain(fit(&area.name, MAX_NAME)),
                ],
                said(area),
            );
            rows += 1;
        }
        if rows > 0 {
            table.render(screen, &mut out);
        }
        for leftover in &audit.leftovers {
            let age = words::elapsed(leftover.newest, now);
            let text = format!("{} ({}, {age} old)", escape::path(&leftover.path), left_by(leftover.kind));
            screen.paragraph(&mut out, Tone::Plain, "left behind: ", &text);
        }
    }
    advice(report, screen, &mut out);
    if !report.notes.is_empty() {
        out.push('\n');
        notes(&mut out, screen, &report.notes);
    }
    out
}

fn is_repository(area: &AreaAudit) -> bool {
    area.kind == AreaKind::Repository
}

fn headline(report: &AuditReport, screen: &Screen, out: &mut String) {
    let verdict = screen.paint(tone(report.verdict), report.verdict.as_str());
    let skipped = report.runners.iter().filter(|audit| audit.skipped.is_some()).count();
    let _ = match report.contaminated {
        0 if report.runners.is_empty() => writeln!(out, "Nothing was examined: no runner was found."),
        0 if skipped > 0 => writeln!(
            out,
            "{verdict}: no repository that could be examined is contaminated; {} not examined",
            words::count(skipped, "runner")
        ),
        0 => writeln!(out, "{verdict}: no repository is contaminated"),
        n => writeln!(out, "{verdict}: {} contaminated", words::count(n, "repository")),
    };
    if report.is_wider_incident() {
        let text = "more than one repository is contaminated. Look for what they have in common (a container that runs as \
                    root, a shared action, a full disk, a crash of the host) before repairing one after the other.";
        screen.paragraph(out, Tone::Bad, "WIDER INCIDENT: ", text);
    }
}

fn said(area: &AreaAudit) -> String {
    let findings = area.findings.iter().map(finding);
    findings
        .chain(area.notes.iter().map(|note| escape::text(note).into_owned()))
        .collect::<Vec<_>>()
        .join("; ")
}

fn finding(finding: &Finding) -> String {
    let (noun, more) = match finding.kind {
        FindingKind::ForeignOwner => ("entry", " of other users"),
        FindingKind::LockedDirectory => ("directory", " closed to the owner"),
        FindingKind::StaleLock => ("stale git lock", ""),
        FindingKind::HardLinked => ("entry", " of other users with a second name"),
        FindingKind::Special => ("special file", " of other users"),
        FindingKind::Interrupted => ("unfinished checkout", ""),
        FindingKind::BrokenGit => ("repository", " that git reports as broken"),
        FindingKind::DamagedObject => ("object", " of git that is damaged"),
        FindingKind::UnfinishedTransfer => ("file", " of interrupted transfers"),
        FindingKind::ReadOnlyFile => ("read-only file", ""),
        FindingKind::Abandoned => ("directory", " of no known repository"),
        FindingKind::Mount => ("mount point", " not examined"),
        FindingKind::Unseen => ("entry", " not seen"),
    };
    let what = format!("{}{more}", words::count_u64(finding.count, noun));
    let note = if finding.severity == Severity::Note { " (no harm)" } else { "" };
    let examples: Vec<String> = finding.examples.iter().map(|path| escape::path(path)).collect();
    let detail = if finding.detail.is_empty() {
        examples.join(", ")
    } else {
        escape::text(&finding.detail).into_owned()
    };
    let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
    format!("{what}{note}{detail}")
}

fn left_by(kind: LeftoverKind) -> &'static str {
    match kind {
        LeftoverKind::Update => "of a self-update",
        LeftoverKind::Temp => "of an unfinished job",
        LeftoverKind::Pages => "logs that were not uploaded",
        LeftoverKind::OldVersion => "a version of the runner that it no longer uses",
    }
}

/// The command for each area that can be repaired.
fn advice(report: &AuditReport, screen: &Screen, out: &mut String) {
    let areas = report.runners.iter().flat_map(|audit| audit.areas.iter().map(move |area| (audit, area)));
    let commands: Vec<String> = areas
        .filter_map(|(audit, area)| {
            let mode = area.mode?.as_str();
            let (runner, name) = (escape::text(&audit.runner.name), escape::os(&area.name));
            Some(format!("disk-guard remediate {runner} {name} --mode {mode}"))
        })
        .collect();
    if !commands.is_empty() {
        let _ = writeln!(
            out,
            "\n{}",
            screen.paint(Tone::Heading, "Possible repairs; each is a dry run unless --apply is given:")
        );
        for command in commands {
            let _ = writeln!(out, "  {command}");
        }
    }
}

fn tone(verdict: AreaCondition) -> Tone {
    match verdict {
        AreaCondition::Clean => Tone::Good,
        AreaCondition::Repairable => Tone::Warn,
        AreaCondition::Replace => Tone::Bad,
    }
}

/// The planned or actual changes of a repair.
pub fn repair(report: &RepairReport, screen: &Screen) -> String {
    let mut out = String::new();
    let place = escape::path(&report.path);
    let entries = words::count_u64(report.done, "entry");
    let size = if report.mode == RemediateMode::Reset {
        format!(", {}", words::size(report.bytes))
    } else {
        String::new()
    };
    let mode = report.mode.as_str();
    let _ = match (report.dry_run, report.objections.is_empty()) {
        (true, _) => writeln!(out, "Dry run of {mode}, nothing was touched: {entries} of {place}{size}"),
        (false, true) if report.done + report.undone == 0 => {
            writeln!(out, "{mode}: there is nothing to repair in {place}")
        }
        (false, true) => writeln!(out, "{mode}: {entries} of {place}{size} done, {} not", report.undone),
        (false, false) if report.done == 0 => writeln!(out, "{mode}: nothing was touched in {place}"),
        (false, false) => writeln!(out, "{mode}: stopped after {entries} of {place}"),
    };
    if !report.objections.is_empty() {
        let _ = writeln!(
            out,
            "{}",
            screen.paint(Tone::Bad, "Its runner is not provably idle, so it is left alone:")
        );
        for evidence in &report.objections {
            screen.paragraph(
                &mut out,
                Tone::Plain,
                &format!("  {}: ", evidence.kind),
                &words::evidence(evidence),
            );
        }
    }
    for change in &report.changes {
        let (tone, outcome) = match &change.result {
            Repaired::Planned => (Tone::Plain, "would".to_owned()),
            Repaired::Done => (Tone::Good, "done".to_owned()),
            other => (Tone::Warn, other.as_str().to_owned()),
        };
        let why = change.result.reason().map(|why| format!("; {}", escape::text(why))).unwrap_or_default();
        let text = format!("{} ({}{why})", escape::path(&change.below), change.what);
        screen.paragraph(&mut out, tone, &format!("  {outcome:<8}"), &text);
    }
    let listed = report.changes.len() as u64;
    if report.done + report.undone > listed {
        let _ = writeln!(out, "  and {} more", report.done + report.undone - listed);
    }
    notes(&mut out, screen, &report.notes);
    if report.dry_run && report.objections.is_empty() && report.done > 0 {
        let _ = writeln!(out, "Apply it with --mode {mode} --apply.");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
    use crate::report::samples;

    #[test]
    fn an_audit_of_a_host_in_trouble() {
        insta::assert_snapshot!(audit(&samples::audit(), samples::now(), &Screen::plain(80)), @r"
        replace: 2 repositories contaminated
        WIDER INCIDENT: more than one repository is contaminated. Look for what they
                        have in common (a container that runs as root, a shared action,
                        a full disk, a crash of the host) before repairing one after the
                        other.

        runner-1: idle, 1 clean
        VERDICT     DIRECTORY  FINDINGS
        repairable  app        1204 entries of other users: app/app/dist,
                               app/app/\x1b[2J; 2 directories closed to the owner:
                               app/app/gen
        replace     lib        1 repository that git reports as broken: lib/lib/.git:
                               missing blob 0f8fad5b
        clean       old        1 directory of no known repository (no harm): old: no
                               repository of this runner's has this directory
        left behind: /home/ci/runner-1/bin.2.335.0 (a version of the runner that it no
                     longer uses, 40 d old)

        runner-2: busy; a job changed its tree during the examination: not examined

        Possible repairs; each is a dry run unless --apply is given:
          disk-guard remediate runner-1 app --mode chown
          disk-guard remediate runner-1 lib --mode reset

        note: git is in no directory of paths.programs: objects are not checked
        ");
    }

    #[test]
    fn clean_runners_take_one_line_each_and_nothing_is_clean_that_was_not_examined() {
        let mut report = samples::audit();
        report.contaminated = 0;
        report.verdict = AreaCondition::Clean;
        report.notes.clear();
        for audit in &mut report.runners {
            audit.areas.retain(|area| area.findings.is_empty() && area.notes.is_empty());
            audit.leftovers.clear();
        }
        insta::assert_snapshot!(audit(&report, samples::now(), &Screen::plain(80)), @r"
        clean: no repository that could be examined is contaminated; 1 runner not examined

        runner-1: idle, 0 clean
        runner-2: busy; a job changed its tree during the examination: not examined
        ");
        report.runners.clear();
        assert_eq!(
            audit(&report, samples::now(), &Screen::plain(80)),
            "Nothing was examined: no runner was found.\n"
        );
    }

    #[test]
    fn a_repair_and_its_preview() {
        insta::assert_snapshot!(repair(&samples::repair(Execution::DryRun), &Screen::plain(80)), @r"
        Dry run of chown, nothing was touched: 2 entries of /home/ci/runner-1/_work/app
          refused app/app/passwd (owner 0 -> 1001; it has another name, which may be
                  elsewhere: only a reset helps)
          would   app/app/dist (owner 0 -> 1001)
          would   app/app/dist/\x1b[2Jx\n::error:: (owner 0 -> 1001)
        Apply it with --mode chown --apply.
        ");
        insta::assert_snapshot!(repair(&samples::repair(Execution::Apply), &Screen::plain(80)), @r"
        chown: 2 entries of /home/ci/runner-1/_work/app done, 1 not
          refused app/app/passwd (owner 0 -> 1001; it has another name, which may be
                  elsewhere: only a reset helps)
          done    app/app/dist (owner 0 -> 1001)
          done    app/app/dist/\x1b[2Jx\n::error:: (owner 0 -> 1001)
        ");
    }
}
