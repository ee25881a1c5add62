//! `reap --json`, and the same as a part of `sweep --json`.

use super::{Document, Layout};
use crate::as_json;
use crate::model::reap::{
    EntryReport, EnvironmentState, ReapDecision, ReapReport, ReapResult, Reaping, Stays,
};
use crate::report::reap_words;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::SystemTime;

#[derive(Serialize, JsonSchema)]
pub(super) struct ReapDoc<'a> {
    dry_run: bool,
    sources: Vec<ReapEntryDoc<'a>>,
}

/// `error` is why nothing, or nothing more, could be listed. `environments` are those that `match` matches.
#[derive(Serialize, JsonSchema)]
pub(super) struct ReapEntryDoc<'a> {
    name: &'a str,
    kind: &'static str,
    listed: usize,
    matched: usize,
    leaked: usize,
    waiting: usize,
    unknown: usize,
    unproven: usize,
    reaped: usize,
    failed: usize,
    error: Option<&'a str>,
    environments: Vec<EnvironmentDoc<'a>>,
    notes: &'a [String],
}

/// `verdict` is `reap` or `keep`, `reason` why; `detail` is the finding or the error in words.
#[derive(Serialize, JsonSchema)]
struct EnvironmentDoc<'a> {
    id: &'a str,
    name: &'a str,
    state: &'static str,
    #[serde(with = "as_json::OptionalTime")]
    since: Option<SystemTime>,
    seen_for: u64,
    bytes: Option<u64>,
    holds: &'a [String],
    job: Option<&'a str>,
    runner: Option<&'a str>,
    verdict: &'static str,
    reason: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl<'a> ReapEntryDoc<'a> {
    fn new(entry: &'a EntryReport) -> Self {
        Self {
            name: &entry.name,
            kind: entry.kind.as_str(),
            listed: entry.listed,
            matched: entry.reapings.len(),
            leaked: entry.leaked(),
            waiting: entry.waiting(),
            unknown: entry.unknown(),
            unproven: entry.unproven(),
            reaped: entry.reaped(),
            failed: entry.failed(),
            error: entry.error.as_deref(),
            environments: entry.reapings.iter().map(EnvironmentDoc::new).collect(),
            notes: &entry.notes,
        }
    }
}

impl<'a> EnvironmentDoc<'a> {
    fn new(reaping: &'a Reaping) -> Self {
        let environment = &reaping.environment;
        let verdict = match reaping.verdict {
            ReapDecision::Reap(_) => "reap",
            ReapDecision::Stay(_) => "keep",
        };
        Self {
            id: &environment.id,
            name: &environment.name,
            state: environment.state.as_str(),
            since: environment.since,
            seen_for: reaping.seen_for.as_secs(),
            bytes: environment.bytes,
            holds: &environment.holds,
            job: environment.job.as_deref(),
            runner: environment.runner.as_deref(),
            verdict,
            reason: reap_words::verdict(&reaping.verdict),
            outcome: reaping.result.as_str(),
            detail: detail(reaping),
        }
    }
}

fn detail(reaping: &Reaping) -> Option<&str> {
    match (&reaping.result, &reaping.verdict, &reaping.environment.state) {
        (ReapResult::Changed(why) | ReapResult::Failed(why), _, _) => Some(why),
        (ReapResult::Deferred(why), _, _) => Some(why),
        (_, ReapDecision::Stay(Stays::Claimed(why) | Stays::RunnerInUse(why) | Stays::Kept(why)), _) => {
            Some(why)
        }
        (_, ReapDecision::Stay(Stays::Unknown(why) | Stays::Unproven(why)), _)
        | (_, _, EnvironmentState::Unknown(why)) => Some(why),
        _ => None,
    }
}

/// The result of a sweep's reaper.
pub(super) fn entries(report: &ReapReport) -> Vec<ReapEntryDoc<'_>> {
    report.entries.iter().map(ReapEntryDoc::new).collect()
}

/// The document for `reap`.
pub fn reap(report: &ReapReport, layout: Layout) -> String {
    Document::of(ReapDoc { dry_run: report.dry_run, sources: entries(report) }, layout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
    use crate::report::samples;

    #[test]
    fn every_outcome_has_its_reason() {
        let value: serde_json::Value =
            serde_json::from_str(&reap(&samples::reap(Execution::Apply), Layout::Line)).unwrap();
        let source = &value["sources"][0];
        assert_eq!(
            (&value["schema"], &source["leaked"], &source["reaped"]),
            (&1.into(), &3.into(), &1.into())
        );
        let rows: Vec<String> = source["environments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| format!("{} {} {}", row["verdict"], row["reason"], row["outcome"]).replace('"', ""))
            .collect();
        assert_eq!(
            rows,
            [
                "reap stopped reaped",
                "reap stopped lied",
                "reap never-started failed",
                "reap stopped changed",
                "reap stopped deferred",
                "keep running kept",
                "keep unknown kept",
                "keep young kept"
            ]
        );
        assert_eq!(value["sources"][1]["error"], "`virsh list` failed: no");
    }
}
