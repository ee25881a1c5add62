//! btrfs subvolumes in a work directory: a checkout, a cache, and what lies in caches. They are found, go whole, and what they
//! took is free when the run ends.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{self, Canary, Fs, Host, MIB, Report};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn btrfs(arguments: &[&str]) {
    let output = Command::new("btrfs").args(arguments).output().expect("btrfs-progs is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn subvolume(at: &Path) {
    std::fs::create_dir_all(at.parent().expect("it has one")).expect("a directory");
    btrfs(&["subvolume", "create", at.to_str().expect("UTF-8")]);
}

fn ready() -> bool {
    kit::needs_root("btrfs") && kit::sees_everything()
}

fn host() -> Host {
    let mut host = Host::on(Fs::Btrfs { mib: 512 });
    host.configure(|settings| settings.want_everything());
    host
}

/// A sweep with the capabilities that its unit leaves it: none by which subvolumes are destroyed.
fn sweep_as_a_unit(host: &Host) -> Report {
    let mut call = host.call(&["sweep", "--json"]);
    let program = std::mem::replace(&mut call.program, "/usr/bin/setpriv".into());
    let mut words = vec!["--bounding-set=-all,+sys_ptrace,+dac_override,+fowner,+chown".into()];
    words.push(program.into_os_string());
    words.append(&mut call.arguments);
    call.arguments = words;
    call.run().expect_code(&[0, 20]).report()
}

#[test]
fn caches_in_subvolumes_and_caches_that_are_subvolumes_are_deleted_whole() {
    if ready() {
        subvolumes_go_by(Host::sweep);
    }
}

#[test]
fn subvolumes_are_deleted_even_where_destroying_them_is_not_permitted() {
    if ready() {
        subvolumes_go_by(sweep_as_a_unit);
    }
}

fn subvolumes_go_by(sweep: fn(&Host) -> Report) {
    let host = host();
    let runner = host.runner("actions-runner-1").build();
    // A checkout that is a subvolume, with an ordinary cache; a cache that is one; a cache with one in it, and a snapshot of it
    // that is read-only, deeper still; and a cache on a filesystem like any other.
    subvolume(&runner.work.join("acme/acme"));
    let in_checkout = runner.cache("acme/acme", "target", 8 * MIB, 2 * DAY);
    subvolume(&runner.work.join("itself/itself/target"));
    let itself = runner.cache("itself/itself", "target", 8 * MIB, 2 * DAY);
    let around = runner.cache("around/around", "target", 8 * MIB, 2 * DAY);
    let inner = around.join("debug/inner");
    subvolume(&inner);
    std::fs::write(inner.join("file"), vec![1; MIB as usize]).expect("a file");
    std::fs::create_dir_all(around.join("a/b")).expect("a directory");
    kit::grow_old(&around, 2 * DAY);
    btrfs(&[
        "subvolume",
        "snapshot",
        "-r",
        inner.to_str().expect("UTF-8"),
        around.join("a/b/snapshot").to_str().expect("UTF-8"),
    ]);
    for above in ["a/b", "a", ""] {
        let then = nix::sys::time::TimeSpec::from_duration(
            std::time::UNIX_EPOCH.elapsed().expect("after 1970") - 2 * DAY,
        );
        nix::sys::stat::utimensat(
            nix::fcntl::AT_FDCWD,
            &around.join(above),
            &then,
            &then,
            nix::sys::stat::UtimensatFlags::NoFollowSymlink,
        )
        .expect("our own");
    }
    let plain = runner.cache("plain/plain", "target", 8 * MIB, 2 * DAY);
    let canary = Canary::of(&runner.checkout("plain/plain").join("src"));
    // What is not written yet takes no space yet.
    Command::new("sync").status().expect("sync runs");
    let sweep = sweep(&host);
    for cache in [&in_checkout, &itself, &around, &plain] {
        assert_eq!(sweep.outcome(cache), "removed", "{:#}", sweep.0);
        assert!(!cache.exists());
    }
    canary.assert_intact();
    let trash = runner.work.join(".disk-guard/trash");
    let left: Vec<_> =
        std::fs::read_dir(&trash).expect("it is there").flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| name == "spare"), "{left:?}");
}

#[test]
fn the_space_of_a_subvolume_is_free_when_the_sweep_ends() {
    if !ready() {
        return;
    }
    let host = host();
    let runner = host.runner("actions-runner-1").build();
    subvolume(&runner.work.join("acme/acme/target"));
    let cache = runner.cache("acme/acme", "target", 64 * MIB, 2 * DAY);
    let available = || {
        let status = nix::sys::statvfs::statvfs(&runner.work).expect("it is mounted");
        status.blocks_available() as u64 * status.fragment_size() as u64
    };
    Command::new("sync").status().expect("sync runs");
    let before = available();
    let sweep = host.sweep();
    assert_eq!(sweep.outcome(&cache), "removed", "{:#}", sweep.0);
    let freed = available().saturating_sub(before);
    assert!(freed > 50 * MIB, "{freed} bytes are free at once");
}
