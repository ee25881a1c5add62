//! What a runner's disk refuses, call by call.

use super::scene::{Scene, is_the_victims};
use crate::kit::{Entry, Fs, can_refuse, sees_everything};
use nix::errno::Errno;
use nix::libc;

/// What is refused, with what, and what becomes of the victim.
struct Fault {
    what: &'static str,
    since: Since,
    number: libc::c_long,
    errno: Errno,
    /// Only calls about something whose name contains this.
    name: &'static str,
    victim: Victim,
    /// Files of the victim's that stay.
    stays: Stays,
}

/// From when on a call is refused.
#[derive(PartialEq)]
enum Since {
    /// From the first look on.
    Start,
    /// From the claim on: what cannot be looked at is no candidate to begin with.
    Claim,
}

/// What is told of the victim.
enum Victim {
    /// This outcome, and the disk's own words where that is `failed` or `changed`.
    Outcome(&'static str),
    /// Nothing by its own name: it cannot be told whether it is a cache. The report's notes say so.
    Noted,
}

#[derive(PartialEq)]
enum Stays {
    Nothing,
    Something,
    Everything,
}

/// The name of what a call is about.
fn name_of(entry: &Entry) -> String {
    let name = if entry.number == libc::SYS_getdents64 { String::new() } else { entry.text(1) };
    if name.is_empty() {
        entry.file(0).file_name().unwrap_or_default().to_string_lossy().into_owned()
    } else {
        name
    }
}

/// Injects each fault into a sweep, which also has to take the control's cache and to be made good by the next one.
fn each_failure_is_reported_and_repaired(faults: impl IntoIterator<Item = Fault>) {
    for fault in faults {
        let case = format!("{} ({}): {}", fault.what, fault.name, fault.errno);
        let scene = Scene::on(Fs::Directory);
        let (work, files) = (scene.runner.work.clone(), scene.left());
        let mut begun = fault.since == Since::Start;
        let (run, refused) = scene.refused(&["sweep", "--json"], fault.errno, move |entry| {
            begun |= entry.number == libc::SYS_mkdirat && is_the_victims(entry, &work);
            let first =
                (fault.number != libc::SYS_renameat2) || !entry.text(3).starts_with(".disk-guard-trash");
            begun
                && first
                && entry.number == fault.number
                && is_the_victims(entry, &work)
                && name_of(entry).contains(fault.name)
        });
        let report = run.expect_code(&[0, 20]).report();
        assert!(refused > 0, "{case}: it has happened: {:#}", report.0);
        assert_eq!(report.outcome(&scene.control), "removed", "{case}: {:#}", report.0);
        let said = std::io::Error::from(fault.errno).to_string();
        let told = match fault.victim {
            Victim::Outcome(outcome) => {
                assert_eq!(report.outcome(&scene.victim), outcome, "{case}: {:#}", report.0);
                matches!(outcome, "failed" | "changed")
                    .then(|| report.action(&scene.victim)["detail"].to_string())
            }
            Victim::Noted => {
                assert!(!report.lists(&scene.victim), "{case}: {:#}", report.0);
                let notes = report.0["notes"].to_string();
                assert!(notes.contains(scene.runner.work.to_str().expect("UTF-8")), "{case}: {notes}");
                Some(notes)
            }
        };
        assert!(
            told.as_ref().is_none_or(|told| told.contains(&said)),
            "{case}: {told:?} does not say {said}"
        );
        let left = scene.left();
        let stays = match left {
            0 => Stays::Nothing,
            left if left == files => Stays::Everything,
            _ => Stays::Something,
        };
        assert!(stays == fault.stays, "{case}: {left} of {files} files are left");
        scene.recovers(&case);
    }
}

#[test]
fn each_refused_change_is_reported_costs_at_most_one_cache_and_is_repaired_by_the_next_run() {
    if !sees_everything() || !can_refuse() {
        return;
    }
    use Stays::{Everything, Nothing, Something};
    let fault = |what, number, errno, name, outcome, stays| Fault {
        what,
        since: Since::Claim,
        number,
        errno,
        name,
        victim: Victim::Outcome(outcome),
        stays,
    };
    each_failure_is_reported_and_repaired([
        // Without a slot the cache is claimed beside its place.
        fault("no directory can be made", libc::SYS_mkdirat, Errno::EDQUOT, "", "removed", Nothing),
        fault("no directory can be made", libc::SYS_mkdirat, Errno::ENOSPC, "", "removed", Nothing),
        fault("no directory can be made", libc::SYS_mkdirat, Errno::EROFS, "", "failed", Everything),
        fault("no directory can be made", libc::SYS_mkdirat, Errno::EIO, "", "failed", Everything),
        fault("nothing can be renamed", libc::SYS_renameat2, Errno::EIO, "target", "failed", Everything),
        fault("nothing can be renamed", libc::SYS_renameat2, Errno::EROFS, "target", "failed", Everything),
        fault("nothing can be renamed", libc::SYS_renameat2, Errno::EDQUOT, "target", "removed", Nothing),
        fault("nothing can be renamed", libc::SYS_renameat2, Errno::ENOSPC, "target", "removed", Nothing),
        fault("one file stays", libc::SYS_unlinkat, Errno::EIO, "libwidget-0000", "failed", Something),
        fault("nothing can be removed", libc::SYS_unlinkat, Errno::EIO, "", "failed", Everything),
        fault("nothing can be removed", libc::SYS_unlinkat, Errno::EROFS, "", "failed", Everything),
    ]);
}

#[test]
fn a_tree_unreadable_after_the_claim_is_returned_or_kept_in_trash_until_readable() {
    if !sees_everything() || !can_refuse() {
        return;
    }
    use Stays::{Everything, Nothing, Something};
    let fault = |what, number, name, outcome, stays| Fault {
        what,
        since: Since::Claim,
        number,
        errno: Errno::EIO,
        name,
        victim: Victim::Outcome(outcome),
        stays,
    };
    each_failure_is_reported_and_repaired([
        // Whether a build holds it cannot be told: that protects.
        fault("a directory cannot be opened", libc::SYS_openat2, "incremental", "kept", Everything),
        fault("the claimed tree cannot be listed", libc::SYS_getdents64, "tree", "restored", Everything),
        // Whether it is what was planned cannot be told.
        fault("the claimed tree cannot be opened", libc::SYS_openat2, "tree", "changed", Everything),
        fault("the claimed tree cannot be looked at", libc::SYS_statx, "tree", "changed", Everything),
        fault("a directory cannot be listed", libc::SYS_getdents64, "deps", "failed", Something),
        // Only who comes after it is told by these.
        fault("trash cannot be listed", libc::SYS_getdents64, "trash", "removed", Nothing),
        fault("nothing new can be looked at", libc::SYS_statx, "", "failed", Everything),
    ]);
}

#[test]
fn a_read_error_while_observing_protects_and_is_reported() {
    if !sees_everything() || !can_refuse() {
        return;
    }
    let fault = |what, number, name, victim| Fault {
        what,
        since: Since::Start,
        number,
        errno: Errno::EIO,
        name,
        victim,
        stays: Stays::Everything,
    };
    let (kept, noted) = (|| Victim::Outcome("kept"), || Victim::Noted);
    each_failure_is_reported_and_repaired([
        // It is not known how old its content is.
        fault("a directory cannot be listed", libc::SYS_getdents64, "deps", kept()),
        fault("the cache cannot be listed", libc::SYS_getdents64, "target", kept()),
        fault("a file cannot be looked at", libc::SYS_statx, "libwidget-0000.rlib", kept()),
        fault("a directory cannot be looked at", libc::SYS_statx, "deps", kept()),
        // Nor whether a build holds it.
        fault("a build's lock cannot be looked at", libc::SYS_statx, ".cargo-lock", kept()),
        fault("a build's lock cannot be opened", libc::SYS_openat2, ".cargo-lock", kept()),
        // Nor whether it is a cache at all.
        fault("the marker cannot be looked at", libc::SYS_statx, "CACHEDIR.TAG", noted()),
        fault("the marker cannot be opened", libc::SYS_openat2, "CACHEDIR.TAG", noted()),
        fault("the cache cannot be looked at", libc::SYS_statx, "target", noted()),
        fault("the cache cannot be opened", libc::SYS_openat2, "target", noted()),
        fault("the checkout cannot be listed", libc::SYS_getdents64, "victim", noted()),
    ]);
}

#[test]
fn a_hook_on_a_disk_that_refuses_everything_lets_its_job_begin() {
    if !can_refuse() {
        return;
    }
    for errno in [Errno::EDQUOT, Errno::ENOSPC, Errno::EIO, Errno::EROFS] {
        let scene = Scene::on(Fs::Directory);
        let (work, files) = (scene.runner.work.clone(), scene.left());
        let root = scene.runner.root.to_str().expect("UTF-8");
        let arguments = ["hook", "started", "--runner-root", root];
        let (run, refused) = scene.refused(&arguments, errno, move |entry| {
            let writes = [libc::SYS_mkdirat, libc::SYS_renameat2, libc::SYS_unlinkat, libc::SYS_fchmod];
            writes.contains(&entry.number) && is_the_victims(entry, &work)
        });
        let run = run.expect_code(&[0]);
        assert!(refused > 0, "{errno}: it has happened");
        assert_eq!(scene.left(), files, "{errno}: nothing is lost");
        let said = std::io::Error::from(errno).to_string();
        let said = said.split(" (").next().expect("some text");
        assert!(run.stdout().contains(said), "{errno}: the log tells why: {}", run.stdout());
        scene.recovers(&errno.to_string());
    }
}
