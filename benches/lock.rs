//! Goal 2: how long the host lock is held and waited for. Each figure stands beside its peer of the same run.
//!
//! 1. A claim's hold of the lock, for a cache of 10 files and for a large one: a rename knows no size.
//! 2. 64 hooks at once on a healthy disk, which take the lock shared, as real processes: their waits.
//! 3. 64 exclusive holders of 5 ms each, against the same that poll for the lock.
//! 4. The looks that a claim takes under the lock, on a host with many processes.
//!
//! `cargo bench --bench lock [-- FILES PROCESSES]`; in `TMPDIR`.
#![allow(
    clippy::disallowed_methods,
    reason = "the stage is made and removed here, and its lock is polled by a peer"
)]

use disk_guard::lease;
use disk_guard::lock::{ExclusiveLock, SharedLock};
use disk_guard::model::{Cache, FilesystemId, Runner, Uid, Work, WorkDir};
use disk_guard::observe::caches::open_work;
use disk_guard::observe::processes;
use disk_guard::reclaim::claim::{Claim, claim};
use disk_guard::run_dir::{Records, RunDir};
use disk_guard::sys::dir::Dir;
use disk_guard::sys::process::Proc;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const CLAIMS: usize = 15;
const CONTENDERS: usize = 64;
const HOLD: Duration = Duration::from_millis(5);
const POLL: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let files = numbers.first().copied().unwrap_or(200_000);
    let crowd = numbers.get(1).copied().unwrap_or(5_000);
    claims(files);
    shared();
    exclusive();
    looks(crowd);
}

/// A run directory on tmpfs, as `/run` is.
fn run_dir() -> (tempfile::TempDir, RunDir) {
    let temp =
        tempfile::Builder::new().prefix("dg-bench-").tempdir_in("/dev/shm").expect("tmpfs at /dev/shm");
    let run = RunDir::open(temp.path()).expect("a run directory");
    (temp, run)
}

fn claims(files: usize) {
    let host = tempfile::tempdir().expect("a stage");
    let (_temp, run) = run_dir();
    let runner = runner(host.path(), 1);
    let work = runner.work_dir().expect("it has one").clone();
    for (name, files) in [("small/small/target", 10), ("large/large/target", files)] {
        plant_tree(&work.path.join(name), files);
    }
    rustix::fs::sync();
    let small = cache(&work, "small/small/target");
    let large = cache(&work, "large/large/target");
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for _ in 0..CLAIMS {
        of_small.push(hold(&run, &work, &small));
        of_large.push(hold(&run, &work, &large));
    }
    let (of_small, of_large) = (ms(median(of_small)), ms(median(of_large)));
    println!("lock held for a claim, without looks at evidence, medians of {CLAIMS}");
    println!("{:<52} {of_small:>9.3} ms", "10 files");
    println!("{:<52} {of_large:>9.3} ms {:>6.2}", format!("{files} files"), of_large / of_small);
    println!("goal: within 1.5\n");
}

/// Claims a cache, puts it back, and tells how long the lock was held.
fn hold(run: &RunDir, work: &WorkDir, cache: &Cache) -> Duration {
    let dir = open_work(work).expect("the work directory");
    let lock = ExclusiveLock::acquire(run, LONG).expect("nobody else has it");
    let claimed = match claim(&lock, &dir, work.owner, cache, &mut |_| Vec::new()) {
        Claim::Claimed(claimed) => claimed,
        other => panic!("{other:?}"),
    };
    let held = lock.held_for();
    drop(lock);
    let slot = claimed.slot.expect("there are inodes left");
    let trash = work.path.join(".disk-guard/trash").join(&slot);
    fs::rename(trash.join(&claimed.name), &cache.path).expect("it goes back");
    fs::remove_dir(trash).expect("the slot is empty");
    held
}

/// 64 threads with a lock file of their own each, as 64 hooks have: take the lock shared, publish a lease, let go.
fn shared() {
    let (_temp, run) = run_dir();
    let run = Arc::new(run);
    let start = Arc::new(Barrier::new(CONTENDERS));
    let threads: Vec<_> = (0..CONTENDERS)
        .map(|number| {
            let (run, start) = (Arc::clone(&run), Arc::clone(&start));
            std::thread::spawn(move || {
                let mut waits = Vec::new();
                for _ in 0..20 {
                    start.wait();
                    let begun = Instant::now();
                    let lock = SharedLock::acquire(&run, LONG).expect("it is shared");
                    waits.push(begun.elapsed());
                    run.publish(Records::Leases, &number.to_string(), b"lease").expect("a lease");
                    drop(lock);
                }
                waits
            })
        })
        .collect();
    let mut waits: Vec<Duration> =
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect();
    waits.sort();
    let at = |share: usize| ms(waits[(waits.len() - 1) * share / 100]);
    println!("waits for the shared lock, {CONTENDERS} hooks at once, 20 times");
    println!("{:<52} {:>9.3} ms", "median", at(50));
    println!("{:<52} {:>9.3} ms", "p99", at(99));
    println!("{:<52} {:>9.3} ms", "longest", at(100));
    println!("goal: p99 under 10 ms\n");
}

