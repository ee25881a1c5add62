//! The size of a tree, found by walking it with directory handles.
//!
//! # Invariants
//! - Links are not followed and mounts not entered: directories are opened by [`Dir::descend`] one name at a time, and a
//!   file that lies on another mount (a file can be a mount point too) is not counted.
//! - Anything unseen makes the result [`Coverage::Part`], never an error: unreadable directories, mounts, an expired deadline. Only a root
//!   that cannot be read at all is an error.
//! - Memory does not grow with the number of files: entries are looked at in the reader's buffer, only the names of subdirectories are
//!   kept, and of those at most one batch per level. The set of hard-linked inodes and the list of the largest files are bounded.
//! - Descriptors do not grow with depth: a directory is held open only while subdirectories of it wait, within a [`HandleBudget`]. A chain
//!   of any depth costs two. Where more levels wait than the budget allows, which takes a tree that branches on each of hundreds of
//!   levels, deeper levels are not looked at (Part).
//!
//! # Sharing
//! Three tasks: open the next tree, enter a directory, and continue reading one. A reader of a large directory offers the rest of it as a
//! task, so that two threads share cargo's flat `deps/` as well as its thousands of small directories. Many trees are measured by one pool
//! of threads: none waits for another to finish a tree, and none is started for a small one.

mod hard_links;
mod largest;

use super::remembered::Noted;
use crate::model::{Coverage, LargeFile, Measure};
use crate::sys::dir::{Batch, Dir, DirEntry, ENTRIES_BUFFER, Status};
use crate::sys::handles::{HandleBudget, Permit};
use crate::sys::reach::{self, MountPointNames};
use crate::sys::work_stack::{WorkStack, work_off};
use hard_links::HardLinks;
use largest::Largest;
use rustix::fs::FileType;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// How to walk.
#[derive(Debug, Clone, Copy)]
pub struct MeasureOptions {
    /// Threads, the calling one included. Two by measurement; more help only with a cold cache.
    pub threads: usize,
    /// How many of the largest files to list.
    pub largest: usize,
    /// When to stop looking.
    pub deadline: Option<Instant>,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self { threads: 2, largest: 4096, deadline: None }
    }
}

/// The result of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The sums.
    pub measure: Measure,
    /// The largest files, the largest first: 99 % of a cargo target's bytes lie in less than a third of its files.
    pub largest: Vec<LargeFile>,
}

/// Measures the tree that `tree` is a handle of.
///
/// # Errors
/// When the root itself cannot be read; the error of openat2(2) and statx(2).
pub fn measure(tree: &Dir, options: &MeasureOptions) -> io::Result<Scan> {
    measure_within(tree, options, &AtomicI64::new(i64::MAX))
}

/// The same, looking at no more entries than `entries` allows, which is counted down.
///
/// # Errors
/// As [`measure`].
pub fn measure_within(tree: &Dir, options: &MeasureOptions, entries: &AtomicI64) -> io::Result<Scan> {
    let found = Mutex::new(None);
    let keep = |_, scan, _| *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(scan);
    let budget = HandleBudget::of_process();
    let walk = SizeWalk::new(options, entries, &budget, false, &keep);
    // A handle of our own: the walk moves its position.
    let first = walk.begin(0..1, tree.descend(".")?)?;
    walk.run(first, &|_| None);
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.ok_or_else(|| io::Error::other("the walk did not come to its end"))
}

/// Measures this many trees with one pool of threads. `open` opens the tree of a number, or returns none. `found` receives each tree as
/// soon as it is measured, and with `noting` its directories as they were before they were read: none where there are too many to
/// remember. The trees are begun in their order; with `in_turn` none before the previous one has been passed to `found`.
pub(super) fn measure_all(
    trees: usize,
    options: &MeasureOptions,
    (noting, in_turn): (bool, bool),
    open: &(dyn Fn(usize) -> Option<Dir> + Sync),
    found: &OnMeasured<'_>,
) {
    let (entries, budget) = (AtomicI64::new(i64::MAX), HandleBudget::of_process());
    let walk = SizeWalk { in_turn, ..SizeWalk::new(options, &entries, &budget, noting, found) };
    walk.run(MeasureTask::Open(0..trees), open);
}

