//! `audit` and `remediate` as JSON.

use super::{EvidenceDoc, Layout, SCHEMA, document, evidence, path_fields, time};
use crate::model::hygiene::{AreaAudit, AreaKind, AuditReport, Finding, Leftover, RepairReport, RunnerAudit};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;
use std::time::SystemTime;

#[derive(Serialize, JsonSchema)]
pub(super) struct AuditDoc<'a> {
    schema: u32,
    time: String,
    verdict: &'static str,
    contaminated: usize,
    wider_incident: bool,
    runners: Vec<RunnerDoc<'a>>,
    notes: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct RunnerDoc<'a> {
    name: &'a str,
    root: PathDoc,
    work: PathDoc,
    state: &'static str,
    skipped: Option<&'a str>,
    repositories: Vec<AreaDoc<'a>>,
    runners_own: Vec<AreaDoc<'a>>,
    leftovers: Vec<LeftoverDoc>,
}

/// A path that is not UTF-8 has its bytes beside it.
#[derive(Serialize, JsonSchema)]
struct PathDoc {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl PathDoc {
    fn new(path: &Path) -> Self {
        let (path, path_bytes) = path_fields(path);
        Self { path, path_bytes }
    }
}

#[derive(Serialize, JsonSchema)]
struct AreaDoc<'a> {
    directory: String,
    #[serde(flatten)]
    path: PathDoc,
    verdict: &'static str,
    mode: Option<&'static str>,
    whole: bool,
    findings: Vec<FindingDoc<'a>>,
    notes: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct FindingDoc<'a> {
    kind: &'static str,
    severity: &'static str,
    count: u64,
    examples: Vec<PathDoc>,
    detail: &'a str,
}

#[derive(Serialize, JsonSchema)]
struct LeftoverDoc {
    kind: &'static str,
    #[serde(flatten)]
    path: PathDoc,
    newest: String,
}

/// An audit. Examples are relative to the work directory.
pub fn audit(report: &AuditReport, now: SystemTime, layout: Layout) -> String {
    let doc = AuditDoc {
        schema: SCHEMA,
        time: time(now),
        verdict: report.verdict.as_str(),
        contaminated: report.contaminated,
        wider_incident: report.is_wider_incident(),
        runners: report.runners.iter().map(runner).collect(),
        notes: &report.notes,
    };
    document(&doc, layout)
}

fn runner(audit: &RunnerAudit) -> RunnerDoc<'_> {
    let of = |kind| audit.areas.iter().filter(move |area| area.kind == kind).map(area).collect();
    RunnerDoc {
        name: &audit.runner.name,
        root: PathDoc::new(&audit.runner.root),
        work: PathDoc::new(audit.runner.work_path()),
        state: audit.state.as_str(),
        skipped: audit.skipped.as_deref(),
        repositories: of(AreaKind::Repository),
        runners_own: of(AreaKind::RunnersOwn),
        leftovers: audit.leftovers.iter().map(leftover).collect(),
    }
}

fn area(area: &AreaAudit) -> AreaDoc<'_> {
    AreaDoc {
        directory: path_fields(Path::new(&area.name)).0,
        path: PathDoc::new(&area.path),
        verdict: area.verdict.as_str(),
        mode: area.mode.map(|mode| mode.as_str()),
        whole: area.is_whole,
        findings: area.findings.iter().map(finding).collect(),
        notes: &area.notes,
    }
}

fn finding(finding: &Finding) -> FindingDoc<'_> {
    FindingDoc {
        kind: finding.kind.as_str(),
        severity: finding.severity.as_str(),
        count: finding.count,
        examples: finding.examples.iter().map(|path| PathDoc::new(path)).collect(),
        detail: &finding.detail,
    }
}

