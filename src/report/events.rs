//! Events: what happened, as fields that a machine can select by and a message that a person can read.
//!
//! The names of kinds and fields are the contract; a kind's `MESSAGE_ID` leads to its entry in the journal catalog and
//! never changes. A field that does not apply is absent, not empty. Field values are exact (a path that is not UTF-8 stands
//! escaped, with its bytes in base64 beside it); the message is one escaped line.

use super::{escape, json, words};
use crate::model::hygiene::{RemediateMode, RepairReport, Repaired};
use crate::model::ledger::{ActionKind, Record, Scope};
use crate::model::{Action, ActionResult, Decision, Evidence, Job, KeepReason, Outcome, Runner};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use strum::{IntoStaticStr, VariantArray};
use tracing::Level;

/// The target of our events: a sink can tell them from anything else that is traced.
pub(super) const TARGET: &str = "disk_guard::event";

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum EventKind {
    /// A filesystem is at or above its watermark, or below a floor.
    Pressure,
    /// A cache has been renamed into trash.
    Claimed,
    /// A cache is gone.
    Removed,
    /// A cache was left alone.
    Kept,
    /// A claimed cache was put back because doubt arose, or a file that a dead repair had in its hands.
    Restored,
    /// A job was refused because the disk stayed above critical.
    Refused,
    /// The host lock was not obtained in time.
    LockTimeout,
    /// A runner's lease was written or ended.
    Lease,
    /// A sweep has ended.
    Sweep,
    /// A runner was taken out of service, or brought back.
    Drain,
    /// Owner and mode of entries were put right.
    Repaired,
    /// More than one repository is contaminated: nothing is repaired.
    WiderIncident,
    /// A sweep, or a hook that makes room, begins.
    RunBegun,
    /// A hook that made room has ended.
    RunEnded,
    /// Something leaked was reaped.
    Reaped,
    /// A store was collected by its own tool.
    Collected,
    /// Equal files of several runners share their blocks.
    Deduplicated,
    /// The cause of a runner's or job's death was found.
    Postmortem,
    /// Something went wrong.
    Error,
}

impl EventKind {
    /// All of them.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The value of `DISK_GUARD_EVENT`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The value of `MESSAGE_ID`.
    pub fn message_id(self) -> &'static str {
        match self {
            Self::Pressure => "0642c217d97c46f4ad748c392fdbb3d7",
            Self::Claimed => "9df4167548714741a35bcf30903f2c69",
            Self::Removed => "4b634221eaa842129ca07f68d168b3f7",
            Self::Kept => "71f2be0e766f45009507716ab2d40d8c",
            Self::Restored => "571b91cce54e4df4a8c25f04c5766b98",
            Self::Refused => "5b9837cfd46142108b100e3772b784cc",
            Self::LockTimeout => "479b851be4ab44cd9fc7b5baa8d06f24",
            Self::Lease => "684c206b133548049a3eefdc78e89c4a",
            Self::Sweep => "95024a3dbac44c6dacfc16d2bbb60fce",
            Self::Drain => "3c0b6a6de9b3485a94cf0d8b9c0a7e52",
            Self::Repaired => "cde4331ff6be4d8c9d75a2635d5ee868",
            Self::WiderIncident => "6f0a3c1e9d5b4c0f8a7e2b94d1c6e835",
            Self::RunBegun => "27b1badccfc44605810430c16c91bfb6",
            Self::RunEnded => "08a76993f7e7436a856948c82266fca6",
            Self::Reaped => "ac991f7cfbd649eba2acc2301f902a11",
            Self::Collected => "a48c3e6b734e4c718e3a5e4c0ebd804a",
            Self::Deduplicated => "69d3d32c8f8b491eae8ee0a412c76b43",
            Self::Postmortem => "5e2377fcd39c41c8948224563ad2087e",
            Self::Error => "cb7a37b6d3a34ce589db2b6c91eee802",
        }
    }

    /// How grave it is unless the event says otherwise.
    fn level(self) -> Level {
        match self {
            Self::Error | Self::WiderIncident => Level::ERROR,
            Self::Pressure | Self::Restored | Self::Refused | Self::LockTimeout | Self::Postmortem => {
                Level::WARN
            }
            Self::Claimed
            | Self::Removed
            | Self::Kept
            | Self::Lease
            | Self::Sweep
            | Self::Drain
            | Self::Repaired
            | Self::RunBegun
            | Self::RunEnded
            | Self::Reaped
            | Self::Collected
            | Self::Deduplicated => Level::INFO,
        }
    }
}

