//! One round of a run: observe, plan, claim, delete.

use super::giving::Sorted;
use super::leftovers::{UndeletedClaim, holders, untried_leftovers};
use super::scrutiny::Scrutiny;
use super::sizing::{self, Sizing};
use super::{Cycle, CycleError, Next, Role, StaleUnits, SweepState, pressed, rules, trims};
use crate::lock::{ExclusiveLock, LockError, LockMode, SharedLock};
use crate::model::{
    Action, ActionResult, Cache, CacheRule, Decision, FilesystemId, HostFacts, Need, Plan, Retention, Runner,
    RunnerFacts,
};
use crate::observe::caches::open_work;
use crate::observe::host::{CacheScope, HostObserver, Leases};
use crate::observe::retention::Wanted;
use crate::observe::sharing::Counted;
use crate::observe::snapshot::Snapshot;
use crate::observe::strangers;
use crate::policy::liveness;
use crate::policy::plan::{self, Actor, OutOfReach, PlanInput};
use crate::reclaim::confinement::Confinement;
use crate::reclaim::execute::{ClaimedTree, Until};
use crate::reclaim::remove_tree::{Enough, RemovalExtent, RemoveError};
use crate::reclaim::trash;
use crate::sys::btrfs;
use crate::sys::dir::Dir;
use crate::text::escape;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// How many caches claimed in place are looked at under the lock in one round.
const MAX_LEFTOVERS: usize = 1024;

/// How long to wait for the space of one tree, and of all of a run, where it is freed later (btrfs).
const SETTLES_EACH: Duration = Duration::from_secs(5);
const SETTLES_IN_ALL: Duration = Duration::from_secs(20);

