//! A runner's own files that are no longer needed: logs, leftovers of jobs that did not end, versions of the runner that it no longer
//! uses.
//!
//! These have no marker that declares them expendable, so the match is fixed and narrow: by place, by the names that the runner itself
//! gives (actions/runner v2.336.0: Runner.Common/HostTraceListener.cs, PagingLogger.cs, Runner.Listener's update script), by type, by
//! owner, by age. Everything else is left alone. Matches are claimed in the same way as a cache, and only of runners that are proved idle.
//!
//! Logs and old versions are outside the work directory: they are claimed from the runner's root, whose own `.disk-guard/trash` takes
//! them.

use super::filesystems::MountTable;
use super::measure::{self, measure};
use super::processes;
use crate::actions_runner::layout;
use crate::model::is_repository_dir;
use crate::model::{
    Cache, Coverage, FilesystemId, Measure, Member, MemberKind, Part, Retention, Runner, Uid, Work, WorkDir,
};
use crate::sys::dir::{Dir, ENTRIES_BUFFER, Status};
use crate::sys::process::Proc;
use crate::uses::Uses;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The maximum of files of one runner in one run: each is a rename under the host lock, and an entry in the ledger.
const MAX_FILES: usize = 256;

/// More entries of one directory are not looked at.
const MAX_ENTRIES: usize = 1 << 16;

/// How many of the newest logs of each kind are kept whatever their age: the Listener's state is read from the last two.
const LOGS_KEPT: usize = 2;

/// Children of `_temp` that are looked at in one look.
const MAX_CHILDREN: usize = 256;

/// A self-update in progress pauses for less than this.
const UPDATE_TAKES: Duration = Duration::from_secs(3600);

/// The files that may be removed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// At which age.
    pub rules: Retention,
    /// At any age, because the disk is under pressure: these are the cheapest to lose.
    pub pressed: &'a [FilesystemId],
    /// The minimum age nevertheless.
    pub idle_floor: Duration,
}

impl Wanted<'_> {
    /// The age from which it is removed; none if the rule keeps it for ever.
    fn age(&self, rule: Option<Duration>, on: FilesystemId) -> Option<Duration> {
        rule.map(|age| if self.pressed.contains(&on) { age.min(self.idle_floor) } else { age })
    }
}

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct RetentionScan<'a> {
    /// The files that may be removed.
    pub wanted: Wanted<'a>,
    /// When jobs last used the repositories.
    pub uses: &'a Uses,
    /// The wall clock now.
    pub now: SystemTime,
    /// The mount table.
    pub mounts: &'a MountTable,
    /// When to stop sizing.
    pub deadline: Instant,
}

