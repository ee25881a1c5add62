//! Foreign programs, run within bounds.
//!
//! A program is an absolute path, or a name that is looked up in the configured directories and nowhere else; no shell is involved. Root
//! runs only programs that only root can write. A program gets an environment made here, no descriptor but its three, no blocked or
//! ignored signal, and a process group of its own; it does not outlive this process. Its time and both its outputs are bounded. However it
//! ends, the whole group is killed and reaped before the run returns.

mod child;
mod strays;
mod trust;

pub use child::{Attended, ProgramEnd, Sandbox, User};

use super::reach;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The bounds of a run.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// From its start to its end; then it is killed.
    pub time: Duration,
    /// Bytes of its standard output; a program that prints more is killed. With 0 all of it is discarded.
    pub output: usize,
    /// Bytes of its standard error; the rest is discarded.
    pub complaint: usize,
}

impl Bounds {
    /// The usual room for complaints: five hundred lines.
    pub const fn new(time: Duration, output: usize) -> Self {
        Self { time, output, complaint: 64 << 10 }
    }
}

/// Why a program gave no valid answer.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It does not exist.
    #[error("{name} is in none of {places}; install it, or add its directory to paths.programs")]
    Missing {
        /// Which.
        name: String,
        /// Where it was looked for.
        places: String,
    },
    /// It exists, but is not executable.
    #[error("{path} is not executable (mode {mode:04o}); run `chmod +x {path}`")]
    NotExecutable {
        /// Where.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// Others can change it.
    #[error("root does not run {program}: {path} {why}; run `chown root {path} && chmod go-w {path}`")]
    Untrusted {
        /// Which.
        program: String,
        /// What others can change.
        path: String,
        /// Who can change it.
        why: String,
    },
    /// It could not be started.
    #[error("`{call}` cannot be started: {source}; run it by hand to see whether its file is whole")]
    NotStarted {
        /// The command line.
        call: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("`{call}` did not end within {} s and was killed{}; run it by hand to see what it waits for", limit.as_secs_f32(), after(complaint))]
    TimedOut {
        /// The command line.
        call: String,
        /// How long it had.
        limit: Duration,
        /// Its standard error until then.
        complaint: String,
    },
    /// It printed too much.
    #[error("`{call}` printed more than {limit} bytes and was killed; ask it for less")]
    TooLong {
        /// The command line.
        call: String,
        /// How much it had.
        limit: usize,
    },
    /// It ended, but its output did not.
    #[error(
        "`{call}` ended and left a process that holds its output, which may be incomplete; make it wait for the processes it starts"
    )]
    Held {
        /// The command line.
        call: String,
    },
    /// Its attendant requested the end.
    #[error("`{call}` was ended before it was done")]
    Stopped {
        /// The command line.
        call: String,
    },
    /// It did not end with exit code 0.
    #[error("`{call}` failed ({ended}){}; run it by hand to see more", after(complaint))]
    Failed {
        /// The command line.
        call: String,
        /// Its exit code or signal.
        ended: std::process::ExitStatus,
        /// Its standard error.
        complaint: String,
    },
}

/// Standard error in a message: the beginning, on one line.
fn after(complaint: &str) -> String {
    let lines: Vec<&str> = complaint.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { String::new() } else { format!(": {}", cut(lines.join("; "), 300)) }
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate((0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
        text.push_str(" ...");
    }
    text
}

/// Where programs are.
#[derive(Debug, Clone, Copy)]
pub struct Programs<'a>(pub &'a [PathBuf]);

impl Programs<'_> {
    /// The first executable of this name, or the one at this absolute path.
    ///
    /// # Errors
    /// [`ProgramError::Missing`], [`ProgramError::NotExecutable`].
    pub fn find(&self, name: &str) -> Result<PathBuf, ProgramError> {
        let is_absolute = Path::new(name).is_absolute();
        let places = if is_absolute { &[PathBuf::from("/")][..] } else { self.0 };
        let mut refused = None;
        for path in places.iter().map(|directory| directory.join(name)) {
            let file = match reach::metadata(&path) {
                Ok(file) => file,
                Err(source) if is_absolute && reach::is_silence(&source) => {
                    return Err(ProgramError::NotStarted { call: name.to_owned(), source });
                }
                Err(_) => continue,
            };
            let mode = file.permissions().mode() & 0o7777;
            if file.is_file() && mode & 0o111 != 0 {
                return Ok(path);
            } else if file.is_file() {
                refused.get_or_insert((path.display().to_string(), mode));
            }
        }
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        Err(match refused {
            Some((path, mode)) => ProgramError::NotExecutable { path, mode },
            None => ProgramError::Missing { name: name.to_owned(), places: places.join(", ") },
        })
    }

    /// Runs a program of this name to its end.
    ///
    /// # Errors
    /// When it cannot be started; the result says how it ended.
    pub fn run(&self, name: &str, arguments: &[&str], bounds: Bounds) -> Result<ProgramRun, ProgramError> {
        Call::new(self.find(name)?, arguments, self.0, bounds).run()
    }

    /// What a program prints when it succeeds, without the white space around it.
    ///
    /// # Errors
    /// [`ProgramError`]; also when it exits with another code than 0.
    pub fn text(&self, name: &str, arguments: &[&str], bounds: Bounds) -> Result<String, ProgramError> {
        Ok(self.run(name, arguments, bounds)?.success()?.text())
    }
}

