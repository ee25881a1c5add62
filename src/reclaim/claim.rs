//! Claiming a cache: one rename under the host lock, checked before and after.
//!
//! ```text
//! cache opened and compared -> slot made -> doubt? -> renamed into the slot -> compared again -> doubt? -> claimed
//! ```
//! The first three may come before the lock ([`Reserved`]).
//!
//! Any mismatch, and any doubt, moves the tree back. If it does not match and its place is occupied meanwhile, it is kept beside the place
//! under another name: it is not what was planned, so it is not deleted. The lock is held for a few renames, whatever the size of the
//! trees. The caller defines "doubt": it looks again at the evidence each time it is asked.

#![expect(clippy::disallowed_methods, reason = "this is where renaming and removing belong")]

mod files;
mod subvolume;

use super::in_place_claim::InPlaceClaim;
use super::trash::{Slot, TREE, Trash, is_full, unique};
use super::trash_claim::TrashClaim;
use crate::lock::ExclusiveLock;
use crate::model::{Cache, Evidence, FileId, Part, Uid};
use crate::sys::dir::{Dir, Status};
use files::Members;
use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::rc::Rc;

/// The prefix of the name under which a tree is kept that was moved by mistake and whose place is occupied.
const RETURNED: &str = "returned-by-disk-guard-";

/// The result of a claim whose slot, or cache, has been removed.
const OVERTAKEN: &str = "its runner started a job, or it was removed, before it could be claimed";

/// The result of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The tree is in trash.
    Claimed(Claimed),
    /// Doubt before the rename: nothing was touched.
    Refused(Vec<Evidence>),
    /// Doubt after the rename: it was moved back.
    Restored(Vec<Evidence>),
    /// It is not what was planned: another directory, another owner, or gone. Left as it is.
    Changed(String),
    /// The system refused. Nothing was touched.
    Failed(io::Error),
}

/// A tree in trash, ready to be deleted: `name` in `parent`.
#[derive(Debug)]
pub struct Claimed {
    /// The slot, or the cache's own former parent.
    pub parent: Dir,
    /// The tree's name in it.
    pub name: OsString,
    /// The slot to discard when the tree is gone.
    pub slot: Option<OsString>,
    /// The right to report it. `None` when another process has the lock, which cannot be a guard: then it is reported all the same.
    pub trash_claim: Option<TrashClaim>,
    /// The claimed part of the cache: of some of its files, those that matched the plan.
    pub part: Part,
}

/// A second look at the evidence, by the caller.
pub type Recheck<'a> = dyn FnMut(Phase<'_>) -> Vec<Evidence> + 'a;

/// When doubt is asked for, and where the tree is then.
#[derive(Debug, Clone, Copy)]
pub enum Phase<'a> {
    /// Before the rename: in its place.
    Before,
    /// After it: here.
    After(&'a Dir),
}

/// Claims `cache`, which was found below `work`.
pub fn claim(
    lock: &ExclusiveLock,
    work: &Dir,
    work_owner: Uid,
    cache: &Cache,
    recheck: &mut Recheck<'_>,
) -> Claim {
    let prepared =
        Reserved::new(work, work_owner, cache).and_then(|reserved| reserved.prepare(work, work_owner, cache));
    let outcome = match prepared {
        Ok(prepared) => prepared.claim(recheck),
        Err(outcome) => outcome,
    };
    match outcome {
        Claim::Failed(error) if needs_place_beside(cache, &error) => match CacheEntry::find(work, cache) {
            Ok(place) if cache.part == Part::Whole => place.take_beside(lock, work, cache, recheck),
            Ok(place) => subvolume::claim(place, (lock, work, work_owner), cache, recheck),
            Err(mismatch) => mismatch.into(),
        },
        outcome => outcome,
    }
}

