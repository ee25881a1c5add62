//! Goal 1: the started-hook on a healthy disk, as a whole process, against the shell line that it replaces and against `df`
//! alone, in turns within one run. And its system calls, which must not grow with runners, processes or trees.
//!
//! `cargo bench --bench hook [-- OTHER_BUILD...]`: builds what packages ship (`cargo packaged`) first; each further argument is
//! another build of disk-guard, timed in the same turns. The build that `cargo bench` makes has more in it than a release,
//! because features that only tests want are unified into it.
//!
//! The stage is made in `TMPDIR`; the shared directory lies on tmpfs, as `/run` does. The bench plays the Worker itself: it is
//! copied to `bin/Runner.Worker` of a runner on the stage and run from there, so that the hook finds its runner by ancestry.
#![allow(clippy::disallowed_methods, reason = "the stage is made and removed here")]

#[path = "../tests/kit/mod.rs"]
mod kit;

use kit::{Call, Host, MIB, SIGNATURE, calls_of};
use nix::sys::resource::{UsageWho, getrusage};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 200;
const SHELL_LINE: &str = "df --output=pcent / | tail -1 | tr -d ' %'";
const AS_WORKER: &str = "--as-worker";

/// The goals.
const OF_SHELL_LINE: f64 = 0.35;
const OF_DF: f64 = 1.0;
const CALLS: usize = 150;

fn main() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == AS_WORKER => as_worker(Path::new(&rest[0]), &rest[1..]),
        _ => stage(arguments.into_iter().filter(|argument| argument != "--bench").collect()),
    }
}

fn stage(others: Vec<OsString>) {
    let packaged = packaged();
    let mut host = Host::new();
    // Healthy, whatever the disk of this computer is like.
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let run = tempfile::Builder::new().prefix("dg-bench-").tempdir_in("/dev/shm").expect("tmpfs at /dev/shm");
    let settings = std::fs::read_to_string(host.config()).expect("a file of the stage");
    let settings = settings.replace(&quoted(&host.run_dir()), &quoted(run.path()));
    std::fs::write(host.config(), settings).expect("a file of the stage");
    let own = plant_runner(&host, 1);
    let worker = own.join("bin/Runner.Worker");
    std::fs::copy(std::env::current_exe().expect("our own file"), &worker).expect("the Worker is installed");
    let mut timed = Command::new(&worker);
    timed.arg(AS_WORKER).arg(host.config()).arg(&packaged).arg(host.program()).args(others);
    assert!(timed.status().expect("the Worker starts").success());

    std::fs::copy("/bin/bash", &worker).expect("the Worker is installed");
    let count = || [&packaged, &host.program()].map(|program| count(&host, &worker, program));
    let alone = count();
    let line = |what: &str, [packaged, bench]: [usize; 2]| println!("{what:<44} {packaged:>8} {bench:>8}");
    println!("\n{:<44} {:>8} {:>8}", "system calls, below a shell as the Worker", "packaged", "bench");
    line("one runner", alone);
    for number in 2..=200 {
        plant_runner(&host, number);
    }
    line("200 runners", count());
    plant_tree(&own.join("_work/widgets/widgets/target"), 10_000);
    line("and a cache of 10,000 files", count());
    let crowd = Crowd((0..2000).map(|_| sleep()).collect());
    let all = count();
    line("and 2,000 processes", all);
    drop(crowd);
    println!("goal: under {CALLS}, and always the same");
    assert!(all == alone && all.iter().all(|calls| *calls < CALLS));
}

/// Builds what packages ship.
fn packaged() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    let status = cargo.args(["-q", "packaged"]).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(status.expect("cargo starts").success());
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packaged/release/disk-guard")
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// A runner that has worked once.
fn plant_runner(host: &Host, number: u32) -> PathBuf {
    let root = host.runners().join(format!("actions-runner-{number}"));
    for directory in ["bin", "_work/_temp"] {
        std::fs::create_dir_all(root.join(directory)).expect("a directory of the stage");
    }
    let settings =
        format!("{{\"agentId\": {number}, \"agentName\": \"r{number}\", \"workFolder\": \"_work\"}}");
    std::fs::write(root.join(".runner"), settings).expect("a file of the stage");
    root
}

fn plant_tree(tree: &Path, files: u32) {
    for number in 0..files {
        let directory = tree.join(format!("debug/{}", number / 500));
        if number % 500 == 0 {
            std::fs::create_dir_all(&directory).expect("a directory of the stage");
        }
        std::fs::write(directory.join(number.to_string()), "").expect("a file of the stage");
    }
    std::fs::write(tree.join("CACHEDIR.TAG"), SIGNATURE).expect("a file of the stage");
    std::fs::write(tree.join("large"), vec![1; MIB as usize]).expect("a file of the stage");
}

/// The hook's system calls below a Worker that is a shell.
fn count(host: &Host, worker: &Path, program: &Path) -> usize {
    let line = format!("{} --config {} hook started; exit $?", program.display(), host.config().display());
    let call = Call { program: worker.to_owned(), arguments: vec!["-c".into(), line.into()], user: None };
    let (run, calls) = calls_of(&call, program, |_| ());
    assert_eq!((run.code, run.stdout().as_str()), (Some(0), ""), "{}", run.stderr());
    calls.len()
}

/// Ends them also when the bench panics.
struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|child| drop(child.kill()));
        self.0.iter_mut().for_each(|child| drop(child.wait()));
    }
}

fn sleep() -> Child {
    let mut command = Command::new("sleep");
    command.arg("3600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("sleep starts")
}

/// One command and what its runs took.
struct Peer {
    what: String,
    command: Command,
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Peer {
    fn new(what: impl Into<String>, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { what: what.into(), command, wall: Vec::new(), cpu: Vec::new() }
    }

    fn run(&mut self) {
        let before = children();
        let begun = Instant::now();
        let status = self.command.status().expect("it starts");
        self.wall.push(begun.elapsed());
        self.cpu.push(children() - before);
        assert!(status.success(), "{}: {status}", self.what);
    }
}

/// The processor time of all children that have ended.
fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64))
        .sum()
}

fn as_worker(config: &Path, builds: &[OsString]) {
    let config = config.to_str().expect("UTF-8");
    let hook =
        |what: String, build: &OsString| Peer::new(what, build, &["--config", config, "hook", "started"]);
    let mut peers = vec![
        Peer::new(format!("bash -c \"{SHELL_LINE}\""), "bash", &["-c", SHELL_LINE]),
        Peer::new("df -P /", "df", &["-P", "/"]),
        hook("disk-guard hook started, packaged".into(), &builds[0]),
        hook("  as `cargo bench` builds it".into(), &builds[1]),
    ];
    peers.extend(builds[2..].iter().map(|build| hook(format!("  {}", build.display()), build)));
    for _ in 0..ROUNDS {
        peers.iter_mut().for_each(Peer::run);
    }
    println!("whole processes, medians of {ROUNDS} runs in turns");
    println!("{:<58} {:>8} {:>8} {:>10} {:>7}", "", "wall ms", "cpu ms", "of bash", "of df");
    let (shell, df) = (median(&peers[0].wall), median(&peers[1].wall));
    for peer in &peers {
        let wall = median(&peer.wall);
        let cpu = median(&peer.cpu);
        println!("{:<58} {wall:>8.3} {cpu:>8.3} {:>10.2} {:>7.2}", peer.what, wall / shell, wall / df);
    }
    println!("goal: the hook at most {OF_SHELL_LINE} of the shell line, at most {OF_DF} of df");
}

/// In milliseconds.
fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
