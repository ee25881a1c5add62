//! The loop that a hook under pressure and a sweep share: finish trash, look, plan, claim under the lock, delete outside it, measure
//! again, until the goal is met or nothing removable is left.
//!
//! - **Lock.** It is held EXCLUSIVE for a batch of claims (`batch`): a few renames and two fresh looks at Workers and leases, whatever the
//!   size of the trees and the number of runners. Trees are sized before and deleted after it.
//! - **Stale evidence.** Facts older than half of `hook.lock_wait` are not acted on; the round begins again. When a job has begun or ended
//!   since, the looks under the lock are at all processes: a build may outlive its Worker.
//! - **Concurrent guards.** Trash that another guard has claimed meanwhile is space that will be free soon: it is deleted together with
//!   that guard, and the disk is measured again before anything more is claimed. So sixty hooks that meet on a full disk remove what one
//!   hook would.
//! - **When things fail.** A cache that cannot be claimed or deleted is reported, and not tried again in this run; the next cheapest is
//!   tried.

mod batch;
mod giving;
pub(crate) mod holding;
mod leftovers;
mod patience;
mod round;
mod scrutiny;
mod sizing;
pub(crate) mod tickets;
mod trims;

use crate::config::{Config, Watermarks};
use crate::lock::{LastClaims, LockError, LockMode};
use crate::model::{
    Action, ActionResult, Aim, Balance, Cache, Evidence, Filesystem, HostFacts, Level, Outcome, Plan, Remark,
    RunReport, Runner, Shortfall, Uid,
};
use crate::model::{FileId, FilesystemId, Need, ProcessId, Room};
use crate::observe::host::{CacheScope, HostObserver, Leases};
use crate::observe::places;
use crate::observe::remembered::RememberedSizes;
use crate::observe::retention::Wanted;
use crate::observe::sharing::Counted;
use crate::observe::snapshot::Snapshot;
use crate::observe::strangers;
use crate::policy::goal::Demand;
use crate::policy::plan::Actor;
use crate::policy::protection::Rules;
use crate::policy::{goal, liveness, plan, pressure, protection};
use crate::reclaim::execute::{Step, Steps};
use crate::run_dir::RunDir;
use crate::sys::process::Proc;
use giving::Giving;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};
pub use trims::StaleUnits;

/// The maximum of rounds of one run. Each round removes a cache or gives one up, so this is only reached if other processes fill the disk
/// as fast as it is emptied.
const MAX_ROUNDS: usize = 64;

/// The maximum of rounds that are repeated because of new trash. Otherwise a user who keeps adding to the trash of one runner would protect
/// the caches of all others.
const MAX_GIVING_WAY: usize = 16;

/// Entries of one work directory's trash that one run deletes and reports. Claims make a few dozen at most; the rest of a flood waits for the next run.
const MAX_TRASH: usize = 4096;

/// Receives everything as it happens: the journal, and progress on a terminal.
pub trait RunEvents: Steps {
    /// A filesystem is under pressure and will be acted on.
    fn pressure(&mut self, filesystem: &Filesystem, level: Level);
    /// Unfinished trash of an earlier run is gone, or could not be deleted.
    fn trash(&mut self, path: &Path, bytes: u64, failure: Option<&str>);
    /// The kernel does not confine this run's deletions to the work directories; reported once.
    fn unconfined(&mut self, lack: &str);
    /// The host lock was obtained, after a wait.
    fn lock_taken(&mut self, mode: LockMode, waited: Duration);
    /// The host lock was not obtained.
    fn lock_failed(&mut self, mode: LockMode, error: &LockError);
}

/// The inputs of a run.
pub struct Cycle<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The process table.
    pub proc: &'a Proc,
    /// The shared directory.
    pub run: &'a RunDir,
    /// The kind of run.
    pub actor: Role,
    /// What has to be available for live jobs, by filesystem.
    pub rooms: &'a [(FilesystemId, Room)],
    /// The wall clock.
    pub clock: fn() -> SystemTime,
    /// When to stop.
    pub deadline: Instant,
    /// Receives every event.
    pub events: &'a mut dyn RunEvents,
}

