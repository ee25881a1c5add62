//! What the runner's own logs say of one job.
//!
//! The Worker's log is one job's. The Listener's tells of all jobs in turn: what belongs to this one lies between its receipt
//! and its end, both by the job's id. A job's display name and its steps' names reach these logs; a line break in one could
//! forge a line. It would only make its own runner's death look like another one.
//!
//! Read from the end, a bounded length of each log and a bounded number of logs; see [`diag_log`].

use crate::observe::diag_log::{self, Kind, Tail};
use crate::postmortem::nouns::{Complaint, Line, ListenerLog, WorkerLog};
use crate::sys::dir::Dir;
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::{Duration, SystemTime};

/// How much of a log's end is read.
pub const TAIL: u64 = 512 << 10;

/// Logs of one runner that are looked at: a job's, and those that the Listener has begun since.
const MAX_LISTENER_LOGS: usize = 16;

/// A line is kept to this length.
const MAX_LINE: usize = 400;

/// And of complaints the last few.
const MAX_COMPLAINTS: usize = 8;

/// The names of a runner's Worker logs, the newest first.
///
/// # Errors
/// What opening and reading the directory say.
pub fn worker_logs(root: &Dir, limit: usize) -> io::Result<Vec<OsString>> {
    match root.descend("_diag") {
        Ok(diag) => diag_log::newest(&diag, Kind::Worker, limit),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What a Worker's log says, and its end.
///
/// # Errors
/// What opening and reading it say.
pub fn worker(root: &Dir, name: &OsStr) -> io::Result<(WorkerLog, Tail)> {
    let tail = diag_log::tail(&root.descend("_diag")?, name, TAIL)?;
    Ok((tell_worker(name, &tail), tail))
}

/// What the Listener's logs say of the job that was received last before `started`, or of that with the id `job`.
///
/// # Errors
/// What opening and reading them say; `NotFound` when there is none.
pub fn listener(
    root: &Dir,
    started: Option<SystemTime>,
    job: Option<&str>,
) -> io::Result<(ListenerLog, Vec<Tail>)> {
    let diag = root.descend("_diag")?;
    let names = diag_log::newest(&diag, Kind::Listener, MAX_LISTENER_LOGS)?;
    if names.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // The log that was open when the job began, the one before it (a job may be received right at the turn), and all since.
    let is_before = |name: &&OsString| {
        diag_log::begun(name).is_some_and(|at| started.is_some_and(|started| at < started))
    };
    let after = names.iter().take_while(|name| !is_before(name)).count();
    let mut tails = Vec::new();
    for name in names[..(after + 2).min(names.len())].iter().rev() {
        tails.push(diag_log::tail(&diag, name, TAIL)?);
    }
    Ok((tell_listener(&tails, started, job), tails))
}

fn kept(line: &diag_log::Line<'_>) -> Line {
    Line { at: Some(line.at), text: cut(line.message) }
}

/// A bounded length of a line.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// What a line complains of, by the words that glibc, .NET and node.js have for the system's errors.
pub fn complaint(text: &str) -> Option<Complaint> {
    const WORDS: [(&str, Complaint); 15] = [
        ("No space left on device", Complaint::NoSpace),
        ("not enough space on the disk", Complaint::NoSpace),
        ("ENOSPC", Complaint::NoSpace),
        ("Disk quota exceeded", Complaint::Quota),
        ("EDQUOT", Complaint::Quota),
        ("Too many open files in system", Complaint::FileTable),
        ("ENFILE", Complaint::FileTable),
        ("Too many open files", Complaint::Descriptors),
        ("EMFILE", Complaint::Descriptors),
        ("Input/output error", Complaint::InputOutput),
        ("Read-only file system", Complaint::ReadOnly),
        ("EROFS", Complaint::ReadOnly),
        ("Cannot allocate memory", Complaint::Memory),
        ("System.OutOfMemoryException", Complaint::Memory),
        ("ENOMEM", Complaint::Memory),
    ];
    WORDS.iter().find(|(words, _)| text.contains(words)).map(|(_, complaint)| *complaint)
}

/// Follows the time through lines: the longest silence, and when lines without a time of their own were written.
#[derive(Default)]
struct Pace {
    last: Option<SystemTime>,
    silence: Option<(SystemTime, Duration)>,
}

impl Pace {
    fn step(&mut self, at: SystemTime) {
        if let Some(last) = self.last
            && let Ok(length) = at.duration_since(last)
            && self.silence.is_none_or(|(_, longest)| length > longest)
        {
            self.silence = Some((last, length));
        }
        self.last = Some(at);
    }
}

fn complain(complaints: &mut Vec<(Complaint, Line)>, text: &str, at: Option<SystemTime>) {
    if let Some(complaint) = complaint(text) {
        if complaints.len() == MAX_COMPLAINTS {
            complaints.remove(0);
        }
        complaints.push((complaint, Line { at, text: cut(text) }));
    }
}

pub(crate) fn tell_worker(name: &OsStr, tail: &Tail) -> WorkerLog {
    let mut log = WorkerLog { name: name.to_string_lossy().into_owned(), ..WorkerLog::default() };
    let mut pace = Pace::default();
    for text in tail.lines().filter(|text| !text.trim().is_empty()) {
        let Some(line) = diag_log::Line::parse(&text) else {
            complain(&mut log.complaints, &text, pace.last);
            log.last = Some(Line { at: pace.last, text: cut(&text) });
            continue;
        };
        pace.step(line.at);
        log.last = Some(kept(&line));
        complain(&mut log.complaints, line.message, Some(line.at));
        match (line.source, line.message) {
            ("Worker", "Job completed.") => log.completed = Some(kept(&line)),
            ("Worker", message) if message.starts_with("Cancellation/Shutdown message received") => {
                log.cancelled = Some(kept(&line));
            }
            ("JobRunner", message) => {
                if let Some(id) = message.strip_prefix("Job ID ") {
                    // Two Workers that began in the same second share a file: what counts is the last one.
                    if log.job_id.is_some() {
                        (log.completed, log.cancelled, log.complaints) = (None, None, Vec::new());
                        pace.silence = None;
                    }
                    log.job_id = Some(cut(id.trim()));
                }
            }
            _ => {}
        }
    }
    log.silence = pace.silence;
    log.is_cut = tail.bytes.last().is_some_and(|&byte| byte != b'\n');
    log
}

pub(crate) fn tell_listener(tails: &[Tail], started: Option<SystemTime>, job: Option<&str>) -> ListenerLog {
    let mut log = ListenerLog::default();
    let mut pace = Pace::default();
    let mut own: Option<String> = None;
    for text in tails.iter().flat_map(Tail::lines) {
        let Some(line) = diag_log::Line::parse(&text) else {
            if own.is_some() && log.finished.is_none() {
                complain(&mut log.complaints, &text, pace.last);
            }
            continue;
        };
        if let Some(id) = received(&line) {
            let is_ours = match job {
                Some(job) => id == job,
                // A second of slack: logs are begun a moment before their first line.
                None => started.is_none_or(|started| line.at <= started + Duration::from_secs(1)),
            };
            if is_ours {
                log = ListenerLog { received: Some(kept(&line)), ..ListenerLog::default() };
                (own, pace) = (Some(id.to_owned()), Pace::default());
            } else if own.is_some() {
                // The next job: this one's story is over.
                break;
            }
        }
        let Some(id) = &own else { continue };
        if log.finished.is_none() {
            pace.step(line.at);
            log.silence = pace.silence;
            complain(&mut log.complaints, line.message, Some(line.at));
            if line.source == "Listener"
                && line.message.starts_with("Runner is built for ")
                && log.restarted.is_none()
            {
                log.restarted = Some(kept(&line));
            }
            if line.message.starts_with("Unable to renew job request") {
                log.lost_renewal = Some(kept(&line));
            }
        }
        if let Some(code) = finished(&line, id) {
            log.finished = Some((code, kept(&line)));
        }
        if line.source == "JobDispatcher"
            && line.message.starts_with(&format!("finish job request for job {id} with result: "))
        {
            log.result = Some(kept(&line));
        }
    }
    log
}

fn received<'l>(line: &diag_log::Line<'l>) -> Option<&'l str> {
    let request = line.message.strip_prefix("Job request ").filter(|_| line.source == "JobDispatcher")?;
    Some(request.strip_suffix(" received.")?.rsplit_once(" job ")?.1)
}

