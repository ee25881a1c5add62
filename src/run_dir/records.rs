//! Records in the shared directory: small files, each one's own, in sticky directories by their kind.
//!
//! They are published whole: written under a dot-name and renamed, so a reader never sees half of one. Records of others are read within
//! bounds, and their owner is the only property that is trusted.

#![expect(clippy::disallowed_methods, reason = "records of our own, in a directory of our own")]

use super::{RunDir, RunDirError, make_unless_there};
use crate::model::Uid;
use crate::sys::dir::Dir;
use crate::sys::process::own_pid;
use crate::sys::reach;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW, fchmod, futimens, openat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// At most this many records are read at a time from a directory where they accumulate.
pub const MAX_RECORDS: usize = 4096;

/// At most this many records of one user are read; further ones are a flood, and are listed as unread.
pub const MAX_OF_ONE: usize = 512;

/// At most this many names in a directory of records; more is a flood that is not read to its end, and proves nothing.
pub const MAX_PASSED: usize = 65_536;

/// One record is at most this long.
pub const MAX_RECORD_BYTES: u64 = 16 * 1024;

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// One for each live job.
    Leases,
    /// One for each request for a privileged sweep.
    Requests,
    /// One for each runner that others wanted caches of.
    Tickets,
    /// One for each run that is not yet in the totals.
    Counters,
    /// One for each Listener whose jobs run a hook of ours.
    Hooks,
}

impl Records {
    /// Its directory's name.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Leases => "leases",
            Self::Requests => "requests",
            Self::Tickets => "tickets",
            Self::Counters => "counters",
            Self::Hooks => "hooks",
        }
    }

    /// The readers of a record: only members of the group reach the directory. A ticket is for another user, whose primary group is not
    /// its writer's; counts are no secret.
    fn mode(self) -> Mode {
        Mode::from_raw_mode(match self {
            Self::Leases | Self::Requests => 0o640,
            Self::Tickets | Self::Counters | Self::Hooks => 0o644,
        })
    }
}

/// One record's file.
#[derive(Debug)]
pub struct RunRecord {
    /// Its name.
    pub name: OsString,
    /// Its owner: the only property that cannot be forged.
    pub owner: Uid,
    /// When it was last modified; its owner can change that.
    pub modified: Option<SystemTime>,
    /// When the file last changed in any way; its owner can delay that but not date it back.
    pub changed: Option<SystemTime>,
    /// Its content, or why it cannot be read.
    pub content: io::Result<Vec<u8>>,
}

