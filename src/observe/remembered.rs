//! Sizes from an earlier look, for verbs that only show them: a host's caches hold a hundred times more files than directories change
//! between two looks.
//!
//! A tree is remembered by its directories: device, inode, and when each was last modified and changed. Adding or removing a file changes
//! its directory, so while all of them are unchanged the sums hold, except for files that have grown in place: a remembered size is a
//! lower bound, and is reported as such ([`Coverage::Remembered`]). No claim and no judgement of idleness uses remembered sizes: runs that
//! act measure.
//!
//! # Hostile trees
//!
//! They are reached as when they are measured: by handles, one name at a time, no link followed and no mount entered. Only the clock sets
//! a directory's change time. Trees that have changed within the last [`QUIET`] are not remembered: clocks of filesystems are coarse, and
//! a write in the instant of the look could have the same time. If times are kept by this host's own clock, and finer than by the second,
//! [`QUIET_BY_OWN_CLOCK`] is enough.
//!
//! # Bounds
//!
//! The file holds no more than [`MAX_BYTES`]; trees without room are measured again. A damaged file, or one of another version, is
//! ignored.

use crate::model::{Coverage, FileId, Measure};
use crate::sys::dir::{Dir, Status};
use crate::sys::reach;
use std::collections::HashMap;
use std::ffi::CString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The most that a file of remembered sizes holds.
pub const MAX_BYTES: usize = 16 << 20;

/// Trees that have changed this recently are not remembered.
pub const QUIET: Duration = Duration::from_secs(30);

/// The same if this host's own clock sets the times, with ticks of milliseconds.
pub const QUIET_BY_OWN_CLOCK: Duration = Duration::from_secs(2);

/// Deeper trees are measured each time.
const MAX_DEPTH: usize = 64;

const HEADER: &[u8] = b"disk-guard sizes 1\n";

/// A directory found by a walk: its path below the tree's root, and its status before it was read.
pub(super) type Noted = (Vec<u8>, Status);

/// The remembered trees.
#[derive(Debug, Default)]
pub struct RememberedSizes {
    trees: HashMap<FileId, Arc<RememberedTree>>,
    /// The trees that this look has measured or confirmed.
    met: HashMap<FileId, Arc<RememberedTree>>,
    has_changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct RememberedTree {
    measure: Measure,
    since: SystemTime,
    /// A digest of the status of every directory.
    print: u64,
    /// The directories below the root, each before those in it: depth, length of the name, name.
    directories: Vec<u8>,
}

impl RememberedSizes {
    /// From the bytes of [`RememberedSizes::into_bytes`]; data that cannot be parsed holds nothing.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let trees = decode(bytes).unwrap_or_default();
        let trees = trees.into_iter().map(|(id, tree)| (id, Arc::new(tree))).collect();
        Self { trees, ..Self::default() }
    }

    /// The data for the next look. `None` when it has not changed.
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        let is_new = self.has_changed || self.met.len() != self.trees.len();
        is_new.then(|| encode(self.met))
    }

    /// The size of a tree that is remembered and unchanged.
    pub(super) fn of(memory: &Mutex<Self>, root: &Dir) -> Option<Measure> {
        let own = || memory.lock().unwrap_or_else(PoisonError::into_inner);
        let id = root.status().ok()?.id;
        let tree = Arc::clone(own().trees.get(&id)?);
        // Several threads look at a time.
        if print_of(root, &tree.directories)? != tree.print {
            return None;
        }
        let measure = Measure { coverage: Coverage::Remembered { since: tree.since }, ..tree.measure };
        own().met.insert(id, tree);
        Some(measure)
    }

    /// Remembers a completely measured tree. `by_own_clock` is true if this host's clock sets its times.
    pub(super) fn note(
        &mut self,
        measure: Measure,
        mut noted: Vec<Noted>,
        now: SystemTime,
        by_own_clock: bool,
    ) {
        let is_quiet = |status: &Status| {
            let is_fine = by_own_clock && has_a_fraction(status.changed);
            let quiet = if is_fine { QUIET_BY_OWN_CLOCK } else { QUIET };
            now.duration_since(status.changed.max(status.modified)).is_ok_and(|age| age >= quiet)
        };
        if measure.coverage != Coverage::Whole || !noted.iter().all(|(_, status)| is_quiet(status)) {
            return;
        }
        let parts = |path: &Vec<u8>| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
        noted.sort_by_cached_key(|(path, _)| parts(path));
        let Some(((_, root), below)) = noted.split_first() else { return };
        let (mut print, mut directories) = (DefaultHasher::new(), Vec::new());
        add(&mut print, root);
        for (path, status) in below {
            let depth = path.iter().filter(|byte| **byte == b'/').count();
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let Ok(length) = u8::try_from(name.len()) else { return };
            if depth >= MAX_DEPTH {
                return;
            }
            directories.extend([depth as u8, length]);
            directories.extend_from_slice(name);
            add(&mut print, status);
        }
        let tree = RememberedTree { measure, since: now, print: print.finish(), directories };
        self.has_changed = true;
        self.met.insert(root.id, Arc::new(tree));
    }
}

