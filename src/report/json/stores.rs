//! `stores --json`, and the same as a part of `plan --json` and `sweep --json`.

use super::{Document, Layout};
use crate::as_json;
use crate::model::stores::{StoreReport, StoreVerdict, StoresReport};
use crate::report::store_words;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Serialize, JsonSchema)]
pub(super) struct StoresDoc<'a> {
    dry_run: bool,
    freed_bytes: u64,
    stores: Vec<StoreDoc<'a>>,
}

/// `bytes` is its size if that was asked for; `asked_bytes` what is wanted of it. `verdict` is `collect` or `leave`, `reason` why;
/// `detail` is the finding or the error in words.
#[derive(Serialize, JsonSchema)]
pub(super) struct StoreDoc<'a> {
    name: &'a str,
    kind: &'static str,
    #[serde(flatten, with = "as_json::AtOptionalPath")]
    path: &'a Option<PathBuf>,
    bytes: Option<u64>,
    verdict: &'static str,
    reason: &'static str,
    asked_bytes: u64,
    outcome: &'static str,
    freed_bytes: u64,
    duration_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl<'a> StoreDoc<'a> {
    fn new(report: &'a StoreReport) -> Self {
        Self {
            name: &report.name,
            kind: report.kind.as_str(),
            path: &report.facts.path,
            bytes: report.facts.bytes,
            verdict: match report.verdict {
                StoreVerdict::Collect(..) => "collect",
                StoreVerdict::Leave(_) => "leave",
            },
            reason: store_words::reason(report),
            asked_bytes: report.asked_bytes(),
            outcome: report.result.as_str(),
            freed_bytes: report.freed_bytes,
            duration_seconds: report.took.as_secs_f64(),
            detail: store_words::detail(report),
        }
    }
}

/// The result of a sweep's stores, or what it would do.
pub(super) fn entries(report: &StoresReport) -> Vec<StoreDoc<'_>> {
    report.stores.iter().map(StoreDoc::new).collect()
}

/// The document for `stores`.
pub fn stores(report: &StoresReport, layout: Layout) -> String {
    let (dry_run, freed_bytes) = (report.dry_run, report.freed_bytes());
    Document::of(StoresDoc { dry_run, freed_bytes, stores: entries(report) }, layout)
}
