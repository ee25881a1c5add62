//! A filesystem's usage.

use super::FilesystemId;
use crate::as_json::named;
use std::path::PathBuf;
use strum::IntoStaticStr;

/// Usage of one filesystem, from `fstatvfs` on a handle inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// Which.
    pub id: FilesystemId,
    /// Where it is mounted, for display.
    pub mount: PathBuf,
    /// `ext4`, `xfs`, ...
    pub fs_type: String,
    /// How full it is.
    pub usage: Usage,
}

/// Space and inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Size in bytes.
    pub total_bytes: u64,
    /// Bytes in use (`f_blocks - f_bfree`).
    pub used_bytes: u64,
    /// Bytes that an unprivileged process can still use (`f_bavail`).
    pub available_bytes: u64,
    /// Inodes in all; 0 where the filesystem does not count them (btrfs).
    pub inodes_total: u64,
    /// Inodes that an unprivileged process can still use (`f_favail`).
    pub inodes_free: u64,
}

impl Usage {
    /// Use% as `df` prints it: used / (used + available), rounded up. Reserved blocks count as neither.
    pub fn used_percent(&self) -> u8 {
        let reachable = u128::from(self.used_bytes) + u128::from(self.available_bytes);
        if reachable == 0 {
            return 0;
        }
        (u128::from(self.used_bytes) * 100).div_ceil(reachable) as u8
    }

    /// The same as a ratio, not rounded.
    pub fn used_ratio(&self) -> f64 {
        let reachable = self.used_bytes as f64 + self.available_bytes as f64;
        if reachable == 0.0 { 0.0 } else { self.used_bytes as f64 / reachable }
    }

    /// Free inodes as a ratio; 1.0 where inodes are not counted.
    pub fn inodes_free_ratio(&self) -> f64 {
        if self.inodes_total == 0 { 1.0 } else { self.inodes_free as f64 / self.inodes_total as f64 }
    }
}

/// The level of pressure on a filesystem or of another limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Level {
    /// Below the high watermark and above every floor.
    Ok,
    /// At or above `pressure.high`, or below a floor.
    High,
    /// At or above `pressure.critical`.
    Critical,
}

impl Level {
    /// The contract's name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

named!(Level);
