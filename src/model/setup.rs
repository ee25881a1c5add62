//! What `install` and `uninstall` did, or would do.

use std::path::PathBuf;
use strum::IntoStaticStr;

/// The whole.
#[derive(Debug, Clone, Default)]
pub struct SetupReport {
    /// `install` or `uninstall`.
    pub verb: &'static str,
    /// True when nothing was touched.
    pub dry_run: bool,
    /// Runner by runner.
    pub runners: Vec<SetupRunner>,
    /// Commands, in order.
    pub commands: Vec<SetupCommand>,
    /// What people should know.
    pub notes: Vec<String>,
}

impl SetupReport {
    /// Whether everything that was to be done was done, or would be.
    pub fn is_whole(&self) -> bool {
        let stuck = |runner: &SetupRunner| {
            matches!(runner.outcome, SetupOutcome::Blocked(_) | SetupOutcome::Failed(_))
        };
        !self.runners.iter().any(stuck)
            && !self.commands.iter().any(|command| matches!(command.outcome, CommandOutcome::Failed(_)))
    }
}

/// One runner's part.
#[derive(Debug, Clone)]
pub struct SetupRunner {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub root: PathBuf,
    /// What became of it.
    pub outcome: SetupOutcome,
    /// The lines of its `.env` that change.
    pub changes: Vec<SetupChange>,
    /// Chain scripts that are written.
    pub chains: Vec<PathBuf>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// What became of one runner.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum SetupOutcome {
    /// A dry run: it would change.
    Planned,
    /// Its `.env` was changed.
    Changed,
    /// It was as it should be.
    Unchanged,
    /// It belongs to somebody else, and we are not root; whose it is.
    NotOurs(String),
    /// It cannot be done, and nothing of it was; why.
    Blocked(String),
    /// It was begun and failed; its `.env` is as it was.
    Failed(String),
}

impl SetupOutcome {
    /// For JSON and people.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }

    /// Why, where that is not plain.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::NotOurs(reason) | Self::Blocked(reason) | Self::Failed(reason) => Some(reason),
            Self::Planned | Self::Changed | Self::Unchanged => None,
        }
    }
}

/// A line of a `.env`: what goes, what comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupChange {
    /// Counted from 1.
    pub line: usize,
    /// The line before.
    pub removed: Option<Vec<u8>>,
    /// The line after.
    pub added: Option<Vec<u8>>,
}

/// A command.
#[derive(Debug, Clone)]
pub struct SetupCommand {
    /// Program and arguments.
    pub words: Vec<String>,
    /// What for.
    pub why: String,
    /// What became of it.
    pub outcome: CommandOutcome,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum CommandOutcome {
    /// A dry run: it would be run.
    Planned,
    /// It was run.
    Done,
    /// It failed; what it said.
    Failed(String),
    /// It is for a person to run, when the time is right.
    ForYou,
}

impl CommandOutcome {
    /// For JSON and people.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}
