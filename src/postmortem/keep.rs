//! Records of deaths: `postmortems/` in the state directory, which only root can write.
//!
//! A record holds the verdict and the evidence that vanishes: the end of both logs, the kernel's messages. It is created under its final
//! name with `O_EXCL`, so it also shows that this death has been reported: of two sweeps that find the same death, one reports it. A
//! record is at most 64 KiB long, a runner has at most 8, the host 50; the oldest are removed first. So a user who forges deaths displaces
//! only records of that user's own runners.
//!
//! Records of a full disk cannot be written; that fails nothing, and the journal has the event.

#![expect(clippy::disallowed_methods, reason = "records of our own, in a directory of our own")]

use crate::digest;
use crate::model::Uid;
use crate::model::postmortem::Case;
use crate::sys::dir::Dir;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Its name in the state directory.
pub const DIRECTORY: &str = "postmortems";

/// The maximum of a record's length, of records of one runner, and of all records.
pub const MAX_BYTES: usize = 64 << 10;
const MAX_OF_RUNNER: usize = 8;
const MAX_RECORDS: usize = 50;

/// Names the boot in which jobs that it has cut off were searched.
const BOOT: &str = "boot";

/// Of each log, if there is room.
const LOG_TAIL: usize = 20 << 10;

/// Evidence in its original form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Raw {
    /// The end of the Worker's log.
    pub worker_log: Vec<u8>,
    /// The end of the Listener's logs.
    pub listener_log: Vec<u8>,
    /// Relevant kernel messages.
    pub kernel: Vec<String>,
}

/// A record's file.
#[derive(Debug, Serialize, Deserialize)]
struct CaseFile {
    schema: u32,
    root: PathText,
    case: Case,
    #[serde(default)]
    raw: RawText,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct RawText {
    worker_log: String,
    listener_log: String,
    kernel: Vec<String>,
}

/// A path, byte by byte when it is not UTF-8.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum PathText {
    Text(String),
    Bytes(Vec<u8>),
}

impl PathText {
    fn of(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(path.as_os_str().as_bytes().to_vec()),
        }
    }

    fn path(self) -> PathBuf {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => std::ffi::OsStr::from_bytes(&bytes).into(),
        }
    }
}

/// The key of a death: the runner's root, and the Worker's log or otherwise its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    root: String,
    death: String,
}

impl Key {
    /// The key of the death in the runner at `root` whose Worker has this log, or otherwise this identity.
    pub fn new(root: &Path, worker: &[u8]) -> Self {
        Self { root: digest::of(root.as_os_str().as_bytes()), death: digest::of(worker) }
    }

    fn suffix(&self) -> String {
        format!("-{}-{}.json", self.root, self.death)
    }

    fn of_runner(&self) -> String {
        format!("-{}-", self.root)
    }
}

/// Whether a death was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It was new, and its record has been made.
    New,
    /// It has a record already.
    Known,
}

/// The directory of records.
#[derive(Debug)]
pub struct Shelf {
    state_dir: PathBuf,
}

