//! `sweep` and `plan`: the timer's pass over all runners, for real or as a preview of the same plan.

use super::entries::Part;
use super::{
    Context, complain, dedupe, drain, holding, metrics, now, overview, postmortem, print, reap, remediate,
    run_log::{RunLog, micros},
    show, stores,
};
use crate::cycle::tickets::leave_tickets;
use crate::cycle::{Cycle, CycleError, Role, Stale};
use crate::lock::LockError;
use crate::model::Execution;
use crate::model::ledger::Scope;
use crate::model::metrics::SweepEnd;
use crate::model::{ActionResult, Filesystem, Level, RunReport};
use crate::observe::snapshot::Snapshot;
use crate::observe::{caches, processes};
use crate::policy::pressure;
use crate::reclaim::remove_tree::{Options, Progress, remove_tree};
use crate::reclaim::trash::Trash;
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::run_dir::{Records, RunDir, Tidied, Tidying};
use crate::setup::state::StateDir;
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::tickets;
use crate::{hook_record, lease};
use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::time::{Duration, Instant, SystemTime};

/// A sweep that takes longer leaves the rest to the next one.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// Trees that somebody has put among the records are removed for at most this long a sweep.
const TIDYING: Duration = Duration::from_secs(60);

/// What comes after caches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) reap: Part,
    pub(super) stores: Part,
}

/// Leaves a note of each disk that was under pressure, for the hooks of jobs that run meanwhile: what a sweep has relieved, they do not
/// see any more. Where it cannot be left, a job's end is told without it.
fn note_pressure(context: &Context, report: &RunReport) {
    let state = StateDir::at(&context.config.paths.state_dir);
    for balance in &report.balances {
        if pressure::level(&balance.before.usage, &context.config.watermarks) != Level::Ok {
            let _ = state.note_pressure(balance.before.id);
        }
    }
}

/// Shows what a sweep would do now.
pub(super) fn preview(context: &Context, parts: Parts, as_json: bool) -> Exit {
    let snapshot = context.snapshot();
    let (preview, ..) = overview::whole(&snapshot, overview::forecast::PATIENCE, Stale::Read);
    let dedupe = dedupe::preview(context, &preview);
    let mut report = preview.report();
    report.dedupe = dedupe;
    report.holding = holding::holding(&snapshot, &report, holding::PATIENCE);
    tell(context, &report, parts, Execution::DryRun, as_json);
    Exit::Done
}

/// Sweeps.
pub(super) fn run(context: &Context, parts: Parts, as_json: bool) -> Exit {
    let run = match RunDir::open(&context.config.paths.run_dir) {
        Ok(run) => run,
        Err(error) => {
            complain(&error);
            return Exit::Error;
        }
    };
    let begun = Instant::now();
    let mut run_log = RunLog::new(&context.config, &context.proc, Scope::Sweep, None);
    run_log.begun();
    // On a full disk as well: it lies in memory.
    let _ = run.note_clock(&context.proc);
    take_requests(&run);
    tickets::withdraw_all(&run);
    let strewn = tidy_shared(context, &run);
    let before = context.snapshot();
    remediate::put_back(context, &run, before.runners(), &mut run_log);
    let jobs = overview::forecast::survey(&before, Some(&run), overview::forecast::IN_A_SWEEP);
    let rooms = jobs.rooms();
    // Before anything is deleted: what shares its blocks need not go.
    let deduplicated = dedupe::run(context, &run, &mut run_log);
    let cycle = Cycle {
        config: &context.config,
        proc: &context.proc,
        run: &run,
        actor: Role::Sweep,
        rooms: &rooms,
        clock: now,
        deadline: begun + TIME_LIMIT,
        events: &mut run_log,
    };
    let (mut report, result) = cycle.run();
    report.dedupe = deduplicated;
    report.notes.splice(0..0, strewn);
    note_pressure(context, &report);
    let after = context.snapshot();
    if !report.goal_met {
        report.holding = holding::holding(&after, &report, holding::PATIENCE);
    }
    leave_tickets(&context.config, &run, &report, None);
    // Before the leases of the dead go.
    postmortem::after_sweep(context, &run, &mut run_log);
    tidy(&after, &run);
    let there = report.outcomes.iter().filter(|outcome| outcome.result != ActionResult::Removed);
    let there = there.map(|outcome| (&outcome.action.runner, &outcome.action.cache));
    report.notes.extend(overview::forecast::after_sweep(&after, &run, &jobs, there));
    let hygiene = remediate::sweep(context, &run, &mut run_log);
    drain::enforce(context);
    // On a full disk this fails, and costs nothing: the journal has it too.
    let _ = StateDir::at(&context.config.paths.state_dir).note_sweep(if report.goal_met {
        "goal met"
    } else {
        "goal not reached"
    });
    run_log.ended(&report, begun.elapsed());
    run_log.swept(SweepEnd {
        at: now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
        took: micros(begun.elapsed()),
        success: result.is_ok(),
        goal_met: report.goal_met,
        wider_contamination: hygiene == Exit::WiderIncident,
    });
    run_log.leave_counts(&run);
    metrics::after_sweep(&after, &run, &report);
    let disks = report.balances.iter();
    let disks: Vec<Filesystem> =
        disks.map(|balance| Filesystem { usage: balance.after, ..balance.before.clone() }).collect();
    report.notes.extend(overview::forecast::sweep_early(&context.config, &disks));
    tell(context, &report, parts, Execution::Apply, as_json);
    match result {
        Err(CycleError::Lock(error)) => {
            complain(&error);
            match error {
                LockError::TimedOut { .. } => Exit::LockTimeout,
                LockError::RunDir(_) | LockError::System { .. } => Exit::Error,
            }
        }
        Ok(()) if report.goal_met => hygiene,
        Ok(()) => Exit::GoalNotReached,
    }
}

