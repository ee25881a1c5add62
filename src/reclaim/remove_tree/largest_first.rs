//! The first phase: the files that hold most of the bytes, in the order of their size.
//!
//! In a cargo target half of the bytes lie in a hundredth of the files. Deleted in the order of the directories, half of
//! the bytes are free after half of the time; in this order, after a few files.
//!
//! Several trees that were claimed together are one list: their largest files go before anybody's small ones.
//!
//! A hint is all that the list is: it is as old as the scan, and what it names may be gone, moved or something else by now.
//! Whatever lies beneath the tree's root is doomed, so whatever has the name now may go; what fails here is met again by
//! the walk over the tree, and reported there.

use super::{Options, Progress, Removed, calls};
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
    options: &Options<'_>,
    progress: &[&Progress],
) -> Removed {
    let threads = options.threads.clamp(1, files.len().max(1));
    let next = AtomicUsize::new(0);
    let removed = work_off(threads, vec![(); threads], Removed::default, |_, removed, (), _| {
        let mut last = None;
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

/// The last handle, with its root and path.
type Last = (usize, PathBuf, Dir);

/// Unlinks one file, by a handle of its directory. The last handle is kept: most of the large files share one directory.
fn unlink((at, root): (usize, &Dir), below: &Path, last: &mut Option<Last>) -> Option<()> {
    let (directory, name) = (below.parent()?, CString::new(below.file_name()?.as_bytes()).ok()?);
    if directory.as_os_str().is_empty() {
        return calls::unlink(root, &name).ok();
    }
    if last.as_ref().is_none_or(|(of, path, _)| (*of, path.as_path()) != (at, directory)) {
        *last = Some((at, directory.to_owned(), root.descend(directory).ok()?));
    }
    let (_, _, dir) = last.as_ref()?;
    calls::unlink(dir, &name).ok()
}
