//! Entry by entry, in slices of the host lock, until nothing repairable is left.

use super::entries::{self, RepairHandle};
use super::proof::RunnerLook;
use super::{RepairError, Repairs, whole};
use crate::lock::{ExclusiveLock, LockMode};
use crate::model::hygiene::{AreaScan, Change, Defect, FindingKind, RepairReport, Repaired};
use crate::model::{Cache, Evidence, FileId, Uid};
use std::ffi::OsStr;
use std::time::{Duration, Instant};

/// How long the host lock is held at a time.
const SLICE: Duration = Duration::from_millis(250);

/// The time between two slices in which the lock is free.
const PAUSE: Duration = Duration::from_millis(10);

/// Passes over one area: each repairs what the one before could not see.
const TURNS: usize = 32;

/// Entries that a report lists.
pub(super) const LISTED: usize = 100;

impl Repairs<'_> {
    /// Repairs what concerns this repair, and looks again, until nothing is left or nothing more can be done.
    pub(super) fn turns(
        &mut self,
        root: FileId,
        name: &OsStr,
        mut seen: AreaScan,
        concerns: &dyn Fn(&Defect) -> bool,
        report: &mut RepairReport,
    ) -> Result<(), RepairError> {
        for turn in 0..TURNS {
            let todo: Vec<Defect> = seen.defects.iter().filter(|b| concerns(b)).cloned().collect();
            let done = report.done;
            let earlier = (report.undone, report.changes.len());
            let (locks, todo): (Vec<_>, Vec<_>) =
                todo.into_iter().partition(|defect| defect.kind == FindingKind::StaleLock);
            self.in_slices(root, name, todo, report)?;
            if !locks.is_empty() && report.objections.is_empty() {
                self.take_locks(root, name, &locks, report)?;
            }
            let is_at_end = report.done == done || !report.objections.is_empty();
            if is_at_end || turn + 1 == TURNS || Instant::now() > self.deadline {
                return Ok(());
            }
            let sight = self.look(root)?;
            let (work_dir, work) = self.open(sight.runner())?;
            let next = self.tree(&work, work_dir.owner, name, &sight);
            if !next.defects.iter().any(concerns) {
                return Ok(());
            }
            // Failed entries are tried again and reported once.
            report.undone = earlier.0;
            let mut number = 0;
            report.changes.retain(|change| {
                number += 1;
                number <= earlier.1 || change.result == Repaired::Done
            });
            seen = next;
        }
        Ok(())
    }

    fn in_slices(
        &mut self,
        root: FileId,
        name: &OsStr,
        todo: Vec<Defect>,
        report: &mut RepairReport,
    ) -> Result<(), RepairError> {
        let mut queue = todo.into_iter().peekable();
        while queue.peek().is_some() {
            if Instant::now() > self.deadline {
                report.notes.push("time ran out: run it again for the rest".to_owned());
                return Ok(());
            }
            let sight = self.look(root)?;
            let (work_dir, work) = self.open(sight.runner())?;
            let area = whole(&work, &work_dir, name).map_err(RepairError::Gone)?;
            let lock = match self.lock(&sight, &area)? {
                Ok(lock) => lock,
                Err(objections) => {
                    report.objections = objections;
                    return Ok(());
                }
            };
            let repairs = RepairHandle::new(&lock, &work, &work_dir);
            let begun = Instant::now();
            while begun.elapsed() < SLICE && lock.held_for() < self.config.hook.lock_wait / 2 {
                let Some(defect) = queue.next() else { break };
                let result = repairs.put_right(&defect);
                note(&defect, work_dir.owner, result, report);
            }
            drop(repairs);
            drop(lock);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The host lock with the proof that holds under it, or the evidence against it.
    pub(super) fn lock(
        &mut self,
        sight: &RunnerLook<'_>,
        area: &Cache,
    ) -> Result<Result<ExclusiveLock, Vec<Evidence>>, RepairError> {
        if !sight.objections.is_empty() {
            return Ok(Err(sight.objections.clone()));
        }
        let lock = self.exclusive()?;
        let objections = lock.while_looking(|| self.recheck(sight, area, None));
        Ok(if objections.is_empty() { Ok(lock) } else { Err(objections) })
    }

    pub(super) fn exclusive(&mut self) -> Result<ExclusiveLock, RepairError> {
        let wait = self.config.hook.lock_wait.min(self.deadline.saturating_duration_since(Instant::now()));
        ExclusiveLock::acquire(self.run, wait).map_err(|error| {
            self.events.lock_failed(LockMode::Exclusive, &error);
            error.into()
        })
    }
}

pub(super) fn note(defect: &Defect, owner: Uid, result: Repaired, report: &mut RepairReport) {
    count(&result, report);
    let listed = report
        .changes
        .iter()
        .filter(|change| (change.result == Repaired::Done) == (result == Repaired::Done));
    if listed.count() < LISTED {
        report.changes.push(Change {
            below: defect.below.clone(),
            what: entries::what(defect, owner),
            result,
        });
    }
}

pub(super) fn count(result: &Repaired, report: &mut RepairReport) {
    match result {
        Repaired::Planned | Repaired::Done => report.done += 1,
        Repaired::Changed(_) | Repaired::Refused(_) | Repaired::Failed(_) => report.undone += 1,
    }
}
