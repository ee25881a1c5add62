//! Hosts as people lay them out: what is measured, what goes first, what is told when a goal is missed.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Fs, Host, Job, Listener, MIB, Runner, grow_old, needs_root, sees_everything, usage};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);

/// Fills the filesystem of `directory` with what is nobody's cache until its Use% is `percent`.
fn fill_to(directory: &Path, percent: u64) {
    let ballast = directory.join("ballast");
    let mut ballast = File::options().create(true).append(true).open(ballast).expect("our own file");
    let block = vec![0x5a; 256 << 10];
    while usage(directory).0 < percent {
        ballast.write_all(&block).expect("there is room up to the mark");
        ballast.sync_data().expect("it can be synced");
    }
}

fn calm(host: &mut Host) {
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
}

fn begin(runner: &Runner, repository: &str) -> (Listener, Job) {
    let mut listener = runner.listen();
    let mut job = listener.begin_job(repository);
    job.hook_started().expect_ok();
    (listener, job)
}

fn end(mut listener: Listener, mut job: Job) {
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
}

/// A build in which all is fresh writes nothing: the job that ran it is what counts.
#[test]
fn a_cache_is_as_old_as_the_last_job_of_its_repository() {
    if !sees_everything() {
        return;
    }
    let mut host = Host::new();
    calm(&mut host);
    host.configure(|settings| settings.max_age = "7d");
    let runner = host.runner("actions-runner-1").build();
    let caches =
        ["acme/daily", "acme/noted", "acme/left"].map(|repo| runner.cache(repo, "target", MIB, 8 * DAY));
    let (listener, job) = begin(&runner, "acme/daily");
    end(listener, job);
    // What the runner itself noted before the guard was there, as .NET writes it.
    let hour_ago = jiff::Timestamp::try_from(SystemTime::now() - Duration::from_secs(3600)).expect("a time");
    let note = serde_json::json!({"pipelineDirectory": "noted", "lastRunOn": hour_ago.strftime("%m/%d/%Y %H:%M:%S +00:00").to_string()});
    std::fs::write(runner.work.join("_PipelineMapping/acme/noted/PipelineFolder.json"), note.to_string())
        .expect("a note");
    let swept = host.sweep();
    assert_eq!(swept.with_outcome("removed"), [caches[2].clone()], "{:#}", swept.0);
}

/// Others hold the disk: to take every cache at every job would change nothing.
#[test]
fn a_goal_that_no_cache_can_reach_costs_no_cache_until_the_disk_is_critical() {
    if !needs_root("mounts a tmpfs") || !sees_everything() {
        return;
    }
    let host = Host::on(Fs::Tmpfs { mib: 200, inodes: 8000 });
    let caches: Vec<PathBuf> = (1..=4)
        .map(|n| {
            host.runner(&format!("actions-runner-{n}")).build().cache("acme/app", "target", 4 * MIB, 2 * DAY)
        })
        .collect();
    fill_to(&host.runners(), 90);
    let swept = host.guard(&["sweep", "--json"]).expect_code(&[20]).report();
    assert!(swept.with_outcome("removed").is_empty(), "{:#}", swept.0);
    let short = &swept.0["filesystems"][0]["out_of_reach"];
    assert_eq!(short["aim"], "below-critical", "{:#}", swept.0);
    assert_eq!(swept.0["holding"][0]["class"], "outside-of-work", "{:#}", swept.0);

    // Critical: only as many go as bring it below.
    fill_to(&host.runners(), 97);
    let swept = host.guard(&["sweep", "--json"]).expect_code(&[20]).report();
    let gone = caches.iter().filter(|cache| !cache.exists()).count();
    assert!((1..4).contains(&gone), "{gone}: {:#}", swept.0);
}

