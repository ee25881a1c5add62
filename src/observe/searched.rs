//! What a look has found in work directories, before anybody is asked for evidence.

use super::undeclared;
use crate::model::{Cache, DeclaredFacts, FileId, Remark, Retention, Runner};
use std::collections::HashSet;
use std::path::PathBuf;

/// Whose caches are looked for and sized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Those of the runner with this index.
    Runner(usize),
    /// Everybody's.
    Everybody,
    /// Nobody's: liveness is all that is asked.
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
    pub(super) met: undeclared::Met,
    pub(super) whose: CacheScope,
}

impl Searched {
    /// Whether there is nothing that could go.
    pub fn is_empty(&self) -> bool {
        self.found.iter().all(|contents| contents.caches.is_empty() && contents.leftovers.is_empty())
    }

    /// All runners of the host.
    pub fn runners(&self) -> &[Runner] {
        &self.runners
    }

    /// The caches that have no size yet, each once: in a work directory that runners share, it is found for each of them.
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

    /// The cache of a spot, with whoever it belongs to.
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

    /// Takes the caches of these identities out of what was found, with the index of whose runner they are.
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

/// What lies in one work directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) caches: Vec<Cache>,
    pub(super) leftovers: Vec<PathBuf>,
}

/// What retention has found comes with its size.
pub(super) fn is_to_be_sized(cache: &Cache) -> bool {
    cache.measure.is_none() && !Retention::NAMES.contains(&cache.rule.as_str())
}
