//! Decisions, and nothing else: pure functions from facts to verdicts. No file is opened and no clock is read here.
//!
//! [`pressure`]: is space needed, and how much. [`shared_work_dirs`]: which runners stand and fall together. [`liveness`]: what the
//! evidence about a runner is and what it adds up to. [`protection`]: what forbids to remove one cache. [`plan`]: what
//! goes, in which order, and why everything else stays. [`ledger`]: what entries prove, and who is believed. [`goal`]: the lesser aim where
//! the goal is out of reach. [`counting`]: which counts are believed. [`stores`]: what is asked of engines' stores. [`dedupe`]: which files may be equal. [`trend`]: how fast a disk fills.

pub mod counting;
pub mod dedupe;
pub mod forecast;
pub mod goal;
pub mod holders;
pub mod ledger;
pub mod liveness;
pub mod plan;
pub mod pressure;
pub mod protection;
pub mod shared_work_dirs;
pub mod stores;
pub mod trend;
pub mod trim;
