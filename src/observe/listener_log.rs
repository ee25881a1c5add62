//! The Listener's own log, as evidence about a job that has no Worker yet.
//!
//! Between the Listener receiving a job and its Worker existing there are seconds, up to about a minute, in which only this log shows the
//! job. It is read by handle and only its tail: links and FIFOs are refused, and no cost grows with the log.
//!
//! Lines count only with the runner's own prefix, `[2026-01-02 03:04:05Z INFO JobDispatcher] `, and only from the component that
//! dispatches jobs (src/Runner.Listener/JobDispatcher.cs, v2.336.0). A job's display name reaches the log through the component
//! `Terminal`, which is ignored. A line break in it could forge a prefix, but the end of a job counts only with the job id, which is
//! unknown when a name is chosen.
//!
//! Before a job is received it is acknowledged, and then acquired, which can take minutes (src/Runner.Listener/Runner.cs and
//! BrokerMessageListener.cs, v2.336.0): from the acknowledgement on it counts as expected. If it cannot be acquired, the component
//! `Runner` logs that, and jobs cannot influence those lines. A service that asks for no acknowledgement sends a message all the same:
//! whether that is a job's is not logged before the job is acquired, so it counts as one until a line says what it was.
//!
//! A log is continued in a new file after 8 MB. While a job runs its lease is renewed, and logged, every minute: a tail without any such
//! line means no job, except right after a file was begun; then the one before it is read too.

use super::diag_log::{self, LogEntry, LogKind};
use crate::actions_runner::layout;
use crate::actions_runner::listener::JobEvent;
use crate::sys::dir::{Dir, changed};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::SystemTime;

/// How much of a log's end is read.
const TAIL: u64 = 512 << 10;

/// The state of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PendingJob {
    /// Every job in it has ended.
    None,
    /// There is no log: no Listener has run here.
    NoLog,
    /// A job was received and has not ended. A killed Listener also leaves this: compare with the start of the running one.
    Received {
        /// The line, without its prefix, for people. Escape it before printing.
        detail: String,
        /// When.
        at: Option<SystemTime>,
        /// When the log was last written to, or otherwise changed.
        written: Option<SystemTime>,
    },
}

/// Why the log could not be read; the runner's state is then unknown.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `_diag` could not be opened.
    #[error("the directory _diag cannot be read: {source}")]
    Directory {
        /// The system's error.
        source: io::Error,
    },
    /// The newest log could not be read.
    #[error("the log _diag/{} cannot be read: {source}", name.display())]
    Log {
        /// Which.
        name: OsString,
        /// The system's error.
        source: io::Error,
    },
}

/// Whether the Listener of the runner at `root` has received a job that it has not finished.
///
/// # Errors
/// [`LogError`].
pub fn pending_job(root: &Dir) -> Result<PendingJob, LogError> {
    let directory = |source| LogError::Directory { source };
    let diag = match root.descend(layout::DIAG) {
        Ok(diag) => diag,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PendingJob::NoLog),
        Err(error) => return Err(directory(error)),
    };
    let mut logs = diag_log::newest(&diag, LogKind::Listener, 2).map_err(directory)?.into_iter();
    let Some(newest) = logs.next() else { return Ok(PendingJob::NoLog) };
    let mut written = written_at(&diag, &newest);
    let (mut story, whole) = read(&diag, newest)?;
    if whole
        && story.is_silent()
        && !story.begins_a_process
        && let Some(previous) = logs.next()
    {
        written = written_at(&diag, &previous);
        (story, _) = read(&diag, previous)?;
    }
    Ok(match story.pending() {
        PendingJob::Received { detail, at, .. } => PendingJob::Received { detail, at, written },
        none => none,
    })
}

/// When anything about a log last changed.
fn written_at(diag: &Dir, name: &OsStr) -> Option<SystemTime> {
    let metadata = diag.open_file(name).and_then(|file| file.metadata()).ok()?;
    Some(metadata.modified().ok()?.max(changed(&metadata)))
}

/// The content of one log by itself.
#[cfg(any(test, fuzzing))]
pub(crate) fn pending_in(log: &[u8]) -> PendingJob {
    LogState::read(&diag_log::Tail { bytes: log.to_vec(), is_whole: true }).pending()
}

/// The state of a log, and whether all of it was read.
fn read(diag: &Dir, name: OsString) -> Result<(LogState, bool), LogError> {
    match diag_log::tail(diag, &name, TAIL) {
        Ok(tail) => Ok((LogState::read(&tail), tail.is_whole)),
        Err(source) => Err(LogError::Log { name, source }),
    }
}

