//! The only code that renames or deletes what runners own.
//!
//! [`claim`] moves a cache out of its place by one rename, under the host lock. [`trash`] holds claimed trees until they are deleted,
//! [`trash_claim`] decides which guard reports them, and [`in_place_claim`] is for the case without room for a slot. [`remove_tree`]
//! deletes them, by handle, outside the lock, on a thread that [`confinement`] keeps inside the work directories. [`execute`] is the order
//! of all these steps. [`quarantine`] moves a file away for an instant, to examine it where nobody else reaches it.

pub mod claim;
pub mod confinement;
pub mod execute;
pub mod in_place_claim;
pub mod quarantine;
pub mod remove_tree;
pub mod trash;
pub mod trash_claim;
