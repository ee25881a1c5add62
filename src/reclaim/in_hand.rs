//! Who tells of a claimed tree. Whoever finds one in trash deletes it: its claimer may be dead, or suspended while the disk is
//! full. Its claimer may also be at work, and so may a third: then they help each other, and only one may say how much has
//! become free.
//!
//! That one has the lock (flock(2)) on the directory that lies in trash. It is no protection: it holds nobody off, and a runner's
//! user who takes it has the ledger say less of his own trash.

use crate::sys::dir::Dir;
use crate::sys::flock::{Probe, probe};
use std::fs::File;
use std::os::fd::AsFd as _;

/// The right to tell of one entry of trash, until it is dropped.
#[derive(Debug)]
pub struct InHand {
    /// Nothing on filesystems that lock no directories.
    _lock: Option<File>,
}

impl InHand {
    /// Takes an entry in hand; `None` when a living guard has it.
    ///
    /// A claimer does so before it leaves the host lock, and whoever looks for trash does that under the host lock: so the
    /// claimer comes first.
    pub fn take(entry: &Dir) -> Option<Self> {
        let lock = entry.as_fd().try_clone_to_owned().and_then(|handle| probe(File::from(handle)));
        match lock {
            Ok(Probe::Held) => None,
            Ok(Probe::Taken(lock)) => Some(Self { _lock: Some(lock) }),
            Err(_) => Some(Self { _lock: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::handle;

    #[test]
    fn one_at_a_time_has_it_and_the_next_when_he_is_gone() {
        let temp = tempfile::tempdir().unwrap();
        let first = InHand::take(&handle(temp.path())).expect("nobody has it");
        assert!(InHand::take(&handle(temp.path())).is_none());
        drop(first);
        assert!(InHand::take(&handle(temp.path())).is_some());
    }
}
