//! `hook completed`: removes caches that other runners have asked for, ends the lease, and warns if the disk was full during the job.

use super::identify::Own;
use super::self_clean::{HookKind, SelfClean};
use super::{Fault, disk_warning, job, request_name};
use crate::clock::now;
use crate::config::Config;
use crate::cycle::holding;
use crate::cycle::{PreviewScope, StaleUnits, preview};
use crate::forecast::{self, Summary};
use crate::model::ledger::JobPhase;
use crate::model::metrics::Timing;
use crate::model::postmortem::Complaint;
use crate::model::{Level, ProcessId, RunReport, Runner};
use crate::observe::caches::open_work;
use crate::observe::filesystems::MountTable;
use crate::observe::host::{CacheScope, Leases};
use crate::observe::snapshot::Snapshot;
use crate::policy::pressure;
use crate::postmortem::observe::logs;
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::job_log::DiskEffect;
use crate::run_dir::{Records, RunDir};
use crate::run_log::RunLog;
use crate::setup::state::{RecordKind, StateDir};
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::{lease, report::escape};
use std::time::{Duration, Instant};

pub(super) fn completed(
    config: &Config,
    proc: &Proc,
    own: &Own,
    begun: Instant,
    run_log: &mut RunLog,
) -> Result<Exit, Fault> {
    let Some(worker) = own.worker else { return Ok(Exit::Done) };
    let run = RunDir::open(&config.paths.run_dir).map_err(Fault::of)?;
    let result = end(config, proc, own, worker, (&run, begun), run_log);
    run_log.timed(Timing::HookCompleted, begun.elapsed());
    run_log.leave_counts(&run);
    result
}

fn end(
    config: &Config,
    proc: &Proc,
    own: &Own,
    worker: ProcessId,
    (run, begun): (&RunDir, Instant),
    run_log: &mut RunLog,
) -> Result<Exit, Fault> {
    own.mark_use();
    if config.caches.iter().any(|rule| rule.trims) {
        own.mark_used_units();
    }
    // While the lease still protects the runner.
    let cleaned = SelfClean { config, proc, run, runner: &own.runner, lineage: &own.lineage, begun }
        .run(HookKind::Completed, run_log);
    tell_of_full_disk(config, proc, run, own, worker);
    if config.forecast.enabled {
        learn(run, own, worker);
    }
    lease::end(run, own.runner.root_id, worker).map_err(Fault::of)?;
    if StateDir::at(&config.paths.state_dir).holds(RecordKind::Drained, &own.runner.root) {
        // To be stopped now that its job has ended; without the request the timer's sweep does it.
        let _ = run.publish(Records::Requests, &request_name(&own.runner), b"drain");
    }
    let text = format!("a job has ended on {}", escape::text(&own.runner.name));
    let event = Event::new(EventKind::Lease, text).runner(&own.runner).job(&job());
    run_log.tell(event.phase(JobPhase::Ended));
    cleaned.map_err(Fault::of)?;
    Ok(Exit::Done)
}

/// How long a hook measures what its job has written. Where that does not suffice the partial size counts if it exceeds the recorded one.
const MEASURES: Duration = Duration::from_secs(1);

/// Records how much the job has written. If that fails, the next job's estimate is less exact.
fn learn(run: &RunDir, own: &Own, worker: ProcessId) {
    let (Some(ground), Some(directory)) = (&own.ground, own.job_directory()) else { return };
    let lease = lease::file_name(own.runner.root_id, worker);
    let sampled = Summary::of(run).and_then(|summary| summary.live.get(&lease).copied()).unwrap_or(0);
    let until = Instant::now() + MEASURES;
    let _ = forecast::learn(ground.dir(), &directory, &job(), sampled, (now(), until));
}

/// How long a hook looks for the runners that hold the disk, after the job has met it full.
const LOOK_FOR_HOLDERS: Duration = Duration::from_secs(10);

/// If the job's own runner found the disk full, the job's log says so, unless its started-hook has reported it before.
fn tell_of_full_disk(config: &Config, proc: &Proc, run: &RunDir, own: &Own, worker: ProcessId) {
    let root = own.runner.root_id;
    // Most jobs end here: after a look at two filesystems and at the own lease, and without reading a log.
    if lease::has_annotation(run, root, worker)
        || !(is_near_full(config, &own.runner)
            || lease::has_met_pressure(run, root, worker)
            || was_relieved(config, proc, run, (&own.runner, worker)))
    {
        return;
    }
    // An unreadable log is no proof of a full disk.
    let Some(line) = no_space(&own.runner) else { return };
    let deadline = Instant::now() + LOOK_FOR_HOLDERS;
    let scope = PreviewScope {
        whose: |_: &[Runner]| CacheScope::Everybody,
        rooms: &[],
        stale: StaleUnits::Leave,
        memory: None,
    };
    let snapshot = Snapshot::take(config, proc, now());
    let look = preview(&snapshot, Leases::In(run), deadline, scope);
    let mut report = own_disk_only(look.report(), &own.runner);
    if !report.goal_met {
        report.holding = holding::holding(&snapshot, &report, holding::OF_A_JOB);
    }
    let warning = disk_warning(DiskEffect::NoSpace(&line), run, proc, &own.runner, &report);
    let _ = warning.write(std::io::stdout());
    lease::note_annotation(run, own.runner.root_id, worker);
}

/// Whether the disk of the work directory, or that of the runner's own files, is under pressure now. A job may print the words of a full
/// disk, or have filled a disk of its own, which is not this host's disk.
fn is_near_full(config: &Config, runner: &Runner) -> bool {
    let work = runner.work_dir().map(open_work);
    let disks = [work, Some(Dir::open(&runner.root))].into_iter().flatten().flatten();
    disks
        .into_iter()
        .filter_map(|disk| disk.usage().ok())
        .any(|usage| pressure::level(&usage, &config.watermarks) != Level::Ok)
}

/// Whether a sweep has met a disk of this runner under pressure since the job began.
fn was_relieved(config: &Config, proc: &Proc, run: &RunDir, (runner, worker): (&Runner, ProcessId)) -> bool {
    let Some(begun) = lease::begun(run, runner.root_id, worker) else { return false };
    let state = StateDir::at(&config.paths.state_dir);
    let work = runner.work_dir();
    let is_elsewhere = |dev: u64| work.is_none_or(|work| work.id.dev != dev);
    let root = Dir::open(&runner.root).and_then(|root| Ok((root.status()?, root))).ok();
    let root = root.filter(|(root, _)| is_elsewhere(root.id.dev));
    let root = root.map(|(status, root)| MountTable::read(proc).pool_of(&root, &status));
    work.map(|work| work.filesystem)
        .into_iter()
        .chain(root)
        .any(|disk| state.last_pressure(disk).is_some_and(|at| at >= begun))
}

/// The line of the running Worker's log that reports a full disk.
fn no_space(runner: &Runner) -> Option<String> {
    let root = Dir::open(&runner.root).ok()?;
    let pages = logs::worker_logs(&root, 1).ok()?.pop()?;
    let (log, _) = logs::worker_end(&root, &pages).ok()?;
    let line = log.complaints.into_iter().find(|(what, _)| *what == Complaint::NoSpace);
    line.map(|(_, line)| line.text)
}

/// The findings of a run about the disk of this runner's work directory.
fn own_disk_only(mut report: RunReport, runner: &Runner) -> RunReport {
    let disk = runner.work_dir().map(|work| work.filesystem);
    report.balances.retain(|balance| Some(balance.before.id) == disk);
    report
}
