//! When a job last used a repository: the age of its caches is counted from this.
//!
//! A build in which everything is fresh writes nothing, so the newest file of a cache says little about its use. Both hooks mark their
//! job's repository in `<work>/.disk-guard/used/`: an empty file whose time is the time of use. The runner itself notes its last run of a
//! repository in `_PipelineMapping`, which covers the jobs before the guard was installed.
//!
//! Jobs can write all of this. It decides which cache counts as old, never whether one is in use: a forged time makes a runner keep its
//! own caches, or lose them while it is proved idle.

use crate::actions_runner::layout;
use crate::model::{Cache, Uid, is_repository_dir};
use crate::reclaim::trash;
use crate::sys::dir::Dir;
use jiff::Timestamp;
use jiff::fmt::strtime;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, mkdirat, openat, utimensat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MARKS: &str = "used";
const LIMITS: &str = "limits";

/// More repositories of one work directory are ignored.
const MAX_NAMES: usize = 4096;

const MAX_MAPPING: u64 = 64 * 1024;

/// When jobs last used the repositories of one work directory, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses(HashMap<OsString, SystemTime>);

impl Uses {
    /// From the marks and the runner's own notes. A time after `now` counts as now.
    pub fn of(work: &Dir, now: SystemTime) -> Self {
        let mut uses = Self::marked(work, now);
        for (directory, time) in mapped(work) {
            uses.add(&directory, time.min(now));
        }
        uses
    }

    /// From the marks alone: one small directory.
    pub fn marked(work: &Dir, now: SystemTime) -> Self {
        let mut uses = Self::default();
        let Ok(marks) = work.descend(Path::new(trash::HOME).join(MARKS)) else { return uses };
        for name in marks.names(MAX_NAMES).unwrap_or_default() {
            if let Ok(status) = marks.status_of(name.as_os_str()) {
                uses.add(&name, status.modified.min(now));
            }
        }
        uses
    }

    /// A job has used this repository's directory.
    pub fn add(&mut self, directory: &OsStr, time: SystemTime) {
        let latest = self.0.entry(directory.to_owned()).or_insert(time);
        *latest = time.max(*latest);
    }

    /// When a job last used the directory `_work/<this>`.
    pub fn last(&self, directory: &OsStr) -> Option<SystemTime> {
        self.0.get(directory).copied()
    }

    /// When a job last used the repository that a cache belongs to.
    pub fn of_cache(&self, cache: &Cache) -> Option<SystemTime> {
        self.last(cache.repository_dir().as_os_str()).filter(|_| cache.base.is_none())
    }

    /// All that is known.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, SystemTime)> {
        self.0.iter().map(|(directory, time)| (directory.as_os_str(), *time))
    }
}

/// Marks that a job uses `_work/<directory>` now. Only a directory of a repository is marked.
///
/// # Errors
/// What the system reports, for example a full disk. Then the runner's own note is used.
pub fn mark(work: &Dir, owner: Uid, directory: &OsStr, now: SystemTime) -> io::Result<()> {
    if !is_repository_dir(directory) || !work.status_of(directory).is_ok_and(|status| status.is_dir()) {
        return Ok(());
    }
    touch(&marks(work, owner)?, directory, now)
}

