//! Names in a runner's directory and in its work directory.

use std::ffi::CStr;

/// The program that waits for jobs; also the name of its process.
pub const LISTENER: &str = "Runner.Listener";

/// The program that runs a job; also the name of its process (15 bytes, as many as the kernel keeps).
pub const WORKER: &str = "Runner.Worker";

/// The runner's settings.
pub const SETTINGS: &str = ".runner";

/// The same, for system calls.
pub const SETTINGS_FILE: &CStr = c".runner";

/// Variables that the Listener adds to its environment.
pub const ENV: &str = ".env";

/// The name of the runner's unit, written by `svc.sh install`.
pub const SERVICE: &str = ".service";

/// The programs: a directory, after a self-update a link to `bin.VERSION`.
pub const BIN: &str = "bin";

/// Node and other tools, in the same way.
pub const EXTERNALS: &str = "externals";

/// The logs.
pub const DIAG: &str = "_diag";

/// Below it: parts of a job's log that are not uploaded yet.
pub const PAGES: [&str; 2] = ["pages", "blocks"];

/// The work directory, unless the settings name another.
pub const WORK: &str = "_work";

/// In the work directory: actions that jobs use.
pub const ACTIONS: &str = "_actions";

/// Tools of the setup actions.
pub const TOOLS: &str = "_tool";

/// `RUNNER_TEMP`, wiped before each job.
pub const TEMP: &str = "_temp";

/// A self-update that is being unpacked.
pub const UPDATE: &str = "_update";

/// Which directory belongs to which repository: `OWNER/REPOSITORY/PipelineFolder.json`.
pub const MAPPING: &str = "_PipelineMapping";

/// The file of one repository there.
pub const MAPPING_FILE: &str = "PipelineFolder.json";

/// Whether the path of an executable ends in the Worker's program.
pub fn is_worker(executable: &[u8]) -> bool {
    executable.strip_suffix(WORKER.as_bytes()).is_some_and(|rest| rest.ends_with(b"/"))
}
