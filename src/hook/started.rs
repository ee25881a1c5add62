//! `hook started`: the lease, the fence, and room on the disk before a job begins.

use super::identify::Own;
use super::protect::{begins, lease_of};
use super::self_clean::{HookKind, SelfClean};
use super::{Fault, disk_warning, job, request_name};
use crate::clock::now;
use crate::config::{Config, OnExhausted};
use crate::cycle::holding;
use crate::cycle::tickets::leave_tickets;
use crate::cycle::{Cycle, CycleError, Role, RunEvents as _};
use crate::lock::{LockMode, SharedLock};
use crate::model::metrics::Timing;
use crate::model::{DiskForecast, Lease, Level, RunReport, Usage};
use crate::observe::places::usage_of_logs;
use crate::observe::processes::HookVariable;
use crate::observe::snapshot::Snapshot;
use crate::policy::pressure;
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::job_log::{DiskEffect, JobLog, Warning};
use crate::run_dir::{Records, RunDir};
use crate::run_log::RunLog;
use crate::sys::process::Proc;
use crate::text::words;
use crate::{hook_record, lease, report::escape};
use std::cell::RefCell;
use std::io::Stdout;
use std::time::{Duration, Instant};

/// How long a hook waits for a privileged sweep to accept its request (more than 3 s were seen on a host with busy processors), and to
/// bring the disk below critical.
const SWEEP_STARTS: Duration = Duration::from_secs(10);
const SWEEP_HELPS: Duration = Duration::from_secs(60);

/// How often a hook looks whether the privileged sweep has helped.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) struct Started<'a> {
    pub(super) config: &'a Config,
    pub(super) proc: &'a Proc,
    pub(super) own: Own,
    pub(super) begun: Instant,
    pub(super) run_log: RefCell<RunLog>,
}

