//! Releases the host lock of a worker that SIGKILL does not end. The kernel releases the lock when the worker ends, which a dead mount may
//! delay for ever, so the worker's supervisor releases it.
//!
//! The worker executes no more code of its own, but its current system call may take effect later. So the lock is released only while the
//! worker has declared that it looks and renames nothing (`lock::ExclusiveLock::while_looking`, `lock::SharedLock`): the effect is then the
//! same as if it had been killed there. A rename that took effect after the release could meet a job whose hook has had the lock meanwhile.

use crate::sys::flock;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// A worker that can end has ended by then, and its locks are free.
const ENDS_IN: u16 = 500;

/// Releases the lock that the killed worker has noted, when it does not end. Where the kernel or a filter refuses, it stays held.
pub(super) fn release_lock(worker: Pid, noted: &AtomicU32) {
    let Some(number) = noted.load(Ordering::Relaxed).checked_sub(1) else { return };
    let pidfd = rustix::process::Pid::from_raw(worker.as_raw());
    let Some(pidfd) = pidfd.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    if ends(&pidfd) {
        return;
    }
    let lock = pidfd_getfd(&pidfd, number as i32, PidfdGetfdFlags::empty()).map(File::from);
    let _ = lock.map(|lock| flock::release(&lock));
}

fn ends(pidfd: &OwnedFd) -> bool {
    let mut files = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut files, PollTimeout::from(ENDS_IN)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::flock::{LockMode, Probe, lock_within, probe};
    use crate::sys::testing::forking;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, fork};
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    /// A child that holds the lock of `file` and stops: it lives, and does nothing.
    fn holder(file: &File) -> Pid {
        lock_within(file, LockMode::Exclusive, Duration::from_secs(1)).unwrap();
        // SAFETY: the child calls nothing but raise(3).
        #[allow(unsafe_code)]
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => loop {
                let _ = nix::sys::signal::raise(Signal::SIGSTOP);
            },
        }
    }

    fn is_free(path: &std::path::Path) -> bool {
        matches!(probe(File::open(path).unwrap()).unwrap(), Probe::Taken(_))
    }

    #[test]
    fn the_lock_of_a_worker_that_does_not_end_is_released_where_it_has_noted_one() {
        let _forks = forking();
        let temp = tempfile::NamedTempFile::new().unwrap();
        let file = temp.reopen().unwrap();
        let child = holder(&file);
        let noted = AtomicU32::new(file.as_raw_fd() as u32 + 1);
        release_lock(child, &AtomicU32::new(0));
        assert!(!is_free(temp.path()), "it may be in the middle of a rename");
        release_lock(child, &noted);
        assert!(is_free(temp.path()));
        kill(child, Signal::SIGKILL).unwrap();
        waitpid(child, None).unwrap();
    }
}
