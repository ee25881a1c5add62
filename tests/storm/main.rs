//! A storm: 64 runners on a small disk build real crates with real cargo, their hooks and several sweeps free space at the same
//! time, and guards and Workers are stopped and killed at random.
//!
//! No build may break by the guard. In the same storm a careless pruner has to break builds: otherwise the storm would prove
//! nothing. `DISK_GUARD_SOAK=N` makes it N times as long, `DISK_GUARD_SEED` repeats one order of blows.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

#[path = "../kit/mod.rs"]
mod kit;

mod blows;
mod build;
mod gate;
mod race;
mod tally;

use blows::Blow;
use build::{Build, End};
use gate::Gate;
use kit::{Fs, Host, Listener, Runner};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tally::Tally;

const RUNNERS: usize = 64;

/// As many jobs run at once; the other runners are idle, and what they hold is what there is to free.
const AT_ONCE: usize = 10;

/// The runners' programs take 0.5 GiB of it, and about half of all targets find room below `high`.
const DISK: Fs = Fs::Ext4 { mib: 1280, inodes: 60_000 };

struct Storm<'a> {
    host: &'a Host,
    tally: Tally,
    seats: Gate,
    seed: u64,
    /// Whether guards and Workers are hit.
    blows: bool,
    over: AtomicBool,
}

impl<'a> Storm<'a> {
    fn new(host: &'a Host, blows: bool) -> Self {
        let chosen = std::env::var("DISK_GUARD_SEED").ok().and_then(|text| text.parse().ok());
        let seed = chosen.unwrap_or_else(|| fastrand::u64(..));
        Self {
            host,
            tally: Tally::default(),
            seats: Gate::new(AT_ONCE),
            seed,
            blows,
            over: AtomicBool::new(false),
        }
    }

    /// Every runner works `jobs` jobs off, `sweepers` sweeps at once all the while.
    fn rage(&self, runners: &[Runner], jobs: usize, sweepers: usize) {
        self.over.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let working: Vec<_> = (0_u64..)
                .zip(runners)
                .map(|(n, runner)| {
                    scope.spawn(move || self.work(runner, jobs, fastrand::Rng::with_seed(self.seed ^ n)))
                })
                .collect();
            let sweeping: Vec<_> = (1..=sweepers as u64)
                .map(|n| scope.spawn(move || self.sweep(fastrand::Rng::with_seed(self.seed ^ (n << 32)))))
                .collect();
            let ends: Vec<_> = working.into_iter().map(|thread| thread.join()).collect();
            self.over.store(true, Ordering::Relaxed);
            sweeping.into_iter().for_each(|thread| thread.join().expect("sweeps do not fail"));
            ends.into_iter().for_each(|end| end.expect("a runner does not fail"));
        });
    }

    /// One runner's day.
    fn work(&self, runner: &Runner, jobs: usize, mut random: fastrand::Rng) {
        let mut listener = runner.listen();
        let build = Build::of(runner, self.host);
        for _ in 0..jobs {
            let _seat = self.seats.enter();
            Tally::count(&self.tally.jobs);
            self.job(&mut listener, &build, &mut random);
        }
    }

    fn job(&self, listener: &mut Listener, build: &Build, random: &mut fastrand::Rng) {
        let mut job = listener.begin_job("acme/app");
        let hook = job.start_hook("started");
        self.strike(hook, random, &self.tally.hooks_killed);
        let begun = now();
        let started = job.await_hook("started");
        let let_go = now();
        // A hook that was killed fails its job: the runner starts no step.
        if started.code == 0 {
            started.parsed().assert_safe();
            let script = build.script();
            let runner = &build.runner;
            let circumstances = |worker: &str| {
                let told = format!(
                    "the hook ended between {begun} and {let_go}{worker}, the build before {}",
                    now()
                );
                (runner.clone(), told)
            };
            let steps = job.start_steps(&script);
            if self.blows && random.u8(..) < 16 {
                std::thread::sleep(Duration::from_millis(random.u64(0..400)));
                job.kill_worker();
                let killed = format!(", its Worker was killed at {}", now());
                Tally::count(&self.tally.workers_killed);
                // Its build goes on without it, and has to come to its end.
                kit::until("an orphaned build's end", || (!kit::is_alive(steps)).then_some(()));
                self.tally.note(build.end(), circumstances(&killed));
                listener.finished();
                return;
            }
            job.await_steps();
            self.tally.note(build.end(), circumstances(""));
        } else {
            assert!(self.blows && started.code == 137, "a hook failed by itself:\n{}", started.text());
        }
        let hook = job.start_hook("completed");
        self.strike(hook, random, &self.tally.hooks_killed);
        job.await_hook("completed");
        job.finish(listener);
    }

    fn sweep(&self, mut random: fastrand::Rng) {
        while !self.over.load(Ordering::Relaxed) {
            let call = self.host.call(&["sweep", "--json"]);
            let mut command = call.command();
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut child = command.spawn().expect("a sweep starts");
            self.strike(child.id() as i32, &mut random, &self.tally.sweeps_killed);
            match child.wait().expect("it is our child").code() {
                Some(0 | 20 | 75) => Tally::count(&self.tally.sweeps),
                None => {}
                code => panic!("a sweep ended with {code:?}"),
            }
            std::thread::sleep(Duration::from_millis(random.u64(0..200)));
        }
    }

    /// Perhaps stops or kills a guard a little after its start.
    fn strike(&self, pid: i32, random: &mut fastrand::Rng, killed: &std::sync::atomic::AtomicUsize) {
        if !self.blows {
            return;
        }
        match blows::strike(pid, random) {
            Blow::None => {}
            Blow::Paused => Tally::count(&self.tally.paused),
            Blow::Killed => Tally::count(killed),
        }
    }
}

