//! Shared blocks: equal files in caches of several runners are stored on the disk once (`[dedupe]`; btrfs, xfs with reflink).
//!
//! ```text
//! observe::host -> policy::dedupe (pure) -> for each pair: open, check whether it shares its blocks already, share -> report
//! ```
//!
//! - **Only the location of blocks changes.** The kernel locks both ranges, compares them, and shares them only if they are equal
//!   (ioctl_fideduperange(2)). Hard links are never used: cargo writes in place.
//! - **Only idle runners.** Sharing a live job's files would be safe but slow the job: while two ranges are compared a writer waits for both,
//!   and a later write has to copy the block first. So both runners of a pair are provably idle when it begins, and a runner that gets a job
//!   is left out from then on, at the latest after 16 MiB.
//! - **Handles only.** A cache is opened from its work directory's handle, and its identity is compared. A file beneath it is opened for
//!   reading, without following a link or entering a mount.
//! - **Low priority**: idle priority for disk and processor, a limit of bytes and of time, the largest files first.

pub mod record;

use crate::model::dedupe::{DedupeCache, DedupePair, DedupeReport};
use crate::model::{Cache, Execution, FileId, Runner};
use crate::observe::caches::open_work;
use crate::sys::btrfs;
use crate::sys::dedupe::{CHUNK, Comparison, be_idle, share};
use crate::sys::dir::Dir;
use crate::sys::extents::are_one;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// How long to wait where blocks become free later.
const SETTLES: Duration = Duration::from_secs(5);

/// After this many failures in a row, without any success before, a filesystem counts as unable to share blocks.
const HOPELESS: u64 = 4;

/// The limits of one run.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// The maximum of bytes that are shared. Pairs that share their blocks already, or differ, do not count: they are met again in each run
    /// and would use up the limit. The kernel ends a comparison at the first difference.
    pub bytes: u64,
    /// When it ends.
    pub deadline: Instant,
}

/// Returns the roots of runners with jobs that have begun since the look; `None` while that is unknown.
pub type Arrivals<'a> = dyn Fn() -> Option<HashSet<FileId>> + Sync + 'a;

/// Shares equal blocks. `came` is asked before each comparison.
pub fn run(
    caches: &[DedupeCache],
    pairs: &[DedupePair],
    budget: Budget,
    came: &Arrivals<'_>,
) -> DedupeReport {
    let begun = Instant::now();
    let mut report = planned(pairs, Execution::Apply);
    let disks = disks(caches, pairs);
    let before = available(&disks);
    // A priority is a thread's own.
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            be_idle();
            let mut run = DedupeRun { caches, budget, came, report: planned(pairs, Execution::Apply) };
            run.all(pairs);
            run.report
        });
        if let Ok(done) = work.join() {
            report = done;
        }
    });
    report.took = begun.elapsed();
    if report.shared_bytes > 0 {
        settle(&disks, before, report.shared_bytes);
    }
    report.freed_bytes = available(&disks).saturating_sub(before);
    report
}

/// The report of a dry run.
pub fn planned(pairs: &[DedupePair], execution: Execution) -> DedupeReport {
    let pair_bytes = pairs.iter().map(|pair| pair.bytes).sum();
    DedupeReport {
        dry_run: execution.is_dry_run(),
        pairs: pairs.len() as u64,
        pair_bytes,
        ..DedupeReport::default()
    }
}

/// A handle on each filesystem with pairs.
fn disks(caches: &[DedupeCache], pairs: &[DedupePair]) -> Vec<Dir> {
    let mut disks = BTreeMap::new();
    for cache in pairs.iter().map(|pair| &caches[pair.target]) {
        if let (false, Some(dir)) = (disks.contains_key(&cache.filesystem), base(&cache.runner, &cache.cache))
        {
            disks.insert(cache.filesystem, dir);
        }
    }
    disks.into_values().collect()
}

fn available(disks: &[Dir]) -> u64 {
    disks.iter().filter_map(|disk| disk.usage().ok()).map(|usage| usage.available_bytes).sum()
}

