//! disk-guard frees disk space on hosts that run many CI runners, and never touches what a running job uses.
//!
//! # Data flow
//!
//! ```text
//! observe (read only) -> facts -> policy (pure) -> Plan -> reclaim (under the host lock) -> Outcomes -> report
//! ```
//!
//! A dry run stops after the plan and prints it: preview and deletion share one selection path. Execution may skip actions or stop; it
//! never adds any.
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | [`cli`] | the command line: clap's types |
//! | [`commands`] | one file per command: calls the modules below and prints the result |
//! | `runs` | one run of each verb that changes the host, with its events and records |
//! | `overview` | the host as people ask for it: plan, status, forecast |
//! | `hook` | what runs before and after each job: lease, fence, room on the disk |
//! | [`cycle`] | the loop of observing, planning and claiming that sweeps and hooks under pressure share |
//! | [`config`] | the configuration file, validated |
//! | [`actions_runner`] | names and log lines of GitHub's runner: another kind of runner is another module beside it |
//! | [`model`] | data types without effects |
//! | [`policy`] | decisions: pure functions |
//! | [`observe`] | read-only observation: filesystems, runners, processes, caches, locks, logs |
//! | [`reclaim`] | the only code that renames or deletes what runners own |
//! | [`run_dir`], [`lock`], [`lease`], [`hook_record`], [`tickets`], [`uses`] | the files by which the guards of one host coordinate |
//! | [`capacity`] | limits of the host other than the space that caches take: inodes, memory, tasks, open files |
//! | [`doctor`] | checks of this host's set-up |
//! | [`footprints`], [`forecast`] | what jobs have taken, and how much room live jobs need |
//! | [`hygiene`] | work directories that checkouts fail in: detection and repair |
//! | [`setup`] | connecting runners to the hooks; systemd; the state directory |
//! | `installation` | setting a host up and undoing that: runners, group, units |
//! | `service` | taking runners out of service and back |
//! | [`postmortem`] | why a runner or a job died |
//! | [`reap`] | leaked virtual machines, containers and pods: found and deleted through their own tools |
//! | [`stores`] | what engines and build tools keep for all jobs: collected by their own tools while nobody builds |
//! | `demo` | the throw-away host of `disk-guard demo` |
//! | `terminal` | the screen and keys of `status --watch` |
//! | [`dedupe`] | equal files of several runners share their blocks |
//! | [`notify`] | running a program on incidents: which, when, and when to repeat |
//! | `run_log` | the events, ledger entries and counts of one run |
//! | [`ledger`] | the record of all actions, in the journal and in files, and its reader |
//! | [`counters`] | counters of all runs, across users and reboots |
//! | [`simulate`] | runs of the policy against made-up hosts |
//! | [`report`] | rendering: people, JSON, journal, a job's log, exit codes |
//! | [`escape`] | makes names from disk safe to print |
//! | `as_json` | how paths, times and names appear in JSON: model types derive their documents with it |
//! | [`text`] | sizes, ages and reasons in words |
//! | `clock` | the wall clock |
//! | [`lengths`] | durations as people write them |
//! | `digest` | collision-resistant file names |
//! | `fuzzing` | properties of every parser of foreign bytes; for tests and fuzzers only |
//! | [`sys`] | safe wrappers around system calls; the only place where `unsafe` is allowed |
//!
//! # Layers
//!
//! A module imports modules of lower layers only. `src/layers.rs` reads this table and every import, and fails on an import that does not
//! go down, on a circle of files, and on an effect in `policy` or `model`.
//!
//! ```layers
//! commands
//! runs
//! hook overview
//! forecast run_log
//! counters dedupe doctor footprints hygiene installation notify postmortem service stores
//! capacity cycle demo ledger reap setup terminal
//! cli observe
//! report uses
//! lease reclaim simulate
//! hook_record lock policy tickets
//! config run_dir
//! sys text
//! actions_runner clock digest lengths model
//! as_json
//! escape
//! ```
//!
//! Clippy's `disallowed-methods` restricts renaming and deleting, file locks and the wall clock to their modules.
//!
//! # Invariants
//!
//! 1. **A live job's tree is never touched**: from the moment a runner's started-hook returns until that job's Worker is gone.
//! 2. **Unknown protects**: idleness needs positive proof.
//! 3. **Only declared caches are removed**: in a discovered runner's work directory, matching a rule and carrying its marker; or outside
//!    of work directories at a path that root's configuration names and nobody else can redirect; never through a link, never across a
//!    mount. Besides them, of a provably idle runner: its own aged logs, leftovers and old versions, by fixed names and places
//!    (`[retention]`); and what a person names with `remediate --apply`.
//! 4. **What is deleted is what was planned**: device, inode and owner are compared after the claim.
//! 5. **Lock time does not grow with tree size**: under the lock a tree is only renamed.
//! 6. **Only as much as is needed is removed**, judged by re-measured free space, the cheapest to rebuild first.
//! 7. **The guard's own fault never fails a job and never hangs one.**
//! 8. **It works at 0 bytes and 0 inodes free.**
//! 9. **Nothing is lost**: at any instant a tree is in its place or in trash, which the next run finishes.
//! 10. **Every action and every refusal is explained**, with its evidence.
//!
//! # Why a claim cannot meet a job
//!
//! A job's steps cannot begin before its started-hook returns. The hook takes the host lock shared and writes a lease. A claim holds the
//! lock exclusively, looks at leases and Workers, and renames. So a cache is claimed before its runner's job begins, and that job builds
//! cold, or it is not claimed at all.
//!
//! A hook that cannot get the lock in time fences its trash before its job begins: a claim that was suspended in the middle then fails,
//! because it renames into a directory that no longer exists (see [`reclaim::trash`]). The hook writes its lease before it fences, so a
//! claim that made its slot after the fence sees the lease. Every hook that ends abnormally does the same. Every hook also fences first of
//! all, before it uses any lock, so that not even the death of the hook undoes the fence.
//!
//! Therefore a claim may look at Workers and leases before it takes the lock, once its slot exists: a job that has begun since then has
//! removed the slot, or shows under the lock as a lease that was added or removed, and then the look is repeated. A build that outlives
//! its Worker shows only among processes. They are looked at before the lock is taken; again when a lease was added or removed meanwhile
//! or could not be written; and under the lock where no hook of ours writes leases.
//!
//! `tests/model` checks every order in which these steps can happen.
//!
//! # Threats
//!
//! Everything below a runner's work directory is hostile: names, links, mounts, sizes, sudden changes. It is reached by `openat2` beneath
//! a handle, without links, magic links and mounts, or not at all. A job runs as its runner's user and can rewrite the runner's files:
//! such files must not be able to harm anybody else. Root takes roots from its own configuration only. Names from disk are escaped
//! wherever a person, a terminal or a runner reads them.

pub mod actions_runner;
pub(crate) mod as_json;
pub mod capacity;
pub mod cli;
pub(crate) mod clock;
pub mod commands;
pub mod config;
pub mod counters;
pub mod cycle;
pub mod dedupe;
pub(crate) mod demo;
pub(crate) mod digest;
pub mod doctor;
pub mod escape;
pub mod footprints;
pub mod forecast;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub(crate) mod hook;
pub mod hook_record;
pub mod hygiene;
pub(crate) mod installation;
#[cfg(test)]
mod layers;
pub mod lease;
pub mod ledger;
pub mod lengths;
pub mod lock;
pub mod model;
pub mod notify;
pub mod observe;
pub(crate) mod overview;
#[cfg(test)]
mod plain_host;
pub mod policy;
pub mod postmortem;
pub mod reap;
pub mod reclaim;
pub mod report;
pub mod run_dir;
pub(crate) mod run_log;
pub(crate) mod runs;
pub(crate) mod service;
pub mod setup;
pub mod simulate;
pub mod stores;
pub mod sys;
pub(crate) mod terminal;
pub mod text;
pub mod tickets;
pub mod uses;
