//! Finds the caches of a work directory: by name, by depth below a checkout, by marker.
//!
//! One walk by handles: each directory is opened beneath the one above it, without links and mounts, so that the result describes the
//! opened directories, whatever happens to names meanwhile. A name in the mount table is not even looked at: the mount may be dead, and is
//! not the runner's. Never entered: the runner's own directories (their names begin with `_`), the guard's, `.git`, and caches themselves.

use super::filesystems::MountTable;
use super::locks;
use crate::model::{CLAIMED_BESIDE, Cache, CacheRule, WorkDir};
use crate::sys::dir::{Dir, ENTRIES_BUFFER};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The checkout lies two levels below the work directory: `_work/<repository>/<checkout>`.
const CHECKOUT_DEPTH: usize = 2;

/// The signature at the beginning of a file called `CACHEDIR.TAG` (the Cache Directory Tagging Specification).
const CACHEDIR_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The maximum of caches of one work directory in one look: each is sized, and its locks are tried. An honest one has dozens.
const MAX_CACHES: usize = 4096;

/// The maximum for all work directories together, and how many each may still have when that is reached: many users, or many runners of
/// one user, could plant as many each.
const MAX_OF_HOST: usize = 1 << 15;
const FAIR_SHARE: usize = 64;

/// The maximum of caches claimed in place that one look deals with. An honest host has a handful; planted ones wait.
const MAX_LEFTOVERS: usize = 4096;

/// The maximum of remarks about unreadable directories of one work directory: its owner can close any number of them.
const MAX_NOTES: usize = 16;

/// Directories in one directory that are looked at, and entries of one that are read at all.
const MAX_NAMES: usize = 1 << 16;
const MAX_ENTRIES: usize = 1 << 22;

/// The maximum of links and tagged directories that are remembered for remarks.
const MAX_TOLD: usize = 64;

/// The marker with a signature.
const TAG: &str = "CACHEDIR.TAG";

/// The text that cargo writes into its tag, below the signature.
const BY_CARGO: &[u8] = b"created by cargo";

/// The rules, and how many caches they have found in all work directories together.
#[derive(Debug)]
pub struct Matcher<'a> {
    rules: &'a [CacheRule],
    /// How many caches have been found by it so far.
    found: AtomicUsize,
}

impl<'a> Matcher<'a> {
    /// Of these rules; nothing has been found yet.
    pub fn new(rules: &'a [CacheRule]) -> Self {
        Self { rules, found: AtomicUsize::new(0) }
    }

    /// The rules that match a directory of this name at this depth below a checkout, in the order of the file.
    fn claiming<'s>(&'s self, name: &'s OsStr, depth: usize) -> impl Iterator<Item = &'a CacheRule> + 's {
        self.rules.iter().filter(move |rule| depth <= rule.depth && rule.dirs.matches(name))
    }

    /// The rule that matches a directory under any name, when cargo has tagged it.
    fn by_cargos_tag(&self, depth: usize) -> Option<&'a CacheRule> {
        self.rules.iter().find(|rule| rule.by_cargos_tag && depth <= rule.depth)
    }

    fn max_depth(&self) -> usize {
        let within = self.rules.iter().filter(|rule| rule.roots.is_empty());
        within.map(|rule| rule.depth).max().unwrap_or(0)
    }
}

/// The result of a look into one work directory.
#[derive(Debug, Default)]
pub struct CacheScan {
    /// The caches, not yet measured.
    pub caches: Vec<Cache>,
    /// Caches that an earlier run claimed in place and did not delete; relative to the work directory.
    pub leftovers: Vec<PathBuf>,
    /// Tagged as caches (the Cache Directory Tagging Specification), and matched by no rule; for people.
    pub tagged: Vec<PathBuf>,
    /// The same, beside the checkouts, where no rule reaches.
    pub tagged_beside: Vec<PathBuf>,
    /// Links with the name of a cache, and those that lead out of the work directory; for people.
    pub links: Vec<WorkLink>,
    /// For people: directories that could not be read.
    pub notes: Vec<String>,
}

