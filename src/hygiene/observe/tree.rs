//! The walk over one area: owner and mode of every entry, by handle.
//!
//! Directories are opened one after the other from the work directory's handle by their relative path, without links and mounts on the
//! way: one descriptor at any depth. Entries too deep for a path are reported as unseen. Memory is bounded by the number of queued
//! directories and of recorded entries.

use crate::model::Uid;
use crate::model::hygiene::{AreaScan, Defect, FindingKind, GitDir, GitKind};
use crate::sys::dir::{Dir, ENTRIES_BUFFER, Status};
use crate::sys::reach::{self, MountPointNames};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// More entries with something wrong are counted but not recorded; a repair then takes several passes.
const MAX_BLEMISHES: usize = 50_000;

/// More entries of one area are not looked at.
const MAX_ENTRIES: u64 = 20_000_000;

/// More queued directories are not looked at.
const MAX_WAITING: usize = 500_000;

/// More git directories of one area are not judged.
const MAX_GITS: usize = 256;

/// The file that distinguishes a submodule's git directory from a directory that is part of its name.
const PARTS: [&str; 4] = ["HEAD", "config", "objects", "refs"];

/// The name of git's temporary files.
const UNFINISHED: [&[u8]; 4] = [b"tmp_pack_", b"tmp_idx_", b"tmp_rev_", b"tmp_obj_"];

/// Where LFS keeps its incomplete files.
const LFS: [&str; 2] = ["lfs/incomplete", "lfs/tmp"];

/// The permissions that an owner needs on a directory in order to delete its content.
const ALL_FOR_OWNER: u32 = 0o700;
const OWNER_WRITES: u32 = 0o200;
const SET_ID: u32 = 0o6000;

/// Where a directory lies from git's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GitPosition {
    Outside,
    /// A git directory itself: `.git`, or a submodule's below `.git/modules`.
    GitDir(GitKind),
    /// Inside one.
    Git,
    /// Inside `modules` of one. A submodule's name may be several directories deep.
    Modules,
    /// Inside git's store of objects, where files are read-only by nature.
    Objects,
}

impl GitPosition {
    fn of_child(self, name: &OsStr) -> Self {
        match self {
            Self::Outside if name == ".git" => Self::GitDir(GitKind::Nested),
            Self::GitDir(_) if name == "modules" => Self::Modules,
            Self::GitDir(_) | Self::Git if name == "objects" => Self::Objects,
            Self::GitDir(_) => Self::Git,
            same => same,
        }
    }
}

/// Walks the area `name` of a work directory that belongs to `owner`.
pub(super) fn walk(work: &Dir, name: &OsStr, owner: Uid, deadline: Instant) -> AreaScan {
    let mut walk = AreaWalk {
        work,
        owner,
        seen: AreaScan { is_whole: true, ..AreaScan::default() },
        waiting: vec![(PathBuf::from(name), GitPosition::Outside)],
        buffer: vec![MaybeUninit::uninit(); ENTRIES_BUFFER],
        mounts: reach::names(),
    };
    while let Some((below, place)) = walk.waiting.pop() {
        if Instant::now() > deadline || walk.seen.entries > MAX_ENTRIES {
            walk.seen.is_whole = false;
            break;
        }
        walk.directory(&below, place);
    }
    walk.seen
}

struct AreaWalk<'a> {
    work: &'a Dir,
    owner: Uid,
    seen: AreaScan,
    waiting: Vec<(PathBuf, GitPosition)>,
    buffer: Vec<MaybeUninit<u8>>,
    /// Entries of these names may be mounts, which are not touched.
    mounts: MountPointNames,
}