impl RetentionScan<'_> {
    /// The files of one runner that may be removed. `work` is its work directory, open.
    pub fn at(
        &self,
        runner: &Runner,
        work_dir: &WorkDir,
        work: &Dir,
        proc: &Proc,
        notes: &mut Vec<String>,
    ) -> Vec<Cache> {
        let mut found = Vec::new();
        let rules = &self.wanted.rules;
        if let Some(age) = self.wanted.age(rules.temp, work_dir.filesystem) {
            found.extend(self.temp(work_dir, work, age).unwrap_or_default());
        }
        if let Some(age) = self.wanted.age(rules.versions, work_dir.filesystem) {
            let dir = work.descend(layout::UPDATE).ok();
            found.extend(dir.and_then(|dir| {
                // Unpacked files have the times of the archive: the directory's own time shows when it began.
                let since = dir.status().ok()?.modified;
                let found = self.whole(work_dir, &dir, layout::UPDATE.into(), Retention::VERSIONS, age)?;
                self.is_older(age.max(UPDATE_TAKES), since).then_some(found)
            }));
        }
        if let Some(age) = rules.checkouts {
            found.extend(self.checkouts(work_dir, work, age));
        }
        let root = Dir::open(&runner.root).and_then(|root| Ok((root.status()?, root)));
        let Ok((status, root)) = root else { return found };
        if status.id != runner.root_id || status.owner != runner.owner {
            return found;
        }
        let base = Arc::new(WorkDir { filesystem: self.mounts.pool_of(&root, &status), ..runner.root_dir() });
        if let Some(age) = self.wanted.age(rules.logs, base.filesystem) {
            found.extend(self.logs(&base, &root, age));
        }
        if let Some(age) = self.wanted.age(rules.versions, base.filesystem) {
            found.extend(self.versions(runner, &base, &root, age, proc, notes));
        }
        found
    }

    fn is_older(&self, than: Duration, time: SystemTime) -> bool {
        self.now.duration_since(time).is_ok_and(|age| age > than)
    }

    /// The content of `_temp`, each child separately: the runner touches `_temp` at every job, and cannot remove files of a container's
    /// root.
    fn temp(&self, work_dir: &WorkDir, work: &Dir, age: Duration) -> io::Result<Vec<Cache>> {
        let temp = work.descend(layout::TEMP)?;
        let status = temp.status()?;
        let mut found = Vec::new();
        for name in temp.names(MAX_CHILDREN)? {
            if let Ok(dir) = temp.descend(name.as_os_str()) {
                let below = Path::new(layout::TEMP).join(&name);
                found.extend(self.whole(work_dir, &dir, below, Retention::TEMP, age));
            }
        }
        let mut files =
            Files { look: self, age, owner: work_dir.owner, list: Vec::new(), measure: nothing() };
        files.collect(&temp, Path::new(""), |_| true);
        found.extend((!files.list.is_empty()).then(|| Cache {
            path: work_dir.path.join(layout::TEMP),
            base: None,
            below_work: layout::TEMP.into(),
            part: Part::Files(files.list.into()),
            rule: Retention::TEMP.into(),
            id: status.id,
            owner: status.owner,
            measure: Some(files.measure),
            used: None,
            largest: Arc::default(),
        }));
        Ok(found)
    }

    /// Repositories with a known last job that was long ago.
    fn checkouts(&self, work_dir: &WorkDir, work: &Dir, age: Duration) -> Vec<Cache> {
        let stale =
            self.uses.iter().filter(|(name, used)| is_repository_dir(name) && self.is_older(age, *used));
        let stale = stale.filter_map(|(name, used)| {
            let dir = work.descend(name).ok()?;
            let found = self.whole(work_dir, &dir, name.into(), Retention::CHECKOUTS, age)?;
            Some(Cache { used: Some(used), ..found })
        });
        stale.take(MAX_CHILDREN).collect()
    }

    /// A directory below the work directory, if all of its content is older than `age`.
    fn whole(
        &self,
        work_dir: &WorkDir,
        dir: &Dir,
        below_work: PathBuf,
        rule: &str,
        age: Duration,
    ) -> Option<Cache> {
        let status = dir.status().ok()?;
        // The newest content counts. The time of the directory itself counts only if it is empty.
        let size = self
            .size(dir, None)
            .map(|size| Measure { newest: size.newest.or(Some(status.modified)), ..size })?;
        self.is_older(age, size.newest?).then(|| Cache {
            path: work_dir.path.join(&below_work),
            base: None,
            below_work,
            part: Part::Whole,
            rule: rule.into(),
            id: status.id,
            owner: status.owner,
            measure: Some(size),
            used: None,
            largest: Arc::default(),
        })
    }

    /// Its size; its newest content is at least as recent as `since`.
    fn size(&self, dir: &Dir, since: Option<SystemTime>) -> Option<Measure> {
        let options = measure::MeasureOptions { threads: 2, largest: 0, deadline: Some(self.deadline) };
        let scan = measure(dir, &options).ok()?;
        Some(Measure { newest: scan.measure.newest.max(since), ..scan.measure })
    }

    fn logs(&self, base: &Arc<WorkDir>, root: &Dir, age: Duration) -> Option<Cache> {
        let diag = root.descend(layout::DIAG).ok()?;
        let status = diag.status().ok().filter(|status| is_the_runners(status, base.owner))?;
        let mut files = Files { look: self, age, owner: base.owner, list: Vec::new(), measure: nothing() };
        let kept = newest_logs(&diag).ok()?;
        files.collect(&diag, Path::new(""), |name| is_log(name) && !kept.iter().any(|kept| kept == name));
        for pages in layout::PAGES {
            if let Ok(dir) = diag.descend(pages) {
                files.collect(&dir, Path::new(pages), is_page);
            }
        }
        (!files.list.is_empty()).then(|| Cache {
            path: base.path.join(layout::DIAG),
            base: Some(Arc::clone(base)),
            below_work: layout::DIAG.into(),
            part: Part::Files(files.list.into()),
            rule: Retention::LOGS.into(),
            id: status.id,
            owner: status.owner,
            measure: Some(files.measure),
            used: None,
            largest: Arc::default(),
        })
    }

    fn versions(
        &self,
        runner: &Runner,
        base: &Arc<WorkDir>,
        root: &Dir,
        age: Duration,
        proc: &Proc,
        notes: &mut Vec<String>,
    ) -> Vec<Cache> {
        let old = old_versions(root, &base.path);
        let aged = old.into_iter().filter(|old| self.is_older(age, old.since));
        let mut found: Vec<Cache> = aged
            .filter_map(|old| {
                let dir = root.descend(&old.name).ok()?;
                let status = dir.status().ok().filter(|status| is_the_runners(status, base.owner))?;
                let since = old.since.max(status.modified);
                let size = self.size(&dir, Some(since)).filter(|_| self.is_older(age, since))?;
                Some(Cache {
                    path: base.path.join(&old.name),
                    base: Some(Arc::clone(base)),
                    below_work: old.name.into(),
                    part: Part::Whole,
                    rule: Retention::VERSIONS.into(),
                    id: status.id,
                    owner: status.owner,
                    measure: Some(size),
                    used: None,
                    largest: Arc::default(),
                })
            })
            .collect();
        if !found.is_empty() {
            let held = held(&found, runner, proc);
            found.retain(|cache| match held.iter().find(|(path, _)| *path == cache.path) {
                None => true,
                Some((path, by)) => {
                    notes.push(format!(
                        "{} is an old version of the runner and is kept: {by}",
                        path.display()
                    ));
                    false
                }
            });
        }
        found
    }
}