/// Deleting what a snapshot holds frees nothing.
#[test]
fn caches_are_kept_where_snapshots_retain_deleted_files() {
    if !needs_root("mounts btrfs") || !sees_everything() {
        return;
    }
    for is_snapshotted in [true, false] {
        let host = Host::on(Fs::Btrfs { mib: 500 });
        let caches: Vec<PathBuf> = (1..=3)
            .map(|n| {
                let runner = host.runner(&format!("actions-runner-{n}")).build();
                runner.cache("acme/app", "target", 40 * MIB, 2 * DAY)
            })
            .collect();
        if is_snapshotted {
            let made = Command::new("btrfs")
                .args(["subvolume", "snapshot", "-r"])
                .args([host.runners(), host.runners().join("hourly")])
                .output()
                .expect("btrfs is installed");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        fill_to(&host.runners(), 88);
        let swept = host.guard(&["sweep", "--json"]).expect_code(&[0, 20]).report();
        let left = caches.iter().filter(|cache| cache.exists()).count();
        let freed = swept.0["freed_bytes"].as_u64().expect("a number");
        if is_snapshotted {
            assert_eq!((left, freed), (3, 0), "{:#}", swept.0);
            assert!(swept.0["notes"].to_string().contains("btrfs subvolume list"), "{:#}", swept.0);
        } else {
            assert!(left < 3 && freed > 30 * MIB, "{left} {freed}: {:#}", swept.0);
        }
    }
}

/// What nobody misses goes before any cache.
#[test]
fn under_pressure_leftovers_of_an_idle_runner_are_deleted_first_at_any_age() {
    if !needs_root("mounts a tmpfs") || !sees_everything() {
        return;
    }
    let host = Host::on(Fs::Tmpfs { mib: 300, inodes: 8000 });
    let runner = host.runner("actions-runner-1").build();
    let cache = runner.cache("acme/app", "target", 8 * MIB, 9 * DAY);
    let put = |path: &Path, mib: u64, age| {
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        std::fs::write(path, vec![7; (mib * MIB) as usize]).expect("a file");
        grow_old(path, age);
        path.to_owned()
    };
    let hour = Duration::from_secs(3600);
    let gone = [
        put(&runner.work.join("_temp/_github_home/.cache/x"), 30, hour),
        put(&runner.root.join("_diag/Worker_20260101-050607-utc.log"), 10, hour),
        put(&runner.work.join("_update/externals/x"), 10, 30 * DAY),
    ];
    grow_old(&runner.work.join("_update"), 30 * DAY);
    let kept = [
        put(&runner.work.join("_temp/new"), 1, Duration::ZERO),
        put(&runner.root.join("_diag/Worker_20260102-050607-utc.log"), 1, hour),
        put(&runner.root.join("_diag/Worker_20260103-050607-utc.log"), 1, hour),
        put(&runner.work.join("_tool/go/x"), 1, 30 * DAY),
    ];
    let calm = host.sweep();
    assert!(!calm.with_outcome("removed").iter().any(|path| path.ends_with("_temp")), "{:#}", calm.0);
    assert!(gone[..2].iter().all(|path| path.exists()), "without pressure their age counts");
    fill_to(&host.runners(), 88);
    let swept = host.sweep();
    assert!(gone.iter().all(|path| !path.exists()), "{:#}", swept.0);
    assert!(kept.iter().all(|path| path.exists()) && cache.exists(), "{:#}", swept.0);
}

/// A hook that needs its siblings' space takes what they have left over before their caches, and nothing of its own job's.
#[test]
fn a_hook_takes_leftovers_of_idle_siblings_before_their_caches() {
    if !needs_root("mounts a tmpfs") || !sees_everything() {
        return;
    }
    let host = Host::on(Fs::Tmpfs { mib: 200, inodes: 8000 });
    let [own, sibling] = [1, 2].map(|n| host.runner(&format!("actions-runner-{n}")).build());
    let cache = sibling.cache("acme/app", "target", 4 * MIB, 2 * DAY);
    let left = |runner: &Runner| {
        let path = runner.work.join("_temp/_github_home/x");
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        std::fs::write(&path, vec![7; (40 * MIB) as usize]).expect("a file");
        grow_old(&path, DAY);
        path
    };
    let theirs = left(&sibling);
    let mut listener = own.listen();
    let mut job = listener.begin_job("acme/app");
    let ours = left(&own);
    fill_to(&host.runners(), 88);
    let hook = job.hook_started().expect_ok();
    assert!(!theirs.exists() && cache.exists() && ours.exists(), "{}", hook.text());
    job.finish(&mut listener);
}

/// Opt-in, and only where it is known when a job last used it.
#[test]
fn an_unused_checkout_is_deleted_only_when_the_configuration_asks_for_it() {
    if !sees_everything() {
        return;
    }
    let mut host = Host::new();
    calm(&mut host);
    let runner = host.runner("actions-runner-1").build();
    for (repo, last) in [
        ("acme/stale", "01/02/2020 00:00:00 +00:00"),
        ("acme/unknown", ""),
        ("acme/daily", "01/02/2020 00:00:00 +00:00"),
    ] {
        let checkout = runner.checkout(repo);
        let name = checkout.file_name().expect("a name").to_str().expect("text").to_owned();
        let note = serde_json::json!({"pipelineDirectory": name, "lastRunOn": last});
        let mapping = runner.work.join("_PipelineMapping").join(repo).join("PipelineFolder.json");
        std::fs::write(mapping, note.to_string()).expect("a note");
        grow_old(&runner.work.join(name), 100 * DAY);
    }
    let there = |name: &str| runner.work.join(name).exists();
    host.sweep();
    assert!(there("stale"), "nothing of the kind by default");
    host.configure(|settings| settings.extra = "[retention]\ncheckout_max_age = \"30d\"\n".into());
    let (listener, job) = begin(&runner, "acme/daily");
    let busy = host.sweep();
    assert!(there("stale"), "its runner has a job: {:#}", busy.0);
    end(listener, job);
    // The job itself was long ago, but for its mark.
    grow_old(&runner.work.join("daily"), 100 * DAY);
    let swept = host.sweep();
    assert_eq!(swept.with_outcome("removed"), [runner.work.join("stale")], "{:#}", swept.0);
    assert!(there("unknown") && there("daily"));
    assert_eq!(swept.action(&runner.work.join("stale"))["rule"], "stale-checkout");
}

/// A runner that always has a job when the sweep comes.
#[test]
fn a_runners_own_hooks_apply_the_limits_of_its_rules() {
    if !sees_everything() {
        return;
    }
    let mut host = Host::new();
    calm(&mut host);
    let limits = "[[cache]]\nname = \"big\"\ndirs = [\"out\"]\nmarker = \"CACHEDIR.TAG\"\nmax_size = \"1MiB\"\nmax_age = \"7d\"\n";
    host.configure(|settings| settings.extra = limits.into());
    let runner = host.runner("actions-runner-1").build();
    let (mut listener, mut job) = begin(&runner, "acme/app");
    let big = runner.cache("acme/app", "out", 4 * MIB, Duration::ZERO);
    let small = runner.cache("acme/lib", "out", 4096, Duration::ZERO);
    assert!(host.sweep().with_outcome("removed").is_empty(), "the sweep finds it busy");
    let hook = job.hook_completed().expect_ok();
    assert!(!big.exists() && small.exists(), "{}", hook.text());
    assert!(hook.text().contains("larger than its rule's max_size"), "{}", hook.text());
    job.finish(&mut listener);
}

/// A runner dies when it cannot write its log.
#[test]
fn the_disk_of_the_runners_logs_is_judged_and_relieved() {
    if !needs_root("mounts a tmpfs") || !sees_everything() {
        return;
    }
    let mut host = Host::new();
    let work = host.base.join("elsewhere/work");
    let runners = host.runners();
    host.mount(Fs::Tmpfs { mib: 64, inodes: 4000 }, &runners);
    host.mount(Fs::Tmpfs { mib: 64, inodes: 4000 }, &host.base.join("elsewhere"));
    let runner = host.runner("actions-runner-1").work_folder(&work).build();
    let log = |day: u32| runner.root.join(format!("_diag/Worker_202601{day:02}-050607-utc.log"));
    for day in 1..=20 {
        std::fs::write(log(day), vec![1; MIB as usize]).expect("a log");
        grow_old(&log(day), DAY);
    }
    fill_to(&runners, 96);
    let status = host.status();
    assert_eq!(status.filesystem(&runners)["level"], "critical", "{:#}", status.0);
    let swept = host.guard(&["sweep", "--json"]).expect_code(&[0, 20]).report();
    assert!(!log(1).exists() && log(20).exists(), "{:#}", swept.0);
}

/// Space is left, and nothing can be made: what is told then counts entries.
#[test]
fn the_holders_of_inodes_are_named_when_inodes_run_out() {
    if !needs_root("mounts a tmpfs") || !sees_everything() {
        return;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: 256, inodes: 4000 });
    host.configure(|settings| (settings.idle_floor, settings.min_free_inodes) = ("0s", 10));
    let runner = host.runner("actions-runner-1").build();
    let made = runner.checkout("acme/app").join("generated");
    std::fs::create_dir_all(&made).expect("a directory");
    let fill = |name: &str| {
        let free = || nix::sys::statvfs::statvfs(&made).expect("it is there").files_free();
        (0..)
            .take_while(|_| free() > 100)
            .for_each(|n| std::fs::write(made.join(format!("{name}{n}")), "").expect("a file"));
    };
    fill("one");
    let plan = host.guard(&["plan"]).expect_code(&[0]).stdout();
    assert!(plan.contains("of 4000 inodes free"), "{plan}");
    let swept = host.guard(&["sweep", "--json"]).expect_code(&[20]).report();
    let largest = &swept.0["holding"][0];
    assert_eq!(largest["path"], runner.work.join("app").to_str().expect("UTF-8"), "{largest}");
    assert!(largest["inodes"].as_u64() > Some(3000), "{largest}");
    let text = host.guard(&["status"]).expect_code(&[0]).stdout();
    assert!(text.contains(" inodes  "), "{text}");
    let (mut listener, mut job) = {
        let mut listener = runner.listen();
        let job = listener.begin_job("acme/app");
        (listener, job)
    };
    let hook = job.hook_started().expect_ok();
    assert!(hook.text().contains("inodes, checkout)"), "{}", hook.text());
    job.finish(&mut listener);
}

