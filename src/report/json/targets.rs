//! What targets hold by tier, in `plan --json` and `status --json`.

use super::{path_fields, time};
use crate::model::TargetView;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize, JsonSchema)]
pub(super) struct TargetDoc<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    runner: &'a str,
    bytes: u64,
    unused_bytes: u64,
    last_used: Option<String>,
    tiers: BTreeMap<&'static str, u64>,
}

pub(super) fn targets(targets: &[TargetView]) -> Vec<TargetDoc<'_>> {
    targets.iter().map(TargetDoc::new).collect()
}

impl<'a> TargetDoc<'a> {
    fn new(target: &'a TargetView) -> Self {
        let (path, path_bytes) = path_fields(&target.path);
        Self {
            path,
            path_bytes,
            runner: &target.runner,
            bytes: target.bytes,
            unused_bytes: target.unused_bytes(),
            last_used: target.last_used.map(time),
            tiers: target.tiers.iter().map(|(tier, bytes)| (tier.as_str(), *bytes)).collect(),
        }
    }
}
