//! The filesystems that a runner needs: that of its work directory, that of its root, and that of `_diag`, without which it cannot write a
//! log and dies.

use super::caches::open_work;
use super::filesystems::MountTable;
use crate::actions_runner::layout;
use crate::model::{Filesystem, FilesystemId, Runner, Usage};
use crate::sys::dir::{Dir, usage_at};
use crate::sys::reach;
use rustix::fs::readlinkat;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// The filesystems of all runners' places, each once. Failures are reported.
pub fn filesystems(runners: &[Runner], mounts: &MountTable, notes: &mut Vec<String>) -> Vec<Filesystem> {
    let mut found: BTreeMap<FilesystemId, Filesystem> = BTreeMap::new();
    for runner in runners {
        add(runner, mounts, &mut found, notes);
    }
    found.into_values().collect()
}

fn add(
    runner: &Runner,
    mounts: &MountTable,
    found: &mut BTreeMap<FilesystemId, Filesystem>,
    notes: &mut Vec<String>,
) {
    let mut add = |path: &Path, dir: io::Result<Dir>, is_needed: bool| {
        let filesystem =
            dir.and_then(|dir| match found.contains_key(&mounts.pool_of(&dir, &dir.status()?)) {
                true => Ok(None),
                false => mounts.filesystem_of(&dir).map(Some),
            });
        match filesystem {
            // A quota has no mount point of its own: the directory in which it was found is used instead.
            Ok(Some(quota)) if quota.id.is_of_project() => {
                drop(found.insert(quota.id, Filesystem { mount: path.to_owned(), ..quota }));
            }
            Ok(Some(filesystem)) => drop(found.insert(filesystem.id, filesystem)),
            Err(error) if is_needed => {
                notes.push(format!("{}: usage cannot be read: {error}", path.display()));
            }
            Ok(None) | Err(_) => {}
        }
    };
    if let Some(work) = runner.work_dir() {
        add(&work.path, open_work(work), true);
    }
    for path in beside_work(runner) {
        // A network filesystem depends on another host's answer.
        if reach::is_local(&path) {
            add(&path, Dir::open(&path), false);
        }
    }
}

/// How full the disk is on which a runner logs. For its own hook, which runs as its user, directly after the runner has written there: one
/// system call, links followed.
pub fn usage_of_logs(runner: &Runner) -> Option<Usage> {
    usage_at(&runner.root.join(layout::DIAG)).or_else(|_| usage_at(&runner.root)).ok()
}

/// The root and its `_diag`, at its real place. A link of the runner's is resolved by its text only: no link may be on the way of its
/// target.
fn beside_work(runner: &Runner) -> [PathBuf; 2] {
    let diag = runner.root.join(layout::DIAG);
    // Through the root's handle, which does not exist if the root's mount does not answer.
    let link = Dir::open(&runner.root).and_then(|root| Ok(readlinkat(&root, layout::DIAG, Vec::new())?));
    let diag = match link {
        Ok(target) => plain(&runner.root.join(OsStr::from_bytes(target.as_bytes()))),
        Err(_) => diag,
    };
    [runner.root.clone(), diag]
}

/// The path without `.` and `..`: the same place if there is no link on the way.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::runners::examine;
    use crate::sys::testing::{in_private_mounts, is_root, mount_small};
    use std::fs::{create_dir, create_dir_all};
    use std::os::unix::fs::symlink;

    #[test]
    fn the_disks_of_root_and_diag_are_found_each_once() {
        if !is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        in_private_mounts(|| {
            let root = temp.path().join("root");
            create_dir_all(root.join("_work")).unwrap();
            create_dir(root.join("_diag")).unwrap();
            let look = || {
                let mounts = MountTable::default();
                let runner = examine(&root, &mounts).unwrap().unwrap();
                filesystems(&[runner.clone(), runner], &mounts, &mut Vec::new()).len()
            };
            assert_eq!(look(), 1, "all of it lies on one disk, that of the test's directory");
            mount_small(&root.join("_work"));
            assert_eq!(look(), 2);
            mount_small(&root.join("_diag"));
            assert_eq!(look(), 3, "a log directory of its own");
            for mount in ["_work", "_diag"] {
                nix::mount::umount(&root.join(mount)).unwrap();
            }
            #[expect(clippy::disallowed_methods, reason = "the test's own directory")]
            std::fs::remove_dir(root.join("_diag")).unwrap();
            create_dir(temp.path().join("logs")).unwrap();
            mount_small(&temp.path().join("logs"));
            symlink("../logs", root.join("_diag")).unwrap();
            assert_eq!(look(), 2, "a link to another disk");
            nix::mount::umount(&temp.path().join("logs")).unwrap();
        });
    }
}
