//! Data types of the ledger: recorded actions, who wrote them, and the answers that are drawn from them.

mod answers;

pub use answers::{
    Blame, History, Ledger, LedgerRun, PathVerdict, Presence, RunEnd, Total, Why, WhyEnvironment,
};

use super::{Pid, Uid};
use crate::as_json::{self, adapters, named};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use strum::{EnumString, IntoStaticStr};

/// The kind of an entry, by the name of its event. Other events are no actions and are not in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ActionKind {
    /// A run begins: a sweep, or a hook that makes room.
    Begun,
    /// A run has ended.
    Ended,
    /// A hook ran before or after a job. If it began no run, it did nothing else.
    Lease,
    /// A filesystem was found under pressure.
    Pressure,
    /// A cache was renamed into trash.
    Claimed,
    /// A cache, or unfinished trash, is gone.
    Removed,
    /// A claimed cache was put back.
    Restored,
    /// Owner or mode of entries was repaired.
    Repaired,
    /// A cache was kept.
    Kept,
    /// A leaked environment is gone.
    Reaped,
    /// An engine's or tool's store was collected by its own tool.
    Collected,
    /// Equal files of several runners share their blocks.
    Deduplicated,
    /// A job was refused.
    Refused,
    /// The host lock was not obtained.
    LockTimeout,
    /// An error.
    Failed,
}

impl ActionKind {
    /// The kind for an event's name.
    pub fn of_event(event: &str) -> Option<Self> {
        Some(match event {
            "run-begun" => Self::Begun,
            "run-ended" | "sweep" => Self::Ended,
            "lease" => Self::Lease,
            "pressure" => Self::Pressure,
            "claimed" => Self::Claimed,
            "removed" => Self::Removed,
            "restored" => Self::Restored,
            "repaired" => Self::Repaired,
            "kept" => Self::Kept,
            "reaped" => Self::Reaped,
            "collected" => Self::Collected,
            "deduplicated" => Self::Deduplicated,
            "refused" => Self::Refused,
            "lock-timeout" => Self::LockTimeout,
            "error" => Self::Failed,
            _ => return None,
        })
    }

    /// Whether it moved or deleted a tree or an environment, even temporarily.
    pub fn touches(self) -> bool {
        matches!(self, Self::Claimed | Self::Removed | Self::Restored | Self::Reaped | Self::Collected)
    }

    /// Its name for people and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Which end of a job an entry of the kind [`ActionKind::Lease`] marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum JobPhase {
    /// Its started-hook has run.
    Begun,
    /// Its completed-hook has run.
    Ended,
}

impl JobPhase {
    /// Its name in the journal and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The kind of run, as its entries state it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Scope {
    /// A pass over all runners.
    Sweep,
    /// A pass over leaked environments.
    Reap,
    /// A pass over stores of engines and tools.
    Stores,
    /// The hook of the runner of this name.
    Hook(String),
    /// A repair that a person asked for.
    Remediate,
}

impl Scope {
    /// Its name.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }

    /// The runner of the hook.
    pub fn hook_runner(&self) -> Option<&str> {
        match self {
            Self::Hook(runner) => Some(runner),
            Self::Sweep | Self::Reap | Self::Stores | Self::Remediate => None,
        }
    }

    /// The scope of this name.
    pub fn named(name: &str, hook_runner: String) -> Option<Self> {
        match name.parse().ok()? {
            Self::Hook(_) => Some(Self::Hook(hook_runner)),
            scope => Some(scope),
        }
    }
}

/// A scope in JSON: always an object, also if the scope is unknown.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ScopeFields {
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook_runner: Option<String>,
}

adapters! {
    /// A scope.
    pub(crate) AnyScope: Option<Scope> => ScopeFields, |scope| ScopeFields {
        kind: scope.as_ref().map(Scope::as_str),
        hook_runner: scope.as_ref().and_then(Scope::hook_runner).map(str::to_owned),
    };
    /// A [`UserSpan`]: whether it is everybody's.
    Everybody: UserSpan => bool, |span| *span == UserSpan::Everybody;
}

