//! The tools that list and delete: a command of the configuration, run as [`crate::sys::program`] runs programs, with what
//! such tools need to find their own files.

use crate::sys::program::{Bounds, Call, ProgramError, ProgramRun, Programs, surroundings};
use nix::unistd::geteuid;
use std::path::PathBuf;
use std::time::Duration;

/// A longer answer is an error: ten thousand pods take a third of it.
const MAX_OUTPUT: usize = 256 << 20;

/// A tool with its first arguments, and how long each call may take.
#[derive(Debug, Clone)]
pub struct Tool {
    command: Vec<String>,
    directories: Vec<PathBuf>,
    timeout: Duration,
}

impl Tool {
    /// `command` is never empty; its first word is a path, or a name that is looked up in `directories`.
    pub fn new(command: &[String], directories: &[PathBuf], timeout: Duration) -> Self {
        Self { command: command.to_vec(), directories: directories.to_vec(), timeout }
    }

    /// Another program, looked up and bounded like this one; `command` is never empty.
    pub fn with_command(&self, command: &[String]) -> Self {
        Self { command: command.to_vec(), ..self.clone() }
    }

    /// Its standard output, when it succeeds.
    ///
    /// # Errors
    /// [`ProgramError`]; also when it exits with another code than 0.
    pub fn output(&self, arguments: &[&str]) -> Result<Vec<u8>, ProgramError> {
        self.output_of(arguments, b"")
    }

    /// The same with something to read on its standard input.
    ///
    /// # Errors
    /// As [`Tool::output`].
    pub fn output_of(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, ProgramError> {
        Ok(self.call(arguments, input)?.success()?.output)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// [`ProgramError`]; a program that exits with another code than 0 is no error here.
    pub fn run(&self, arguments: &[&str]) -> Result<ProgramRun, ProgramError> {
        self.call(arguments, b"")?.ended()
    }

    fn call(&self, arguments: &[&str], input: &[u8]) -> Result<ProgramRun, ProgramError> {
        let program = Programs(&self.directories).find(&self.command[0])?;
        let words: Vec<&str> =
            self.command[1..].iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        let mut call = Call::new(program, &words, &self.directories, Bounds::new(self.timeout, MAX_OUTPUT));
        call.environment.extend(surroundings(geteuid().as_raw()));
        call.input = input;
        call.run()
    }
}

/// The advice about it, by the entry's own settings.
pub(super) fn remedy(error: &ProgramError) -> &'static str {
    match error {
        ProgramError::Missing { .. } => ", or name it by its absolute path in `command`",
        ProgramError::NotExecutable { .. } | ProgramError::Untrusted { .. } => {
            ", or name another program in `command`"
        }
        ProgramError::TimedOut { .. } => ", or raise `timeout`",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_gets_its_command_its_users_environment_and_the_given_arguments() {
        let tool = |command: &[&str]| {
            let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            Tool::new(&words, &["/usr/bin".into(), "/bin".into()], Duration::from_secs(60))
        };
        let text = String::from_utf8(tool(&["env"]).output(&[]).unwrap()).unwrap();
        assert!(text.contains("HOME=/") && text.contains("XDG_RUNTIME_DIR=/run/user/"), "{text}");
        assert_eq!(tool(&["printf", "%s|"]).output(&["$HOME", "a b"]).unwrap(), b"$HOME|a b|");
        assert_eq!(tool(&["cat"]).output_of(&[], b"given").unwrap(), b"given");
        let fails = tool(&["sh", "-c", "echo [] && exit 3"]);
        assert!(!fails.run(&[]).unwrap().is_success());
        assert!(matches!(fails.output(&[]), Err(ProgramError::Failed { .. })));
        let error = tool(&["no-such-tool"]).output(&[]).unwrap_err();
        assert!(remedy(&error).contains("`command`"), "{error}");
    }
}
