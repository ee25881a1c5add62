//! Quarantine: a file is moved for an instant to a directory where nobody else can reach its name.
//!
//! Before root changes the owner of a foreign file in a hostile directory, it has to know that the file has no other name outside: a hard
//! link to a file of root's would give root's file to the user who planted it. Counting links while the directory's owner can act proves
//! nothing: the owner can remove one name after the count, and the counted name may be the other one. So the file is renamed into a
//! directory that belongs to root alone and was made for this. There nobody else can remove its name, and a link count of one means that
//! there is no other name; a name that is added later through an old handle is in a directory of the user who adds it. Then the file is
//! moved back.
//!
//! ```text
//! _work/.disk-guard/trash/repair-PID-N/entry     the file, for an instant
//! _work/.disk-guard/trash/repair-PID-N.from      a link that says where it belongs, below the work directory
//! ```
//! **Not trash.** The directory is in trash because every claim and fence looks there, but its content is kept: the next sweep moves back
//! what a crash has left ([`put_back`]), once the runner is idle. Its mode, which nobody else can set on a directory of root's,
//! distinguishes it from trash ([`Trash::entries`]). The link is beside it and not in it: a hook's fence removes the empty directory, then
//! the next rename fails, and the runner's job takes precedence.

#![expect(clippy::disallowed_methods, reason = "this is where renaming and removing belong")]

use super::trash::{REPAIR, REPAIR_MODE, Trash, place_of, unique};
use crate::lock::ExclusiveLock;
use crate::model::{FileId, Uid};
use crate::sys::dir::{Dir, Pinned, Status};
use rustix::fs::{
    AtFlags, Mode, RenameFlags, fchmod, mkdirat, readlinkat, renameat_with, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

const ENTRY: &str = "entry";

/// A directory of our own.
#[derive(Debug)]
pub struct Quarantine<'l> {
    trash: Trash,
    dir: Dir,
    name: OsString,
    _lock: &'l ExclusiveLock,
}

/// The result.
#[derive(Debug)]
pub enum Alone<T> {
    /// The result of the action.
    Did(T),
    /// It is another file by now, or gone.
    Changed(String),
    /// It has further names.
    Linked(u64),
}

impl<'l> Quarantine<'l> {
    /// Makes one in the trash of a work directory.
    ///
    /// # Errors
    /// When it cannot be made, or is not ours alone.
    pub fn open(lock: &'l ExclusiveLock, work: &Dir, owner: Uid) -> io::Result<Self> {
        let trash = Trash::open_or_make(work, owner)?;
        trash.check_can_be_fenced()?;
        let name = unique(REPAIR);
        mkdirat(trash.dir(), &name, Mode::from_raw_mode(REPAIR_MODE))?;
        let dir = trash.dir().descend(&name)?;
        let status = dir.status()?;
        let quarantine = Self { trash, dir, name, _lock: lock };
        // An existing directory may be planted; one that is ours and closed to others serves as well.
        if !is_ours_alone(&status) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it was replaced by another user's directory",
            ));
        }
        Ok(quarantine)
    }

    /// Applies an action to the entry at `below` in the work directory, whose parent is open as `parent`. It must be `id`, no directory,
    /// and without a second name.
    ///
    /// # Errors
    /// The error of renameat2(2) or of the action. If it cannot be moved back, because something else has its name by now, it stays in
    /// trash, and the error says so.
    pub fn alone<T>(
        &self,
        parent: &Dir,
        below: &Path,
        id: FileId,
        deed: impl FnOnce(&Pinned) -> io::Result<T>,
    ) -> io::Result<Alone<T>> {
        let name = below.file_name().ok_or(Errno::INVAL)?;
        match parent.status_of(name) {
            Ok(status) if status.id == id && status.links > 1 => return Ok(Alone::Linked(status.links)),
            Ok(status) if status.id == id && !status.is_dir() => {}
            Ok(_) => return Ok(Alone::Changed("another entry is there".to_owned())),
            Err(error) => return Ok(Alone::Changed(error.to_string())),
        }
        symlinkat(below, self.trash.dir(), place_of(&self.name))?;
        if let Err(error) = renameat_with(parent, name, &self.dir, ENTRY, RenameFlags::NOREPLACE) {
            self.forget_place();
            return Err(error.into());
        }
        let result = self.look_and_do(id, deed);
        renameat_with(&self.dir, ENTRY, parent, name, RenameFlags::NOREPLACE).map_err(|error| {
            let text = format!("it could not be returned ({error}) and is in trash");
            io::Error::new(io::Error::from(error).kind(), text)
        })?;
        self.forget_place();
        result
    }

    /// It was moved back: a link that remains is trash.
    fn forget_place(&self) {
        let _ = unlinkat(self.trash.dir(), place_of(&self.name), AtFlags::empty());
    }

    fn look_and_do<T>(
        &self,
        id: FileId,
        deed: impl FnOnce(&Pinned) -> io::Result<T>,
    ) -> io::Result<Alone<T>> {
        let pinned = self.dir.pin(ENTRY)?;
        let status = pinned.status()?;
        if status.id != id || status.is_dir() {
            return Ok(Alone::Changed("it was swapped while it was moved".to_owned()));
        }
        if status.links != 1 {
            return Ok(Alone::Linked(status.links));
        }
        deed(&pinned).map(Alone::Did)
    }
}

