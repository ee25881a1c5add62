//! `hook started`: the lease, the fence, and room on the disk before a job begins.

use super::identify::Own;
use super::{Fault, disk_warning, job, request_name};
use crate::commands::now;
use crate::commands::self_clean::leave_tickets;
use crate::commands::witness::Narrator;
use crate::config::{Config, OnExhausted};
use crate::cycle::{Cycle, Role, Witness as _};
use crate::lock::{LockError, LockMode, SharedLock};
use crate::model::metrics::Timing;
use crate::model::{Lease, Level, RunReport, WorkDir};
use crate::observe::caches::open_work;
use crate::policy::pressure;
use crate::reclaim::beside;
use crate::reclaim::trash::Trash;
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::job_log::{JobLog, Met, Warning};
use crate::run_dir::{Records, RunDir};
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::{lease, report::escape};
use std::cell::RefCell;
use std::io::{self, Stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a hook waits for a privileged sweep to take up its request (more than 3 s were seen on a host whose processors are
/// taken by builds), and to bring the disk below critical.
const SWEEP_STARTS: Duration = Duration::from_secs(10);
const SWEEP_HELPS: Duration = Duration::from_secs(60);

/// How often a hook looks whether the privileged sweep has helped.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) struct Started<'a> {
    pub(super) config: &'a Config,
    pub(super) proc: &'a Proc,
    pub(super) own: Own,
    pub(super) begun: Instant,
    pub(super) narrator: RefCell<Narrator>,
}

impl Started<'_> {
    fn tell(&self, event: Event) {
        self.narrator.borrow_mut().tell(event);
    }

    pub(super) fn run(&self) -> Result<Exit, Fault> {
        let run = RunDir::open(&self.config.paths.run_dir).map_err(|error| {
            self.fence(None);
            error.to_string()
        })?;
        let result = self.guard(&run);
        let mut narrator = self.narrator.borrow_mut();
        narrator.timed(Timing::HookStarted, self.begun.elapsed());
        narrator.leave_counts(&run);
        result
    }

    fn guard(&self, run: &RunDir) -> Result<Exit, Fault> {
        let lease = self.lease();
        let asked = Instant::now();
        match SharedLock::acquire(run, self.config.hook.lock_wait) {
            // Held for writing the lease alone: whoever wants to claim waits for this.
            Ok(_lock) => {
                self.narrator.borrow_mut().lock_taken(LockMode::Shared, asked.elapsed());
                leave_lease(run, lease)?;
            }
            Err(error) => return self.without_lock(run, lease, &error),
        }
        self.tell_of_lease();
        if self.keep_spare_and_look()? == Level::Ok { Ok(Exit::Done) } else { self.relieve(run) }
    }

    /// How full the work directory's filesystem is.
    fn level(&self) -> Result<Level, Fault> {
        let Some(work) = self.own.runner.work_dir() else { return Ok(Level::Ok) };
        self.level_in(work, &open_work(work))
    }

    fn level_in(&self, work: &WorkDir, dir: &io::Result<Dir>) -> Result<Level, Fault> {
        let usage = match dir {
            Ok(dir) => dir.usage().map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let unreadable =
            |error| format!("the work directory {} cannot be examined: {error}", escape::path(&work.path));
        Ok(pressure::level(&usage.map_err(unreadable)?, &self.config.watermarks))
    }

    /// The level, and a spare for the day when no inode is left; when that day has come, a claim goes without.
    fn keep_spare_and_look(&self) -> Result<Level, Fault> {
        let Some(work) = self.own.runner.work_dir() else { return Ok(Level::Ok) };
        let dir = open_work(work);
        if let Ok(dir) = &dir {
            let _ = Trash::open_or_make(dir, work.owner).and_then(|trash| trash.keep_spare());
        }
        self.level_in(work, &dir)
    }

    /// The lease of this job; none for a runner that was named by hand.
    fn lease(&self) -> Result<Option<Lease>, Fault> {
        let Some(worker) = self.own.worker else { return Ok(None) };
        let here = |what: &str, error: std::io::Error| format!("{what} cannot be read: {error}");
        Ok(Some(Lease {
            worker,
            boot_id: self.proc.boot_id().map_err(|error| here("this boot's id", error))?,
            pid_namespace: self.proc.pid_namespace().map_err(|error| here("the pid namespace", error))?,
            root: self.own.runner.root.clone(),
            root_id: self.own.runner.root_id,
            work_id: self.own.runner.work_dir().map(|work| work.id),
            job: job(),
            since: now(),
        }))
    }

    fn tell_of_lease(&self) {
        if self.own.worker.is_some() {
            let text = format!("a job begins on {}", escape::text(&self.own.runner.name));
            let event = Event::new(EventKind::Lease, text).runner(&self.own.runner).job(&job());
            self.tell(event.duration(self.begun.elapsed()));
        }
    }

    /// The host lock was not obtained: nothing is pruned. The lease is left all the same.
    fn without_lock(
        &self,
        run: &RunDir,
        lease: Result<Option<Lease>, Fault>,
        error: &LockError,
    ) -> Result<Exit, Fault> {
        self.narrator.borrow_mut().lock_failed(LockMode::Shared, error);
        // Whatever kept us from the lock, and before the fence: a claim that the fence comes too early for then sees the lease.
        let left = leave_lease(run, lease).map(|()| self.tell_of_lease());
        self.fence(Some(run));
        if let LockError::TimedOut { .. } = error {
            left?;
        }
        Err(Fault::Told(error.to_string()))
    }

    /// Fences off a claim on this runner that may be under way on evidence from before its job. Whoever lets the job begin
    /// without having had the host lock does this first.
    fn fence(&self, run: Option<&RunDir>) {
        let Some(work) = self.own.runner.work_dir() else { return };
        let fenced = open_work(work).and_then(|dir| {
            let slots =
                Trash::open(&dir, work.owner).and_then(|trash| trash.map_or(Ok(()), |trash| trash.fence()));
            slots.and(run.map_or(Ok(()), |run| beside::fence(run, &dir)))
        });
        if let Err(failure) = fenced {
            let text = format!("claims on this runner cannot be fenced off: {failure}");
            self.tell(Event::new(EventKind::Error, text).runner(&self.own.runner));
        }
    }

    /// The disk is under pressure: make room.
    fn relieve(&self, run: &RunDir) -> Result<Exit, Fault> {
        let mut log =
            JobLog::open(std::io::stdout(), "makes room on the disk").map_err(|error| error.to_string())?;
        let mut narrator = self.narrator.borrow_mut();
        narrator.begun();
        let cycle = Cycle {
            config: self.config,
            proc: self.proc,
            run,
            actor: Role::Hook {
                root: self.own.runner.root_id,
                job_directory: self.job_directory(),
                lineage: self.own.lineage.clone(),
            },
            clock: now,
            deadline: self.begun + self.config.hook.time_limit,
            witness: &mut *narrator,
        };
        let (report, result) = cycle.run();
        drop(narrator);
        let _ = log.run(&report, now());
        if let Err(error) = &result {
            let _ = log.line(&format!("stopped early: {error}"));
        }
        leave_tickets(self.config, run, &report, Some(self.own.runner.root_id));
        let exit = self.conclude(run, &report, &mut log);
        self.narrator.borrow_mut().ended(&report, self.begun.elapsed());
        let warning = match (exit, self.level()) {
            // Between the watermarks there is nothing to be alarmed about.
            (Exit::Done, Ok(Level::Ok)) => None,
            (Exit::Done, Ok(Level::Critical)) => Some(self.disk_warning(Met::Critical, run, &report)),
            (Exit::Done, _) => Warning::of_run(&report),
            _ => Some(self.disk_warning(Met::Refused, run, &report)),
        };
        if let Some(worker) = self.own.worker.filter(|_| warning.is_some()) {
            lease::note_annotation(run, self.own.runner.root_id, worker);
        }
        let _ = log.finish(warning);
        Ok(exit)
    }

    fn disk_warning(&self, met: Met<'_>, run: &RunDir, report: &RunReport) -> Warning {
        disk_warning(met, run, self.proc, &self.own.runner, report)
    }

    /// Own means are exhausted: ask for a privileged sweep, wait for it as far as that is worth it, and let the job run or
    /// refuse it.
    fn conclude(&self, run: &RunDir, report: &RunReport, log: &mut JobLog<Stdout>) -> Exit {
        if report.goal_met || self.level() == Ok(Level::Ok) {
            return Exit::Done;
        }
        let asked = self.request_sweep(run, log);
        if self.level() == Ok(Level::Critical) && asked {
            let _ = log.line("the disk is above critical: waiting for the privileged sweep");
            self.await_sweep(run);
        }
        if self.config.hook.on_exhausted == OnExhausted::Refuse && self.level() == Ok(Level::Critical) {
            let text = "the job was refused: the disk is above critical and nothing more can go";
            self.tell(Event::new(EventKind::Refused, text).runner(&self.own.runner).job(&job()));
            return Exit::Error;
        }
        Exit::Done
    }

    /// Root needs no help by root.
    fn request_sweep(&self, run: &RunDir, log: &mut JobLog<Stdout>) -> bool {
        if nix::unistd::geteuid().is_root() {
            return false;
        }
        match run.publish(Records::Requests, &request_name(&self.own.runner), b"sweep") {
            Ok(()) => true,
            Err(error) => {
                let _ = log.line(&format!("a privileged sweep cannot be asked for: {error}"));
                false
            }
        }
    }

    /// Waits until the disk is below critical; not for a sweep that does not come.
    fn await_sweep(&self, run: &RunDir) {
        let asked = Instant::now();
        let until = (asked + SWEEP_HELPS).min(self.begun + self.config.hook.time_limit);
        while Instant::now() < until && self.level() == Ok(Level::Critical) {
            if asked.elapsed() > SWEEP_STARTS && run.holds(Records::Requests, &request_name(&self.own.runner))
            {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The directory below `_work` that the job will use. A hint for the order among own caches, from an environment that a
    /// job can poison: nothing else depends on it.
    fn job_directory(&self) -> Option<PathBuf> {
        let workspace = PathBuf::from(std::env::var_os("GITHUB_WORKSPACE")?);
        let below = workspace.strip_prefix(&self.own.runner.work_dir()?.path).ok()?;
        below.components().next().map(|first| PathBuf::from(first.as_os_str()))
    }
}

fn leave_lease(run: &RunDir, lease: Result<Option<Lease>, Fault>) -> Result<(), Fault> {
    lease?.map_or(Ok(()), |lease| lease::write(run, &lease).map_err(|error| error.to_string().into()))
}
