//! The plan: what is removed, in which order, and why everything else is kept.
//!
//! The order is the cheapest to lose first: leftovers of runners; then a hook removes caches of its own runner's other repositories,
//! coldest first, then of its own job's repository, then of idle siblings; a sweep removes the coldest of all. A cache is cold when no job
//! has used it for long. Only as much is planned as is needed, and an action that a larger one later in the order makes superfluous is
//! dropped again. Where all of it does not reach the goal, the goal is lowered: see [`super::goal`].

use super::goal::Ladder;
use super::protection::{self, Relation, Rules};
use super::shared_work_dirs;
use crate::model::{
    Action, Cache, CacheRule, Decision, Evidence, EvidenceKind, FileId, FilesystemId, HostFacts, KeepReason,
    Need, Part, Plan, ReferenceBits, RemoveReason, Retention, Runner, RunnerFacts, Shortfall, TrimOffer,
    TrimStep, TrimTier,
};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Who plans.
#[derive(Debug, Clone)]
pub enum Actor {
    /// The started-hook of one runner.
    Hook {
        /// Its index.
        own: usize,
        /// The directory below the work directory that its job will use. A hint from the job's environment: it changes the order among own
        /// caches only.
        job_directory: Option<PathBuf>,
    },
    /// The timer's pass over all runners.
    Sweep,
}

/// What the plan is made from besides facts.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// Who plans.
    pub actor: &'a Actor,
    /// How caches are protected.
    pub rules: &'a Rules,
    /// The cache rules, for their age and size limits; none where these are not applied.
    pub cache_rules: &'a [CacheRule],
    /// The shortfall of each filesystem.
    pub needs: &'a [(FilesystemId, Need)],
    /// What is planned where the goal is out of reach.
    pub out_of_reach: OutOfReach<'a>,
    /// The filesystems with a larger shortfall because of live jobs, with the shortfall without them.
    pub for_jobs: &'a [(FilesystemId, Need)],
    /// Paths that this run has dealt with: whatever exists there now is left to the next run.
    pub dealt_with: &'a HashSet<PathBuf>,
}

/// What is planned where a goal is out of reach.
#[derive(Debug, Clone, Copy)]
pub enum OutOfReach<'a> {
    /// Everything that brings it closer is removed.
    TakeAll,
    /// Nothing is removed: these are not all caches yet.
    Wait,
    /// A lower goal is chosen from these.
    AimLower(&'a [(FilesystemId, Ladder)]),
}

/// Parts that can be removed from caches instead of the whole, by the caches' paths.
pub type Offers = HashMap<PathBuf, TrimOffer>;

/// Makes the plan. `evidence` is that of [`super::liveness::evidence`] for the same facts.
pub fn make(facts: &HostFacts, evidence: &[Vec<Evidence>], input: &PlanInput<'_>) -> Plan {
    make_with(facts, evidence, input, &Offers::new())
}