/// Whether a failed claim can be repeated in place, alone under the lock: there was no inode and no spare, no room in the slot, or the
/// checkout is a btrfs subvolume, out of which nothing can be renamed. A rename within the parent directory has none of these problems,
/// and several entries get a slot inside the subvolume. Leftovers of such claims are searched for only in work directories.
pub fn needs_place_beside(cache: &Cache, error: &io::Error) -> bool {
    let can_be = is_elsewhere(error) || (is_full(error) && cache.part == Part::Whole);
    can_be && cache.base.is_none()
}

/// A slot that is made before the look at the evidence: a hook that removes the slot has overtaken that look. So the look may come before
/// the host lock is taken, as long as jobs of this runner run such a hook. Nothing is held open, because other guards would take this
/// process for a user of the tree.
#[derive(Debug)]
pub struct Reserved {
    slot: OsString,
    id: FileId,
}

/// A claim that is ready for its rename. Several can be prepared, renamed one after the other, and looked at again together: each of them
/// goes through the same steps in the same order.
pub struct PreparedClaim<'c> {
    place: CacheEntry,
    cache: &'c Cache,
    trash: Trash,
    slot: Slot,
    /// The directory that holds the claimed members, if not the whole is claimed.
    within: Option<Dir>,
}

/// A claim that has been renamed, until it is settled.
pub struct Renamed<'c> {
    prepared: PreparedClaim<'c>,
    what: Taken<'c>,
}

enum Taken<'c> {
    Whole(Dir),
    Members(Members<'c>),
}

impl Reserved {
    /// Makes the slot for the claim of `cache`, which was found below `work`.
    ///
    /// # Errors
    /// The result, if the claim has already ended.
    pub fn new(work: &Dir, work_owner: Uid, cache: &Cache) -> Result<Self, Claim> {
        CacheEntry::find(work, cache)?;
        let trash = Trash::open_or_make(work, work_owner).map_err(Claim::Failed)?;
        let Slot { dir, name } = trash.make_slot().map_err(Claim::Failed)?;
        match dir.status() {
            Ok(status) => Ok(Self { slot: name, id: status.id }),
            Err(error) => {
                trash.discard(&name);
                Err(Claim::Failed(error))
            }
        }
    }

    /// Whether the planned entry still exists.
    ///
    /// # Errors
    /// The result of the claim.
    pub fn check(&self, work: &Dir, cache: &Cache) -> Result<(), Claim> {
        CacheEntry::find(work, cache).map(drop).map_err(Claim::from)
    }

    /// Opens what the rename needs.
    ///
    /// # Errors
    /// The result of the claim.
    pub fn prepare<'c>(
        self,
        work: &Dir,
        work_owner: Uid,
        cache: &'c Cache,
    ) -> Result<PreparedClaim<'c>, Claim> {
        let trash =
            Trash::open(work, work_owner).and_then(|trash| trash.ok_or(io::ErrorKind::NotFound.into()));
        let trash = trash.map_err(overtaken)?;
        let slot = trash.open_slot(&self.slot, self.id).map_err(overtaken)?;
        let opened = CacheEntry::find(work, cache).and_then(|place| {
            let within = match &cache.part {
                Part::Whole => None,
                Part::Files(_) | Part::Units(_) => Some(place.parent.descend(&place.name)?),
            };
            Ok((place, within))
        });
        match opened {
            Ok((place, within)) => Ok(PreparedClaim { place, cache, trash, slot, within }),
            Err(mismatch) => {
                trash.discard(&self.slot);
                Err(mismatch.into())
            }
        }
    }

    /// Leaves everything as it is.
    pub fn discard(self, work: &Dir, work_owner: Uid) {
        if let Ok(Some(trash)) = Trash::open(work, work_owner) {
            trash.discard(&self.slot);
        }
    }
}

/// Why a slot that was made before can no longer be opened.
fn overtaken(error: io::Error) -> Claim {
    match error.kind() {
        io::ErrorKind::NotFound => Claim::Changed(OVERTAKEN.to_owned()),
        _ => Claim::Failed(error),
    }
}

