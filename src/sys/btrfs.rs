//! The peculiarities of btrfs: subvolumes, which are deleted as a whole, and space that is freed later.
//!
//! A subvolume is a directory with a device number of its own and no mount: handles enter it like any other, and so does openat2 with
//! `RESOLVE_NO_XDEV`. The differences: only subvolumes themselves can be renamed into or out of it, it may be read-only as a whole, and
//! its space is freed in the background (ioctl numbers and layouts: `include/uapi/linux/btrfs.h`).

#![expect(unsafe_code, reason = "ioctl(2) with arguments of btrfs")]

use super::dir::Dir;
use super::mountinfo;
use rustix::fs::{CWD, fstat, fstatfs, readlinkat};
use rustix::io::Errno;
use rustix::ioctl::{Getter, Setter, ioctl, opcode};
use std::ffi::CStr;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// `BTRFS_SUPER_MAGIC`, include/uapi/linux/magic.h.
const MAGIC: u64 = 0x9123_683e;
/// `BTRFS_FIRST_FREE_OBJECTID`: the inode number of every subvolume's own directory.
const SUBVOLUME_INODE: u64 = 256;
const IOCTL: u8 = 0x94;
const READ_ONLY: u64 = 1 << 1;
/// `BTRFS_PATH_NAME_MAX`, and the byte behind it.
const NAME: usize = 4088;

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct VolumeArgs {
    fd: i64,
    name: [u8; NAME],
}

const SNAP_DESTROY: rustix::ioctl::Opcode = opcode::write::<VolumeArgs>(IOCTL, 15);
const START_SYNC: rustix::ioctl::Opcode = opcode::read::<u64>(IOCTL, 24);
const SUBVOL_GETFLAGS: rustix::ioctl::Opcode = opcode::read::<u64>(IOCTL, 25);
const SUBVOL_SETFLAGS: rustix::ioctl::Opcode = opcode::write::<u64>(IOCTL, 26);

/// Whether a directory lies on btrfs.
pub fn is_on_btrfs(dir: &Dir) -> bool {
    fstatfs(dir).is_ok_and(|fs| fs.f_type as u64 == MAGIC)
}

/// Whether a directory on btrfs is a subvolume.
pub fn is_subvolume(dir: &Dir) -> bool {
    fstat(dir).is_ok_and(|stat| stat.st_ino == SUBVOLUME_INODE)
}

