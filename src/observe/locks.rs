//! Locks by which others declare a cache as in use: cargo's build locks inside it, and a flock on the cache or on a directory above it,
//! the convention that systemd-tmpfiles honours.
//!
//! A lock is tried, not looked up: `/proc/locks` does not show those of other pid namespaces. A free lock is held for the instant of the
//! look and released again; a cargo that starts in that instant waits for it, as for any cargo.

use crate::model::{Cache, ForeignLock, LockKind, LockState};
use crate::sys::dir::{Dir, ENTRIES_BUFFER};
use crate::sys::flock::{Probe, probe};
use rustix::fs::FileType;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Cargo's lock files; the first is the one up to 1.95, the others are those of the split build directory.
const BUILD_LOCKS: [&str; 3] = [".cargo-lock", ".cargo-build-lock", ".cargo-artifact-lock"];

/// Directories directly in one cache. More is not cargo's work, and cannot all be examined.
const MAX_OUTER: usize = 4096;

/// Profiles of one target triple. A directory with more holds something else: `doc` has one for each crate.
const MAX_PROFILES: usize = 64;

/// Every lock on `cache`, and on the directories above it, that is held or cannot be tried. A cache that cannot be opened counts as
/// unknown itself.
pub fn on_cache(work: &Dir, cache: &Cache) -> Vec<ForeignLock> {
    match work.descend(&cache.below_work) {
        Ok(tree) => above(work, cache).into_iter().chain(in_tree(&tree, cache)).collect(),
        Err(error) => vec![untold(cache, LockKind::Directory, &error)],
    }
}

/// The locks on and in the tree of `cache`, wherever that is now.
pub fn in_tree(tree: &Dir, cache: &Cache) -> Vec<ForeignLock> {
    let on_itself = found(cache, LockKind::Directory, cache.path.clone(), try_directory(tree.descend(".")));
    let profiles = match profiles(tree) {
        Ok(profiles) => profiles,
        Err(error) => return on_itself.into_iter().chain([untold(cache, LockKind::Build, &error)]).collect(),
    };
    let files = profiles.iter().flat_map(|profile| BUILD_LOCKS.map(|name| profile.join(name)));
    let builds = files.filter_map(|below| {
        found(cache, LockKind::Build, cache.path.join(&below), try_file(tree.open_file(&below)))
    });
    on_itself.into_iter().chain(builds).collect()
}

/// Whether cargo keeps a build lock in the tree, held or not: then a build was there.
pub fn has_build_lock(tree: &Dir) -> bool {
    let is_lock = |below: PathBuf| tree.pin(&below).and_then(|lock| lock.status()).is_ok_and(|s| s.is_file());
    profiles(tree)
        .unwrap_or_default()
        .iter()
        .any(|profile| BUILD_LOCKS.iter().any(|name| is_lock(profile.join(name))))
}

/// The directories above the cache, up to the work directory.
fn above(work: &Dir, cache: &Cache) -> Vec<ForeignLock> {
    let mut path = cache.path.clone();
    let mut locks = Vec::new();
    for below in cache.below_work.ancestors().skip(1) {
        path.pop();
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        locks.extend(found(cache, LockKind::Directory, path.clone(), try_directory(work.descend(below))));
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
    try_file(dir.and_then(|dir| Ok(File::from(dir.as_fd().try_clone_to_owned()?))))
}

/// Directories in which cargo may keep a lock: the cache's own (custom layouts), `<profile>`, `<triple>/<profile>`.
fn profiles(cache: &Dir) -> io::Result<Vec<PathBuf>> {
    let outers = subdirectories(cache, MAX_OUTER)?
        .ok_or_else(|| io::Error::other("too many directories to examine for build locks"))?;
    let mut found = vec![PathBuf::new()];
    for outer in outers {
        // A vanished one has no locks; one that is a mount shows in the mount table.
        let inners = cache.descend(&outer).and_then(|dir| subdirectories(&dir, MAX_PROFILES));
        let outer = PathBuf::from(outer);
        found.extend(inners.ok().flatten().unwrap_or_default().into_iter().map(|inner| outer.join(inner)));
        found.push(outer);
    }
    Ok(found)
}

/// The names of the directories in `dir`; `None` when there are more than `most`.
fn subdirectories(dir: &Dir, most: usize) -> io::Result<Option<Vec<OsString>>> {
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); ENTRIES_BUFFER];
    let flood = dir.for_each_entry(&mut buffer, |entry| {
        if matches!(entry.kind, FileType::Directory | FileType::Unknown) {
            names.push(OsStr::from_bytes(entry.name.to_bytes()).to_owned());
        }
        if names.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(flood.is_none().then_some(names))
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
        assert_eq!(on_cache(&dir, &cache), []);
        for (file, kind) in [
            ("r/r/target/debug/.cargo-lock", LockKind::Build),
            ("r/r/target/x86_64-unknown-linux-gnu/release/.cargo-lock", LockKind::Build),
            ("r/r/target", LockKind::Directory),
            ("r/r", LockKind::Directory),
            ("", LockKind::Directory),
        ] {
            let holder = hold(&work.join(file));
            let seen = on_cache(&dir, &cache);
            assert_eq!(seen.len(), 1, "{file}: {seen:?}");
            assert_eq!((seen[0].kind, &seen[0].state), (kind, &LockState::Held), "{file}");
            drop(holder);
            assert_eq!(on_cache(&dir, &cache), [], "{file} is free again");
        }
    }

    #[test]
    fn a_lock_that_cannot_be_tried_is_reported() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, work) = Dir::resolve(temp.path()).unwrap();
        let seen = on_cache(&dir, &cache(&work, "gone"));
        assert!(matches!(seen[0].state, LockState::CannotTell(_)));

        let fifo = cache(&work, "r/r/target");
        create_dir_all(fifo.path.join("debug")).unwrap();
        nix::unistd::mkfifo(&fifo.path.join("debug/.cargo-lock"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(on_cache(&dir, &fifo)[0].state, LockState::CannotTell(_)), "and is not waited for");
    }
}
