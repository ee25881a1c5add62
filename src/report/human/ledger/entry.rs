//! One entry: what was done, why, by whom, and whether the entry is trusted.

use super::super::screen::{Screen, Tone};
use super::super::words;
use super::stamp;
use crate::model::Uid;
use crate::model::ledger::{ActionKind, Judged, LedgerRecord, PathRelation, Scope, Trust, Writer};
use crate::report::escape;
use std::fmt::Write as _;

/// The maximum of untrusted claims that are shown: a forger can make any number of them.
const MAX_FOREIGN: usize = 10;

/// `TIME  action  SIZE  path`, and below it the reason, the evidence and the writer.
pub(super) fn story(judged: &Judged, relation: Option<PathRelation>, screen: &Screen, out: &mut String) {
    let record = judged.record();
    let size = record.details.bytes.map(|bytes| format!("  {}", words::size(bytes))).unwrap_or_default();
    let environment = || record.details.environment.as_deref().map(|name| escape::text(name).into_owned());
    let what = record.details.path.as_deref().map(escape::path).or_else(environment);
    let what = what.map(|what| format!("  {what}")).unwrap_or_default();
    let _ = writeln!(
        out,
        "  {}  {}{size}{what}",
        stamp(record.time),
        screen.paint(tone(record.deed), record.deed.as_str())
    );
    let mut lines = Vec::new();
    match relation {
        Some(PathRelation::Inside) => lines.push("which contained the path in question".to_owned()),
        Some(PathRelation::Contains) | Some(PathRelation::Same) | None => {}
    }
    lines.extend(about(record));
    lines.push(format!("{}; {}", by(record.details.scope.as_ref()), writer(judged)));
    if let Trust::Foreign(why) = &judged.trust {
        lines.push(format!("rejected: {}", escape::text(why)));
    }
    for line in lines {
        screen.paragraph(out, Tone::Plain, "      ", &line);
    }
}

fn about(record: &LedgerRecord) -> Vec<String> {
    let mut lines = Vec::new();
    let whose: Vec<String> = [&record.details.runner, &record.details.rule]
        .into_iter()
        .flatten()
        .map(|name| escape::text(name).into_owned())
        .collect();
    let reason = record.details.reason.as_deref().map(|reason| escape::text(reason).into_owned());
    match (whose.is_empty(), reason) {
        (true, None) => {}
        (true, Some(reason)) => lines.push(format!("reason: {reason}")),
        (false, None) => lines.push(whose.join(", ")),
        (false, Some(reason)) => lines.push(format!("{}, reason: {reason}", whose.join(", "))),
    }
    if let Some(evidence) = &record.details.evidence {
        lines.push(format!("evidence: {}", escape::text(evidence)));
    }
    if matches!(
        record.deed,
        ActionKind::Failed | ActionKind::Restored | ActionKind::Repaired | ActionKind::LockTimeout
    ) && !record.details.message.is_empty()
    {
        lines.push(escape::log_line(&record.details.message));
    }
    if let Some(repository) = &record.details.repository {
        let part = |text: &Option<String>| escape::text(text.as_deref().unwrap_or("?")).into_owned();
        lines.push(format!(
            "job {} #{} `{}`",
            escape::text(repository),
            part(&record.details.run_id),
            part(&record.details.job)
        ));
    }
    lines
}

/// How many entries are not trusted, and how to see them: most are irrelevant, and none is evidence.
pub(super) fn unbelieved(count: usize, command: &str, screen: &Screen, out: &mut String) {
    if count > 0 {
        out.push('\n');
        let (entries, are) = (words::count(count, "entry"), if count == 1 { "is" } else { "are" });
        let text = format!("{entries} {are} rejected and not counted: see `foreign` in `{command}`.");
        screen.paragraph(out, Tone::Faint, "", &text);
    }
}

pub(super) fn foreign<'j>(entries: impl Iterator<Item = &'j Judged>, screen: &Screen, out: &mut String) {
    let mut entries = entries.peekable();
    if entries.peek().is_some() {
        let _ = writeln!(out, "\n{}", screen.paint(Tone::Bad, "Rejected entries"));
    }
    for judged in entries.by_ref().take(MAX_FOREIGN) {
        story(judged, None, screen, out);
    }
    match entries.count() {
        0 => {}
        more => {
            let _ = writeln!(out, "  and {more} more; --json lists all");
        }
    }
}

/// What it is about: the path, or the message where there is none.
pub(super) fn subject(record: &LedgerRecord) -> String {
    record.details.path.as_deref().map_or_else(|| escape::log_line(&record.details.message), escape::path)
}

/// The run that wrote it, by its own account.
pub(super) fn by(scope: Option<&Scope>) -> String {
    match scope {
        None => "by a run without a name".to_owned(),
        Some(Scope::Sweep) => "by a sweep".to_owned(),
        Some(Scope::Reap) => "by the reaper".to_owned(),
        Some(Scope::Stores) => "by the collection of stores".to_owned(),
        Some(Scope::Hook(runner)) => format!("by the hook of {}", escape::text(runner)),
        Some(Scope::Remediate) => "by a repair that a person asked for".to_owned(),
    }
}

/// The writer of an entry, and its place.
fn writer(judged: &Judged) -> String {
    let sources: Vec<&str> = judged.entry.sources.iter().map(|source| source.as_str()).collect();
    let who = user(&judged.entry.writer);
    let verb =
        if judged.trust.is_authentic() { "written by" } else { "claims to be disk-guard's, written by" };
    format!("{verb} {who} [{}]", sources.join(" and "))
}

pub(super) fn user(writer: &Writer) -> String {
    let who = match writer.uid {
        None => "an unknown user".to_owned(),
        Some(Uid::ROOT) => "root".to_owned(),
        Some(uid) => format!("uid {uid}"),
    };
    let pid = writer.pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
    let exe = writer.exe.as_deref().map(|exe| format!(" ({})", escape::path(exe))).unwrap_or_default();
    format!("{who}{pid}{exe}")
}

pub(super) fn tone(deed: ActionKind) -> Tone {
    match deed {
        ActionKind::Removed
        | ActionKind::Repaired
        | ActionKind::Reaped
        | ActionKind::Collected
        | ActionKind::Deduplicated => Tone::Good,
        ActionKind::Claimed | ActionKind::Restored | ActionKind::Pressure | ActionKind::LockTimeout => {
            Tone::Warn
        }
        ActionKind::Refused | ActionKind::Failed => Tone::Bad,
        ActionKind::Kept => Tone::Busy,
        ActionKind::Begun | ActionKind::Ended | ActionKind::Lease => Tone::Plain,
    }
}
