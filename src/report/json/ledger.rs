//! `why --json`, `blame --json`, `history --json`.

use super::{Document, Layout};
use crate::as_json;
use crate::model::ledger::{
    ActionKind, AnyScope, Blame, Details, Extent, History, Judged, LedgerReach, LedgerRun, PathRelation,
    PathVerdict, Presence, RunEnd, Scope, Source, Total, Trust, Why, WhyEnvironment, Window, Writer,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An entry: the model's type is nested by source, and this is flat, with `relation`: how its path relates to the path asked about.
/// `trust_detail` says why it is not trusted.
#[derive(Serialize, JsonSchema)]
struct EntryDoc<'a> {
    #[serde(with = "as_json::Time")]
    time: SystemTime,
    deed: ActionKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    relation: Option<PathRelation>,
    #[serde(flatten)]
    details: &'a Details,
    writer: &'a Writer,
    trust: &'a Trust,
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_detail: Option<&'a str>,
    sources: &'a [Source],
}

/// A run, with the sums of its entries.
#[derive(Serialize, JsonSchema)]
struct LedgerRunDoc<'a> {
    #[serde(with = "AnyScope")]
    scope: &'a Option<Scope>,
    #[serde(flatten)]
    window: Window,
    end: RunEnd,
    writer: &'a Writer,
    trust: &'a Trust,
    freed_bytes: u64,
    removed: usize,
    restored: usize,
    kept: usize,
    refused: usize,
    failed: usize,
    entries: Vec<EntryDoc<'a>>,
}

/// `complete_since`: from then on the entries of every run of every user were read.
#[derive(Serialize, JsonSchema)]
struct CoverageDoc<'a> {
    #[serde(with = "as_json::OptionalTime")]
    complete_since: Option<SystemTime>,
    places: &'a [LedgerReach],
}

impl<'a> EntryDoc<'a> {
    fn new(judged: &'a Judged, relation: Option<PathRelation>) -> Self {
        let record = judged.record();
        Self {
            time: record.time,
            deed: record.deed,
            relation,
            details: &record.details,
            writer: &judged.entry.writer,
            trust: &judged.trust,
            trust_detail: match &judged.trust {
                Trust::Foreign(why) => Some(why),
                Trust::Root | Trust::Owner(_) => None,
            },
            sources: &judged.entry.sources,
        }
    }

    fn list(entries: &'a [Judged]) -> Vec<Self> {
        entries.iter().map(|judged| Self::new(judged, None)).collect()
    }

    fn related(entries: &'a [(PathRelation, Judged)]) -> Vec<Self> {
        entries.iter().map(|(relation, judged)| Self::new(judged, Some(*relation))).collect()
    }
}

impl<'a> LedgerRunDoc<'a> {
    fn new(run: &'a LedgerRun) -> Self {
        Self {
            scope: &run.scope,
            window: run.window,
            end: run.end,
            writer: &run.writer,
            trust: &run.trust,
            freed_bytes: run.freed_bytes,
            removed: run.count(ActionKind::Removed),
            restored: run.count(ActionKind::Restored),
            kept: run.count(ActionKind::Kept),
            refused: run.count(ActionKind::Refused),
            failed: run.count(ActionKind::Failed),
            entries: EntryDoc::list(&run.entries),
        }
    }

    fn list(runs: &'a [LedgerRun]) -> Vec<Self> {
        runs.iter().map(Self::new).collect()
    }
}

