//! What a verb prints, and what became of it: a reader that went away ends it quietly, any other failure of standard output is
//! told and is the verb's failure.

use super::Context;
use crate::report::exit::Exit;
use crate::report::human::Screen;
use crate::setup::place;
use crate::text::escape;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

/// One word for the whole process: standard output is one, too.
static STATE: AtomicU8 = AtomicU8::new(WHOLE);
const WHOLE: u8 = 0;
const NOBODY_READS: u8 = 1;
const FAILED: u8 = 2;

/// An error for a person, on standard error; each line escaped, for it may quote names from disk.
pub(super) fn complain(error: &dyn Display) {
    let mut out = io::stderr().lock();
    for (number, line) in error.to_string().lines().enumerate() {
        let prefix = if number == 0 { "disk-guard: " } else { "" };
        // Nobody is left to tell when this fails.
        let _ = writeln!(out, "{prefix}{}", escape::log_line(line));
    }
}

/// Text for people on standard output. A step of a job may run us as well: where it is not a terminal that reads, no line
/// is one that the runner would obey.
pub(super) fn show(screen: &Screen, text: &str) {
    if screen.has_colour() {
        return print(text);
    }
    let lines: String = text.lines().map(|line| escape::log_line(line) + "\n").collect();
    print(&lines);
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One document for programs.
    Json,
}

impl Format {
    /// By the option `--json`.
    pub(super) fn of(is_json: bool) -> Self {
        if is_json { Self::Json } else { Self::Text }
    }
}

/// The answer of a command: its document, or its text for people.
pub(super) fn present(
    screen: &Screen,
    format: Format,
    document: impl FnOnce() -> String,
    text: impl FnOnce() -> String,
) {
    if format == Format::Json { print(&document()) } else { show(screen, &text()) }
}

/// How the answer of a verb is printed that can draw a page.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnswerForm<'a> {
    /// As text or as a document.
    Plain(Format),
    /// As one page for a browser, to this file.
    Page(&'a Path),
}

impl<'a> AnswerForm<'a> {
    pub(super) fn of(format: Format, page: Option<&'a Path>) -> Self {
        match page {
            Some(file) => Self::Page(file),
            None => Self::Plain(format),
        }
    }

    pub(super) fn print(
        self,
        context: &Context,
        document: impl FnOnce() -> String,
        text: impl FnOnce() -> String,
        page: impl FnOnce() -> String,
    ) -> Exit {
        match self {
            Self::Page(file) => return write_page(file, &page()),
            Self::Plain(format) => present(&context.screen, format, document, text),
        }
        Exit::Done
    }
}

/// A page for a browser: written to `file`, or printed where that is `-`.
pub(super) fn write_page(file: &Path, page: &str) -> Exit {
    if file == Path::new("-") {
        print(page);
        return Exit::Done;
    }
    match place::replace_at(file, page.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(&format_args!("{} cannot be written: {error}", file.display()));
            Exit::Error
        }
    }
}

/// What is said when it cannot be.
pub(super) const UNWRITTEN: &str = "standard output cannot be written";

/// A document on standard output.
pub(super) fn print(text: &str) {
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

/// Whether there is any use in printing more.
pub(super) fn is_over() -> bool {
    STATE.load(Ordering::Relaxed) != WHOLE
}

/// How a verb ends: what it could not print, it has not done.
pub(super) fn ended(exit: Exit) -> Exit {
    if STATE.load(Ordering::Relaxed) == FAILED { Exit::Error } else { exit }
}
