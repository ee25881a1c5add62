//! A sweep: the pass over all runners, in the order in which its steps depend on each other.

use super::remediate::Contamination;
use super::{Host, dedupe, metrics, records, remediate, service};
use crate::clock::now;
use crate::cycle::tickets::leave_tickets;
use crate::cycle::{Cycle, CycleError, Role, StaleUnits, holding};
use crate::model::ledger::Scope;
use crate::model::metrics::SweepEnd;
use crate::model::{ActionResult, Filesystem, Level, RunReport};
use crate::observe::snapshot::Snapshot;
use crate::overview;
use crate::policy::pressure;
use crate::postmortem::deaths::Deaths;
use crate::run_dir::{RunDir, RunDirError};
use crate::run_log::{RunLog, micros};
use crate::setup::state::StateDir;
use crate::tickets;
use std::time::{Duration, Instant, SystemTime};

/// A sweep that takes longer leaves the rest to the next one.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// A sweep that has ended.
pub(crate) struct Swept {
    pub(crate) report: RunReport,
    pub(crate) contamination: Contamination,
    /// Why the cycle could not begin or go on; what it did before is in the report.
    pub(crate) result: Result<(), CycleError>,
}

/// What a sweep would do now.
pub(crate) fn preview(host: &Host<'_>) -> RunReport {
    let snapshot = host.snapshot();
    let (preview, ..) = overview::whole(&snapshot, overview::forecast::PATIENCE, StaleUnits::Read);
    let dedupe = dedupe::preview(host, &preview);
    let mut report = preview.report();
    report.dedupe = dedupe;
    report.holding = holding::holding(&snapshot, &report, holding::PATIENCE);
    report
}

/// Sweeps.
///
/// # Errors
/// The run directory cannot be opened.
pub(crate) fn run(host: &Host<'_>) -> Result<Swept, RunDirError> {
    let run = RunDir::open(&host.config.paths.run_dir)?;
    // Of a user who may not take the lock no step succeeds: said once, and before anything is tried.
    if let Err(error) = run.lock_file()
        && error.is_denied()
    {
        return Err(error);
    }
    let begun = Instant::now();
    let mut run_log = RunLog::new(host.config, host.proc, Scope::Sweep, None);
    run_log.begun();
    let tidied = open_records(host, &run);
    let Relieved { mut report, result, after } = relieve(host, &run, begun, &mut run_log);
    report.notes.splice(0..0, tidied);
    let contamination = remediate::of_sweep(host, &run, &mut run_log);
    service::enforce(host);
    let end = SweepOutcome { begun, success: result.is_ok(), contamination };
    close(host, (&run, &after), &mut report, run_log, end);
    Ok(Swept { report, contamination, result })
}

/// Prepares the shared directory; notes about what was removed from it.
fn open_records(host: &Host<'_>, run: &RunDir) -> Vec<String> {
    // The run directory is in memory: this works on a full disk, too.
    let _ = run.note_clock(host.proc);
    records::take_requests(host, run);
    tickets::withdraw_all(run);
    records::tidy_shared(host, run)
}

/// The part of a sweep that frees space.
struct Relieved<'a> {
    report: RunReport,
    result: Result<(), CycleError>,
    /// The host after it.
    after: Snapshot<'a>,
}

/// Frees space, and leaves what hooks and the next sweep need to know of it.
fn relieve<'a>(host: &Host<'a>, run: &RunDir, begun: Instant, run_log: &mut RunLog) -> Relieved<'a> {
    let before = host.snapshot();
    remediate::put_back(host, run, before.runners(), run_log);
    let jobs = overview::forecast::survey(&before, Some(run), overview::forecast::IN_A_SWEEP);
    let rooms = jobs.rooms();
    // Before anything is deleted: caches that share their blocks may not have to be.
    let deduplicated = dedupe::run(host, run, run_log);
    let cycle = Cycle {
        config: host.config,
        proc: host.proc,
        run,
        actor: Role::Sweep,
        rooms: &rooms,
        clock: now,
        deadline: begun + TIME_LIMIT,
        events: run_log,
    };
    let (mut report, result) = cycle.run();
    report.dedupe = deduplicated;
    note_pressure(host, &report);
    let after = host.snapshot();
    if !report.goal_met {
        report.holding = holding::holding(&after, &report, holding::PATIENCE);
    }
    leave_tickets(host.config, run, &report, None);
    // Before the leases of ended processes are removed.
    look_into_deaths(host, run, run_log);
    records::tidy(host, &after, run);
    let kept = report.outcomes.iter().filter(|outcome| outcome.result != ActionResult::Removed);
    let kept = kept.map(|outcome| (&outcome.action.runner, &outcome.action.cache));
    report.notes.extend(overview::forecast::after_sweep(&after, run, &jobs, kept));
    Relieved { report, result, after }
}

/// Notes each disk that was under pressure, for the completed-hooks of jobs that run meanwhile: they cannot see pressure that a sweep
/// has relieved. A note that cannot be written is only missing from their reports.
fn note_pressure(host: &Host<'_>, report: &RunReport) {
    let state = StateDir::at(&host.config.paths.state_dir);
    for balance in &report.balances {
        if pressure::level(&balance.before.usage, &host.config.watermarks) != Level::Ok {
            let _ = state.note_pressure(balance.before.id);
        }
    }
}

fn look_into_deaths(host: &Host<'_>, run: &RunDir, run_log: &mut RunLog) {
    let look = || overview::alive(&host.snapshot()).facts;
    let deaths = Deaths { config: host.config, proc: host.proc, run, look: &look, now: now() };
    deaths.report(&mut |event| run_log.tell(event));
}

/// How a sweep has gone.
struct SweepOutcome {
    begun: Instant,
    success: bool,
    contamination: Contamination,
}

/// Records the end of the sweep, writes the metrics, and asks for the next sweep where the forecast wants it early.
fn close(
    host: &Host<'_>,
    (run, after): (&RunDir, &Snapshot<'_>),
    report: &mut RunReport,
    mut run_log: RunLog,
    end: SweepOutcome,
) {
    // On a full disk this fails; the journal has it too.
    let _ = StateDir::at(&host.config.paths.state_dir).note_sweep(if report.goal_met {
        "goal met"
    } else {
        "goal not reached"
    });
    run_log.ended(report, end.begun.elapsed());
    run_log.swept(SweepEnd {
        at: now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
        took: micros(end.begun.elapsed()),
        success: end.success,
        goal_met: report.goal_met,
        wider_contamination: end.contamination == Contamination::Wider,
    });
    run_log.leave_counts(run);
    metrics::after_sweep(host, after, run, report);
    let disks = report.balances.iter();
    let disks: Vec<Filesystem> =
        disks.map(|balance| Filesystem { usage: balance.after, ..balance.before.clone() }).collect();
    report.notes.extend(overview::forecast::sweep_early(host.config, &disks));
}
