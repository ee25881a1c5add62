//! One round of a run: look, plan, claim, delete.

use super::{Cycle, CycleError, Next, Role, State, acting_as, rules};
use crate::lock::{ExclusiveLock, LockError, SharedLock};
use crate::model::{
    Action, ActionResult, Bearing, Decision, Evidence, EvidenceKind, FilesystemId, HostFacts, KeepReason,
    LargeFile, Need, Runner, Uid, WorkDir,
};
use crate::observe::caches::open_work;
use crate::observe::filesystems::MountTable;
use crate::observe::host::{LARGEST, Leases, Look, Whose};
use crate::observe::measure::{self, measure};
use crate::observe::runners::Discovery;
use crate::policy::plan::{self, Actor, Terms};
use crate::policy::{fate, liveness, protection};
use crate::reclaim::claim::{Claim, Claimed, Moment, claim};
use crate::reclaim::confinement::Confinement;
use crate::reclaim::remove_tree::{Extent, Options, Progress, RemoveError, remove_tree};
use crate::reclaim::trash::Trash;
use crate::sys::dir::Dir;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Threads that delete one tree.
const THREADS: usize = 2;

/// A claimed tree and whose it was.
struct Taken {
    action: Action,
    work: Dir,
    claimed: Claimed,
}

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
        let (proc, run, config) = (self.proc, self.run, self.config);
        let look = Look {
            proc,
            leases: Leases::In(run),
            mounts,
            rules: &config.caches,
            now,
            deadline: self.deadline,
        };
        let whose = match actor {
            Actor::Hook { own, .. } if !state.beyond_own => Whose::Runner(*own),
            _ => Whose::Everybody,
        };
        let mut facts = look.at(discovery, whose);
        if let (Role::SelfClean { wanted, .. }, Actor::Hook { own, .. }) = (&self.actor, actor) {
            facts.runners[*own].caches.retain(|cache| wanted.contains(&cache.below_work));
        }
        // What could not be deleted would be found again in each round.
        for runner in &mut facts.runners {
            let Some(work) = runner.runner.work_dir() else { continue };
            runner.leftovers.retain(|below| !state.tried_leftovers.contains(&work.path.join(below)));
        }
        let looked = Instant::now();
        state.notes.clone_from(&facts.notes);
        let lineage = self.lineage();
        let evidence = liveness::evidence(&facts, liveness::Exempt { lineage: &lineage });
        let rules = rules(config, now);
        let terms =
            Terms { actor, rules: &rules, cache_rules: &config.caches, needs, dealt_with: &state.dealt_with };
        let plan = plan::make(&facts, &evidence, &terms);
        state.kept =
            plan.actions.iter().filter(|a| matches!(a.decision, Decision::Keep(_))).cloned().collect();

        let leftovers = facts.runners.iter().any(|runner| !runner.leftovers.is_empty());
        if plan.removals().next().is_none() && !leftovers {
            // A hook's own caches do not suffice: on to the siblings, if it has not looked at them yet.
            let goes_on = matches!(self.actor, Role::Hook { .. }) && !state.beyond_own;
            state.beyond_own = true;
            return Ok(if goes_on { Next::Round } else { Next::Done });
        }
        let lock = self.exclusive()?;
        if self.newly_claimed(&facts, state) {
            return Ok(Next::Round);
        }
        let leftovers = self.open_leftovers(&facts);
        let mut taken = Vec::new();
        let mut is_stale = false;
        for action in plan.removals() {
            is_stale = looked.elapsed() > config.hook.lock_wait / 2;
            if is_stale {
                break;
            }
            let doubt = Doubt { look: &look, facts: &facts, actor, rules: &rules, lineage: &lineage };
            if let Some(tree) = self.claim(&lock, action, &doubt, state) {
                taken.push(tree);
            }
        }
        drop(lock);
        state.limits_applied |= !is_stale;
        if !(leftovers.is_empty() && taken.is_empty()) {
            let confinement = self.confinement(facts.runners.iter().map(|runner| &runner.runner), state);
            for (dir, name, path) in leftovers {
                self.delete_trash(&confinement, (&dir, &name), &path, state);
                state.tried_leftovers.insert(path);
            }
            for tree in taken {
                self.delete(&confinement, tree, state);
            }
        }
        Ok(Next::Round)
    }

    fn lineage(&self) -> Vec<crate::model::Pid> {
        match &self.actor {
            Role::Hook { lineage, .. } | Role::SelfClean { lineage, .. } => lineage.clone(),
            Role::Sweep => Vec::new(),
        }
    }

    fn exclusive(&mut self) -> Result<ExclusiveLock, CycleError> {
        let wait = self.wait();
        ExclusiveLock::acquire(self.run, wait).map_err(|error| self.lock_failed(error))
    }

    fn wait(&self) -> Duration {
        self.config.hook.lock_wait.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    fn lock_failed(&mut self, error: LockError) -> CycleError {
        self.witness.lock_failed(&error);
        error.into()
    }

    /// Claims one cache; `None` when that did not come about, which is then recorded.
    fn claim(
        &mut self,
        lock: &ExclusiveLock,
        action: &Action,
        doubt: &Doubt<'_>,
        state: &mut State,
    ) -> Option<Taken> {
        let begun = Instant::now();
        let work_dir = action.runner.work_dir()?;
        let result = match open_work(work_dir) {
            Ok(work) => {
                match claim(lock, &work, work_dir.owner, &action.cache, &mut |moment| {
                    doubt.about(action, moment)
                }) {
                    Claim::Claimed(claimed) => {
                        self.witness.claimed(action);
                        return Some(Taken { action: action.clone(), work, claimed });
                    }
                    Claim::Restored(evidence) => ActionResult::Restored(evidence),
                    Claim::Changed(reason) => ActionResult::Changed(reason),
                    Claim::Failed(error) => {
                        ActionResult::Failed(format!("it could not be moved to trash: {error}"))
                    }
                    Claim::Refused(evidence) => {
                        let action = Action {
                            decision: Decision::Keep(KeepReason::Protected(evidence)),
                            ..action.clone()
                        };
                        state.record(self.witness, action, ActionResult::Kept, begun.elapsed());
                        return None;
                    }
                }
            }
            Err(error) => ActionResult::Changed(format!("the work directory cannot be opened: {error}")),
        };
        state.record(self.witness, action.clone(), result, begun.elapsed());
        None
    }

    /// The border around this run's deletions: the work directories of all runners. Without the kernel's help that is told,
    /// once in a run.
    fn confinement<'r>(
        &mut self,
        runners: impl Iterator<Item = &'r Runner>,
        state: &mut State,
    ) -> Confinement {
        let works: Vec<Dir> =
            runners.filter_map(Runner::work_dir).filter_map(|work| open_work(work).ok()).collect();
        let confinement = Confinement::to(&works);
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
        let extent = {
            let _shown =
                self.witness.deleting(&cache.path, cache.measure.map(|m| m.files), cache.bytes(), &progress);
            let options = Options { threads: THREADS, deadline: Some(self.deadline), progress: &progress };
            delete(confinement, (&claimed.parent, &claimed.name), &cache.largest, &options)
        };
        let owner = action.runner.work_dir().map(|dir| dir.owner);
        if let (Some(slot), Some(owner)) = (&claimed.slot, owner)
            && let Ok(Some(trash)) = Trash::open(&work, owner)
        {
            trash.discard(slot);
        }
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
    }

    /// Deletes what earlier runs have left in trash, and what other guards have claimed and not yet deleted.
    pub(super) fn empty_trash(&mut self, discovery: &Discovery, state: &mut State) -> Result<(), CycleError> {
        let found = {
            // Under the lock no claim is under way that might still put its tree back.
            let _lock =
                SharedLock::acquire(self.run, self.wait()).map_err(|error| self.lock_failed(error))?;
            let works = self.works_in_reach(&discovery.runners);
            works.into_iter().flat_map(|work| untried(work, state)).collect::<Vec<_>>()
        };
        if found.is_empty() {
            return Ok(());
        }
        let confinement = self.confinement(discovery.runners.iter(), state);
        for (work, trash, name) in found {
            let path = work.path.join(".disk-guard/trash").join(&name);
            self.delete_trash(&confinement, (trash.dir(), &name), &path, state);
            state.tried_trash.insert((work.id, name));
        }
        Ok(())
    }

    /// Whether another guard has claimed something since the last look: its space is about to be free.
    fn newly_claimed(&self, facts: &HostFacts, state: &State) -> bool {
        let runners: Vec<Runner> = facts.runners.iter().map(|runner| runner.runner.clone()).collect();
        self.works_in_reach(&runners).into_iter().any(|work| !untried(work, state).is_empty())
    }

    /// The work directories whose trash is this run's business: all of them in a sweep, those on its own filesystem for a
    /// hook; and of either only what this user can delete from.
    fn works_in_reach<'r>(&self, runners: &'r [Runner]) -> Vec<&'r WorkDir> {
        let filesystem = match &self.actor {
            Role::Sweep => None,
            Role::Hook { root, .. } | Role::SelfClean { root, .. } => {
                let own = runners.iter().find(|runner| runner.root_id == *root).and_then(Runner::work_dir);
                own.map(|work| work.filesystem)
            }
        };
        let me = acting_as();
        let mut seen = HashSet::new();
        let works = runners.iter().filter_map(Runner::work_dir);
        works
            .filter(|work| filesystem.is_none_or(|fs| fs == work.filesystem))
            .filter(|work| me == Uid::ROOT || work.owner == me)
            .filter(|work| seen.insert(work.id))
            .collect()
    }

    /// Opens what was claimed in its own place and not deleted. Under the lock, so that no claim is under way.
    fn open_leftovers(&self, facts: &HostFacts) -> Vec<(Dir, OsString, std::path::PathBuf)> {
        let mut found = Vec::new();
        for runner in &facts.runners {
            let Some(work) = runner.runner.work_dir() else { continue };
            let Ok(dir) = open_work(work) else { continue };
            for below in &runner.leftovers {
                let parent = dir.descend(below.parent().unwrap_or(Path::new(".")));
                if let (Ok(parent), Some(name)) = (parent, below.file_name())
                    && parent.status_of(name).is_ok_and(|status| status.is_dir())
                {
                    found.push((parent, name.to_owned(), work.path.join(below)));
                }
            }
        }
        found
    }

    fn delete_trash(
        &mut self,
        confinement: &Confinement,
        (parent, name): (&Dir, &OsStr),
        path: &Path,
        state: &mut State,
    ) {
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
            delete(confinement, (parent, name), &largest, &options)
        };
        match extent {
            Extent::Whole => {
                state.freed_bytes += bytes;
                self.witness.trash(path, bytes, None);
            }
            Extent::Part { first, .. } => self.witness.trash(path, bytes, Some(&first.explained())),
        }
    }
}