/// The fields of an event besides its kind, and of a ledger entry besides its kind and time. Together with [`FIELDS`] this is the only
/// declaration of these fields: the journal, the ledger's files, the parsers of both and `--json` are derived from it.
///
/// A field that was read back is a claim of its writer, and may contain names from disk: escape before printing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Details {
    /// The runner of the cache or job.
    pub runner: Option<String>,
    /// The rule that declared the cache, or the entry of the reaper or of the stores.
    pub rule: Option<String>,
    /// The path that it concerns.
    #[serde(flatten, with = "as_json::AtOptionalPath")]
    pub path: Option<PathBuf>,
    /// The environment that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The amount in bytes.
    pub bytes: Option<u64>,
    /// The name of the reason.
    pub reason: Option<String>,
    /// The evidence.
    pub evidence: Option<String>,
    /// The message. A trusted writer has escaped it.
    pub message: String,
    /// The job's repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The workflow run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Whether the job has begun or ended; in entries about leases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<JobPhase>,
    /// The kind of run.
    #[serde(with = "AnyScope")]
    pub scope: Option<Scope>,
    /// The run it belongs to; unique on the host together with the boot.
    #[serde(skip)]
    pub run: Option<String>,
    /// Its number within the run.
    #[serde(skip)]
    pub sequence: Option<u64>,
    /// Use% of the filesystem; in the journal alone.
    #[serde(skip)]
    pub used_percent: Option<u64>,
    /// How long it took; in the journal alone.
    #[serde(skip)]
    pub duration_ms: Option<u64>,
}

/// How one of [`Details`]' fields is written and read.
#[derive(Debug)]
pub struct Field {
    /// Its name in a line of the ledger's files, and in a line on standard error.
    pub name: &'static str,
    /// Its name in the journal.
    pub key: &'static str,
    /// Whether it is also in the ledger's files, among the fields that are left out if they do not apply.
    pub is_in_files: bool,
    /// The value to be written; absent if none.
    pub get: for<'d> fn(&'d Details) -> Option<Value<'d>>,
    /// Sets the field to the stored value. `None` if the guard never writes such a value.
    pub set: fn(&mut Details, &dyn Stored) -> Option<()>,
}

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'d> {
    /// Exact text.
    Text(&'d str),
    /// A number.
    Number(u64),
    /// A path.
    Path(&'d Path),
    /// The bytes of a path, which are written if it is not UTF-8.
    PathBytes(&'d Path),
}

/// A source of fields, by their names. The outer `None` is a value of a type that the guard never writes.
pub trait Stored {
    /// A text.
    fn text(&self, name: &str) -> Option<Option<String>>;
    /// A number.
    fn number(&self, name: &str) -> Option<Option<u64>>;
}

/// A row of [`FIELDS`].
macro_rules! field {
    ($key:literal, text $name:ident, $in_files:literal) => {
        Field {
            name: stringify!($name),
            key: $key,
            is_in_files: $in_files,
            get: |details| details.$name.as_deref().map(Value::Text),
            set: |details, stored| stored.text(stringify!($name)).map(|text| details.$name = text),
        }
    };
    ($key:literal, number $name:ident, $in_files:literal) => {
        Field {
            name: stringify!($name),
            key: $key,
            is_in_files: $in_files,
            get: |details| details.$name.map(Value::Number),
            set: |details, stored| stored.number(stringify!($name)).map(|number| details.$name = number),
        }
    };
}

/// All fields in their order, without the message.
pub const FIELDS: [Field; 18] = [
    field!("DISK_GUARD_RUNNER", text runner, true),
    field!("DISK_GUARD_RULE", text rule, true),
    Field {
        name: "path",
        key: "DISK_GUARD_PATH",
        is_in_files: true,
        get: |details| details.path.as_deref().map(Value::Path),
        set: |details, stored| {
            details.path = as_json::exact_path(stored.text("path")?, stored.text("path_bytes")?.as_deref())?;
            Some(())
        },
    },
    Field {
        name: "path_bytes",
        key: "DISK_GUARD_PATH_BYTES",
        is_in_files: true,
        get: |details| details.path.as_deref().map(Value::PathBytes),
        set: |_, _| Some(()),
    },
    field!("DISK_GUARD_ENVIRONMENT", text environment, true),
    field!("DISK_GUARD_BYTES", number bytes, true),
    field!("DISK_GUARD_REASON", text reason, true),
    field!("DISK_GUARD_EVIDENCE", text evidence, true),
    field!("DISK_GUARD_USED_PERCENT", number used_percent, false),
    field!("DISK_GUARD_REPOSITORY", text repository, true),
    field!("DISK_GUARD_RUN_ID", text run_id, true),
    field!("DISK_GUARD_JOB", text job, true),
    Field {
        name: "phase",
        key: "DISK_GUARD_PHASE",
        is_in_files: true,
        get: |details| details.phase.map(|phase| Value::Text(phase.as_str())),
        set: |details, stored| {
            details.phase = stored.text("phase")?.map(|name| name.parse()).transpose().ok()?;
            Some(())
        },
    },
    field!("DISK_GUARD_DURATION_MS", number duration_ms, false),
    Field {
        name: "scope",
        key: "DISK_GUARD_SCOPE",
        is_in_files: false,
        get: |details| details.scope.as_ref().map(|scope| Value::Text(scope.as_str())),
        set: |details, stored| {
            let hook_runner = stored.text("hook_runner")?.unwrap_or_default();
            details.scope = Scope::named(&stored.text("scope")?.unwrap_or_default(), hook_runner);
            Some(())
        },
    },
    Field {
        name: "hook_runner",
        key: "DISK_GUARD_HOOK_RUNNER",
        is_in_files: false,
        get: |details| details.scope.as_ref()?.hook_runner().map(Value::Text),
        set: |_, _| Some(()),
    },
    field!("DISK_GUARD_RUN", text run, false),
    field!("DISK_GUARD_SEQUENCE", number sequence, false),
];

named!(ActionKind, JobPhase, Source, Trust, PathRelation);

/// The content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRecord {
    /// The action.
    pub deed: ActionKind,
    /// The time by the clock of the journal, or in a file by that of the writer.
    pub time: SystemTime,
    /// The other fields.
    pub details: Details,
}

#[cfg(test)]
impl LedgerRecord {
    /// The same with other details.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Details)) -> Self {
        change(&mut self.details);
        self
    }
}

