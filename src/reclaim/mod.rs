//! The only code that renames or deletes what runners own.
//!
//! [`claim`] takes a cache away from its place in one rename, under the host lock. [`trash`] is where claimed trees lie
//! until they are gone. [`remove_tree`] deletes them, by handle, outside the lock, on a thread that [`confinement`] keeps
//! inside the work directories.

pub mod claim;
pub mod confinement;
pub mod remove_tree;
pub mod trash;
