//! Data types without effects: everything else imports these, these import nothing of ours.

mod cache;
mod capacity;
mod check;
pub mod dedupe;
mod evidence;
mod execution;
mod facts;
mod filesystem;
mod forecast;
mod globs;
pub mod hygiene;
mod ids;
pub mod incident;
pub mod ledger;
pub mod metrics;
mod plan;
pub mod postmortem;
mod processes;
pub mod reap;
mod remark;
mod runner;
mod setup;
mod space;
mod status;
pub mod stores;
mod trim;

pub use cache::{
    CLAIMED_BESIDE, Cache, CacheRule, Coverage, LargeFile, Measure, Member, MemberKind, Part, Retention,
    SLOT_BESIDE,
};
pub use capacity::{
    Capacity, CapacityFacts, ContainerStore, DeletedFile, Holding, Limit, RunnerGroup, Share, Stall,
};
pub use check::{Check, CheckState, RESTART_BY_HAND, Remedy, by_fix};
pub use evidence::{Evidence, EvidenceKind, Liveness, Visibility, Weight, strongest};
pub use execution::Execution;
pub use facts::{
    DeclaredFacts, ForeignLock, HostFacts, JobReceived, JobsTurn, LeaseSeen, LeaseState, LockKind, LockState,
    RunnerFacts,
};
pub use filesystem::{Filesystem, Level, Usage};
pub use forecast::{Basis, DiskForecast, Forecasting, JobForecast, Reservation, Room};
pub use globs::{DirGlobs, GlobPart, PathGlob};
pub use ids::{FileId, FilesystemId, Pid, ProcessId, StartTime, Uid};
pub use plan::{
    Action, ActionResult, Aim, Balance, CacheHolder, Decision, KeepReason, Need, Outcome, Plan, RemoveReason,
    RunReport, Shortfall,
};
pub use processes::{
    Attribution, HeldBy, Holder, ListenerSeen, MountSeen, ProcessFacts, Stranger, Unlocated, WorkerReach,
    WorkerSeen,
};
pub use remark::Remark;
pub use runner::{Guarded, Job, Lease, Runner, Work, WorkDir, is_repository_dir};
pub use setup::{CommandOutcome, SetupChange, SetupCommand, SetupOutcome, SetupReport, SetupRunner};
pub use space::{SpaceClass, SpaceHolder};
pub use status::{
    CheckResult, DeclaredStatus, Disk, FilesystemStatus, HostStatus, JobView, LockHolder, LockView,
    OutOfService, RootMatches, RuleStatus, RunnerStatus, Standing,
};
pub use trim::{
    AccessTimes, CargoTarget, Extra, ExtraKind, Origin, ReferenceBits, TargetView, TrimOffer, TrimPart,
    TrimStep, TrimTier, Unit, UnitState,
};
