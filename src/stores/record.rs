//! The result of the last run: `stores/last.json` in the state directory. `status` shows it and metrics use it, so neither has to ask the
//! tools; and a store that freed next to nothing is left alone according to it.

use crate::config::Config;
use crate::model::stores::{
    Collected, StoreKind, StoreRecord, StoreReport, StoreResult, StoresRecord, StoresReport,
};
use crate::report::store_words;
use crate::setup::state::StateDir;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The directory in the state directory.
pub const DIRECTORY: &str = "stores";

/// The record's file in it.
pub const FILE: &str = "last.json";

/// A larger record was not written by the guard.
pub const MAX_BYTES: u64 = 1 << 20;

/// How long a store is left alone after its tool failed or freed almost nothing, which is less than a tenth of the requested bytes.
pub const REST: Duration = Duration::from_secs(3600);
const NEXT_TO_NOTHING: u64 = 10;

/// The maximum length of a recorded message.
const MAX_DETAIL: usize = 2000;

/// Reads a record; `None` if it is invalid.
pub fn parse(bytes: &[u8]) -> Option<StoresRecord> {
    serde_json::from_slice(bytes).ok()
}

/// The record after a run: `configured` names every entry, in order; those that did not run keep their previous result.
pub fn after(
    before: &StoresRecord,
    report: &StoresReport,
    configured: &[&str],
    now: SystemTime,
) -> StoresRecord {
    let old = |name: &str| before.stores.iter().find(|store| store.name == name);
    let total = |before: &BTreeMap<String, u64>, count: fn(&StoreReport) -> u64| {
        let mut totals = before.clone();
        for store in &report.stores {
            let total = totals.entry(store.kind.as_str().to_owned()).or_default();
            *total = total.saturating_add(count(store));
        }
        totals.retain(|kind, _| StoreKind::named(kind).is_some());
        totals
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
            true => Some(Collected(now, store.freed_bytes)),
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

/// The data to be recorded.
pub fn to_bytes(record: &StoresRecord) -> Vec<u8> {
    #[derive(Serialize)]
    struct StoresDocument<'r> {
        schema: u32,
        #[serde(flatten)]
        record: &'r StoresRecord,
    }
    serde_json::to_vec_pretty(&StoresDocument { schema: 1, record }).expect("text and numbers serialise")
}
/// The result of the last run.
pub(crate) fn last(config: &Config) -> Option<StoresRecord> {
    let mut found = read(&StateDir::at(&config.paths.state_dir))?;
    found.stores.retain(|store| config.stores.iter().any(|rule| rule.name == store.name));
    (!found.stores.is_empty()).then_some(found)
}

/// Reads the record.
pub(crate) fn read(state: &StateDir) -> Option<StoresRecord> {
    parse(&state.read_file(DIRECTORY, FILE, MAX_BYTES).ok()??)
}
