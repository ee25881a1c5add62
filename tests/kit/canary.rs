//! A tree that must not change: what it was, compared with what it is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Everything about one entry that a touch would change. Access times are left out: reading is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    device: u64,
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    links: u64,
    modified: (i64, i64),
    size: u64,
    content: u64,
}

/// A remembered tree.
#[derive(Debug)]
pub(crate) struct Canary {
    tree: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
}

impl Canary {
    /// Remembers `tree` as it is now.
    pub(crate) fn of(tree: &Path) -> Self {
        let mut entries = BTreeMap::new();
        record(tree, Path::new(""), &mut entries);
        assert!(!entries.is_empty(), "a canary has to be alive in the first place: {}", tree.display());
        Self { tree: tree.to_owned(), entries }
    }

    /// What has changed since, in words; empty when nothing has.
    pub(crate) fn changes(&self) -> Vec<String> {
        let mut now = BTreeMap::new();
        record(&self.tree, Path::new(""), &mut now);
        let mut changes = Vec::new();
        for (path, before) in &self.entries {
            match now.get(path) {
                None => changes.push(format!("gone: {}", path.display())),
                Some(after) if after != before => {
                    changes.push(format!("changed: {}: {before:?} -> {after:?}", path.display()));
                }
                Some(_) => {}
            }
        }
        let added = now.keys().filter(|path| !self.entries.contains_key(*path));
        changes.extend(added.map(|path| format!("new: {}", path.display())));
        changes
    }

    /// Panics unless the tree is what it was.
    #[track_caller]
    pub(crate) fn assert_intact(&self) {
        let changes = self.changes();
        assert!(changes.is_empty(), "{} was touched:\n  {}", self.tree.display(), changes.join("\n  "));
    }
}

fn record(tree: &Path, below: &Path, entries: &mut BTreeMap<PathBuf, Entry>) {
    // Joining nothing would append a slash, through which a link is followed and a file is none.
    let path = if below.as_os_str().is_empty() { tree.to_owned() } else { tree.join(below) };
    let Ok(metadata) = std::fs::symlink_metadata(&path) else { return };
    let content = if metadata.is_file() {
        std::fs::read(&path).unwrap_or_default()
    } else if metadata.is_symlink() {
        std::fs::read_link(&path).map(|target| OsString::from(target).into_vec()).unwrap_or_default()
    } else {
        Vec::new()
    };
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    entries.insert(
        below.to_owned(),
        Entry {
            device: metadata.dev(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            links: metadata.nlink(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            content: hasher.finish(),
        },
    );
    if metadata.is_dir() {
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            record(tree, &below.join(entry.file_name()), entries);
        }
    }
}
