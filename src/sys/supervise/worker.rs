//! What runs in the forked process.

use super::link::Link;
use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, getppid};
use rustix::process::{Resource, getrlimit};
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// The link of this process, if it is a worker.
static LINK: OnceLock<Link> = OnceLock::new();

/// For a worker only: declares the lock under which it only looks now. Its supervisor releases this lock if it abandons the worker.
pub fn note_lock(lock: Option<BorrowedFd<'_>>) {
    if let Some(link) = LINK.get() {
        link.note_lock(lock);
    }
}

/// The child process. It never returns to its parent's code.
pub(super) fn be_worker(
    parent: Pid,
    link: Link,
    pipes: [OwnedFd; 4],
    work: impl FnOnce(Link) -> Option<u8>,
) -> ! {
    let code = catch_unwind(AssertUnwindSafe(|| {
        start_clean(parent, pipes).ok()?;
        let _ = LINK.set(link);
        let code = work(link);
        let _ = io::stdout().flush();
        code
    }));
    if let Ok(Some(code)) = code {
        link.declare_end(code);
        end_at_once(code.into());
    }
    end_at_once(101);
}

/// Without what a process has registered to be run at its end: that belongs to the process which was forked.
pub(super) fn end_at_once(code: i32) -> ! {
    // SAFETY: it takes a number, and does not return.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(code)
    }
}

/// Prepares a worker: its output goes to the pipes, no other descriptor is open, no signal is blocked, and a file size limit is an error.
/// It ends with its parent.
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