/// The state that follows from a log's lines.
#[derive(Debug, Default)]
struct LogState {
    /// Jobs that have not ended, by id.
    open: BTreeMap<String, (String, Option<SystemTime>)>,
    /// A job that was acknowledged and not received yet.
    on_its_way: Option<(String, Option<SystemTime>)>,
    /// A message of which no line says yet that it is not a job's.
    unopened: Option<(String, Option<SystemTime>)>,
    /// Whether a line about a job was found.
    spoke: bool,
    /// The file was begun by a Listener that started, not by one that continued its log.
    begins_a_process: bool,
}

/// The key of a job without a known id: the renewal of a lease may name only a request number.
const ANONYMOUS: &str = "";

/// The beginnings of lines that end an acknowledged job before it was received (Runner.cs): it was not available (HTTP 404, 409, 422), the
/// call failed, or the Listener is to be replaced first.
const DOES_NOT_COME: [&str; 3] = [
    "Skipping message Job",
    "Caught exception from acquiring job message",
    "Skip message deletion for job request message",
];

/// The beginnings of lines of `Runner` about a message that is a job's.
const IS_A_JOB: [&str; 2] = ["Received job message of length ", "Received RunnerJobRequest"];

/// And about one that is not, or that does not become a job here.
const IS_NO_JOB: [&str; 6] = [
    "Refresh message received",
    "Received ForceTokenRefreshMessage",
    "Received RunnerRefreshConfigMessage",
    "Received message ",
    "Skip message deletion for cancellation message",
    "Acknowledge returned job-not-found",
];

impl LogState {
    fn read(log: &diag_log::Tail) -> Self {
        let mut story = Self::default();
        for line in log.lines() {
            let Some(line) = LogEntry::parse(&line) else { continue };
            match line.source {
                "JobDispatcher" => story.tell(&line),
                "BrokerMessageListener" | "MessageListener"
                    if line.message.starts_with("Acknowledging runner request ") =>
                {
                    story.spoke = true;
                    story.on_its_way = Some((line.message.to_owned(), Some(line.at)));
                }
                "BrokerMessageListener" | "MessageListener"
                    if line.message.starts_with("Message '") && line.message.contains("' received") =>
                {
                    story.spoke = true;
                    story.unopened = Some((line.message.to_owned(), Some(line.at)));
                }
                "Runner" if DOES_NOT_COME.iter().any(|begin| line.message.starts_with(begin)) => {
                    story.spoke = true;
                    story.on_its_way = None;
                    story.unopened = None;
                }
                "Runner" if IS_A_JOB.iter().any(|begin| line.message.starts_with(begin)) => {
                    story.spoke = true;
                    story.unopened = Some((line.message.to_owned(), Some(line.at)));
                }
                "Runner" if IS_NO_JOB.iter().any(|begin| line.message.starts_with(begin)) => {
                    story.spoke = true;
                    story.unopened = None;
                }
                // It closes no job: a job's name with a line break could forge it. Whether an earlier process has left a job open is
                // decided by the age of the running Listener.
                "Listener" if line.message.starts_with("Runner is built for ") => {
                    story.begins_a_process = true
                }
                _ => {}
            }
        }
        story
    }

    fn tell(&mut self, line: &LogEntry<'_>) {
        if line.message.starts_with("Job cancellation request ") {
            self.spoke = true;
            self.unopened = None;
        }
        match JobEvent::of(line.message) {
            Some(JobEvent::Received(job)) => {
                self.spoke = true;
                self.on_its_way = None;
                self.unopened = None;
                self.open.insert(job.to_owned(), (line.message.to_owned(), Some(line.at)));
            }
            Some(JobEvent::GoesOn) => {
                self.spoke = true;
                if self.open.is_empty() {
                    self.open.insert(ANONYMOUS.to_owned(), (line.message.to_owned(), Some(line.at)));
                }
            }
            Some(JobEvent::Ended(job)) => {
                self.spoke = true;
                self.open.remove(job);
                // A Listener has one job at a time: the one without an id was this one.
                self.open.remove(ANONYMOUS);
            }
            None => {}
        }
    }

    fn is_silent(&self) -> bool {
        !self.spoke
    }

