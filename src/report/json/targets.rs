//! What targets hold by tier, in `plan --json` and `status --json`.

use crate::as_json;
use crate::model::TargetView;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

#[derive(Serialize, JsonSchema)]
pub(super) struct TargetDoc<'a> {
    #[serde(flatten, with = "as_json::AtPath")]
    path: &'a Path,
    runner: &'a str,
    bytes: u64,
    unused_bytes: u64,
    #[serde(with = "as_json::OptionalTime")]
    last_used: Option<SystemTime>,
    tiers: BTreeMap<&'static str, u64>,
}

pub(super) fn targets(targets: &[TargetView]) -> Vec<TargetDoc<'_>> {
    targets.iter().map(TargetDoc::new).collect()
}

impl<'a> TargetDoc<'a> {
    fn new(target: &'a TargetView) -> Self {
        Self {
            path: &target.path,
            runner: &target.runner,
            bytes: target.bytes,
            unused_bytes: target.unused_bytes(),
            last_used: target.last_used,
            tiers: target.tiers.iter().map(|(tier, bytes)| (tier.as_str(), *bytes)).collect(),
        }
    }
}
