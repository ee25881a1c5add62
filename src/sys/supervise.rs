//! Work in a process of its own, which may be left behind.
//!
//! A thread that waits in the kernel for a mount that does not answer is beyond every signal, SIGKILL included (state D), and so
//! is its whole process. Who has to end in time must not be that process: a [`Supervisor`] forks a worker, passes its output
//! on, and waits for it as long as it may take and no longer. It makes no system call itself that could hang. A worker that is left
//! behind holds nothing of its caller's: its output goes through pipes, and all other descriptors are closed in it. It dies
//! with its supervisor, or as soon as the kernel lets it.
//!
//! Nothing here takes a signal for granted that whoever started us may have blocked or set to be ignored.

mod left_behind;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdout, fork, getpid, getppid, pipe2};
use rustix::process::{PidfdFlags, Resource, getrlimit, pidfd_open};
use std::fs::File;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Of how much room a pipe that polls as writable is sure (`PIPE_BUF`).
const ROOM: usize = 4096;

/// How often what a worker has left in its pipes is read after its end. A pipe holds 64 KiB unless told otherwise.
const REST: usize = 64;

/// What ends sooner is waited for by the end of its output alone: that takes fewer system calls. Signals wait as long.
const BRIEF: Duration = Duration::from_millis(50);

/// How long a reader of our own output may keep us from saying the last word.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How a worker came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It has done what it had to, and its exit code is this.
    Proper(u8),
    /// It has ended in any other way; by this signal, if it was one.
    Died(Option<Signal>),
    /// It took longer than this, and was killed. It may live on until the kernel lets go of it.
    TimedOut(Duration),
    /// We were told to end by this signal, and the worker was killed.
    Signalled(Signal),
    /// Who started us has ended and no longer waits for us, and the worker was killed.
    Orphaned,
    /// Who watches over it has given it up, and it was killed.
    GivenUp,
}

/// A worker that has done what it had to ends by then, unless a thread of it waits for a dead mount: nobody waits for that.
const ENDS_IN: Duration = Duration::from_millis(250);

/// How often whoever watches over a worker is asked whether it is to be given up.
const GIVE_UP: Duration = Duration::from_secs(2);

