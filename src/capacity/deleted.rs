//! Deleted files that still use space because a process has them open: `df` counts them, `du` does not.
//!
//! They are found by the kernel's mark on a process's links (`... (deleted)`), and count only if the file has no name left. Files that are
//! only mapped are not found. A process that cannot be read is left out: the result informs people and is no evidence.

use crate::model::{DeletedFile, FileId, Filesystem};
use crate::observe::filesystems::device;
use crate::sys::process::Proc;
use crate::sys::process_dir::{ProcessDir, Processes, link_buffer};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Smaller ones are not worth a line.
const WORTH_A_LINE: u64 = 1 << 20;

/// How many are named, the largest first.
const NAMED: usize = 64;

/// Such files on the given filesystems, the largest first, each once.
pub fn held_open(proc: &Proc, filesystems: &[&Filesystem]) -> Vec<DeletedFile> {
    let Ok(processes) = Processes::open(proc) else { return Vec::new() };
    let mut found = HashMap::new();
    let mut buffer = link_buffer();
    for process in processes.pids().unwrap_or_default() {
        let Ok(process) = processes.process(process) else { continue };
        // One call per open file: a host has many, and few of them are deleted.
        for file in process.numbers(c"fd").unwrap_or_default() {
            let Ok(link) = process.open_file(file.0, &mut buffer) else { continue };
            let Some(path) = link.strip_suffix(b" (deleted)") else { continue };
            if let Some((id, deleted)) = examine(&process, file.0, path, filesystems) {
                found.entry(id).or_insert(deleted);
            }
        }
    }
    let mut found: Vec<DeletedFile> = found.into_values().collect();
    found.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.path.cmp(&other.path)));
    found.truncate(NAMED);
    found
}

/// The open file `fd` of a process, if it has no name and lies on one of the filesystems.
fn examine(
    process: &ProcessDir,
    fd: i32,
    path: &[u8],
    filesystems: &[&Filesystem],
) -> Option<(FileId, DeletedFile)> {
    let status = process.open_file_status(fd).ok()?;
    let filesystem = filesystems.iter().find(|filesystem| filesystem.id == device(status.id.dev))?;
    (status.links == 0 && status.allocated >= WORTH_A_LINE).then(|| {
        let mut comm = [0; 64];
        let comm = process.comm(&mut comm).unwrap_or_default();
        let deleted = DeletedFile {
            pid: process.pid(),
            comm: String::from_utf8_lossy(comm).into_owned(),
            path: PathBuf::from(OsStr::from_bytes(path)),
            mount: filesystem.mount.clone(),
            bytes: status.allocated,
        };
        (status.id, deleted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::filesystems::MountTable;
    use crate::sys::dir::Dir;
    use crate::sys::testing::in_time;
    use std::io::Write as _;

    #[test]
    fn a_deleted_file_is_found_while_it_is_open_and_not_afterwards() {
        let temp = tempfile::tempdir().unwrap();
        let proc = Proc::new(std::path::Path::new("/proc"));
        let (dir, _) = Dir::resolve(temp.path()).unwrap();
        let filesystem = MountTable::read(&proc).filesystem_of(&dir).unwrap();
        let mut files: Vec<std::fs::File> = ["gone", "here"]
            .iter()
            .map(|name| std::fs::File::create(temp.path().join(name)).unwrap())
            .collect();
        for file in &mut files {
            file.write_all(&vec![1; 3 << 20]).unwrap();
            file.sync_all().unwrap();
        }
        #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
        std::fs::remove_file(temp.path().join("gone")).unwrap();
        let ours = || {
            let all = held_open(&proc, &[&filesystem]);
            all.into_iter().filter(|file| file.path.starts_with(temp.path())).collect::<Vec<_>>()
        };
        let found = ours();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, temp.path().join("gone"));
        assert!(found[0].bytes >= 3 << 20 && found[0].pid.0 == std::process::id() as i32, "{found:?}");
        drop(files);
        assert!(in_time(|| ours().is_empty()), "{:?}", ours());
        assert_eq!(held_open(&proc, &[]), [], "only filesystems that are asked for");
    }
}
