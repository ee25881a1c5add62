//! The standard streams of a command. A reader that goes away ends the output quietly; any other failure of standard output is reported
//! on standard error, and the command then fails.

use super::escape;
use super::exit::Exit;
use super::human::Screen;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};

/// The state of standard output, one for the whole process.
static STATE: AtomicU8 = AtomicU8::new(WHOLE);
const WHOLE: u8 = 0;
const NOBODY_READS: u8 = 1;
const FAILED: u8 = 2;

/// The message of a standard output that fails.
pub const UNWRITTEN: &str = "standard output cannot be written";

/// An error for a person, on standard error. Each line is escaped, since it may quote names from disk.
pub fn complain(error: &dyn Display) {
    let mut out = io::stderr().lock();
    for (number, line) in error.to_string().lines().enumerate() {
        let prefix = if number == 0 { "disk-guard: " } else { "" };
        // If this fails there is no other place for the message.
        let _ = writeln!(out, "{prefix}{}", escape::log_line(line));
    }
}

/// Text for people on standard output. A step of a job may run the command as well, so unless a terminal reads it, each line is escaped
/// so that the runner does not take it for a workflow command.
pub fn show(screen: &Screen, text: &str) {
    if screen.has_colour() {
        return print(text);
    }
    let lines: String = text.lines().map(|line| escape::log_line(line) + "\n").collect();
    print(&lines);
}

/// Text on standard output as it is.
pub fn print(text: &str) {
    if STATE.load(Ordering::Relaxed) != WHOLE {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            STATE.store(NOBODY_READS, Ordering::Relaxed);
        } else {
            STATE.store(FAILED, Ordering::Relaxed);
            complain(&format_args!("{UNWRITTEN}: {error}"));
        }
    }
}

/// Whether printing more has no effect.
pub fn is_over() -> bool {
    STATE.load(Ordering::Relaxed) != WHOLE
}

/// The exit code of a command: output that could not be printed is an error.
pub fn ended(exit: Exit) -> Exit {
    if STATE.load(Ordering::Relaxed) == FAILED { Exit::Error } else { exit }
}