/// The same, where parts of some caches are on offer.
pub fn make_with(
    facts: &HostFacts,
    evidence: &[Vec<Evidence>],
    input: &PlanInput<'_>,
    offers: &Offers,
) -> Plan {
    let runners: Vec<&Runner> = facts.runners.iter().map(|runner| &runner.runner).collect();
    let groups = shared_work_dirs::groups(&runners);
    let mut candidates = Vec::new();
    let mut kept = Vec::new();
    // A cache in a shared or nested work directory is found once for each of the runners: it is planned for the first.
    let mut planned_for: HashMap<FileId, usize> = HashMap::new();
    for (index, runner) in facts.runners.iter().enumerate() {
        let relation = relation(input.actor, index, &groups);
        for cache in &runner.caches {
            let first = *planned_for.entry(cache.id).or_insert(index);
            if first != index || input.dealt_with.contains(&cache.path) {
                continue;
            }
            match protection::against(cache, &runner.runner, &evidence[index], relation, input.rules) {
                Some(reason) => kept.push(action(runner, cache, Decision::Keep(reason))),
                None => candidates.push(Candidate {
                    runner,
                    cache,
                    tier: tier(input.actor, index, cache),
                    offer: offers.get(&cache.path),
                    steps: 0,
                    reason: None,
                    why_steps: RemoveReason::Pressure,
                }),
            }
        }
    }
    for (index, declared) in facts.declared.iter().enumerate() {
        let (runner, cache) = (&declared.stand_in, declared.cache());
        if input.dealt_with.contains(&cache.path) {
            continue;
        }
        let evidence = &evidence[facts.runners.len() + index];
        match protection::against(cache, &runner.runner, evidence, Relation::Declared, input.rules) {
            Some(reason) => kept.push(action(runner, cache, Decision::Keep(reason))),
            None => {
                let tier = match input.actor {
                    Actor::Sweep => Tier::OtherRepositories,
                    Actor::Hook { .. } => Tier::Siblings,
                };
                candidates.push(Candidate {
                    runner,
                    cache,
                    tier,
                    offer: None,
                    steps: 0,
                    reason: None,
                    why_steps: RemoveReason::Pressure,
                });
            }
        }
    }
    candidates.sort_by(|a, b| a.rank().cmp(&b.rank()));
    apply_limits(&mut candidates, input);
    let mut shortfalls = Vec::new();
    for (filesystem, need) in input.needs {
        let reach = reach(&candidates, &kept, *filesystem);
        let lesser = need.less(reach);
        let (aim, shortfall) = match input.out_of_reach {
            _ if lesser.is_met() => (*need, None),
            OutOfReach::TakeAll => (*need, None),
            OutOfReach::Wait => (Need::default(), None),
            OutOfReach::AimLower(ladders) => match ladders.iter().find(|(id, _)| id == filesystem) {
                None => (*need, None),
                Some((_, ladder)) => {
                    let (aim, lacking) = ladder.aim(reach);
                    let (goal, _) = ladder.highest();
                    let short = Shortfall { filesystem: *filesystem, need: *need, reach, goal, aim };
                    (lacking, (aim != goal).then_some(short))
                }
            },
        };
        let without_jobs = input.for_jobs.iter().find(|(id, _)| id == filesystem).map(|(_, need)| *need);
        select(&mut candidates, *filesystem, aim, without_jobs);
        shortfalls.extend(shortfall);
    }
    if matches!(input.actor, Actor::Sweep) {
        take_stale_units(&mut candidates, input);
    }
    let (wanted, rest): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.reason.is_some() || candidate.steps > 0);
    let removals = wanted.into_iter().map(|candidate| {
        let reason = candidate.reason.unwrap_or(candidate.why_steps);
        action(candidate.runner, &candidate.planned(), Decision::Remove(reason))
    });
    let unneeded = rest.into_iter().map(|c| action(c.runner, c.cache, Decision::Keep(KeepReason::NotNeeded)));
    Plan {
        actions: removals.chain(unneeded).chain(kept).collect(),
        needs: input.needs.to_vec(),
        shortfalls,
        targets: Vec::new(),
    }
}

/// What removing all caches of a filesystem would free, including those in use now, which can be removed when their jobs have ended.
/// Caches that can never be removed do not count.
fn reach(candidates: &[Candidate<'_>], kept: &[Action], filesystem: FilesystemId) -> Need {
    let later = kept.iter().filter(|action| may_go_later(&action.decision));
    let later = later
        .filter(|action| action.cache.base(&action.runner).is_some_and(|base| base.filesystem == filesystem));
    let now = candidates.iter().filter(|candidate| candidate.is_on(filesystem)).map(Candidate::yields);
    now.chain(later.map(|action| action.cache.yields())).fold(Need::default(), Need::plus)
}

fn may_go_later(decision: &Decision) -> bool {
    match decision {
        Decision::Keep(KeepReason::Protected(evidence)) => {
            !evidence.iter().any(|evidence| evidence.kind == EvidenceKind::Unguarded)
        }
        Decision::Keep(KeepReason::ForeignOwner(_)) => true,
        Decision::Keep(KeepReason::SiblingsOff | KeepReason::NotNeeded | KeepReason::GivesLittle)
        | Decision::Remove(_) => false,
    }
}

/// A hook's own caches are its own only when no other runner shares its work directory.
pub fn relation(actor: &Actor, index: usize, groups: &[usize]) -> Relation {
    match actor {
        Actor::Hook { own, .. }
            if *own == index && groups.iter().filter(|group| **group == groups[index]).count() == 1 =>
        {
            Relation::Own
        }
        _ => Relation::Sibling,
    }
}

/// The cheapest to lose first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    /// Leftovers of an idle runner: no job needs them.
    Leftovers,
    /// Own runner, another repository than the job's. Also everything in a sweep.
    OtherRepositories,
    /// Own runner, the repository that the job is about to build.
    OwnJob,
    /// Another runner.
    Siblings,
}

