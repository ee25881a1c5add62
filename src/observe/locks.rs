//! Locks by which others declare a cache as in use: cargo's build locks inside it, and a flock on the cache or on a directory above it,
//! the convention that systemd-tmpfiles honours.
//!
//! A lock is tried, not looked up: `/proc/locks` does not show those of other pid namespaces. A free lock is held for the instant of the
//! look and released again; a cargo that starts in that instant waits for it, as for any cargo.

use crate::model::{Cache, ForeignLock, LockKind, LockState};
use crate::sys::dir::{Dir, ENTRIES_BUFFER};
use crate::sys::flock::{Probe, probe};
use rustix::fs::FileType;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Cargo's lock files; the first is the one up to 1.95, the others are those of the split build directory.
const BUILD_LOCKS: [&str; 3] = [".cargo-lock", ".cargo-build-lock", ".cargo-artifact-lock"];

/// Directories directly in one cache. More is not cargo's work, and cannot all be examined.
const MAX_OUTER: usize = 4096;

/// Profiles of one target triple. A directory with more holds something else: `doc` has one for each crate.
const MAX_PROFILES: usize = 64;

/// Every lock on these caches of one work directory, and on the directories above them, that is held or cannot be tried. A cache that
/// cannot be opened counts as unknown itself.
pub fn on_caches<'c>(work: &Dir, caches: impl IntoIterator<Item = &'c Cache>) -> Vec<ForeignLock> {
    // Caches have the directories above them in common.
    let mut tried = HashMap::new();
    let mut on_cache = |cache: &Cache| match work.descend(&cache.below_work) {
        Ok(tree) => [above(work, cache, &mut tried), in_tree(&tree, cache)].concat(),
        Err(error) => vec![untold(cache, LockKind::Directory, &error)],
    };
    caches.into_iter().flat_map(&mut on_cache).collect()
}

/// The locks on and in the tree of `cache`, wherever that is now.
pub fn in_tree(tree: &Dir, cache: &Cache) -> Vec<ForeignLock> {
    let on_itself = found(cache, LockKind::Directory, cache.path.clone(), try_directory(tree.descend(".")));
    let files = match build_locks(tree) {
        Ok(files) => files,
        Err(error) => return on_itself.into_iter().chain([untold(cache, LockKind::Build, &error)]).collect(),
    };
    let builds = files.into_iter().filter_map(|below| {
        let state = try_file(tree.open_file(&below));
        found(cache, LockKind::Build, cache.path.join(below), state)
    });
    on_itself.into_iter().chain(builds).collect()
}

/// Whether cargo keeps a build lock in the tree, held or not: then a build was there.
pub fn has_build_lock(tree: &Dir) -> bool {
    let is_lock = |below: &PathBuf| tree.pin(below).and_then(|lock| lock.status()).is_ok_and(|s| s.is_file());
    build_locks(tree).unwrap_or_default().iter().any(is_lock)
}

/// The locks on the directories above the cache, up to the work directory. `tried` are the results so far, by path below that.
fn above(work: &Dir, cache: &Cache, tried: &mut HashMap<PathBuf, Option<LockState>>) -> Vec<ForeignLock> {
    let mut path = cache.path.clone();
    let mut locks = Vec::new();
    for below in cache.below_work.ancestors().skip(1) {
        path.pop();
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let state = tried.entry(below.into()).or_insert_with(|| try_directory(work.descend(below)));
        locks.extend(found(cache, LockKind::Directory, path.clone(), state.clone()));
    }
    locks
}

fn found(cache: &Cache, kind: LockKind, file: PathBuf, state: Option<LockState>) -> Option<ForeignLock> {
    state.map(|state| ForeignLock { cache: cache.path.clone(), kind, state, file })
}

/// A lock of this kind that could not be tried.
pub(super) fn untold(cache: &Cache, kind: LockKind, error: &io::Error) -> ForeignLock {
    let state = LockState::CannotTell(error.to_string());
    ForeignLock { cache: cache.path.clone(), kind, state, file: cache.path.clone() }
}

fn try_directory(dir: io::Result<Dir>) -> Option<LockState> {
    try_file(dir.map(|dir| File::from(OwnedFd::from(dir))))
}

/// The files that may be cargo's locks, in the cache itself (custom layouts), in `<profile>` and in `<triple>/<profile>`. Only the last are
/// not listed, so those may not exist.
fn build_locks(cache: &Dir) -> io::Result<Vec<PathBuf>> {
    let listing = LockListing::of(cache, MAX_OUTER)?;
    let outers = listing
        .directories
        .ok_or_else(|| io::Error::other("too many directories to examine for build locks"))?;
    let mut files: Vec<PathBuf> = listing.locks.into_iter().map(PathBuf::from).collect();
    for outer in outers {
        // A vanished one has no locks; one that is a mount shows in the mount table. Any other error comes again when a lock is tried.
        let listing = cache.descend(&outer).and_then(|dir| LockListing::of(&dir, MAX_PROFILES));
        let LockListing { directories, locks } =
            listing.unwrap_or_else(|_| LockListing { directories: None, locks: BUILD_LOCKS.into() });
        let outer = PathBuf::from(outer);
        for inner in directories.unwrap_or_default() {
            let profile = outer.join(inner);
            files.extend(BUILD_LOCKS.map(|name| profile.join(name)));
        }
        files.extend(locks.into_iter().map(|name| outer.join(name)));
    }
    Ok(files)
}

