//! The first phase: the files that hold most of the bytes, in the order of their size.
//!
//! In a cargo target half of the bytes lie in a hundredth of the files. Deleted in the order of the directories, half of
//! the bytes are free after half of the time; in this order, after a few files.
//!
//! Several trees that were claimed together are one list: the largest files of all come before the small ones of any.
//!
//! The list is only a hint: it is as old as the scan, and its files may be gone, moved or replaced by now. Everything beneath the tree's
//! root is to be deleted, so the present owner of a name may be deleted; whatever fails here is met again by the walk over the tree, and
//! reported there.

use super::{Progress, RemoveOptions, Removed, calls};
use crate::model::LargeFile;
use crate::sys::dir::Dir;
use crate::sys::work_stack::work_off;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file and the index of its root.
pub(super) type Listed<'a> = (usize, &'a LargeFile);

/// Deletes the listed files, each beneath its root; the threads take them one by one, in order.
pub(super) fn remove(
    roots: &[Dir],
    files: &[Listed<'_>],
    options: &RemoveOptions<'_>,
    progress: &[&Progress],
) -> Removed {
    let threads = options.threads.clamp(1, files.len().max(1));
    let next = AtomicUsize::new(0);
    let removed = work_off(threads, vec![(); threads], Removed::default, |_, removed, (), _| {
        let mut last = Vec::with_capacity(HANDLES);
        while let Some((at, file)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if options.is_late() || options.is_enough() {
                return;
            }
            if unlink((*at, &roots[*at]), &file.below, &mut last).is_some() {
                let one = Removed { files: 1, directories: 0 };
                removed.merge(one);
                progress[*at].add(one);
                progress[*at].bytes.fetch_add(file.allocated, Ordering::Relaxed);
            }
        }
    });
    let mut sum = Removed::default();
    removed.into_iter().for_each(|removed| sum.merge(removed));
    sum
}

/// A handle of a directory, with its root and path.
type Last = (usize, PathBuf, Dir);

/// The handles that a thread keeps. Most of the large files are in few directories, and their order by size alternates between these.
const HANDLES: usize = 4;

/// Unlinks one file, by a handle of its directory; `last` are the last ones, the very last at the end.
fn unlink((at, root): (usize, &Dir), below: &Path, last: &mut Vec<Last>) -> Option<()> {
    let (directory, name) = (below.parent()?, CString::new(below.file_name()?.as_bytes()).ok()?);
    if directory.as_os_str().is_empty() {
        return calls::unlink(root, &name).ok();
    }
    match last.iter().rposition(|(of, path, _)| (*of, path.as_path()) == (at, directory)) {
        Some(known) => last[known..].rotate_left(1),
        None => {
            let opened = root.descend(directory).ok()?;
            if last.len() == HANDLES {
                last.remove(0);
            }
            last.push((at, directory.to_owned(), opened));
        }
    }
    calls::unlink(&last.last()?.2, &name).ok()
}