/// The kinds of runs.
#[derive(Debug, Clone)]
pub enum Role {
    /// The started-hook of the runner with this root.
    Hook {
        /// The root's identity.
        root: FileId,
        /// The directory below `_work` that the job will use, as far as its environment can be believed.
        job_directory: Option<PathBuf>,
        /// The hook, its Worker and its Listener.
        lineage: Vec<ProcessId>,
    },
    /// A hook of the runner with this root, which was asked for these caches of its own, or applies its rules' limits to them.
    SelfClean {
        /// The root's identity.
        root: FileId,
        /// Relative to the work directory. Only what its own discovery finds as well counts.
        wanted: BTreeSet<PathBuf>,
        /// Whether age and size limits are applied.
        limits: bool,
        /// The hook, its Worker and its Listener.
        lineage: Vec<ProcessId>,
    },
    /// The timer's pass.
    Sweep,
}

/// Everything that one preview or one round knows.
#[derive(Debug)]
pub struct Preview {
    /// The facts.
    pub facts: HostFacts,
    /// The evidence, by runner.
    pub evidence: Vec<Vec<Evidence>>,
    /// The plan.
    pub plan: Plan,
    /// How many runners each configured glob matched.
    pub root_matches: Vec<(String, usize)>,
}

/// Errors of a run as a whole.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// The host lock.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// The scope of a preview.
pub struct PreviewScope<'a, W> {
    /// The runners that own the caches to look at, chosen among those that are found.
    pub whose: W,
    /// What has to be available for live jobs, by filesystem.
    pub rooms: &'a [(FilesystemId, Room)],
    /// Whether targets are examined for stale units, as a sweep does.
    pub stale: StaleUnits,
    /// Sizes that are remembered, where they are only shown.
    pub memory: Option<&'a Mutex<RememberedSizes>>,
}

/// The basis of dry runs, `status` and `check`: the observations and the plan of a real sweep, without acting.
pub fn preview(
    snapshot: &Snapshot<'_>,
    leases: Leases<'_>,
    deadline: Instant,
    scope: PreviewScope<'_, impl FnOnce(&[Runner]) -> CacheScope>,
) -> Preview {
    let (config, now) = (snapshot.config, snapshot.taken);
    let filesystems = snapshot.filesystems();
    let marks = &config.watermarks;
    let (mut needs, mut ladders, mut for_jobs) = (Vec::new(), Vec::new(), Vec::new());
    for fs in &filesystems {
        let demand = match pressure::level(&fs.usage, marks) {
            Level::Ok => Demand::Jobs,
            _ => Demand::JobsAndPressure,
        };
        let goal = Goal::of(fs, pressure::need(&fs.usage, marks), demand, scope.rooms, marks);
        for_jobs.extend(goal.without_jobs.map(|need| (fs.id, need)));
        needs.push((fs.id, goal.need));
        ladders.push((fs.id, goal.ladder));
    }
    let pressed = pressed(&needs);
    let leftovers = Some(leftovers(config, &pressed));
    let look = HostObserver { snapshot, leases, leftovers, now, deadline, memory: scope.memory };
    let mut facts = look.at((scope.whose)(snapshot.runners()));
    facts.remarks.extend(config.remarks());
    facts.remarks.extend(strangers::remarks(&facts, &config.runners.roots));
    let evidence = liveness::evidence(&facts, liveness::Exempt::default());
    let rules = rules(config, now);
    let input = plan::PlanInput {
        actor: &Actor::Sweep,
        rules: &rules,
        cache_rules: &config.limits,
        needs: &needs,
        out_of_reach: plan::OutOfReach::AimLower(&ladders),
        for_jobs: &for_jobs,
        dealt_with: &HashSet::new(),
    };
    let counted = Counted::under(&config.dedupe);
    let reading = trims::Reading { deadline, stale: scope.stale, counted };
    let plan = trims::plan(&facts, &evidence, &input, reading);
    Preview { facts, evidence, plan, root_matches: snapshot.found.matches.clone() }
}

/// The shortfall of one filesystem, for the watermarks and for live jobs.
struct Goal {
    need: Need,
    ladder: goal::Ladder,
    /// The shortfall without live jobs, where live jobs make it larger.
    without_jobs: Option<Need>,
}

impl Goal {
    fn of(
        fs: &Filesystem,
        for_pressure: Need,
        demand: Demand,
        rooms: &[(FilesystemId, Room)],
        marks: &Watermarks,
    ) -> Self {
        let Some((_, room)) = rooms.iter().find(|(id, _)| *id == fs.id) else {
            return Self { need: for_pressure, ladder: goal::ladder(&fs.usage, marks), without_jobs: None };
        };
        let lacking = room.need.saturating_sub(fs.usage.available_bytes);
        Self {
            need: Need { bytes: for_pressure.bytes.max(lacking), ..for_pressure },
            ladder: goal::ladder_for_jobs(&fs.usage, marks, demand, *room),
            without_jobs: (lacking > for_pressure.bytes).then_some(for_pressure),
        }
    }
}

