//! A process held at a system call, so that a test can do something at exactly that instant.
//!
//! ptrace belongs to a thread: a thread of its own starts the process, follows its threads and children, and takes orders.
//! While the process is held, its other threads run at most to their next system call.

use super::guard::{Call, Capture, Run};
use super::processes::process_state;
use super::wait::{deadline, until};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// A system call about to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) thread: Pid,
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

impl Entry {
    /// The text that argument `at` points to.
    pub(crate) fn text(&self, at: usize) -> String {
        let memory =
            std::fs::File::open(format!("/proc/{}/mem", self.thread)).expect("the tracer reads memory");
        let mut text = vec![0; 4096];
        let read = memory.read_at(&mut text, self.arguments[at]).unwrap_or_default();
        text.truncate(read);
        text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(read));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The file that the descriptor in argument `at` is open on.
    pub(crate) fn file(&self, at: usize) -> std::path::PathBuf {
        let link = format!("/proc/{}/fd/{}", self.thread, self.arguments[at] as i32);
        std::fs::read_link(link).unwrap_or_default()
    }

    /// Makes the call return `errno` instead of being made; only while it is looked at.
    pub(crate) fn fail(&self, errno: Errno) {
        refuse(self.thread, errno).expect("a held thread's registers can be written");
    }

    /// The thread's line `key` in its status.
    pub(crate) fn status(&self, key: &str) -> Option<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.thread)).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }
}

/// On x86-64 a call whose number is -1 is none, and what stands in its register is what it returns.
#[cfg(target_arch = "x86_64")]
fn refuse(thread: Pid, errno: Errno) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.orig_rax = u64::MAX;
    registers.rax = -i64::from(errno as i32) as u64;
    ptrace::setregs(thread, registers)
}

#[cfg(not(target_arch = "x86_64"))]
fn refuse(_: Pid, _: Errno) -> nix::Result<()> {
    unimplemented!("written for x86-64 alone: ask `can_refuse` first")
}

/// Whether [`Entry::fail`] can be had; says so when it cannot.
pub(crate) fn can_refuse() -> bool {
    if cfg!(target_arch = "x86_64") {
        return true;
    }
    super::skip("injects errors into system calls, which the kit does on x86-64 alone")
}

/// Runs `call` to its end and looks at the entry of every system call that a process or thread of `program` makes, from the
/// first one after its exec on. What looking at each gave, in order.
pub(crate) fn calls_of<T: Send + 'static>(
    call: &Call,
    program: &Path,
    mut look: impl FnMut(&Entry) -> T + Send + 'static,
) -> (Run, Vec<T>) {
    let (seen, calls) = channel();
    let program = program.to_owned();
    let run = Stopped::try_at(call, move |entry| {
        if std::fs::read_link(format!("/proc/{}/exe", entry.thread)).is_ok_and(|exe| exe == program) {
            seen.send(look(entry)).expect("the test listens");
        }
        false
    });
    match run {
        Err(run) => (run, calls.into_iter().collect()),
        Ok(_) => unreachable!("no call is held"),
    }
}

enum Order {
    ToExit,
    ToNext(Box<dyn FnMut(&Entry) -> bool + Send>),
    Release,
    Kill,
}

enum News {
    Pid(Pid),
    Held,
    Ended,
}

/// A process held at a system call. Dropping it kills the process.
pub(crate) struct Stopped {
    pid: Pid,
    orders: Sender<Order>,
    news: Receiver<News>,
    thread: Option<JoinHandle<Run>>,
}

impl Stopped {
    /// Runs `call` to its first entry of the system call `number`.
    #[track_caller]
    pub(crate) fn at_syscall(call: &Call, number: libc::c_long) -> Self {
        Self::at(call, move |entry| entry.number == number)
    }

    /// Runs `call` to the first system call that `wanted` picks. Panics with its output when it ends before.
    #[track_caller]
    pub(crate) fn at(call: &Call, wanted: impl FnMut(&Entry) -> bool + Send + 'static) -> Self {
        match Self::try_at(call, wanted) {
            Ok(stopped) => stopped,
            Err(run) => panic!(
                "it ended without the system call, code {:?}\n--- stdout\n{}\n--- stderr\n{}",
                run.code,
                run.stdout(),
                run.stderr()
            ),
        }
    }