/// Receives a measured tree: its number, its size, and its directories.
pub(super) type OnMeasured<'f> = dyn Fn(usize, Scan, Vec<Noted>) + Sync + 'f;

/// What the threads share.
struct SizeWalk<'a> {
    options: &'a MeasureOptions,
    late: AtomicBool,
    entries: &'a AtomicI64,
    budget: &'a HandleBudget,
    /// Entries of these names may be mounts, which are not touched.
    mounts: MountPointNames,
    noting: bool,
    /// Whether a tree is only begun when the previous one is measured.
    in_turn: bool,
    found: &'a OnMeasured<'a>,
    /// Whether directories are read without updating their access time, which requires owning them: otherwise the first read after a write
    /// would cause another write (relatime, mount(8)).
    unnoticed: AtomicBool,
}

/// A tree that is being measured.
struct MeasuredTree {
    number: usize,
    /// The trees that are begun when this one is measured.
    next: Range<usize>,
    mount_id: u64,
    links: HardLinks,
    /// Tasks that are not done. The thread that brings this to zero reports the tree.
    outstanding: AtomicUsize,
    sums: Mutex<TreeSums>,
}

/// An open directory.
struct OpenDir<'a> {
    dir: Dir,
    tree: Arc<MeasuredTree>,
    /// Its path relative to the root; `None` when it is too long for listing files.
    path: Option<Vec<u8>>,
    /// Entries met so far.
    entries: AtomicU64,
    _permit: Option<Permit<'a>>,
}

