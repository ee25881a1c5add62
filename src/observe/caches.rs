//! Which caches there are in a work directory: by name, by depth below a checkout, by marker.
//!
//! The walk (walkdir) only proposes; each proposal is opened again by handle beneath the work directory, without links and
//! mounts on the way, and carries its marker, or it is no cache. Never looked into: the runner's own directories (their
//! names begin with `_`), ours, `.git`, and caches themselves.

use crate::model::{CLAIMED_BESIDE, Cache, CacheRule, WorkDir};
use crate::sys::dir::Dir;
use globset::{Glob, GlobSet, GlobSetBuilder};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use walkdir::{DirEntry, WalkDir};

/// The checkout lies two levels below the work directory: `_work/<repository>/<checkout>`.
const CHECKOUT_DEPTH: usize = 2;

/// How a file called `CACHEDIR.TAG` has to begin (the Cache Directory Tagging Specification).
const CACHEDIR_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What was claimed in its own place and is dealt with in one look. An honest host has a handful; more is planted, and waits.
const MAX_LEFTOVERS: usize = 4096;

/// What could not be read is told so many times for one work directory: its owner can close any number of directories.
const MAX_NOTES: usize = 16;

/// The rules' name globs, compiled.
#[derive(Debug)]
pub struct Matcher<'a> {
    rules: Vec<(&'a CacheRule, GlobSet)>,
}

impl<'a> Matcher<'a> {
    /// Compiles the rules. A glob that does not compile matches nothing; validation has refused it before.
    pub fn new(rules: &'a [CacheRule]) -> Self {
        let compile = |rule: &CacheRule| {
            let mut set = GlobSetBuilder::new();
            for glob in rule.dirs.iter().filter_map(|dir| Glob::new(dir).ok()) {
                set.add(glob);
            }
            set.build().unwrap_or_else(|_| GlobSet::empty())
        };
        Self { rules: rules.iter().map(|rule| (rule, compile(rule))).collect() }
    }

    /// The rules that claim a directory of this name, so far below a checkout, in the order of the file.
    fn claiming<'s>(&'s self, name: &'s OsStr, depth: usize) -> impl Iterator<Item = &'a CacheRule> + 's {
        let name = Path::new(name);
        self.rules
            .iter()
            .filter(move |(rule, set)| depth <= rule.depth && set.is_match(name))
            .map(|(rule, _)| *rule)
    }

    fn max_depth(&self) -> usize {
        self.rules.iter().map(|(rule, _)| rule.depth).max().unwrap_or(0)
    }
}

/// What a look into one work directory found.
#[derive(Debug, Default)]
pub struct Found {
    /// The caches, not yet measured.
    pub caches: Vec<Cache>,
    /// What an earlier run claimed in a cache's own place and did not get to delete; relative to the work directory.
    pub leftovers: Vec<PathBuf>,
    /// For people: what could not be read.
    pub notes: Vec<String>,
}

