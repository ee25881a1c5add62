//! What holds a disk that has missed its goal.

use crate::model::{ActionResult, Cache, FilesystemId, Part, RunReport, SpaceHolder};
use crate::observe::snapshot::Snapshot;
use crate::observe::space::SpaceScan;
use crate::policy::{goal, pressure};
use std::time::{Duration, Instant};

/// How long a person, or the timer's sweep, waits for the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// How long a job waits for it.
pub(crate) const OF_A_JOB: Duration = Duration::from_secs(3);

/// What holds the disks that have missed their goal; nothing when none has.
pub(crate) fn holding(snapshot: &Snapshot<'_>, report: &RunReport, patience: Duration) -> Vec<SpaceHolder> {
    let marks = &snapshot.config.watermarks;
    let disks = goal::missed(report, marks);
    if disks.is_empty() {
        return Vec::new();
    }
    let there = report.outcomes.iter().filter(|outcome| outcome.result != ActionResult::Removed);
    let caches: Vec<&Cache> = there
        .map(|outcome| &outcome.action.cache)
        .filter(|cache| cache.base.is_none() && cache.part == Part::Whole)
        .collect();
    let by_inodes = disks.iter().filter(|d| pressure::lacks_inodes_alone(&d.usage, marks));
    let by_inodes: Vec<FilesystemId> = by_inodes.map(|disk| disk.id).collect();
    let deadline = Instant::now() + patience;
    let (runners, now) = (snapshot.runners(), snapshot.taken);
    SpaceScan { runners, caches: &caches, disks: &disks, by_inodes: &by_inodes, now, deadline }.holders()
}