impl Cycle<'_> {
    /// One round.
    pub(super) fn round(
        &mut self,
        snapshot: &Snapshot<'_>,
        actor: &Actor,
        needs: &[(FilesystemId, Need)],
        state: &mut SweepState,
    ) -> Result<Next, CycleError> {
        let now = (self.clock)();
        let pressed = pressed(needs);
        let look = HostObserver {
            snapshot,
            leases: Leases::In(self.run),
            leftovers: self.leftovers(&pressed, state),
            now,
            deadline: self.deadline,
            memory: None,
        };
        let whose = match actor {
            Actor::Hook { own, .. } if !state.beyond_own => CacheScope::Runner(*own),
            _ => CacheScope::Everybody,
        };
        let mut searched = look.search(whose);
        if matches!(self.actor, Role::Hook { .. }) && !state.beyond_own && searched.is_empty() {
            // It has no caches of its own: no evidence is collected for them.
            state.beyond_own = true;
            return Ok(Next::Round);
        }
        let rules = rules(self.config, now);
        let sizing = Sizing { actor, needs, rules: &rules };
        let aside = self.size(&look, &mut searched, sizing, state);
        let mut facts = look.complete(searched);
        self.narrow(&mut facts, actor, &pressed, now);
        let looked = Instant::now();
        self.note(&facts, state);
        let lineage = self.lineage();
        let evidence = liveness::evidence(&facts, liveness::Exempt { lineage: &lineage });
        let input = PlanInput {
            actor,
            rules: &rules,
            cache_rules: self.limits(),
            needs,
            out_of_reach: self.out_of_reach(state),
            for_jobs: &state.for_jobs,
            dealt_with: &state.dealt_with,
        };
        let stale = if self.limits_are_due(state) { StaleUnits::Read } else { StaleUnits::Leave };
        let counted = Counted::under(&self.config.dedupe);
        let reading = trims::Reading { deadline: self.deadline, stale, counted };
        let plan = trims::plan(&facts, &evidence, &input, reading);
        if !aside.is_empty() && !sizing::meets(&plan, needs) {
            state.sizes_all = true;
            return Ok(Next::Round);
        }
        state.shortfalls.clone_from(&plan.shortfalls);
        state.kept = kept_by(&plan);
        state.kept.extend(sizing::kept(aside, &facts.runners, &evidence, sizing));
        let Sorted { now: removals, shared, never } = state.giving.sort(&plan, &facts.filesystems);
        state.kept.extend(never);
        let makes_way = !shared.is_empty();
        for action in shared {
            state.record(self.events, action, ActionResult::Kept, Duration::ZERO);
        }
        if removals.is_empty() && makes_way {
            // The plan counted on their space: another plan does without them.
            return Ok(Next::Round);
        }
        if removals.is_empty() && untried_leftovers(&facts, state).next().is_none() {
            // A hook's own caches do not suffice: the siblings are next, if the hook has not looked at them yet.
            let goes_on = matches!(self.actor, Role::Hook { .. }) && !state.beyond_own;
            state.beyond_own = true;
            return Ok(if goes_on { Next::Round } else { Next::Done });
        }
        let mut scrutiny = Scrutiny::new(&look, &facts, actor, &rules, &lineage);
        let Some(leftovers) = self.leftovers_of_claims(&facts, state)? else { return Ok(Next::Round) };
        let (taken, is_cut_short) = self.claim_all(&removals, &facts, &mut scrutiny, looked, state)?;
        state.limits_applied |= !is_cut_short;
        self.delete_all(leftovers, taken, &facts, state);
        Ok(Next::Round)
    }

    /// Caches that earlier claims have left in place. Read under the lock, so that no claim is under way that might still undo its rename.
    /// `None` when the round begins again.
    fn leftovers_of_claims<'f>(
        &mut self,
        facts: &'f HostFacts,
        state: &mut SweepState,
    ) -> Result<Option<Vec<UndeletedClaim<'f>>>, CycleError> {
        if untried_leftovers(facts, state).next().is_none() {
            return Ok(Some(Vec::new()));
        }
        let Some(lock) = self.lock_for_claims(facts, state)? else { return Ok(None) };
        let untried = untried_leftovers(facts, state).take(MAX_LEFTOVERS);
        let found = lock.while_looking(|| untried.filter(UndeletedClaim::is_there).collect());
        drop(lock);
        Ok(Some(found))
    }

    /// Removes from the facts what this run does not concern.
    fn narrow(&self, facts: &mut HostFacts, actor: &Actor, pressed: &[FilesystemId], now: SystemTime) {
        match (&self.actor, actor) {
            (Role::SelfClean { wanted, .. }, Actor::Hook { own, .. }) => {
                let limits = self.limits();
                let is_over = |cache: &Cache| {
                    let rule = limits.iter().find(|rule| rule.name == cache.rule);
                    rule.is_some_and(|rule| plan::exceeds(cache, rule, now).is_some())
                };
                let caches = &mut facts.runners[*own].caches;
                caches.retain(|cache| wanted.contains(&cache.below_work) || is_over(cache));
            }
            (Role::Hook { .. }, Actor::Hook { own, .. }) => keep_to_siblings(facts, *own, pressed),
            _ => {}
        }
    }

    /// Remembers remarks for people.
    fn note(&self, facts: &HostFacts, state: &mut SweepState) {
        state.notes.clone_from(&facts.notes);
        if matches!(self.actor, Role::Sweep) {
            let remarks = facts.remarks.iter().cloned().chain(self.config.remarks());
            let remarks = remarks.chain(strangers::remarks(facts, &self.config.runners.roots));
            state.notes.extend(remarks.map(|remark| remark.as_note()));
        }
    }

    /// The rules whose age and size limits this run applies.
    fn limits(&self) -> &[CacheRule] {
        match self.actor {
            Role::Sweep | Role::SelfClean { limits: true, .. } => &self.config.limits[..],
            Role::Hook { .. } | Role::SelfClean { .. } => &[],
        }
    }

    /// What is planned where the goal cannot be reached. Space held by others decides about a hook's own caches as well, unless its own
    /// suffice.
    fn out_of_reach<'s>(&self, state: &'s SweepState) -> OutOfReach<'s> {
        match self.actor {
            Role::SelfClean { .. } => OutOfReach::TakeAll,
            Role::Hook { .. } if !state.beyond_own => OutOfReach::Wait,
            Role::Hook { .. } | Role::Sweep => OutOfReach::AimLower(&state.ladders),
        }
    }

    /// Deletes the trees that were claimed in this round, and those that earlier claims have left in place.
    fn delete_all(
        &mut self,
        leftovers: Vec<UndeletedClaim<'_>>,
        taken: Vec<ClaimedTree<Dir>>,
        facts: &HostFacts,
        state: &mut SweepState,
    ) {
        if leftovers.is_empty() && taken.is_empty() {
            return;
        }
        let confinement = self.confinement(holders(facts), state);
        let of_taken = taken.iter().filter_map(|tree| {
            let action = tree.action();
            Some((action.cache.base(&action.runner)?.filesystem, tree.work().try_clone().ok()?))
        });
        let of_leftovers =
            leftovers.iter().filter_map(|left| Some((left.work.filesystem, open_work(left.work).ok()?)));
        let watched = state.giving.watch(&facts.filesystems, of_taken.chain(of_leftovers));
        for leftover in leftovers {
            if state.has_tried(leftover.work.id, leftover.below) {
                continue;
            }
            if let Some((parent, name)) = leftover.open() {
                let path = leftover.work.path.join(leftover.below);
                self.delete_trash(&confinement, (&parent, name), (&path, leftover.work.filesystem), state);
            }
            state.tried_trash.entry(leftover.work.id).or_default().insert(leftover.below.to_owned());
        }
        // Deleting a single tree begins with its largest files.
        if taken.len() > 1 {
            let patience = self.patience(state);
            let is_enough = || patience.is_over(taken.iter().filter_map(place));
            let until = Until { deadline: self.deadline, enough: Some(Enough(&is_enough)) };
            ClaimedTree::delete_largest(&taken, &confinement, until);
        }
        for tree in taken {
            self.delete(&confinement, tree, state);
        }
        state.giving.compare(watched, self.deadline);
    }

    /// Runners' leftovers are removed by a sweep, and under pressure by a hook that has reached the siblings.
    fn leftovers<'p>(&self, pressed: &'p [FilesystemId], state: &SweepState) -> Option<Wanted<'p>> {
        let is_asked = match self.actor {
            Role::Sweep => true,
            Role::Hook { .. } => state.beyond_own,
            Role::SelfClean { .. } => false,
        };
        is_asked.then(|| super::leftovers(self.config, pressed))
    }

    fn lineage(&self) -> Vec<crate::model::ProcessId> {
        match &self.actor {
            Role::Hook { lineage, .. } | Role::SelfClean { lineage, .. } => lineage.clone(),
            Role::Sweep => Vec::new(),
        }
    }

    pub(super) fn exclusive(&mut self) -> Result<ExclusiveLock, CycleError> {
        let asked = Instant::now();
        let lock = ExclusiveLock::acquire(self.run, self.wait())
            .map_err(|error| self.lock_failed(LockMode::Exclusive, error))?;
        self.events.lock_taken(LockMode::Exclusive, asked.elapsed());
        Ok(lock)
    }

    pub(super) fn shared(&mut self) -> Result<SharedLock, CycleError> {
        let asked = Instant::now();
        let lock = SharedLock::acquire(self.run, self.wait())
            .map_err(|error| self.lock_failed(LockMode::Shared, error))?;
        self.events.lock_taken(LockMode::Shared, asked.elapsed());
        Ok(lock)
    }

    fn wait(&self) -> Duration {
        self.config.hook.lock_wait.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    fn lock_failed(&mut self, mode: LockMode, error: LockError) -> CycleError {
        self.events.lock_failed(mode, &error);
        error.into()
    }

    /// Confines this run's deletions to the work directories of all runners and the trash in their roots. If the kernel cannot do that, it
    /// is reported once in a run.
    pub(super) fn confinement<'r>(
        &mut self,
        runners: impl Iterator<Item = &'r Runner>,
        state: &mut SweepState,
    ) -> Confinement {
        // One handle at a time: there may be more runners than a process may have files open.
        let borders = runners.flat_map(|runner| {
            let work = runner.work_dir().and_then(|work| open_work(work).ok());
            // Where retention claims files outside of the work directory.
            let root = open_work(&runner.root_dir()).and_then(|root| root.descend(trash::HOME)).ok();
            work.into_iter().chain(root)
        });
        let confinement = Confinement::to(borders);
        if let Some(lack) = confinement.lack().filter(|_| !state.told_unconfined) {
            self.events.unconfined(lack);
            state.told_unconfined = true;
        }
        confinement
    }

    /// Deletes a claimed tree, outside the lock.
    fn delete(&mut self, confinement: &Confinement, tree: ClaimedTree<Dir>, state: &mut SweepState) {
        let wanted = tree.action().cache.bytes() / 10 * 9;
        let before = tree.work().usage().map(|usage| usage.available_bytes).unwrap_or_default();
        let patience = self.patience(state);
        let on = tree.work().try_clone().ok().and_then(|work| Some((place(&tree)?.0, work)));
        let is_enough = || on.as_ref().is_some_and(|(on, work)| patience.is_over([(*on, work)]));
        let until = Until { deadline: self.deadline, enough: Some(Enough(&is_enough)) };
        let base = tree.action().cache.base(&tree.action().runner).map(|base| base.id);
        let left = base.zip(tree.slot().map(Path::to_owned));
        let deleted = tree.delete(confinement, until, self.events);
        let result = match deleted.extent() {
            RemovalExtent::Whole => ActionResult::Removed,
            RemovalExtent::Part { first: RemoveError::Enough { .. }, .. } => {
                if let Some((base, slot)) = left {
                    state.tried_trash.entry(base).or_default().insert(slot);
                }
                ActionResult::Removed
            }
            RemovalExtent::Part { .. } if Instant::now() > self.deadline => ActionResult::Deferred(
                "the time limit was reached; the rest is in trash and is deleted by the next run".into(),
            ),
            RemovalExtent::Part { first, .. } => {
                let why = first.explained();
                ActionResult::Failed(format!("a part of it could not be deleted and is in trash: {why}"))
            }
        };
        let is_gone = matches!(deleted.extent(), RemovalExtent::Whole);
        let is_left =
            matches!(deleted.extent(), RemovalExtent::Part { first: RemoveError::Enough { .. }, .. });
        let (outcome, work) = deleted.report(result, self.events);
        if is_left {
            state.giving.note(format!(
                "{}: the goal was met when a part of it was deleted; the rest is in trash and is deleted by the next run",
                escape::path(&outcome.action.cache.path)
            ));
        }
        state.remember(outcome);
        // Last, because a handle of a subvolume keeps its space allocated.
        if is_gone && btrfs::is_on_btrfs(&work) {
            self.settle(&work, before.saturating_add(wanted), state);
        }
    }

    /// Gives the space of deleted trees time to become free, so that the next measurement is accurate.
    fn settle(&self, work: &Dir, wanted: u64, state: &mut SweepState) {
        let begun = Instant::now();
        let patience = SETTLES_EACH.min(SETTLES_IN_ALL.saturating_sub(state.settled));
        btrfs::settle(work, wanted, (begun + patience).min(self.deadline));
        state.settled += begun.elapsed();
    }
}

/// A tree's disk, and a directory on it.
fn place(tree: &ClaimedTree<Dir>) -> Option<(FilesystemId, &Dir)> {
    let action = tree.action();
    Some((action.cache.base(&action.runner)?.filesystem, tree.work()))
}

fn kept_by(plan: &Plan) -> Vec<Action> {
    plan.actions.iter().filter(|a| matches!(a.decision, Decision::Keep(_))).cloned().collect()
}

/// A hook's own runner has a job, so its leftovers are in use; those of siblings are removed where the disk has a shortfall, not by age.
fn keep_to_siblings(facts: &mut HostFacts, own: usize, pressed: &[FilesystemId]) {
    for (index, RunnerFacts { runner, caches, .. }) in facts.runners.iter_mut().enumerate() {
        caches.retain(|cache| {
            let is_pressed = cache.base(runner).is_some_and(|base| pressed.contains(&base.filesystem));
            !Retention::NAMES.contains(&cache.rule.as_str()) || (index != own && is_pressed)
        });
    }
}