/// One event, built field by field and sent by [`Event::emit`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an event is sent by `emit`"]
pub struct Event {
    kind: EventKind,
    level: Level,
    message: String,
    runner: Option<String>,
    path: Option<String>,
    path_bytes: Option<String>,
    environment: Option<String>,
    bytes: Option<u64>,
    reason: Option<String>,
    evidence: Option<String>,
    used_percent: Option<u8>,
    repository: Option<String>,
    run_id: Option<String>,
    job: Option<String>,
    duration_ms: Option<u64>,
    rule: Option<String>,
    run: Option<RunStamp>,
    own_path: Option<PathBuf>,
}

/// The run that an event belongs to, and its number therein: the journal and the ledger's files tell the same entry by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStamp {
    /// Unique on the host within a boot.
    pub id: String,
    /// Whose run.
    pub scope: Scope,
    /// The event's number.
    pub sequence: u64,
}

impl Event {
    /// An event with its message. Names in the message need not be escaped: all of it is.
    pub fn new(kind: EventKind, message: impl AsRef<str>) -> Self {
        Self {
            kind,
            level: kind.level(),
            message: escape::log_line(message.as_ref()),
            runner: None,
            path: None,
            path_bytes: None,
            environment: None,
            bytes: None,
            reason: None,
            evidence: None,
            used_percent: None,
            repository: None,
            run_id: None,
            job: None,
            duration_ms: None,
            rule: None,
            run: None,
            own_path: None,
        }
    }

    /// What became of a cache. `None` when that is no event: a plan, or a cache that nothing asked for.
    pub fn of_outcome(outcome: &Outcome) -> Option<Self> {
        let (action, cache) = (&outcome.action, &outcome.action.cache);
        let kind = match (&outcome.result, &action.decision) {
            (ActionResult::Planned, _) | (ActionResult::Kept, Decision::Keep(KeepReason::NotNeeded)) => {
                return None;
            }
            (ActionResult::Removed, _) => EventKind::Removed,
            (ActionResult::Restored(_), _) => EventKind::Restored,
            (ActionResult::Failed(_), _) => EventKind::Error,
            (ActionResult::Kept | ActionResult::Changed(_) | ActionResult::Deferred(_), _) => EventKind::Kept,
        };
        let why = match &outcome.result {
            ActionResult::Removed | ActionResult::Kept => words::decision(&action.decision),
            other => words::setback(other),
        };
        let place = escape::path(&cache.path);
        let name = outcome.result.as_str();
        let event = Self::new(kind, format!("{name} {place} ({}): {why}", words::cache_size(cache)))
            .runner(&action.runner)
            .path(&cache.path)
            .rule(&cache.rule)
            .reason(action.decision.reason())
            .evidence(outcome.evidence());
        Some(match cache.measure {
            Some(measure) => event.bytes(measure.bytes),
            None => event,
        })
    }

    /// That one of a cache's files is gone, where only some of them were meant.
    pub fn of_part(action: &Action, path: &Path, bytes: Option<u64>) -> Self {
        let why = words::decision(&action.decision);
        let event = Self::new(EventKind::Removed, format!("removed {}: {why}", escape::path(path)))
            .runner(&action.runner)
            .path(path)
            .rule(&action.cache.rule)
            .reason(action.decision.reason());
        match bytes {
            Some(bytes) => event.bytes(bytes),
            None => event,
        }
    }