/// What a worker and its supervisor both see: memory, so that nothing has to be sent and nothing can block.
#[derive(Debug, Clone, Copy)]
pub struct Link(&'static Shared);

#[derive(Debug)]
struct Shared {
    /// Milliseconds since the worker's start; 0 as long as it has set no limit.
    limit: AtomicU64,
    /// The exit code of a proper end, plus one.
    end: AtomicU32,
    /// Bits that mean what both agree on.
    marks: AtomicU32,
    /// The worker's descriptor of a lock under which it only looks, plus one.
    lock: AtomicU32,
}

impl Link {
    fn make() -> io::Result<Self> {
        let length = NonZeroUsize::new(size_of::<Shared>()).expect("it has fields");
        let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        // SAFETY: a new mapping, which aliases nothing.
        #[allow(unsafe_code)]
        let page = unsafe { mmap_anonymous(None, length, protection, flags)? };
        // SAFETY: the page is large enough, aligned, never unmapped, and zero, which is a value of each field; all of them are
        // atomic, so that two processes may use them at once.
        #[allow(unsafe_code)]
        Ok(Self(unsafe { page.cast::<Shared>().as_ref() }))
    }

    /// For the worker: it may take so long, counted from its start.
    pub fn limit(self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
        self.0.limit.store(millis, Ordering::Relaxed);
    }

    /// For the worker: leaves a mark, which workers after it find as well.
    pub fn mark(self, mark: u32) {
        self.0.marks.fetch_or(mark, Ordering::Relaxed);
    }

    /// For the supervisor: no worker has left a mark.
    pub fn clear(self) {
        self.0.marks.store(0, Ordering::Relaxed);
    }

    /// Whether a worker has left this mark.
    pub fn has(self, mark: u32) -> bool {
        self.0.marks.load(Ordering::Relaxed) & mark == mark
    }
}

/// A process that waits for workers. Made while there is one thread alone, and before anything can hang.
#[derive(Debug)]
pub struct Supervisor {
    noted: SigSet,
    signals: Option<SignalFd>,
    obeys_signals: bool,
    /// Whether the end of who started us is a reason to end.
    minds_its_parent: bool,
    /// Who started us. Its death sends no signal: that would come with the end of the one thread of it that did.
    parent: Pid,
    link: Link,
    /// How the line begins that is being passed on to standard output.
    line: Vec<u8>,
    /// Whether a group of a job's log is open there.
    is_in_group: bool,
    /// Why standard output has taken no more, where somebody reads it.
    refused: Option<nix::errno::Errno>,
}

impl Supervisor {
    /// From here on signals that would end this process wait to be read.
    ///
    /// # Errors
    /// What sigprocmask(2) and mmap(2) say.
    pub fn new() -> io::Result<Self> {
        let mut noted = SigSet::all();
        // What is no word to end: the fate of children, job control, and faults of our own.
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

    /// What the workers share with us.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Forks a worker, passes on what it prints, and waits for its end: `limit`, or as long as it allows itself through the
    /// link. What it returns is its exit code; `None` when it has not done what it had to.
    ///
    /// # Errors
    /// What pipe2(2) and fork(2) say. Then nothing was done.
    pub fn run(&mut self, limit: Duration, work: impl FnOnce(Link) -> Option<u8>) -> io::Result<End> {
        self.run_until(limit, work, &mut || false)
    }

    /// The same, until `give_up` says so, which is asked every few seconds.
    ///
    /// # Errors
    /// As [`Supervisor::run`].
    pub fn run_until(
        &mut self,
        limit: Duration,
        work: impl FnOnce(Link) -> Option<u8>,
        give_up: &mut dyn FnMut() -> bool,
    ) -> io::Result<End> {
        self.link.0.limit.store(0, Ordering::Relaxed);
        self.link.0.end.store(0, Ordering::Relaxed);
        self.link.0.lock.store(0, Ordering::Relaxed);
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
        let mut watch = Watch {
            supervisor: self,
            worker,
            streams: [output, complaint],
            are_open: [true; 2],
            is_close: false,
            ended: None,
            started,
            limit,
            asked: started,
            said: None,
        };
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

    /// Writes on; an error where nobody reads that any more.
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

    /// Why what a worker has printed could not be written; that nobody reads it is no reason.
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

const STREAMS: [Stream; 2] = [Stream::Output, Stream::Complaint];

/// The link of this process, if it is a worker.
static LINK: OnceLock<Link> = OnceLock::new();

/// For a worker, nobody else: the lock under which it only looks now. Its supervisor releases that in its place when the worker is left
/// behind.
pub fn note_lock(lock: Option<BorrowedFd<'_>>) {
    if let Some(link) = LINK.get() {
        let number = lock.map_or(0, |lock| lock.as_raw_fd().unsigned_abs() + 1);
        link.0.lock.store(number, Ordering::Relaxed);
    }
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

/// The child: it never returns to what its parent goes on with.
fn be_worker(parent: Pid, link: Link, pipes: [OwnedFd; 4], work: impl FnOnce(Link) -> Option<u8>) -> ! {
    let code = catch_unwind(AssertUnwindSafe(|| {
        start_clean(parent, pipes).ok()?;
        let _ = LINK.set(link);
        let code = work(link);
        let _ = io::stdout().flush();
        code
    }));
    if let Ok(Some(code)) = code {
        link.0.end.store(u32::from(code) + 1, Ordering::Relaxed);
        end_at_once(code.into());
    }
    end_at_once(101);
}

/// Without what a process has registered to be run at its end: that belongs to the process which was forked.
fn end_at_once(code: i32) -> ! {
    // SAFETY: it takes a number, and does not return.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(code)
    }
}

/// Takes from a worker whatever its supervisor, and who started that, has to keep; and what may have been left to it by them.
fn start_clean(parent: Pid, pipes: [OwnedFd; 4]) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(io::Error::other("the supervisor has ended"));
    }
    SigSet::empty().thread_set_mask()?;
    // A file that may not grow any more is an error, not the end.
    // SAFETY: no handler is installed.
    #[allow(unsafe_code)]
    unsafe {
        signal(Signal::SIGXFSZ, SigHandler::SigIgn)?;
    }
    dup2_stdout(&pipes[2])?;
    dup2_stderr(&pipes[3])?;
    // Closed below, with all the others.
    std::mem::forget(pipes);
    // SAFETY: nothing of ours is open but the standard streams: what else there is was inherited, or has just been forgotten.
    #[allow(unsafe_code)]
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed != 0 {
        close_each();
    }
    Ok(())
}

/// The same before Linux 5.9, or where a filter refuses it.
fn close_each() {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).min(1 << 16) as i32;
    for descriptor in 3..most {
        // SAFETY: as above; a number that is no open descriptor's is refused.
        #[allow(unsafe_code)]
        unsafe {
            libc::close(descriptor)
        };
    }
}

/// A worker that is waited for.
struct Watch<'s> {
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
    /// When it was last asked whether it is to be given up.
    asked: Instant,
    /// When it was first seen that the worker has done what it had to.
    said: Option<Instant>,
}

