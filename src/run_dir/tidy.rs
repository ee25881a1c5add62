//! What a sweep removes from the shared directories: every member of the group may write any number of files of any size there, and all
//! share the space.
//!
//! Kept are records: small files with one name of the kind's form, and no more of one user than a host needs; drafts that may still be
//! published; and files that the caller names.

#![expect(clippy::disallowed_methods, reason = "records of our own, in a directory of our own")]

use super::records::each_entry;
use super::{MAX_OF_ONE, MAX_RECORD_BYTES, Records, RunDir, RunDirError};
use crate::model::{Pid, Uid};
use crate::sys::dir::Dir;
use crate::sys::process::{LookError, Proc};
use rustix::fs::{AtFlags, FileType, Stat, statat, unlinkat};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::time::{Duration, SystemTime};

/// Writing a record takes far less than this.
const WRITING: Duration = Duration::from_secs(60);

/// A writer that is stopped in the middle may take longer, but not for ever.
const STOPPED: Duration = Duration::from_secs(3600);

/// Drafts of one user at a time; each belongs to one run.
const DRAFTS: usize = 64;

/// The number of removed entries.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// How many entries.
    pub removed: usize,
    /// Their owners.
    pub owners: BTreeSet<Uid>,
}

/// How to tidy.
#[derive(Clone, Copy)]
pub struct Tidying<'a> {
    /// Returns whether the writer of a draft still lives.
    pub proc: &'a Proc,
    /// The wall clock now.
    pub now: SystemTime,
    /// Whether the record of this name is kept in any case.
    pub vouched: &'a dyn Fn(&OsStr) -> bool,
    /// Removes a directory with its content.
    pub remove_directory: &'a dyn Fn(&Dir, &OsStr),
}

impl RunDir {
    /// Removes from a directory of records the entries that are not records, and those of one user beyond the limit. Entries that may not
    /// be removed are kept.
    ///
    /// # Errors
    /// [`RunDirError::Unusable`] when the directory is there and cannot be read.
    pub fn tidy(&self, records: Records, how: &Tidying<'_>) -> Result<Tidied, RunDirError> {
        let dir = match self.records(records) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tidied::default()),
            result => result.map_err(|error| self.unusable("opening the records", error))?,
        };
        let (mut tidied, mut counts) = (Tidied::default(), Counts::default());
        each_entry(&dir, |name| {
            let Ok(stat) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
            if counts.is_in_order(records, name, &stat, how) || (how.vouched)(name) {
                return;
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                (how.remove_directory)(&dir, name);
            } else {
                let _ = unlinkat(&dir, name, AtFlags::empty());
            }
            if statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                tidied.removed += 1;
                tidied.owners.insert(Uid(stat.st_uid));
            }
        })
        .map_err(|error| self.unusable("listing the records", error))?;
        Ok(tidied)
    }
}

/// The records of each user.
#[derive(Default)]
struct Counts {
    records: HashMap<u32, usize>,
    drafts: HashMap<u32, usize>,
}

impl Counts {
    fn is_in_order(&mut self, records: Records, name: &OsStr, stat: &Stat, how: &Tidying<'_>) -> bool {
        let is_record = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_nlink == 1
            && stat.st_size.unsigned_abs() <= MAX_RECORD_BYTES
            && stat.st_blocks.unsigned_abs() * 512 <= 4 * MAX_RECORD_BYTES;
        if !is_record {
            return false;
        }
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(stat.st_ctime.unsigned_abs());
        // A modification time in the future, from before a clock change, has no age yet.
        let age = how.now.duration_since(changed).unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".") {
            let Some(writer) = writer_of(name) else { return false };
            let drafts = self.drafts.entry(stat.st_uid).or_default();
            *drafts += 1;
            let is_being_written = age <= WRITING
                || (age <= STOPPED && !matches!(how.proc.identify(writer), Err(LookError::Gone(_))));
            return *drafts <= DRAFTS && is_being_written;
        }
        let count = self.records.entry(stat.st_uid).or_default();
        *count += 1;
        *count <= MAX_OF_ONE && (records.can_be_called(name) || age <= WRITING)
    }
}

impl Records {
    /// Whether the guard names records of this kind like that: numbers, joined by hyphens.
    fn can_be_called(self, name: &OsStr) -> bool {
        let Some(name) = name.to_str() else { return false };
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parts = name.split('-').count();
        let wanted = match self {
            Self::Leases | Self::Hooks => 4..=4,
            Self::Requests | Self::Tickets => 2..=2,
            Self::Counters => 2..=3,
        };
        name.len() <= 128 && wanted.contains(&parts) && name.split('-').all(is_number)
    }
}

