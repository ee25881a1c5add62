//! The state directory: files that survive a boot. Only root can write it where root runs: chain scripts are run by every runner, and a
//! record decides what root writes.
//!
//! ```text
//! hooks/KEY-started.sh, KEY-completed.sh   chain scripts, readable by all
//! wired/KEY.json                           what `install` did to a runner's `.env`
//! drained/KEY.json                         runners out of service
//! sweep/last                               written by each sweep at its end
//! counters/                                what was counted: see `counters`
//! sizes/trees                              sizes that `status` remembers
//! reap/last.json, reap/seen-ENTRY.json     what the reaper last found, and since when
//! removal/still-named                      what names the hooks when the package goes: see `installation::recorded`
//! stores/last.json                         what became of stores in the last run
//! ```
//!
//! A key is made from the root's path, since device numbers change from boot to boot: a collision-resistant digest. An entry of that key
//! that names another root is left as it is. Earlier versions made keys by a weak hash: an entry under such a key still counts if it names
//! the root, and is removed when it is written anew.

use super::place::{self, own};
use super::wiring::{self, Scripts};
use crate::digest;
use crate::model::FilesystemId;
use crate::sys::dir::Dir;
use crate::text::escape;
use rustix::fs::{Mode, mkdirat};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error(
        "the state directory {path} cannot be used ({operation}): {source}; run as root, or set paths.state_dir"
    )]
    Unusable {
        /// Which directory or file.
        path: String,
        /// The operation that failed.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Others can write it.
    #[error(
        "the state directory {path} can be written by users other than root: run `chown root:root {path} && chmod go-w {path}`"
    )]
    Untrusted {
        /// Which.
        path: String,
    },
    /// A file of another runner has its name.
    #[error("{path} belongs to the runner at {owner}: it is left as it is; move it away")]
    Taken {
        /// Which file.
        path: String,
        /// Whose it is.
        owner: String,
    },
    /// A record that the guard did not write.
    #[error("the record {path} cannot be understood: {reason}; move it away")]
    Broken {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
}

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// What `install` did.
    Wired,
    /// Runners out of service.
    Drained,
}

impl RecordKind {
    fn directory(self) -> &'static str {
        match self {
            Self::Wired => "wired",
            Self::Drained => "drained",
        }
    }
}

/// The state directory, by its path; made when something is first written.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

/// A disk under pressure, by its name.
fn pressed(disk: FilesystemId) -> String {
    format!("pressed-{}-{}", disk.major, disk.minor)
}

impl StateDir {
    /// The configured one.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where the chain scripts of a runner lie.
    pub fn chains(&self, root: &Path) -> Scripts {
        let script = |which: &str| self.path.join(format!("hooks/{}-{which}.sh", key(root)));
        Scripts { started: script("started"), completed: script("completed") }
    }

    /// A runner's record.
    ///
    /// # Errors
    /// [`StateError`]; a missing one is none.
    pub fn load<T: DeserializeOwned>(&self, kept: RecordKind, root: &Path) -> Result<Option<T>, StateError> {
        let Some(dir) = self.open(kept.directory())? else { return Ok(None) };
        for name in record_names(root) {
            if self.root_of(&dir, kept, &name)?.is_some_and(|owner| owner == root.to_string_lossy()) {
                return self.read(&dir, kept, &name);
            }
        }
        Ok(None)
    }

    /// The root that a record names; none without a record.
    fn root_of(&self, dir: &Dir, kept: RecordKind, name: &str) -> Result<Option<String>, StateError> {
        Ok(self.read::<Owner>(dir, kept, name)?.map(|owner| owner.root))
    }

    fn read<T: DeserializeOwned>(
        &self,
        dir: &Dir,
        kept: RecordKind,
        name: &str,
    ) -> Result<Option<T>, StateError> {
        let path = || self.path.join(kept.directory()).join(name).display().to_string();
        let found = place::read(dir, name).map_err(|source| StateError::Unusable {
            path: path(),
            operation: "reading a record",
            source,
        })?;
        found
            .map(|found| serde_json::from_slice(&found.bytes))
            .transpose()
            .map_err(|error| StateError::Broken { path: path(), reason: error.to_string() })
    }

