//! What holds a disk that has missed its goal: one walk over the work directories on it, bounded in entries and in time. It enters no
//! mount and follows no link. Space outside of work directories is not looked at: it is the rest.

use super::caches::open_work;
use super::measure::{self, measure_within};
use crate::actions_runner::layout;
use crate::model::is_repository_dir;
use crate::model::{
    Cache, Coverage, Filesystem, FilesystemId, Measure, Runner, SpaceClass, SpaceHolder, WorkDir,
};
use crate::sys::dir::Dir;
use crate::uses::Uses;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant, SystemTime};

/// Entries that one walk looks at.
const ENTRIES: i64 = 2_000_000;

/// The maximum of names read from one directory.
const NAMES: usize = 1024;

/// The maximum of reported holders, the largest first.
const TOLD: usize = 12;

/// Smaller holders are not reported.
const WORTH: u64 = 1 << 20;

/// A repository without a job for this long is called stale.
const STALE: Duration = Duration::from_secs(14 * 86_400);

/// How far below a repository's directory build trees are looked for.
const DEPTH: usize = 4;

/// Build trees: the directory's name, or any; a marker in it or beside it; the name of a rule that would declare it.
const BUILD_TREES: [(&str, &str, &str); 12] = [
    ("", "CMakeCache.txt", "cmake"),
    ("", "build.ninja", "ninja"),
    ("", "pyvenv.cfg", "python-venv"),
    ("node_modules", ".package-lock.json", "npm"),
    ("node_modules", ".modules.yaml", "pnpm"),
    ("node_modules", ".yarn-integrity", "yarn"),
    ("node_modules", "../package.json", "node"),
    ("target", "CACHEDIR.TAG", "cargo-target"),
    ("target", "../pom.xml", "maven"),
    ("build", "../build.gradle", "gradle"),
    ("build", "../build.gradle.kts", "gradle"),
    (".gradle", "../settings.gradle", "gradle-project"),
];

/// What to look at.
#[derive(Debug, Clone, Copy)]
pub struct SpaceScan<'a> {
    /// All runners.
    pub runners: &'a [Runner],
    /// The known caches.
    pub caches: &'a [&'a Cache],
    /// The disks that have missed their goal.
    pub disks: &'a [Filesystem],
    /// Those with a shortfall of inodes only.
    pub by_inodes: &'a [FilesystemId],
    /// The wall clock.
    pub now: SystemTime,
    /// When to stop.
    pub deadline: Instant,
}

impl SpaceScan<'_> {
    /// The largest holders, the largest first.
    pub fn holders(&self) -> Vec<SpaceHolder> {
        let caches = self.caches.iter().map(|cache| cache.path.as_os_str()).collect();
        let mut walk = SpaceWalk { look: self, caches, entries: AtomicI64::new(ENTRIES), found: Vec::new() };
        let mut seen = HashSet::new();
        for runner in self.runners {
            let work =
                runner.work_dir().filter(|work| self.is_meant(work.filesystem) && seen.insert(work.id));
            if let Some((work, dir)) = work.and_then(|work| Some((work, open_work(work).ok()?))) {
                walk.work(runner, work, &dir);
            }
            walk.logs(runner);
        }
        let mut found = walk.found;
        found.extend(self.disks.iter().filter_map(|disk| self.rest(disk, &found)).collect::<Vec<_>>());
        found.retain(|holder| self.weight(holder) >= WORTH);
        found.sort_by(|a, b| self.weight(b).cmp(&self.weight(a)).then_with(|| a.path.cmp(&b.path)));
        found.truncate(TOLD);
        found
    }

    /// A holder's share of what its disk lacks, in bytes: an inode weighs as many bytes as its disk has for each.
    fn weight(&self, holder: &SpaceHolder) -> u64 {
        let disk = self.disks.iter().find(|disk| disk.id == holder.filesystem);
        match disk.filter(|_| holder.by_inodes) {
            Some(disk) => holder
                .inodes
                .saturating_mul(disk.usage.total_bytes.checked_div(disk.usage.inodes_total).unwrap_or(0)),
            None => holder.bytes,
        }
    }

    fn is_meant(&self, disk: FilesystemId) -> bool {
        self.disks.iter().any(|meant| meant.id == disk)
    }

    /// The part of a disk outside of work directories, when all of those were seen.
    fn rest(&self, disk: &Filesystem, found: &[SpaceHolder]) -> Option<SpaceHolder> {
        let here = found.iter().filter(|holder| holder.filesystem == disk.id);
        let seen = here.clone().map(Held::of).fold(Held::default(), Held::plus);
        let works: HashSet<&OsStr> = self
            .runners
            .iter()
            .filter_map(Runner::work_dir)
            .filter(|work| work.filesystem == disk.id)
            .map(|work| work.path.as_os_str())
            .collect();
        let is_below_one = |path: &Path| path.ancestors().any(|above| works.contains(above.as_os_str()));
        let caches = self.caches.iter().filter(|cache| is_below_one(&cache.path));
        let seen = caches.map(Held::of_cache).fold(seen, Held::plus);
        let used = Held {
            bytes: disk.usage.used_bytes,
            inodes: disk.usage.inodes_total.saturating_sub(disk.usage.inodes_free),
        };
        let rest = used.less(seen);
        let by_inodes = self.by_inodes.contains(&disk.id);
        let command = if by_inodes { "du --inodes" } else { "du" };
        here.clone().all(|holder| holder.is_whole).then(|| SpaceHolder {
            class: SpaceClass::OutsideOfWork,
            path: disk.mount.clone(),
            runner: String::new(),
            filesystem: disk.id,
            bytes: rest.bytes,
            inodes: rest.inodes,
            by_inodes,
            is_whole: true,
            remedy: format!(
                "`{command} -xh --max-depth=2 {}` lists it; disk-guard frees nothing of it",
                disk.mount.display()
            ),
        })
    }
}

