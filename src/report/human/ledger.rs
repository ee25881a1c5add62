//! `why`, `blame` and `history` for people: the answer first, then what it rests on, then how far the ledger reaches.
//!
//! Everything in an entry may have been written by anybody: all of it is escaped here, whatever its writer did.

use super::screen::{Screen, Tone};
use super::table::{Align, Cell, Table};
use super::words;
use crate::model::Uid;
use crate::model::ledger::{
    Blame, Deed, Extent, History, Judged, Presence, Record, Relation, Run, RunEnd, Scope, Span, Total, Trust,
    Verdict, Why, WhyEnvironment, Window, Writer,
};
use crate::report::escape;
use std::fmt::Write as _;
use std::time::SystemTime;

/// More runs than this are counted, not listed.
const MAX_RUNS: usize = 40;

/// And more claims that are not believed: whoever forges them can make as many as he likes.
const MAX_FOREIGN: usize = 10;

/// A path's story.
pub fn why(why: &Why, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let path = escape::path(&why.path);
    let (tone, answer) = answer(why, &path, now);
    screen.paragraph(&mut out, tone, "", &screen.paint(tone, &answer));
    if let Some(real) = &why.real {
        let _ = writeln!(out, "Without links it is {}.", escape::path(real));
    }
    presence(why, now, screen, &mut out);
    if !why.entries.is_empty() {
        let _ = writeln!(out, "\n{}", screen.paint(Tone::Heading, "What was done"));
        for (relation, judged) in &why.entries {
            story(judged, Some(*relation), screen, &mut out);
        }
        grounds(&why.acts, screen, &mut out);
    }
    foreign(why.foreign.iter().map(|(_, judged)| judged), screen, &mut out);
    let is_clear = matches!(why.verdict, Verdict::NotTouched | Verdict::NoEvidence | Verdict::Kept);
    if is_clear {
        let _ = writeln!(
            out,
            "\n{}",
            screen.paint(Tone::Heading, &format!("What the guard did {}", span(&why.window)))
        );
        runs(&why.runs, screen, &mut out);
    }
    extent(&why.extent, now, screen, &mut out);
    out
}

fn answer(why: &Why, path: &str, now: SystemTime) -> (Tone, String) {
    let last = |deed: Deed| {
        why.entries.iter().rev().map(|(_, judged)| judged).find(|judged| judged.record().deed == deed)
    };
    let when = |deed: Deed| {
        last(deed).map(|judged| format!(" {}", moment(judged.record().time, now))).unwrap_or_default()
    };
    let whose = |deed: Deed| match last(deed).map(|judged| &judged.trust) {
        Some(Trust::Owner(uid)) => {
            format!(
                " This is what uid {uid} says about its own runner, in the guard's name: its jobs could say the same."
            )
        }
        _ => String::new(),
    };
    match why.verdict {
        Verdict::Removed => {
            (Tone::Warn, format!("disk-guard removed {path}{}.{}", when(Deed::Removed), whose(Deed::Removed)))
        }
        Verdict::RemovedInside => (
            Tone::Warn,
            format!(
                "disk-guard removed something inside {path}{}; the rest it did not touch.{}",
                when(Deed::Removed),
                whose(Deed::Removed)
            ),
        ),
        Verdict::Claimed => (
            Tone::Warn,
            format!(
                "disk-guard took {path} into trash{} and has not said what came of it: the run still goes on, or was killed.{}",
                when(Deed::Claimed),
                whose(Deed::Claimed)
            ),
        ),
        Verdict::Restored => (
            Tone::Good,
            format!(
                "disk-guard claimed {path}{} and put it back; nothing of it was removed.",
                when(Deed::Restored)
            ),
        ),
        Verdict::Repaired => (
            Tone::Warn,
            format!(
                "disk-guard changed owner or mode of entries of {path}{}, and removed nothing of it.{}",
                when(Deed::Repaired),
                whose(Deed::Repaired)
            ),
        ),
        Verdict::Kept => (
            Tone::Good,
            format!(
                "disk-guard did not touch {path}: it looked at it and left it alone, last{}.",
                when(Deed::Kept)
            ),
        ),
        Verdict::NotTouched => {
            let since = why.extent.complete_since().map(|since| moment(since, now)).unwrap_or_default();
            (
                Tone::Good,
                format!(
                    "disk-guard did not touch {path}: it tells of everything it has done since {since}, and nothing of that was this path, above it or below it."
                ),
            )
        }
        Verdict::NoEvidence => {
            let reach = match why.extent.complete_since().or(why.extent.oldest()) {
                Some(since) => {
                    format!("the ledger only reaches back to {} and does not tell all", moment(since, now))
                }
                None => "the ledger holds nothing yet".to_owned(),
            };
            (
                Tone::Warn,
                format!("There is no evidence that disk-guard touched {path}, but {reach}: see below."),
            )
        }
    }
}