    fn pending(self) -> PendingJob {
        match self.open.into_values().chain(self.on_its_way).chain(self.unopened).max_by_key(|(_, at)| *at) {
            Some((detail, at)) => PendingJob::Received { detail, at, written: None },
            None => PendingJob::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const A: &str = "a0000000-0000-0000-0000-000000000001";
    const B: &str = "b0000000-0000-0000-0000-000000000002";

    fn dispatcher(second: u32, message: &str) -> String {
        format!("[2026-01-02 03:04:{second:02}Z INFO JobDispatcher] {message}\n")
    }

    fn received(second: u32, job: &str) -> String {
        dispatcher(second, &format!("Job request 7 for plan 1-2-3 job {job} received."))
    }

    fn finished(second: u32, job: &str) -> String {
        dispatcher(second, &format!("Worker finished for job {job}. Code: 100"))
    }

    fn story(text: &str) -> PendingJob {
        pending_in(text.as_bytes())
    }

    fn is_pending(text: &str) -> bool {
        matches!(story(text), PendingJob::Received { .. })
    }

    #[test]
    fn a_job_is_pending_from_its_receipt_to_its_end() {
        let PendingJob::Received { detail, at, .. } = story(&received(5, A)) else { panic!("pending") };
        assert!(detail.contains(A), "{detail}");
        assert_eq!(at, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045)));
        for end in [
            finished(9, A),
            dispatcher(9, &format!("finish job request for job {A} with result: Failed")),
            dispatcher(9, &format!("Stop renew job request for job {A}.")),
            dispatcher(9, &format!("Job request {A} processed succeed.")),
            dispatcher(
                9,
                &format!(
                    "Unable to renew job request for job {A} for the first time, stop dispatching job to worker."
                ),
            ),
        ] {
            assert_eq!(story(&(received(5, A) + &end)), PendingJob::None, "{end}");
        }
        assert!(is_pending(&(received(1, A) + &finished(2, A) + &received(3, B))));
    }

    fn line(second: u32, source: &str, message: &str) -> String {
        format!("[2026-01-02 03:04:{second:02}Z INFO {source}] {message}\n")
    }

    #[test]
    fn a_job_that_was_acknowledged_is_on_its_way_until_it_comes_or_does_not() {
        let acknowledged = line(1, "BrokerMessageListener", "Acknowledging runner request '29e5a0d8-0000'.");
        assert!(is_pending(&acknowledged));
        assert!(is_pending(&(acknowledged.clone() + &line(2, "GitHubActionsService", "AAD Correlation ID"))));
        assert!(is_pending(&(acknowledged.clone() + &received(3, A))));
        assert!(!is_pending(&(acknowledged.clone() + &received(3, A) + &finished(9, A))));
        for (message, level) in [
            ("Skipping message Job. Job already acquired", "INFO"),
            ("Caught exception from acquiring job message: System.Net.Http.HttpRequestException", "ERR "),
        ] {
            let end = format!("[2026-01-02 03:04:05Z {level} Runner] {message}\n");
            assert!(!is_pending(&(acknowledged.clone() + &end)), "{message}");
            assert!(is_pending(&(acknowledged.clone() + &end + &acknowledged)), "the next one");
            assert!(
                is_pending(&(acknowledged.clone() + &end.replace(" Runner]", " Terminal]"))),
                "a job's name"
            );
        }
        assert!(
            is_pending(&(received(1, A) + &acknowledged + &finished(9, A))),
            "the end of the job before it"
        );
        let forged = line(1, "Terminal", "WRITE LINE: Acknowledging runner request 'x'.");
        assert!(!is_pending(&forged), "a job's name does not make a runner busy");
    }

    #[test]
    fn a_message_counts_as_a_job_until_a_line_says_what_it_was() {
        for message in [
            line(1, "MessageListener", "Message '17' received from session '6b7a3f9e-0000'."),
            line(1, "BrokerMessageListener", "Message '17' received."),
            line(1, "Runner", "Received job message of length 4711 from service, with hash 'x'"),
            line(1, "Runner", "Received RunnerJobRequest message."),
        ] {
            assert!(is_pending(&message), "{message}");
            assert!(is_pending(&(message.clone() + &line(2, "MessageListener", "Get next message."))));
            assert!(is_pending(&(message.clone() + &received(3, A))));
            assert!(!is_pending(&(message.clone() + &received(3, A) + &finished(9, A))));
            assert!(is_pending(&(received(0, A) + &message + &finished(9, A))), "the next one's");
            for other in [
                "Refresh message received, kick-off selfupdate background process.",
                "Received ForceTokenRefreshMessage",
                "Received RunnerRefreshConfigMessage for 'runner' config file",
                "Received message 17 with unsupported message type Odd.",
                "Skipping message Job. Job already acquired",
            ] {
                assert!(!is_pending(&(message.clone() + &line(2, "Runner", other))), "{other}");
                assert!(
                    is_pending(&(message.clone() + &line(2, "Terminal", other))),
                    "{other}: a job's name"
                );
            }
            let cancelled = format!("Job cancellation request {A} received, cancellation timeout 5 minutes.");
            assert!(!is_pending(&(message.clone() + &dispatcher(2, &cancelled))));
            assert!(is_pending(&(received(0, A) + &message + &dispatcher(2, &cancelled))), "its job runs on");
        }
        assert!(!is_pending(&line(1, "Terminal", "Message '17' received.")), "a job's name");
    }

    #[test]
    fn the_end_of_another_job_ends_nothing() {
        assert!(is_pending(&(received(5, A) + &finished(9, B))));
    }

