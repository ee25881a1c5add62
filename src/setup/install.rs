//! Wires one runner, or undoes it: reads the present state, decides (`wiring`), and then writes in an order that is safe against crashes:
//! chain scripts, the record, the `.env` last; in reverse order when undoing.

use super::env_file::EnvFile;
use super::place::{self, ExistingFile, FileAttributes};
use super::state::{RecordKind, StateDir, StateError};
use super::wiring::{self, Content, Edit, Present, Scripts, WiringRecord};
use crate::actions_runner::layout;
use crate::model::{Runner, Uid};
use crate::observe::hook_script;
use crate::observe::processes::HookVariable;
use crate::sys::dir::Dir;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

const NAME: &str = layout::ENV;

/// The operation for all runners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Wire them.
    Install,
    /// Undo it.
    Uninstall,
}

/// Why a runner is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It belongs to another user, and this process is not root.
    NotOurs(Uid),
    /// Something prevents it; what, for people.
    Blocked(String),
}

/// The planned change of one runner.
#[derive(Debug)]
pub struct PreparedEdit {
    root: Dir,
    found: Option<ExistingFile>,
    attributes: FileAttributes,
    /// The planned change.
    pub edit: Edit,
}

impl PreparedEdit {
    /// When its `.env` was last written.
    pub fn env_written(&self) -> Option<SystemTime> {
        self.root.status_of(NAME).ok().map(|status| status.modified)
    }
}

/// When a runner's `.env` was last written or removed, at the latest.
pub fn env_settled(runner: &Runner) -> Option<SystemTime> {
    let root = Dir::open(&runner.root).ok()?;
    let status = root.status_of(NAME).or_else(|_| root.status()).ok()?;
    Some(status.modified)
}

/// The hooks that a runner's `.env` names now, in the order of [`wiring::VARIABLES`]; one that cannot be read is an error.
///
/// # Errors
/// The error of reading it.
pub fn named(runner: &Runner) -> std::io::Result<Vec<(HookVariable, PathBuf)>> {
    let Some(env) = place::read(&Dir::open(&runner.root)?, NAME)? else { return Ok(Vec::new()) };
    let file = EnvFile::parse(&env.bytes);
    let value = |variable| Some((variable, PathBuf::from(OsStr::from_bytes(file.value(variable)?))));
    Ok(wiring::VARIABLES.into_iter().filter_map(value).collect())
}

/// What `uninstall` does with lines that name our hooks and are not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecorded {
    /// It removes them.
    Remove,
    /// It keeps them: an administrator may have written them.
    Keep,
}

/// Looks at one runner and decides.
///
/// # Errors
/// [`Refusal`].
pub fn prepare(
    verb: Verb,
    runner: &Runner,
    ours: &Scripts,
    state: &StateDir,
    unrecorded: Unrecorded,
) -> Result<PreparedEdit, Refusal> {
    let blocked = |what: String| Refusal::Blocked(what);
    let acting_as = nix::unistd::geteuid();
    if !acting_as.is_root() && acting_as.as_raw() != runner.owner.0 {
        return Err(Refusal::NotOurs(runner.owner));
    }
    let unopened = |error| blocked(format!("its directory cannot be opened: {error}"));
    let root = Dir::open(&runner.root).map_err(unopened)?;
    if root.status().map_err(unopened)?.id != runner.root_id {
        return Err(blocked("its directory is another one by now: try again".into()));
    }
    let found =
        place::read(&root, NAME).map_err(|error| blocked(format!("its `.env` cannot be used: {error}")))?;
    let attributes = match &found {
        Some(found) if ![0, runner.owner.0].contains(&found.attributes.user) => {
            let (file, runner) = (found.attributes.user, runner.owner);
            return Err(blocked(format!("its `.env` belongs to uid {file}, the runner to uid {runner}")));
        }
        Some(found) => found.attributes,
        None => {
            let stat = rustix::fs::fstat(&root).map_err(|error| unopened(error.into()))?;
            FileAttributes { user: stat.st_uid, group: stat.st_gid, mode: 0o644 }
        }
    };
    let record: Option<WiringRecord> =
        state.load(RecordKind::Wired, &runner.root).map_err(|error| blocked(error.to_string()))?;
    let present = Present {
        root: &runner.root,
        env: found.as_ref().map(|found| found.bytes.as_slice()),
        record: record.as_ref(),
    };
    let edit = match verb {
        Verb::Install => {
            let chains = state.chains(&runner.root);
            wiring::wire(present, ours, &chains, &|variable, hook| hook_script::is_ours(variable, hook))
                .map_err(|error| blocked(error.to_string()))?
        }
        Verb::Uninstall => wiring::unwire(present, (unrecorded == Unrecorded::Remove).then_some(ours)),
    };
    Ok(PreparedEdit { root, found, attributes, edit })
}

/// Why an edit was not made.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The record or the chain scripts.
    #[error(transparent)]
    State(#[from] StateError),
    /// The `.env` is not the one that was examined.
    #[error("its `.env` was changed by another process meanwhile: try again")]
    Changed,
    /// The `.env` itself.
    #[error("its `.env` cannot be written: {0}")]
    Env(std::io::Error),
}

/// Whether a Listener of a runner runs, which knows the chain scripts until it is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// It does.
    Now,
    /// None runs.
    No,
}

/// Makes the planned change.
///
/// # Errors
/// [`ApplyError`]; the `.env` is then unchanged.
pub fn apply(
    verb: Verb,
    runner: &Runner,
    prepared: &PreparedEdit,
    state: &StateDir,
    listening: Listening,
) -> Result<(), ApplyError> {
    let root = &runner.root;
    if verb == Verb::Install {
        for (path, script) in &prepared.edit.chains {
            state.write_chain(root, path, script)?;
        }
        if let Some(record) = &prepared.edit.record {
            state.save(RecordKind::Wired, root, record)?;
        }
    }
    write(prepared)?;
    if verb == Verb::Uninstall {
        state.forget(RecordKind::Wired, root)?;
        if listening == Listening::No {
            state.remove_chains(root)?;
        }
    }
    Ok(())
}

fn write(prepared: &PreparedEdit) -> Result<(), ApplyError> {
    let Some(content) = &prepared.edit.content else { return Ok(()) };
    if !place::is_unchanged(&prepared.root, NAME, prepared.found.as_ref()) {
        return Err(ApplyError::Changed);
    }
    let done = match content {
        Content::Bytes(bytes) => place::replace(&prepared.root, NAME, bytes, prepared.attributes),
        Content::Gone => place::remove(&prepared.root, NAME),
    };
    done.map_err(ApplyError::Env)
}
