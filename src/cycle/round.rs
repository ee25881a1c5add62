//! One round of a run: look, plan, claim, delete.

use super::batch::Taken;
use super::scrutiny::Scrutiny;
use super::{Cycle, CycleError, Next, Role, Stale, State, acting_as, pressed, rules, trims};
use crate::lock::{ExclusiveLock, LockError, LockMode, SharedLock};
use crate::model::{
    ActionResult, Cache, Decision, FilesystemId, HostFacts, Need, Retention, Runner, RunnerFacts, Uid,
    WorkDir,
};
use crate::observe::caches::open_work;
use crate::observe::filesystems::MountTable;
use crate::observe::host::{LARGEST, Leases, Look, Whose};
use crate::observe::measure::{self, measure};
use crate::observe::retention::Wanted;
use crate::observe::runners::Discovery;
use crate::observe::strangers;
use crate::policy::liveness;
use crate::policy::plan::{self, Actor, OutOfReach, Terms};
use crate::reclaim::confinement::Confinement;
use crate::reclaim::in_hand::InHand;
use crate::reclaim::remove_tree::{Extent, Options, Progress};
use crate::reclaim::trash::{self, Trash};
use crate::sys::btrfs;
use crate::sys::dir::Dir;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Threads that delete one tree.
const THREADS: usize = 2;

/// What was claimed in its own place is looked at under the lock: so many in one round.
const MAX_LEFTOVERS: usize = 1024;

/// How long the space of one tree, and of all of a run, is waited for where it becomes free later (btrfs).
const SETTLES_EACH: Duration = Duration::from_secs(5);
const SETTLES_IN_ALL: Duration = Duration::from_secs(20);

