//! Which caches a run sizes. Walking a large tree takes longer than a job should wait, so trees that cannot matter are not walked: those
//! that a running job protects, and in a hook those whose turn would come after the goal is met.
//!
//! The plan is the same as if all had been sized. A hook removes the coldest first, and the age of a cache that jobs have marked is known
//! before it is sized: these are sized in the plan's order, until they suffice. If the sized caches do not meet the goal, the rest is
//! sized as well: the total decides which goal is chosen, and which runners are reported to hold the disk.

use super::{Cycle, Role, SweepState, is_on};
use crate::lease;
use crate::model::{
    Action, Attribution, Cache, Decision, Evidence, EvidenceKind, FileId, FilesystemId, KeepReason,
    LeaseState, Measure, Need, Plan, Runner, RunnerFacts,
};
use crate::observe::host::HostObserver;
use crate::observe::processes;
use crate::observe::searched::{Searched, Spot};
use crate::policy::plan::{self, Actor, Turn};
use crate::policy::protection::{self, Relation, Rules};
use crate::policy::shared_work_dirs;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Caches that were not sized because that is not needed: each cache with the index of its runner.
pub(super) type Aside = Vec<(usize, Cache)>;

/// The inputs by which a run decides which caches it sizes.
#[derive(Clone, Copy)]
pub(super) struct Sizing<'a> {
    pub(super) actor: &'a Actor,
    pub(super) needs: &'a [(FilesystemId, Need)],
    pub(super) rules: &'a Rules,
}

impl Cycle<'_> {
    /// Sizes the caches that could matter to the plan, and sets the rest aside.
    pub(super) fn size(
        &self,
        look: &HostObserver<'_>,
        searched: &mut Searched,
        sizing: Sizing<'_>,
        state: &SweepState,
    ) -> Aside {
        let all = searched.unsized_caches();
        if state.sizes_all || matches!(self.actor, Role::SelfClean { .. }) {
            look.size(searched, &all);
            return Aside::new();
        }
        let groups = shared_work_dirs::groups(&searched.runners().iter().collect::<Vec<_>>());
        let at_work = self.at_work(searched.runners(), &groups, sizing.actor);
        let (mut first, mut queue, mut spared) = (Vec::new(), Vec::new(), Vec::new());
        for spot in all {
            match (spot, sizing.actor) {
                (Spot::OfRunner(runner, _), _) if at_work[runner] => spared.push(spot),
                (Spot::OfRunner(..), Actor::Hook { .. }) if searched.cache_at(spot).1.used.is_some() => {
                    queue.push(spot);
                }
                _ => first.push(spot),
            }
        }
        queue.sort_by_key(|spot| turn(searched, sizing.actor, *spot));
        look.size(searched, &first);
        let gains = Gains::new(searched, sizing, &groups, &first, &queue);
        let not_needed = look.size_until(searched, &queue, &|at, measures| gains.suffice(at, measures));
        let sized = queue.iter().filter(|spot| !not_needed.contains(spot));
        let gained: Vec<_> =
            first.iter().chain(sized).filter_map(|spot| gain(searched, sizing, &groups, *spot)).collect();
        drop(gains);
        spared.extend(not_needed);
        if !spared.is_empty() && !sizing.needs.iter().all(|(on, need)| need.less(sum(&gained, *on)).is_met())
        {
            look.size(searched, &spared);
            return Aside::new();
        }
        let ids: HashSet<FileId> = spared.iter().map(|spot| searched.cache_at(*spot).1.id).collect();
        searched.set_aside(&ids)
    }

    /// Which runners have a running job, or share a work directory with one that has, as far as that is known without asking all
    /// processes. The hook's own runner has one: the hook's job.
    fn at_work(&self, runners: &[Runner], groups: &[usize], actor: &Actor) -> Vec<bool> {
        let view = lease::LeaseView { proc: self.proc, sees_all: |_| false, now: (self.clock)() };
        let leases = lease::read_all(self.run, view).unwrap_or_default();
        let mut roots: HashSet<FileId> = leases
            .iter()
            .filter(|seen| seen.state == LeaseState::Live)
            .filter_map(|seen| seen.root)
            .collect();
        if matches!(actor, Actor::Sweep) {
            // A hook does without: asking all processes takes as long as sizing some caches.
            let programs = &self.config.runners.programs;
            let given = processes::Given { group: self.run.group(), programs };
            let (workers, _) = processes::workers(self.proc, runners, given);
            roots.extend(workers.iter().filter_map(|worker| match worker.attribution {
                Attribution::Runner(index) => Some(runners[index].root_id),
                _ => None,
            }));
        }
        let own = match actor {
            Actor::Hook { own, .. } => Some(groups[*own]),
            Actor::Sweep => None,
        };
        let busy: HashSet<usize> = runners
            .iter()
            .zip(groups)
            .filter(|(runner, group)| roots.contains(&runner.root_id) && Some(**group) != own)
            .map(|(_, group)| *group)
            .collect();
        groups.iter().map(|group| busy.contains(group)).collect()
    }
}

/// The position of a cache in the plan's order, as far as it is known.
fn turn(searched: &Searched, actor: &Actor, spot: Spot) -> Option<Turn> {
    match spot {
        Spot::OfRunner(runner, _) => Some(plan::turn(actor, runner, searched.cache_at(spot).1)),
        Spot::Declared(_) => None,
    }
}

