//! Unfinished trash: what earlier runs have left, what other guards have claimed and not yet deleted, and what was claimed in its
//! own place.

use super::{Cycle, CycleError, Role, SweepState, acting_as};
use crate::model::{FilesystemId, HostFacts, Runner, Uid, WorkDir};
use crate::observe::caches::open_work;
use crate::observe::measure::{self, measure};
use crate::observe::sizing::LARGEST;
use crate::reclaim::confinement::Confinement;
use crate::reclaim::execute::{Deletion, THREADS, Until, is_large};
use crate::reclaim::remove_tree::{Enough, RemovalExtent, RemoveError};
use crate::reclaim::trash::Trash;
use crate::reclaim::trash_claim::TrashClaim;
use crate::sys::dir::Dir;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Cycle<'_> {
    /// Deletes the trash of earlier runs, and trash that other guards have claimed and not yet deleted.
    pub(super) fn empty_trash(
        &mut self,
        holders: &[Runner],
        state: &mut SweepState,
    ) -> Result<(), CycleError> {
        let found = {
            // Under the lock no claim is under way that might still put its tree back.
            let lock = self.shared()?;
            state.last_claims = lock.last_claims();
            let works = self.works_in_reach(holders);
            works.iter().filter_map(trash_of).for_each(|trash| trash.clear_abandoned());
            works.iter().flat_map(|work| untried(work, state)).collect::<Vec<_>>()
        };
        if found.is_empty() {
            return Ok(());
        }
        let confinement = self.confinement(holders.iter(), state);
        for (work, name) in found {
            // A flood of it takes no more than a run's own time: what is left waits for the next run.
            if Instant::now() > self.deadline {
                break;
            }
            let tried = Path::new(&name);
            if open_work(&work).is_ok_and(|dir| self.patience(state).is_over([(work.filesystem, &dir)])) {
                continue;
            }
            if state.has_tried(work.id, tried) {
                continue;
            }
            // Opened one after the other: there may be more of them than a process may have files open.
            if let Some(trash) = trash_of(&work) {
                let path = work.path.join(".disk-guard/trash").join(&name);
                self.delete_trash(&confinement, (trash.dir(), &name), (&path, work.filesystem), state);
            }
            state.tried_trash.entry(work.id).or_default().insert(tried.to_owned());
        }
        Ok(())
    }

    /// Whether another guard has claimed something since the last look: its space will be free soon.
    pub(super) fn newly_claimed(&self, facts: &HostFacts, state: &SweepState) -> bool {
        let runners: Vec<Runner> = holders(facts).cloned().collect();
        self.works_in_reach(&runners).iter().any(|work| !untried(work, state).is_empty())
    }

    /// The work directories whose trash is this run's business: all of them in a sweep, those on its own filesystem for a
    /// hook; and of either only what this user can delete from. In a sweep also the runners' roots, where retention claims.
    fn works_in_reach(&self, runners: &[Runner]) -> Vec<WorkDir> {
        let filesystem = match &self.actor {
            Role::Sweep => None,
            Role::Hook { root, .. } | Role::SelfClean { root, .. } => {
                let own = runners.iter().find(|runner| runner.root_id == *root).and_then(Runner::work_dir);
                own.map(|work| work.filesystem)
            }
        };
        let me = acting_as();
        let mut seen = HashSet::new();
        let works = runners.iter().filter_map(Runner::work_dir).cloned();
        let roots = runners.iter().filter(|_| matches!(self.actor, Role::Sweep)).map(Runner::root_dir);
        works
            .chain(roots)
            .filter(|work| filesystem.is_none_or(|fs| fs == work.filesystem))
            .filter(|work| me == Uid::ROOT || work.owner == me)
            .filter(|work| seen.insert(work.id))
            .collect()
    }

    pub(super) fn delete_trash(
        &mut self,
        confinement: &Confinement,
        (parent, name): (&Dir, &OsStr),
        (path, on): (&Path, FilesystemId),
        state: &mut SweepState,
    ) {
        let entry = match parent.descend(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            entry => entry.ok(),
        };
        let mut trash_claim = entry.as_ref().and_then(TrashClaim::take);
        let sizing =
            measure::MeasureOptions { threads: THREADS, largest: LARGEST, deadline: Some(self.deadline) };
        let (size, largest) = match parent.descend(name).and_then(|tree| measure(&tree, &sizing)) {
            Ok(scan) => (Some(scan.measure), scan.largest),
            Err(_) => (None, Vec::new()),
        };
        let bytes = size.map_or(0, |size| size.bytes);
        let progress = Arc::default();
        let deletion = Deletion { path, files: size.map(|size| size.files), bytes, progress: &progress };
        let patience = self.patience(state);
        let is_enough = || patience.is_over([(on, parent)]);
        let enough = size.is_none_or(is_large).then_some(Enough(&is_enough));
        let until = Until { deadline: self.deadline, enough };
        let extent = deletion
            .delete(self.events, until, |options| confinement.delete((parent, name), &largest, options));
        if let (Some(entry), None) = (&entry, &trash_claim) {
            trash_claim = TrashClaim::inherit(entry);
            if trash_claim.is_none() {
                // A living guard is deleting it, perhaps suspended: it was helped, and reports it itself.
                return;
            }
        }
        match extent {
            RemovalExtent::Whole => {
                state.giving.add(on, bytes);
                self.events.trash(path, bytes, None);
                trash_claim.into_iter().for_each(TrashClaim::told);
            }
            // The run that deletes the rest reports it.
            RemovalExtent::Part { first: RemoveError::Enough { .. }, .. } => {
                state.giving.add(on, progress.bytes.load(Ordering::Relaxed));
            }
            RemovalExtent::Part { first, .. } => self.events.trash(path, bytes, Some(&first.explained())),
        }
    }
}

