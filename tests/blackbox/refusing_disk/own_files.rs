//! What the disks refuse on which the guard keeps its own files: the shared directory (leases, the lock, tickets, records of
//! counts) and the state directory (the ledger, the totals).
//!
//! A sweep frees all the same, a hook lets its job begin; both say what they could not write. No record is left in halves:
//! whoever reads next reads, and the run after it, on a disk that has recovered, writes and counts as ever.

use super::scene::{DAY, Scene};
use crate::kit::{Entry, Fs, Host, MIB, Run, can_refuse, sees_everything};
use nix::errno::Errno;
use nix::libc;
use std::path::{Path, PathBuf};

/// What a call is about.
fn subject(entry: &Entry) -> PathBuf {
    match entry.number {
        libc::SYS_write | libc::SYS_fsync | libc::SYS_flock | libc::SYS_getdents64 => entry.file(0),
        _ => entry.file(0).join(entry.text(1)),
    }
}

/// Picks the calls of this number about what lies in `place` and has `name` in its path below it. Not about the host lock,
/// unless it is named: without it nobody frees anything.
fn about(place: PathBuf, number: libc::c_long, name: &'static str) -> impl FnMut(&Entry) -> bool + Send {
    move |entry| {
        let subject = if entry.number == number { subject(entry) } else { PathBuf::new() };
        let below = subject.strip_prefix(&place).ok().and_then(Path::to_str);
        below.is_some_and(|below| below.contains(name) && (name == LOCK || below != LOCK))
    }
}

const LOCK: &str = "host.lock";

fn said(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}

/// How many caches have been removed, by what monitoring is told.
fn removed(host: &Host) -> u64 {
    let text = host.guard(&["metrics"]).expect_code(&[0]).stdout();
    let series = "disk_guard_actions_total{outcome=\"removed\"} ";
    let value = text.lines().find_map(|line| line.strip_prefix(series));
    value.unwrap_or_else(|| panic!("{series}is missing in {text}")).parse().expect("a number")
}

/// Every record can be read, and none is left in halves.
#[track_caller]
fn records_are_whole(scene: &Scene, case: &str) {
    for question in
        [&["status", "--json"][..], &["metrics"], &["history"], &["blame", "--at", "now"], &["why", "/tmp/x"]]
    {
        let run = scene.host.guard(question);
        assert_eq!(run.code, Some(0), "{case}: {question:?}: {}{}", run.stdout(), run.stderr());
        assert!(!run.stdout().contains("damaged"), "{case}: {question:?}: {}", run.stdout());
    }
    for place in [scene.host.run_dir(), scene.host.state_dir()] {
        let drafts = hidden(&place);
        assert!(drafts.is_empty(), "{case}: {drafts:?}");
    }
}

/// Everything below `directory` whose name begins with a dot: what is being written.
fn hidden(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| {
        let mut found = if entry.path().is_dir() { hidden(&entry.path()) } else { Vec::new() };
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push(entry.path());
        }
        found
    });
    below.collect()
}

/// On a disk that has recovered a sweep removes another cache, writes that down, and counts it once.
#[track_caller]
fn works_again(scene: &Scene, counted: u64, case: &str) {
    let cache = scene.runner.cache("acme/later", "target", MIB, 2 * DAY);
    let sweep = scene.host.guard(&["sweep", "--json"]).expect_code(&[0, 20]);
    assert_eq!(sweep.report().outcome(&cache), "removed", "{case}: {:#}", sweep.report().0);
    assert!(!sweep.stderr().contains("cannot be"), "{case}: {}", sweep.stderr());
    let why = scene.host.guard(&["why", cache.to_str().expect("UTF-8")]).expect_code(&[0]).stdout();
    assert!(why.starts_with("disk-guard removed"), "{case}: {why}");
    assert_eq!(removed(&scene.host), counted + 1, "{case}");
    records_are_whole(scene, case);
}

/// A sweep that is refused what `picks` picks, and says so.
#[track_caller]
fn sweep(scene: &Scene, errno: Errno, picks: impl FnMut(&Entry) -> bool + Send + 'static, case: &str) -> Run {
    let (run, refused) = scene.refused(&["--log-level", "debug", "sweep", "--json"], errno, picks);
    assert!(refused > 0, "{case}: it has happened");
    assert!(run.stderr().contains(&said(errno)), "{case}: {}", run.stderr());
    run
}

#[test]
fn a_sweep_frees_all_the_same_when_the_state_directory_refuses() {
    if !sees_everything() || !can_refuse() {
        return;
    }
    for (what, number, name, errno) in [
        ("no file can be opened", libc::SYS_openat, "", Errno::ENOSPC),
        ("no directory can be opened", libc::SYS_openat2, "", Errno::EIO),
        ("nothing can be looked at", libc::SYS_statx, "", Errno::EIO),
        ("nothing can be written", libc::SYS_write, "", Errno::ENOSPC),
        ("the ledger cannot be written", libc::SYS_write, "ledger.jsonl", Errno::EIO),
        ("the totals cannot be written", libc::SYS_write, "totals.json", Errno::EIO),
        ("nothing can be synced", libc::SYS_fsync, "", Errno::EIO),
        ("the totals cannot be renamed", libc::SYS_renameat, "totals.json", Errno::ENOSPC),
        ("the totals cannot be locked", libc::SYS_flock, "counters/lock", Errno::EIO),
    ] {
        let case = format!("{what}: {errno}");
        let scene = Scene::on(Fs::Directory);
        let run = sweep(&scene, errno, about(scene.host.state_dir(), number, name), &case);
        let report = run.expect_code(&[0, 20]).report();
        assert_eq!(report.with_outcome("removed").len(), 2, "{case}: {:#}", report.0);
        assert_eq!(removed(&scene.host), 2, "{case}: its own record is told until it is folded in");
        records_are_whole(&scene, &case);
        works_again(&scene, 2, &case);
    }
}

