//! Claiming a cache: one rename under the host lock, checked before and after.
//!
//! ```text
//! slot made -> cache opened and compared -> doubt? -> renamed into the slot -> compared again -> doubt? -> claimed
//! ```
//! Whatever does not compare, and any doubt, puts the tree back where it was. What does not compare and finds its place taken
//! stays beside it under another name: it is not what was planned, so it is not deleted. The lock is held for a few renames, whatever
//! the size of the trees. What "doubt" is, the caller knows: it looks again at the evidence each time it is asked.

#![expect(clippy::disallowed_methods, reason = "this is where renaming and removing belong")]

mod files;

use super::beside::Beside;
use super::in_hand::InHand;
use super::trash::{TREE, Trash, is_full, unique};
use crate::lock::ExclusiveLock;
use crate::model::{Cache, Evidence, Part, Uid};
use crate::sys::dir::{Dir, Status};
use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::rc::Rc;

/// What was moved by mistake and cannot have its place back lies beside it under a name that begins so.
const RETURNED: &str = "returned-by-disk-guard-";

/// What a claim came to.
#[derive(Debug)]
pub enum Claim {
    /// The tree lies in trash.
    Claimed(Claimed),
    /// Doubt before the rename: nothing was touched.
    Refused(Vec<Evidence>),
    /// Doubt after the rename: it is back in its place.
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
    /// That the claimer tells of it. `None` when somebody else has the lock, who cannot be a guard: it is told all the same.
    pub in_hand: Option<InHand>,
    /// What it is of the cache: of some of its files, those that were what was planned.
    pub part: Part,
}

/// A second look at the evidence, by the caller.
pub type Doubt<'a> = dyn FnMut(Moment<'_>) -> Vec<Evidence> + 'a;

/// When doubt is asked for, and where the tree is then.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
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
    doubt: &mut Doubt<'_>,
) -> Claim {
    let place = match Place::find(work, cache) {
        Ok(place) => place,
        Err(reason) => return Claim::Changed(reason),
    };
    if !matches!(cache.part, Part::Whole) {
        return place.take_members(work, work_owner, &cache.part, doubt);
    }
    // The slot comes before the look at the evidence: a hook that removes it has overtaken that look.
    let outcome = match Trash::open_or_make(work, work_owner).and_then(|t| Ok((t.make_slot()?, t))) {
        Ok((slot, trash)) => match place.take(&slot.dir, OsStr::new(TREE), cache, doubt) {
            Ok(()) => Claim::Claimed(Claimed {
                in_hand: InHand::take(&slot.dir),
                parent: slot.dir,
                name: TREE.into(),
                slot: Some(slot.name),
                part: Part::Whole,
            }),
            Err(outcome) => {
                trash.discard(&slot.name);
                outcome
            }
        },
        Err(error) => Claim::Failed(error),
    };
    match outcome {
        // No inode and no spare, or no room in the slot: a rename within the parent directory needs neither. Leftovers of it
        // are looked for in work directories alone.
        Claim::Failed(error) if is_full(&error) && cache.base.is_none() => {
            place.take_beside(lock, work, cache, doubt)
        }
        outcome => outcome,
    }
}

/// Where a cache lies now.
struct Place {
    /// Shared by all that are claimed from one directory: there may be more of them than a process may have files open.
    parent: Rc<Dir>,
    name: OsString,
}

impl Place {
    /// Opens the cache's parent and makes sure that the cache in it is the one that was planned.
    fn find(work: &Dir, cache: &Cache) -> Result<Self, String> {
        let name = cache.below_work.file_name().ok_or("it has no name")?.to_owned();
        let above = cache.below_work.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let parent =
            work.descend(above).map_err(|error| format!("{} cannot be opened: {error}", above.display()))?;
        // By opening it: a mount point has the same status as what is mounted, but cannot be opened from here.
        let found = parent.descend(&name).and_then(|dir| dir.status()).map_err(|error| error.to_string())?;
        compare(&found, cache)?;
        Ok(Self { parent: Rc::new(parent), name })
    }

