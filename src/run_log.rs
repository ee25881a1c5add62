//! What a run reports while it is running: events for the journal and the ledger's file, counts for monitoring, a progress line for a
//! person at a terminal.

mod share;

use crate::clock::now;
use crate::config::{Config, Watermarks};
use crate::counters;
use crate::cycle::RunEvents;
use crate::ledger::{LedgerWriter, WriteOutcome};
use crate::lock::{LockError, LockMode};
use crate::model::ledger::{ActionKind, Scope};
use crate::model::metrics::{Counter, SweepEnd, TRASH, Tally as Counted, Timing};
use crate::model::reap::{EntryReport, ReapReport};
use crate::model::stores::StoresReport;
use crate::model::{
    Action, ActionResult, Decision, FileId, Filesystem, FilesystemId, KeepReason, Level, Outcome, Part,
    RunReport, Runner, Uid, strongest,
};
use crate::reclaim::execute::{Step, Steps};
use crate::reclaim::remove_tree::Progress;
use crate::report::events::{Event, EventKind};
use crate::report::journal;
use crate::report::progress::{ProgressCount, ProgressLine};
use crate::report::scarcity;
use crate::run_dir::RunDir;
use crate::sys::process::{Proc, own_pid};
use crate::text::{escape, words};
use share::EntryShare;
use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Reports to the journal, the ledger's file and the terminal.
///
/// Kept caches are reported one by one to the journal (up to an [`EntryShare`] of each), and as a sum at the end of the run to the file:
/// on a busy host a sweep keeps many, and the file is small. Without a journal these are lines of a job's log.
pub(crate) struct RunLog {
    /// Opened with the first entry: most hooks have none.
    ledger: Option<LedgerWriter>,
    state_dir: PathBuf,
    proc: Proc,
    marks: Watermarks,
    run: String,
    scope: Scope,
    /// The runner of this hook; none in a sweep.
    runner: Option<Runner>,
    sequence: u64,
    kept: BTreeMap<&'static str, usize>,
    /// How many of them have an entry of their own, by runner.
    kept_entries: EntryShare<FileId>,
    /// By the directory that holds the trash.
    trash_entries: EntryShare<PathBuf>,
    /// The caches of other users' runners that a hook has left alone.
    siblings: KeptSiblings,
    /// Why the kernel did not confine the run's deletions.
    unconfined: Option<String>,
    unwritten: Option<String>,
    counted: Counted,
    under_pressure: HashSet<FilesystemId>,
}

/// Caches of other users' runners that a hook keeps. About these runners a hook can prove nothing and its entries are not trusted: it
/// writes one entry about all of them, and the sweep reports each.
#[derive(Debug, Default)]
struct KeptSiblings {
    runners: HashSet<FileId>,
    caches: usize,
    bytes: u64,
}