/// Where an entry was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Source {
    /// systemd's journal.
    Journal,
    /// The ledger's files in `paths.state_dir`.
    File,
}

impl Source {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The writer of an entry. In the journal all fields come from journald; for a file only the uid is certain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Writer {
    /// The user; `None` if any user could have written it.
    pub uid: Option<Uid>,
    /// The process.
    pub pid: Option<Pid>,
    /// The boot.
    pub boot_id: Option<String>,
    /// The program, if journald could determine it.
    #[serde(skip_serializing_if = "Option::is_none", with = "as_json::OptionalPathText")]
    pub exe: Option<PathBuf>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its content.
    pub record: LedgerRecord,
    /// Its writer.
    pub writer: Writer,
    /// The places that have it.
    pub sources: Vec<Source>,
}

/// Whether an entry is trusted.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Trust {
    /// Root wrote it.
    Root,
    /// The user of the runner that it concerns wrote it: a hook, or a job of that runner. It can be false only about files of this user.
    Owner(Uid),
    /// Another user wrote it; why it is not trusted.
    Foreign(String),
}

impl Trust {
    /// The name for JSON.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }

    /// True unless it is [`Trust::Foreign`].
    pub fn is_authentic(&self) -> bool {
        !matches!(self, Self::Foreign(_))
    }
}

/// An entry and its trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The entry.
    pub entry: Entry,
    /// Its trust.
    pub trust: Trust,
}

impl Judged {
    /// Its content.
    pub fn record(&self) -> &LedgerRecord {
        &self.entry.record
    }
}

/// The present owners of a runner's directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The runner's name.
    pub name: String,
    /// Its root.
    pub root: PathBuf,
    /// Its work directory.
    pub work: PathBuf,
    /// The owner of the root; its hooks run as this user.
    pub owner: Uid,
    /// The owner of the work directory, who may be another user.
    pub work_owner: Uid,
}

/// The relation of a recorded path to the path in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum PathRelation {
    /// It is the same.
    Same,
    /// The path in question was inside the recorded path.
    Inside,
    /// The recorded path was inside the path in question.
    Contains,
}

