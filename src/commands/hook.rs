//! `hook started` and `hook completed`: run by a runner, before and after a job, as the runner's user.
//!
//! A hook never fails a job by a fault of its own, and never hangs one: an error is a warning and exit 0, a panic is caught,
//! every wait is bounded, and a watchdog ends the process when all of that was not enough. Only a configured refusal exits
//! with 1. Everything that a hook prints is parsed by the runner: it goes through the job log's escapes.
//!
//! On a healthy disk a hook reads its ancestry and `.runner`, takes the lock shared, writes its lease, asks the work
//! directory's filesystem how full it is, and is done: no scan of the process table, no walk.

use super::self_clean::{SelfClean, leave_tickets};
use super::witness::Narrator;
use super::{load, now};
use crate::cli::{Cli, HookCommand};
use crate::config::{Config, OnExhausted};
use crate::cycle::{Cycle, Role, Witness as _};
use crate::lock::{LockError, LockMode, SharedLock};
use crate::model::ledger::Scope;
use crate::model::metrics::Timing;
use crate::model::{Job, Lease, Level, Pid, ProcessId, RunReport, Runner, WorkDir};
use crate::observe::caches::open_work;
use crate::observe::filesystems::MountTable;
use crate::observe::host::{Leases, Whose};
use crate::observe::{processes, runners};
use crate::policy::{holders, pressure};
use crate::postmortem::nouns::Complaint;
use crate::postmortem::observe::logs;
use crate::reclaim::beside;
use crate::reclaim::trash::Trash;
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::job_log::{JobLog, Met, Warning};
use crate::report::journal::{self, Sink};
use crate::run_dir::{Records, RunDir};
use crate::setup::state::{Kept, StateDir};
use crate::sys::deadline::Watchdog;
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::{lease, report::escape};
use std::cell::RefCell;
use std::io::{self, Stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the watchdog adds to `hook.time_limit`: the cycle stops by itself before.
const GRACE: Duration = Duration::from_secs(10);

/// How long a hook waits for a privileged sweep to take up its request (more than 3 s were seen on a host whose processors are
/// taken by builds), and to bring the disk below critical.
const SWEEP_STARTS: Duration = Duration::from_secs(10);
const SWEEP_HELPS: Duration = Duration::from_secs(60);

/// How often a hook looks whether the privileged sweep has helped.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why a hook did nothing, or not all. Always a warning in the job's log, never a failed job.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// The journal is still to be told.
    Untold(String),
    /// The journal has it, as an event of its own kind.
    Told(String),
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Untold(text)
    }
}

impl Fault {
    /// The one warning of a hook that did not come to its report.
    fn warn(&self) {
        let text = match self {
            Self::Untold(text) => {
                Event::new(EventKind::Error, text).emit();
                text
            }
            Self::Told(text) => text,
        };
        let warning = Warning::new("disk-guard", format!("{text}. The job goes on."));
        let _ = JobLog::open(std::io::stdout(), "could not do its work")
            .and_then(|log| log.finish(Some(warning)));
    }
}

/// Runs a hook such that whatever goes wrong inside is a warning.
pub(super) fn guarded(cli: &Cli, hook: &HookCommand) -> Exit {
    // The default hook of a panic prints to standard error, where a message could be taken for a workflow command.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(cli, hook)));
    match outcome {
        Ok(Ok(exit)) => exit,
        Ok(Err(fault)) => {
            fault.warn();
            Exit::Done
        }
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            let text = format!("an internal error, please report it: {}", text.unwrap_or("no message"));
            Fault::Untold(text).warn();
            Exit::Done
        }
    }
}