impl<'a> CoverageDoc<'a> {
    fn new(extent: &'a Extent) -> Self {
        Self { complete_since: extent.complete_since(), places: &extent.places }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WhyDoc<'a> {
    #[serde(flatten, with = "as_json::AtPath")]
    path: &'a Path,
    #[serde(with = "as_json::OptionalPathText")]
    real_path: &'a Option<PathBuf>,
    runner: Option<&'a str>,
    present: Option<bool>,
    /// When it is gone: when the nearest existing directory above it last changed.
    #[serde(with = "as_json::OptionalTime")]
    above_changed: Option<SystemTime>,
    verdict: PathVerdict,
    entries: Vec<EntryDoc<'a>>,
    foreign: Vec<EntryDoc<'a>>,
    acts: Vec<LedgerRunDoc<'a>>,
    window: Window,
    runs: Vec<LedgerRunDoc<'a>>,
    coverage: CoverageDoc<'a>,
}

/// The document for `why`.
pub fn why(why: &Why, layout: Layout) -> String {
    let (present, above_changed) = match &why.present {
        Presence::Present => (Some(true), None),
        Presence::Gone(_, changed) => (Some(false), Some(*changed)),
        Presence::Hidden(_) => (None, None),
    };
    Document::of(
        WhyDoc {
            path: &why.path,
            real_path: &why.real,
            runner: why.runner.as_deref(),
            present,
            above_changed,
            verdict: why.verdict,
            entries: EntryDoc::related(&why.entries),
            foreign: EntryDoc::related(&why.foreign),
            acts: LedgerRunDoc::list(&why.acts),
            window: why.window,
            runs: LedgerRunDoc::list(&why.runs),
            coverage: CoverageDoc::new(&why.extent),
        },
        layout,
    )
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WhyEnvironmentDoc<'a> {
    environment: &'a str,
    verdict: &'static str,
    entries: Vec<EntryDoc<'a>>,
    foreign: Vec<EntryDoc<'a>>,
    coverage: CoverageDoc<'a>,
}

/// The document for `why NAME`, when an environment has that name.
pub fn why_environment(why: &WhyEnvironment, layout: Layout) -> String {
    let is_reaped = why.entries.iter().any(|judged| judged.record().deed == ActionKind::Reaped);
    Document::of(
        WhyEnvironmentDoc {
            environment: &why.name,
            verdict: match (is_reaped, why.entries.is_empty()) {
                (true, _) => "reaped",
                (false, false) => "failed",
                (false, true) => "no-evidence",
            },
            entries: EntryDoc::list(&why.entries),
            foreign: EntryDoc::list(&why.foreign),
            coverage: CoverageDoc::new(&why.extent),
        },
        layout,
    )
}

#[derive(Serialize, JsonSchema)]
pub(super) struct BlameDoc<'a> {
    #[serde(with = "as_json::Time")]
    at: SystemTime,
    window: Window,
    runs: Vec<LedgerRunDoc<'a>>,
    foreign: Vec<EntryDoc<'a>>,
    before: Option<EntryDoc<'a>>,
    after: Option<EntryDoc<'a>>,
    coverage: CoverageDoc<'a>,
}

/// The document for `blame`.
pub fn blame(blame: &Blame, layout: Layout) -> String {
    Document::of(
        BlameDoc {
            at: blame.at,
            window: blame.window,
            runs: LedgerRunDoc::list(&blame.runs),
            foreign: EntryDoc::list(&blame.foreign),
            before: blame.before.as_ref().map(|judged| EntryDoc::new(judged, None)),
            after: blame.after.as_ref().map(|judged| EntryDoc::new(judged, None)),
            coverage: CoverageDoc::new(&blame.extent),
        },
        layout,
    )
}

#[derive(Serialize, JsonSchema)]
pub(super) struct HistoryDoc<'a> {
    #[serde(with = "as_json::Time")]
    since: SystemTime,
    #[serde(with = "as_json::Time")]
    to: SystemTime,
    runs: usize,
    kept: usize,
    entries: Vec<EntryDoc<'a>>,
    foreign: Vec<EntryDoc<'a>>,
    freed_bytes: u64,
    by_rule: &'a [Total],
    by_runner: &'a [Total],
    coverage: CoverageDoc<'a>,
}

/// The document for `history`.
pub fn history(history: &History, layout: Layout) -> String {
    Document::of(
        HistoryDoc {
            since: history.window.from,
            to: history.window.to,
            runs: history.runs,
            kept: history.kept,
            entries: EntryDoc::list(&history.deeds),
            foreign: EntryDoc::list(&history.foreign),
            freed_bytes: history.by_rule.iter().map(|total| total.bytes).sum(),
            by_rule: &history.by_rule,
            by_runner: &history.by_runner,
            coverage: CoverageDoc::new(&history.extent),
        },
        layout,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn an_answer_to_why() {
        let text = why(&samples::why_removed(), Layout::Line);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (pointer, expected) in [
            ("/verdict", "removed"),
            ("/above_changed", "2026-03-04T12:25:15Z"),
            ("/entries/1/deed", "removed"),
            ("/entries/1/relation", "inside"),
            ("/entries/1/path", "/home/ci/runner-2/_work/app/app/target"),
            ("/entries/1/evidence", "no sign of use at the claim; newest content 3 d old"),
            ("/entries/1/scope/kind", "sweep"),
            ("/entries/1/writer/exe", "/usr/bin/disk-guard"),
            ("/entries/1/trust", "root"),
            ("/entries/1/sources/1", "file"),
            ("/acts/0/end", "ended"),
            ("/coverage/complete_since", "2026-02-02T14:25:10Z"),
        ] {
            assert_eq!(value.pointer(pointer).and_then(|v| v.as_str()), Some(expected), "{pointer}\n{text}");
        }
        assert_eq!(value["acts"][0]["freed_bytes"], 8 * samples::GIB);
    }

    #[test]
    fn every_document_has_its_schema() {
        let texts = [
            why(&samples::why_innocent(), Layout::Line),
            blame(&samples::blame(), Layout::Line),
            history(&samples::history(), Layout::Line),
        ];
        for text in texts {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["schema"], 1);
            assert!(value["coverage"]["places"].is_array());
        }
    }
}
