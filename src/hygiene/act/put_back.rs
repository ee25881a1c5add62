//! Moves back the files that a crashed repair has left in quarantine: they belong to the runner and are not trash.

use super::{RepairError, Repairs, whole};
use crate::model::{Evidence, Runner};
use crate::observe::caches::open_work;
use crate::reclaim::quarantine;
use crate::reclaim::trash::Trash;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::PathBuf;

/// The outcome for one of them.
#[derive(Debug)]
pub struct PutBack {
    /// Its runner.
    pub runner: Runner,
    /// Its original place.
    pub quarantine: PathBuf,
    /// Where it is now.
    pub result: Returned,
}

/// Where the leftover is now.
#[derive(Debug)]
pub enum Returned {
    /// Back in its place, which is this.
    There(PathBuf),
    /// It was empty, or its place is gone or occupied: moved to trash.
    Trash,
    /// Left where it was: its runner is not provably idle.
    Kept(Vec<Evidence>),
    /// Left where it was: the system refused.
    Failed(String),
}

impl Repairs<'_> {
    /// Finishes what crashed repairs have left, of every one of these runners that is provably idle.
    ///
    /// # Errors
    /// The host lock's.
    pub fn put_back(&mut self, runners: &[Runner]) -> Result<Vec<PutBack>, RepairError> {
        let (mut done, mut seen) = (Vec::new(), HashSet::new());
        for runner in runners {
            let is_new = runner.work_dir().is_some_and(|work| seen.insert(work.id));
            // Most runners have no such leftovers, and cost only this look.
            if is_new && is_left(runner) {
                match self.put_back_of(runner) {
                    Ok(of_it) => done.extend(of_it),
                    // The next run looks again.
                    Err(RepairError::Gone(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(done)
    }

    fn put_back_of(&mut self, runner: &Runner) -> Result<Vec<PutBack>, RepairError> {
        let sight = self.look(runner.root_id)?;
        let (work_dir, work) = self.open(sight.runner())?;
        let Ok(Some(trash)) = Trash::open(&work, work_dir.owner) else { return Ok(Vec::new()) };
        // The recorded place is not trusted: the whole work directory must not be in use.
        let area = whole(&work, &work_dir, OsStr::new(".")).map_err(RepairError::Gone)?;
        let lock = self.lock(&sight, &area)?;
        // Under the lock no repair is under way.
        let left = match &lock {
            Ok(lock) => lock.while_looking(|| trash.quarantines()),
            Err(_) => trash.quarantines(),
        };
        let left = left.unwrap_or_default();
        let finish = |name: &OsStr| match &lock {
            Ok(lock) => match quarantine::put_back(lock, &work, &trash, name) {
                Ok(Some(place)) => Returned::There(work_dir.path.join(place)),
                Ok(None) => Returned::Trash,
                Err(error) => Returned::Failed(error.to_string()),
            },
            Err(objections) => Returned::Kept(objections.clone()),
        };
        let home = work_dir.path.join(".disk-guard/trash");
        let all = left.iter().map(|name| PutBack {
            runner: sight.runner().clone(),
            quarantine: home.join(name),
            result: finish(name),
        });
        Ok(all.collect())
    }
}

fn is_left(runner: &Runner) -> bool {
    let trash = runner.work_dir().and_then(|work| Trash::open(&open_work(work).ok()?, work.owner).ok()?);
    trash.and_then(|trash| trash.quarantines().ok()).is_some_and(|left| !left.is_empty())
}
