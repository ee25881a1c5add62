//! Why a runner or a job died.
//!
//! A killed process writes no last line. Its end is recorded elsewhere: by the Listener, which logs an exit code; by the kernel, which
//! logs processes that it killed for lack of memory and crashes; by systemd, the boot id, the clocks, and disk-guard's own ledger. This
//! module reads all of them for one death, and returns one verdict.
//!
//! ```text
//! observe (read only, bounded) -> Facts -> verdict (pure) -> Verdict -> report, keep
//! ```
//!
//! | module | what happens there |
//! |---|---|
//! | [`crate::model::postmortem`] | a death, the observed facts, and the verdict |
//! | [`observe`] | one reader for each source; [`observe::Observer`] puts their answers together |
//! | [`exit_code`] | the meaning of a code, and what it cannot mean |
//! | [`verdict`] | one examination for each cause; pure |
//! | `deaths` | the deaths that a sweep examines by itself |
//! | `inquiry` | the deaths that a person asks about |
//! | [`keep`] | records of deaths, bounded |
//!
//! # The verdict
//!
//! The cause, with its confidence; the lines that it rests on, each with its source; the causes that are ruled out, and by which fact; and
//! the sources that could not be read, with how to have them the next time. A source that could not be read rules nothing out.
//!
//! # When it runs
//!
//! By `postmortem`, and by a sweep that finds a lease whose Worker has died without `Job completed.`: once for each death, as an event in
//! the journal, with the evidence that vanishes recorded in the state directory. After a reboot, when the leases are gone with `/run`, it
//! uses Workers' logs that end before this boot.
//!
//! # Trust
//!
//! The logs in `_diag` belong to the runner's user, who can write anything there and make the death of that runner look like another one.
//! They are read beneath a handle of the root, from their end, for a bounded length, and no path that they name is opened. A lease counts
//! for a death only when root or the runner's own user wrote it. When this module fails, a sweep continues.

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

/// Examines one death.
pub fn examine(observer: &Observer<'_>, subject: &Subject) -> (Case, keep::Raw) {
    let (facts, raw) = observer.look(subject);
    let verdict = verdict::judge(&facts);
    (Case { death: facts.death, verdict, examined: facts.now, kept: false }, raw)
}

/// The key under which a death is recorded.
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
