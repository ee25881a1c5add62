//! `why --json`, `blame --json`, `history --json`.

use super::{Layout, SCHEMA, document, path_fields, time};
use crate::model::ledger::{
    ActionKind, Blame, Extent, History, Judged, Presence, Relation, Run, Scope, Span, Total, Trust, Why,
    WhyEnvironment, Window,
};
use schemars::JsonSchema;
use serde::Serialize;

/// An entry. `relation` says how its path stands to the one asked about; `trust_detail` why it is not believed.
#[derive(Serialize, JsonSchema)]
struct EntryDoc<'a> {
    time: String,
    deed: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    relation: Option<&'static str>,
    runner: Option<&'a str>,
    rule: Option<&'a str>,
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    bytes: Option<u64>,
    reason: Option<&'a str>,
    evidence: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    scope: ScopeDoc<'a>,
    writer: WriterDoc<'a>,
    trust: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_detail: Option<&'a str>,
    sources: Vec<&'static str>,
}

#[derive(Serialize, JsonSchema)]
struct ScopeDoc<'a> {
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook_runner: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
struct WriterDoc<'a> {
    uid: Option<u32>,
    pid: Option<i32>,
    boot_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct RunDoc<'a> {
    scope: ScopeDoc<'a>,
    from: String,
    to: String,
    end: &'static str,
    writer: WriterDoc<'a>,
    trust: &'static str,
    freed_bytes: u64,
    removed: usize,
    restored: usize,
    kept: usize,
    refused: usize,
    failed: usize,
    entries: Vec<EntryDoc<'a>>,
}

/// `complete_since`: from then on, every run of everybody has left entries that were read here.
#[derive(Serialize, JsonSchema)]
struct CoverageDoc<'a> {
    complete_since: Option<String>,
    places: Vec<PlaceDoc<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct PlaceDoc<'a> {
    source: &'static str,
    since: Option<String>,
    everybody: bool,
    gaps: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct WindowDoc {
    from: String,
    to: String,
}

#[derive(Serialize, JsonSchema)]
struct TotalDoc<'a> {
    name: &'a str,
    count: usize,
    bytes: u64,
}

impl<'a> EntryDoc<'a> {
    fn new(judged: &'a Judged, relation: Option<Relation>) -> Self {
        let record = judged.record();
        let (path, path_bytes) = match record.path.as_deref().map(path_fields) {
            Some((path, bytes)) => (Some(path), bytes),
            None => (None, None),
        };
        Self {
            time: time(record.time),
            deed: record.deed.as_str(),
            relation: relation.map(Relation::as_str),
            runner: record.runner.as_deref(),
            rule: record.rule.as_deref(),
            path,
            path_bytes,
            environment: record.environment.as_deref(),
            bytes: record.bytes,
            reason: record.reason.as_deref(),
            evidence: record.evidence.as_deref(),
            message: &record.message,
            repository: record.repository.as_deref(),
            run_id: record.run_id.as_deref(),
            job: record.job.as_deref(),
            scope: ScopeDoc::new(record.scope.as_ref()),
            writer: WriterDoc::new(&judged.entry.writer),
            trust: judged.trust.as_str(),
            trust_detail: match &judged.trust {
                Trust::Foreign(why) => Some(why),
                Trust::Root | Trust::Owner(_) => None,
            },
            sources: judged.entry.sources.iter().map(|source| source.as_str()).collect(),
        }
    }

    fn list(entries: &'a [Judged]) -> Vec<Self> {
        entries.iter().map(|judged| Self::new(judged, None)).collect()
    }

    fn related(entries: &'a [(Relation, Judged)]) -> Vec<Self> {
        entries.iter().map(|(relation, judged)| Self::new(judged, Some(*relation))).collect()
    }
}

impl<'a> ScopeDoc<'a> {
    fn new(scope: Option<&'a Scope>) -> Self {
        match scope {
            None => Self { kind: None, hook_runner: None },
            Some(Scope::Sweep) => Self { kind: Some("sweep"), hook_runner: None },
            Some(Scope::Reap) => Self { kind: Some("reap"), hook_runner: None },
            Some(Scope::Stores) => Self { kind: Some("stores"), hook_runner: None },
            Some(Scope::Hook(runner)) => Self { kind: Some("hook"), hook_runner: Some(runner) },
            Some(Scope::Remediate) => Self { kind: Some("remediate"), hook_runner: None },
        }
    }
}

impl<'a> WriterDoc<'a> {
    fn new(writer: &'a crate::model::ledger::Writer) -> Self {
        Self {
            uid: writer.uid.map(|uid| uid.0),
            pid: writer.pid.map(|pid| pid.0),
            boot_id: writer.boot_id.as_deref(),
            exe: writer.exe.as_deref().map(|exe| path_fields(exe).0),
        }
    }
}

impl<'a> RunDoc<'a> {
    fn new(run: &'a Run) -> Self {
        Self {
            scope: ScopeDoc::new(run.scope.as_ref()),
            from: time(run.window.from),
            to: time(run.window.to),
            end: run.end.as_str(),
            writer: WriterDoc::new(&run.writer),
            trust: run.trust.as_str(),
            freed_bytes: run.freed_bytes,
            removed: run.count(ActionKind::Removed),
            restored: run.count(ActionKind::Restored),
            kept: run.count(ActionKind::Kept),
            refused: run.count(ActionKind::Refused),
            failed: run.count(ActionKind::Failed),
            entries: EntryDoc::list(&run.entries),
        }
    }