fn presence(why: &Why, now: SystemTime, screen: &Screen, out: &mut String) {
    let text = match &why.present {
        Presence::Present if matches!(why.verdict, Verdict::Removed | Verdict::Claimed) => {
            "Something is there now: it has been made anew since.".to_owned()
        }
        Presence::Present => return,
        Presence::Gone(above, changed) => format!(
            "It is not there. In {} something was last made or removed {}.",
            escape::path(above),
            moment(*changed, now)
        ),
        Presence::Hidden(reason) => format!("Whether it is there cannot be told: {}.", escape::text(reason)),
    };
    screen.paragraph(out, Tone::Plain, "", &text);
}

/// `TIME  deed  SIZE  path`, and below it why, on which evidence and who says so.
fn story(judged: &Judged, relation: Option<Relation>, screen: &Screen, out: &mut String) {
    let record = judged.record();
    let size = record.bytes.map(|bytes| format!("  {}", words::size(bytes))).unwrap_or_default();
    let environment = || record.environment.as_deref().map(|name| escape::text(name).into_owned());
    let what = record.path.as_deref().map(escape::path).or_else(environment);
    let what = what.map(|what| format!("  {what}")).unwrap_or_default();
    let _ = writeln!(
        out,
        "  {}  {}{size}{what}",
        stamp(record.time),
        screen.paint(tone(record.deed), record.deed.as_str())
    );
    let mut lines = Vec::new();
    match relation {
        Some(Relation::Inside) => lines.push("which contained what you ask about".to_owned()),
        Some(Relation::Contains) | Some(Relation::Same) | None => {}
    }
    lines.extend(about(record));
    lines.push(format!("{}; {}", by(record.scope.as_ref()), writer(judged)));
    if let Trust::Foreign(why) = &judged.trust {
        lines.push(format!("not believed: {}", escape::text(why)));
    }
    for line in lines {
        screen.paragraph(out, Tone::Plain, "      ", &line);
    }
}

fn about(record: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    let whose: Vec<String> = [&record.runner, &record.rule]
        .into_iter()
        .flatten()
        .map(|name| escape::text(name).into_owned())
        .collect();
    let reason = record.reason.as_deref().map(|reason| escape::text(reason).into_owned());
    match (whose.is_empty(), reason) {
        (true, None) => {}
        (true, Some(reason)) => lines.push(format!("reason: {reason}")),
        (false, None) => lines.push(whose.join(", ")),
        (false, Some(reason)) => lines.push(format!("{}, reason: {reason}", whose.join(", "))),
    }
    if let Some(evidence) = &record.evidence {
        lines.push(format!("evidence: {}", escape::text(evidence)));
    }
    if matches!(record.deed, Deed::Failed | Deed::Restored | Deed::Repaired | Deed::LockTimeout)
        && !record.message.is_empty()
    {
        lines.push(escape::log_line(&record.message));
    }
    if let Some(repository) = &record.repository {
        let part = |text: &Option<String>| escape::text(text.as_deref().unwrap_or("?")).into_owned();
        lines.push(format!(
            "job {} #{} `{}`",
            escape::text(repository),
            part(&record.run_id),
            part(&record.job)
        ));
    }
    lines
}