/// Which of these are held by a process, and by which: the runner's service continues to run from the version that it was started from,
/// however often the runner updates itself.
fn held(caches: &[Cache], runner: &Runner, proc: &Proc) -> Vec<(PathBuf, String)> {
    // The scan expects work directories: each of these is passed as one.
    let places: Vec<Runner> = caches
        .iter()
        .map(|cache| {
            let base = cache.base(runner).expect("an old version is in the root");
            let place =
                WorkDir { path: cache.path.clone(), id: cache.id, owner: cache.owner, ..base.clone() };
            Runner { work: Work::Present(place), ..runner.clone() }
        })
        .collect();
    let facts = processes::observe_with_caches(proc, &[], &places, processes::Given::default());
    let holders =
        facts.holders.iter().map(|h| (h.runner, format!("pid {} ({}) uses it", h.process.pid, h.comm)));
    let mounts = facts.mounts.iter().map(|m| (m.runner, "a mount covers it".to_owned()));
    let unknown = facts.unlocated.iter().map(|u| (u.runner, u.reason.clone()));
    holders.chain(mounts).chain(unknown).map(|(index, why)| (caches[index].path.clone(), why)).collect()
}

/// Files of a runner that are old enough.
struct Files<'a> {
    look: &'a RetentionScan<'a>,
    age: Duration,
    owner: Uid,
    list: Vec<Member>,
    measure: Measure,
}

