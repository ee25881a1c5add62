//! Environment variables of the runner: those that it reads, and those that a job's hooks get.

/// The variables that name job hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookVariable {
    /// `ACTIONS_RUNNER_HOOK_JOB_STARTED`
    JobStarted,
    /// `ACTIONS_RUNNER_HOOK_JOB_COMPLETED`
    JobCompleted,
}

impl HookVariable {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::JobStarted, Self::JobCompleted];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobStarted => "ACTIONS_RUNNER_HOOK_JOB_STARTED",
            Self::JobCompleted => "ACTIONS_RUNNER_HOOK_JOB_COMPLETED",
        }
    }
}

/// Packages of the runner install its program once for all runners, and this variable names each runner's root (nixpkgs).
pub const ROOT: &str = "RUNNER_ROOT";

/// `owner/name` of the job's repository.
pub const REPOSITORY: &str = "GITHUB_REPOSITORY";

/// The number of the workflow run.
pub const RUN_ID: &str = "GITHUB_RUN_ID";

/// The job's id in its workflow.
pub const JOB: &str = "GITHUB_JOB";

/// The checkout's directory.
pub const WORKSPACE: &str = "GITHUB_WORKSPACE";

/// Variables that name a directory in the work directory.
pub const PLACES: [&str; 3] = [WORKSPACE, "RUNNER_WORKSPACE", "RUNNER_TEMP"];