/// Where times are kept by the second, none has one.
fn has_a_fraction(time: SystemTime) -> bool {
    time.duration_since(UNIX_EPOCH).is_ok_and(|since| since.subsec_nanos() != 0)
}

fn add(print: &mut DefaultHasher, status: &Status) {
    (status.id, status.modified, status.changed).hash(print);
}

/// The present status of the directories; `None` when one of them is gone, or is no directory.
fn print_of(root: &Dir, directories: &[u8]) -> Option<u64> {
    let mounts = reach::names();
    let status = root.status().ok()?;
    let mut print = DefaultHasher::new();
    add(&mut print, &status);
    // The path to the previous directory: a handle is only opened for a directory with subdirectories.
    let mut way: Vec<(CString, Option<Dir>)> = Vec::new();
    let mut rest = directories;
    while let [depth, length, after @ ..] = rest {
        let (name, after) = after.split_at_checked(usize::from(*length))?;
        rest = after;
        way.truncate(usize::from(*depth));
        if way.len() != usize::from(*depth) || name.contains(&b'/') {
            return None;
        }
        open_last(root, &mut way)?;
        let parent = way.last().map_or(Some(root), |(_, dir)| dir.as_ref())?;
        let name = CString::new(name).ok()?;
        let found = parent.status_among(&name, &mounts).ok()?;
        if !found.is_dir() || found.mount_id != status.mount_id {
            return None;
        }
        add(&mut print, &found);
        way.push((name, None));
    }
    rest.is_empty().then(|| print.finish())
}

/// Opens the last directory of a path whose other ones are open.
fn open_last(root: &Dir, way: &mut [(CString, Option<Dir>)]) -> Option<()> {
    let Some(((name, opened), above)) = way.split_last_mut() else { return Some(()) };
    if opened.is_none() {
        let parent = above.last().map_or(Some(root), |(_, dir)| dir.as_ref())?;
        *opened = Some(parent.descend(name.as_c_str()).ok()?);
    }
    Some(())
}

fn encode(trees: HashMap<FileId, Arc<RememberedTree>>) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, tree) in trees {
        let Measure { bytes, files, directories, newest, .. } = tree.measure;
        let length = tree.directories.len() as u64;
        if body.len() + tree.directories.len() + 128 > MAX_BYTES - HEADER.len() - size_of::<u64>() {
            continue;
        }
        let numbers = [id.dev, id.ino, bytes, files, directories, tree.print, length];
        let times = [Some(tree.since), newest].map(nanoseconds);
        body.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        body.extend(times.into_iter().flat_map(i128::to_le_bytes));
        body.extend_from_slice(&tree.directories);
    }
    [HEADER, &sum(&body).to_le_bytes(), &body].concat()
}

/// Since the epoch; the least number for no time.
fn nanoseconds(time: Option<SystemTime>) -> i128 {
    time.map_or(i128::MIN, |time| match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    })
}

fn time(nanoseconds: i128) -> Option<SystemTime> {
    let length = u64::try_from(nanoseconds.unsigned_abs()).map(Duration::from_nanos).ok()?;
    if nanoseconds < 0 { UNIX_EPOCH.checked_sub(length) } else { UNIX_EPOCH.checked_add(length) }
}

