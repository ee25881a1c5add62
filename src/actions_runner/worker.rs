//! What a Worker's log contains (src/Runner.Worker: Program.cs, Worker.cs, JobRunner.cs; src/Runner.Common/HostContext.cs).

use super::log::LogEntry;

/// An event of the Worker's job in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerEvent<'l> {
    /// The job has ended, and the Worker with it.
    Completed,
    /// A message to cancel the job, or to shut down, was received.
    Cancelled,
    /// The runner is asked to shut down.
    Shutdown,
    /// A process of a step was killed.
    StepKilled,
    /// The job's id.
    JobId(&'l str),
    /// The end of the job is being reported to the service.
    Reporting,
    /// The result, as the runner writes it.
    Result(&'l str),
}

impl<'l> WorkerEvent<'l> {
    /// The event in `line`, if it is about the job.
    pub fn of(line: &LogEntry<'l>) -> Option<Self> {
        let message = line.message;
        match line.source {
            "Worker" if message == "Job completed." => Some(Self::Completed),
            "Worker" if message.starts_with("Cancellation/Shutdown message received") => {
                Some(Self::Cancelled)
            }
            "HostContext" if message.starts_with("Runner will be shutdown for ") => Some(Self::Shutdown),
            "JobRunner" => Self::of_job_runner(message),
            // src/Runner.Sdk/ProcessInvoker.cs
            source if source.starts_with("ProcessInvoker") => {
                let ended = message.strip_prefix("Finished process ")?;
                ended.contains(" with exit code 137,").then_some(Self::StepKilled)
            }
            _ => None,
        }
    }

    fn of_job_runner(message: &'l str) -> Option<Self> {
        if let Some(id) = message.strip_prefix("Job ID ") {
            return Some(Self::JobId(id.trim()));
        }
        if message.starts_with("Raising job completed") {
            return Some(Self::Reporting);
        }
        let (_, result) = message.strip_prefix("Job result after all ")?.split_once("steps finish: ")?;
        Some(Self::Result(result))
    }
}

/// Whether this is one of the first lines of a Worker.
pub fn begins(line: &LogEntry<'_>) -> bool {
    let first = ["Version: ", "Waiting to receive the job message"];
    line.source == "HostContext"
        || (line.source == "Worker" && first.iter().any(|start| line.message.starts_with(start)))
}
