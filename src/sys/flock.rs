//! flock(2), through fs2. Since Rust 1.89 `File` has methods of the same names that shadow fs2's trait, so fs2 is called
//! by its full path. Nothing else in the program locks a file: `lock.rs` holds the host lock, `observe` probes others'.

use super::deadline::Alarm;
use fs2::FileExt;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// With others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// The result of trying a lock without waiting.
#[derive(Debug)]
pub enum Probe {
    /// It was free and is now held through the file, until that is closed.
    Taken(File),
    /// Somebody else holds it.
    Held,
}

/// Tries to lock `file` exclusively, without waiting.
///
/// # Errors
/// The error of flock(2), other than that the lock is held.
pub fn probe(file: File) -> io::Result<Probe> {
    match FileExt::try_lock_exclusive(&file) {
        Ok(()) => Ok(Probe::Taken(file)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Probe::Held),
        Err(error) => Err(error),
    }
}

/// Releases the lock that `file` holds, and every other descriptor of the same opening.
///
/// # Errors
/// The error of flock(2).
pub fn release(file: &File) -> io::Result<()> {
    FileExt::unlock(file)
}

/// Waits for the lock at most `wait`: one blocking flock that an alarm interrupts. A polling loop would pass the lock on 30 to 500 times
/// more slowly, and starve under load.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when the time is over; otherwise the error of flock(2) or timer_create(2).
pub fn lock_within(file: &File, mode: LockMode, wait: Duration) -> io::Result<()> {
    let uncontended = match mode {
        LockMode::Shared => FileExt::try_lock_shared(file),
        LockMode::Exclusive => FileExt::try_lock_exclusive(file),
    };
    match uncontended {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        done => return done,
    }
    // Timers are limited: their user may have used up all of them (RLIMIT_SIGPENDING).
    let Ok(alarm) = Alarm::after(wait) else { return poll_within(file, mode, wait) };
    loop {
        let result = match mode {
            LockMode::Shared => FileExt::lock_shared(file),
            LockMode::Exclusive => FileExt::lock_exclusive(file),
        };
        match result {
            // Any signal interrupts; only the deadline ends the wait.
            Err(error) if error.kind() == io::ErrorKind::Interrupted && !alarm.has_rung() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the wait for the lock is over"));
            }
            done => return done,
        }
    }
}

/// The same without a timer.
fn poll_within(file: &File, mode: LockMode, wait: Duration) -> io::Result<()> {
    const PAUSE: Duration = Duration::from_millis(10);
    let due = Instant::now() + wait;
    loop {
        let tried = match mode {
            LockMode::Shared => FileExt::try_lock_shared(file),
            LockMode::Exclusive => FileExt::try_lock_exclusive(file),
        };
        match tried {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < due => {
                std::thread::sleep(PAUSE);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the wait for the lock is over"));
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{in_time, without_forks};

    fn open(path: &std::path::Path) -> File {
        File::options().create(true).truncate(false).write(true).open(path).unwrap()
    }

    #[test]
    fn a_wait_ends_with_the_lock_or_with_its_time() {
        let _locks = without_forks();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let holder = open(&path);
        lock_within(&holder, LockMode::Exclusive, Duration::from_secs(1)).unwrap();

        let waiter = open(&path);
        let begun = Instant::now();
        let error = lock_within(&waiter, LockMode::Shared, Duration::from_millis(60)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= Duration::from_millis(60));

        let thread =
            std::thread::spawn(move || lock_within(&waiter, LockMode::Exclusive, Duration::from_secs(60)));
        drop(holder);
        thread.join().unwrap().expect("released: taken long before the deadline");
    }

    #[test]
    fn without_a_timer_a_wait_ends_as_well() {
        let _locks = without_forks();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let holder = open(&path);
        lock_within(&holder, LockMode::Shared, Duration::from_secs(1)).unwrap();
        let error = poll_within(&open(&path), LockMode::Exclusive, Duration::from_millis(30)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        poll_within(&open(&path), LockMode::Shared, Duration::ZERO).expect("it is shared");
        drop(holder);
        assert!(
            in_time(|| poll_within(&open(&path), LockMode::Exclusive, Duration::ZERO).is_ok()),
            "it is free"
        );
    }

    #[test]
    fn a_probe_tells_held_from_free() {
        let _locks = without_forks();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let holder = open(&path);
        lock_within(&holder, LockMode::Shared, Duration::from_secs(1)).unwrap();
        assert!(matches!(probe(open(&path)).unwrap(), Probe::Held));
        drop(holder);
        assert!(in_time(|| matches!(probe(open(&path)).unwrap(), Probe::Taken(_))));
    }
}