impl<'c> PreparedClaim<'c> {
    fn claim(self, recheck: &mut Recheck<'_>) -> Claim {
        let doubts = recheck(Phase::Before);
        if !doubts.is_empty() {
            return self.refuse(doubts);
        }
        match self.rename() {
            Ok(renamed) => {
                let doubts = recheck(Phase::After(renamed.tree()));
                renamed.settle(doubts)
            }
            Err(outcome) => outcome,
        }
    }

    /// Leaves everything as it is.
    pub fn refuse(self, doubts: Vec<Evidence>) -> Claim {
        self.trash.discard(&self.slot.name);
        Claim::Refused(doubts)
    }

    /// Renames it into its slot, and compares.
    ///
    /// # Errors
    /// The result of the claim.
    pub fn rename(self) -> Result<Renamed<'c>, Claim> {
        let taken = match &self.within {
            None => self.place.take(&self.slot.dir, OsStr::new(TREE), self.cache).map(Taken::Whole),
            Some(within) => Members::take(within, &self.slot, &self.cache.part).map(Taken::Members),
        };
        match taken {
            Ok(what) => Ok(Renamed { prepared: self, what }),
            Err(outcome) => {
                self.trash.discard(&self.slot.name);
                Err(outcome)
            }
        }
    }
}

impl Renamed<'_> {
    /// Where it is now: the tree, or the slot that holds the members.
    pub fn tree(&self) -> &Dir {
        match &self.what {
            Taken::Whole(tree) => tree,
            Taken::Members(_) => &self.prepared.slot.dir,
        }
    }

    /// Any doubt moves it back; otherwise it is claimed.
    pub fn settle(self, doubts: Vec<Evidence>) -> Claim {
        let Self { prepared: PreparedClaim { place, cache, trash, slot, .. }, what } = self;
        match what {
            Taken::Whole(_) if !doubts.is_empty() => {
                match place.put_back(&slot.dir, OsStr::new(TREE), &place.name) {
                    Restored::Done => {
                        trash.discard(&slot.name);
                        return Claim::Restored(doubts);
                    }
                    // Its runner has created a new one in its place, or has fenced it: then it stays in trash.
                    Restored::Failed => {}
                }
            }
            Taken::Whole(_) => {}
            Taken::Members(members) => return members.settle(trash.into_dir(), slot, &cache.part, doubts),
        }
        Claim::Claimed(Claimed {
            trash_claim: TrashClaim::take(&slot.dir),
            parent: slot.dir,
            name: TREE.into(),
            slot: Some(slot.name),
            part: Part::Whole,
        })
    }
}

/// Where a cache is now.
struct CacheEntry {
    /// Shared by all that are claimed from one directory: there may be more of them than a process may have files open.
    parent: Rc<Dir>,
    name: OsString,
}

impl CacheEntry {
    /// Opens the cache's parent and makes sure that the cache in it is the one that was planned.
    fn find(work: &Dir, cache: &Cache) -> Result<Self, Mismatch> {
        let name = cache.below_work.file_name().ok_or(Mismatch::Nameless)?.to_owned();
        let above = cache.below_work.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let parent =
            work.descend(above).map_err(|error| Mismatch::Closed(above.display().to_string(), error))?;
        // By opening it: stat(2) on a mount point and on the mounted directory look alike, but a mount point cannot be opened from here.
        let found = parent.descend(&name).and_then(|dir| dir.status())?;
        compare(&found, cache)?;
        Ok(Self { parent: Rc::new(parent), name })
    }

    /// Renames the cache to `target` in `into`, and returns its handle if it matches the plan. Otherwise it is moved back.
    fn take(&self, into: &Dir, target: &OsStr, cache: &Cache) -> Result<Dir, Claim> {
        match renameat_with(&self.parent, &self.name, into, target, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // The cache is gone, the slot has been removed, or the name beside it is occupied.
            Err(Errno::NOENT | Errno::EXIST) => return Err(Claim::Changed(OVERTAKEN.to_owned())),
            Err(error) => return Err(Claim::Failed(error.into())),
        }
        let found = into.descend(target).and_then(|tree| Ok((tree.status()?, tree)));
        let compared =
            found.map_err(Mismatch::from).and_then(|(found, tree)| compare(&found, cache).map(|()| tree));
        compared.map_err(|mismatch| match self.put_back(into, target, &self.name) {
            Restored::Done => mismatch.into(),
            // A tree that does not match the plan is never trash, whatever occupies its place by now.
            Restored::Failed => Claim::Changed(self.set_aside(into, target, &mismatch.to_string())),
        })
    }

