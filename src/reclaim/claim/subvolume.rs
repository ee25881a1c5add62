//! Claiming some entries of a cache in a subvolume of its own, out of which nothing can be renamed: their slot is in the topmost directory
//! of that subvolume (see [`crate::reclaim::in_place_claim`]). The steps are those of every claim, in the same order: the slot, the look,
//! the renames, the look.

use super::files::Members;
use super::{CacheEntry, Claim, Phase, Recheck};
use crate::lock::ExclusiveLock;
use crate::model::{Cache, Part, Uid};
use crate::reclaim::in_place_claim::InPlaceClaim;
use crate::sys::dir::Dir;
use std::io;
use std::path::{Path, PathBuf};

/// Claims some entries of the cache at `place`.
pub(super) fn claim(
    place: CacheEntry,
    (lock, work, work_owner): (&ExclusiveLock, &Dir, Uid),
    cache: &Cache,
    recheck: &mut Recheck<'_>,
) -> Claim {
    let opened = place.parent.descend(&place.name);
    let found = opened.and_then(|within| Ok((top_of_subvolume(work, cache)?, within)));
    let ((below, top), within) = match found {
        Ok(found) => found,
        Err(error) => return Claim::Changed(error.to_string()),
    };
    let parent = match top.try_clone() {
        Ok(parent) => parent,
        Err(error) => return Claim::Failed(error),
    };
    let beside = match InPlaceClaim::announce_slot(lock, work, &below, &top) {
        Ok(beside) => beside,
        Err(error) => return Claim::Failed(error),
    };
    let slot = match beside.make_slot(work_owner) {
        Ok(slot) => slot,
        Err(error) => {
            beside.discard();
            return Claim::Failed(error);
        }
    };
    let doubts = recheck(Phase::Before);
    if !doubts.is_empty() {
        beside.discard();
        return Claim::Refused(doubts);
    }
    match Members::take(&within, &slot, &cache.part) {
        Ok(members) => {
            let doubts = recheck(Phase::After(&slot.dir));
            members.settle(parent, slot, &cache.part, doubts)
        }
        Err(outcome) => {
            beside.discard();
            outcome
        }
    }
}

/// The first directory on the way from the work directory to the claimed entries that is on the same device as they are: for a checkout
/// that is a subvolume its root, where a hook's script looks for slots as well.
fn top_of_subvolume(work: &Dir, cache: &Cache) -> io::Result<(PathBuf, Dir)> {
    let first = match &cache.part {
        Part::Whole => None,
        Part::Files(members) => members.first(),
        Part::Units(trim) => trim.members.first(),
    };
    let holder = first.map_or_else(PathBuf::new, |member| cache.below_work.join(&member.within));
    let device = work.descend(&holder)?.status()?.id.dev;
    // On the work directory's own device the obstacle is a quota, and the cache's parent has the same quota as the cache.
    let above = cache.below_work.parent().filter(|above| !above.as_os_str().is_empty());
    let mut below = above.unwrap_or(Path::new(".")).to_owned();
    if work.status()?.id.dev != device {
        below.clear();
        for name in holder.iter() {
            below.push(name);
            if work.descend(&below)?.status()?.id.dev == device {
                break;
            }
        }
    }
    let top = work.descend(&below)?;
    Ok((below, top))
}
