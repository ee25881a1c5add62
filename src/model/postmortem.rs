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

/// A job whose end is examined, and its Worker.
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
    /// When the Worker started, or else when its job's hook ran.
    #[serde(with = "as_json::OptionalTime")]
    pub started: Option<SystemTime>,
    /// The last line that the Worker wrote.
    #[serde(with = "as_json::OptionalTime")]
    pub last_sign: Option<SystemTime>,
    /// When it ended, if a source has that.
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
    /// The Worker ended regularly.
    CleanEnd,
    /// The kernel killed it for lack of memory.
    OutOfMemory,
    /// No room was left on a disk.
    DiskFull,
    /// No file could be opened any more.
    FilesExhausted,
    /// No process or thread could be started any more.
    TasksExhausted,
    /// A disk failed.
    DiskFailed,
    /// disk-guard removed something that the job needed.
    DiskGuard,
    /// The host was shut down or restarted.
    Reboot,
    /// The Listener killed its Worker: it did not stop in time when it was asked to, or could not be asked.
    StoppedByListener,
    /// systemd ended the runner's unit.
    UnitStopped,
    /// The runner was asked to shut down, and stopped its job.
    RunnerStopped,
    /// The service ended the job: its lease could not be renewed, or was no longer known there.
    LostContact,
    /// The job was cancelled.
    Cancelled,
    /// The host was suspended or frozen.
    Suspended,
    /// A fault of the Worker: SIGSEGV, SIGABRT and similar.
    Crash,
    /// A signal that ends a process was sent to it.
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
    /// It fits, and other causes may fit as well.
    Possible,
    /// It fits, and no other examined cause does.
    Likely,
    /// A reliable source proves it: the kernel, an exit code, another boot.
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
    /// It has not ended.
    NotYet,
    /// It has logged its end.
    Cleanly,
    /// It has not logged its end: a death.
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
    /// Its source.
    pub source: String,
    /// When it happened.
    #[serde(with = "as_json::OptionalTime")]
    pub at: Option<SystemTime>,
    /// Its text.
    pub text: String,
    /// The cause that it supports.
    pub points_to: Cause,
}

/// A cause that is ruled out, and the fact that rules it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RuledOut {
    /// The cause.
    pub cause: Cause,
    /// The fact.
    pub by: String,
}

/// A source that could not be read, and how to make it available the next time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Missing {
    /// The source, and why it could not be read.
    pub what: String,
    /// How to make it available.
    pub how: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[must_use]
pub struct Diagnosis {
    /// How the Worker ended.
    pub ended: Ended,
    /// The cause.
    pub cause: Cause,
    /// The confidence.
    pub confidence: Confidence,
    /// The cause in one sentence.
    pub summary: String,
    /// The evidence; evidence for other causes is last.
    pub evidence: Vec<Proof>,
    /// The causes that are ruled out.
    pub ruled_out: Vec<RuledOut>,
    /// The sources that could not be read.
    pub missing: Vec<Missing>,
    /// What to do.
    pub advice: String,
}

/// A death with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Case {
    /// The death.
    pub death: Death,
    /// The verdict.
    pub verdict: Diagnosis,
    /// When it was examined.
    #[serde(with = "as_json::Time")]
    pub examined: SystemTime,
    /// Whether it was recorded then: its sources may be gone now.
    #[serde(default)]
    pub kept: bool,
}

/// The answer of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The start of the requested span.
    pub since: SystemTime,
    /// The requested runner.
    pub runner: Option<String>,
    /// The number of examined jobs.
    pub jobs: usize,
    /// The number of examined runners.
    pub runners: usize,
    /// The cases, the latest first.
    pub cases: Vec<Case>,
    /// For people: what could not be examined.
    pub notes: Vec<String>,
}