/// What removing a sized cache would free, and where, if no evidence protects it.
fn gain(
    searched: &Searched,
    sizing: Sizing<'_>,
    groups: &[usize],
    spot: Spot,
) -> Option<(FilesystemId, Need)> {
    let (runner, cache) = searched.cache_at(spot);
    gain_of(runner, cache, relation(sizing.actor, groups, spot), sizing)
        .filter(|_| turn(searched, sizing.actor, spot).is_some_and(|turn| !turn.is_of_own_job()))
}

fn relation(actor: &Actor, groups: &[usize], spot: Spot) -> Relation {
    match spot {
        Spot::OfRunner(runner, _) => plan::relation(actor, runner, groups),
        Spot::Declared(_) => Relation::Declared,
    }
}

fn gain_of(
    runner: &Runner,
    cache: &Cache,
    relation: Relation,
    sizing: Sizing<'_>,
) -> Option<(FilesystemId, Need)> {
    cache.measure?;
    let is_free = protection::against(cache, runner, &[], relation, sizing.rules).is_none();
    is_free.then(|| Some((cache.base(runner)?.filesystem, cache.yields()))).flatten()
}

fn sum(gains: &[(FilesystemId, Need)], on: FilesystemId) -> Need {
    let gains = gains.iter().filter(|(filesystem, _)| *filesystem == on);
    gains.fold(Need::default(), |sum, (_, need)| sum.plus(*need))
}

/// What removing a cache would free, and where; nothing, if evidence protects it.
type Gain = Option<(FilesystemId, Need)>;

/// The gain of the caches that come before one of the queue.
struct Gains<'a> {
    sizing: Sizing<'a>,
    /// Those that were sized first, in no order.
    first: Vec<(Turn, FilesystemId, Need)>,
    queue: Vec<Queued>,
    /// The gain of those in the queue, once it is known.
    known: Mutex<Vec<Option<Gain>>>,
}

/// A cache of the queue.
struct Queued {
    turn: Turn,
    on: Option<FilesystemId>,
    runner: Runner,
    cache: Cache,
    relation: Relation,
}

impl<'a> Gains<'a> {
    fn new(
        searched: &Searched,
        sizing: Sizing<'a>,
        groups: &[usize],
        first: &[Spot],
        queue: &[Spot],
    ) -> Self {
        let sized = |spot: &Spot| {
            let (on, need) = gain(searched, sizing, groups, *spot)?;
            Some((turn(searched, sizing.actor, *spot)?, on, need))
        };
        let queued = |spot: &Spot| {
            let (runner, cache) = searched.cache_at(*spot);
            Some(Queued {
                turn: turn(searched, sizing.actor, *spot)?,
                on: cache.base(runner).map(|base| base.filesystem),
                relation: relation(sizing.actor, groups, *spot),
                runner: runner.clone(),
                cache: cache.clone(),
            })
        };
        Self {
            sizing,
            first: first.iter().filter_map(sized).collect(),
            known: Mutex::new(vec![None; queue.len()]),
            queue: queue.iter().filter_map(queued).collect(),
        }
    }

    /// Whether the caches before the one at this position cover the shortfall of its disk.
    fn suffice(&self, at: usize, measures: &[Option<Measure>]) -> bool {
        let Some(Queued { turn, on: Some(on), .. }) = self.queue.get(at) else { return false };
        let Some((_, need)) = self.sizing.needs.iter().find(|(id, _)| id == on) else { return true };
        let mut gains: Vec<(FilesystemId, Need)> = self
            .first
            .iter()
            .filter(|(before, ..)| before < turn)
            .map(|(_, on, need)| (*on, *need))
            .collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (before, measure) in measures[..at].iter().enumerate().filter_map(|(at, m)| Some((at, (*m)?))) {
            gains.extend(*known[before].get_or_insert_with(|| self.gain(before, measure)));
        }
        need.less(sum(&gains, *on)).is_met()
    }

    fn gain(&self, at: usize, measure: Measure) -> Option<(FilesystemId, Need)> {
        let Queued { turn, runner, cache, relation, .. } = &self.queue[at];
        let cache = Cache { measure: Some(measure), ..cache.clone() };
        gain_of(runner, &cache, *relation, self.sizing).filter(|_| !turn.is_of_own_job())
    }
}

/// Whether the removals of a plan cover the whole shortfall.
pub(super) fn meets(plan: &Plan, needs: &[(FilesystemId, Need)]) -> bool {
    needs.iter().all(|(on, need)| {
        let removals = plan.removals().filter(|action| is_on(action, *on));
        removals.fold(*need, |open, action| open.less(action.cache.yields())).is_met()
    })
}

/// Why the caches that were set aside are kept.
pub(super) fn kept(
    aside: Aside,
    runners: &[RunnerFacts],
    evidence: &[Vec<Evidence>],
    sizing: Sizing<'_>,
) -> Vec<Action> {
    let groups = shared_work_dirs::groups(&runners.iter().map(|facts| &facts.runner).collect::<Vec<_>>());
    let action = |(index, cache): (usize, Cache)| {
        let runner = runners[index].runner.clone();
        let relation = plan::relation(sizing.actor, index, &groups);
        let decision = match protection::against(&cache, &runner, &evidence[index], relation, sizing.rules) {
            // Its age was not asked for.
            Some(KeepReason::Protected(mut evidence)) => {
                evidence.retain(|evidence| evidence.kind != EvidenceKind::RecentContent);
                if evidence.is_empty() { KeepReason::NotNeeded } else { KeepReason::Protected(evidence) }
            }
            Some(reason) => reason,
            None => KeepReason::NotNeeded,
        };
        Action { runner, cache, decision: Decision::Keep(decision) }
    };
    aside.into_iter().map(action).collect()
}