impl Shelf {
    /// The directory in `state_dir`.
    pub fn at(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    fn open(&self) -> io::Result<Dir> {
        let (base, _) = Dir::resolve(&self.state_dir)?;
        let dir = base.descend(DIRECTORY)?;
        for dir in [&base, &dir] {
            let status = dir.status()?;
            if status.mode & 0o022 != 0 || !(status.owner == user() || status.owner == Uid::ROOT) {
                return Err(io::Error::other("others can write to the state directory"));
            }
        }
        Ok(dir)
    }

    fn make(&self) -> io::Result<Dir> {
        let made = |result: rustix::io::Result<()>| match result {
            Err(rustix::io::Errno::EXIST) | Ok(()) => Ok(()),
            Err(error) => Err(io::Error::from(error)),
        };
        made(mkdirat(rustix::fs::CWD, &self.state_dir, Mode::from_raw_mode(0o755)))?;
        let (base, _) = Dir::resolve(&self.state_dir)?;
        made(mkdirat(&base, DIRECTORY, Mode::from_raw_mode(0o700)))?;
        self.open()
    }

    /// The records' names, the oldest first.
    fn names(dir: &Dir) -> io::Result<Vec<String>> {
        let names = dir.names(4 * MAX_RECORDS)?.into_iter();
        let mut names: Vec<String> =
            names.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".json")).collect();
        names.sort();
        Ok(names)
    }

    /// Whether a death has been reported.
    pub fn knows(&self, key: &Key) -> bool {
        let names = self.open().and_then(|dir| Self::names(&dir)).unwrap_or_default();
        names.iter().any(|name| name.ends_with(&key.suffix()))
    }

    /// Records a death, unless it has been reported before.
    ///
    /// # Errors
    /// The system's error; then nothing is recorded.
    pub fn keep(&self, key: &Key, case: &Case, raw: &Raw) -> io::Result<Saved> {
        let dir = self.make()?;
        let names = Self::names(&dir)?;
        if names.iter().any(|name| name.ends_with(&key.suffix())) {
            return Ok(Saved::Known);
        }
        // The time comes from a log's name: it must not make a record outlive all others.
        let begun = case.death.started.unwrap_or(case.examined).min(case.examined);
        let name =
            format!("{:010}{}", begun.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(), key.suffix());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = match openat(&dir, name.as_str(), flags, Mode::from_raw_mode(0o600)) {
            Err(rustix::io::Errno::EXIST) => return Ok(Saved::Known),
            result => File::from(result?),
        };
        if let Err(error) = file.write_all(&text(case, raw)) {
            let _ = unlinkat(&dir, name.as_str(), AtFlags::empty());
            return Err(error);
        }
        prune(&dir, key)?;
        Ok(Saved::New)
    }

    /// Whether the jobs that this boot has cut off have been searched.
    pub fn knows_boot(&self, boot_id: &str) -> bool {
        let read = self.open().and_then(|dir| dir.read_file(BOOT, 64));
        read.is_ok_and(|text| text == boot_id.as_bytes())
    }

    /// Records that they have.
    ///
    /// # Errors
    /// The system's error; the next sweep searches again, and reports each death once all the same.
    pub fn note_boot(&self, boot_id: &str) -> io::Result<()> {
        let dir = self.make()?;
        // A FIFO in its place must not block.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(openat(&dir, BOOT, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(boot_id.as_bytes())
    }

    /// All records, the latest first. Unreadable ones are left out.
    pub fn load(&self) -> Vec<Case> {
        let Ok(dir) = self.open() else { return Vec::new() };
        let names = Self::names(&dir).unwrap_or_default();
        let read = |name: &String| {
            let bytes = dir.read_file(name.as_str(), 2 * MAX_BYTES as u64).ok()?;
            let record: CaseFile = serde_json::from_slice(&bytes).ok()?;
            let mut case = record.case;
            case.death.root = record.root.path();
            case.kept = true;
            Some(case)
        };
        names.iter().rev().take(MAX_RECORDS).filter_map(read).collect()
    }
}

fn user() -> Uid {
    Uid(nix::unistd::geteuid().as_raw())
}

/// The record, with as much of the logs as there is room for.
fn text(case: &Case, raw: &Raw) -> Vec<u8> {
    let mut room = LOG_TAIL;
    loop {
        let tail =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(room)..]).into_owned();
        let kernel = raw.kernel.iter().rev().take(room / 256).rev().cloned().collect();
        let raw =
            RawText { worker_log: tail(&raw.worker_log), listener_log: tail(&raw.listener_log), kernel };
        let record = CaseFile { schema: 1, root: PathText::of(&case.death.root), case: case.clone(), raw };
        let text = serde_json::to_vec(&record).expect("our records have string keys");
        if text.len() <= MAX_BYTES || room == 0 {
            return text;
        }
        room /= 2;
    }
}

/// Makes room for a new record: removes the runner's own oldest, then the oldest of all.
fn prune(dir: &Dir, key: &Key) -> io::Result<()> {
    let names = Shelf::names(dir)?;
    let own: Vec<&String> = names.iter().filter(|name| name.contains(&key.of_runner())).collect();
    let mut gone: Vec<&String> = own[..own.len().saturating_sub(MAX_OF_RUNNER)].to_vec();
    let left: Vec<&String> = names.iter().filter(|name| !gone.contains(name)).collect();
    gone.extend(&left[..left.len().saturating_sub(MAX_RECORDS)]);
    for name in gone {
        unlinkat(dir, name.as_str(), AtFlags::empty())?;
    }
    Ok(())
}

