//! Running the tools that list and delete.
//!
//! A tool is found by its absolute path or in the configured directories, never by a variable. It gets an environment of our
//! making, no standard input but what we hand it, and a process group of its own. Its output is bounded; when its time is over,
//! or its output too long, the whole group is killed. No shell is involved on this side.
//!
//! Root runs only what root alone can write: the program and every directory above it.

use crate::sys::dir::Dir;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// An answer that is longer is none: ten thousand pods take a third of it.
pub const MAX_OUTPUT: u64 = 256 << 20;

/// How much of a complaint is kept.
const MAX_COMPLAINT: u64 = 16 << 10;

/// How long the end of the output is waited for once the program itself has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// How long before the first and between later looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(2);

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there.
    #[error(
        "{name} is in none of {places}; name it by its absolute path in `command`, or add its directory to paths.programs"
    )]
    Missing {
        /// Which.
        name: String,
        /// Where it was looked for.
        places: String,
    },
    /// Others can change it.
    #[error(
        "root does not run {program}: {path} {why}; run `chown root {path} && chmod go-w {path}`, or name another program in `command`"
    )]
    Untrusted {
        /// Which.
        program: String,
        /// What others can change.
        path: String,
        /// Who.
        why: String,
    },
    /// It could not be run.
    #[error("{program} cannot be run: {source}")]
    Failed {
        /// Which.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long, and was ended.
    #[error("`{call}` did not end within {} s and was killed; raise `timeout` if it needs longer", limit.as_secs_f32())]
    TimedOut {
        /// The command line.
        call: String,
        /// How long it had.
        limit: Duration,
    },
    /// It printed too much, and was ended.
    #[error("`{call}` printed more than {} MiB and was killed", MAX_OUTPUT >> 20)]
    TooLong {
        /// The command line.
        call: String,
    },
    /// It exited with another code than 0.
    #[error("`{call}` failed: {complaint}")]
    Refused {
        /// The command line.
        call: String,
        /// What it said, or how it ended.
        complaint: String,
    },
}

/// A tool with its first arguments, and how long each call may take.
#[derive(Debug, Clone)]
pub struct Tool {
    command: Vec<String>,
    directories: Vec<PathBuf>,
    timeout: Duration,
}

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// It exited with 0.
    pub is_success: bool,
    /// Its standard output.
    pub output: Vec<u8>,
    /// What it complained of, or how it ended.
    pub complaint: String,
}

impl Tool {
    /// `command` is never empty; its first word is a path, or a name that is looked up in `directories`.
    pub fn new(command: &[String], directories: &[PathBuf], timeout: Duration) -> Self {
        Self { command: command.to_vec(), directories: directories.to_vec(), timeout }
    }

    /// Its standard output, when it succeeds.
    ///
    /// # Errors
    /// [`ProgramError`]; also when it exits with another code than 0.
    pub fn output(&self, arguments: &[&str]) -> Result<Vec<u8>, ProgramError> {
        let said = self.run(arguments, b"")?;
        if said.is_success {
            Ok(said.output)
        } else {
            Err(ProgramError::Refused { call: self.call(arguments), complaint: said.complaint })
        }
    }

