//! Equal files of several runners share their blocks: on real btrfs and xfs, whose, and what counts afterwards.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Canary, Fs, Host, MIB, Runner, needs_root};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Three runners with a cache of one repository each: 16 MiB of which most is equal, and a file that differs at its end.
struct Stage {
    host: Host,
    runners: Vec<Runner>,
    caches: Vec<PathBuf>,
}

fn stage(fs: Fs) -> Stage {
    let mut host = Host::on(fs);
    host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (100, 99, 100);
        settings.extra = "[dedupe]\nenabled = true\n".into();
    });
    let names = ["actions-runner-1", "actions-runner-2", "actions-runner-3"];
    let runners: Vec<Runner> = names.iter().map(|name| host.runner(name).build()).collect();
    let caches: Vec<PathBuf> =
        runners.iter().map(|runner| runner.cache("acme/app", "target", 16 * MIB, 2 * DAY)).collect();
    for (n, cache) in caches.iter().enumerate() {
        let mut content: Vec<u8> = (0..3 * MIB).map(|at| (at * 31 % 251) as u8).collect();
        content.extend([n as u8; 4096]);
        std::fs::write(cache.join("debug/deps/different.so"), content).expect("there is room");
        std::fs::set_permissions(
            cache.join("debug/deps/different.so"),
            std::os::unix::fs::PermissionsExt::from_mode(0o555),
        )
        .expect("it is ours");
        kit::grow_old(cache, 2 * DAY);
    }
    sync(&host.runners());
    Stage { host, runners, caches }
}

fn sync(at: &Path) {
    assert!(Command::new("sync").arg("-f").arg(at).status().is_ok_and(|status| status.success()));
}

fn number(of: &Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key} in {of:#}"))
}

#[test]
fn equal_files_of_idle_runners_lie_on_the_disk_once_and_are_what_they_were() {
    if !needs_root("mounts filesystems") {
        return;
    }
    for fs in [Fs::Xfs { mib: 320 }, Fs::Btrfs { mib: 320 }] {
        let stage = stage(fs);
        let canaries: Vec<Canary> = stage.caches.iter().map(|cache| Canary::of(cache)).collect();
        let before = stage.host.status();
        let plan = stage.host.plan();
        assert!(number(&plan.0["dedupe"], "pairs") >= 6, "{fs:?}: {:#}", plan.0["dedupe"]);
        assert_eq!(number(&plan.0["dedupe"], "shared_bytes"), 0, "a plan does nothing");
        let sweep = stage.host.sweep();
        let done = &sweep.0["dedupe"];
        // Two further copies of 16 MiB.
        assert!(number(done, "shared_bytes") >= 30 * MIB, "{fs:?}: {done:#}");
        assert!(number(done, "freed_bytes") >= 20 * MIB, "{fs:?}: {done:#}");
        assert!(number(done, "differing") >= 2 && number(done, "failed") == 0, "{fs:?}: {done:#}");
        canaries.iter().for_each(Canary::assert_intact);
        sync(&stage.host.runners());
        let kept = stage.host.status().0["dedupe"].clone();
        assert_eq!(kept["sharing_bytes"], done["shared_bytes"], "{fs:?}: {kept:#}");
        assert_eq!(kept["freed_bytes"], done["freed_bytes"], "{fs:?}: {kept:#}");
        let said = stage.host.guard(&["status"]).expect_code(&[0]).stdout();
        assert!(said.contains("Shared blocks    "), "{said}");
        let again = stage.host.sweep();
        let again = &again.0["dedupe"];
        assert_eq!(number(again, "already_bytes"), number(done, "shared_bytes"), "{fs:?}: {again:#}");
        assert!(number(again, "already") >= 6 && number(again, "shared_bytes") == 0, "{fs:?}: {again:#}");
        // What a cache would give is what it does not share.
        let bytes = |report: &kit::Report| -> u64 {
            let each = stage.runners.iter().map(|runner| &report.runner(&runner.name)["caches"][0]["bytes"]);
            each.map(|bytes| bytes.as_u64().expect("a number")).sum()
        };
        let after = stage.host.status();
        assert!(bytes(&after) + 30 * MIB < bytes(&before), "{fs:?}: {} -> {}", bytes(&before), bytes(&after));
        let history = stage.host.guard(&["history"]).expect_code(&[0]).stdout();
        assert!(history.contains("deduplicated"), "{history}");
        let metrics = stage.host.guard(&["metrics"]).stdout();
        let line = metrics.lines().find(|line| line.starts_with("disk_guard_dedupe_freed_bytes_total "));
        let freed: f64 = line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a number");
        assert!(freed >= (20 * MIB) as f64, "{metrics}");
    }
}

