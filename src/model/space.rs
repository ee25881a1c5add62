//! What holds a disk whose goal is missed.

use super::FilesystemId;
use crate::as_json::{self, named};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;
use strum::IntoStaticStr;

/// A directory that holds much of a disk, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SpaceHolder {
    /// What kind of thing it is.
    pub class: SpaceClass,
    /// Where; the mount point for what lies outside of work directories.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// Whose; empty for what is nobody's.
    #[serde(with = "as_json::TextOrNull")]
    pub runner: String,
    /// Which disk.
    #[serde(skip)]
    pub filesystem: FilesystemId,
    /// Allocated bytes, without the caches that lie in it.
    pub bytes: u64,
    /// Files and directories, without those of the caches that lie in it.
    pub inodes: u64,
    /// Whether inodes are what its disk lacks, and not bytes.
    #[serde(skip)]
    pub by_inodes: bool,
    /// Whether all of it was seen: if not, it holds more.
    #[serde(rename = "whole")]
    pub is_whole: bool,
    /// The remedy, or the rule by which the guard would do it.
    pub remedy: String,
}

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum SpaceClass {
    /// A tool in `_tool`.
    ToolCache,
    /// `_actions`.
    Actions,
    /// `_update`.
    SelfUpdate,
    /// `_temp`.
    Temp,
    /// `_diag`.
    Logs,
    /// A repository that no job has used for long.
    StaleCheckout,
    /// A repository.
    Checkout,
    /// What builds have made, and no rule declares.
    BuildTree,
    /// All that lies in no work directory.
    OutsideOfWork,
}

impl SpaceClass {
    /// For JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::ToolCache => "tool cache",
            Self::Actions => "actions",
            Self::SelfUpdate => "self-update",
            Self::Temp => "leftovers of jobs",
            Self::Logs => "the runner's logs",
            Self::StaleCheckout => "stale checkout",
            Self::Checkout => "checkout",
            Self::BuildTree => "build tree without a rule",
            Self::OutsideOfWork => "outside of work directories",
        }
    }
}

named!(SpaceClass);
