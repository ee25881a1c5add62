//! Decisions, and nothing else: pure functions from facts to verdicts. No file is opened and no clock is read here.
//!
//! [`pressure`]: whether space is needed, and how much. [`shared_work_dirs`]: which runners share a work directory. [`liveness`]: the
//! evidence about a runner and the state that follows from it. [`protection`]: why one cache must not be removed. [`plan`]: what is
//! removed, in which order, and why everything else is kept. [`ledger`]: what entries prove, and which are trusted. [`goal`]: the lesser
//! goal where the goal is out of reach. [`counting`]: which counts are trusted. [`stores`]: what is asked of engines' stores. [`dedupe`]:
//! which files may be equal. [`trend`]: how fast a disk fills. [`trim`]: the order in which parts of a cargo target are removed.

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