/// Looks for caches, at the latest until `deadline`.
///
/// # Errors
/// When the work directory is no longer the one that was discovered, or cannot be opened.
pub fn find(work: &WorkDir, rules: &[CacheRule], deadline: Instant) -> io::Result<Found> {
    let dir = open_work(work)?;
    let matcher = Matcher::new(rules);
    let (mut found, mut unread) = (Found::default(), 0);
    let mut tell = |found: &mut Found, what: String| {
        unread += 1;
        if unread <= MAX_NOTES {
            found.notes.push(format!("looking for caches: {what}"));
        }
    };
    let mut walk = WalkDir::new(&work.path)
        .min_depth(1)
        .max_depth(CHECKOUT_DEPTH + matcher.max_depth())
        .follow_links(false)
        .same_file_system(true)
        .into_iter();
    while let Some(entry) = walk.next() {
        if Instant::now() > deadline {
            found.notes.push(format!("{}: the search for caches was cut short", work.path.display()));
            break;
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                // A listing that breaks off names no path.
                let place = error.path().unwrap_or(&work.path).display();
                let why = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                tell(&mut found, format!("{place}: {why}"));
                continue;
            }
        };
        if !entry.file_type().is_dir() {
            continue;
        }
        if is_off_limits(&entry) {
            walk.skip_current_dir();
        } else if is_claimed_beside(entry.file_name()) {
            walk.skip_current_dir();
            if found.leftovers.len() < MAX_LEFTOVERS {
                found.leftovers.extend(entry.path().strip_prefix(&work.path).map(Path::to_owned));
            }
        } else {
            match recognise(&dir, work, &entry, &matcher) {
                Ok(None) => {}
                Ok(Some(cache)) => {
                    walk.skip_current_dir();
                    found.caches.push(cache);
                }
                Err(error) => {
                    walk.skip_current_dir();
                    tell(&mut found, format!("{}: {error}", entry.path().display()));
                }
            }
        }
    }
    if let Some(more @ 1..) = unread.checked_sub(MAX_NOTES) {
        found.notes.push(format!("looking for caches: {}: {more} more like these", work.path.display()));
    }
    found.caches.sort_by(|a, b| a.below_work.cmp(&b.below_work));
    Ok(found)
}

/// Opens a work directory and makes sure that it is still the one that was discovered.
///
/// # Errors
/// What openat2(2) says; `NotFound` when another directory stands in its place.
pub fn open_work(work: &WorkDir) -> io::Result<Dir> {
    let dir = Dir::open(&work.path)?;
    let now = dir.status()?;
    if now.id == work.id && now.owner == work.owner {
        Ok(dir)
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, "another directory has taken its place"))
    }
}

fn is_claimed_beside(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(CLAIMED_BESIDE.as_bytes())
}

fn is_off_limits(entry: &DirEntry) -> bool {
    let name = entry.file_name().as_encoded_bytes();
    name == b".git" || name == b".disk-guard" || (entry.depth() == 1 && name.starts_with(b"_"))
}

/// The cache that an entry is, if it is one.
///
/// # Errors
/// When a directory of a cache's name cannot be examined.
fn recognise(
    dir: &Dir,
    work: &WorkDir,
    entry: &DirEntry,
    matcher: &Matcher<'_>,
) -> io::Result<Option<Cache>> {
    let depth = entry.depth().checked_sub(CHECKOUT_DEPTH).filter(|depth| *depth >= 1);
    let (Some(depth), Ok(below_work)) = (depth, entry.path().strip_prefix(&work.path)) else {
        return Ok(None);
    };
    for rule in matcher.claiming(entry.file_name(), depth) {
        let Some(cache) = unless_none(dir.descend(below_work))? else { return Ok(None) };
        if !has_marker(&cache, &rule.marker)? {
            continue;
        }
        let status = cache.status()?;
        return Ok(Some(Cache {
            path: work.path.join(below_work),
            below_work: below_work.to_owned(),
            base: None,
            part: Default::default(),
            rule: rule.name.clone(),
            id: status.id,
            owner: status.owner,
            measure: None,
            largest: Arc::default(),
        }));
    }
    Ok(None)
}

/// Whether a directory carries the marker: a regular file of that name, and with `CACHEDIR.TAG` its signature as well.
fn has_marker(cache: &Dir, marker: &str) -> io::Result<bool> {
    let Some(file) = unless_none(cache.open_file(marker))? else { return Ok(false) };
    if marker != "CACHEDIR.TAG" {
        return Ok(true);
    }
    let mut start = Vec::with_capacity(CACHEDIR_SIGNATURE.len());
    file.take(CACHEDIR_SIGNATURE.len() as u64).read_to_end(&mut start)?;
    Ok(start == CACHEDIR_SIGNATURE)
}

