//! Whether deleting frees space at all. Snapshots, reflinks and lower layers may keep the blocks of deleted files.

use crate::model::dedupe::DedupeRule;
use crate::model::{Cache, LargeFile};
use crate::sys::dir::Dir;
use crate::sys::extents::{SharedExtents, shared};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

/// Which bytes of a tree count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// All that are allocated.
    All,
    /// Those that its files do not share with others: the gain of a removal.
    Own,
}

impl Counted {
    /// If the guard itself makes files share their blocks, shared blocks do not count.
    pub fn under(rule: &DedupeRule) -> Self {
        if rule.enabled { Self::Own } else { Self::All }
    }
}

/// The maximum of files of one cache that are asked, the largest first.
const FILES: usize = 24;

/// How long one cache is asked: a filesystem with many snapshots answers slowly.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long all largest files of one cache may take.
const ALL_FILES: Duration = Duration::from_secs(2);

/// Whether files of such a filesystem can share space, so that the gain of a deletion is only known afterwards.
pub fn is_possible(fs_type: &str) -> bool {
    !matches!(fs_type, "ext2" | "ext3" | "ext4" | "tmpfs" | "f2fs" | "reiserfs" | "jfs")
}

/// Whether most of a cache's space is shared with others, as far as its largest files show. False if the filesystem does not report it.
pub fn is_shared(work: &Dir, cache: &Cache) -> bool {
    let until = Instant::now() + PATIENCE;
    let Ok(tree) = work.descend(&cache.below_work) else { return false };
    let mut sum = SharedExtents::default();
    for large in cache.largest.iter().take(FILES) {
        if Instant::now() > until {
            break;
        }
        match tree.open_file(&large.below).and_then(|file| shared(&file)) {
            Ok(file) => sum = SharedExtents { seen: sum.seen + file.seen, shared: sum.shared + file.shared },
            Err(_) => continue,
        }
    }
    sum.shared / 3 >= sum.seen / 4 && sum.shared > 0
}

/// Bytes of a tree that its largest files share with others, as far as their extents show: removing it does not free them. None if files
/// cannot share, or if the filesystem does not report it.
pub fn shared_bytes(tree: &Dir, largest: &[LargeFile]) -> u64 {
    let until = Instant::now() + ALL_FILES;
    let files = largest.iter().take_while(|_| Instant::now() < until);
    // A file with several names is listed under each.
    let mut seen = HashSet::new();
    let each = files.map_while(|large| match tree.open_file(&large.below) {
        Ok(file) if !file.metadata().is_ok_and(|metadata| seen.insert(metadata.ino())) => Some(0),
        // One that does not report any has none.
        Ok(file) => shared_part(&file, large.allocated).ok(),
        Err(_) => Some(0),
    });
    each.sum()
}

/// The part of a file's `allocated` bytes that it shares with others, as far as its first extents show.
///
/// # Errors
/// As [`shared`].
pub fn shared_part(file: &File, allocated: u64) -> io::Result<u64> {
    let found = shared(file)?;
    if found.seen == 0 {
        return Ok(0);
    }
    let part = u128::from(allocated) * u128::from(found.shared) / u128::from(found.seen);
    Ok(u64::try_from(part).unwrap_or(allocated).min(allocated))
}

/// The advice for people.
pub fn remedy(fs_type: &str) -> &'static str {
    match fs_type {
        "btrfs" => {
            "check `btrfs subvolume list -s` and the snapshots of snapper or timeshift, and keep work directories in a subvolume that is not snapshotted"
        }
        "zfs" => {
            "check `zfs list -t snapshot`, and keep work directories on a dataset that is not snapshotted"
        }
        "overlay" => "files in the image's layers cannot be freed: mount a volume for work directories",
        "xfs" => "files share their blocks (reflinks, `cp --reflink`): delete the copies as well",
        _ => "snapshots, reflinks or deduplication hold it",
    }
}
