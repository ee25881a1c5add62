//! What a tree holds, found by walking it with directory handles.
//!
//! # Invariants
//! - Links are not followed and mounts not entered: directories are opened by [`Dir::descend`] one name at a time, and a
//!   file that lies on another mount (a file can be a mount point too) is not counted.
//! - What could not be seen makes the result [`Coverage::Part`], never an error: unreadable directories, mounts, a spent
//!   deadline. Only a root that cannot be read at all is an error.
//! - Memory does not grow with the number of files: entries are looked at in the reader's buffer, only the names of
//!   subdirectories are kept, and of those at most one batch per level. The set of hard-linked inodes and the list of the
//!   largest files are bounded.
//! - Descriptors do not grow with depth: a directory is held open only while subdirectories of it wait, within a
//!   [`HandleBudget`]. A chain of any depth costs two. Where more levels wait than the budget allows, which takes a tree
//!   that branches on each of hundreds of levels, what lies below is not looked at (Part).
//!
//! # Sharing
//! Two tasks: enter a directory, and go on reading one. A reader that finds a directory to be large offers the rest of it
//! as a task, so that two threads share cargo's flat `deps/` as well as its thousands of small directories.

mod hard_links;
mod largest;

use super::remembered::Noted;
use crate::model::{Coverage, LargeFile, Measure};
use crate::sys::dir::{Batch, Dir, ENTRIES_BUFFER, Entry, Status};
use crate::sys::handles::{HandleBudget, Permit};
use crate::sys::reach::{self, Names};
use crate::sys::work_stack::{WorkStack, work_off};
use hard_links::HardLinks;
use largest::Largest;
use rustix::fs::FileType;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

/// How to walk.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads, the calling one included. Measured: two; more help only on a cold cache.
    pub threads: usize,
    /// How many of the largest files to list.
    pub largest: usize,
    /// When to stop looking.
    pub deadline: Option<Instant>,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: 2, largest: 4096, deadline: None }
    }
}

/// What a walk found.
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
/// When the root itself cannot be read; what openat2(2) and statx(2) say.
pub fn measure(tree: &Dir, options: &Options) -> io::Result<Scan> {
    measure_within(tree, options, &AtomicI64::new(i64::MAX))
}

/// The same, looking at no more entries than `entries` allows, which it counts down.
///
/// # Errors
/// As [`measure`].
pub fn measure_within(tree: &Dir, options: &Options, entries: &AtomicI64) -> io::Result<Scan> {
    Ok(walk(tree, options, entries, None)?.0)
}

fn walk(
    tree: &Dir,
    options: &Options,
    entries: &AtomicI64,
    noted: Option<Vec<Noted>>,
) -> io::Result<(Scan, Vec<Noted>)> {
    let budget = HandleBudget::of_process();
    // A handle of our own: the walk moves its position.
    let root = tree.descend(".")?;
    let status = root.status()?;
    let walk = Walk {
        mount_id: status.mount_id,
        deadline: options.deadline,
        late: AtomicBool::new(false),
        entries,
        budget: &budget,
        links: HardLinks::default(),
        mounts: reach::names(),
    };
    let tally = || Tally { noted: noted.clone(), ..Tally::new(options.largest) };
    let mut sums = tally();
    sums.add_directory(&status, Some(&[]));
    let root = OpenDir::new(root, Some(Vec::new()), budget.take());
    let tallies = work_off(
        options.threads.max(1),
        vec![Task::Read(root)],
        || (tally(), vec![MaybeUninit::uninit(); ENTRIES_BUFFER]),
        |stack, (tally, buffer), task, made| walk.work(stack, tally, buffer, task, made),
    );
    for (tally, _) in tallies {
        sums.merge(tally);
    }
    let noted = sums.noted.take().unwrap_or_default();
    Ok((sums.into_scan(), noted))
}

/// The same, with each directory as it was before it was read; none where there are more than can be remembered.
///
/// # Errors
/// As [`measure`].
pub(super) fn measure_noting(tree: &Dir, options: &Options) -> io::Result<(Scan, Vec<Noted>)> {
    walk(tree, options, &AtomicI64::new(i64::MAX), Some(Vec::new()))
}

/// What the threads share.
struct Walk<'a> {
    mount_id: u64,
    deadline: Option<Instant>,
    late: AtomicBool,
    entries: &'a AtomicI64,
    budget: &'a HandleBudget,
    links: HardLinks,
    /// Entries of these names may be mounts, which are not touched.
    mounts: Names,
}

/// An open directory.
struct OpenDir<'a> {
    dir: Dir,
    /// Where it is, relative to the root; `None` where that has grown too long to list files by.
    path: Option<Vec<u8>>,
    /// Entries met so far.
    entries: AtomicU64,
    _permit: Option<Permit<'a>>,
}

impl<'a> OpenDir<'a> {
    fn new(dir: Dir, path: Option<Vec<u8>>, permit: Option<Permit<'a>>) -> Arc<Self> {
        Arc::new(Self { dir, path, entries: AtomicU64::new(0), _permit: permit })
    }
}