/// A link in a work directory.
#[derive(Debug, PartialEq, Eq)]
pub struct WorkLink {
    /// Its place.
    pub path: PathBuf,
    /// Its target, as written.
    pub target: PathBuf,
    /// Whether a rule would match its target, by the link's name.
    pub has_a_caches_name: bool,
}

/// Looks for caches, at the latest until `deadline`.
///
/// # Errors
/// When the work directory is no longer the one that was discovered, or cannot be opened.
pub fn find(
    work: &WorkDir,
    matcher: &Matcher<'_>,
    mounts: &MountTable,
    deadline: Instant,
) -> io::Result<CacheScan> {
    let dir = open_work(work)?;
    let mut walk = CacheWalk {
        work,
        matcher,
        mounts,
        buffer: Box::new_uninit_slice(ENTRIES_BUFFER),
        found: CacheScan::default(),
        unread: 0,
    };
    walk.through(dir, deadline, room(matcher.found.load(Ordering::Relaxed)));
    matcher.found.fetch_add(walk.found.caches.len(), Ordering::Relaxed);
    let CacheWalk { mut found, unread, .. } = walk;
    if let Some(more @ 1..) = unread.checked_sub(MAX_NOTES) {
        found.notes.push(format!("looking for caches: {}: {more} more like these", work.path.display()));
    }
    found.caches.sort_by(|a, b| a.below_work.cmp(&b.below_work));
    Ok(found)
}

/// How many caches one work directory may have after so many of others.
fn room(found: usize) -> usize {
    MAX_OF_HOST.saturating_sub(found).clamp(FAIR_SHARE, MAX_CACHES)
}

/// A directory during the walk.
struct WalkLevel {
    dir: Dir,
    /// From the work directory.
    below: PathBuf,
    /// Its directories that still have to be examined.
    names: Vec<OsString>,
    /// Whether it lies in a tagged directory, or is one.
    is_tagged: bool,
}

/// The content of a directory, as far as it matters here.
#[derive(Default)]
struct Listing {
    dirs: Vec<OsString>,
    links: Vec<OsString>,
    has_tag: bool,
}

struct CacheWalk<'a> {
    work: &'a WorkDir,
    matcher: &'a Matcher<'a>,
    mounts: &'a MountTable,
    buffer: Box<[MaybeUninit<u8>]>,
    found: CacheScan,
    unread: usize,
}