    /// The same without a slot, in the cache's own parent.
    fn take_beside(
        &self,
        lock: &ExclusiveLock,
        work: &Dir,
        cache: &Cache,
        recheck: &mut Recheck<'_>,
    ) -> Claim {
        let above = cache.below_work.parent().unwrap_or(Path::new(""));
        let beside = match InPlaceClaim::announce(lock, work, above, &self.parent) {
            Ok(beside) => beside,
            Err(error) => return Claim::Failed(error),
        };
        let doubts = recheck(Phase::Before);
        if !doubts.is_empty() {
            beside.discard();
            return Claim::Refused(doubts);
        }
        let tree = match self.take(&beside.parent, &beside.name, cache) {
            Ok(tree) => tree,
            Err(outcome) => {
                beside.discard();
                return outcome;
            }
        };
        let doubts = recheck(Phase::After(&tree));
        // If it cannot be moved back it stays in trash, as in a slot.
        if !doubts.is_empty()
            && matches!(self.put_back(&beside.parent, &beside.name, &self.name), Restored::Done)
        {
            beside.discard();
            return Claim::Restored(doubts);
        }
        match beside.parent.try_clone() {
            Ok(parent) => Claim::Claimed(Claimed {
                trash_claim: TrashClaim::take(&tree),
                parent,
                name: beside.name.clone(),
                slot: None,
                part: Part::Whole,
            }),
            // Out of descriptors: it is trash, and the next run deletes it.
            Err(error) => Claim::Failed(error),
        }
    }

    /// Moves a tree that does not match the plan, and whose place is occupied meanwhile, to a name beside it, and reports that. If a hook
    /// has fenced it, it is out of reach.
    fn set_aside(&self, from: &Dir, name: &OsStr, reason: &str) -> String {
        let beside = unique(RETURNED);
        match self.put_back(from, name, &beside) {
            Restored::Done => format!("{reason}; it is kept beside it as {}", beside.display()),
            Restored::Failed => reason.to_owned(),
        }
    }

    /// Moves it back to this name, unless the name is occupied.
    fn put_back(&self, from: &Dir, name: &OsStr, back: &OsStr) -> Restored {
        match renameat_with(from, name, &self.parent, back, RenameFlags::NOREPLACE) {
            Ok(()) => Restored::Done,
            Err(_) => Restored::Failed,
        }
    }
}

/// Two subvolumes of one filesystem, or two mounts of one directory.
fn is_elsewhere(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::CrossesDevices
}

enum Restored {
    Done,
    Failed,
}

/// Why an entry is not the cache that was planned.
#[derive(Debug, thiserror::Error)]
enum Mismatch {
    #[error("it has no name")]
    Nameless,
    #[error("{0} cannot be opened: {1}")]
    Closed(String, io::Error),
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error("it is no longer a directory")]
    NoDirectory,
    #[error("it was replaced by another directory")]
    Replaced,
    #[error("its owner changed from uid {0} to uid {1}")]
    Owner(Uid, Uid),
}

impl From<Mismatch> for Claim {
    fn from(mismatch: Mismatch) -> Self {
        Self::Changed(mismatch.to_string())
    }
}

fn compare(found: &Status, cache: &Cache) -> Result<(), Mismatch> {
    if !found.is_dir() {
        Err(Mismatch::NoDirectory)
    } else if found.id != cache.id {
        Err(Mismatch::Replaced)
    } else if found.owner != cache.owner {
        Err(Mismatch::Owner(cache.owner, found.owner))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
