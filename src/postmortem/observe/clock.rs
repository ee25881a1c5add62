//! The host's boot and its clocks.

use crate::model::Lease;
use crate::model::postmortem::{HostClock, Observed};
use crate::sys::process::Proc;
use nix::time::{ClockId, clock_gettime};
use std::io::Read as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `/proc/stat` has a line of interrupts that is long on large hosts, before the line in question.
const MAX_STAT: u64 = 4 << 20;

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

/// Time since boot without sleep, as kernel messages and systemd count it.
pub(super) fn monotonic() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// This boot, and the differences between the clocks. `lease` is that of the job in question.
pub(super) fn look(proc: &Proc, lease: Option<&Lease>) -> Observed<HostClock> {
    let (Ok(boot_id), Some(booted)) = (proc.boot_id(), booted(proc)) else {
        return Observed::missing(
            "this boot's id and time",
            "make /proc/stat and /proc/sys visible to the guard (ProcSubset=all)",
        );
    };
    let slept = read(ClockId::CLOCK_BOOTTIME).saturating_sub(monotonic());
    let here = lease.filter(|lease| lease.boot_id == boot_id);
    let put_forward = here.map(|lease| put_forward(lease.worker.start.0, lease.since, booted));
    Observed::Known(HostClock { boot_id, booted, slept, put_forward })
}

/// When this boot began: `btime` of `/proc/stat` (proc(5)), which is the wall clock minus the time since boot and so moves with the wall
/// clock.
pub(super) fn booted(proc: &Proc) -> Option<SystemTime> {
    let mut text = String::new();
    std::fs::File::open(proc.root().join("stat")).ok()?.take(MAX_STAT).read_to_string(&mut text).ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// A Worker begins before its lease is written. If, by the present clock, it seems to have begun later, the clock has been set forward
/// since by at least the difference.
fn put_forward(start_ticks: u64, since: SystemTime, booted: SystemTime) -> Duration {
    let ticks = procfs::ticks_per_second().max(1);
    let begun = booted.checked_add(Duration::from_millis(start_ticks.saturating_mul(1000) / ticks));
    begun.and_then(|begun| begun.duration_since(since).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_seems_younger_than_its_lease_shows_a_clock_put_forward() {
        let ticks = procfs::ticks_per_second();
        let booted = UNIX_EPOCH + Duration::from_secs(1000);
        let since = UNIX_EPOCH + Duration::from_secs(1105);
        assert_eq!(put_forward(100 * ticks, since, booted), Duration::ZERO);
        assert_eq!(
            put_forward(100 * ticks, since, booted + Duration::from_secs(3600)),
            Duration::from_secs(3595)
        );
        let _ = put_forward(u64::MAX, since, booted);
    }

    #[test]
    fn this_boot_is_known() {
        let Observed::Known(clock) = look(&Proc::new(std::path::Path::new("/proc")), None) else {
            panic!("it is there")
        };
        assert_eq!(clock.boot_id.len(), 36);
        assert_eq!(clock.put_forward, None);
        assert!(clock.booted > UNIX_EPOCH);
    }
}
