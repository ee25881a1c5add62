//! Who holds the host lock, according to `/proc/locks`: processes of our own pid namespace, which is the host's in all relevant cases.

use crate::model::{FileId, LockHolder, LockView, Pid};
use crate::sys::process::{Proc, started};
use procfs::{FromBufRead as _, Lock, LockType, Locks};

/// Searches the holders of the lock on `file`. A table that cannot be read shows none.
pub fn holders(proc: &Proc, file: FileId) -> LockView {
    let table = std::fs::read_to_string(proc.root().join("locks")).unwrap_or_default();
    let holders: Vec<LockHolder> = holding(&table, file).into_iter().map(|pid| holder(proc, pid)).collect();
    LockView { held: !holders.is_empty(), holders }
}

/// Who holds a flock on `file`. Waiters are listed below with an arrow, which the procfs crate skips. A line that cannot be parsed is
/// about another lock, and hides no holder.
pub(crate) fn holding(table: &str, file: FileId) -> Vec<Pid> {
    let lines = table.lines().filter(|line| !line.contains("->"));
    let locks = lines.filter_map(|line| Locks::from_buf_read(line.as_bytes()).ok()).flat_map(|locks| locks.0);
    locks.filter(|lock| is_flock_on(lock, file)).filter_map(|lock| lock.pid).map(Pid).collect()
}

fn is_flock_on(lock: &Lock, file: FileId) -> bool {
    let device = rustix::fs::makedev(lock.devmaj, lock.devmin);
    matches!(lock.lock_type, LockType::FLock) && lock.inode == file.ino && device == file.dev
}

fn holder(proc: &Proc, pid: Pid) -> LockHolder {
    let identity = proc.identify(pid).ok();
    LockHolder {
        pid,
        since: identity.as_ref().and_then(|identity| started(proc.boot_time()?, identity.id.start)),
        process: identity.map_or_else(|| "?".to_owned(), |identity| identity.comm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::flock::{LockMode, lock_within};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn holders_are_seen_and_waiters_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("host.lock");
        let file = std::fs::File::create(&path).unwrap();
        let metadata = file.metadata().unwrap();
        let id = FileId { dev: metadata.dev(), ino: metadata.ino() };
        let proc = Proc::new(Path::new("/proc"));
        assert_eq!(holders(&proc, id), LockView::default());
        lock_within(&file, LockMode::Exclusive, Duration::from_secs(1)).unwrap();
        let view = holders(&proc, id);
        assert!(view.held);
        assert_eq!(view.holders[0].pid.0 as u32, std::process::id());
        assert!(view.holders[0].since.is_some());

        let table = "1: FLOCK  ADVISORY  WRITE 7 fe:00:5 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 8 fe:00:5 0 EOF\n2: NEW\n";
        let file = FileId { dev: rustix::fs::makedev(0xfe, 0), ino: 5 };
        assert_eq!(holding(table, file), [Pid(7)], "what is not understood hides nobody");
        assert_eq!(holding(table, FileId { ino: 6, ..file }), []);
    }
}
