//! The hygiene of work directories: leftovers that make a checkout fail before the repository's own code runs.
//!
//! Container jobs run as root and leave root's files anywhere below `_work`; tests leave directories that nobody can write; a job that is
//! killed leaves git's lock files and half a clone. The next job of that runner fails because of them, whatever it builds.
//!
//! ```text
//! observe  one bounded walk per repository, by handle; git's own judgement, by its runner's user; what else lies about
//! policy   findings -> verdict: clean, repairable, replace; of the host: a wider incident
//! act      owner and mode put right in place; lock files and whole repositories claimed into trash
//! ```
//! Observation needs no host lock. Repairs need the proof of idleness that a claim needs, and hold the lock exclusively, in slices: a hook
//! waits for a fraction of a second at most, and each slice begins with a new proof.
//!
//! # What is never done
//! A link is not followed, a mount not entered. The owner is never changed of an entry that has another name or that is not plain data: a
//! hard link planted by a job is somebody else's file, a device is a disk. See [`crate::reclaim::quarantine`].

pub mod act;
pub mod observe;
pub mod policy;
