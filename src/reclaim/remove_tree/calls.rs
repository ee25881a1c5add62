//! The system calls that remove, rename and restore permissions. Each takes a handle and one name.

#![expect(clippy::disallowed_methods, reason = "this is where deletion is done, by handle")]

use crate::sys::btrfs;
use crate::sys::dir::Dir;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, chmod, fchmod, fstat, openat2, renameat_with, unlinkat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd as _;

/// The permissions that an owner needs in order to list, enter and change a directory.
const ALL_FOR_OWNER: u32 = 0o700;

/// The kernel's error behind an [`io::Error`].
pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

/// unlinkat(2) of everything except directories: links, FIFOs, sockets and devices are names like any other.
// Inlined by force, as its callers up to the reader's loop: see `sys::dir::stat_at`. It is a tenth of the whole deletion.
#[inline(always)]
pub(super) fn unlink(dir: &Dir, name: &CStr) -> Result<(), Errno> {
    unlinkat(dir, name, AtFlags::empty())
}

/// unlinkat(2) of an empty directory.
pub(super) fn remove_directory(dir: &Dir, name: &CStr) -> Result<(), Errno> {
    unlinkat(dir, name, AtFlags::REMOVEDIR)
}

/// Deletes the directory `name`, opened as `opened`, as a whole if it is a subvolume of btrfs. If that is not possible, a read-only
/// subvolume is made writable, so that it can be emptied.
pub(super) fn remove_subvolume(dir: &Dir, name: &CStr, opened: &Dir) -> bool {
    if !btrfs::is_subvolume(opened) {
        return false;
    }
    let is_gone = btrfs::destroy(dir, name, opened).is_ok();
    if !is_gone {
        btrfs::make_writable(opened);
    }
    is_gone
}

/// renameat2(2) that replaces nothing.
pub(super) fn move_up(dir: &Dir, name: &CStr, base: &Dir, new: &CStr) -> Result<(), Errno> {
    renameat_with(dir, name, base, new, RenameFlags::NOREPLACE)
}

/// Gives an open directory's owner the permissions on it. True when they are set, now or before: two threads can find the same missing
/// permissions.
pub(super) fn give_permissions(dir: &Dir) -> bool {
    let Ok(stat) = fstat(dir) else { return false };
    let mode = stat.st_mode & 0o7777;
    mode & ALL_FOR_OWNER == ALL_FOR_OWNER || fchmod(dir, Mode::from_raw_mode(mode | ALL_FOR_OWNER)).is_ok()
}

/// The same for a directory that cannot be opened without them: by a path-only handle and its magic link, since fchmod(2) refuses such
/// handles and fchmodat2(2) exists only since Linux 6.6.
pub(super) fn give_permissions_below(dir: &Dir, name: &CStr) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let Ok(handle) = openat2(dir, name, flags, Mode::empty(), resolve) else { return false };
    let Ok(stat) = fstat(&handle) else { return false };
    let mode = stat.st_mode & 0o7777;
    mode & ALL_FOR_OWNER == ALL_FOR_OWNER
        || chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), Mode::from_raw_mode(mode | ALL_FOR_OWNER))
            .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{handle, in_private_mounts, is_root, run};
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn closed(path: &Path) {
        create_dir(path).unwrap();
        set_permissions(path, Permissions::from_mode(0o050)).unwrap();
    }

    #[test]
    fn permissions_are_given_to_a_directory_and_to_nothing_that_it_leads_to() {
        let temp = tempfile::tempdir().unwrap();
        let (tree, outside) = (temp.path().join("tree"), temp.path().join("outside"));
        create_dir(&tree).unwrap();
        closed(&outside);
        closed(&tree.join("own"));
        symlink(&outside, tree.join("link")).unwrap();
        symlink("own", tree.join("inner")).unwrap();
        std::fs::write(tree.join("file"), "").unwrap();
        let dir = handle(&tree);
        assert!(give_permissions_below(&dir, c"own"));
        assert_eq!(mode(&tree.join("own")), 0o750, "given, and nothing taken away");
        for name in [c"link", c"../outside", c"link/.", c"inner/.", c"file", c"none"] {
            assert!(!give_permissions_below(&dir, name), "{name:?}");
        }
        if is_root() {
            create_dir(tree.join("mount")).unwrap();
            in_private_mounts(|| {
                let target = tree.join("mount");
                assert!(run("mount", &["--bind".as_ref(), outside.as_os_str(), target.as_os_str()]));
                assert!(!give_permissions_below(&handle(&tree), c"mount"));
            });
        }
        assert_eq!(mode(&outside), 0o050);
        set_permissions(&outside, Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn an_open_directory_gets_its_owners_missing_permissions() {
        let temp = tempfile::tempdir().unwrap();
        let dir = handle(temp.path());
        for (before, after) in [(0, 0o700), (0o500, 0o700), (0o300, 0o700), (0o055, 0o755), (0o711, 0o711)] {
            set_permissions(temp.path(), Permissions::from_mode(before)).unwrap();
            assert!(give_permissions(&dir));
            assert_eq!(mode(temp.path()), after, "{before:o}");
        }
    }
}
