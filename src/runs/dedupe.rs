//! The step of a sweep that lets equal files of several runners share their blocks, before anything is deleted.

use super::Host;
use crate::clock::now;
use crate::cycle::{Preview, rules};
use crate::dedupe::{self, Budget, record};
use crate::lease;
use crate::model::dedupe::{DedupeCache, DedupePair, DedupeReport};
use crate::model::{Execution, FileId, Liveness};
use crate::observe::host::CacheScope;
use crate::observe::sharing;
use crate::overview;
use crate::policy;
use crate::policy::liveness;
use crate::report::events::{Event, EventKind};
use crate::run_dir::{Records, RunDir};
use crate::run_log::RunLog;
use crate::text::words;
use std::collections::HashSet;
use std::ffi::OsString;
use std::time::Instant;

/// What a dry run shows; none where it is switched off.
pub(crate) fn preview(host: &Host<'_>, seen: &Preview) -> Option<DedupeReport> {
    let rule = host.config.dedupe;
    rule.enabled.then(|| dedupe::planned(&chosen(host, seen).1, Execution::DryRun))
}

/// Shares; none where it is switched off.
pub(crate) fn run(host: &Host<'_>, run: &RunDir, run_log: &mut RunLog) -> Option<DedupeReport> {
    let rule = host.config.dedupe;
    if !rule.enabled {
        return None;
    }
    let budget = Budget { bytes: rule.max_bytes, deadline: Instant::now() + rule.time_limit };
    // Before the host is observed: leases that appear from here on are new.
    let before = roll(run);
    let (seen, _) = overview::at(&host.snapshot(), |_| CacheScope::Everybody);
    let (caches, pairs) = chosen(host, &seen);
    let came = || -> Option<HashSet<FileId>> {
        let (before, names) = (before.as_ref()?, roll(run)?);
        let new = names.difference(before).filter_map(|name| name.to_str());
        // A lease whose name contains no root may belong to any runner.
        new.map(lease::root_of_name).collect()
    };
    let report = dedupe::run(&caches, &pairs, budget, &came);
    // The record is for display: the sweep continues if it cannot be written.
    if let Err(error) = record::keep(host.config, &report, now()) {
        (host.complain)(&error);
    }
    if report.shared_bytes > 0 {
        let text = format!(
            "equal files of several runners share their blocks: {} compared, {} equal, {} freed",
            words::size(report.compared_bytes),
            words::size(report.shared_bytes),
            words::size(report.freed_bytes)
        );
        let event = Event::new(EventKind::Deduplicated, text).bytes(report.freed_bytes).reason("dedupe");
        run_log.tell(event.duration(report.took));
    }
    Some(report)
}

/// The names of all leases; `None` when they cannot be listed.
fn roll(run: &RunDir) -> Option<HashSet<OsString>> {
    Some(run.roll(Records::Leases).ok()?.1.into_iter().collect())
}

/// The caches of idle runners on filesystems whose files can share blocks, none of them in use; and the pairs among them.
fn chosen(host: &Host<'_>, seen: &Preview) -> (Vec<DedupeCache>, Vec<DedupePair>) {
    let rules = rules(host.config, seen.facts.now);
    let disks = seen.facts.filesystems.iter().filter(|disk| sharing::is_possible(&disk.fs_type));
    let disks: HashSet<_> = disks.map(|disk| disk.id).collect();
    let mut caches = Vec::new();
    for (facts, evidence) in seen.facts.runners.iter().zip(&seen.evidence) {
        let is_guarded = rules.allow_unguarded || facts.guarded.is_guarded();
        if liveness::judge(evidence) != Liveness::Idle || !is_guarded {
            continue;
        }
        for cache in &facts.caches {
            let base = cache.base(&facts.runner).filter(|base| disks.contains(&base.filesystem));
            let is_lent = cache.base.is_some();
            if let (Some(base), false) = (base, is_lent) {
                let filesystem = base.filesystem;
                caches.push(DedupeCache { runner: facts.runner.clone(), cache: cache.clone(), filesystem });
            }
        }
    }
    let pairs = policy::dedupe::pairs(&caches);
    (caches, pairs)
}
