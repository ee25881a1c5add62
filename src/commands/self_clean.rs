//! Tickets, from both sides: asking busy runners for what the disk lacks, and a completed-hook's answer.

use super::now;
use super::witness::Narrator;
use crate::config::Config;
use crate::cycle::{Cycle, Role};
use crate::model::{Balance, FileId, Level, ProcessId, RunReport, Runner};
use crate::observe::caches::open_work;
use crate::policy::{goal, pressure};
use crate::report::escape;
use crate::report::job_log::JobLog;
use crate::run_dir::RunDir;
use crate::sys::process::Proc;
use crate::tickets;
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

/// A completed-hook that may have been asked for something.
pub(super) struct SelfClean<'a> {
    pub(super) config: &'a Config,
    pub(super) proc: &'a Proc,
    pub(super) run: &'a RunDir,
    pub(super) runner: &'a Runner,
    pub(super) lineage: &'a [ProcessId],
    pub(super) begun: Instant,
}

impl SelfClean<'_> {
    /// Takes the caches that others wanted of this runner, if its disk still lacks them.
    pub(super) fn run(&self, narrator: &mut Narrator) -> Result<(), String> {
        let root = self.runner.root_id;
        let wanted = tickets::read(self.run, root);
        let Some(work) = self.runner.work_dir().filter(|_| !wanted.is_empty()) else { return Ok(()) };
        tickets::withdraw(self.run, root);
        let usage = open_work(work).and_then(|dir| dir.usage()).map_err(|error| {
            format!("the work directory {} cannot be examined: {error}", escape::path(&work.path))
        })?;
        if pressure::level(&usage, &self.config.watermarks) == Level::Ok {
            return Ok(());
        }
        let title = "takes caches of this runner that the host's disk needs";
        let mut log = JobLog::open(std::io::stdout(), title).map_err(|error| error.to_string())?;
        narrator.begun();
        let cycle = Cycle {
            config: self.config,
            proc: self.proc,
            run: self.run,
            actor: Role::SelfClean { root, wanted, lineage: self.lineage.to_vec() },
            clock: now,
            deadline: self.begun + self.config.hook.time_limit,
            witness: narrator,
        };
        let (report, result) = cycle.run();
        let _ = log.run(&report, now());
        if let Err(error) = &result {
            let _ = log.line(&format!("stopped early: {error}"));
        }
        narrator.ended(&report, self.begun.elapsed());
        // Whether the whole host has reached its goal is no business of a job that is over: no warning.
        let _ = log.finish(None);
        Ok(())
    }
}