impl RunDir {
    pub(super) fn records(&self, records: Records) -> io::Result<Dir> {
        // One name in a directory of root's; a mount there is root's as well, and may be dead.
        reach::check(&self.path.join(records.directory()))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Dir::from(openat(&self.dir, records.directory(), flags, Mode::empty())?))
    }

    /// Publishes a record under `name`, replacing one of our own.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`].
    pub fn publish(&self, records: Records, name: &str, content: &[u8]) -> Result<(), RunDirError> {
        self.try_publish(records, name, content).map_err(|error| self.unusable("writing a record", error))
    }

    fn try_publish(&self, records: Records, name: &str, content: &[u8]) -> io::Result<()> {
        let dir = match self.records(records) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Sticky: members of the group add records and remove only their own.
                make_unless_there(&self.dir, Path::new(records.directory()), 0o1770)?;
                self.records(records)?
            }
            result => result?,
        };
        // The writer's pid, so that drafts of killed writers can be recognised; and a name that nobody else can have used before.
        let random = RandomState::new().build_hasher().finish();
        let draft = format!(".{}-{random:016x}-{name}", own_pid());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&dir, draft.as_str(), flags, records.mode())?);
        let written = fchmod(&file, records.mode())
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(content))
            .and_then(|()| Ok(renameat_with(&dir, draft.as_str(), &dir, name, RenameFlags::empty())?));
        if written.is_err() {
            let _ = unlinkat(&dir, draft.as_str(), AtFlags::empty());
        }
        written
    }

    /// Makes [`Self::roll`] show that a record was to be written here, if that fails: this needs neither space nor an inode.
    pub fn mark_attempt(&self, records: Records) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        // No record of this process is expected in a directory that it may not write.
        let _ = self.records(records).map(|dir| futimens(&dir, &times));
    }

    /// Writes a new record by one write, without a draft: for short ones whose completeness a reader can check. Three system calls, for
    /// the path that every job takes.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`]; also when there is one of this name.
    pub fn drop_off(&self, records: Records, name: &str, content: &[u8]) -> Result<(), RunDirError> {
        let path = format!("{}/{name}", records.directory());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(&self.dir, path.as_str(), flags, records.mode());
        let opened = match open() {
            Err(Errno::NOENT) => make_unless_there(&self.dir, Path::new(records.directory()), 0o1770)
                .and_then(|()| open().map_err(io::Error::from)),
            result => result.map_err(io::Error::from),
        };
        opened
            .and_then(|file| File::from(file).write_all(content))
            .map_err(|error| self.unusable("writing a record", error))
    }

    /// At most `most` records, in no order, whatever else the directory holds; for a directory that may be flooded. Links and other
    /// non-files are skipped, and at most [`MAX_PASSED`] names are looked at. The owner is that of the very file that was read, and a file
    /// with a second name belongs to no user.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`] when the directory is there and cannot be read; a missing one holds no records.
    pub fn read_some(&self, records: Records, most: usize) -> Result<Vec<RunRecord>, RunDirError> {
        let dir = match self.records(records) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(|error| self.unusable("opening the records", error))?,
        };
        let (mut names, mut passed) = (Vec::new(), 0);
        let mut buffer = vec![std::mem::MaybeUninit::uninit(); crate::sys::dir::ENTRIES_BUFFER];
        dir.for_each_entry(&mut buffer, |entry| {
            if entry.kind == FileType::RegularFile {
                names.push(OsStr::from_bytes(entry.name.to_bytes()).to_owned());
            }
            passed += 1;
            match names.len() < most && passed < MAX_PASSED {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })
        .map_err(|error| self.unusable("listing the records", error))?;
        Ok(names.into_iter().filter_map(|name| read_one(&dir, name)).collect())
    }

    /// All records: name, owner and content. A record that vanishes meanwhile is left out; one that cannot be read is listed with the
    /// reason, as are those of one user beyond [`MAX_OF_ONE`].
    ///
    /// # Errors
    /// [`RunDirError::Unusable`] when the directory is there and cannot be read; a missing one holds no records.
    pub fn read_all(&self, records: Records) -> Result<Vec<RunRecord>, RunDirError> {
        let dir = match self.records(records) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(|error| self.unusable("opening the records", error))?,
        };
        let names = dir.names(MAX_PASSED + 1).map_err(|error| self.unusable("listing the records", error))?;
        if names.len() > MAX_PASSED {
            let flood =
                io::Error::other(format!("{} holds more than {MAX_PASSED} files", records.directory()));
            return Err(self.unusable("listing the records", flood));
        }
        let (mut found, mut of_one) = (Vec::new(), HashMap::new());
        for name in names.into_iter().filter(|name| !name.as_encoded_bytes().starts_with(b".")) {
            let owner = match dir.status_of(&name) {
                Ok(status) => status.owner,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.unusable("looking at a record", error)),
            };
            let count = of_one.entry(owner).or_insert(0);
            *count += 1;
            if *count > MAX_OF_ONE {
                let flood = io::Error::other(format!("uid {owner} has more than {MAX_OF_ONE} of them"));
                found.push(RunRecord { name, owner, modified: None, changed: None, content: Err(flood) });
            } else {
                found.extend(read_one(&dir, name).map(|record| RunRecord { owner, ..record }));
            }
        }
        Ok(found)
    }

    /// The names of all records, in order, and when one was last added or removed.
    ///
    /// # Errors
    /// The system's error; `FileTooLarge` for a flood, which is not read to its end.
    pub fn roll(&self, records: Records) -> io::Result<(SystemTime, Vec<OsString>)> {
        let dir = match self.records(records) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((SystemTime::UNIX_EPOCH, Vec::new()));
            }
            result => result?,
        };
        let mut names = dir.names(MAX_PASSED + 1)?;
        if names.len() > MAX_PASSED {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
        names.sort_unstable();
        Ok((dir.status()?.modified, names))
    }

    /// Reads one record.
    ///
    /// # Errors
    /// The system's error; `NotFound` when there is none.
    pub fn read(&self, records: Records, name: &str) -> io::Result<Vec<u8>> {
        self.records(records)?.read_file(name, MAX_RECORD_BYTES)
    }

    /// When a record was written, by its file: one system call.
    ///
    /// # Errors
    /// The system's error; `NotFound` when there is none.
    pub fn left_at(&self, records: Records, name: &str) -> io::Result<SystemTime> {
        let path = format!("{}/{name}", records.directory());
        let stat = rustix::fs::statat(&self.dir, path.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
        Ok(SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(stat.st_mtime_nsec as u64))
    }

    /// Reads one record and its owner.
    ///
    /// # Errors
    /// The system's error; also for a file with a second name, which belongs to no user.
    pub fn read_with_owner(&self, records: Records, name: &str) -> io::Result<(Uid, Vec<u8>)> {
        let file = self.records(records)?.open_file(name)?;
        let metadata = file.metadata()?;
        if metadata.nlink() != 1 {
            return Err(io::Error::other("it has a second name"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_RECORD_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_RECORD_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok((Uid(metadata.uid()), bytes))
    }

    /// Makes the directory of a kind of records, if it is missing and this process may.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`].
    pub fn prepare(&self, records: Records) -> Result<(), RunDirError> {
        make_unless_there(&self.dir, Path::new(records.directory()), 0o1770)
            .map_err(|error| self.unusable("making a directory of records", error))
    }

    /// Removes one record; a missing one is fine.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`].
    pub fn remove(&self, records: Records, name: &OsStr) -> Result<(), RunDirError> {
        let removed = self.records(records).and_then(|dir| Ok(unlinkat(&dir, name, AtFlags::empty())?));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.unusable("removing a record", error))
            }
            _ => Ok(()),
        }
    }

    /// Removes all requests, whatever their content, and returns how many there were, behind any flood of dot-files. Entries that are not
    /// files are renamed to a dot-name: a directory without visible entries no longer requests anything.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`] when the directory is there and cannot be read; one that is missing holds nothing.
    pub fn take_all(&self, records: Records) -> Result<usize, RunDirError> {
        let dir = match self.records(records) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            result => result.map_err(|error| self.unusable("opening the records", error))?,
        };
        let mut taken = 0;
        each_entry(&dir, |name| {
            if name.as_encoded_bytes().starts_with(b".") {
                return;
            }
            taken += 1;
            if unlinkat(&dir, name, AtFlags::empty()) == Err(rustix::io::Errno::ISDIR) {
                // One that could not be removed is found again by the next sweep.
                let aside = format!(".aside-{}-{taken}", std::process::id());
                let _ = renameat_with(&dir, name, &dir, aside.as_str(), RenameFlags::NOREPLACE);
            }
        })
        .map_err(|error| self.unusable("listing the records", error))?;
        Ok(taken)
    }

    /// Whether a record exists.
    pub fn holds(&self, records: Records, name: &str) -> bool {
        self.records(records).and_then(|dir| dir.status_of(name)).is_ok()
    }
}

