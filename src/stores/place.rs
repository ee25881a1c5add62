//! Where a store is, its owner, and its size.

use crate::model::Uid;
use crate::model::stores::{StoreKind, StoreRule};
use crate::observe::measure::{MeasureOptions, measure};
use crate::sys::dir::Dir;
use crate::sys::program::{User, is_roots_alone};
use crate::text::escape;
use nix::unistd::geteuid;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The maximum of entries of a store's directory that are examined: more than a store of any kind has.
const NAMES: usize = 64;

/// The maximum time for sizing one store.
const SIZING: Duration = Duration::from_secs(60);

/// Why a store cannot be collected, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A store's directory.
#[derive(Debug)]
pub struct StoreDir {
    /// Its path, for display and for its tool.
    pub path: PathBuf,
    /// A handle, for measuring.
    pub dir: Dir,
    /// The user its tool runs as, if not ours.
    pub user: Option<User>,
}

impl StoreDir {
    /// The directory of a user that an entry names. A user who can redirect its path must not gain more than their own rights by that: no
    /// link is followed, its tool runs as its owner, and as root only if only root can redirect the path.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of_user(rule: &StoreRule) -> Result<Self, StoreError> {
        let path = rule.path.clone().unwrap_or_default();
        let shown = path.display();
        let dir = Dir::open(&path).map_err(|error| {
            StoreError(match error.raw_os_error() {
                // A directory that is a link itself counts as none.
                Some(nix::libc::ELOOP | nix::libc::ENOTDIR) => {
                    format!("{shown} is no directory, or leads through a link; name the directory itself")
                }
                _ => format!("{shown} cannot be opened: {error}"),
            })
        })?;
        let owner =
            owner(&dir).map_err(|error| StoreError(format!("{shown} cannot be examined: {error}")))?;
        let me = geteuid().as_raw();
        if owner.id.0 == me {
            if me == 0 {
                is_roots_alone(&path)
                    .map_err(|error| StoreError(format!("{shown} is root's, but {error}")))?;
            }
            return Ok(Self { path, dir, user: None });
        }
        if me != 0 {
            return Err(StoreError(format!("{shown} belongs to uid {}, and this is not root", owner.id.0)));
        }
        Ok(Self { path, dir, user: Some(owner) })
    }

    /// Whether it has only entries that stores of this kind have. Checked for tools that treat every file in the directory as their own,
    /// and would delete a home directory that was configured by mistake.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn has_only(&self, kind: StoreKind) -> Result<(), StoreError> {
        let is_known: fn(&str) -> bool = match kind {
            StoreKind::Sccache => is_of_sccache,
            StoreKind::BazelDisk => is_of_bazel,
            _ => return Ok(()),
        };
        let shown = self.path.display();
        let names = self.dir.names(NAMES);
        let names = names.map_err(|error| StoreError(format!("{shown} cannot be read: {error}")))?;
        match names.iter().find(|name| !name.to_str().is_some_and(is_known)) {
            None => Ok(()),
            Some(foreign) => Err(StoreError(format!(
                "{shown} contains `{}`, which does not belong to a {kind} store, and its tool would remove that as well; configure the store's own directory, or move foreign entries out of it",
                escape::os(foreign)
            ))),
        }
    }

    /// A directory that a tool, or the configuration, reports as an engine's own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of_engine(path: &Path) -> Result<Self, StoreError> {
        let dir = Dir::follow(path)
            .map_err(|error| StoreError(format!("{} cannot be opened: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), dir, user: None })
    }

    /// How many bytes it has allocated; none if that takes too long or not all of it can be read.
    pub fn bytes(&self) -> Option<u64> {
        let until = Instant::now() + SIZING;
        let scan =
            measure(&self.dir, &MeasureOptions { threads: 2, largest: 0, deadline: Some(until) }).ok()?;
        (Instant::now() < until).then_some(scan.measure.bytes)
    }
}

/// Directories named by the first digit of their entries, remains of a compilation, and the object that the guard has made.
fn is_of_sccache(name: &str) -> bool {
    let is_digit = name.len() == 1 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_digit
        || name.starts_with(".sccachetmp")
        || ["preprocessor", "CACHEDIR.TAG", "disk-guard.o", "lost+found"].contains(&name)
}

/// Actions and contents, also by another digest, and what the collector itself keeps.
fn is_of_bazel(name: &str) -> bool {
    ["ac", "cas", "gc", "tmp", "blake3", "sha1", "sha384", "sha512", "CACHEDIR.TAG", "lost+found"]
        .contains(&name)
}

fn owner(dir: &Dir) -> io::Result<User> {
    let stat = rustix::fs::fstat(dir.as_fd())?;
    Ok(User { id: Uid(stat.st_uid), group: stat.st_gid })
}
