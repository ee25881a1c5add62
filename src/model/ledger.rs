//! Data types of the ledger: recorded actions, who wrote them, and the answers that are drawn from them.

use super::{Pid, Uid};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use strum::{EnumString, IntoStaticStr};

/// What an entry tells, by the name of its event. Other events are no deeds and are not in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ActionKind {
    /// A run begins: a sweep, or a hook that makes room.
    Begun,
    /// A run has ended.
    Ended,
    /// A hook ran before or after a job; where no run is begun by it, it did nothing else.
    Lease,
    /// A filesystem was found under pressure.
    Pressure,
    /// A cache was renamed into trash.
    Claimed,
    /// A cache, or unfinished trash, is gone.
    Removed,
    /// A claimed cache was put back.
    Restored,
    /// Owner or mode of entries was put right.
    Repaired,
    /// A cache was left alone.
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
    /// Something went wrong.
    Failed,
}

impl ActionKind {
    /// The deed of an event's name.
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

    /// Whether a tree or an environment was moved or deleted by it, if only for a moment.
    pub fn touches(self) -> bool {
        matches!(self, Self::Claimed | Self::Removed | Self::Restored | Self::Reaped | Self::Collected)
    }

    /// Its name for people and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Who runs, by his own account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// What an entry says. Every field is its writer's claim, and may hold names from disk: escape before printing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What was done.
    pub deed: ActionKind,
    /// When: the journal's clock, or in a file the writer's.
    pub time: SystemTime,
    /// In words; escaped by its writer, as far as he can be believed.
    pub message: String,
    /// The run it belongs to; unique on the host together with the boot.
    pub run: Option<String>,
    /// Its number within the run.
    pub sequence: Option<u64>,
    /// Whose run.
    pub scope: Option<Scope>,
    /// Whose cache or job.
    pub runner: Option<String>,
    /// The rule that declared the cache.
    pub rule: Option<String>,
    /// What it is about.
    pub path: Option<PathBuf>,
    /// Or which environment.
    pub environment: Option<String>,
    /// How much.
    pub bytes: Option<u64>,
    /// Why, as one of the reasons' names.
    pub reason: Option<String>,
    /// On which evidence.
    pub evidence: Option<String>,
    /// The job's repository.
    pub repository: Option<String>,
    /// The workflow run.
    pub run_id: Option<String>,
    /// The job.
    pub job: Option<String>,
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

/// Who wrote an entry. In the journal all of it comes from journald; of a file only the uid is certain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writer {
    /// The user; `None` when anybody could have written it.
    pub uid: Option<Uid>,
    /// The process.
    pub pid: Option<Pid>,
    /// The boot.
    pub boot_id: Option<String>,
    /// The program, where journald could still see it.
    pub exe: Option<PathBuf>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub record: Record,
    /// Who says so.
    pub writer: Writer,
    /// Where it stands; both, when both tell the same.
    pub sources: Vec<Source>,
}

/// Whether an entry is to be believed.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Trust {
    /// Root wrote it.
    Root,
    /// The user of the runner that it speaks of wrote it: a hook, or a job of that runner pretending to be one. It can
    /// lie about this user's own things only.
    Owner(Uid),
    /// Somebody else wrote it; why it is not believed.
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

/// An entry and how far it can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The entry.
    pub entry: Entry,
    /// How far.
    pub trust: Trust,
}

impl Judged {
    /// What it says.
    pub fn record(&self) -> &Record {
        &self.entry.record
    }
}

/// Whose what is: a runner as it stands on disk now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The runner's name.
    pub name: String,
    /// Its root.
    pub root: PathBuf,
    /// Its work directory.
    pub work: PathBuf,
    /// Who owns the root; its hooks run as this user.
    pub owner: Uid,
    /// Who owns the work directory, when that is somebody else.
    pub work_owner: Uid,
}

/// How a recorded path relates to the one that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Relation {
    /// It is the same.
    Same,
    /// What is asked about lay inside what is recorded.
    Inside,
    /// What is recorded lay inside what is asked about.
    Contains,
}

impl Relation {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub from: SystemTime,
    /// Its end.
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

/// What one place of the ledger can tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Which place.
    pub source: Source,
    /// Its oldest entry; `None` when it holds nothing.
    pub since: Option<SystemTime>,
    /// Whose runs it tells of, when all is well.
    pub span: Span,
    /// Why it tells less than it might. May hold names from disk.
    pub gaps: Vec<String>,
}

/// Whose runs a place tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Everybody's.
    Everybody,
    /// Root's alone, or only our own.
    Part,
}

/// How far the ledger reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Each place.
    pub places: Vec<Reach>,
}

impl Extent {
    /// Since when every run has left entries in one of the places.
    pub fn complete_since(&self) -> Option<SystemTime> {
        let whole = self.places.iter().filter(|place| place.span == Span::Everybody);
        whole.filter_map(|place| place.since).min()
    }

