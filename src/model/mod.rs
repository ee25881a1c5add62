//! The nouns. Plain data without effects: everything else imports these, these import std alone.

mod cache;
mod evidence;
mod filesystem;
mod ids;
mod plan;
mod processes;
mod runner;

pub use cache::{Cache, Coverage, Measure};
pub use evidence::{Bearing, Evidence, EvidenceKind, Liveness, Visibility};
pub use filesystem::{Filesystem, Level, Usage};
pub use ids::{FileId, FilesystemId, Pid, ProcessId, StartTime, Uid};
pub use plan::{
    Action, ActionResult, Balance, Decision, KeepReason, Need, Outcome, Plan, RemoveReason, RunReport,
};
pub use processes::{
    Attribution, HeldBy, Holder, ListenerSeen, MountSeen, ProcessFacts, Unlocated, WorkerSeen,
};
pub use runner::{Guarded, Job, Runner, Work, WorkDir};
