//! What holds a disk whose goal is missed.

use super::FilesystemId;
use crate::as_json::{self, named};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;
use strum::IntoStaticStr;

/// A directory that uses much of a disk, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SpaceHolder {
    /// Its kind.
    pub class: SpaceClass,
    /// Its path; the mount point for everything outside of work directories.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// Its runner; empty if there is none.
    #[serde(with = "as_json::TextOrNull")]
    pub runner: String,
    /// Its disk.
    #[serde(skip)]
    pub filesystem: FilesystemId,
    /// Allocated bytes, without caches in it.
    pub bytes: u64,
    /// Files and directories, without those of caches in it.
    pub inodes: u64,
    /// Whether its disk is short of inodes and not of bytes.
    #[serde(skip)]
    pub by_inodes: bool,
    /// Whether it was measured completely; if not, it uses more.
    #[serde(rename = "whole")]
    pub is_whole: bool,
    /// The remedy, or the rule with which the guard would remove it.
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
    /// Output of builds that no rule covers.
    BuildTree,
    /// Everything outside of work directories.
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
