//! The largest files of a tree, so that deletion can begin with them.

use crate::model::LargeFile;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Smaller files are not worth listing: reaching one by its path costs as much as it frees.
const WORTH_LISTING: u64 = 64 * 1024;

/// Longer paths are not listed: thousands of hostile ones would fill the memory, and openat2(2) takes no path beyond
/// 4,095 bytes anyway. Such a file is deleted with the tree all the same, only not first.
const LONGEST_PATH: usize = 1024;

/// The path of `name` in the directory at `path`, unless it is too long to be listed.
pub(super) fn join(path: &[u8], name: &CStr) -> Option<Vec<u8>> {
    let name = name.to_bytes();
    let length = path.len() + 1 + name.len();
    (length <= LONGEST_PATH).then(|| {
        let mut joined = Vec::with_capacity(length);
        joined.extend_from_slice(path);
        if !path.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(name);
        joined
    })
}

/// At most this many files, the largest of all that were offered.
pub(super) struct Largest {
    limit: usize,
    /// The smallest on top, to be dropped first.
    files: BinaryHeap<Reverse<(u64, Vec<u8>)>>,
}

impl Largest {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, files: BinaryHeap::new() }
    }

    /// Considers the file `name` in the directory at `path`. Small ones, nearly all, cost a comparison.
    pub(super) fn offer(&mut self, path: &[u8], name: &CStr, allocated: u64) {
        if allocated < WORTH_LISTING || !self.has_room_for(allocated) {
            return;
        }
        if let Some(path) = join(path, name) {
            self.insert(allocated, path);
        }
    }

    fn has_room_for(&self, allocated: u64) -> bool {
        self.files.len() < self.limit
            || self.files.peek().is_some_and(|Reverse((least, _))| allocated > *least)
    }

    fn insert(&mut self, allocated: u64, path: Vec<u8>) {
        if self.files.len() == self.limit {
            self.files.pop();
        }
        self.files.push(Reverse((allocated, path)));
    }

    /// Moves the content of `other` into this list.
    pub(super) fn take_from(&mut self, other: &mut Largest) {
        for Reverse((allocated, path)) in other.files.drain() {
            if self.has_room_for(allocated) {
                self.insert(allocated, path);
            }
        }
    }

    /// The largest first; among equals by path, which is a stable order and keeps one directory's files together.
    pub(super) fn into_list(self) -> Vec<LargeFile> {
        let mut files = self.files.into_vec();
        files.sort_unstable_by(|Reverse(a), Reverse(b)| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        files
            .into_iter()
            .map(|Reverse((allocated, path))| LargeFile {
                below: PathBuf::from(OsString::from_vec(path)),
                allocated,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer_all(limit: usize, sizes: &[u64]) -> Largest {
        let mut largest = Largest::new(limit);
        for size in sizes {
            let name = std::ffi::CString::new(format!("f{size}")).unwrap();
            largest.offer(b"dir", &name, size * WORTH_LISTING);
        }
        largest
    }

    fn names(largest: Largest) -> Vec<String> {
        largest.into_list().into_iter().map(|file| file.below.display().to_string()).collect()
    }

    #[test]
    fn the_largest_are_kept_in_falling_order() {
        assert_eq!(names(offer_all(3, &[0, 5, 1, 9, 7, 2])), ["dir/f9", "dir/f7", "dir/f5"]);
        let mut merged = offer_all(3, &[5, 1, 9]);
        merged.take_from(&mut offer_all(3, &[6, 2]));
        assert_eq!(names(merged), ["dir/f9", "dir/f6", "dir/f5"]);
        assert!(names(offer_all(0, &[5])).is_empty());
    }

    #[test]
    fn small_files_and_endless_paths_are_not_listed() {
        let mut largest = Largest::new(9);
        largest.offer(b"", c"small", WORTH_LISTING - 1);
        largest.offer(&[b'x'; LONGEST_PATH], c"far", WORTH_LISTING);
        largest.offer(b"", c"near", WORTH_LISTING);
        assert_eq!(names(largest), ["near"]);
    }
}
