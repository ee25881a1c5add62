//! disk-guard keeps the disk of a host that runs many CI runners from filling up, and never breaks a live job to do it.
//!
#![doc = "(The map of the house is written once its rooms stand.)"]

pub mod config;
pub mod lease;
pub mod lock;
pub mod model;
pub mod observe;
pub mod policy;
pub mod reclaim;
pub mod run_dir;
pub mod sys;
