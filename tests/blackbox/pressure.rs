//! When the guard acts, how much it takes, and in which order.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Canary, Fs, Host, MIB, Report, grow_old, usage};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Fills the filesystem of `directory` with a file until its Use% is `percent`, or a little more: xfs allocates ahead.
fn fill_to(directory: &Path, percent: u64) {
    use std::io::Write as _;
    let mut ballast =
        File::options().create(true).append(true).open(directory.join("ballast")).expect("our own file");
    let block = vec![0x5a; 64 << 10];
    while usage(directory).0 < percent {
        ballast.write_all(&block).expect("there is room up to the mark");
        ballast.sync_data().expect("it can be synced");
    }
}

fn used(filesystem: &serde_json::Value) -> u64 {
    // A percentage with or without a fraction: df rounds up.
    filesystem["used_percent"].as_f64().expect("a figure").ceil() as u64
}

#[test]
fn use_percent_is_that_of_df_on_every_filesystem() {
    if !kit::needs_root("mounts small filesystems") {
        return;
    }
    for fs in [Fs::Ext4 { mib: 64, inodes: 2000 }, Fs::Tmpfs { mib: 64, inodes: 2000 }, Fs::Xfs { mib: 320 }]
    {
        let host = Host::on(fs);
        let runner = host.runner("actions-runner-1").build();
        runner.cache("acme/widgets", "target", MIB, 2 * DAY);
        for percent in [35, 84, 85, 95, 99] {
            fill_to(&host.runners(), percent);
            let status = host.status();
            let shown = status.filesystem(&host.runners());
            let (df_percent, df_available) = usage(&host.runners());
            assert_eq!(used(shown), df_percent, "{fs:?}: {shown:#}");
            assert_eq!(shown["available_bytes"], df_available, "{fs:?}");
            let level = match df_percent {
                ..85 => "ok",
                85..95 => "high",
                _ => "critical",
            };
            assert_eq!(shown["level"], level, "{fs:?} at {percent} %");
        }
    }
}

/// Six caches of 5 MiB, of 8, 7 .. 3 days, coldest first, spread over two runners on one disk of 100 MiB.
fn six_caches(host: &Host) -> Vec<PathBuf> {
    let runners = [host.runner("actions-runner-1").build(), host.runner("actions-runner-2").build()];
    (0..6_u32)
        .map(|n| runners[n as usize % 2].cache(&format!("acme/r{n}"), "target", 5 * MIB, (8 - n) * DAY))
        .collect()
}

#[test]
fn it_acts_at_high_stops_at_low_and_takes_the_coldest_and_no_more() {
    if !kit::needs_root("mounts a tmpfs") {
        return;
    }
    let host = Host::on(Fs::Tmpfs { mib: 100, inodes: 20_000 });
    let caches = six_caches(&host);
    fill_to(&host.runners(), 84);
    let rest = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
    assert_eq!(rest.with_outcome("removed"), Vec::<PathBuf>::new(), "between low and high it rests");
    assert_eq!(rest.0["goal_met"], true);

    fill_to(&host.runners(), 86);
    let canaries: Vec<Canary> = caches[3..].iter().map(|cache| Canary::of(cache)).collect();
    let planned = host.plan().with_outcome("planned");
    let sweep = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
    // 86 to 75 % of 100 MiB is 10 to 11 MiB: two caches of 5 MiB, or one more, and not six.
    let removed = sweep.with_outcome("removed");
    assert!((2..=3).contains(&removed.len()), "{:#}", sweep.0);
    assert_eq!(removed, caches[..removed.len()], "the coldest: {:#}", sweep.0);
    assert_eq!(planned, removed, "the preview is what then happens");
    canaries.iter().for_each(Canary::assert_intact);
    let (percent, _) = usage(&host.runners());
    assert!((70..=75).contains(&percent), "{percent}");
    let balance = sweep.filesystem(&host.runners());
    assert_eq!(used(&balance["before"]), 86, "{balance:#}");
    assert_eq!(used(&balance["after"]), percent, "{balance:#}");
    assert!((10 * MIB..17 * MIB).contains(&sweep.0["freed_bytes"].as_u64().unwrap()), "{:#}", sweep.0);
    assert_eq!(sweep.0["goal_met"], true);
}

