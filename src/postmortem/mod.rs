//! Why did that runner or job die?
//!
//! A process that is killed writes no last line. What ended it is known elsewhere: to the Listener, which notes an exit code; to
//! the kernel, which says whom it killed for want of memory and who crashed; to systemd, to the boot's id, to the clocks, and
//! to disk-guard's own ledger. This module reads all of them for one death, and gives one verdict.
//!
//! ```text
//! observe (read only, bounded) -> Facts -> verdict (pure) -> Verdict -> report, keep
//! ```
//!
//! | module | what happens there |
//! |---|---|
//! | [`crate::model::postmortem`] | a death, what was observed of it, and the verdict |
//! | [`observe`] | one reader for each source; [`observe::Observer`] puts their answers together |
//! | [`exit_code`] | what a code can mean, and what it cannot |
//! | [`verdict`] | one examination a cause; pure |
//! | `deaths` | what a sweep looks into by itself |
//! | `inquiry` | what a person asks about |
//! | [`keep`] | what is kept of a death, bounded |
//!
//! # What a verdict says
//!
//! The cause, with how far it goes; the lines that it rests on, each with its source; what it was not, and by which datum; and
//! what could not be seen, with how to have it the next time. What was not seen rules nothing out.
//!
//! # When it runs
//!
//! By `postmortem`, and by itself from a sweep that finds a lease whose Worker has died without `Job completed.`: once a death,
//! as an event in the journal, with the evidence that vanishes kept in the state directory. After a reboot, when the leases are
//! gone with `/run`, Workers' logs that end before this boot tell.
//!
//! # Whom it believes
//!
//! The logs in `_diag` belong to the runner's user, who can write anything there and make the death of that runner look like
//! another one. They are read beneath a handle of the root, from their end, for a bounded length, and no path that they
//! name is opened. A lease counts for a death only when root or the runner's own user wrote it. When this module fails, a sweep
//! goes on.

pub(crate) mod deaths;
pub mod exit_code;
pub(crate) mod inquiry;
pub mod keep;
pub mod observe;
pub mod verdict;

use crate::model::Lease;
use crate::model::postmortem::Case;
use keep::Key;
use observe::{Observer, Subject};

/// Looks into one death.
pub fn examine(observer: &Observer<'_>, subject: &Subject) -> (Case, keep::Raw) {
    let (facts, raw) = observer.look(subject);
    let verdict = verdict::judge(&facts);
    (Case { death: facts.death, verdict, examined: facts.now, kept: false }, raw)
}

/// The name under which a death is remembered.
pub fn key(observer: &Observer<'_>, subject: &Subject) -> Key {
    use std::os::unix::ffi::OsStrExt as _;
    let of_lease = |lease: &Lease| {
        format!("{} {} {}", lease.boot_id, lease.worker.pid, lease.worker.start.0).into_bytes()
    };
    let worker = match (&subject.log, &subject.lease, &subject.job) {
        (Some(log), ..) => log.0.first().map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
        (None, Some(lease), _) => of_lease(lease),
        (None, None, job) => job.clone().unwrap_or_default().into_bytes(),
    };
    Key::new(&observer.runner(subject).root, &worker)
}
