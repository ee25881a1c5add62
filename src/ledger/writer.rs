//! Appending to the ledger's file.
//!
//! One `write` for each entry, to a file opened for appending: entries of processes that write at the same time do not mix, and no lock is
//! needed. Only rotation takes one, on the file itself, without waiting: the process that gets it renames the file if that is still the
//! file of this name. If some process keeps that lock, the file is rotated without it when it is twice its allowed length.
//!
//! A process writes only to a regular file of its own user that has one name; root only in a directory that nobody else can write to. So a
//! planted link cannot redirect its entries.

#![expect(clippy::disallowed_methods, reason = "a file of our own, in a directory of our own")]

use super::line::{self, Account};
use super::{FILE, MAX_FILE_BYTES, OLDER, OTHERS};
use crate::model::Uid;
use crate::model::ledger::LedgerRecord;
use crate::sys::dir::{Dir, Status};
use crate::sys::flock::{Probe, probe};
use crate::sys::process::own_pid;
use rustix::fs::{Gid, Mode, OFlags, RenameFlags, fchown, fstat, mkdirat, openat, renameat_with};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// At most this much is kept for later while nothing can be written.
const MAX_PENDING: usize = 1 << 20;

/// The state of the entries so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// All are in the file.
    All,
    /// Not all are; why.
    Not(String),
}

/// Writes the entries of one process. Nothing is opened before the first one.
#[derive(Debug)]
pub struct LedgerWriter {
    state_dir: PathBuf,
    account: Account,
    limit: u64,
    pending: Vec<u8>,
    lost: usize,
}

impl LedgerWriter {
    /// A writer to the files in `state_dir`, in the boot `boot_id`.
    pub fn new(state_dir: &Path, boot_id: String) -> Self {
        let account = Account { boot_id, pid: own_pid() };
        Self { state_dir: state_dir.to_owned(), account, limit: MAX_FILE_BYTES, pending: Vec::new(), lost: 0 }
    }

    /// Appends a record, and earlier ones that could not be written.
    pub fn append(&mut self, record: &LedgerRecord) -> WriteOutcome {
        let line = line::write(record, &self.account);
        if self.pending.len() + line.len() > MAX_PENDING {
            self.lost += 1;
        } else {
            self.pending.extend(line);
        }
        self.flush()
    }

    /// Tries again to write earlier records; at the end of a run there may be room again.
    pub fn flush(&mut self) -> WriteOutcome {
        if self.pending.is_empty() {
            return if self.lost == 0 {
                WriteOutcome::All
            } else {
                WriteOutcome::Not(format!("{} entries exceeded the limit and were dropped", self.lost))
            };
        }
        match self.open().and_then(|file| self.write_to(file)) {
            Ok(()) => self.flush(),
            Err(error) => WriteOutcome::Not(format!(
                "the ledger in {} cannot be written: {error}",
                self.state_dir.display()
            )),
        }
    }

    /// A line that a full disk has truncated is written again as a whole: a reader skips the fragment.
    fn write_to(&mut self, mut file: File) -> io::Result<()> {
        while !self.pending.is_empty() {
            // Line by line, so that each is one write.
            let end = self.pending[1..].iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 2);
            let written = file.write(&self.pending[..end])?;
            if written < end {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.pending.drain(..end);
        }
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        let user = Uid(nix::unistd::geteuid().as_raw());
        let dir = match Dir::resolve(&self.state_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                mkdirat(rustix::fs::CWD, &self.state_dir, Mode::from_raw_mode(0o755))?;
                Dir::resolve(&self.state_dir)?.0
            }
            result => result?.0,
        };
        let status = dir.status()?;
        if status.owner == user {
            if user == Uid::ROOT && others_write(&status) {
                return Err(io::Error::other("users other than root can write to the directory"));
            }
            return open_own(&dir, FILE, user).and_then(|file| self.rotated(&dir, FILE, OLDER, user, file));
        }
        if user == Uid::ROOT {
            return Err(io::Error::other(format!(
                "the directory belongs to uid {}, not to root",
                status.owner
            )));
        }
        let others = dir.descend(OTHERS)?;
        let (name, older) = (format!("{user}.jsonl"), format!("{user}.jsonl.1"));
        open_own(&others, &name, user).and_then(|file| self.rotated(&others, &name, &older, user, file))
    }

    /// The file to write to: the given one, or a new one when that was full.
    fn rotated(&self, dir: &Dir, name: &str, older: &str, user: Uid, file: File) -> io::Result<File> {
        let metadata = file.metadata()?;
        if metadata.size() < self.limit {
            return Ok(file);
        }
        let is_locked = matches!(probe(file.try_clone()?)?, Probe::Taken(_));
        let stands = dir.status_of(name)?;
        let is_current = stands.id.ino == metadata.ino() && stands.id.dev == metadata.dev();
        if is_current && (is_locked || metadata.size() >= self.limit * 2) {
            renameat_with(dir, name, dir, older, RenameFlags::empty())?;
        }
        open_own(dir, name, user)
    }
}

/// Whether the directory's group or everybody may replace its files.
pub(super) fn others_write(status: &Status) -> bool {
    status.mode & 0o022 != 0
}

