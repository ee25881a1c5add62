//! Verbs on a host with mounts of other hosts or programs: such a mount may answer at first and fall silent in the middle of a walk,
//! and a process that waits for it is beyond every signal. So the verb is a worker's, and its supervisor asks the mounts that were
//! entered every few seconds. When one is silent, the worker is left behind and another begins anew: it finds that the mount does
//! not answer, says so, and goes on with the other runners. What a sweep has done until then stays done.
//!
//! `status --watch` begins anew as often as that happens, on the same terminal; what does not answer stands among its runners.
//!
//! Where there are no such mounts, and for verbs that do not walk, there is no second process.

use super::complain;
use super::output::UNWRITTEN;
use super::watch::{self, Terminal};
use crate::cli::{Cli, Command};
use crate::report::exit::Exit;
use crate::sys::reach::{self, Remotes};
use crate::sys::supervise::{Supervisor, WorkerEnd, end_by};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How often a verb begins anew. Each time there is one mount less that it enters.
const ATTEMPTS: usize = 4;

/// No verb takes so long; what limits it is its own.
const LIMIT: Duration = Duration::from_secs(30 * 86_400);

/// Whether a verb walks what mounts may hold.
fn walks(command: &Command) -> bool {
    matches!(
        command,
        Command::Status { .. }
            | Command::Sweep { .. }
            | Command::Plan { .. }
            | Command::Audit { .. }
            | Command::Check(_)
            | Command::Doctor { .. }
            | Command::Metrics
            | Command::Forecast { .. }
            | Command::Postmortem { .. }
            | Command::Remediate(_)
            | Command::Trim { .. }
    )
}

/// Runs the verb.
pub(super) fn run(cli: &Cli, verb: impl Fn() -> Exit) -> ExitCode {
    if !walks(&cli.command) {
        return verb().into();
    }
    let remotes = Arc::new(Remotes::of_this_host());
    if remotes.is_empty() {
        return verb().into();
    }
    let is_watch = matches!(cli.command, Command::Status { watch: true, html: None, .. });
    let has_screen =
        is_watch && matches!(cli.command, Command::Status { json: false, .. }) && watch::is_for_a_person();
    let Ok(terminal) = has_screen.then(Terminal::take).transpose() else { return verb().into() };
    let Ok(mut supervisor) = Supervisor::new() else { return verb().into() };
    if !is_watch {
        // A sweep may go on when the shell that has started it is gone.
        supervisor.outlive_parent();
    }
    let link = supervisor.link();
    let attempts = if is_watch { usize::MAX } else { ATTEMPTS };
    for attempt in 1..=attempts {
        link.clear();
        let mut silent = None;
        let of_worker = Arc::clone(&remotes);
        let end = supervisor.run_until(
            LIMIT,
            |link| {
                reach::tell_of_entries(move |point| {
                    of_worker.bit_of(point).into_iter().for_each(|bit| link.mark(bit));
                });
                Some(verb().code())
            },
            &mut || {
                silent = remotes.silent(|bit| link.has(bit)).map(ToOwned::to_owned);
                silent.is_some()
            },
        );
        if !matches!(end, Ok(WorkerEnd::Proper(_))) {
            terminal.iter().for_each(Terminal::leave_screen);
        }
        match end {
            Ok(WorkerEnd::Proper(code)) => {
                let Some(error) = supervisor.refused_output() else { return code.into() };
                complain(&format_args!("{UNWRITTEN}: {error}"));
                return Exit::Error.into();
            }
            Ok(WorkerEnd::Signalled(signal) | WorkerEnd::Died(Some(signal))) => {
                drop(terminal);
                end_by(signal)
            }
            Ok(WorkerEnd::GivenUp) if has_screen => {}
            Ok(WorkerEnd::GivenUp) => {
                let what = silent.unwrap_or_default();
                let then =
                    if attempt < attempts { "the run restarts without it" } else { "the run is given up" };
                complain(&format_args!(
                    "{} stopped answering while it was read: {then}; restore its server, or run `umount -l` on it",
                    what.display()
                ));
            }
            Ok(WorkerEnd::Died(None) | WorkerEnd::TimedOut(_) | WorkerEnd::Orphaned) => {
                return Exit::Error.into();
            }
            Err(_) => return verb().into(),
        }
    }
    Exit::Error.into()
}