impl RunLog {
    /// The log of a run, which begins now.
    pub(crate) fn new(config: &Config, proc: &Proc, scope: Scope, runner: Option<&Runner>) -> Self {
        let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            ledger: None,
            state_dir: config.paths.state_dir.clone(),
            proc: proc.clone(),
            marks: config.watermarks,
            run: format!("{}-{:x}", own_pid(), since.as_micros()),
            scope,
            runner: runner.cloned(),
            sequence: 0,
            kept: BTreeMap::new(),
            kept_entries: EntryShare::default(),
            trash_entries: EntryShare::default(),
            siblings: KeptSiblings::default(),
            unconfined: None,
            unwritten: None,
            counted: Counted::default(),
            under_pressure: HashSet::new(),
        }
    }

    /// Sends an event of this run to all sinks. A ledger that cannot be written does not fail the run.
    pub(crate) fn tell(&mut self, event: Event) {
        self.sequence += 1;
        let event = event.in_run(&self.run, &self.scope, self.sequence);
        event.emit();
        match event.kind() {
            EventKind::Error => self.counted.count(Counter::Errors, &[], 1),
            EventKind::Deduplicated => self.counted.count(Counter::DedupeFreed, &[], event.counted_bytes()),
            EventKind::Refused => self.counted.count(Counter::JobsRefused, &[], 1),
            EventKind::LockTimeout => self.counted.count(Counter::LockTimeouts, &[], 1),
            _ => {}
        }
        if let Some(record) = event.record(now()).filter(|record| belongs_in_file(record.deed)) {
            let open = || LedgerWriter::new(&self.state_dir, self.proc.boot_id().unwrap_or_default());
            self.unwritten = match self.ledger.get_or_insert_with(open).append(&record) {
                WriteOutcome::All => None,
                WriteOutcome::Not(why) => Some(why),
            };
        }
    }

    /// A run begins.
    pub(crate) fn begun(&mut self) {
        let text = match &self.scope {
            Scope::Sweep => "a sweep starts".to_owned(),
            Scope::Reap => "the reaper starts".to_owned(),
            Scope::Stores => "the collection of stores starts".to_owned(),
            Scope::Hook(runner) => format!("the hook of {} makes room", escape::text(runner)),
            Scope::Remediate => "a repair that a person asked for starts".to_owned(),
        };
        self.tell(Event::new(EventKind::RunBegun, text));
    }

    /// The end of a run.
    pub(crate) fn ended(&mut self, report: &RunReport, took: Duration) {
        self.tell_of_siblings();
        let removed =
            report.outcomes.iter().filter(|outcome| outcome.result == ActionResult::Removed).count();
        let fullest = report.balances.iter().map(|balance| balance.after.used_percent()).max();
        let goal = if report.goal_met { "goal met" } else { "goal not reached" };
        let caches = if removed == 1 { "cache" } else { "caches" };
        let (kind, what) = match &self.scope {
            Scope::Sweep => (EventKind::Sweep, "sweep".to_owned()),
            Scope::Reap => (EventKind::RunEnded, "reaper".to_owned()),
            Scope::Stores => (EventKind::RunEnded, "stores".to_owned()),
            Scope::Hook(runner) => (EventKind::RunEnded, format!("hook of {}", escape::text(runner))),
            Scope::Remediate => (EventKind::RunEnded, "remediate".to_owned()),
        };
        let event = Event::new(kind, format!("{what}: {removed} {caches} removed, {goal}"))
            .bytes(report.freed_bytes)
            .reason(if report.goal_met { "goal-met" } else { "goal-not-reached" })
            .summary(self.in_words())
            .duration(took);
        self.tell(match fullest {
            Some(percent) => event.used_percent(percent),
            None => event,
        });
    }

    /// The end of the reaper's run.
    pub(crate) fn reaper_ended(&mut self, report: &ReapReport, took: Duration) {
        let sum = |count: fn(&EntryReport) -> usize| report.entries.iter().map(count).sum::<usize>();
        let (reaped, failed) = (sum(EntryReport::reaped), sum(EntryReport::failed));
        let text = format!("reaper: {reaped} reaped, {failed} failed, {} left", sum(EntryReport::leaked));
        let reason = if report.is_failed() { "reap-failed" } else { "reaped" };
        self.tell(Event::new(EventKind::RunEnded, text).reason(reason).duration(took));
    }

    /// The end of a collection of stores.
    pub(crate) fn stores_ended(&mut self, report: &StoresReport, took: Duration) {
        let count = |name: &str| report.stores.iter().filter(|store| store.result.as_str() == name).count();
        let (collected, ended, failed) = (count("collected"), count("interrupted"), count("failed"));
        let text = format!("stores: {collected} collected, {ended} ended for a job, {failed} failed");
        let reason = if report.is_failed() { "store-failed" } else { "collected" };
        let event = Event::new(EventKind::RunEnded, text).bytes(report.freed_bytes());
        self.tell(event.reason(reason).duration(took));
    }

    /// Notes how long something took.
    pub(crate) fn timed(&mut self, timing: Timing, took: Duration) {
        self.counted.timings.push((timing, micros(took)));
    }

    /// Records the counts of this run for the next sweep to fold. A failure is not reported: counting fails no job, and is no warning in
    /// its log.
    pub(crate) fn leave_counts(&mut self, run: &RunDir) {
        let counted = std::mem::take(&mut self.counted);
        if let Err(error) = counters::leave(run, &self.run, &counted) {
            let text = format!("what this run has counted is lost: {error}");
            Event::new(EventKind::Error, text).level(journal::Level::DEBUG).emit();
        }
    }

    /// Notes how a sweep has ended.
    pub(crate) fn swept(&mut self, end: SweepEnd) {
        self.counted.sweep = Some(end);
    }

    /// Whether this run's entries about a runner would not be trusted (`policy::ledger`): a hook's user is trusted about its own runners
    /// only.
    fn is_anothers(&self, runner: &Runner) -> bool {
        let user = nix::unistd::geteuid();
        let is_own = |owner: Uid| owner.0 == user.as_raw();
        let is_hook = matches!(self.scope, Scope::Hook(_)) && !user.is_root();
        is_hook && !(is_own(runner.owner) && runner.work_dir().is_none_or(|work| is_own(work.owner)))
    }

    fn tell_of_siblings(&mut self) {
        let KeptSiblings { runners, caches, bytes } = std::mem::take(&mut self.siblings);
        if caches == 0 {
            return;
        }
        let text = format!(
            "{} of {} that are another user's: left to the sweep",
            words::count(caches, "cache"),
            words::count(runners.len(), "sibling")
        );
        let event = Event::new(EventKind::Kept, text).bytes(bytes).reason("siblings");
        self.tell(match &self.runner {
            Some(runner) => event.runner(runner),
            None => event,
        });
    }

    fn count_outcome(&mut self, outcome: &Outcome) {
        let Action { runner, cache, decision } = &outcome.action;
        self.counted.count(Counter::Actions, &[outcome.result.as_str()], 1);
        match (&outcome.result, decision) {
            (ActionResult::Removed, decision) => {
                let labels = [runner.name.as_str(), cache.rule.as_str(), decision.reason()];
                self.counted.count(Counter::Reclaimed, &labels, cache.bytes());
            }
            // Every sweep meets every busy runner: a refusal is recorded only where space was needed.
            (ActionResult::Kept, Decision::Keep(KeepReason::Protected(_))) if !self.is_pressed(runner) => {}
            _ => {
                if let Some(evidence) = strongest(outcome.evidence()) {
                    self.counted.count(Counter::Refusals, &[evidence.kind.as_str()], 1);
                }
            }
        }
    }

    fn is_pressed(&self, runner: &Runner) -> bool {
        runner.work_dir().is_some_and(|work| self.under_pressure.contains(&work.filesystem))
    }

    /// The summary of a whole run: what was kept, and that the kernel did not confine it. The latter is no error: it is reported here,
    /// once.
    fn in_words(&self) -> String {
        let all: usize = self.kept.values().sum();
        let each: Vec<String> = self.kept.iter().map(|(why, count)| format!("{why} {count}")).collect();
        let untold = match self.kept_entries.left_out() {
            0 => String::new(),
            untold => format!(" ({untold} of them without an entry)"),
        };
        let kept = (all > 0).then(|| format!("kept {all}: {}{untold}", each.join(", ")));
        let lack =
            self.unconfined.as_ref().map(|lack| format!("deletion was confined by handles alone: {lack}"));
        let trash = match self.trash_entries.left_out() {
            0 => None,
            more => Some(format!("{more} more entries of trash were met")),
        };
        kept.into_iter().chain(trash).chain(lack).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for RunLog {
    /// The disk may have room again. A hook's user may have no place in the ledger's files at all, so that is no warning in every job's
    /// log.
    fn drop(&mut self) {
        if self.unwritten.is_none() {
            return;
        }
        if let Some(WriteOutcome::Not(why)) = self.ledger.as_mut().map(LedgerWriter::flush) {
            let level = match self.scope {
                Scope::Sweep | Scope::Remediate | Scope::Reap | Scope::Stores => journal::Level::WARN,
                Scope::Hook(_) => journal::Level::DEBUG,
            };
            Event::new(EventKind::Error, why).level(level).emit();
        }
    }
}

impl Steps for RunLog {
    fn step(&mut self, step: Step<'_>) -> Option<Box<dyn Any>> {
        match step {
            Step::Claimed(action) => self.claimed(action),
            Step::Deleting { what, files, bytes, progress } => {
                return Some(show_progress(what, files, bytes, progress));
            }
            Step::Ended(outcome, took) => self.outcome(outcome, took),
        }
        None
    }
}

impl RunLog {
    fn claimed(&mut self, action: &Action) {
        if matches!(action.cache.part, Part::Files(_)) {
            // Each file is reported when it is gone: an entry that named their directory would claim too much.
            return;
        }
        let event = Event::new(EventKind::Claimed, format!("claimed {}", escape::path(&action.cache.path)))
            .runner(&action.runner)
            .path(&action.cache.path)
            .rule(&action.cache.rule)
            .bytes(action.cache.bytes())
            .reason(action.decision.reason())
            .grounds(action, now());
        self.tell(event);
    }

    fn outcome(&mut self, outcome: &Outcome, took: Duration) {
        if let (ActionResult::Removed, Part::Files(_)) = (&outcome.result, &outcome.action.cache.part) {
            for (path, bytes) in outcome.action.cache.parts() {
                let event = Event::of_part(&outcome.action, &path, bytes).grounds(&outcome.action, now());
                self.tell(event.duration(took));
            }
            return;
        }
        let Some(event) = Event::of_outcome(outcome) else { return };
        self.count_outcome(outcome);
        let event = match &outcome.result {
            ActionResult::Removed => event.grounds(&outcome.action, now()),
            ActionResult::Kept => {
                let why = strongest(outcome.evidence()).map(|evidence| evidence.kind.as_str());
                *self.kept.entry(why.unwrap_or(outcome.action.decision.reason())).or_default() += 1;
                if self.is_anothers(&outcome.action.runner) {
                    self.siblings.runners.insert(outcome.action.runner.root_id);
                    self.siblings.caches += 1;
                    self.siblings.bytes += outcome.action.cache.bytes();
                    return;
                }
                if !self.kept_entries.take(outcome.action.runner.root_id) {
                    return;
                }
                event
            }
            _ => event,
        };
        self.tell(event.duration(took));
    }
}

/// Shows the progress of a deletion on a terminal, until it is dropped.
fn show_progress(what: &Path, files: Option<u64>, bytes: u64, progress: &Arc<Progress>) -> Box<dyn Any> {
    let progress = Arc::clone(progress);
    // Bytes are known of the tree as a whole; they are shown in proportion to the files that are gone.
    let read = move || {
        let done = progress.files.load(Ordering::Relaxed);
        let share = files.filter(|all| *all > 0).map_or(0.0, |all| done as f64 / all as f64);
        ProgressCount { files: done, bytes: (bytes as f64 * share.min(1.0)) as u64 }
    };
    Box::new(ProgressLine::start(&format!("deleting {}", escape::path(what)), files, read))
}

impl RunEvents for RunLog {
    fn pressure(&mut self, filesystem: &Filesystem, level: Level) {
        self.under_pressure.insert(filesystem.id);
        let text = scarcity::of(filesystem, &self.marks);
        let event = Event::new(EventKind::Pressure, format!("{text}: {}", level.as_str()));
        let percent = filesystem.usage.used_percent();
        self.tell(event.path(&filesystem.mount).used_percent(percent).reason(level.as_str()));
    }

    fn trash(&mut self, path: &Path, bytes: u64, failure: Option<&str>) {
        let place = escape::path(path);
        if failure.is_none() {
            self.counted.count(Counter::Reclaimed, &["", "", TRASH], bytes);
        }
        if !self.trash_entries.take(path.parent().unwrap_or(path).to_owned()) {
            return;
        }
        let (kind, text) = match failure {
            None => (EventKind::Removed, format!("unfinished trash {place} is gone")),
            Some(why) => (EventKind::Error, format!("unfinished trash {place} could not be deleted: {why}")),
        };
        self.tell(Event::new(kind, text).path(path).bytes(bytes).reason("trash"));
    }

    fn unconfined(&mut self, lack: &str) {
        self.unconfined = Some(escape::text(lack).to_string());
    }

    fn lock_taken(&mut self, mode: LockMode, waited: Duration) {
        self.timed(lock_timing(mode), waited);
    }

    fn lock_failed(&mut self, mode: LockMode, error: &LockError) {
        if let LockError::TimedOut { waited, .. } = error {
            self.timed(lock_timing(mode), *waited);
        }
        let event = lock_event(error, self.runner.as_ref());
        self.tell(event);
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn lock_timing(mode: LockMode) -> Timing {
    match mode {
        LockMode::Shared => Timing::LockShared,
        LockMode::Exclusive => Timing::LockExclusive,
    }
}

/// Kept caches are summed up at the end of a run. An entry for a lease alone means a hook that had nothing to do, on the path that every
/// job takes: only the journal has it.
fn belongs_in_file(deed: ActionKind) -> bool {
    !matches!(deed, ActionKind::Kept | ActionKind::Lease)
}

/// The host lock was not obtained, by this runner's hook or by a sweep.
fn lock_event(error: &LockError, runner: Option<&Runner>) -> Event {
    let kind = match error {
        LockError::TimedOut { .. } => EventKind::LockTimeout,
        LockError::RunDir(_) | LockError::System { .. } => EventKind::Error,
    };
    let mut event = Event::new(kind, error.to_string());
    if let Some(runner) = runner {
        event = event.runner(runner);
    }
    if let LockError::TimedOut { waited, .. } = error {
        event = event.duration(*waited);
    }
    event
}
