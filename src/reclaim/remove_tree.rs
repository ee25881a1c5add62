//! Deletes a tree that has been claimed: its largest files first, so that bytes are free early, then all of it.
//!
//! # Threat model
//! The tree's owner may still write to it: swap directories for links, mount over them, move them, refill them, revoke permissions. In
//! every case nothing outside the tree is touched.
//!
//! # Invariants
//! - An entry is removed through a handle of the directory that held it when it was opened, by its one name. unlinkat(2)
//!   follows no link, so a link is removed and never what it points to.
//! - A directory is opened by `openat2`, refusing links and mounts. A mount is left alone with its content.
//! - Errors do not stop the deletion: it carries on with the rest, and returns the first error and their number.
//! - It terminates. A refilled directory is read again a bounded number of times, singly and overall. The process that refills it decides
//!   how long that takes: callers that must return in time set a deadline.
//! - Memory and descriptors are bounded at any depth and width. A directory is held open while anything below it is left, within a
//!   [`HandleBudget`]; when that is used up, further directories are renamed up beside the tree, to names of their own, and deleted from
//!   there (`deep.rs`).
//! - Crash safety: `parent` must be a directory all of whose entries are trash. Killed at any instant, what is left of the
//!   tree and of what was renamed up lies in it, for the next run to delete.
//!
//! # What is not forced
//!
//! Immutable files (`chattr +i`) and directories of other users that the caller may not enter are kept and reported. For a directory's
//! owner and for root the permission bits that deletion needs are restored, as systemd's rm-rf does. A btrfs subvolume is deleted as a
//! whole where the caller may do that; otherwise it is made writable, emptied, and removed by rmdir(2) like a directory (Linux 4.18).
//!
//! The rights needed beneath `parent` when the caller is confined by Landlock are listed in [`super::confinement`].

mod calls;
mod deep;
mod error;
mod largest_first;
mod node;
mod walk;

pub use error::{Operation, RemoveError};

use crate::model::LargeFile;
use crate::sys::btrfs;
use crate::sys::dir::Dir;
use crate::sys::handles::HandleBudget;
use error::Errors;
use largest_first::Listed;
use std::cmp::Reverse;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use std::{fmt, io};
use walk::RemovalWalk;

/// How to delete.
#[derive(Debug, Clone, Copy)]
pub struct RemoveOptions<'a> {
    /// Threads, the calling one included. Two by measurement; more gain nothing.
    pub threads: usize,
    /// When to stop, at any point. The current entry is finished.
    pub deadline: Option<Instant>,
    /// Whether enough has been deleted.
    pub enough: Option<Enough<'a>>,
    /// Counts progress, for observers.
    pub progress: &'a Progress,
}

impl RemoveOptions<'_> {
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn is_enough(&self) -> bool {
        self.enough.is_some_and(|Enough(is_enough)| is_enough())
    }
}

/// Returns whether enough has been deleted. Asked before each entry, by all threads.
#[derive(Clone, Copy)]
pub struct Enough<'a>(pub &'a (dyn Fn() -> bool + Sync));

impl fmt::Debug for Enough<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enough")
    }
}

/// What has been removed so far; may add up over several trees.
#[derive(Debug, Default)]
pub struct Progress {
    /// Entries that were not directories.
    pub files: AtomicU64,
    /// Directories.
    pub directories: AtomicU64,
    /// Bytes of the files that were listed as the largest.
    pub bytes: AtomicU64,
}

impl Progress {
    fn add(&self, removed: Removed) {
        self.files.fetch_add(removed.files, Ordering::Relaxed);
        self.directories.fetch_add(removed.directories, Ordering::Relaxed);
    }
}

/// What was removed of a tree.
#[derive(Debug)]
#[must_use]
pub struct Removal {
    /// Entries that were not directories.
    pub files: u64,
    /// Directories, the tree's own root included.
    pub directories: u64,
    /// Whether anything is left.
    pub extent: RemovalExtent,
}

