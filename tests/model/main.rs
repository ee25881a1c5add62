//! The cross-runner protocol as a model: hooks, Workers, siblings, sweeps, deaths and suspensions, in every order in which they
//! can take their steps.
//!
//! * [`step`] names the transitions, each with the code that it stands for; [`protocol`] says when each is possible and what it
//!   changes; [`promises`] are the invariants of `src/lib.rs` that are about it.
//! * [`exhaustive`] visits every state. [`mutation`] leaves out one part of the protocol at a time and sees it break in the way
//!   expected: a model that cannot fail would prove nothing.
//! * [`replay`] takes the model's traces to real runners, hooks and sweeps, held at system calls, and compares after every step.
//!
//! Not in the model: clocks. A lock's time-out may come at any moment of the wait, and a process may stand still for any time
//! between two steps, so whatever holds here does not hang on the staleness limit. A look at one runner's evidence is one step:
//! what that look may miss by being none is what hosts with hidden Workers and unwritten leases are for.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

#[path = "../kit/mod.rs"]
mod kit;

mod exhaustive;
mod mutation;
mod promises;
mod protocol;
mod replay;
mod state;
mod step;