fn tier(actor: &Actor, index: usize, cache: &Cache) -> Tier {
    match actor {
        _ if Retention::NAMES.contains(&cache.rule.as_str()) => Tier::Leftovers,
        Actor::Sweep => Tier::OtherRepositories,
        Actor::Hook { own, .. } if *own != index => Tier::Siblings,
        Actor::Hook { job_directory: Some(job), .. } if cache.repository_dir() == job.as_path() => {
            Tier::OwnJob
        }
        Actor::Hook { .. } => Tier::OtherRepositories,
    }
}

/// The position of a cache in the order, as far as that is known before it is sized: the tier, and how cold it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn(Tier, Option<SystemTime>);

impl Turn {
    /// Whether the job that begins would need its space again.
    pub fn is_of_own_job(self) -> bool {
        self.0 == Tier::OwnJob
    }
}

/// The position of a cache of the runner with this index.
pub fn turn(actor: &Actor, index: usize, cache: &Cache) -> Turn {
    Turn(tier(actor, index, cache), cache.warm_at())
}

struct Candidate<'a> {
    runner: &'a RunnerFacts,
    cache: &'a Cache,
    tier: Tier,
    /// The parts that can be removed from it.
    offer: Option<&'a TrimOffer>,
    /// How many steps of the offer are applied, if it is not removed whole.
    steps: usize,
    /// Why the whole of it is removed.
    reason: Option<RemoveReason>,
    /// Why the steps are applied.
    why_steps: RemoveReason,
}

impl<'a> Candidate<'a> {
    /// Coldest first; among equals the larger, so that fewer are removed; then by path, so that the order is stable.
    fn rank(&self) -> (Tier, Option<SystemTime>, Reverse<u64>, &'a Path) {
        (self.tier, self.cache.warm_at(), Reverse(self.cache.bytes()), &self.cache.path)
    }

    fn is_on(&self, filesystem: FilesystemId) -> bool {
        self.cache.base(&self.runner.runner).is_some_and(|base| base.filesystem == filesystem)
    }

    fn yields(&self) -> Need {
        self.cache.yields()
    }

    /// Bytes of the steps that are applied.
    fn trimmed(&self) -> u64 {
        self.offer.map_or(0, |offer| offer.steps.iter().take(self.steps).map(|step| step.bytes).sum())
    }

    /// Applies further steps, none costlier than `dearest`, until `more` bytes are gained or none is left. Returns the gain.
    fn trim(&mut self, more: u64, dearest: TrimTier) -> u64 {
        let before = self.trimmed();
        if let Some(offer) = self.offer {
            self.steps = self.steps.max(offer.steps_for(before.saturating_add(more), dearest));
        }
        self.trimmed() - before
    }

    /// What is removed of the cache: the whole, or parts.
    fn planned(&self) -> Cache {
        match self.offer.filter(|_| self.reason.is_none() && self.steps > 0) {
            Some(offer) => {
                let part = Part::Units(Arc::new(offer.first(self.steps)));
                Cache { part, largest: Arc::default(), ..self.cache.clone() }
            }
            None => self.cache.clone(),
        }
    }
}