fn leftover(leftover: &Leftover) -> LeftoverDoc {
    LeftoverDoc {
        kind: leftover.kind.as_str(),
        path: PathDoc::new(&leftover.path),
        newest: time(leftover.newest),
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RepairDoc<'a> {
    schema: u32,
    dry_run: bool,
    runner: &'a str,
    #[serde(flatten)]
    path: PathDoc,
    mode: &'static str,
    done: u64,
    undone: u64,
    bytes: u64,
    evidence: Vec<EvidenceDoc<'a>>,
    changes: Vec<ChangeDoc<'a>>,
    notes: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct ChangeDoc<'a> {
    #[serde(flatten)]
    path: PathDoc,
    change: &'a str,
    outcome: &'static str,
    reason: Option<&'a str>,
}

/// A repair. Paths of changes are relative to the work directory; at most a hundred are listed.
pub fn repair(report: &RepairReport, layout: Layout) -> String {
    let changes = report.changes.iter().map(|change| ChangeDoc {
        path: PathDoc::new(&change.below),
        change: &change.what,
        outcome: change.result.as_str(),
        reason: change.result.reason(),
    });
    let doc = RepairDoc {
        schema: SCHEMA,
        dry_run: report.dry_run,
        runner: &report.runner.name,
        path: PathDoc::new(&report.path),
        mode: report.mode.as_str(),
        done: report.done,
        undone: report.undone,
        bytes: report.bytes,
        evidence: evidence(&report.objections),
        changes: changes.collect(),
        notes: &report.notes,
    };
    document(&doc, layout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn an_audit() {
        insta::assert_snapshot!(audit(&samples::audit(), samples::now(), Layout::Pretty), @r#"
        {
          "schema": 1,
          "time": "2026-03-04T14:25:10Z",
          "verdict": "replace",
          "contaminated": 2,
          "wider_incident": true,
          "runners": [
            {
              "name": "runner-1",
              "root": {
                "path": "/home/ci/runner-1"
              },
              "work": {
                "path": "/home/ci/runner-1/_work"
              },
              "state": "idle",
              "skipped": null,
              "repositories": [
                {
                  "directory": "app",
                  "path": "/home/ci/runner-1/_work/app",
                  "verdict": "repairable",
                  "mode": "chown",
                  "whole": true,
                  "findings": [
                    {
                      "kind": "foreign-owner",
                      "severity": "repairable",
                      "count": 1204,
                      "examples": [
                        {
                          "path": "app/app/dist"
                        },
                        {
                          "path": "app/app/\u001b[2J"
                        }
                      ],
                      "detail": ""
                    },
                    {
                      "kind": "locked-directory",
                      "severity": "repairable",
                      "count": 2,
                      "examples": [
                        {
                          "path": "app/app/gen"
                        }
                      ],
                      "detail": ""
                    }
                  ],
                  "notes": []
                },
                {
                  "directory": "lib",
                  "path": "/home/ci/runner-1/_work/lib",
                  "verdict": "replace",
                  "mode": "reset",
                  "whole": true,
                  "findings": [
                    {
                      "kind": "broken-git",
                      "severity": "replace",
                      "count": 1,
                      "examples": [],
                      "detail": "lib/lib/.git: missing blob 0f8fad5b"
                    }
                  ],
                  "notes": []
                },
                {
                  "directory": "old",
                  "path": "/home/ci/runner-1/_work/old",
                  "verdict": "clean",
                  "mode": null,
                  "whole": true,
                  "findings": [
                    {
                      "kind": "abandoned",
                      "severity": "note",
                      "count": 1,
                      "examples": [],
                      "detail": "old: no repository of this runner's has this directory"
                    }
                  ],
                  "notes": []
                }
              ],
              "runners_own": [
                {
                  "directory": "_actions",
                  "path": "/home/ci/runner-1/_work/_actions",
                  "verdict": "clean",
                  "mode": null,
                  "whole": true,
                  "findings": [],
                  "notes": []
                }
              ],
              "leftovers": [
                {
                  "kind": "old-version",
                  "path": "/home/ci/runner-1/bin.2.335.0",
                  "newest": "2026-01-23T14:25:10Z"
                }
              ]
            },
            {
              "name": "runner-2",
              "root": {
                "path": "/home/ci/runner-2"
              },
              "work": {
                "path": "/home/ci/runner-2/_work"
              },
              "state": "busy",
              "skipped": "a job changes its tree while it is looked at: not examined",
              "repositories": [],
              "runners_own": [],
              "leftovers": []
            }
          ],
          "notes": [
            "git is in none of the directories of paths.programs: objects are not checked"
          ]
        }
        "#);
    }

    #[test]
    fn a_repair() {
        insta::assert_snapshot!(repair(&samples::repair(false), Layout::Pretty), @r#"
        {
          "schema": 1,
          "dry_run": false,
          "runner": "runner-1",
          "path": "/home/ci/runner-1/_work/app",
          "mode": "chown",
          "done": 2,
          "undone": 1,
          "bytes": 0,
          "evidence": [],
          "changes": [
            {
              "path": "app/app/passwd",
              "change": "owner 0 -> 1001",
              "outcome": "refused",
              "reason": "it has another name, which may lie elsewhere: only a reset helps"
            },
            {
              "path": "app/app/dist",
              "change": "owner 0 -> 1001",
              "outcome": "done",
              "reason": null
            },
            {
              "path": "app/app/dist/\u001b[2Jx\n::error::",
              "change": "owner 0 -> 1001",
              "outcome": "done",
              "reason": null
            }
          ],
          "notes": []
        }
        "#);
    }
}
