//! Black-box tests of one host at a time: the guard's program with runners, jobs and disks of the kit. One binary, so that a change
//! is linked once; `cargo test --test blackbox doctor::` runs one file.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

#[path = "../kit/mod.rs"]
mod kit;

mod capacity;
mod checkout;
mod completions;
mod discovery;
mod doctor;
mod drain;
mod evidence;
mod full_disk;
mod hygiene;
mod metrics;
mod output;
mod real_hosts;
mod reap;
mod recipes;
mod retention;
mod subvolumes;
mod tickets;
mod visibility;
