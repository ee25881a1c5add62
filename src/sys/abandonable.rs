//! A check that may never return, made by a process that can be abandoned.
//!
//! A call on a dead network or FUSE mount can put its process into a sleep that not even SIGKILL ends; a thread in that state keeps its
//! whole process. So the one call that finds out is made by a child, which holds nothing of ours: no lock, no output.

use nix::libc::{self, c_int, c_uint};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, fork, pipe2};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::time::{Duration, Instant};

/// What a filesystem is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// Whether it can be read.
    Look,
    /// Whether it accepts changes: a frozen one (fsfreeze(8), a snapshot being taken) can be read, and blocks whoever changes it.
    Change,
}

/// Whether the filesystem at `path` answers in time. An error is an answer.
///
/// # Errors
/// When no child can be made: then nothing is known.
pub fn answers(path: &CStr, question: Question, patience: Duration) -> io::Result<bool> {
    // For the child, which must not allocate.
    let below = CString::new([path.to_bytes(), b"/.disk-guard-is-frozen".as_slice()].concat())?;
    let (ours, theirs) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: the child makes system calls alone: it allocates nothing, takes no lock and runs no destructor.
    #[allow(unsafe_code)]
    let child = match unsafe { fork() }? {
        ForkResult::Child => touch(path, &below, question, theirs.as_raw_fd()),
        ForkResult::Parent { child } => child,
    };
    drop(theirs);
    let until = Instant::now() + patience;
    let has_answered = loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(ours.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) | Err(nix::errno::Errno::EINTR) if Instant::now() < until => {}
            Ok(0) | Err(_) => break false,
            // A byte, or the end of a killed child: either way it is not stuck.
            Ok(_) => break true,
        }
    };
    if !has_answered {
        let _ = kill(child, Signal::SIGKILL);
    }
    // One that cannot be killed is abandoned; the host's first process inherits it.
    for _ in 0..10 {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(nix::sys::wait::WaitStatus::StillAlive) => std::thread::sleep(Duration::from_micros(200)),
            _ => break,
        }
    }
    Ok(has_answered)
}

/// The child: makes the calls that a walk would make, reports their return, and ends.
#[allow(unsafe_code)]
fn touch(path: &CStr, below: &CStr, question: Question, done: RawFd) -> ! {
    // SAFETY: plain system calls on arguments that outlive them; errors are answers, so results do not matter.
    unsafe {
        keep_only(done);
        if question == Question::Change {
            // A second name of a directory is always refused, but only after the filesystem has been asked for a change (link(2)).
            libc::linkat(libc::AT_FDCWD, path.as_ptr(), libc::AT_FDCWD, below.as_ptr(), 0);
        }
        let mut status: libc::statx = std::mem::zeroed();
        libc::statx(
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_STATX_FORCE_SYNC,
            libc::STATX_BASIC_STATS,
            &mut status,
        );
        let directory = libc::open(
            path.as_ptr(),
            libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK | libc::O_CLOEXEC,
        );
        if directory >= 0 {
            let mut entries = [0_u8; 1024];
            libc::syscall(libc::SYS_getdents64, directory, entries.as_mut_ptr(), entries.len());
            let mut usage: libc::statfs = std::mem::zeroed();
            libc::fstatfs(directory, &mut usage);
        }
        libc::write(done, b"+".as_ptr().cast(), 1);
        libc::_exit(0)
    }
}

/// Closes every descriptor but one: a copied lock would stay held, and a reader of our output would wait.
#[allow(unsafe_code)]
unsafe fn keep_only(kept: c_int) {
    // SAFETY: the child uses none of them.
    unsafe {
        let below = kept == 0 || libc::syscall(libc::SYS_close_range, 0, (kept - 1) as c_uint, 0) == 0;
        let above = libc::syscall(libc::SYS_close_range, (kept + 1) as c_uint, c_uint::MAX, 0) == 0;
        if below && above {
            return;
        }
        // Before Linux 5.9, or where a filter refuses it.
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        (0..limit.rlim_cur.min(1 << 16) as c_int).filter(|fd| *fd != kept).for_each(|fd| {
            libc::close(fd);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn existing_and_missing_paths_both_answer() {
        for path in [c"/", c"/proc/self/status", c"/no/such/place"] {
            for question in [Question::Look, Question::Change] {
                assert!(answers(path, question, Duration::from_secs(20)).unwrap(), "{path:?} {question:?}");
            }
        }
    }

    #[test]
    fn a_question_for_changes_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let before = std::fs::metadata(temp.path()).unwrap().modified().unwrap();
        let path = CString::new(temp.path().as_os_str().as_bytes()).unwrap();
        assert!(answers(&path, Question::Change, Duration::from_secs(20)).unwrap());
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
        assert_eq!(std::fs::metadata(temp.path()).unwrap().modified().unwrap(), before);
    }
}