fn settle(disks: &[Dir], before: u64, shared: u64) {
    for disk in disks {
        if btrfs::is_on_btrfs(disk) {
            btrfs::settle(disk, before.saturating_add(shared / 10 * 9), Instant::now() + SETTLES);
        }
    }
}

fn base(runner: &Runner, cache: &Cache) -> Option<Dir> {
    cache.base(runner).and_then(|base| open_work(base).ok())
}

struct DedupeRun<'a> {
    caches: &'a [DedupeCache],
    budget: Budget,
    came: &'a Arrivals<'a>,
    report: DedupeReport,
}

impl DedupeRun<'_> {
    fn all(&mut self, pairs: &[DedupePair]) {
        let mut in_a_row = 0;
        for pair in pairs {
            match self.ends() {
                Some(why) => {
                    self.report.ended = Some(why);
                    return;
                }
                None if self.is_left_out(pair) => continue,
                None => {}
            }
            match self.pair(pair) {
                Ok(()) => in_a_row = 0,
                Err(error) => {
                    self.report.failed += 1;
                    in_a_row += 1;
                    let is_none_done = self.report.compared_bytes + self.report.already == 0;
                    if in_a_row >= HOPELESS && is_none_done && is_unable(&error) {
                        self.report.ended = Some(format!(
                            "the filesystem cannot share blocks ({error}): it takes btrfs, or xfs made with reflink=1"
                        ));
                        return;
                    }
                }
            }
        }
    }

    fn ends(&self) -> Option<String> {
        (Instant::now() >= self.budget.deadline)
            .then(|| "its time is over; the rest is for the next sweep".to_owned())
    }

    /// Whether one of the two runners has a job by now; unknown counts as yes.
    fn is_left_out(&self, pair: &DedupePair) -> bool {
        let roots = [pair.source, pair.target].map(|index| self.caches[index].runner.root_id);
        (self.came)().is_none_or(|came| roots.iter().any(|root| came.contains(root)))
    }

    fn pair(&mut self, pair: &DedupePair) -> io::Result<()> {
        let (source, target) = (self.open(pair.source, pair)?, self.open(pair.target, pair)?);
        let (length, other) = (source.metadata()?.len(), target.metadata()?.len());
        if length != other || length == 0 {
            self.report.differing += 1;
            return Ok(());
        }
        if are_one(&source, &target).unwrap_or(false) {
            self.report.already += 1;
            self.report.already_bytes = self.report.already_bytes.saturating_add(pair.bytes);
            return Ok(());
        }
        if self.report.shared_bytes.saturating_add(length) > self.budget.bytes {
            // A smaller one may still fit.
            self.report.ended =
                Some("`dedupe.max_bytes` is spent; the rest is for the next sweep".to_owned());
            return Ok(());
        }
        let (mut offset, mut differs) = (0, false);
        while offset < length && !differs && self.ends().is_none() && !self.is_left_out(pair) {
            let wanted = CHUNK.min(length - offset);
            match share(&source, &target, offset, wanted)? {
                Comparison::Same(bytes) => self.report.shared_bytes += bytes,
                Comparison::Differs => differs = true,
            }
            self.report.compared_bytes += wanted;
            offset += wanted;
        }
        self.report.differing += u64::from(differs);
        Ok(())
    }

    fn open(&self, index: usize, pair: &DedupePair) -> io::Result<File> {
        let DedupeCache { runner, cache, .. } = &self.caches[index];
        let base = base(runner, cache).ok_or(io::ErrorKind::NotFound)?;
        let tree = base.descend(&cache.below_work)?;
        if tree.status()?.id != cache.id {
            return Err(io::Error::other("it was replaced by another directory"));
        }
        tree.open_file(&pair.below)
    }
}

fn is_unable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(nix::libc::EOPNOTSUPP | nix::libc::ENOTTY | nix::libc::EINVAL | nix::libc::ENOSYS)
    )
}
