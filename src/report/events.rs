//! Events: what happened, as fields that a machine can select by and a message that a person can read.
//!
//! The names of kinds and fields are the contract; a kind's `MESSAGE_ID` identifies its entry in the journal catalog and never changes. A
//! field that does not apply is absent, not empty. Field values are exact (a path that is not UTF-8 is escaped, with its bytes in base64
//! beside it); the message is one escaped line.

use super::journal::{self, Level};
use super::{escape, words};
use crate::model::hygiene::{RemediateMode, RepairReport, Repaired};
use crate::model::ledger::{ActionKind, Details, JobPhase, LedgerRecord, Scope};
use crate::model::{Action, ActionResult, Decision, Evidence, Job, KeepReason, Outcome, Runner};
use std::path::Path;
use std::time::{Duration, SystemTime};
use strum::{IntoStaticStr, VariantArray};

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
    /// A claimed cache was put back because of doubt, or a file that a crashed repair was working on.
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
    /// Owner and mode of entries were repaired.
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
    /// An error.
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

    /// Its severity unless the event has another one.
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
    details: Details,
}

impl Event {
    /// An event with its message. Names in the message need not be escaped: all of it is.
    pub fn new(kind: EventKind, message: impl AsRef<str>) -> Self {
        let details = Details { message: escape::log_line(message.as_ref()), ..Details::default() };
        Self { kind, level: kind.level(), details }
    }

    /// The event for the outcome of a cache. `None` for a plan, and for a cache that was not needed.
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

    /// One of a cache's files is gone, when only some of them were meant.
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

    /// The result of a repair of owners and modes. `None` when nothing was changed; a reset reports its claim and its deletion.
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
        let event = Self::new(EventKind::Repaired, format!("repaired {entries} in {place}{left}"));
        Some(
            event
                .runner(&report.runner)
                .path(&report.path)
                .reason(report.mode.as_str())
                .summary(shown.join("; ")),
        )
    }

    /// Its amount, for sums.
    pub fn counted_bytes(&self) -> u64 {
        self.details.bytes.unwrap_or(0)
    }

    /// Its kind.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// Another level than the kind's own.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Its runner.
    pub fn runner(mut self, runner: &Runner) -> Self {
        self.details.runner = Some(runner.own_name().to_owned());
        self
    }

    /// Its path.
    pub fn path(mut self, path: &Path) -> Self {
        self.details.path = Some(path.to_owned());
        self
    }

    /// Its environment.
    pub fn environment(mut self, name: &str) -> Self {
        self.details.environment = Some(name.to_owned());
        self
    }

    /// The cache rule, or the entry of the reaper or of the stores.
    pub fn rule(mut self, rule: &str) -> Self {
        self.details.rule = Some(rule.to_owned());
        self
    }

    /// The evidence, in the guard's own words.
    pub fn summary(mut self, text: String) -> Self {
        self.details.evidence = (!text.is_empty()).then_some(text);
        self
    }

    /// The basis of a removal. The absence of evidence was checked twice: when it was planned, and at its claim.
    pub fn grounds(self, action: &Action, now: SystemTime) -> Self {
        let newest = words::newest(&action.cache, now);
        let newest = newest.map(|age| format!("; newest content {age}")).unwrap_or_default();
        self.summary(format!("no evidence of use at the claim{newest}"))
    }

    /// The run, and its number in the run: the journal and the ledger's files have the same entry under both.
    pub fn in_run(mut self, id: &str, scope: &Scope, sequence: u64) -> Self {
        self.details.run = Some(id.to_owned());
        self.details.scope = Some(scope.clone());
        self.details.sequence = Some(sequence);
        self
    }

    /// The same as the ledger keeps it; `None` for an event that is no action.
    pub fn record(&self, time: SystemTime) -> Option<LedgerRecord> {
        let deed = ActionKind::of_event(self.kind.as_str())?;
        Some(LedgerRecord { deed, time, details: self.details.clone() })
    }

    /// The amount.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.details.bytes = Some(bytes);
        self
    }

    /// The reason, by its name.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.details.reason = Some(reason.into());
        self
    }

    /// The evidence; none leaves the field absent.
    pub fn evidence(mut self, evidence: &[Evidence]) -> Self {
        let pieces: Vec<String> = evidence.iter().map(|e| format!("{}: {}", e.kind, e.detail)).collect();
        self.details.evidence = (!pieces.is_empty()).then(|| pieces.join("; "));
        self
    }

    /// Use% of the filesystem.
    pub fn used_percent(mut self, percent: u8) -> Self {
        self.details.used_percent = Some(percent.into());
        self
    }

    /// The job, when only its name is known.
    pub fn job_name(mut self, job: Option<&str>) -> Self {
        self.details.job = job.map(str::to_owned);
        self
    }

    /// The job; empty values stay absent.
    pub fn job(mut self, job: &Job) -> Self {
        let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.details.repository = present(&job.repository);
        self.details.run_id = present(&job.run_id);
        self.details.job = present(&job.job);
        self
    }

    /// Whether the job has begun or ended.
    pub fn phase(mut self, phase: JobPhase) -> Self {
        self.details.phase = Some(phase);
        self
    }

    /// The duration.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.details.duration_ms = Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sends it to the sink of [`super::journal::init`]; to nowhere when there is none.
    pub fn emit(&self) {
        journal::send(self.level, self.kind.message_id(), self.kind.as_str(), &self.details);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
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
        let events: Vec<_> =
            samples::run(Execution::Apply).outcomes.iter().filter_map(Event::of_outcome).collect();
        let kinds: Vec<_> = events.iter().map(|e| e.kind.as_str()).collect();
        assert_eq!(kinds, ["removed", "error", "restored", "kept", "kept"]);
        assert_eq!(events[0].details.bytes, Some(8 * samples::GIB));
        assert_eq!(events[0].details.evidence, None);
        assert!(events[1].details.path.as_ref().is_some_and(|path| path.to_str().is_none()));
        assert!(
            events[1].details.message.contains(r"x: permission denied")
                && !events[1].details.message.contains('\u{1b}')
        );
        assert_eq!(events[2].details.evidence.as_deref(), Some("worker-process: Worker pid 4711"));
        assert_eq!(events[3].details.reason.as_deref(), Some("protected"));
    }

    #[test]
    fn a_plan_is_no_event() {
        let planned = samples::run(Execution::DryRun);
        let events: Vec<_> = planned.outcomes.iter().filter_map(Event::of_outcome).collect();
        assert!(events.iter().all(|e| e.kind == EventKind::Kept), "{events:?}");
    }
}
