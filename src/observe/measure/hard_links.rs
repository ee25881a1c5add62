//! Counting an inode once, whatever number of names it has.

use crate::model::FileId;
use crate::sys::dir::Status;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Inodes remembered: what a hash table of 2^18 slots holds at its load factor, about 4.5 MiB. Cargo links only what it
/// uplifts out of `deps/`; a tree of so many linked inodes is a package store or an attack.
const REMEMBERED: usize = (1 << 18) / 8 * 7;

/// The inodes with several names that have been counted. Shared by the threads of a walk; inodes with one name, nearly
/// all of them, never take the lock.
#[derive(Default)]
pub(super) struct HardLinks {
    seen: Mutex<HashSet<FileId>>,
}

impl HardLinks {
    /// The bytes that this name adds to the sum: all of the inode's at its first name, none after that.
    ///
    /// Past the bound each further inode counts its share, allocated / links, at every name. The sum then never exceeds
    /// what deleting the tree can free, and meets it where all the names lie inside.
    pub(super) fn bytes_of(&self, status: &Status) -> u64 {
        if status.links <= 1 {
            return status.allocated;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&status.id) {
            0
        } else if seen.len() < REMEMBERED {
            seen.insert(status.id);
            status.allocated
        } else {
            status.allocated / status.links
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Uid;
    use std::time::SystemTime;

    fn status(ino: u64, links: u64) -> Status {
        Status {
            id: FileId { dev: 1, ino },
            owner: Uid::ROOT,
            group: 0,
            mode: 0o100_644,
            allocated: 4096,
            links,
            modified: SystemTime::UNIX_EPOCH,
            mount_id: 1,
        }
    }

    #[test]
    fn an_inode_counts_at_its_first_name_and_past_the_bound_by_its_share() {
        let links = HardLinks::default();
        assert_eq!(
            [links.bytes_of(&status(1, 1)), links.bytes_of(&status(1, 1))],
            [4096, 4096],
            "not linked"
        );
        assert_eq!([links.bytes_of(&status(2, 2)), links.bytes_of(&status(2, 2))], [4096, 0]);
        for ino in 10..10 + REMEMBERED as u64 {
            links.bytes_of(&status(ino, 2));
        }
        assert_eq!(links.seen.lock().unwrap().len(), REMEMBERED);
        assert_eq!([links.bytes_of(&status(9, 4)), links.bytes_of(&status(9, 4))], [1024, 1024]);
        assert_eq!(links.bytes_of(&status(2, 2)), 0, "what is remembered stays so");
    }
}