/// The runners, and what declared caches are claimed from.
pub(super) fn holders(facts: &HostFacts) -> impl Iterator<Item = &Runner> {
    let declared = facts.declared.iter().map(|declared| &declared.stand_in.runner);
    facts.runners.iter().map(|runner| &runner.runner).chain(declared)
}

/// The entries of one work directory's trash that this run has not tried to delete yet.
fn untried(work: &WorkDir, state: &SweepState) -> Vec<(WorkDir, OsString)> {
    let names = trash_of(work).and_then(|trash| trash.entries().ok()).unwrap_or_default();
    let fresh = names.into_iter().filter(|name| !state.has_tried(work.id, Path::new(name)));
    fresh.map(|name| (work.clone(), name)).collect()
}

fn trash_of(work: &WorkDir) -> Option<Trash> {
    open_work(work).and_then(|dir| Trash::open(&dir, work.owner)).ok().flatten()
}

/// What was claimed in its own place and not deleted.
pub(super) struct UndeletedClaim<'f> {
    pub(super) work: &'f WorkDir,
    pub(super) below: &'f Path,
}

impl<'f> UndeletedClaim<'f> {
    /// The directory that holds it, and its name there. Opened when it is needed: there may be thousands.
    pub(super) fn open(&self) -> Option<(Dir, &'f OsStr)> {
        let above = self.below.parent().unwrap_or(Path::new("."));
        let parent = open_work(self.work).and_then(|dir| dir.descend(above)).ok()?;
        Some((parent, self.below.file_name()?))
    }

    pub(super) fn is_there(&self) -> bool {
        self.open().is_some_and(|(parent, name)| parent.status_of(name).is_ok_and(|status| status.is_dir()))
    }
}

pub(super) fn untried_leftovers<'f>(
    facts: &'f HostFacts,
    state: &SweepState,
) -> impl Iterator<Item = UndeletedClaim<'f>> {
    let all = facts.runners.iter().filter_map(|runner| Some((runner.runner.work_dir()?, &runner.leftovers)));
    let all =
        all.flat_map(|(work, leftovers)| leftovers.iter().map(move |below| UndeletedClaim { work, below }));
    all.filter(|leftover| !state.has_tried(leftover.work.id, leftover.below))
}
