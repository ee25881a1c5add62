//! `postmortem`, and what a sweep finds out by itself about jobs that died.

use super::run_log::RunLog;
use super::{Context, complain, ledger, look, now, present};
use crate::lease;
use crate::ledger::when;
use crate::model::ledger::{Judged, Ledger};
use crate::model::postmortem::{Case, Cause, Ended, Report};
use crate::model::{Job, LeaseState, Runner};
use crate::observe::processes;
use crate::postmortem::keep::{self, Kept, Shelf};
use crate::postmortem::observe::{Observer, Subject, logs};
use crate::postmortem::{examine, key};
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::{escape, human, json};
use crate::run_dir::RunDir;
use crate::setup::units;
use crate::sys::dir::Dir;
use crate::sys::program::Programs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The ledger and the kernel's messages are read from this much before the time asked about: a job began earlier than it died.
const BEFORE: Duration = Duration::from_secs(3600);

/// Deaths that one sweep looks into. What a flood of leases asks for is left to the next.
const MAX_A_SWEEP: usize = 16;

/// A death before this boot is told by the first sweep after it, not by one a week later.
const BEFORE_BOOT: Duration = Duration::from_secs(24 * 3600);

/// An event's evidence is cut here.
const MAX_EVIDENCE: usize = 2000;

/// Answers.
pub(super) fn run(context: &Context, runner: Option<&str>, since: &str, as_json: bool) -> Exit {
    let since = match when::parse(since, now()) {
        Ok(since) => since,
        Err(reason) => {
            complain(&reason);
            return Exit::Usage;
        }
    };
    let alive = look::alive(&context.snapshot());
    let host = &alive.facts;
    let runners: Vec<_> = host.runners.iter().map(|facts| &facts.runner).collect();
    let from = since.checked_sub(BEFORE).unwrap_or(SystemTime::UNIX_EPOCH);
    let ledger = ledger::read(context, from, &ledger::owners(runners.iter().copied()));
    let mut gone = None;
    let wanted: Vec<usize> = match runner.map(|name| (name, units::named(&runners, name))) {
        None => (0..runners.len()).collect(),
        Some((_, Ok(index))) => vec![index],
        Some((name, Err(reason))) => match formerly(&runners, name) {
            Some(index) => vec![index],
            None => {
                gone = trace_of(context, &ledger, name);
                if gone.is_none() {
                    complain(&reason);
                    return Exit::Error;
                }
                Vec::new()
            }
        },
    };
    let observer =
        Observer::new(&context.proc, Programs(&context.config.paths.programs), host, Some(&ledger), from);
    let mut report = Report {
        since,
        runner: runner.map(str::to_owned),
        jobs: 0,
        runners: wanted.len(),
        cases: Vec::new(),
        notes: gone.into_iter().collect(),
    };
    let mut examined = Vec::new();
    for index in wanted {
        let subjects = observer.subjects(index).unwrap_or_else(|error| {
            report.notes.push(format!("{}: its logs cannot be read: {error}", runners[index].name));
            Vec::new()
        });
        let alone = observer.without_worker(index, &subjects);
        let all = subjects.iter().chain(&alone);
        for subject in all.filter(|subject| is_since(&observer, subject, since)) {
            report.jobs += 1;
            if runner.is_none() && !observer.may_be_of_interest(subject) {
                continue;
            }
            let case = examine(&observer, subject).0;
            if runner.is_some() || is_of_interest(&case) {
                examined.push(key(&observer, subject));
                report.cases.push(case);
            }
        }
    }
    remember(context, &mut report, &runners, &examined);
    report.cases.sort_by_key(|case| std::cmp::Reverse(keep::time(case)));
    present(
        &context.screen,
        as_json,
        || json::postmortem(&report, json::Layout::Pretty),
        || human::postmortem(&report, now(), &context.screen),
    );
    Exit::Done
}

/// A runner that was called so: an ephemeral one deletes its `.runner` with its name after its one job, and leaves its logs.
fn formerly(runners: &[&Runner], name: &str) -> Option<usize> {
    runners.iter().position(|runner| {
        let root = Dir::open(&runner.root);
        root.is_ok_and(|root| logs::listener::agent_name(&root).as_deref() == Some(name))
    })
}