impl Watch<'_> {
    fn run_to_end(&mut self, give_up: &mut dyn FnMut() -> bool) -> End {
        let end = loop {
            if let Some(end) = self.look(left(self.next_look())) {
                break end;
            }
            if !self.is_close && (self.started.elapsed() >= BRIEF || self.are_open == [false; 2]) {
                self.watch_closely();
            }
            if self.is_close && self.supervisor.is_orphaned() {
                break End::Orphaned;
            }
            if let Some(code) = self.is_close.then(|| self.proper_end()).flatten()
                && self.said.get_or_insert_with(Instant::now).elapsed() >= ENDS_IN
            {
                break End::Proper(code);
            }
            if self.is_close && self.asked.elapsed() >= GIVE_UP {
                if give_up() {
                    break End::GivenUp;
                }
                self.asked = Instant::now();
            }
            // The worker may have set its limit meanwhile.
            if self.started.elapsed() >= self.limit() {
                break End::TimedOut(self.limit());
            }
        };
        if matches!(end, End::TimedOut(_) | End::Signalled(_) | End::Orphaned | End::GivenUp) {
            // Not waited for. What it is about to do is done or not done: every step of a run leaves each tree where it is,
            // or in trash.
            let _ = kill(self.worker, Signal::SIGKILL);
            left_behind::release_lock(self.worker, &self.supervisor.link.0.lock);
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
        match self.supervisor.link.0.limit.load(Ordering::Relaxed) {
            0 => self.limit,
            millis => Duration::from_millis(millis),
        }
    }

    /// Waits for something to happen, and serves it.
    fn look(&mut self, wait: PollTimeout) -> Option<End> {
        let seen = self.look_at_streams(wait);
        if let Some(signal) = seen.signals.then(|| self.signal()).flatten() {
            return Some(End::Signalled(signal));
        }
        let may_be_over =
            seen.ended || self.ended.is_none() && (self.is_close || self.are_open == [false; 2]);
        if !may_be_over {
            return None;
        }
        let died = match waitpid(self.worker, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR) => return None,
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(signal),
            // Who ignores the death of children is never told how they ended.
            Ok(_) | Err(_) => None,
        };
        Some(self.proper_end().map_or(End::Died(died), End::Proper))
    }

    /// The exit code of a worker that has done what it had to.
    fn proper_end(&self) -> Option<u8> {
        u8::try_from(self.supervisor.link.0.end.load(Ordering::Relaxed).checked_sub(1)?).ok()
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

    /// Nobody reads it: the worker sees that as well, and ends where it goes on until then.
    fn close(&mut self, at: usize) {
        if let Ok(nothing) = File::open("/dev/null") {
            (self.streams[at], self.are_open[at]) = (nothing.into(), false);
        }
    }
}

/// What a look has seen.
#[derive(Debug, Default)]
struct Polled {
    /// Streams that had something, or ended.
    served: usize,
    ended: bool,
    signals: bool,
}

