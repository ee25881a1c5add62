//! What a Listener's log contains about jobs (src/Runner.Listener/JobDispatcher.cs, src/Runner.Common/HostContext.cs,
//! src/Runner.Sdk/ProcessInvoker.cs).
//!
//! Many lines name a job between fixed words. Such a form is a pair: the text before the job's id and the text after it.

use super::layout;
use super::log::LogEntry;

/// The text before a job's id in a line, and the text after it.
pub type Form = (&'static str, &'static str);

const RENEWAL_FAILED: Form = ("Unable to renew job request for job ", " for the first time");
const RENEWAL_STOPPED: Form = ("Stop renew job request for job ", ".");
const DISPATCH_FAILED: Form = ("Worker Dispatch failed with an exception for job request ", ".");

/// The Worker has ended; its exit code follows.
pub const WORKER_FINISHED: Form = ("Worker finished for job ", ". Code: ");

/// The job's result is reported; the result follows.
pub const RESULT_REPORTED: Form = ("finish job request for job ", " with result: ");

/// The Listener stops its Worker.
pub const STOPS: &[Form] = &[
    ("worker process for job ", " haven't exit within cancellation timout"),
    ("Job cancel message sending for job ", ""),
    ("Job request message sending for job ", " been cancelled"),
];

/// The job is cancelled.
pub const CANCELLED: &[Form] = &[
    ("Job cancellation request ", " received"),
    ("We are not yet checking the state of jobrequest ", " status. Cancel"),
    ("Catch job-not-found exception while checking jobrequest ", ""),
    ("Catch exception while checking jobrequest ", ""),
    ("Received job request while previous job ", " still running"),
    ("Send job cancellation message to worker for job ", "."),
];

/// The runner ends, and the job with it.
pub const SHUT_DOWN: &[Form] =
    &[("Ensure WorkerDispatcher for job ", " run to finish, cancel any running job")];

/// The job's lease could never be renewed.
pub const NEVER_RENEWED: &[Form] = &[RENEWAL_FAILED];

/// The Listener has finished with the job.
pub const CLOSED: &[Form] = &[
    RENEWAL_STOPPED,
    ("Job request ", " processed succeed."),
    DISPATCH_FAILED,
    ("Catching worker dispatch exception for job request ", ""),
    RENEWAL_FAILED,
];

/// The beginnings of lines that report: the service no longer knows the job's lease.
const CONTACT_LOST: [&str; 3] = [
    "TaskAgentJobNotFoundException received when renew job ",
    "TaskAgentJobTokenExpiredException received renew job request ",
    "Lock renewal has run out of retry",
];

/// The lease could not be renewed this time.
const RENEWAL_TROUBLE: [&str; 2] =
    ["Catch exception during renew runner job", "Retrying lock renewal for job"];

/// Written by a runner that is a container's only process when GitHub assigned it a job that no longer existed; it may wait for ever
/// after that.
pub const JOB_GONE: &str = "Job message not found";

/// Written by such a runner when it gets an existing job.
pub const AT_WORK: [&str; 2] = ["Running job", "Job request "];

fn begins(message: &str, words: &[&str]) -> bool {
    words.iter().any(|words| message.starts_with(words))
}

/// Whether the service no longer knows the job's lease.
pub fn loses_contact(message: &str) -> bool {
    begins(message, &CONTACT_LOST)
}

/// Whether the lease could not be renewed this time.
pub fn has_renewal_trouble(message: &str) -> bool {
    begins(message, &RENEWAL_TROUBLE)
}

/// Whether a message of a job is skipped.
pub fn skips_message(message: &str) -> bool {
    message.starts_with("Skipping message Job")
}

/// The text after a job's id in a line of this form.
pub fn behind<'l>(message: &'l str, form: Form, id: &str) -> Option<&'l str> {
    message.strip_prefix(form.0)?.strip_prefix(id)?.strip_prefix(form.1)
}