    /// The same with something to read on its standard input.
    ///
    /// # Errors
    /// As [`Tool::output`].
    pub fn output_of(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, ProgramError> {
        let said = self.run(arguments, input)?;
        if said.is_success {
            Ok(said.output)
        } else {
            Err(ProgramError::Refused { call: self.call(arguments), complaint: said.complaint })
        }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// [`ProgramError`]; a program that exits with another code than 0 is no error here.
    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Said, ProgramError> {
        let path = self.find()?;
        let failed = |source| ProgramError::Failed { program: path.display().to_string(), source };
        let mut command = Command::new(&path);
        command.args(&self.command[1..]).args(arguments);
        command.env_clear().envs(self.environment()).current_dir("/").process_group(0);
        command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let group = Pid::from_raw(child.id() as i32);
        if let Some(mut pipe) = child.stdin.take() {
            let input = input.to_vec();
            // One that does not read it is not waited for: the group's end closes the pipe.
            std::thread::spawn(move || pipe.write_all(&input));
        }
        let output = child.stdout.take().map(|pipe| read_all(pipe, MAX_OUTPUT));
        let complaint = child.stderr.take().map(|pipe| read_all(pipe, MAX_COMPLAINT));
        let ended = await_end(group, Instant::now() + self.timeout, output.as_ref());
        if !matches!(ended, Ended::Itself) {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let bytes = |reader: Option<Reader>| reader.map(|reader| reader.finish(DRAIN)).unwrap_or_default();
        let (output, complaint) = (bytes(output), bytes(complaint));
        // Whoever it left behind goes with it. Until it is waited for its number is nobody else's.
        let _ = killpg(group, Signal::SIGKILL);
        let status = child.wait().map_err(failed)?;
        let call = || self.call(arguments);
        match ended {
            Ended::Overdue => return Err(ProgramError::TimedOut { call: call(), limit: self.timeout }),
            Ended::TooLong => return Err(ProgramError::TooLong { call: call() }),
            Ended::Itself if output.is_cut => return Err(ProgramError::TooLong { call: call() }),
            // Somebody still holds its output: what was read may not be all of it.
            Ended::Itself if !output.is_whole => {
                return Err(ProgramError::TimedOut { call: call(), limit: self.timeout });
            }
            Ended::Itself => {}
        }
        let text = String::from_utf8_lossy(&complaint.bytes).trim().to_owned();
        let complaint = match (status.success(), text.is_empty()) {
            (true, _) => text,
            (false, true) => status.to_string(),
            (false, false) => format!("{text} ({status})"),
        };
        Ok(Said { is_success: status.success(), output: output.bytes, complaint })
    }

    /// The command line, for people.
    fn call(&self, arguments: &[&str]) -> String {
        let words = self.command.iter().map(String::as_str).chain(arguments.iter().copied());
        let mut line: String = words.collect::<Vec<_>>().join(" ");
        if line.len() > 200 {
            let end = (0..=200).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
            line.truncate(end);
            line.push_str(" ...");
        }
        line
    }

    /// The first word's file, trusted.
    fn find(&self) -> Result<PathBuf, ProgramError> {
        let name = &self.command[0];
        let is_executable = |path: &PathBuf| {
            std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        let candidates = if Path::new(name).is_absolute() {
            vec![PathBuf::from(name)]
        } else {
            self.directories.iter().map(|directory| directory.join(name)).collect()
        };
        let found = candidates.into_iter().find(is_executable).ok_or_else(|| {
            let places: Vec<String> =
                self.directories.iter().map(|directory| directory.display().to_string()).collect();
            ProgramError::Missing { name: name.clone(), places: places.join(", ") }
        })?;
        if nix::unistd::geteuid().is_root() {
            trust(&found)?;
        }
        Ok(found)
    }

    /// What tools need to find their own files, and nothing of ours.
    fn environment(&self) -> Vec<(OsString, OsString)> {
        let path = std::env::join_paths(&self.directories).unwrap_or_default();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        let mut all: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), path),
            ("LC_ALL".into(), "C".into()),
            ("TERM".into(), "dumb".into()),
            ("NO_COLOR".into(), "1".into()),
        ];
        if let Some(user) = user {
            // Rootless engines keep their sockets and files there.
            all.push(("XDG_RUNTIME_DIR".into(), format!("/run/user/{}", user.uid).into()));
            all.push(("HOME".into(), user.dir.into()));
            all.push(("USER".into(), user.name.clone().into()));
            all.push(("LOGNAME".into(), user.name.into()));
        }
        all
    }
}

/// Links to a program are followed no further.
const MAX_LINKS: usize = 16;

/// Root runs what nobody else can change: the file behind the path, and every directory that leads to it, link by link.
fn trust(path: &Path) -> Result<(), ProgramError> {
    let failed = |source| ProgramError::Failed { program: path.display().to_string(), source };
    let mut at = path.to_owned();
    for _ in 0..MAX_LINKS {
        trust_chain(path, &at)?;
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { break };
        // The directory without links: those that led to it have been looked at above.
        let (_, real) = Dir::resolve(parent).map_err(failed)?;
        trust_chain(path, &real)?;
        match std::fs::read_link(&at) {
            Ok(target) => at = real.join(target),
            Err(_) => return trust_chain(path, &real.join(name)),
        }
    }
    Err(failed(io::Error::from_raw_os_error(nix::libc::ELOOP)))
}

fn trust_chain(program: &Path, path: &Path) -> Result<(), ProgramError> {
    let program = || program.display().to_string();
    for at in path.ancestors() {
        let untrusted =
            |why| ProgramError::Untrusted { program: program(), path: at.display().to_string(), why };
        let metadata =
            std::fs::metadata(at).map_err(|source| ProgramError::Failed { program: program(), source })?;
        let is_sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        if metadata.uid() != 0 {
            return Err(untrusted(format!("is owned by uid {}", metadata.uid())));
        }
        if metadata.mode() & 0o022 != 0 && !is_sticky {
            let mode = metadata.mode() & 0o7777;
            return Err(untrusted(format!("can be written by others (mode {mode:04o})")));
        }
    }
    Ok(())
}

/// How a program's run came to its end.
enum Ended {
    Itself,
    Overdue,
    TooLong,
}

/// Waits without reaping: until then the process group's number is its own.
fn await_end(group: Pid, deadline: Instant, output: Option<&Reader>) -> Ended {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    let mut pause = LOOK;
    loop {
        match waitid(Id::Pid(group), flags) {
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR) => {}
            _ => return Ended::Itself,
        }
        if output.is_some_and(Reader::is_cut) {
            return Ended::TooLong;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ended::Overdue;
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// What was read of a pipe.
#[derive(Debug, Default)]
struct Piped {
    bytes: Vec<u8>,
    is_cut: bool,
    is_whole: bool,
}

/// A thread that reads a pipe to its end.
struct Reader {
    receiver: Receiver<(Vec<u8>, bool)>,
    is_cut: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Reader {
    fn is_cut(&self) -> bool {
        self.is_cut.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn finish(self, patience: Duration) -> Piped {
        match self.receiver.recv_timeout(patience) {
            Ok((bytes, is_cut)) => Piped { bytes, is_cut, is_whole: !is_cut },
            Err(_) => Piped::default(),
        }
    }
}

fn read_all(mut pipe: impl Read + Send + 'static, limit: u64) -> Reader {
    let (sender, receiver) = channel();
    let is_cut = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&is_cut);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = (&mut pipe).take(limit).read_to_end(&mut bytes);
        let more = bytes.len() as u64 >= limit && pipe.read(&mut [0]).unwrap_or(0) > 0;
        flag.store(more, std::sync::atomic::Ordering::Relaxed);
        let _ = sender.send((bytes, more));
        // A writer that is not read blocks, or is told that its pipe is broken; for complaints that would change how it ends.
        let _ = io::copy(&mut pipe, &mut io::sink());
    });
    Reader { receiver, is_cut }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
