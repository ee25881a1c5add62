//! When a run ends. A job waits for its hook, so a hook ends when its goal is met, and the next run or the timer's sweep deletes the rest of
//! a large tree from trash. No job waits for a sweep: a sweep deletes everything.

use super::{Cycle, Role, SweepState};
use crate::model::{FilesystemId, Need};
use crate::sys::dir::Dir;
use std::collections::HashMap;

/// How much has to be free on each disk, space and inodes, if a job waits for that.
#[derive(Debug, Clone)]
pub(super) struct Patience(Option<HashMap<FilesystemId, Need>>);

impl Patience {
    /// Whether the disks of these directories have no shortfall any more, and a job waits for that.
    pub(super) fn is_over<'d>(&self, works: impl IntoIterator<Item = (FilesystemId, &'d Dir)>) -> bool {
        self.0.as_ref().is_some_and(|wanted| {
            let is_met = |(on, work): (FilesystemId, &Dir)| {
                let free = work.usage().map(|now| (now.available_bytes, now.inodes_free));
                free.ok()
                    .zip(wanted.get(&on))
                    .is_some_and(|((bytes, inodes), wanted)| bytes >= wanted.bytes && inodes >= wanted.inodes)
            };
            works.into_iter().all(is_met)
        })
    }
}

impl Cycle<'_> {
    /// Until when a job waits for this run.
    pub(super) fn patience(&self, state: &SweepState) -> Patience {
        Patience(matches!(self.actor, Role::Hook { .. }).then(|| state.wanted.clone()))
    }
}
