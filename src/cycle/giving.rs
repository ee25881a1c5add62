//! How much space removals really free, compared with what was expected.
//!
//! On most filesystems deleting a file frees its blocks. Where files can share blocks (btrfs, xfs, zfs, overlay), snapshots and reflinks
//! may keep the blocks of a deleted file; removing more would cost every cache of the host and free nothing. There the guard first checks
//! whether a cache's space is shared, then removes that cache alone, and removes others only when it has freed what it held. The measured
//! gain is what counts as freed.

use crate::model::{Action, Decision, Filesystem, FilesystemId, KeepReason, Plan, RemoveReason, Retention};
use crate::observe::caches::open_work;
use crate::observe::sharing;
use crate::sys::dir::Dir;
use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long to wait for a filesystem that frees space asynchronously (btrfs: with its next transaction).
const SETTLES: Duration = Duration::from_secs(10);

/// How long to wait after it has been synchronised.
const SYNCED: Duration = Duration::from_secs(1);

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Smaller amounts are not significant: others write to the disk at the same time.
const TELLING: u64 = 4 << 20;

/// After this many caches that share their space on a disk, nothing more is tried there.
const MOST_SHARED: usize = 8;

/// A plan's removals.
#[derive(Debug, Default)]
pub(super) struct Sorted<'p> {
    /// To be carried out now.
    pub(super) now: Vec<&'p Action>,
    /// These share their space with something else. Others may be removed instead.
    pub(super) shared: Vec<Action>,
    /// On a disk where nothing more is tried.
    pub(super) never: Vec<Action>,
}

/// The results of removals during a run.
#[derive(Debug, Default)]
pub(super) struct Giving {
    /// Whether caches share blocks because of `dedupe`: then the gain of one is known only when it is gone, and the sizes of the others
    /// change with it. They are removed one at a time.
    dedupes: bool,
    freed: BTreeMap<FilesystemId, u64>,
    /// Filesystems where a removal has freed its size.
    proven: HashSet<FilesystemId>,
    /// Filesystems where a removal has freed less.
    stopped: HashSet<FilesystemId>,
    /// The number of caches with shared space.
    shared: BTreeMap<FilesystemId, usize>,
    /// Filesystems where a directory could not be moved.
    immovable: HashSet<FilesystemId>,
    notes: Vec<String>,
}

impl Giving {
    /// Caches of several runners share blocks because of `dedupe`.
    pub(super) fn with_dedupe() -> Self {
        Self { dedupes: true, ..Self::default() }
    }

    /// The size of a removed tree.
    pub(super) fn add(&mut self, on: FilesystemId, bytes: u64) {
        *self.freed.entry(on).or_default() += bytes;
    }

    /// Bytes that were freed.
    pub(super) fn freed_bytes(&self) -> u64 {
        self.freed.values().sum()
    }

    /// Remarks for the end of the run.
    pub(super) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// For people.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Which of a plan's removals are to be carried out now, and which are kept because they would free little.
    pub(super) fn sort<'p>(&mut self, plan: &'p Plan, disks: &[Filesystem]) -> Sorted<'p> {
        let mut sorted = Sorted::default();
        let mut tried = HashSet::new();
        let stays =
            |action: &Action| Action { decision: Decision::Keep(KeepReason::GivesLittle), ..action.clone() };
        for action in plan.removals() {
            let Some(disk) = shared_disk(action, disks) else {
                sorted.now.push(action);
                continue;
            };
            if self.stopped.contains(&disk.id) {
                sorted.never.push(stays(action));
            } else if !self.dedupes && is_shared(action) {
                self.note_shared(disk, action);
                sorted.shared.push(stays(action));
            } else if self.proven.contains(&disk.id) || tried.insert(disk.id) {
                sorted.now.push(action);
            }
        }
        sorted
    }

    /// A cache with shared space is kept, and others may be removed instead; after a few of them nothing more is tried.
    fn note_shared(&mut self, disk: &Filesystem, action: &Action) {
        let met = self.shared.entry(disk.id).or_default();
        *met += 1;
        let (met, path) = (*met, action.cache.path.display());
        if met >= MOST_SHARED {
            self.stop(disk, format!("{path} and others share their space"));
        } else if met == 1 {
            let (mount, remedy) = (disk.mount.display(), sharing::remedy(&disk.fs_type));
            self.notes.push(format!(
                "{mount}: {path} shares its blocks, so it is kept: snapshots or reflinks hold the same blocks; {remedy}"
            ));
        }
    }

    /// Records that a directory on this disk cannot be moved; returns whether that is reported for the first time. The removals after it
    /// are tried at once: trying them one at a time would show nothing new.
    pub(super) fn cannot_move(&mut self, on: FilesystemId) -> bool {
        self.proven.insert(on);
        self.immovable.insert(on)
    }

    fn stop(&mut self, disk: &Filesystem, why: String) {
        if self.stopped.insert(disk.id) {
            let (mount, remedy) = (disk.mount.display(), sharing::remedy(&disk.fs_type));
            self.notes.push(format!(
                "{mount}: {why}, so nothing more is removed there: snapshots or reflinks hold what caches held; {remedy}"
            ));
        }
    }

    /// Begins to watch the disks of the trees that will be deleted: any directory on each.
    pub(super) fn watch<'d>(
        &self,
        disks: &'d [Filesystem],
        directories: impl Iterator<Item = (FilesystemId, Dir)>,
    ) -> Vec<Watched<'d>> {
        let mut watched: Vec<Watched<'d>> = Vec::new();
        for (id, dir) in directories {
            let disk = disks.iter().find(|disk| disk.id == id && sharing::is_possible(&disk.fs_type));
            let is_new = watched.iter().all(|one| one.disk.id != id);
            if let (Some(disk), true, Ok(usage)) = (disk, is_new, dir.usage()) {
                let freed = self.freed.get(&id).copied().unwrap_or(0);
                watched.push(Watched { disk, dir, available: usage.available_bytes, freed });
            }
        }
        watched
    }

    /// Compares the space that was freed with the size of what was deleted since.
    pub(super) fn compare(&mut self, watched: Vec<Watched<'_>>, deadline: Instant) {
        for watched in watched {
            let id = watched.disk.id;
            let expected = self.freed.get(&id).copied().unwrap_or(0).saturating_sub(watched.freed);
            if expected < TELLING {
                continue;
            }
            let gained = watched.gained(expected, deadline).min(expected);
            self.freed.insert(id, watched.freed + gained);
            if gained >= expected / 4 {
                if !self.dedupes {
                    self.proven.insert(id);
                }
                continue;
            }
            let why =
                format!("the removed files held {} MiB, and {} MiB came free", expected >> 20, gained >> 20);
            self.proven.remove(&id);
            self.stop(watched.disk, why);
        }
    }
}