/// An event of a job in a line.
#[derive(Debug, PartialEq, Eq)]
pub enum JobEvent<'l> {
    /// A job of this id was received.
    Received(&'l str),
    /// A job's lease was renewed: one is in progress.
    GoesOn,
    /// The job of this id has ended.
    Ended(&'l str),
}

impl<'l> JobEvent<'l> {
    /// The event in a `message` of the dispatcher.
    pub fn of(message: &'l str) -> Option<Self> {
        if let Some(rest) = message.strip_prefix("Job request ") {
            if let Some(request) = rest.strip_suffix(" received.") {
                return Some(Self::Received(request.rsplit_once(" job ")?.1));
            }
            return rest.strip_suffix(" processed succeed.").map(Self::Ended);
        }
        if message.starts_with("Successfully renew job ") || message.starts_with(RENEWAL_STARTS) {
            return Some(Self::GoesOn);
        }
        [WORKER_FINISHED, RESULT_REPORTED, RENEWAL_STOPPED, RENEWAL_FAILED, DISPATCH_FAILED]
            .iter()
            .find_map(|(before, after)| Some(message.strip_prefix(before)?.split_once(after)?.0))
            .map(Self::Ended)
    }
}

const RENEWAL_STARTS: &str = "Start renew job request ";

/// The job with the first renewed lease.
pub fn renewal_starts(message: &str) -> Option<Option<&str>> {
    let rest = message.strip_prefix(RENEWAL_STARTS)?;
    Some(rest.split_once(" for job ").map(|(_, id)| id.trim_end_matches('.')))
}

/// Number and id of a request that was received.
pub fn received(message: &str) -> Option<(&str, &str)> {
    let request = message.strip_prefix("Job request ")?.strip_suffix(" received.")?;
    let (request, id) = request.rsplit_once(" job ")?;
    Some((request.split(' ').next().unwrap_or_default(), id))
}

/// `... renew job request 31886, ...`, `... jobrequest 31886.`: requests to services of the old kind.
pub fn names_request(message: &str, request: &str) -> bool {
    let words = ["renew job request ", "jobrequest "];
    words.iter().any(|word| {
        let rest = message.split_once(word).and_then(|(_, rest)| rest.strip_prefix(request));
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_hexdigit() || c == '-'))
    })
}

/// Whether the runner was asked to shut down.
pub fn is_shutdown(line: &LogEntry<'_>) -> bool {
    match line.source {
        "HostContext" => line.message.starts_with("Runner will be shutdown for "),
        "Runner" => begins(line.message, &["Received Ctrl-C signal", "Received Ctrl-Break signal"]),
        _ => false,
    }
}

/// Whether this is the first line of a Listener (src/Runner.Listener/Program.cs).
pub fn is_start(line: &LogEntry<'_>) -> bool {
    line.source == "Listener" && line.message.starts_with("Runner is built for ")
}

/// An event of a process that the Listener runs.
#[derive(Debug, PartialEq, Eq)]
pub enum ProcessEvent<'l> {
    /// A process is about to be started, the Worker or another one.
    Starts {
        /// Whether it is the Worker.
        is_worker: bool,
    },
    /// It runs, with this pid if that can be read.
    Started(Option<i32>),
    /// It has ended: its pid, and its exit code if that can be read.
    Ended(&'l str, Option<i32>),
}

impl<'l> ProcessEvent<'l> {
    /// The event in a `message` of the process invoker.
    pub fn of(message: &'l str) -> Option<Self> {
        let message = message.trim();
        if let Some(file) = message.strip_prefix("File name: '") {
            let file = file.strip_suffix('\'').unwrap_or_default();
            return Some(Self::Starts { is_worker: layout::is_worker(file.as_bytes()) });
        }
        if let Some(rest) = message.strip_prefix("Process started with process id ") {
            return Some(Self::Started(rest.split(',').next().and_then(|pid| pid.parse().ok())));
        }
        let (pid, rest) = message.strip_prefix("Finished process ")?.split_once(" with exit code ")?;
        Some(Self::Ended(pid, rest.split(',').next().and_then(|code| code.trim().parse().ok())))
    }
}
