//! One look at the whole host: runners, caches, the process table, leases, logs, filesystems.
//!
//! Sizes first, evidence last: walking trees takes seconds, and evidence is only valid while it is recent. Anything that cannot be looked
//! at is recorded in the facts as unseen; nothing is left out silently.

use super::listener_log::{PendingJob, pending_job};
use super::processes;
use super::remembered::RememberedSizes;
use super::runners::Discovery;
pub use super::searched::CacheScope;
use super::searched::{Contents, Searched, Spot};
use super::sizing::{Enough, Sizer};
use super::snapshot::Snapshot;
use super::{caches, declared, guarded, locks, other_hosts, places, retention, undeclared};
use crate::lease;
use crate::model::{
    Cache, CacheRule, DeclaredFacts, ForeignLock, Guarded, HostFacts, JobReceived, JobsTurn, LeaseSeen,
    LeaseState, ListenerSeen, LockKind, ProcessFacts, Runner, RunnerFacts, Stranger, Visibility,
};
use crate::run_dir::{Records, RunDir};
use crate::sys::dir::Dir;
use crate::sys::portions::{self, Division};
use crate::sys::process::Proc;
use crate::uses::Uses;
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

/// A work directory takes a third of a millisecond and more, a thread a tenth.
const DIVISION: Division = Division { portion: 1, worth_a_thread: 4 };

/// The inputs of a look at the host.
#[derive(Debug, Clone, Copy)]
pub struct HostObserver<'a> {
    /// The runners and the mounts.
    pub snapshot: &'a Snapshot<'a>,
    /// Where leases are.
    pub leases: Leases<'a>,
    /// The runners' own files that may be removed, if that is asked for.
    pub leftovers: Option<retention::Wanted<'a>>,
    /// The wall clock now.
    pub now: SystemTime,
    /// When to stop sizing.
    pub deadline: Instant,
    /// Remembered sizes, for a look that only shows them.
    pub memory: Option<&'a Mutex<RememberedSizes>>,
}

/// Where leases are.
#[derive(Debug, Clone, Copy)]
pub enum Leases<'a> {
    /// In this shared directory.
    In(&'a RunDir),
    /// The shared directory has not been made yet: no hook has ever run, so there are none.
    NoneYet,
    /// The shared directory cannot be used; why. Then no lease is known.
    Hidden(&'a str),
}

/// How it shows that a job has begun and ended between two looks at a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traces {
    /// Its hook writes leases in the shared directory.
    Leases,
    /// It does not: no hook of ours runs there.
    None,
}

impl Traces {
    /// The traces of a runner's jobs.
    pub fn of(guarded: &Guarded) -> Self {
        if guarded.is_guarded() { Self::Leases } else { Self::None }
    }

    /// The traces of the jobs of several runners.
    pub fn of_all(mut traces: impl Iterator<Item = Self>) -> Self {
        if traces.all(|traces| traces == Self::Leases) { Self::Leases } else { Self::None }
    }
}

