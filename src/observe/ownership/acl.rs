//! The write permissions in a file's POSIX ACL: the extended attribute `system.posix_acl_access` (acl(5); the layout is the kernel's
//! `include/uapi/linux/posix_acl_xattr.h`).

use crate::model::Uid;
use rustix::io::Errno;
use std::io;
use std::path::Path;

const ATTRIBUTE: &str = "system.posix_acl_access";
const VERSION: u32 = 2;
const WRITE: u16 = 2;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
/// No filesystem takes a longer one.
const MOST: usize = 64 * 1024;

/// Who may write beside the owner and others, unless the mask forbids it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Writers {
    pub(super) users: Vec<Uid>,
    pub(super) groups: Vec<u32>,
    pub(super) owning_group: bool,
}

/// The ACL of a file; none if it has only its mode, or if the filesystem has no ACLs.
///
/// # Errors
/// The error of lgetxattr(2); `InvalidData` for what is no ACL.
pub(super) fn of(path: &Path) -> io::Result<Option<Writers>> {
    let mut buffer = vec![0; 1024];
    loop {
        match rustix::fs::lgetxattr(path, ATTRIBUTE, &mut buffer[..]) {
            Ok(length) => {
                let parsed = parse(&buffer[..length]);
                return parsed.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no ACL"));
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(Errno::RANGE) if buffer.len() < MOST => buffer.resize(MOST, 0),
            Err(error) => return Err(error.into()),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Writers> {
    let (version, entries) = bytes.split_first_chunk()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
        return None;
    }
    let mut writers = Writers::default();
    for [tag, tag_high, permissions, permissions_high, id @ ..] in entries {
        if u16::from_le_bytes([*permissions, *permissions_high]) & WRITE == 0 {
            continue;
        }
        let id = u32::from_le_bytes(*id);
        match u16::from_le_bytes([*tag, *tag_high]) {
            USER => writers.users.push(Uid(id)),
            GROUP => writers.groups.push(id),
            GROUP_OBJ => writers.owning_group = true,
            // The owner, the mask and others are in the mode.
            _ => {}
        }
    }
    Some(writers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_in_an_acl_are_read_from_the_kernels_layout() {
        let entry = |tag: u16, permissions: u16, id: u32| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let acl = [
            VERSION.to_le_bytes().to_vec(),
            entry(0x01, 7, u32::MAX),
            entry(USER, 6, 1001),
            entry(USER, 5, 1002),
            entry(GROUP_OBJ, 7, u32::MAX),
            entry(GROUP, 2, 50),
            entry(0x10, 7, u32::MAX),
            entry(0x20, 5, u32::MAX),
        ]
        .concat();
        let expected = Writers { users: vec![Uid(1001)], groups: vec![50], owning_group: true };
        assert_eq!(parse(&acl), Some(expected));
        assert_eq!(parse(&acl[..acl.len() - 1]), None, "cut short");
        assert_eq!(parse(&[1, 0, 0, 0]), None, "another version");
        assert_eq!(parse(b""), None);
    }
}
