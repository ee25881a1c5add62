//! Caches that a hook removes of its own runner: those that other runners' runs have asked for by tickets, and those that exceed their
//! rules' limits.

use crate::clock::now;
use crate::config::Config;
use crate::cycle::{Cycle, Role};
use crate::model::{ActionResult, Level, ProcessId, Runner};
use crate::observe::caches::open_work;
use crate::policy::pressure;
use crate::report::job_log::JobLog;
use crate::run_dir::RunDir;
use crate::run_log::RunLog;
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::text::escape;
use crate::tickets;
use crate::uses::{self, Uses};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

/// A hook of a runner that may have been asked for caches; it also applies its rules' limits, for a runner that is never idle when the
/// sweep runs.
pub(super) struct SelfClean<'a> {
    pub(super) config: &'a Config,
    pub(super) proc: &'a Proc,
    pub(super) run: &'a RunDir,
    pub(super) runner: &'a Runner,
    pub(super) lineage: &'a [ProcessId],
    pub(super) begun: Instant,
}

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HookKind {
    Started,
    Completed,
}

/// Why a runner's caches were not examined, or the result not reported.
#[derive(Debug, thiserror::Error)]
pub(super) enum CleanError {
    #[error("the work directory {} cannot be examined: {source}", escape::path(path))]
    Work { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Log(std::io::Error),
}

impl SelfClean<'_> {
    /// Removes the caches that others have asked this runner for, if its disk still has a shortfall, and those that exceed their rules'
    /// limits.
    ///
    /// # Errors Why the caches cannot be examined.
    pub(super) fn run(&self, hook: HookKind, run_log: &mut RunLog) -> Result<(), CleanError> {
        let root = self.runner.root_id;
        let Some(work) = self.runner.work_dir() else { return Ok(()) };
        let asked = match hook {
            HookKind::Started => BTreeSet::new(),
            HookKind::Completed => tickets::read(self.run, root),
        };
        if asked.is_empty() && !self.may_have_limits(hook) {
            return Ok(());
        }
        let unreadable = |source| CleanError::Work { path: work.path.clone(), source };
        let dir = open_work(work).map_err(unreadable)?;
        let limits = self.limits_are_due(hook, &dir);
        if !asked.is_empty() {
            tickets::withdraw(self.run, root);
        }
        let is_pressed =
            pressure::level(&dir.usage().map_err(unreadable)?, &self.config.watermarks) != Level::Ok;
        let wanted = if is_pressed { asked } else { BTreeSet::new() };
        if wanted.is_empty() && !limits {
            return Ok(());
        }
        let is_wanted = !wanted.is_empty();
        run_log.begun();
        let cycle = Cycle {
            config: self.config,
            proc: self.proc,
            run: self.run,
            actor: Role::SelfClean { root, wanted, limits, lineage: self.lineage.to_vec() },
            rooms: &[],
            clock: now,
            deadline: self.begun + self.config.hook.time_limit,
            events: run_log,
        };
        let (report, result) = cycle.run();
        if limits && result.is_ok() {
            // On a full disk there is no note, and the next hook looks again.
            let _ = uses::note_limits(&dir, work.owner, now());
        }
        run_log.ended(&report, self.begun.elapsed());
        let is_told = report.outcomes.iter().any(|outcome| outcome.result != ActionResult::Kept);
        if !is_told && result.is_ok() && !is_wanted {
            return Ok(());
        }
        let title = match is_wanted {
            true => "removes caches of this runner that the host's disk needs",
            false => "removes caches of this runner that exceed their rules' limits",
        };
        let mut log = JobLog::open(std::io::stdout(), title).map_err(CleanError::Log)?;
        let _ = log.run(&report, now());
        if let Err(error) = &result {
            let _ = log.line(&format!("stopped early: {error}"));
        }
        // Whether the whole host has reached its goal does not concern a job that is over: no warning.
        let _ = log.finish(None);
        Ok(())
    }