impl HostObserver<'_> {
    /// Looks.
    pub fn at(&self, whose: CacheScope) -> HostFacts {
        let mut searched = self.search(whose);
        self.size_all(&mut searched);
        self.complete(searched)
    }

    fn sizer(&self) -> Sizer<'_> {
        Sizer {
            memory: self.memory,
            exclusive: self.snapshot.config.dedupe.enabled,
            now: self.now,
            deadline: self.deadline,
        }
    }

    fn size_all(&self, searched: &mut Searched) {
        let spots = searched.unsized_caches();
        self.size(searched, &spots);
    }

    /// Sizes these.
    pub fn size(&self, searched: &mut Searched, spots: &[Spot]) {
        self.sizer().size(searched, spots, None);
    }

    /// Sizes these, one after the other, until it is enough; returns those that were not sized for that reason.
    pub fn size_until(&self, searched: &mut Searched, spots: &[Spot], is_enough: &Enough<'_>) -> Vec<Spot> {
        self.sizer().size(searched, spots, Some(is_enough))
    }

    /// The first half of a look: the content of work directories. Its slow part, the sizes, is requested separately
    /// ([`HostObserver::size`]).
    pub fn search(&self, whose: CacheScope) -> Searched {
        let Discovery { runners, mut notes, remarks, mut declared, .. } = self.snapshot.found.clone();
        let matcher = caches::Matcher::new(self.rules());
        let asked: Vec<usize> = match whose {
            CacheScope::Everybody => (0..runners.len()).collect(),
            CacheScope::Runner(wanted) => vec![wanted],
            CacheScope::Nobody => Vec::new(),
        };
        let looked = portions::map(&asked, DIVISION, |index| self.contents(&runners[*index], &matcher));
        let mut found: Vec<Contents> = runners.iter().map(|_| Contents::default()).collect();
        let mut met = undeclared::UndeclaredFindings::default();
        for (index, look) in asked.into_iter().zip(looked) {
            found[index] = look.contents;
            met.append(look.met);
            notes.extend(look.notes);
        }
        match whose {
            CacheScope::Everybody => self.look_at_declared(&mut declared),
            CacheScope::Runner(_) | CacheScope::Nobody => declared.clear(),
        }
        Searched { runners, declared, found, notes, remarks, met, whose }
    }

    /// The second half: evidence, as recent as possible.
    pub fn complete(&self, searched: Searched) -> HostFacts {
        let Searched { runners, declared, found, mut notes, remarks, met, whose } = searched;
        let mounts = &self.snapshot.mounts;
        let filesystems = places::filesystems(&self.snapshot.found.holders(), mounts, &mut notes);
        let caches: Vec<Runner> = declared.iter().map(declared::as_place).collect();
        let Jobs { processes, leases, turn } = self.jobs(&runners, &caches);
        let scripts = guarded::JudgedScripts::default();
        let searched: Vec<_> = runners.iter().zip(&found).collect();
        let locks =
            portions::map(&searched, DIVISION, |(runner, contents)| self.locks_of(runner, &contents.caches));
        let runners = runners
            .into_iter()
            .zip(found.into_iter().zip(locks))
            .enumerate()
            .map(|(index, (runner, found))| self.runner_facts(index, runner, found, &processes, &scripts))
            .collect();
        let mut facts = HostFacts {
            now: self.now,
            runners,
            declared,
            processes,
            leases,
            turn,
            filesystems,
            notes,
            remarks,
        };
        // A look at one runner is a hook's, which does not report them.
        if !matches!(whose, CacheScope::Runner(_)) {
            facts.remarks.extend(undeclared::remarks(&facts, &met, self.rules(), self.proc()));
        }
        facts
    }

    /// Looks again at the facts that can change from one moment to the next, for one cache: Workers, leases, and the locks on it. `tree`
    /// is the cache itself when it is no longer in its place. The rest of `facts` is kept.
    pub fn recheck(&self, facts: &HostFacts, runner: usize, cache: &Cache, tree: Option<&Dir>) -> HostFacts {
        let runners: Vec<Runner> = facts.runners.iter().map(|runner| runner.runner.clone()).collect();
        let mut now = facts.clone();
        let traces = Traces::of(&facts.runners[runner].guarded);
        self.refresh(&mut now, &runners, &facts.processes.visibility, traces);
        now.runners[runner].locks = self.locks_on(&runners[runner], cache, tree);
        now
    }

    /// Looks again at Workers and leases; `first` is the visibility of the first look. `runners` are those of `facts`. When a job has
    /// begun or ended since, or may have, it looks at all processes: a Worker may have died while its build is still running. Returns
    /// whether Workers and leases were enough.
    pub fn refresh(
        &self,
        facts: &mut HostFacts,
        runners: &[Runner],
        first: &Visibility,
        traces: Traces,
    ) -> bool {
        if traces == Traces::Leases && facts.turn.is_still(&self.turn()) {
            let (workers, visibility) = processes::workers(self.proc(), runners, self.given());
            facts.processes.workers = workers;
            facts.processes.visibility = join(first, visibility);
            facts.leases = self.read_leases(&mut facts.processes.visibility);
            if facts.turn.is_still(&self.turn()) {
                return true;
            }
        }
        let caches: Vec<Runner> = facts.declared.iter().map(declared::as_place).collect();
        let Jobs { processes, leases, turn } = self.jobs(runners, &caches);
        facts.processes = ProcessFacts { visibility: join(first, processes.visibility.clone()), ..processes };
        (facts.leases, facts.turn) = (leases, turn);
        false
    }

    /// Whether certainly no job has begun or ended since `facts` were last refreshed with all processes.
    pub fn is_still(&self, facts: &HostFacts) -> bool {
        facts.turn.is_still(&self.turn())
    }

    /// All processes, and all leases. A build without its Worker shows only among processes, and those are not read in one instant: so a
    /// lease that was live before they were read counts, and later changes show as a changed list of leases.
    fn jobs(&self, runners: &[Runner], caches: &[Runner]) -> Jobs {
        let turn = self.turn();
        let before = self.read_leases(&mut Visibility::Partial(Vec::new()));
        let mut processes = processes::observe_with_caches(self.proc(), runners, caches, self.given());
        let mut leases = self.read_leases(&mut processes.visibility);
        for seen in before.into_iter().filter(|seen| seen.state == LeaseState::Live) {
            leases.retain(|later| later.file != seen.file);
            leases.push(seen);
        }
        Jobs { processes, leases, turn }
    }

    fn rules(&self) -> &[CacheRule] {
        &self.snapshot.config.caches
    }

    fn proc(&self) -> &Proc {
        self.snapshot.proc
    }

    fn given(&self) -> processes::Given<'_> {
        processes::Given { group: self.group(), programs: &self.snapshot.config.runners.programs }
    }

    fn other_hosts(&self, runner: &Runner) -> Option<String> {
        other_hosts::beyond_this_host(runner, &self.snapshot.mounts, &self.snapshot.config.runners.local)
    }

    fn turn(&self) -> JobsTurn {
        match self.leases {
            Leases::In(run) => JobsTurn(run.roll(Records::Leases).ok()),
            Leases::NoneYet | Leases::Hidden(_) => JobsTurn(None),
        }
    }

    /// The locks on one cache, in its place or in `tree`.
    pub fn locks_on(&self, runner: &Runner, cache: &Cache, tree: Option<&Dir>) -> Vec<ForeignLock> {
        let in_place = || cache.base(runner).and_then(|base| caches::open_work(base).ok());
        match tree {
            Some(tree) => locks::in_tree(tree, cache),
            None => in_place().map(|work| locks::on_caches(&work, [cache])).unwrap_or_default(),
        }
    }

    fn contents(&self, runner: &Runner, matcher: &caches::Matcher<'_>) -> WorkDirLook {
        let mut look = WorkDirLook::default();
        let Some(work) = runner.work_dir() else { return look };
        let opened = caches::open_work(work)
            .and_then(|dir| Ok((caches::find(work, matcher, &self.snapshot.mounts, self.deadline)?, dir)));
        let (mut found, dir) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                look.notes.push(format!(
                    "{}: the work directory of {} cannot be searched: {error}",
                    work.path.display(),
                    runner.name
                ));
                return look;
            }
        };
        look.met.take(&mut found);
        look.notes.extend(found.notes);
        let mut caches = found.caches;
        let uses = Uses::of(&dir, self.now);
        caches.iter_mut().for_each(|cache| cache.used = uses.of_cache(cache));
        if let Some(wanted) = self.leftovers {
            let scan = retention::RetentionScan {
                wanted,
                uses: &uses,
                now: self.now,
                mounts: &self.snapshot.mounts,
                deadline: self.deadline,
            };
            let found = scan.at(runner, work, &dir, self.proc(), &mut look.notes);
            // A cache that is removed as a whole is not planned in parts as well.
            let is_within =
                |cache: &Cache, whole: &Cache| whole.base.is_none() && cache.path.starts_with(&whole.path);
            caches.retain(|cache| !found.iter().any(|whole| is_within(cache, whole)));
            caches.extend(found);
        }
        look.contents = Contents { caches, leftovers: found.leftovers };
        look
    }

    fn look_at_declared(&self, declared: &mut [DeclaredFacts]) {
        for facts in declared {
            let RunnerFacts { runner, caches, locks, .. } = &mut facts.stand_in;
            let [cache] = &caches[..] else { continue };
            *locks = self.locks_on(runner, cache, None);
            facts.stand_in.other_hosts = self.other_hosts(runner);
        }
    }

    /// The work directory is opened again: keeping those of many runners open since the search could exceed the limit of open files.
    fn locks_of(&self, runner: &Runner, caches: &[Cache]) -> Vec<ForeignLock> {
        let mut below_work = caches.iter().filter(|cache| cache.base.is_none()).peekable();
        let Some(work_dir) = runner.work_dir().filter(|_| below_work.peek().is_some()) else {
            return Vec::new();
        };
        match caches::open_work(work_dir) {
            Ok(work) => locks::on_caches(&work, below_work),
            Err(error) => below_work.map(|cache| locks::untold(cache, LockKind::Directory, &error)).collect(),
        }
    }

    fn runner_facts(
        &self,
        index: usize,
        runner: Runner,
        (contents, locks): (Contents, Vec<ForeignLock>),
        processes: &ProcessFacts,
        scripts: &guarded::JudgedScripts,
    ) -> RunnerFacts {
        let listeners: Vec<&ListenerSeen> =
            processes.listeners.iter().filter(|listener| listener.runner == index).collect();
        RunnerFacts {
            guarded: self.guarded(&runner, &listeners, &processes.strangers, scripts),
            other_hosts: self.other_hosts(&runner),
            received: received(&runner),
            caches: contents.caches,
            leftovers: contents.leftovers,
            locks,
            runner,
        }
    }

    /// The group of the shared directory; root's own is none.
    fn group(&self) -> Option<u32> {
        match self.leases {
            Leases::In(run) => run.group(),
            Leases::NoneYet | Leases::Hidden(_) => None,
        }
    }

    fn guarded(
        &self,
        runner: &Runner,
        listeners: &[&ListenerSeen],
        strangers: &[Stranger],
        scripts: &guarded::JudgedScripts,
    ) -> Guarded {
        let run = match self.leases {
            Leases::In(run) => Some(run),
            Leases::NoneYet | Leases::Hidden(_) => None,
        };
        let look = guarded::GuardCheck { proc: self.proc(), run, mounts: &self.snapshot.mounts, scripts };
        guarded::judge(runner, listeners, strangers, look)
    }

    fn read_leases(&self, visibility: &mut Visibility) -> Vec<LeaseSeen> {
        let unknown = match self.leases {
            Leases::NoneYet => return Vec::new(),
            Leases::In(run) => {
                let sees_all: fn(&Proc) -> bool = match visibility {
                    Visibility::Complete => |_| true,
                    Visibility::Partial(_) => |_| false,
                };
                match lease::read_all(run, lease::LeaseView { proc: self.proc(), sees_all, now: self.now }) {
                    Ok(leases) => return leases,
                    Err(error) => format!("leases cannot be read: {}", error.in_brief()),
                }
            }
            Leases::Hidden(reason) => format!("leases cannot be read: {reason}"),
        };
        *visibility = join(visibility, Visibility::Partial(vec![unknown]));
        Vec::new()
    }
}

