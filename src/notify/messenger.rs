//! Runs the administrator's program: bounded in time, with the message on its standard input, and nothing in its environment that a
//! message could change.

use crate::config::Notify;
use crate::sys::program::{Bounds, Call, ProgramError, Programs};
use std::path::PathBuf;

/// Runs the program with a message.
///
/// # Errors
/// The program cannot be run, takes too long, or does not exit with 0; or others than root can write it and this process is root's.
pub fn send(notify: &Notify, programs: &[PathBuf], message: &str) -> Result<(), ProgramError> {
    let Some((name, arguments)) = notify.command.split_first() else { return Ok(()) };
    let program = Programs(programs).find(name)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Its standard output is dropped; its standard error is reported.
    let mut call = Call::new(program, &arguments, programs, Bounds::new(notify.timeout, 0));
    call.input = message.as_bytes();
    call.run()?.success().map(drop)
}
