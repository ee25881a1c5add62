//! Verbs on a host with mounts of other hosts or programs. Such a mount may stop answering in the middle of a walk, and a process that
//! waits for it cannot be killed. So the verb runs in a worker, and its supervisor checks every few seconds that the mounts which the
//! worker has entered still answer, and that the worker does not wait for one. Otherwise the supervisor abandons the worker and starts
//! another, which reports the mount and continues with the other runners. What a sweep has done until then remains done.
//!
//! `status --watch` restarts as often as that happens, on the same terminal, and lists such mounts.
//!
//! Without such mounts, and for verbs that enter none, there is no second process.

use super::complain;
use crate::cli::{Cli, Command};
use crate::report::exit::Exit;
use crate::report::stream::UNWRITTEN;
use crate::sys::reach::{self, Remotes};
use crate::sys::supervise::{Stuck, Supervisor, WorkerEnd, end_by};
use crate::terminal::{Terminal, is_for_a_person};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How often a verb is started. Each time it enters one mount less.
const ATTEMPTS: usize = 4;

/// Longer than any verb takes: each has limits of its own.
const LIMIT: Duration = Duration::from_secs(30 * 86_400);

/// Runs the verb.
pub(super) fn run(cli: &Cli, verb: impl Fn() -> Exit) -> ExitCode {
    if !cli.command.enters_mounts() {
        return verb().into();
    }
    let remotes = Arc::new(Remotes::of_this_host());
    if remotes.is_empty() {
        return verb().into();
    }
    let is_watch = matches!(cli.command, Command::Status { watch: true, html: None, .. });
    let has_screen =
        is_watch && matches!(cli.command, Command::Status { json: false, .. }) && is_for_a_person();
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
        let (mut silent, mut stuck) = (None, Stuck::default());
        let of_worker = Arc::clone(&remotes);
        let end = supervisor.run_until(
            LIMIT,
            |link| {
                reach::tell_of_entries(move |point| {
                    of_worker.bit_of(point).into_iter().for_each(|bit| link.mark(bit));
                });
                Some(verb().code())
            },
            &mut |worker| {
                let asked = remotes.silent(|bit| link.has(bit));
                // One that answers these questions, but not the worker.
                let waited_for = || {
                    let mount = stuck.on(worker).iter().find_map(|place| remotes.around(place))?;
                    reach::leave_out(mount);
                    Some(mount)
                };
                silent = asked.or_else(waited_for).map(ToOwned::to_owned);
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
