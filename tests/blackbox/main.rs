//! Black-box tests of one host at a time: the guard's program with runners, jobs and disks of the kit. One binary, so that a change
//! is linked once; `cargo test --test blackbox doctor::` runs one file.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

#[path = "../kit/mod.rs"]
mod kit;

mod capacity;
mod checkout;
mod claim;
mod completions;
mod confinement;
mod declared;
mod dedupe;
mod discovery;
mod doctor;
mod drain;
mod evidence;
mod fast_path;
mod forecast;
mod full_disk;
mod hook;
mod hygiene;
mod install;
mod kit_selftest;
mod ledger;
mod metrics;
mod notify;
mod ordinary_user;
mod output;
mod page;
mod postmortem;
mod pressure;
mod processes;
mod real_hosts;
mod reap;
mod recipes;
mod refusing_disk;
mod retention;
mod rules;
mod schema;
mod stores;
mod subvolumes;
mod tickets;
mod trim;
mod visibility;
mod watch;
