//! A claim without a slot: no inode is left, and no spare; or nothing can be renamed from the cache's place to the slots, for example out
//! of a btrfs subvolume. The cache is renamed within its own directory, to a name of the claim's own, which needs no inode.
//!
//! So there is no slot that a hook could remove (see [`super::trash`]). Instead **the name is the fencing token**: before it looks at the
//! evidence, the claim announces the new name in the host lock's file, on tmpfs. A hook that could not get the lock in time makes a
//! directory of that name: the rename then fails, because the name exists. A tree that already has that name is renamed, so that it cannot
//! be moved back.
//!
//! Several entries of a cache need a slot all the same: it is beside them, in the topmost directory of their subvolume, and is announced
//! before it is made. A hook that could not get the lock in time removes it as it removes those in trash.
//!
//! Every process that may take the host lock can write its file, and a runner's user the work directory. The effect of a forged
//! announcement is an empty directory that a hook makes beneath its own work directory, by a name that the next run removes, and nothing
//! else.

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
    /// The error of mkdirat(2) and fchown(2).
    pub(super) fn make_slot(&self, owner: Uid) -> io::Result<Slot> {
        Ok(Slot { dir: make_new(&self.parent, &self.name, owner)?, name: self.name.clone() })
    }

    /// Removes an empty slot, or the directory that a hook has made under the name, after a claim that failed.
    pub(super) fn discard(&self) {
        let _ = unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
    }
}

impl Drop for InPlaceClaim<'_> {
    fn drop(&mut self) {
        // If it cannot be removed, a hook makes an empty directory, no more.
        let _ = self.lock.announce(b"");
    }
}

/// Makes a claim on this work directory fail that has been announced and not renamed yet, and prevents a tree that it has renamed from
/// being moved back. For the runner's own hook, as [`super::trash::Trash::fence`].
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
            match renameat_with(&parent, name, &parent, unique(CLAIMED_BESIDE), RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        result => Ok(result?),
    }
}

/// As [`super::trash::Trash::fence`]. A slot that does not exist yet belongs to a claim that looks at the evidence after making it.
fn fence_slot(parent: &Dir, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            let into = unique(CLAIMED_BESIDE);
            mkdirat(parent, &into, Mode::from_raw_mode(0o755))?;
            let taken = take_out(parent, name, &parent.descend(&into)?);
            // It is still empty if the claim was settled.
            let _ = unlinkat(parent, &into, AtFlags::REMOVEDIR);
            taken
        }
        Err(error) => Err(error.into()),
    }
}