/// What was opened. Nothing when there is nothing of the kind: it is not there (any more), a link, a mount, of another type.
fn unless_none<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NOTDIR) => Ok(None),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileId, FilesystemId, Uid};
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::time::Duration;

    const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# made by cargo\n";

    fn rule() -> CacheRule {
        CacheRule {
            name: "cargo-target".into(),
            dirs: vec!["target".into(), "target-*".into()],
            depth: 3,
            marker: "CACHEDIR.TAG".into(),
            max_age: None,
            max_size: None,
        }
    }

    fn work_dir(path: &Path) -> WorkDir {
        let metadata = std::fs::metadata(path).unwrap();
        WorkDir {
            path: path.to_owned(),
            id: FileId { dev: metadata.dev(), ino: metadata.ino() },
            owner: Uid(metadata.uid()),
            filesystem: FilesystemId { major: 0, minor: 0 },
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn only_what_a_rule_declares_and_marks_is_a_cache() {
        let temp = tempfile::tempdir().unwrap();
        let work = Dir::resolve(temp.path()).unwrap().1;
        let caches = ["r/r/target", "r/r/target-x86", "r/r/sub/target", "r/r/a/b/target", "s/other/target"];
        let not = [
            ("r/target", true),            // not below a checkout
            ("r/r/a/b/c/target", true),    // too deep
            ("r/r/target/x/target", true), // inside a cache
            ("_actions/o/target", true),   // the runner's own
            ("r/r/.git/target", true),     // git's own
            ("r/r/my-target", true),       // another name
            ("q/q/target", false),         // no marker
        ];
        for (path, tagged) in caches.iter().map(|c| (*c, true)).chain(not) {
            create_dir_all(work.join(path)).unwrap();
            if tagged {
                write(work.join(path).join("CACHEDIR.TAG"), TAG).unwrap();
            }
        }
        create_dir_all(work.join("fake/fake/target")).unwrap();
        write(work.join("fake/fake/target/CACHEDIR.TAG"), "Signature: none").unwrap();
        create_dir_all(work.join("link/link")).unwrap();
        symlink(work.join("r/r/target"), work.join("link/link/target")).unwrap();
        create_dir_all(work.join("linked/linked/target")).unwrap();
        symlink(work.join("r/r/target/CACHEDIR.TAG"), work.join("linked/linked/target/CACHEDIR.TAG"))
            .unwrap();

        let found = find(&work_dir(&work), &[rule()], soon()).unwrap();
        let mut paths: Vec<_> = found.caches.iter().map(|c| c.below_work.to_str().unwrap()).collect();
        paths.sort_unstable();
        let mut expected = caches.to_vec();
        expected.sort_unstable();
        assert_eq!(paths, expected);
        assert_eq!(found.caches[0].repository_dir(), Path::new("r"));
    }

    #[test]
    fn a_name_of_any_bytes_is_matched() {
        use std::os::unix::ffi::OsStrExt as _;
        let temp = tempfile::tempdir().unwrap();
        let work = Dir::resolve(temp.path()).unwrap().1;
        let odd = work.join("r/r").join(OsStr::from_bytes(b"target-\xff\n"));
        create_dir_all(&odd).unwrap();
        write(odd.join("CACHEDIR.TAG"), TAG).unwrap();
        assert_eq!(find(&work_dir(&work), &[rule()], soon()).unwrap().caches[0].path, odd);
    }

    #[test]
    fn a_work_directory_that_was_swapped_is_not_looked_into() {
        let temp = tempfile::tempdir().unwrap();
        let base = Dir::resolve(temp.path()).unwrap().1;
        create_dir_all(base.join("w/r/r/target")).unwrap();
        write(base.join("w/r/r/target/CACHEDIR.TAG"), TAG).unwrap();
        let work = work_dir(&base.join("w"));
        assert_eq!(find(&work, &[rule()], soon()).unwrap().caches.len(), 1);
        let other = WorkDir { id: FileId { dev: work.id.dev, ino: work.id.ino + 1 }, ..work };
        assert!(find(&other, &[rule()], soon()).is_err());
    }
}