/// The disk of an action that has to prove its gain there: removed for its space alone, where files can share space.
fn shared_disk<'d>(action: &Action, disks: &'d [Filesystem]) -> Option<&'d Filesystem> {
    let is_leftover = Retention::NAMES.contains(&action.cache.rule.as_str());
    let for_space =
        matches!(action.decision, Decision::Remove(RemoveReason::Pressure | RemoveReason::Forecast))
            && !is_leftover;
    let base = action.cache.base(&action.runner).filter(|_| for_space)?;
    disks.iter().find(|disk| disk.id == base.filesystem && sharing::is_possible(&disk.fs_type))
}

fn is_shared(action: &Action) -> bool {
    let base = action.cache.base(&action.runner).and_then(|base| open_work(base).ok());
    base.is_some_and(|base| sharing::is_shared(&base, &action.cache))
}

/// A disk on which something is being deleted.
pub(super) struct Watched<'d> {
    disk: &'d Filesystem,
    dir: Dir,
    available: u64,
    freed: u64,
}

impl Watched<'_> {
    /// The space that was freed; waits as long as it may still grow to what is expected.
    fn gained(&self, expected: u64, deadline: Instant) -> u64 {
        let now = || {
            let usage = self.dir.usage().map_or(self.available, |usage| usage.available_bytes);
            usage.saturating_sub(self.available)
        };
        let enough = expected / 4 * 3;
        if now() >= enough {
            return now();
        }
        let synced = self.synchronise();
        let mut until = (Instant::now() + SETTLES).min(deadline);
        while now() < enough && Instant::now() < until {
            match synced.recv_timeout(LOOK_AGAIN) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Ok(()) => until = until.min(Instant::now() + SYNCED),
                // Done: only the filesystem's own threads are left to wait for.
                Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_AGAIN),
            }
        }
        now()
    }

    /// In a thread that can be abandoned: on a busy disk it may take minutes.
    fn synchronise(&self) -> mpsc::Receiver<()> {
        let (done, synced) = mpsc::channel();
        if let Ok(dir) = self.dir.try_clone() {
            std::thread::spawn(move || {
                let _ = rustix::fs::syncfs(&dir);
                let _ = done.send(());
            });
        }
        synced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Usage;
    use std::path::PathBuf;

    fn disk(kind: &str) -> Filesystem {
        let usage =
            Usage { total_bytes: 1, used_bytes: 1, available_bytes: 0, inodes_total: 0, inodes_free: 0 };
        let id = FilesystemId { major: 1, minor: 2 };
        Filesystem { id, mount: PathBuf::from("/srv"), fs_type: kind.into(), usage }
    }

    #[test]
    fn a_delete_that_freed_nothing_is_not_counted_and_stops_a_disk_with_shared_blocks() {
        let temp = tempfile::tempdir().unwrap();
        let handle = || Dir::resolve(temp.path()).unwrap().0;
        for (kind, freed, notes) in [("btrfs", 0, 1), ("ext4", 1 << 50, 0)] {
            let mut giving = Giving::default();
            let disk = [disk(kind)];
            let watched = giving.watch(&disk, [(disk[0].id, handle())].into_iter());
            // More than any test deletes at the same time.
            giving.add(disk[0].id, 1 << 50);
            giving.compare(watched, Instant::now());
            assert_eq!((giving.freed_bytes() >> 40, giving.notes().len()), (freed >> 40, notes), "{kind}");
        }
        let mut giving = Giving::default();
        let disk = [disk("xfs")];
        let watched = giving.watch(&disk, [(disk[0].id, handle())].into_iter());
        giving.add(disk[0].id, TELLING - 1);
        giving.compare(watched, Instant::now());
        assert_eq!((giving.freed_bytes(), giving.notes().len()), (TELLING - 1, 0), "too little to tell");
    }
}
