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

/// The tools that list and delete environments.
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
    /// The tool that lists and deletes.
    pub kind: EnvironmentKind,
    /// The program and its first arguments; never empty.
    pub command: Vec<String>,
    /// Patterns of the environments that may be deleted; never empty.
    pub matches: Vec<Pattern>,
    /// Patterns of the environments that are kept.
    pub keep: Vec<Pattern>,
    /// The minimum time that an environment has been seen stopped.
    pub max_age: Duration,
    /// The minimum age of an environment that never started.
    pub never_started_grace: Duration,
    /// For `kubernetes`: the minimum age of a surplus idle runner.
    pub min_age: Duration,
    /// For `kubernetes`: whether idle runners of older generations are deleted as well.
    pub stale_generation: bool,
    /// The command that reports, with the exit codes of `check`, whether a pod's runner has a job; empty: `kubectl exec`.
    pub worker_check: Vec<String>,
    /// The number of deletes before a pause.
    pub batch: usize,
    /// The length of a pause.
    pub pause: Duration,
    /// The maximum number of deletes of one run.
    pub max_per_run: usize,
    /// The time limit of each call of the program.
    pub timeout: Duration,
    /// For `kubernetes`: a file with GitHub's list of runners.
    pub busy_snapshot: Option<std::path::PathBuf>,
}

/// The state of an environment.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum EnvironmentState {
    /// It runs, or may at any moment: paused, restarting, used by something that runs.
    Running,
    /// It runs, never had a job, and its controller does not want it. Only its source can prove that no job runs in it.
    Idle,
    /// Its owner has suspended it and can resume it.
    Suspended,
    /// It has run and is stopped, and nothing restarts it automatically.
    Stopped,
    /// It was created and has never run.
    NeverStarted,
    /// It has ended and belongs to a controller, which cleans up after it.
    Terminated,
    /// Its form is unknown; the observation.
    Unknown(String),
}

impl EnvironmentState {
    /// The name for JSON and people.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// What a pattern selects. A pattern for environments never selects an image.
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
    /// The id by which the source deletes it; unique in a listing.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Its class.
    pub class: Class,
    /// Its state.
    pub state: EnvironmentState,
    /// Since when it has been in this state, if the source reports it.
    pub since: Option<SystemTime>,
    /// When it was created, if the source reports it.
    pub created: Option<SystemTime>,
    /// When it was last used, if the source reports only that. It counts if it is earlier than the first time it was seen in its state.
    pub last_used: Option<SystemTime>,
    /// A value that changes when the environment is used.
    pub mark: String,
    /// Labels or annotations to select by.
    pub labels: Vec<(String, String)>,
    /// What is deleted with it: disks, volumes, a pod.
    pub holds: Vec<String>,
    /// The environments that it consists of, by name and labels. It is kept if one of them is kept.
    pub members: Vec<(String, Vec<(String, String)>)>,
    /// How large it is, if the source reports it.
    pub bytes: Option<u64>,
    /// The job it belongs to, if that is known.
    pub job: Option<String>,
    /// The runner of this host it belongs to, if that is known.
    pub runner: Option<String>,
    /// Why it is claimed: an active job, or a protection by the source.
    pub claim: Option<String>,
    /// The proof that is missing before it counts as unneeded.
    pub doubt: Option<String>,
    /// Whether its deletion was requested already.
    pub is_ending: bool,
    /// The data that its source needs to delete it; opaque to all other code.
    pub handle: String,
}

impl Environment {
    /// An environment of which only name and state are known.
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

/// The rule by which an environment is deleted.
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
    /// `keep` matches it; the pattern.
    #[strum(serialize = "keep")]
    Kept(String),
    /// It runs.
    Running,
    /// It is suspended and can be resumed.
    Suspended,
    /// It seems to be unneeded, without proof; the missing proof.
    Unproven(String),
    /// It has ended and its controller cleans up.
    Terminated,
    /// Its form is unknown.
    Unknown(String),
    /// It is being deleted already.
    Ending,
    /// It is claimed; by whom.
    Claimed(String),
    /// Its runner is busy or unknown.
    RunnerInUse(String),
    /// It has not been in this state for long enough.
    Young {
        /// The time so far.
        seen: Duration,
        /// The required time.
        needed: Duration,
    },
    /// It may still be about to start.
    Waiting {
        /// Its age.
        age: Duration,
        /// The required age.
        grace: Duration,
    },
}

