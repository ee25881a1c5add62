//! Whether the Worker of a lease that counts pids in another namespace (as a container's job does) can still be alive.
//!
//! A process has the same start time in every pid namespace, and its status shows to the outside which numbers it has inside. So from the
//! host's own pid namespace, where every process is visible, one look at all of them shows which Workers are dead.

use crate::model::{Pid, ProcessId};
use crate::sys::process::{LookError, Proc};
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;

/// All living processes of the host, by their numbers in every pid namespace.
#[derive(Debug)]
pub(super) struct Census {
    by_number: HashMap<i32, Vec<Pid>>,
}

impl Census {
    /// Looks at every process. The caller has made sure that every process is visible.
    ///
    /// # Errors
    /// When one of them cannot be looked at: then no process is known to be dead.
    pub(super) fn take(proc: &Proc) -> io::Result<Self> {
        let mut by_number: HashMap<i32, Vec<Pid>> = HashMap::new();
        for entry in std::fs::read_dir(proc.root())? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid) else {
                continue;
            };
            let status = match std::fs::read(proc.path_of(pid, "status")) {
                Ok(status) => status,
                Err(error) => match LookError::from_io(pid, error) {
                    LookError::Gone(_) => continue,
                    hidden @ LookError::Hidden { .. } => return Err(io::Error::other(hidden)),
                },
            };
            for number in numbers(&status) {
                by_number.entry(number).or_default().push(pid);
            }
        }
        Ok(Self { by_number })
    }

    /// Whether `worker`, known by its number in some namespace, is certainly dead.
    pub(super) fn is_dead(&self, proc: &Proc, worker: ProcessId) -> bool {
        let bearers = self.by_number.get(&worker.pid.0).into_iter().flatten();
        bearers.copied().all(|pid| match proc.identify(pid) {
            Err(LookError::Gone(_)) => true,
            Err(LookError::Hidden { .. }) => false,
            Ok(now) => now.is_zombie || (now.id.start != worker.start && has_our_clock(proc, pid)),
        })
    }
}

/// The numbers of a process, from the outermost visible namespace to its own.
fn numbers(status: &[u8]) -> Vec<i32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Whether a process reports its start time on our clock: in a time namespace of its own it may not.
fn has_our_clock(proc: &Proc, pid: Pid) -> bool {
    let namespace = |path: std::path::PathBuf| std::fs::metadata(path).map(|metadata| metadata.ino());
    match (namespace(proc.path_of(pid, "ns/time")), namespace(proc.root().join("self/ns/time"))) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        // Before Linux 5.6 there are no time namespaces.
        (Err(theirs), Err(ours)) => {
            theirs.kind() == io::ErrorKind::NotFound && ours.kind() == io::ErrorKind::NotFound
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StartTime;
    use std::path::Path;

    #[test]
    fn the_living_are_found_by_any_of_their_numbers() {
        assert_eq!(numbers(b"Name:\tx\nNSpid:\t4711\t7\nThreads:\t1\n"), [4711, 7]);
        assert!(numbers(b"Name:\tx\n").is_empty());
        let proc = Proc::new(Path::new("/proc"));
        let census = Census::take(&proc).unwrap();
        let me = proc.identify(Pid(std::process::id() as i32)).unwrap().id;
        assert!(!census.is_dead(&proc, me));
        assert!(census.is_dead(&proc, ProcessId { start: StartTime(me.start.0 + 1), ..me }));
        assert!(census.is_dead(&proc, ProcessId { pid: Pid(i32::MAX), start: StartTime(1) }));
    }
}
