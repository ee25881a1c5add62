//! Putting work directories right: owner and mode in place, lock files and whole repositories by a claim into trash.
//!
//! - **Proof.** Before anything is touched the runner is proved idle by a look at the whole host, and again, under the lock, by
//!   a look at Workers and leases. Long repairs go in slices; each has both looks anew.
//! - **Lock.** Held EXCLUSIVE for a slice: no hook can return meanwhile, so no job's steps begin. A slice is short against
//!   `hook.lock_wait`; between slices hooks go first.
//! - **When things fail.** An entry that is not what was seen is left alone; the others go on. A runner that gets a job ends
//!   the repair where it stands: every entry is either as it was or as it should be.

mod entries;
mod proof;

use crate::config::Config;
use crate::cycle::Witness;
use crate::hygiene::{observe, policy};
use crate::lock::{ExclusiveLock, LockError};
use crate::model::hygiene::{AreaKind, Blemish, Change, FindingKind, Mode, RepairReport, Repaired, Seen};
use crate::model::{
    Action, ActionResult, Cache, Decision, FileId, Liveness, Member, Outcome, Part, RemoveReason, Runner,
    Uid, WorkDir,
};
use crate::observe::caches::open_work;
use crate::observe::measure::{self, measure};
use crate::policy::liveness;
use crate::reclaim::claim::{Claim, Claimed, Moment, claim};
use crate::reclaim::remove_tree::{self, Extent, Progress, remove_tree};
use crate::reclaim::trash::Trash;
use crate::run_dir::RunDir;
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use entries::Hand;
use proof::Sight;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long the host lock is held at a time.
const SLICE: Duration = Duration::from_millis(250);

/// What is left to others between two slices.
const PAUSE: Duration = Duration::from_millis(10);

/// Turns over one area: each puts right what the one before could not see.
const TURNS: usize = 32;

/// Entries that a report lists.
const LISTED: usize = 100;

/// The rule that a reset repository goes by in reports.
pub const RESET: &str = "reset";

/// The rule that git's lock files go by.
pub const GIT_LOCK: &str = "git-lock";

/// What a repair works with.
pub struct Repairs<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The process table.
    pub proc: &'a Proc,
    /// The shared directory.
    pub run: &'a RunDir,
    /// The wall clock.
    pub clock: fn() -> SystemTime,
    /// When to stop.
    pub deadline: Instant,
    /// Git, to judge what is wrong where no mode is named.
    pub git: Option<&'a observe::Git>,
    /// Told of claims and deletions.
    pub witness: &'a mut dyn Witness,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The runner, or its work directory, is not there any more.
    #[error("the runner vanished, or its work directory cannot be opened: {0}")]
    Gone(String),
    /// There is no such repository.
    #[error("there is no directory {name} in {work}; there are: {known}")]
    NoSuchArea {
        /// What was asked for.
        name: String,
        /// Where.
        work: PathBuf,
        /// What there is.
        known: String,
    },
    /// It is not to be reset.
    #[error("{0} is the runner's own and is never reset; chown and unlock put it right")]
    RunnersOwn(String),
    /// Only root can give away.
    #[error("only root can give entries of other users back: run it as root")]
    NotRoot,
    /// The host lock.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Whether a repair is done or only shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Shown.
    Preview,
    /// Done.
    Apply,
}

