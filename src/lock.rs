//! The host lock: one flock that every guard of the host takes. Locks in this program are taken here.
//!
//! A hook holds it SHARED for less than a millisecond, while it writes its lease. A claim holds it EXCLUSIVE. So between
//! a sibling's lease and a claim there is always an order. What needs the lock takes the token as an argument
//! ([`SharedLock`], [`ExclusiveLock`]); a token cannot be made elsewhere, and dropping it releases the lock. The lock file
//! lives on tmpfs, outside every tree, and is never unlinked; the kernel releases the locks of the dead.

use crate::run_dir::{RunDir, RunDirError};
use crate::sys::flock::{Mode, lock_within};
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// Why the lock was not obtained.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The shared directory or the lock file cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// Others held it all the time.
    #[error("the host lock in {path} was not obtained within {} s; `disk-guard status` shows who holds it", waited.as_secs_f32())]
    TimedOut {
        /// The shared directory.
        path: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The system refused.
    #[error("the host lock in {path} cannot be taken: {source}")]
    System {
        /// The shared directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Proof that the host lock is held together with others: no claim is under way.
#[derive(Debug)]
#[must_use = "dropping the token releases the lock"]
pub struct SharedLock {
    /// Held for drop.
    _file: File,
}

/// Proof that the host lock is held alone: no hook can return from here on until it is dropped.
#[derive(Debug)]
#[must_use = "dropping the token releases the lock"]
pub struct ExclusiveLock {
    /// Held for drop.
    _file: File,
    since: Instant,
}

impl SharedLock {
    /// Waits at most `wait`.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(run: &RunDir, wait: Duration) -> Result<Self, LockError> {
        Ok(Self { _file: acquire(run, Mode::Shared, wait)? })
    }
}

impl ExclusiveLock {
    /// Waits at most `wait`.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(run: &RunDir, wait: Duration) -> Result<Self, LockError> {
        Ok(Self { _file: acquire(run, Mode::Exclusive, wait)?, since: Instant::now() })
    }

    /// How long it has been held.
    pub fn held_for(&self) -> Duration {
        self.since.elapsed()
    }
}

fn acquire(run: &RunDir, mode: Mode, wait: Duration) -> Result<File, LockError> {
    let file = run.lock_file()?;
    let path = || run.path().display().to_string();
    match lock_within(&file, mode, wait) {
        Ok(()) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(LockError::TimedOut { path: path(), waited: wait })
        }
        Err(source) => Err(LockError::System { path: path(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evidence that is older than a part of the lock's wait is not acted on: this is how old it is.
    #[test]
    fn it_tells_how_long_it_has_been_held() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        let before = Instant::now();
        let lock = ExclusiveLock::acquire(&run, Duration::from_secs(1)).unwrap();
        let acquired = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        let at_least = acquired.elapsed();
        let held = lock.held_for();
        assert!(held >= at_least && held <= before.elapsed(), "{held:?}");
    }

    #[test]
    fn a_claim_excludes_hooks_and_hooks_do_not_exclude_each_other() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        let brief = Duration::from_millis(30);
        let one = SharedLock::acquire(&run, brief).unwrap();
        let two = SharedLock::acquire(&run, brief).expect("hooks share the lock");
        assert!(matches!(ExclusiveLock::acquire(&run, brief), Err(LockError::TimedOut { .. })));
        drop((one, two));
        let alone = ExclusiveLock::acquire(&run, brief).unwrap();
        assert!(matches!(SharedLock::acquire(&run, brief), Err(LockError::TimedOut { .. })));
        drop(alone);
        let _ = SharedLock::acquire(&run, brief).expect("released");
    }
}
