//! What can be taken out of cargo targets instead of removing them whole.
//!
//! A target is read when a plan would remove it, or could: some ten milliseconds for a real one. The coldest are read first, and no
//! more of them than it takes to cover what is needed by what no build uses.

use crate::model::{
    Action, Cache, CacheRule, CargoTarget, Decision, Evidence, FilesystemId, HostFacts, KeepReason, Need,
    Plan, RemoveReason, TrimTier, WorkDir,
};
use crate::observe::caches::open_work;
use crate::observe::cargo_target::{self, reference};
use crate::policy::plan::{self, Offers, Terms};
use crate::policy::trim;
use crate::sys::dir::Dir;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Targets that are read in one round at most.
const MAX_TARGETS: usize = 64;

/// Reading targets takes no more of a run than this.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Makes the plan: at first as if every cache could only go whole, which says what is needed of which; then with what can be taken
/// out of those.
pub(super) fn plan(
    facts: &HostFacts,
    evidence: &[Vec<Evidence>],
    terms: &Terms<'_>,
    deadline: Instant,
) -> Plan {
    let whole = plan::make(facts, evidence, terms);
    let offers = offers(&whole, terms.needs, terms.cache_rules, deadline);
    if offers.is_empty() { whole } else { plan::make_with(facts, evidence, terms, &offers) }
}

/// Reads the targets that `plan` could remove for want of space, in the order of the plan, where their rule allows it.
fn offers(plan: &Plan, needs: &[(FilesystemId, Need)], rules: &[CacheRule], deadline: Instant) -> Offers {
    let trims = |name: &str| rules.iter().any(|rule| rule.trims && rule.name == name);
    let deadline = deadline.min(Instant::now() + TIME_LIMIT);
    let mut open: HashMap<FilesystemId, u64> = needs.iter().map(|(id, need)| (*id, need.bytes)).collect();
    let mut offers = Offers::new();
    let mut tells: HashMap<FilesystemId, Result<bool, String>> = HashMap::new();
    for action in plan.actions.iter().filter(|action| is_for_space(action) && trims(&action.cache.rule)) {
        let Some(base) = action.cache.base(&action.runner) else { continue };
        let Some(open) = open.get_mut(&base.filesystem).filter(|bytes| **bytes > 0) else { continue };
        if offers.len() >= MAX_TARGETS || Instant::now() > deadline {
            break;
        }
        // One that cannot be taken apart goes whole, as every other cache.
        let Some((target, read)) = read(base, &action.cache, deadline) else { continue };
        let tells = tells.entry(base.filesystem).or_insert_with(|| {
            reference::works(&target)
                .map_err(|error| format!("it cannot be tried whether reads are noticed: {error}"))
        });
        let offer = trim::offer(&read, tells.clone());
        let cheap = offer.first(offer.steps_for(u64::MAX, TrimTier::Incremental)).bytes;
        *open = open.saturating_sub(cheap);
        offers.insert(action.cache.path.clone(), offer);
    }
    offers
}

fn is_for_space(action: &Action) -> bool {
    matches!(
        action.decision,
        Decision::Remove(RemoveReason::Pressure) | Decision::Keep(KeepReason::NotNeeded)
    )
}

/// One target; `None` when it is not as cargo lays it out, or another directory by now.
fn read(base: &WorkDir, cache: &Cache, deadline: Instant) -> Option<(Dir, CargoTarget)> {
    let target = open_work(base).ok()?.descend(&cache.below_work).ok()?;
    if target.status().ok()?.id != cache.id {
        return None;
    }
    let read = cargo_target::read(&target, deadline).ok()?;
    Some((target, read))
}
