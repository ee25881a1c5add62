//! Attacks on the guard as it is installed: root sweeps and hooks run the real binary while a hostile, unprivileged process does
//! its worst in its own runner, on real filesystems.
//!
//! Every test asserts the same things beside its own: what is precious is untouched to the last timestamp, the run stays within
//! bounds of time, memory, descriptors and output ([`scene::bounded`]), and in the very same run the cache of an innocent
//! runner is reclaimed ([`scene::Scene::sweep`]), so that nothing here holds because nothing was done.
//!
//! | file | attacks by |
//! |---|---|
//! | `swaps` | exchanging directories for links and for each other while they are looked at, claimed and deleted |
//! | `mounts` | mounting inside, under and over |
//! | `dead_mounts` | mounts that never answer |
//! | `dying_mounts` | mounts that answer no longer in the middle of a walk |
//! | `frozen` | disks that can be read and not changed |
//! | `shapes` | trees that are too deep, wide, large, strange or stubborn |
//! | `hook_ends` | ending a started-hook before it has done what it had to: by its settings, its program, signals, mounts |
//! | `claim_ends` | ending a claim in the middle, when a job has begun meanwhile |
//! | `floods` | more and more of something, also while it is being deleted |
//! | `strangers` | processes, scripts and directories that are not what they look like |
//! | `choices` | leading root to what is another's, and filling what all guards share |
//! | `words` | what is forged and what is said: leases, tickets, locks, environment, names |
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

#[path = "../kit/mod.rs"]
mod kit;

mod attacker;
mod choices;
mod claim_ends;
mod dead_mounts;
mod dying_mounts;
mod floods;
mod frozen;
mod hook_ends;
mod mounts;
mod scene;
mod shapes;
mod strangers;
mod swaps;
mod words;