impl<'a> Started<'a> {
    pub(super) fn snapshot(&self) -> Snapshot<'a> {
        Snapshot::take(self.config, self.proc, now())
    }

    pub(super) fn tell(&self, event: Event) {
        self.run_log.borrow_mut().tell(event);
    }

    pub(super) fn run(&self) -> Result<Exit, Fault> {
        let run = RunDir::open(&self.config.paths.run_dir).map_err(Fault::of)?;
        let result = self.guard(&run);
        let mut run_log = self.run_log.borrow_mut();
        run_log.timed(Timing::HookStarted, self.begun.elapsed());
        run_log.leave_counts(&run);
        result
    }

    /// A hook that does not get the lock, or cannot write its lease, prunes nothing, and takes the error path (see
    /// [`mod@super::protect`]).
    fn guard(&self, run: &RunDir) -> Result<Exit, Fault> {
        let lease = self.own.worker.map(|worker| lease_of(&self.own, worker, self.proc, now()));
        let expected = self.expect(run);
        let mut left = None;
        let asked = Instant::now();
        let wait = self.config.hook.lock_wait.min(self.config.hook.time_limit);
        match SharedLock::acquire(run, wait) {
            // Held only for writing the lease: every claim waits for this.
            Ok(_lock) => {
                self.run_log.borrow_mut().lock_taken(LockMode::Shared, asked.elapsed());
                if let Some(lease) = lease {
                    let lease = Lease { reserved: expected.reservation.clone(), ..lease.map_err(Fault::of)? };
                    lease::write(run, &lease).map_err(Fault::of)?;
                    left = Some(lease);
                }
            }
            Err(error) => {
                self.run_log.borrow_mut().lock_failed(LockMode::Shared, &error);
                return Err(Fault::Told(error.to_string()));
            }
        }
        if self.own.worker.is_some() {
            self.tell(begins(&self.own).duration(self.begun.elapsed()));
        }
        if let (Some(lease), Some(listener)) = (&left, self.own.listener) {
            // Without it this runner counts as guarded only because of its `.env`.
            let hook = std::env::var_os(HookVariable::JobStarted.name());
            let _ = hook_record::leave(run, self.proc, lease, listener, hook.as_deref());
        }
        if let Some(ground) = &self.own.ground {
            ground.keep_spare();
            self.own.mark_use();
        }
        let (own, config, proc) = (&self.own, self.config, self.proc);
        let clean =
            SelfClean { config, proc, run, runner: &own.runner, lineage: &own.lineage, begun: self.begun };
        let cleaned = clean.run(HookKind::Started, &mut self.run_log.borrow_mut());
        if let Err(failure) = cleaned {
            // Limits can wait for the next hook; the disk cannot.
            self.tell(Event::new(EventKind::Error, failure.to_string()).runner(&self.own.runner));
        }
        let room = self.room(run, &expected);
        let lacks_room = room.as_ref().is_some_and(|disk| disk.lacking_bytes() > 0);
        if self.level()? == Level::Ok && !lacks_room { Ok(Exit::Done) } else { self.relieve(run, room) }
    }

    /// How full the filesystems of the runner are.
    fn level(&self) -> Result<Level, Fault> {
        let (Some(work), Some(ground)) = (self.own.runner.work_dir(), &self.own.ground) else {
            return Ok(Level::Ok);
        };
        let marks = &self.config.watermarks;
        let logs = usage_of_logs(&self.own.runner).map(|usage| pressure::level(&usage, marks));
        let unreadable =
            |error| format!("the work directory {} cannot be examined: {error}", escape::path(&work.path));
        // A runner that cannot write its log dies as well.
        Ok(pressure::level(&ground.usage().map_err(unreadable)?, marks).max(logs.unwrap_or(Level::Ok)))
    }

    /// The disk is under pressure, or has too little room for live jobs: make room.
    fn relieve(&self, run: &RunDir, room: Option<DiskForecast>) -> Result<Exit, Fault> {
        let mut log = JobLog::open(std::io::stdout(), "makes room on the disk").map_err(Fault::of)?;
        let is_pressed = self.level() != Ok(Level::Ok);
        if let Some(disk) = &room {
            let _ = log.line(&words::room(disk));
        }
        let (mut report, result) = self.make_room(run, room.as_ref());
        let _ = log.run(&report, now());
        if let Err(error) = &result {
            let _ = log.line(&format!("stopped early: {error}"));
        }
        leave_tickets(self.config, run, &report, Some(self.own.runner.root_id));
        if let Some(worker) = self.own.worker.filter(|_| is_pressed) {
            lease::note_pressure(run, self.own.runner.root_id, worker);
        }
        let exit = if is_pressed { self.conclude(run, &report, &mut log) } else { Exit::Done };
        let short = match exit {
            Exit::Done => room.and_then(|_| self.still_short(run, &report, &mut log)),
            _ => None,
        };
        self.run_log.borrow_mut().ended(&report, self.begun.elapsed());
        if !report.goal_met {
            report.holding = holding::holding(&self.snapshot(), &report, holding::OF_A_JOB);
        }
        let warning = match (exit, self.level()) {
            (Exit::Done, Ok(Level::Ok)) => short.as_ref().map(|short| short.warning()),
            (Exit::Done, Ok(Level::Critical)) => Some(self.disk_warning(DiskEffect::Critical, run, &report)),
            // Between the watermarks there is no reason for a warning.
            (Exit::Done, _) => {
                Warning::of_run(&report).or_else(|| short.as_ref().map(|short| short.warning()))
            }
            _ => Some(self.disk_warning(DiskEffect::Refused, run, &report)),
        };
        if let Some(worker) = self.own.worker.filter(|_| warning.is_some()) {
            lease::note_annotation(run, self.own.runner.root_id, worker);
        }
        let _ = log.finish(warning);
        match short {
            Some(short) if short.is_refused => Ok(Exit::Error),
            _ => Ok(exit),
        }
    }

    /// One run for the watermarks and for live jobs.
    pub(super) fn make_room(
        &self,
        run: &RunDir,
        room: Option<&DiskForecast>,
    ) -> (RunReport, Result<(), CycleError>) {
        let rooms: Vec<_> = room.map(|disk| (disk.filesystem.id, disk.room)).into_iter().collect();
        let mut run_log = self.run_log.borrow_mut();
        run_log.begun();
        let cycle = Cycle {
            config: self.config,
            proc: self.proc,
            run,
            actor: Role::Hook {
                root: self.own.runner.root_id,
                job_directory: self.own.job_directory(),
                lineage: self.own.lineage.clone(),
            },
            rooms: &rooms,
            clock: now,
            deadline: self.begun + self.config.hook.time_limit,
            events: &mut *run_log,
        };
        cycle.run()
    }

    fn disk_warning(&self, met: DiskEffect<'_>, run: &RunDir, report: &RunReport) -> Warning {
        disk_warning(met, run, self.proc, &self.own.runner, report)
    }

    /// The hook has no means left: request a privileged sweep, wait for it while that is useful, and let the job run or refuse it.
    fn conclude(&self, run: &RunDir, report: &RunReport, log: &mut JobLog<Stdout>) -> Exit {
        if report.goal_met {
            let _ = log.line("goal reached");
            return Exit::Done;
        }
        if self.level() == Ok(Level::Ok) {
            let _ = log.line("the disk is no longer under pressure");
            return Exit::Done;
        }
        let asked = self.request_sweep(run, log);
        if self.level() == Ok(Level::Critical) && asked {
            let _ = log.line("the disk is above critical: waiting for the privileged sweep");
            let before = self.usage();
            self.await_sweep(run);
            self.log_sweep(before, log);
        } else {
            self.log_shortfall(log);
        }
        if self.config.hook.on_exhausted == OnExhausted::Refuse && self.level() == Ok(Level::Critical) {
            let text = "the job was refused: the disk is above critical and nothing more can be removed";
            self.tell(Event::new(EventKind::Refused, text).runner(&self.own.runner).job(&job()));
            return Exit::Error;
        }
        Exit::Done
    }

    fn usage(&self) -> Option<Usage> {
        self.own.ground.as_ref()?.usage().ok()
    }

    /// The result of the privileged sweep during the wait.
    fn log_sweep(&self, before: Option<Usage>, log: &mut JobLog<Stdout>) {
        if let (Some(before), Some(after)) = (before, self.usage()) {
            let _ = log.line(&format!(
                "the work directory's disk: {}% used before the privileged sweep, {}% now, {} available",
                before.used_percent(),
                after.used_percent(),
                words::size(after.available_bytes)
            ));
        }
        self.log_shortfall(log);
    }

    fn log_shortfall(&self, log: &mut JobLog<Stdout>) {
        let Some(lacking) = self.usage().map(|usage| pressure::lacking(&usage, &self.config.watermarks))
        else {
            return;
        };
        let _ = log.line(&match (lacking.bytes, lacking.inodes) {
            (0, 0) => "goal reached".to_owned(),
            (0, inodes) => format!("goal not reached: {inodes} inodes short of it"),
            (bytes, _) => format!("goal not reached: {} short of it", words::size(bytes)),
        });
    }

    /// Root needs no help by root.
    fn request_sweep(&self, run: &RunDir, log: &mut JobLog<Stdout>) -> bool {
        if crate::sys::process::is_root() {
            return false;
        }
        match run.publish(Records::Requests, &request_name(&self.own.runner), b"sweep") {
            Ok(()) => true,
            Err(error) => {
                let _ = log.line(&format!("a privileged sweep cannot be requested: {error}"));
                false
            }
        }
    }

    /// Waits until the disk is below critical; does not wait for a sweep that does not start.
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
}
