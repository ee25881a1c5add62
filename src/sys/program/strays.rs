//! Processes that a program leaves outside of its group: daemons, new sessions.
//!
//! While a call is watched this process adopts the orphans of its descendants (`PR_SET_CHILD_SUBREAPER`, prctl(2)), so that every process
//! that the program has started becomes its child in the end, and can be distinguished from earlier children.

use nix::libc;
use nix::sys::prctl::{get_child_subreaper, set_child_subreaper};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How long to wait for their end. Each killed one may have left others.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches for the processes that a call leaves behind.
pub(super) struct Strays {
    before: HashSet<libc::pid_t>,
    was_adopting: bool,
}

impl Strays {
    pub(super) fn watch() -> Self {
        let was_adopting = get_child_subreaper().unwrap_or(false);
        // Before Linux 3.4 this is not supported: then a process that leaves its group is out of reach.
        let _ = set_child_subreaper(true);
        Self { before: children().collect(), was_adopting }
    }

    /// Kills them, until there are no more.
    pub(super) fn end(self) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let strays: Vec<Pid> =
                children().filter(|pid| !self.before.contains(pid)).map(Pid::from_raw).collect();
            if strays.is_empty() {
                break;
            }
            for pid in strays {
                // Until it is reaped its pid cannot be reused.
                let _ = kill(pid, Signal::SIGKILL);
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = set_child_subreaper(self.was_adopting);
    }
}

/// The children of this process, whichever of its threads has started them.
fn children() -> impl Iterator<Item = libc::pid_t> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let listed = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    listed.flat_map(|text| {
        text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<libc::pid_t>>()
    })
}
