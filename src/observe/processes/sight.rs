//! Whether a process sees the same directory at a path as this one, determined from mount tables only: no path of its namespace is
//! touched, where a mount may never answer.

use super::mountinfo::{self, Mount};
use super::prefixes::{below, join};
use crate::model::{FilesystemId, ProcessId};
use crate::observe::diag_log;
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::sys::process_dir::{Processes, link_buffer};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

const MOUNTINFO_LIMIT: u64 = 64 << 20;

/// Why it is not proved that a process sees a directory as this process does.
#[derive(Debug, thiserror::Error)]
pub enum SightError {
    /// It has ended.
    #[error("it is gone")]
    Gone,
    /// Paths mean something else to it.
    #[error("its root directory is {0}")]
    OtherRoot(String),
    /// Something else is mounted there in its mount namespace.
    #[error("another {0} has that name in its mount namespace")]
    OtherFile(String),
    /// Its links or mounts cannot be read.
    #[error("its view of the host cannot be determined ({0})")]
    Undetermined(Box<dyn std::error::Error + Send + Sync>),
}

/// Checks that `process` sees our `directory` at the same path, and in it the same files and directories of these `names`.
///
/// # Errors
/// [`SightError`], also when that is unknown.
pub fn sees_directory(
    proc: &Proc,
    process: ProcessId,
    directory: &Path,
    names: &[&str],
) -> Result<(), SightError> {
    let dir = Processes::open(proc).map_err(undetermined)?.process(process.pid).map_err(undetermined)?;
    if dir.identify().map_err(undetermined)?.id != process {
        return Err(SightError::Gone);
    }
    let mut buffer = link_buffer();
    let root = dir.link(c"root", &mut buffer).map_err(undetermined)?;
    if root != b"/" {
        return Err(SightError::OtherRoot(String::from_utf8_lossy(root).into_owned()));
    }
    let mut buffer = link_buffer();
    let theirs = dir.link(c"ns/mnt", &mut buffer).map_err(undetermined)?;
    let ours = std::fs::read_link(proc.root().join("self/ns/mnt")).map_err(undetermined)?;
    if theirs == ours.as_os_str().as_bytes() {
        return Ok(());
    }
    let (_, path) = Dir::resolve(directory).map_err(undetermined)?;
    let own = mountinfo::read_own(proc.root()).map_err(undetermined)?;
    let mut foreign = Vec::new();
    dir.read(c"mountinfo", MOUNTINFO_LIMIT, &mut foreign).map_err(undetermined)?;
    for name in names {
        let path = path.join(name);
        match (place_in(&own, &path), place_in(&foreign, &path)) {
            (Some(ours), Some(theirs)) if ours == theirs => {}
            (Some(_), Some(_)) => return Err(SightError::OtherFile((*name).to_owned())),
            _ => return Err(undetermined("its mounts cannot be read")),
        }
    }
    Ok(())
}

fn undetermined(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SightError {
    SightError::Undetermined(error.into())
}

/// When a Listener's open log in `diag` was begun, by its name, in the wall clock of that time.
pub fn log_begun(proc: &Proc, process: ProcessId, diag: &Path) -> Option<SystemTime> {
    let dir = Processes::open(proc).ok()?.process(process.pid).ok()?;
    if dir.identify().ok()?.id != process {
        return None;
    }
    dir.numbers(c"fd").ok()?.into_iter().find_map(|fd| {
        let mut buffer = link_buffer();
        let file = dir.open_file(fd.0, &mut buffer).ok()?;
        let name = file.strip_prefix(diag.as_os_str().as_bytes())?.strip_prefix(b"/")?;
        diag_log::LogKind::Listener.names(name).then(|| diag_log::begun(OsStr::from_bytes(name))).flatten()
    })
}

/// The directory and filesystem that a path names, by a mount table.
fn place_in(text: &[u8], path: &Path) -> Option<(FilesystemId, Vec<u8>)> {
    let mounts = mountinfo::parse(text)?;
    let path = path.as_os_str().as_bytes();
    let mount = mount_over(&mounts, path)?;
    Some((mount.device, join(&mount.root, below(path, &mount.point)?)))
}

/// The mount of a path, free of links: of those with the longest mount point the one that was mounted last.
pub(super) fn mount_over<'m, 't>(mounts: &'m [Mount<'t>], path: &[u8]) -> Option<&'m Mount<'t>> {
    mounts.iter().filter(|mount| below(path, &mount.point).is_some()).max_by_key(|mount| mount.point.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &[u8] = b"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:20 / /run rw - tmpfs t rw\n";

    #[test]
    fn a_directory_is_placed_by_the_last_of_the_longest_mounts() {
        let place = |text: &[u8]| place_in(text, Path::new("/run/disk-guard")).unwrap();
        let tmpfs = FilesystemId { major: 0, minor: 20 };
        assert_eq!(place(HOST), (tmpfs, b"/disk-guard".to_vec()));
        let bound = [HOST, b"3 2 0:20 /disk-guard /run/disk-guard rw - tmpfs t rw\n"].concat();
        assert_eq!(place(&bound), place(HOST), "a service that has it mounted by itself");
        let shared =
            b"9 0 0:40 / / rw - overlay o rw\n3 9 0:20 /disk-guard /run/disk-guard rw - tmpfs t rw\n";
        assert_eq!(place(shared), place(HOST), "a container that was given it");
        for other in [
            &b"9 0 0:40 / / rw - overlay o rw\n"[..],
            b"9 0 0:40 / / rw - overlay o rw\n3 9 0:41 / /run rw - tmpfs t rw\n",
            &[HOST, b"3 2 0:41 / /run rw - tmpfs t rw\n"].concat(),
            &[HOST, b"3 2 0:20 /x /run/disk-guard rw - tmpfs t rw\n"].concat(),
            &[HOST, b"3 2 0:20 /lock /run/disk-guard rw - tmpfs t rw\n"].concat(),
        ] {
            assert_ne!(place(other), place(HOST), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn the_guard_shares_its_own_view_of_directories() {
        let proc = Proc::new(Path::new("/proc"));
        let me = proc.identify(crate::sys::process::own_pid()).unwrap().id;
        sees_directory(&proc, me, &std::env::temp_dir(), &[""]).expect("it is this process");
        let gone = ProcessId { start: crate::model::StartTime(me.start.0 + 1), ..me };
        assert!(sees_directory(&proc, gone, &std::env::temp_dir(), &[""]).is_err());
    }
}