/// The time of a record's case, for questions with a start time.
pub fn time(case: &Case) -> SystemTime {
    let death = &case.death;
    death.ended.or(death.last_sign).or(death.started).unwrap_or(case.examined)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::postmortem::{Cause, Confidence, Death, Diagnosis, Ended};
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    /// A death of a job that began then.
    pub(in crate::postmortem) fn case_of(runner: &str, root: &str, started: SystemTime) -> Case {
        Case {
            death: Death {
                runner: runner.into(),
                root: root.into(),
                started: Some(started),
                ..Death::default()
            },
            verdict: Diagnosis {
                ended: Ended::Abruptly,
                cause: Cause::Killed,
                confidence: Confidence::Certain,
                summary: "somebody".into(),
                evidence: Vec::new(),
                ruled_out: Vec::new(),
                missing: Vec::new(),
                advice: String::new(),
            },
            examined: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            kept: false,
        }
    }

    fn case(second: u64) -> Case {
        case_of("r", "/srv/r", UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second))
    }

    fn key(root: &str, death: usize) -> Key {
        Key::new(Path::new(root), death.to_string().as_bytes())
    }

    #[test]
    fn a_death_is_kept_once_for_root_alone_and_comes_back() {
        let temp = tempfile::tempdir().unwrap();
        let shelf = Shelf::at(&temp.path().join("state"));
        let raw = Raw { worker_log: b"last \xff words".to_vec(), ..Raw::default() };
        assert!(!shelf.knows(&key("/srv/r", 1)));
        assert_eq!(shelf.keep(&key("/srv/r", 1), &case(1), &raw).unwrap(), Saved::New);
        assert_eq!(shelf.keep(&key("/srv/r", 1), &case(1), &raw).unwrap(), Saved::Known);
        assert!(!shelf.knows_boot("b"));
        shelf.note_boot("a").unwrap();
        shelf.note_boot("b").unwrap();
        assert!(shelf.knows_boot("b") && !shelf.knows_boot("a"));
        let other = temp.path().join("other");
        std::fs::create_dir_all(other.join(DIRECTORY)).unwrap();
        nix::unistd::mkfifo(&other.join(DIRECTORY).join(BOOT), nix::sys::stat::Mode::S_IRWXU).unwrap();
        Shelf::at(&other).note_boot("b").expect_err("a FIFO is refused at once");
        assert!(!Shelf::at(&other).knows_boot("b"));
        assert!(shelf.knows(&key("/srv/r", 1)) && !shelf.knows(&key("/srv/r", 2)));
        assert_eq!(shelf.load(), [Case { kept: true, ..case(1) }]);
        let directory = temp.path().join("state").join(DIRECTORY);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let mut files = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        let file = files.find(|path| path.extension().is_some()).unwrap();
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        assert!(std::fs::read_to_string(file).unwrap().contains("last \u{fffd} words"));
    }

    #[test]
    fn records_are_bounded_in_length_and_number_and_a_flood_is_its_own_runners() {
        let temp = tempfile::tempdir().unwrap();
        let shelf = Shelf::at(temp.path());
        let raw = Raw {
            worker_log: vec![1; 1 << 20],
            listener_log: vec![0xff; 1 << 20],
            kernel: vec!["\u{1}".repeat(400); 1000],
        };
        for death in 0..30 {
            shelf.keep(&key("/srv/flood", death), &case(1_000_000 + death as u64), &raw).unwrap();
        }
        shelf.keep(&key("/srv/other", 0), &case(0), &raw).unwrap();
        let names = || {
            std::fs::read_dir(temp.path().join(DIRECTORY))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect::<Vec<_>>()
        };
        assert_eq!(names().len(), MAX_OF_RUNNER + 1, "the other runner's older record stands");
        assert!(names().iter().all(|path| std::fs::metadata(path).unwrap().len() <= MAX_BYTES as u64));
        for runner in 0..60 {
            shelf.keep(&key(&format!("/srv/{runner}"), 0), &case(runner), &Raw::default()).unwrap();
        }
        assert_eq!(names().len(), MAX_RECORDS);
        assert_eq!(shelf.load().len(), MAX_RECORDS);
    }

    #[test]
    fn a_damaged_record_is_left_out_and_links_lead_nowhere() {
        let temp = tempfile::tempdir().unwrap();
        let shelf = Shelf::at(temp.path());
        shelf.keep(&key("/srv/r", 1), &case(1), &Raw::default()).unwrap();
        let directory = temp.path().join(DIRECTORY);
        std::fs::write(directory.join("1-x.json"), "{").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.join("2-x.json")).unwrap();
        assert_eq!(shelf.load().len(), 1);
        std::fs::set_permissions(temp.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(shelf.load().is_empty() && shelf.keep(&key("/srv/r", 2), &case(2), &Raw::default()).is_err());
        std::fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(shelf.load().len(), 1, "the control");
    }
}