/// What was found in one work directory.
#[derive(Default)]
struct WorkDirLook {
    contents: Contents,
    met: undeclared::UndeclaredFindings,
    notes: Vec<String>,
}

/// Which processes are at work.
struct Jobs {
    processes: ProcessFacts,
    leases: Vec<LeaseSeen>,
    turn: JobsTurn,
}

fn received(runner: &Runner) -> JobReceived {
    let log = match Dir::open(&runner.root) {
        Ok(root) => pending_job(&root).map_err(|error| error.to_string()),
        Err(error) => Err(format!("the runner's directory cannot be opened: {error}")),
    };
    match log {
        Ok(PendingJob::None | PendingJob::NoLog) => JobReceived::No,
        Ok(PendingJob::Received { detail, at, written }) => JobReceived::Pending { detail, at, written },
        Err(reason) => JobReceived::CannotTell(reason),
    }
}

fn join(one: &Visibility, other: Visibility) -> Visibility {
    match (one, other) {
        (Visibility::Complete, other) => other,
        (Visibility::Partial(reasons), Visibility::Complete) => Visibility::Partial(reasons.clone()),
        (Visibility::Partial(reasons), Visibility::Partial(more)) => {
            let mut all = reasons.clone();
            all.extend(more.into_iter().filter(|reason| !reasons.contains(reason)));
            Visibility::Partial(all)
        }
    }
}
