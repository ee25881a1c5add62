//! The nouns. Plain data without effects: everything else imports these, these import std alone.

mod cache;
mod evidence;
mod facts;
mod filesystem;
mod ids;
mod plan;
mod processes;
mod runner;

pub use cache::{CLAIMED_BESIDE, Cache, CacheRule, Coverage, LargeFile, Measure};
pub use evidence::{Bearing, Evidence, EvidenceKind, Liveness, Visibility};
pub use facts::{
    ForeignLock, HostFacts, JobReceived, LeaseSeen, LeaseState, LockKind, LockState, RunnerFacts,
};
pub use filesystem::{Filesystem, Level, Usage};
pub use ids::{FileId, FilesystemId, Pid, ProcessId, StartTime, Uid};
pub use plan::{
    Action, ActionResult, Balance, Decision, KeepReason, Need, Outcome, Plan, RemoveReason, RunReport,
};
pub use processes::{Attribution, Hold, Holder, ListenerSeen, MountSeen, ProcessFacts, WorkerSeen};
pub use runner::{Guarded, Job, Lease, Runner, Work, WorkDir};
