//! `hook started` and `hook completed`: run by a runner, before and after a job, as the runner's user.
//!
//! A hook never fails a job because of its own error, and never blocks one: an error is a warning and exit 0, a panic is caught, every
//! wait is bounded. The process that a job waits for only waits itself, for a worker process, which it abandons when its time is over
//! ([`crate::sys::supervise`]). Only a configured refusal exits with 1. Everything that a hook prints is parsed by the runner, so it
//! passes the escaping of the job log.
//!
//! A started-hook fences its runner before anything that can fail. If it ends abnormally (an error, a panic, a signal, a timeout), it
//! takes the error path ([`mod@protect`]): the lease, and the fence again.
//!
//! On a healthy disk a hook reads its ancestry and `.runner`, fences, takes the lock shared, writes its lease, asks the work
//! directory's filesystem how full it is, and is done: no scan of the process table, no walk.

mod completed;
mod fence;
mod identify;
mod protect;
mod room;
mod self_clean;
mod started;

use crate::actions_runner::environment;
use crate::cli::{Cli, HookCommand};
use crate::clock::now;
use crate::config::Config;
use crate::lease;
use crate::model::ledger::Scope;
use crate::model::{Job, RunReport, Runner};
use crate::observe::declared;
use crate::policy::holders;
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::job_log::{DiskEffect, JobLog, Warning};
use crate::report::journal::{self, Sink};
use crate::run_dir::RunDir;
use crate::run_log::RunLog;
use crate::sys::limits;
use crate::sys::process::Proc;
use crate::sys::supervise::{Link, Supervisor, WorkerEnd};
use completed::completed;
use identify::Own;
use protect::{PROC, fence_declared, fence_first, protect};
use started::Started;
use std::cell::RefCell;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a hook may take until it has read its configuration.
const START: Duration = Duration::from_secs(10);

/// The supervisor's time beyond `hook.time_limit`: the cycle stops by itself before.
const GRACE: Duration = Duration::from_secs(10);

/// How long the error path may take.
const WAY_OUT: Duration = Duration::from_secs(5);

/// What a hook's worker has done, for its supervisor and for the processes after it: the fence is in place, the job's log has its warning.
const FENCED: u32 = 1;
const WARNED: u32 = 2;

/// Why a hook did nothing, or only a part. Always a warning in the job's log, never a failed job.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// The journal does not have it yet.
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
    fn of(error: impl std::fmt::Display) -> Self {
        Self::Untold(error.to_string())
    }

    /// The one warning of a hook that did not reach its report.
    fn warn(&self) {
        let text = match self {
            Self::Untold(text) => {
                Event::new(EventKind::Error, text).emit();
                text
            }
            Self::Told(text) => text,
        };
        let _ = JobLog::open(std::io::stdout(), "failed").and_then(|log| log.finish(Some(goes_on(text))));
    }
}

fn goes_on(text: &str) -> Warning {
    Warning::new("disk-guard", format!("{text}. The job continues."))
}

/// Runs a hook such that every error inside becomes a warning, and its job begins in time, fenced, however the hook ends.
///
/// A worker process does the work. This process only waits for it: it makes no call that a filesystem could delay.
pub(crate) fn guarded(cli: &Cli, hook: &HookCommand) -> Exit {
    // The default panic hook prints to standard error, where a message could be taken for a workflow command.
    std::panic::set_hook(Box::new(|_| {}));
    let mut supervisor = match Supervisor::new() {
        Ok(supervisor) => supervisor,
        Err(error) => return alone(cli, hook, &error),
    };
    match supervisor.run(START, |link| work(cli, hook, link)) {
        Ok(WorkerEnd::Proper(code)) => {
            if code == Exit::Error.code() {
                Exit::Error
            } else {
                Exit::Done
            }
        }
        Ok(end) => way_out(cli, hook, &mut supervisor, end),
        Err(error) => alone(cli, hook, &error),
    }
}

