//! Repairs one entry, by handle. See the threat model in [`crate::reclaim::quarantine`].

use crate::hygiene::policy;
use crate::lock::ExclusiveLock;
use crate::model::hygiene::{Defect, FindingKind, Repaired};
use crate::model::{Uid, WorkDir};
use crate::reclaim::quarantine::{Alone, Quarantine};
use crate::sys::dir::{Dir, Status};
use std::cell::OnceCell;
use std::io;
use std::path::Path;

const ALL_FOR_OWNER: u32 = 0o700;
const OWNER_WRITES: u32 = 0o200;
const SET_ID: u32 = 0o6000;

/// The change of an entry, as text.
pub(super) fn what(defect: &Defect, owner: Uid) -> String {
    let mode = defect.mode & 0o7777;
    match defect.kind {
        FindingKind::LockedDirectory => format!("mode {mode:04o} -> {:04o}", mode | ALL_FOR_OWNER),
        FindingKind::ReadOnlyFile => format!("mode {mode:04o} -> {:04o}", mode | OWNER_WRITES),
        FindingKind::StaleLock => "lock file removed".to_owned(),
        _ => format!("owner {} -> {owner}", defect.owner),
    }
}

/// Repairs entries of one work directory, for as long as the host lock is held.
pub(super) struct RepairHandle<'a> {
    lock: &'a ExclusiveLock,
    work: &'a Dir,
    owner: Uid,
    group: u32,
    /// Made with the first file whose owner is changed.
    quarantine: OnceCell<Quarantine<'a>>,
}

impl<'a> RepairHandle<'a> {
    pub(super) fn new(lock: &'a ExclusiveLock, work: &'a Dir, work_dir: &WorkDir) -> Self {
        let group = work.status().map_or(work_dir.owner.0, |status| status.group);
        Self { lock, work, owner: work_dir.owner, group, quarantine: OnceCell::new() }
    }

    pub(super) fn put_right(&self, defect: &Defect) -> Repaired {
        if let Some(why) = policy::forbidden(defect) {
            return Repaired::Refused(why.to_owned());
        }
        let result = match defect.kind {
            FindingKind::ForeignOwner => self.give_back(defect),
            FindingKind::LockedDirectory | FindingKind::ReadOnlyFile => self.unlock(defect),
            _ => return Repaired::Refused("it is not a matter of owner or mode".to_owned()),
        };
        result.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Repaired::Changed("it no longer exists, or its runner started a job".to_owned()),
            // Nothing can be renamed from a separate volume into the quarantine, where nobody else reaches its name.
            io::ErrorKind::CrossesDevices => Repaired::Refused(
                "it is in a separate btrfs subvolume, layer or quota, where other names of it cannot be ruled out: only a reset helps"
                    .to_owned(),
            ),
            _ => Repaired::Failed(error.to_string()),
        })
    }

    /// The owner could do this without the guard, so nobody gains anything by making root do it to the wrong file. Nevertheless it is done
    /// only to a file that the owner owns and that has no other name.
    fn unlock(&self, defect: &Defect) -> io::Result<Repaired> {
        let (pinned, status) = self.lock.while_looking(|| -> io::Result<_> {
            let pinned = self.work.pin(&defect.below)?;
            let status = pinned.status()?;
            Ok((pinned, status))
        })?;
        if status.id != defect.id {
            return Ok(changed());
        }
        if status.owner != self.owner {
            return Ok(Repaired::Refused(format!("it belongs to uid {}: chown first", status.owner)));
        }
        let wanted = match () {
            () if status.is_dir() => ALL_FOR_OWNER,
            () if !status.is_file() => return Ok(changed()),
            () if status.links > 1 => {
                return Ok(Repaired::Refused("it has another name, which may be elsewhere".to_owned()));
            }
            () if status.mode & SET_ID != 0 => {
                return Ok(Repaired::Refused("it is a set-uid program".to_owned()));
            }
            () => OWNER_WRITES,
        };
        pinned.set_mode(status.mode | wanted)?;
        Ok(Repaired::Done)
    }

    /// A directory has one name, and a user cannot move one out of a directory that is closed to that user. A file may have another name:
    /// it is examined in the quarantine, where nobody else reaches it.
    fn give_back(&self, defect: &Defect) -> io::Result<Repaired> {
        let parent = defect.below.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Some(name) = defect.below.file_name() else { return Ok(changed()) };
        let (parent, pinned, status) = self.lock.while_looking(|| -> io::Result<_> {
            let parent = self.work.descend(parent.unwrap_or(Path::new(".")))?;
            let pinned = parent.pin(name)?;
            let status = pinned.status()?;
            Ok((parent, pinned, status))
        })?;
        if status.id != defect.id || status.owner != defect.owner {
            return Ok(changed());
        }
        if status.is_dir() {
            // Opened, not only named: a mount point is refused.
            let same = self.lock.while_looking(|| parent.descend(name)?.status())?;
            if same.id != status.id {
                return Ok(changed());
            }
            pinned.set_owner(self.owner, self.group)?;
            return Ok(Repaired::Done);
        }
        if !is_data(&status) {
            return Ok(Repaired::Refused("it is a device, a socket, a FIFO or a set-uid program".to_owned()));
        }
        drop(pinned);
        let did = self.quarantine()?.alone(&parent, &defect.below, defect.id, |pinned| {
            let status = pinned.status()?;
            if !is_data(&status) || status.owner != defect.owner {
                return Ok(changed());
            }
            pinned.set_owner(self.owner, self.group)?;
            Ok(Repaired::Done)
        })?;
        Ok(match did {
            Alone::Did(result) => result,
            Alone::Changed(why) => Repaired::Changed(why),
            Alone::Linked(names) => {
                Repaired::Refused(format!("it has {names} names, which may be elsewhere: only a reset helps"))
            }
        })
    }

    fn quarantine(&self) -> io::Result<&Quarantine<'a>> {
        if self.quarantine.get().is_none() {
            let made = Quarantine::open(self.lock, self.work, self.owner)?;
            let _ = self.quarantine.set(made);
        }
        self.quarantine.get().ok_or_else(|| io::Error::other("the quarantine was not kept"))
    }
}

fn changed() -> Repaired {
    Repaired::Changed("another entry is there".to_owned())
}

/// A regular file without special rights, or a link itself.
fn is_data(status: &Status) -> bool {
    let kind = rustix::fs::FileType::from_raw_mode(status.mode);
    kind == rustix::fs::FileType::Symlink || (status.is_file() && status.mode & SET_ID == 0)
}
