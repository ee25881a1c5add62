//! Whether a worker waits in one system call for an answer that does not come, and where.
//!
//! A server that answers some calls and not others is found by no question. But whoever waits for it sleeps in one call about a file of
//! it, and is not woken once.

use nix::unistd::Pid;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a thread sleeps without being woken until it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(8);

/// The longest path that a system call takes.
const PATH_MAX: usize = 4096;

/// The sleeping threads of one worker.
#[derive(Debug, Default)]
pub struct Stuck {
    /// By thread: how often it was woken, and since when that is so.
    asleep: HashMap<String, (String, Instant)>,
}

impl Stuck {
    /// The files and directories about which threads of this process wait without being woken. To be asked again and again. Some may
    /// wait for a lock: where no lock is waited for, such as below a mount that may die, they are stuck.
    pub fn on(&mut self, worker: Pid) -> Vec<PathBuf> {
        let process = PathBuf::from(format!("/proc/{worker}"));
        let threads = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
        let asleep = threads.filter_map(|thread| {
            let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
            let woken = wakings(&status)?.to_owned();
            Some((thread.file_name().into_string().ok()?, woken))
        });
        let now = Instant::now();
        let since = |thread: &str, woken: &str| match self.asleep.get(thread) {
            Some((before, since)) if before == woken => *since,
            _ => now,
        };
        self.asleep = asleep
            .map(|(thread, woken)| {
                let since = since(&thread, &woken);
                (thread, (woken, since))
            })
            .collect();
        let is_long = |since: &Instant| now.duration_since(*since) >= PATIENCE;
        let stuck = self.asleep.iter().filter(|(_, (_, since))| is_long(since));
        stuck.filter_map(|(thread, _)| place(&process, thread)).collect()
    }
}

/// How often a thread has been woken, if it sleeps now. A wait for FUSE can be interrupted (S) until a signal comes (D).
fn wakings(status: &str) -> Option<&str> {
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    value("State:")?.starts_with(['D', 'S']).then(|| value("voluntary_ctxt_switches:")).flatten()
}

/// What the system call of a thread is about: its first argument is a descriptor, or one of the first two is an absolute path.
fn place(process: &Path, thread: &str) -> Option<PathBuf> {
    let call = std::fs::read_to_string(process.join("task").join(thread).join("syscall")).ok()?;
    let mut words = call.split_whitespace().skip(1);
    let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (first, second) = (argument()?, argument()?);
    let descriptor = |number: &str| std::fs::read_link(process.join("fd").join(number)).ok();
    // A descriptor is an int: the upper half of its register is undefined.
    if let Some(file) = descriptor(&(first as u32 as i32).to_string()) {
        return file.is_absolute().then_some(file);
    }
    let memory = File::open(process.join("mem")).ok()?;
    // The path comes second in openat(2), first in open(2).
    let path = [second, first].into_iter().find_map(|at| path_at(&memory, at))?;
    match path.strip_prefix("/proc/self/fd") {
        Ok(number) => descriptor(number.to_str()?),
        Err(_) => Some(path),
    }
}

/// The absolute path at an address of a process.
fn path_at(memory: &File, address: u64) -> Option<PathBuf> {
    let mut text = vec![0; PATH_MAX];
    let read = memory.read_at(&mut text, address).ok()?;
    text.truncate(text[..read].iter().position(|byte| *byte == 0)?);
    let path = PathBuf::from(OsString::from_vec(text));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_sleeps_is_counted() {
        let status = |state: &str| format!("Name:\tx\nState:\t{state}\nvoluntary_ctxt_switches:\t17\n");
        assert_eq!(wakings(&status("D (disk sleep)")), Some("17"));
        assert_eq!(wakings(&status("S (sleeping)")), Some("17"));
        assert_eq!(wakings(&status("R (running)")), None);
        assert_eq!(wakings("State:\tD (disk sleep)\n"), None);
    }

    #[test]
    fn a_path_is_read_where_it_is_and_nothing_else_is_one() {
        let memory = File::open("/proc/self/mem").unwrap();
        let at = |text: &std::ffi::CStr| path_at(&memory, text.as_ptr() as u64);
        assert_eq!(at(c"/srv/x"), Some("/srv/x".into()));
        assert_eq!(at(c"srv/x"), None);
        assert_eq!(path_at(&memory, 8), None);
    }

    #[test]
    fn who_has_just_fallen_asleep_is_not_stuck() {
        let mut stuck = Stuck::default();
        assert!(stuck.on(nix::unistd::getpid()).is_empty());
        assert!(stuck.on(Pid::from_raw(i32::MAX)).is_empty());
    }
}
