//! A store's tool: a command of the configuration, run as the store's owner.

use crate::sys::program::{Attended, Bounds, Call, ProgramError, Programs, User, surroundings};
use nix::unistd::geteuid;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a tool may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A longer answer is an error: some thousand images take a third of it.
const MAX_ANSWER: usize = 32 << 20;

/// A tool with its first arguments, its user and its variables.
#[derive(Debug, Clone)]
pub struct StoreTool {
    /// Never empty; its first word is a path, or a name that is looked up.
    pub command: Vec<String>,
    /// Where programs are looked up.
    pub directories: Vec<PathBuf>,
    /// The user it runs as, if not ours.
    pub user: Option<User>,
    /// The home of a user that the system does not know, as containers leave them; many tools do nothing without one.
    pub home: PathBuf,
    /// The environment that it needs for its store.
    pub environment: Vec<(&'static str, OsString)>,
}

/// The time of one collection.
#[derive(Debug, Clone, Copy)]
pub struct CollectionTime<'a> {
    /// When it has to be over.
    pub until: Instant,
    /// Asked while it runs whether it has to end.
    pub attended: Attended<'a>,
}

impl CollectionTime<'_> {
    /// Whether it is over, before anything more is begun.
    ///
    /// # Errors
    /// [`ProgramError::Stopped`], [`ProgramError::TimedOut`].
    pub fn goes_on(&self, call: &str) -> Result<(), ProgramError> {
        if (self.attended.0)() {
            return Err(ProgramError::Stopped { call: call.to_owned() });
        }
        match self.left() {
            Duration::ZERO => Err(ProgramError::TimedOut {
                call: call.to_owned(),
                limit: Duration::ZERO,
                complaint: String::new(),
            }),
            _ => Ok(()),
        }
    }

    fn left(&self) -> Duration {
        // Tenths of a second, up: people read it.
        let left = self.until.saturating_duration_since(Instant::now());
        Duration::from_millis(u64::try_from(left.as_millis().div_ceil(100) * 100).unwrap_or(u64::MAX))
    }
}

impl StoreTool {
    /// Whether it can be run at all: it exists, and only permitted users can change it.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn check(&self) -> Result<(), ProgramError> {
        let program = Programs(&self.directories).find(&self.command[0])?;
        let is_roots = crate::sys::process::is_root() && self.user.is_none_or(|user| user.id.0 == 0);
        if is_roots { crate::sys::program::is_roots_alone(&program) } else { Ok(()) }
    }

    /// Its output when it succeeds.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn ask(&self, arguments: &[&str]) -> Result<String, ProgramError> {
        let call = self.call(arguments, Bounds::new(PATIENCE, MAX_ANSWER))?;
        Ok(call.run()?.success()?.text())
    }

    /// Makes it collect: to its end, the turn's, or the beginning of a job. Its output is discarded.
    ///
    /// # Errors
    /// [`ProgramError`]; [`ProgramError::Stopped`] where a job came.
    pub fn collect(&self, arguments: &[&str], turn: &CollectionTime<'_>) -> Result<(), ProgramError> {
        turn.goes_on(&self.command[0])?;
        let mut call = self.call(arguments, Bounds::new(turn.left(), 0))?;
        call.attended = Some(turn.attended);
        call.run()?.success().map(drop)
    }

    fn call(&self, arguments: &[&str], bounds: Bounds) -> Result<Call<'static>, ProgramError> {
        let program = Programs(&self.directories).find(&self.command[0])?;
        let words: Vec<&str> =
            self.command[1..].iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        let mut call = Call::new(program, &words, &self.directories, bounds);
        let user = self.user.map_or_else(|| geteuid().as_raw(), |user| user.id.0);
        call.environment.push(("HOME", self.home.clone().into()));
        call.environment.extend(surroundings(user));
        call.environment.extend(self.environment.iter().cloned());
        call.user = self.user;
        Ok(call)
    }
}

/// The advice about it, by the entry's own settings.
pub fn remedy(error: &ProgramError) -> &'static str {
    match error {
        ProgramError::Missing { .. } => ", or name it by its absolute path in `command`",
        ProgramError::NotExecutable { .. } | ProgramError::Untrusted { .. } => {
            ", or name another program in `command`"
        }
        ProgramError::TimedOut { .. } => ", or raise `timeout`",
        _ => "",
    }
}