/// What is left of a runner that is gone with its root: kept deaths, and what the ledger tells of it.
fn trace_of(context: &Context, ledger: &Ledger, name: &str) -> Option<String> {
    let kept = Shelf::at(&context.config.paths.state_dir).load();
    let told = ledger.entries.iter().filter(|judged| judged.trust.is_authentic()).map(Judged::record);
    let last =
        told.filter(|record| record.details.runner.as_deref() == Some(name)).max_by_key(|record| record.time);
    let is_kept = kept.iter().any(|case| case.death.runner == name);
    (is_kept || last.is_some()).then(|| {
        let last =
            last.map(|record| format!("; disk-guard's ledger tells of it last: {}", record.details.message));
        let last = last.unwrap_or_default();
        format!("{name} is no runner of this host any more: what was kept of it is all that is known{last}")
    })
}

/// Whether a job ended, or still wrote, since then.
fn is_since(observer: &Observer<'_>, subject: &Subject, since: SystemTime) -> bool {
    let last = || observer.worker_end(subject).ok().and_then(|(log, _)| log.last?.at);
    subject.lives || subject.begun >= since || last().is_some_and(|last| last >= since)
}

/// All but jobs that still run, that ended well or failed by themselves, and that were cancelled and stopped.
fn is_of_interest(case: &Case) -> bool {
    case.verdict.ended == Ended::Abruptly
        || !matches!(case.verdict.cause, Cause::CleanEnd | Cause::Cancelled | Cause::Running)
}

/// Puts what was kept beside what was found: a verdict that was drawn when the evidence was there counts for more than one
/// that lacks it, and of runners that are gone nothing else is left.
fn remember(
    context: &Context,
    report: &mut Report,
    runners: &[&crate::model::Runner],
    examined: &[keep::Key],
) {
    let shelf = Shelf::at(&context.config.paths.state_dir);
    for kept in shelf.load() {
        // By the name that it had then, or by its root: a runner that is gone has no other.
        let is_asked = report.runner.as_ref().is_none_or(|name| {
            let is_called = |runner: &&Runner| {
                runner.name == *name || runner.own_name() == *name || runner.root.as_os_str() == name.as_str()
            };
            let is_root = |root: &Path| kept.death.root == root;
            match runners.iter().filter(|runner| is_called(runner)).count() {
                0 => kept.death.runner == *name || is_root(Path::new(name)),
                _ => runners.iter().any(|runner| is_called(runner) && is_root(&runner.root)),
            }
        });
        if !is_asked || keep::time(&kept) < report.since {
            continue;
        }
        let own = kept.death.worker_log.as_ref().map(|log| keep::Key::new(&kept.death.root, log.as_bytes()));
        let found = own.and_then(|own| examined.iter().position(|key| *key == own));
        match found.map(|index| &mut report.cases[index]) {
            Some(case)
                if case.verdict.confidence < kept.verdict.confidence || case.death.repository.is_none() =>
            {
                *case = kept;
            }
            Some(_) => {}
            None => report.cases.push(kept),
        }
    }
}

/// Looks into what a sweep finds dead: leases whose Worker ended without `Job completed.`, and jobs that a reboot has cut off.
/// It fails no sweep: a fault of its own is a warning.
pub(super) fn after_sweep(context: &Context, run: &RunDir, run_log: &mut RunLog) {
    let attempt = std::panic::AssertUnwindSafe(|| look_into_deaths(context, run, run_log));
    if std::panic::catch_unwind(attempt).is_err() {
        let text = "a post-mortem failed by an internal error; the sweep goes on. Please report it";
        run_log.tell(Event::new(EventKind::Error, text));
    }
}