    /// The same; a run that ends before is handed back.
    pub(crate) fn try_at(
        call: &Call,
        wanted: impl FnMut(&Entry) -> bool + Send + 'static,
    ) -> Result<Self, Run> {
        let (orders, take) = channel();
        let (report, news) = channel();
        let call = call.clone();
        let thread = std::thread::spawn(move || Tracer::start(&call, &report).follow(wanted, &take, &report));
        let pid = match news.recv_timeout(deadline()) {
            Ok(News::Pid(pid)) => pid,
            _ => {
                panic!("the process did not start: {:?}", thread.join().err().map(|_| "the tracer panicked"))
            }
        };
        let stopped = Self { pid, orders, news, thread: Some(thread) };
        match stopped.news.recv_timeout(deadline()) {
            Ok(News::Held) => Ok(stopped),
            Ok(_) => Err(stopped.finish()),
            Err(_) => panic!("process {pid} neither ended nor came to the system call"),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Lets the held call happen and holds again when it has.
    pub(crate) fn to_exit(&self) {
        self.orders.send(Order::ToExit).expect("the tracer lives");
        assert!(matches!(self.news.recv_timeout(deadline()), Ok(News::Held)), "the call did not return");
    }

    /// Lets it go on to the next system call that `wanted` picks, and holds it there. Whether it came to one: otherwise it has
    /// ended.
    pub(crate) fn to_next(&self, wanted: impl FnMut(&Entry) -> bool + Send + 'static) -> bool {
        self.orders.send(Order::ToNext(Box::new(wanted))).expect("the tracer lives");
        match self.news.recv_timeout(deadline()) {
            Ok(News::Held) => true,
            Ok(_) => false,
            Err(_) => panic!("process {} neither ended nor came to the next system call", self.pid),
        }
    }

    /// Stops the process `id`, which is held, when the held call has returned, and serves all others again: from then on it waits for
    /// SIGCONT, as every stopped process does.
    pub(crate) fn suspend(&self, id: i32) {
        kill(Pid::from_raw(id), Signal::SIGSTOP).expect("it is held");
        self.let_go();
        // Stopped for good, and not for an instant at one of its calls.
        let mut looks = 0;
        until("the process to be stopped", || {
            let is_stopped = process_state(id).is_some_and(|(state, _)| matches!(state, 't' | 'T'));
            looks = if is_stopped { looks + 1 } else { 0 };
            (looks > 50).then_some(())
        });
    }

    /// Lets it go on, without waiting for its end.
    pub(crate) fn let_go(&self) {
        let _ = self.orders.send(Order::Release);
    }

    /// Lets it go on to its end.
    pub(crate) fn release(self) -> Run {
        self.let_go();
        self.finish()
    }

    /// SIGKILL: no clean-up of its own, whatever it was doing.
    pub(crate) fn kill(self) -> Run {
        let _ = self.orders.send(Order::Kill);
        self.finish()
    }

    fn finish(mut self) -> Run {
        if self.news.recv_timeout(deadline()).is_err() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        self.thread.take().expect("joined once").join().expect("the tracer does not panic")
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = self.orders.send(Order::Kill);
            let _ = thread.join();
        }
    }
}

struct Tracer {
    leader: Pid,
    tracees: BTreeSet<Pid>,
    output: Capture,
    status: Option<i32>,
}

impl Tracer {
    /// Starts the process stopped, so that not a single call of it is missed: a shell stops itself, then becomes it.
    fn start(call: &Call, report: &Sender<News>) -> Self {
        let mut arguments =
            vec!["-c".into(), "kill -STOP $$; exec \"$0\" \"$@\"".into(), call.program.clone().into()];
        arguments.extend(call.arguments.iter().cloned());
        let shell = Call { program: "/bin/sh".into(), arguments, user: call.user };
        let mut command: Command = shell.command();
        let mut child = command.spawn().expect("a shell starts");
        let output = Capture::of(&mut child);
        let leader = Pid::from_raw(child.id() as i32);
        report.send(News::Pid(leader)).expect("the test listens");
        waitid(Id::Pid(leader), WaitPidFlag::WSTOPPED).expect("the shell stops itself");
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(leader, options).expect("a test may trace its child");
        kill(leader, Signal::SIGCONT).expect("it is there");
        Self { leader, tracees: BTreeSet::from([leader]), output, status: None }
    }