impl Files<'_> {
    fn collect(&mut self, dir: &Dir, within: &Path, is_meant: impl Fn(&OsStr) -> bool) {
        let mut entries = 0;
        let mut buffer = Box::new_uninit_slice(ENTRIES_BUFFER);
        // A directory that cannot be listed is left alone.
        let _ = dir.for_each_entry(&mut buffer, |entry| {
            entries += 1;
            if entries > MAX_ENTRIES || self.list.len() == MAX_FILES {
                return ControlFlow::Break(());
            }
            let name = OsStr::from_bytes(entry.name.to_bytes());
            if let Some(status) = is_meant(name).then(|| dir.status_of(entry.name).ok()).flatten() {
                self.add(within, name, &status);
            }
            ControlFlow::Continue(())
        });
    }

    fn add(&mut self, within: &Path, name: &OsStr, status: &Status) {
        let is_old = self.look.is_older(self.age, status.modified);
        if !status.is_file() || !is_old || !is_the_runners(status, self.owner) {
            return;
        }
        self.measure.files += 1;
        self.measure.bytes = self.measure.bytes.saturating_add(status.allocated);
        self.measure.newest = self.measure.newest.max(Some(status.modified));
        let (within, name) = (within.to_owned(), name.to_owned());
        let (id, owner, allocated) = (status.id, status.owner, status.allocated);
        self.list.push(Member { kind: MemberKind::File, group: None, within, name, id, owner, allocated });
    }
}

fn nothing() -> Measure {
    Measure { bytes: 0, files: 0, directories: 0, newest: None, coverage: Coverage::Whole }
}

fn is_the_runners(status: &Status, owner: Uid) -> bool {
    status.owner == owner || status.owner == Uid::ROOT
}

/// The newest logs of each kind, which are kept. Their names sort by time.
fn newest_logs(diag: &Dir) -> io::Result<Vec<OsString>> {
    let mut logs: Vec<OsString> = diag.names(MAX_ENTRIES)?.into_iter().filter(|name| is_log(name)).collect();
    logs.sort_unstable_by(|a, b| b.cmp(a));
    let of = |kind: &'static [u8]| {
        logs.iter().filter(move |name| name.as_bytes().starts_with(kind)).take(LOGS_KEPT)
    };
    Ok(of(b"Runner_").chain(of(b"Worker_")).cloned().collect())
}

/// `Runner_20260304-050607-utc.log`, `Worker_...`.
fn is_log(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let rest = name.strip_prefix(b"Runner_").or_else(|| name.strip_prefix(b"Worker_"));
    rest.and_then(|rest| rest.strip_suffix(b"-utc.log")).is_some_and(|time| {
        time.len() == 15
            && time.iter().enumerate().all(|(at, b)| if at == 8 { *b == b'-' } else { b.is_ascii_digit() })
    })
}

/// `<timeline>_<record>_<number>.log`, `<timeline>_<record>.<number>`: two GUIDs and a number.
fn is_page(name: &OsStr) -> bool {
    let is_guid = |text: &[u8]| {
        text.iter()
            .enumerate()
            .all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() })
    };
    let name = name.as_bytes();
    let name = name.strip_suffix(b".log").unwrap_or(name);
    let Some((guids, number)) = name.split_at_checked(74) else { return false };
    is_guid(&guids[..36])
        && guids[36] == b'_'
        && is_guid(&guids[37..73])
        && matches!(guids[73], b'_' | b'.')
        && !number.is_empty()
        && number.iter().all(u8::is_ascii_digit)
}

/// A version of the runner that it no longer uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldVersion {
    /// Its directory in the root.
    pub name: OsString,
    /// Since when the runner has used another.
    pub since: SystemTime,
}

/// `bin.X` and `externals.X` that are older than the versions that `bin` and `externals` name. If those are no links the runner has never
/// updated itself, or is doing so now: then nothing is old. A version that is newer than the one in use may be used next.
pub fn old_versions(root: &Dir, path: &Path) -> Vec<OldVersion> {
    let names = root.names(MAX_ENTRIES).unwrap_or_default();
    let mut found = Vec::new();
    for stem in [layout::BIN, layout::EXTERNALS] {
        let Some((current, since)) = in_use(root, path, stem) else { continue };
        for name in &names {
            if version(name, stem).is_some_and(|version| version < current)
                && root.status_of(name.as_os_str()).is_ok_and(|status| status.is_dir())
            {
                found.push(OldVersion { name: name.clone(), since });
            }
        }
    }
    found
}

