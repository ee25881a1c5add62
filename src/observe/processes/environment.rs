//! The one thing that is ever read of another process's environment: whether a Listener was started with a job hook.
//!
//! Environments and command lines hold credentials. Nothing else of them leaves this file, and nothing of them is logged.

use crate::model::ProcessId;
use crate::sys::process::{LookError, Proc};
use crate::sys::process_dir::Processes;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;

/// More than the kernel lets one string have, and far more than a Listener's environment.
const LIMIT: u64 = 1 << 20;

/// The variables that may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookVariable {
    /// `ACTIONS_RUNNER_HOOK_JOB_STARTED`
    JobStarted,
    /// `ACTIONS_RUNNER_HOOK_JOB_COMPLETED`
    JobCompleted,
}

impl HookVariable {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::JobStarted => "ACTIONS_RUNNER_HOOK_JOB_STARTED",
            Self::JobCompleted => "ACTIONS_RUNNER_HOOK_JOB_COMPLETED",
        }
    }
}

/// The value of one hook variable in the environment that `process` was started with; `None` when it is not set.
///
/// # Errors
/// [`LookError`]: `Gone` when exactly this process does not run any more, `Hidden` when its environment cannot be read whole.
pub fn environ_names_hook(
    proc: &Proc,
    process: ProcessId,
    variable: HookVariable,
) -> Result<Option<OsString>, LookError> {
    let hidden = |source| LookError::Hidden { pid: process.pid, source };
    let dir = Processes::open(proc).map_err(hidden)?.process(process.pid)?;
    if dir.identify()?.id != process {
        return Err(LookError::Gone(process.pid));
    }
    let mut environment = Vec::new();
    dir.read(c"environ", LIMIT, &mut environment)?;
    if environment.is_empty() {
        // Also what a process that is just being executed or torn down shows.
        return Err(hidden(io::Error::other("it shows no environment")));
    }
    Ok(value_in(&environment, variable).map(OsStr::to_owned))
}

/// The variable's value in an environment as `/proc/PID/environ` shows it. The first entry of a name counts, as for getenv(3).
pub(crate) fn value_in(environment: &[u8], variable: HookVariable) -> Option<&OsStr> {
    environment.split(|&byte| byte == 0).find_map(|entry| {
        entry.strip_prefix(variable.name().as_bytes())?.strip_prefix(b"=").map(OsStr::from_bytes)
    })
}