/// Bytes and inodes.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    bytes: u64,
    inodes: u64,
}

impl Held {
    fn of(holder: &SpaceHolder) -> Self {
        Self { bytes: holder.bytes, inodes: holder.inodes }
    }

    fn of_cache(cache: &&Cache) -> Self {
        let inodes = cache.measure.map_or(0, |measure| measure.files + measure.directories);
        Self { bytes: cache.bytes(), inodes }
    }

    fn of_measure(measure: &Measure) -> Self {
        Self { bytes: measure.bytes, inodes: measure.files + measure.directories }
    }

    fn plus(self, more: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(more.bytes), inodes: self.inodes.saturating_add(more.inodes) }
    }

    fn less(self, part: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(part.bytes), inodes: self.inodes.saturating_sub(part.inodes) }
    }
}

struct SpaceWalk<'a> {
    look: &'a SpaceScan<'a>,
    /// The places of caches: there may be thousands, and each visited directory is looked up.
    caches: HashSet<&'a OsStr>,
    entries: AtomicI64,
    found: Vec<SpaceHolder>,
}

/// One runner's work directory.
struct WorkSite<'a> {
    runner: &'a Runner,
    work: &'a WorkDir,
    uses: Uses,
}

impl SpaceWalk<'_> {
    fn work(&mut self, runner: &Runner, work: &WorkDir, dir: &Dir) {
        let site = WorkSite { runner, work, uses: Uses::of(dir, self.look.now) };
        for name in dir.names(NAMES).unwrap_or_default() {
            let Ok(child) = dir.descend(name.as_os_str()) else { continue };
            let below = PathBuf::from(&name);
            match name.to_str().unwrap_or_default() {
                layout::TOOLS => {
                    let remedy = "setup actions keep every version here that a job has asked for; remove those that no workflow uses, disk-guard never touches them";
                    for tool in child.names(NAMES).unwrap_or_default() {
                        if let Ok(dir) = child.descend(tool.as_os_str()) {
                            self.whole(&site, SpaceClass::ToolCache, &below.join(&tool), &dir, remedy);
                        }
                    }
                }
                layout::ACTIONS => {
                    self.whole(
                        &site,
                        SpaceClass::Actions,
                        &below,
                        &child,
                        "the runner removes it before its next job",
                    );
                }
                layout::UPDATE => {
                    let remedy = "left over by a self-update; under pressure a sweep removes it once the runner is idle";
                    self.whole(&site, SpaceClass::SelfUpdate, &below, &child, remedy);
                }
                layout::TEMP => {
                    let remedy = "the runner wipes what it may before its next job; under pressure a sweep removes the rest once the runner is idle";
                    self.whole(&site, SpaceClass::Temp, &below, &child, remedy);
                }
                _ if is_repository_dir(&name) => self.repository(&site, &name, &child),
                _ => {}
            }
        }
    }

    fn logs(&mut self, runner: &Runner) {
        let base = runner.root_dir();
        let Ok(diag) = Dir::open(&runner.root).and_then(|root| root.descend(layout::DIAG)) else { return };
        if self.look.is_meant(base.filesystem) {
            let site = WorkSite { runner, work: &base, uses: Uses::default() };
            let remedy = "retention.logs sets how long they are kept; under pressure a sweep removes them once the runner is idle";
            self.whole(&site, SpaceClass::Logs, Path::new(layout::DIAG), &diag, remedy);
        }
    }

    fn whole(&mut self, site: &WorkSite<'_>, class: SpaceClass, below: &Path, dir: &Dir, remedy: &str) {
        if let Some(size) = self.size(dir) {
            let is_whole = size.coverage == Coverage::Whole;
            self.tell(site, class, below, (Held::of_measure(&size), is_whole), remedy.to_owned());
        }
    }

    fn tell(
        &mut self,
        site: &WorkSite<'_>,
        class: SpaceClass,
        below: &Path,
        size: (Held, bool),
        remedy: String,
    ) {
        let (Held { bytes, inodes }, is_whole) = size;
        let (path, runner) = (site.work.path.join(below), site.runner.name.clone());
        self.found.push(SpaceHolder {
            class,
            path,
            runner,
            filesystem: site.work.filesystem,
            bytes,
            inodes,
            by_inodes: self.look.by_inodes.contains(&site.work.filesystem),
            is_whole,
            remedy,
        });
    }

    /// A repository's directory: its build trees separately, and the rest of it.
    fn repository(&mut self, site: &WorkSite<'_>, name: &OsStr, dir: &Dir) {
        let below = PathBuf::from(name);
        let path = site.work.path.join(&below);
        let Some(size) = self.size(dir) else { return };
        let before = self.found.len();
        self.build_trees(site, &below, dir, DEPTH);
        let trees = self.found[before..].iter().map(Held::of);
        let caches = self.look.caches.iter().filter(|cache| cache.path.starts_with(&path));
        let told = trees.chain(caches.map(Held::of_cache)).fold(Held::default(), Held::plus);
        let rest = Held::of_measure(&size).less(told);
        let is_whole = size.coverage == Coverage::Whole;
        let age = site.uses.last(name).map(|used| self.look.now.duration_since(used).unwrap_or_default());
        let (class, remedy) = match age {
            Some(age) if age > STALE => (
                SpaceClass::StaleCheckout,
                format!(
                    "not used by a job for {} days: with `checkout_max_age = \"14d\"` in [retention] a sweep removes it",
                    age.as_secs() / 86_400
                ),
            ),
            _ => (
                SpaceClass::Checkout,
                "with `checkout_max_age` in [retention] a sweep removes checkouts that no job has used for long"
                    .to_owned(),
            ),
        };
        self.tell(site, class, &below, (rest, is_whole), remedy);
    }

    fn build_trees(&mut self, site: &WorkSite<'_>, below: &Path, dir: &Dir, depth: usize) {
        for name in dir.names(NAMES).unwrap_or_default() {
            if name == ".git" || Instant::now() > self.look.deadline {
                continue;
            }
            let (Ok(child), path) = (dir.descend(name.as_os_str()), below.join(&name)) else { continue };
            if self.caches.contains(site.work.path.join(&path).as_os_str()) {
                continue;
            }
            match rule_for(&name, dir, &child) {
                Some(rule) => self.whole(site, SpaceClass::BuildTree, &path, &child, &rule),
                None if depth > 1 => self.build_trees(site, &path, &child, depth - 1),
                None => {}
            }
        }
    }

    fn size(&self, dir: &Dir) -> Option<Measure> {
        let options = measure::MeasureOptions { threads: 2, largest: 0, deadline: Some(self.look.deadline) };
        measure_within(dir, &options, &self.entries).ok().map(|scan| scan.measure)
    }
}

