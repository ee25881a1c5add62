//! Goal 6: a full proof for all runners on a host with 5,000 processes, against one `pgrep -f Runner.Worker`, both in the same
//! run and in turns. Prints medians and ratios; ends every process that it started.
//!
//! `cargo bench --bench evidence [-- PROCESSES]`; as root, for otherwise only one's own processes are examined.

use disk_guard::model::{FilesystemId, Runner, Uid, Visibility, Work, WorkDir};
use disk_guard::observe::processes::{observe, workers};
use disk_guard::sys::dir::Dir;
use disk_guard::sys::process::Proc;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;

/// Ends them also when the bench panics.
struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5_000);
    let temp = tempfile::tempdir().expect("a temporary directory");
    let runners: Vec<Runner> = (1..=20).map(|number| runner(temp.path(), number)).collect();
    let proc = Proc::new(Path::new("/proc"));
    let mut crowd = Crowd(Vec::with_capacity(count));
    for _ in 0..count {
        let child = Command::new("sleep")
            .arg("3600")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sleep starts");
        crowd.0.push(child);
    }
    // exec is not over when spawn returns for the last ones.
    std::thread::sleep(Duration::from_secs(1));

    let (mut full, mut names, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let first = time(|| drop(observe(&proc, &runners, None)));
    for _ in 0..ROUNDS {
        full.push(time(|| {
            let facts = observe(&proc, &runners, None);
            assert_eq!(facts.holders, [], "nobody holds the stand-in runners");
            if let Visibility::Partial(reasons) = facts.visibility {
                eprintln!("not a full proof: {reasons:?}");
            }
        }));
        names.push(time(|| drop(workers(&proc, &runners, None))));
        peer.push(time(pgrep));
    }
    drop(crowd);
    let (full, names, peer) = (median(full), median(names), median(peer));
    let line = |what: &str, took: Duration| {
        let ratio = took.as_secs_f64() / peer.as_secs_f64();
        println!("{what:<44} {:>8.1} ms   {ratio:>5.2} of pgrep", took.as_secs_f64() * 1e3);
    };
    println!("{count} processes, {} runners, medians of {ROUNDS}", runners.len());
    line("pgrep -f Runner.Worker", peer);
    line("full proof, first", first);
    line("full proof", full);
    line("Workers only (re-check under the lock)", names);
    println!("goal: a full proof in at most 0.25 of pgrep");
}

fn time(mut work: impl FnMut()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn pgrep() {
    let status = Command::new("pgrep").args(["-f", "Runner.Worker"]).stdout(Stdio::null()).status();
    assert!(status.is_ok(), "pgrep is installed (procps)");
}

fn runner(host: &Path, number: u32) -> Runner {
    let root = host.join(format!("actions-runner-{number}"));
    std::fs::create_dir_all(root.join("_work")).expect("a stand-in runner");
    let (root_dir, root) = Dir::resolve(&root).expect("its root");
    let (work_dir, work) = Dir::resolve(&root.join("_work")).expect("its work directory");
    let work = WorkDir {
        path: work,
        id: work_dir.status().expect("its status").id,
        owner: Uid::ROOT,
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
