//! Which guard reports a claimed tree. Whoever finds one in trash deletes it: its claimer may be dead, or suspended while the disk is
//! full. Its claimer may also be at work, and so may a third: then they help each other, and only one may say how much has
//! become free.
//!
//! That one has the lock (flock(2)) on the directory that lies in trash, and marks the directory after it has reported. Whoever has
//! helped and finds it neither locked nor marked inherits the telling: the other has died. It is no protection: it holds nobody
//! off, and a runner's user who takes the lock or sets the mark has the ledger say less of his own trash.

use crate::sys::dir::Dir;
use crate::sys::flock::{Probe, probe};
use rustix::fs::{Mode, fchmod};
use std::fs::File;
use std::os::fd::AsFd as _;

/// The mark: a sticky bit on top of the mode that every directory in trash has had. It has no meaning there.
const TOLD: Mode = Mode::from_raw_mode(0o1755);

/// The right to tell of one entry of trash, until it and the handle that it was taken by are dropped.
#[derive(Debug)]
pub struct TrashClaim {
    entry: File,
}

impl TrashClaim {
    /// Takes an entry in hand; `None` when a living guard has it.
    ///
    /// A claimer does so before it leaves the host lock, and whoever looks for trash does that under the host lock: so the
    /// claimer comes first.
    pub fn take(entry: &Dir) -> Option<Self> {
        let file = || entry.as_fd().try_clone_to_owned().map(File::from);
        match file().and_then(probe) {
            Ok(Probe::Held) => None,
            Ok(Probe::Taken(entry)) => Some(Self { entry }),
            // A filesystem that locks no directories.
            Err(_) => Some(Self { entry: file().ok()? }),
        }
    }

    /// For who has helped: takes an entry in hand whose guard has died without telling of it.
    pub fn inherit(entry: &Dir) -> Option<Self> {
        let heir = Self::take(entry)?;
        let is_told = entry.status().is_ok_and(|status| status.mode & 0o7777 == TOLD.as_raw_mode());
        (!is_told).then_some(heir)
    }

    /// It has been told of. The entry may be gone by now: its handle is enough.
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
    fn one_at_a_time_has_it_and_the_next_when_he_is_gone() {
        let temp = tempfile::tempdir().unwrap();
        let first = TrashClaim::take(&handle(temp.path())).expect("nobody has it");
        assert!(TrashClaim::take(&handle(temp.path())).is_none());
        drop(first);
        assert!(TrashClaim::take(&handle(temp.path())).is_some());
    }

    #[test]
    fn what_has_been_told_is_not_told_again_and_the_deads_is() {
        let temp = tempfile::tempdir().unwrap();
        let helper = handle(temp.path());
        let died = TrashClaim::take(&handle(temp.path())).unwrap();
        assert!(TrashClaim::inherit(&helper).is_none(), "he lives");
        drop(died);
        assert!(TrashClaim::inherit(&handle(temp.path())).is_some());
        let living = TrashClaim::take(&handle(temp.path())).unwrap();
        std::fs::remove_dir(temp.path()).unwrap();
        living.told();
        assert!(TrashClaim::inherit(&helper).is_none(), "he has told");
    }
}