/// Finishes what a crashed repair has left: the quarantine of this name, as [`Trash::quarantines`] lists them. Its file is moved back to
/// the returned path. If the place is occupied, or its directory is gone, the file becomes trash; then the result is `None`, as for an
/// empty quarantine.
///
/// # Errors
/// When it cannot be determined whether its place exists. Then nothing is touched.
pub fn put_back(_: &ExclusiveLock, work: &Dir, trash: &Trash, name: &OsStr) -> io::Result<Option<PathBuf>> {
    let dir = trash.dir().descend(name)?;
    let back = match dir.status_of(ENTRY) {
        Ok(status) if !status.is_dir() => {
            let place = readlinkat(trash.dir(), place_of(name), Vec::new());
            let place = place.map(|place| PathBuf::from(OsString::from_vec(place.into_bytes())));
            match place
                .map_err(io::Error::from)
                .and_then(|place| move_back(&dir, work, &place).map(|()| place))
            {
                Ok(place) => Some(place),
                Err(error) if has_lost_its_place(&error) => None,
                Err(error) => return Err(error),
            }
        }
        _ => None,
    };
    match unlinkat(trash.dir(), name, AtFlags::REMOVEDIR) {
        // Without its mode it is trash like any other entry.
        Err(Errno::NOTEMPTY) => fchmod(&dir, Mode::RWXU)?,
        result => result?,
    }
    // Last, because without it nobody would know the file's place.
    let _ = unlinkat(trash.dir(), place_of(name), AtFlags::empty());
    Ok(back)
}

fn move_back(dir: &Dir, work: &Dir, place: &Path) -> io::Result<()> {
    // The directory belongs to the runner's user, and the link may be forged: it is resolved below the work directory only.
    let name = place.file_name().filter(|_| place.is_relative()).ok_or(Errno::INVAL)?;
    if place.components().any(|part| part == Component::ParentDir) {
        return Err(Errno::INVAL.into());
    }
    let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(renameat_with(dir, ENTRY, &work.descend(parent)?, name, RenameFlags::NOREPLACE)?)
}

/// The place is occupied, or there is no such directory beneath the work directory.
fn has_lost_its_place(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::EXIST | Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL))
}

fn is_ours_alone(status: &Status) -> bool {
    status.owner.0 == nix::unistd::geteuid().as_raw() && status.mode & 0o077 == 0
}

