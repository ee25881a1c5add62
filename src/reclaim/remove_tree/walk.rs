//! The second phase: everything that is left, depth first.
//!
//! Two tasks: enter a directory, and continue reading one. Files are unlinked at once, straight from the reader's buffer; a subdirectory
//! becomes a task. A reader of a large directory offers the rest of it as a task, so that the threads share the entries of one flat
//! directory.
//!
//! # When a directory is removed
//!
//! A [`Node`] counts outstanding work: its readers and its subdirectories. The thread that brings the count to zero removes the directory
//! and decrements the parent's count, and so on up, in a loop. A node below which something is kept is `spoiled`, and its removal is not
//! tried. ENOTEMPTY nevertheless means that entries were added, or that the filesystem omitted some while others vanished (readdir(3) does
//! not exclude that): the directory is read again.

use super::calls::{self, errno};
use super::deep::Deep;
use super::error::{Errors, Operation, RemoveError};
use super::node::{Node, path_of, spoil};
use super::{RemoveOptions, Removed};
use crate::sys::btrfs;
use crate::sys::dir::{Batch, Dir, DirEntry, ENTRIES_BUFFER};
use crate::sys::handles::HandleBudget;
use crate::sys::work_stack::{WorkStack, work_off};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A reader that has met so many entries in one batch treats the directory as large, and shares the rest of it.
const SHARED_FROM: u64 = 64;

/// How often one directory is read again.
const REREADS_EACH: u32 = 5;

/// How often directories are read again, all together: without it, refilling each level would multiply.
const REREADS_IN_ALL: u64 = 1000;

/// Entries after which one pass over a directory ends whether or not there are more: some filesystems list what is added
/// while they are read (tmpfs, btrfs), so a pass need not end by itself.
const ENTRIES_IN_A_PASS: u64 = 1 << 26;

/// What the threads share.
pub(super) struct RemovalWalk<'a> {
    base: &'a Dir,
    /// It lies on btrfs.
    has_subvolumes: bool,
    budget: &'a HandleBudget,
    options: &'a RemoveOptions<'a>,
    late: AtomicBool,
    rereads: AtomicU64,
    deep: Deep,
    errors: Errors,
}

enum RemovalTask<'a> {
    Enter {
        parent: Option<Arc<Node<'a>>>,
        name: Box<CStr>,
    },
    Read(Arc<Node<'a>>),
    /// Directories that were renamed up, by their numbers.
    Deep(Range<u64>),
}

/// The outcome of a directory without outstanding work.
enum WalkOutcome {
    Gone,
    Stays,
    ReadAgain,
}

/// One thread's tools.
struct Worker<'w, 'a> {
    walk: &'w RemovalWalk<'a>,
    stack: &'w WorkStack<RemovalTask<'a>>,
    removed: &'w mut Removed,
    made: &'w mut Vec<RemovalTask<'a>>,
}

impl<'a> RemovalWalk<'a> {
    pub(super) fn new(base: &'a Dir, budget: &'a HandleBudget, options: &'a RemoveOptions<'a>) -> Self {
        Self {
            base,
            has_subvolumes: btrfs::is_on_btrfs(base),
            budget,
            options,
            late: AtomicBool::new(false),
            rereads: AtomicU64::new(REREADS_IN_ALL),
            deep: Deep::new(),
            errors: Errors::default(),
        }
    }

    /// Deletes the tree `name` of the base, then what had to be renamed up out of it, then what out of that.
    pub(super) fn remove(&self, name: &CStr) -> Removed {
        let mut removed = self.work_off(RemovalTask::Enter { parent: None, name: name.into() });
        let mut done = 0;
        loop {
            let deep = self.deep.since(done);
            if deep.is_empty() {
                return removed;
            }
            done = deep.end;
            removed.merge(self.work_off(RemovalTask::Deep(deep)));
        }
    }

    pub(super) fn into_errors(self) -> Errors {
        self.errors
    }

    fn work_off(&self, first: RemovalTask<'a>) -> Removed {
        let sums = work_off(
            self.options.threads.max(1),
            vec![first],
            || (Removed::default(), vec![MaybeUninit::uninit(); ENTRIES_BUFFER]),
            |stack, (sum, buffer), task, made| {
                let mut removed = Removed::default();
                Worker { walk: self, stack, removed: &mut removed, made }.work(task, buffer);
                self.options.progress.add(removed);
                sum.merge(removed);
            },
        );
        let mut removed = Removed::default();
        sums.into_iter().for_each(|(sum, _)| removed.merge(sum));
        removed
    }

    /// Whether the deadline has passed, or enough is deleted; the first thread to notice records where.
    fn is_late(&self, path: impl FnOnce() -> PathBuf) -> bool {
        if self.late.load(Ordering::Relaxed) {
            return true;
        }
        let (late, enough) = (self.options.is_late(), self.options.is_enough());
        if (late || enough) && !self.late.swap(true, Ordering::Relaxed) {
            let path = path();
            self.errors.record(match enough {
                true => RemoveError::Enough { path },
                false => RemoveError::OutOfTime { path },
            });
        }
        late || enough
    }

