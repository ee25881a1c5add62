//! What happens to processes on a bad day.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

pub(crate) enum Blow {
    None,
    Paused,
    Killed,
}

/// Stops `pid` for a while or kills it, some milliseconds after its start; most are spared. A hook is over in a few
/// milliseconds when there is nothing to do, and a claim lies a few more behind its start.
pub(crate) fn strike(pid: i32, random: &mut fastrand::Rng) -> Blow {
    let luck = random.u8(..);
    if luck >= 64 {
        return Blow::None;
    }
    std::thread::sleep(Duration::from_micros(random.u64(0..60_000)));
    let pid = Pid::from_raw(pid);
    if luck < 32 {
        // It is our child, or the child of a Worker that waits for us: the number cannot have gone to another.
        return if kill(pid, Signal::SIGKILL).is_ok() { Blow::Killed } else { Blow::None };
    }
    if kill(pid, Signal::SIGSTOP).is_err() {
        return Blow::None;
    }
    std::thread::sleep(Duration::from_millis(random.u64(1..300)));
    let _ = kill(pid, Signal::SIGCONT);
    Blow::Paused
}
