//! Removals: git's lock files, and whole repositories. Claimed under the host lock, deleted after it.

use super::proof::RunnerLook;
use super::turns::{count, note};
use super::{GIT_LOCK, RepairError, Repairs, whole};
use crate::model::Execution;
use crate::model::hygiene::{Change, Defect, RepairReport, Repaired};
use crate::model::{
    Action, ActionResult, Cache, Decision, Evidence, EvidenceKind, FileId, KeepReason, Member, MemberKind,
    Outcome, Part, RemoveReason, Weight, WorkDir,
};
use crate::observe::measure::{self, measure};
use crate::reclaim::claim::{Claim, Phase, claim};
use crate::reclaim::confinement::Confinement;
use crate::reclaim::execute::{ClaimedTree, Step};
use crate::reclaim::remove_tree::RemovalExtent;
use crate::sys::dir::Dir;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

impl Repairs<'_> {
    /// Removes git's lock files. They are claimed like a cache, one by one.
    pub(super) fn take_locks(
        &mut self,
        root: FileId,
        name: &OsStr,
        locks: &[Defect],
        report: &mut RepairReport,
    ) -> Result<(), RepairError> {
        for lock in locks {
            let sight = self.look(root)?;
            let (work_dir, work) = self.open(sight.runner())?;
            let area = whole(&work, &work_dir, name).map_err(RepairError::Gone)?;
            let below = lock.below.strip_prefix(name).unwrap_or(&lock.below);
            let (Some(within), Some(file)) = (below.parent(), below.file_name()) else { continue };
            let (within, name) = (within.to_owned(), file.to_owned());
            let member = Member {
                kind: MemberKind::File,
                group: None,
                within,
                name,
                id: lock.id,
                owner: lock.owner,
                allocated: 0,
            };
            let part = Part::Files([member].into());
            let cache = Cache { part, rule: GIT_LOCK.to_owned(), ..area };
            let Some(result) = self.take(sight, &work, &work_dir, cache, report)? else { return Ok(()) };
            note(lock, work_dir.owner, result, report);
        }
        Ok(())
    }

    pub(super) fn reset(
        &mut self,
        sight: RunnerLook<'_>,
        work: &Dir,
        work_dir: &WorkDir,
        name: &OsStr,
        execution: Execution,
        report: &mut RepairReport,
    ) -> Result<(), RepairError> {
        let area = whole(work, work_dir, name).map_err(RepairError::Gone)?;
        let options = measure::MeasureOptions { threads: 2, largest: 0, deadline: Some(self.deadline) };
        let size = work.descend(name).and_then(|tree| measure(&tree, &options)).ok();
        let cache = Cache { measure: size.map(|scan| scan.measure), ..area };
        report.bytes = cache.bytes();
        report.objections.extend(host_mounts(sight.evidence(), &cache.path));
        let what = "moved to trash and deleted; the next job clones afresh".to_owned();
        let below = PathBuf::from(name);
        let result = match execution {
            Execution::DryRun => Some(Repaired::Planned),
            Execution::Apply if !report.objections.is_empty() => None,
            Execution::Apply => {
                // Sizing takes time, so the proof is repeated.
                let sight = self.look(sight.runner().root_id)?;
                report.objections = host_mounts(sight.evidence(), &cache.path);
                match report.objections.is_empty() {
                    true => self.take(sight, work, work_dir, cache, report)?,
                    false => None,
                }
            }
        };
        if let Some(result) = result {
            count(&result, report);
            report.changes.push(Change { below, what, result });
        }
        Ok(())
    }

    /// Claims and deletes; nothing if evidence protects it, which is then reported.
    fn take(
        &mut self,
        sight: RunnerLook<'_>,
        work: &Dir,
        work_dir: &WorkDir,
        cache: Cache,
        report: &mut RepairReport,
    ) -> Result<Option<Repaired>, RepairError> {
        if !sight.objections.is_empty() {
            report.objections = sight.objections;
            return Ok(None);
        }
        let begun = Instant::now();
        let action =
            Action { runner: sight.runner().clone(), cache, decision: Decision::Remove(RemoveReason::Asked) };
        let lock = self.exclusive()?;
        let claimed = claim(&lock, work, work_dir.owner, &action.cache, &mut |moment| {
            let tree = match moment {
                Phase::Before => None,
                Phase::After(tree) => Some(tree),
            };
            lock.while_looking(|| self.recheck(&sight, &action.cache, tree))
        });
        let tree = match claimed {
            Claim::Claimed(claimed) => {
                lock.note_claims();
                ClaimedTree::new(&lock, &action, work, claimed)
            }
            claim => return Ok(self.not_taken(action, claim, begun.elapsed(), report)),
        };
        drop(lock);
        tree.report(self.events);
        let deleted = tree.delete(&Confinement::to([work]), self.deadline, self.events);
        let result = match deleted.extent() {
            RemovalExtent::Whole => ActionResult::Removed,
            // It has been moved away, which is what was asked for.
            RemovalExtent::Part { first, .. } => ActionResult::Deferred(format!(
                "a part of it is in trash for the next sweep: {}",
                first.explained()
            )),
        };
        deleted.report(result, self.events);
        Ok(Some(Repaired::Done))
    }

    /// Reports the result of a failed claim; its evidence is added to the report.
    fn not_taken(
        &mut self,
        mut action: Action,
        claim: Claim,
        took: Duration,
        report: &mut RepairReport,
    ) -> Option<Repaired> {
        let (result, repaired) = match claim {
            Claim::Claimed(_) => return None,
            Claim::Refused(evidence) => {
                report.objections.clone_from(&evidence);
                action.decision = Decision::Keep(KeepReason::Protected(evidence));
                (ActionResult::Kept, None)
            }
            Claim::Restored(evidence) => {
                report.objections.clone_from(&evidence);
                (ActionResult::Restored(evidence), None)
            }
            Claim::Changed(why) => (ActionResult::Changed(why.clone()), Some(Repaired::Changed(why))),
            Claim::Failed(error) => {
                let why = format!("it could not be moved to trash: {error}");
                (ActionResult::Failed(why.clone()), Some(Repaired::Failed(why)))
            }
        };
        self.events.step(Step::Ended(&Outcome { action, result }, took));
        repaired
    }
}

/// The host's own mounts inside or around the removed tree: they are kept.
fn host_mounts(evidence: &[Evidence], taken: &Path) -> Vec<Evidence> {
    let meets = |place: &Path| place.starts_with(taken) || taken.starts_with(place);
    let mounts =
        evidence.iter().filter(|e| e.kind == EvidenceKind::MountInside && e.weight == Weight::Forbids);
    mounts.filter(|e| e.within.as_deref().is_none_or(meets)).cloned().collect()
}