/// Opens a file for appending that is this user's alone, and makes it when it is missing.
fn open_own(dir: &Dir, name: &str, user: Uid) -> io::Result<File> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = File::from(openat(dir, name, flags, Mode::from_raw_mode(0o640))?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != user.0 || metadata.nlink() != 1 {
        return Err(io::Error::other(format!("{name} is not a file of this user")));
    }
    // The directory's group may read: a user who runs runners here may ask. A closed file can be asked about as root.
    if let Some(group) = fstat(dir).ok().map(|status| status.st_gid).filter(|gid| *gid != metadata.gid()) {
        let _ = fchown(&file, None, Some(Gid::from_raw(group)));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::sample;
    use super::super::read_files;
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn writer(dir: &Path) -> LedgerWriter {
        LedgerWriter::new(dir, "boot".into())
    }

    #[test]
    fn a_missing_directory_is_made_and_entries_come_back() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("state");
        assert_eq!(writer(&dir).append(&sample()), WriteOutcome::All);
        assert_eq!(writer(&dir).append(&sample()), WriteOutcome::All);
        let found = read_files(&dir);
        assert_eq!(found.entries.len(), 2);
        assert_eq!(found.entries[0].record, sample());
        assert_eq!(found.entries[0].writer.uid, Some(Uid(nix::unistd::geteuid().as_raw())));
    }

    #[test]
    fn a_full_file_becomes_the_older_generation_and_there_is_one_of_it() {
        let temp = tempfile::tempdir().unwrap();
        let mut writer = LedgerWriter { limit: 2000, ..writer(temp.path()) };
        for sequence in 0..40 {
            let record = sample().with(|details| details.sequence = Some(sequence));
            assert_eq!(writer.append(&record), WriteOutcome::All);
        }
        let sizes: Vec<u64> = [FILE, OLDER]
            .iter()
            .map(|name| std::fs::metadata(temp.path().join(name)).unwrap().len())
            .collect();
        assert!(sizes.iter().all(|size| *size < 3000), "{sizes:?}");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2);
        let found = read_files(temp.path());
        let numbers: Vec<u64> =
            found.entries.iter().filter_map(|entry| entry.record.details.sequence).collect();
        assert!(numbers.contains(&39) && !numbers.contains(&0), "{numbers:?}");
    }

    #[test]
    fn a_held_lock_delays_rotation_and_does_not_prevent_it() {
        let temp = tempfile::tempdir().unwrap();
        let mut writer = LedgerWriter { limit: 1000, ..writer(temp.path()) };
        assert_eq!(writer.append(&sample()), WriteOutcome::All);
        let Probe::Taken(_lock) = probe(File::open(temp.path().join(FILE)).unwrap()).unwrap() else {
            panic!("it was free")
        };
        for _ in 0..12 {
            if !temp.path().join(OLDER).exists() {
                assert_eq!(writer.append(&sample()), WriteOutcome::All);
            }
        }
        assert!(std::fs::metadata(temp.path().join(OLDER)).unwrap().len() >= 2000);
    }

    #[test]
    fn nothing_is_written_through_a_link_or_to_a_file_with_two_names() {
        let temp = tempfile::tempdir().unwrap();
        let victim = temp.path().join("victim");
        std::fs::write(&victim, "").unwrap();
        let state = temp.path().join("state");
        for lay in [
            (|from: &Path, to: &Path| symlink(from, to)) as fn(&Path, &Path) -> io::Result<()>,
            |from, to| std::fs::hard_link(from, to),
        ] {
            std::fs::create_dir_all(&state).unwrap();
            lay(&victim, &state.join(FILE)).unwrap();
            assert!(matches!(writer(&state).append(&sample()), WriteOutcome::Not(_)));
            assert_eq!(std::fs::read(&victim).unwrap(), b"");
            std::fs::remove_dir_all(&state).unwrap();
        }
        assert_eq!(writer(&state).append(&sample()), WriteOutcome::All, "the control");
    }

    #[test]
    fn an_entry_that_cannot_be_written_is_written_later() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("not-there/state");
        let mut writer = writer(&state);
        assert!(matches!(writer.append(&sample()), WriteOutcome::Not(_)));
        assert!(matches!(writer.append(&sample()), WriteOutcome::Not(_)));
        std::fs::create_dir(temp.path().join("not-there")).unwrap();
        assert_eq!(writer.flush(), WriteOutcome::All);
        assert_eq!(read_files(&state).entries.len(), 2);
    }

    #[test]
    fn the_directorys_group_may_read_and_nobody_else() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(temp.path(), None, Some(12_000)).unwrap();
        assert_eq!(writer(temp.path()).append(&sample()), WriteOutcome::All);
        let metadata = std::fs::metadata(temp.path().join(FILE)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (0, 12_000, 0o640));
    }

    #[test]
    fn root_does_not_write_where_others_could_lay_links() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(writer(temp.path()).append(&sample()), WriteOutcome::Not(_)));
        std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(writer(temp.path()).append(&sample()), WriteOutcome::All, "the control");
    }
}
