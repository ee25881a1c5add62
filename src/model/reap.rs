//! Data types of the reaper: ephemeral environments, what is known of them, what was decided and what came of it.

pub mod patterns;

pub use patterns::Pattern;

use crate::as_json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

/// What lists and deletes environments.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    IntoStaticStr,
    VariantArray,
    EnumString,
    VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
pub enum EnvironmentKind {
    /// Tart's virtual machines.
    Tart,
    /// Docker's containers and dangling images.
    Docker,
    /// Podman's.
    Podman,
    /// libvirt's domains.
    Libvirt,
    /// Lima's instances.
    Lima,
    /// Runner pods and ephemeral runners of a cluster.
    Kubernetes,
    /// A program of the administrator's own.
    Command,
}

impl EnvironmentKind {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as VariantArray>::VARIANTS;

    /// Their names, in the same order.
    pub const NAMES: &'static [&'static str] = <Self as VariantNames>::VARIANTS;

    /// The name in the configuration, in metrics and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

impl fmt::Display for EnvironmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One `[[reap]]`, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReapRule {
    /// Its name; unique, and fit to be a file's name.
    pub name: String,
    /// What lists and deletes.
    pub kind: EnvironmentKind,
    /// The program and its first arguments; never empty.
    pub command: Vec<String>,
    /// Which environments are looked at; never empty.
    pub matches: Vec<Pattern>,
    /// Which of those stay.
    pub keep: Vec<Pattern>,
    /// For how long one must have been seen stopped.
    pub max_age: Duration,
    /// How old one that never started must be.
    pub never_started_grace: Duration,
    /// How old one that runs without a job and that nobody wants must be, for `kubernetes`.
    pub min_age: Duration,
    /// Whether jobless runners of older generations go as well, for `kubernetes`.
    pub stale_generation: bool,
    /// What answers, as `check` does, whether a pod's runner is at work; `kubectl exec` where it is empty.
    pub worker_check: Vec<String>,
    /// How many are deleted before a pause.
    pub batch: usize,
    /// How long a pause is.
    pub pause: Duration,
    /// How many one run deletes.
    pub max_per_run: usize,
    /// How long each call of the program may take.
    pub timeout: Duration,
    /// A file with GitHub's list of runners, for `kubernetes`.
    pub busy_snapshot: Option<std::path::PathBuf>,
}

/// What an environment is doing.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum EnvironmentState {
    /// It runs, or may at any moment: paused, restarting, used by something that runs.
    Running,
    /// It runs, was never given a job, and its controller does not want it; only its source can prove that nothing works in it.
    Idle,
    /// It was put to sleep by its owner and can be woken.
    Suspended,
    /// It has run and does not any more, and nothing starts it again on its own.
    Stopped,
    /// It was made and has never run.
    NeverStarted,
    /// It has ended and belongs to a controller, which cleans up after it.
    Terminated,
    /// Its shape is not one that is known; what was found.
    Unknown(String),
}

impl EnvironmentState {
    /// The name for JSON and people.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// What a pattern has to name: an image is never meant by a pattern for environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A virtual machine, a container, a runner.
    Environment,
    /// A container image without a name.
    Image,
}

