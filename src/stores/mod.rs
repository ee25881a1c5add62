//! Stores: what engines and build tools keep for all jobs of a host, collected by their own tools while nobody builds.
//!
//! Pruning an engine's store during a build breaks that build. So a store is collected only while every runner of the host is provably
//! idle, and its tool is ended with all its processes as soon as a job begins. The job does not wait for that: its hook does not know of
//! it.
//!
//! ```text
//! kinds.look -> host -> policy::stores (pure) -> for each: look again, decide again, collect, measure -> report, record
//! ```
//!
//! 1. Nothing is collected without a `[[store]]`.
//! 2. Every runner is idle, guarded (unless `allow_unguarded`), and no Worker is on the host; checked again right before each call of a
//!    tool. From the look on each new lease, and each new Worker, ends the call ([`host`]). Only if the tool itself separates builds and
//!    its collection (ccache, Nix) may `beside_jobs` allow otherwise.
//! 3. A tool is asked for the missing bytes and no more, and never for what `keep` names. Its own account is not trusted: the freed space
//!    is measured.
//! 4. A tool runs as the store's owner; root runs only programs that only root can write. It is bounded in time; it is killed with its
//!    process group and all processes that it has moved to other groups.
//! 5. A tool that frees next to nothing, or fails, is left alone for an hour.
//!
//! | | |
//! |---|---|
//! | [`kinds`] | observes and acts: the calls of each tool |
//! | [`place`] | where a store is, and its owner |
//! | [`tool`] | the only way in which a tool is run here |
//! | [`host`] | whether any job may be building, now and while a tool runs |
//! | [`engine`] | the order of the steps |
//! | [`record`] | the result of the last run, for `status` and metrics |

pub mod engine;
pub mod host;
pub mod kinds;
pub mod place;
pub mod record;
pub mod tool;