    /// Renames the cache to `target` in `into`, with the checks around it.
    fn take(&self, into: &Dir, target: &OsStr, cache: &Cache, doubt: &mut Doubt<'_>) -> Result<(), Claim> {
        let doubts = doubt(Moment::Before);
        if !doubts.is_empty() {
            return Err(Claim::Refused(doubts));
        }
        match renameat_with(&self.parent, &self.name, into, target, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // The cache is not there, the slot has been removed, or the name beside has been taken.
            Err(Errno::NOENT | Errno::EXIST) => {
                return Err(Claim::Changed(
                    "its runner began a job, or it was removed, before it could be claimed".into(),
                ));
            }
            Err(error) => return Err(Claim::Failed(error.into())),
        }
        let found = into.descend(target).and_then(|tree| Ok((tree.status()?, tree)));
        let compared = found
            .map_err(|error| error.to_string())
            .and_then(|(found, tree)| compare(&found, cache).map(|()| tree));
        let (doubts, changed) = match compared {
            Ok(tree) => (doubt(Moment::After(&tree)), None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        if doubts.is_empty() && changed.is_none() {
            return Ok(());
        }
        match (self.put_back(into, target, &self.name), changed) {
            (PutBack::Done, None) => Err(Claim::Restored(doubts)),
            (PutBack::Done, Some(reason)) => Err(Claim::Changed(reason)),
            // Its runner has begun anew in its place, or has fenced it off: then it is trash for good.
            (PutBack::Failed, None) => Ok(()),
            // Not what was planned is not trash, whatever stands in its place by now.
            (PutBack::Failed, Some(reason)) => Err(Claim::Changed(self.set_aside(into, target, &reason))),
        }
    }

    /// The same without a slot, in the cache's own parent.
    fn take_beside(&self, lock: &ExclusiveLock, work: &Dir, cache: &Cache, doubt: &mut Doubt<'_>) -> Claim {
        let above = cache.below_work.parent().unwrap_or(Path::new(""));
        let beside = match Beside::announce(lock, work, above, &self.parent) {
            Ok(beside) => beside,
            Err(error) => return Claim::Failed(error),
        };
        match (self.take(&beside.parent, &beside.name, cache, doubt), beside.parent.try_clone()) {
            (Ok(()), Ok(parent)) => {
                let tree = parent.descend(&beside.name).ok();
                Claim::Claimed(Claimed {
                    in_hand: tree.as_ref().and_then(InHand::take),
                    parent,
                    name: beside.name.clone(),
                    slot: None,
                    part: Part::Whole,
                })
            }
            // Out of descriptors: it is trash, and the next run deletes it.
            (Ok(()), Err(error)) => Claim::Failed(error),
            (Err(outcome), _) => {
                beside.discard();
                outcome
            }
        }
    }

    /// Gives what is not what was planned, and whose place has been taken meanwhile, a name beside it, and says so. What a hook
    /// has fenced off is out of reach.
    fn set_aside(&self, from: &Dir, name: &OsStr, reason: &str) -> String {
        let beside = unique(RETURNED);
        match self.put_back(from, name, &beside) {
            PutBack::Done => format!("{reason}; it lies beside as {}", beside.display()),
            PutBack::Failed => reason.to_owned(),
        }
    }

    /// Puts it back under this name, unless something has it.
    fn put_back(&self, from: &Dir, name: &OsStr, back: &OsStr) -> PutBack {
        match renameat_with(from, name, &self.parent, back, RenameFlags::NOREPLACE) {
            Ok(()) => PutBack::Done,
            Err(_) => PutBack::Failed,
        }
    }
}

enum PutBack {
    Done,
    Failed,
}

fn compare(found: &Status, cache: &Cache) -> Result<(), String> {
    if !found.is_dir() {
        Err("it is no longer a directory".to_owned())
    } else if found.id != cache.id {
        Err("another directory has taken its place".to_owned())
    } else if found.owner != cache.owner {
        Err(format!("its owner changed from uid {} to uid {}", cache.owner, found.owner))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