/// An environment's story.
pub fn why_environment(why: &WhyEnvironment, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let name = escape::text(&why.name);
    let reaped = why.entries.iter().rev().find(|judged| judged.record().deed == Deed::Reaped);
    let (tone, text) = match (reaped, why.entries.last()) {
        (Some(judged), _) => {
            (Tone::Warn, format!("disk-guard reaped {name} {}.", moment(judged.record().time, now)))
        }
        (None, Some(judged)) => (
            Tone::Warn,
            format!(
                "disk-guard tried to reap {name} and failed, last {}.",
                moment(judged.record().time, now)
            ),
        ),
        (None, None) => (Tone::Good, format!("No entry that is believed speaks of the environment {name}.")),
    };
    screen.paragraph(&mut out, tone, "", &screen.paint(tone, &text));
    if !why.entries.is_empty() {
        let _ = writeln!(out, "\n{}", screen.paint(Tone::Heading, "What was done"));
    }
    for judged in &why.entries {
        story(judged, None, screen, &mut out);
    }
    foreign(why.foreign.iter(), screen, &mut out);
    extent(&why.extent, now, screen, &mut out);
    out
}

/// What made the runs act: the pressure they found.
fn grounds(acts: &[Run], screen: &Screen, out: &mut String) {
    for judged in acts.iter().flat_map(|run| &run.entries) {
        if judged.record().deed == Deed::Pressure {
            let text = format!(
                "{}  {} ({})",
                stamp(judged.record().time),
                escape::log_line(&judged.record().message),
                by(judged.record().scope.as_ref())
            );
            screen.paragraph(out, Tone::Plain, "  because of pressure: ", &text);
        }
    }
}

fn foreign<'j>(entries: impl Iterator<Item = &'j Judged>, screen: &Screen, out: &mut String) {
    let mut entries = entries.peekable();
    if entries.peek().is_some() {
        let _ = writeln!(out, "\n{}", screen.paint(Tone::Bad, "Claims that are not believed"));
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

/// Who ran, by his own account.
fn by(scope: Option<&Scope>) -> String {
    match scope {
        None => "by a run that does not name itself".to_owned(),
        Some(Scope::Sweep) => "by a sweep".to_owned(),
        Some(Scope::Reap) => "by the reaper".to_owned(),
        Some(Scope::Hook(runner)) => format!("by the hook of {}", escape::text(runner)),
        Some(Scope::Remediate) => "by a repair that a person asked for".to_owned(),
    }
}

/// Who wrote an entry, and where it stands.
fn writer(judged: &Judged) -> String {
    let sources: Vec<&str> = judged.entry.sources.iter().map(|source| source.as_str()).collect();
    let who = user(&judged.entry.writer);
    let verb =
        if judged.trust.is_authentic() { "written by" } else { "claims to be disk-guard's, written by" };
    format!("{verb} {who} [{}]", sources.join(" and "))
}

fn user(writer: &Writer) -> String {
    let who = match writer.uid {
        None => "nobody knows whom".to_owned(),
        Some(Uid::ROOT) => "root".to_owned(),
        Some(uid) => format!("uid {uid}"),
    };
    let pid = writer.pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
    let exe = writer.exe.as_deref().map(|exe| format!(" ({})", escape::path(exe))).unwrap_or_default();
    format!("{who}{pid}{exe}")
}

fn runs(runs: &[Run], screen: &Screen, out: &mut String) {
    if runs.is_empty() {
        let _ = writeln!(out, "  Nothing: no run left an entry.");
    }
    let (idle, busy): (Vec<&Run>, Vec<&Run>) = runs.iter().partition(|run| run.end == RunEnd::NothingToDo);
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
            "of {}: a job began or ended, nothing else was done",
            if names.is_empty() { "unnamed runners".to_owned() } else { names.join(", ") }
        );
        screen.paragraph(out, Tone::Plain, &format!("  {} ", words::count(idle.len(), "hook")), &text);
    }
}