fn run(cli: &Cli, hook: &HookCommand) -> Result<Exit, Fault> {
    journal::init(cli.log_level.into(), Sink::Journal);
    let config = load(cli).map_err(|error| error.to_string())?;
    let proc = Proc::new(&config.paths.proc);
    let begun = Instant::now();
    let limit = config.hook.time_limit + GRACE;
    let bite = format!(
        "\n::endgroup::\n::warning title=disk-guard::The guard took longer than {} s and was ended. The job goes on.\n",
        limit.as_secs()
    );
    let _watchdog = Watchdog::after(limit, bite).map_err(|error| format!("no timer: {error}"))?;
    match hook {
        HookCommand::Started { runner_root } => {
            let own = identify(&config, &proc, runner_root.as_deref())?;
            let narrator = RefCell::new(narrator(&config, &proc, &own));
            Started { config: &config, proc: &proc, own, begun, narrator }.run()
        }
        HookCommand::Completed { runner_root } => {
            let own = identify(&config, &proc, runner_root.as_deref())?;
            let mut narrator = narrator(&config, &proc, &own);
            completed(&config, &proc, &own, begun, &mut narrator)
        }
    }
}

fn narrator(config: &Config, proc: &Proc, own: &Own) -> Narrator {
    Narrator::new(config, proc, Scope::Hook(own.runner.name.clone()), Some(&own.runner))
}

/// The runner that a hook works for.
struct Own {
    runner: Runner,
    /// Its Worker; none when the runner was named by hand.
    worker: Option<ProcessId>,
    lineage: Vec<Pid>,
}

/// By ancestry, not by environment: a job can poison every variable. A root that the configuration does not allow is none.
fn identify(config: &Config, proc: &Proc, named: Option<&Path>) -> Result<Own, Fault> {
    let (root, worker, lineage) = match named {
        Some(root) => (root.to_owned(), None, Vec::new()),
        None => {
            let own = processes::own_runner(proc).map_err(|error| {
                format!("it cannot be told which runner this is ({error}); nothing was touched")
            })?;
            (own.root, Some(own.worker), own.lineage.iter().map(|process| process.pid).collect())
        }
    };
    let shown = escape::path(&root);
    let runner = runners::examine(&root, &MountTable::default())
        .map_err(|error| {
            format!("the runner's directory {shown} cannot be examined ({error}); nothing was touched")
        })?
        .ok_or_else(|| format!("{shown} holds no runner; nothing was touched"))?;
    if !is_allowed(config, proc, &root, &runner) {
        let text = format!("{shown} is not among the runners that runners.roots allows; nothing was touched");
        return Err(text.into());
    }
    Ok(Own { runner, worker, lineage })
}

/// The globs judge the path first; only when they do not match it are they expanded, for a root behind a link.
fn is_allowed(config: &Config, proc: &Proc, root: &Path, runner: &Runner) -> bool {
    let patterns = &config.runners.roots;
    runners::is_allowed(root, patterns)
        || runners::is_allowed(&runner.root, patterns)
        || runners::discover(patterns, &MountTable::read(proc))
            .runners
            .iter()
            .any(|r| r.root_id == runner.root_id)
}

struct Started<'a> {
    config: &'a Config,
    proc: &'a Proc,
    own: Own,
    begun: Instant,
    narrator: RefCell<Narrator>,
}