/// Checks that only root can change the file at a path and redirect the path; otherwise reports who can, and where.
///
/// # Errors
/// [`ProgramError::Untrusted`], or what cannot be looked at.
pub fn is_roots_alone(path: &Path) -> Result<(), ProgramError> {
    trust::check(path)
}

/// The directories where a program finds its user's files. Rootless engines keep their sockets in the runtime directory.
pub fn surroundings(user: u32) -> Vec<(&'static str, OsString)> {
    let Ok(Some(user)) = nix::unistd::User::from_uid(user.into()) else { return Vec::new() };
    let runtime = format!("/run/user/{}", user.uid);
    let name = || OsString::from(&user.name);
    vec![
        ("XDG_RUNTIME_DIR", runtime.into()),
        ("USER", name()),
        ("LOGNAME", name()),
        ("HOME", user.dir.into()),
    ]
}

/// A program with its arguments and environment.
#[derive(Debug)]
pub struct Call<'a> {
    program: PathBuf,
    arguments: Vec<String>,
    bounds: Bounds,
    /// Its variables; of two with one name the later counts.
    pub environment: Vec<(&'static str, OsString)>,
    /// Its standard input.
    pub input: &'a [u8],
    /// The user and directory it runs with, if not ours.
    pub confinement: Option<Sandbox<'a>>,
    /// The user it runs as, if not ours and not confined. Only root can use another user.
    pub user: Option<User>,
    /// The attendant, which may end it at any moment.
    pub attended: Option<Attended<'a>>,
}

impl Call<'_> {
    /// A call without input, whose program finds others in `directories`.
    pub fn new(program: PathBuf, arguments: &[&str], directories: &[PathBuf], bounds: Bounds) -> Self {
        let plain = [("LC_ALL", "C"), ("TERM", "dumb"), ("NO_COLOR", "1")];
        let plain = plain.into_iter().chain([("SYSTEMD_COLORS", "0"), ("SYSTEMD_PAGER", "")]);
        let mut environment: Vec<_> = plain.map(|(name, value)| (name, value.into())).collect();
        environment.push(("PATH", std::env::join_paths(directories).unwrap_or_default()));
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let (confinement, user, attended) = (None, None, None);
        Self { program, arguments, bounds, environment, input: b"", confinement, user, attended }
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it cannot be started; the result says how it ended.
    pub fn run(&self) -> Result<ProgramRun, ProgramError> {
        let is_roots = self.user.is_none_or(|user| user.id.0 == 0) && self.confinement.is_none();
        if super::process::is_root() && is_roots {
            trust::check(&self.program)?;
        }
        match child::run(self) {
            Ok((end, output, complaint)) => {
                let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
                Ok(ProgramRun { call: self.line(), bounds: self.bounds, end, output, complaint })
            }
            Err(source) => Err(ProgramError::NotStarted { call: self.line(), source }),
        }
    }

    /// The command line, for people.
    fn line(&self) -> String {
        let words: Vec<_> = self.arguments.iter().map(|word| format!(" {word}")).collect();
        cut(self.program.display().to_string() + &words.concat(), 200)
    }
}

/// The result of a call.
#[derive(Debug)]
pub struct ProgramRun {
    call: String,
    bounds: Bounds,
    /// How it ended.
    pub end: ProgramEnd,
    /// What was read of its standard output.
    pub output: Vec<u8>,
    /// What was kept of its standard error.
    pub complaint: String,
}

impl ProgramRun {
    /// It exited with 0.
    pub fn is_success(&self) -> bool {
        matches!(self.end, ProgramEnd::Itself(status) if status.success())
    }

    /// Its exit code, when it exited by itself.
    pub fn code(&self) -> Option<i32> {
        match self.end {
            ProgramEnd::Itself(status) => status.code(),
            _ => None,
        }
    }

    /// Its output, without the white space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).trim().to_owned()
    }

    /// The same when it ended by itself, with any code, and its output is complete.
    ///
    /// # Errors
    /// Why it did not.
    pub fn ended(self) -> Result<Self, ProgramError> {
        let (call, Bounds { time, output, .. }) = (self.call.clone(), self.bounds);
        match self.end {
            ProgramEnd::Itself(_) => Ok(self),
            ProgramEnd::Held(_) => Err(ProgramError::Held { call }),
            ProgramEnd::TooLong => Err(ProgramError::TooLong { call, limit: output }),
            ProgramEnd::Stopped => Err(ProgramError::Stopped { call }),
            ProgramEnd::TimedOut => {
                Err(ProgramError::TimedOut { call, limit: time, complaint: self.complaint })
            }
        }
    }

    /// The same when it has also exited with 0.
    ///
    /// # Errors
    /// Why it did not.
    pub fn success(self) -> Result<Self, ProgramError> {
        match self.end {
            ProgramEnd::Itself(ended) if !ended.success() => {
                Err(ProgramError::Failed { call: self.call, ended, complaint: self.complaint })
            }
            _ => self.ended(),
        }
    }
}

#[cfg(test)]
mod tests;
