//! Rendering: data in, text out. Nothing here decides anything about liveness or deletion, and nothing reads the clock or the disk; it
//! imports only model types, words and validated configuration.
//!
//! Every name that came from disk passes through [`escape`] on its way to a person, a job's log or standard error; JSON and the journal
//! carry exact text, and bytes separately if a path is not UTF-8.

pub mod events;
pub mod exit;
pub mod html;
pub mod human;
pub mod job_log;
pub mod journal;
pub mod json;
pub mod progress;
pub mod prometheus;
pub mod reap_words;
pub mod scarcity;
pub mod store_words;
pub mod stream;

pub use crate::text::escape;
pub(crate) use crate::text::words;

/// Inputs that the tests of several modules share.
#[cfg(test)]
mod samples;
