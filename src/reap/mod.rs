//! The reaper: ephemeral job environments that outlived their jobs.
//!
//! Virtual machines, containers and runner pods are made for one job and should go with it. When whoever made them is
//! killed, they stay, each with a disk of its own. A reaper that guesses which of them are idle kills live jobs; this one
//! knows, or keeps.
//!
//! ```text
//! source.list -> first_seen -> decision (pure) -> plan -> for each: list, decide again, delete, list -> report, record
//! ```
//!
//! # What is reaped
//!
//! An environment goes only when all of this holds:
//!
//! 1. A pattern of `match` names it, and none of `keep` does. Without `match` there is no entry: nothing is ever everything.
//! 2. It is *stopped*, or *never started* and older than `never_started_grace`. What has a started or a terminated state is
//!    never taken by the second rule. A shape that is not recognised is *unknown*: kept, counted, looked at again next time.
//! 3. It has been so for `max_age`: since the time that the source itself tells, else since we first saw it so
//!    ([`first_seen`]). A change of state, or a sign that it was used in between, starts the clock anew.
//! 4. No job, no claim of the source's own (libvirt's autostart, Lima's protection), and no runner of this host that is
//!    at work or cannot be examined.
//! 5. A fresh listing immediately before its own delete shows all of this again. The delete itself is the one that refuses
//!    what runs, wherever the tool has such a one: `docker rm` without force, `limactl delete` without force, a deletion with
//!    preconditions in Kubernetes.
//!
//! A dry run goes the same way up to the plan.
//!
//! # When things fail
//!
//! A listing that fails, is cut off, tells that it is not complete, or names one thing twice reaps nothing. A delete's exit
//! status is checked and the environment listed again: one that is still there makes the run fail, whatever the delete said.
//! Every call of a program is bounded in time and output, and its whole process group is ended with it ([`program`]).
//! Deletes are limited: `batch`, `pause`, `max_per_run`, and the time limit of the run as a whole. What is left is for the
//! next run.
//!
//! # Where what is
//!
//! | | |
//! |---|---|
//! | [`sources`] | observes and acts: one file a tool, behind [`sources::Source`] |
//! | [`first_seen`] | remembers since when |
//! | [`decision`] | decides; pure |
//! | [`engine`] | the order of things |
//! | [`program`] | the only way in which a program is run here |
//! | [`record`] | what the last run found, for `status` and metrics |

mod bounds;
pub mod decision;
pub mod engine;
pub mod first_seen;
pub mod program;
pub mod record;
pub mod sources;