/// Stores and the reaper come last, and what they do never changes how the sweep ends: it is told, and counted in records of their
/// own.
fn tell(context: &Context, report: &RunReport, parts: Parts, execution: Execution, as_json: bool) {
    let stores = || stores::part(context, parts.stores, execution);
    let reaper = || reap::part(context, parts.reap, execution);
    if as_json {
        let (collected, reaped) = (stores(), reaper());
        print(&json::sweep(report, collected.as_ref(), reaped.as_ref(), json::Layout::Pretty));
        return;
    }
    show(&context.screen, &human::run(report, now(), &context.screen));
    if let Some(collected) = stores() {
        show(&context.screen, &format!("\n{}", human::stores(&collected, &context.screen)));
    }
    if let Some(reaped) = reaper() {
        show(&context.screen, &format!("\n{}", human::reap(&reaped, &context.screen)));
    }
}

/// Requests of hooks are answered by this very sweep. They are taken away first: one that comes later asks for the next.
/// The unit that watches them starts sweeps for as long as one is left, so whatever stands there goes.
fn take_requests(run: &RunDir) {
    if let Err(error) = run.take_all(Records::Requests) {
        complain(&error);
    }
}

/// Takes what is no record out of the shared directories, and what one user has too many of; for people. Before anything is read
/// there: a flood must not keep this sweep from its work.
fn tidy_shared(context: &Context, run: &RunDir) -> Vec<String> {
    let view = view(&context.proc);
    let living = RefCell::new(HashSet::new());
    let progress = Progress::default();
    let options =
        Options { threads: 1, deadline: Some(Instant::now() + TIDYING), enough: None, progress: &progress };
    let remove_directory = |dir: &Dir, name: &OsStr| drop(remove_tree(dir, name, &[], &options));
    let mut notes = Vec::new();
    for records in [Records::Leases, Records::Requests, Records::Tickets, Records::Counters, Records::Hooks] {
        let is_live_lease = |name: &OsStr| {
            records == Records::Leases && lease::is_live(run, view, name, &mut living.borrow_mut())
        };
        let how = Tidying {
            proc: &context.proc,
            now: view.now,
            vouched: &is_live_lease,
            remove_directory: &remove_directory,
        };
        match run.tidy(records, &how) {
            Ok(tidied) if tidied.removed > 0 => notes.push(strewn(run, records, &tidied)),
            Ok(_) => {}
            Err(error) => complain(&error),
        }
    }
    notes
}

fn strewn(run: &RunDir, records: Records, tidied: &Tidied) -> String {
    let mut owners: Vec<String> = tidied.owners.iter().take(8).map(|owner| format!("uid {owner}")).collect();
    if tidied.owners.len() > owners.len() {
        owners.push("others".into());
    }
    format!(
        "{} of {} in {} were no records of a guard's, or too many of one user: removed",
        tidied.removed,
        owners.join(", "),
        run.path().join(records.directory()).display()
    )
}

fn view(proc: &Proc) -> lease::View<'_> {
    lease::View { proc, sees_all: processes::sees_all, now: now() }
}

/// Leaves of the dead, and spare slots for the day when no inode is left.
fn tidy(snapshot: &Snapshot<'_>, run: &RunDir) {
    if let Err(error) = lease::remove_dead(run, view(snapshot.proc)) {
        complain(&error);
    }
    // Where the package has not made it, hooks of users cannot.
    if let Err(error) =
        run.prepare(Records::Hooks).and_then(|()| hook_record::remove_dead(run, snapshot.proc))
    {
        complain(&error);
    }
    for runner in snapshot.runners() {
        let Some(work) = runner.work_dir() else { continue };
        // A work directory in which no spare can be made is one in which claims fail, and are told.
        let _ = caches::open_work(work).and_then(|dir| Trash::open_or_make(&dir, work.owner)?.keep_spare());
    }
}
