//! The steps after a claim, in one order for every caller:
//!
//! ```text
//! claimed under the lock -> reported -> deleted outside it -> slot discarded -> outcome reported -> marked as reported
//! ```
//!
//! A run that ends between two steps loses nothing: the tree is in trash, and the next run deletes and reports it.

use super::claim::Claimed;
use super::confinement::Confinement;
use super::remove_tree::{self, Enough, Progress, RemovalExtent, RemoveError, RemoveOptions};
use super::trash::Trash;
use super::trash_claim::TrashClaim;
use crate::lock::ExclusiveLock;
use crate::model::{Action, ActionResult, Cache, Measure, Outcome, Uid};
use crate::sys::btrfs;
use crate::sys::dir::Dir;
use std::any::Any;
use std::borrow::Borrow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Threads that delete one tree.
pub const THREADS: usize = 2;

/// The steps that are reported while they happen.
#[derive(Debug)]
pub enum Step<'s> {
    /// The tree is in trash.
    Claimed(&'s Action),
    /// A tree is going to be deleted.
    Deleting {
        /// Its original place; of unfinished trash, its place in trash.
        what: &'s Path,
        /// How many files it holds, where that is known.
        files: Option<u64>,
        /// How many bytes.
        bytes: u64,
        /// Counts along.
        progress: &'s Arc<Progress>,
    },
    /// The end: the outcome, and how long it took.
    Ended(&'s Outcome, Duration),
}

/// Receives each step as it happens.
pub trait Steps {
    /// One step. The value returned for [`Step::Deleting`] is dropped when the deletion has ended.
    fn step(&mut self, step: Step<'_>) -> Option<Box<dyn Any>>;
}

/// When a deletion ends before its tree is gone.
#[derive(Debug, Clone, Copy)]
pub struct Until<'a> {
    /// At this time.
    pub deadline: Instant,
    /// When this returns true; asked for large trees only.
    pub enough: Option<Enough<'a>>,
}

impl From<Instant> for Until<'_> {
    fn from(deadline: Instant) -> Self {
        Self { deadline, enough: None }
    }
}

/// A smaller tree is deleted to its end: that takes some milliseconds and leaves nothing behind.
const SMALL: u64 = 1000;

/// Whether a tree is large enough to leave a part of it.
pub fn is_large(measure: Measure) -> bool {
    measure.files + measure.directories > SMALL
}

/// A tree that was claimed under the lock and lies in trash.
#[derive(Debug)]
pub struct ClaimedTree<W: Borrow<Dir>> {
    action: Action,
    work: W,
    claimed: Claimed,
    progress: Arc<Progress>,
}

impl<W: Borrow<Dir>> ClaimedTree<W> {
    /// Takes over what was claimed under `lock`, below `work`.
    pub fn new(_lock: &ExclusiveLock, action: &Action, work: W, claimed: Claimed) -> Self {
        let cache = Cache { part: claimed.part.clone(), ..action.cache.clone() };
        Self { action: Action { cache, ..action.clone() }, work, claimed, progress: Arc::default() }
    }

    /// The plan, reduced to what was claimed.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The directory that it was claimed in.
    pub fn work(&self) -> &Dir {
        self.work.borrow()
    }

    /// Reports the claim.
    pub fn report(&self, steps: &mut dyn Steps) {
        steps.step(Step::Claimed(&self.action));
    }

    /// The name of its slot in the trash, if it has one.
    pub fn slot(&self) -> Option<&Path> {
        self.claimed.slot.as_deref().map(Path::new)
    }

