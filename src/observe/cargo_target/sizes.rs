//! Sizes of entries, each inode counted once and only when all of its names were found.

use crate::model::{FileId, Member, MemberKind};
use crate::observe::sharing::{Counted, shared_part};
use crate::sys::dir::{Dir, ENTRIES_BUFFER, Status};
use rustix::fs::FileType;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// The maximum depth of directories in a target; a deeper one makes it unknown.
const MAX_DEPTH: usize = 64;

/// The maximum of entries in one target: a real one has some ten thousands. Their names are held in memory.
const MAX_ENTRIES: usize = 200_000;

/// Smaller files are not asked about shared blocks: `dedupe` ignores them (`policy::dedupe`).
const ASKED_FROM: u64 = 64 << 10;

/// The time for asking the files of one target; the others then count in full.
const ASKING: Duration = Duration::from_secs(2);

/// What the walk found below one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MeasuredSize {
    /// Allocated bytes of the files with one name and of the directories.
    pub(super) bytes: u64,
    /// The youngest modification time.
    pub(super) changed: SystemTime,
    /// Files with several names: the inode, its number of names, its size.
    pub(super) linked: Vec<(FileId, u64, u64)>,
}

/// Adds up sizes within the bounds of one look.
#[derive(Debug)]
pub(super) struct Sizes {
    deadline: Instant,
    mount_id: u64,
    entries: usize,
    /// Until when files are asked about shared blocks.
    asking_until: Option<Instant>,
}

impl Sizes {
    pub(super) fn new(target: &Dir, counted: Counted, deadline: Instant) -> io::Result<Self> {
        let asking_until = (counted == Counted::Own).then(|| deadline.min(Instant::now() + ASKING));
        Ok(Self { deadline, mount_id: target.status()?.mount_id, entries: 0, asking_until })
    }

    /// Reads the names in a directory, with their types.
    pub(super) fn names(&mut self, dir: &Dir) -> io::Result<Vec<(CString, FileType)>> {
        let mut names = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); ENTRIES_BUFFER];
        let left = MAX_ENTRIES.saturating_sub(self.entries);
        let flood = dir.for_each_entry(&mut buffer, |entry| {
            names.push((entry.name.to_owned(), entry.kind));
            if names.len() > left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.entries += names.len();
        if flood.is_some() || Instant::now() > self.deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it contains more than can be examined"));
        }
        names.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(names)
    }

    /// Describes an entry of `dir`, which is at `within` in the target, as a member, with its content.
    pub(super) fn member(
        &mut self,
        dir: &Dir,
        within: &Path,
        name: &CStr,
    ) -> io::Result<(Member, MeasuredSize)> {
        let status = self.on_this_mount(dir.status_of(name)?)?;
        let size = self.of(dir, name, &status, 0)?;
        let kind = if status.is_dir() { MemberKind::Directory } else { MemberKind::File };
        let member = Member {
            kind,
            group: None,
            within: within.to_owned(),
            name: OsStr::from_bytes(name.to_bytes()).to_owned(),
            id: status.id,
            owner: status.owner,
            allocated: size.bytes,
        };
        Ok((member, size))
    }

    fn of(&mut self, dir: &Dir, name: &CStr, status: &Status, depth: usize) -> io::Result<MeasuredSize> {
        if !status.is_dir() {
            let several = status.is_file() && status.links > 1;
            let counted = self.counted(dir, name, status);
            let linked = several.then_some((status.id, status.links, counted));
            let bytes = if several { 0 } else { counted };
            return Ok(MeasuredSize {
                bytes,
                changed: status.modified,
                linked: linked.into_iter().collect(),
            });
        }
        if depth == MAX_DEPTH {
            return Err(io::Error::other("its directories are nested too deep"));
        }
        let inner = dir.descend(name)?;
        let mut sum = MeasuredSize { bytes: status.allocated, changed: status.modified, linked: Vec::new() };
        for (name, _) in self.names(&inner)? {
            let status = self.on_this_mount(inner.status_of(&name)?)?;
            let size = self.of(&inner, &name, &status, depth + 1)?;
            sum.bytes += size.bytes;
            sum.changed = sum.changed.max(size.changed);
            sum.linked.extend(size.linked);
        }
        Ok(sum)
    }

    /// The part of a file that counts.
    fn counted(&self, dir: &Dir, name: &CStr, status: &Status) -> u64 {
        let is_asked = status.is_file()
            && status.allocated >= ASKED_FROM
            && self.asking_until.is_some_and(|until| Instant::now() < until);
        let shared =
            is_asked.then(|| shared_part(&dir.open_file(name).ok()?, status.allocated).ok()).flatten();
        status.allocated - shared.unwrap_or(0)
    }

    fn on_this_mount(&self, status: Status) -> io::Result<Status> {
        if status.mount_id == self.mount_id {
            Ok(status)
        } else {
            Err(io::Error::other("something is mounted in it"))
        }
    }
}

/// The bytes of the linked inodes, of which all names are found in `linked`.
pub(super) fn reclaimable(linked: &[(FileId, u64, u64)]) -> u64 {
    let mut names: HashMap<FileId, (u64, u64, u64)> = HashMap::new();
    for (id, links, bytes) in linked {
        names.entry(*id).or_insert((0, *links, *bytes)).0 += 1;
    }
    names.values().filter(|(found, links, _)| found >= links).map(|(_, _, bytes)| bytes).sum()
}