    /// What a repair of owners and modes came to. `None` when nothing was changed; a reset tells its claim and its deletion.
    pub fn of_repair(report: &RepairReport) -> Option<Self> {
        let done = report.changes.iter().filter(|change| change.result == Repaired::Done).collect::<Vec<_>>();
        if report.dry_run || report.mode == RemediateMode::Reset || done.is_empty() {
            return None;
        }
        let place = escape::path(&report.path);
        let entries = words::count_u64(report.done, "entry");
        let left = match report.undone {
            0 => String::new(),
            n => format!(", {} left as they were", words::count_u64(n, "entry")),
        };
        let shown: Vec<String> = done
            .iter()
            .take(5)
            .map(|change| format!("{}: {}", escape::path(&change.below), change.what))
            .collect();
        let event = Self::new(EventKind::Repaired, format!("put right {entries} in {place}{left}"));
        Some(
            event
                .runner(&report.runner)
                .path(&report.path)
                .reason(report.mode.as_str())
                .summary(shown.join("; ")),
        )
    }

    /// How much, for sums.
    pub fn counted_bytes(&self) -> u64 {
        self.bytes.unwrap_or(0)
    }

    /// Which kind it is.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// Another level than the kind's own.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Whose.
    pub fn runner(mut self, runner: &Runner) -> Self {
        self.runner = Some(runner.own_name().to_owned());
        self
    }

    /// What.
    pub fn path(mut self, path: &Path) -> Self {
        let (text, bytes) = json::path_fields(path);
        self.path = Some(text);
        self.path_bytes = bytes;
        self.own_path = Some(path.to_owned());
        self
    }

    /// Which environment.
    pub fn environment(mut self, name: &str) -> Self {
        self.environment = Some(name.to_owned());
        self
    }

    /// By which cache rule, or entry of the reaper or of the stores.
    pub fn rule(mut self, rule: &str) -> Self {
        self.rule = Some(rule.to_owned());
        self
    }

    /// On which evidence, in words of our own.
    pub fn summary(mut self, text: String) -> Self {
        self.evidence = (!text.is_empty()).then_some(text);
        self
    }

    /// What a removal rests on. That nothing spoke against it was found twice: when it was planned, and at its claim.
    pub fn grounds(self, action: &Action, now: SystemTime) -> Self {
        let newest = words::newest(&action.cache, now);
        let newest = newest.map(|age| format!("; newest content {age}")).unwrap_or_default();
        self.summary(format!("nothing spoke against it at the claim{newest}"))
    }

    /// In which run.
    pub fn in_run(mut self, stamp: RunStamp) -> Self {
        self.run = Some(stamp);
        self
    }

    /// The same as the ledger keeps it; `None` for what is no deed.
    pub fn record(&self, time: SystemTime) -> Option<Record> {
        Some(Record {
            deed: ActionKind::of_event(self.kind.as_str())?,
            time,
            message: self.message.clone(),
            run: self.run.as_ref().map(|run| run.id.clone()),
            sequence: self.run.as_ref().map(|run| run.sequence),
            scope: self.run.as_ref().map(|run| run.scope.clone()),
            runner: self.runner.clone(),
            rule: self.rule.clone(),
            path: self.own_path.clone(),
            environment: self.environment.clone(),
            bytes: self.bytes,
            reason: self.reason.clone(),
            evidence: self.evidence.clone(),
            repository: self.repository.clone(),
            run_id: self.run_id.clone(),
            job: self.job.clone(),
        })
    }

    /// How much.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Why, as one of the reasons' names.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// On which evidence; none leaves the field absent.
    pub fn evidence(mut self, evidence: &[Evidence]) -> Self {
        let pieces: Vec<String> = evidence.iter().map(|e| format!("{}: {}", e.kind, e.detail)).collect();
        self.evidence = (!pieces.is_empty()).then(|| pieces.join("; "));
        self
    }

    /// Use% of the filesystem.
    pub fn used_percent(mut self, percent: u8) -> Self {
        self.used_percent = Some(percent);
        self
    }

    /// For which job, when only its name is known.
    pub fn job_name(mut self, job: Option<&str>) -> Self {
        self.job = job.map(str::to_owned);
        self
    }

    /// For which job; what the job leaves empty stays absent.
    pub fn job(mut self, job: &Job) -> Self {
        let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.repository = present(&job.repository);
        self.run_id = present(&job.run_id);
        self.job = present(&job.job);
        self
    }

