//! Safe wrappers around system calls: directory handles, file locks, deadlines, process identity. Imports `model` only;
//! `unsafe` is allowed here and nowhere else.

pub mod abandonable;
pub mod ability;
pub mod btrfs;
pub mod cgroup;
pub mod deadline;
pub mod dedupe;
pub mod dir;
pub mod extents;
pub mod file_lease;
pub mod flock;
pub mod handles;
pub mod journalctl;
pub mod limits;
pub mod mappings;
pub(crate) mod mountinfo;
pub mod portions;
pub mod process;
pub mod process_dir;
pub mod program;
pub mod project;
pub mod reach;
pub mod stalls;
pub mod supervise;
pub mod work_stack;

#[cfg(test)]
pub(crate) mod testing;