/// Deletes one tree within its border. What has not been begun is left as a whole.
fn delete(
    confinement: &Confinement,
    (parent, name): (&Dir, &OsStr),
    largest: &[LargeFile],
    options: &Options<'_>,
) -> Extent {
    match confinement.run(|| remove_tree(parent, name, largest, options)) {
        Ok(removal) => removal.extent,
        Err(source) => Extent::Part { first: RemoveError::Unconfined { source }, errors: 1 },
    }
}

/// The entries of one work directory's trash that this run has not tried to delete yet.
fn untried<'w>(work: &'w WorkDir, state: &State) -> Vec<(&'w WorkDir, Trash, OsString)> {
    let opened = open_work(work).and_then(|dir| Trash::open(&dir, work.owner));
    let Ok(Some(trash)) = opened else { return Vec::new() };
    let names = trash.entries().unwrap_or_default();
    let fresh = names.into_iter().filter(|name| !state.tried_trash.contains(&(work.id, name.clone())));
    fresh
        .filter_map(|name| Some((work, Trash::open(&open_work(work).ok()?, work.owner).ok()??, name)))
        .collect()
}

/// The second look, under the lock: what would speak against this cache if it were planned now.
struct Doubt<'a> {
    look: &'a Look<'a>,
    facts: &'a HostFacts,
    actor: &'a Actor,
    rules: &'a protection::Rules,
    lineage: &'a [crate::model::Pid],
}

impl Doubt<'_> {
    fn about(&self, action: &Action, moment: Moment<'_>) -> Vec<Evidence> {
        let Some(index) =
            self.facts.runners.iter().position(|runner| runner.runner.root_id == action.runner.root_id)
        else {
            return vec![Evidence::new(EvidenceKind::Visibility, Bearing::CannotTell, "its runner vanished")];
        };
        let tree = match moment {
            Moment::Before => None,
            Moment::After(tree) => Some(tree),
        };
        let now = self.look.again(self.facts, index, &action.cache, tree);
        let evidence = liveness::evidence(&now, liveness::Exempt { lineage: self.lineage });
        let runners: Vec<&Runner> = now.runners.iter().map(|runner| &runner.runner).collect();
        let relation = plan::relation(self.actor, index, &fate::groups(&runners));
        match protection::against(&action.cache, &action.runner, &evidence[index], relation, self.rules) {
            Some(KeepReason::Protected(evidence)) => evidence,
            Some(KeepReason::NotNeeded | KeepReason::SiblingsOff | KeepReason::ForeignOwner(_)) | None => {
                Vec::new()
            }
        }
    }
}