fn one_run(run: &Run, screen: &Screen, out: &mut String) {
    let what = match &run.scope {
        Some(Scope::Sweep) => "sweep".to_owned(),
        Some(Scope::Reap) => "reaper".to_owned(),
        Some(Scope::Hook(runner)) => format!("hook of {}", escape::text(runner)),
        Some(Scope::Remediate) => "remediate".to_owned(),
        None => "run without a name".to_owned(),
    };
    let mut did = Vec::new();
    for (deed, verb) in [
        (Deed::Removed, "removed"),
        (Deed::Restored, "put back"),
        (Deed::Repaired, "put right"),
        (Deed::Reaped, "reaped"),
        (Deed::Refused, "refused"),
        (Deed::Failed, "failed at"),
        (Deed::LockTimeout, "waited in vain for the lock:"),
    ] {
        match run.count(deed) {
            0 => {}
            count if deed == Deed::Removed => {
                did.push(format!("{verb} {count} ({})", words::size(run.freed_bytes)));
            }
            count => did.push(format!("{verb} {count}")),
        }
    }
    let end = run.entries.iter().rev().find(|judged| judged.record().deed == Deed::Ended);
    let kept = end.and_then(|judged| judged.record().evidence.as_deref());
    match (kept, run.count(Deed::Kept)) {
        (Some(kept), _) => did.push(escape::text(kept).into_owned()),
        (None, 0) => {}
        (None, count) => did.push(format!("kept {count}")),
    }
    if did.is_empty() {
        did.push("removed nothing".to_owned());
    }
    if run.end == RunEnd::Open {
        did.push("no end was told: it goes on, or was killed".to_owned());
    }
    let label = format!("  {}  {what}: ", stamp(run.window.from));
    screen.paragraph(out, Tone::Plain, &label, &format!("{} [{}]", did.join("; "), user(&run.writer)));
    for judged in &run.entries {
        let record = judged.record();
        let is_shown = record.deed.touches() && record.deed != Deed::Claimed
            || matches!(record.deed, Deed::Repaired | Deed::Failed | Deed::Refused)
            || (record.deed == Deed::Claimed && run.end != RunEnd::Told);
        if is_shown {
            let path = record.path.as_deref().map_or_else(|| escape::log_line(&record.message), escape::path);
            let size = record.bytes.map(|bytes| format!("  {}", words::size(bytes))).unwrap_or_default();
            let deed = screen.paint(tone(record.deed), record.deed.as_str());
            let _ = writeln!(out, "      {deed}{size}  {path}");
        }
    }
}

/// How far the ledger reaches, place by place.
fn extent(extent: &Extent, now: SystemTime, screen: &Screen, out: &mut String) {
    let _ = writeln!(out, "\n{}", screen.paint(Tone::Heading, "The ledger"));
    for place in &extent.places {
        let since = match place.since {
            Some(since) => format!("since {}", moment(since, now)),
            None => "holds nothing".to_owned(),
        };
        let whose = match (place.span, place.since) {
            (Span::Part, Some(_)) => ", not of everybody",
            (Span::Everybody, _) | (Span::Part, None) => "",
        };
        let mut text = format!("{since}{whose}");
        for gap in &place.gaps {
            let _ = write!(text, "; {}", escape::text(gap));
        }
        screen.paragraph(out, Tone::Plain, &format!("  {}: ", place.source.as_str()), &text);
    }
}

