//! Effects that only read: what is there, who uses it, and what cannot be seen.

pub mod listener_log;
pub mod processes;