/// The filesystems with a shortfall.
fn pressed(needs: &[(FilesystemId, Need)]) -> Vec<FilesystemId> {
    needs.iter().filter(|(_, need)| !need.is_met()).map(|(id, _)| *id).collect()
}

/// The runners' own files that may be removed: by age, and where their disk is under pressure.
fn leftovers<'p>(config: &Config, pressed: &'p [FilesystemId]) -> Wanted<'p> {
    Wanted { rules: config.retention, pressed, idle_floor: config.siblings.idle_floor }
}

impl Preview {
    /// All evidence against claiming a runner's caches, including those of `caches` that are too young.
    pub fn objections<'c>(
        &self,
        runner: usize,
        caches: impl Iterator<Item = &'c Cache>,
        config: &Config,
    ) -> Vec<Evidence> {
        let rules = rules(config, self.facts.now);
        let recent = caches.filter_map(|cache| protection::recent_content(cache, &rules));
        self.evidence[runner].iter().cloned().chain(recent).collect()
    }

    /// The preview as the report of a run that did nothing.
    pub fn report(self) -> RunReport {
        // Without any runner nothing is guarded, which is never intended.
        let goal_met = !self.facts.runners.is_empty()
            && self.plan.needs.iter().all(|(filesystem, need)| {
                let gained = self.plan.removals().filter(|action| is_on(action, *filesystem));
                gained.fold(*need, |open, action| open.less(action.cache.yields())).is_met()
            });
        let outcomes = self.plan.actions.into_iter().map(|action| {
            let result = match action.decision {
                crate::model::Decision::Remove(_) => ActionResult::Planned,
                crate::model::Decision::Keep(_) => ActionResult::Kept,
            };
            Outcome { action, result }
        });
        RunReport {
            dry_run: true,
            goal_met,
            outcomes: outcomes.collect(),
            balances: self
                .facts
                .filesystems
                .iter()
                .map(|fs| Balance {
                    before: fs.clone(),
                    after: fs.usage,
                    shortfall: self.plan.shortfalls.iter().find(|short| short.filesystem == fs.id).copied(),
                })
                .collect(),
            freed_bytes: 0,
            dedupe: None,
            holding: Vec::new(),
            targets: self.plan.targets,
            notes: self
                .facts
                .notes
                .into_iter()
                .chain(self.facts.remarks.iter().map(Remark::as_note))
                .collect(),
        }
    }
}

fn is_on(action: &Action, filesystem: FilesystemId) -> bool {
    action.cache.base(&action.runner).is_some_and(|base| base.filesystem == filesystem)
}

fn acting_as() -> Uid {
    Uid(nix::unistd::geteuid().as_raw())
}

/// The rules by which this process protects caches.
pub fn rules(config: &Config, now: SystemTime) -> Rules {
    Rules {
        claim: config.siblings.claim,
        idle_floor: config.siblings.idle_floor,
        allow_unguarded: config.runners.allow_unguarded,
        acting_as: acting_as(),
        now,
    }
}

impl<'a> Cycle<'a> {
    /// Runs until the goal is met or nothing removable is left. The report covers everything that was done, also when the result is an
    /// error that stopped the run early.
    pub fn run(mut self) -> (RunReport, Result<(), CycleError>) {
        let mut snapshot = self.snapshot();
        let giving = if self.config.dedupe.enabled { Giving::with_dedupe() } else { Giving::default() };
        let mut state = SweepState { giving, ..SweepState::default() };
        let result = self.rounds(&mut snapshot, &mut state);
        let mut report = self.finish(&snapshot, state);
        report.goal_met &= result.is_ok();
        (report, result)
    }

