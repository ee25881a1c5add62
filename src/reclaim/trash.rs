//! Trash: `<work>/.disk-guard/trash/`, on the same mount as the caches, so that a claim is a rename.
//!
//! ```text
//! _work/.disk-guard/trash/spare/              an empty slot, kept for the case that no inode is left to make one
//! _work/.disk-guard/trash/slot-PID-N/tree     a claimed cache
//! _work/.disk-guard/trash/slot-PID-N/0        one of several files that were claimed together
//! _work/.disk-guard/trash/fenced-PID-N        a claimed cache that its own runner's hook has taken out of a slot
//! _work/r/r/.disk-guard-trash-PID-N           a claimed cache for which no slot could be made (see `in_place_claim`)
//! _work/r/r/.disk-guard-trash-slot-PID-N/0    one of several files of a checkout that is a subvolume (see `in_place_claim`)
//! _work/.disk-guard/trash/repair-PID-N/       not trash: holds a file during its repair (see `quarantine`)
//! ```
//!
//! **A slot is a fencing token.** A claim makes its slot first, then looks at the evidence, then renames the cache into the slot by the
//! slot's handle. A hook removes every empty slot of its own runner before it does anything that can fail, and again whenever its job
//! begins without the hook having had the host lock ([`Trash::fence`]). After that the rename of a claim that was suspended between its
//! look and its rename fails, because nothing can be renamed into a directory that has been removed. A claimed tree that is already in a
//! slot is moved out of it, so that it cannot be moved back under a running job either. So the order between a claim and a job's start
//! does not depend on clocks. Where the runner's user could not do that, nothing is claimed. `hooks/job-started.sh` does the same if this
//! program cannot be run.
//!
//! An empty slot is not trash: a claim makes it before it waits for the host lock, and a guard that took it for trash would delete the
//! tree that is renamed into it later. It is only ever removed as an empty directory ([`Trash::clear_abandoned`]).
//!
//! **Nothing is lost.** Everything here was claimed, except files under repair, which the next run moves back. A crash leaves entries
//! here, and the next run deletes them. The names to delete are read under the host lock, when no claim is under way that might still move
//! its tree back.
//!
//! The runner's user can write all of this. Names are never followed: everything is opened beneath the work directory's handle, without
//! links and mounts on the way; and a `.disk-guard` of a foreign owner, or a link or file in its place, makes claims in this work
//! directory fail.

#![expect(clippy::disallowed_methods, reason = "this is where renaming and removing belong")]