/// What the guard did around a time.
pub fn blame(blame: &Blame, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let has_done = |run: &Run| run.entries.iter().any(|judged| judged.record().deed.touches());
    let is_covered = blame.extent.complete_since().is_some_and(|since| since <= blame.window.from);
    let span = format!("between {} and {}", stamp(blame.window.from), stamp(blame.window.to));
    let (tone, text) = if blame.runs.iter().any(has_done) {
        (Tone::Warn, format!("The guard removed or moved things {span} UTC:"))
    } else if is_covered && blame.runs.is_empty() {
        (Tone::Good, format!("The guard did nothing {span} UTC."))
    } else if is_covered {
        (Tone::Good, format!("The guard removed nothing and moved nothing {span} UTC."))
    } else {
        let reach = match blame.extent.complete_since().or(blame.extent.oldest()) {
            Some(since) => {
                format!("the ledger only reaches back to {} or does not tell all", moment(since, now))
            }
            None => "the ledger holds nothing".to_owned(),
        };
        (
            Tone::Warn,
            format!("There is no evidence that the guard removed or moved anything {span} UTC, but {reach}."),
        )
    };
    screen.paragraph(&mut out, tone, "", &screen.paint(tone, &text));
    out.push('\n');
    if !blame.runs.is_empty() {
        runs(&blame.runs, screen, &mut out);
        out.push('\n');
    }
    for (label, deed) in
        [("Its last action before: ", &blame.before), ("Its next action after: ", &blame.after)]
    {
        let text =
            deed.as_ref().map_or_else(|| "none that the ledger knows".to_owned(), |deed| brief(deed, now));
        screen.paragraph(&mut out, Tone::Plain, label, &text);
    }
    foreign(blame.foreign.iter(), screen, &mut out);
    extent(&blame.extent, now, screen, &mut out);
    out
}

fn brief(judged: &Judged, now: SystemTime) -> String {
    let record = judged.record();
    let what = record.path.as_deref().map_or_else(|| escape::log_line(&record.message), escape::path);
    format!("{}, {} {what}, {}", moment(record.time, now), record.deed.as_str(), by(record.scope.as_ref()))
}

/// What was done since a time, as a table, and its sums.
pub fn history(history: &History, now: SystemTime, screen: &Screen) -> String {
    let mut out = String::new();
    let freed: u64 = history.by_rule.iter().map(|total| total.bytes).sum();
    let removed: usize = history.by_rule.iter().map(|total| total.count).sum();
    let _ = writeln!(
        out,
        "Since {}: freed {} in {}, {}.",
        moment(history.window.from, now),
        words::size(freed),
        words::count(removed, "tree"),
        words::count(history.runs, "run"),
    );
    if !history.deeds.is_empty() {
        out.push('\n');
        let mut table = Table::new(
            [
                ("TIME (UTC)", Align::Left),
                ("WHAT", Align::Left),
                ("SIZE", Align::Right),
                ("RUNNER", Align::Left),
                ("WHY", Align::Left),
                ("BY", Align::Left),
            ],
            "PATH",
        );
        for judged in &history.deeds {
            table.row(row(judged, screen), text_of(judged.record()));
        }
        table.render(screen, &mut out);
    }
    sums("By rule", &history.by_rule, screen, &mut out);
    sums("By runner", &history.by_runner, screen, &mut out);
    foreign(history.foreign.iter(), screen, &mut out);
    extent(&history.extent, now, screen, &mut out);
    out
}

fn row(judged: &Judged, screen: &Screen) -> [Cell; 6] {
    let record = judged.record();
    let name = |text: Option<&str>| super::fit(text.unwrap_or("-"), screen.width() / 5);
    let by = match &record.scope {
        None => "?".to_owned(),
        Some(Scope::Sweep) => "sweep".to_owned(),
        Some(Scope::Reap) => "reap".to_owned(),
        Some(Scope::Hook(_)) => "hook".to_owned(),
        Some(Scope::Remediate) => "remediate".to_owned(),
    };
    let deed = match record.deed {
        Deed::Claimed => "claimed, no end",
        other => other.as_str(),
    };
    [
        Cell::plain(stamp(record.time)),
        Cell::new(tone(record.deed), deed),
        Cell::plain(record.bytes.map_or_else(|| "-".to_owned(), words::size)),
        Cell::plain(name(record.runner.as_deref())),
        Cell::plain(name(record.reason.as_deref())),
        Cell::plain(by),
    ]
}