/// Deletes the subvolume `name` of `parent`, opened as `dir`, with its content; one that holds other subvolumes, or a mount, is refused.
/// It takes CAP_SYS_ADMIN, or the mount option `user_subvol_rm_allowed`.
///
/// # Errors
/// The error of ioctl(2); `EBUSY` if something is mounted in it, because the kernel would remove that mount.
pub fn destroy(parent: &Dir, name: &CStr, dir: &Dir) -> Result<(), Errno> {
    if has_mounts(dir) {
        return Err(Errno::BUSY);
    }
    let mut named = VolumeArgs { fd: 0, name: [0; NAME] };
    let bytes = name.to_bytes();
    named.name.get_mut(..bytes.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(bytes);
    // SAFETY: the kernel reads a `struct btrfs_ioctl_vol_args`, which `VolumeArgs` is: a name of fewer bytes than there are, and the
    // rest zero. A filesystem that is not btrfs refuses the number.
    unsafe { ioctl(parent, Setter::<SNAP_DESTROY, VolumeArgs>::new(named)) }
}

/// Makes a subvolume writable, as its owner may. Returns whether it is writable now.
pub fn make_writable(subvolume: &Dir) -> bool {
    // SAFETY: the kernel writes one u64.
    let Ok(flags) = (unsafe { ioctl(subvolume, Getter::<SUBVOL_GETFLAGS, u64>::new()) }) else {
        return false;
    };
    // SAFETY: the kernel reads one u64.
    flags & READ_ONLY == 0
        || unsafe { ioctl(subvolume, Setter::<SUBVOL_SETFLAGS, u64>::new(flags & !READ_ONLY)) }.is_ok()
}

/// Whether anything is mounted below a directory, as far as is visible here. Unknown counts as yes.
fn has_mounts(dir: &Dir) -> bool {
    let path =
        readlinkat(CWD, format!("/proc/self/fd/{}", std::os::fd::AsFd::as_fd(dir).as_raw_fd()), Vec::new());
    let (Ok(path), Ok(text)) = (path, mountinfo::read_of_thread()) else { return true };
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let is_below = |point: &[u8]| Path::new(std::ffi::OsStr::from_bytes(point)).starts_with(path);
    mountinfo::parse(&text).is_none_or(|mounts| mounts.iter().any(|mount| is_below(&mount.point)))
}

/// How often the free space is checked.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// If nothing was freed for this long, no more will be.
const QUIET: Duration = Duration::from_millis(1500);

/// Waits until at least `wanted` bytes are available, or no more are freed, or until `deadline`: deleted space is freed when a transaction
/// ends, that of a subvolume when it has been cleaned up as well. Both are triggered.
pub fn settle(dir: &Dir, wanted: u64, deadline: Instant) {
    let (mut most, mut since) = (0, Instant::now());
    loop {
        let Ok(usage) = dir.usage() else { return };
        let now = Instant::now();
        if usage.available_bytes > most {
            (most, since) = (usage.available_bytes, now);
        }
        if most >= wanted || now >= deadline || now - since > QUIET {
            return;
        }
        // It begins to commit, and does not wait; without an open transaction there is nothing to commit.
        // SAFETY: the kernel writes one u64.
        let _ = unsafe { ioctl(dir, Getter::<START_SYNC, u64>::new()) };
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]
mod tests {
    use super::*;
    use crate::sys::testing::{handle, in_private_mounts, is_root, run};

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(SNAP_DESTROY as u64, 0x5000_940f);
        assert_eq!(START_SYNC as u64, 0x8008_9418);
        assert_eq!(SUBVOL_GETFLAGS as u64, 0x8008_9419);
        assert_eq!(SUBVOL_SETFLAGS as u64, 0x4008_941a);
    }

    #[test]
    fn a_subvolume_is_destroyed_whole_unless_it_contains_a_mount() {
        let temp = tempfile::tempdir().unwrap();
        if !is_root() || !run("btrfs", &["--version".as_ref()]) {
            eprintln!("skipped: needs root and btrfs-progs");
            return;
        }
        in_private_mounts(|| {
            let (image, at) = (temp.path().join("image"), temp.path().join("at"));
            std::fs::File::create(&image).unwrap().set_len(200 << 20).unwrap();
            std::fs::create_dir(&at).unwrap();
            assert!(run("mkfs.btrfs", &["-q".as_ref(), image.as_os_str()]));
            assert!(run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), at.as_os_str()]));
            let make = |name: &str| {
                assert!(run(
                    "btrfs",
                    &["-q".as_ref(), "subvolume".as_ref(), "create".as_ref(), at.join(name).as_os_str()]
                ));
                std::fs::create_dir(at.join(name).join("sub")).unwrap();
            };
            make("one");
            std::fs::create_dir(at.join("plain")).unwrap();
            let parent = handle(&at);
            assert!(is_on_btrfs(&parent) && is_subvolume(&handle(&at.join("one"))));
            assert!(!is_subvolume(&handle(&at.join("plain"))));
            assert!(destroy(&parent, c"plain", &handle(&at.join("plain"))).is_err());
            let mounted = at.join("one/sub");
            assert!(run("mount", &["-t".as_ref(), "tmpfs".as_ref(), "t".as_ref(), mounted.as_os_str()]));
            assert_eq!(destroy(&parent, c"one", &handle(&at.join("one"))), Err(Errno::BUSY));
            assert!(run("umount", &[mounted.as_os_str()]));
            assert_eq!(destroy(&parent, c"one", &handle(&at.join("one"))), Ok(()));
            assert!(!at.join("one").exists());
            drop(parent);
            assert!(run("umount", &[at.as_os_str()]));
        });
    }
}
