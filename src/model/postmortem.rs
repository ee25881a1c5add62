//! Data types of a post-mortem: a death, the facts about it, and the verdict.
//!
//! Text in them comes from logs that a runner's user can write, and from process names that anybody chooses: escape it
//! before printing.

mod facts;

pub use facts::*;

use crate::as_json;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::SystemTime;
use strum::IntoStaticStr;

/// A job whose end is asked about, and its Worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Death {
    /// The runner's name.
    pub runner: String,
    /// Where the runner is.
    #[serde(skip)]
    pub root: PathBuf,
    /// `owner/name`, if a lease has it.
    pub repository: Option<String>,
    /// The workflow run's number, if a lease has it.
    pub run_id: Option<String>,
    /// The job's id in its workflow, if a lease has it.
    pub job: Option<String>,
    /// The Worker's pid, if a lease or the Listener's log has it.
    pub worker_pid: Option<i32>,
    /// The boot that the lease was written in.
    pub boot_id: Option<String>,
    /// The Worker's own log.
    pub worker_log: Option<String>,
    /// When the Worker began, or else its job's hook ran.
    #[serde(with = "as_json::OptionalTime")]
    pub started: Option<SystemTime>,
    /// The last line that the Worker wrote.
    #[serde(with = "as_json::OptionalTime")]
    pub last_sign: Option<SystemTime>,
    /// When it was over, where somebody saw that.
    #[serde(rename = "ended_at", with = "as_json::OptionalTime")]
    pub ended: Option<SystemTime>,
}

/// Why a job or its runner ended, the more specific first: of two that are equally certain the first is reported.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    IntoStaticStr,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Cause {
    /// It has not ended.
    Running,
    /// The Worker ended as it meant to.
    CleanEnd,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// No room was left on a disk.
    DiskFull,
    /// No file could be opened any more.
    FilesExhausted,
    /// No process or thread could be started any more.
    TasksExhausted,
    /// A disk failed.
    DiskFailed,
    /// disk-guard took something that the job needed.
    DiskGuard,
    /// The host went down, or was started anew.
    Reboot,
    /// The Listener killed its Worker: it did not stop in time when it was asked to, or could not be asked.
    StoppedByListener,
    /// systemd ended the runner's unit.
    UnitStopped,
    /// The runner was asked to shut down, and stopped its job.
    RunnerStopped,
    /// The service took the job away: its lease could not be renewed, or is not known there any more.
    LostContact,
    /// The job was cancelled.
    Cancelled,
    /// The host slept, or was frozen.
    Suspended,
    /// A fault of the Worker's own: SIGSEGV, SIGABRT and their like.
    Crash,
    /// Somebody sent it a signal that ends a process.
    Killed,
    /// The Listener died, so that the job could not be finished.
    ListenerDied,
    /// The Worker ended itself with an error.
    RunnerError,
    /// Unknown.
    Unknown,
}

impl Cause {
    /// Its name in JSON and in the journal.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The confidence of a verdict.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    IntoStaticStr,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Confidence {
    /// It fits, and so may other causes.
    Possible,
    /// It fits, and nothing else that was looked at does.
    Likely,
    /// A source that cannot be wrong proves it: the kernel, an exit code, another boot.
    Certain,
}

impl Confidence {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How the Worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Ended {
    /// It has not.
    NotYet,
    /// It said so.
    Cleanly,
    /// There is no report: a death.
    Abruptly,
}

impl Ended {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A line of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Proof {
    /// Where it was read.
    pub source: String,
    /// When it happened.
    #[serde(with = "as_json::OptionalTime")]
    pub at: Option<SystemTime>,
    /// What it says.
    pub text: String,
    /// The cause that it speaks for.
    pub points_to: Cause,
}

/// A cause that it was not, and by which datum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RuledOut {
    /// Which.
    pub cause: Cause,
    /// By what.
    pub by: String,
}

/// What could not be seen, and how to have it the next time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Missing {
    /// What.
    pub what: String,
    /// How to capture it.
    pub how: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[must_use]
pub struct Diagnosis {
    /// How the Worker ended.
    pub ended: Ended,
    /// Why.
    pub cause: Cause,
    /// The confidence.
    pub confidence: Confidence,
    /// In one sentence.
    pub summary: String,
    /// The evidence; evidence for other causes is last.
    pub evidence: Vec<Proof>,
    /// What it was not.
    pub ruled_out: Vec<RuledOut>,
    /// What could not be seen.
    pub missing: Vec<Missing>,
    /// What to do.
    pub advice: String,
}

/// A death with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Case {
    /// Whose.
    pub death: Death,
    /// Why.
    pub verdict: Diagnosis,
    /// When it was looked into.
    #[serde(with = "as_json::Time")]
    pub examined: SystemTime,
    /// True when it was kept from then: what it rests on may be gone by now.
    #[serde(default)]
    pub kept: bool,
}

/// The answer of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was asked: since when.
    pub since: SystemTime,
    /// Which runner.
    pub runner: Option<String>,
    /// How many jobs of how many runners were looked at.
    pub jobs: usize,
    /// Runners that were looked at.
    pub runners: usize,
    /// The cases, the latest first.
    pub cases: Vec<Case>,
    /// For people: what could not be looked at.
    pub notes: Vec<String>,
}