/// What is shared already, and what differs, takes nothing of the budget: each sweep goes on where the one before ended.
#[test]
fn sweeps_with_a_small_budget_share_everything_in_the_end() {
    if !needs_root("mounts filesystems") {
        return;
    }
    let mut stage = stage(Fs::Xfs { mib: 320 });
    let extra = "[dedupe]\nenabled = true\nmax_bytes = \"9MiB\"\n";
    stage.host.configure(|settings| settings.extra = extra.into());
    let mut shared = 0;
    for sweep in 1.. {
        let done = stage.host.sweep().0["dedupe"].clone();
        assert!(number(&done, "shared_bytes") <= 9 * MIB, "{done:#}");
        if number(&done, "shared_bytes") == 0 {
            break;
        }
        if sweep == 1 {
            assert!(done["ended"].as_str().is_some_and(|why| why.contains("max_bytes")), "{done:#}");
        }
        shared += number(&done, "shared_bytes");
        assert!(sweep < 12, "{shared} bytes after {sweep} sweeps: {done:#}");
        sync(&stage.host.runners());
    }
    assert!(shared >= 30 * MIB, "{shared}");
}

/// What shares its blocks with its like is no reason to keep all of them: each gives what it has, and the last one the rest.
#[test]
fn caches_that_share_their_blocks_are_removed_under_pressure_all_the_same() {
    if !needs_root("mounts filesystems") {
        return;
    }
    for fs in [Fs::Xfs { mib: 320 }, Fs::Btrfs { mib: 320 }] {
        let mut stage = stage(fs);
        assert!(number(&stage.host.sweep().0["dedupe"], "shared_bytes") > 30 * MIB);
        sync(&stage.host.runners());
        stage.host.configure(|settings| settings.want_everything());
        let sweep = stage.host.sweep();
        for cache in &stage.caches {
            assert_eq!(sweep.outcome(cache), "removed", "{fs:?}: {:#}", sweep.0);
        }
    }
}

#[test]
fn a_busy_runner_and_a_link_are_left_out() {
    if !needs_root("mounts filesystems") {
        return;
    }
    let stage = stage(Fs::Xfs { mib: 320 });
    // A link where a file was cannot be led to: it is not opened.
    let deps = stage.caches[2].join("debug/deps");
    let secret = stage.host.runners().join("secret");
    let name = std::fs::read_dir(&deps).expect("it is there").flatten().map(|entry| entry.path());
    let name =
        name.into_iter().find(|path| path.extension().is_some_and(|suffix| suffix == "rlib")).expect("one");
    std::fs::copy(&name, &secret).expect("a copy");
    std::fs::remove_file(&name).expect("it is ours");
    std::os::unix::fs::symlink(&secret, &name).expect("a link");
    let mut listener = stage.runners[0].listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    let canary = Canary::of(&stage.caches[0]);
    let sweep = stage.host.sweep();
    let done = &sweep.0["dedupe"];
    // Of three one is busy, and one file of the others is a link.
    assert!(number(done, "pairs") >= 2 && number(done, "shared_bytes") >= 8 * MIB, "{done:#}");
    assert!(number(done, "shared_bytes") < 16 * MIB, "{done:#}");
    canary.assert_intact();
    assert!(number(&stage.host.plan().0["dedupe"], "pairs") <= 5);
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
}

#[test]
fn where_it_is_off_or_the_filesystem_cannot_nothing_is_compared() {
    if !needs_root("mounts filesystems") {
        return;
    }
    let mut stage = stage(Fs::Ext4 { mib: 128, inodes: 4000 });
    let sweep = stage.host.sweep();
    assert_eq!(number(&sweep.0["dedupe"], "pairs"), 0, "{:#}", sweep.0["dedupe"]);
    stage.host.configure(|settings| settings.extra = String::new());
    assert_eq!(stage.host.sweep().0["dedupe"], Value::Null);
}