fn sum(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

fn decode(bytes: &[u8]) -> Option<Vec<(FileId, RememberedTree)>> {
    let (expected, mut rest) = bytes.strip_prefix(HEADER)?.split_first_chunk()?;
    if sum(rest) != u64::from_le_bytes(*expected) {
        return None;
    }
    let mut trees = Vec::new();
    while !rest.is_empty() {
        let mut number = || {
            let (number, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_le_bytes(*number))
        };
        let id = FileId { dev: number()?, ino: number()? };
        let [bytes, files, directories, print, length] =
            [number()?, number()?, number()?, number()?, number()?];
        let (since, after) = rest.split_first_chunk()?;
        let (newest, after) = after.split_first_chunk()?;
        let (names, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        let newest = time(i128::from_le_bytes(*newest));
        let measure = Measure { bytes, files, directories, newest, coverage: Coverage::Whole };
        let since = time(i128::from_le_bytes(*since))?;
        trees.push((id, RememberedTree { measure, since, print, directories: names.to_vec() }));
    }
    Some(trees)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests change their own files and read the clock")]
mod tests {
    use super::*;
    use crate::observe::measure::{MeasureOptions, Scan, measure_all};
    use crate::sys::testing::handle;
    use std::fs;
    use std::path::Path;

    fn measure_noting(root: &Path) -> (Scan, Vec<Noted>) {
        let found = Mutex::new(None);
        let open = |_| Some(handle(root));
        measure_all(1, &MeasureOptions::default(), (true, false), &open, &|_, scan, noted| {
            *found.lock().unwrap() = Some((scan, noted));
        });
        found.into_inner().unwrap().unwrap()
    }

    fn plant(root: &Path) {
        for directory in ["a/b/c", "a/d", "a.d", "e"] {
            fs::create_dir_all(root.join(directory)).unwrap();
            fs::write(root.join(directory).join("file"), vec![1; 10_000]).unwrap();
        }
    }

    /// A look half a minute later.
    fn look(root: &Path, memory: &[u8]) -> (Measure, Option<Vec<u8>>) {
        let memory = Mutex::new(RememberedSizes::from_bytes(memory));
        let measure = RememberedSizes::of(&memory, &handle(root)).unwrap_or_else(|| {
            let (scan, noted) = measure_noting(root);
            let later = SystemTime::now() + QUIET + Duration::from_secs(1);
            memory.lock().unwrap().note(scan.measure, noted, later, false);
            scan.measure
        });
        (measure, memory.into_inner().unwrap().into_bytes())
    }

    fn is_remembered(measure: &Measure) -> bool {
        matches!(measure.coverage, Coverage::Remembered { .. })
    }

    #[test]
    fn unchanged_trees_are_remembered_and_changed_ones_measured() {
        let temp = tempfile::tempdir().unwrap();
        plant(temp.path());
        let (first, memory) = look(temp.path(), b"");
        let memory = memory.expect("it is new");
        assert!(!is_remembered(&first));
        let (second, again) = look(temp.path(), &memory);
        assert!(is_remembered(&second), "{second:?}");
        assert_eq!(Measure { coverage: Coverage::Whole, ..second }, first);
        assert_eq!(again, None, "nothing new is to be kept");

        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(temp.path().join("a/b/c/new"), "").unwrap(),
            &|| fs::remove_file(temp.path().join("a/d/file")).unwrap(),
            &|| fs::rename(temp.path().join("e"), temp.path().join("f")).unwrap(),
            &|| {
                fs::rename(temp.path().join("f"), temp.path().join("a.d/f")).unwrap();
                std::os::unix::fs::symlink("a.d/f", temp.path().join("f")).unwrap();
            },
        ];
        let mut memory = memory;
        for change in changes {
            std::thread::sleep(Duration::from_millis(20));
            change();
            let (changed, next) = look(temp.path(), &memory);
            assert!(!is_remembered(&changed), "{changed:?}");
            memory = next.expect("it is new");
            assert!(is_remembered(&look(temp.path(), &memory).0));
        }
    }

    #[test]
    fn files_that_grow_in_place_make_the_size_a_lower_bound() {
        let temp = tempfile::tempdir().unwrap();
        plant(temp.path());
        let (first, memory) = look(temp.path(), b"");
        fs::write(temp.path().join("e/file"), vec![1; 1 << 20]).unwrap();
        let (second, _) = look(temp.path(), &memory.unwrap());
        assert!(is_remembered(&second) && second.bytes == first.bytes, "{second:?}");
    }

    #[test]
    fn sizes_of_recently_changed_trees_are_not_remembered() {
        let temp = tempfile::tempdir().unwrap();
        plant(temp.path());
        let (scan, noted) = measure_noting(temp.path());
        let is_noted = |noted: &[Noted], seconds, by_own_clock| {
            let mut memory = RememberedSizes::default();
            let then = SystemTime::now() + Duration::from_secs(seconds);
            memory.note(scan.measure, noted.to_vec(), then, by_own_clock);
            memory.into_bytes().is_some()
        };
        assert_eq!([0, 31].map(|seconds| is_noted(&noted, seconds, false)), [false, true]);
        assert_eq!([0, 3].map(|seconds| is_noted(&noted, seconds, true)), [false, true]);
        assert!(!is_noted(&noted, 20, false), "another host's clock may be behind");
        // As where times are kept by the second.
        let mut whole = noted;
        for (_, status) in &mut whole {
            let since = status.changed.duration_since(UNIX_EPOCH).unwrap();
            status.changed = UNIX_EPOCH + Duration::from_secs(since.as_secs());
        }
        assert_eq!([20, 32].map(|seconds| is_noted(&whole, seconds, true)), [false, true]);
    }

    #[test]
    fn a_damaged_file_is_ignored_and_rewritten_by_the_next_observation() {
        let temp = tempfile::tempdir().unwrap();
        plant(temp.path());
        let memory = look(temp.path(), b"").1.unwrap();
        for at in [0, HEADER.len(), HEADER.len() + 9, memory.len() / 2, memory.len() - 1] {
            let mut damaged = memory.clone();
            damaged[at] ^= 1;
            let (measure, anew) = look(temp.path(), &damaged);
            assert!(!is_remembered(&measure) && anew.is_some(), "byte {at}");
            let cut = look(temp.path(), &memory[..at]);
            assert!(!is_remembered(&cut.0) && cut.1.is_some(), "cut at {at}");
        }
        assert!(is_remembered(&look(temp.path(), &memory).0));
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        plant(temp.path());
        let root = handle(&temp.path().join("a"));
        for directories in [&b"\0\x02.."[..], b"\0\x04../e", b"\x01\x01b", b"\0\x09b", b"\0"] {
            let is_told = print_of(&root, directories);
            assert!(is_told.is_none() || directories == b"\0\x02..", "{directories:?}");
        }
        assert!(print_of(&root, b"\0\x01b\x01\x01c\0\x01d").is_some());
    }
}
