//! What a run tells while it goes on: events for the journal, a progress line for a person at a terminal.

use crate::cycle::Witness;
use crate::lock::LockError;
use crate::model::{Action, ActionResult, Filesystem, Level, Outcome, RunReport};
use crate::reclaim::remove_tree::Progress;
use crate::report::escape;
use crate::report::events::{Event, EventKind};
use crate::report::progress::{ProgressLine, Tally};
use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Tells the journal, and whoever watches.
pub(super) struct Narrator;

impl Narrator {
    /// The end of a sweep.
    pub(super) fn swept(&self, report: &RunReport, took: Duration) {
        let removed =
            report.outcomes.iter().filter(|outcome| outcome.result == ActionResult::Removed).count();
        let fullest = report.balances.iter().map(|balance| balance.after.used_percent()).max();
        let goal = if report.goal_met { "goal met" } else { "goal not reached" };
        let caches = if removed == 1 { "cache" } else { "caches" };
        let event = Event::new(EventKind::Sweep, format!("sweep: {removed} {caches} removed, {goal}"))
            .bytes(report.freed_bytes)
            .reason(if report.goal_met { "goal-met" } else { "goal-not-reached" })
            .duration(took);
        match fullest {
            Some(percent) => event.used_percent(percent).emit(),
            None => event.emit(),
        }
    }
}

impl Witness for Narrator {
    fn pressure(&mut self, filesystem: &Filesystem, level: Level) {
        let (mount, percent) = (escape::path(&filesystem.mount), filesystem.usage.used_percent());
        Event::new(EventKind::Pressure, format!("{mount} is {percent} % full: {}", level.as_str()))
            .path(&filesystem.mount)
            .used_percent(percent)
            .reason(level.as_str())
            .emit();
    }

    fn claimed(&mut self, action: &Action) {
        Event::new(EventKind::Claimed, format!("claimed {}", escape::path(&action.cache.path)))
            .runner(&action.runner)
            .path(&action.cache.path)
            .bytes(action.cache.bytes())
            .reason(action.decision.reason())
            .emit();
    }

    fn deleting(
        &mut self,
        what: &Path,
        files: Option<u64>,
        bytes: u64,
        progress: &Arc<Progress>,
    ) -> Box<dyn Any> {
        let progress = Arc::clone(progress);
        // Bytes are known of the tree as a whole; they are shown in proportion to the files that are gone.
        let read = move || {
            let done = progress.files.load(Ordering::Relaxed);
            let share = files.filter(|all| *all > 0).map_or(0.0, |all| done as f64 / all as f64);
            Tally { files: done, bytes: (bytes as f64 * share.min(1.0)) as u64 }
        };
        Box::new(ProgressLine::start(&format!("deleting {}", escape::path(what)), files, read))
    }

    fn outcome(&mut self, outcome: &Outcome, took: Duration) {
        if let Some(event) = Event::of_outcome(outcome) {
            event.duration(took).emit();
        }
    }

    fn trash(&mut self, path: &Path, bytes: u64, failure: Option<&str>) {
        let place = escape::path(path);
        let (kind, text) = match failure {
            None => (EventKind::Removed, format!("unfinished trash {place} is gone")),
            Some(why) => (EventKind::Error, format!("unfinished trash {place} could not be deleted: {why}")),
        };
        Event::new(kind, text).path(path).bytes(bytes).reason("trash").emit();
    }

    fn lock_failed(&mut self, error: &LockError) {
        lock_event(error);
    }
}

/// The host lock was not obtained.
pub(super) fn lock_event(error: &LockError) {
    let kind = match error {
        LockError::TimedOut { .. } => EventKind::LockTimeout,
        LockError::RunDir(_) | LockError::System { .. } => EventKind::Error,
    };
    let event = Event::new(kind, error.to_string());
    match error {
        LockError::TimedOut { waited, .. } => event.duration(*waited).emit(),
        LockError::RunDir(_) | LockError::System { .. } => event.emit(),
    }
}
