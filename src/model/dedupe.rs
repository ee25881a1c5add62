//! Data types of shared blocks: equal files of several runners that are stored on the disk once.

use super::{Cache, FilesystemId, Runner};
use crate::as_json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// `[dedupe]`, validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupeRule {
    /// Whether it is enabled.
    pub enabled: bool,
    /// The maximum of bytes that one sweep shares.
    pub max_bytes: u64,
    /// The time limit of one sweep.
    pub time_limit: Duration,
}

/// A cache of an idle runner.
#[derive(Debug, Clone)]
pub struct DedupeCache {
    /// Its runner.
    pub runner: Runner,
    /// The cache.
    pub cache: Cache,
    /// Its filesystem.
    pub filesystem: FilesystemId,
}

/// Two files that may be equal: of the same repository, name and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupePair {
    /// The index of the cache whose blocks are kept.
    pub source: usize,
    /// The index of the cache that shares them.
    pub target: usize,
    /// The file's path, relative to both caches.
    pub below: PathBuf,
    /// Its bytes.
    pub bytes: u64,
}

/// The result of one sweep, or its preview.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DedupeReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Pairs of files of one repository, name and size.
    pub pairs: u64,
    /// The bytes of each pair's second file.
    pub pair_bytes: u64,
    /// Pairs that shared their blocks already.
    pub already: u64,
    /// Their bytes.
    pub already_bytes: u64,
    /// Bytes that the kernel has compared.
    pub compared_bytes: u64,
    /// Bytes that are equal, and shared now.
    pub shared_bytes: u64,
    /// Pairs that differ.
    pub differing: u64,
    /// Pairs that could not be compared: changed since, or refused.
    pub failed: u64,
    /// The measured increase of free bytes on their filesystems.
    pub freed_bytes: u64,
    /// How long it took.
    #[serde(rename = "duration_seconds", with = "as_json::Seconds")]
    pub took: Duration,
    /// Why it ended before it was done, or why nothing can be shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// The result of the last sweep, recorded for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupeRecord {
    /// When it ended.
    #[serde(with = "as_json::WholeSeconds")]
    pub time: SystemTime,
    /// Bytes of second copies by repository, name and size.
    pub pair_bytes: u64,
    /// Those of them that are stored once.
    pub sharing_bytes: u64,
    /// Those that this sweep added.
    pub shared_bytes: u64,
    /// Freed bytes.
    pub freed_bytes: u64,
    /// Why it ended before it was done, or why nothing can be shared.
    pub ended: Option<String>,
}

impl DedupeRecord {
    /// Of a sweep that ended at `time`.
    pub fn of(report: &DedupeReport, time: SystemTime) -> Self {
        Self {
            time,
            pair_bytes: report.pair_bytes,
            sharing_bytes: report.already_bytes.saturating_add(report.shared_bytes),
            shared_bytes: report.shared_bytes,
            freed_bytes: report.freed_bytes,
            ended: report.ended.clone(),
        }
    }
}