enum Task<'a> {
    Enter { parent: Arc<OpenDir<'a>>, name: Box<CStr> },
    Read(Arc<OpenDir<'a>>),
}

/// A reader that has met so many entries in one batch takes the directory to be large, and shares the rest of it.
const SHARED_FROM: u64 = 64;

/// Beyond so many the rest of a directory is not looked at: some filesystems list what is added while they are read
/// (tmpfs, btrfs), so that somebody who keeps adding could keep the walk for ever.
const ENTRIES_IN_A_DIRECTORY: u64 = 1 << 26;

/// More directories of one tree are not noted: they would take too much memory.
const MAX_NOTED: usize = 1 << 16;

impl<'a> Walk<'a> {
    fn work(
        &self,
        stack: &WorkStack<Task<'a>>,
        tally: &mut Tally,
        buffer: &mut [MaybeUninit<u8>],
        task: Task<'a>,
        made: &mut Vec<Task<'a>>,
    ) {
        if self.is_late() {
            tally.coverage = Coverage::Part;
            return;
        }
        let place = match task {
            Task::Read(place) => place,
            Task::Enter { parent, name } => match self.enter(&parent, &name, tally) {
                Some(place) => place,
                None => return,
            },
        };
        self.read(stack, tally, buffer, place, made);
    }

    fn enter(&self, parent: &OpenDir<'a>, name: &CStr, tally: &mut Tally) -> Option<Arc<OpenDir<'a>>> {
        let opened = self.budget.take().map(|permit| (permit, parent.dir.descend(name)));
        let Some((permit, Ok(dir))) = opened else {
            tally.coverage = Coverage::Part;
            return None;
        };
        let path = parent.path.as_deref().and_then(|path| largest::join(path, name));
        match dir.status() {
            Ok(status) => tally.add_directory(&status, path.as_deref()),
            Err(_) => tally.coverage = Coverage::Part,
        }
        Some(OpenDir::new(dir, path, Some(permit)))
    }

    fn read(
        &self,
        stack: &WorkStack<Task<'a>>,
        tally: &mut Tally,
        buffer: &mut [MaybeUninit<u8>],
        place: Arc<OpenDir<'a>>,
        made: &mut Vec<Task<'a>>,
    ) {
        while place.entries.load(Ordering::Relaxed) < ENTRIES_IN_A_DIRECTORY && !self.is_late() {
            let (mut seen, mut shared) = (0, false);
            let read = place.dir.read_batch(buffer, |entry| {
                seen += 1;
                if seen == SHARED_FROM {
                    shared = true;
                    stack.push(Task::Read(Arc::clone(&place)));
                }
                self.look_at(&place, &entry, tally, made);
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
        entry: &Entry<'_>,
        tally: &mut Tally,
        made: &mut Vec<Task<'a>>,
    ) {
        if entry.kind == FileType::Directory {
            made.push(Task::Enter { parent: Arc::clone(place), name: entry.name.into() });
            return;
        }
        match place.dir.status_among(entry.name, &self.mounts) {
            // The filesystem did not tell its type, or it was replaced since.
            Ok(status) if status.is_dir() => {
                made.push(Task::Enter { parent: Arc::clone(place), name: entry.name.into() });
            }
            Ok(status) if status.mount_id != self.mount_id => tally.coverage = Coverage::Part,
            Ok(status) => self.add_file(place, entry.name, &status, tally),
            // Removed since it was listed: not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => tally.coverage = Coverage::Part,
        }
    }

    fn add_file(&self, place: &OpenDir<'a>, name: &CStr, status: &Status, tally: &mut Tally) {
        tally.files += 1;
        tally.bytes = tally.bytes.saturating_add(self.links.bytes_of(status));
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
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if late {
            self.late.store(true, Ordering::Relaxed);
        }
        late
    }
}

/// One thread's sums.
struct Tally {
    bytes: u64,
    files: u64,
    directories: u64,
    newest: Option<SystemTime>,
    coverage: Coverage,
    largest: Largest,
    /// The directories, where that is asked for and they are not too many.
    noted: Option<Vec<Noted>>,
}

impl Tally {
    fn new(largest: usize) -> Self {
        Self {
            bytes: 0,
            files: 0,
            directories: 0,
            newest: None,
            coverage: Coverage::Whole,
            largest: Largest::new(largest),
            noted: None,
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

    fn merge(&mut self, other: Tally) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.files += other.files;
        self.directories += other.directories;
        self.newest = self.newest.max(other.newest);
        self.noted = self.noted.take().zip(other.noted).and_then(|(mut noted, more)| {
            noted.extend(more);
            (noted.len() <= MAX_NOTED).then_some(noted)
        });
        if other.coverage == Coverage::Part {
            self.coverage = Coverage::Part;
        }
        self.largest.merge(other.largest);
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
