//! The first phase: the files that hold most of the bytes, in the order of their size.
//!
//! In a cargo target half of the bytes lie in a hundredth of the files. Deleted in the order of the directories, half of
//! the bytes are free after half of the time; in this order, after a few files.
//!
//! A hint is all that the list is: it is as old as the scan, and what it names may be gone, moved or something else by now.
//! Whatever lies beneath the tree's root is doomed, so whatever has the name now may go; what fails here is met again by
//! the walk over the tree, and reported there.

use super::{Options, Removed, calls};
use crate::model::LargeFile;
use crate::sys::dir::Dir;
use crate::sys::work_stack::work_off;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Deletes the listed files beneath `root`; the threads take them one by one, in order.
pub(super) fn remove(root: &Dir, files: &[LargeFile], options: &Options<'_>) -> Removed {
    let threads = options.threads.clamp(1, files.len().max(1));
    let next = AtomicUsize::new(0);
    let removed = work_off(threads, vec![(); threads], Removed::default, |_, removed, (), _| {
        let mut last = None;
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if options.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return;
            }
            if unlink(root, &file.below, &mut last).is_some() {
                let one = Removed { files: 1, directories: 0 };
                removed.merge(one);
                options.progress.add(one);
            }
        }
    });
    let mut sum = Removed::default();
    removed.into_iter().for_each(|removed| sum.merge(removed));
    sum
}

/// Unlinks one file, by a handle of its directory. The last handle is kept: most of the large files share one directory.
fn unlink(root: &Dir, below: &Path, last: &mut Option<(PathBuf, Dir)>) -> Option<()> {
    let (directory, name) = (below.parent()?, CString::new(below.file_name()?.as_bytes()).ok()?);
    if directory.as_os_str().is_empty() {
        return calls::unlink(root, &name).ok();
    }
    if last.as_ref().is_none_or(|(path, _)| path != directory) {
        *last = Some((directory.to_owned(), root.descend(directory).ok()?));
    }
    let (_, dir) = last.as_ref()?;
    calls::unlink(dir, &name).ok()
}