fn text_of(record: &Record) -> String {
    record.path.as_deref().map_or_else(|| escape::log_line(&record.message), escape::path)
}

fn sums(heading: &'static str, totals: &[Total], screen: &Screen, out: &mut String) {
    if totals.is_empty() {
        return;
    }
    out.push('\n');
    let mut table =
        Table::new([(heading, Align::Left), ("TREES", Align::Right), ("FREED", Align::Right)], "");
    for total in totals {
        let name = super::fit(&total.name, screen.width() / 2);
        table.row(
            [Cell::plain(name), Cell::plain(total.count.to_string()), Cell::plain(words::size(total.bytes))],
            "",
        );
    }
    table.render(screen, out);
}

fn tone(deed: Deed) -> Tone {
    match deed {
        Deed::Removed | Deed::Repaired | Deed::Reaped => Tone::Good,
        Deed::Claimed | Deed::Restored | Deed::Pressure | Deed::LockTimeout => Tone::Warn,
        Deed::Refused | Deed::Failed => Tone::Bad,
        Deed::Kept => Tone::Busy,
        Deed::Begun | Deed::Ended | Deed::Lease => Tone::Plain,
    }
}

/// Date and time, whole seconds, UTC.
fn stamp(time: SystemTime) -> String {
    words::timestamp(time).strftime("%F %T").to_string()
}

/// The same for a sentence, with how long ago that was.
fn moment(time: SystemTime, now: SystemTime) -> String {
    match now.duration_since(time) {
        Ok(age) => format!("{} UTC ({} ago)", stamp(time), words::span(age)),
        Err(_) => format!("{} UTC", stamp(time)),
    }
}

