//! Looking, and nothing else: every effect here only reads. What cannot be read is said to be unknown.

pub mod caches;
pub mod cargo_target;
pub mod declared;
pub mod diag_log;
pub mod dotenv;
pub mod filesystems;
pub mod guarded;
pub mod hook_script;
pub mod host;
pub mod host_lock;
pub mod inventory;
mod known_caches;
pub mod listener_log;
pub mod locks;
pub mod measure;
pub mod other_hosts;
mod ownership;
pub mod places;
pub mod processes;
pub mod retention;
pub mod root_globs;
pub mod runners;
mod shared_kinds;
pub mod sharing;
pub mod space;
pub mod strangers;
mod undeclared;
