//! Why a tree could not be deleted completely.

use super::{Removal, RemovalExtent, Removed};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Why something is left. Paths are relative to the directory that holds the tree, and hold names of any bytes: escape
/// them before they are shown.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// A mount: neither entered nor removed.
    #[error("left {} alone: something is mounted there; unmount it to have it removed", path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// EXDEV from openat2(2), EBUSY from the others.
        #[source]
        source: io::Error,
    },
    /// Each time it was emptied, something new was in it.
    #[error("{} is refilled while it is being removed; stop what writes to it", path.display())]
    Refilled {
        /// Where.
        path: PathBuf,
    },
    /// The deadline came first.
    #[error("out of time at {}: the rest is left for the next run", path.display())]
    OutOfTime {
        /// Where it was at the deadline.
        path: PathBuf,
    },
    /// Enough had been deleted.
    #[error("enough was deleted at {}: the rest is left for the next run", path.display())]
    Enough {
        /// Where.
        path: PathBuf,
    },
    /// No thread could be confined to the work directories: nothing was deleted.
    #[error("deletion could not be confined to the work directories, so nothing was deleted")]
    Unconfined {
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// A system call refused.
    #[error("cannot {operation} {}", path.display())]
    Failed {
        /// Where.
        path: PathBuf,
        /// To do what.
        operation: Operation,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
}

impl RemoveError {
    /// With the kernel's error, for people.
    pub fn explained(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening a directory.
    Open,
    /// Reading a directory.
    Read,
    /// Removing an entry that is no directory.
    Unlink,
    /// Removing an entry that is not a directory.
    RemoveDirectory,
    /// Renaming a directory that is nested too deep up beside the tree.
    MoveUp,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Unlink => "unlink",
            Self::RemoveDirectory => "remove the directory",
            Self::MoveUp => "move up the deeply nested directory",
        })
    }
}

/// The first error and their number.
#[derive(Debug, Default)]
pub(super) struct Errors(Mutex<RecordedError>);

#[derive(Debug, Default)]
struct RecordedError {
    first: Option<RemoveError>,
    count: u64,
    lacked_space: bool,
}

impl Errors {
    pub(super) fn record(&self, error: RemoveError) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.count += 1;
        if let RemoveError::Failed { source, .. } = &error {
            use io::ErrorKind::{QuotaExceeded, StorageFull};
            recorded.lacked_space |= matches!(source.kind(), StorageFull | QuotaExceeded);
        }
        recorded.first.get_or_insert(error);
    }

    /// Removing an entry would have needed free space.
    pub(super) fn lacked_space(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lacked_space
    }

    pub(super) fn into_removal(self, removed: Removed) -> Removal {
        let RecordedError { first, count, .. } = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let extent = first.map_or(RemovalExtent::Whole, |first| RemovalExtent::Part { first, errors: count });
        Removal { files: removed.files, directories: removed.directories, extent }
    }
}