use super::trash_claim::TrashClaim;
use crate::model::{FileId, Uid};
use crate::sys::dir::{Dir, Status};
use rustix::fs::{AtFlags, Mode, RenameFlags, fchown, mkdirat, renameat_with, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

/// The directory of the guard in a work directory, or in a runner's root.
pub const HOME: &str = ".disk-guard";
const TRASH: &str = "trash";
const SPARE: &str = "spare";
const SLOT: &str = "slot-";

/// The name of the claimed cache inside its slot.
pub const TREE: &str = "tree";

/// The name prefix of a repair's directory, and the mode that distinguishes it from trash: closed to all others and sticky, which has no
/// meaning there.
pub(super) const REPAIR: &str = "repair-";
pub(super) const REPAIR_MODE: u32 = 0o1700;
const PLACE: &str = ".from";

/// The maximum of entries that one run deals with.
const MAX_ENTRIES: usize = 4096;

/// The maximum of claims that a fence deals with. Honest guards have one under way; a job can plant any number, in its own runner.
const MAX_FENCED: usize = 1 << 16;

/// The trash of one work directory.
#[derive(Debug)]
pub struct Trash {
    dir: Dir,
    owner: Uid,
    /// Why a hook of the runner's user could not fence here.
    unfenceable: Option<String>,
}

/// An empty directory, made for one claim.
#[derive(Debug)]
pub struct Slot {
    /// Its handle. Renaming into it fails once it has been removed.
    pub dir: Dir,
    /// Its name in the trash directory.
    pub name: OsString,
}

/// Names that no other process uses at the same time, and that this one never uses again.
pub(super) fn unique(prefix: &str) -> OsString {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    OsString::from(format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// The link that records the original place of the file in the quarantine `name`.
pub(super) fn place_of(name: &OsStr) -> OsString {
    let mut link = name.to_owned();
    link.push(PLACE);
    link
}

impl Trash {
    /// Opens the trash of a work directory; `None` when there is none yet.
    ///
    /// # Errors
    /// When something else is in its place, or it cannot be opened.
    pub fn open(work: &Dir, owner: Uid) -> io::Result<Option<Self>> {
        let home = match work.descend(HOME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(named)?,
        };
        let home_status = check_owner(&home, owner)?;
        match home.descend(TRASH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => Self::of(&home_status, result.map_err(named)?, owner).map(Some),
        }
    }

    fn of(home: &Status, dir: Dir, owner: Uid) -> io::Result<Self> {
        let unfenceable = unfenceable(home, &dir.status()?, owner);
        Ok(Self { dir, owner, unfenceable })
    }

    /// The same, and makes it when it is missing.
    ///
    /// # Errors
    /// As [`Trash::open`]; `ENOSPC` when no inode is left.
    pub fn open_or_make(work: &Dir, owner: Uid) -> io::Result<Self> {
        if let Some(trash) = Self::open(work, owner)?.filter(|trash| trash.unfenceable.is_none()) {
            return Ok(trash);
        }
        let home = make_owned(work, OsStr::new(HOME), owner).map_err(named)?;
        let home_status = check_owner(&home, owner)?;
        let dir = make_owned(&home, OsStr::new(TRASH), owner).map_err(named)?;
        Self::of(&home_status, dir, owner)
    }

    /// A claim needs a place that the runner's own hook could fence: otherwise a claim that is suspended between its look and its rename
    /// would move the tree of a job that has begun meanwhile.
    ///
    /// # Errors
    /// `PermissionDenied`, with what to do about it.
    pub(super) fn check_can_be_fenced(&self) -> io::Result<()> {
        match &self.unfenceable {
            None => Ok(()),
            Some(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why.clone())),
        }
    }

    /// Makes a slot; when the filesystem has no inode left, the spare becomes it.
    ///
    /// # Errors
    /// `PermissionDenied` where no hook could fence; `ENOSPC` or `EDQUOT` when there is no spare either; the error of mkdirat(2)
    /// otherwise.
    pub fn make_slot(&self) -> io::Result<Slot> {
        self.check_can_be_fenced()?;
        let name = unique(SLOT);
        match make_new(&self.dir, &name, self.owner) {
            Ok(dir) => Ok(Slot { dir, name }),
            Err(error) if is_full(&error) => {
                renameat_with(&self.dir, SPARE, &self.dir, &name, RenameFlags::NOREPLACE)
                    .map_err(|_| error)?;
                let dir = self.dir.descend(&name)?;
                give(&dir, &name, self.owner)?;
                Ok(Slot { dir, name })
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a slot that was made before, the very same one; `NotFound` when a fence has removed it, whatever has its name by now.
    ///
    /// # Errors
    /// As [`Dir::descend`]; `PermissionDenied` where no hook could fence any more.
    pub(super) fn open_slot(&self, name: &OsStr, id: FileId) -> io::Result<Slot> {
        self.check_can_be_fenced()?;
        let dir = self.dir.descend(name)?;
        match dir.status()?.id == id {
            true => Ok(Slot { dir, name: name.to_owned() }),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Removes the empty slots of dead guards. Whether one is dead is guessed by its pid: a wrong guess makes a claim fail, or leaves an
    /// empty directory.
    pub fn clear_abandoned(&self) {
        let names = self.dir.names(MAX_ENTRIES).unwrap_or_default();
        for name in names.iter().filter(|name| claimer(name).is_some_and(|pid| !is_alive(pid))) {
            discard(&self.dir, name);
        }
    }

    /// A slot into which nothing has been renamed.
    fn is_empty_slot(&self, name: &OsStr) -> bool {
        let is_slot = name.as_encoded_bytes().starts_with(SLOT.as_bytes());
        is_slot && self.dir.descend(name).and_then(|slot| slot.names(1)).is_ok_and(|names| names.is_empty())
    }

    /// Removes a slot that is empty.
    pub fn discard(&self, slot: &OsStr) {
        discard(&self.dir, slot);
    }

    /// Keeps the spare slot, for the case that no inode is left.
    ///
    /// # Errors
    /// The error of mkdirat(2).
    pub fn keep_spare(&self) -> io::Result<()> {
        match self.dir.status_of(SPARE) {
            Ok(_) => Ok(()),
            Err(_) => make_new(&self.dir, OsStr::new(SPARE), self.owner).map(drop),
        }
    }

    /// The entries to delete. Read them under the host lock: then no claim is under way that might move its tree back.
    ///
    /// # Errors
    /// The error of getdents64(2).
    pub fn entries(&self) -> io::Result<Vec<OsString>> {
        let mut names = self.dir.names(MAX_ENTRIES)?;
        let quarantines = self.quarantines_among(&names);
        names.retain(|name| {
            let quarantine =
                name.as_encoded_bytes().strip_suffix(PLACE.as_bytes()).unwrap_or(name.as_encoded_bytes());
            name != SPARE
                && !quarantines.iter().any(|one| one.as_encoded_bytes() == quarantine)
                && !self.is_empty_slot(name)
        });
        Ok(names)
    }

    /// The leftovers of repairs: their content is not trash (see [`super::quarantine`]). Read under the host lock, so that no repair is
    /// under way.
    ///
    /// # Errors
    /// The error of getdents64(2).
    pub fn quarantines(&self) -> io::Result<Vec<OsString>> {
        Ok(self.quarantines_among(&self.dir.names(MAX_ENTRIES)?))
    }

    fn quarantines_among(&self, names: &[OsString]) -> Vec<OsString> {
        let me = Uid(nix::unistd::geteuid().as_raw());
        let is_quarantine = |status: Status| {
            status.is_dir()
                && status.mode & 0o7777 == REPAIR_MODE
                && (status.owner == Uid::ROOT || status.owner == me)
        };
        let named = names.iter().filter(|name| name.as_encoded_bytes().starts_with(REPAIR.as_bytes()));
        named.filter(|name| self.dir.status_of(name.as_os_str()).is_ok_and(is_quarantine)).cloned().collect()
    }

    /// Makes every claim on this runner fail that has not renamed yet, and prevents claimed trees from being moved back. For the runner's
    /// own hook, before it lets the job begin.
    ///
    /// The spare is no slot yet: a claim that uses it looks at the evidence after that. A settled claim, whose tree is being deleted, is
    /// left alone.
    ///
    /// # Errors
    /// The error of getdents64(2), or why one cannot be fenced: then it is not the runner's own.
    pub fn fence(&self) -> io::Result<()> {
        let mut failed = None;
        for name in self.claims_under_way()? {
            match unlinkat(&self.dir, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    failed = take_out(&self.dir, &name, &self.dir).err().or(failed);
                }
                Err(error) => failed = Some(error.into()),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn claims_under_way(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        self.dir.for_each_entry(&mut buffer, |entry| {
            let name = entry.name.to_bytes();
            if [SLOT, REPAIR].iter().any(|prefix| name.starts_with(prefix.as_bytes())) {
                names.push(OsStr::from_bytes(name).to_owned());
            }
            if names.len() < MAX_FENCED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(names)
    }

    /// The directory itself, for deleting entries by name.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The same, kept.
    pub(super) fn into_dir(self) -> Dir {
        self.dir
    }
}

/// The pid of the process that made a slot, by its name.
fn claimer(slot: &OsStr) -> Option<Pid> {
    let (pid, _) = slot.to_str()?.strip_prefix(SLOT)?.split_once('-')?;
    Pid::from_raw(pid.parse().ok()?)
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid) != Err(Errno::SRCH)
}

/// Removes an empty slot. If a hook's fence has removed it already that is fine; one that is not empty is kept for the next run.
pub(super) fn discard(parent: &Dir, slot: &OsStr) {
    let _ = unlinkat(parent, slot, AtFlags::REMOVEDIR);
}

/// Moves the tree in a slot of `parent` to a name of its own in `into`, and removes the slot: a claim of several entries would continue to
/// fill it. A settled claim, whose tree is being deleted, is left alone.
///
/// # Errors
/// Why something remains from where it can be put back.
pub(super) fn take_out(parent: &Dir, name: &OsStr, into: &Dir) -> io::Result<()> {
    let slot = match parent.descend(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        slot => slot?,
    };
    if TrashClaim::take(&slot).is_none() {
        return Ok(());
    }
    for _ in 0..MAX_ENTRIES {
        let mut claimed = slot.names(MAX_ENTRIES)?;
        // Nothing else is claimed: a repair keeps its file in a directory beside the slots.
        claimed.retain(|name| name == TREE || name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        for name in &claimed {
            match renameat_with(&slot, name, into, unique("fenced-"), RenameFlags::NOREPLACE) {
                // The claim itself may have put it back.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Entries that were added meanwhile are moved out as well.
        let is_filled =
            matches!(unlinkat(parent, name, AtFlags::REMOVEDIR), Err(Errno::NOTEMPTY | Errno::EXIST));
        if claimed.is_empty() || !is_filled {
            return Ok(());
        }
    }
    Ok(())
}

/// No block, no inode, no quota left.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes a directory, or opens an existing one. A run that died after making it may have left it with root as owner.
fn make_owned(parent: &Dir, name: &OsStr, owner: Uid) -> io::Result<Dir> {
    match make_new(parent, name, owner) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let dir = parent.descend(name)?;
            let _ = give(&dir, name, owner);
            Ok(dir)
        }
        result => result,
    }
}

/// Makes a directory and, as root, gives it to the runner's user: its hook must be able to fence.
pub(super) fn make_new(parent: &Dir, name: &OsStr, owner: Uid) -> io::Result<Dir> {
    mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    let dir = parent.descend(name)?;
    give(&dir, name, owner)?;
    Ok(dir)
}

/// By handle: the runner's user may have replaced the entry of this name. A directory that is not root's was not made by root, and one
/// that is not empty could be root's own, moved here to get its owner changed.
fn give(dir: &Dir, name: &OsStr, owner: Uid) -> io::Result<()> {
    if !crate::sys::process::is_root() || owner == Uid::ROOT || dir.status()?.owner != Uid::ROOT {
        return Ok(());
    }
    if !dir.names(1)?.is_empty() {
        let name = name.display();
        return Err(io::Error::other(format!("`{name}` was exchanged for another directory of root's")));
    }
    Ok(fchown(dir, Some(rustix::fs::Uid::from_raw(owner.0)), None)?)
}

/// Why a hook that runs as `owner` could not fence: it cannot reach the trash, or remove and rename its entries.
fn unfenceable(home: &Status, trash: &Status, owner: Uid) -> Option<String> {
    const SEARCH: u32 = 0o100;
    const ALL: u32 = 0o700;
    let may = |status: &Status, bits: u32| match owner {
        Uid::ROOT => true,
        _ if status.owner == owner => status.mode & bits == bits,
        _ => status.mode & (bits >> 6) == bits >> 6 && bits == SEARCH,
    };
    let why = |what: &str, status: &Status| {
        format!(
            "`{what}` belongs to uid {} with mode {:04o}: the hook of its runner's user, uid {owner}, could not fence claims off              there; run `chown -R {owner} {HOME} && chmod -R u+rwX {HOME}` in the work directory",
            status.owner,
            status.mode & 0o7777
        )
    };
    if !may(home, SEARCH) {
        return Some(why(HOME, home));
    }
    (!may(trash, ALL)).then(|| why(".disk-guard/trash", trash))
}

fn check_owner(home: &Dir, owner: Uid) -> io::Result<Status> {
    let status = home.status()?;
    let found = status.owner;
    if found == owner || found == Uid::ROOT {
        return Ok(status);
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("`{HOME}` belongs to uid {found}, the work directory to uid {owner}: remove it"),
    ))
}

fn named(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(nix::libc::ELOOP | nix::libc::ENOTDIR | nix::libc::EXDEV) => {
            io::Error::new(error.kind(), format!("`{HOME}` is not a plain directory ({error}): remove it"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{NOBODY, in_private_mounts, is_root, mount_small, take_all_inodes};
    use std::fs::{create_dir, create_dir_all, write};
    use std::os::unix::fs::{chown, symlink};

    fn work() -> (tempfile::TempDir, Dir, Uid) {
        let temp = tempfile::tempdir().unwrap();
        let (dir, _) = Dir::resolve(temp.path()).unwrap();
        let owner = dir.status().unwrap().owner;
        (temp, dir, owner)
    }

    /// The core of the fence: a removed slot can no longer receive a tree, a kept one can.
    #[test]
    fn nothing_can_be_renamed_into_a_fenced_slot() {
        let (temp, work, owner) = work();
        create_dir_all(temp.path().join("r/r/target")).unwrap();
        let trash = Trash::open_or_make(&work, owner).unwrap();
        let parent = work.descend("r/r").unwrap();
        let rename = |slot: &Slot| renameat_with(&parent, "target", &slot.dir, TREE, RenameFlags::NOREPLACE);

        let fenced = trash.make_slot().unwrap();
        trash.fence().unwrap();
        assert_eq!(rename(&fenced), Err(Errno::NOENT));
        assert!(temp.path().join("r/r/target").exists());

        let slot = trash.make_slot().unwrap();
        rename(&slot).expect("an unfenced slot receives the tree");
        trash.fence().unwrap();
        assert!(slot.dir.status_of(TREE).is_err(), "it cannot be put back from where it was");
        create_dir_all(temp.path().join("r/r/target")).unwrap();
        assert_eq!(rename(&slot), Err(Errno::NOENT), "a claim of several entries goes no further");
        let left = trash.entries().unwrap();
        assert!(
            left.iter().any(|name| name.as_encoded_bytes().starts_with(b"fenced-")),
            "it is still there: {left:?}"
        );
    }

    #[test]
    fn the_spare_stands_in_when_no_inode_is_left_and_is_no_trash() {
        let (temp, work, owner) = work();
        assert!(Trash::open(&work, owner).unwrap().is_none());
        let trash = Trash::open_or_make(&work, owner).unwrap();
        trash.keep_spare().unwrap();
        trash.keep_spare().unwrap();
        assert!(trash.entries().unwrap().is_empty());
        let slot = trash.make_slot().unwrap();
        assert!(trash.entries().unwrap().is_empty(), "nothing lies in it yet");
        create_dir(temp.path().join(HOME).join(TRASH).join(&slot.name).join(TREE)).unwrap();
        assert_eq!(trash.entries().unwrap(), std::slice::from_ref(&slot.name));
    }

    /// A claim makes its slot before it has the lock.
    #[test]
    fn an_empty_slot_is_removed_when_its_guard_is_gone_and_never_with_what_lies_in_it() {
        let (temp, work, owner) = work();
        let trash = Trash::open_or_make(&work, owner).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let place = |name: &str| temp.path().join(HOME).join(TRASH).join(name);
        let (empty, full) = (format!("slot-{dead}-0"), format!("slot-{dead}-1"));
        create_dir(place(&empty)).unwrap();
        create_dir_all(place(&full).join(TREE)).unwrap();
        let living = trash.make_slot().unwrap();
        let id = living.dir.status().unwrap().id;
        trash.clear_abandoned();
        assert!(!place(&empty).exists() && place(&full).join(TREE).exists());
        assert_eq!(trash.open_slot(&living.name, id).unwrap().name, living.name);
        trash.fence().unwrap();
        create_dir(place(living.name.to_str().unwrap())).unwrap();
        let error = trash.open_slot(&living.name, id).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "another one by its name is not it");
    }

    #[test]
    fn the_spare_is_all_there_is_when_no_inode_is_left() {
        if !is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        in_private_mounts(|| {
            mount_small(temp.path());
            let (work, _) = Dir::resolve(temp.path()).unwrap();
            let owner = work.status().unwrap().owner;
            let trash = Trash::open_or_make(&work, owner).unwrap();
            trash.keep_spare().unwrap();
            let made = trash.make_slot().unwrap();
            take_all_inodes(temp.path());
            let spare = trash.make_slot().expect("the spare becomes a slot");
            assert_eq!(spare.dir.status().unwrap().id, trash.dir.status_of(&spare.name).unwrap().id);
            let error = trash.make_slot().unwrap_err();
            assert!(is_full(&error), "{error}");
            assert!(is_full(&trash.keep_spare().unwrap_err()), "there is no other");
            trash.discard(&made.name);
            drop(made);
            trash.keep_spare().expect("one inode is enough for the next day like this");
        });
    }

    #[test]
    fn a_missing_trash_is_none_and_a_file_or_link_in_its_place_an_error() {
        let (temp, work, owner) = work();
        assert!(Trash::open(&work, owner).unwrap().is_none());
        create_dir(temp.path().join(HOME)).unwrap();
        assert!(Trash::open(&work, owner).unwrap().is_none());
        Trash::open_or_make(&work, owner).expect("what is missing is made");
        std::fs::remove_dir(temp.path().join(HOME).join(TRASH)).unwrap();
        write(temp.path().join(HOME).join(TRASH), "").unwrap();
        assert!(Trash::open(&work, owner).is_err());
        std::fs::remove_file(temp.path().join(HOME).join(TRASH)).unwrap();
        create_dir(temp.path().join(HOME).join(TRASH)).unwrap();
        assert!(Trash::open(&work, owner).unwrap().is_some());
        let (temp, work, owner) = self::work();
        symlink("elsewhere", temp.path().join(HOME)).unwrap();
        assert!(Trash::open(&work, owner).is_err());
    }

    /// Otherwise its hook could not fence.
    #[test]
    fn directories_that_root_creates_belong_to_the_runners_user() {
        if !is_root() {
            return;
        }
        let (temp, work, _) = work();
        chown(temp.path(), Some(NOBODY), None).unwrap();
        let trash = Trash::open_or_make(&work, Uid(NOBODY)).unwrap();
        trash.keep_spare().unwrap();
        let slot = trash.make_slot().unwrap();
        let home = work.descend(HOME).unwrap();
        for dir in [&home, trash.dir(), &slot.dir, &trash.dir.descend(SPARE).unwrap()] {
            assert_eq!(dir.status().unwrap().owner, Uid(NOBODY));
        }
    }

    #[test]
    fn a_home_of_somebody_else_is_not_used() {
        if !is_root() {
            return;
        }
        let (temp, work, _) = work();
        create_dir_all(temp.path().join(HOME).join(TRASH)).unwrap();
        chown(temp.path().join(HOME), Some(NOBODY), None).unwrap();
        let (own, foreign) = (Uid(NOBODY), Uid(NOBODY - 1));
        assert!(Trash::open(&work, foreign).unwrap_err().to_string().contains("remove it"));
        assert!(Trash::open_or_make(&work, foreign).is_err());
        assert!(Trash::open(&work, Uid::ROOT).is_err(), "not even in root's work directory");
        assert!(Trash::open(&work, own).unwrap().is_some(), "the control");
    }

    #[test]
    fn a_foreign_entry_named_like_the_trash_is_not_used() {
        for attack in ["link", "file", "trash-link"] {
            let (temp, work, owner) = work();
            create_dir(temp.path().join("victim")).unwrap();
            match attack {
                "link" => symlink("victim", temp.path().join(HOME)).unwrap(),
                "file" => write(temp.path().join(HOME), "").unwrap(),
                _ => {
                    create_dir(temp.path().join(HOME)).unwrap();
                    symlink("../victim", temp.path().join(HOME).join(TRASH)).unwrap();
                }
            }
            let error = Trash::open_or_make(&work, owner).unwrap_err();
            assert!(error.to_string().contains("remove it"), "{attack}: {error}");
            assert_eq!(std::fs::read_dir(temp.path().join("victim")).unwrap().count(), 0);
        }
        let (_temp, work, owner) = work();
        Trash::open_or_make(&work, owner).expect("a clean work directory gets its trash");
        assert!(
            Trash::open_or_make(&work, Uid(owner.0 + 1)).is_err() == (owner != Uid::ROOT),
            "a foreign owner"
        );
    }
}
