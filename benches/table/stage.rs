//! Hosts with runners, caches and processes, and disk-guard run on them as a process.

use super::kit::{Host, SIGNATURE, grow_old};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Makes this program a Worker that runs one command and prints how long it took, in nanoseconds.
pub(crate) const AS_WORKER: &str = "--as-worker";

/// Makes this program the parent of one command, whose peak memory it prints, in KiB.
pub(crate) const PEAK_OF: &str = "--peak-of";

const DAY: Duration = Duration::from_secs(86_400);

/// A guarded runner that has worked once.
pub(crate) fn plant_runner(host: &Host, number: usize) -> PathBuf {
    let root = host.runners().join(format!("actions-runner-{number}"));
    for directory in ["bin", "_diag", "_work/_temp"] {
        fs::create_dir_all(root.join(directory)).expect("a directory of the stage");
    }
    let settings =
        format!("{{\"agentId\": {number}, \"agentName\": \"r{number}\", \"workFolder\": \"_work\"}}");
    fs::write(root.join(".runner"), settings).expect("a file of the stage");
    let hooks = format!(
        "ACTIONS_RUNNER_HOOK_JOB_STARTED={}\nACTIONS_RUNNER_HOOK_JOB_COMPLETED={}\n",
        host.started_script().display(),
        host.completed_script().display()
    );
    fs::write(root.join(".env"), hooks).expect("a file of the stage");
    // Copied once and by another process: while this one had it open for writing, a thread could fork, and keep it open.
    let worker = host.base.join("worker");
    if !worker.exists() {
        let us = std::env::current_exe().expect("a bench has a binary");
        assert!(Command::new("cp").arg(us).arg(&worker).status().expect("cp runs").success());
    }
    let installed = root.join("bin/Runner.Worker");
    let linked = fs::hard_link(&worker, &installed).is_ok();
    assert!(linked || Command::new("cp").arg(&worker).arg(&installed).status().is_ok_and(|s| s.success()));
    root
}

/// Where the cache of a runner's repository lies.
pub(crate) fn target(root: &Path, repository: &str) -> PathBuf {
    root.join("_work").join(repository).join(repository).join("target")
}

/// A cache of so many files in directories of at most a hundred, each with so many bytes allocated; two days old.
pub(crate) fn plant_cache(root: &Path, repository: &str, files: usize, each: u64) -> PathBuf {
    let target = target(root, repository);
    for number in 0..files {
        let directory = target.join(format!("debug/deps/{}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&directory).expect("a directory of the stage");
        }
        let file = fs::File::create(directory.join(number.to_string())).expect("a file of the stage");
        if each > 0 {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, each).expect("room for it");
        }
    }
    make_cache_of(&target);
    target
}

/// Declares a tree to be cargo's, two days old.
pub(crate) fn make_cache_of(tree: &Path) {
    fs::create_dir_all(tree.join("debug")).expect("a directory of the stage");
    fs::write(tree.join("CACHEDIR.TAG"), SIGNATURE).expect("a file of the stage");
    grow_old(tree, 2 * DAY);
}

/// Processes that end with this value, also when the bench panics.
pub(crate) struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|child| drop(child.kill()));
        self.0.iter_mut().for_each(|child| drop(child.wait()));
    }
}

impl Crowd {
    /// So many that sleep.
    pub(crate) fn asleep(size: usize) -> Self {
        let sleep = || {
            let mut command = Command::new("sleep");
            command.arg("3600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("sleep starts")
        };
        let crowd = Self((0..size).map(|_| sleep()).collect());
        // exec is not over when spawn returns for the last ones.
        std::thread::sleep(Duration::from_millis(500));
        crowd
    }

    /// So many that hold so many files open and have so many mappings each; `None` without Python.
    pub(crate) fn holding(size: usize, files: usize, mappings: usize) -> Option<Self> {
        const SCRIPT: &str = "
import mmap, os, signal, sys, tempfile
size, files, mappings = map(int, sys.argv[1:])
for _ in range(size):
    if os.fork() == 0:
        signal.alarm(3600)
        kept = [tempfile.TemporaryFile() for _ in range(files)]
        kept[0].truncate(mappings * 8192)
        # Every second page, so that the kernel does not merge them.
        kept += [mmap.mmap(kept[0].fileno(), 4096, offset=n * 8192) for n in range(mappings)]
        os.read(0, 1)
        os._exit(0)
print('ready', flush=True)
os.read(0, 1)
";
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT]).args([size, files, mappings].map(|number| number.to_string()));
        // Its children end when this end of the pipe is closed.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        BufReader::new(child.stdout.take()?).read_line(&mut String::new()).ok()?;
        std::thread::sleep(Duration::from_millis(500));
        Some(Self(vec![child]))
    }
}

/// A program that runs below a Worker of the runner at `root`, which is this program by another name.
pub(crate) fn below_worker(root: &Path, program: &Path, arguments: &[OsString]) -> Command {
    let mut command = Command::new(root.join("bin/Runner.Worker"));
    command.arg(AS_WORKER).arg(program).args(arguments);
    command.env_remove("GITHUB_WORKSPACE").stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// How long the program below a Worker took, as the Worker has seen it, and what it said.
pub(crate) fn told(mut worker: Command) -> (Duration, String) {
    let output = worker.output().expect("the Worker starts");
    assert!(output.status.success(), "{worker:?}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let took = text.lines().last().and_then(|line| line.parse().ok()).expect("the Worker says how long");
    (Duration::from_nanos(took), text.into_owned())
}

/// How long it took.
pub(crate) fn timed(worker: Command) -> Duration {
    told(worker).0
}

/// `disk-guard --config CONFIG ARGUMENTS` as arguments.
pub(crate) fn arguments(config: &Path, rest: &[&str]) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["--config".into(), config.into()];
    all.extend(rest.iter().map(OsString::from));
    all
}

/// Plays the Worker.
pub(crate) fn as_worker(program: &OsStr, arguments: &[OsString]) {
    let begun = Instant::now();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let status = command.status().expect("it starts");
    let took = begun.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    println!("\n{}", took.as_nanos());
}

/// Runs one command and prints its peak memory.
pub(crate) fn peak_of(program: &OsStr, arguments: &[OsString]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().expect("it starts");
    assert!(status.code().is_some(), "{status}");
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    println!("{}", usage.expect("getrusage").max_rss());
}

/// The most memory that a command has had resident, in MiB.
pub(crate) fn peak(program: &Path, arguments: &[OsString]) -> f64 {
    let us = std::env::current_exe().expect("a bench has a binary");
    let output = Command::new(us).arg(PEAK_OF).arg(program).args(arguments).output().expect("it starts");
    let kib: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a figure");
    kib / 1024.0
}

/// Runs a command to its end, its output thrown away; how long it took. 20 is a goal that is not reached, 1 a `pgrep` that finds nothing.
pub(crate) fn run(program: &Path, arguments: &[impl AsRef<OsStr>]) -> Duration {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let status = command.status().expect("it starts");
    let took = begun.elapsed();
    assert!(status.code().is_some_and(|code| matches!(code, 0 | 1 | 20)), "{command:?}: {status}");
    took
}