    fn list(runs: &'a [Run]) -> Vec<Self> {
        runs.iter().map(Self::new).collect()
    }
}

impl<'a> CoverageDoc<'a> {
    fn new(extent: &'a Extent) -> Self {
        let place = |place: &'a crate::model::ledger::Reach| PlaceDoc {
            source: place.source.as_str(),
            since: place.since.map(time),
            everybody: place.span == Span::Everybody,
            gaps: &place.gaps,
        };
        Self {
            complete_since: extent.complete_since().map(time),
            places: extent.places.iter().map(place).collect(),
        }
    }
}

impl WindowDoc {
    fn new(window: Window) -> Self {
        Self { from: time(window.from), to: time(window.to) }
    }
}

fn totals(totals: &[Total]) -> Vec<TotalDoc<'_>> {
    totals
        .iter()
        .map(|total| TotalDoc { name: &total.name, count: total.count, bytes: total.bytes })
        .collect()
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WhyDoc<'a> {
    schema: u32,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    real_path: Option<String>,
    runner: Option<&'a str>,
    present: Option<bool>,
    /// When it is gone: when the nearest directory above it that is there last changed.
    above_changed: Option<String>,
    verdict: &'static str,
    entries: Vec<EntryDoc<'a>>,
    foreign: Vec<EntryDoc<'a>>,
    acts: Vec<RunDoc<'a>>,
    window: WindowDoc,
    runs: Vec<RunDoc<'a>>,
    coverage: CoverageDoc<'a>,
}

/// The document for `why`.
pub fn why(why: &Why, layout: Layout) -> String {
    let (path, path_bytes) = path_fields(&why.path);
    let (present, above_changed) = match &why.present {
        Presence::Present => (Some(true), None),
        Presence::Gone(_, changed) => (Some(false), Some(time(*changed))),
        Presence::Hidden(_) => (None, None),
    };
    document(
        &WhyDoc {
            schema: SCHEMA,
            path,
            path_bytes,
            real_path: why.real.as_deref().map(|real| path_fields(real).0),
            runner: why.runner.as_deref(),
            present,
            above_changed,
            verdict: why.verdict.as_str(),
            entries: EntryDoc::related(&why.entries),
            foreign: EntryDoc::related(&why.foreign),
            acts: RunDoc::list(&why.acts),
            window: WindowDoc::new(why.window),
            runs: RunDoc::list(&why.runs),
            coverage: CoverageDoc::new(&why.extent),
        },
        layout,
    )
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WhyEnvironmentDoc<'a> {
    schema: u32,
    environment: &'a str,
    verdict: &'static str,
    entries: Vec<EntryDoc<'a>>,
    foreign: Vec<EntryDoc<'a>>,
    coverage: CoverageDoc<'a>,
}

/// The document for `why NAME`, where an environment is called so.
pub fn why_environment(why: &WhyEnvironment, layout: Layout) -> String {
    let is_reaped = why.entries.iter().any(|judged| judged.record().deed == ActionKind::Reaped);
    document(
        &WhyEnvironmentDoc {
            schema: SCHEMA,
            environment: &why.name,
            verdict: match (is_reaped, why.entries.is_empty()) {
                (true, _) => "reaped",
                (false, false) => "failed",
                (false, true) => "no-evidence",
            },
            entries: why.entries.iter().map(|judged| EntryDoc::new(judged, None)).collect(),
            foreign: why.foreign.iter().map(|judged| EntryDoc::new(judged, None)).collect(),
            coverage: CoverageDoc::new(&why.extent),
        },
        layout,
    )
}

#[derive(Serialize, JsonSchema)]
pub(super) struct BlameDoc<'a> {
    schema: u32,
    at: String,
    window: WindowDoc,
    runs: Vec<RunDoc<'a>>,
    foreign: Vec<EntryDoc<'a>>,
    before: Option<EntryDoc<'a>>,
    after: Option<EntryDoc<'a>>,
    coverage: CoverageDoc<'a>,
}

/// The document for `blame`.
pub fn blame(blame: &Blame, layout: Layout) -> String {
    document(
        &BlameDoc {
            schema: SCHEMA,
            at: time(blame.at),
            window: WindowDoc::new(blame.window),
            runs: RunDoc::list(&blame.runs),
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
    schema: u32,
    since: String,
    to: String,
    runs: usize,
    kept: usize,
    entries: Vec<EntryDoc<'a>>,
    foreign: Vec<EntryDoc<'a>>,
    freed_bytes: u64,
    by_rule: Vec<TotalDoc<'a>>,
    by_runner: Vec<TotalDoc<'a>>,
    coverage: CoverageDoc<'a>,
}

/// The document for `history`.
pub fn history(history: &History, layout: Layout) -> String {
    document(
        &HistoryDoc {
            schema: SCHEMA,
            since: time(history.window.from),
            to: time(history.window.to),
            runs: history.runs,
            kept: history.kept,
            entries: EntryDoc::list(&history.deeds),
            foreign: EntryDoc::list(&history.foreign),
            freed_bytes: history.by_rule.iter().map(|total| total.bytes).sum(),
            by_rule: totals(&history.by_rule),
            by_runner: totals(&history.by_runner),
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
