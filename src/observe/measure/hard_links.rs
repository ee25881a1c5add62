//! Counts an inode once, when all of its names have been met: only then does removing the tree free its space.

use crate::model::FileId;
use crate::sys::dir::Status;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

/// Inodes remembered: what a hash table of 2^18 slots holds at its load factor, about 7 MiB. Cargo links only what it
/// uplifts out of `deps/`; a tree of so many linked inodes is linked to a package store, or an attack.
const REMEMBERED: usize = (1 << 18) / 8 * 7;

/// The inodes of which some names have not been met yet. Shared by the threads of a walk; inodes with one name, nearly all of them, never
/// take the lock.
#[derive(Default)]
pub(super) struct HardLinks {
    open: Mutex<HashMap<FileId, u64>>,
}

impl HardLinks {
    /// The bytes that this name adds to the sum: all of the inode's at its last name, none before that.
    ///
    /// Past the bound each further inode counts its share, allocated / links, at every name. That equals what deleting the tree frees if
    /// all the names are inside.
    pub(super) fn bytes_of(&self, status: &Status) -> u64 {
        if status.links <= 1 {
            return status.allocated;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = open.len() < REMEMBERED;
        match open.entry(status.id) {
            Entry::Occupied(mut missing) if *missing.get() > 1 => {
                *missing.get_mut() -= 1;
                0
            }
            Entry::Occupied(last) => {
                last.remove();
                status.allocated
            }
            Entry::Vacant(entry) if has_room => {
                entry.insert(status.links - 1);
                0
            }
            Entry::Vacant(_) => status.allocated / status.links,
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
            changed: SystemTime::UNIX_EPOCH,
            mount_id: 1,
        }
    }

    #[test]
    fn an_inode_counts_at_its_last_name_and_past_the_bound_by_its_share() {
        let links = HardLinks::default();
        let names = |ino, links_of| links.bytes_of(&status(ino, links_of));
        assert_eq!([names(1, 1), names(1, 1)], [4096, 4096], "not linked");
        assert_eq!([names(2, 3), names(2, 3), names(2, 3)], [0, 0, 4096]);
        assert_eq!([names(3, 3), names(3, 3)], [0, 0], "its third name lies elsewhere");
        assert_eq!(links.open.lock().unwrap().len(), 1, "what is complete is forgotten");
        for ino in 10..9 + REMEMBERED as u64 {
            names(ino, 2);
        }
        assert_eq!(links.open.lock().unwrap().len(), REMEMBERED);
        assert_eq!([names(9, 4), names(9, 4)], [1024, 1024]);
        assert_eq!(names(3, 3), 4096, "what is remembered stays so");
    }
}