    /// Runs everything until the wanted call, then obeys.
    fn follow(
        mut self,
        mut wanted: impl FnMut(&Entry) -> bool,
        orders: &Receiver<Order>,
        report: &Sender<News>,
    ) -> Run {
        if let Some(mut thread) = self.run_until(&mut |entry: &Entry, entering| entering && wanted(entry)) {
            let _ = report.send(News::Held);
            loop {
                match orders.recv() {
                    Ok(Order::ToExit) => {
                        let _ = ptrace::syscall(thread, None);
                        let back = self
                            .run_until(&mut |entry: &Entry, entering| entry.thread == thread && !entering);
                        let _ = report.send(if back.is_some() { News::Held } else { News::Ended });
                    }
                    Ok(Order::ToNext(mut wanted)) => {
                        let _ = ptrace::syscall(thread, None);
                        match self.run_until(&mut |entry: &Entry, entering| entering && wanted(entry)) {
                            Some(next) => thread = next,
                            None => {
                                let _ = report.send(News::Ended);
                                break;
                            }
                        }
                        let _ = report.send(News::Held);
                    }
                    Ok(Order::Release) => {
                        let _ = ptrace::syscall(thread, None);
                        break;
                    }
                    Ok(Order::Kill) | Err(_) => {
                        for tracee in &self.tracees {
                            let _ = kill(*tracee, Signal::SIGKILL);
                        }
                        break;
                    }
                }
            }
            self.run_until(&mut |_: &Entry, _| false);
        }
        let _ = report.send(News::Ended);
        self.output.finish(ExitStatus::from_raw(self.status.unwrap_or_default()))
    }

    /// Serves stops until `hold` picks one, which is left unserved, or until nobody is left.
    fn run_until(&mut self, hold: &mut dyn FnMut(&Entry, bool) -> bool) -> Option<Pid> {
        // Only what this thread traces: children of other tests are none of our business.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let thread = match waitpid(None, Some(flags)) {
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
                Ok(WaitStatus::Exited(pid, code)) => {
                    self.gone(pid, code << 8);
                    continue;
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.gone(pid, signal as i32);
                    continue;
                }
                Ok(WaitStatus::PtraceSyscall(pid)) => {
                    if let Some((entry, entering)) = syscall_of(pid)
                        && hold(&entry, entering)
                    {
                        return Some(pid);
                    }
                    pid
                }
                Ok(WaitStatus::Stopped(pid, signal)) => {
                    let _ = ptrace::syscall(pid, signal);
                    continue;
                }
                // Who is stopped by a signal waits for another.
                Ok(WaitStatus::PtraceEvent(pid, Signal::SIGSTOP, libc::PTRACE_EVENT_STOP)) => {
                    self.tracees.insert(pid);
                    listen(pid);
                    continue;
                }
                Ok(other) => match other.pid() {
                    Some(pid) => pid,
                    None => continue,
                },
            };
            self.tracees.insert(thread);
            let _ = ptrace::syscall(thread, None);
        }
    }

    fn gone(&mut self, pid: Pid, status: i32) {
        self.tracees.remove(&pid);
        if pid == self.leader {
            self.status = Some(status);
        }
    }
}

/// `PTRACE_LISTEN`: leaves a thread that a signal has stopped as it is, until something happens to it.
#[allow(unsafe_code, reason = "nix has no such call")]
fn listen(thread: Pid) {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel looks at neither pointer.
    let _ = unsafe { libc::ptrace(libc::PTRACE_LISTEN, thread.as_raw(), nothing, nothing) };
}

/// The call a thread stopped at, and whether it is entering it.
#[allow(unsafe_code, reason = "the kernel's answer is a union, told apart by `op`")]
fn syscall_of(thread: Pid) -> Option<(Entry, bool)> {
    let info = ptrace::syscall_info(thread).ok()?;
    match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: `op` says that the kernel filled `entry`.
            let entry = unsafe { info.u.entry };
            Some((Entry { thread, number: entry.nr as i64, arguments: entry.args }, true))
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => Some((Entry { thread, number: -1, arguments: [0; 6] }, false)),
        _ => None,
    }
}
