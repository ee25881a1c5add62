//! The check under the lock: the evidence that protects a planned cache now.

use crate::model::{
    Action, Cache, DeclaredFacts, Evidence, EvidenceKind, FileId, HostFacts, KeepReason, Runner, RunnerFacts,
    Visibility, Weight,
};
use crate::observe::host::{HostObserver, Traces};
use crate::observe::openers;
use crate::policy::plan::{self, Actor};
use crate::policy::protection::{Relation, Rules};
use crate::policy::{liveness, protection, shared_work_dirs};
use crate::sys::dir::Dir;
use std::collections::HashMap;
use std::time::Instant;

/// The second look: the evidence that would protect a cache if it were planned now.
pub(super) struct Scrutiny<'a> {
    look: &'a HostObserver<'a>,
    actor: &'a Actor,
    rules: &'a Rules,
    lineage: &'a [crate::model::ProcessId],
    runners: Vec<Runner>,
    places: HashMap<FileId, usize>,
    /// Caches outside of work directories, by their identity.
    declared: HashMap<FileId, usize>,
    groups: Vec<usize>,
    members: Vec<Vec<usize>>,
    /// Whatever the first look could not see is not seen now either.
    visibility: Visibility,
    now: HostFacts,
}

impl<'a> Scrutiny<'a> {
    pub(super) fn new(
        look: &'a HostObserver<'a>,
        facts: &HostFacts,
        actor: &'a Actor,
        rules: &'a Rules,
        lineage: &'a [crate::model::ProcessId],
    ) -> Self {
        let runners: Vec<Runner> = facts.runners.iter().map(|runner| runner.runner.clone()).collect();
        let groups = shared_work_dirs::groups(&runners.iter().collect::<Vec<_>>());
        // Without the caches: they are no evidence.
        let without_caches = |runner: &RunnerFacts| RunnerFacts {
            runner: runner.runner.clone(),
            guarded: runner.guarded.clone(),
            other_hosts: runner.other_hosts.clone(),
            received: runner.received.clone(),
            locks: runner.locks.clone(),
            caches: Vec::new(),
            leftovers: Vec::new(),
        };
        let of_declared = |declared: &DeclaredFacts| {
            let caches = vec![Cache { largest: Default::default(), ..declared.cache().clone() }];
            let stand_in = RunnerFacts { caches, ..without_caches(&declared.stand_in) };
            DeclaredFacts { stand_in, users: declared.users.clone() }
        };
        Self {
            declared: facts.declared.iter().enumerate().map(|(index, d)| (d.cache().id, index)).collect(),
            look,
            actor,
            rules,
            lineage,
            places: runners.iter().enumerate().map(|(index, runner)| (runner.root_id, index)).collect(),
            members: shared_work_dirs::members(&groups),
            groups,
            runners,
            visibility: facts.processes.visibility.clone(),
            now: HostFacts {
                now: facts.now,
                runners: facts.runners.iter().map(without_caches).collect(),
                declared: facts.declared.iter().map(of_declared).collect(),
                processes: facts.processes.clone(),
                leases: facts.leases.clone(),
                turn: facts.turn.clone(),
                filesystems: Vec::new(),
                notes: Vec::new(),
                remarks: Vec::new(),
            },
        }
    }

