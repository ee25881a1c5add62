//! What is done with a claimed tree, in one order for every caller:
//!
//! ```text
//! claimed under the lock -> reported -> deleted outside it -> slot discarded -> outcome reported -> marked as reported
//! ```
//! A run that ends between two steps loses nothing: the tree is in trash, and whoever finds it there deletes it and reports it.

use super::claim::Claimed;
use super::confinement::Confinement;
use super::in_hand::InHand;
use super::remove_tree::{Extent, Options, Progress};
use super::trash::Trash;
use crate::lock::ExclusiveLock;
use crate::model::{Action, ActionResult, Cache, Outcome, Uid};
use crate::sys::dir::Dir;
use std::any::Any;
use std::borrow::Borrow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Threads that delete one tree.
pub const THREADS: usize = 2;

/// The steps that are reported while they happen.
#[derive(Debug)]
pub enum Step<'s> {
    /// The tree lies in trash.
    Claimed(&'s Action),
    /// A tree is going to be deleted.
    Deleting {
        /// Where it lay; of unfinished trash, where it lies.
        what: &'s Path,
        /// How many files it holds, where that is known.
        files: Option<u64>,
        /// How many bytes.
        bytes: u64,
        /// Counts along.
        progress: &'s Arc<Progress>,
    },
    /// The end: what became of it, and how long that took.
    Ended(&'s Outcome, Duration),
}

/// Gets each step as it happens.
pub trait Steps {
    /// One step. What is returned for [`Step::Deleting`] is dropped when the deletion has ended.
    fn step(&mut self, step: Step<'_>) -> Option<Box<dyn Any>>;
}

/// A tree that was claimed under the lock and lies in trash.
#[derive(Debug)]
pub struct Tree<W: Borrow<Dir>> {
    action: Action,
    work: W,
    claimed: Claimed,
}

impl<W: Borrow<Dir>> Tree<W> {
    /// Takes over what was claimed under `lock`, below `work`.
    pub fn new(_lock: &ExclusiveLock, action: &Action, work: W, claimed: Claimed) -> Self {
        let cache = Cache { part: claimed.part.clone(), ..action.cache.clone() };
        Self { action: Action { cache, ..action.clone() }, work, claimed }
    }

    /// What was planned, narrowed down to what was claimed.
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

    /// Deletes it and discards its slot. Call it without the lock: trees may be large.
    pub fn delete(self, confinement: &Confinement, deadline: Instant, steps: &mut dyn Steps) -> Deleted<W> {
        let begun = Instant::now();
        let Self { action, work, claimed } = self;
        let cache = &action.cache;
        let what =
            Deletion { path: &cache.path, files: cache.measure.map(|m| m.files), bytes: cache.bytes() };
        let extent = what.delete(steps, deadline, |options| {
            confinement.delete((&claimed.parent, &claimed.name), &cache.largest, options)
        });
        let owner: Option<Uid> = cache.base(&action.runner).map(|dir| dir.owner);
        if let (Some(slot), Some(owner)) = (&claimed.slot, owner)
            && let Ok(Some(trash)) = Trash::open(work.borrow(), owner)
        {
            trash.discard(slot);
        }
        Deleted { action, work, extent, in_hand: claimed.in_hand, begun }
    }
}

/// What is deleted, as it is shown meanwhile.
#[derive(Debug)]
pub struct Deletion<'t> {
    /// Where it lay; of unfinished trash, where it lies.
    pub path: &'t Path,
    /// How many files it holds, where that is known.
    pub files: Option<u64>,
    /// How many bytes.
    pub bytes: u64,
}

impl Deletion<'_> {
    /// Runs a deletion while its progress is reported.
    pub fn delete(
        &self,
        steps: &mut dyn Steps,
        deadline: Instant,
        deletion: impl FnOnce(&Options<'_>) -> Extent,
    ) -> Extent {
        let progress = Arc::new(Progress::default());
        let (what, files, bytes) = (self.path, self.files, self.bytes);
        let _shown = steps.step(Step::Deleting { what, files, bytes, progress: &progress });
        deletion(&Options { threads: THREADS, deadline: Some(deadline), progress: &progress })
    }
}

/// A tree whose deletion has ended, until its outcome is reported.
#[derive(Debug)]
pub struct Deleted<W: Borrow<Dir>> {
    action: Action,
    work: W,
    extent: Extent,
    in_hand: Option<InHand>,
    begun: Instant,
}

impl<W: Borrow<Dir>> Deleted<W> {
    /// How much of it is gone.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Reports the outcome, marks what is gone as reported, and returns the outcome with the handle of the work directory.
    pub fn report(self, result: ActionResult, steps: &mut dyn Steps) -> (Outcome, W) {
        let outcome = Outcome { action: self.action, result };
        steps.step(Step::Ended(&outcome, self.begun.elapsed()));
        let is_gone = matches!(self.extent, Extent::Whole);
        self.in_hand.filter(|_| is_gone).into_iter().for_each(InHand::told);
        (outcome, self.work)
    }
}
