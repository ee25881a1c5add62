//! The tools that list and delete environments, one file each, behind one trait.
//!
//! A source reports what it sees and nothing more: which of it is leaked is decided elsewhere. An unrecognised environment is listed as
//! [`EnvironmentState::Unknown`](crate::model::reap::EnvironmentState::Unknown); a listing that cannot be parsed as a whole, or is
//! incomplete, is an error.

pub(crate) mod command;
pub(crate) mod containers;
pub(crate) mod kubernetes;
pub(crate) mod libvirt;
pub(crate) mod lima;
pub(crate) mod tart;

use super::program::{Tool, remedy};
use crate::model::reap::{Environment, EnvironmentKind, Pattern, ReapRule, Stays};
use crate::sys::program::ProgramError;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::SystemTime;

/// Why a source could not list or delete.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Its program failed.
    #[error("{}{}", .0, remedy(.0))]
    Program(#[from] ProgramError),
    /// Its answer has an unexpected form.
    #[error("the answer of `{call}` cannot be understood: {why}")]
    NotUnderstood {
        /// What was called.
        call: String,
        /// The problem.
        why: String,
    },
    /// Its answer is incomplete.
    #[error("the listing is not complete: {0}")]
    Partial(String),
    /// A configured file cannot be read or trusted.
    #[error("the snapshot {path} cannot be used: {why}")]
    Snapshot {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// The environment cannot be deleted safely.
    #[error("{0}")]
    Refused(String),
}

/// The reason against deleting a running one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// Something works in it; what.
    Works(String),
    /// It is unknown; why.
    CannotTell(String),
}

impl Objection {
    /// Whether something works in it.
    pub fn is_work(self) -> bool {
        matches!(self, Self::Works(_))
    }
}

impl From<Objection> for Stays {
    fn from(objection: Objection) -> Self {
        match objection {
            Objection::Works(what) => Self::Claimed(what),
            Objection::CannotTell(why) => Self::Unproven(why),
        }
    }
}

/// Lists and deletes environments.
pub trait EnvironmentSource {
    /// All environments, in any state.
    ///
    /// # Errors
    /// [`SourceError`]: nothing may be concluded then, not even that something is gone.
    fn list(&self, now: SystemTime) -> Result<Vec<Environment>, SourceError>;

    /// What is deleted together with an environment, for people.
    ///
    /// # Errors
    /// [`SourceError`].
    fn holdings(&self, environment: &Environment) -> Result<Vec<String>, SourceError> {
        Ok(environment.holds.clone())
    }

    /// The reason against deleting one that is [idle](crate::model::reap::EnvironmentState::Idle), asked of itself only.
    fn objection(&self, _: &Environment) -> Option<Objection> {
        Some(Objection::CannotTell("whether anything works in it cannot be asked".to_owned()))
    }

    /// Remarks for people about those that `match` matches, whatever happens to them.
    fn remarks(&self, _: &[&Environment], _: SystemTime) -> Vec<String> {
        Vec::new()
    }

    /// Deletes it, and refuses when it is running, if the tool can do that.
    ///
    /// # Errors
    /// [`SourceError`].
    fn delete(&self, environment: &Environment) -> Result<(), SourceError>;
}

/// The source of an entry.
pub fn of(rule: &ReapRule, programs: &[PathBuf]) -> Box<dyn EnvironmentSource> {
    let tool = Tool::new(&rule.command, programs, rule.timeout);
    match rule.kind {
        EnvironmentKind::Tart => Box::new(tart::Tart::new(tool)),
        EnvironmentKind::Docker | EnvironmentKind::Podman => {
            let wants_images = rule.matches.iter().any(Pattern::is_of_images);
            let listing =
                if wants_images { containers::Listing::WithImages } else { containers::Listing::Containers };
            Box::new(containers::Containers::new(tool, listing))
        }
        EnvironmentKind::Libvirt => Box::new(libvirt::Libvirt::new(tool)),
        EnvironmentKind::Lima => Box::new(lima::Lima::new(tool)),
        EnvironmentKind::Kubernetes => Box::new(kubernetes::Kubernetes::new(tool, rule)),
        EnvironmentKind::Command => Box::new(command::CommandSource::new(tool)),
    }
}

/// No id occurs twice: such environments cannot be distinguished.
///
/// # Errors
/// The one that does.
pub fn distinct(listing: &[Environment]) -> Result<(), SourceError> {
    let mut ids = HashSet::new();
    match listing.iter().find(|environment| !ids.insert(environment.id.as_str())) {
        None => Ok(()),
        Some(twice) => Err(SourceError::Partial(format!("{} is in it twice", twice.id))),
    }
}

/// A JSON document, whole.
fn json<T: DeserializeOwned>(call: &str, bytes: &[u8]) -> Result<T, SourceError> {
    serde_json::from_slice(bytes).map_err(|error| not_understood(call, error))
}

fn not_understood(call: &str, why: impl std::fmt::Display) -> SourceError {
    SourceError::NotUnderstood { call: call.to_owned(), why: why.to_string() }
}

/// An RFC 3339 time; none for the zero time of Go programs.
fn time(text: &str) -> Option<SystemTime> {
    let time: jiff::Timestamp = text.parse().ok()?;
    (!text.starts_with("0001-01-01")).then(|| SystemTime::from(time))
}
