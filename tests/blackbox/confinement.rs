//! Whatever deletes is confined by the kernel, and what happens where the kernel does not help.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Host, MIB, Run, SHARED_GID, calls_of, can_refuse};
use nix::errno::Errno;
use nix::libc;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const ALICE: u32 = 12_001;
const TOLD: &str = "deletion was confined by handles alone";

fn pressed() -> Host {
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    host
}

/// Runs a sweep in which the call `number` fails.
fn sweep_without(host: &Host, number: libc::c_long, errno: Errno) -> Run {
    let call = host.call(&["sweep", "--json"]);
    let (run, _) = calls_of(&call, &host.program(), move |entry| {
        if entry.number == number {
            entry.fail(errno);
        }
    });
    run.expect_code(&[0, 20])
}

fn has_landlock(host: &Host) -> bool {
    let doctor = host.guard(&["doctor", "--json"]).report();
    let checks = doctor.0["checks"].as_array().expect("a list of checks").clone();
    let check = checks.iter().find(|check| check["id"] == "landlock").expect("doctor looks at Landlock");
    check["state"] == "ok" || kit::skip("this kernel has no Landlock that deletion could be confined by")
}

/// Events go to standard error where there is no journal.
fn expect_told(run: &Run, times: usize) {
    if !Path::new("/run/systemd/journal/socket").exists() {
        assert_eq!(run.stderr().matches(TOLD).count(), times, "{}", run.stderr());
    }
}

/// Confinement takes a flag that every thread has of its own and passes on: a thread without it is not confined.
#[test]
fn everything_is_removed_by_confined_threads_and_the_one_that_looks_is_free() {
    if !kit::sees_everything() {
        return;
    }
    for (command, user) in [("sweep", None), ("hook", None), ("hook", Some((ALICE, SHARED_GID)))] {
        let mut host = pressed();
        if !has_landlock(&host) {
            return;
        }
        host.runner_user = user;
        let runner = host.runner("actions-runner-1").build();
        let caches =
            ["acme/one", "acme/two"].map(|repository| runner.cache(repository, "target", MIB, 2 * DAY));
        let root = runner.root.to_str().expect("UTF-8");
        let mut call = match command {
            "sweep" => host.call(&["sweep", "--json"]),
            _ => host.call(&["hook", "started", "--runner-root", root]),
        };
        call.user = user;
        let (run, calls) = calls_of(&call, &host.program(), |entry| {
            let below = (entry.number == libc::SYS_unlinkat).then(|| entry.file(0))?;
            Some((below, entry.arguments[2], entry.status("NoNewPrivs"), entry.status("Tgid")))
        });
        let run = run.expect_code(&[0, 20]);
        assert!(caches.iter().all(|cache| !cache.exists()), "{command}, {user:?}: {}", run.stderr());
        let removals: Vec<_> = calls.into_iter().flatten().collect();
        let of_trees: Vec<_> = removals
            .iter()
            .filter(|(below, ..)| below.starts_with(&runner.work) && has_slot(below))
            .collect();
        assert!(of_trees.len() > 40, "{command}, {user:?}: the trees' entries are seen: {removals:?}");
        assert!(of_trees.iter().all(|(.., confined, _)| confined.as_deref() == Some("1")), "{of_trees:#?}");
        expect_told(&run, 0);
    }
}

/// Below a slot, not the slot itself.
fn has_slot(below: &Path) -> bool {
    below.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"slot-"))
}

#[test]
fn a_kernel_without_landlock_is_reported_once_and_deletion_still_works() {
    if !kit::sees_everything() || !can_refuse() {
        return;
    }
    for errno in [Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::EPERM] {
        let host = pressed();
        let runner = host.runner("actions-runner-1").build();
        let caches: Vec<PathBuf> =
            ["a/a", "b/b", "c/c"].iter().map(|name| runner.cache(name, "target", MIB, 2 * DAY)).collect();
        let run = sweep_without(&host, libc::SYS_landlock_create_ruleset, errno);
        for cache in &caches {
            assert_eq!(run.report().outcome(cache), "removed", "{errno}: {}", run.stderr());
            assert!(!cache.exists(), "{errno}");
        }
        expect_told(&run, 1);
    }
}

#[test]
fn where_the_kernel_should_confine_and_does_not_nothing_is_deleted_until_it_does() {
    if !kit::sees_everything() || !can_refuse() {
        return;
    }
    let host = pressed();
    if !has_landlock(&host) {
        return;
    }
    let runner = host.runner("actions-runner-1").build();
    let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    let run = sweep_without(&host, libc::SYS_landlock_restrict_self, Errno::E2BIG);
    assert_eq!(run.report().outcome(&cache), "failed", "{:#}", run.report().0);
    let reason = run.report().action(&cache)["detail"].to_string();
    assert!(reason.contains("could not be confined to the work directories"), "{reason}");
    let trash = runner.work.join(".disk-guard/trash");
    let kept =
        walk(&trash).into_iter().filter(|path| path.ends_with("debug/deps/libwidget-0000.rlib")).count();
    assert_eq!(kept, 1, "the whole tree lies in trash");
    host.sweep();
    assert_eq!(walk(&trash).into_iter().filter(|path| path.ends_with("CACHEDIR.TAG")).count(), 0);
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.flat_map(|entry| [vec![entry.path()], walk(&entry.path())].concat()).collect()
}
