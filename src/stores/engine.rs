//! One run: look, decide, collect one store, measure; then decide again about the rest.

use super::host::HostJobs;
use super::kinds::CollectedStore;
use super::tool::{CollectionTime, remedy};
use crate::config::Watermarks;
use crate::model::Execution;
use crate::model::stores::{
    HostState, Portion, StoreFacts, StoreReport, StoreResult, StoreRule, StoreVerdict, StoresRecord,
    StoresReport,
};
use crate::observe::filesystems::MountTable;
use crate::policy::stores::{asks_for_size, decide};
use crate::sys::btrfs;
use crate::sys::program::{Attended, ProgramError};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// How long to wait for space that becomes free later.
const SETTLES: Duration = Duration::from_secs(5);

/// Receives events as they happen.
pub trait StoreEvents {
    /// The result of a store that was to be collected.
    fn outcome(&mut self, report: &StoreReport);
}

/// The inputs of a run.
pub struct StoreRun<'a> {
    /// The entries.
    pub rules: &'a [StoreRule],
    /// Where programs are.
    pub programs: &'a [PathBuf],
    /// When to act and when to stop.
    pub marks: &'a Watermarks,
    /// Which filesystem is which.
    pub mounts: &'a MountTable,
    /// The jobs that it would disturb.
    pub host: &'a dyn HostJobs,
    /// The record of earlier runs.
    pub before: &'a StoresRecord,
    /// The wall clock now.
    pub now: SystemTime,
    /// When to stop.
    pub deadline: Instant,
    /// Whether anything is collected.
    pub execution: Execution,
    /// The receiver of events.
    pub events: &'a mut dyn StoreEvents,
}

impl StoreRun<'_> {
    /// Runs.
    pub fn run(&mut self) -> StoresReport {
        let mut opened: Vec<Option<CollectedStore>> = Vec::new();
        let mut known: Vec<(StoreRule, StoreFacts)> = Vec::new();
        for rule in self.rules {
            let store = CollectedStore::open(rule, self.programs);
            let facts = match &store {
                Ok(store) => self.facts(rule, store),
                Err(problem) => {
                    let problem = Some(problem.to_string());
                    StoreFacts { path: rule.path.clone(), problem, ..StoreFacts::default() }
                }
            };
            opened.push(store.ok());
            known.push((rule.clone(), facts));
        }
        let mut reports: Vec<StoreReport> = known
            .iter()
            .zip(self.verdicts(&known))
            .map(|((rule, facts), verdict)| StoreReport {
                name: rule.name.clone(),
                kind: rule.kind,
                facts: facts.clone(),
                result: untried(&verdict),
                verdict,
                freed_bytes: 0,
                took: Duration::ZERO,
            })
            .collect();
        if self.execution == Execution::Apply {
            self.execute(&opened, &mut known, &mut reports);
        }
        StoresReport { dry_run: self.execution == Execution::DryRun, stores: reports }
    }

    /// One after the other, each decided about right before its turn, so that the gains of those before it count, and so does a job that
    /// has begun.
    fn execute(
        &mut self,
        opened: &[Option<CollectedStore>],
        known: &mut [(StoreRule, StoreFacts)],
        reports: &mut [StoreReport],
    ) {
        let mut left: Vec<usize> = (0..known.len()).collect();
        let mut is_fresh = true;
        while !left.is_empty() {
            if !is_fresh {
                for (place, (_, facts)) in opened.iter().zip(known.iter_mut()) {
                    let usage = place.as_ref().and_then(|store| store.place.dir.usage().ok());
                    if let (Some(usage), Some(filesystem)) = (usage, &mut facts.filesystem) {
                        filesystem.1 = usage;
                    }
                }
                let rest: Vec<(StoreRule, StoreFacts)> =
                    left.iter().map(|index| known[*index].clone()).collect();
                for (index, verdict) in left.iter().zip(self.verdicts(&rest)) {
                    (reports[*index].result, reports[*index].verdict) = (untried(&verdict), verdict);
                }
            }
            let Some(index) = first_in_turn(&left, reports) else { return };
            left.retain(|other| *other != index);
            let report = &mut reports[index];
            if Instant::now() >= self.deadline {
                report.result = StoreResult::Deferred;
            } else if let (Some(store), StoreVerdict::Collect(_, portion)) = (&opened[index], &report.verdict)
            {
                self.collect(&known[index].0, store, *portion, report);
                is_fresh = false;
            }
            self.events.outcome(report);
        }
    }

    fn facts(&self, rule: &StoreRule, store: &CollectedStore) -> StoreFacts {
        let filesystem = self.mounts.filesystem_of(&store.place.dir).ok();
        let last = self.before.stores.iter().find(|last| last.name == rule.name);
        let mut facts = StoreFacts {
            path: Some(store.place.path.clone()),
            filesystem: filesystem.map(|found| (found.id, found.usage)),
            bytes: None,
            problem: None,
            rests: last.and_then(|last| last.rests_until).is_some_and(|until| {
                // A time far ahead comes from a clock that was wrong.
                until > self.now
                    && until.duration_since(self.now).is_ok_and(|left| left <= super::record::REST)
            }),
        };
        if asks_for_size(rule, &facts, self.marks) {
            facts.bytes = store.bytes();
        }
        facts
    }

    /// The host is looked at only if something would be collected if it were idle.
    fn verdicts(&self, known: &[(StoreRule, StoreFacts)]) -> Vec<StoreVerdict> {
        let verdicts = decide(known, &HostState::Idle, self.marks);
        if verdicts.iter().any(|verdict| matches!(verdict, StoreVerdict::Collect(..))) {
            return decide(known, &self.host.state(), self.marks);
        }
        verdicts
    }

    fn collect(&self, rule: &StoreRule, store: &CollectedStore, portion: Portion, report: &mut StoreReport) {
        let available = || store.place.dir.usage().map_or(0, |usage| usage.available_bytes);
        let (before, begun) = (available(), Instant::now());
        let has_come = || !rule.beside_jobs && self.host.arrival().is_some();
        let turn = CollectionTime {
            until: (begun + rule.timeout).min(self.deadline),
            attended: Attended(&has_come),
        };
        report.result = match store.collect(portion, &turn) {
            Ok(()) => StoreResult::Collected,
            Err(ProgramError::Stopped { .. }) => {
                StoreResult::Interrupted(self.host.arrival().unwrap_or_default())
            }
            Err(error) => StoreResult::Failed(format!("{error}{}", remedy(&error))),
        };
        report.took = begun.elapsed();
        if btrfs::is_on_btrfs(&store.place.dir) {
            let until = (Instant::now() + SETTLES).min(self.deadline);
            btrfs::settle(&store.place.dir, before.saturating_add(portion.bytes / 10 * 9), until);
        }
        report.freed_bytes = available().saturating_sub(before);
    }
}

fn untried(verdict: &StoreVerdict) -> StoreResult {
    match verdict {
        StoreVerdict::Collect(..) => StoreResult::Planned,
        StoreVerdict::Leave(_) => StoreResult::Kept,
    }
}

/// The first that is planned: one that can be asked for bytes, as decided, otherwise one that can only be emptied.
fn first_in_turn(left: &[usize], reports: &[StoreReport]) -> Option<usize> {
    let is_planned = |index: &&usize| reports[**index].result == StoreResult::Planned;
    let planned = || left.iter().filter(is_planned).copied();
    planned().find(|index| reports[*index].kind.is_bounded()).or_else(|| planned().next())
}
