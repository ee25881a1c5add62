//! Whether any job of this host may be building, now and while a tool runs.

use crate::config::Config;
use crate::cycle::{PreviewScope, StaleUnits, preview};
use crate::model::stores::HostState;
use crate::model::{Guarded, Liveness, Runner, Visibility, Weight};
use crate::observe::host::{CacheScope, Leases};
use crate::observe::processes::{self, Given};
use crate::observe::snapshot::Snapshot;
use crate::policy::liveness;
use crate::run_dir::{Records, RunDir};
use crate::sys::process::Proc;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::OsString;
use std::time::{Duration, Instant, SystemTime};

/// The maximum time of one look at the live processes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often leases are checked: the names of a small directory in memory.
const LEASES: Duration = Duration::from_millis(20);

/// How often Workers are checked: the names of all processes. This shows jobs without our hook.
const WORKERS: Duration = Duration::from_millis(500);

/// The jobs that a collection would disturb.
pub trait HostJobs {
    /// Whether every runner is idle now. From here on new jobs are detected.
    fn state(&self) -> HostState;
    /// The jobs that have begun since; asked repeatedly while a tool runs.
    fn arrival(&self) -> Option<String>;
}

/// This host.
pub struct ThisHost<'a> {
    config: &'a Config,
    proc: &'a Proc,
    run: Option<&'a RunDir>,
    clock: fn() -> SystemTime,
    /// The leases that were there at the last [`HostJobs::state`].
    leases: RefCell<Option<HashSet<OsString>>>,
    looked: Cell<(Instant, Instant)>,
    come: RefCell<Option<String>>,
}

impl<'a> ThisHost<'a> {
    /// This host, with its shared directory; none where no hook has ever run.
    pub fn new(
        config: &'a Config,
        proc: &'a Proc,
        run: Option<&'a RunDir>,
        clock: fn() -> SystemTime,
    ) -> Self {
        let now = Instant::now();
        Self {
            config,
            proc,
            run,
            clock,
            leases: RefCell::new(None),
            looked: Cell::new((now, now)),
            come: RefCell::new(None),
        }
    }

    fn roll(&self) -> Option<HashSet<OsString>> {
        match self.run {
            Some(run) => Some(run.roll(Records::Leases).ok()?.1.into_iter().collect()),
            None => Some(HashSet::new()),
        }
    }

    fn first_in_the_way(&self) -> Option<String> {
        let leases = self.run.map_or(Leases::NoneYet, Leases::In);
        let until = Instant::now() + PATIENCE;
        let scope = PreviewScope {
            whose: |_: &[Runner]| CacheScope::Nobody,
            rooms: &[],
            stale: StaleUnits::Leave,
            memory: None,
        };
        let snapshot = Snapshot::take(self.config, self.proc, (self.clock)());
        let seen = preview(&snapshot, leases, until, scope);
        let runners = &seen.facts.runners;
        if runners.is_empty() {
            return Some("no runner was found, so none is known to be idle; see runners.roots".to_owned());
        }
        for (facts, evidence) in runners.iter().zip(&seen.evidence) {
            let name = facts.runner.own_name();
            let state = liveness::judge(evidence);
            if state != Liveness::Idle {
                let telling = |weight| evidence.iter().find(move |evidence| evidence.weight == weight);
                let first = telling(Weight::InUse).or_else(|| telling(Weight::CannotTell));
                let why = first.map(|first| format!(": {}", first.detail)).unwrap_or_default();
                return Some(format!("{name} is {}{why}", state.as_str()));
            }
            if !self.config.runners.allow_unguarded && !matches!(facts.guarded, Guarded::Yes) {
                return Some(format!("{name} is idle, but no hook of ours would report its next job"));
            }
        }
        // Also one of no known runner: in a container it may use this host's engine.
        let worker = seen.facts.processes.workers.first();
        worker.map(|worker| format!("a Runner.Worker is at work (pid {})", worker.process.pid))
    }

    fn newcomer(&self) -> Option<String> {
        let (leases, workers) = self.looked.get();
        let now = Instant::now();
        if now.duration_since(leases) < LEASES {
            return None;
        }
        let look_at_workers = now.duration_since(workers) >= WORKERS;
        self.looked.set((now, if look_at_workers { now } else { workers }));
        match (&*self.leases.borrow(), self.roll()) {
            (Some(before), Some(now)) if now.is_subset(before) => {}
            (Some(_), Some(_)) => return Some("a job has begun: its lease is there".to_owned()),
            _ => return Some("leases cannot be read, so a job may have begun".to_owned()),
        }
        if !look_at_workers {
            return None;
        }
        match processes::workers(self.proc, &[], Given::default()) {
            (seen, _) if !seen.is_empty() => {
                Some(format!("a job has begun: Runner.Worker has pid {}", seen[0].process.pid))
            }
            (_, Visibility::Partial(_)) => Some("not every process is visible any more".to_owned()),
            _ => None,
        }
    }
}

impl HostJobs for ThisHost<'_> {
    fn state(&self) -> HostState {
        *self.come.borrow_mut() = None;
        // Before anything else is looked at: anything that appears from here on is new.
        *self.leases.borrow_mut() = self.roll();
        let past = Instant::now().checked_sub(WORKERS).unwrap_or_else(Instant::now);
        self.looked.set((past, past));
        self.first_in_the_way().map_or(HostState::Idle, HostState::InUse)
    }

    fn arrival(&self) -> Option<String> {
        let known = self.come.borrow().clone();
        known.or_else(|| {
            let come = self.newcomer();
            self.come.borrow_mut().clone_from(&come);
            come
        })
    }
}