    /// All records of a kind; one that cannot be parsed is an error.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn load_all<T: DeserializeOwned>(&self, kept: RecordKind) -> Result<Vec<T>, StateError> {
        self.load_each(kept)?.into_iter().collect()
    }

    /// The same, each separately: one that cannot be parsed does not hide the others.
    ///
    /// # Errors
    /// [`StateError`], if they cannot be listed.
    pub fn load_each<T: DeserializeOwned>(
        &self,
        kept: RecordKind,
    ) -> Result<Vec<Result<T, StateError>>, StateError> {
        let Some(dir) = self.open(kept.directory())? else { return Ok(Vec::new()) };
        let names = dir.names(4096).map_err(|source| self.unusable("listing records", source))?;
        let names = names.iter().filter_map(|name| name.to_str()).filter(|name| name.ends_with(".json"));
        let names = names.filter(|name| !name.starts_with('.'));
        Ok(names.filter_map(|name| self.read(&dir, kept, name).transpose()).collect())
    }

    /// Whether a runner has a record, valid or not.
    pub fn holds(&self, kept: RecordKind, root: &Path) -> bool {
        match self.load::<serde::de::IgnoredAny>(kept, root) {
            Ok(record) => record.is_some(),
            Err(error) => matches!(error, StateError::Broken { .. }),
        }
    }

    /// Writes a runner's record.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn save(&self, kept: RecordKind, root: &Path, record: &impl Serialize) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(record).expect("our records have string keys");
        let [name, old] = record_names(root);
        let dir = self.make(kept.directory())?;
        if let Some(owner) = self.root_of(&dir, kept, &name)?.filter(|owner| *owner != root.to_string_lossy())
        {
            let path = self.path.join(kept.directory()).join(name).display().to_string();
            return Err(StateError::Taken { path, owner });
        }
        self.put(kept.directory(), &name, &text, 0o644)?;
        self.remove_own_record(&dir, kept, root, &old)
    }

    /// Removes a runner's record.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget(&self, kept: RecordKind, root: &Path) -> Result<(), StateError> {
        let Some(dir) = self.open(kept.directory())? else { return Ok(()) };
        let removed = record_names(root).map(|name| self.remove_own_record(&dir, kept, root, &name));
        removed.into_iter().collect()
    }

    fn remove_own_record(
        &self,
        dir: &Dir,
        kept: RecordKind,
        root: &Path,
        name: &str,
    ) -> Result<(), StateError> {
        match self.root_of(dir, kept, name) {
            Ok(Some(owner)) if owner == root.to_string_lossy() => {
                place::remove(dir, name).map_err(|source| self.unusable("removing a record", source))
            }
            _ => Ok(()),
        }
    }

    /// Writes a chain script of the runner at `root`.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write_chain(&self, root: &Path, path: &Path, script: &str) -> Result<(), StateError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let dir = self.make("hooks")?;
        let found =
            place::read(&dir, &name).map_err(|source| self.unusable("reading a chain script", source))?;
        match found.map(|found| wiring::owner_of_chain(&found.bytes)) {
            Some(owner) if owner.as_deref() != Some(&escape::path(root)) => {
                let owner = owner.unwrap_or_else(|| "at an unknown path".into());
                Err(StateError::Taken { path: path.display().to_string(), owner })
            }
            _ => self.put("hooks", &name, script.as_bytes(), 0o755),
        }
    }

    /// Removes a runner's chain scripts.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_chains(&self, root: &Path) -> Result<(), StateError> {
        let Some(dir) = self.open("hooks")? else { return Ok(()) };
        for key in [key(root), weak_key(root)] {
            for which in ["started", "completed"] {
                let name = format!("{key}-{which}.sh");
                let found = place::read(&dir, &name).ok().flatten();
                let owner = found.and_then(|found| wiring::owner_of_chain(&found.bytes));
                if owner.as_deref() == Some(&escape::path(root)) {
                    place::remove(&dir, &name)
                        .map_err(|source| self.unusable("removing a chain script", source))?;
                }
            }
        }
        Ok(())
    }

    /// Records that a sweep has ended.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn note_sweep(&self, text: &str) -> Result<(), StateError> {
        self.replace("sweep", "last", text.as_bytes(), 0o644)
    }

    /// When the last sweep ended.
    pub fn last_sweep(&self) -> Option<std::time::SystemTime> {
        let dir = self.open("sweep").ok()??;
        dir.status_of("last").ok().map(|status| status.modified)
    }

    /// Records that a sweep has found a disk under pressure.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn note_pressure(&self, disk: FilesystemId) -> Result<(), StateError> {
        self.replace("sweep", &pressed(disk), b"", 0o644)
    }

    /// When a sweep last found a disk under pressure.
    pub fn last_pressure(&self, disk: FilesystemId) -> Option<std::time::SystemTime> {
        let dir = self.open("sweep").ok()??;
        dir.status_of(pressed(disk).as_str()).ok().map(|status| status.modified)
    }

    /// A file of one of its directories, if it is there and no longer than `limit`.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn read_file(&self, directory: &str, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StateError> {
        let Some(dir) = self.open(directory)? else { return Ok(None) };
        let found = place::read_up_to(&dir, name, limit);
        let found = found.map_err(|source| self.unusable("reading a file in it", source))?;
        Ok(found.map(|found| found.bytes))
    }

    /// Writes a file into one of its directories, whole or not at all.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write_file(&self, directory: &'static str, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.replace(directory, name, bytes, 0o644)
    }

    /// The same for a file that root alone reads and that the next run can make again, without waiting for the disk.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write_private_soon(
        &self,
        directory: &'static str,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), StateError> {
        let dir = self.make(directory)?;
        place::replace_soon(&dir, name, bytes, own(0o600))
            .map_err(|source| self.unusable("writing a file", source))
    }

    /// Checks that it can be written, before anything is begun.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn check_writable(&self) -> Result<(), StateError> {
        let dir = self.make("wired")?;
        rustix::fs::accessat(&dir, ".", rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS)
            .map_err(|error| self.unusable("writing to it", error.into()))
    }

    /// A directory in it, opened if it is there and trusted.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn directory(&self, name: &str) -> Result<Option<Dir>, StateError> {
        self.open(name)
    }

    /// The same, made when it is missing.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn directory_made(&self, name: &'static str) -> Result<Dir, StateError> {
        self.make(name)
    }

    fn put(&self, directory: &'static str, name: &str, bytes: &[u8], mode: u32) -> Result<(), StateError> {
        let dir = self.make(directory)?;
        match place::read(&dir, name) {
            Ok(Some(found)) if found.bytes == bytes && found.attributes == own(mode) => Ok(()),
            _ => self.replace(directory, name, bytes, mode),
        }
    }

    fn replace(
        &self,
        directory: &'static str,
        name: &str,
        bytes: &[u8],
        mode: u32,
    ) -> Result<(), StateError> {
        let dir = self.make(directory)?;
        place::replace(&dir, name, bytes, own(mode))
            .map_err(|source| self.unusable("writing a file in it", source))
    }

    /// A directory in it, trusted; none when it is not there.
    fn open(&self, directory: &str) -> Result<Option<Dir>, StateError> {
        let opened = Dir::resolve(&self.path).and_then(|(base, _)| {
            let inner = base.descend(directory)?;
            Ok((base, inner))
        });
        match opened {
            Ok((base, inner)) => {
                self.trust(&base)?;
                self.trust(&inner)?;
                Ok(Some(inner))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.unusable("opening it", source)),
        }
    }

    fn make(&self, directory: &'static str) -> Result<Dir, StateError> {
        let mode = Mode::from_raw_mode(0o755);
        let exists = |result: rustix::io::Result<()>| match result {
            Err(rustix::io::Errno::EXIST) | Ok(()) => Ok(()),
            Err(error) => Err(self.unusable("making it", error.into())),
        };
        exists(mkdirat(rustix::fs::CWD, &self.path, mode))?;
        let (base, _) = Dir::resolve(&self.path).map_err(|source| self.unusable("opening it", source))?;
        self.trust(&base)?;
        exists(mkdirat(&base, directory, mode))?;
        let inner = base.descend(directory).map_err(|source| self.unusable("opening it", source))?;
        self.trust(&inner)?;
        Ok(inner)
    }

    /// Root uses only directories that nobody else can write.
    fn trust(&self, dir: &Dir) -> Result<(), StateError> {
        if !crate::sys::process::is_root() {
            return Ok(());
        }
        let status = dir.status().map_err(|source| self.unusable("looking at it", source))?;
        if status.owner == crate::model::Uid::ROOT && status.mode & 0o022 == 0 {
            Ok(())
        } else {
            Err(StateError::Untrusted { path: self.path.display().to_string() })
        }
    }

    fn unusable(&self, operation: &'static str, source: io::Error) -> StateError {
        StateError::Unusable { path: self.path.display().to_string(), operation, source }
    }
}

/// The fields that every record has.
#[derive(serde::Deserialize)]
struct Owner {
    root: String,
}

/// The possible names of a runner's record: the present one, and that of earlier versions.
fn record_names(root: &Path) -> [String; 2] {
    [key(root), weak_key(root)].map(|key| format!("{key}.json"))
}

/// A stable name for a runner's root: its directory's name for people, and a digest of the path.
fn key(root: &Path) -> String {
    format!("{}-{}", plain_name(root), digest::of(root.as_os_str().as_bytes()))
}

/// The name in earlier versions, by FNV-1a: collisions are easy to find, so it never counts by itself.
fn weak_key(root: &Path) -> String {
    let hash = root.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{}-{hash:016x}", plain_name(root))
}

fn plain_name(root: &Path) -> String {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.trim_start_matches('.').chars().take(64).map(plain).collect()
}

#[cfg(test)]
mod tests;
