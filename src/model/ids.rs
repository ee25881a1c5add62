//! Identities: small newtypes, so that a pid is never a uid and a device never an inode.

use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// A process id as seen in the pid namespace of `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Uid(pub u32);

impl Uid {
    /// The superuser.
    pub const ROOT: Uid = Uid(0);
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a process started, in clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StartTime(pub u64);

/// A process that cannot be confused with a later one of the same pid in the same boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// Its number.
    pub pid: Pid,
    /// When it started.
    pub start: StartTime,
}

/// A file or directory that cannot be confused with another one that is there at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// The pool of space that a file takes from: the superblock that holds it, by `major:minor` of its mount (mountinfo's third
/// field), or within that a project with a quota of its own ([`Self::of_project`]).
///
/// Not `st_dev`: on btrfs each subvolume has its own `st_dev`, yet all share one pool of free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilesystemId {
    /// Device major.
    pub major: u32,
    /// Device minor.
    pub minor: u32,
}

/// Device numbers have 12 bits for the major one and 20 for the minor.
const MINOR_BITS: u32 = 20;
const OF_PROJECT: u32 = 1 << 31;

impl FilesystemId {
    /// The quota of a project on this filesystem. No device has such a number.
    #[must_use]
    pub fn of_project(self, project: u32) -> Self {
        Self { major: OF_PROJECT | (self.major << MINOR_BITS) | self.minor, minor: project }
    }

    /// Whether it is the quota of a project.
    pub fn is_of_project(self) -> bool {
        self.major & OF_PROJECT != 0
    }
}

impl fmt::Display for FilesystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_project() {
            let device = self.major & !OF_PROJECT;
            let (major, minor) = (device >> MINOR_BITS, device & ((1 << MINOR_BITS) - 1));
            return write!(f, "{major}:{minor} project {}", self.minor);
        }
        write!(f, "{}:{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_of_projects_are_distinguished_and_named_by_their_device() {
        let disk = FilesystemId { major: 259, minor: 1_048_575 };
        let (one, other) = (disk.of_project(11), disk.of_project(12));
        assert_ne!(one, other);
        assert_ne!(one, FilesystemId { minor: 1, ..disk }.of_project(11));
        assert!(one.is_of_project() && !disk.is_of_project());
        assert_eq!(
            (one.to_string(), disk.to_string()),
            ("259:1048575 project 11".into(), "259:1048575".into())
        );
    }
}