impl CacheWalk<'_> {
    /// Depth first, with one handle for each level: as many as a rule's depth allows, and no more.
    fn through(&mut self, work: Dir, deadline: Instant, most: usize) {
        let levels = CHECKOUT_DEPTH + self.matcher.max_depth();
        let Some(top) = self.enter(work, PathBuf::new(), false) else { return };
        let mut open = vec![top];
        while let Some(level) = open.last_mut() {
            if self.found.caches.len() >= most {
                self.found.notes.push(format!(
                    "{}: more than {most} caches, the rest is left to a later run",
                    self.work.path.display()
                ));
                return;
            }
            if Instant::now() > deadline {
                let place = self.work.path.display();
                self.found.notes.push(format!("{place}: the search for caches was cut short"));
                return;
            }
            let Some(name) = level.names.pop() else {
                open.pop();
                continue;
            };
            let below = level.below.join(&name);
            if self.mounts.has_at(&self.work.path.join(&below)) {
                continue;
            }
            let entered = match unless_none(level.dir.descend(&name)) {
                Ok(Some(dir)) => self.look_at(&level.dir, dir, below, level.is_tagged),
                Ok(None) => None,
                Err(error) => {
                    self.tell(&below, &error);
                    None
                }
            };
            open.extend(entered.filter(|_| open.len() < levels));
        }
    }

    /// The directories to enter next: a cache is recorded instead.
    fn look_at(&mut self, parent: &Dir, dir: Dir, below: PathBuf, is_tagged: bool) -> Option<WalkLevel> {
        let depth = below.components().count().saturating_sub(CHECKOUT_DEPTH);
        if depth >= 1 {
            match self.by_name(parent, &dir, &below, depth) {
                Ok(false) => {}
                Ok(true) => return None,
                Err(error) => {
                    self.tell(&below, &error);
                    return None;
                }
            }
        }
        self.enter(dir, below, is_tagged)
    }

    /// Records a directory as a cache if its name and marker match.
    ///
    /// # Errors
    /// When a directory of a cache's name cannot be examined.
    fn by_name(&mut self, parent: &Dir, dir: &Dir, below: &Path, depth: usize) -> io::Result<bool> {
        let name = below.file_name().unwrap_or_default();
        for rule in self.matcher.claiming(name, depth) {
            if has_any_marker(parent, dir, &rule.markers)? && !is_checkout(dir)? {
                self.found.caches.push(cache(self.work, below, rule, dir)?);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lists a directory. A directory that cargo has tagged is a cache under any name.
    fn enter(&mut self, dir: Dir, below: PathBuf, mut is_tagged: bool) -> Option<WalkLevel> {
        let listing = match self.list(&dir, &below) {
            Ok(listing) => listing,
            Err(error) => {
                self.tell(&below, &error);
                return None;
            }
        };
        let depth = below.components().count().saturating_sub(CHECKOUT_DEPTH);
        let is_work = below.as_os_str().is_empty();
        if listing.has_tag && depth == 0 && !is_work {
            match tag_of(&dir) {
                Ok(Some(_)) if self.found.tagged_beside.len() < MAX_TOLD => {
                    self.found.tagged_beside.push(self.work.path.join(&below));
                }
                Ok(_) => {}
                Err(error) => self.tell(&below, &error),
            }
        }
        if listing.has_tag && depth >= 1 {
            match self.by_tag(&dir, &below, depth) {
                Ok(Tag::Cache) => return None,
                Ok(Tag::Told) if !is_tagged => {
                    is_tagged = true;
                    if self.found.tagged.len() < MAX_TOLD {
                        self.found.tagged.push(self.work.path.join(&below));
                    }
                }
                Ok(Tag::Told | Tag::None) => {}
                Err(error) => self.tell(&below, &error),
            }
        }
        self.links(&dir, &below, depth, listing.links);
        Some(WalkLevel { dir, below, names: listing.dirs, is_tagged })
    }

    /// Remembers links that may lead to a cache: by their name, or because they lead out of the work directory.
    fn links(&mut self, dir: &Dir, below: &Path, depth: usize, names: Vec<OsString>) {
        for name in names {
            if self.found.links.len() >= MAX_TOLD {
                return;
            }
            let Ok(target) = rustix::fs::readlinkat(dir, &name, Vec::new()) else { continue };
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            let has_a_caches_name = self.matcher.claiming(&name, depth + 1).next().is_some();
            // A flood of others leaves room for those with a name.
            let leads_out = target.is_absolute()
                && !target.starts_with(&self.work.path)
                && self.found.links.len() < MAX_TOLD / 2;
            if has_a_caches_name || leads_out {
                let path = self.work.path.join(below).join(name);
                self.found.links.push(WorkLink { path, target, has_a_caches_name });
            }
        }
    }

    /// The kind of a directory by its tag.
    ///
    /// # Errors
    /// When it cannot be examined.
    fn by_tag(&mut self, dir: &Dir, below: &Path, depth: usize) -> io::Result<Tag> {
        let Some(tag) = tag_of(dir)? else { return Ok(Tag::None) };
        let rule = self.matcher.by_cargos_tag(depth).filter(|_| is_by_cargo(&tag));
        if let Some(rule) = rule
            && locks::has_build_lock(dir)
            && !is_checkout(dir)?
        {
            self.found.caches.push(cache(self.work, below, rule, dir)?);
            return Ok(Tag::Cache);
        }
        Ok(Tag::Told)
    }

    /// The directories in a directory that are to be looked at.
    fn list(&mut self, dir: &Dir, below: &Path) -> io::Result<Listing> {
        let is_work = below.as_os_str().is_empty();
        let (mut listing, mut entries, mut leftovers) = (Listing::default(), 0, Vec::new());
        let cut = dir.for_each_entry(&mut self.buffer, |entry| {
            entries += 1;
            let name = entry.name.to_bytes();
            let owned = || OsStr::from_bytes(name).to_owned();
            match entry.kind {
                FileType::Directory | FileType::Unknown if name.starts_with(CLAIMED_BESIDE.as_bytes()) => {
                    leftovers.push(owned());
                }
                FileType::Directory | FileType::Unknown if !is_off_limits(name, is_work) => {
                    listing.dirs.push(owned());
                }
                FileType::Symlink if listing.links.len() < MAX_TOLD => listing.links.push(owned()),
                _ => {}
            }
            listing.has_tag |= name == TAG.as_bytes();
            match listing.dirs.len() >= MAX_NAMES || entries >= MAX_ENTRIES {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        let room = MAX_LEFTOVERS.saturating_sub(self.found.leftovers.len());
        self.found.leftovers.extend(leftovers.into_iter().take(room).map(|name| below.join(name)));
        if cut.is_some() {
            self.tell(below, &io::Error::other("it holds too many entries: the rest is not searched"));
        }
        Ok(listing)
    }

    fn tell(&mut self, below: &Path, error: &io::Error) {
        self.unread += 1;
        if self.unread <= MAX_NOTES {
            let place = self.work.path.join(below);
            self.found.notes.push(format!("looking for caches: {}: {error}", place.display()));
        }
    }
}

/// The meaning of a `CACHEDIR.TAG`.
enum Tag {
    /// It is no tag.
    None,
    /// Cargo's, of a build: a cache.
    Cache,
    /// A cache only according to its tag: reported, and left alone.
    Told,
}

fn cache(work: &WorkDir, below: &Path, rule: &CacheRule, dir: &Dir) -> io::Result<Cache> {
    let status = dir.status()?;
    Ok(Cache {
        path: work.path.join(below),
        below_work: below.to_owned(),
        base: None,
        part: Default::default(),
        rule: rule.name.clone(),
        id: status.id,
        owner: status.owner,
        measure: None,
        used: None,
        largest: Arc::default(),
    })
}

/// Opens a work directory and makes sure that it is still the one that was discovered.
///
/// # Errors
/// The error of openat2(2); `NotFound` when another directory stands in its place.
pub fn open_work(work: &WorkDir) -> io::Result<Dir> {
    let dir = Dir::open(&work.path)?;
    let now = dir.status()?;
    if now.id == work.id && now.owner == work.owner {
        Ok(dir)
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, "it was replaced by another directory"))
    }
}

fn is_off_limits(name: &[u8], in_work: bool) -> bool {
    name == b".git" || name == b".disk-guard" || (in_work && name.starts_with(b"_"))
}

/// A checkout, or cargo's package itself, is never a cache, whatever it contains.
pub(super) fn is_checkout(dir: &Dir) -> io::Result<bool> {
    for name in [".git", "Cargo.toml"] {
        if unless_none(dir.pin(name))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a directory has one of the markers. `parent` holds it.
///
/// # Errors
/// When a marker cannot be examined.
pub(super) fn has_any_marker(parent: &Dir, cache: &Dir, markers: &[String]) -> io::Result<bool> {
    for marker in markers {
        if has_marker(parent, cache, marker)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A file or directory of that name, in the cache or beside it; `CACHEDIR.TAG` is a regular file with its signature.
fn has_marker(parent: &Dir, cache: &Dir, marker: &str) -> io::Result<bool> {
    if marker == TAG {
        return Ok(tag_of(cache)?.is_some());
    }
    let pinned = match marker.strip_prefix("../") {
        Some(beside) => parent.pin(beside),
        None => cache.pin(marker),
    };
    let Some(pinned) = unless_none(pinned)? else { return Ok(false) };
    let status = pinned.status()?;
    Ok(status.is_file() || status.is_dir())
}

/// The beginning of a directory's tag, when it has one with the signature.
pub(super) fn tag_of(dir: &Dir) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = unless_none(dir.open_file(TAG))? else { return Ok(None) };
    let mut start = Vec::with_capacity(256);
    file.take(256).read_to_end(&mut start)?;
    Ok(start.starts_with(CACHEDIR_SIGNATURE).then_some(start))
}

fn is_by_cargo(tag: &[u8]) -> bool {
    tag.windows(BY_CARGO.len()).any(|window| window == BY_CARGO)
}

/// The opened file. Nothing if it is missing, a link, a mount, or of another type.
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
mod tests;
