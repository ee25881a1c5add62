//! The JSON documents, field by field as the contract names them.
//!
//! A model type with the form of the document derives it (`crate::as_json` defines the form of paths, times and names). The types here are
//! for the differences: sums of a type's parts, parts of several types in one object, a part of a type alone.

mod check;
mod doctor;
mod forecast;
mod hygiene;
mod ledger;
mod notify;
mod postmortem;
mod reap;
mod run;
mod schema;
mod setup;
mod simulation;
mod status;
mod stores;
mod trim;

pub use check::check;
pub use doctor::doctor;
pub use forecast::forecast;
pub use hygiene::{audit, repair};
pub use ledger::{blame, history, why, why_environment};
pub use notify::{message, test_message};
pub use postmortem::postmortem;
pub use reap::reap;
pub use run::{run, sweep};
pub use schema::schemas;
pub use setup::setup;
pub use simulation::{past, simulation};
pub use status::status;
pub use stores::stores;
pub use trim::trim;

use super::escape::is_deceptive;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write as _;

/// The version of every document.
const SCHEMA: u32 = 1;

/// How a document is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Indented, for a single document.
    Pretty,
    /// One line, for a stream of documents (`status --watch --json`).
    Line,
}

/// Serialises a document of ours, with a newline at its end.
fn document(value: &impl Serialize, layout: Layout) -> String {
    let text = match layout {
        Layout::Pretty => serde_json::to_string_pretty(value),
        Layout::Line => serde_json::to_string(value),
    };
    let mut text = harmless(&text.expect("our documents have string keys and finite numbers"));
    text.push('\n');
    text
}

/// Writes characters that deceive a terminal as `\uXXXX` and breaks text that a runner would take for a command.
///
/// Both occur inside JSON strings only, and there they mean the same: parsers see no difference. JSON leaves DEL, C1 and bidirectional
/// controls unchanged, which can deceive a person who reads it.
fn harmless(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_deceptive(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out.replace("##[", "#\\u0023[")
}

// A model type as a document of its own, with the version of its schema. (No documentation: it would appear in the schemas.)
#[derive(Serialize, JsonSchema)]
struct Document<T> {
    schema: u32,
    #[serde(flatten)]
    noun: T,
}

impl<T: Serialize> Document<T> {
    fn of(noun: T, layout: Layout) -> String {
        document(&Self { schema: SCHEMA, noun }, layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn deceptive_text_is_spelled_out() {
        let text = document(&"\u{202e}\u{9b}\x7f\x1b##[x]\u{e0041}\\é", Layout::Line);
        assert_eq!(text.trim_end(), r##""\u202e\u009b\u007f\u001b#\u0023[x]\udb40\udc41\\é""##);
    }

    proptest! {
        #[test]
        fn spelling_changes_no_value(raw in "[\\\\\"#\\[a\u{7f}-\u{a0}\u{200b}\u{202e}\u{e0041}\n]{0,16}") {
            let text = document(&raw, Layout::Line);
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), raw);
            prop_assert!(!text.trim_end().chars().any(is_deceptive));
            prop_assert!(!text.contains("##["));
        }
    }
}
