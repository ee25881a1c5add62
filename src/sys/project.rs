//! Project quotas: which project a directory belongs to (`FS_IOC_FSGETXATTR`, include/uapi/linux/fs.h).

#![expect(unsafe_code, reason = "ioctl(2) with an argument of the filesystem's")]

use super::dir::Dir;
use rustix::ioctl::{Getter, Opcode, ioctl, opcode};

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_on_write_extent_size: u32,
    padding: [u8; 8],
}

const GET: Opcode = opcode::read::<Attributes>(b'X', 31);

/// `FS_XFLAG_PROJINHERIT`: files that are made in the directory belong to its project as well. Without it statfs(2) shows no limit.
const INHERITED: u32 = 1 << 9;

/// The project that a directory gives to new entries; none without one, or if the filesystem has no projects.
pub fn of(dir: &Dir) -> Option<u32> {
    // SAFETY: the kernel writes a `struct fsxattr`, whose layout `Attributes` has, and nothing else.
    let attributes = unsafe { ioctl(dir, Getter::<GET, Attributes>::new()) }.ok()?;
    (attributes.flags & INHERITED != 0 && attributes.project != 0).then_some(attributes.project)
}
