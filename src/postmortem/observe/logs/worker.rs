//! The Worker's own log: one job's, on one page or several (a page ends after 8 MiB: src/Runner.Common/HostTraceListener.cs).

use super::complaints::Entries;
use super::{Pace, complain, cut, kept, parse_result};
use crate::actions_runner::worker::{self, WorkerEvent};
use crate::model::postmortem::{self, WorkerLog};
use crate::observe::diag_log::{self, LogEntry, Tail};
use crate::sys::dir::Dir;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;

/// The maximum of bytes read of one Worker.
const BUDGET: u64 = 64 << 20;

/// The beginning of a page shows whether a Worker began with it.
const HEAD: u64 = 16 << 10;

/// The pages of one Worker's log, the first one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages(pub Vec<OsString>);

/// The content of a Worker's log: all pages, line by line.
///
/// # Errors
/// The error of opening or reading them.
pub fn read(diag: &Dir, pages: &Pages) -> io::Result<WorkerLog> {
    let mut reader = WorkerReader::new(pages.0.first().map_or(OsStr::new(""), OsString::as_os_str));
    let mut budget = BUDGET;
    let mut is_whole = true;
    for (index, page) in pages.0.iter().enumerate() {
        let mut each = |text: &str| {
            reader.line(text);
            ControlFlow::Continue(())
        };
        let read = diag_log::each_line(diag, page, &mut budget, &mut each)?;
        is_whole &= read.is_whole;
        reader.log.is_cut = read.is_cut && index + 1 == pages.0.len();
    }
    if !is_whole && let Some(last) = pages.0.last() {
        // So long that its end was not reached, which matters most.
        let tail = diag_log::tail(diag, last, super::TAIL)?;
        reader.entries = Entries::default();
        tail.lines().for_each(|text| reader.line(&text));
        reader.log.is_cut = is_cut(&tail);
    }
    Ok(reader.end())
}

/// The content of the end of a log by itself.
pub(crate) fn tell(name: &OsStr, tail: &Tail) -> WorkerLog {
    let mut reader = WorkerReader::new(name);
    tail.lines().for_each(|text| reader.line(&text));
    reader.log.is_cut = is_cut(tail);
    reader.end()
}

fn is_cut(tail: &Tail) -> bool {
    tail.bytes.last().is_some_and(|&byte| byte != b'\n')
}

