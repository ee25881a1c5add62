//! The child process of a call: how it is started, read and ended.

use super::Call;
use super::strays::Strays;
use crate::model::Uid;
use crate::sys::dir::Dir;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, killpg, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, geteuid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::set_no_new_privs;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long to wait for the end of the outputs once the program itself has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// How long an attended program may take to end after SIGTERM.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long to wait for a killed program: the kernel may block it, as on a dead network mount.
const REAP: Duration = Duration::from_secs(2);

/// The room that a pipe is sure to have when it polls as writable (`PIPE_BUF`).
const ROOM: usize = 4096;

/// The confinement of a program with hostile input: another user, exactly this directory, few resources, no writable file and no new
/// privileges.
#[derive(Debug)]
pub struct Sandbox<'a> {
    /// The user and group.
    pub user: (Uid, u32),
    /// Where.
    pub dir: &'a Dir,
    /// Address space, in bytes.
    pub memory: u64,
    /// Open files.
    pub files: u64,
}

/// The user of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub id: Uid,
    /// Its group; there are no supplementary ones.
    pub group: u32,
}

/// Asked repeatedly while a program runs whether it has to end now. Such a program is asked to end before it is killed, and its processes
/// in other groups and sessions are killed as well: one such call at a time, and no other beside it.
#[derive(Clone, Copy)]
pub struct Attended<'a>(pub &'a dyn Fn() -> bool);

impl std::fmt::Debug for Attended<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attended")
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramEnd {
    /// By itself, and its output with it.
    Itself(ExitStatus),
    /// By itself, but one of its children kept its output open.
    Held(ExitStatus),
    /// Killed: its time was over.
    TimedOut,
    /// Killed: it printed too much.
    TooLong,
    /// Ended: its attendant requested that.
    Stopped,
}

/// Runs a call; returns how it ended, with its standard output and error.
pub(super) fn run(call: &Call<'_>) -> io::Result<(ProgramEnd, Vec<u8>, Vec<u8>)> {
    let strays = call.attended.map(|_| Strays::watch());
    let mut child = spawn(call)?;
    let started = Instant::now();
    let group = Pid::from_raw(child.id() as i32);
    let mut pipes = Pipes::of(&mut child, call);
    let (mut pause, mut ended) = (1, None);
    let verdict = loop {
        pause = if pipes.serve(pause) { 1 } else { (pause * 2).min(50) };
        ended = ended.or_else(|| has_ended(group).then(Instant::now));
        match ended {
            _ if pipes.output.is_cut => break Some(ProgramEnd::TooLong),
            Some(then) if pipes.are_closed() || then.elapsed() >= DRAIN => break None,
            None if started.elapsed() >= call.bounds.time => break Some(ProgramEnd::TimedOut),
            None if call.attended.is_some_and(|attended| (attended.0)()) => break Some(ProgramEnd::Stopped),
            _ => {}
        }
    };
    if call.attended.is_some() && ended.is_none() {
        say_farewell(group, &mut pipes);
    }
    let is_whole = pipes.output.file.is_none();
    // Also after its own end: its remaining children are killed as well. Until it is reaped, its pid cannot be reused.
    let _ = killpg(group, Signal::SIGKILL);
    // The content of the pipes; a process that has left the group may continue to fill them.
    let _ = (0..32).all(|_| pipes.serve(0));
    let status = reap(&mut child);
    strays.into_iter().for_each(Strays::end);
    let end = match (verdict, status) {
        (Some(end), _) => end,
        (None, Some(status)) if is_whole => ProgramEnd::Itself(status),
        (None, Some(status)) => ProgramEnd::Held(status),
        (None, None) => ProgramEnd::TimedOut,
    };
    if pipes.complaint.is_cut {
        pipes.complaint.bytes.extend(b" ...");
    }
    Ok((end, pipes.output.bytes, pipes.complaint.bytes))
}

/// Sends SIGTERM to the whole group, and waits briefly for its leader.
fn say_farewell(group: Pid, pipes: &mut Pipes<'_>) {
    let _ = killpg(group, Signal::SIGTERM);
    let asked = Instant::now();
    while !has_ended(group) && asked.elapsed() < FAREWELL {
        pipes.serve(5);
    }
}

/// Without reaping it.
fn has_ended(child: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    !matches!(waitid(Id::Pid(child), flags), Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR))
}

pub(super) fn reap(child: &mut Child) -> Option<ExitStatus> {
    let since = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if since.elapsed() < REAP => std::thread::sleep(Duration::from_millis(1)),
            answer => return answer.ok().flatten(),
        }
    }
}

