//! The Listener's logs cover all jobs in turn, and two at once: the lines of a job are found by its id, anywhere in them.
//!
//! The known lines come from src/Runner.Listener/JobDispatcher.cs (receipt, renewals, cancellation, ends), Runner.cs (signals),
//! src/Runner.Common/HostContext.cs (shutdown) and src/Runner.Sdk/ProcessInvoker.cs (the Worker's process), v2.336.0. After a cancellation
//! or a stop neither `Worker finished` nor the Worker's `Job completed.` is written: the job's end is then `Finished process N with exit
//! code C` and `finish job request for job G with result: R`.

use super::complaints::Entries;
use super::{Pace, complain, cut, kept, parse_result};
use crate::actions_runner::layout;
use crate::actions_runner::listener::{self, Form, ProcessEvent, RESULT_REPORTED, WORKER_FINISHED};
use crate::model::postmortem::{self, ListenerLog};
use crate::observe::diag_log::{self, LogEntry, LogKind};
use crate::sys::dir::Dir;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

/// The maximum of logs of one runner. A Listener that cannot write is restarted every five seconds, each time with a new log.
const MAX_LOGS: usize = 8192;

/// The maximum of bytes read of one runner's Listeners.
const BUDGET: u64 = 256 << 20;

/// A Listener first logs its identity.
const HEAD: u64 = 64 << 10;

/// The maximum of remembered jobs; older ones are dropped.
const MAX_STORIES: usize = 1024;

/// A runner has one job at a time, or two for a moment: a line can be about these latest ones.
const RECENT: usize = 16;

/// The last output of a Worker follows its end this soon (src/Runner.Listener/JobDispatcher.cs, behind `finish job request`).
const LAST_WORDS: Duration = Duration::from_secs(120);

/// The maximum of recorded lines about a job.
const RAW: usize = 32 << 10;

/// The content of the Listener's logs, by job.
#[derive(Debug, Clone, Default)]
pub struct LoggedJobs {
    stories: VecDeque<LoggedJob>,
    /// Logs without a line, by when they were begun.
    empty: Vec<SystemTime>,
    is_whole: bool,
}

#[derive(Debug, Clone)]
struct LoggedJob {
    id: String,
    /// The request's number, by which old services know the job.
    request: String,
    log: ListenerLog,
    pace: Pace,
    /// Where its last line is.
    file: OsString,
}

impl LoggedJob {
    /// Whether lines that name no job may still be about this one.
    fn is_open(&self) -> bool {
        !self.log.has_end() && self.log.restarted.is_none()
    }

    /// Keeps a line that names an exception: after the end of a Worker the Listener repeats the Worker's last output.
    fn note_exception(&mut self, text: &str, at: Option<SystemTime>) {
        if self.log.finished.is_some() && self.log.exception.is_none() {
            self.log.exception = Some(postmortem::LogLine { at, text: cut(text) });
        }
    }

    fn over(&self) -> Option<SystemTime> {
        let log = &self.log;
        let ends = [log.finished.as_ref().map(|(_, line)| line), log.result.as_ref().map(|(_, line)| line)];
        ends.into_iter().chain([log.closed.as_ref()]).flatten().filter_map(|line| line.at).max()
    }

    /// Whether it continues, or ended just now.
    fn concerns(&self, at: Option<SystemTime>) -> bool {
        let just_ended = |over: SystemTime| at.is_none_or(|at| at <= over + LAST_WORDS);
        self.is_open() || (self.log.restarted.is_none() && self.over().is_some_and(just_ended))
    }
}

