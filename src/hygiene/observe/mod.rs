//! Looks at one runner's work directory. Nothing is changed, and no wait exceeds the deadline.

mod fsck;
mod git;
mod leftovers;
pub(crate) mod mapping;
mod objects;
mod tree;

pub use fsck::{Fsck, Git};

use crate::hygiene::policy;
use crate::model::hygiene::{AreaAudit, AreaKind, AreaScan, FindingKind, GitDir, GitKind, RunnerAudit};
use crate::model::{Liveness, Runner, Uid, WorkDir};
use crate::observe::caches::open_work;
use crate::sys::dir::Dir;
use mapping::Mapping;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// The maximum of repositories of one runner; further ones are not looked at.
const MAX_AREAS: usize = 4096;

/// The inputs of an inspection.
#[derive(Debug, Clone, Copy)]
pub struct AreaInspection<'a> {
    /// The wall clock now.
    pub now: SystemTime,
    /// How old a lock file has to be to count as left behind.
    pub floor: Duration,
    /// When to stop.
    pub deadline: Instant,
    /// Git, to judge its own metadata; without it nothing is reported about them.
    pub git: Option<&'a Git>,
}

impl AreaInspection<'_> {
    /// Everything about one runner. Git's lock files and unfinished checkouts are judged only on an idle runner: those of a running job
    /// are in use.
    ///
    /// # Errors
    /// When the work directory cannot be opened.
    pub fn at(&self, runner: &Runner, state: Liveness) -> io::Result<RunnerAudit> {
        let mut audit = RunnerAudit {
            runner: runner.clone(),
            state,
            skipped: None,
            areas: Vec::new(),
            leftovers: Vec::new(),
        };
        if state == Liveness::Busy {
            audit.skipped = Some("a job changed its tree during the examination: not examined".to_owned());
            return Ok(audit);
        }
        let Some(work_dir) = runner.work_dir() else {
            audit.skipped = Some("it has no work directory that can be examined".to_owned());
            return Ok(audit);
        };
        let work = open_work(work_dir)?;
        let mapping = mapping::read(&work);
        for name in areas(&work)? {
            audit.areas.push(self.area(work_dir, &work, &name, state, &mapping));
        }
        audit.leftovers = leftovers::find(runner, &work, self.now, self.floor);
        Ok(audit)
    }

    /// Everything about one area.
    pub fn area_named(&self, work_dir: &WorkDir, work: &Dir, name: &OsStr, state: Liveness) -> AreaAudit {
        self.area(work_dir, work, name, state, &mapping::read(work))
    }

    fn area(
        &self,
        work_dir: &WorkDir,
        work: &Dir,
        name: &OsStr,
        state: Liveness,
        mapping: &Mapping,
    ) -> AreaAudit {
        let kind = kind_of(name);
        let mut seen = self.tree(work, work_dir.owner, name, state);
        let mut notes = Vec::new();
        if kind == AreaKind::Repository {
            if mapping.is_gone(name) {
                seen.note(
                    FindingKind::Abandoned,
                    Path::new(name),
                    "_PipelineMapping names no repository for it",
                );
            }
            self.git(work, work_dir.owner, state, &mut seen, &mut notes);
        }
        if !seen.is_whole {
            notes.push("not all of it was seen".to_owned());
        }
        let findings = policy::findings(&seen);
        AreaAudit {
            name: name.to_owned(),
            path: work_dir.path.join(name),
            kind,
            verdict: policy::verdict(&findings),
            mode: policy::recommended(kind, &findings),
            findings,
            is_whole: seen.is_whole,
            notes,
        }
    }

    /// The walk over one area, with its findings about entries.
    pub fn tree(&self, work: &Dir, owner: Uid, name: &OsStr, state: Liveness) -> AreaScan {
        let mut seen = tree::walk(work, name, owner, self.deadline);
        let is_left = |modified: SystemTime| {
            state == Liveness::Idle && self.now.duration_since(modified).is_ok_and(|age| age >= self.floor)
        };
        let is_work = |kind| matches!(kind, FindingKind::StaleLock | FindingKind::UnfinishedTransfer);
        seen.keep(|defect| !is_work(defect.kind) || is_left(defect.modified));
        seen
    }

    /// Judges every git directory that the walk saw; by git itself where there is one to ask.
    pub fn git(&self, work: &Dir, owner: Uid, state: Liveness, seen: &mut AreaScan, notes: &mut Vec<String>) {
        if state != Liveness::Idle {
            notes.push("git's state is not judged: the runner is not provably idle".to_owned());
            return;
        }
        if seen.has_more_gits {
            notes.push("not all git directories are judged: there are too many".to_owned());
        }
        for GitDir { below, kind } in seen.gits.clone() {
            let Ok(dir) = work.descend(&below) else { continue };
            // A directory that a job made and never fetched into is not one that a checkout continues.
            if kind == GitKind::Nested && !git::has_remote(&dir) {
                continue;
            }
            if let Some(why) = git::interrupted(&dir, kind) {
                seen.note(FindingKind::Interrupted, &below, &why);
                continue;
            }
            if let Some((count, first)) = objects::damaged(&dir, self.deadline) {
                seen.note(FindingKind::DamagedObject, &below, &first);
                *seen.counts.entry(FindingKind::DamagedObject).or_default() += count - 1;
                continue;
            }
            let Some(git) = self.git else { continue };
            match git.check(&dir, owner, self.deadline) {
                Fsck::Sound => {}
                Fsck::Broken(why) => seen.note(FindingKind::BrokenGit, &below, &why),
                Fsck::NotJudged(why) => notes.push(format!("git's objects are not checked: {why}")),
            }
        }
    }
}

/// The owner of a directory in a work directory. The runner's own names begin with an underscore.
pub fn kind_of(name: &OsStr) -> AreaKind {
    if name.as_encoded_bytes().starts_with(b"_") { AreaKind::RunnersOwn } else { AreaKind::Repository }
}

/// The directories in a work directory, without ours.
///
/// # Errors
/// What getdents64(2) reports.
pub fn areas(work: &Dir) -> io::Result<Vec<OsString>> {
    let mut names = work.names(MAX_AREAS)?;
    names.retain(|name| {
        name != ".disk-guard" && work.status_of(name.as_os_str()).is_ok_and(|status| status.is_dir())
    });
    names.sort();
    Ok(names)
}

impl AreaScan {
    /// Adds findings that do not concern a single entry of the walk.
    fn note(&mut self, kind: FindingKind, below: &Path, detail: &str) {
        *self.counts.entry(kind).or_default() += 1;
        self.details.entry(kind).or_insert_with(|| format!("{}: {detail}", below.display()));
    }

    /// Drops the entries that do not count.
    fn keep(&mut self, counts: impl Fn(&crate::model::hygiene::Defect) -> bool) {
        let forgotten: Vec<FindingKind> =
            self.defects.iter().filter(|defect| !counts(defect)).map(|defect| defect.kind).collect();
        self.defects.retain(counts);
        for kind in forgotten {
            if let Some(count) = self.counts.get_mut(&kind) {
                *count -= 1;
            }
        }
        self.counts.retain(|_, count| *count > 0);
    }
}
