//! The calls of each kind's own tool: where its store is, how large it is, and to collect.

mod buildkit;
mod images;

use super::place::{StoreDir, StoreError};
use super::tool::{CollectionTime, StoreTool, remedy};
use crate::capacity::stores as engines;
use crate::model::stores::{Portion, StoreKind, StoreRule};
use crate::sys::program::{ProgramError, Programs};
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// A store that can be collected.
#[derive(Debug)]
pub struct CollectedStore {
    kind: StoreKind,
    tool: StoreTool,
    /// Where it is.
    pub place: StoreDir,
}

impl CollectedStore {
    /// Finds a store and its tool. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(rule: &StoreRule, programs: &[PathBuf]) -> Result<Self, StoreError> {
        let mut tool = StoreTool {
            command: rule.command.clone(),
            directories: programs.to_vec(),
            user: None,
            home: PathBuf::from("/"),
            environment: Vec::new(),
        };
        let said = |error: ProgramError| StoreError(format!("{error}{}", remedy(&error)));
        let place = match rule.kind {
            kind if kind.is_directory() => StoreDir::of_user(rule)?,
            StoreKind::Nix => StoreDir::of_engine(rule.path.as_deref().unwrap_or(Path::new("/nix/store")))?,
            _ if rule.path.is_some() => StoreDir::of_engine(&rule.path.clone().unwrap_or_default())?,
            StoreKind::Containerd => {
                let answer = tool.ask(&engines::CONTAINERD_USAGE).map_err(said)?;
                let usage = engines::containerd_usage(&answer).ok_or_else(|| {
                    StoreError("`crictl imagefsinfo` does not report the directory of images".to_owned())
                })?;
                StoreDir::of_engine(&usage.root)?
            }
            _ => StoreDir::of_engine(Path::new(&tool.ask(&engines::DOCKER_ROOT).map_err(said)?))?,
        };
        place.has_only(rule.kind)?;
        tool.user = place.user;
        tool.home.clone_from(&place.path);
        tool.environment = variables(rule.kind, &place.path);
        tool.check().map_err(said)?;
        Ok(Self { kind: rule.kind, tool, place })
    }

    /// How large it is; none if unknown.
    pub fn bytes(&self) -> Option<u64> {
        match self.kind {
            StoreKind::Buildkit => self.docker_usage("Build Cache"),
            StoreKind::DockerImages => self.docker_usage("Images"),
            StoreKind::Containerd => {
                let answer = self.tool.ask(&engines::CONTAINERD_USAGE).ok()?;
                Some(engines::containerd_usage(&answer)?.bytes)
            }
            _ => self.place.bytes(),
        }
    }

    fn docker_usage(&self, kind: &str) -> Option<u64> {
        let answer = self.tool.ask(&engines::DOCKER_USAGE).ok()?;
        Some(engines::docker_usage_of(&answer, Some(kind))?.0)
    }

    /// Makes its tool collect this much.
    ///
    /// # Errors
    /// [`ProgramError`]; [`ProgramError::Stopped`] where a job came.
    pub fn collect(&self, portion: Portion, turn: &CollectionTime<'_>) -> Result<(), ProgramError> {
        let keep = portion.keep.unwrap_or(0);
        match self.kind {
            StoreKind::Buildkit => buildkit::collect(&self.tool, keep, turn),
            StoreKind::DockerImages => {
                images::collect(&images::Docker(&self.tool), &self.place, portion.bytes, turn)
            }
            StoreKind::Containerd => {
                images::collect(&images::Cri(&self.tool), &self.place, portion.bytes, turn)
            }
            StoreKind::Nix => self.tool.collect(&["--max-freed", &portion.bytes.to_string()], turn),
            StoreKind::Ccache => {
                self.with([("CCACHE_MAXSIZE", kibibytes(keep, "Ki"))]).collect(&["--cleanup"], turn)
            }
            StoreKind::Sccache => self.sccache(keep, turn),
            StoreKind::Go => self.tool.collect(&["clean", "-cache"], turn),
            StoreKind::Pnpm => {
                let path = self.place.path.display().to_string();
                self.tool.collect(&["store", "prune", "--store-dir", &path], turn)
            }
            StoreKind::BazelDisk => {
                let path = format!("--disk_cache={}", self.place.path.display());
                self.tool.collect(&[&path, &format!("--max_size={}", keep.max(1))], turn)
            }
        }
    }

    /// sccache has no verb for it: its server makes room when it first reads its directory, which is when something is compiled. So the
    /// owner's own server is ended (two would race), and an empty file is compiled by another server on a port of its own and with a
    /// smaller limit, which is ended afterwards.
    fn sccache(&self, keep: u64, turn: &CollectionTime<'_>) -> Result<(), ProgramError> {
        let compiler = ["cc", "gcc", "clang"];
        let found = compiler.iter().find_map(|name| Programs(&self.tool.directories).find(name).ok());
        let Some(compiler) = found else {
            // The error names the searched directories.
            return Programs(&self.tool.directories).find("cc").map(drop);
        };
        // A missing server is no error.
        if let Err(stopped @ ProgramError::Stopped { .. }) = self.tool.collect(&["--stop-server"], turn) {
            return Err(stopped);
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = port.map_or(4227, |address| address.port());
        let object = self.place.path.join("disk-guard.o").display().to_string();
        let compiler = compiler.display().to_string();
        let arguments = [compiler.as_str(), "-x", "c", "-c", "/dev/null", "-o", &object];
        let limit = kibibytes(keep, "K");
        self.with([("SCCACHE_CACHE_SIZE", limit), ("SCCACHE_SERVER_PORT", port.to_string())])
            .collect(&arguments, turn)
    }

    fn with<const N: usize>(&self, variables: [(&'static str, String); N]) -> StoreTool {
        let mut tool = self.tool.clone();
        tool.environment.extend(variables.map(|(name, value)| (name, value.into())));
        tool
    }
}

/// The environment variables that a tool needs for its store.
fn variables(kind: StoreKind, path: &Path) -> Vec<(&'static str, OsString)> {
    let path = OsString::from(path);
    match kind {
        StoreKind::Ccache => vec![("CCACHE_DIR", path)],
        StoreKind::Sccache => vec![("SCCACHE_DIR", path)],
        // Nothing is fetched, and no other setting of its user counts.
        StoreKind::Go => {
            vec![
                ("GOCACHE", path),
                ("GOENV", "off".into()),
                ("GOFLAGS", "".into()),
                ("GOTOOLCHAIN", "local".into()),
            ]
        }
        _ => Vec::new(),
    }
}

/// Sizes in the form of these tools; 0 would mean no limit at all.
fn kibibytes(bytes: u64, unit: &str) -> String {
    format!("{}{unit}", (bytes / 1024).max(1))
}