impl Repairs<'_> {
    /// Repairs the area that `name` names of the runner with this root; without a mode by the one that its findings ask for.
    ///
    /// # Errors
    /// [`RepairError`]. That the runner is in use is none: the report says so.
    pub fn repair(
        &mut self,
        root: FileId,
        name: &OsStr,
        mode: Option<Mode>,
        manner: Manner,
    ) -> Result<RepairReport, RepairError> {
        let sight = self.look(root)?;
        let runner = sight.runner().clone();
        let (work_dir, work) = self.open(&runner)?;
        let name = find_area(&work, &work_dir, name)?;
        let seen = self.tree(&work, work_dir.owner, &name, &sight);
        let kind = observe::kind_of(&name);
        let recommended = match mode {
            Some(_) => mode,
            None => {
                self.over(self.git)
                    .area_named(&work_dir, &work, &name, liveness::judge(sight.evidence()))
                    .mode
            }
        };
        let mode = recommended.unwrap_or(Mode::Chown);
        if mode == Mode::Reset && kind == AreaKind::RunnersOwn {
            return Err(RepairError::RunnersOwn(name.display().to_string()));
        }
        if mode == Mode::Chown && manner == Manner::Apply && !nix::unistd::geteuid().is_root() {
            return Err(RepairError::NotRoot);
        }
        let mut report = RepairReport {
            dry_run: manner == Manner::Preview,
            path: work_dir.path.join(&name),
            runner,
            mode,
            objections: sight.objections.clone(),
            changes: Vec::new(),
            done: 0,
            undone: 0,
            bytes: 0,
            notes: Vec::new(),
        };
        if recommended.is_none() {
            report.notes.push("nothing is to be put right here".to_owned());
        }
        if !seen.is_whole {
            report.notes.push("not all of it was seen: run it again afterwards".to_owned());
        }
        match (mode, manner) {
            (Mode::Reset, _) => self.reset(sight, &work, &work_dir, &name, manner, &mut report)?,
            (_, Manner::Preview) => preview(&seen, mode, work_dir.owner, &mut report),
            (_, Manner::Apply) if report.objections.is_empty() => {
                self.turns(root, &name, seen, &|blemish| policy::concerns(mode, blemish.kind), &mut report)?;
            }
            (_, Manner::Apply) => {}
        }
        report.changes.sort_by_key(|change| matches!(change.result, Repaired::Done | Repaired::Planned));
        report.changes.truncate(LISTED);
        Ok(report)
    }

    /// The safe repairs of every idle runner, for a sweep.
    ///
    /// # Errors
    /// The host lock's.
    pub fn sweep(&mut self) -> Result<Vec<RepairReport>, RepairError> {
        let mut reports = Vec::new();
        let mut seen_works = std::collections::HashSet::new();
        let sight = self.look_at_all();
        for (facts, evidence) in sight.facts.runners.iter().zip(&sight.evidence) {
            let root = facts.runner.root_id;
            let is_new = facts.runner.work_dir().is_some_and(|work| seen_works.insert(work.id));
            let may = policy::objections(evidence, self.service(&sight.facts, root), self.allow_unguarded());
            if !is_new || !may.is_empty() || Instant::now() > self.deadline {
                continue;
            }
            let Ok((work_dir, work)) = self.open(&facts.runner) else { continue };
            for name in observe::areas(&work).unwrap_or_default() {
                let mut seen = self.look_over(&work, work_dir.owner, &name, Liveness::Idle);
                seen.blemishes.retain(policy::is_safe);
                if seen.blemishes.is_empty() {
                    continue;
                }
                let mut report = RepairReport {
                    dry_run: false,
                    runner: facts.runner.clone(),
                    path: work_dir.path.join(&name),
                    mode: Mode::Chown,
                    objections: Vec::new(),
                    changes: Vec::new(),
                    done: 0,
                    undone: 0,
                    bytes: 0,
                    notes: Vec::new(),
                };
                match self.turns(root, &name, seen, &policy::is_safe, &mut report) {
                    // It went, or got a job: the next sweep looks again.
                    Ok(()) | Err(RepairError::Gone(_)) => {}
                    Err(error) => return Err(error),
                }
                report.changes.sort_by_key(|change| change.result == Repaired::Done);
                report.changes.truncate(LISTED);
                reports.push(report);
            }
        }
        Ok(reports)
    }

    fn open(&self, runner: &Runner) -> Result<(WorkDir, Dir), RepairError> {
        let work_dir =
            runner.work_dir().ok_or_else(|| RepairError::Gone("it has no work directory".to_owned()))?;
        let work = open_work(work_dir).map_err(|error| RepairError::Gone(error.to_string()))?;
        Ok((work_dir.clone(), work))
    }

    fn tree(&self, work: &Dir, owner: Uid, name: &OsStr, sight: &Sight) -> Seen {
        self.look_over(work, owner, name, liveness::judge(sight.evidence()))
    }

    fn look_over(&self, work: &Dir, owner: Uid, name: &OsStr, state: Liveness) -> Seen {
        self.over(None).tree(work, owner, name, state)
    }

    fn over<'g>(&self, git: Option<&'g observe::Git>) -> observe::Look<'g> {
        let floor = self.config.siblings.idle_floor;
        observe::Look { now: (self.clock)(), floor, deadline: self.deadline, git }
    }

    /// Puts right what concerns this repair, and looks again, until nothing is left or nothing more can be done.
    fn turns(
        &mut self,
        root: FileId,
        name: &OsStr,
        mut seen: Seen,
        concerns: &dyn Fn(&Blemish) -> bool,
        report: &mut RepairReport,
    ) -> Result<(), RepairError> {
        for turn in 0..TURNS {
            let todo: Vec<Blemish> = seen.blemishes.iter().filter(|b| concerns(b)).cloned().collect();
            let done = report.done;
            let earlier = (report.undone, report.changes.len());
            let (locks, todo): (Vec<_>, Vec<_>) =
                todo.into_iter().partition(|blemish| blemish.kind == FindingKind::StaleLock);
            self.in_slices(root, name, todo, report)?;
            if !locks.is_empty() && report.objections.is_empty() {
                self.take_locks(root, name, &locks, report)?;
            }
            let is_at_end = report.done == done || !report.objections.is_empty();
            if is_at_end || turn + 1 == TURNS || Instant::now() > self.deadline {
                return Ok(());
            }
            let sight = self.look(root)?;
            let (work_dir, work) = self.open(sight.runner())?;
            let next = self.tree(&work, work_dir.owner, name, &sight);
            if !next.blemishes.iter().any(concerns) {
                return Ok(());
            }
            // What could not be done is tried again and told once.
            report.undone = earlier.0;
            let mut number = 0;
            report.changes.retain(|change| {
                number += 1;
                number <= earlier.1 || change.result == Repaired::Done
            });
            seen = next;
        }
        Ok(())
    }

    fn in_slices(
        &mut self,
        root: FileId,
        name: &OsStr,
        todo: Vec<Blemish>,
        report: &mut RepairReport,
    ) -> Result<(), RepairError> {
        let mut queue = todo.into_iter().peekable();
        while queue.peek().is_some() {
            if Instant::now() > self.deadline {
                report.notes.push("time ran out: run it again for the rest".to_owned());
                return Ok(());
            }
            let sight = self.look(root)?;
            let (work_dir, work) = self.open(sight.runner())?;
            let area = whole(&work, &work_dir, name).map_err(RepairError::Gone)?;
            let Some(lock) = self.lock(&sight, &area, report)? else { return Ok(()) };
            let hand = Hand::new(&lock, &work, &work_dir);
            let begun = Instant::now();
            while begun.elapsed() < SLICE && lock.held_for() < self.config.hook.lock_wait / 2 {
                let Some(blemish) = queue.next() else { break };
                let result = hand.put_right(&blemish);
                note(&blemish, work_dir.owner, result, report);
            }
            drop(hand);
            drop(lock);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The host lock with the proof that holds under it; none when something speaks against it, which is then told.
    fn lock(
        &mut self,
        sight: &Sight,
        area: &Cache,
        report: &mut RepairReport,
    ) -> Result<Option<ExclusiveLock>, RepairError> {
        let mut objections = sight.objections.clone();
        if objections.is_empty() {
            let lock = self.exclusive()?;
            objections = self.again(sight, area, None);
            if objections.is_empty() {
                return Ok(Some(lock));
            }
        }
        report.objections = objections;
        Ok(None)
    }

    fn exclusive(&mut self) -> Result<ExclusiveLock, RepairError> {
        let wait = self.config.hook.lock_wait.min(self.deadline.saturating_duration_since(Instant::now()));
        ExclusiveLock::acquire(self.run, wait).map_err(|error| {
            self.witness.lock_failed(&error);
            error.into()
        })
    }

    /// Takes git's lock files away. They are claimed like a cache, one by one.
    fn take_locks(
        &mut self,
        root: FileId,
        name: &OsStr,
        locks: &[Blemish],
        report: &mut RepairReport,
    ) -> Result<(), RepairError> {
        for lock in locks {
            let sight = self.look(root)?;
            let (work_dir, work) = self.open(sight.runner())?;
            let area = whole(&work, &work_dir, name).map_err(RepairError::Gone)?;
            let below = lock.below.strip_prefix(name).unwrap_or(&lock.below);
            let (Some(within), Some(file)) = (below.parent(), below.file_name()) else { continue };
            let (within, name) = (within.to_owned(), file.to_owned());
            let member = Member { within, name, id: lock.id, owner: lock.owner, allocated: 0 };
            let part = Part::Files([member].into());
            let cache = Cache { part, rule: GIT_LOCK.to_owned(), ..area };
            let Some(result) = self.take(sight, &work, &work_dir, cache, report)? else { return Ok(()) };
            note(lock, work_dir.owner, result, report);
        }
        Ok(())
    }

    fn reset(
        &mut self,
        sight: Sight,
        work: &Dir,
        work_dir: &WorkDir,
        name: &OsStr,
        manner: Manner,
        report: &mut RepairReport,
    ) -> Result<(), RepairError> {
        let area = whole(work, work_dir, name).map_err(RepairError::Gone)?;
        let options = measure::Options { threads: 2, largest: 0, deadline: Some(self.deadline) };
        let size = work.descend(name).and_then(|tree| measure(&tree, &options)).ok();
        let cache = Cache { measure: size.map(|scan| scan.measure), ..area };
        report.bytes = cache.bytes();
        let what = "moved to trash and deleted; the next job clones afresh".to_owned();
        let below = PathBuf::from(name);
        let result = match manner {
            Manner::Preview => Some(Repaired::Planned),
            Manner::Apply if !report.objections.is_empty() => None,
            Manner::Apply => {
                // Sizing takes its time: the proof is made anew.
                let sight = self.look(sight.runner().root_id)?;
                self.take(sight, work, work_dir, cache, report)?
            }
        };
        if let Some(result) = result {
            count(&result, report);
            report.changes.push(Change { below, what, result });
        }
        Ok(())
    }

    /// Claims and deletes; nothing when something speaks against it, which is then told.
    fn take(
        &mut self,
        sight: Sight,
        work: &Dir,
        work_dir: &WorkDir,
        cache: Cache,
        report: &mut RepairReport,
    ) -> Result<Option<Repaired>, RepairError> {
        if !sight.objections.is_empty() {
            report.objections = sight.objections;
            return Ok(None);
        }
        let begun = Instant::now();
        let action =
            Action { runner: sight.runner().clone(), cache, decision: Decision::Remove(RemoveReason::Asked) };
        let lock = self.exclusive()?;
        let claimed = claim(&lock, work, work_dir.owner, &action.cache, &mut |moment| match moment {
            Moment::Before => self.again(&sight, &action.cache, None),
            Moment::After(tree) => self.again(&sight, &action.cache, Some(tree)),
        });
        drop(lock);
        let (result, repaired) = match claimed {
            Claim::Claimed(claimed) => {
                // What comes in a slot of its own is whole or a single file: all of it was taken.
                self.witness.claimed(&action);
                self.delete(work, work_dir, &action, &claimed)
            }
            Claim::Refused(evidence) | Claim::Restored(evidence) => {
                report.objections = evidence;
                return Ok(None);
            }
            Claim::Changed(why) => (ActionResult::Changed(why.clone()), Repaired::Changed(why)),
            Claim::Failed(error) => {
                let why = format!("it could not be moved to trash: {error}");
                (ActionResult::Failed(why.clone()), Repaired::Failed(why))
            }
        };
        self.witness.outcome(&Outcome { action, result }, begun.elapsed());
        Ok(Some(repaired))
    }

    fn delete(
        &mut self,
        work: &Dir,
        work_dir: &WorkDir,
        action: &Action,
        claimed: &Claimed,
    ) -> (ActionResult, Repaired) {
        let progress = Arc::new(Progress::default());
        let files = action.cache.measure.map(|measure| measure.files);
        let removal = {
            let _shown = self.witness.deleting(&action.cache.path, files, action.cache.bytes(), &progress);
            let options =
                remove_tree::Options { threads: 2, deadline: Some(self.deadline), progress: &progress };
            remove_tree(&claimed.parent, &claimed.name, &action.cache.largest, &options)
        };
        if let Some(slot) = &claimed.slot
            && let Ok(Some(trash)) = Trash::open(work, work_dir.owner)
        {
            trash.discard(slot);
        }
        match removal.extent {
            Extent::Whole => (ActionResult::Removed, Repaired::Done),
            // It is out of the way, which is what was asked for.
            Extent::Part { first, .. } => {
                let why = format!("a part of it lies in trash for the next sweep: {first}");
                (ActionResult::Deferred(why), Repaired::Done)
            }
        }
    }
}

/// The area as something that can be claimed.
fn whole(work: &Dir, work_dir: &WorkDir, name: &OsStr) -> Result<Cache, String> {
    let status = work.descend(name).and_then(|dir| dir.status()).map_err(|error| {
        let path = work_dir.path.join(name);
        match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::XDEV) => format!("{} is a mount point, which is kept", path.display()),
            _ => format!("{}: {error}", path.display()),
        }
    })?;
    Ok(Cache {
        path: work_dir.path.join(name),
        base: None,
        below_work: name.into(),
        part: Part::Whole,
        rule: RESET.to_owned(),
        id: status.id,
        owner: status.owner,
        measure: None,
        largest: Arc::default(),
    })
}