/// The version that a link names, and when it was made.
fn in_use(root: &Dir, path: &Path, stem: &str) -> Option<(Vec<u32>, SystemTime)> {
    let target = rustix::fs::readlinkat(root, stem, Vec::new()).ok()?.into_bytes();
    let target = PathBuf::from(OsString::from_vec(target));
    let name = match target.strip_prefix(path) {
        Ok(below) => below.to_owned(),
        Err(_) => target,
    };
    let current = version(name.as_os_str(), stem)?;
    root.status_of(name.as_os_str()).ok().filter(Status::is_dir)?;
    Some((current, root.status_of(stem).ok()?.modified))
}

/// The numbers of `STEM.2.336.0`.
fn version(name: &OsStr, stem: &str) -> Option<Vec<u32>> {
    let numbers = name.to_str()?.strip_prefix(stem)?.strip_prefix('.')?;
    let numbers: Option<Vec<u32>> = numbers
        .split('.')
        .map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten())
        .collect();
    numbers.filter(|numbers| (3..=4).contains(&numbers.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::create_dir_all;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_the_runners_own_names_are_logs_and_pages() {
        let guid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        for (name, log, page) in [
            ("Runner_20260304-050607-utc.log".to_owned(), true, false),
            ("Worker_20260304-050607-utc.log".to_owned(), true, false),
            ("Worker_20260304-050607-utc.log.bak".to_owned(), false, false),
            ("Worker_2026030-4050607-utc.log".to_owned(), false, false),
            ("Runner_x-utc.log".to_owned(), false, false),
            ("precious.log".to_owned(), false, false),
            (".credentials".to_owned(), false, false),
            (format!("{guid}_{guid}_1.log"), false, true),
            (format!("{guid}_{guid}.12"), false, true),
            (format!("{guid}_{guid}_"), false, false),
            (format!("{guid}_{guid}_x.log"), false, false),
            (format!("{guid}.log"), false, false),
        ] {
            assert_eq!((is_log(name.as_ref()), is_page(name.as_ref())), (log, page), "{name}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test removes its own link")]
    fn a_version_is_old_only_when_the_link_names_a_newer_one() {
        let temp = tempfile::tempdir().unwrap();
        let (root, path) = Dir::resolve(temp.path()).unwrap();
        for name in [
            "bin.2.9.1",
            "bin.2.335.0",
            "bin.2.336.0",
            "bin.2.337.0",
            "bin.backup",
            "bin.2.x.1",
            "externals.2.335.0",
        ] {
            create_dir_all(path.join(name)).unwrap();
        }
        std::fs::write(path.join("bin.2.1.0"), "").unwrap();
        let names = || {
            let mut names: Vec<_> = old_versions(&root, &path).into_iter().map(|old| old.name).collect();
            names.sort();
            names
        };
        assert!(names().is_empty(), "there is no link");
        create_dir_all(path.join("externals")).unwrap();
        symlink("bin.2.336.0", path.join("bin")).unwrap();
        assert_eq!(
            names(),
            ["bin.2.335.0", "bin.2.9.1"],
            "externals is a directory, its versions are not known to be old"
        );
        for (target, expected) in [
            (path.join("bin.2.336.0"), 2),
            ("../elsewhere/bin.2.336.0".into(), 0),
            ("bin.2.999.0".into(), 0),
            ("bin.backup".into(), 0),
        ] {
            std::fs::remove_file(path.join("bin")).unwrap();
            symlink(&target, path.join("bin")).unwrap();
            assert_eq!(names().len(), expected, "{}", target.display());
        }
    }
}
