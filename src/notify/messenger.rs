//! The program that is told: bounded in time, with the message on its standard input, and nothing in its environment that a
//! message could change.

use crate::config::Notify;
use crate::sys::program::{Bounds, Call, ProgramError, Programs};
use std::path::PathBuf;

/// Hands over a message.
///
/// # Errors
/// When the program cannot be run, is not root's alone where we are root, takes too long, or does not exit with 0.
pub fn send(notify: &Notify, programs: &[PathBuf], message: &str) -> Result<(), ProgramError> {
    let Some((name, arguments)) = notify.command.split_first() else { return Ok(()) };
    let program = Programs(programs).find(name)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // What it prints is nobody's; what it complains of is told.
    let mut call = Call::new(program, &arguments, programs, Bounds::new(notify.timeout, 0));
    call.input = message.as_bytes();
    call.run()?.success().map(drop)
}
