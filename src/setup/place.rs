//! Files that are replaced whole: written beside their place through a handle, synced, renamed.
//!
//! The directory may belong to a runner's user, who can swap names at any moment. Nothing is ever written through a name:
//! bytes, owner and mode go to the open file, and a rename only moves names within the one directory.

#![expect(
    clippy::disallowed_methods,
    reason = "files of our own, and `.env` files, replaced whole; no tree is removed"
)]

use crate::sys::dir::Dir;
use crate::text::escape;
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, fchown, fsync, openat, renameat, unlinkat};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A `.env` or a record is short.
const MAX_BYTES: u64 = 256 * 1024;

/// A file and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingFile {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its owner and permissions.
    pub attributes: FileAttributes,
    /// Device, inode, size and modification time: a difference means another file.
    version: (u64, u64, u64, i64, i64),
}

/// Owner, group and permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAttributes {
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Reads a regular file with one name; a link is never followed.
///
/// # Errors
/// The error of opening or reading; `InvalidInput` for a file with several names, which may be another one's secret.
pub fn read(dir: &Dir, name: &str) -> io::Result<Option<ExistingFile>> {
    read_up_to(dir, name, MAX_BYTES)
}

/// The same for a file of another length.
///
/// # Errors
/// As [`read`].
pub fn read_up_to(dir: &Dir, name: &str, limit: u64) -> io::Result<Option<ExistingFile>> {
    let file = match dir.open_file(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is a symbolic link, which is not followed: put a regular file in its place",
            ));
        }
        result => result?,
    };
    let metadata = file.metadata()?;
    if metadata.nlink() != 1 {
        let what = "it has more than one name (hard links): replace it by a separate file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
    }
    let attributes =
        FileAttributes { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & 0o7777 };
    let version = (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec());
    Ok(Some(ExistingFile { bytes, attributes, version }))
}

/// Puts `bytes` at `name`, whole or not at all.
///
/// # Errors
/// The system's error; then nothing has changed.
pub fn replace(dir: &Dir, name: &str, bytes: &[u8], attributes: FileAttributes) -> io::Result<()> {
    put(dir, name, bytes, attributes, Durable::Yes)
}

/// The same without waiting for the disk, for what can be made again: after a loss of power the file may be empty.
///
/// # Errors
/// As [`replace`].
pub fn replace_soon(dir: &Dir, name: &str, bytes: &[u8], attributes: FileAttributes) -> io::Result<()> {
    put(dir, name, bytes, attributes, Durable::No)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    Yes,
    No,
}

fn put(dir: &Dir, name: &str, bytes: &[u8], attributes: FileAttributes, durable: Durable) -> io::Result<()> {
    // The pid comes last: a node exporter reads every file that ends in `.prom`, with or without a dot.
    let draft = format!(".disk-guard-{}-{}", name.trim_start_matches('.'), std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(dir, draft.as_str(), flags, Mode::from_raw_mode(0o600))?);
    let placed = (|| {
        file.write_all(bytes)?;
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (attributes.user, attributes.group) {
            let user = rustix::fs::Uid::from_raw(attributes.user);
            fchown(&file, Some(user), Some(rustix::fs::Gid::from_raw(attributes.group)))?;
        }
        fchmod(&file, Mode::from_raw_mode(attributes.mode))?;
        if durable == Durable::Yes {
            fsync(&file)?;
        }
        renameat(dir, draft.as_str(), dir, name)?;
        Ok(())
    })();
    match placed {
        Ok(()) if durable == Durable::No => Ok(()),
        Ok(()) => {
            // Where a directory cannot be synced the rename is durable a little later.
            let _ = fsync(dir);
            Ok(())
        }
        Err(error) => {
            let _ = unlinkat(dir, draft.as_str(), AtFlags::empty());
            Err(error)
        }
    }
}

/// Whether `name` is still the file that was read, or still missing.
pub fn is_unchanged(dir: &Dir, name: &str, before: Option<&ExistingFile>) -> bool {
    match read(dir, name) {
        Ok(now) => now.as_ref() == before,
        Err(_) => false,
    }
}