    fn dir_of<'n>(&'n self, parent: Option<&'n Node<'a>>) -> &'n Dir {
        parent.map_or(self.base, |parent| &parent.dir)
    }

    /// Something in `parent` is kept, for this reason.
    fn stays(&self, parent: Option<&Node<'a>>, name: &CStr, operation: Operation, errno: Errno) {
        let (path, source) = (path_of(parent, name), io::Error::from(errno));
        self.errors.record(match errno {
            Errno::BUSY => RemoveError::Mount { path, source },
            // From renameat2 it would mean another subvolume.
            Errno::XDEV if operation == Operation::Open => RemoveError::Mount { path, source },
            _ => RemoveError::Failed { path, operation, source },
        });
        spoil(parent);
    }
}

impl<'a> Worker<'_, 'a> {
    fn work(&mut self, task: RemovalTask<'a>, buffer: &mut [MaybeUninit<u8>]) {
        match task {
            RemovalTask::Deep(mut numbers) => {
                if let Some(number) = numbers.next() {
                    let name = self.walk.deep.name(number).into_boxed_c_str();
                    self.made.push(RemovalTask::Deep(numbers));
                    self.made.push(RemovalTask::Enter { parent: None, name });
                }
            }
            RemovalTask::Enter { parent, name } => match self.enter(&parent, name) {
                Some(node) => self.read(node, buffer),
                None => self.settle(parent),
            },
            RemovalTask::Read(node) => self.read(node, buffer),
        }
    }

    /// Opens a subdirectory. `None` when nothing is left to do with it: it is gone, moved up, or kept.
    fn enter(&mut self, parent: &Option<Arc<Node<'a>>>, name: Box<CStr>) -> Option<Arc<Node<'a>>> {
        let (walk, above) = (self.walk, parent.as_deref());
        if walk.is_late(|| path_of(above, &name)) {
            spoil(above);
            return None;
        }
        let permit = walk.budget.take();
        // A root is entered in any case: there is nowhere further up, and few are open at once.
        if permit.is_none() && above.is_some() {
            self.move_up(above, &name);
            return None;
        }
        let dir = self.open(above, &name)?;
        if walk.has_subvolumes && calls::remove_subvolume(walk.dir_of(above), &name, &dir) {
            self.removed.directories += 1;
            return None;
        }
        Some(Arc::new(Node::new(dir, name, parent.clone(), permit)))
    }

    fn open(&mut self, parent: Option<&Node<'a>>, name: &CStr) -> Option<Dir> {
        let dir = self.walk.dir_of(parent);
        let mut opened = dir.descend(name);
        if matches!(&opened, Err(error) if errno(error) == Some(Errno::ACCESS)) {
            let given = parent.is_none_or(|parent| calls::give_permissions(&parent.dir));
            if given && calls::give_permissions_below(dir, name) {
                opened = dir.descend(name);
            }
        }
        match opened.map_err(|error| errno(&error).unwrap_or(Errno::IO)) {
            Ok(dir) => return Some(dir),
            Err(Errno::NOENT) => {}
            // Replaced since it was read, or the entry to delete is not a directory at all.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                if self.unlink(parent, name) == Err(Errno::ISDIR) {
                    self.walk.stays(parent, name, Operation::Open, Errno::NOTDIR);
                }
            }
            Err(Errno::MFILE | Errno::NFILE) if parent.is_some() => self.move_up(parent, name),
            // A directory that may not be opened can be removed when it is empty: that takes only its parent's permissions.
            Err(Errno::ACCESS) if calls::remove_directory(dir, name).is_ok() => self.removed.directories += 1,
            Err(errno) => self.walk.stays(parent, name, Operation::Open, errno),
        }
        None
    }

    /// Renames a directory up beside the tree, to be deleted from there.
    fn move_up(&self, parent: Option<&Node<'a>>, name: &CStr) {
        let walk = self.walk;
        let Some(number) = walk.deep.number() else {
            return walk.stays(parent, name, Operation::MoveUp, Errno::OVERFLOW);
        };
        let (dir, new) = (walk.dir_of(parent), walk.deep.name(number));
        let mut moved = calls::move_up(dir, name, walk.base, &new);
        if moved == Err(Errno::ACCESS) {
            // A directory that gets another parent must be writable itself: its `..` is written.
            let given = parent.is_none_or(|parent| calls::give_permissions(&parent.dir));
            if given && calls::give_permissions_below(dir, name) {
                moved = calls::move_up(dir, name, walk.base, &new);
            }
        }
        match moved {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => walk.stays(parent, name, Operation::MoveUp, errno),
        }
    }

    fn read(&mut self, node: Arc<Node<'a>>, buffer: &mut [MaybeUninit<u8>]) {
        while node.entries.load(Ordering::Relaxed) < ENTRIES_IN_A_PASS && !self.is_late(&node) {
            let (mut seen, mut shared) = (0, false);
            let batch = node.dir.read_batch(buffer, |entry| {
                seen += 1;
                if seen == SHARED_FROM {
                    shared = true;
                    node.outstanding.fetch_add(1, Ordering::Relaxed);
                    self.stack.push(RemovalTask::Read(Arc::clone(&node)));
                }
                self.remove_entry(&node, &entry);
            });
            node.entries.fetch_add(seen, Ordering::Relaxed);
            match batch {
                Ok(Batch::MoreMayFollow) if !shared => continue,
                Ok(_) => {}
                Err(error) => {
                    let errno = errno(&error).unwrap_or(Errno::IO);
                    self.walk.stays(node.parent.as_deref(), &node.name, Operation::Read, errno);
                    spoil(Some(&node));
                }
            }
            break;
        }
        self.settle(Some(node));
    }

    fn is_late(&self, node: &Node<'a>) -> bool {
        let late = self.walk.is_late(|| path_of(node.parent.as_deref(), &node.name));
        if late {
            spoil(Some(node));
        }
        late
    }

    #[inline(always)] // see calls::unlink
    fn remove_entry(&mut self, node: &Arc<Node<'a>>, entry: &DirEntry<'_>) {
        if self.is_late(node) {
            return;
        }
        // If the type is unknown, unlinking shows it: a directory is refused with EISDIR.
        if entry.kind == FileType::Directory || self.unlink(Some(node), entry.name) == Err(Errno::ISDIR) {
            node.outstanding.fetch_add(1, Ordering::Relaxed);
            self.made.push(RemovalTask::Enter { parent: Some(Arc::clone(node)), name: entry.name.into() });
        }
    }

    /// Unlinks an entry that is not a directory. The one error that is returned and not reported is EISDIR.
    #[inline(always)] // see calls::unlink
    fn unlink(&mut self, parent: Option<&Node<'a>>, name: &CStr) -> Result<(), Errno> {
        let dir = self.walk.dir_of(parent);
        let mut result = calls::unlink(dir, name);
        if result == Err(Errno::ACCESS) && parent.is_some_and(|parent| calls::give_permissions(&parent.dir)) {
            result = calls::unlink(dir, name);
        }
        match result {
            Ok(()) => self.removed.files += 1,
            Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => return Err(Errno::ISDIR),
            Err(errno) => self.walk.stays(parent, name, Operation::Unlink, errno),
        }
        Ok(())
    }

    /// One reader or subdirectory of `node` is done. The last one removes the directory, which completes one subdirectory of its parent.
    fn settle(&mut self, mut node: Option<Arc<Node<'a>>>) {
        while let Some(done) = node {
            // Release and acquire: the last one sees any earlier `spoiled`.
            if done.outstanding.fetch_sub(1, Ordering::AcqRel) != 1 {
                return;
            }
            match self.finish(&done) {
                WalkOutcome::Gone => {}
                WalkOutcome::Stays => spoil(done.parent.as_deref()),
                WalkOutcome::ReadAgain => {
                    done.outstanding.store(1, Ordering::Relaxed);
                    self.made.push(RemovalTask::Read(done));
                    return;
                }
            }
            node = done.parent.clone();
        }
    }

    fn finish(&mut self, node: &Node<'a>) -> WalkOutcome {
        if node.spoiled.load(Ordering::Relaxed) {
            return WalkOutcome::Stays;
        }
        let (walk, parent) = (self.walk, node.parent.as_deref());
        let dir = walk.dir_of(parent);
        let mut result = calls::remove_directory(dir, &node.name);
        if result == Err(Errno::ACCESS) && parent.is_some_and(|parent| calls::give_permissions(&parent.dir)) {
            result = calls::remove_directory(dir, &node.name);
        }
        match result {
            Ok(()) => {
                self.removed.directories += 1;
                WalkOutcome::Gone
            }
            Err(Errno::NOENT) => WalkOutcome::Gone,
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.read_again(node),
            // It was swapped for something else, which now has the name and is in the tree.
            Err(Errno::NOTDIR) if self.unlink(parent, &node.name).is_ok() => WalkOutcome::Gone,
            Err(errno) => {
                walk.stays(parent, &node.name, Operation::RemoveDirectory, errno);
                WalkOutcome::Stays
            }
        }
    }

    fn read_again(&self, node: &Node<'a>) -> WalkOutcome {
        let left = &self.walk.rereads;
        let allowed = node.rereads.fetch_add(1, Ordering::Relaxed) < REREADS_EACH
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if allowed && node.dir.rewind().is_ok() {
            node.entries.store(0, Ordering::Relaxed);
            return WalkOutcome::ReadAgain;
        }
        let path = path_of(node.parent.as_deref(), &node.name);
        self.walk.errors.record(RemoveError::Refilled { path });
        WalkOutcome::Stays
    }
}

#[cfg(test)]
mod tests;
