//! Processes a test starts: looking at them, holding things with them, ending them by their number.

use super::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The compiled stand-in: `cargo test` builds examples beside the tests.
pub(crate) fn standin() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path = profile.join("examples/runner-standin");
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    path
}

/// The letter of a process's state and its start time; `None` when it is gone.
pub(crate) fn process_state(pid: i32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 2..].split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Whether `pid` runs; a zombie does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    process_state(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Ends exactly the process that had this number and start time, and waits until it is gone.
pub(crate) fn end(pid: i32, start: u64) {
    let gone =
        || !matches!(process_state(pid), Some((state, now)) if now == start && !matches!(state, 'Z' | 'X'));
    if !gone() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        until(&format!("process {pid} to end"), || gone().then_some(()));
    }
}

/// Ends every process whose environment carries `RUNNER_TRACKING_ID=tracking`, as the runner does at a job's end.
pub(crate) fn end_tracked(tracking: &str) {
    let wanted = format!("RUNNER_TRACKING_ID={tracking}");
    for (pid, directory) in every_process() {
        let environ = std::fs::read(directory.join("environ")).unwrap_or_default();
        if environ.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes())
            && let Some((_, start)) = process_state(pid)
        {
            end(pid, start);
        }
    }
}

/// Workers that run anywhere on this computer.
pub(crate) fn workers() -> Vec<i32> {
    let is_worker =
        |directory: &Path| std::fs::read(directory.join("comm")).is_ok_and(|comm| comm == b"Runner.Worker\n");
    every_process().filter(|(pid, dir)| is_worker(dir) && is_alive(*pid)).map(|(pid, _)| pid).collect()
}

fn every_process() -> impl Iterator<Item = (i32, PathBuf)> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

/// A process that holds one thing (`runner-standin hold WHAT PATH`) until it is dropped.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
}

impl Holder {
    /// Starts it and waits until it holds.
    pub(crate) fn new(what: &str, path: &Path) -> Self {
        Self::run(Command::new(standin()).args(["hold", what]).arg(path))
    }

    /// The same with a program of one's own that prints `holding`.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the holder starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("the holder speaks");
        let holder = Self { child };
        assert_eq!(line, "holding\n", "the holder could not hold");
        holder
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