#[test]
fn an_unreachable_goal_is_reported_by_the_exit_code() {
    if !kit::needs_root("mounts a tmpfs") {
        return;
    }
    let host = Host::on(Fs::Tmpfs { mib: 100, inodes: 20_000 });
    let cache = host.runner("actions-runner-1").build().cache("acme/widgets", "target", 2 * MIB, 2 * DAY);
    fill_to(&host.runners(), 96);
    let sweep = host.guard(&["sweep", "--json"]).expect_code(&[20]).report();
    assert_eq!(sweep.outcome(&cache), "removed");
    assert_eq!(sweep.0["goal_met"], false);
    host.guard(&["sweep", "--json"]).expect_code(&[20]);
}

#[test]
fn the_floor_of_free_bytes_acts_by_itself() {
    if !kit::needs_root("mounts a tmpfs") {
        return;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: 100, inodes: 20_000 });
    let caches = six_caches(&host);
    fill_to(&host.runners(), 60);
    assert!(host.sweep().with_outcome("removed").is_empty(), "the watermarks alone are content");
    host.configure(|settings| settings.min_free = "48MiB".into());
    let sweep = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
    assert_eq!(sweep.with_outcome("removed"), caches[..2], "60 to 52 MiB are two caches: {:#}", sweep.0);
    assert!(usage(&host.runners()).1 >= 48 * MIB);
}

#[test]
fn the_floor_of_free_inodes_acts_by_itself() {
    if !kit::needs_root("mounts a tmpfs") {
        return;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: 100, inodes: 4000 });
    let runner = host.runner("actions-runner-1").build();
    let caches: Vec<PathBuf> = (0..4_u32)
        .map(|n| {
            let cache = runner.cache(&format!("acme/r{n}"), "target", 0, (8 - n) * DAY);
            for file in 0..400 {
                File::create(cache.join(format!("debug/deps/{file}.d"))).expect("a file of the cache");
            }
            grow_old(&cache, (8 - n) * DAY);
            cache
        })
        .collect();
    assert!(host.sweep().with_outcome("removed").is_empty());
    // 4000 inodes, some 1750 used: 70 % of them are 2800.
    host.configure(|settings| settings.min_free_inodes = 70);
    let run = host.guard(&["sweep", "--json"]).expect_code(&[0]);
    let told = run.stderr();
    assert!(told.contains(" of 4000 inodes free: high") && !told.contains("% full: high"), "{told}");
    let sweep = run.report();
    assert_eq!(sweep.with_outcome("removed"), caches[..2], "{:#}", sweep.0);
    let status = host.status();
    let shown = status.filesystem(&host.runners());
    assert!(shown["inodes_free"].as_u64() >= Some(2800) && shown["inodes_total"] == 4000, "{shown:#}");
}

#[test]
fn each_work_directory_is_judged_on_its_own_filesystem() {
    if !kit::needs_root("mounts small filesystems") {
        return;
    }
    let mut host = Host::new();
    // The computer's own disk is never what this test speaks of.
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (90, 85, 100));
    let work = |n: u32| host.runners().join(format!("actions-runner-{n}/_work"));
    let (full, calm, bound) = (work(1), work(2), work(3));
    let big = host.base.join("big");
    host.mount(Fs::Ext4 { mib: 64, inodes: 4000 }, &full);
    host.mount(Fs::Tmpfs { mib: 64, inodes: 4000 }, &calm);
    host.mount(Fs::Tmpfs { mib: 64, inodes: 4000 }, &big);
    // A directory of a large disk, shown as a work directory.
    std::fs::create_dir(big.join("r3")).expect("our own directory");
    host.bind(&big.join("r3"), &bound);
    let caches: Vec<PathBuf> = (1..=3)
        .map(|n| {
            let runner = host.runner(&format!("actions-runner-{n}")).build();
            runner.cache("acme/widgets", "target", 8 * MIB, 2 * DAY)
        })
        .collect();
    fill_to(&full, 92);
    let canaries = [Canary::of(&caches[1]), Canary::of(&caches[2])];
    let sweep = host.sweep();
    assert_eq!(sweep.with_outcome("removed"), [caches[0].clone()], "{:#}", sweep.0);
    canaries.iter().for_each(Canary::assert_intact);

    fill_to(&big, 92);
    let sweep = host.sweep();
    assert_eq!(sweep.with_outcome("removed"), [caches[2].clone()], "{:#}", sweep.0);
    canaries[0].assert_intact();
    assert!(!caches[2].exists());
}

