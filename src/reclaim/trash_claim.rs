//! Which guard reports a claimed tree. Every guard that finds one in trash deletes it: its claimer may be dead, or suspended while the
//! disk is full. Its claimer may also be at work, and so may a third guard: then they help each other, and only one of them may report how
//! much was freed.
//!
//! The claiming guard holds a lock (flock(2)) on the directory in trash, and marks the directory after it has reported. A helping guard
//! that finds the directory neither locked nor marked reports in its stead: the claiming guard has died. This is no protection: it keeps
//! nobody out, and a runner's user who takes the lock or sets the mark only makes the ledger incomplete about that user's own trash.

use crate::sys::dir::Dir;
use crate::sys::flock::{Probe, probe};
use rustix::fs::{Mode, fchmod};
use std::fs::File;
use std::os::fd::AsFd as _;

/// The mark: a sticky bit in addition to the mode that every directory in trash has had. It has no meaning there.
const TOLD: Mode = Mode::from_raw_mode(0o1755);

/// The right to report one entry of trash, until this value and the handle that it was taken by are dropped.
#[derive(Debug)]
pub struct TrashClaim {
    entry: File,
}

impl TrashClaim {
    /// Claims an entry; `None` when a living guard has claimed it.
    ///
    /// A claimer does so before it leaves the host lock, and other guards look for trash under the host lock: so the claimer comes first.
    pub fn take(entry: &Dir) -> Option<Self> {
        let file = || entry.as_fd().try_clone_to_owned().map(File::from);
        match file().and_then(probe) {
            Ok(Probe::Held) => None,
            Ok(Probe::Taken(entry)) => Some(Self { entry }),
            // A filesystem without locks on directories.
            Err(_) => Some(Self { entry: file().ok()? }),
        }
    }

    /// For a helper: claims an entry whose guard has died before it reported it.
    pub fn inherit(entry: &Dir) -> Option<Self> {
        let heir = Self::take(entry)?;
        let is_told = entry.status().is_ok_and(|status| status.mode & 0o7777 == TOLD.as_raw_mode());
        (!is_told).then_some(heir)
    }

    /// Marks it as reported. The entry may be deleted already: its handle is enough.
    pub fn told(self) {
        let _ = fchmod(&self.entry, TOLD);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "what is removed here is the test's own")]
mod tests {
    use super::*;
    use crate::sys::testing::handle;

    #[test]
    fn a_trash_claim_has_one_holder_and_the_next_gets_it_once_that_has_ended() {
        let temp = tempfile::tempdir().unwrap();
        let first = TrashClaim::take(&handle(temp.path())).expect("no process has it");
        assert!(TrashClaim::take(&handle(temp.path())).is_none());
        drop(first);
        assert!(TrashClaim::take(&handle(temp.path())).is_some());
    }

    #[test]
    fn a_tree_is_reported_once_and_one_left_by_a_dead_guard_is_reported() {
        let temp = tempfile::tempdir().unwrap();
        let helper = handle(temp.path());
        let died = TrashClaim::take(&handle(temp.path())).unwrap();
        assert!(TrashClaim::inherit(&helper).is_none(), "the claiming guard lives");
        drop(died);
        assert!(TrashClaim::inherit(&handle(temp.path())).is_some());
        let living = TrashClaim::take(&handle(temp.path())).unwrap();
        std::fs::remove_dir(temp.path()).unwrap();
        living.told();
        assert!(TrashClaim::inherit(&helper).is_none(), "the claiming guard has reported");
    }
}