/// Waits for any of these files, and says what each is ready for; `None` when it was interrupted.
fn events(files: [Option<BorrowedFd<'_>>; 4], wait: PollTimeout) -> Option<[PollFlags; 4]> {
    let mut polled: Vec<PollFd<'_>> =
        files.iter().flatten().map(|file| PollFd::new(*file, PollFlags::POLLIN)).collect();
    poll(&mut polled, wait).ok()?;
    let mut seen = polled.iter().map(|file| file.revents().unwrap_or(PollFlags::empty()));
    Some(files.map(|file| file.and_then(|_| seen.next()).unwrap_or(PollFlags::empty())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    const LONG: Duration = Duration::from_secs(60);

    /// To this thread alone: tests have others.
    fn tell(signal: Signal) {
        // SAFETY: the numbers are this process's, this thread's and a signal's; it is blocked here.
        #[allow(unsafe_code)]
        let told = unsafe {
            libc::syscall(libc::SYS_tgkill, getpid().as_raw(), nix::unistd::gettid().as_raw(), signal as i32)
        };
        assert_eq!(told, 0);
    }

    /// The worker's word, in what a test's process can see: a mark.
    fn run(limit: Duration, work: impl FnOnce(Link) -> Option<u8>) -> (End, Link, Duration) {
        let mut supervisor = Supervisor::new().unwrap();
        let begun = Instant::now();
        let end = supervisor.run(limit, work).unwrap();
        (end, supervisor.link(), begun.elapsed())
    }

    #[test]
    fn a_proper_end_is_one_that_the_worker_declares() {
        let (end, link, _) = run(LONG, |link| {
            link.mark(4);
            Some(7)
        });
        assert_eq!((end, link.has(4), link.has(2)), (End::Proper(7), true, false));
        assert_eq!(run(LONG, |_| None).0, End::Died(None));
        assert_eq!(run(LONG, |_| std::process::exit(0)).0, End::Died(None), "an exit code is no declaration");
        let killed = run(LONG, |_| {
            let _ = kill(getpid(), Signal::SIGKILL);
            Some(0)
        });
        assert_eq!(killed.0, End::Died(Some(Signal::SIGKILL)));
        // Not at once: then it is watched closely.
        let slow = run(LONG, |_| {
            sleep(BRIEF * 3);
            Some(1)
        });
        assert_eq!(slow.0, End::Proper(1));
    }

    #[test]
    fn a_worker_has_the_time_that_it_allows_itself_and_no_more() {
        let (limit, short) = (Duration::from_millis(300), Duration::from_millis(100));
        let (end, _, took) = run(limit, |_| {
            sleep(LONG);
            Some(0)
        });
        assert_eq!(end, End::TimedOut(limit));
        assert!(took >= limit && took < LONG / 2, "{took:?}");
        let longer = run(short, |link| {
            link.limit(LONG);
            sleep(short * 3);
            Some(0)
        });
        assert_eq!(longer.0, End::Proper(0));
        let shorter = run(LONG, |link| {
            link.limit(short);
            sleep(LONG);
            Some(0)
        });
        assert_eq!(shorter.0, End::TimedOut(short));
    }

    #[test]
    fn who_is_given_up_is_ended_and_marks_are_cleared_for_the_next() {
        let mut supervisor = Supervisor::new().unwrap();
        let link = supervisor.link();
        let work = |link: Link| {
            link.mark(2);
            sleep(LONG);
            Some(0)
        };
        assert_eq!(supervisor.run_until(LONG, work, &mut || link.has(2)).unwrap(), End::GivenUp);
        link.clear();
        let brief = |_| {
            sleep(GIVE_UP * 2);
            Some(3)
        };
        assert_eq!(supervisor.run_until(LONG, brief, &mut || link.has(2)).unwrap(), End::Proper(3));
    }

    #[test]
    fn who_is_told_to_end_ends_the_worker() {
        let mut supervisor = Supervisor::new().unwrap();
        tell(Signal::SIGTERM);
        let begun = Instant::now();
        let work = |_| {
            sleep(LONG);
            Some(0)
        };
        assert_eq!(supervisor.run(LONG, work).unwrap(), End::Signalled(Signal::SIGTERM));
        assert!(begun.elapsed() < LONG / 2);
        supervisor.ignore_signals();
        tell(Signal::SIGHUP);
        assert_eq!(supervisor.run(LONG, |_| Some(0)).unwrap(), End::Proper(0));
    }

    #[test]
    fn a_group_that_is_open_is_known_however_it_came() {
        let mut supervisor = Supervisor::new().unwrap();
        for (text, is_open) in [
            ("::gro", false),
            ("up::x\nline", true),
            ("\n::group\n", true),
            ("::endgroup::\nx ::group::\n", false),
        ] {
            supervisor.note(text.as_bytes());
            assert_eq!(supervisor.is_in_group, is_open, "{text}");
        }
    }
}
