//! Work in a separate process that can be abandoned.
//!
//! A thread that waits in the kernel for a mount that does not answer ignores every signal, SIGKILL included (state D), and so does its whole
//! process. A process that has to end in time must therefore not be that process: a [`Supervisor`] forks a worker, passes its output on, and
//! waits for it within a time limit. The supervisor itself makes no system call that could block for ever. An abandoned worker holds nothing
//! of its caller's: its output goes through pipes, and all other descriptors are closed in it. It ends with its supervisor, or as soon as the
//! kernel lets it.
//!
//! The caller may have blocked or ignored any signal; nothing here relies on its disposition.

mod left_behind;
mod link;
mod stuck;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

pub use link::Link;
pub use stuck::Stuck;
pub use worker::note_lock;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use watch::Watch;
use worker::{be_worker, end_at_once};

/// Of how much room a pipe that polls as writable is sure (`PIPE_BUF`).
const ROOM: usize = 4096;

/// How long to wait for a reader of standard output before the last message.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerEnd {
    /// It ended regularly, with this exit code.
    Proper(u8),
    /// It has ended in any other way; by this signal, if it was one.
    Died(Option<Signal>),
    /// It took longer than this, and was killed. It may live on until the kernel lets go of it.
    TimedOut(Duration),
    /// This process received this signal, and the worker was killed.
    Signalled(Signal),
    /// The parent of this process has ended, and the worker was killed.
    Orphaned,
    /// The supervisor's caller has given it up, and it was killed.
    GivenUp,
}

/// A process that waits for workers. Made while there is one thread alone, and before anything can hang.
#[derive(Debug)]
pub struct Supervisor {
    noted: SigSet,
    signals: Option<SignalFd>,
    obeys_signals: bool,
    /// Whether the end of who started us is a reason to end.
    minds_its_parent: bool,
    /// The parent of this process. It sends no signal at its death: that would be sent at the end of the thread that started this process.
    parent: Pid,
    link: Link,
    /// How the line begins that is being passed on to standard output.
    line: Vec<u8>,
    /// Whether a group of a job's log is open there.
    is_in_group: bool,
    /// The error of standard output, unless its reader went away.
    refused: Option<nix::errno::Errno>,
}

impl Supervisor {
    /// From here on signals that would end this process wait to be read.
    ///
    /// # Errors The errors of sigprocmask(2) and mmap(2).
    pub fn new() -> io::Result<Self> {
        let mut noted = SigSet::all();
        // Signals that do not request an end: of children, of job control, and of faults of this process.
        for other in [
            Signal::SIGCHLD,
            Signal::SIGCONT,
            Signal::SIGTSTP,
            Signal::SIGTTIN,
            Signal::SIGTTOU,
            Signal::SIGURG,
            Signal::SIGWINCH,
            Signal::SIGPIPE,
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGABRT,
            Signal::SIGTRAP,
            Signal::SIGSYS,
        ] {
            noted.remove(other);
        }
        noted.thread_set_mask()?;
        let link = Link::make()?;
        Ok(Self {
            noted,
            signals: None,
            obeys_signals: true,
            minds_its_parent: true,
            parent: getppid(),
            link,
            line: Vec::new(),
            is_in_group: false,
            refused: None,
        })
    }

    /// The memory that workers share with this process.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Forks a worker, passes its output on, and waits for its end, for `limit` or the limit that it sets through the link. The value that
    /// `work` returns is its exit code; `None` means that it did not end regularly.
    ///
    /// # Errors The errors of pipe2(2) and fork(2). Then nothing was done.
    pub fn run(&mut self, limit: Duration, work: impl FnOnce(Link) -> Option<u8>) -> io::Result<WorkerEnd> {
        self.run_until(limit, work, &mut |_| false)
    }