/// What a directory holds of interest for build locks.
struct LockListing {
    /// The names of its directories; `None` when there are more than asked for.
    directories: Option<Vec<OsString>>,
    /// The names of locks that it has, or may have where it was not listed to its end.
    locks: Vec<&'static str>,
}

impl LockListing {
    fn of(dir: &Dir, most: usize) -> io::Result<Self> {
        let (mut directories, mut locks) = (Vec::new(), Vec::new());
        let mut buffer = [MaybeUninit::uninit(); ENTRIES_BUFFER];
        let flood = dir.for_each_entry(&mut buffer, |entry| {
            let name = entry.name.to_bytes();
            locks.extend(BUILD_LOCKS.iter().filter(|lock| lock.as_bytes() == name));
            if matches!(entry.kind, FileType::Directory | FileType::Unknown) {
                directories.push(OsStr::from_bytes(name).to_owned());
            }
            if directories.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(match flood {
            None => Self { directories: Some(directories), locks },
            Some(()) => Self { directories: None, locks: BUILD_LOCKS.into() },
        })
    }
}

/// `None` when the file is not there or its lock is free.
fn try_file(file: io::Result<File>) -> Option<LockState> {
    let error = match file.and_then(probe) {
        Ok(Probe::Taken(_)) => return None,
        Ok(Probe::Held) => return Some(LockState::Held),
        Err(error) => error,
    };
    let is_absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    // A link with the name of a lock file was not made by cargo, and locks nothing. A lock behind a mount is not this cache's, and the
    // mount table shows it.
    let is_elsewhere = matches!(error.raw_os_error(), Some(nix::libc::ELOOP | nix::libc::EXDEV));
    (!is_absent && !is_elsewhere).then(|| LockState::CannotTell(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileId, Uid};
    use std::fs::{create_dir_all, write};

    fn cache(work: &Path, below: &str) -> Cache {
        Cache {
            path: work.join(below),
            below_work: below.into(),
            base: None,
            part: Default::default(),
            rule: "cargo-target".into(),
            id: FileId { dev: 0, ino: 0 },
            owner: Uid(0),
            measure: None,
            used: None,
            largest: std::sync::Arc::default(),
        }
    }

    fn hold(path: &Path) -> File {
        match probe(File::open(path).unwrap()).unwrap() {
            Probe::Taken(file) => file,
            Probe::Held => panic!("{} is held", path.display()),
        }
    }

    #[test]
    fn a_held_lock_is_seen_wherever_it_is_and_a_free_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, work) = Dir::resolve(temp.path()).unwrap();
        let cache = cache(&work, "r/r/target");
        for profile in ["debug", "x86_64-unknown-linux-gnu/release"] {
            create_dir_all(cache.path.join(profile)).unwrap();
            write(cache.path.join(profile).join(".cargo-lock"), "").unwrap();
        }
        assert_eq!(on_caches(&dir, [&cache]), []);
        for (file, kind) in [
            ("r/r/target/debug/.cargo-lock", LockKind::Build),
            ("r/r/target/x86_64-unknown-linux-gnu/release/.cargo-lock", LockKind::Build),
            ("r/r/target", LockKind::Directory),
            ("r/r", LockKind::Directory),
            ("", LockKind::Directory),
        ] {
            let holder = hold(&work.join(file));
            let seen = on_caches(&dir, [&cache]);
            assert_eq!(seen.len(), 1, "{file}: {seen:?}");
            assert_eq!((seen[0].kind, &seen[0].state), (kind, &LockState::Held), "{file}");
            drop(holder);
            assert_eq!(on_caches(&dir, [&cache]), [], "{file} is free again");
        }
    }

    #[test]
    fn a_lock_above_several_caches_is_reported_for_each_and_floods_hide_no_build_lock() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, work) = Dir::resolve(temp.path()).unwrap();
        let caches = ["r/r/target", "r/r/other"].map(|below| cache(&work, below));
        for cache in &caches {
            create_dir_all(cache.path.join("debug")).unwrap();
        }
        let holder = hold(&work.join("r"));
        let seen = on_caches(&dir, &caches);
        assert_eq!(
            seen.iter().map(|lock| &lock.cache).collect::<Vec<_>>(),
            caches.each_ref().map(|c| &c.path)
        );
        drop(holder);

        let debug = caches[0].path.join("debug");
        (0..=MAX_PROFILES).for_each(|number| create_dir_all(debug.join(number.to_string())).unwrap());
        for name in BUILD_LOCKS {
            let lock = debug.join(name);
            write(&lock, "").unwrap();
            let holder = hold(&lock);
            assert_eq!(on_caches(&dir, &caches).len(), 1, "{name}");
            assert!(has_build_lock(&Dir::resolve(&caches[0].path).unwrap().0));
            drop(holder);
            assert_eq!(on_caches(&dir, &caches), [], "{name} is free again");
        }
    }

    #[test]
    fn a_lock_that_cannot_be_tried_is_reported() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, work) = Dir::resolve(temp.path()).unwrap();
        let seen = on_caches(&dir, [&cache(&work, "gone")]);
        assert!(matches!(seen[0].state, LockState::CannotTell(_)));

        let fifo = cache(&work, "r/r/target");
        create_dir_all(fifo.path.join("debug")).unwrap();
        nix::unistd::mkfifo(&fifo.path.join("debug/.cargo-lock"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(
            matches!(on_caches(&dir, [&fifo])[0].state, LockState::CannotTell(_)),
            "and is not waited for"
        );
    }
}