impl Stays {
    /// The name for JSON and the journal.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// The decision about an environment that `match` selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReapDecision {
    /// It is leaked.
    Reap(ReapReason),
    /// It is kept.
    Stay(Stays),
}

/// The result of a decision.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ReapResult {
    /// A dry run: it would be deleted.
    Planned,
    /// It is gone, as a listing confirms.
    Reaped,
    /// It is kept, as decided.
    Kept,
    /// It had changed right before its deletion; the change.
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

/// An environment, the decision, and the result.
#[derive(Debug, Clone)]
pub struct Reaping {
    /// The environment.
    pub environment: Environment,
    /// The decision.
    pub verdict: ReapDecision,
    /// For how long it has been seen in its state.
    pub seen_for: Duration,
    /// The result.
    pub result: ReapResult,
}

/// The result of one entry of the configuration.
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
    /// The environments that `match` selects, in the order of the listing.
    pub reapings: Vec<Reaping>,
    /// Remarks for people; not errors.
    pub notes: Vec<String>,
}

impl EntryReport {
    /// The number of such results.
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

    /// Of an unknown form.
    pub fn unknown(&self) -> usize {
        self.count(|reaping| matches!(reaping.verdict, ReapDecision::Stay(Stays::Unknown(_))))
    }

    /// Seemingly leaked, without the proof that is needed.
    pub fn unproven(&self) -> usize {
        self.count(|reaping| matches!(reaping.verdict, ReapDecision::Stay(Stays::Unproven(_))))
    }

    /// Whether there was an error.
    pub fn is_failed(&self) -> bool {
        self.error.is_some() || self.failed() > 0
    }
}

/// The result of a run of the reaper.
#[derive(Debug, Clone, Default)]
pub struct ReapReport {
    /// Nothing was deleted, and nothing recorded.
    pub dry_run: bool,
    /// One per requested entry of the configuration.
    pub entries: Vec<EntryReport>,
}

impl ReapReport {
    /// Whether there was an error.
    pub fn is_failed(&self) -> bool {
        self.entries.iter().any(EntryReport::is_failed)
    }
}

/// The record of the last run in the state directory, for `status` and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReapRecord {
    /// One per configured entry, in the order in which they last ran.
    pub entries: Vec<ReapEntryRecord>,
    /// Environments deleted since the record was begun, by the name of their kind.
    pub reaped_total: BTreeMap<String, u64>,
    /// Deletes that failed, or left their object behind, since then, in the same way.
    pub failed_total: BTreeMap<String, u64>,
}

/// The last result of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReapEntryRecord {
    /// The entry's name.
    pub name: String,
    /// The name of its kind.
    pub kind: String,
    /// When it ran.
    #[serde(with = "as_json::WholeSeconds")]
    pub time: SystemTime,
    /// The counts.
    #[serde(flatten)]
    pub counts: ReapCounts,
}

/// How many environments an entry found and deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(!default)]
pub struct ReapCounts {
    /// The number of environments that `match` selects.
    pub matched: u64,
    /// The number of leaked environments that remained at the end. If the listing failed, the previous number.
    pub leaked: u64,
    /// How many were not idle for long enough yet.
    pub waiting: u64,
    /// The number of environments of an unknown form.
    pub unknown: u64,
    /// The number that seem to be leaked, without proof.
    pub unproven: u64,
    /// How many it deleted.
    pub reaped: u64,
    /// How many deletes failed, or left their object behind.
    pub failed: u64,
    /// Why it could not list, or ended early.
    pub error: Option<String>,
}