/// Age and size limits of the rules, which apply without any pressure.
fn apply_limits(candidates: &mut [Candidate<'_>], input: &PlanInput<'_>) {
    let limits: HashMap<&str, &CacheRule> =
        input.cache_rules.iter().map(|rule| (rule.name.as_str(), rule)).collect();
    for candidate in candidates {
        let rule = limits.get(candidate.cache.rule.as_str());
        candidate.reason = rule.and_then(|rule| exceeds(candidate.cache, rule, input.rules.now));
    }
}

/// Which limit of its rule a cache exceeds. One that was not measured exceeds none.
pub fn exceeds(cache: &Cache, rule: &CacheRule, now: SystemTime) -> Option<RemoveReason> {
    let measure = cache.measure?;
    let age = cache.touched_at().map(|since| now.duration_since(since).unwrap_or(Duration::ZERO));
    if rule.max_age.is_some_and(|max| age.is_some_and(|age| age > max)) {
        Some(RemoveReason::Age)
    } else if rule.max_size.is_some_and(|max| measure.bytes > max) {
        Some(RemoveReason::Size)
    } else {
        None
    }
}

/// Units that no build has used for the time that their rule allows; applied without any pressure. Only where it is known what builds have
/// used.
fn take_stale_units(candidates: &mut [Candidate<'_>], input: &PlanInput<'_>) {
    for candidate in
        candidates.iter_mut().filter(|candidate| candidate.reason.is_none() && candidate.steps == 0)
    {
        let rule = input.cache_rules.iter().find(|rule| rule.name == candidate.cache.rule);
        let (Some(stale), Some(offer)) = (rule.and_then(|rule| rule.stale), candidate.offer) else {
            continue;
        };
        if offer.bits == ReferenceBits::Trusted {
            let is_stale = |step: &&TrimStep| {
                let age = input.rules.now.duration_since(step.last_used).unwrap_or_default();
                step.tier <= TrimTier::Unused && age > stale
            };
            candidate.steps = offer.steps.iter().take_while(is_stale).count();
            candidate.why_steps = RemoveReason::Age;
        }
    }
}

/// Selects, in order, until the need of one filesystem is met; then drops what has become superfluous, the most valuable first. The order:
/// leftovers of runners, then parts of caches that no build uses, then whole caches; of the last of them no more than is needed, where
/// parts can be removed.
///
/// The repository of the job that begins is not removed for the sake of live jobs: the job would need that space again. `without_jobs` is
/// the need without live jobs, where it is smaller.
fn select(
    candidates: &mut [Candidate<'_>],
    filesystem: FilesystemId,
    need: Need,
    without_jobs: Option<Need>,
) {
    let why = match without_jobs {
        Some(least) if least.is_met() => RemoveReason::Forecast,
        _ => RemoveReason::Pressure,
    };
    let by_limits = candidates.iter().filter(|c| c.reason.is_some() && c.is_on(filesystem));
    let wanted = by_limits.fold(need, |open, candidate| open.less(candidate.yields()));
    let first_cache = candidates.partition_point(|candidate| candidate.tier == Tier::Leftovers);
    let (leftovers, caches) = candidates.split_at_mut(first_cache);
    let mut gained = Need::default();
    let mut selected = Vec::new();
    for candidate in leftovers {
        take_whole(candidate, filesystem, wanted, &mut gained, &mut selected);
    }
    for dearest in [TrimTier::Leftover, TrimTier::Incremental] {
        for candidate in caches.iter_mut().filter(|c| c.reason.is_none() && c.is_on(filesystem)) {
            candidate.why_steps = why;
            gained.bytes += candidate.trim(wanted.less(gained).bytes, dearest);
        }
    }
    for candidate in caches {
        let wanted = match without_jobs {
            Some(least) if candidate.tier == Tier::OwnJob => least.less(need.less(wanted)),
            _ => wanted,
        };
        let open = wanted.less(gained);
        let is_enough = |bytes: u64| open.inodes == 0 && bytes >= open.bytes;
        if candidate.reason.is_none() && candidate.is_on(filesystem) && !open.is_met() {
            let steps = candidate.steps;
            let part = candidate.trim(open.bytes, TrimTier::Live);
            if is_enough(part) && candidate.trimmed() < candidate.cache.bytes() {
                gained.bytes += part;
                continue;
            }
            candidate.steps = steps;
        }
        take_whole(candidate, filesystem, wanted, &mut gained, &mut selected);
    }
    for candidate in selected.into_iter().rev() {
        let without = gained.less(rest(candidate));
        if wanted.less(without) == wanted.less(gained) {
            gained = without;
        } else {
            candidate.reason = Some(why);
        }
    }
}

/// What removing the whole cache frees beyond the parts that are already planned.
fn rest(candidate: &Candidate<'_>) -> Need {
    candidate.yields().less(Need { bytes: candidate.trimmed(), inodes: 0 })
}

fn take_whole<'c, 'a>(
    candidate: &'c mut Candidate<'a>,
    filesystem: FilesystemId,
    wanted: Need,
    gained: &mut Need,
    selected: &mut Vec<&'c mut Candidate<'a>>,
) {
    let open = wanted.less(*gained);
    if candidate.reason.is_none() && candidate.is_on(filesystem) && rest(candidate).helps(open) {
        *gained = gained.plus(rest(candidate));
        selected.push(candidate);
    }
}

fn action(runner: &RunnerFacts, cache: &Cache, decision: Decision) -> Action {
    Action { runner: runner.runner.clone(), cache: cache.clone(), decision }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