impl AreaWalk<'_> {
    fn directory(&mut self, below: &Path, place: GitPosition) {
        let dir = match self.work.descend(below) {
            Ok(dir) => dir,
            Err(error) => return self.unopened(below, &error),
        };
        let Ok(status) = dir.status() else { return };
        self.seen.entries += 1;
        let place = self.git_dir(&dir, below, place);
        self.judge(below, &status, place);
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = dir.for_each_entry(&mut buffer, |entry| {
            let name = OsStr::from_bytes(entry.name.to_bytes());
            if entry.kind == FileType::Directory {
                self.enter_later(below, name, place);
            } else {
                match dir.status_among(entry.name, &self.mounts) {
                    Ok(status) if status.is_dir() => self.enter_later(below, name, place),
                    Ok(file) if file.mount_id != status.mount_id => {
                        self.add(FindingKind::Mount, &below.join(name), &file);
                    }
                    Ok(file) => {
                        self.seen.entries += 1;
                        self.judge(&below.join(name), &file, place);
                    }
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => {
                        self.add_with(FindingKind::Mount, &below.join(name), None);
                    }
                    // Removed since it was listed.
                    Err(_) => {}
                }
            }
            if self.seen.entries > MAX_ENTRIES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.buffer = buffer;
        if read.is_err() {
            self.unseen(below);
        }
    }

    /// Records a git directory, and returns its position.
    fn git_dir(&mut self, dir: &Dir, below: &Path, place: GitPosition) -> GitPosition {
        let kind = match place {
            GitPosition::GitDir(_) if below.components().count() == 3 => GitKind::Checkout,
            GitPosition::GitDir(kind) => kind,
            // Any part of a git directory that a crash has left is enough.
            GitPosition::Modules if PARTS.iter().any(|part| dir.status_of(*part).is_ok()) => GitKind::Module,
            _ => return place,
        };
        if self.seen.gits.len() < MAX_GITS {
            self.seen.gits.push(GitDir { below: below.to_owned(), kind });
        } else {
            self.seen.has_more_gits = true;
        }
        GitPosition::GitDir(kind)
    }

    fn enter_later(&mut self, below: &Path, name: &OsStr, place: GitPosition) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push((below.join(name), place.of_child(name)));
        } else {
            self.seen.is_whole = false;
        }
    }

    fn unopened(&mut self, below: &Path, error: &io::Error) {
        match Errno::from_io_error(error) {
            Some(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {}
            Some(Errno::XDEV) => {
                let status = self.pinned_above(below);
                self.add_with(FindingKind::Mount, below, status);
            }
            // A directory that its own owner may not enter: its parent still shows its mode.
            Some(Errno::ACCESS) => {
                if let Some(status) = self.pinned_above(below) {
                    self.seen.entries += 1;
                    self.judge(below, &status, GitPosition::Outside);
                }
                self.unseen(below);
            }
            _ => self.unseen(below),
        }
    }

    fn pinned_above(&self, below: &Path) -> Option<Status> {
        let parent =
            self.work.descend(below.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
        parent.ok()?.status_of(below.file_name()?).ok()
    }

    fn unseen(&mut self, below: &Path) {
        self.seen.is_whole = false;
        self.add_with(FindingKind::Unseen, below, None);
    }

    fn judge(&mut self, below: &Path, status: &Status, place: GitPosition) {
        let kind = FileType::from_raw_mode(status.mode);
        let is_file = kind == FileType::RegularFile;
        if status.owner != self.owner {
            self.add(foreign(kind, status), below, status);
        }
        if kind == FileType::Directory && status.mode & ALL_FOR_OWNER != ALL_FOR_OWNER {
            self.add(FindingKind::LockedDirectory, below, status);
        }
        if is_file && status.mode & OWNER_WRITES == 0 && place != GitPosition::Objects {
            self.add(FindingKind::ReadOnlyFile, below, status);
        }
        let is_gits = matches!(place, GitPosition::GitDir(_) | GitPosition::Git | GitPosition::Modules);
        if is_file && is_gits && below.as_os_str().as_bytes().ends_with(b".lock") {
            self.add(FindingKind::StaleLock, below, status);
        }
        let name = below.file_name().unwrap_or_default().as_bytes();
        let is_begun = place == GitPosition::Objects
            && UNFINISHED.iter().any(|start| name.starts_with(start))
            || is_gits && below.parent().is_some_and(|parent| LFS.iter().any(|at| parent.ends_with(at)));
        if is_file && is_begun {
            self.add(FindingKind::UnfinishedTransfer, below, status);
        }
    }

    fn add(&mut self, kind: FindingKind, below: &Path, status: &Status) {
        self.add_with(kind, below, Some(*status));
    }

    fn add_with(&mut self, kind: FindingKind, below: &Path, status: Option<Status>) {
        *self.seen.counts.entry(kind).or_default() += 1;
        if self.seen.defects.len() >= MAX_BLEMISHES {
            return;
        }
        self.seen.defects.push(Defect {
            below: below.to_owned(),
            kind,
            id: status.map_or(crate::model::FileId { dev: 0, ino: 0 }, |status| status.id),
            owner: status.map_or(self.owner, |status| status.owner),
            mode: status.map_or(0, |status| status.mode),
            modified: status.map_or(SystemTime::UNIX_EPOCH, |status| status.modified),
        });
    }
}

/// The finding for a foreign entry: the owner can be changed only of directories, links, and files without another name and without
/// special rights.
fn foreign(kind: FileType, status: &Status) -> FindingKind {
    match kind {
        FileType::Directory => FindingKind::ForeignOwner,
        FileType::RegularFile | FileType::Symlink if status.links > 1 => FindingKind::HardLinked,
        FileType::RegularFile if status.mode & SET_ID != 0 => FindingKind::Special,
        FileType::RegularFile | FileType::Symlink => FindingKind::ForeignOwner,
        _ => FindingKind::Special,
    }
}
