//! `dedupe` of a sweep or a plan.

use crate::model::dedupe::DedupeReport;
use schemars::JsonSchema;
use serde::Serialize;

/// `pair_bytes` are those of second copies by name and size; `shared_bytes` are equal, and on the disk once now.
#[derive(Serialize, JsonSchema)]
pub(super) struct DedupeDoc<'a> {
    dry_run: bool,
    pairs: u64,
    pair_bytes: u64,
    already: u64,
    compared_bytes: u64,
    shared_bytes: u64,
    differing: u64,
    failed: u64,
    freed_bytes: u64,
    duration_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'a str>,
}

impl<'a> DedupeDoc<'a> {
    pub(super) fn new(report: &'a DedupeReport) -> Self {
        Self {
            dry_run: report.dry_run,
            pairs: report.pairs,
            pair_bytes: report.pair_bytes,
            already: report.already,
            compared_bytes: report.compared_bytes,
            shared_bytes: report.shared_bytes,
            differing: report.differing,
            failed: report.failed,
            freed_bytes: report.freed_bytes,
            duration_seconds: report.took.as_secs_f64(),
            ended: report.ended.as_deref(),
        }
    }
}