#[test]
fn a_sweep_frees_all_the_same_when_the_shared_directory_refuses() {
    if !sees_everything() || !can_refuse() {
        return;
    }
    for (what, number, name, errno, counted) in [
        ("the record of counts cannot be made", libc::SYS_openat, "counters", Errno::ENOSPC, 0),
        ("the record of counts cannot be written", libc::SYS_write, "counters", Errno::ENOSPC, 0),
        ("the record of counts cannot be written", libc::SYS_write, "counters", Errno::EIO, 0),
        // Counted once all the same.
        ("the record of counts cannot be removed", libc::SYS_unlinkat, "counters", Errno::EIO, 2),
        ("the records of counts cannot be listed", libc::SYS_getdents64, "counters", Errno::EIO, 2),
        ("requests cannot be listed", libc::SYS_getdents64, "requests", Errno::EIO, 2),
        ("tickets cannot be listed", libc::SYS_getdents64, "tickets", Errno::EIO, 2),
    ] {
        let case = format!("{what}: {errno}");
        let scene = Scene::on(Fs::Directory);
        let run = sweep(&scene, errno, about(scene.host.run_dir(), number, name), &case);
        let report = run.expect_code(&[0, 20]).report();
        assert_eq!(report.with_outcome("removed").len(), 2, "{case}: {:#}", report.0);
        assert_eq!(removed(&scene.host), counted, "{case}");
        records_are_whole(&scene, &case);
        works_again(&scene, counted, &case);
    }
}

#[test]
fn without_the_lock_or_the_leases_a_sweep_takes_nothing() {
    if !sees_everything() || !can_refuse() {
        return;
    }
    for (what, number, name, codes) in [
        ("the host lock cannot be opened", libc::SYS_openat, LOCK, [1, 1]),
        ("the host lock cannot be taken", libc::SYS_flock, LOCK, [1, 1]),
        ("leases cannot be opened", libc::SYS_openat, "leases", [0, 20]),
        ("leases cannot be listed", libc::SYS_getdents64, "leases", [0, 20]),
    ] {
        let case = format!("{what}: {}", Errno::EIO);
        let scene = Scene::on(Fs::Directory);
        let files = scene.left();
        let run = sweep(&scene, Errno::EIO, about(scene.host.run_dir(), number, name), &case);
        let report = run.expect_code(&codes).report();
        assert_eq!(report.with_outcome("removed").len(), 0, "{case}: {:#}", report.0);
        assert_eq!(scene.left(), files, "{case}: nothing is lost");
        records_are_whole(&scene, &case);
        scene.recovers(&case);
        works_again(&scene, 2, &case);
    }
}

/// What a hook on a disk that refuses has to say in its job's log.
enum Log {
    Warns,
    /// The run as such goes well; it is told at the debug level.
    IsAsEver,
}

#[test]
fn a_hook_that_cannot_write_its_own_files_warns_and_lets_its_job_start() {
    if !sees_everything() || !can_refuse() {
        return;
    }
    for (what, place, number, name, errno, log, leases) in [
        ("the lock cannot be taken", "run", libc::SYS_flock, LOCK, Errno::EIO, Log::Warns, 1),
        ("the lock cannot be opened", "run", libc::SYS_openat, LOCK, Errno::EIO, Log::Warns, 1),
        ("no lease can be made", "run", libc::SYS_openat, "leases", Errno::ENOSPC, Log::Warns, 0),
        ("no lease can be written", "run", libc::SYS_write, "leases", Errno::ENOSPC, Log::Warns, 0),
        ("no lease can be written", "run", libc::SYS_write, "leases", Errno::EIO, Log::Warns, 0),
        ("no lease can be published", "run", libc::SYS_renameat2, "leases", Errno::EIO, Log::Warns, 0),
        ("nothing can be counted", "run", libc::SYS_write, "counters", Errno::ENOSPC, Log::IsAsEver, 1),
        ("no ledger can be opened", "state", libc::SYS_openat, "ledger", Errno::EIO, Log::IsAsEver, 1),
        ("no ledger can be written", "state", libc::SYS_write, "ledger", Errno::ENOSPC, Log::IsAsEver, 1),
    ] {
        let case = format!("{what}: {errno}");
        let scene = Scene::on(Fs::Directory);
        let picks = about(scene.host.base.join(place), number, name);
        let hook = scene.runner.hook_below_a_worker(&scene.host, "started --log-level debug");
        let (run, refused) = scene.refused_call(&hook, errno, picks);
        let run = run.expect_code(&[0]);
        assert!(refused > 0, "{case}: it has happened");
        // The job's log has it escaped.
        let said = said(errno);
        let words = said.split(" (").next().expect("some text");
        assert!(run.stderr().contains(words) || run.stdout().contains(words), "{case}: {}", run.stderr());
        assert_eq!(run.stdout().contains(words), matches!(log, Log::Warns), "{case}: {}", run.stdout());
        assert_eq!(scene.host.leases().len(), leases, "{case}: {:?}", scene.host.leases());
        records_are_whole(&scene, &case);
        scene.recovers(&case);
        works_again(&scene, removed(&scene.host), &case);
    }
}