impl Drop for Quarantine<'_> {
    /// One that is not empty stays for the next run.
    fn drop(&mut self) {
        let _ = unlinkat(self.trash.dir(), &self.name, AtFlags::REMOVEDIR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::RunDir;
    use crate::sys::testing::{NOBODY, in_private_mounts, is_root, mount_small};
    use std::fs::{Permissions, create_dir, create_dir_all, hard_link, rename, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::time::Duration;

    fn scene() -> (tempfile::TempDir, Dir, Uid, ExclusiveLock) {
        let temp = tempfile::tempdir().unwrap();
        create_dir_all(temp.path().join("work/r")).unwrap();
        let run = RunDir::open(&temp.path().join("run")).unwrap();
        let lock = ExclusiveLock::acquire(&run, Duration::from_secs(1)).unwrap();
        let (work, _) = Dir::resolve(&temp.path().join("work")).unwrap();
        let owner = work.status().unwrap().owner;
        (temp, work, owner, lock)
    }

    #[test]
    fn a_file_with_one_name_is_dealt_with_and_is_back_in_its_place() {
        let (temp, work, owner, lock) = scene();
        write(temp.path().join("work/r/file"), "content").unwrap();
        let dir = work.descend("r").unwrap();
        let id = dir.status_of("file").unwrap().id;
        let quarantine = Quarantine::open(&lock, &work, owner).unwrap();
        let did = quarantine.alone(&dir, "r/file".as_ref(), id, |pinned| Ok(pinned.status()?.links)).unwrap();
        assert!(matches!(did, Alone::Did(1)), "{did:?}");
        assert_eq!(std::fs::read(temp.path().join("work/r/file")).unwrap(), b"content");
        drop(quarantine);
        assert!(Trash::open(&work, owner).unwrap().unwrap().entries().unwrap().is_empty());
    }

    /// The attack that matters: the second name is removed before it is counted.
    #[test]
    fn a_second_name_that_is_removed_in_time_does_not_deceive() {
        let (temp, work, owner, lock) = scene();
        write(temp.path().join("precious"), "root's").unwrap();
        let planted = temp.path().join("work/r/planted");
        hard_link(temp.path().join("precious"), &planted).unwrap();
        let dir = work.descend("r").unwrap();
        let id = dir.status_of("planted").unwrap().id;
        let quarantine = Quarantine::open(&lock, &work, owner).unwrap();
        let did = quarantine.alone(&dir, "r/planted".as_ref(), id, |_| -> io::Result<()> { panic!("never") });
        assert!(matches!(did, Ok(Alone::Linked(2))), "{did:?}");
        // If the user swaps it for a file of their own with one name during the look, that file is reported as changed.
        std::fs::remove_file(&planted).unwrap();
        write(&planted, "their own").unwrap();
        let did = quarantine.alone(&dir, "r/planted".as_ref(), id, |_| -> io::Result<()> { panic!("never") });
        assert!(matches!(did, Ok(Alone::Changed(_))), "{did:?}");
        assert!(planted.exists());
    }

    /// A repair that crashed while it had the file, which came from `from`; returns the quarantine's name.
    fn died(lock: &ExclusiveLock, work: &Dir, owner: Uid, from: &str) -> OsString {
        let quarantine = Quarantine::open(lock, work, owner).unwrap();
        let (parent, name) = from.rsplit_once('/').unwrap();
        symlinkat(from, quarantine.trash.dir(), place_of(&quarantine.name)).unwrap();
        renameat_with(work.descend(parent).unwrap(), name, &quarantine.dir, ENTRY, RenameFlags::NOREPLACE)
            .unwrap();
        quarantine.name.clone()
    }

    #[test]
    fn a_file_left_by_a_dead_repair_is_returned_and_not_deleted() {
        let (temp, work, owner, lock) = scene();
        write(temp.path().join("work/r/file"), "content").unwrap();
        let name = died(&lock, &work, owner, "r/file");
        let trash = Trash::open(&work, owner).unwrap().unwrap();
        assert!(trash.entries().unwrap().is_empty());
        assert_eq!(trash.quarantines().unwrap(), std::slice::from_ref(&name));
        assert_eq!(put_back(&lock, &work, &trash, &name).unwrap(), Some("r/file".into()));
        assert_eq!(std::fs::read(temp.path().join("work/r/file")).unwrap(), b"content");
        assert!(trash.dir().names(9).unwrap().is_empty());
    }

    #[test]
    fn a_quarantined_file_without_its_original_directory_becomes_trash() {
        for lost in ["taken", "gone", "a link", "no link", "a way out", "nowhere"] {
            let (temp, work, owner, lock) = scene();
            let at = |below: &str| temp.path().join("work").join(below);
            write(at("r/file"), "content").unwrap();
            let name = died(&lock, &work, owner, "r/file");
            let link = at(".disk-guard/trash").join(place_of(&name));
            let relink = |target: &str| {
                std::fs::remove_file(&link).unwrap();
                std::os::unix::fs::symlink(target, &link).unwrap();
            };
            match lost {
                "taken" => write(at("r/file"), "new").unwrap(),
                "gone" => std::fs::remove_dir(at("r")).unwrap(),
                "a link" => {
                    std::fs::remove_dir(at("r")).unwrap();
                    std::os::unix::fs::symlink("/", at("r")).unwrap();
                }
                "no link" => std::fs::remove_file(&link).unwrap(),
                "a way out" => relink("r/../../file"),
                _ => relink(temp.path().join("file").to_str().unwrap()),
            }
            let trash = Trash::open(&work, owner).unwrap().unwrap();
            assert_eq!(put_back(&lock, &work, &trash, &name).unwrap(), None, "{lost}");
            assert_eq!(trash.entries().unwrap(), [name], "{lost}");
            assert!(trash.quarantines().unwrap().is_empty(), "{lost}");
            assert!(!temp.path().join("file").exists(), "{lost}");
        }
    }

    /// Its place may exist behind the mount: the file must not become trash.
    #[test]
    fn a_quarantined_file_is_kept_unless_its_original_directory_is_certainly_gone() {
        if !is_root() {
            return;
        }
        let (temp, work, owner, lock) = scene();
        write(temp.path().join("work/r/file"), "content").unwrap();
        let name = died(&lock, &work, owner, "r/file");
        let trash = Trash::open(&work, owner).unwrap().unwrap();
        in_private_mounts(|| {
            mount_small(&temp.path().join("work/r"));
            // The thread's own mounts are seen through handles of its own.
            let (here, _) = Dir::resolve(&temp.path().join("work")).unwrap();
            assert!(put_back(&lock, &here, &trash, &name).is_err());
        });
        assert_eq!(trash.quarantines().unwrap(), std::slice::from_ref(&name), "it is no trash");
        assert_eq!(put_back(&lock, &work, &trash, &name).unwrap(), Some("r/file".into()), "the control");
    }

    #[test]
    fn a_directory_in_a_files_place_is_trash() {
        let (temp, work, owner, lock) = scene();
        create_dir(temp.path().join("work/r/file")).unwrap();
        let name = died(&lock, &work, owner, "r/file");
        let trash = Trash::open(&work, owner).unwrap().unwrap();
        assert_eq!(put_back(&lock, &work, &trash, &name).unwrap(), None);
        assert_eq!(trash.entries().unwrap(), [name]);
        assert!(!temp.path().join("work/r/file").exists());
    }

    /// A file that is closed to all others is not opened to them by the move.
    #[test]
    fn a_directory_of_roots_that_is_called_like_one_is_trash() {
        let (temp, work, owner, lock) = scene();
        drop(Quarantine::open(&lock, &work, owner).unwrap());
        let path = temp.path().join("work/.disk-guard/trash/repair-1-1");
        for (mode, is_trash) in [(0o700, true), (0o1755, true), (0o1700, false)] {
            let _ = std::fs::create_dir(&path);
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            let trash = Trash::open(&work, owner).unwrap().unwrap();
            assert_eq!(!trash.entries().unwrap().is_empty(), is_trash, "{mode:o}");
            assert_eq!(trash.quarantines().unwrap().is_empty(), is_trash, "{mode:o}");
        }
        if is_root() {
            chown(&path, Some(NOBODY), None).unwrap();
            let trash = Trash::open(&work, owner).unwrap().unwrap();
            assert_eq!(trash.entries().unwrap(), ["repair-1-1"], "a runner's user has made it");
            assert!(trash.quarantines().unwrap().is_empty());
        }
    }

    fn never(_: &Pinned) -> io::Result<()> {
        panic!("never")
    }

    /// Two identities and two link counts: only a planned file with one name is moved at all.
    #[test]
    fn a_file_that_must_not_be_repaired_is_not_moved() {
        let (temp, work, owner, lock) = scene();
        let dir = work.descend("r").unwrap();
        let at = |name: &str| temp.path().join("work/r").join(name);
        write(at("one"), "").unwrap();
        write(at("two"), "").unwrap();
        hard_link(at("two"), at("too")).unwrap();
        create_dir(at("directory")).unwrap();
        let id = |name: &str| dir.status_of(name).unwrap().id;
        let quarantine = Quarantine::open(&lock, &work, owner).unwrap();
        // From here on nothing can be moved into it.
        Trash::open(&work, owner).unwrap().unwrap().fence().unwrap();
        let alone = |name: &str, id: FileId| quarantine.alone(&dir, name.as_ref(), id, never);
        assert!(matches!(alone("two", id("two")), Ok(Alone::Linked(2))));
        for (name, planned) in [("one", "two"), ("two", "one"), ("directory", "one"), ("gone", "one")] {
            let came = alone(name, id(planned));
            assert!(matches!(came, Ok(Alone::Changed(_))), "{name} for {planned}: {came:?}");
        }
        let directory = alone("directory", id("directory"));
        assert!(!matches!(directory, Err(_) | Ok(Alone::Did(()))), "{directory:?}");
        assert!(alone("one", id("one")).is_err(), "the control: this one would have been moved");
    }

    /// Between the look and the rename its owner puts something else in its place.
    #[test]
    fn a_file_swapped_during_the_move_is_not_repaired() {
        let (temp, work, owner, lock) = scene();
        let at = |name: &str| temp.path().join("work/r").join(name);
        write(at("planned"), "").unwrap();
        write(at("other"), "").unwrap();
        write(at("linked"), "").unwrap();
        hard_link(at("linked"), at("elsewhere")).unwrap();
        create_dir(at("directory")).unwrap();
        let quarantine = Quarantine::open(&lock, &work, owner).unwrap();
        let entry = temp.path().join("work/.disk-guard/trash").join(&quarantine.name).join(ENTRY);
        let id = |name: &str| work.descend("r").unwrap().status_of(name).unwrap().id;
        let planned = id("planned");
        for (what, id, is_linked) in [
            ("other", planned, false),
            ("directory", planned, false),
            ("directory", id("directory"), false),
            ("linked", id("linked"), true),
        ] {
            rename(at(what), &entry).unwrap();
            let came = quarantine.look_and_do(id, never).unwrap();
            assert_eq!(matches!(came, Alone::Linked(2)), is_linked, "{what}: {came:?}");
            rename(&entry, at(what)).unwrap();
        }
        rename(at("planned"), &entry).unwrap();
        assert!(matches!(quarantine.look_and_do(planned, |_| Ok(1)).unwrap(), Alone::Did(1)), "the control");
        rename(&entry, at("planned")).unwrap();
    }

    #[test]
    fn a_fence_takes_nothing_out_of_it() {
        let (temp, work, owner, lock) = scene();
        write(temp.path().join("work/r/file"), "content").unwrap();
        let dir = work.descend("r").unwrap();
        let id = dir.status_of("file").unwrap().id;
        let quarantine = Quarantine::open(&lock, &work, owner).unwrap();
        let fence = |_: &Pinned| Trash::open(&work, owner).unwrap().unwrap().fence();
        let did = quarantine.alone(&dir, "file".as_ref(), id, fence).unwrap();
        assert!(matches!(did, Alone::Did(())), "{did:?}");
        assert_eq!(std::fs::read(temp.path().join("work/r/file")).unwrap(), b"content");
    }

    #[test]
    fn a_directory_open_to_others_or_of_another_owner_is_no_quarantine() {
        let temp = tempfile::tempdir().unwrap();
        let is_one = |mode: u32| {
            set_permissions(temp.path(), Permissions::from_mode(mode)).unwrap();
            is_ours_alone(&Dir::open(temp.path()).unwrap().status().unwrap())
        };
        assert!(is_one(0o700));
        for open in [0o710, 0o701, 0o770, 0o755] {
            assert!(!is_one(open), "{open:o}");
        }
        if is_root() {
            chown(temp.path(), Some(NOBODY), None).unwrap();
            assert!(!is_one(0o700), "another's");
        }
    }

    #[test]
    fn a_fence_ends_it() {
        let (temp, work, owner, lock) = scene();
        write(temp.path().join("work/r/file"), "content").unwrap();
        let dir = work.descend("r").unwrap();
        let id = dir.status_of("file").unwrap().id;
        let quarantine = Quarantine::open(&lock, &work, owner).unwrap();
        Trash::open(&work, owner).unwrap().unwrap().fence().unwrap();
        let did = quarantine.alone(&dir, "r/file".as_ref(), id, |_| Ok(()));
        assert_eq!(did.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(temp.path().join("work/r/file").exists());
        drop(quarantine);
        assert!(Trash::open(&work, owner).unwrap().unwrap().dir().names(9).unwrap().is_empty());
    }
}