/// The outcome of a hook, seen on disk: which of `caches` are gone.
fn gone(caches: &[PathBuf]) -> Vec<bool> {
    caches.iter().map(|cache| !cache.exists()).collect()
}

#[test]
fn a_hook_takes_its_runners_other_repositories_first_its_own_next_and_siblings_last() {
    if !kit::needs_root("mounts a tmpfs") {
        return;
    }
    // Own: another repository, old; another one, older; the job's own, oldest. A sibling's, older than all.
    for (fill, expected) in
        [(86, [true, true, false, false]), (91, [true, true, true, false]), (96, [true, true, true, true])]
    {
        let host = Host::on(Fs::Tmpfs { mib: 100, inodes: 20_000 });
        let own = host.runner("actions-runner-1").build();
        let sibling = host.runner("actions-runner-2").build();
        let caches = [
            own.cache("acme/older", "target", 6 * MIB, 5 * DAY),
            own.cache("acme/old", "target", 6 * MIB, 4 * DAY),
            own.cache("acme/app", "target", 6 * MIB, 6 * DAY),
            sibling.cache("acme/widgets", "target", 6 * MIB, 9 * DAY),
        ];
        fill_to(&host.runners(), fill);
        let mut listener = own.listen();
        let mut job = listener.begin_job("acme/app");
        let hook = job.hook_started().expect_ok();
        assert_eq!(gone(&caches), expected, "at {fill} %:\n{}", hook.text());
        job.finish(&mut listener);
    }
}

#[test]
fn age_alone_is_a_reason_for_a_sweep_and_not_for_a_hook() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (100, 99, 100);
        settings.max_age = "7d";
    });
    let runner = host.runner("actions-runner-1").build();
    let old = runner.cache("acme/old", "target", MIB, 8 * DAY);
    let young = runner.cache("acme/young", "target", MIB, 6 * DAY);
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    assert!(old.exists() && young.exists());
    job.finish(&mut listener);
    let sweep: Report = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
    assert_eq!((sweep.outcome(&old), sweep.outcome(&young)), ("removed", "kept"), "{:#}", sweep.0);
    assert!(!old.exists() && young.exists());
}

/// Entries of all slots in a work directory's trash.
fn left_in_trash(work: &Path) -> usize {
    fn count(directory: &Path) -> usize {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
    }
    count(&work.join(".disk-guard/trash"))
}

#[test]
fn a_job_waits_for_its_goal_and_not_for_the_last_file_which_the_next_run_deletes() {
    if !kit::needs_root("mounts a tmpfs") {
        return;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: 100, inodes: 20_000 });
    // What has to go is one large tree and one small one.
    host.configure(|settings| (settings.high, settings.low) = (60, 22));
    let runner = host.runner("actions-runner-1").build();
    let small = runner.cache("acme/small", "target", 16 * MIB, 5 * DAY);
    let large = runner.cache("acme/large", "target", 32 * MIB, 4 * DAY);
    for number in 0..3_000 {
        File::create(large.join(format!("debug/deps/{number}.d"))).expect("there is an inode left");
    }
    grow_old(&large, 4 * DAY);
    fill_to(&host.runners(), 62);
    let run = runner.hook_below_a_worker(&host, "started").run().expect_code(&[0]);
    assert!(usage(&host.runners()).0 <= 22, "{}", run.stdout());
    assert!(!small.exists() && !large.exists(), "{}", run.stdout());
    let left = left_in_trash(&runner.work);
    assert!((2_000..=3_100).contains(&left), "{left} of the large tree: {}", run.stdout());
    assert!(run.stdout().contains("goal reached") && !run.stdout().contains("could not be deleted"));

    let sweep = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
    assert_eq!(left_in_trash(&runner.work), 0, "{:#}", sweep.0);
}
