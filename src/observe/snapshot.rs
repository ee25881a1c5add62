//! The runners and the mounts of the host at one moment: taken once for each phase and passed to all its parts.
//!
//! A snapshot names the places and their past state, not the present one: code that deletes takes a snapshot of its own before each plan,
//! opens its directories by identity, and looks at processes, leases and locks again before and after each claim.

use super::filesystems::MountTable;
use super::runners::{self, Discovery};
use super::{declared, places};
use crate::config::Config;
use crate::model::{Filesystem, Runner};
use crate::sys::process::Proc;
use std::time::SystemTime;

/// See the module.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// The configuration it was taken with.
    pub config: &'a Config,
    /// The process table, which is read when it is needed.
    pub proc: &'a Proc,
    /// When it was taken.
    pub taken: SystemTime,
    /// The mount table.
    pub mounts: MountTable,
    /// The runners, and the declared caches outside of their work directories.
    pub found: Discovery,
}

impl<'a> Snapshot<'a> {
    /// Reads the mount table and looks for the runners.
    pub fn take(config: &'a Config, proc: &'a Proc, now: SystemTime) -> Self {
        let mounts = MountTable::read(proc);
        let mut found = runners::discover(&config.runners.roots, &mounts);
        if config.runners.are_built_in {
            found.note_empty_built_in_globs();
        } else {
            found.note_empty_globs();
        }
        declared::discover(&config.caches, &mounts, &mut found);
        Self { config, proc, taken: now, mounts, found }
    }

    /// The runners.
    pub fn runners(&self) -> &[Runner] {
        &self.found.runners
    }

    /// The filesystems of all directories that are claimed from, and how full they are now.
    pub fn filesystems(&self) -> Vec<Filesystem> {
        places::filesystems(&self.found.holders(), &self.mounts, &mut Vec::new())
    }
}
