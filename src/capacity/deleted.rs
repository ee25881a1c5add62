//! Files that have been deleted and still take space, because a process holds them open: `du` does not see them, `df` does.
//!
//! Found by the kernel's own mark on a process's links (`... (deleted)`), believed only when the file has no name left. Files
//! that are only mapped are not seen. A process that cannot be read is left out: this is orientation, no evidence.

use crate::model::{DeletedFile, Filesystem, Pid};
use crate::observe::filesystems::device;
use crate::sys::process::Proc;
use procfs::process::{FDTarget, Process};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::collections::HashMap;
use std::path::PathBuf;

/// Smaller ones are not worth a line.
const WORTH_A_LINE: u64 = 1 << 20;

/// How many are named, the largest first.
const NAMED: usize = 64;

/// Those on the given filesystems, the largest first; each once, whoever else holds it.
pub fn held_open(proc: &Proc, filesystems: &[&Filesystem]) -> Vec<DeletedFile> {
    let Ok(processes) = procfs::process::all_processes_with_root(proc.root()) else { return Vec::new() };
    let mut found = HashMap::new();
    for process in processes.flatten() {
        let Ok(files) = process.fd() else { continue };
        for file in files.flatten() {
            let FDTarget::Path(target) = file.target else { continue };
            let Some(path) = target.to_str().and_then(|text| text.strip_suffix(" (deleted)")) else {
                continue;
            };
            let link = proc.root().join(format!("{}/fd/{}", process.pid, file.fd));
            if let Some((identity, deleted)) = examine(&process, &link, path, filesystems) {
                found.entry(identity).or_insert(deleted);
            }
        }
    }
    let mut found: Vec<DeletedFile> = found.into_values().collect();
    found.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.path.cmp(&other.path)));
    found.truncate(NAMED);
    found
}

/// The file behind a link, if it has no name and lies on one of the filesystems: its device and inode, and what it is.
fn examine(
    process: &Process,
    link: &std::path::Path,
    path: &str,
    filesystems: &[&Filesystem],
) -> Option<((u64, u64), DeletedFile)> {
    // A network filesystem whose server is gone would keep us waiting: what is cached is good enough.
    let flags = AtFlags::STATX_DONT_SYNC;
    let status = statx(CWD, link, flags, StatxFlags::BASIC_STATS).ok()?;
    let dev = rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor);
    let filesystem = filesystems.iter().find(|filesystem| filesystem.id == device(dev))?;
    let bytes = status.stx_blocks * 512;
    (status.stx_nlink == 0 && bytes >= WORTH_A_LINE).then(|| {
        let deleted = DeletedFile {
            pid: Pid(process.pid),
            comm: process.stat().map(|stat| stat.comm).unwrap_or_default(),
            path: PathBuf::from(path),
            mount: filesystem.mount.clone(),
            bytes,
        };
        ((dev, status.stx_ino), deleted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::filesystems::MountTable;
    use crate::sys::dir::Dir;
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
        assert_eq!(ours(), []);
        assert_eq!(held_open(&proc, &[]), [], "only filesystems that are asked for");
    }
}
