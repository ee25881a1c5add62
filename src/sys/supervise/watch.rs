//! Waiting for one worker: what it prints is passed on, and its end is noticed.

use super::{ROOM, Stream, Supervisor, WorkerEnd, left, left_behind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How many times the pipes of a worker are read after its end. A pipe holds 64 KiB by default.
const REST: usize = 64;

/// For this long only the end of a worker's output is waited for, which takes fewer system calls. Signals are handled after it.
pub(super) const BRIEF: Duration = Duration::from_millis(50);

/// A worker ends within this time after it has declared its regular end, unless a thread of it waits for a dead mount, which is not waited
/// for.
const ENDS_IN: Duration = Duration::from_millis(250);

/// The interval at which the supervisor's caller is asked whether to give a worker up.
pub(super) const GIVE_UP: Duration = Duration::from_secs(2);

const STREAMS: [Stream; 2] = [Stream::Output, Stream::Complaint];

/// A worker that is waited for.
pub(super) struct Watch<'s> {
    supervisor: &'s mut Supervisor,
    worker: Pid,
    /// Its output and error, and which of them have not come to their end yet.
    streams: [OwnedFd; 2],
    are_open: [bool; 2],
    /// Whether its end, and signals, are noticed at once.
    is_close: bool,
    /// Readable as soon as the worker has ended.
    ended: Option<OwnedFd>,
    started: Instant,
    limit: Duration,
    /// When the caller was last asked whether to give it up.
    asked: Instant,
    /// When the worker's declaration of its regular end was first seen.
    said: Option<Instant>,
}

impl<'s> Watch<'s> {
    pub(super) fn new(
        supervisor: &'s mut Supervisor,
        worker: Pid,
        streams: [OwnedFd; 2],
        limit: Duration,
        started: Instant,
    ) -> Self {
        Self {
            supervisor,
            worker,
            streams,
            are_open: [true; 2],
            is_close: false,
            ended: None,
            started,
            limit,
            asked: started,
            said: None,
        }
    }

    pub(super) fn run_to_end(&mut self, give_up: &mut dyn FnMut(Pid) -> bool) -> WorkerEnd {
        let end = loop {
            if let Some(end) = self.look(left(self.next_look())) {
                break end;
            }
            if !self.is_close && (self.started.elapsed() >= BRIEF || self.are_open == [false; 2]) {
                self.watch_closely();
            }
            if self.is_close && self.supervisor.is_orphaned() {
                break WorkerEnd::Orphaned;
            }
            if let Some(code) = self.is_close.then(|| self.supervisor.link.proper_end()).flatten()
                && self.said.get_or_insert_with(Instant::now).elapsed() >= ENDS_IN
            {
                break WorkerEnd::Proper(code);
            }
            if self.is_close && self.asked.elapsed() >= GIVE_UP {
                if give_up(self.worker) {
                    break WorkerEnd::GivenUp;
                }
                self.asked = Instant::now();
            }
            // The worker may have set its limit meanwhile.
            if self.started.elapsed() >= self.limit() {
                break WorkerEnd::TimedOut(self.limit());
            }
        };
        if matches!(
            end,
            WorkerEnd::TimedOut(_) | WorkerEnd::Signalled(_) | WorkerEnd::Orphaned | WorkerEnd::GivenUp
        ) {
            // Not waited for. What it is about to do is done or not done: every step of a run leaves each tree where it is,
            // or in trash.
            let _ = kill(self.worker, Signal::SIGKILL);
            left_behind::release_lock(self.worker, self.supervisor.link.noted_lock());
        }
        for _ in 0..REST {
            if self.are_open == [false; 2] || self.look_at_streams(PollTimeout::ZERO).served == 0 {
                break;
            }
        }
        end
    }

    fn next_look(&self) -> Instant {
        let limit = self.started + self.limit();
        match self.is_close {
            false => limit.min(self.started + BRIEF),
            // Whether we are orphaned is asked again and again; before Linux 5.3, and where a filter refuses a pidfd, so is whether
            // the worker has ended.
            true => limit.min(Instant::now() + BRIEF),
        }
    }

