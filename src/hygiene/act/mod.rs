//! Repairs work directories: owner and mode in place, lock files and whole repositories by a claim into trash.
//!
//! - **Proof.** Before anything is touched the runner is proved idle by a look at the whole host, and again, under the lock, by a look at
//!   Workers and leases. Long repairs work in slices; each begins with both looks.
//! - **Lock.** Held EXCLUSIVE for a slice: no hook can return meanwhile, so no job's steps begin. A slice is short compared with
//!   `hook.lock_wait`; between slices hooks take precedence.
//! - **Dead mounts.** What only looks under the lock says so: if a mount dies then, the supervisor releases the lock, and the sweep begins
//!   anew without that mount.
//! - **When things fail.** An entry that has changed since it was seen is left alone; the others are repaired. A runner that gets a job
//!   ends the repair at that point: every entry is either unchanged or repaired.
//! - **After a crash.** The entries that the repair was working on are in quarantine; the next sweep or repair moves them back.

mod entries;
mod proof;
mod put_back;
mod take;
mod turns;
mod widespread;

use crate::config::Config;
use crate::cycle::RunEvents;
use crate::hygiene::{observe, policy};
use crate::lock::LockError;
use crate::model::Execution;
use crate::model::hygiene::{AreaKind, AreaScan, RemediateMode, RepairReport, Repaired};
use crate::model::{Cache, FileId, Liveness, Part, Runner, Uid, WorkDir};
use crate::observe::caches::open_work;
use crate::policy::liveness;
use crate::run_dir::RunDir;
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use proof::RunnerLook;
pub use put_back::{PutBack, Returned};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use turns::{LISTED, note};
use widespread::AskGit;

/// The rule name of a reset repository in reports.
pub const RESET: &str = "reset";

/// The rule name of git's lock files in reports.
pub const GIT_LOCK: &str = "git-lock";

/// The inputs of repairs.
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
    /// Git, to recommend a mode if none is named.
    pub git: Option<&'a observe::Git>,
    /// Receives claims and deletions.
    pub events: &'a mut dyn RunEvents,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The runner, or its work directory, no longer exists.
    #[error("the runner vanished, or its work directory cannot be opened: {0}")]
    Gone(String),
    /// There is no such repository.
    #[error("there is no repository `{name}` in {work}; there are: {known}")]
    NoSuchArea {
        /// The requested name.
        name: String,
        /// Where.
        work: PathBuf,
        /// The known names.
        known: String,
    },
    /// It is not to be reset.
    #[error("{0} is the runner's own and is never reset; chown and unlock put it right")]
    RunnersOwn(String),
    /// More than one repository is contaminated.
    #[error("{} repositories of this host are contaminated ({}): what did it works on the host, and a repair would take its traces away. See `disk-guard audit` and find the cause; `remediate --apply --even-if-widespread` repairs all the same", .0.len(), named(.0))]
    Widespread(Vec<PathBuf>),
    /// Only root can change owners.
    #[error("only root can change the owner of other users' entries: run it as root")]
    NotRoot,
    /// The host lock.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Repairs<'_> {
    /// Repairs the area `name` of the runner with this root; without a mode by the mode that its findings ask for.
    ///
    /// # Errors
    /// [`RepairError`]. A runner in use is not an error: the report says so.
    pub fn repair(
        &mut self,
        root: FileId,
        name: &OsStr,
        mode: Option<RemediateMode>,
        execution: Execution,
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
        let mode = recommended.unwrap_or(RemediateMode::Chown);
        if mode == RemediateMode::Reset && kind == AreaKind::RunnersOwn {
            return Err(RepairError::RunnersOwn(name.display().to_string()));
        }
        if mode == RemediateMode::Chown && execution == Execution::Apply && !crate::sys::process::is_root() {
            return Err(RepairError::NotRoot);
        }
        let mut report = RepairReport {
            dry_run: execution == Execution::DryRun,
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
            report.notes.push("nothing needs a repair here".to_owned());
        }
        if !seen.is_whole {
            report.notes.push("not all of it was examined: run it again afterwards".to_owned());
        }
        match (mode, execution) {
            (RemediateMode::Reset, _) => {
                self.reset(sight, &work, &work_dir, &name, execution, &mut report)?
            }
            (_, Execution::DryRun) => preview(&seen, mode, work_dir.owner, &mut report),
            (_, Execution::Apply) if report.objections.is_empty() => {
                self.turns(root, &name, seen, &|defect| policy::concerns(mode, defect.kind), &mut report)?;
            }
            (_, Execution::Apply) => {}
        }
        report.changes.sort_by_key(|change| matches!(change.result, Repaired::Done | Repaired::Planned));
        report.changes.truncate(LISTED);
        Ok(report)
    }

    /// The safe repairs of every idle runner, for a sweep.
    ///
    /// # Errors
    /// The host lock's, and [`RepairError::Widespread`].
    pub fn sweep(&mut self) -> Result<Vec<RepairReport>, RepairError> {
        let mut reports = Vec::new();
        let found = self.contamination(AskGit::BesideAFinding)?;
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
                if !found.safe.contains(&(root, name.clone())) {
                    continue;
                }
                let mut seen = self.look_over(&work, work_dir.owner, &name, Liveness::Idle);
                seen.defects.retain(policy::is_safe);
                if seen.defects.is_empty() {
                    continue;
                }
                let mut report = RepairReport {
                    dry_run: false,
                    runner: facts.runner.clone(),
                    path: work_dir.path.join(&name),
                    mode: RemediateMode::Chown,
                    objections: Vec::new(),
                    changes: Vec::new(),
                    done: 0,
                    undone: 0,
                    bytes: 0,
                    notes: Vec::new(),
                };
                match self.turns(root, &name, seen, &policy::is_safe, &mut report) {
                    // It has been removed, or has a job: the next sweep looks again.
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

    fn tree(&self, work: &Dir, owner: Uid, name: &OsStr, sight: &RunnerLook<'_>) -> AreaScan {
        self.look_over(work, owner, name, liveness::judge(sight.evidence()))
    }

    fn look_over(&self, work: &Dir, owner: Uid, name: &OsStr, state: Liveness) -> AreaScan {
        self.over(None).tree(work, owner, name, state)
    }

    fn over<'g>(&self, git: Option<&'g observe::Git>) -> observe::AreaInspection<'g> {
        let floor = self.config.siblings.idle_floor;
        observe::AreaInspection { now: (self.clock)(), floor, deadline: self.deadline, git }
    }
}

/// The first of them, for a message.
fn named(paths: &[PathBuf]) -> String {
    let mut text: Vec<String> = paths.iter().take(4).map(|path| path.display().to_string()).collect();
    if paths.len() > text.len() {
        text.push("…".to_owned());
    }
    text.join(", ")
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
        used: None,
        largest: Arc::default(),
    })
}

/// By the name of its directory, or of its repository: the runner names directories after the last part of the repository's name.
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

fn preview(seen: &AreaScan, mode: RemediateMode, owner: Uid, report: &mut RepairReport) {
    for defect in seen.defects.iter().filter(|defect| policy::concerns(mode, defect.kind)) {
        let result = match policy::forbidden(defect) {
            Some(why) => Repaired::Refused(why.to_owned()),
            None => Repaired::Planned,
        };
        note(defect, owner, result, report);
    }
}
