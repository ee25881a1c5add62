//! Mapped files: which of them lie in a work directory.
//!
//! A host maps a few hundred libraries into thousands of processes. A file with a single name, outside of every work directory, is asked
//! for its name once in a scan; one with several names every time.

use super::held::note;
use super::prefixes::Prefixes;
use crate::model::{FilesystemId, HeldBy};
use crate::sys::mappings::{MappedFile, Visitor};
use std::collections::HashMap;
use std::path::PathBuf;

/// Looks at the mapped files of one process. The libraries of a host are mapped everywhere: each is named once.
pub(super) struct Mappings<'s> {
    pub(super) held: &'s mut Vec<(usize, HeldBy, PathBuf)>,
    pub(super) shared: &'s Prefixes,
    pub(super) local: &'s Prefixes,
    pub(super) devices: &'s [FilesystemId],
    pub(super) outside: &'s mut HashMap<MappedFile, bool>,
}

impl Visitor for Mappings<'_> {
    fn wants(&mut self, file: MappedFile) -> bool {
        self.devices.contains(&file.device) && self.outside.get(&file) != Some(&true)
    }

    fn visit(&mut self, file: MappedFile, name: &[u8]) {
        note(self.held, self.shared, self.local, HeldBy::Mapping, name);
        self.outside
            .entry(file)
            .or_insert_with(|| !self.shared.hold(name) && !self.local.hold(name) && has_one_name(file, name));
    }
}

/// Whether `name` leads to that very file and the file has no other name: the next process may have mapped a hard link of it inside a work
/// directory.
fn has_one_name(file: MappedFile, name: &[u8]) -> bool {
    rustix::fs::lstat(name).is_ok_and(|stat| {
        let device =
            FilesystemId { major: rustix::fs::major(stat.st_dev), minor: rustix::fs::minor(stat.st_dev) };
        stat.st_nlink == 1 && file == MappedFile { device, inode: stat.st_ino }
    })
}