/// Copies that share its blocks keep what a cache holds: it would be lost for nothing.
#[test]
fn a_cache_that_shares_its_blocks_is_kept_and_another_is_deleted_instead() {
    if !needs_root("makes a filesystem") || !sees_everything() {
        return;
    }
    let mut host = Host::on(Fs::Xfs { mib: 300 });
    host.configure(|settings| (settings.high, settings.low, settings.idle_floor) = (60, 55, "0s"));
    let runner = host.runner("actions-runner-1").build();
    let shared = runner.cache("acme/shared", "target", 50 * MIB, 3 * DAY);
    let own = runner.cache("acme/own", "target", 50 * MIB, 2 * DAY);
    let copy = host.runners().join("copy");
    let copied =
        Command::new("cp").args(["-a", "--reflink=always"]).args([&shared, &copy]).output().expect("cp runs");
    if !copied.status.success() {
        eprintln!("no reflinks here: {}", String::from_utf8_lossy(&copied.stderr));
        return;
    }
    std::fs::write(host.runners().join("ballast"), vec![1; 40 << 20]).expect("there is room");
    let swept = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
    assert_eq!((swept.outcome(&shared), swept.outcome(&own)), ("kept", "removed"), "{:#}", swept.0);
    assert!(swept.0["notes"].to_string().contains("shares its blocks"), "{:#}", swept.0);
    assert!(shared.exists() && !own.exists());
}