/// The rule that would declare a directory as a cache, if it looks like a build tree.
fn rule_for(name: &OsString, parent: &Dir, dir: &Dir) -> Option<String> {
    let name = name.to_str()?;
    let has = |marker: &str| match marker.strip_prefix("../") {
        Some(beside) => parent.status_of(beside).is_ok_and(|status| status.is_file()),
        None => dir.status_of(marker).is_ok_and(|status| status.is_file()),
    };
    let (_, marker, rule) = BUILD_TREES
        .iter()
        .find(|(wanted, marker, _)| (wanted.is_empty() || *wanted == name) && has(marker))?;
    Some(format!(
        "if every build can make it again, declare it: `[[cache]] name = \"{rule}\" dirs = [{name:?}] marker = \"{marker}\"`"
    ))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test reads the clock for what it lays out")]
mod tests {
    use super::*;
    use crate::model::DirGlobs;
    use crate::model::{CacheRule, Usage};
    use crate::observe::caches::{Matcher, find};
    use crate::observe::filesystems::MountTable;
    use crate::observe::runners::examine;
    use std::fs::{create_dir_all, write};

    #[test]
    fn uses_of_a_disk_are_reported_by_class_with_a_remedy() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("r1");
        let put = |path: &str, mib: usize| {
            let path = root.join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(&path, vec![1; mib << 20]).unwrap();
        };
        put("_diag/Worker.log", 2);
        for (path, mib) in [
            ("_tool/go/1.1/x", 3),
            ("_actions/x", 4),
            ("_update/x", 5),
            ("_temp/x", 6),
            ("app/app/src", 7),
            ("app/app/sub/build/CMakeCache.txt", 8),
            ("old/old/src", 9),
            ("small/small/src", 0),
        ] {
            put(&format!("_work/{path}"), mib);
        }
        let note = root.join("_work/_PipelineMapping/acme/old");
        create_dir_all(&note).unwrap();
        write(
            note.join("PipelineFolder.json"),
            "{\"pipelineDirectory\": \"old\", \"lastRunOn\": \"01/02/2020 00:00:01 +00:00\"}",
        )
        .unwrap();
        let runner = examine(&root, &MountTable::default()).unwrap().unwrap();
        let usage = Usage {
            total_bytes: 1 << 40,
            used_bytes: 1 << 30,
            available_bytes: 0,
            inodes_total: 0,
            inodes_free: 0,
        };
        let id = runner.work_dir().unwrap().filesystem;
        let disk = Filesystem { id, mount: "/disk".into(), fs_type: "x".into(), usage };
        let now = SystemTime::now();
        let look_beside = |caches: &[&Cache], disks: &[Filesystem], deadline| {
            SpaceScan { runners: std::slice::from_ref(&runner), caches, disks, by_inodes: &[], now, deadline }
                .holders()
        };
        let look = |disks: &[Filesystem], deadline| look_beside(&[], disks, deadline);
        let soon = Instant::now() + Duration::from_secs(60);
        let found = look(std::slice::from_ref(&disk), soon);
        let told: Vec<(&str, u64)> = found.iter().map(|h| (h.class.as_str(), h.bytes >> 20)).collect();
        assert_eq!(
            told,
            [
                ("outside-of-work", 979),
                ("stale-checkout", 9),
                ("build-tree", 8),
                ("checkout", 7),
                ("temp", 6),
                ("self-update", 5),
                ("actions", 4),
                ("tool-cache", 3),
                ("logs", 2)
            ],
            "{found:#?}"
        );
        assert!(
            found[2].remedy.contains("dirs = [\"build\"] marker = \"CMakeCache.txt\""),
            "{}",
            found[2].remedy
        );
        assert!(found[1].remedy.contains("checkout_max_age"));
        let late = look(std::slice::from_ref(&disk), Instant::now());
        assert!(late.iter().all(|holder| !holder.is_whole), "what was not seen is not guessed: {late:#?}");
        assert!(look(&[], soon).is_empty());

        // A cache is reported as one elsewhere, and counts neither here nor in the rest.
        let (dirs, markers) = (DirGlobs::parse(&["build"]).unwrap(), vec!["CMakeCache.txt".into()]);
        let rule = CacheRule { dirs, markers, depth: 3, ..CacheRule::default() };
        let work = runner.work_dir().unwrap();
        let mut caches = find(work, &Matcher::new(&[rule]), &MountTable::default(), soon).unwrap().caches;
        let (files, directories, newest, coverage) = (1, 1, None, Coverage::Whole);
        caches[0].measure = Some(Measure { bytes: 8 << 20, files, directories, newest, coverage });
        let beside = look_beside(&[&caches[0]], std::slice::from_ref(&disk), soon);
        let told: Vec<(&str, u64)> = beside.iter().map(|h| (h.class.as_str(), h.bytes >> 20)).collect();
        assert_eq!(beside.len(), found.len() - 1, "{beside:#?}");
        assert_eq!((told[0], told[2]), (("outside-of-work", 979), ("checkout", 7)));
    }
}
