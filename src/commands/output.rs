//! The forms in which a verb prints its answer.

use super::Context;
use crate::report::exit::Exit;
use crate::report::human::Screen;
use crate::report::stream::{complain, print, show};
use crate::setup::place;
use std::path::Path;

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

/// How a verb that can also write a page prints its answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnswerForm<'a> {
    /// As text or as a document.
    Plain(Format),
    /// As one page for a browser, to this file.
    Page(&'a Path),
}

impl<'a> AnswerForm<'a> {
    pub(super) fn of(format: Format, page: Option<&'a Path>) -> Self {
        page.map_or(Self::Plain(format), Self::Page)
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

/// A page for a browser, written to `file`, or printed if that is `-`.
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
