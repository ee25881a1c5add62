//! Tests beside real programs of others: journald, Prometheus, container engines, libvirt, build caches, disk quotas. Where one is missing
//! its tests say that they are skipped.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

#[path = "../kit/mod.rs"]
mod kit;

mod journal;
mod monitoring;
mod quotas;
mod reap;
mod stores;