    /// How long it took.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration_ms = Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sends it to the sink of [`super::journal::init`]; to nowhere when there is none.
    pub fn emit(&self) {
        let run = self.run.as_ref();
        let (scope, hook_runner) = match run.map(|run| &run.scope) {
            None => (None, None),
            Some(Scope::Sweep) => (Some("sweep"), None),
            Some(Scope::Reap) => (Some("reap"), None),
            Some(Scope::Stores) => (Some("stores"), None),
            Some(Scope::Hook(runner)) => (Some("hook"), Some(runner.as_str())),
            Some(Scope::Remediate) => (Some("remediate"), None),
        };
        // A level is part of a call site and so has to be constant: one call site a level.
        macro_rules! send {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET,
                    $level,
                    MESSAGE_ID = self.kind.message_id(),
                    DISK_GUARD_EVENT = self.kind.as_str(),
                    DISK_GUARD_RUNNER = self.runner.as_deref(),
                    DISK_GUARD_PATH = self.path.as_deref(),
                    DISK_GUARD_PATH_BYTES = self.path_bytes.as_deref(),
                    DISK_GUARD_ENVIRONMENT = self.environment.as_deref(),
                    DISK_GUARD_BYTES = self.bytes,
                    DISK_GUARD_REASON = self.reason.as_deref(),
                    DISK_GUARD_EVIDENCE = self.evidence.as_deref(),
                    DISK_GUARD_USED_PERCENT = self.used_percent,
                    DISK_GUARD_REPOSITORY = self.repository.as_deref(),
                    DISK_GUARD_RUN_ID = self.run_id.as_deref(),
                    DISK_GUARD_JOB = self.job.as_deref(),
                    DISK_GUARD_DURATION_MS = self.duration_ms,
                    DISK_GUARD_RULE = self.rule.as_deref(),
                    DISK_GUARD_SCOPE = scope,
                    DISK_GUARD_HOOK_RUNNER = hook_runner,
                    DISK_GUARD_RUN = run.map(|run| run.id.as_str()),
                    DISK_GUARD_SEQUENCE = run.map(|run| run.sequence),
                    "{}",
                    self.message
                )
            };
        }
        match self.level {
            Level::ERROR => send!(Level::ERROR),
            Level::WARN => send!(Level::WARN),
            Level::INFO => send!(Level::INFO),
            Level::DEBUG => send!(Level::DEBUG),
            Level::TRACE => send!(Level::TRACE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use std::collections::HashSet;

    #[test]
    fn message_ids_are_distinct_and_128_bits_of_lower_case_hex() {
        let ids: HashSet<_> = EventKind::ALL.iter().map(|kind| kind.message_id()).collect();
        assert_eq!(ids.len(), EventKind::ALL.len());
        let is_hex = |id: &&str| id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        assert!(ids.iter().all(|id| id.len() == 32 && is_hex(id)));
    }

    #[test]
    fn outcomes_become_events_with_their_reason_and_evidence() {
        let events: Vec<_> = samples::run(false).outcomes.iter().filter_map(Event::of_outcome).collect();
        let kinds: Vec<_> = events.iter().map(|e| e.kind.as_str()).collect();
        assert_eq!(kinds, ["removed", "error", "restored", "kept", "kept"]);
        assert_eq!(events[0].bytes, Some(8 * samples::GIB));
        assert_eq!(events[0].evidence, None);
        assert_eq!(
            events[1].path_bytes.as_deref(),
            Some("L2hvbWUvY2kvcnVubmVyLTIvX3dvcmsvY2Fm6S9jYWbpL3RhcmdldA==")
        );
        assert!(events[1].message.contains(r"x: permission denied") && !events[1].message.contains('\u{1b}'));
        assert_eq!(events[2].evidence.as_deref(), Some("worker-process: Worker pid 4711"));
        assert_eq!(events[3].reason.as_deref(), Some("protected"));
    }

    #[test]
    fn a_plan_is_no_event() {
        let planned = samples::run(true);
        let events: Vec<_> = planned.outcomes.iter().filter_map(Event::of_outcome).collect();
        assert!(events.iter().all(|e| e.kind == EventKind::Kept), "{events:?}");
    }
}
