//! The last sweep's figures, for `status`: `dedupe/last.json` in the state directory.

use crate::config::Config;
use crate::model::dedupe::{DedupeRecord, DedupeReport};
use crate::setup::state::{StateDir, StateError};
use std::time::SystemTime;

const DIRECTORY: &str = "dedupe";
const FILE: &str = "last.json";

/// A larger record was not written by the guard.
const MAX_BYTES: u64 = 64 << 10;

/// Keeps what a sweep that ended now has found and done.
///
/// # Errors
/// When the state directory cannot be written.
pub fn keep(config: &Config, report: &DedupeReport, now: SystemTime) -> Result<(), StateError> {
    let bytes = serde_json::to_vec(&DedupeRecord::of(report, now)).expect("text and numbers serialise");
    StateDir::at(&config.paths.state_dir).write_file(DIRECTORY, FILE, &bytes)
}

/// What the last sweep that shared blocks found; none where there is no record that can be read.
pub fn last(config: &Config) -> Option<DedupeRecord> {
    let kept = StateDir::at(&config.paths.state_dir).read_file(DIRECTORY, FILE, MAX_BYTES).ok()??;
    serde_json::from_slice(&kept).ok()
}