impl Cycle<'_> {
    /// One round.
    pub(super) fn round(
        &mut self,
        discovery: Discovery,
        actor: &Actor,
        needs: &[(FilesystemId, Need)],
        mounts: &MountTable,
        state: &mut State,
    ) -> Result<Next, CycleError> {
        let now = (self.clock)();
        let pressed = pressed(needs);
        let (proc, run, config) = (self.proc, self.run, self.config);
        let look = Look {
            proc,
            leases: Leases::In(run),
            mounts,
            rules: &config.caches,
            leftovers: self.leftovers(&pressed, state),
            local: &config.runners.local,
            now,
            deadline: self.deadline,
        };
        let whose = match actor {
            Actor::Hook { own, .. } if !state.beyond_own => Whose::Runner(*own),
            _ => Whose::Everybody,
        };
        let limits = match self.actor {
            Role::Sweep | Role::SelfClean { limits: true, .. } => &config.limits[..],
            Role::Hook { .. } | Role::SelfClean { .. } => &[],
        };
        let searched = look.search(discovery, whose);
        if matches!(self.actor, Role::Hook { .. }) && !state.beyond_own && searched.is_empty() {
            // Nothing of its own: no evidence is asked for what is not there.
            state.beyond_own = true;
            return Ok(Next::Round);
        }
        let mut facts = look.complete(searched);
        if let (Role::SelfClean { wanted, .. }, Actor::Hook { own, .. }) = (&self.actor, actor) {
            let is_over = |cache: &Cache| {
                let rule = limits.iter().find(|rule| rule.name == cache.rule);
                rule.is_some_and(|rule| plan::exceeds(cache, rule, now).is_some())
            };
            let caches = &mut facts.runners[*own].caches;
            caches.retain(|cache| wanted.contains(&cache.below_work) || is_over(cache));
        }
        if let (Role::Hook { .. }, Actor::Hook { own, .. }) = (&self.actor, actor) {
            keep_to_siblings(&mut facts, *own, &pressed);
        }
        let looked = Instant::now();
        state.notes.clone_from(&facts.notes);
        if matches!(self.actor, Role::Sweep) {
            let remarks = facts.remarks.iter().cloned().chain(config.remarks());
            let remarks = remarks.chain(strangers::remarks(&facts));
            state.notes.extend(remarks.map(|remark| remark.as_note()));
        }
        let lineage = self.lineage();
        let evidence = liveness::evidence(&facts, liveness::Exempt { lineage: &lineage });
        let rules = rules(config, now);
        // What others hold decides over a hook's own caches as well, unless its own suffice.
        let out_of_reach = match self.actor {
            Role::SelfClean { .. } => OutOfReach::TakeAll,
            Role::Hook { .. } if !state.beyond_own => OutOfReach::Wait,
            Role::Hook { .. } | Role::Sweep => OutOfReach::AimLower(&state.ladders),
        };
        let terms = Terms {
            actor,
            rules: &rules,
            cache_rules: limits,
            needs,
            out_of_reach,
            for_jobs: &state.for_jobs,
            dealt_with: &state.dealt_with,
        };
        let stale = if self.limits_are_due(state) { Stale::Read } else { Stale::Leave };
        let plan = trims::plan(&facts, &evidence, &terms, (self.deadline, stale));
        state.shortfalls.clone_from(&plan.shortfalls);
        state.kept =
            plan.actions.iter().filter(|a| matches!(a.decision, Decision::Keep(_))).cloned().collect();

        let (removals, held_back) = state.giving.sort(&plan, &facts.filesystems);
        state.kept.extend(held_back);
        if removals.is_empty() && untried_leftovers(&facts, state).next().is_none() {
            // A hook's own caches do not suffice: on to the siblings, if it has not looked at them yet.
            let goes_on = matches!(self.actor, Role::Hook { .. }) && !state.beyond_own;
            state.beyond_own = true;
            return Ok(if goes_on { Next::Round } else { Next::Done });
        }
        let mut scrutiny = Scrutiny::new(&look, &facts, actor, &rules, &lineage);
        let Some(lock) = self.lock_for_claims(&facts, state)? else { return Ok(Next::Round) };
        // Seen under the lock, so that no claim is under way that might still put it back.
        let leftovers: Vec<Leftover<'_>> =
            untried_leftovers(&facts, state).take(MAX_LEFTOVERS).filter(Leftover::is_there).collect();
        let (taken, is_cut_short) = self.claim_all(lock, &removals, &facts, &mut scrutiny, looked, state)?;
        state.limits_applied |= !is_cut_short;
        if !(leftovers.is_empty() && taken.is_empty()) {
            let confinement = self.confinement(holders(&facts), state);
            let of_taken = taken.iter().filter_map(|tree| {
                Some((tree.action.cache.base(&tree.action.runner)?.filesystem, tree.work.try_clone().ok()?))
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
                    self.delete_trash(
                        &confinement,
                        (&parent, name),
                        (&path, leftover.work.filesystem),
                        state,
                    );
                }
                state.tried_trash.entry(leftover.work.id).or_default().insert(leftover.below.to_owned());
            }
            for tree in taken {
                self.delete(&confinement, tree, state);
            }
            state.giving.compare(watched, self.deadline);
        }
        Ok(Next::Round)
    }

    /// What runners have left over is a sweep's business, and under pressure a hook's that has come to its siblings.
    fn leftovers<'p>(&self, pressed: &'p [FilesystemId], state: &State) -> Option<Wanted<'p>> {
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
        self.witness.lock_taken(LockMode::Exclusive, asked.elapsed());
        Ok(lock)
    }

    fn shared(&mut self) -> Result<SharedLock, CycleError> {
        let asked = Instant::now();
        let lock = SharedLock::acquire(self.run, self.wait())
            .map_err(|error| self.lock_failed(LockMode::Shared, error))?;
        self.witness.lock_taken(LockMode::Shared, asked.elapsed());
        Ok(lock)
    }

    fn wait(&self) -> Duration {
        self.config.hook.lock_wait.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    fn lock_failed(&mut self, mode: LockMode, error: LockError) -> CycleError {
        self.witness.lock_failed(mode, &error);
        error.into()
    }

    /// The border around this run's deletions: the work directories of all runners, and the trash in their roots. Without the kernel's help that is told,
    /// once in a run.
    fn confinement<'r>(
        &mut self,
        runners: impl Iterator<Item = &'r Runner>,
        state: &mut State,
    ) -> Confinement {
        // One handle at a time: there may be more runners than a process may have files open.
        let borders = runners.flat_map(|runner| {
            let work = runner.work_dir().and_then(|work| open_work(work).ok());
            // Where retention claims what lies outside of the work directory.
            let root = open_work(&runner.root_dir()).and_then(|root| root.descend(trash::HOME)).ok();
            work.into_iter().chain(root)
        });
        let confinement = Confinement::to(borders);
        if let Some(lack) = confinement.lack().filter(|_| !state.told_unconfined) {
            self.witness.unconfined(lack);
            state.told_unconfined = true;
        }
        confinement
    }

    /// Deletes a claimed tree, outside the lock.
    fn delete(&mut self, confinement: &Confinement, taken: Taken, state: &mut State) {
        let begun = Instant::now();
        let Taken { action, work, claimed } = taken;
        let cache = &action.cache;
        let progress = Arc::new(Progress::default());
        let bytes = cache.bytes();
        let before = work.usage().map(|usage| usage.available_bytes).unwrap_or_default();
        let extent = {
            let _shown =
                self.witness.deleting(&cache.path, cache.measure.map(|m| m.files), cache.bytes(), &progress);
            let options = Options { threads: THREADS, deadline: Some(self.deadline), progress: &progress };
            confinement.delete((&claimed.parent, &claimed.name), &cache.largest, &options)
        };
        let owner = action.cache.base(&action.runner).map(|dir| dir.owner);
        if let (Some(slot), Some(owner)) = (&claimed.slot, owner)
            && let Ok(Some(trash)) = Trash::open(&work, owner)
        {
            trash.discard(slot);
        }
        let is_gone = matches!(extent, Extent::Whole);
        let result = match extent {
            Extent::Whole => ActionResult::Removed,
            Extent::Part { .. } if Instant::now() > self.deadline => ActionResult::Deferred(
                "time ran out; the rest lies in trash and is deleted by the next run".into(),
            ),
            Extent::Part { first, .. } => {
                let why = first.explained();
                ActionResult::Failed(format!("a part of it could not be deleted and lies in trash: {why}"))
            }
        };
        state.record(self.witness, action, result, begun.elapsed());
        claimed.in_hand.filter(|_| is_gone).into_iter().for_each(InHand::told);
        // Last: a handle of a subvolume keeps its space.
        if is_gone && btrfs::is_on_btrfs(&work) {
            self.settle(&work, before.saturating_add(bytes / 10 * 9), state);
        }
    }

    /// Gives the space of what is deleted a while to become free, so that what is measured next is true.
    fn settle(&self, work: &Dir, wanted: u64, state: &mut State) {
        let begun = Instant::now();
        let patience = SETTLES_EACH.min(SETTLES_IN_ALL.saturating_sub(state.settled));
        btrfs::settle(work, wanted, (begun + patience).min(self.deadline));
        state.settled += begun.elapsed();
    }

    /// Deletes what earlier runs have left in trash, and what other guards have claimed and not yet deleted.
    pub(super) fn empty_trash(&mut self, discovery: &Discovery, state: &mut State) -> Result<(), CycleError> {
        let found = {
            // Under the lock no claim is under way that might still put its tree back.
            let lock = self.shared()?;
            state.last_claims = lock.last_claims();
            let works = self.works_in_reach(&discovery.holders());
            works.iter().flat_map(|work| untried(work, state)).collect::<Vec<_>>()
        };
        if found.is_empty() {
            return Ok(());
        }
        let confinement = self.confinement(discovery.holders().iter(), state);
        for (work, name) in found {
            let tried = Path::new(&name);
            if state.has_tried(work.id, tried) {
                continue;
            }
            // Opened one after the other: there may be more of them than a process may have files open.
            if let Some(trash) = trash_of(&work) {
                let path = work.path.join(".disk-guard/trash").join(&name);
                self.delete_trash(&confinement, (trash.dir(), &name), (&path, work.filesystem), state);
            }
            state.tried_trash.entry(work.id).or_default().insert(tried.to_owned());
        }
        Ok(())
    }

    /// Whether another guard has claimed something since the last look: its space is about to be free.
    pub(super) fn newly_claimed(&self, facts: &HostFacts, state: &State) -> bool {
        let runners: Vec<Runner> = holders(facts).cloned().collect();
        self.works_in_reach(&runners).iter().any(|work| !untried(work, state).is_empty())
    }

    /// The work directories whose trash is this run's business: all of them in a sweep, those on its own filesystem for a
    /// hook; and of either only what this user can delete from. In a sweep also the runners' roots, where retention claims.
    fn works_in_reach(&self, runners: &[Runner]) -> Vec<WorkDir> {
        let filesystem = match &self.actor {
            Role::Sweep => None,
            Role::Hook { root, .. } | Role::SelfClean { root, .. } => {
                let own = runners.iter().find(|runner| runner.root_id == *root).and_then(Runner::work_dir);
                own.map(|work| work.filesystem)
            }
        };
        let me = acting_as();
        let mut seen = HashSet::new();
        let works = runners.iter().filter_map(Runner::work_dir).cloned();
        let roots = runners.iter().filter(|_| matches!(self.actor, Role::Sweep)).map(Runner::root_dir);
        works
            .chain(roots)
            .filter(|work| filesystem.is_none_or(|fs| fs == work.filesystem))
            .filter(|work| me == Uid::ROOT || work.owner == me)
            .filter(|work| seen.insert(work.id))
            .collect()
    }

    fn delete_trash(
        &mut self,
        confinement: &Confinement,
        (parent, name): (&Dir, &OsStr),
        (path, on): (&Path, FilesystemId),
        state: &mut State,
    ) {
        let entry = match parent.descend(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            entry => entry.ok(),
        };
        let mut in_hand = entry.as_ref().and_then(InHand::take);
        let progress = Arc::new(Progress::default());
        let sizing = measure::Options { threads: THREADS, largest: LARGEST, deadline: Some(self.deadline) };
        let (size, largest) = match parent.descend(name).and_then(|tree| measure(&tree, &sizing)) {
            Ok(scan) => (Some(scan.measure), scan.largest),
            Err(_) => (None, Vec::new()),
        };
        let bytes = size.map_or(0, |size| size.bytes);
        let extent = {
            let _shown = self.witness.deleting(path, size.map(|size| size.files), bytes, &progress);
            let options = Options { threads: THREADS, deadline: Some(self.deadline), progress: &progress };
            confinement.delete((parent, name), &largest, &options)
        };
        if let (Some(entry), None) = (&entry, &in_hand) {
            in_hand = InHand::inherit(entry);
            if in_hand.is_none() {
                // A living guard is at it, suspended perhaps: it has been helped, and tells of it.
                return;
            }
        }
        match extent {
            Extent::Whole => {
                state.giving.add(on, bytes);
                self.witness.trash(path, bytes, None);
                in_hand.into_iter().for_each(InHand::told);
            }
            Extent::Part { first, .. } => self.witness.trash(path, bytes, Some(&first.explained())),
        }
    }
}