    fn watch_closely(&mut self) {
        self.is_close = true;
        self.ended = rustix::process::Pid::from_raw(self.worker.as_raw())
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        if self.supervisor.obeys_signals && self.supervisor.signals.is_none() {
            let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
            // Without it they are not noticed, and do not end us either.
            self.supervisor.signals = SignalFd::with_flags(&self.supervisor.noted, flags).ok();
        }
    }

    fn limit(&self) -> Duration {
        self.supervisor.link.own_limit().unwrap_or(self.limit)
    }

    /// Waits for something to happen, and serves it.
    fn look(&mut self, wait: PollTimeout) -> Option<WorkerEnd> {
        let seen = self.look_at_streams(wait);
        if let Some(signal) = seen.signals.then(|| self.signal()).flatten() {
            return Some(WorkerEnd::Signalled(signal));
        }
        let may_be_over =
            seen.ended || self.ended.is_none() && (self.is_close || self.are_open == [false; 2]);
        if !may_be_over {
            return None;
        }
        let died = match waitpid(self.worker, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR) => return None,
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(signal),
            // A process that ignores SIGCHLD cannot learn how its children ended.
            Ok(_) | Err(_) => None,
        };
        Some(self.supervisor.link.proper_end().map_or(WorkerEnd::Died(died), WorkerEnd::Proper))
    }

    fn signal(&mut self) -> Option<Signal> {
        let read = self.supervisor.signals.as_ref()?.read_signal().ok()??;
        Some(Signal::try_from(read.ssi_signo as i32).unwrap_or(Signal::SIGTERM))
    }

    /// Waits until something happens, and passes on what the worker has printed.
    fn look_at_streams(&mut self, wait: PollTimeout) -> Polled {
        let file = |at: usize| self.are_open[at].then(|| self.streams[at].as_fd());
        let ended = self.ended.as_ref().map(AsFd::as_fd);
        let signals = self.supervisor.signals.as_ref().map(AsFd::as_fd);
        let files = [file(0), file(1), ended, signals];
        let Some([output, complaint, ended, signals]) = events(files, wait) else { return Polled::default() };
        let until = self.started + self.limit();
        let mut served = 0;
        for (at, seen) in [output, complaint].into_iter().enumerate() {
            served += usize::from(!seen.is_empty());
            if seen.contains(PollFlags::POLLIN) {
                self.pass_on(at, until);
            } else if !seen.is_empty() {
                self.are_open[at] = false;
            }
        }
        Polled { served, ended: !ended.is_empty(), signals: !signals.is_empty() }
    }

    fn pass_on(&mut self, at: usize, until: Instant) {
        let mut chunk = [0; ROOM];
        match nix::unistd::read(&self.streams[at], &mut chunk) {
            Ok(0) => self.are_open[at] = false,
            Ok(length) => {
                if self.supervisor.pass_on(STREAMS[at], &chunk[..length], until).is_err() {
                    self.close(at);
                }
            }
            Err(_) => {}
        }
    }

    /// Closes an output without a reader: the worker notices that at its next write.
    fn close(&mut self, at: usize) {
        if let Ok(nothing) = File::open("/dev/null") {
            (self.streams[at], self.are_open[at]) = (nothing.into(), false);
        }
    }
}

/// The result of one poll.
#[derive(Debug, Default)]
struct Polled {
    /// Streams that had something, or ended.
    served: usize,
    ended: bool,
    signals: bool,
}

/// Waits for any of these files and returns the events of each; `None` if it was interrupted.
fn events(files: [Option<BorrowedFd<'_>>; 4], wait: PollTimeout) -> Option<[PollFlags; 4]> {
    let mut polled: Vec<PollFd<'_>> =
        files.iter().flatten().map(|file| PollFd::new(*file, PollFlags::POLLIN)).collect();
    poll(&mut polled, wait).ok()?;
    let mut seen = polled.iter().map(|file| file.revents().unwrap_or(PollFlags::empty()));
    Some(files.map(|file| file.and_then(|_| seen.next()).unwrap_or(PollFlags::empty())))
}