    /// Looks at Workers and leases, and also at all processes if a job of these caches' runners may have begun or ended since the last look
    /// at them. Returns whether Workers and leases were enough.
    pub(super) fn look_again<'p>(&mut self, actions: impl Iterator<Item = &'p Action>) -> bool {
        let traces = Traces::of_all(actions.map(|action| self.traces(action)));
        self.look.refresh(&mut self.now, &self.runners, &self.visibility, traces)
    }

    /// Whether the last look may be acted on: no job has begun or ended since.
    pub(super) fn is_still(&self) -> bool {
        self.look.is_still(&self.now)
    }

    /// Whether every job that may use this cache removes the claim's slot before its steps begin, and changes what [`Self::is_still`]
    /// compares. Then the look before the rename may be taken before the host lock. This does not hold for a cache outside of work
    /// directories, because not every job's hook may remove its slot, nor for a work directory that lies in another one.
    pub(super) fn is_fenced(&self, action: &Action) -> bool {
        let is_declared = action.cache.base.is_some() || self.declared.contains_key(&action.cache.id);
        let Some(&index) = self.places.get(&action.runner.root_id).filter(|_| !is_declared) else {
            return false;
        };
        let work = |runner: usize| self.runners[runner].work_dir().map(|work| work.id);
        let has_same = |member: &usize| work(*member) == work(index);
        work(index).is_some()
            && self.members[self.groups[index]].iter().all(has_same)
            && self.traces(action) == Traces::Leases
    }

    /// The traces of jobs that may use this cache.
    fn traces(&self, action: &Action) -> Traces {
        let of = |users: &[usize]| {
            Traces::of_all(users.iter().map(|&user| Traces::of(&self.now.runners[user].guarded)))
        };
        if let Some(&index) = self.declared.get(&action.cache.id) {
            return of(&self.now.declared[index].users);
        }
        self.places
            .get(&action.runner.root_id)
            .map_or(Traces::None, |&index| of(&self.members[self.groups[index]]))
    }

    /// The evidence against a cache as of the last look, with a look at its locks now. `tree` is its present place, if it was moved.
    pub(super) fn doubts(&mut self, action: &Action, tree: Option<&Dir>) -> Vec<Evidence> {
        if let Some(&index) = self.declared.get(&action.cache.id) {
            return self.doubts_of_declared(index, action, tree);
        }
        let Some(&index) = self.places.get(&action.runner.root_id) else {
            return vec![Evidence::new(EvidenceKind::Visibility, Weight::CannotTell, "its runner vanished")];
        };
        let locks = self.look.locks_on(&self.runners[index], &action.cache, tree);
        let before = std::mem::replace(&mut self.now.runners[index].locks, locks);
        let exempt = liveness::Exempt { lineage: self.lineage };
        let evidence = liveness::of_group(&self.now, &self.members[self.groups[index]], exempt);
        self.now.runners[index].locks = before;
        let relation = plan::relation(self.actor, index, &self.groups);
        self.judge(action, &evidence, relation)
    }

    /// The same for a cache that has been renamed; it also asks, for as many files as the time allows, whether a process that no look
    /// shows has them open.
    pub(super) fn doubts_of_renamed(&mut self, action: &Action, tree: &Dir, until: Instant) -> Vec<Evidence> {
        let doubts = self.doubts(action, Some(tree));
        match doubts.is_empty() {
            true => openers::in_tree(tree, &action.cache, until).into_iter().collect(),
            false => doubts,
        }
    }

    fn doubts_of_declared(&mut self, index: usize, action: &Action, tree: Option<&Dir>) -> Vec<Evidence> {
        let locks = self.look.locks_on(&action.runner, &action.cache, tree);
        let before = std::mem::replace(&mut self.now.declared[index].stand_in.locks, locks);
        let exempt = liveness::Exempt { lineage: self.lineage };
        let users: Vec<(&str, Vec<Evidence>)> = self.now.declared[index]
            .users
            .iter()
            .map(|&user| {
                let evidence = liveness::of_group(&self.now, &self.members[self.groups[user]], exempt);
                (self.runners[user].name.as_str(), evidence)
            })
            .collect();
        let users = users.iter().map(|(name, evidence)| (*name, evidence.as_slice()));
        let evidence = liveness::of_declared(&self.now, index, users, exempt);
        self.now.declared[index].stand_in.locks = before;
        self.judge(action, &evidence, Relation::Declared)
    }

    fn judge(&self, action: &Action, evidence: &[Evidence], relation: Relation) -> Vec<Evidence> {
        match protection::against(&action.cache, &action.runner, evidence, relation, self.rules) {
            Some(KeepReason::Protected(evidence)) => evidence,
            Some(
                KeepReason::NotNeeded
                | KeepReason::SiblingsOff
                | KeepReason::GivesLittle
                | KeepReason::ForeignOwner(_),
            )
            | None => Vec::new(),
        }
    }
}
