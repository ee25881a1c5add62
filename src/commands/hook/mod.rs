//! `hook started` and `hook completed`: run by a runner, before and after a job, as the runner's user.
//!
//! A hook never fails a job by a fault of its own, and never hangs one: an error is a warning and exit 0, a panic is caught,
//! every wait is bounded, and a watchdog ends the process when all of that was not enough. Only a configured refusal exits
//! with 1. Everything that a hook prints is parsed by the runner: it goes through the job log's escapes.
//!
//! On a healthy disk a hook reads its ancestry and `.runner`, takes the lock shared, writes its lease, asks the work
//! directory's filesystem how full it is, and is done: no scan of the process table, no walk.

mod completed;
mod identify;
mod started;

use super::witness::Narrator;
use super::{load, now};
use crate::cli::{Cli, HookCommand};
use crate::config::Config;
use crate::lease;
use crate::model::ledger::Scope;
use crate::model::{Job, RunReport, Runner};
use crate::policy::holders;
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::job_log::{JobLog, Met, Warning};
use crate::report::journal::{self, Sink};
use crate::run_dir::RunDir;
use crate::sys::deadline::Watchdog;
use crate::sys::process::Proc;
use completed::completed;
use identify::{Own, identify};
use started::Started;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// What the watchdog adds to `hook.time_limit`: the cycle stops by itself before.
const GRACE: Duration = Duration::from_secs(10);

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

fn request_name(runner: &Runner) -> String {
    format!("{:x}-{:x}", runner.root_id.dev, runner.root_id.ino)
}

/// Holders that an annotation names.
const HOLDERS: usize = 3;

/// The host's disk is the cause, and these runners hold it.
fn disk_warning(met: Met<'_>, run: &RunDir, proc: &Proc, own: &Runner, report: &RunReport) -> Warning {
    let view = lease::View { proc, is_whole: false, now: now() };
    let leases = lease::read_all(run, view).unwrap_or_default();
    let disk = own.work_dir().map(|work| work.filesystem);
    let holders = disk.map(|disk| holders::top(report, disk, &leases, HOLDERS)).unwrap_or_default();
    Warning::of_disk(met, report, &holders)
}

/// What runs, for the lease and the journal. Text of the job's choosing: bounded here, escaped wherever it is shown.
fn job() -> Job {
    let text = |name: &str| {
        let value = std::env::var(name).unwrap_or_default();
        value.chars().take(256).collect::<String>()
    };
    Job { repository: text("GITHUB_REPOSITORY"), run_id: text("GITHUB_RUN_ID"), job: text("GITHUB_JOB") }
}
