//! The runner's own logs of one job.
//!
//! The Worker's log covers one job ([`worker`]), the Listener's covers all of them ([`listener`]). Both contain text from the job, which
//! is distinguished from the runner's own words (`complaints`). A line break in a job's name could forge a line: it would only make its
//! own runner's death look like another one.
//!
//! Logs are read line by line, a bounded length of each runner's; see [`diag_log`].

mod complaints;
pub mod listener;
pub mod worker;

pub(crate) use complaints::complaint;
pub use listener::LoggedJobs;
pub use worker::Pages;

use crate::actions_runner::layout;
use crate::model::postmortem::{Complaint, LogLine, Reported, WorkerLog};
use crate::observe::diag_log::{self, LogKind, Tail};
use crate::sys::dir::Dir;
use std::ffi::OsStr;
use std::io;
use std::time::{Duration, SystemTime};

/// How much of a log's end is read where the end is enough.
pub const TAIL: u64 = 512 << 10;

/// A line is kept to this length.
const MAX_LINE: usize = 400;

/// And the maximum of complaints, the latest.
const MAX_COMPLAINTS: usize = 8;

/// The logs of a runner's Workers, the newest first, each with all of its pages.
///
/// # Errors
/// The error of opening or reading the directory.
pub fn worker_logs(root: &Dir, limit: usize) -> io::Result<Vec<Pages>> {
    let diag = match root.descend(layout::DIAG) {
        Ok(diag) => diag,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut workers = Vec::new();
    let mut later = Vec::new();
    for name in diag_log::newest(&diag, LogKind::Worker, 2 * limit)? {
        // A page behind the end of a Worker does not belong to it.
        if !later.is_empty() && worker::has_completed(&diag, &name) {
            workers.push(Pages(std::mem::take(&mut later)));
        }
        later.insert(0, name);
        // An unreadable page is a log of its own.
        if !worker::goes_on(&diag, &later[0]).unwrap_or(false) {
            workers.push(Pages(std::mem::take(&mut later)));
        }
    }
    if !later.is_empty() {
        // The page that it continues is gone.
        workers.push(Pages(later));
    }
    workers.truncate(limit);
    Ok(workers)
}

/// The content of a Worker's log.
///
/// # Errors
/// The error of opening or reading it.
pub fn worker_log(root: &Dir, pages: &Pages) -> io::Result<WorkerLog> {
    worker::read(&root.descend(layout::DIAG)?, pages)
}

/// The content of a Worker's log's end by itself, and that end.
///
/// # Errors
/// The error of opening or reading it.
pub fn worker_end(root: &Dir, pages: &Pages) -> io::Result<(WorkerLog, Tail)> {
    let name = pages.0.last().map_or(OsStr::new(""), |name| name.as_os_str());
    let tail = diag_log::tail(&root.descend(layout::DIAG)?, name, TAIL)?;
    Ok((worker::tell(name, &tail), tail))
}

fn kept(line: &diag_log::LogEntry<'_>) -> LogLine {
    LogLine { at: Some(line.at), text: cut(line.message) }
}

/// A line, cut to a bounded length.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The names of `TaskResult` (src/Sdk/DTWebApi/WebApi/TaskResult.cs).
fn parse_result(text: &str) -> Option<Reported> {
    Some(match text.trim() {
        "Succeeded" => Reported::Succeeded,
        "SucceededWithIssues" => Reported::SucceededWithIssues,
        "Failed" => Reported::Failed,
        "Canceled" => Reported::Cancelled,
        "Skipped" => Reported::Skipped,
        "Abandoned" => Reported::Abandoned,
        _ => return None,
    })
}

/// Tracks the time through lines: the longest silence, and when lines without a time of their own were written.
#[derive(Debug, Clone, Default)]
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

fn complain(
    complaints: &mut Vec<(Complaint, LogLine)>,
    complaint: Option<Complaint>,
    text: &str,
    at: Option<SystemTime>,
) {
    let Some(complaint) = complaint else { return };
    if complaints.len() == MAX_COMPLAINTS {
        complaints.remove(0);
    }
    complaints.push((complaint, LogLine { at, text: cut(text) }));
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const A: &str = "a0000000-0000-0000-0000-000000000001";
    pub(super) const B: &str = "b0000000-0000-0000-0000-000000000002";

    pub(super) fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_040 + second)
    }

    pub(super) fn line(second: u64, source: &str, message: &str) -> String {
        let (hours, minutes) = (3 + (240 + second) / 3600, (240 + second) / 60 % 60);
        format!("[2026-01-02 {hours:02}:{minutes:02}:{:02}Z INFO {source}] {message}\n", second % 60)
    }

    #[test]
    fn each_worker_has_one_log_whatever_its_pages() {
        let temp = tempfile::tempdir().unwrap();
        let diag = temp.path().join("_diag");
        std::fs::create_dir(&diag).unwrap();
        let begins = line(1, "Worker", "Version: 2.336.0");
        let goes_on = line(1, "JobServerQueue", "Try to append 1 batches");
        let name = |n: usize| format!("Worker_20260102-03040{n}-utc.log");
        for (n, text) in
            [&begins, &goes_on, &goes_on, &begins, &String::new(), &goes_on].into_iter().enumerate()
        {
            std::fs::write(diag.join(name(n)), text).unwrap();
        }
        let root = Dir::resolve(temp.path()).unwrap().0;
        let logs = worker_logs(&root, 9).unwrap();
        let names = |numbers: &[usize]| Pages(numbers.iter().map(|n| name(*n).into()).collect());
        assert_eq!(logs, [names(&[4, 5]), names(&[3]), names(&[0, 1, 2])]);
        assert_eq!(worker_logs(&root, 1).unwrap(), [names(&[4, 5])]);
        std::fs::write(diag.join(name(1)), goes_on + &line(2, "Worker", "Job completed.")).unwrap();
        assert_eq!(worker_logs(&root, 9).unwrap()[2..], [names(&[2]), names(&[0, 1])]);
    }
}