    /// Deletes the largest files of several trees, the largest of all first. A subvolume is deleted as a whole, later.
    pub fn delete_largest(trees: &[Self], confinement: &Confinement, until: Until<'_>) {
        let trees: Vec<remove_tree::Tree<'_>> = trees
            .iter()
            .filter(|tree| !btrfs::is_on_btrfs(tree.work()))
            .map(|tree| remove_tree::Tree {
                parent: &tree.claimed.parent,
                name: &tree.claimed.name,
                largest: &tree.action.cache.largest,
                progress: &tree.progress,
            })
            .collect();
        let Until { deadline, enough } = until;
        let progress = &Progress::default();
        confinement.delete_largest(
            &trees,
            &RemoveOptions { threads: THREADS, deadline: Some(deadline), enough, progress },
        );
    }

    /// Deletes it and discards its slot. Call it without the lock: trees may be large.
    pub fn delete<'u>(
        self,
        confinement: &Confinement,
        until: impl Into<Until<'u>>,
        steps: &mut dyn Steps,
    ) -> Deleted<W> {
        let begun = Instant::now();
        let Self { mut action, work, claimed, progress } = self;
        let mut until = until.into();
        until.enough = until.enough.filter(|_| action.cache.measure.is_some_and(is_large));
        let cache = &action.cache;
        let what = Deletion {
            path: &cache.path,
            files: cache.measure.map(|m| m.files),
            bytes: cache.bytes(),
            progress: &progress,
        };
        let extent = what.delete(steps, until, |options| {
            confinement.delete((&claimed.parent, &claimed.name), &cache.largest, options)
        });
        let owner: Option<Uid> = cache.base(&action.runner).map(|dir| dir.owner);
        if let (Some(slot), Some(owner)) = (&claimed.slot, owner)
            && let Ok(Some(trash)) = Trash::open(work.borrow(), owner)
        {
            trash.discard(slot);
        }
        if let (RemovalExtent::Part { first: RemoveError::Enough { .. }, .. }, Some(measure)) =
            (&extent, &mut action.cache.measure)
        {
            // The run that deletes the rest reports that.
            measure.bytes = progress.bytes.load(Ordering::Relaxed);
        }
        Deleted { action, work, extent, trash_claim: claimed.trash_claim, begun }
    }
}

/// What is deleted, as it is shown meanwhile.
#[derive(Debug)]
pub struct Deletion<'t> {
    /// Its original place; of unfinished trash, its place in trash.
    pub path: &'t Path,
    /// How many files it holds, where that is known.
    pub files: Option<u64>,
    /// How many bytes.
    pub bytes: u64,
    /// Counts along.
    pub progress: &'t Arc<Progress>,
}

impl Deletion<'_> {
    /// Runs a deletion while its progress is reported.
    pub fn delete(
        &self,
        steps: &mut dyn Steps,
        until: Until<'_>,
        deletion: impl FnOnce(&RemoveOptions<'_>) -> RemovalExtent,
    ) -> RemovalExtent {
        let (what, files, bytes, progress) = (self.path, self.files, self.bytes, self.progress);
        let _shown = steps.step(Step::Deleting { what, files, bytes, progress });
        let Until { deadline, enough } = until;
        deletion(&RemoveOptions { threads: THREADS, deadline: Some(deadline), enough, progress })
    }
}

/// A tree whose deletion has ended, until its outcome is reported.
#[derive(Debug)]
pub struct Deleted<W: Borrow<Dir>> {
    action: Action,
    work: W,
    extent: RemovalExtent,
    trash_claim: Option<TrashClaim>,
    begun: Instant,
}

impl<W: Borrow<Dir>> Deleted<W> {
    /// How much of it is gone.
    pub fn extent(&self) -> &RemovalExtent {
        &self.extent
    }

    /// Reports the outcome, marks the deleted tree as reported, and returns the outcome with the handle of the work directory.
    pub fn report(self, result: ActionResult, steps: &mut dyn Steps) -> (Outcome, W) {
        let outcome = Outcome { action: self.action, result };
        steps.step(Step::Ended(&outcome, self.begun.elapsed()));
        let is_gone = matches!(self.extent, RemovalExtent::Whole);
        self.trash_claim.filter(|_| is_gone).into_iter().for_each(TrashClaim::told);
        (outcome, self.work)
    }
}