    /// Whether a rule has a limit that this hook would apply: without one it looks at nothing.
    fn may_have_limits(&self, hook: HookKind) -> bool {
        let caches = &self.config.caches;
        let has_size = caches.iter().any(|rule| rule.max_size.is_some());
        has_size || (hook == HookKind::Completed && caches.iter().any(|rule| rule.max_age.is_some()))
    }

    /// A job that has ended may have let a cache grow; before a job nothing has changed since the last look. Age is known from the jobs
    /// that used a cache, without a look at the caches themselves.
    fn limits_are_due(&self, hook: HookKind, work: &Dir) -> bool {
        let caches = &self.config.caches;
        let has_size = caches.iter().any(|rule| rule.max_size.is_some());
        if has_size && hook == HookKind::Completed {
            return true;
        }
        if uses::limits_are_fresh(work, now()) {
            return false;
        }
        let least = caches.iter().filter_map(|rule| rule.max_age).min();
        let is_old =
            |used| least.is_some_and(|least| now().duration_since(used).is_ok_and(|age| age > least));
        has_size
            || (hook == HookKind::Completed && Uses::of(work, now()).iter().any(|(_, used)| is_old(used)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Work;
    use crate::observe::filesystems::MountTable;
    use crate::observe::runners;

    struct Scene {
        temp: tempfile::TempDir,
        run: RunDir,
        runner: Runner,
    }

    fn scene() -> Scene {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("runner");
        std::fs::create_dir_all(root.join("_work/app/app")).unwrap();
        std::fs::write(root.join(".runner"), r#"{"agentName":"runner-1","workFolder":"_work"}"#).unwrap();
        let run = RunDir::open(&temp.path().join("run")).unwrap();
        let runner = runners::examine(&root, &MountTable::default()).unwrap().unwrap();
        assert!(matches!(runner.work, Work::Present(_)));
        Scene { temp, run, runner }
    }

    impl Scene {
        /// Whether a hook of this kind looks at the limits of these rules.
        fn is_due(&self, hook: HookKind, rules: &str) -> bool {
            let config = Config::parse(rules).unwrap();
            let clean = SelfClean {
                config: &config,
                proc: &Proc::new(self.temp.path()),
                run: &self.run,
                runner: &self.runner,
                lineage: &[],
                begun: Instant::now(),
            };
            let work = open_work(self.runner.work_dir().unwrap()).unwrap();
            clean.may_have_limits(hook) && clean.limits_are_due(hook, &work)
        }
    }

    const SIZE: &str = "[[cache]]\nname = \"cargo-target\"\nmax_size = \"1GiB\"\n";
    const AGE: &str = "[[cache]]\nname = \"cargo-target\"\nmax_age = \"1h\"\n";
    const NONE: &str = "[[cache]]\nname = \"cargo-target\"\nmax_age = \"0\"\n";

    #[test]
    fn sizes_are_looked_at_after_every_job_and_before_one_once_in_a_while() {
        let scene = scene();
        assert!(scene.is_due(HookKind::Started, SIZE) && scene.is_due(HookKind::Completed, SIZE));
        let work = scene.runner.work_dir().unwrap();
        uses::note_limits(&open_work(work).unwrap(), work.owner, now()).unwrap();
        assert!(!scene.is_due(HookKind::Started, SIZE), "it was looked at a moment ago");
        assert!(scene.is_due(HookKind::Completed, SIZE), "the job may have let a cache grow");
    }

    #[test]
    fn ages_are_looked_at_after_a_job_where_a_repository_is_that_old() {
        let scene = scene();
        assert!(!scene.is_due(HookKind::Completed, AGE), "no repository is known");
        let work = scene.runner.work_dir().unwrap();
        let old = now() - std::time::Duration::from_secs(7200);
        uses::mark(&open_work(work).unwrap(), work.owner, std::ffi::OsStr::new("app"), old).unwrap();
        assert!(scene.is_due(HookKind::Completed, AGE));
        assert!(!scene.is_due(HookKind::Started, AGE), "it can wait for the job's end");
        assert!(!scene.is_due(HookKind::Completed, NONE), "no rule has a limit");
    }
}
