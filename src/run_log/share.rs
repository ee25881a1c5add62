//! How many entries of one kind a run writes: so many about each runner or directory, and so many in all. The rest is counted.

use std::collections::HashMap;
use std::hash::Hash;

/// Entries about one runner or directory.
const OF_EACH: usize = 64;
/// Entries about all of them.
const OF_ALL: usize = 1024;

/// What was written so far, and how many were not.
#[derive(Debug)]
pub(super) struct EntryShare<K> {
    written: HashMap<K, usize>,
    all: usize,
    left_out: usize,
}

impl<K> Default for EntryShare<K> {
    fn default() -> Self {
        Self { written: HashMap::new(), all: 0, left_out: 0 }
    }
}

impl<K: Eq + Hash> EntryShare<K> {
    /// Whether one more entry about `whose` is to be written.
    pub(super) fn take(&mut self, whose: K) -> bool {
        let written = self.written.entry(whose).or_default();
        let is_within = *written < OF_EACH && self.all < OF_ALL;
        if is_within {
            *written += 1;
            self.all += 1;
        } else {
            self.left_out += 1;
        }
        is_within
    }

    /// How many entries were not written.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_leaves_room_for_the_entries_of_others() {
        let mut share = EntryShare::default();
        let written = (0..5000).filter(|_| share.take("flood")).count();
        assert_eq!((written, share.left_out()), (OF_EACH, 5000 - OF_EACH));
        assert!(share.take("another"));
        let written = (0..5000).filter(|number| share.take(&*number.to_string().leak())).count();
        assert_eq!(written, OF_ALL - OF_EACH - 1);
    }
}
