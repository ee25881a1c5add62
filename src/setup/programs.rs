//! The system's programs: looked up by absolute path in configured directories, run with an environment of our making, for
//! a bounded time.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// No program of ours takes longer; `systemctl stop` of a runner waits for its Listener.
const LIMIT: Duration = Duration::from_secs(90);

/// How much of what a program prints is kept.
const MAX_OUTPUT: u64 = 64 * 1024;

/// How long a program may take, and how much of what it prints is kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Then it is ended.
    pub time: Duration,
    /// Bytes.
    pub output: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { time: LIMIT, output: MAX_OUTPUT }
    }
}

/// Where programs are.
#[derive(Debug, Clone, Copy)]
pub struct Programs<'a>(pub &'a [PathBuf]);

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// It exited with 0.
    pub is_success: bool,
    /// Its standard output.
    pub output: String,
    /// What it complained of, or how it ended.
    pub complaint: String,
}

/// Why a program said nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there.
    #[error("{0} is in none of the directories of paths.programs")]
    Missing(String),
    /// It could not be run.
    #[error("{program} cannot be run: {source}")]
    Failed {
        /// Which.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took too long, and was ended.
    #[error("{program} did not end within {} s", limit.as_secs())]
    TimedOut {
        /// Which.
        program: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

impl Programs<'_> {
    /// The first executable of this name.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let is_executable = |path: &PathBuf| {
            std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        self.0.iter().map(|directory| directory.join(name)).find(is_executable)
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// [`ProgramError`]; a program that exits with another code than 0 is no error here.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<Said, ProgramError> {
        self.run_within(name, arguments, Bounds::default())
    }

    /// The same, for a program of which more or less is expected. An answer of `bounds.output` bytes may have been cut.
    ///
    /// # Errors
    /// [`ProgramError`]; a program that exits with another code than 0 is no error here.
    pub fn run_within(&self, name: &str, arguments: &[&str], bounds: Bounds) -> Result<Said, ProgramError> {
        let path = self.find(name).ok_or_else(|| ProgramError::Missing(name.to_owned()))?;
        run(&path, arguments, self.0, bounds)
    }
}

fn run(
    path: &Path,
    arguments: &[&str],
    directories: &[PathBuf],
    bounds: Bounds,
) -> Result<Said, ProgramError> {
    let program = || path.display().to_string();
    let failed = |source| ProgramError::Failed { program: program(), source };
    let search = std::env::join_paths(directories).unwrap_or_default();
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .env("PATH", search)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .env("SYSTEMD_PAGER", "")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let output = child.stdout.take().map(|pipe| read_all(pipe, bounds.output));
    let complaint = child.stderr.take().map(|pipe| read_all(pipe, MAX_OUTPUT));
    let deadline = Instant::now() + bounds.time;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(ProgramError::TimedOut { program: program(), limit: bounds.time });
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |reader: Option<std::sync::mpsc::Receiver<Vec<u8>>>| {
        // A grandchild that keeps the pipe open is not waited for.
        let bytes =
            reader.and_then(|reader| reader.recv_timeout(Duration::from_secs(1)).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    };
    let (output, mut complaint) = (text(output), text(complaint));
    if !status.success() && complaint.is_empty() {
        complaint = status.to_string();
    }
    Ok(Said { is_success: status.success(), output, complaint })
}

fn read_all(pipe: impl std::io::Read + Send + 'static, limit: u64) -> std::sync::mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.take(limit).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_directory_and_run_without_our_environment() {
        let directories = [PathBuf::from("/nonexistent"), "/usr/bin".into(), "/bin".into()];
        let programs = Programs(&directories);
        let said = programs.run("env", &[]).unwrap();
        assert!(said.is_success && said.output.contains("LC_ALL=C"), "{said:?}");
        assert!(!said.output.contains("CARGO"), "{said:?}");
        let said = programs.run("sh", &["-c", "echo no >&2; exit 3"]).unwrap();
        assert_eq!((said.is_success, said.complaint.as_str()), (false, "no"));
        assert!(matches!(programs.run("no-such-program", &[]), Err(ProgramError::Missing(_))));
    }
}
