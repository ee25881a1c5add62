//! The host lock: one flock that every guard of the host takes. Locks in this program are taken here.
//!
//! A hook holds it SHARED for less than a millisecond, while it writes its lease. A claim holds it EXCLUSIVE. So a sibling's lease and a
//! claim are always ordered. A function that needs the lock takes the token as an argument ([`SharedLock`], [`ExclusiveLock`]); a token
//! cannot be made elsewhere, and dropping it releases the lock. The lock file is on tmpfs, outside every tree, and is never unlinked; the
//! kernel releases the locks of dead processes.
//!
//! If a hook that does not get the lock has to know what its holder is about to do, the lock's file says so (see
//! [`crate::reclaim::in_place_claim`]); otherwise it is empty.

use crate::run_dir::{RunDir, RunDirError};
pub use crate::sys::flock::LockMode;
use crate::sys::flock::lock_within;
use crate::sys::supervise;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::{Duration, Instant};

/// Two paths of maximum length.
const MAX_ANNOUNCEMENT: usize = 8192;

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
        /// What the system reported.
        source: io::Error,
    },
}

/// Proof that the host lock is held together with others: no claim is under way.
#[derive(Debug)]
#[must_use = "dropping the token releases the lock"]
pub struct SharedLock {
    _looking: Looking,
    file: File,
}

/// While this guard lives, the lock's holder only reads: a supervisor that has to abandon it, because a dead mount blocks it, may release
/// the lock in its place.
#[derive(Debug)]
struct Looking;

impl Looking {
    fn under(lock: &File) -> Self {
        supervise::note_lock(Some(lock.as_fd()));
        Self
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        supervise::note_lock(None);
    }
}

/// When claims were last made under the host lock, according to its file. A hint, by which a run sees that others have claimed something
/// since its look: every process that may take the lock can change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastClaims(Option<(i64, i64)>);

impl LastClaims {
    fn of(file: &File) -> Self {
        Self(file.metadata().ok().map(|metadata| (metadata.mtime(), metadata.mtime_nsec())))
    }
}

/// Proof that the host lock is held alone: no hook can return until it is dropped.
#[derive(Debug)]
#[must_use = "dropping the token releases the lock"]
pub struct ExclusiveLock {
    file: File,
    since: Instant,
}

impl SharedLock {
    /// Waits at most `wait`.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(run: &RunDir, wait: Duration) -> Result<Self, LockError> {
        let file = acquire(run, LockMode::Shared, wait)?;
        Ok(Self { _looking: Looking::under(&file), file })
    }

    /// When claims were last made.
    pub fn last_claims(&self) -> LastClaims {
        LastClaims::of(&self.file)
    }
}

impl ExclusiveLock {
    /// Waits at most `wait`.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(run: &RunDir, wait: Duration) -> Result<Self, LockError> {
        Ok(Self { file: acquire(run, LockMode::Exclusive, wait)?, since: Instant::now() })
    }

    /// When claims were last made.
    pub fn last_claims(&self) -> LastClaims {
        LastClaims::of(&self.file)
    }

    /// Records that claims have been made. If the file cannot be written, others do not see it, and may claim more than is needed.
    pub fn note_claims(&self) -> LastClaims {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let _ = futimens(&self.file, &Timestamps { last_access: now, last_modification: now });
        self.last_claims()
    }

    /// Runs an operation that renames nothing. If a dead mount blocks it, the lock is not blocked with it: see [`crate::sys::supervise`].
    /// A rename that a mount blocks may still take effect, when a hook has had the lock and its job runs.
    pub fn while_looking<T>(&self, look: impl FnOnce() -> T) -> T {
        let _looking = Looking::under(&self.file);
        look()
    }

    /// How long it has been held.
    pub fn held_for(&self) -> Duration {
        self.since.elapsed()
    }

    /// Announces in the lock's file what is going to be done, in place of the previous announcement.
    ///
    /// # Errors
    /// What ftruncate(2) and pwrite(2) report; `FileTooLarge` for a text longer than readers read.
    pub fn announce(&self, what: &[u8]) -> io::Result<()> {
        if what.len() > MAX_ANNOUNCEMENT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.set_len(0)?;
        self.file.write_all_at(what, 0)
    }
}

/// The announcement of the lock's holder, without waiting for the lock. Not trusted: every member of the group can write it.
///
/// # Errors
/// When the lock's file cannot be read.
pub fn announced(run: &RunDir) -> io::Result<Vec<u8>> {
    let file = run.lock_file().map_err(io::Error::other)?;
    let mut text = Vec::new();
    file.take(MAX_ANNOUNCEMENT as u64).read_to_end(&mut text)?;
    Ok(text)
}

fn acquire(run: &RunDir, mode: LockMode, wait: Duration) -> Result<File, LockError> {
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

    /// Evidence that is older than a part of the lock's wait is not acted on: this is the maximum age.
    #[test]
    fn the_lock_reports_how_long_it_has_been_held() {
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

    #[test]
    fn a_process_without_the_lock_can_read_the_announcement() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        let lock = ExclusiveLock::acquire(&run, Duration::from_secs(1)).unwrap();
        assert_eq!(announced(&run).unwrap(), b"");
        lock.announce(b"a long one").unwrap();
        lock.announce(b"short").unwrap();
        assert_eq!(announced(&run).unwrap(), b"short");
        assert!(lock.announce(&[b'x'; MAX_ANNOUNCEMENT + 1]).is_err());
        assert_eq!(announced(&run).unwrap(), b"short");
        lock.announce(&[b'x'; MAX_ANNOUNCEMENT]).unwrap();
        assert_eq!(announced(&run).unwrap(), [b'x'; MAX_ANNOUNCEMENT]);
    }
}
