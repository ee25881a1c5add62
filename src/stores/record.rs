//! What the last run found and did: `stores/last.json` in the state directory. `status` shows it and metrics count by it, so
//! neither has to ask the tools; and what gave next to nothing rests by it.

use crate::model::stores::{StoreKind, StoreRecord, StoreReport, StoreResult, StoresRecord, StoresReport};
use crate::report::store_words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The directory in the state directory.
pub const DIRECTORY: &str = "stores";

/// The record's file in it.
pub const FILE: &str = "last.json";

/// A record that is larger is none of ours.
pub const MAX_BYTES: u64 = 1 << 20;

/// How long a store is left alone whose tool failed or gave next to nothing: a tenth of what it was asked for.
pub const REST: Duration = Duration::from_secs(3600);
const NEXT_TO_NOTHING: u64 = 10;

/// More of a message is not kept.
const MAX_DETAIL: usize = 2000;

/// Times are seconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Document {
    schema: u32,
    stores: Vec<Store>,
    freed_bytes_total: BTreeMap<String, u64>,
    failed_total: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Store {
    name: String,
    kind: String,
    time: u64,
    bytes: Option<u64>,
    outcome: String,
    freed_bytes: u64,
    collected: Option<(u64, u64)>,
    rests_until: Option<u64>,
    detail: Option<String>,
}

/// Reads a record; `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<StoresRecord> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let stores = document.stores.into_iter().map(|store| StoreRecord {
        time: time(store.time),
        name: store.name,
        kind: store.kind,
        bytes: store.bytes,
        outcome: store.outcome,
        freed_bytes: store.freed_bytes,
        collected: store.collected.map(|(at, bytes)| (time(at), bytes)),
        rests_until: store.rests_until.map(time),
        detail: store.detail,
    });
    Some(StoresRecord {
        stores: stores.collect(),
        freed_total: document.freed_bytes_total.into_iter().collect(),
        failed_total: document.failed_total.into_iter().collect(),
    })
}

/// The record after a run: `configured` names every entry there is, in order; those that did not run keep what they had.
pub fn after(
    before: &StoresRecord,
    report: &StoresReport,
    configured: &[&str],
    now: SystemTime,
) -> StoresRecord {
    let old = |name: &str| before.stores.iter().find(|store| store.name == name);
    let total = |before: &[(String, u64)], count: fn(&StoreReport) -> u64| {
        let mut totals: BTreeMap<String, u64> = before.iter().cloned().collect();
        for store in &report.stores {
            let total = totals.entry(store.kind.as_str().to_owned()).or_default();
            *total = total.saturating_add(count(store));
        }
        totals.into_iter().filter(|(kind, _)| StoreKind::named(kind).is_some()).collect()
    };
    let stores =
        configured.iter().filter_map(|name| match report.stores.iter().find(|store| store.name == *name) {
            Some(store) => Some(one(store, old(name), now)),
            None => old(name).cloned(),
        });
    StoresRecord {
        stores: stores.collect(),
        freed_total: total(&before.freed_total, |store| store.freed_bytes),
        failed_total: total(&before.failed_total, |store| u64::from(store.is_failed())),
    }
}

fn one(store: &StoreReport, old: Option<&StoreRecord>, now: SystemTime) -> StoreRecord {
    let gave_nothing = match store.result {
        StoreResult::Collected => store.freed_bytes < store.asked_bytes() / NEXT_TO_NOTHING,
        StoreResult::Failed(_) => true,
        _ => false,
    };
    let was_collected = matches!(store.result, StoreResult::Collected | StoreResult::Interrupted(_));
    StoreRecord {
        name: store.name.clone(),
        kind: store.kind.as_str().to_owned(),
        time: now,
        bytes: match store.facts.bytes {
            Some(bytes) => Some(bytes.saturating_sub(store.freed_bytes)),
            None => old.and_then(|old| old.bytes),
        },
        outcome: store.result.as_str().to_owned(),
        freed_bytes: store.freed_bytes,
        collected: match was_collected {
            true => Some((now, store.freed_bytes)),
            false => old.and_then(|old| old.collected),
        },
        rests_until: match (gave_nothing, &store.result) {
            (true, _) => now.checked_add(REST),
            (false, StoreResult::Collected) => None,
            (false, _) => old.and_then(|old| old.rests_until),
        },
        detail: store_words::detail(store).map(|text| text.chars().take(MAX_DETAIL).collect()),
    }
}

/// To be kept.
pub fn to_bytes(record: &StoresRecord) -> Vec<u8> {
    let store = |store: &StoreRecord| Store {
        name: store.name.clone(),
        kind: store.kind.clone(),
        time: seconds(store.time),
        bytes: store.bytes,
        outcome: store.outcome.clone(),
        freed_bytes: store.freed_bytes,
        collected: store.collected.map(|(at, bytes)| (seconds(at), bytes)),
        rests_until: store.rests_until.map(seconds),
        detail: store.detail.clone(),
    };
    let document = Document {
        schema: 1,
        stores: record.stores.iter().map(store).collect(),
        freed_bytes_total: record.freed_total.iter().cloned().collect(),
        failed_total: record.failed_total.iter().cloned().collect(),
    };
    serde_json::to_vec_pretty(&document).expect("text and numbers serialise")
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
