//! The sizes of many caches, by one pool of threads. The caller decides which of them are sized, and in which order.

use super::caches::open_work;
use super::measure::{self, Scan, measure_all};
use super::remembered::{Noted, RememberedSizes};
use super::searched::{Searched, Spot, is_to_be_sized};
use super::sharing;
use crate::model::{FileId, LargeFile, Measure};
use crate::sys::dir::Dir;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// Threads that size trees.
const THREADS: usize = 2;

/// How many of a tree's largest files are remembered.
pub const LARGEST: usize = 2048;

/// How many large files are recorded of all trees together: a host may have thousands of caches, and few of them are removed.
const MAX_LISTED: usize = 1 << 15;

/// Whether the results so far are enough, and the one at this position is not needed.
pub type Enough<'e> = dyn Fn(usize, &[Option<Measure>]) -> bool + Sync + 'e;

/// The results so far, by position.
struct CacheSizes {
    measures: Vec<Option<Measure>>,
    largest: Vec<Arc<[LargeFile]>>,
    listed: usize,
    /// Whether this host's clock sets the times of the tree.
    by_own_clock: Vec<bool>,
    /// Those that were not needed.
    spared: Vec<Spot>,
}

/// The inputs of sizing.
pub(super) struct Sizer<'a> {
    /// Sizes that are remembered, for a look that only shows them.
    pub(super) memory: Option<&'a Mutex<RememberedSizes>>,
    /// Whether only those bytes count that are not shared with other files.
    pub(super) exclusive: bool,
    /// The wall clock now.
    pub(super) now: SystemTime,
    /// When to stop.
    pub(super) deadline: Instant,
}

impl Sizer<'_> {
    /// Sizes these. With `is_enough` one after the other, and no more than it takes; returns those that were not sized for that reason.
    pub(super) fn size(
        &self,
        searched: &mut Searched,
        spots: &[Spot],
        is_enough: Option<&Enough<'_>>,
    ) -> Vec<Spot> {
        let sizes = Mutex::new(CacheSizes {
            measures: vec![None; spots.len()],
            largest: vec![Arc::default(); spots.len()],
            listed: 0,
            by_own_clock: vec![false; spots.len()],
            spared: Vec::new(),
        });
        let known = || sizes.lock().unwrap_or_else(PoisonError::into_inner);
        // Shared blocks are asked for anew each time.
        let memory = self.memory.filter(|_| !self.exclusive);
        let opened = |at: usize| {
            let (runner, cache) = searched.cache_at(spots[at]);
            open_work(cache.base(runner)?).ok()?.descend(&cache.below_work).ok()
        };
        let open = |at: usize| {
            let mut now = known();
            if is_enough.is_some_and(|is_enough| is_enough(at, &now.measures)) {
                now.spared.push(spots[at]);
                return None;
            }
            drop(now);
            let dir: Dir = opened(at)?;
            if let Some(memory) = memory {
                if let Some(measure) = RememberedSizes::of(memory, &dir) {
                    known().measures[at] = Some(measure);
                    return None;
                }
                known().by_own_clock[at] = dir.is_timed_by_own_clock();
            }
            Some(dir)
        };
        let found = |at: usize, mut scan: Scan, noted: Vec<Noted>| {
            if let Some(memory) = memory {
                let by_own_clock = known().by_own_clock[at];
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                memory.note(scan.measure, noted, self.now, by_own_clock);
            }
            if let Some(dir) = self.exclusive.then(|| opened(at)).flatten() {
                let shared = sharing::shared_bytes(&dir, &scan.largest);
                scan.measure.bytes = scan.measure.bytes.saturating_sub(shared);
            }
            known().keep(at, scan);
        };
        let largest = if memory.is_some() { 0 } else { LARGEST };
        let options = measure::MeasureOptions { threads: THREADS, largest, deadline: Some(self.deadline) };
        measure_all(spots.len(), &options, (memory.is_some(), is_enough.is_some()), &open, &found);
        let sizes = sizes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let sized = sizes.measures.into_iter().zip(sizes.largest);
        let by_id: HashMap<FileId, (Option<Measure>, Arc<[LargeFile]>)> =
            spots.iter().zip(sized).map(|(spot, sized)| (searched.cache_at(*spot).1.id, sized)).collect();
        for cache in searched.caches_mut().filter(|cache| is_to_be_sized(cache)) {
            if let Some((measure, largest)) = by_id.get(&cache.id) {
                (cache.measure, cache.largest) = (*measure, Arc::clone(largest));
            }
        }
        sizes.spared
    }
}

impl CacheSizes {
    fn keep(&mut self, at: usize, scan: Scan) {
        self.listed += scan.largest.len();
        (self.measures[at], self.largest[at]) = (Some(scan.measure), scan.largest.into());
        if self.listed > 2 * MAX_LISTED {
            self.forget_the_warmest();
        }
    }

    /// Keeps the lists of large files of the coldest caches, which are removed first. A cache without a list is deleted in the order in
    /// which it is read.
    fn forget_the_warmest(&mut self) {
        let mut listing: Vec<usize> =
            (0..self.largest.len()).filter(|at| !self.largest[*at].is_empty()).collect();
        listing.sort_by_key(|at| self.measures[*at].and_then(|measure| measure.newest));
        self.listed = 0;
        for at in listing {
            match self.listed + self.largest[at].len() {
                listed if listed <= MAX_LISTED => self.listed = listed,
                _ => self.largest[at] = Arc::default(),
            }
        }
    }
}
