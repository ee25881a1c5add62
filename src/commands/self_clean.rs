//! Tickets, from both sides: asking busy runners for what the disk lacks, and a completed-hook's answer.

use super::now;
use super::run_log::RunLog;
use crate::config::Config;
use crate::cycle::{Cycle, Role};
use crate::model::{ActionResult, Balance, FileId, Level, ProcessId, RunReport, Runner};
use crate::observe::caches::open_work;
use crate::policy::{goal, pressure};
use crate::report::job_log::JobLog;
use crate::run_dir::RunDir;
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::text::escape;
use crate::tickets;
use crate::uses::{self, Uses};
use std::collections::BTreeSet;
use std::time::Instant;

/// Asks runners for what was wanted of them and is protected, where the disk still lacks it. Not `own`, whose hook we are.
pub(super) fn leave_tickets(config: &Config, run: &RunDir, report: &RunReport, own: Option<FileId>) {
    if report.goal_met {
        return;
    }
    let is_lacking = |runner: &Runner| {
        let on =
            |balance: &&Balance| runner.work_dir().is_some_and(|work| work.filesystem == balance.before.id);
        let balance = report.balances.iter().find(on);
        let lacking = |balance: &Balance| match &balance.shortfall {
            // What is out of reach with all caches of the host is asked of nobody.
            Some(short) => goal::ladder(&balance.after, &config.watermarks).lacking(short.aim),
            None => pressure::lacking(&balance.after, &config.watermarks),
        };
        balance.is_some_and(|balance| !lacking(balance).is_met())
    };
    for (root, caches) in tickets::wanted(report, &is_lacking) {
        if own != Some(root) {
            // Where tickets cannot be left the sweep goes on finding what is idle.
            let _ = tickets::leave(run, root, &caches);
        }
    }
}

/// A hook of a runner that may have been asked for something, and that applies its rules' limits for a runner that is never idle
/// when the sweep comes.
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
pub(super) enum Hook {
    Started,
    Completed,
}

impl SelfClean<'_> {
    /// Takes the caches that others wanted of this runner, if its disk still lacks them, and what exceeds its rules' limits.
    pub(super) fn run(&self, hook: Hook, run_log: &mut RunLog) -> Result<(), String> {
        let root = self.runner.root_id;
        let Some(work) = self.runner.work_dir() else { return Ok(()) };
        let asked = match hook {
            Hook::Started => BTreeSet::new(),
            Hook::Completed => tickets::read(self.run, root),
        };
        if asked.is_empty() && !self.may_have_limits(hook) {
            return Ok(());
        }
        let unreadable = |error: std::io::Error| {
            format!("the work directory {} cannot be examined: {error}", escape::path(&work.path))
        };
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
            true => "takes caches of this runner that the host's disk needs",
            false => "takes caches of this runner that exceed their rules' limits",
        };
        let mut log = JobLog::open(std::io::stdout(), title).map_err(|error| error.to_string())?;
        let _ = log.run(&report, now());
        if let Err(error) = &result {
            let _ = log.line(&format!("stopped early: {error}"));
        }
        // Whether the whole host has reached its goal is no business of a job that is over: no warning.
        let _ = log.finish(None);
        Ok(())
    }

    /// Whether a rule has a limit that this hook would apply: without one it looks at nothing.
    fn may_have_limits(&self, hook: Hook) -> bool {
        let caches = &self.config.caches;
        let has_size = caches.iter().any(|rule| rule.max_size.is_some());
        has_size || (hook == Hook::Completed && caches.iter().any(|rule| rule.max_age.is_some()))
    }

    /// A job that has ended may have let a cache grow; before one nothing has changed since the last look. What is too old is told
    /// by when jobs have used it, without a look at the caches themselves.
    fn limits_are_due(&self, hook: Hook, work: &Dir) -> bool {
        let caches = &self.config.caches;
        let has_size = caches.iter().any(|rule| rule.max_size.is_some());
        if has_size && hook == Hook::Completed {
            return true;
        }
        if uses::limits_are_fresh(work, now()) {
            return false;
        }
        let least = caches.iter().filter_map(|rule| rule.max_age).min();
        let is_old =
            |used| least.is_some_and(|least| now().duration_since(used).is_ok_and(|age| age > least));
        has_size || (hook == Hook::Completed && Uses::of(work, now()).iter().any(|(_, used)| is_old(used)))
    }
}