/// Microseconds since 1970, as in the ledger.
fn now() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_micros()
}

fn soak() -> usize {
    std::env::var("DISK_GUARD_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// A small disk that is always nearly full, and siblings' trees that may go the instant they are idle.
fn host() -> Host {
    let mut host = Host::on(DISK);
    host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (80, 72, 97);
        settings.idle_floor = "0s";
    });
    host
}

fn runners(host: &Host) -> Vec<Runner> {
    (1..=RUNNERS).map(|n| host.runner(&format!("actions-runner-{n}")).build()).collect()
}

#[test]
fn no_build_breaks_by_the_guard() {
    if !kit::sees_everything() {
        return;
    }
    let host = host();
    let storm = Storm::new(&host, true);
    storm.rage(&runners(&host), 2 * soak(), 2);
    // What the killed ones have left is finished by the next.
    host.sweep();
    let report = storm.tally.report(&host);
    println!("seed {}: {report}", storm.seed);
    let context = format!("seed {}: {report}\n{}", storm.seed, storm.tally.breakages(&host));
    assert_eq!(storm.tally.of(End::Broken), 0, "{context}");
    assert_eq!(storm.tally.of(End::NoSpace), 0, "{context}");
    assert!(report.reclaimed > RUNNERS / 4 && storm.tally.of(End::Whole) > RUNNERS / 2, "{context}");
    assert_eq!(report.trash_bytes, 0, "{context}");
    no_tree_is_lost(&host);
}

/// Every target is in its place or gone; none stands in a trash directory.
fn no_tree_is_lost(host: &Host) {
    for runner in std::fs::read_dir(host.runners()).expect("it is there").flatten() {
        let trash = runner.path().join("_work/.disk-guard/trash");
        let left = std::fs::read_dir(&trash).into_iter().flatten().flatten();
        // The spare directory is empty, and is what a full disk's next claim goes by.
        let left = left.map(|entry| entry.path()).filter(|path| std::fs::remove_dir(path).is_err());
        assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_careless_pruner_in_the_same_storm_breaks_builds() {
    if !kit::sees_everything() {
        return;
    }
    let host = host();
    // What such hosts have: above a mark, every runner's targets go.
    let careless = format!(
        "used=$(df --output=pcent {0} | tail -n 1 | tr -dc 0-9)\nif test \"$used\" -ge 80; then rm -rf {0}/*/_work/*/*/target || true; fi\n",
        host.runners().display()
    );
    replace(&host.started_script(), &careless);
    replace(&host.completed_script(), "true\n");
    let storm = Storm::new(&host, false);
    let runners = runners(&host);
    for _ in 0..10 {
        storm.rage(&runners, soak(), 0);
        if storm.tally.of(End::Broken) > 2 {
            break;
        }
    }
    println!("careless: {} of {} builds broken", storm.tally.of(End::Broken), storm.tally.ended());
    assert!(storm.tally.of(End::Broken) > 2, "the storm never catches a broken build");
}

fn replace(script: &Path, text: &str) {
    std::fs::write(script, text).expect("our own script");
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).expect("it is ours");
}
