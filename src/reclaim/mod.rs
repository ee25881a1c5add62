//! The only code that renames or deletes what runners own.
//!
//! [`claim`] takes a cache away from its place in one rename, under the host lock. [`trash`] is where claimed trees lie
//! until they are gone, [`trash_claim`] who tells of that, and [`in_place_claim`] what happens when no room is left to make one. [`remove_tree`] deletes them, by handle,
//! outside the lock, on a thread that [`confinement`] keeps inside the work directories. [`execute`] is the order of all these steps. [`quarantine`] moves a file away for an
//! instant, so that it can be examined where nobody else reaches it.

pub mod claim;
pub mod confinement;
pub mod execute;
pub mod in_place_claim;
pub mod quarantine;
pub mod remove_tree;
pub mod trash;
pub mod trash_claim;