/// The worker's part; returns its exit code when it has run to its end.
fn work(cli: &Cli, hook: &HookCommand, link: Link) -> Option<u8> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(cli, hook, link)));
    let fault = match outcome {
        Ok(Ok(exit)) => return Some(exit.code()),
        Ok(Err(fault)) => fault,
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Fault::Untold(format!("an internal error, please report it: {}", text.unwrap_or("no message")))
        }
    };
    fault.warn();
    link.mark(WARNED);
    None
}

fn run(cli: &Cli, hook: &HookCommand, link: Link) -> Result<Exit, Fault> {
    journal::init(cli.log_level.into(), Sink::Journal);
    let begun = Instant::now();
    let (HookCommand::Started { runner_root } | HookCommand::Completed { runner_root }) = hook;
    let named = runner_root.as_deref();
    let is_started = matches!(hook, HookCommand::Started { .. });
    let first = Own::find(&Proc::new(Path::new(PROC)), named);
    if is_started {
        match fence_first(first.as_ref().ok()) {
            Ok(()) => link.mark(FENCED),
            Err(why) => {
                let text = format!("claims on this runner cannot be fenced off: {why}");
                Event::new(EventKind::Error, text).emit();
            }
        }
    }
    let config = declared::load(cli.config.as_deref()).map_err(|error| error.in_one_line())?;
    link.limit(config.hook.time_limit + GRACE);
    let proc = Proc::new(&config.paths.proc);
    let own = if config.paths.proc == Path::new(PROC) { first } else { Own::find(&proc, named) };
    let is_late = is_started && own.is_err();
    let own = Own::or_by_programs(own, &proc, named, &config)?;
    if is_late {
        // Until here the place was known only from the job's environment.
        fence_first(Some(&own)).map_err(Fault::of)?;
    }
    own.check_allowed(&config, &proc)?;
    if is_started {
        // As early as they are known, so that not even the death of this process undoes it. Failures are reported on the error path.
        let _ = fence_declared(&own, &config, &proc, None);
    }
    let mut run_log = run_log(&config, &proc, &own);
    if is_started {
        let run_log = RefCell::new(run_log);
        Started { config: &config, proc: &proc, own, begun, run_log }.run()
    } else {
        completed(&config, &proc, &own, begun, &mut run_log)
    }
}

/// The error path for every abnormal end.
fn way_out(cli: &Cli, hook: &HookCommand, supervisor: &mut Supervisor, end: WorkerEnd) -> Exit {
    supervisor.ignore_signals();
    // It may have been a limit that ended it. Only here: every healthy hook does without these calls.
    limits::raise();
    let warning = (!supervisor.link().has(WARNED)).then(|| in_words(end));
    let event = warning.clone();
    let last = supervisor.run(WAY_OUT, |link| {
        journal::init(cli.log_level.into(), Sink::Journal);
        if let Some(text) = event {
            Event::new(EventKind::Error, text).emit();
        }
        last_steps(cli, hook, link.has(FENCED))
    });
    let mut is_fenced = matches!(last, Ok(WorkerEnd::Proper(0))) || supervisor.link().has(FENCED);
    if !is_fenced {
        let by_shell = supervisor.run(WAY_OUT, |_| Some(u8::from(fence::by_shell().is_err())));
        is_fenced = matches!(by_shell, Ok(WorkerEnd::Proper(0)));
    }
    if let Some(text) = warning {
        let mut annotation = Vec::new();
        // Writing to memory does not fail.
        let _ = goes_on(&text).write(&mut annotation);
        supervisor.say(&String::from_utf8_lossy(&annotation));
    }
    if !is_fenced {
        supervisor.say("disk-guard: the claims of other guards on this runner could not be fenced off\n");
    }
    Exit::Done
}

/// How a worker ended that did not run to its end.
fn in_words(end: WorkerEnd) -> String {
    match end {
        WorkerEnd::TimedOut(limit) => format!("The guard took longer than {} s and was stopped", limit.as_secs()),
        WorkerEnd::Signalled(signal) => format!("The guard was terminated ({signal}) before it was done"),
        WorkerEnd::Orphaned => {
            "The process that started the guard ended before the guard was done: do not run it in the background"
                .to_owned()
        }
        WorkerEnd::Died(Some(signal)) => format!("The guard was ended by {signal} before it was done"),
        WorkerEnd::Died(None) | WorkerEnd::Proper(_) | WorkerEnd::GivenUp => "The guard ended before it was done".to_owned(),
    }
}

