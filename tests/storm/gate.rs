//! So many at once.

use std::sync::{Condvar, Mutex};

pub(crate) struct Gate {
    free: Mutex<usize>,
    left: Condvar,
}

/// A place inside, given back when it is dropped.
pub(crate) struct Seat<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new(seats: usize) -> Self {
        Self { free: Mutex::new(seats), left: Condvar::new() }
    }

    /// Waits for a seat.
    pub(crate) fn enter(&self) -> Seat<'_> {
        let free = self.free.lock().expect("held for one assignment");
        *self.left.wait_while(free, |free| *free == 0).expect("held for one assignment") -= 1;
        Seat(self)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().expect("held for one assignment") += 1;
        self.0.left.notify_one();
    }
}
