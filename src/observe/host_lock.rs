//! Who holds the host lock, as `/proc/locks` shows it: those of our own pid namespace, which is the host's for everybody
//! who matters here.

use crate::model::{FileId, LockHolder, LockView, Pid};
use crate::sys::process::Proc;
use procfs::{FromBufRead as _, Lock, LockType, Locks};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Looks for holders of the lock on `file`. A table that cannot be read shows none.
pub fn holders(proc: &Proc, file: FileId) -> LockView {
    let table = std::fs::read_to_string(proc.root().join("locks")).unwrap_or_default();
    let holders: Vec<LockHolder> = held(&table)
        .iter()
        .filter(|lock| is_flock_on(lock, file))
        .filter_map(|lock| lock.pid)
        .map(|pid| holder(proc, Pid(pid)))
        .collect();
    LockView { held: !holders.is_empty(), holders }
}

/// The locks that are held. Waiters are listed below with an arrow, which the procfs crate passes over.
fn held(table: &str) -> Vec<Lock> {
    let lines: Vec<&str> = table.lines().filter(|line| !line.contains("->")).collect();
    Locks::from_buf_read(lines.join("\n").as_bytes()).map(|locks| locks.0).unwrap_or_default()
}

fn is_flock_on(lock: &Lock, file: FileId) -> bool {
    let device = rustix::fs::makedev(lock.devmaj, lock.devmin);
    matches!(lock.lock_type, LockType::FLock) && lock.inode == file.ino && device == file.dev
}

fn holder(proc: &Proc, pid: Pid) -> LockHolder {
    let identity = proc.identify(pid).ok();
    LockHolder {
        pid,
        since: identity.as_ref().and_then(|identity| started(proc, identity.id.start.0)),
        process: identity.map_or_else(|| "?".to_owned(), |identity| identity.comm),
    }
}

/// When a process started: boot time plus clock ticks.
fn started(proc: &Proc, ticks: u64) -> Option<SystemTime> {
    let stat = std::fs::read_to_string(proc.root().join("stat")).ok()?;
    let boot: u64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let since_boot = Duration::from_millis(ticks * 1000 / procfs::ticks_per_second());
    UNIX_EPOCH.checked_add(Duration::from_secs(boot))?.checked_add(since_boot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::flock::{Mode, lock_within};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    #[test]
    fn holders_are_seen_and_waiters_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("host.lock");
        let file = std::fs::File::create(&path).unwrap();
        let metadata = file.metadata().unwrap();
        let id = FileId { dev: metadata.dev(), ino: metadata.ino() };
        let proc = Proc::new(Path::new("/proc"));
        assert_eq!(holders(&proc, id), LockView::default());
        lock_within(&file, Mode::Exclusive, Duration::from_secs(1)).unwrap();
        let view = holders(&proc, id);
        assert!(view.held);
        assert_eq!(view.holders[0].pid.0 as u32, std::process::id());
        assert!(view.holders[0].since.is_some());

        let table =
            "1: FLOCK  ADVISORY  WRITE 7 fe:00:5 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 8 fe:00:5 0 EOF\n";
        assert_eq!(held(table).iter().map(|lock| lock.pid).collect::<Vec<_>>(), [Some(7)]);
    }
}
