//! What `install` and `uninstall` did, or would do.

use crate::as_json::{self, outcomes};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;
use strum::IntoStaticStr;

/// The result of `install` or `uninstall`.
#[derive(Debug, Clone, Default)]
pub struct SetupReport {
    /// `install` or `uninstall`.
    pub verb: &'static str,
    /// True when nothing was touched.
    pub dry_run: bool,
    /// Whether the program is removed after this, so that no further command of it can be suggested.
    pub is_last: bool,
    /// Runner by runner.
    pub runners: Vec<SetupRunner>,
    /// Commands, in order.
    pub commands: Vec<SetupCommand>,
    /// Remarks for people.
    pub notes: Vec<String>,
}

impl SetupReport {
    /// Whether everything was done, or would be.
    pub fn is_whole(&self) -> bool {
        let stuck = |runner: &SetupRunner| {
            matches!(runner.outcome, SetupOutcome::Blocked(_) | SetupOutcome::Failed(_))
        };
        !self.runners.iter().any(stuck)
            && !self.commands.iter().any(|command| matches!(command.outcome, CommandOutcome::Failed(_)))
    }

    /// The results of all runners in one line.
    pub fn summary(&self) -> String {
        let done = if self.verb == "install" { "wired" } else { "put back" };
        let words = [
            ("planned", "to be changed"),
            ("changed", done),
            ("unchanged", "as they should be"),
            ("not-ours", "of other users"),
            ("blocked", "blocked"),
            ("failed", "failed"),
        ];
        let counted = words.into_iter().filter_map(|(outcome, word)| {
            let count = self.runners.iter().filter(|runner| runner.outcome.as_str() == outcome).count();
            (count > 0).then(|| format!("{count} {word}"))
        });
        let counted: Vec<String> = counted.collect();
        match self.runners.len() {
            0 => "no runner".into(),
            1 => format!("1 runner: {}", counted.join(", ")),
            all => format!("{all} runners: {}", counted.join(", ")),
        }
    }

    /// The remaining command, and its purpose.
    pub fn next(&self) -> Option<(String, String)> {
        let verb = format!("disk-guard {}", self.verb);
        if self.is_last {
            return None;
        }
        if !self.is_whole() {
            return Some((verb, "again, once the obstacle above is removed".into()));
        }
        let is_restart = |command: &&SetupCommand| {
            command.outcome == CommandOutcome::ForYou
                && command.words.starts_with(&["systemctl".into(), "restart".into()])
        };
        let restarts = match self.commands.iter().filter(is_restart).count() {
            0 => None,
            1 => Some(
                "restarts the Listener that does not know the change yet, when its runner is idle".to_owned(),
            ),
            n => Some(format!(
                "restarts the {n} Listeners that do not know the change yet, each when its runner is idle"
            )),
        };
        let is_planned = self.runners.iter().any(|runner| runner.outcome == SetupOutcome::Planned)
            || self.commands.iter().any(|command| command.outcome == CommandOutcome::Planned);
        match (restarts, self.dry_run && is_planned) {
            (Some(restarts), true) => {
                Some((format!("{verb} --restart-idle"), format!("does this, and {restarts}")))
            }
            (Some(restarts), false) => Some((format!("{verb} --restart-idle"), restarts)),
            (None, true) => Some((verb, "does this".into())),
            (None, false) if self.verb == "install" => {
                Some(("disk-guard doctor".into(), "examines whether everything is as it should be".into()))
            }
            (None, false) => None,
        }
    }
}

/// The result for one runner.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SetupRunner {
    /// Its name.
    pub name: String,
    /// Where it is.
    #[serde(with = "as_json::PathText")]
    pub root: PathBuf,
    /// The result.
    #[serde(flatten)]
    pub outcome: SetupOutcome,
    /// The lines of its `.env` that change.
    pub changes: Vec<SetupChange>,
    /// Chain scripts that are written.
    #[serde(with = "as_json::PathTexts")]
    pub chains: Vec<PathBuf>,
    /// Remarks for people.
    pub notes: Vec<String>,
}

/// The result for one runner.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum SetupOutcome {
    /// A dry run: it would change.
    Planned,
    /// Its `.env` was changed.
    Changed,
    /// Nothing had to be changed.
    Unchanged,
    /// It belongs to another user, and this process is not root; its owner.
    NotOurs(String),
    /// It cannot be changed, and nothing was; the reason.
    Blocked(String),
    /// The change failed; its `.env` is unchanged.
    Failed(String),
}

impl SetupOutcome {
    /// For JSON and people.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }

    /// The reason, if there is one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::NotOurs(reason) | Self::Blocked(reason) | Self::Failed(reason) => Some(reason),
            Self::Planned | Self::Changed | Self::Unchanged => None,
        }
    }
}

/// A changed line of a `.env`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SetupChange {
    /// Counted from 1.
    pub line: usize,
    /// The line before.
    #[serde(with = "as_json::Bytes")]
    pub removed: Option<Vec<u8>>,
    /// The line after.
    #[serde(with = "as_json::Bytes")]
    pub added: Option<Vec<u8>>,
}

/// A command.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SetupCommand {
    /// Program and arguments.
    #[serde(rename = "command")]
    pub words: Vec<String>,
    /// Its purpose.
    pub why: String,
    /// Its result.
    #[serde(flatten)]
    pub outcome: CommandOutcome,
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum CommandOutcome {
    /// A dry run: it would be run.
    Planned,
    /// It was run.
    Done,
    /// It failed; its message.
    Failed(String),
    /// A person has to run it at a suitable time.
    ForYou,
}

impl CommandOutcome {
    /// For JSON and people.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }

    /// Why it failed, if it was run.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed(why) => Some(why),
            Self::Planned | Self::Done | Self::ForYou => None,
        }
    }
}

outcomes!(SetupOutcome, CommandOutcome);
