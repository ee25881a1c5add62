//! The result of the last run of each entry: `reap/last.json` in the state directory. `status` shows it and metrics use it, so neither has
//! to ask the tools.

use crate::model::reap::{EntryReport, EnvironmentKind, ReapCounts, ReapEntryRecord, ReapRecord, ReapReport};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The directory in the state directory.
pub const DIRECTORY: &str = "reap";

/// The record's file in it.
pub const FILE: &str = "last.json";

/// A larger record was not written by the guard.
pub const MAX_BYTES: u64 = 1 << 20;

/// The maximum length of a recorded error.
const MAX_ERROR: usize = 2000;

/// The file of one entry's first-seen times.
pub fn seen_file(entry: &str) -> String {
    format!("seen-{entry}.json")
}

/// Reads a record; `None` if it is invalid.
pub fn parse(bytes: &[u8]) -> Option<ReapRecord> {
    serde_json::from_slice(bytes).ok()
}

/// The record after a run: `configured` names every entry, in order; those that did not run keep their previous result.
pub fn after(
    before: Option<ReapRecord>,
    report: &ReapReport,
    configured: &[&str],
    now: SystemTime,
) -> ReapRecord {
    let before = before.unwrap_or_default();
    let old = |name: &str| before.entries.iter().find(|entry| entry.name == name);
    let entries =
        configured.iter().filter_map(|name| match report.entries.iter().find(|entry| entry.name == *name) {
            Some(entry) => Some(entry_record(entry, old(name), now)),
            None => old(name).cloned(),
        });
    let entries = entries.collect();
    let total = |mut totals: BTreeMap<String, u64>, count: fn(&EntryReport) -> usize| {
        for entry in &report.entries {
            let total = totals.entry(entry.kind.as_str().to_owned()).or_default();
            *total = total.saturating_add(count(entry) as u64);
        }
        totals.retain(|kind, _| EnvironmentKind::named(kind).is_some());
        totals
    };
    ReapRecord {
        entries,
        reaped_total: total(before.reaped_total, EntryReport::reaped),
        failed_total: total(before.failed_total, EntryReport::failed),
    }
}

/// A failed listing says nothing about leaks: the previous result is kept.
fn entry_record(entry: &EntryReport, old: Option<&ReapEntryRecord>, now: SystemTime) -> ReapEntryRecord {
    let is_blind = entry.error.is_some() && entry.reapings.is_empty();
    let known = |new: usize, old: Option<u64>| if is_blind { old.unwrap_or(0) } else { new as u64 };
    let old = old.map(|old| &old.counts);
    let counts = ReapCounts {
        matched: known(entry.reapings.len(), old.map(|old| old.matched)),
        leaked: known(entry.leaked(), old.map(|old| old.leaked)),
        waiting: known(entry.waiting(), old.map(|old| old.waiting)),
        unknown: known(entry.unknown(), old.map(|old| old.unknown)),
        unproven: known(entry.unproven(), old.map(|old| old.unproven)),
        reaped: entry.reaped() as u64,
        failed: entry.failed() as u64,
        error: entry.error.as_ref().map(|error| error.chars().take(MAX_ERROR).collect()),
    };
    ReapEntryRecord { name: entry.name.clone(), kind: entry.kind.as_str().to_owned(), time: now, counts }
}

/// The data to be recorded.
pub fn to_bytes(record: &ReapRecord) -> Vec<u8> {
    #[derive(Serialize)]
    struct ReapDocument<'r> {
        schema: u32,
        #[serde(flatten)]
        record: &'r ReapRecord,
    }
    serde_json::to_vec_pretty(&ReapDocument { schema: 1, record }).expect("text and numbers serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reap::{Environment, EnvironmentState, ReapDecision, ReapReason, ReapResult, Reaping};
    use std::time::{Duration, UNIX_EPOCH};

    fn reaping(result: ReapResult) -> Reaping {
        Reaping {
            environment: Environment::new("a", "a", EnvironmentState::Stopped),
            verdict: ReapDecision::Reap(ReapReason::Stopped),
            seen_for: Duration::ZERO,
            result,
        }
    }

    fn entry(name: &str, error: Option<&str>, results: Vec<ReapResult>) -> EntryReport {
        EntryReport {
            name: name.into(),
            kind: EnvironmentKind::Tart,
            listed: 9,
            error: error.map(str::to_owned),
            reapings: results.into_iter().map(reaping).collect(),
            notes: vec![],
        }
    }

    #[test]
    fn totals_go_on_and_a_blind_run_keeps_what_was_known() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let results = vec![
            ReapResult::Reaped,
            ReapResult::Lied,
            ReapResult::Deferred("x"),
            ReapResult::Changed("y".into()),
        ];
        let first = ReapReport {
            dry_run: false,
            entries: vec![entry("a", None, results), entry("b", None, vec![ReapResult::Reaped])],
        };
        let record = after(None, &first, &["a", "b"], now);
        assert_eq!((record.entries[0].counts.leaked, record.entries[0].counts.failed), (2, 1));
        assert_eq!(record.reaped_total, BTreeMap::from([("tart".to_owned(), 2)]));
        assert_eq!(parse(&to_bytes(&record)).unwrap(), record);
        let second = ReapReport { dry_run: false, entries: vec![entry("a", Some("no"), vec![])] };
        let record = after(Some(record), &second, &["a", "b"], now);
        assert_eq!(
            (record.entries[0].counts.leaked, record.entries[0].counts.error.as_deref()),
            (2, Some("no"))
        );
        assert_eq!(
            (record.entries.len(), record.reaped_total["tart"], record.failed_total["tart"]),
            (2, 2, 1)
        );
        let record = after(Some(record), &ReapReport::default(), &["b"], now);
        assert_eq!(record.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(parse(b"{"), None);
    }
}
