//! A sweep's care for the files by which the guards of one host coordinate.

use super::Host;
use crate::clock::now;
use crate::observe::snapshot::Snapshot;
use crate::observe::{caches, processes};
use crate::reclaim::remove_tree::{Progress, RemoveOptions, remove_tree};
use crate::reclaim::trash::Trash;
use crate::run_dir::{Records, RunDir, Tidied, Tidying};
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::{hook_record, lease};
use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

/// The time limit for removing trees from the shared directories.
const TIDYING: Duration = Duration::from_secs(60);

/// Removes all requests of hooks, which this sweep answers. They are removed first, so that a later one asks for the next sweep.
/// The unit that watches them starts sweeps for as long as one is left, so anything else in their place is removed too.
pub(super) fn take_requests(host: &Host<'_>, run: &RunDir) {
    if let Err(error) = run.take_all(Records::Requests) {
        (host.complain)(&error);
    }
}

/// Removes from the shared directories what is no record, and the records that one user has too many of. Returns a note for each
/// directory. This comes before anything is read there: a flood must not delay the sweep.
pub(super) fn tidy_shared(host: &Host<'_>, run: &RunDir) -> Vec<String> {
    let view = view(host.proc);
    let living = RefCell::new(HashSet::new());
    let progress = Progress::default();
    let options = RemoveOptions {
        threads: 1,
        deadline: Some(Instant::now() + TIDYING),
        enough: None,
        progress: &progress,
    };
    let remove_directory = |dir: &Dir, name: &OsStr| drop(remove_tree(dir, name, &[], &options));
    let mut notes = Vec::new();
    for records in [Records::Leases, Records::Requests, Records::Tickets, Records::Counters, Records::Hooks] {
        let is_live_lease = |name: &OsStr| {
            records == Records::Leases && lease::is_live(run, view, name, &mut living.borrow_mut())
        };
        let how = Tidying {
            proc: host.proc,
            now: view.now,
            vouched: &is_live_lease,
            remove_directory: &remove_directory,
        };
        match run.tidy(records, &how) {
            Ok(tidied) if tidied.removed > 0 => notes.push(strewn(run, records, &tidied)),
            Ok(_) => {}
            Err(error) => (host.complain)(&error),
        }
    }
    notes
}

fn strewn(run: &RunDir, records: Records, tidied: &Tidied) -> String {
    let mut owners: Vec<String> = tidied.owners.iter().take(8).map(|owner| format!("uid {owner}")).collect();
    if tidied.owners.len() > owners.len() {
        owners.push("others".into());
    }
    format!(
        "{} of {} in {} were no records of a guard's, or too many of one user: removed",
        tidied.removed,
        owners.join(", "),
        run.path().join(records.directory()).display()
    )
}

fn view(proc: &Proc) -> lease::LeaseView<'_> {
    lease::LeaseView { proc, sees_all: processes::sees_all, now: now() }
}

/// Removes the leases and hook records of processes that have ended, and makes a spare slot in each work directory for the day when
/// no inode is left.
pub(super) fn tidy(host: &Host<'_>, snapshot: &Snapshot<'_>, run: &RunDir) {
    if let Err(error) = lease::remove_dead(run, view(snapshot.proc)) {
        (host.complain)(&error);
    }
    // Hooks of users cannot make the directory themselves.
    if let Err(error) =
        run.prepare(Records::Hooks).and_then(|()| hook_record::remove_dead(run, snapshot.proc))
    {
        (host.complain)(&error);
    }
    for runner in snapshot.runners() {
        let Some(work) = runner.work_dir() else { continue };
        // Where no spare can be made, claims fail, and those are reported.
        let _ = caches::open_work(work).and_then(|dir| Trash::open_or_make(&dir, work.owner)?.keep_spare());
    }
}
