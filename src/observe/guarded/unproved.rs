//! Why it is not proved that a runner's jobs run our started-hook.

use super::STARTED_VARIABLE;
use crate::model::Pid;
use crate::observe::hook_script::HookScriptError;
use crate::observe::processes::SightError;
use crate::sys::process::LookError;
use std::io;
use std::sync::Arc;

/// The reason, as text that follows the runner's name.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Unproved {
    #[error("its `.env` cannot be read: {0}")]
    Env(Arc<io::Error>),
    #[error("its `.env` cannot be read: {0}")]
    Encoding(&'static str),
    #[error("its root cannot be examined: {0}")]
    Root(Arc<io::Error>),
    #[error(
        "its root was created or changed after the Listener pid {pid} was started, which now belongs to {root}, outside of every \
         glob: if it was started here it has not read this `.env`"
    )]
    RootIsNewer { pid: Pid, root: String },
    #[error(
        "no job of its Listener (pid {0}) has run our hook yet, and whether the Listener has read its `.env` cannot be determined: \
         the clock was set"
    )]
    ClockWasSet(Pid),
    #[error(
        "its `.env` is newer than its Listener (pid {0}), which reads it only when it starts: restart it"
    )]
    EnvIsNewer(Pid),
    #[error("its Listener's environment cannot be read: {0}")]
    Environment(Arc<LookError>),
    #[error("its Listener (pid {pid}) does not see our {run}: {why}; its jobs meet another lock than ours")]
    OtherView { pid: Pid, run: String, why: Arc<SightError> },
    #[error("its `.env` names {value:?}, and every job fails of it: {why}")]
    FailsEveryJob { value: String, why: &'static str },
    #[error("its `.env` unsets {}", STARTED_VARIABLE)]
    Unset,
    #[error("it has no `.env`, so no {}", STARTED_VARIABLE)]
    NoEnv,
    #[error("its `.env` names no {}", STARTED_VARIABLE)]
    NotNamed,
    #[error("its started-hook {hook} {doubt}")]
    Hook { hook: String, doubt: Arc<HookDoubt> },
}

/// Why a script is not proved to run our hook, as text that follows the script's name.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookDoubt {
    #[error("is on {0}, where other hosts may change it: keep it on a disk of this host")]
    Shared(String),
    #[error(transparent)]
    Script(#[from] HookScriptError),
    #[error("has {config} for its configuration: {fault}")]
    Config { config: String, fault: ConfigFault },
    #[error("has {config} for its configuration, where paths.run_dir is {theirs} and not {ours}")]
    OtherRunDir { config: String, theirs: String, ours: String },
}

/// Why `paths.run_dir` cannot be read from a configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigFault {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("it is not a regular file")]
    NotRegular,
    #[error("{0}")]
    Syntax(String),
}