pub(super) fn spawn(call: &Call<'_>) -> io::Result<Child> {
    // A process that ignores SIGCHLD never learns how its children ended, and our parent may have set that.
    // SAFETY: no handler is installed, and SIGCHLD is not used elsewhere.
    #[allow(unsafe_code)]
    unsafe {
        signal(Signal::SIGCHLD, SigHandler::SigDfl)?;
    }
    let mut command = Command::new(&call.program);
    command.args(&call.arguments).env_clear().envs(call.environment.iter().cloned());
    command.current_dir("/").process_group(0);
    command.stdin(if call.input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(if call.bounds.output == 0 { Stdio::null() } else { Stdio::piped() });
    command.stderr(Stdio::piped());
    let mut limits = None;
    if let Some(confinement) = &call.confinement {
        // The descriptor is inherited until the program is executed: the child enters exactly the opened directory.
        command.current_dir(format!("/proc/self/fd/{}", confinement.dir.as_fd().as_raw_fd()));
        if geteuid().as_raw() != confinement.user.0.0 {
            command.uid(confinement.user.0.0).gid(confinement.user.1);
        }
        limits = Some((confinement.memory, confinement.files, call.bounds.time.as_secs().max(1)));
    }
    if let Some(user) = call.user.filter(|user| user.id.0 != geteuid().as_raw()) {
        command.uid(user.id.0).gid(user.group);
    }
    let prepare = move || {
        start_clean()?;
        // Unconfined, it may want to clean up first.
        let farewell = if limits.is_some() { Signal::SIGKILL } else { Signal::SIGTERM };
        nix::sys::prctl::set_pdeathsig(farewell)?;
        limits.map_or(Ok(()), |(memory, files, seconds)| confine(memory, files, seconds))
    };
    // SAFETY: between fork and exec only system calls are made, nothing is allocated and no lock is taken.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare);
    }
    command.spawn()
}

/// Resets what a child would inherit from our parent: blocked and ignored signals, open descriptors.
fn start_clean() -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    for number in 1..=64 {
        // SAFETY: no handler is installed; numbers that are no signal's, or cannot be set, are refused.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(number, libc::SIG_DFL)
        };
    }
    // SAFETY: nothing is closed yet, the descriptors are marked to be closed by exec.
    #[allow(unsafe_code)]
    let marked =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked != 0 {
        mark_each();
    }
    Ok(())
}

/// The same before Linux 5.11, or if a filter refuses it.
pub(super) fn mark_each() {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).min(1 << 16) as i32;
    for descriptor in 3..most {
        // SAFETY: a number that is no open descriptor's is refused.
        #[allow(unsafe_code)]
        unsafe {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC)
        };
    }
}

fn confine(memory: u64, files: u64, seconds: u64) -> io::Result<()> {
    set_no_new_privs(true)?;
    let limits = [
        (Resource::As, memory),
        (Resource::Nofile, files),
        (Resource::Cpu, seconds),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// Our ends of a child's pipes, all served by the thread that waits for it.
struct Pipes<'a> {
    input: Option<(File, &'a [u8])>,
    output: Pipe,
    complaint: Pipe,
}

impl<'a> Pipes<'a> {
    fn of(child: &mut Child, call: &Call<'a>) -> Self {
        let file = |end: OwnedFd| Some(File::from(end));
        let pipe = |end: Option<OwnedFd>, limit| Pipe {
            file: end.and_then(file),
            bytes: Vec::new(),
            limit,
            is_cut: false,
        };
        Self {
            input: child.stdin.take().map(|end| (File::from(OwnedFd::from(end)), call.input)),
            output: pipe(child.stdout.take().map(OwnedFd::from), call.bounds.output),
            complaint: pipe(child.stderr.take().map(OwnedFd::from), call.bounds.complaint),
        }
    }

    fn are_closed(&self) -> bool {
        self.output.file.is_none() && self.complaint.file.is_none()
    }

    /// Moves available data, and waits at most this many milliseconds for some; returns whether any was moved.
    fn serve(&mut self, wait: u16) -> bool {
        let files = [
            (self.input.as_ref().map(|(file, _)| file), PollFlags::POLLOUT),
            (self.output.file.as_ref(), PollFlags::POLLIN),
            (self.complaint.file.as_ref(), PollFlags::POLLIN),
        ];
        let open = files.iter().filter_map(|(file, flags)| Some(PollFd::new((*file)?.as_fd(), *flags)));
        let mut polled: Vec<PollFd<'_>> = open.collect();
        // An interrupted call has found nothing.
        let _ = poll(&mut polled, wait);
        let mut found = polled.iter().map(|one| one.any().unwrap_or(true));
        let [input, output, complaint] =
            files.map(|(file, _)| file.is_some() && found.next().unwrap_or(false));
        if input {
            self.write();
        }
        if output {
            self.output.read();
        }
        if complaint {
            self.complaint.read();
        }
        input || output || complaint
    }

    /// A reader that has closed its end, or has received everything, gets no more.
    fn write(&mut self) {
        let Some((file, rest)) = &mut self.input else { return };
        match file.write(&rest[..rest.len().min(ROOM)]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(written) if written < rest.len() => *rest = &rest[written..],
            _ => self.input = None,
        }
    }
}

struct Pipe {
    file: Option<File>,
    bytes: Vec<u8>,
    limit: usize,
    is_cut: bool,
}

impl Pipe {
    fn read(&mut self) {
        let mut chunk = [0; 64 << 10];
        match self.file.as_mut().map_or(Ok(0), |file| file.read(&mut chunk)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => self.file = None,
            Ok(length) => {
                let kept = length.min(self.limit - self.bytes.len());
                self.bytes.extend_from_slice(&chunk[..kept]);
                self.is_cut |= kept < length;
            }
        }
    }
}
