//! A claim for which no slot can be made: not one inode is left, and no spare; or nothing can be renamed from where the cache lies
//! to where slots lie, as out of a btrfs subvolume. The cache is renamed where it lies, to a name of the claim's own, which needs
//! no inode.
//!
//! There is no slot then that a hook could take away (see [`super::trash`]). Instead **the name is the fencing token**: before it
//! looks at the evidence, the claim announces in the host lock's file, on tmpfs, where it is going to rename to. A hook that could
//! not get the lock in time makes a directory of that name: the rename then fails, because the name is taken. A tree that
//! already bears it is given another one, so that it cannot be put back.
//!
//! Several entries of a cache need a slot all the same: one that lies beside them, in the topmost directory of their subvolume, is
//! announced before it is made, and a hook that could not get the lock in time removes it as it removes those in trash.
//!
//! Whoever may take the host lock can write its file, and a runner's user the work directory. An announcement that lies makes
//! a hook leave an empty directory beneath its own work directory, by a name that the next run clears away, and nothing else.

#![expect(clippy::disallowed_methods, reason = "this is where renaming and removing belong")]

use super::trash::{Slot, make_new, take_out, unique};
use crate::lock::{self, ExclusiveLock};
use crate::model::{CLAIMED_BESIDE, SLOT_BESIDE, Uid};
use crate::run_dir::RunDir;
use crate::sys::dir::Dir;
use rustix::fs::{AtFlags, Mode, RenameFlags, mkdirat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A name to which a cache may be renamed in its own parent, announced to hooks until this is dropped.
#[derive(Debug)]
pub(super) struct InPlaceClaim<'l> {
    lock: &'l ExclusiveLock,
    /// The cache's own parent.
    pub(super) parent: Dir,
    /// The name.
    pub(super) name: OsString,
}

impl<'l> InPlaceClaim<'l> {
    /// Announces a rename in `parent`, which lies at `below` in `work`.
    ///
    /// # Errors
    /// When the lock's file cannot be written.
    pub(super) fn announce(
        lock: &'l ExclusiveLock,
        work: &Dir,
        below: &Path,
        parent: &Dir,
    ) -> io::Result<Self> {
        Self::announce_as(lock, unique(CLAIMED_BESIDE), work, below, parent)
    }

    /// The same of a slot that is going to be made there.
    ///
    /// # Errors
    /// As [`InPlaceClaim::announce`].
    pub(super) fn announce_slot(
        lock: &'l ExclusiveLock,
        work: &Dir,
        below: &Path,
        parent: &Dir,
    ) -> io::Result<Self> {
        Self::announce_as(lock, unique(SLOT_BESIDE), work, below, parent)
    }

    fn announce_as(
        lock: &'l ExclusiveLock,
        name: OsString,
        work: &Dir,
        below: &Path,
        parent: &Dir,
    ) -> io::Result<Self> {
        let id = work.status()?.id;
        let whose = format!("{:x}-{:x}", id.dev, id.ino);
        let text = [whose.as_bytes(), below.as_os_str().as_bytes(), name.as_bytes()].join(&0);
        lock.announce(&text)?;
        Ok(Self { lock, parent: parent.try_clone()?, name })
    }

    /// Makes the slot that was announced.
    ///
    /// # Errors
    /// What mkdirat(2) and fchown(2) say.
    pub(super) fn make_slot(&self, owner: Uid) -> io::Result<Slot> {
        Ok(Slot { dir: make_new(&self.parent, &self.name, owner)?, name: self.name.clone() })
    }

    /// Clears away an empty slot, or what a hook has put in the name's place, after a claim that came to nothing.
    pub(super) fn discard(&self) {
        let _ = unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
    }
}

impl Drop for InPlaceClaim<'_> {
    fn drop(&mut self) {
        // One that stays makes a hook leave an empty directory, no more.
        let _ = self.lock.announce(b"");
    }
}

/// Makes a claim on this work directory that has been announced and has not renamed yet fail, and takes a tree that it has
/// renamed out of reach of being put back. For the runner's own hook, as [`super::trash::Trash::fence`].
///
/// # Errors
/// When the announcement cannot be read, or the name cannot be taken.
pub fn fence(run: &RunDir, work: &Dir) -> io::Result<()> {
    let text = lock::announced(run)?;
    let mut parts = text.split(|byte| *byte == 0);
    let (Some(whose), Some(below), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Ok(());
    };
    let id = work.status()?.id;
    let is_ours = whose == format!("{:x}-{:x}", id.dev, id.ino).as_bytes();
    let is_name = name.starts_with(CLAIMED_BESIDE.as_bytes()) && !name.contains(&b'/');
    if !is_ours || !is_name {
        return Ok(());
    }
    let name = OsStr::from_bytes(name);
    let parent = match below {
        b"" => work.try_clone()?,
        below => work.descend(OsStr::from_bytes(below))?,
    };
    if name.as_bytes().starts_with(SLOT_BESIDE.as_bytes()) {
        return fence_slot(&parent, name);
    }
    match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => {
            let _ = renameat_with(&parent, name, &parent, unique(CLAIMED_BESIDE), RenameFlags::NOREPLACE);
            Ok(())
        }
        result => Ok(result?),
    }
}

/// As [`super::trash::Trash::fence`]. One that is not made yet belongs to a claim that looks at the evidence after it is.
fn fence_slot(parent: &Dir, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            let into = unique(CLAIMED_BESIDE);
            mkdirat(parent, &into, Mode::from_raw_mode(0o755))?;
            take_out(parent, name, &parent.descend(&into)?);
            // It has stayed empty if the claim was settled.
            let _ = unlinkat(parent, &into, AtFlags::REMOVEDIR);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