/// One environment as a source lists it. All text comes from outside: escape before printing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// What the source deletes it by; unique in a listing.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is.
    pub class: Class,
    /// What it is doing.
    pub state: EnvironmentState,
    /// Since when it has been in this state, if the source reports it.
    pub since: Option<SystemTime>,
    /// When it was made, if the source reports it.
    pub created: Option<SystemTime>,
    /// When it was last used, where the source tells only that: it counts where it is longer ago than we first saw it so.
    pub last_used: Option<SystemTime>,
    /// Whatever would be another one if it had been used since it was last looked at.
    pub mark: String,
    /// Labels or annotations to select by.
    pub labels: Vec<(String, String)>,
    /// What is deleted with it: disks, volumes, a pod.
    pub holds: Vec<String>,
    /// Environments that it consists of, by name and labels: what keeps one of them keeps it.
    pub members: Vec<(String, Vec<(String, String)>)>,
    /// How large it is, if the source reports it.
    pub bytes: Option<u64>,
    /// The job it belongs to, if that is known.
    pub job: Option<String>,
    /// The runner of this host it belongs to, if that is known.
    pub runner: Option<String>,
    /// Why somebody claims it: an active job, a protection of the source's own.
    pub claim: Option<String>,
    /// The proof that is missing before it counts as unneeded.
    pub doubt: Option<String>,
    /// Somebody has asked for its end already.
    pub is_ending: bool,
    /// What its source needs in order to delete just this one; opaque to all other code.
    pub handle: String,
}

impl Environment {
    /// One of which nothing is known but what it is called and what it is doing.
    pub fn new(id: impl Into<String>, name: impl Into<String>, state: EnvironmentState) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            class: Class::Environment,
            state,
            since: None,
            created: None,
            last_used: None,
            mark: String::new(),
            labels: Vec::new(),
            holds: Vec::new(),
            members: Vec::new(),
            bytes: None,
            job: None,
            runner: None,
            claim: None,
            doubt: None,
            is_ending: false,
            handle: String::new(),
        }
    }
}

/// Which rule an environment falls to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ReapReason {
    /// It stopped long ago.
    Stopped,
    /// It never started.
    NeverStarted,
    /// It runs, and it is proved that it has no job and that no controller wants it.
    Idle,
}

impl ReapReason {
    /// The name for JSON and the journal.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why an environment is kept.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Stays {
    /// `keep` names it; by which pattern.
    #[strum(serialize = "keep")]
    Kept(String),
    /// It runs.
    Running,
    /// It sleeps and can be woken.
    Suspended,
    /// Nobody seems to need it, and that cannot be proven; what is missing.
    Unproven(String),
    /// It has ended and its controller cleans up.
    Terminated,
    /// Its shape is not known.
    Unknown(String),
    /// It is being deleted already.
    Ending,
    /// Somebody claims it; who.
    Claimed(String),
    /// Its runner is at work, or that is unknown.
    RunnerInUse(String),
    /// It has not been seen so for long enough.
    Young {
        /// For how long it has.
        seen: Duration,
        /// For how long it must.
        needed: Duration,
    },
    /// It may still be about to start.
    Waiting {
        /// How old it is.
        age: Duration,
        /// How old it must be.
        grace: Duration,
    },
}

impl Stays {
    /// The name for JSON and the journal.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// What is decided for an environment that `match` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReapDecision {
    /// It is leaked.
    Reap(ReapReason),
    /// It is kept.
    Stay(Stays),
}

/// What came of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ReapResult {
    /// A dry run: it would go.
    Planned,
    /// It is gone, as a listing confirms.
    Reaped,
    /// It is kept, as decided.
    Kept,
    /// Right before its delete it was not as it had been; what changed.
    Changed(String),
    /// The delete failed, or could not be verified; why.
    Failed(String),
    /// The delete reported success, but a listing still shows it.
    Lied,
    /// It is leaked and left for the next run; why.
    Deferred(&'static str),
}

impl ReapResult {
    /// The name for JSON.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }

    /// Whether it is a fault.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Lied)
    }
}

/// An environment, what was decided, and what came of it.
#[derive(Debug, Clone)]
pub struct Reaping {
    /// Which.
    pub environment: Environment,
    /// What was decided.
    pub verdict: ReapDecision,
    /// For how long it has been seen in its state.
    pub seen_for: Duration,
    /// What came of it.
    pub result: ReapResult,
}

