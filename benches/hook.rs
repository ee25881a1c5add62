//! Goal 1: the started-hook on a healthy disk, as a whole process, against the shell line that it replaces and against `df`
//! alone, in turns within one run. And its system calls, which must not grow with runners, processes or trees.
//!
//! `cargo bench --bench hook [-- OTHER_BUILD...]`: each further argument is another build of disk-guard, timed in the same
//! turns. `TMPDIR=/dev/shm` puts the stage on tmpfs. The bench plays the Worker itself: it is copied to `bin/Runner.Worker`
//! of a runner on the stage and run from there, so that the hook finds its runner by ancestry, as in a job.
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
    let mut host = Host::new();
    // Healthy, whatever the disk of this computer is like.
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let own = plant_runner(&host, 1);
    let worker = own.join("bin/Runner.Worker");
    std::fs::copy(std::env::current_exe().expect("our own file"), &worker).expect("the Worker is installed");
    let mut timed = Command::new(&worker);
    timed.arg(AS_WORKER).arg(host.config()).arg(host.program()).args(others);
    assert!(timed.status().expect("the Worker starts").success());

    std::fs::copy("/bin/bash", &worker).expect("the Worker is installed");
    let alone = count(&host, &worker);
    println!("\nsystem calls, with a Worker that is a shell (goal: under {CALLS}, and always the same)");
    println!("{:<44} {alone:>8}", "one runner");
    for number in 2..=200 {
        plant_runner(&host, number);
    }
    println!("{:<44} {:>8}", "200 runners", count(&host, &worker));
    plant_tree(&own.join("_work/widgets/widgets/target"), 10_000);
    println!("{:<44} {:>8}", "and a cache of 10,000 files", count(&host, &worker));
    let crowd = Crowd((0..2000).map(|_| sleep()).collect());
    let all = count(&host, &worker);
    println!("{:<44} {all:>8}", "and 2,000 processes");
    drop(crowd);
    assert!(all == alone && all < CALLS, "{alone} system calls, and {all} in a crowd");
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
fn count(host: &Host, worker: &Path) -> usize {
    let (program, config) = (host.program(), host.config());
    let line = format!("{} --config {} hook started; exit $?", program.display(), config.display());
    let call = Call { program: worker.to_owned(), arguments: vec!["-c".into(), line.into()], user: None };
    let (run, calls) = calls_of(&call, &program, |_| ());
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
        hook("disk-guard hook started".into(), &builds[0]),
    ];
    peers.extend(builds[1..].iter().map(|build| hook(format!("  {}", build.display()), build)));
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