/// The runners, and what declared caches are claimed from.
fn holders(facts: &HostFacts) -> impl Iterator<Item = &Runner> {
    let declared = facts.declared.iter().map(|declared| &declared.stand_in.runner);
    facts.runners.iter().map(|runner| &runner.runner).chain(declared)
}

/// The entries of one work directory's trash that this run has not tried to delete yet.
fn untried(work: &WorkDir, state: &State) -> Vec<(WorkDir, OsString)> {
    let names = trash_of(work).and_then(|trash| trash.entries().ok()).unwrap_or_default();
    let fresh = names.into_iter().filter(|name| !state.has_tried(work.id, Path::new(name)));
    fresh.map(|name| (work.clone(), name)).collect()
}

fn trash_of(work: &WorkDir) -> Option<Trash> {
    open_work(work).and_then(|dir| Trash::open(&dir, work.owner)).ok().flatten()
}

/// A hook's own runner has a job, and its leftovers are in use; those of siblings go where the disk lacks something, not with age.
fn keep_to_siblings(facts: &mut HostFacts, own: usize, pressed: &[FilesystemId]) {
    for (index, RunnerFacts { runner, caches, .. }) in facts.runners.iter_mut().enumerate() {
        caches.retain(|cache| {
            let is_pressed = cache.base(runner).is_some_and(|base| pressed.contains(&base.filesystem));
            !Retention::NAMES.contains(&cache.rule.as_str()) || (index != own && is_pressed)
        });
    }
}

/// What was claimed in its own place and not deleted.
struct Leftover<'f> {
    work: &'f WorkDir,
    below: &'f Path,
}

impl<'f> Leftover<'f> {
    /// The directory that holds it, and its name there. Opened when it is needed: there may be thousands.
    fn open(&self) -> Option<(Dir, &'f OsStr)> {
        let above = self.below.parent().unwrap_or(Path::new("."));
        let parent = open_work(self.work).and_then(|dir| dir.descend(above)).ok()?;
        Some((parent, self.below.file_name()?))
    }

    fn is_there(&self) -> bool {
        self.open().is_some_and(|(parent, name)| parent.status_of(name).is_ok_and(|status| status.is_dir()))
    }
}

fn untried_leftovers<'f>(facts: &'f HostFacts, state: &State) -> impl Iterator<Item = Leftover<'f>> {
    let all = facts.runners.iter().filter_map(|runner| Some((runner.runner.work_dir()?, &runner.leftovers)));
    let all = all.flat_map(|(work, leftovers)| leftovers.iter().map(move |below| Leftover { work, below }));
    all.filter(|leftover| !state.has_tried(leftover.work.id, leftover.below))
}