    fn snapshot(&self) -> Snapshot<'a> {
        Snapshot::take(self.config, self.proc, (self.clock)())
    }

    /// Each round has a snapshot of its own; the first one's is there.
    fn rounds(&mut self, snapshot: &mut Snapshot<'a>, state: &mut SweepState) -> Result<(), CycleError> {
        for round in 0..MAX_ROUNDS {
            if round > 0 {
                *snapshot = self.snapshot();
            }
            let Some(actor) = self.actor_among(snapshot.runners()) else { return Ok(()) };
            // Measured before as well: a run also frees the content of trash.
            let needs = self.needs(snapshot, &actor, state);
            if round > 0 && matches!(self.actor, Role::Hook { .. }) && needs.iter().all(|(_, n)| n.is_met()) {
                // What is left in trash is not worth a job's time.
                return Ok(());
            }
            self.empty_trash(&snapshot.found.holders(), state)?;
            let needs = self.needs(snapshot, &actor, state);
            // A sweep looks once in any case: age and size limits hold without pressure.
            let is_content = needs.iter().all(|(_, need)| need.is_met()) && !self.limits_are_due(state);
            if is_content || Instant::now() > self.deadline {
                return Ok(());
            }
            match self.round(snapshot, &actor, &needs, state)? {
                Next::Round => {}
                Next::Done => return Ok(()),
            }
        }
        Ok(())
    }

    fn limits_are_due(&self, state: &SweepState) -> bool {
        let applies = matches!(self.actor, Role::Sweep | Role::SelfClean { limits: true, .. });
        applies && !state.limits_applied
    }

    /// The plan's actor: a hook's runner by its place among these. A hook whose runner is not among those that the
    /// configuration allows prunes nothing.
    fn actor_among(&self, runners: &[Runner]) -> Option<Actor> {
        match &self.actor {
            Role::Sweep => Some(Actor::Sweep),
            Role::Hook { root, job_directory, .. } => {
                let own = runners.iter().position(|runner| runner.root_id == *root)?;
                Some(Actor::Hook { own, job_directory: job_directory.clone() })
            }
            Role::SelfClean { root, .. } => {
                let own = runners.iter().position(|runner| runner.root_id == *root)?;
                Some(Actor::Hook { own, job_directory: None })
            }
        }
    }

    /// The shortfall of each filesystem that this run concerns. Pressure begins at high; once it has begun, it ends at low.
    fn needs(
        &mut self,
        snapshot: &Snapshot<'_>,
        actor: &Actor,
        state: &mut SweepState,
    ) -> Vec<(FilesystemId, Need)> {
        let marks = &self.config.watermarks;
        let filesystems = match actor {
            Actor::Hook { own, .. } => {
                places::filesystems(&snapshot.runners()[*own..=*own], &snapshot.mounts, &mut Vec::new())
            }
            Actor::Sweep => snapshot.filesystems(),
        };
        let mut needs = Vec::new();
        state.ladders.clear();
        state.for_jobs.clear();
        for now in filesystems {
            if let Entry::Vacant(entry) = state.before.entry(now.id) {
                let level = pressure::level(&entry.insert(now.clone()).usage, marks);
                if level != Level::Ok {
                    state.under_pressure.insert(now.id);
                    self.events.pressure(&now, level);
                }
            }
            let (demand, need) = match state.under_pressure.contains(&now.id) {
                true => (Demand::JobsAndPressure, pressure::lacking(&now.usage, marks)),
                false => (Demand::Jobs, pressure::need(&now.usage, marks)),
            };
            let goal = Goal::of(&now, need, demand, self.rooms, marks);
            state.after.insert(now.id, now.usage);
            state.ladders.push((now.id, goal.ladder));
            state.for_jobs.extend(goal.without_jobs.map(|need| (now.id, need)));
            let wanted = Need {
                bytes: now.usage.available_bytes.saturating_add(goal.need.bytes),
                inodes: now.usage.inodes_free.saturating_add(goal.need.inodes),
            };
            state.wanted.insert(now.id, wanted);
            needs.push((now.id, goal.need));
        }
        needs
    }

    /// The last measurement, and the report. `snapshot` is the last round's.
    fn finish(&mut self, snapshot: &Snapshot<'_>, mut state: SweepState) -> RunReport {
        for now in snapshot.filesystems() {
            if state.before.contains_key(&now.id) {
                state.after.insert(now.id, now.usage);
            }
        }
        let marks = &self.config.watermarks;
        let is_met = |id: &FilesystemId| {
            state.after.get(id).is_some_and(|usage| pressure::lacking(usage, marks).is_met())
        };
        let has_runners = !snapshot.runners().is_empty();
        let goal_met = has_runners && state.under_pressure.iter().all(is_met);
        let balances = state.before.into_values().map(|before| {
            let after = state.after.get(&before.id).copied().unwrap_or(before.usage);
            let shortfall = state.shortfalls.iter().find(|short| short.filesystem == before.id).copied();
            let lacks_room = |short: &Shortfall| {
                let room = self.rooms.iter().find(|(id, _)| *id == before.id);
                short.goal == Aim::Jobs && room.is_some_and(|(_, room)| room.need > after.available_bytes)
            };
            let shortfall = shortfall.filter(|short| {
                lacks_room(short) || (state.under_pressure.contains(&before.id) && !is_met(&before.id))
            });
            Balance { before, after, shortfall }
        });
        let mut balances: Vec<Balance> = balances.collect();
        balances.sort_by(|a, b| a.before.mount.cmp(&b.before.mount));
        let dealt_with = state.dealt_with;
        let mut outcomes = state.outcomes;
        for action in state.kept.into_iter().filter(|action| !dealt_with.contains(&action.cache.path)) {
            let outcome = Outcome { action, result: ActionResult::Kept };
            self.events.step(Step::Ended(&outcome, Duration::ZERO));
            outcomes.push(outcome);
        }
        RunReport {
            dry_run: false,
            goal_met,
            balances,
            outcomes,
            freed_bytes: state.giving.freed_bytes(),
            dedupe: None,
            holding: Vec::new(),
            targets: Vec::new(),
            notes: state.notes.into_iter().chain(state.giving.notes().iter().cloned()).collect(),
        }
    }
}

