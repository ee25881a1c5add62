//! The state directory: what outlives a boot. Root's alone where root runs: chain scripts are run by every runner, and a
//! record steers what root writes.
//!
//! ```text
//! hooks/KEY-started.sh, KEY-completed.sh   chain scripts, readable by all
//! wired/KEY.json                           what `install` did to a runner's `.env`
//! drained/KEY.json                         runners out of service
//! sweep/last                               written by each sweep at its end
//! counters/                                what was counted: see `counters`
//! reap/last.json, reap/seen-ENTRY.json     what the reaper last found, and since when
//! ```
//!
//! A key is made from the root's path: device numbers change from boot to boot.

use super::place::{self, Manner};
use super::wiring::Scripts;
use crate::sys::dir::Dir;
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
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Others can write it.
    #[error(
        "the state directory {path} can be written by others than root: run `chown root:root {path} && chmod go-w {path}`"
    )]
    Untrusted {
        /// Which.
        path: String,
    },
    /// A record is not what we write.
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
pub enum Kept {
    /// What `install` did.
    Wired,
    /// Runners out of service.
    Drained,
}

impl Kept {
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

impl StateDir {
    /// The one that the configuration says.
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
    pub fn load<T: DeserializeOwned>(&self, kept: Kept, root: &Path) -> Result<Option<T>, StateError> {
        let Some(dir) = self.open(kept.directory())? else { return Ok(None) };
        let name = format!("{}.json", key(root));
        self.read(&dir, kept, &name)
    }

    fn read<T: DeserializeOwned>(&self, dir: &Dir, kept: Kept, name: &str) -> Result<Option<T>, StateError> {
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

    /// All records of a kind; one that cannot be understood is an error.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn load_all<T: DeserializeOwned>(&self, kept: Kept) -> Result<Vec<T>, StateError> {
        let Some(dir) = self.open(kept.directory())? else { return Ok(Vec::new()) };
        let names = dir.names(4096).map_err(|source| self.unusable("listing records", source))?;
        let names = names.iter().filter_map(|name| name.to_str()).filter(|name| name.ends_with(".json"));
        let mut records = Vec::new();
        for name in names.filter(|name| !name.starts_with('.')) {
            records.extend(self.read(&dir, kept, name)?);
        }
        Ok(records)
    }

    /// Whether a runner has a record, readable or not; for those who may not read it.
    pub fn holds(&self, kept: Kept, root: &Path) -> bool {
        self.path.join(kept.directory()).join(format!("{}.json", key(root))).exists()
    }

    /// Writes a runner's record.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn save(&self, kept: Kept, root: &Path, record: &impl Serialize) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(record).expect("our records have string keys");
        self.put(kept.directory(), &format!("{}.json", key(root)), &text, 0o644)
    }

    /// Removes a runner's record.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget(&self, kept: Kept, root: &Path) -> Result<(), StateError> {
        let Some(dir) = self.open(kept.directory())? else { return Ok(()) };
        let name = format!("{}.json", key(root));
        place::remove(&dir, &name).map_err(|source| self.unusable("removing a record", source))
    }

    /// Writes a chain script.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write_chain(&self, path: &Path, script: &str) -> Result<(), StateError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.put("hooks", &name, script.as_bytes(), 0o755)
    }

    /// Removes a runner's chain scripts.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_chains(&self, root: &Path) -> Result<(), StateError> {
        let Some(dir) = self.open("hooks")? else { return Ok(()) };
        for which in ["started", "completed"] {
            place::remove(&dir, &format!("{}-{which}.sh", key(root)))
                .map_err(|source| self.unusable("removing a chain script", source))?;
        }
        Ok(())
    }

    /// Notes that a sweep has ended.
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

    /// Whether it can be written, before anything is begun.
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
            Ok(Some(found)) if found.bytes == bytes && found.manner == own(mode) => Ok(()),
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

    /// Root uses only what nobody else can write.
    fn trust(&self, dir: &Dir) -> Result<(), StateError> {
        if !nix::unistd::geteuid().is_root() {
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

/// A file of our own, with this mode.
pub fn own(mode: u32) -> Manner {
    Manner { user: nix::unistd::geteuid().as_raw(), group: nix::unistd::getegid().as_raw(), mode }
}

/// A name for a runner's root that lasts: its directory's name for people, and a hash of the path (FNV-1a, 64 bits).
fn key(root: &Path) -> String {
    let hash = root.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.trim_start_matches('.').chars().take(64).map(plain).collect();
    format!("{name}-{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept_by_root_and_gone_when_forgotten() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::at(&temp.path().join("state"));
        let (one, other) = (Path::new("/a/runner-1"), Path::new("/b/runner-1"));
        assert_eq!(state.load::<String>(Kept::Wired, one).unwrap(), None);
        state.check_writable().unwrap();
        state.save(Kept::Wired, one, &"1").unwrap();
        state.save(Kept::Wired, other, &"2").unwrap();
        assert_eq!(state.load::<String>(Kept::Wired, one).unwrap().as_deref(), Some("1"));
        assert_eq!(state.load_all::<String>(Kept::Wired).unwrap().len(), 2);
        state.forget(Kept::Wired, one).unwrap();
        assert!(!state.holds(Kept::Wired, one) && state.holds(Kept::Wired, other));
    }

    #[test]
    fn keys_are_plain_distinct_and_lasting() {
        assert_eq!(key(Path::new("/home/ci/actions-runner-3")), key(Path::new("/home/ci/actions-runner-3")));
        assert_ne!(key(Path::new("/a/r")), key(Path::new("/b/r")));
        let hostile = key(Path::new("/a/.x y\n\"é"));
        assert!(hostile.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{hostile}");
        assert_eq!(key(Path::new("/x")), "x-07d64e07b49caeb2");
    }
}
