//! What each run did, in a few lines.

use super::super::screen::{Screen, Tone};
use super::super::words;
use super::entry::{subject, tone, user};
use super::stamp;
use crate::model::ledger::{ActionKind, LedgerRun, RunEnd, Scope};
use crate::report::escape;
use std::fmt::Write as _;

/// More runs than this are counted, not listed.
const MAX_RUNS: usize = 40;

pub(super) fn runs(runs: &[LedgerRun], screen: &Screen, out: &mut String) {
    if runs.is_empty() {
        let _ = writeln!(out, "  Nothing: no run left an entry.");
    }
    let (idle, busy): (Vec<&LedgerRun>, Vec<&LedgerRun>) =
        runs.iter().partition(|run| run.end == RunEnd::NothingToDo);
    let hidden = busy.len().saturating_sub(MAX_RUNS);
    for run in busy.iter().skip(hidden) {
        one_run(run, screen, out);
    }
    if hidden > 0 {
        let _ = writeln!(out, "  and {} before these; --json lists all", words::count(hidden, "run"));
    }
    if !idle.is_empty() {
        let mut names: Vec<String> = idle
            .iter()
            .filter_map(|run| match &run.scope {
                Some(Scope::Hook(runner)) => Some(escape::text(runner).into_owned()),
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        let text = format!(
            "of {}: a job started or ended, without another action",
            if names.is_empty() { "unnamed runners".to_owned() } else { names.join(", ") }
        );
        screen.paragraph(out, Tone::Plain, &format!("  {} ", words::count(idle.len(), "hook")), &text);
    }
}

fn one_run(run: &LedgerRun, screen: &Screen, out: &mut String) {
    let what = match &run.scope {
        Some(Scope::Sweep) => "sweep".to_owned(),
        Some(Scope::Reap) => "reaper".to_owned(),
        Some(Scope::Stores) => "stores".to_owned(),
        Some(Scope::Hook(runner)) => format!("hook of {}", escape::text(runner)),
        Some(Scope::Remediate) => "remediate".to_owned(),
        None => "run without a name".to_owned(),
    };
    let mut did = Vec::new();
    for (deed, verb) in [
        (ActionKind::Removed, "removed"),
        (ActionKind::Restored, "put back"),
        (ActionKind::Repaired, "put right"),
        (ActionKind::Reaped, "reaped"),
        (ActionKind::Collected, "collected"),
        (ActionKind::Deduplicated, "deduplicated"),
        (ActionKind::Refused, "refused"),
        (ActionKind::Failed, "failed at"),
        (ActionKind::LockTimeout, "did not get the lock:"),
    ] {
        match run.count(deed) {
            0 => {}
            count if deed == ActionKind::Removed => {
                did.push(format!("{verb} {count} ({})", words::size(run.freed_bytes)));
            }
            count => did.push(format!("{verb} {count}")),
        }
    }
    let end = run.entries.iter().rev().find(|judged| judged.record().deed == ActionKind::Ended);
    let kept = end.and_then(|judged| judged.record().details.evidence.as_deref());
    match (kept, run.count(ActionKind::Kept)) {
        (Some(kept), _) => did.push(escape::text(kept).into_owned()),
        (None, 0) => {}
        (None, count) => did.push(format!("kept {count}")),
    }
    if did.is_empty() {
        did.push("removed nothing".to_owned());
    }
    if run.end == RunEnd::Open {
        did.push("no end was recorded: it still runs, or was killed".to_owned());
    }
    let label = format!("  {}  {what}: ", stamp(run.window.from));
    screen.paragraph(out, Tone::Plain, &label, &format!("{} [{}]", did.join("; "), user(&run.writer)));
    for judged in &run.entries {
        let record = judged.record();
        let is_shown = record.deed.touches() && record.deed != ActionKind::Claimed
            || matches!(record.deed, ActionKind::Repaired | ActionKind::Failed | ActionKind::Refused)
            || (record.deed == ActionKind::Claimed && run.end != RunEnd::Complete);
        if is_shown {
            let path = subject(record);
            let size =
                record.details.bytes.map(|bytes| format!("  {}", words::size(bytes))).unwrap_or_default();
            let deed = screen.paint(tone(record.deed), record.deed.as_str());
            let _ = writeln!(out, "      {deed}{size}  {path}");
        }
    }
}