/// The process that writes the draft of this name: `.PID-RANDOM-NAME`.
fn writer_of(draft: &OsStr) -> Option<Pid> {
    let (pid, rest) = draft.to_str()?.strip_prefix('.')?.split_once('-')?;
    let (random, _) = rest.split_once('-')?;
    let is_ours = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    pid.parse().ok().filter(|_| is_ours).map(Pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    struct SharedTestDir {
        temp: tempfile::TempDir,
        run: RunDir,
        proc: Proc,
    }

    impl SharedTestDir {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let run = RunDir::open(temp.path()).unwrap();
            std::fs::create_dir(temp.path().join("leases")).unwrap();
            Self { temp, run, proc: Proc::new(Path::new("/proc")) }
        }

        fn put(&self, name: &str, text: &[u8]) {
            std::fs::write(self.temp.path().join("leases").join(name), text).unwrap();
        }

        /// Tidies `seconds` after now; returns how many were removed.
        fn tidy(&self, seconds: u64, vouched: &dyn Fn(&OsStr) -> bool) -> usize {
            let now = std::fs::metadata(self.temp.path().join("leases")).unwrap().modified().unwrap();
            let remove = |dir: &Dir, name: &OsStr| {
                let _ = unlinkat(dir, name, AtFlags::REMOVEDIR);
            };
            let how = Tidying {
                proc: &self.proc,
                now: now + Duration::from_secs(seconds),
                vouched,
                remove_directory: &remove,
            };
            self.run.tidy(Records::Leases, &how).unwrap().removed
        }

        fn left(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.temp.path().join("leases")).unwrap();
            let mut left: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            left.sort();
            left
        }
    }

    const NOBODY: &dyn Fn(&OsStr) -> bool = &|_| false;

    #[test]
    fn foreign_files_are_removed_and_records_are_kept() {
        let shared = SharedTestDir::new();
        let leases = shared.temp.path().join("leases");
        shared.put("fe00-1a-77-1234", b"{}");
        shared.put(".x", b"");
        shared.put("fe00-1a-78-1", &vec![0; MAX_RECORD_BYTES as usize + 1]);
        std::fs::File::create(leases.join("fe00-1a-79-1")).unwrap().set_len(1 << 40).unwrap();
        shared.put("garbage", b"{");
        std::os::unix::fs::symlink("/etc/passwd", leases.join("fe00-1a-80-1")).unwrap();
        std::fs::create_dir(leases.join(".aside-1-1")).unwrap();
        shared.put("fe00-1a-81-1", b"{}");
        std::fs::hard_link(leases.join("fe00-1a-81-1"), leases.join("fe00-1a-82-1")).unwrap();
        // With a second name neither of the two is a record; when one is gone, the other has one name again.
        assert_eq!(shared.tidy(0, NOBODY), 6, "{:?}", shared.left());
        let left = shared.left();
        assert!(left.contains(&"garbage".into()), "somebody may be writing it: {left:?}");
        assert_eq!(left.len(), 3, "{left:?}");
        assert_eq!(shared.tidy(90, NOBODY), 1);
        assert!(shared.left().contains(&"fe00-1a-77-1234".into()));
    }

    #[test]
    fn drafts_of_dead_processes_are_removed_and_those_of_live_ones_kept_for_a_while() {
        let shared = SharedTestDir::new();
        let mine = format!(".{}-0123456789abcdef-a", std::process::id());
        shared.put(&format!(".{}-0123456789abcdef-a", i32::MAX), b"{");
        shared.put(&mine, b"{");
        assert_eq!(shared.tidy(30, NOBODY), 0, "too young");
        assert_eq!(shared.tidy(90, NOBODY), 1);
        assert_eq!(shared.left(), [mine]);
        assert_eq!(shared.tidy(7200, NOBODY), 1);
        for number in 0..DRAFTS + 5 {
            shared.put(&format!(".{}-{number:016x}-a", std::process::id()), b"{");
        }
        assert_eq!(shared.tidy(0, NOBODY), 5);
    }

    #[test]
    fn records_of_one_user_are_limited_but_vouched_ones_are_kept() {
        let shared = SharedTestDir::new();
        (0..MAX_OF_ONE + 40).for_each(|number| shared.put(&format!("1-{number:x}-7-7"), b"{}"));
        assert_eq!(shared.tidy(0, &|_| true), 0);
        assert_eq!(shared.tidy(0, NOBODY), 40);
        assert_eq!(shared.left().len(), MAX_OF_ONE);
    }

    #[test]
    fn records_are_called_as_their_writers_call_them() {
        for (records, name, is_one) in [
            (Records::Leases, "fe00-57a399-500-127638", true),
            (Records::Leases, "fe00-57a399", false),
            (Records::Tickets, "fe00-57a399", true),
            (Records::Requests, "1-1", true),
            (Records::Counters, "503-66136b78417e0", true),
            (Records::Counters, "503-66136b78417e0-2", true),
            (Records::Counters, "503--2", false),
            (Records::Hooks, "fe00-1a-77-1234", true),
            (Records::Hooks, "fe00-1a-77", false),
            (Records::Leases, "x-1-1-1", false),
        ] {
            assert_eq!(records.can_be_called(OsStr::new(name)), is_one, "{name}");
        }
    }
}
