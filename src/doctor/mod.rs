//! Checks whether this host is set up so that the guard can work. Each finding comes with its fix.
//!
//! Nothing is changed but for a probe in each work directory's own trash, made and removed at once. A thing that cannot be
//! looked at is a warning, not a pass.

mod capacity;
mod filesystems;
mod host;
mod runners;
mod service;
mod shared;

use crate::config::Config;
use crate::model::{Capacity, Check, HostFacts, Remark};
use crate::sys::process::Proc;
use std::time::SystemTime;

/// The inputs of the checks.
#[derive(Debug, Clone, Copy)]
pub struct DoctorInput<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The process table.
    pub proc: &'a Proc,
    /// The living processes.
    pub facts: &'a HostFacts,
    /// The host's limits.
    pub capacity: &'a Capacity,
    /// How many runners each glob matched.
    pub root_matches: &'a [(String, usize)],
    /// The wall clock.
    pub now: SystemTime,
}

/// All checks, in the order in which they depend on each other.
pub fn examine(input: &DoctorInput<'_>) -> Vec<Check> {
    let mut checks = runners::globs(input);
    checks.extend(input.facts.remarks.iter().map(of_remark));
    checks.extend(host::all(input));
    checks.extend(shared::all(input));
    checks.extend(service::all(input));
    checks.extend(runners::all(input));
    checks.extend(filesystems::all(input));
    checks.extend(capacity::all(input.capacity));
    checks
}

/// A remark of the observation as a check.
fn of_remark(remark: &Remark) -> Check {
    match (remark.is_fault, remark.fix.as_str()) {
        (true, fix) => Check::fail(remark.id.as_str(), remark.said.as_str(), fix),
        (false, "") => Check::ok(remark.id.as_str(), remark.said.as_str()),
        (false, fix) => Check::warn(remark.id.as_str(), remark.said.as_str(), fix),
    }
}