/// Sets the time of an empty file in a directory of ours.
fn touch(dir: &Dir, name: &OsStr, now: SystemTime) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(dir, name, flags, Mode::from_raw_mode(0o644)) {
        // By its name, without opening it: the entry may be anything.
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = Timespec { tv_sec: since.as_secs() as i64, tv_nsec: since.subsec_nanos().into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn marks(work: &Dir, owner: Uid) -> io::Result<Dir> {
    let path = Path::new(trash::HOME).join(MARKS);
    match work.descend(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    trash::Trash::open_or_make(work, owner)?;
    let home = work.descend(trash::HOME)?;
    match mkdirat(&home, MARKS, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => work.descend(&path),
        Err(error) => Err(error.into()),
    }
}

/// The interval at which hooks of one work directory apply age and size limits, if not after each job.
const LIMITS_EVERY: Duration = Duration::from_secs(3600);

/// Whether the hooks of this work directory have applied age and size limits recently.
pub fn limits_are_fresh(work: &Dir, now: SystemTime) -> bool {
    let applied = work.descend(trash::HOME).and_then(|home| home.status_of(LIMITS));
    applied.is_ok_and(|status| now.duration_since(status.modified).unwrap_or_default() < LIMITS_EVERY)
}

/// Records that they have.
///
/// # Errors
/// What the system reports; then the next hook applies them again.
pub fn note_limits(work: &Dir, owner: Uid, now: SystemTime) -> io::Result<()> {
    trash::Trash::open_or_make(work, owner)?;
    touch(&work.descend(trash::HOME)?, OsStr::new(LIMITS), now)
}

/// `_PipelineMapping/<owner>/<repository>/PipelineFolder.json`: directories, and when they were last used.
fn mapped(work: &Dir) -> Vec<(OsString, SystemTime)> {
    let Ok(mapping) = work.descend(layout::MAPPING) else { return Vec::new() };
    let mut found = Vec::new();
    for owner in mapping.names(MAX_NAMES).unwrap_or_default() {
        let Ok(dir) = mapping.descend(owner.as_os_str()) else { continue };
        for repository in dir.names(MAX_NAMES).unwrap_or_default() {
            if found.len() == MAX_NAMES {
                return found;
            }
            let file = Path::new(&repository).join(layout::MAPPING_FILE);
            found.extend(dir.read_file(&file, MAX_MAPPING).ok().and_then(|text| last_run(&text)));
        }
    }
    found
}

/// The directory of one of the runner's notes, and when a job last used it.
pub(crate) fn last_run(text: &[u8]) -> Option<(OsString, SystemTime)> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    let field = |wanted: &str| {
        let mut fields = value.as_object()?.iter();
        fields.find(|(key, _)| key.eq_ignore_ascii_case(wanted))?.1.as_str()
    };
    let directory = OsString::from(field("pipelineDirectory")?);
    let time = field("lastRunOn").and_then(understand)?;
    is_repository_dir(&directory).then_some((directory, time))
}

/// `11/26/2026 23:50:26 +00:00`, as .NET writes it; also RFC 3339.
fn understand(text: &str) -> Option<SystemTime> {
    let dotnet = || strtime::parse("%m/%d/%Y %H:%M:%S %:z", text).and_then(|time| time.to_timestamp()).ok();
    let time = text.parse::<Timestamp>().ok().or_else(dotnet)?;
    Some(SystemTime::from(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    fn work() -> (tempfile::TempDir, Dir, Uid) {
        let temp = tempfile::tempdir().unwrap();
        let (dir, _) = Dir::resolve(temp.path()).unwrap();
        let owner = dir.status().unwrap().owner;
        (temp, dir, owner)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_latest_mark_of_use_counts() {
        let (temp, work, owner) = work();
        create_dir_all(temp.path().join("app/app")).unwrap();
        for seconds in [1_000_000, 2_000_000] {
            mark(&work, owner, "app".as_ref(), at(seconds)).unwrap();
            assert_eq!(Uses::of(&work, at(3_000_000)).last("app".as_ref()), Some(at(seconds)));
        }
        assert_eq!(
            Uses::of(&work, at(1_500_000)).last("app".as_ref()),
            Some(at(1_500_000)),
            "a time to come"
        );
        for no_repository in ["_temp", ".git", "", "absent", "a/b"] {
            mark(&work, owner, no_repository.as_ref(), at(1)).unwrap();
        }
        assert_eq!(Uses::marked(&work, at(3_000_000)).0.len(), 1);
    }

    #[test]
    fn a_mark_touches_nothing_that_a_job_has_put_in_its_way() {
        let (temp, work, owner) = work();
        let victim = temp.path().join("victim");
        write(&victim, "x").unwrap();
        let before = std::fs::metadata(&victim).unwrap().modified().unwrap();
        for name in ["link", "fifo", "plain"] {
            create_dir_all(temp.path().join(name)).unwrap();
        }
        let marks = temp.path().join(".disk-guard/used");
        create_dir_all(&marks).unwrap();
        symlink("../../victim", marks.join("link")).unwrap();
        nix::unistd::mkfifo(&marks.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["link", "fifo", "plain"] {
            mark(&work, owner, name.as_ref(), at(5)).unwrap();
        }
        assert_eq!(std::fs::metadata(&victim).unwrap().modified().unwrap(), before);
        assert_eq!(Uses::marked(&work, at(9)).last("plain".as_ref()), Some(at(5)));

        std::fs::create_dir_all(temp.path().join("other/app")).unwrap();
        symlink("..", temp.path().join("other/.disk-guard")).unwrap();
        let (other, _) = Dir::resolve(&temp.path().join("other")).unwrap();
        assert!(mark(&other, owner, "app".as_ref(), at(5)).is_err());
    }

    #[test]
    fn the_runners_own_note_is_understood() {
        let (temp, work, _) = work();
        let note = |repository: &str, text: &str| {
            let dir = temp.path().join("_PipelineMapping/acme").join(repository);
            create_dir_all(&dir).unwrap();
            write(dir.join("PipelineFolder.json"), text).unwrap();
        };
        note("a", "\u{feff}{\"pipelineDirectory\": \"a-1\", \"LastRunOn\": \"01/02/1970 00:00:01 +00:00\"}");
        note("b", "{\"PipelineDirectory\": \"b\", \"lastRunOn\": \"1970-01-02T02:00:01+02:00\"}");
        note("c", "{\"pipelineDirectory\": \"c\"}");
        note("d", "{\"pipelineDirectory\": \"../d\", \"lastRunOn\": \"1970-01-02T00:00:01Z\"}");
        note("e", "{broken");
        let uses = Uses::of(&work, at(1_000_000));
        assert_eq!(
            (uses.last("a-1".as_ref()), uses.last("b".as_ref())),
            (Some(at(86_401)), Some(at(86_401)))
        );
        assert_eq!(uses.0.len(), 2, "{uses:?}");
    }
}
