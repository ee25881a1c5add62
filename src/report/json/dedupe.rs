//! `dedupe` of a sweep or a plan, and of `status`.

use super::time;
use crate::model::dedupe::{DedupeRecord, DedupeReport};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// `pair_bytes` are those of second copies by name and size; `shared_bytes` are equal, and on the disk once now.
#[derive(Serialize, JsonSchema)]
pub(super) struct DedupeDoc<'a> {
    dry_run: bool,
    pairs: u64,
    pair_bytes: u64,
    already: u64,
    already_bytes: u64,
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
            already_bytes: report.already_bytes,
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

/// What the last sweep found: of `pair_bytes` in second copies `sharing_bytes` lie on the disk once.
#[derive(Serialize, JsonSchema)]
pub(super) struct RecordDoc<'a> {
    time: String,
    pair_bytes: u64,
    sharing_bytes: u64,
    shared_bytes: u64,
    freed_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'a str>,
}

impl<'a> RecordDoc<'a> {
    pub(super) fn new(record: &'a DedupeRecord) -> Self {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(record.at));
        Self {
            time: time(at.unwrap_or(SystemTime::UNIX_EPOCH)),
            pair_bytes: record.pair_bytes,
            sharing_bytes: record.sharing_bytes,
            shared_bytes: record.shared_bytes,
            freed_bytes: record.freed_bytes,
            ended: record.ended.as_deref(),
        }
    }
}
