//! How many directories a walk may hold open at once.
//!
//! A walk keeps a directory open while something below it is still to be done, so a hostile nesting could open as many descriptors as it
//! is deep. A [`HandleBudget`] limits that: without a free handle the walk does not descend further.

use rustix::process::{Resource, getrlimit};
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than any build nests; well below the 1,024 that a process may open by default.
const MOST: usize = 192;

/// The minimum for a walk even if the limit is absurdly low.
const LEAST: usize = 8;

/// A number of handles that may be open at once.
#[derive(Debug)]
pub struct HandleBudget {
    left: AtomicUsize,
}

/// The right to hold one handle, until dropped.
#[derive(Debug)]
pub struct Permit<'a>(&'a HandleBudget);

impl HandleBudget {
    /// A quarter of what the process may open (RLIMIT_NOFILE), within bounds: the rest of the program opens files too.
    pub fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::new(usize::try_from(limit / 4).unwrap_or(MOST).clamp(LEAST, MOST))
    }

    /// Exactly so many.
    pub fn new(handles: usize) -> Self {
        Self { left: AtomicUsize::new(handles) }
    }

    /// A permit, or `None` when all are in use.
    pub fn take(&self) -> Option<Permit<'_>> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .ok()
            .map(|_| Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_budget_is_out_at_once() {
        let budget = HandleBudget::new(2);
        let first = budget.take().unwrap();
        let _second = budget.take().unwrap();
        assert!(budget.take().is_none());
        drop(first);
        assert!(budget.take().is_some());
    }
}