    /// The same, until `give_up` returns true. It is called every few seconds with the worker's process.
    ///
    /// # Errors
    /// As [`Supervisor::run`].
    pub fn run_until(
        &mut self,
        limit: Duration,
        work: impl FnOnce(Link) -> Option<u8>,
        give_up: &mut dyn FnMut(Pid) -> bool,
    ) -> io::Result<WorkerEnd> {
        self.link.reset();
        let started = Instant::now();
        let (output, into_output) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (complaint, into_complaint) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let parent = getpid();
        // SAFETY: there is one thread alone, so that no lock is held that the child could wait for.
        #[allow(unsafe_code)]
        let forked = unsafe { fork()? };
        let worker = match forked {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                be_worker(parent, self.link, [output, complaint, into_output, into_complaint], work)
            }
        };
        drop((into_output, into_complaint));
        let mut watch = Watch::new(self, worker, [output, complaint], limit, started);
        let end = watch.run_to_end(give_up);
        // To be closed by our own end, which comes next.
        std::mem::forget(watch);
        Ok(end)
    }

    /// Writes text of our own on standard output: at the beginning of a line, and outside of a group that would fold it away. What
    /// does not fit within a moment is lost.
    pub fn say(&mut self, text: &str) {
        let line_end = if self.line.is_empty() { "" } else { "\n" };
        let group_end = if self.is_in_group { "::endgroup::\n" } else { "" };
        let text = format!("{line_end}{group_end}{text}");
        let _ = self.pass_on(Stream::Output, text.as_bytes(), Instant::now() + LAST_WORD);
    }

    /// Neither signals nor the end of who started us are a reason to end any more.
    pub fn ignore_signals(&mut self) {
        (self.signals, self.obeys_signals) = (None, false);
    }

    /// The end of who started us is no reason to end any more.
    pub fn outlive_parent(&mut self) {
        self.minds_its_parent = false;
    }

    /// Writes output on; an error if its reader went away.
    fn pass_on(&mut self, stream: Stream, mut bytes: &[u8], until: Instant) -> nix::Result<()> {
        if stream == Stream::Output {
            self.note(bytes);
        }
        let (out, err) = (io::stdout(), io::stderr());
        let target = match stream {
            Stream::Output => out.as_fd(),
            Stream::Complaint => err.as_fd(),
        };
        while !bytes.is_empty() && self.is_writable(target, until) {
            match nix::unistd::write(target, &bytes[..bytes.len().min(ROOM)]) {
                Ok(written) => bytes = &bytes[written..],
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => {
                    if stream == Stream::Output && error != nix::errno::Errno::EPIPE {
                        self.refused = Some(error);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The error of writing a worker's output; a reader that went away is no error.
    pub fn refused_output(&self) -> Option<io::Error> {
        self.refused.map(Into::into)
    }

    fn is_orphaned(&self) -> bool {
        self.obeys_signals && self.minds_its_parent && getppid() != self.parent
    }

    fn note(&mut self, bytes: &[u8]) {
        const OPENS: &[u8] = b"::group::";
        const CLOSES: &[u8] = b"::endgroup::";
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.is_in_group =
                        self.line.starts_with(OPENS) || self.is_in_group && !self.line.starts_with(CLOSES);
                    self.line.clear();
                }
                byte if self.line.len() < CLOSES.len() => self.line.push(*byte),
                _ => {}
            }
        }
    }

    /// Waits until something can be written without waiting. A signal ends that.
    fn is_writable(&self, target: BorrowedFd<'_>, until: Instant) -> bool {
        let mut files = vec![PollFd::new(target, PollFlags::POLLOUT)];
        files.extend(self.signals.as_ref().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
        loop {
            let ready = poll(&mut files, left(until));
            let is_told = files.get(1).is_some_and(|signals| signals.any() == Some(true));
            match ready {
                Err(nix::errno::Errno::EINTR) => {}
                Ok(1..) if !is_told => return true,
                _ => return false,
            }
        }
    }
}

fn left(until: Instant) -> PollTimeout {
    let left = until.saturating_duration_since(Instant::now());
    // Up, lest we wake a little too early, again and again.
    PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Complaint,
}

/// Ends this process as a signal does by itself.
pub fn end_by(signal_to_end_by: Signal) -> ! {
    // SAFETY: no handler is installed.
    #[allow(unsafe_code)]
    let _ = unsafe { signal(signal_to_end_by, SigHandler::SigDfl) };
    let _ = SigSet::empty().thread_set_mask();
    let _ = kill(getpid(), signal_to_end_by);
    // It does not end a process.
    end_at_once(128 + signal_to_end_by as i32)
}