fn look_into_deaths(context: &Context, run: &RunDir, run_log: &mut RunLog) {
    let shelf = Shelf::at(&context.config.paths.state_dir);
    let Some(from) = earliest(context, run, &shelf) else { return };
    let alive = look::alive(&context.snapshot());
    let host = &alive.facts;
    let programs = Programs(&context.config.paths.programs);
    let quick = Observer::new(&context.proc, programs, host, None, from);
    let mut dead = Vec::new();
    for index in 0..host.runners.len() {
        // What cannot be read tells of no death.
        let subjects = quick.subjects(index).unwrap_or_default();
        let fresh = subjects.into_iter().enumerate().filter(|(place, subject)| {
            !subject.lives
                && (subject.lease.is_some() || (*place == 0 && is_cut_off_by_boot(&quick, subject)))
                && quick.may_be_of_interest(subject)
                && !shelf.knows(&key(&quick, subject))
        });
        dead.extend(fresh.map(|(_, subject)| subject));
    }
    let boot_id = context.proc.boot_id().unwrap_or_default();
    if !shelf.knows_boot(&boot_id) {
        // Where it cannot be noted the next sweep looks again.
        let _ = shelf.note_boot(&boot_id);
    }
    if dead.is_empty() {
        return;
    }
    dead.truncate(MAX_A_SWEEP);
    let owners = ledger::owners(host.runners.iter().map(|facts| &facts.runner));
    let ledger = ledger::read(context, from, &owners);
    let observer = Observer::new(&context.proc, programs, host, Some(&ledger), from);
    for subject in &dead {
        let (case, raw) = examine(&observer, subject);
        if is_of_interest(&case) {
            let kept = shelf.keep(&key(&observer, subject), &case, &raw);
            // A lease goes with this sweep, so what cannot be kept is told once all the same; a log stays.
            if matches!(kept, Ok(Kept::New)) || (kept.is_err() && subject.lease.is_some()) {
                run_log.tell(event(&observer, subject, &case));
            }
        }
    }
}

/// From when on witnesses are to be read; none when there is nothing to look into, as on most sweeps.
fn earliest(context: &Context, run: &RunDir, shelf: &Shelf) -> Option<SystemTime> {
    let view = lease::View { proc: &context.proc, sees_all: processes::sees_all, now: now() };
    let leases = lease::read_all(run, view).unwrap_or_default();
    let dead = leases.iter().filter(|seen| seen.state == LeaseState::Dead);
    let of_leases = dead.filter_map(|seen| Some(seen.lease.as_ref()?.since)).min();
    let is_new_boot = context.proc.boot_id().is_ok_and(|boot_id| !shelf.knows_boot(&boot_id));
    let of_boot = is_new_boot.then(|| now().checked_sub(2 * BEFORE_BOOT)).flatten();
    // A forged lease may be dated at will.
    let oldest = now().checked_sub(7 * BEFORE_BOOT)?;
    let from = [of_leases, of_boot].into_iter().flatten().min()?;
    Some(from.max(oldest).checked_sub(BEFORE).unwrap_or(oldest))
}

/// Whether the Worker's last line is older than this boot, but not by much.
fn is_cut_off_by_boot(observer: &Observer<'_>, subject: &Subject) -> bool {
    let Some(booted) = observer.booted() else { return false };
    let last = observer.worker_end(subject).ok().and_then(|(log, _)| log.last?.at);
    last.is_some_and(|last| last < booted && last + BEFORE_BOOT > booted)
}

fn event(observer: &Observer<'_>, subject: &Subject, case: &Case) -> Event {
    let (death, verdict) = (&case.death, &case.verdict);
    let text = format!(
        "{}: {} ({})",
        escape::text(&death.runner),
        escape::text(&verdict.summary),
        verdict.confidence.as_str()
    );
    let told = |text: &Option<String>| text.clone().unwrap_or_default();
    let job = Job { repository: told(&death.repository), run_id: told(&death.run_id), job: told(&death.job) };
    let mut evidence = String::new();
    for proof in &verdict.evidence {
        let piece = format!("{}: {}; ", proof.source, proof.text);
        if evidence.len() + piece.len() > MAX_EVIDENCE {
            break;
        }
        evidence.push_str(&piece);
    }
    Event::new(EventKind::Postmortem, text)
        .runner(observer.runner(subject))
        .job(&job)
        .reason(verdict.cause.as_str())
        .summary(evidence.trim_end_matches("; ").to_owned())
}
