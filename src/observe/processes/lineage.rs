//! Which runner's job this very process runs for: by ancestry, never by environment variables, which a job can set.
//!
//! The nearest ancestor with an executable `<root>/bin*/Runner.Worker` decides. A job can put such a file anywhere; the caller checks
//! whether `<root>` is one of the administrator's roots.

use super::attribution::{Whose, by_listener, implied_root, is_program};
use super::environment;
use super::executable::{self, LISTENER, WORKER};
use crate::actions_runner::layout;
use crate::model::{Pid, ProcessId};
use crate::sys::process::{Identity, LookError, Proc};
use crate::sys::process_dir::{ProcessDir, Processes};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// No real chain is as long: `systemd`, `runsvc.sh`, `node`, Listener, Worker, `bash`, a script, this process.
pub(super) const DEPTH: usize = 64;

/// The runner that this process works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRunner {
    /// Its root directory, according to its Worker's executable.
    pub root: PathBuf,
    /// Its Worker.
    pub worker: ProcessId,
    /// Whether its Listener's environment named the root, since its program is elsewhere. Then the root must be our own user's.
    pub is_packaged: bool,
    /// Its Worker's parent, which is its Listener unless that has ended.
    pub listener: Option<ProcessId>,
    /// This process, its ancestors up to the Worker, and the Worker's parent, its Listener: all belong to the job.
    pub lineage: Vec<ProcessId>,
}

/// Why our own runner is unknown.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// No ancestor is a Worker: not run by a job.
    #[error("none of the {ancestors} ancestors of this process is a Runner.Worker")]
    NoWorker {
        /// How many there are.
        ancestors: usize,
    },
    /// An ancestor is named like a Worker and its executable is another one, or is hidden.
    #[error(
        "process {worker} is named Runner.Worker, but its executable does not identify a runner: {reason}"
    )]
    Unclear {
        /// Which.
        worker: Pid,
        /// The reason.
        reason: String,
    },
    /// The chain of parents does not end.
    #[error("this process has more than {DEPTH} ancestors")]
    TooDeep,
    /// A parent is younger than its child: it ended, and its pid was reused during the look.
    #[error("the parent of process {child} ended meanwhile")]
    Changed {
        /// The process whose parent was looked for.
        child: Pid,
    },
    /// The procfs does not show this process.
    #[error("this process cannot be found in {}: {source}", proc.display())]
    NotShown {
        /// Where it was looked for.
        proc: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// An ancestor cannot be read.
    #[error(transparent)]
    Look(#[from] LookError),
}

/// Finds our own runner. Two small reads for each ancestor. With `whose`, a Worker whose program is in a package is attributed by its
/// Listener, too, among those runners.
///
/// # Errors
/// [`LineageError`]; every one means that nothing may be pruned on behalf of a job.
pub fn own_runner(proc: &Proc, whose: Option<Whose<'_>>) -> Result<OwnRunner, LineageError> {
    let not_shown = |source| LineageError::NotShown { proc: proc.root().to_owned(), source };
    let processes = Processes::open(proc).map_err(not_shown)?;
    let own = own_pid(proc).map_err(not_shown)?;
    let mut lineage: Vec<ProcessId> = Vec::with_capacity(16);
    let mut next = own;
    // The parent of pid 1, and of a process started from another pid namespace, is 0.
    while next.0 > 0 {
        if lineage.len() == DEPTH {
            return Err(LineageError::TooDeep);
        }
        // Nothing else is asked about this process.
        let dir = if next == own { None } else { Some(processes.process(next)?) };
        let identity = dir.as_ref().map_or_else(|| processes.identify(next), ProcessDir::identify)?;
        if let Some(child) = lineage.last()
            && identity.id.start > child.start
        {
            return Err(LineageError::Changed { child: child.pid });
        }
        lineage.push(identity.id);
        if let Some(dir) = dir {
            let exe = executable::program(&dir);
            let packaged = exe.as_ref().ok().and_then(|exe| {
                packaged_root(&processes, &dir, exe, &identity).or_else(|| {
                    let whose = whose.filter(|_| is_program(exe, WORKER))?;
                    let runner = by_listener(&processes, &dir, exe, whose).ok()??;
                    Some(whose.runners[runner].root.clone())
                })
            });
            let root = match packaged {
                Some(root) => Some((root, true)),
                None => is_worker(&identity, exe)?.map(|root| (root, false)),
            };
            if let Some((root, is_packaged)) = root {
                // A Worker whose Listener has ended is still a Worker.
                let listener = processes.identify(identity.parent);
                let listener = listener.ok().map(|listener| listener.id);
                // A parent that is younger than its child has the reused pid of a Listener that has ended.
                let listener = listener.filter(|listener| listener.start <= identity.id.start);
                lineage.extend(listener);
                return Ok(OwnRunner { root, worker: identity.id, is_packaged, listener, lineage });
            }
        }
        next = identity.parent;
    }
    Err(LineageError::NoWorker { ancestors: lineage.len().saturating_sub(1) })
}

/// The root of this Worker's runner, when its program is elsewhere: from its Listener's environment.
fn packaged_root(
    processes: &Processes,
    dir: &ProcessDir,
    exe: &[u8],
    identity: &Identity,
) -> Option<PathBuf> {
    let is_in_a_runner = implied_root(exe, WORKER)
        .is_some_and(|root| PathBuf::from(OsStr::from_bytes(root)).join(layout::SETTINGS).exists());
    if is_in_a_runner || !is_program(exe, WORKER) {
        return None;
    }
    let root = environment::runner_root(dir)?;
    let parent = processes.process(identity.parent).ok();
    let listener =
        parent.filter(|parent| executable::program(parent).is_ok_and(|exe| is_program(&exe, LISTENER)));
    // A job can write `.env`, and with that its Worker's environment; its Listener's comes from its unit.
    let is_told = listener.is_none_or(|listener| environment::runner_root(&listener).as_ref() == Some(&root));
    is_told.then_some(root)
}

/// Our pid as the procfs counts.
pub(super) fn own_pid(proc: &Proc) -> io::Result<Pid> {
    let link = std::fs::read_link(proc.root().join("self"))?;
    let pid = link.to_str().and_then(|text| text.parse().ok()).filter(|pid| *pid > 0);
    pid.map(Pid).ok_or_else(|| io::Error::other("its `self` names no process"))
}

/// The root of this Worker's runner, if it is a Worker.
fn is_worker(identity: &Identity, exe: Result<Vec<u8>, LookError>) -> Result<Option<PathBuf>, LineageError> {
    let by_name = identity.comm.as_bytes() == WORKER;
    let unclear = |reason| LineageError::Unclear { worker: identity.id.pid, reason };
    match exe {
        Ok(exe) => match implied_root(&exe, WORKER) {
            Some(root) => Ok(Some(PathBuf::from(OsStr::from_bytes(root)))),
            None if by_name => Err(unclear(format!("it is {}", String::from_utf8_lossy(&exe)))),
            None => Ok(None),
        },
        // Of an ancestor that runs as another user (sudo, the service manager) only the name is visible.
        Err(error) if by_name => Err(unclear(error.to_string())),
        Err(_) => Ok(None),
    }
}