    /// The oldest entry of all.
    pub fn oldest(&self) -> Option<SystemTime> {
        self.places.iter().filter_map(|place| place.since).min()
    }
}

/// All that one run left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whose run, by its own account; `None` when its entries do not say.
    pub scope: Option<Scope>,
    /// Who wrote its entries.
    pub writer: Writer,
    /// How far it is believed.
    pub trust: Trust,
    /// Its first and last entry.
    pub window: Window,
    /// How it ended.
    pub end: RunEnd,
    /// Its entries in their order.
    pub entries: Vec<Judged>,
    /// Bytes of what it removed.
    pub freed_bytes: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RunEnd {
    /// It said so.
    #[strum(serialize = "ended")]
    Complete,
    /// It began and never said that it had ended: killed, or still at it.
    Open,
    /// A hook that saw a healthy disk and had nothing to do.
    NothingToDo,
    /// Its beginning is not there either.
    Unknown,
}

impl RunEnd {
    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Run {
    /// How many of its entries are of this deed.
    pub fn count(&self, deed: ActionKind) -> usize {
        self.entries.iter().filter(|judged| judged.record().deed == deed).count()
    }
}

/// The ledger as it was read, in the order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The entries.
    pub entries: Vec<Judged>,
    /// How far it reaches.
    pub extent: Extent,
}

/// The answer to `why`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// What was asked about, absolute.
    pub path: PathBuf,
    /// The same without links, when that is another path.
    pub real: Option<PathBuf>,
    /// Whether anything is there now, and if not, the directory in which it would be and when that last changed.
    pub present: Presence,
    /// The answer.
    pub verdict: PathVerdict,
    /// Authentic entries about it, in the order of time.
    pub entries: Vec<(Relation, Judged)>,
    /// The runs to which those belong.
    pub acts: Vec<Run>,
    /// Entries about it that are not believed.
    pub foreign: Vec<(Relation, Judged)>,
    /// The span that `runs` covers.
    pub window: Window,
    /// What the guard did meanwhile.
    pub runs: Vec<Run>,
    /// How far the ledger reaches.
    pub extent: Extent,
    /// The runner to which the path belongs.
    pub runner: Option<String>,
}

/// The answer to `why` for the name of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhyEnvironment {
    /// What was asked about.
    pub name: String,
    /// Authentic entries about it, in the order of time.
    pub entries: Vec<Judged>,
    /// Entries about it that are not believed.
    pub foreign: Vec<Judged>,
    /// How far the ledger reaches.
    pub extent: Extent,
}

/// Whether a path is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not; the nearest directory above it that is, and when something was last made or removed in that.
    Gone(PathBuf, SystemTime),
    /// It cannot be told; why.
    Hidden(String),
}

/// What the ledger says about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum PathVerdict {
    /// The guard removed it, or something that contained it.
    Removed,
    /// The guard removed something inside it.
    RemovedInside,
    /// The guard claimed it and has not told the end: it lies in trash, or the run was killed.
    Claimed,
    /// The guard claimed it and put it back.
    Restored,
    /// The guard put right owner or mode of it, or of something in it, and removed nothing.
    Repaired,
    /// The guard looked at it and left it alone.
    Kept,
    /// It lies in a store that was collected by its own tool, which may have deleted it.
    Collected,
    /// No entry speaks of it, in a ledger that reaches back to a known time.
    NotTouched,
    /// No entry speaks of it, and the ledger does not tell of everybody's runs.
    NoEvidence,
}

impl PathVerdict {
    /// The name for JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The answer to `blame`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// The time asked about.
    pub at: SystemTime,
    /// The span around it.
    pub window: Window,
    /// Authentic runs in it.
    pub runs: Vec<Run>,
    /// Entries in it that are not believed.
    pub foreign: Vec<Judged>,
    /// The last deed before it.
    pub before: Option<Judged>,
    /// The first deed after it.
    pub after: Option<Judged>,
    /// How far the ledger reaches.
    pub extent: Extent,
}

/// The answer to `history`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The span.
    pub window: Window,
    /// What was done and refused in it.
    pub deeds: Vec<Judged>,
    /// How many runs there were, and how many caches they left alone.
    pub runs: usize,
    /// Caches looked at and left alone.
    pub kept: usize,
    /// Entries that are not believed.
    pub foreign: Vec<Judged>,
    /// What was removed, by rule.
    pub by_rule: Vec<Total>,
    /// What was removed, by runner.
    pub by_runner: Vec<Total>,
    /// How far the ledger reaches.
    pub extent: Extent,
}

/// A sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    /// Of what.
    pub name: String,
    /// How many trees.
    pub count: usize,
    /// How much.
    pub bytes: u64,
}
