//! How much of a file's space is shared with other files: reflinks, and on btrfs snapshots (FS_IOC_FIEMAP).

#![allow(unsafe_code, reason = "a system call that no dependency of ours wraps")]

use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// `_IOWR('f', 11, struct fiemap)`.
const FS_IOC_FIEMAP: libc::c_ulong = 0xC020_660B;

const FIEMAP_EXTENT_SHARED: u32 = 0x2000;
/// `FIEMAP_EXTENT_UNKNOWN`, `_DELALLOC` and `_DATA_INLINE`: such an extent has no blocks of its own (yet).
const NOT_PLACED: u32 = 0x2 | 0x4 | 0x200;

/// Extents that are looked at in one file: a sample of its beginning.
const MOST: usize = 32;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FiemapExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

#[repr(C)]
#[derive(Default)]
struct Map {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [FiemapExtent; MOST],
}

/// Bytes of a file, or of its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SharedExtents {
    /// How many were looked at.
    pub seen: u64,
    /// How many are shared: deleting the file does not free them.
    pub shared: u64,
}

/// Looks at the extents of a file.
///
/// # Errors
/// `EOPNOTSUPP` and similar if the filesystem does not report it.
pub fn shared(file: &File) -> io::Result<SharedExtents> {
    let map = map_of(file)?;
    let mut sum = SharedExtents::default();
    for extent in map.extents.iter().take(map.mapped as usize) {
        sum.seen = sum.seen.saturating_add(extent.length);
        if extent.flags & FIEMAP_EXTENT_SHARED != 0 {
            sum.shared = sum.shared.saturating_add(extent.length);
        }
    }
    Ok(sum)
}

/// Whether two files share their blocks, as far as their beginnings show: then sharing gains nothing.
///
/// # Errors
/// As [`shared`].
pub fn are_one(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (map_of(one)?, map_of(other)?);
    let blocks = |map: &Map| -> Vec<(u64, u64, u64)> {
        let extents = map.extents.iter().take(map.mapped as usize);
        let placed = extents.filter(|extent| extent.flags & NOT_PLACED == 0);
        placed.map(|extent| (extent.logical, extent.physical, extent.length)).collect()
    };
    Ok(one.mapped > 0 && blocks(&one).len() == one.mapped as usize && blocks(&one) == blocks(&other))
}

fn map_of(file: &File) -> io::Result<Map> {
    let mut map = Map { length: u64::MAX, count: MOST as u32, ..Map::default() };
    // SAFETY: the kernel reads the header and writes at most `count` extents behind it, which is what there is room for.
    if unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &raw mut map) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{in_private_mounts, is_root};
    use std::process::Command;

    #[test]
    fn the_structures_are_the_kernels() {
        assert_eq!((size_of::<FiemapExtent>(), size_of::<Map>()), (56, 32 + MOST * 56));
    }

    #[test]
    fn a_reflink_shares_and_a_copy_does_not() {
        if !is_root() {
            return;
        }
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).output().expect("a program of the system");
            assert!(
                done.status.success(),
                "{program} {arguments:?}: {}",
                String::from_utf8_lossy(&done.stderr)
            );
        };
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
        in_private_mounts(|| {
            run("truncate", &["-s", "320M", &at("image")]);
            std::fs::create_dir(at("disk")).unwrap();
            run("mkfs.xfs", &["-q", &at("image")]);
            run("mount", &["-o", "loop", &at("image"), &at("disk")]);
            for name in ["disk/alone", "disk/twice"] {
                std::fs::write(at(name), vec![7; 1 << 20]).unwrap();
            }
            run("cp", &["--reflink=always", &at("disk/twice"), &at("disk/again")]);
            run("sync", &["-f", &at("disk")]);
            let look = |name: &str| shared(&File::open(at(name)).unwrap()).unwrap();
            assert_eq!(look("disk/alone").shared, 0);
            assert_eq!(look("disk/twice"), SharedExtents { seen: 1 << 20, shared: 1 << 20 });
            run("umount", &[&at("disk")]);
        });
    }
}
