//! Parts that can be removed from cargo targets instead of the whole.
//!
//! A target is read when a plan would remove it, or could: some ten milliseconds for a real one. The coldest are read first, and no more
//! of them than it takes to cover the shortfall with units that no build uses.

use crate::model::{
    AccessTimes, Action, CacheRule, Decision, Evidence, FilesystemId, HostFacts, KeepReason, Plan,
    RemoveReason, TargetView, TrimTier,
};
use crate::observe::caches::open_work;
use crate::observe::cargo_target::{self, reference};
use crate::observe::sharing::Counted;
use crate::policy::plan::{self, Actor, Offers, PlanInput};
use crate::policy::trim;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Targets that are read in one round at most.
const MAX_TARGETS: usize = 64;

/// The largest share of a run's time that reading targets takes.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Targets that one sweep reads for stale units.
const STALE_IN_A_SWEEP: usize = 8;

/// Whether targets are read for stale units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleUnits {
    /// They are: once in a sweep, and in a preview.
    Read,
    /// They are not.
    Leave,
}

/// How targets are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) deadline: Instant,
    pub(super) stale: StaleUnits,
    pub(super) counted: Counted,
}

/// Makes the plan: at first as if every cache could only be removed whole, which shows how much is needed; then with the parts that can be
/// removed instead.
pub(super) fn plan(
    facts: &HostFacts,
    evidence: &[Vec<Evidence>],
    input: &PlanInput<'_>,
    reading: Reading,
) -> Plan {
    let whole = plan::make(facts, evidence, input);
    let offers = offers(&whole, input, reading);
    if offers.is_empty() {
        return whole;
    }
    let runners: HashMap<&Path, &str> = whole
        .actions
        .iter()
        .map(|action| (action.cache.path.as_path(), action.runner.name.as_str()))
        .collect();
    let mut targets: Vec<TargetView> = offers
        .iter()
        .map(|(path, offer)| {
            TargetView::of(path, runners.get(path.as_path()).copied().unwrap_or_default(), offer)
        })
        .collect();
    targets.sort_by(|one, other| one.path.cmp(&other.path));
    Plan { targets, ..plan::make_with(facts, evidence, input, &offers) }
}

/// Reads the targets whose rule allows trimming: those that `plan` could remove because of pressure, in its order, and in a sweep some of
/// the others, for stale units.
fn offers(plan: &Plan, input: &PlanInput<'_>, reading: Reading) -> Offers {
    let mut reader = TrimReader {
        deadline: reading.deadline.min(Instant::now() + TIME_LIMIT),
        counted: reading.counted,
        offers: Offers::new(),
        access_times: HashMap::new(),
    };
    let rule = |name: &str| input.cache_rules.iter().find(|rule| rule.trims && rule.name == name);
    let candidates: Vec<(&Action, &CacheRule)> = plan
        .actions
        .iter()
        .filter(|action| is_for_space(action))
        .filter_map(|action| Some((action, rule(&action.cache.rule)?)))
        .collect();
    let mut open: HashMap<FilesystemId, u64> =
        input.needs.iter().map(|(id, need)| (*id, need.bytes)).collect();
    for (action, _) in &candidates {
        let filesystem = action.cache.base(&action.runner).map(|base| base.filesystem);
        if let Some(open) = filesystem.and_then(|id| open.get_mut(&id)).filter(|bytes| **bytes > 0) {
            *open = open.saturating_sub(reader.read(action).unwrap_or(0));
        }
    }
    if matches!(input.actor, Actor::Sweep) && reading.stale == StaleUnits::Read {
        let mut old: Vec<&Action> =
            candidates.iter().filter(|(_, rule)| rule.stale.is_some()).map(|(action, _)| *action).collect();
        old.sort_by(|one, other| one.cache.path.cmp(&other.cache.path));
        // Another part of them in each quarter of an hour: all are read in turn, and no sweep reads many.
        let quarters = input.rules.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 900;
        let first = (quarters as usize).wrapping_mul(STALE_IN_A_SWEEP) % old.len().max(1);
        for action in old.iter().cycle().skip(first).take(STALE_IN_A_SWEEP.min(old.len())) {
            reader.read(action);
        }
    }
    reader.offers
}

struct TrimReader {
    deadline: Instant,
    counted: Counted,
    offers: Offers,
    /// By filesystem.
    access_times: HashMap<FilesystemId, AccessTimes>,
}

impl TrimReader {
    /// Reads one target, and returns how much of it costs no build. A target that cannot be taken apart is removed whole, as every other
    /// cache.
    fn read(&mut self, action: &Action) -> Option<u64> {
        let cache = &action.cache;
        if self.offers.contains_key(&cache.path)
            || self.offers.len() >= MAX_TARGETS
            || Instant::now() > self.deadline
        {
            return None;
        }
        let base = cache.base(&action.runner)?;
        let target = open_work(base).ok()?.descend(&cache.below_work).ok()?;
        if target.status().ok()?.id != cache.id {
            return None;
        }
        let read = cargo_target::read(&target, self.counted, self.deadline).ok()?;
        let access_times =
            self.access_times.entry(base.filesystem).or_insert_with(|| reference::access_times(&target));
        let offer = trim::offer(&read, access_times.clone());
        let cheap = offer.first(offer.steps_for(u64::MAX, TrimTier::Incremental)).bytes;
        self.offers.insert(cache.path.clone(), offer);
        Some(cheap)
    }
}

fn is_for_space(action: &Action) -> bool {
    matches!(
        action.decision,
        Decision::Remove(RemoveReason::Pressure | RemoveReason::Forecast)
            | Decision::Keep(KeepReason::NotNeeded)
    )
}
