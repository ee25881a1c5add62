//! The proof that a runner is idle, as a repair needs it.

use super::{RepairError, Repairs};
use crate::hygiene::policy::{self, JobIntake};
use crate::model::{Cache, Evidence, FileId, HostFacts, Runner};
use crate::observe::host::{CacheScope, HostObserver, Leases};
use crate::observe::snapshot::Snapshot;
use crate::policy::liveness;
use crate::setup::state::{RecordKind, StateDir};
use crate::sys::dir::Dir;

/// One look at the whole host.
pub(super) struct HostLook<'a> {
    snapshot: Snapshot<'a>,
    pub(super) facts: HostFacts,
    pub(super) evidence: Vec<Vec<Evidence>>,
}

/// The same, with one runner in view.
pub(super) struct RunnerLook<'a> {
    host: HostLook<'a>,
    index: usize,
    /// The evidence against touching its work directory.
    pub(super) objections: Vec<Evidence>,
}

impl RunnerLook<'_> {
    pub(super) fn runner(&self) -> &Runner {
        &self.host.facts.runners[self.index].runner
    }

    pub(super) fn evidence(&self) -> &[Evidence] {
        &self.host.evidence[self.index]
    }
}

impl<'a> Repairs<'a> {
    pub(super) fn look_at_all(&self) -> HostLook<'a> {
        let snapshot = Snapshot::take(self.config, self.proc, (self.clock)());
        let facts = self.by(&snapshot).at(CacheScope::Nobody);
        let evidence = liveness::evidence(&facts, liveness::Exempt::default());
        HostLook { snapshot, facts, evidence }
    }

    pub(super) fn look(&self, root: FileId) -> Result<RunnerLook<'a>, RepairError> {
        let host = self.look_at_all();
        let index = host.facts.runners.iter().position(|runner| runner.runner.root_id == root);
        let index =
            index.ok_or_else(|| RepairError::Gone("runners.roots no longer matches it".to_owned()))?;
        let service = self.service(&host.facts, root);
        let objections = policy::objections(&host.evidence[index], service, self.allow_unguarded());
        Ok(RunnerLook { host, index, objections })
    }

    /// The evidence against it now: Workers, leases and locks, which can change from one moment to the next.
    pub(super) fn recheck(&self, sight: &RunnerLook<'_>, area: &Cache, tree: Option<&Dir>) -> Vec<Evidence> {
        let look = self.by(&sight.host.snapshot);
        let facts = look.recheck(&sight.host.facts, sight.index, area, tree);
        let evidence = liveness::evidence(&facts, liveness::Exempt::default());
        let service = self.service(&sight.host.facts, sight.runner().root_id);
        policy::objections(&evidence[sight.index], service, self.allow_unguarded())
    }

    fn by<'s>(&'s self, snapshot: &'s Snapshot<'s>) -> HostObserver<'s> {
        let (leases, now) = (Leases::In(self.run), (self.clock)());
        HostObserver { snapshot, leases, leftovers: None, now, deadline: self.deadline, memory: None }
    }

    pub(super) fn allow_unguarded(&self) -> bool {
        self.config.runners.allow_unguarded
    }

    /// A runner is out of service when it was drained and its Listener has ended: without a Listener no job begins.
    pub(super) fn service(&self, facts: &HostFacts, root: FileId) -> JobIntake {
        let Some(index) = facts.runners.iter().position(|runner| runner.runner.root_id == root) else {
            return JobIntake::In;
        };
        let listens = facts.processes.listeners.iter().any(|listener| listener.runner == index);
        let state = StateDir::at(&self.config.paths.state_dir);
        match !listens && state.holds(RecordKind::Drained, &facts.runners[index].runner.root) {
            true => JobIntake::Out,
            false => JobIntake::In,
        }
    }
}
