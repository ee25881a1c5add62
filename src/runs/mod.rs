//! One run of each verb that changes the host, with its events and the records that the next run reads.
//!
//! A verb in `commands` calls one run and prints what it returns; a sweep calls several.

pub(crate) mod dedupe;
pub(crate) mod metrics;
pub(crate) mod notify;
pub(crate) mod reap;
mod records;
pub(crate) mod remediate;
pub(crate) mod service;
pub(crate) mod stores;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;

use crate::clock::now;
use crate::config::Config;
use crate::observe::snapshot::Snapshot;
use crate::sys::process::Proc;
use std::fmt::Display;

/// The inputs of every run.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a> {
    pub(crate) config: &'a Config,
    pub(crate) proc: &'a Proc,
    /// Where a failure is reported that does not end the run.
    pub(crate) complain: fn(&dyn Display),
}

impl<'a> Host<'a> {
    /// The runners and the mounts as they are now.
    pub(crate) fn snapshot(&self) -> Snapshot<'a> {
        Snapshot::take(self.config, self.proc, now())
    }
}