enum MeasureTask<'a> {
    Open(Range<usize>),
    Enter { parent: Arc<OpenDir<'a>>, name: Box<CStr> },
    Read(Arc<OpenDir<'a>>),
}

/// A reader that has met so many entries in one batch treats the directory as large, and shares the rest of it.
const SHARED_FROM: u64 = 64;

/// The maximum of entries of a directory: some filesystems list entries that are added while they are read (tmpfs, btrfs), so that a
/// process that keeps adding could prolong the walk for ever.
const ENTRIES_IN_A_DIRECTORY: u64 = 1 << 26;

/// The maximum of recorded directories of one tree: more would take too much memory.
const MAX_NOTED: usize = 1 << 16;

impl<'a> SizeWalk<'a> {
    fn new(
        options: &'a MeasureOptions,
        entries: &'a AtomicI64,
        budget: &'a HandleBudget,
        noting: bool,
        found: &'a OnMeasured<'a>,
    ) -> Self {
        let (late, unnoticed) = (AtomicBool::new(false), AtomicBool::new(true));
        Self {
            options,
            late,
            entries,
            budget,
            mounts: reach::names(),
            noting,
            in_turn: false,
            found,
            unnoticed,
        }
    }

    fn run(&self, first: MeasureTask<'a>, open: &(dyn Fn(usize) -> Option<Dir> + Sync)) {
        work_off(
            self.options.threads.max(1),
            vec![first],
            || (self.tally(), vec![MaybeUninit::uninit(); ENTRIES_BUFFER]),
            |stack, (tally, buffer), task, made| self.work(stack, tally, buffer, open, task, made),
        );
    }

    fn tally(&self) -> TreeSums {
        TreeSums::new(self.options.largest, self.noting)
    }

    /// The first task of the first of these trees. The others are begun when it is measured.
    fn begin(&self, numbers: Range<usize>, root: Dir) -> io::Result<MeasureTask<'a>> {
        let status = root.status()?;
        let mut sums = self.tally();
        sums.add_directory(&status, Some(&[]));
        let tree = MeasuredTree {
            number: numbers.start,
            next: numbers.start + 1..numbers.end,
            mount_id: status.mount_id,
            links: HardLinks::default(),
            outstanding: AtomicUsize::new(1),
            sums: Mutex::new(sums),
        };
        Ok(MeasureTask::Read(Arc::new(OpenDir {
            dir: root,
            tree: Arc::new(tree),
            path: Some(Vec::new()),
            entries: AtomicU64::new(0),
            _permit: self.budget.take(),
        })))
    }

    fn work(
        &self,
        stack: &WorkStack<MeasureTask<'a>>,
        tally: &mut TreeSums,
        buffer: &mut [MaybeUninit<u8>],
        open: &(dyn Fn(usize) -> Option<Dir> + Sync),
        task: MeasureTask<'a>,
        made: &mut Vec<MeasureTask<'a>>,
    ) {
        let tree = match task {
            MeasureTask::Open(mut numbers) => {
                while let Some(number) = numbers.next() {
                    let mut these = number..number + 1;
                    match self.in_turn {
                        true => these.end = numbers.end,
                        false if numbers.is_empty() => {}
                        false => stack.push(MeasureTask::Open(numbers.clone())),
                    }
                    made.extend(open(number).and_then(|root| self.begin(these, root).ok()));
                    if !self.in_turn || !made.is_empty() {
                        return;
                    }
                }
                return;
            }
            MeasureTask::Read(place) => {
                self.read(stack, tally, buffer, &place, made);
                Arc::clone(&place.tree)
            }
            MeasureTask::Enter { parent, name } => {
                if let Some(place) = self.enter(&parent, &name, tally) {
                    self.read(stack, tally, buffer, &place, made);
                }
                Arc::clone(&parent.tree)
            }
        };
        self.settle(&tree, tally, made);
    }

    /// One task of a tree is done, and has made these others.
    fn settle(&self, tree: &MeasuredTree, tally: &mut TreeSums, made: &mut Vec<MeasureTask<'a>>) {
        tree.sums.lock().unwrap_or_else(PoisonError::into_inner).take_from(tally);
        tree.outstanding.fetch_add(made.len(), Ordering::Relaxed);
        // Release and acquire: the last one sees the sums of all.
        if tree.outstanding.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let mut sums = std::mem::replace(
            &mut *tree.sums.lock().unwrap_or_else(PoisonError::into_inner),
            TreeSums::new(0, false),
        );
        let noted = sums.noted.take().unwrap_or_default();
        (self.found)(tree.number, sums.into_scan(), noted);
        if !tree.next.is_empty() {
            made.push(MeasureTask::Open(tree.next.clone()));
        }
    }

    fn enter(
        &self,
        parent: &Arc<OpenDir<'a>>,
        name: &CStr,
        tally: &mut TreeSums,
    ) -> Option<Arc<OpenDir<'a>>> {
        if self.is_late() {
            tally.coverage = Coverage::Part;
            return None;
        }
        let opened = self.budget.take().map(|permit| (permit, self.descend(&parent.dir, name)));
        let Some((permit, Ok(dir))) = opened else {
            tally.coverage = Coverage::Part;
            return None;
        };
        let path = parent.path.as_deref().and_then(|path| largest::join(path, name));
        match dir.status() {
            Ok(status) => tally.add_directory(&status, path.as_deref()),
            Err(_) => tally.coverage = Coverage::Part,
        }
        Some(Arc::new(OpenDir {
            dir,
            tree: Arc::clone(&parent.tree),
            path,
            entries: AtomicU64::new(0),
            _permit: Some(permit),
        }))
    }

    fn descend(&self, parent: &Dir, name: &CStr) -> io::Result<Dir> {
        if self.unnoticed.load(Ordering::Relaxed) {
            match parent.descend_unnoticed(name) {
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                    self.unnoticed.store(false, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        parent.descend(name)
    }

    fn read(
        &self,
        stack: &WorkStack<MeasureTask<'a>>,
        tally: &mut TreeSums,
        buffer: &mut [MaybeUninit<u8>],
        place: &Arc<OpenDir<'a>>,
        made: &mut Vec<MeasureTask<'a>>,
    ) {
        while place.entries.load(Ordering::Relaxed) < ENTRIES_IN_A_DIRECTORY && !self.is_late() {
            let (mut seen, mut shared) = (0, false);
            let read = place.dir.read_batch(buffer, |entry| {
                seen += 1;
                if seen == SHARED_FROM {
                    shared = true;
                    place.tree.outstanding.fetch_add(1, Ordering::Relaxed);
                    stack.push(MeasureTask::Read(Arc::clone(place)));
                }
                self.look_at(place, &entry, tally, made);
            });
            place.entries.fetch_add(seen, Ordering::Relaxed);
            self.entries.fetch_sub(seen as i64, Ordering::Relaxed);
            match read {
                Ok(Batch::MoreMayFollow) if !shared => continue,
                Ok(_) => {}
                Err(_) => tally.coverage = Coverage::Part,
            }
            return;
        }
        tally.coverage = Coverage::Part;
    }

    fn look_at(
        &self,
        place: &Arc<OpenDir<'a>>,
        entry: &DirEntry<'_>,
        tally: &mut TreeSums,
        made: &mut Vec<MeasureTask<'a>>,
    ) {
        if entry.kind == FileType::Directory {
            made.push(MeasureTask::Enter { parent: Arc::clone(place), name: entry.name.into() });
            return;
        }
        match place.dir.status_among(entry.name, &self.mounts) {
            // The filesystem did not report its type, or it was replaced since.
            Ok(status) if status.is_dir() => {
                made.push(MeasureTask::Enter { parent: Arc::clone(place), name: entry.name.into() });
            }
            Ok(status) if status.mount_id != place.tree.mount_id => tally.coverage = Coverage::Part,
            Ok(status) => self.add_file(place, entry.name, &status, tally),
            // Removed since it was listed: not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => tally.coverage = Coverage::Part,
        }
    }

    fn add_file(&self, place: &OpenDir<'a>, name: &CStr, status: &Status, tally: &mut TreeSums) {
        tally.files += 1;
        tally.bytes = tally.bytes.saturating_add(place.tree.links.bytes_of(status));
        tally.newest = tally.newest.max(Some(status.modified));
        if let Some(path) = place.path.as_deref() {
            tally.largest.offer(path, name, status.allocated);
        }
    }

    fn is_late(&self) -> bool {
        if self.late.load(Ordering::Relaxed) {
            return true;
        }
        let late = self.entries.load(Ordering::Relaxed) <= 0
            || self.options.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if late {
            self.late.store(true, Ordering::Relaxed);
        }
        late
    }
}

/// One thread's sums of one task, and a tree's of all finished tasks.
struct TreeSums {
    bytes: u64,
    files: u64,
    directories: u64,
    newest: Option<SystemTime>,
    coverage: Coverage,
    largest: Largest,
    noting: bool,
    /// The directories, if they are asked for and not too many.
    noted: Option<Vec<Noted>>,
}

impl TreeSums {
    fn new(largest: usize, noting: bool) -> Self {
        Self {
            bytes: 0,
            files: 0,
            directories: 0,
            newest: None,
            coverage: Coverage::Whole,
            largest: Largest::new(largest),
            noting,
            noted: noting.then(Vec::new),
        }
    }

    fn add_directory(&mut self, status: &Status, path: Option<&[u8]>) {
        match (&mut self.noted, path) {
            (Some(noted), Some(path)) if noted.len() < MAX_NOTED => noted.push((path.to_owned(), *status)),
            _ => self.noted = None,
        }
        self.directories += 1;
        self.bytes = self.bytes.saturating_add(status.allocated);
    }

    /// Adds the sums of `other`, and resets it.
    fn take_from(&mut self, other: &mut TreeSums) {
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
        self.files += std::mem::take(&mut other.files);
        self.directories += std::mem::take(&mut other.directories);
        self.newest = self.newest.max(other.newest.take());
        self.noted = match (self.noted.take(), other.noted.take()) {
            (Some(mut noted), Some(more)) if noted.len() + more.len() <= MAX_NOTED => {
                noted.extend(more);
                Some(noted)
            }
            _ => None,
        };
        other.noted = other.noting.then(Vec::new);
        if std::mem::replace(&mut other.coverage, Coverage::Whole) == Coverage::Part {
            self.coverage = Coverage::Part;
        }
        self.largest.take_from(&mut other.largest);
    }

    fn into_scan(self) -> Scan {
        Scan {
            measure: Measure {
                bytes: self.bytes,
                files: self.files,
                directories: self.directories,
                newest: self.newest,
                coverage: self.coverage,
            },
            largest: self.largest.into_list(),
        }
    }
}

#[cfg(test)]
mod tests;