fn last_steps(cli: &Cli, hook: &HookCommand, is_fenced: bool) -> Option<u8> {
    let HookCommand::Started { runner_root } = hook else { return Some(0) };
    Some(u8::from(protect(cli, runner_root.as_deref(), is_fenced, now()).is_err()))
}

/// No process can be started, so nothing is done that could take long: the error path alone.
fn alone(cli: &Cli, hook: &HookCommand, error: &std::io::Error) -> Exit {
    limits::raise();
    // Nobody reads it, and few descriptors may be left.
    let _ = nix::unistd::close(nix::libc::STDIN_FILENO);
    let fenced = match hook {
        HookCommand::Started { runner_root } => {
            fence_first(Own::find(&Proc::new(Path::new(PROC)), runner_root.as_deref()).as_ref().ok())
        }
        HookCommand::Completed { .. } => Ok(()),
    };
    // Its socket is one of them.
    journal::init(cli.log_level.into(), Sink::Journal);
    let is_fenced = last_steps(cli, hook, fenced.is_ok()) == Some(0) || fenced.is_ok();
    Fault::Untold(format!("no process can be started for the guard's work: {error}")).warn();
    if !is_fenced {
        let _ = std::io::stdout().flush();
        fence::become_shell();
    }
    Exit::Done
}

fn run_log(config: &Config, proc: &Proc, own: &Own) -> RunLog {
    RunLog::new(config, proc, Scope::Hook(own.runner.name.clone()), Some(&own.runner))
}

fn request_name(runner: &Runner) -> String {
    format!("{:x}-{:x}", runner.root_id.dev, runner.root_id.ino)
}

/// Holders that an annotation names.
const HOLDERS: usize = 3;

/// The host's disk is the cause, and these runners hold it.
fn disk_warning(met: DiskEffect<'_>, run: &RunDir, proc: &Proc, own: &Runner, report: &RunReport) -> Warning {
    let view = lease::LeaseView { proc, sees_all: |_| false, now: now() };
    let leases = lease::read_all(run, view).unwrap_or_default();
    let disk = own.work_dir().map(|work| work.filesystem);
    let holders = disk.map(|disk| holders::top(report, disk, &leases, HOLDERS)).unwrap_or_default();
    Warning::of_disk(met, report, &holders)
}

/// What runs, for the lease and the journal. The text comes from the job: bounded here, escaped wherever it is shown.
fn job() -> Job {
    let text = |name: &str| {
        let value = std::env::var(name).unwrap_or_default();
        value.chars().take(256).collect::<String>()
    };
    Job {
        repository: text(environment::REPOSITORY),
        run_id: text(environment::RUN_ID),
        job: text(environment::JOB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn every_abnormal_end_is_described_in_words() {
        for (end, said) in [
            (WorkerEnd::TimedOut(Duration::from_secs(70)), "took longer than 70 s"),
            (WorkerEnd::Signalled(Signal::SIGTERM), "terminated (SIGTERM)"),
            (WorkerEnd::Died(Some(Signal::SIGKILL)), "ended by SIGKILL"),
            (WorkerEnd::Died(None), "ended before it was done"),
            (WorkerEnd::Orphaned, "do not run it in the background"),
            (WorkerEnd::GivenUp, "ended before it was done"),
        ] {
            assert!(in_words(end).contains(said), "{said}");
        }
    }

    #[test]
    fn a_warning_states_that_the_job_continues() {
        let mut annotation = Vec::new();
        goes_on("It is broken").write(&mut annotation).unwrap();
        let annotation = String::from_utf8(annotation).unwrap();
        assert!(annotation.starts_with("::warning"), "{annotation}");
        assert!(annotation.contains("It is broken. The job continues."), "{annotation}");
    }
}
