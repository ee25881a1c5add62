//! What the last run of each entry found: `reap/last.json` in the state directory. `status` shows it and metrics count by it,
//! so neither has to ask the tools.

use crate::model::reap::{EntryReport, Kind, ReapEntryRecord, ReapRecord, ReapReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The directory in the state directory.
pub const DIRECTORY: &str = "reap";

/// The record's file in it.
pub const FILE: &str = "last.json";

/// A record that is larger is none of ours.
pub const MAX_BYTES: u64 = 1 << 20;

/// More of an error is not kept.
const MAX_ERROR: usize = 2000;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Document {
    schema: u32,
    entries: Vec<Entry>,
    reaped_total: BTreeMap<String, u64>,
    failed_total: BTreeMap<String, u64>,
}

/// Times are seconds since 1970.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    name: String,
    kind: String,
    time: u64,
    matched: u64,
    leaked: u64,
    waiting: u64,
    unknown: u64,
    unproven: u64,
    reaped: u64,
    failed: u64,
    error: Option<String>,
}

/// The file of one entry's first-seen times.
pub fn seen_file(entry: &str) -> String {
    format!("seen-{entry}.json")
}

/// Reads a record; `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<ReapRecord> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let entries = document.entries.into_iter().map(|entry| ReapEntryRecord {
        time: UNIX_EPOCH.checked_add(Duration::from_secs(entry.time)).unwrap_or(UNIX_EPOCH),
        name: entry.name,
        kind: entry.kind,
        matched: entry.matched,
        leaked: entry.leaked,
        waiting: entry.waiting,
        unknown: entry.unknown,
        unproven: entry.unproven,
        reaped: entry.reaped,
        failed: entry.failed,
        error: entry.error,
    });
    Some(ReapRecord {
        entries: entries.collect(),
        reaped_total: document.reaped_total.into_iter().collect(),
        failed_total: document.failed_total.into_iter().collect(),
    })
}

/// The record after a run: `configured` names every entry there is, in order; those that did not run keep what they had.
pub fn after(
    before: Option<ReapRecord>,
    report: &ReapReport,
    configured: &[&str],
    now: SystemTime,
) -> ReapRecord {
    let before = before.unwrap_or(ReapRecord { entries: vec![], reaped_total: vec![], failed_total: vec![] });
    let old = |name: &str| before.entries.iter().find(|entry| entry.name == name);
    let entries =
        configured.iter().filter_map(|name| match report.entries.iter().find(|entry| entry.name == *name) {
            Some(entry) => Some(entry_record(entry, old(name), now)),
            None => old(name).cloned(),
        });
    let entries = entries.collect();
    let total = |before: Vec<(String, u64)>, count: fn(&EntryReport) -> usize| {
        let mut totals: BTreeMap<String, u64> = before.into_iter().collect();
        for entry in &report.entries {
            let total = totals.entry(entry.kind.as_str().to_owned()).or_default();
            *total = total.saturating_add(count(entry) as u64);
        }
        totals.into_iter().filter(|(kind, _)| Kind::named(kind).is_some()).collect()
    };
    ReapRecord {
        entries,
        reaped_total: total(before.reaped_total, EntryReport::reaped),
        failed_total: total(before.failed_total, EntryReport::failed),
    }
}

/// A listing that failed tells nothing of what is leaked: what was known stays.
fn entry_record(entry: &EntryReport, old: Option<&ReapEntryRecord>, now: SystemTime) -> ReapEntryRecord {
    let is_blind = entry.error.is_some() && entry.reapings.is_empty();
    let known = |new: usize, old: Option<u64>| if is_blind { old.unwrap_or(0) } else { new as u64 };
    ReapEntryRecord {
        name: entry.name.clone(),
        kind: entry.kind.as_str().to_owned(),
        time: now,
        matched: known(entry.reapings.len(), old.map(|old| old.matched)),
        leaked: known(entry.leaked(), old.map(|old| old.leaked)),
        waiting: known(entry.waiting(), old.map(|old| old.waiting)),
        unknown: known(entry.unknown(), old.map(|old| old.unknown)),
        unproven: known(entry.unproven(), old.map(|old| old.unproven)),
        reaped: entry.reaped() as u64,
        failed: entry.failed() as u64,
        error: entry.error.as_ref().map(|error| error.chars().take(MAX_ERROR).collect()),
    }
}

/// To be kept.
pub fn to_bytes(record: &ReapRecord) -> Vec<u8> {
    let entry = |entry: &ReapEntryRecord| Entry {
        name: entry.name.clone(),
        kind: entry.kind.clone(),
        time: entry.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        matched: entry.matched,
        leaked: entry.leaked,
        waiting: entry.waiting,
        unknown: entry.unknown,
        unproven: entry.unproven,
        reaped: entry.reaped,
        failed: entry.failed,
        error: entry.error.clone(),
    };
    let document = Document {
        schema: 1,
        entries: record.entries.iter().map(entry).collect(),
        reaped_total: record.reaped_total.iter().cloned().collect(),
        failed_total: record.failed_total.iter().cloned().collect(),
    };
    serde_json::to_vec_pretty(&document).expect("text and numbers serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reap::{Environment, ReapDecision, ReapReason, ReapResult, Reaping, State};

    fn reaping(result: ReapResult) -> Reaping {
        Reaping {
            environment: Environment::new("a", "a", State::Stopped),
            verdict: ReapDecision::Reap(ReapReason::Stopped),
            seen_for: Duration::ZERO,
            result,
        }
    }

    fn entry(name: &str, error: Option<&str>, results: Vec<ReapResult>) -> EntryReport {
        EntryReport {
            name: name.into(),
            kind: Kind::Tart,
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
        assert_eq!((record.entries[0].leaked, record.entries[0].failed), (2, 1));
        assert_eq!(record.reaped_total, [("tart".to_owned(), 2)]);
        assert_eq!(parse(&to_bytes(&record)).unwrap(), record);
        let second = ReapReport { dry_run: false, entries: vec![entry("a", Some("no"), vec![])] };
        let record = after(Some(record), &second, &["a", "b"], now);
        assert_eq!((record.entries[0].leaked, record.entries[0].error.as_deref()), (2, Some("no")));
        assert_eq!((record.entries.len(), record.reaped_total[0].1, record.failed_total[0].1), (2, 2, 1));
        let record = after(Some(record), &ReapReport::default(), &["b"], now);
        assert_eq!(record.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(parse(b"{"), None);
    }
}