/// What follows a round.
enum Next {
    /// Measure again, and go on if something is still lacking.
    Round,
    /// Nothing removable is left.
    Done,
}

/// The state of a run across its rounds.
#[derive(Debug, Default)]
struct SweepState {
    /// Filesystems as they were first seen.
    before: HashMap<FilesystemId, Filesystem>,
    /// Their usage as it was last seen.
    after: HashMap<FilesystemId, crate::model::Usage>,
    /// Those on which the guard acts.
    under_pressure: HashSet<FilesystemId>,
    /// Final outcomes.
    outcomes: Vec<Outcome>,
    /// The caches that the last plan kept.
    kept: Vec<Action>,
    /// Paths with a final outcome: whatever exists there now is left to the next run.
    dealt_with: HashSet<PathBuf>,
    /// Trash that this run has tried to delete: by work directory, the names in its trash, and the paths of what was claimed
    /// in its own place.
    tried_trash: HashMap<FileId, HashSet<PathBuf>>,
    /// When claims were last made on this host, as of the last look at the trash.
    last_claims: LastClaims,
    /// The number of rounds that were repeated because of new trash of other guards.
    gave_way: usize,
    /// Whether a hook has reached the siblings' caches.
    beyond_own: bool,
    /// Whether all caches are sized, since those that were did not meet the goal.
    sizes_all: bool,
    /// Whether it was reported that the kernel does not confine deletions.
    told_unconfined: bool,
    /// Whether a sweep has applied the rules' age and size limits.
    limits_applied: bool,
    /// The shortfall to each goal, as of the last measurement.
    ladders: Vec<(FilesystemId, goal::Ladder)>,
    /// Filesystems with a larger shortfall because of live jobs, with the shortfall without them.
    for_jobs: Vec<(FilesystemId, Need)>,
    /// The goals that the last plan found out of reach.
    shortfalls: Vec<Shortfall>,
    /// How much has to be free so that there is no shortfall, as of the last measurement.
    wanted: HashMap<FilesystemId, Need>,
    giving: Giving,
    /// The time spent waiting for space to become free.
    settled: Duration,
    notes: Vec<String>,
}

impl SweepState {
    fn has_tried(&self, work: FileId, trash: &Path) -> bool {
        self.tried_trash.get(&work).is_some_and(|tried| tried.len() >= MAX_TRASH || tried.contains(trash))
    }

    /// Reports the outcome of a cache that was not deleted, and remembers it.
    fn record(&mut self, events: &mut dyn RunEvents, action: Action, result: ActionResult, took: Duration) {
        let outcome = Outcome { action, result };
        events.step(Step::Ended(&outcome, took));
        self.remember(outcome);
    }

    /// Remembers an outcome that has been reported.
    fn remember(&mut self, outcome: Outcome) {
        let Outcome { action, result } = &outcome;
        if let (ActionResult::Removed, Some(base)) = (result, action.cache.base(&action.runner)) {
            self.giving.add(base.filesystem, action.cache.bytes());
        }
        self.dealt_with.insert(action.cache.path.clone());
        self.outcomes.push(outcome);
    }
}

#[cfg(test)]
mod tests;