/// Whether a deletion left anything.
#[derive(Debug)]
pub enum RemovalExtent {
    /// Nothing is left.
    Whole,
    /// Something is.
    Part {
        /// The first reason.
        first: RemoveError,
        /// How many there were.
        errors: u64,
    },
}

/// Sums of one thread.
#[derive(Debug, Default, Clone, Copy)]
struct Removed {
    files: u64,
    directories: u64,
}

impl Removed {
    fn merge(&mut self, other: Removed) {
        self.files += other.files;
        self.directories += other.directories;
    }
}

/// Passes over a tree that needed free space to be moved about: the first pass makes it.
const PASSES_WITHOUT_SPACE: usize = 3;

/// Deletes the entry `name` of `parent` with its content, beginning with the files `largest` lists (relative to the tree, in that order).
/// Missing files count as deleted. See the module's header for the requirements on `parent`.
pub fn remove_tree(
    parent: &Dir,
    name: &OsStr,
    largest: &[LargeFile],
    options: &RemoveOptions<'_>,
) -> Removal {
    let mut removed = Removed::default();
    let name = match single_name(name) {
        Ok(name) => name,
        Err(source) => {
            let errors = Errors::default();
            errors.record(RemoveError::Failed { path: name.into(), operation: Operation::Open, source });
            return errors.into_removal(removed);
        }
    };
    if let Ok(root) = parent.descend(name.as_c_str()) {
        if btrfs::is_on_btrfs(&root) && calls::remove_subvolume(parent, &name, &root) {
            removed.directories += 1;
            return Errors::default().into_removal(removed);
        }
        let files: Vec<Listed<'_>> = largest.iter().map(|file| (0, file)).collect();
        removed.merge(largest_first::remove(&[root], &files, options, &[options.progress]));
    }
    let mut passes = 0;
    loop {
        let budget = HandleBudget::of_process();
        let walk = RemovalWalk::new(parent, &budget, options);
        let here = walk.remove(&name);
        removed.merge(here);
        passes += 1;
        let errors = walk.into_errors();
        let freed = here.files + here.directories > 0;
        if !(errors.lacked_space() && freed && passes < PASSES_WITHOUT_SPACE) {
            return errors.into_removal(removed);
        }
    }
}

/// A tree whose largest files are to be deleted before those of others.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'a> {
    /// The directory that holds it; see the module's header for its requirements.
    pub parent: &'a Dir,
    /// Its name there.
    pub name: &'a OsStr,
    /// Its largest files, relative to it.
    pub largest: &'a [LargeFile],
    /// Counts along.
    pub progress: &'a Progress,
}

/// Deletes the listed files of several trees, the largest of all first. The rest of the trees is left to [`remove_tree`], which also
/// reports files that could not be deleted here.
pub fn remove_largest(trees: &[Tree<'_>], options: &RemoveOptions<'_>) {
    let opened: Vec<(&Tree<'_>, Dir)> =
        trees.iter().filter_map(|tree| Some((tree, tree.parent.descend(tree.name).ok()?))).collect();
    let (trees, roots): (Vec<&Tree<'_>>, Vec<Dir>) = opened.into_iter().unzip();
    let listed =
        trees.iter().enumerate().flat_map(|(at, tree)| tree.largest.iter().map(move |file| (at, file)));
    let mut files: Vec<Listed<'_>> = listed.collect();
    // Stable: files of one size stay in the order of their tree's list.
    files.sort_by_key(|(_, file)| Reverse(file.allocated));
    let progress: Vec<&Progress> = trees.iter().map(|tree| tree.progress).collect();
    largest_first::remove(&roots, &files, options, &progress);
}

/// A name that stands for an entry of its directory and nothing else.
fn single_name(name: &OsStr) -> io::Result<CString> {
    let bytes = name.as_bytes();
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not the name of a directory entry");
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') {
        return Err(invalid());
    }
    CString::new(bytes).map_err(|_| invalid())
}

#[cfg(test)]
mod tests;