/// One record as it is; none when it is gone. The owner is that of the very file that was read, and a file with a second name belongs to
/// no user.
fn read_one(dir: &Dir, name: OsString) -> Option<RunRecord> {
    let read = dir.open_file(&name).and_then(|file| {
        let metadata = file.metadata()?;
        let mut bytes = Vec::new();
        file.take(MAX_RECORD_BYTES + 1).read_to_end(&mut bytes)?;
        Ok((metadata, bytes))
    });
    let (metadata, bytes) = match read {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let owner = Uid(u32::MAX);
            return Some(RunRecord { name, owner, modified: None, changed: None, content: Err(error) });
        }
    };
    let content = if metadata.nlink() != 1 {
        Err(io::Error::other("it has a second name"))
    } else if bytes.len() as u64 > MAX_RECORD_BYTES {
        Err(io::Error::from(io::ErrorKind::FileTooLarge))
    } else {
        Ok(bytes)
    };
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(metadata.ctime().unsigned_abs());
    let (owner, modified) = (Uid(metadata.uid()), metadata.modified().ok());
    Some(RunRecord { name, owner, modified, changed: Some(changed), content })
}

/// Calls `visit` with every name, however many there are: memory stays constant, and removals meanwhile do no harm.
pub(super) fn each_entry(dir: &Dir, mut visit: impl FnMut(&OsStr)) -> io::Result<()> {
    let mut buffer = vec![std::mem::MaybeUninit::uninit(); crate::sys::dir::ENTRIES_BUFFER];
    dir.for_each_entry(&mut buffer, |entry| {
        visit(OsStr::from_bytes(entry.name.to_bytes()));
        ControlFlow::<()>::Continue(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_published_whole_read_back_and_removed() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(&temp.path().join("run")).unwrap();
        assert!(run.read_all(Records::Leases).unwrap().is_empty());
        run.publish(Records::Leases, "a", b"one").unwrap();
        run.publish(Records::Leases, "a", b"two").unwrap();
        let records = run.read_all(Records::Leases).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].content.as_ref().unwrap(), b"two");
        assert!(run.holds(Records::Leases, "a"));
        run.remove(Records::Leases, OsStr::new("a")).unwrap();
        run.remove(Records::Leases, OsStr::new("a")).unwrap();
        assert!(run.read_all(Records::Leases).unwrap().is_empty());
    }

    #[test]
    fn concurrent_first_writers_all_leave_their_records() {
        for _ in 0..20 {
            let temp = tempfile::tempdir().unwrap();
            let (path, start) = (temp.path().join("run"), std::sync::Barrier::new(8));
            std::thread::scope(|scope| {
                for number in 0..8 {
                    let (path, start) = (&path, &start);
                    scope.spawn(move || {
                        start.wait();
                        let run = RunDir::open(path).unwrap();
                        run.publish(Records::Leases, &number.to_string(), b"x").unwrap();
                    });
                }
            });
            assert_eq!(RunDir::open(&path).unwrap().read_all(Records::Leases).unwrap().len(), 8);
        }
    }

    #[test]
    fn a_record_that_is_a_link_is_reported_as_unreadable() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        run.publish(Records::Leases, "good", b"x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", temp.path().join("leases/link")).unwrap();
        let records = run.read_all(Records::Leases).unwrap();
        assert_eq!(records.iter().filter(|r| r.content.is_ok()).count(), 1);
        assert_eq!(records.iter().filter(|r| r.content.is_err()).count(), 1);
    }

    #[test]
    fn every_request_is_taken_once_and_drafts_are_left() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        assert_eq!(run.take_all(Records::Requests).unwrap(), 0);
        run.publish(Records::Requests, "a", b"sweep").unwrap();
        let requests = temp.path().join("requests");
        std::fs::create_dir_all(requests.join("stuck/deep")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", requests.join("link")).unwrap();
        std::fs::write(requests.join(".draft"), "").unwrap();
        assert_eq!(run.take_all(Records::Requests).unwrap(), 3);
        let left = std::fs::read_dir(&requests).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(left.into_iter().all(|name| name.as_encoded_bytes().starts_with(b".")));
        assert!(requests.join(".draft").exists(), "a hook may be about to publish it");
        assert_eq!(run.take_all(Records::Requests).unwrap(), 0);
    }

    #[test]
    fn a_request_behind_a_flood_of_dot_files_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(&temp.path().join("run")).unwrap();
        let requests = temp.path().join("run/requests");
        std::fs::create_dir(&requests).unwrap();
        (0..3000).for_each(|number| std::fs::write(requests.join(format!(".x{number}")), "").unwrap());
        run.publish(Records::Requests, "1-1", b"sweep").unwrap();
        (0..3000).for_each(|number| std::fs::write(requests.join(format!(".y{number}")), "").unwrap());
        assert_eq!(run.take_all(Records::Requests).unwrap(), 1);
        assert!(!run.holds(Records::Requests, "1-1"));
    }

    #[test]
    fn more_of_one_user_than_may_be_are_there_unread() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(temp.path()).unwrap();
        let many = MAX_OF_ONE + 20;
        (0..many).for_each(|number| run.publish(Records::Leases, &format!("a{number}"), b"x").unwrap());
        let records = run.read_all(Records::Leases).unwrap();
        assert_eq!(records.len(), many);
        assert_eq!(records.iter().filter(|record| record.content.is_ok()).count(), MAX_OF_ONE);
    }
}
