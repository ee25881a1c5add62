//! A disk that refuses: over quota, broken, read-only. What can be freed is freed, what cannot is told and lies whole in its place
//! or in trash, and the next run on a disk that has recovered finishes.
//!
//! Real where a kernel lends itself to it (a read-only remount of every filesystem), injected where it does not (quotas, a
//! broken medium): the call is not made and returns the error.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

mod caches;
mod own_files;
mod read_only;
mod scene;
