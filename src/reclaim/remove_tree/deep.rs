//! Directories that are nested deeper than the number of handles allows: they are renamed up beside the tree, and each is then the root of
//! a tree of its own. A chain of 100,000 directories costs a few hundred renames and no memory: the names are numbered, so only the last
//! number is stored.

use std::ffi::CString;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every directory that was renamed up is strictly smaller than the tree it came from, so the work terminates by itself, unless some
/// process keeps moving them back. No honest tree comes near this bound.
const MOST: u64 = 1 << 24;

#[derive(Debug)]
pub(super) struct Deep {
    /// Distinguishes this deletion's names from those of any other, and from planted ones.
    unique: u64,
    made: AtomicU64,
}

impl Deep {
    pub(super) fn new() -> Self {
        Self { unique: RandomState::new().build_hasher().finish(), made: AtomicU64::new(0) }
    }

    /// A number for one more, or `None` when there have been too many.
    pub(super) fn number(&self) -> Option<u64> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        (number < MOST).then_some(number)
    }

    /// The name that goes with a number.
    pub(super) fn name(&self, number: u64) -> CString {
        CString::new(format!("deep-{:016x}-{number}", self.unique)).expect("hexadecimal has no NUL")
    }

    /// The numbers given out since `from`.
    pub(super) fn since(&self, from: u64) -> Range<u64> {
        from..self.made.load(Ordering::Relaxed).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_that_is_given_out_is_worked_off_and_they_end() {
        let deep = Deep { made: AtomicU64::new(MOST - 1), ..Deep::new() };
        let last = deep.number().unwrap();
        assert!(deep.number().is_none() && deep.number().is_none());
        assert_eq!(deep.since(last), last..MOST);
        assert!(deep.since(MOST).is_empty());
    }
}
