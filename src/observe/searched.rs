//! The result of a look into work directories, before any evidence is collected.

use super::undeclared;
use crate::model::{Cache, DeclaredFacts, FileId, Remark, Retention, Runner};
use std::collections::HashSet;
use std::path::PathBuf;

/// The runners whose caches are searched and sized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Those of the runner with this index.
    Runner(usize),
    /// All runners'.
    Everybody,
    /// None: only liveness is asked.
    Nobody,
}

/// Where a cache stands among what a search has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// A runner's cache, by the indices of both.
    OfRunner(usize, usize),
    /// A cache outside of work directories.
    Declared(usize),
}

/// What a search has found, without evidence.
#[derive(Debug)]
pub struct Searched {
    pub(super) runners: Vec<Runner>,
    pub(super) declared: Vec<DeclaredFacts>,
    pub(super) found: Vec<Contents>,
    pub(super) notes: Vec<String>,
    pub(super) remarks: Vec<Remark>,
    pub(super) met: undeclared::UndeclaredFindings,
    pub(super) whose: CacheScope,
}

impl Searched {
    /// Whether nothing could be removed.
    pub fn is_empty(&self) -> bool {
        self.found.iter().all(|contents| contents.caches.is_empty() && contents.leftovers.is_empty())
    }

    /// All runners of the host.
    pub fn runners(&self) -> &[Runner] {
        &self.runners
    }

    /// The caches that have no size yet, each once: in a shared work directory it is found for each of its runners.
    pub fn unsized_caches(&self) -> Vec<Spot> {
        let of_runners = self.found.iter().enumerate().flat_map(|(runner, contents)| {
            (0..contents.caches.len()).map(move |cache| Spot::OfRunner(runner, cache))
        });
        let declared = (0..self.declared.len()).map(Spot::Declared);
        let mut seen = HashSet::new();
        of_runners
            .chain(declared)
            .filter(|spot| {
                let (_, cache) = self.cache_at(*spot);
                is_to_be_sized(cache) && seen.insert(cache.id)
            })
            .collect()
    }

    /// The cache of a spot, with its owner.
    pub fn cache_at(&self, spot: Spot) -> (&Runner, &Cache) {
        match spot {
            Spot::OfRunner(runner, cache) => (&self.runners[runner], &self.found[runner].caches[cache]),
            Spot::Declared(index) => (&self.declared[index].stand_in.runner, self.declared[index].cache()),
        }
    }

    pub(super) fn caches_mut(&mut self) -> impl Iterator<Item = &mut Cache> {
        let of_runners = self.found.iter_mut().flat_map(|contents| &mut contents.caches);
        of_runners.chain(self.declared.iter_mut().flat_map(|declared| &mut declared.stand_in.caches))
    }

    /// Removes the caches of these identities from the result, and returns them with the index of their runner.
    pub fn set_aside(&mut self, ids: &HashSet<FileId>) -> Vec<(usize, Cache)> {
        let mut aside = Vec::new();
        if ids.is_empty() {
            return aside;
        }
        for (runner, contents) in self.found.iter_mut().enumerate() {
            let taken =
                contents.caches.extract_if(.., |cache| ids.contains(&cache.id) && is_to_be_sized(cache));
            aside.extend(taken.map(|cache| (runner, cache)));
        }
        aside
    }
}

/// The content of one work directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) caches: Vec<Cache>,
    pub(super) leftovers: Vec<PathBuf>,
}

/// The results of retention come with their size.
pub(super) fn is_to_be_sized(cache: &Cache) -> bool {
    cache.measure.is_none() && !Retention::NAMES.contains(&cache.rule.as_str())
}
