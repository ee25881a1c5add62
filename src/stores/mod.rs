//! Stores: what engines and build tools keep for all jobs of a host, collected by their own tools while nobody builds.
//!
//! Whoever prunes an engine's store while somebody builds breaks that build. So a store is collected only while every runner of
//! the host is provably idle, and its tool is ended with all that it has started as soon as a job comes. The job does not wait
//! for that: its hook knows nothing of it.
//!
//! ```text
//! kinds.look -> host -> policy::stores (pure) -> for each: look again, decide again, collect, measure -> report, record
//! ```
//!
//! 1. Nothing is collected without a `[[store]]`.
//! 2. Every runner is idle, guarded (unless `allow_unguarded`), and no Worker is on the host; seen again right before each call
//!    of a tool. From the look on each lease that comes, and each Worker, ends the call ([`host`]). Only where the tool itself
//!    keeps builds and its collection apart (ccache, Nix) may `beside_jobs` say otherwise.
//! 3. A tool is asked for the bytes that are lacking and no more, and never for what `keep` names. What it says of itself is not
//!    believed: what came free is measured.
//! 4. A tool runs as whoever owns the store; root runs only what root alone can write. It is bounded in time; it ends with its
//!    process group and whatever it has put into others.
//! 5. A tool that gives next to nothing, or fails, is left alone for an hour.
//!
//! | | |
//! |---|---|
//! | [`kinds`] | observes and acts: what each tool is asked |
//! | [`place`] | where a store lies, and whose it is |
//! | [`tool`] | the only way in which a tool is run here |
//! | [`host`] | whether anybody may build, now and while a tool runs |
//! | [`engine`] | the order of things |
//! | [`record`] | what the last run found, for `status` and metrics |

pub mod engine;
pub mod host;
pub mod kinds;
pub mod place;
pub mod record;
pub mod tool;