    #[test]
    fn only_lines_of_the_dispatcher_count() {
        let end = format!("Worker finished for job {A}. Code: 100\n");
        for hostile in [
            end.clone(),
            format!("[2026-01-02 03:04:09Z INFO Terminal] WRITE LINE: Running job: x\n{end}"),
            format!("[2026-01-02 03:04:09Z INFO Terminal] [2026-01-02 03:04:09Z INFO JobDispatcher] {end}"),
            format!(" [2026-01-02 03:04:09Z INFO JobDispatcher] {end}"),
            format!("[yesterday INFO JobDispatcher] {end}"),
            format!("[2026-01-02 03:04:09Z NOTE JobDispatcher] {end}"),
            "\u{fffd}[\n[2026-01-02\n[]\n[] \n".to_owned(),
        ] {
            assert!(is_pending(&(received(5, A) + &hostile)), "{hostile}");
        }
        assert!(!is_pending(&(received(5, A) + &finished(9, A).replace('\n', "\r\n"))));
    }

    #[test]
    fn the_start_of_a_listener_ends_nothing() {
        let start = "[2026-01-02 03:04:09Z INFO Listener] Runner is built for Linux (X64) - linux-x64.\n";
        assert!(is_pending(&(received(5, A) + start)));
        assert!(!is_pending(&(received(5, A) + start + &finished(9, A))));
    }

    #[test]
    fn a_renewal_shows_a_job_even_without_its_receipt() {
        let renewed =
            dispatcher(7, "Successfully renew job request 7, job is valid till 01/02/2026 03:14:07");
        assert!(is_pending(&renewed));
        assert!(!is_pending(&(renewed + &finished(9, A))));
    }

    fn runner(logs: &[(&str, &[u8])]) -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("_diag")).unwrap();
        for (name, text) in logs {
            std::fs::write(temp.path().join("_diag").join(name), text).unwrap();
        }
        let (dir, _) = Dir::resolve(temp.path()).unwrap();
        (temp, dir)
    }

    const OLD: &str = "Runner_20260101-000000-utc.log";
    const NEW: &str = "Runner_20260102-000000-utc.log";

    #[test]
    fn the_newest_log_decides_and_a_continuation_reads_its_predecessor() {
        let busy = received(5, A);
        let start = "[2026-01-02 03:04:00Z INFO Listener] Runner is built for Linux (X64) - linux-x64.\n";
        let chatter = "[2026-01-02 03:04:00Z INFO MessageListener] Get next message.\n";
        for (old, new, pending) in [
            (busy.as_str(), finished(9, A).as_str(), false),
            ("", busy.as_str(), true),
            (&busy, chatter, true),
            (&busy, start, false),
            (chatter, chatter, false),
        ] {
            let noise: &[(&str, &[u8])] =
                &[("Worker_20260103-000000-utc.log", busy.as_bytes()), ("Runner_x-utc.log", busy.as_bytes())];
            let (_temp, root) = runner(&[noise, &[(OLD, old.as_bytes()), (NEW, new.as_bytes())]].concat());
            let found = pending_job(&root).unwrap();
            assert_eq!(matches!(found, PendingJob::Received { .. }), pending, "{old} {new} {found:?}");
        }
    }

    #[test]
    fn only_the_tail_is_read() {
        let filler = "[2026-01-02 03:04:00Z INFO MessageListener] Get next message.\n".repeat(20_000);
        let (_temp, root) = runner(&[(NEW, (filler.clone() + &received(5, A)).as_bytes())]);
        assert!(matches!(pending_job(&root).unwrap(), PendingJob::Received { .. }));
        let (_temp, root) = runner(&[(NEW, (received(5, A) + &filler).as_bytes())]);
        assert_eq!(pending_job(&root).unwrap(), PendingJob::None, "no renewal for half a megabyte");
    }

    #[test]
    fn no_log_is_an_answer_and_an_unreadable_one_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let (root, _) = Dir::resolve(temp.path()).unwrap();
        assert_eq!(pending_job(&root).unwrap(), PendingJob::NoLog);
        let (_temp, empty) = runner(&[]);
        assert_eq!(pending_job(&empty).unwrap(), PendingJob::NoLog);

        let (fifo, root) = runner(&[(OLD, b"")]);
        nix::unistd::mkfifo(&fifo.path().join("_diag").join(NEW), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(pending_job(&root), Err(LogError::Log { .. })), "a FIFO would block for ever");

        let (link, root) = runner(&[(OLD, b"")]);
        std::os::unix::fs::symlink(OLD, link.path().join("_diag").join(NEW)).unwrap();
        assert!(matches!(pending_job(&root), Err(LogError::Log { .. })));

        std::os::unix::fs::symlink("/var/log", temp.path().join("_diag")).unwrap();
        let (root, _) = Dir::resolve(temp.path()).unwrap();
        assert!(matches!(pending_job(&root), Err(LogError::Directory { .. })));
    }
}