/// What one entry of the configuration found and did.
#[derive(Debug, Clone)]
pub struct EntryReport {
    /// The entry's name.
    pub name: String,
    /// Its kind.
    pub kind: EnvironmentKind,
    /// How many environments the source listed.
    pub listed: usize,
    /// Why nothing could be listed, or why the run ended early.
    pub error: Option<String>,
    /// Those that `match` names, in the order of the listing.
    pub reapings: Vec<Reaping>,
    /// What people should know; not errors.
    pub notes: Vec<String>,
}

impl EntryReport {
    /// How many came to a result of this kind.
    pub fn count(&self, wanted: impl Fn(&Reaping) -> bool) -> usize {
        self.reapings.iter().filter(|reaping| wanted(reaping)).count()
    }

    /// Leaked and still there.
    pub fn leaked(&self) -> usize {
        self.count(|reaping| {
            matches!(reaping.verdict, ReapDecision::Reap(_))
                && !matches!(reaping.result, ReapResult::Reaped | ReapResult::Changed(_))
        })
    }

    /// Deleted and verified.
    pub fn reaped(&self) -> usize {
        self.count(|reaping| reaping.result == ReapResult::Reaped)
    }

    /// Deletes that failed, or left their object behind.
    pub fn failed(&self) -> usize {
        self.count(|reaping| reaping.result.is_failure())
    }

    /// Stopped or never started, and not for long enough yet.
    pub fn waiting(&self) -> usize {
        self.count(|reaping| {
            matches!(reaping.verdict, ReapDecision::Stay(Stays::Young { .. } | Stays::Waiting { .. }))
        })
    }

    /// Of a shape that is not known.
    pub fn unknown(&self) -> usize {
        self.count(|reaping| matches!(reaping.verdict, ReapDecision::Stay(Stays::Unknown(_))))
    }

    /// Seemingly leaked, without the proof that is needed.
    pub fn unproven(&self) -> usize {
        self.count(|reaping| matches!(reaping.verdict, ReapDecision::Stay(Stays::Unproven(_))))
    }

    /// Whether anything went wrong.
    pub fn is_failed(&self) -> bool {
        self.error.is_some() || self.failed() > 0
    }
}

/// What a run of the reaper found and did.
#[derive(Debug, Clone, Default)]
pub struct ReapReport {
    /// Nothing was deleted, and nothing recorded.
    pub dry_run: bool,
    /// One a configured entry that was asked for.
    pub entries: Vec<EntryReport>,
}

impl ReapReport {
    /// Whether anything went wrong.
    pub fn is_failed(&self) -> bool {
        self.entries.iter().any(EntryReport::is_failed)
    }
}

/// What the last run left in the state directory, for `status` and for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReapRecord {
    /// One a configured entry, in the order in which they last ran.
    pub entries: Vec<ReapEntryRecord>,
    /// Environments deleted since the record was begun, by the name of their kind.
    pub reaped_total: BTreeMap<String, u64>,
    /// Deletes that failed, or left their object behind, since then, in the same way.
    pub failed_total: BTreeMap<String, u64>,
}

/// What one entry last found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReapEntryRecord {
    /// The entry's name.
    pub name: String,
    /// The name of its kind.
    pub kind: String,
    /// When it ran.
    #[serde(with = "as_json::WholeSeconds")]
    pub time: SystemTime,
    /// How many of what.
    #[serde(flatten)]
    pub counts: ReapCounts,
}

/// How many environments an entry found and deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(!default)]
pub struct ReapCounts {
    /// How many environments `match` named.
    pub matched: u64,
    /// How many were leaked and still there at the end; what was known before where the listing failed.
    pub leaked: u64,
    /// How many were not idle for long enough yet.
    pub waiting: u64,
    /// How many had a shape that is not known.
    pub unknown: u64,
    /// How many seem to be leaked without proof.
    pub unproven: u64,
    /// How many it deleted.
    pub reaped: u64,
    /// How many deletes failed, or left their object behind.
    pub failed: u64,
    /// Why it could not list, or ended early.
    pub error: Option<String>,
}