/// By the name of its directory, or of its repository: the runner names directories by the latter's last part.
fn find_area(work: &Dir, work_dir: &WorkDir, name: &OsStr) -> Result<OsString, RepairError> {
    let known = observe::areas(work).map_err(|error| RepairError::Gone(error.to_string()))?;
    let last = Path::new(name).file_name().unwrap_or(name);
    match known.iter().find(|area| *area == name || *area == last) {
        Some(area) => Ok(area.clone()),
        None => Err(RepairError::NoSuchArea {
            name: name.display().to_string(),
            work: work_dir.path.clone(),
            known: known.iter().map(|name| name.display().to_string()).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn preview(seen: &Seen, mode: Mode, owner: Uid, report: &mut RepairReport) {
    for blemish in seen.blemishes.iter().filter(|blemish| policy::concerns(mode, blemish.kind)) {
        let result = match policy::forbidden(blemish) {
            Some(why) => Repaired::Refused(why.to_owned()),
            None => Repaired::Planned,
        };
        note(blemish, owner, result, report);
    }
}

fn note(blemish: &Blemish, owner: Uid, result: Repaired, report: &mut RepairReport) {
    count(&result, report);
    let listed = report
        .changes
        .iter()
        .filter(|change| (change.result == Repaired::Done) == (result == Repaired::Done));
    if listed.count() < LISTED {
        report.changes.push(Change {
            below: blemish.below.clone(),
            what: entries::what(blemish, owner),
            result,
        });
    }
}

fn count(result: &Repaired, report: &mut RepairReport) {
    match result {
        Repaired::Planned | Repaired::Done => report.done += 1,
        Repaired::Changed(_) | Repaired::Refused(_) | Repaired::Failed(_) => report.undone += 1,
    }
}