fn span(window: &Window) -> String {
    format!("between {} and {} UTC", stamp(window.from), stamp(window.to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn screen() -> Screen {
        Screen::new(100, false)
    }

    #[test]
    fn a_removed_cache() {
        insta::assert_snapshot!(why(&samples::why_removed(), samples::now(), &screen()), @r"
        disk-guard removed /home/ci/runner-2/_work/app/app/target/debug 2026-03-04 12:25:20 UTC (1 h ago).
        It is not there. In /home/ci/runner-2/_work/app/app something was last made or removed 2026-03-04
        12:25:15 UTC (1 h ago).

        What was done
          2026-03-04 12:25:15  claimed  8.00 GiB  /home/ci/runner-2/_work/app/app/target
              which contained what you ask about
              runner-2, cargo-target, reason: pressure
              by a sweep; written by root pid 77 (/usr/bin/disk-guard) [journal and file]
          2026-03-04 12:25:20  removed  8.00 GiB  /home/ci/runner-2/_work/app/app/target
              which contained what you ask about
              runner-2, cargo-target, reason: pressure
              evidence: no sign of use at the claim; newest content 3 d old
              by a sweep; written by root pid 77 (/usr/bin/disk-guard) [journal and file]
          because of pressure: 2026-03-04 12:25:11  /home is 92 % full: high (by a sweep)

        The ledger
          journal: since 2026-03-03 14:25:10 UTC (24 h ago); the journal is kept in memory: it begins with
                   this boot
          file: since 2026-02-02 14:25:10 UTC (30 d ago)
        ");
    }

    #[test]
    fn an_innocent_path_and_a_forgery() {
        insta::assert_snapshot!(why(&samples::why_innocent(), samples::now(), &screen()), @r"
        disk-guard did not touch /home/ci/runner-1/_work/\x1b[2J\u{202e}/x: it tells of everything it has
        done since 2026-02-02 14:25:10 UTC (30 d ago), and nothing of that was this path, above it or below
        it.
        It is not there. In /home/ci/runner-1/_work something was last made or removed 2026-03-04 12:28:30
        UTC (1 h ago).

        Claims that are not believed
          2026-03-04 12:28:30  removed  8.00 GiB  /home/ci/runner-1/_work/\x1b[2J\u{202e}
              runner-2, cargo-target, reason: pressure
              evidence: \u{9b}31m
              by the hook of runner-9\n::error::x; claims to be disk-guard's, written by uid 1009 pid 77
              [file]
              not believed: its path is not uid 1009's

        What the guard did between 2026-03-04 12:15:10 and 2026-03-04 12:35:10 UTC
          2026-03-04 12:25:10  sweep: removed 1 (8.00 GiB); kept 2: worker-process 2 [root pid 77
                                      (/usr/bin/disk-guard)]
              removed  8.00 GiB  /home/ci/runner-2/_work/app/app/target
          1 hook of runner-1: a job began or ended, nothing else was done

        The ledger
          journal: since 2026-03-03 14:25:10 UTC (24 h ago); the journal is kept in memory: it begins with
                   this boot
          file: since 2026-02-02 14:25:10 UTC (30 d ago)
        ");
    }

    #[test]
    fn a_time() {
        insta::assert_snapshot!(blame(&samples::blame(), samples::now(), &screen()), @r"
        The guard did nothing between 2026-03-04 12:27:30 and 2026-03-04 12:29:30 UTC.

        Its last action before: 2026-03-04 12:25:20 UTC (1 h ago), removed
                                /home/ci/runner-2/_work/app/app/target, by a sweep
        Its next action after: none that the ledger knows

        Claims that are not believed
          2026-03-04 12:28:30  removed  8.00 GiB  /home/ci/runner-1/_work/\x1b[2J\u{202e}
              runner-2, cargo-target, reason: pressure
              evidence: \u{9b}31m
              by the hook of runner-9\n::error::x; claims to be disk-guard's, written by uid 1009 pid 77
              [file]
              not believed: its path is not uid 1009's

        The ledger
          journal: since 2026-03-03 14:25:10 UTC (24 h ago); the journal is kept in memory: it begins with
                   this boot
          file: since 2026-02-02 14:25:10 UTC (30 d ago)
        ");
    }

    #[test]
    fn a_day() {
        insta::assert_snapshot!(history(&samples::history(), samples::now(), &screen()), @r"
        Since 2026-03-03 14:25:10 UTC (24 h ago): freed 8.00 GiB in 1 tree, 2 runs.

        TIME (UTC)           WHAT         SIZE  RUNNER    WHY       BY
        2026-03-04 12:25:20  removed  8.00 GiB  runner-2  pressure  sweep
            /home/ci/runner-2/_work/app/app/target

        By rule       TREES     FREED
        cargo-target      1  8.00 GiB

        By runner  TREES     FREED
        runner-2       1  8.00 GiB

        Claims that are not believed
          2026-03-04 12:28:30  removed  8.00 GiB  /home/ci/runner-1/_work/\x1b[2J\u{202e}
              runner-2, cargo-target, reason: pressure
              evidence: \u{9b}31m
              by the hook of runner-9\n::error::x; claims to be disk-guard's, written by uid 1009 pid 77
              [file]
              not believed: its path is not uid 1009's

        The ledger
          journal: since 2026-03-03 14:25:10 UTC (24 h ago); the journal is kept in memory: it begins with
                   this boot
          file: since 2026-02-02 14:25:10 UTC (30 d ago)
        ");
    }

    #[test]
    fn nothing_of_an_entry_reaches_the_screen_as_it_is() {
        for text in [
            why(&samples::why_innocent(), samples::now(), &screen()),
            blame(&samples::blame(), samples::now(), &screen()),
            history(&samples::history(), samples::now(), &screen()),
        ] {
            assert!(!text.chars().any(|c| c != '\n' && crate::report::escape::is_deceptive(c)), "{text:?}");
        }
    }
}