impl LoggedJobs {
    /// Reads all logs that were written since `since`: those that were begun since, and before them the two latest ones with any content
    /// (a job may be received just when the log changes).
    ///
    /// # Errors
    /// The error of opening or reading; `NotFound` when there is no log.
    pub fn read(root: &Dir, since: SystemTime) -> io::Result<Self> {
        let diag = root.descend(layout::DIAG)?;
        let names = diag_log::newest(&diag, LogKind::Listener, MAX_LOGS)?;
        if names.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (mut chosen, mut before) = (Vec::new(), 0);
        for name in names {
            let is_before = diag_log::begun(&name).is_none_or(|at| at < since);
            if is_before {
                let has_text = diag.open_file(&name).and_then(|file| file.metadata());
                before += usize::from(has_text.is_ok_and(|status| status.len() > 0));
            }
            chosen.push(name);
            if before == 2 {
                break;
            }
        }
        let mut reader = ListenerReader::new();
        let (mut budget, mut refused, mut has_read) = (BUDGET, None, false);
        for name in chosen.iter().rev() {
            match reader.log(&diag, name, &mut budget) {
                Ok(()) => has_read = true,
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if !has_read => return Err(error),
            Some(_) => reader.told.is_whole = false,
            None => {}
        }
        Ok(reader.end())
    }

    /// The lines about the job with this id; if it is not named, that there are none.
    pub fn of(&self, job: &str) -> ListenerLog {
        let found = self.stories.iter().rev().find(|story| story.id == job);
        found.map_or_else(|| self.nothing(), |story| story.log.clone())
    }

    /// The id of the job that was received last before `started`.
    pub fn before(&self, started: SystemTime) -> Option<&str> {
        // A second of slack: logs are begun a moment before their first line.
        let is_before = |story: &&LoggedJob| {
            story
                .log
                .received
                .as_ref()
                .and_then(|line| line.at)
                .is_some_and(|at| at <= started + Duration::from_secs(1))
        };
        self.stories.iter().rev().find(is_before).map(|story| story.id.as_str())
    }

    /// Every job that was received, with when.
    pub fn received(&self) -> impl Iterator<Item = (&str, SystemTime)> {
        self.stories.iter().filter_map(|story| Some((story.id.as_str(), story.log.received.as_ref()?.at?)))
    }

    /// The lines about a job that name no job.
    pub fn nothing(&self) -> ListenerLog {
        ListenerLog { is_whole: self.is_whole, ..ListenerLog::default() }
    }

    /// The original lines around a job's end.
    pub fn raw(&self, root: &Dir, job: &str) -> Vec<u8> {
        let Some(story) = self.stories.iter().rev().find(|story| story.id == job) else { return Vec::new() };
        let until = story.over().map(|over| over + LAST_WORDS);
        let mut kept: VecDeque<u8> = VecDeque::new();
        let mut each = |text: &str| {
            if LogEntry::parse(text).is_some_and(|line| until.is_some_and(|until| line.at > until)) {
                return ControlFlow::Break(());
            }
            kept.extend(text.as_bytes());
            kept.push_back(b'\n');
            kept.drain(..kept.len().saturating_sub(RAW));
            ControlFlow::Continue(())
        };
        let read = root
            .descend(layout::DIAG)
            .and_then(|diag| diag_log::each_line(&diag, &story.file, &mut BUDGET.clone(), &mut each));
        // Lines that cannot be read any more are not recorded.
        if read.is_ok() { kept.into() } else { Vec::new() }
    }
}

/// The runner's name, as its last Listener has read it from `.runner` (src/Runner.Listener/BrokerMessageListener.cs): an ephemeral
/// runner has deleted that file since.
pub fn agent_name(root: &Dir) -> Option<String> {
    let diag = root.descend(layout::DIAG).ok()?;
    let mut name = None;
    for log in diag_log::newest(&diag, LogKind::Listener, 2).ok()? {
        let mut each = |text: &str| {
            let value = text.trim().strip_prefix("\"AgentName\": \"").and_then(|rest| rest.split_once('"'));
            name = value.map(|(name, _)| name.to_owned());
            if name.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let _ = diag_log::each_line(&diag, &log, &mut HEAD.clone(), &mut each);
        if name.is_some() {
            break;
        }
    }
    name
}

/// The content of one text by itself.
#[cfg(any(test, fuzzing))]
pub(crate) fn tell(logs: &[&str]) -> LoggedJobs {
    let mut reader = ListenerReader::new();
    for text in logs {
        reader.begin_log();
        text.lines().for_each(|line| reader.line(line, OsStr::new("Runner.log")));
        reader.end_log(!text.is_empty() && !text.ends_with('\n'), None);
    }
    reader.end()
}

struct ListenerReader {
    told: LoggedJobs,
    entries: Entries,
    /// The job whose Worker is started next.
    dispatched: Option<String>,
    /// Whether the process that is being started is a Worker, if its file's name was logged.
    is_worker: Option<bool>,
    /// Something was written to this log.
    has_line: bool,
    last_at: Option<SystemTime>,
}

impl ListenerReader {
    fn new() -> Self {
        Self {
            told: LoggedJobs { is_whole: true, ..LoggedJobs::default() },
            entries: Entries::default(),
            dispatched: None,
            is_worker: None,
            has_line: false,
            last_at: None,
        }
    }

    fn log(&mut self, diag: &Dir, name: &OsStr, budget: &mut u64) -> io::Result<()> {
        self.begin_log();
        let read = diag_log::each_line(diag, name, budget, &mut |text| {
            self.line(text, name);
            ControlFlow::Continue(())
        })?;
        self.told.is_whole &= read.is_whole;
        self.end_log(read.is_cut, diag_log::begun(name));
        Ok(())
    }

    /// The latest jobs, the last one first.
    fn recent(&mut self) -> impl Iterator<Item = &mut LoggedJob> {
        self.told.stories.iter_mut().rev().take(RECENT)
    }

    fn begin_log(&mut self) {
        (self.entries, self.has_line) = (Entries::default(), false);
    }

    fn end_log(&mut self, is_cut: bool, begun: Option<SystemTime>) {
        if !self.has_line {
            self.told.empty.extend(begun);
            return;
        }
        let at = self.last_at;
        for story in self.recent().filter(|story| is_cut && story.concerns(at)) {
            story.log.is_cut = story.log.last.clone();
        }
    }

    fn line(&mut self, text: &str, file: &OsStr) {
        let Some(line) = LogEntry::parse(text) else {
            let complaint = self.entries.go_on(text);
            let (at, names) = (self.last_at, self.entries.names_exception(text));
            if complaint.is_some() || names {
                for story in self.recent().filter(|story| story.concerns(at)) {
                    complain(&mut story.log.complaints, complaint, text, at);
                    if names {
                        story.note_exception(text, at);
                    }
                }
            }
            return;
        };
        (self.has_line, self.last_at) = (true, Some(line.at));
        let complaint = self.entries.begin(&line);
        let names = line.source == "JobDispatcher" && self.entries.names_exception(line.message);
        if line.source == "JobDispatcher" {
            self.receive(&line);
        }
        for story in self.recent().filter(|story| story.concerns(Some(line.at))) {
            complain(&mut story.log.complaints, complaint, line.message, Some(line.at));
            if names {
                story.note_exception(line.message, Some(line.at));
            }
            story.log.last = Some(kept(&line));
            if story.file != file {
                story.file = file.to_owned();
            }
            if story.is_open() {
                story.pace.step(line.at);
                story.log.silence = story.pace.silence;
                of_the_process(&mut story.log, &line);
            }
        }
        match line.source {
            "JobDispatcher" => self.dispatcher(&line),
            source if source.starts_with("ProcessInvoker") => self.process(&line),
            _ => {}
        }
    }

    /// A job is received, or its lease is first renewed: the next Worker is for it.
    fn receive(&mut self, line: &LogEntry<'_>) {
        if let Some(id) = listener::renewal_starts(line.message) {
            self.dispatched = id.map(str::to_owned);
            return;
        }
        let Some((number, id)) = listener::received(line.message) else { return };
        self.dispatched = Some(id.to_owned());
        if self.told.stories.iter().any(|story| story.id == id && !story.log.has_end()) {
            return;
        }
        if self.told.stories.len() == MAX_STORIES {
            self.told.stories.pop_front();
        }
        let log = ListenerLog { received: Some(kept(line)), ..ListenerLog::default() };
        let (id, request, file) = (id.to_owned(), number.to_owned(), OsString::new());
        self.told.stories.push_back(LoggedJob { id, request, log, pace: Pace::default(), file });
    }

    /// The Worker's process, by its pid.
    fn process(&mut self, line: &LogEntry<'_>) {
        match ProcessEvent::of(line.message) {
            Some(ProcessEvent::Starts { is_worker }) => self.is_worker = Some(is_worker),
            Some(ProcessEvent::Started(pid)) => {
                let is_worker = self.is_worker.take().unwrap_or(true);
                let dispatched = self.dispatched.clone();
                let mut stories = self.recent();
                let story = stories.find(|story| dispatched.as_ref() == Some(&story.id) && story.is_open());
                if let Some(story) = story.filter(|story| is_worker && story.log.worker_pid.is_none()) {
                    story.log.worker_pid = pid;
                }
            }
            Some(ProcessEvent::Ended(pid, code)) => {
                let pid = pid.parse().ok();
                let mut stories = self.recent();
                let story = stories.find(|story| pid.is_some() && story.log.worker_pid == pid);
                if let Some((story, code)) = story.zip(code).filter(|(story, _)| story.log.finished.is_none())
                {
                    story.log.finished = Some((code, kept(line)));
                }
            }
            None => {}
        }
    }

    fn dispatcher(&mut self, line: &LogEntry<'_>) {
        for story in self.recent() {
            let is_named = line.message.contains(&story.id);
            if is_named || (story.is_open() && listener::names_request(line.message, &story.request)) {
                of_the_job(story, line);
            }
        }
    }

    fn end(mut self) -> LoggedJobs {
        for story in &mut self.told.stories {
            let last = story.log.last.as_ref().and_then(|line| line.at);
            story.log.is_whole = self.told.is_whole;
            story.log.empty_logs =
                self.told.empty.iter().filter(|begun| last.is_some_and(|last| **begun >= last)).count();
        }
        self.told
    }
}

/// Lines of a Listener while a job runs that do not name it.
fn of_the_process(log: &mut ListenerLog, line: &LogEntry<'_>) {
    if listener::is_shutdown(line) {
        log.shutdown.get_or_insert_with(|| kept(line));
    }
    if listener::is_start(line) {
        log.restarted = Some(kept(line));
    }
}

/// A line of the dispatcher that names a job.
fn of_the_job(story: &mut LoggedJob, line: &LogEntry<'_>) {
    let (id, log) = (story.id.as_str(), &mut story.log);
    let is_open = !log.has_end();
    let behind = |form| listener::behind(line.message, form, id);
    if let Some(code) = behind(WORKER_FINISHED).and_then(|code| code.trim().parse().ok()) {
        log.finished = Some((code, kept(line)));
    }
    if let Some(result) = behind(RESULT_REPORTED).and_then(parse_result) {
        log.result = Some((result, kept(line)));
    }
    let says = |forms: &[Form]| forms.iter().any(|form| behind(*form).is_some());
    if says(listener::STOPS) {
        log.stopped.get_or_insert_with(|| kept(line));
    }
    // They come before the end that they lead to.
    if is_open {
        if says(listener::CANCELLED) {
            log.cancelled.get_or_insert_with(|| kept(line));
        }
        if says(listener::SHUT_DOWN) {
            log.shutdown.get_or_insert_with(|| kept(line));
        }
        if listener::loses_contact(line.message) {
            log.lost_contact.get_or_insert_with(|| kept(line));
        }
        if listener::has_renewal_trouble(line.message) {
            log.lost_renewal = Some(kept(line));
        }
        if says(listener::NEVER_RENEWED) {
            log.lost_renewal = Some(kept(line));
            log.lost_contact.get_or_insert_with(|| kept(line));
        }
    }
    if says(listener::CLOSED) || listener::skips_message(line.message) {
        log.closed.get_or_insert_with(|| kept(line));
    }
}

#[cfg(test)]
mod tests;
