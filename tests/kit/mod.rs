//! What the black-box tests share: a host with runners on a disk of its own, jobs that go step by step, a guard that can
//! be stopped at a system call, and trees that are proved untouched.
//!
//! * [`Host`] is one throw-away machine: a directory (or a small real filesystem), a configuration, run and state
//!   directories. Only one exists at a time on a computer, because the guard looks at every process: a live Worker of one
//!   test would be an unattributable Worker for all others. `tests/apart.sh` gives each test of root's a computer of its own.
//! * [`Runner`] is built with [`Host::runner`]; [`Listener`] and [`Job`] play its processes (see `tests/standin`).
//! * [`Stopped`] holds a guard at the entry of a system call.
//! * [`Journald`] is a real one in a mount namespace of its own.
//! * [`Canary`] remembers a tree: names, contents, times, inodes.
//!
//! Order comes from conditions with a deadline, never from sleeping. What a test starts dies with it, also on a panic.
#![allow(dead_code, reason = "every test file uses its part of the kit")]
#![allow(unused_imports, reason = "every test file uses its part of the kit")]
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

mod boundary;
mod cache;
mod canary;
mod cgroup;
mod disk;
pub(crate) mod dying;
mod guard;
mod hook;
mod host;
mod image;
mod job;
mod journald;
mod line;
mod machine;
mod processes;
mod runner;
mod runner_output;
mod settings;
mod systemd;
mod trace;
mod wait;

pub(crate) use boundary::{change, place};
pub(crate) use cache::{Age, SIGNATURE, grow_old, plant_cache};
pub(crate) use canary::Canary;
pub(crate) use cgroup::MemoryGroup;
pub(crate) use disk::{Disk, Fs, fill_bytes, fill_inodes, usage};
pub(crate) use guard::{Call, Report, Run};
pub(crate) use host::{Host, SHARED_GID};
pub(crate) use image::Image;
pub(crate) use job::{Job, Listener, Script};
pub(crate) use journald::{Journald, in_own_run, journalctl, needs_journald};
pub(crate) use machine::{share as share_machine, wait_for_strangers};
pub(crate) use processes::{Holder, is_alive, process_state, standin};
pub(crate) use runner::{Runner, RunnerBuilder};
pub(crate) use runner_output::{RunnerOutput, parse_as_runner};
pub(crate) use settings::Settings;
pub(crate) use systemd::Systemd;
pub(crate) use trace::{Entry, Stopped, calls_of, can_refuse};
pub(crate) use wait::{deadline, until};

/// Whether a test that needs root may run; says so when it may not.
pub(crate) fn needs_root(why: &str) -> bool {
    nix::unistd::geteuid().is_root() || skip(&format!("needs root: {why}"))
}

/// Says that a test, or a part of one, is skipped, past the test harness, which keeps what a passing test prints to itself.
/// Returns false.
pub(crate) fn skip(why: &str) -> bool {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped, {why}\n").as_bytes());
    false
}

/// Whether every process can be examined: without that no runner is provably idle, and a sweep takes nothing.
pub(crate) fn sees_everything() -> bool {
    needs_root("proves a runner idle, for which every process of the machine has to be seen")
}

/// Mebibytes.
pub(crate) const MIB: u64 = 1 << 20;
