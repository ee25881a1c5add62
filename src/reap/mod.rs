//! The reaper: ephemeral job environments that outlived their jobs.
//!
//! Virtual machines, containers and runner pods are made for one job and should be deleted with it. When their maker is killed, they
//! remain, each with a disk of its own. A reaper that guesses which of them are idle kills live jobs; this one proves it, or keeps them.
//!
//! ```text
//! source.list -> first_seen -> decision (pure) -> plan -> for each: list, decide again, delete, list -> report, record
//! ```
//!
//! # What is reaped
//!
//! An environment is deleted only when all of this holds:
//!
//! 1. A pattern of `match` matches its name, and none of `keep` does. Without `match` there is no entry: there is no default of
//!    everything.
//! 2. It is *stopped*, or *never started* and older than `never_started_grace`. An environment with a started or a terminated state is
//!    never deleted by the second rule. An unrecognised form is *unknown*: kept, counted, looked at again next time.
//! 3. It has been so for `max_age`: since the time that the source itself reports, otherwise since it was first seen so ([`first_seen`]).
//!    A change of state, or a sign that it was used in between, starts the time anew.
//! 4. There is no job, no claim of the source's own (libvirt's autostart, Lima's protection), and no runner of this host that is at work
//!    or cannot be examined.
//! 5. A fresh listing immediately before its own delete confirms all of this. If the tool has such a form, the delete itself refuses a
//!    running environment: `docker rm` without force, `limactl delete` without force, a deletion with preconditions in Kubernetes.
//!
//! A dry run takes the same steps up to the plan.
//!
//! # When things fail
//!
//! A listing that fails, is cut off, reports that it is not complete, or has one id twice reaps nothing. A delete's exit status is checked
//! and the environment listed again: one that still exists makes the run fail, whatever the delete reported. Every call of a program is
//! bounded in time and output, and its whole process group is killed with it ([`program`]). Deletes are limited: `batch`, `pause`,
//! `max_per_run`, and the time limit of the run as a whole. The rest is left to the next run.
//!
//! # Modules
//!
//! | | |
//! |---|---|
//! | [`sources`] | observes and acts: one file for each tool, behind [`sources::EnvironmentSource`] |
//! | [`first_seen`] | remembers since when |
//! | [`decision`] | decides; pure |
//! | [`engine`] | the order of the steps |
//! | [`program`] | the only way in which a program is run here |
//! | [`record`] | what the last run found, for `status` and metrics |

mod bounds;
pub mod decision;
pub mod engine;
pub mod first_seen;
pub mod program;
pub mod record;
pub mod sources;
