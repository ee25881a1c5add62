//! The JSON documents, field by field as the contract names them.
//!
//! Sizes are bytes, times RFC 3339 in UTC, durations seconds. Text is exact. A path that is not UTF-8 stands escaped under
//! its name and exact, in base64, under the same name with `_bytes`; that second field exists only then.

mod capacity;
mod check;
mod dedupe;
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
mod space;
mod status;
mod stores;
mod targets;
mod trim;

pub use check::check;
pub use doctor::doctor;
pub use forecast::forecast;
pub use hygiene::{audit, repair};
pub use ledger::{blame, history, why, why_environment};
pub use notify::message;
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
use super::{escape, words};
use crate::model::Evidence;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

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

/// Spells characters that deceive a terminal as `\uXXXX` and breaks what a runner would take for a command.
///
/// Both occur inside JSON strings only, and there they mean the same: parsers see no difference. JSON leaves DEL, C1 and
/// bidirectional controls as they are, which is no good to the person who looks at it.
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

/// The text and, when it is not UTF-8, the bytes of a path.
pub(super) fn path_fields(path: &Path) -> (String, Option<String>) {
    match path.to_str() {
        Some(text) => (text.to_owned(), None),
        None => (escape::path(path), Some(STANDARD.encode(path.as_os_str().as_encoded_bytes()))),
    }
}

/// RFC 3339 in UTC, whole seconds.
fn time(time: SystemTime) -> String {
    words::timestamp(time).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A piece of evidence. `within` names the one directory it speaks of, if it does not speak of all.
#[derive(Serialize, JsonSchema)]
struct EvidenceDoc<'a> {
    kind: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within_bytes: Option<String>,
}

fn evidence(list: &[Evidence]) -> Vec<EvidenceDoc<'_>> {
    list.iter().map(EvidenceDoc::new).collect()
}

impl<'a> EvidenceDoc<'a> {
    fn new(evidence: &'a Evidence) -> Self {
        let (within, within_bytes) = match evidence.within.as_deref().map(path_fields) {
            Some((text, bytes)) => (Some(text), bytes),
            None => (None, None),
        };
        Self { kind: evidence.kind.as_str(), detail: &evidence.detail, within, within_bytes }
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

    #[test]
    fn times_are_utc_and_whole_seconds() {
        assert_eq!(time(crate::report::samples::now()), "2026-03-04T14:25:10Z");
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