impl Started<'_> {
    fn tell(&self, event: Event) {
        self.narrator.borrow_mut().tell(event);
    }

    fn run(&self) -> Result<Exit, Fault> {
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

fn request_name(runner: &Runner) -> String {
    format!("{:x}-{:x}", runner.root_id.dev, runner.root_id.ino)
}

fn leave_lease(run: &RunDir, lease: Result<Option<Lease>, Fault>) -> Result<(), Fault> {
    lease?.map_or(Ok(()), |lease| lease::write(run, &lease).map_err(|error| error.to_string().into()))
}

/// Holders that an annotation names.
const HOLDERS: usize = 3;

/// The host's disk is the cause, and these runners hold it.
fn disk_warning(met: Met<'_>, run: &RunDir, proc: &Proc, own: &Runner, report: &RunReport) -> Warning {
    let leases = lease::read_all(run, proc).unwrap_or_default();
    let disk = own.work_dir().map(|work| work.filesystem);
    let holders = disk.map(|disk| holders::top(report, disk, &leases, HOLDERS)).unwrap_or_default();
    Warning::of_disk(met, report, &holders)
}

/// How long a hook looks for who holds the disk, after the job has met it full.
const LOOK_FOR_HOLDERS: Duration = Duration::from_secs(10);

/// The job's own runner found no room on the disk: says so in the job's log, unless its started-hook has said it before.
fn tell_of_full_disk(config: &Config, proc: &Proc, run: &RunDir, own: &Own, worker: ProcessId) {
    if lease::has_annotation(run, own.runner.root_id, worker) {
        return;
    }
    // A log that cannot be read tells of no full disk.
    let Some(line) = no_space(&own.runner) else { return };
    let deadline = Instant::now() + LOOK_FOR_HOLDERS;
    let look = crate::cycle::preview(config, proc, Leases::In(run), now(), deadline, |_| Whose::Everybody);
    let warning =
        disk_warning(Met::NoSpace(&line), run, proc, &own.runner, &own_disk_only(look.report(), &own.runner));
    let _ = warning.write(std::io::stdout());
    lease::note_annotation(run, own.runner.root_id, worker);
}

/// The line of the running Worker's log that tells of a full disk.
fn no_space(runner: &Runner) -> Option<String> {
    let root = Dir::open(&runner.root).ok()?;
    let name = logs::worker_logs(&root, 1).ok()?.pop()?;
    let (log, _) = logs::worker(&root, &name).ok()?;
    let line = log.complaints.into_iter().find(|(what, _)| *what == Complaint::NoSpace);
    line.map(|(_, line)| line.text)
}

/// What a run says about the disk of this runner's work directory.
fn own_disk_only(mut report: RunReport, runner: &Runner) -> RunReport {
    let disk = runner.work_dir().map(|work| work.filesystem);
    report.balances.retain(|balance| Some(balance.before.id) == disk);
    report
}

/// What runs, for the lease and the journal. Text of the job's choosing: bounded here, escaped wherever it is shown.
fn job() -> Job {
    let text = |name: &str| {
        let value = std::env::var(name).unwrap_or_default();
        value.chars().take(256).collect::<String>()
    };
    Job { repository: text("GITHUB_REPOSITORY"), run_id: text("GITHUB_RUN_ID"), job: text("GITHUB_JOB") }
}

fn completed(
    config: &Config,
    proc: &Proc,
    own: &Own,
    begun: Instant,
    narrator: &mut Narrator,
) -> Result<Exit, Fault> {
    let Some(worker) = own.worker else { return Ok(Exit::Done) };
    let run = RunDir::open(&config.paths.run_dir).map_err(|error| error.to_string())?;
    let result = end(config, proc, own, worker, (&run, begun), narrator);
    narrator.timed(Timing::HookCompleted, begun.elapsed());
    narrator.leave_counts(&run);
    result
}

fn end(
    config: &Config,
    proc: &Proc,
    own: &Own,
    worker: ProcessId,
    (run, begun): (&RunDir, Instant),
    narrator: &mut Narrator,
) -> Result<Exit, Fault> {
    // While the lease still holds.
    let cleaned =
        SelfClean { config, proc, run, runner: &own.runner, lineage: &own.lineage, begun }.run(narrator);
    tell_of_full_disk(config, proc, run, own, worker);
    lease::end(run, own.runner.root_id, worker).map_err(|error| error.to_string())?;
    if StateDir::at(&config.paths.state_dir).holds(Kept::Drained, &own.runner.root) {
        // To be stopped now that its job has ended; without the request the timer's sweep does it.
        let _ = run.publish(Records::Requests, &request_name(&own.runner), b"drain");
    }
    let text = format!("a job has ended on {}", escape::text(&own.runner.name));
    narrator.tell(Event::new(EventKind::Lease, text).runner(&own.runner).job(&job()));
    cleaned?;
    Ok(Exit::Done)
}