impl PathRelation {
    /// Of `recorded` to `asked`, if any.
    pub fn of(recorded: &Path, asked: &Path) -> Option<Self> {
        if recorded == asked {
            Some(Self::Same)
        } else if asked.starts_with(recorded) {
            Some(Self::Inside)
        } else {
            recorded.starts_with(asked).then_some(Self::Contains)
        }
    }

    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A span of time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Window {
    /// Its beginning.
    #[serde(with = "as_json::Time")]
    pub from: SystemTime,
    /// Its end.
    #[serde(with = "as_json::Time")]
    pub to: SystemTime,
}

impl Window {
    /// Whether `time` lies in it.
    pub fn holds(&self, time: SystemTime) -> bool {
        self.from <= time && time <= self.to
    }

    /// `around` it on both sides.
    pub fn around(time: SystemTime, reach: Duration) -> Self {
        let from = time.checked_sub(reach).unwrap_or(SystemTime::UNIX_EPOCH);
        Self { from, to: time.checked_add(reach).unwrap_or(time) }
    }
}

/// How far one place of the ledger reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LedgerReach {
    /// Which place.
    pub source: Source,
    /// Its oldest entry; `None` if it is empty.
    #[serde(with = "as_json::OptionalTime")]
    pub since: Option<SystemTime>,
    /// The users whose runs it covers, without errors.
    #[serde(rename = "everybody", with = "Everybody")]
    pub span: UserSpan,
    /// The reasons for gaps. May contain names from disk.
    pub gaps: Vec<String>,
}

/// The users whose runs a place covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserSpan {
    /// All users.
    Everybody,
    /// Only root, or only the user of this process.
    Part,
}

/// How far the ledger reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Each place.
    pub places: Vec<LedgerReach>,
}

impl Extent {
    /// The time since which one of the places has entries of every run.
    pub fn complete_since(&self) -> Option<SystemTime> {
        let whole = self.places.iter().filter(|place| place.span == UserSpan::Everybody);
        whole.filter_map(|place| place.since).min()
    }

    /// The oldest entry of all.
    pub fn oldest(&self) -> Option<SystemTime> {
        self.places.iter().filter_map(|place| place.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::ffi::OsStrExt as _;

    struct Texts(BTreeMap<&'static str, String>);

    impl Stored for Texts {
        fn text(&self, name: &str) -> Option<Option<String>> {
            Some(self.0.get(name).cloned())
        }

        fn number(&self, name: &str) -> Option<Option<u64>> {
            self.0.get(name).map_or(Some(None), |text| text.parse().ok().map(Some))
        }
    }

    #[test]
    fn every_field_is_written_and_read_back() {
        let text = |text: &str| Some(text.to_owned());
        // All of them by name: a new one has to join, and then the table.
        let details = Details {
            runner: text("r"),
            rule: text("cargo-target"),
            path: Some(std::ffi::OsStr::from_bytes(b"/srv/caf\xe9").into()),
            environment: text("vm"),
            bytes: Some(1),
            reason: text("pressure"),
            evidence: text("e"),
            message: String::new(),
            repository: text("acme/app"),
            run_id: text("7"),
            job: text("build"),
            phase: Some(JobPhase::Ended),
            scope: Some(Scope::Hook("r2".into())),
            run: text("7-1"),
            sequence: Some(2),
            used_percent: Some(91),
            duration_ms: Some(3),
        };
        let written = FIELDS.iter().map(|field| {
            assert_eq!(field.key, format!("DISK_GUARD_{}", field.name.to_ascii_uppercase()));
            let value = match (field.get)(&details).unwrap_or_else(|| panic!("{} is not written", field.name))
            {
                Value::Text(text) => text.to_owned(),
                Value::Number(number) => number.to_string(),
                Value::Path(path) => as_json::path_text(path),
                Value::PathBytes(path) => as_json::path_bytes(path).unwrap(),
            };
            (field.name, value)
        });
        let written = Texts(written.collect());
        let mut read = Details::default();
        FIELDS.iter().for_each(|field| (field.set)(&mut read, &written).unwrap());
        assert_eq!(read, details);
    }
}