fn exclusive() {
    let ideal = HOLD * CONTENDERS as u32;
    println!("{CONTENDERS} exclusive holders of {} ms, one after another", HOLD.as_millis());
    println!("{:<52} {:>9.1} ms", "ideal", ms(ideal));
    let mut blocking = Vec::new();
    let mut polling = Vec::new();
    for _ in 0..3 {
        blocking.push(contend(|run| {
            let lock = ExclusiveLock::acquire(run, LONG).expect("in its turn");
            busy(HOLD);
            drop(lock);
        }));
        polling.push(contend(|run| {
            let file = run.lock_file().expect("the lock file");
            while file.try_lock().is_err() {
                std::thread::sleep(POLL);
            }
            busy(HOLD);
        }));
    }
    for (what, took) in [("waiting in flock, as disk-guard does", blocking), ("polling every 50 ms", polling)]
    {
        let took = median(took);
        println!("{what:<52} {:>9.1} ms {:>6.2}", ms(took), took.as_secs_f64() / ideal.as_secs_f64());
    }
    println!("goal: within 1.06\n");
}

/// By the clock, not by work: what is measured is the handing over.
fn busy(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if left > Duration::from_millis(1) {
            std::thread::sleep(left - Duration::from_millis(1));
        }
    }
}

/// How long it takes until everybody has had it.
fn contend(hold: fn(&RunDir)) -> Duration {
    let (_temp, run) = run_dir();
    let run = Arc::new(run);
    let start = Arc::new(Barrier::new(CONTENDERS + 1));
    let threads: Vec<_> = (0..CONTENDERS)
        .map(|_| {
            let (run, start) = (Arc::clone(&run), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                hold(&run);
            })
        })
        .collect();
    start.wait();
    let begun = Instant::now();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
    begun.elapsed()
}

/// Ends them also when the bench panics.
struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|child| drop(child.kill()));
        self.0.iter_mut().for_each(|child| drop(child.wait()));
    }
}

fn looks(size: usize) {
    let host = tempfile::tempdir().expect("a stage");
    let (_temp, run) = run_dir();
    let runners: Vec<Runner> = (1..=20).map(|number| runner(host.path(), number)).collect();
    let proc = Proc::new(Path::new("/proc"));
    let sleep = || {
        let mut command = Command::new("sleep");
        command.arg("3600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("sleep starts")
    };
    let _crowd = Crowd((0..size).map(|_| sleep()).collect());
    // exec is not over when spawn returns for the last ones.
    std::thread::sleep(Duration::from_secs(1));
    let look = |work: &mut dyn FnMut()| {
        let times = (0..9).map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        });
        ms(median(times.collect()))
    };
    println!("looks under the lock, {size} processes, 20 runners, medians of 9; a claim takes two of each");
    println!("{:<52} {:>9.3} ms", "Workers", look(&mut || drop(processes::workers(&proc, &runners, None))));
    println!(
        "{:<52} {:>9.3} ms",
        "leases",
        look(&mut || drop(lease::read_all(
            &run,
            lease::View { proc: &proc, is_whole: false, now: std::time::SystemTime::now() }
        )))
    );
}

fn plant_tree(tree: &Path, files: usize) {
    for number in 0..files {
        let directory = tree.join(format!("debug/deps/{}", number / 1_000));
        if number % 1_000 == 0 {
            fs::create_dir_all(&directory).expect("a directory of the stage");
        }
        File::create(directory.join(number.to_string())).expect("a file of the stage");
    }
}

fn cache(work: &WorkDir, below: &str) -> Cache {
    let path = work.path.join(below);
    let status = Dir::resolve(&path).and_then(|(dir, _)| dir.status()).expect("its status");
    Cache {
        path,
        below_work: below.into(),
        base: None,
        part: Default::default(),
        rule: "cargo-target".into(),
        id: status.id,
        owner: status.owner,
        measure: None,
        used: None,
        largest: [].into(),
    }
}

fn runner(host: &Path, number: u32) -> Runner {
    let root = host.join(format!("actions-runner-{number}"));
    fs::create_dir_all(root.join("_work")).expect("a stand-in runner");
    let (root_dir, root) = Dir::resolve(&root).expect("its root");
    let (work_dir, work) = Dir::resolve(&root.join("_work")).expect("its work directory");
    let status = work_dir.status().expect("its status");
    let work = WorkDir {
        path: work,
        id: status.id,
        owner: status.owner,
        filesystem: FilesystemId { major: 0, minor: 0 },
    };
    Runner {
        name: format!("runner-{number}"),
        root,
        root_id: root_dir.status().expect("its status").id,
        owner: Uid::ROOT,
        work: Work::Present(work),
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