/// Removes a file; a missing one is fine.
///
/// # Errors
/// The error of unlinkat(2).
pub fn remove(dir: &Dir, name: &str) -> io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A file of our own, with this mode.
pub fn own(mode: u32) -> FileAttributes {
    FileAttributes { user: nix::unistd::geteuid().as_raw(), group: nix::unistd::getegid().as_raw(), mode }
}

/// Writes the file at `path`, whole or not at all, and readable by all. The directory may belong to another user, such as an
/// exporter's: no component of the path may be a link, and a link in the file's place is replaced, not followed.
pub(crate) fn replace_at(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (directory, name) = match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(directory), Some(name)) => (directory, name),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file")),
    };
    let dir = Dir::open(directory).map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ELOOP | nix::libc::ENOTDIR) => io::Error::other(format!(
            "{} is no directory, or leads through a symbolic link: write the path without links",
            escape::path(directory)
        )),
        Some(nix::libc::ENOENT) => io::Error::other(format!(
            "the directory {} does not exist: make it, or name another one",
            escape::path(directory)
        )),
        _ => error,
    })?;
    replace(&dir, name, bytes, own(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_with_the_mode_it_is_to_have() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, _) = Dir::resolve(temp.path()).unwrap();
        assert_eq!(read(&dir, ".env").unwrap(), None);
        replace(&dir, ".env", b"A=1\n", own(0o640)).unwrap();
        let first = read(&dir, ".env").unwrap().unwrap();
        assert_eq!((first.bytes.as_slice(), first.attributes.mode), (&b"A=1\n"[..], 0o640));
        replace(&dir, ".env", b"A=2\n", own(0o600)).unwrap();
        assert!(!is_unchanged(&dir, ".env", Some(&first)));
        assert_eq!(std::fs::metadata(temp.path().join(".env")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(dir.names(9).unwrap().len(), 1, "no draft is left");
        remove(&dir, ".env").unwrap();
        remove(&dir, ".env").unwrap();
    }

    #[test]
    fn links_and_second_names_are_refused_and_what_they_lead_to_is_untouched() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("secret"), "s").unwrap();
        std::fs::create_dir(temp.path().join("root")).unwrap();
        let (dir, _) = Dir::resolve(&temp.path().join("root")).unwrap();
        std::os::unix::fs::symlink("../secret", temp.path().join("root/.env")).unwrap();
        assert!(read(&dir, ".env").unwrap_err().to_string().contains("symbolic link"));
        // Even without a check before the write, the link is replaced, not followed.
        replace(&dir, ".env", b"A=1\n", own(0o644)).unwrap();
        assert_eq!(std::fs::read(temp.path().join("secret")).unwrap(), b"s");
        remove(&dir, ".env").unwrap();
        std::fs::hard_link(temp.path().join("secret"), temp.path().join("root/.env")).unwrap();
        assert!(read(&dir, ".env").unwrap_err().to_string().contains("hard links"));
    }

    #[test]
    fn a_file_by_its_path_is_replaced_whole_and_no_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let (_, base) = Dir::resolve(temp.path()).unwrap();
        std::fs::create_dir_all(base.join("dir")).unwrap();
        std::fs::write(base.join("victim"), "precious").unwrap();
        let file = base.join("dir/disk-guard.prom");
        std::os::unix::fs::symlink("../victim", &file).unwrap();
        replace_at(&file, b"one\n").unwrap();
        replace_at(&file, b"two\n").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(std::fs::read(base.join("victim")).unwrap(), b"precious");
        assert_eq!(std::fs::read_dir(base.join("dir")).unwrap().count(), 1, "no draft is left");

        std::fs::create_dir(base.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", base.join("link")).unwrap();
        let error = replace_at(&base.join("link/x.prom"), b"x").unwrap_err().to_string();
        assert!(error.contains("without links"), "{error}");
        assert_eq!(std::fs::read_dir(base.join("elsewhere")).unwrap().count(), 0);
        let error = replace_at(&base.join("missing/x.prom"), b"x").unwrap_err().to_string();
        assert!(error.contains("does not exist"), "{error}");
    }
}
