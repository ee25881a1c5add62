//! The directory that all guards of a host share, on tmpfs: `/run/disk-guard`.
//!
//! It holds `host.lock`, `leases/`, `requests/`, `tickets/`, `counters/`, `hooks/` and `clock`. The package's tmpfiles.d makes it
//! `root:disk-guard`. If that has not run, root makes it, and other users get a message that says how. Root refuses a directory in which
//! others could replace the lock file: two guards with two lock files would not exclude each other.

mod clock;
mod records;
mod tidy;

pub use records::{MAX_OF_ONE, MAX_PASSED, MAX_RECORD_BYTES, MAX_RECORDS, Records, RunRecord};
pub use tidy::{Tidied, Tidying};

use crate::model::Uid;
use crate::sys::dir::Dir;
use crate::sys::process::is_root;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Who may use it: root makes it for itself and one group.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; run as root, or as a member of the group disk-guard",
        _ => "",
    }
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// It is not there and could not be made.
    #[error(
        "the shared directory {path} does not exist and cannot be made ({source}); run `systemd-tmpfiles --create` or \
         `install -d -m 2755 -g disk-guard {path}` as root, or set paths.run_dir"
    )]
    Missing {
        /// Where it should be.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// It is there and cannot be used.
    #[error("the shared directory {path} cannot be used: {operation}: {source}{}", advice(source))]
    Unusable {
        /// Where it is.
        path: String,
        /// The operation that failed.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Others could replace the lock.
    #[error(
        "the shared directory {path} is not root's alone ({why}): others could replace the host lock in it; \
         run `chown root {path} && chmod 2755 {path}`"
    )]
    Untrusted {
        /// Where it is.
        path: String,
        /// The users who can write it.
        why: String,
    },
}

impl RunDirError {
    /// Whether it is closed to this user.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Unusable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// In a few words, for a list of what cannot be seen: that it is closed is normal for a user who is not in its group.
    pub fn in_brief(&self) -> String {
        match self {
            Self::Unusable { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("{path} is closed to this user")
            }
            _ => self.to_string(),
        }
    }
}

/// The opened directory.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    dir: Dir,
}

impl RunDir {
    /// Opens it, and makes it when it is missing and we may.
    ///
    /// # Errors
    /// [`RunDirError`].
    pub fn open(path: &Path) -> Result<Self, RunDirError> {
        let display = || path.display().to_string();
        let dir = match Dir::follow(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::make(path).map_err(|source| RunDirError::Missing { path: display(), source })?
            }
            result => result.map_err(|source| RunDirError::Unusable {
                path: display(),
                operation: "opening it",
                source,
            })?,
        };
        if is_root() {
            let status = dir.status().map_err(|source| RunDirError::Unusable {
                path: display(),
                operation: "looking at it",
                source,
            })?;
            if let Some(why) = untrusted(status.owner, status.mode) {
                return Err(RunDirError::Untrusted { path: display(), why });
            }
        }
        Ok(Self { path: path.to_owned(), dir })
    }

    /// Opens it if it is there; for commands that only look.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>, RunDirError> {
        match Dir::follow(path) {
            Ok(dir) => Ok(Some(Self { path: path.to_owned(), dir })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RunDirError::Unusable {
                path: path.display().to_string(),
                operation: "opening it",
                source,
            }),
        }
    }

    fn make(path: &Path) -> io::Result<Dir> {
        make_unless_there(rustix::fs::CWD, path, 0o755)?;
        Dir::follow(path)
    }

    /// Reads a short file beside the lock, where only root can write one.
    ///
    /// # Errors
    /// The system's error; `FileTooLarge` past the limit. A FIFO reads as an empty file, without waiting: hooks read here, and asking for
    /// the kind of file would cost them a system call more.
    pub(crate) fn read_beside(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.dir, name, flags, Mode::empty())?);
        let mut bytes = Vec::with_capacity(16 << 10);
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// Its handle, for the files in it that only root writes.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens `host.lock`, which is made once and never removed.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`].
    pub fn lock_file(&self) -> Result<File, RunDirError> {
        // Group members may lock, others may not even read: a process that can open a lock file can hold it for ever.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(&self.dir, "host.lock", flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                openat(&self.dir, "host.lock", flags | OFlags::CREATE, Mode::from_raw_mode(0o660))
            }
            result => result,
        };
        file.map(File::from).map_err(|error| self.unusable("opening host.lock", error.into()))
    }

    /// The group that shares it; none when that is root's own.
    pub fn group(&self) -> Option<u32> {
        let status = rustix::fs::fstat(&self.dir).ok()?;
        (status.st_gid != 0).then_some(status.st_gid)
    }

    /// The identity of `host.lock`, to find its holders in `/proc/locks`.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`].
    pub fn lock_id(&self) -> Result<crate::model::FileId, RunDirError> {
        self.dir
            .status_of("host.lock")
            .map(|status| status.id)
            .map_err(|error| self.unusable("looking at host.lock", error))
    }

    fn unusable(&self, operation: &'static str, source: io::Error) -> RunDirError {
        RunDirError::Unusable { path: self.path.display().to_string(), operation, source }
    }
}

/// Makes a directory that another guard may be making at the same moment.
fn make_unless_there(parent: impl AsFd, name: &Path, mode: u32) -> io::Result<()> {
    match mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}

/// The users other than root, if any, that could replace a file in a directory of this owner and mode.
fn untrusted(owner: Uid, mode: u32) -> Option<String> {
    const STICKY: u32 = 0o1000;
    if owner != Uid::ROOT {
        Some(format!("owned by uid {owner}"))
    } else if mode & 0o022 != 0 && mode & STICKY == 0 {
        Some(format!("mode {:04o}", mode & 0o7777))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_parent_directory_is_reported_with_a_remedy() {
        let error = RunDir::open(Path::new("/nonexistent/run")).unwrap_err().to_string();
        assert!(error.contains("systemd-tmpfiles") && error.contains("paths.run_dir"), "{error}");
    }

    #[test]
    fn root_trusts_only_a_directory_of_its_own() {
        assert_eq!(untrusted(Uid(0), 0o40755), None);
        assert_eq!(untrusted(Uid(0), 0o41777), None);
        assert!(untrusted(Uid(0), 0o40775).is_some());
        assert!(untrusted(Uid(1), 0o40755).is_some());
    }
}