/// Whether a page continues the Worker of the one before it: a Worker's first lines are known, and none of them is in it. An empty page is
/// the beginning of one that could not write.
///
/// # Errors
/// The error of opening or reading it.
pub fn goes_on(diag: &Dir, page: &OsStr) -> io::Result<bool> {
    let mut budget = HEAD;
    let (mut has_line, mut begins) = (false, false);
    diag_log::each_line(diag, page, &mut budget, &mut |text| {
        let Some(line) = LogEntry::parse(text) else { return ControlFlow::Continue(()) };
        has_line = true;
        begins = worker::begins(&line);
        if begins { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(has_line && !begins)
}

/// Whether the end of a page is the end of its job.
pub(super) fn has_completed(diag: &Dir, page: &OsStr) -> bool {
    diag_log::tail(diag, page, HEAD).is_ok_and(|tail| tell(page, &tail).completed.is_some())
}

struct WorkerReader {
    log: WorkerLog,
    pace: Pace,
    entries: Entries,
}

impl WorkerReader {
    fn new(name: &OsStr) -> Self {
        let log = WorkerLog { name: name.to_string_lossy().into_owned(), ..WorkerLog::default() };
        Self { log, pace: Pace::default(), entries: Entries::default() }
    }

    fn line(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let Some(line) = LogEntry::parse(text) else {
            let at = self.pace.last;
            complain(&mut self.log.complaints, self.entries.go_on(text), text, at);
            self.log.last = Some(postmortem::LogLine { at, text: cut(text) });
            return;
        };
        self.pace.step(line.at);
        self.log.last = Some(kept(&line));
        let complaint = self.entries.begin(&line);
        complain(&mut self.log.complaints, complaint, line.message, Some(line.at));
        self.event(&line);
    }

    fn event(&mut self, line: &LogEntry<'_>) {
        let log = &mut self.log;
        match WorkerEvent::of(line) {
            Some(WorkerEvent::Completed) => log.completed = Some(kept(line)),
            Some(WorkerEvent::Cancelled) => log.cancelled = Some(kept(line)),
            Some(WorkerEvent::Shutdown) => log.shutdown = Some(kept(line)),
            Some(WorkerEvent::StepKilled) => log.killed_step = Some(kept(line)),
            Some(WorkerEvent::JobId(id)) => {
                // Two Workers that began in the same second share a file: the last one counts.
                if log.job_id.is_some() {
                    let name = std::mem::take(&mut log.name);
                    *log = WorkerLog { name, last: Some(kept(line)), ..WorkerLog::default() };
                    self.pace.silence = None;
                }
                log.job_id = Some(cut(id));
            }
            Some(WorkerEvent::Reporting) => log.reported = Some(kept(line)),
            Some(WorkerEvent::Result(result)) => {
                if let Some(result) = parse_result(result) {
                    log.result = Some((result, kept(line)));
                }
            }
            None => {}
        }
    }

    fn end(mut self) -> WorkerLog {
        self.log.silence = self.pace.silence;
        self.log
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;
    use crate::model::postmortem::{Complaint, Reported};

    fn worker_of(text: &str) -> WorkerLog {
        tell(
            OsStr::new("Worker_20260102-030400-utc.log"),
            &Tail { bytes: text.as_bytes().to_vec(), is_whole: true },
        )
    }

    fn error(second: u64, message: &str) -> String {
        line(second, "Worker", message).replace("INFO", "ERR ")
    }

    #[test]
    fn a_worker_log_with_a_completion_line_is_complete() {
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
        let shared = error(2, "No space left on device")
            + &line(2, "Worker", "Job completed.")
            + &line(3, "JobRunner", &format!("Job ID {B}"));
        let log = worker_of(&(begun + &shared));
        assert_eq!((log.completed, log.complaints.len()), (None, 0), "the last of two");
    }

    #[test]
    fn a_worker_log_shows_a_requested_stop_and_the_result_of_the_job() {
        let log = worker_of(
            &(line(1, "Worker", "Cancellation/Shutdown message received.")
                + &line(1, "HostContext", "Runner will be shutdown for UserCancelled")
                + &line(
                    2,
                    "ProcessInvokerWrapper",
                    "Finished process 7 with exit code 137, and elapsed time 00:00:01.",
                )
                + &line(3, "JobRunner", "Job result after all job steps finish: Canceled")
                + &line(4, "JobRunner", "Raising job completed against run service")),
        );
        assert!(log.cancelled.is_some() && log.shutdown.is_some() && log.reported.is_some());
        assert!(log.killed_step.is_some());
        assert_eq!(log.result.map(|(result, _)| result), Some(Reported::Cancelled));
    }

    #[test]
    fn complaints_are_found_in_continuation_lines_too_and_bounded() {
        let text = line(1, "Worker", "System.IO.IOException: No space left on device : '/x'")
            + "   at Interop: Too many open files in system\n"
            + &"Too many open files\n".repeat(50);
        let log = worker_of(&text);
        assert_eq!(log.complaints.len(), super::super::MAX_COMPLAINTS);
        assert!(
            log.complaints
                .iter()
                .all(|(complaint, line)| *complaint == Complaint::Descriptors && line.at == Some(at(1)))
        );
        let log = worker_of(text.split_once("Too many open files\n").unwrap().0);
        let kinds: Vec<Complaint> = log.complaints.iter().map(|(complaint, _)| *complaint).collect();
        assert_eq!(kinds, [Complaint::NoSpace, Complaint::FileTable]);
        assert!(worker_of(&"x".repeat(100_000)).last.unwrap().text.len() < super::super::MAX_LINE + 10);
    }

    #[test]
    fn a_log_that_ends_within_a_line_is_cut() {
        let whole = line(1, "Worker", "Version: 2.336.0");
        assert!(!worker_of(&whole).is_cut);
        assert!(worker_of(&(whole + "[2026-01-02 03:0")).is_cut);
    }

    #[test]
    fn pages_of_one_worker_are_one_log_and_all_of_it_counts() {
        let temp = tempfile::tempdir().unwrap();
        let filler = line(3, "JobServerQueue", "Try to append 1 batches").repeat(20_000);
        let first =
            line(1, "Worker", "Version: 2.336.0") + &line(2, "JobRunner", &format!("Job ID {A}")) + &filler;
        let second = error(5, "No space left on device") + &filler;
        for (name, text) in [
            ("1", first.as_str()),
            ("2", &second),
            ("3", &line(9, "Worker", "Version: 2")),
            ("4", ""),
            ("5", "x\n"),
        ] {
            std::fs::write(temp.path().join(name), text).unwrap();
        }
        let diag = Dir::resolve(temp.path()).unwrap().0;
        let goes_on = |name: &str| goes_on(&diag, OsStr::new(name)).unwrap();
        assert_eq!(["1", "2", "3", "4", "5"].map(goes_on), [false, true, false, false, false]);
        let log = read(&diag, &Pages(vec!["1".into(), "2".into()])).unwrap();
        assert_eq!((log.job_id.as_deref(), log.complaints.len(), log.is_cut), (Some(A), 1, false));
    }
}