fn finished(line: &diag_log::Line<'_>, job: &str) -> Option<i32> {
    let rest =
        line.message.strip_prefix("Worker finished for job ").filter(|_| line.source == "JobDispatcher")?;
    rest.strip_prefix(job)?.strip_prefix(". Code: ")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a0000000-0000-0000-0000-000000000001";
    const B: &str = "b0000000-0000-0000-0000-000000000002";

    fn tail(text: &str) -> Tail {
        Tail { bytes: text.as_bytes().to_vec(), is_whole: true }
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_040 + second)
    }

    fn line(second: u64, source: &str, message: &str) -> String {
        format!("[2026-01-02 03:{:02}:{:02}Z INFO {source}] {message}\n", 4 + second / 60, second % 60)
    }

    fn worker_of(text: &str) -> WorkerLog {
        tell_worker(OsStr::new("Worker_20260102-030400-utc.log"), &tail(text))
    }

    #[test]
    fn a_worker_that_says_so_has_completed() {
        let begun = line(1, "JobRunner", &format!("Job ID {A}"));
        let log = worker_of(&(begun.clone() + &line(9, "Worker", "Job completed.")));
        assert_eq!((log.job_id.as_deref(), log.completed.unwrap().at), (Some(A), Some(at(9))));
        for forged in [
            "Job completed.\n".to_owned(),
            line(9, "Terminal", "Job completed."),
            line(9, "Worker", "Job completed. Not."),
        ] {
            assert_eq!(worker_of(&(begun.clone() + &forged)).completed, None, "{forged}");
        }
        let shared = line(2, "Worker", "No space left on device")
            + &line(2, "Worker", "Job completed.")
            + &line(3, "JobRunner", &format!("Job ID {B}"));
        let log = worker_of(&(begun + &shared));
        assert_eq!((log.completed, log.complaints.len()), (None, 0), "the last of two");
    }

    #[test]
    fn complaints_are_found_in_continuation_lines_too_and_bounded() {
        let text = line(1, "Worker", "System.IO.IOException: No space left on device : '/x'")
            + "   at Interop: Too many open files in system\n"
            + &"Too many open files\n".repeat(50);
        let log = worker_of(&text);
        assert_eq!(log.complaints.len(), MAX_COMPLAINTS);
        assert!(
            log.complaints
                .iter()
                .all(|(complaint, line)| *complaint == Complaint::Descriptors && line.at == Some(at(1)))
        );
        let log = worker_of(text.split_once("Too many open files\n").unwrap().0);
        let kinds: Vec<Complaint> = log.complaints.iter().map(|(complaint, _)| *complaint).collect();
        assert_eq!(kinds, [Complaint::NoSpace, Complaint::FileTable]);
        assert!(worker_of(&"x".repeat(100_000)).last.unwrap().text.len() < MAX_LINE + 10);
    }

    #[test]
    fn a_log_that_ends_within_a_line_is_cut() {
        let whole = line(1, "Worker", "Version: 2.336.0");
        assert!(!worker_of(&whole).is_cut);
        assert!(worker_of(&(whole + "[2026-01-02 03:0")).is_cut);
    }

    fn dispatch(second: u64, message: &str) -> String {
        line(second, "JobDispatcher", message)
    }

    fn receive(second: u64, job: &str) -> String {
        dispatch(second, &format!("Job request 7 for plan 1-2-3 job {job} received."))
    }

    #[test]
    fn the_listener_tells_of_one_job_between_its_receipt_and_its_end() {
        let text = receive(1, A)
            + &dispatch(5, &format!("Worker finished for job {A}. Code: 137"))
            + &dispatch(5, &format!("finish job request for job {A} with result: Failed"))
            + &receive(100, B)
            + &dispatch(105, &format!("Worker finished for job {B}. Code: 100"));
        let by_id = tell_listener(&[tail(&text)], None, Some(A));
        assert_eq!(by_id.finished.as_ref().map(|(code, _)| *code), Some(137));
        assert!(by_id.result.is_some());
        let by_time = tell_listener(&[tail(&text)], Some(at(3)), None);
        assert_eq!(by_time, by_id);
        let other = tell_listener(&[tail(&text)], Some(at(101)), None);
        assert_eq!(other.finished.map(|(code, _)| code), Some(100));
        assert_eq!(tell_listener(&[tail(&text)], None, Some("none")), ListenerLog::default());
    }

    #[test]
    fn a_listener_that_began_anew_before_the_end_is_told() {
        let begin = line(0, "Listener", "Runner is built for Linux (X64) - linux-x64.");
        let (first, second) =
            (begin.clone() + &receive(1, A), line(90, "Listener", "Runner is built for Linux"));
        let log = tell_listener(&[tail(&first), tail(&second)], None, Some(A));
        assert_eq!((log.restarted.unwrap().at, log.finished), (Some(at(90)), None));
        assert_eq!(log.silence, Some((at(1), Duration::from_secs(89))));
        let done = first + &dispatch(5, &format!("Worker finished for job {A}. Code: 100"));
        assert_eq!(tell_listener(&[tail(&done), tail(&second)], None, Some(A)).restarted, None);
    }
}
