//! What holds a disk whose goal is missed, in every document that tells of a goal.

use super::path_fields;
use crate::model::SpaceHolder;
use schemars::JsonSchema;
use serde::Serialize;

/// `bytes` and `inodes` are lower bounds where `whole` is false. `runner` is null for what lies in no work directory.
#[derive(Serialize, JsonSchema)]
pub(super) struct SpaceDoc<'a> {
    class: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    runner: Option<&'a str>,
    bytes: u64,
    inodes: u64,
    whole: bool,
    remedy: &'a str,
}

pub(super) fn space(holding: &[SpaceHolder]) -> Vec<SpaceDoc<'_>> {
    holding.iter().map(SpaceDoc::new).collect()
}

impl<'a> SpaceDoc<'a> {
    fn new(holder: &'a SpaceHolder) -> Self {
        let (path, path_bytes) = path_fields(&holder.path);
        Self {
            class: holder.class.as_str(),
            path,
            path_bytes,
            runner: Some(holder.runner.as_str()).filter(|runner| !runner.is_empty()),
            bytes: holder.bytes,
            inodes: holder.inodes,
            whole: holder.is_whole,
            remedy: &holder.remedy,
        }
    }
}