/// What lies in the layers below cannot be moved, and would free nothing: told once, and what jobs have made goes.
#[test]
fn on_an_overlay_files_of_the_image_are_kept_and_reported_once() {
    if !needs_root("mounts an overlay") || !sees_everything() {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    let runner = host.runner("actions-runner-1").build();
    let baked = ["acme/one", "acme/two"].map(|repo| runner.cache(repo, "target", MIB, 2 * DAY));
    // An overlay keeps its own changes on another filesystem than the machine's, which may be an overlay itself.
    let changes = host.base.join("changes");
    host.mount(Fs::Tmpfs { mib: 64, inodes: 4000 }, &changes);
    for name in ["upper", "work"] {
        std::fs::create_dir(changes.join(name)).expect("a directory");
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        host.runners().display(),
        changes.join("upper").display(),
        changes.join("work").display()
    );
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(host.runners())
        .output()
        .expect("mount runs");
    if !mounted.status.success() {
        eprintln!("no overlay here: {}", String::from_utf8_lossy(&mounted.stderr));
        return;
    }
    let made = runner.cache("acme/three", "target", MIB, 2 * DAY);
    let swept = host.guard(&["sweep", "--json"]).expect_code(&[0, 20]).report();
    let doctor = host.guard(&["doctor"]).stdout();
    assert!(Command::new("umount").arg(host.runners()).status().expect("umount runs").success());
    assert!(baked.iter().all(|cache| cache.exists()), "{:#}", swept.0);
    assert!(!changes.join("upper/actions-runner-1/_work/three/three/target").exists(), "{:#}", swept.0);
    assert!(!made.exists());
    let failed = swept.with_outcome("failed");
    assert_eq!(failed.len(), 1, "{:#}", swept.0);
    assert!(swept.action(&failed[0])["detail"].to_string().contains("mount a volume"), "{:#}", swept.0);
    assert!(doctor.split_whitespace().collect::<Vec<_>>().join(" ").contains("image's layers"), "{doctor}");
}
