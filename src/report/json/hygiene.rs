//! `audit` and `remediate` as JSON.

use super::{Document, Layout};
use crate::as_json;
use crate::model::Liveness;
use crate::model::hygiene::{
    AreaAudit, AreaCondition, AreaKind, AuditReport, Leftover, RepairReport, RunnerAudit,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;
use std::time::SystemTime;

#[derive(Serialize, JsonSchema)]
pub(super) struct AuditDoc<'a> {
    #[serde(with = "as_json::Time")]
    time: SystemTime,
    verdict: AreaCondition,
    contaminated: usize,
    wider_incident: bool,
    runners: Vec<RunnerDoc<'a>>,
    notes: &'a [String],
}

/// A runner's part of an audit, its areas by kind.
#[derive(Serialize, JsonSchema)]
struct RunnerDoc<'a> {
    name: &'a str,
    #[serde(with = "as_json::AtPath")]
    root: &'a Path,
    #[serde(with = "as_json::AtPath")]
    work: &'a Path,
    state: Liveness,
    skipped: Option<&'a str>,
    repositories: Vec<&'a AreaAudit>,
    runners_own: Vec<&'a AreaAudit>,
    leftovers: &'a [Leftover],
}

/// An audit. Examples are relative to the work directory.
pub fn audit(report: &AuditReport, now: SystemTime, layout: Layout) -> String {
    let doc = AuditDoc {
        time: now,
        verdict: report.verdict,
        contaminated: report.contaminated,
        wider_incident: report.is_wider_incident(),
        runners: report.runners.iter().map(runner).collect(),
        notes: &report.notes,
    };
    Document::of(doc, layout)
}

fn runner(audit: &RunnerAudit) -> RunnerDoc<'_> {
    let of = |kind| audit.areas.iter().filter(move |area| area.kind == kind).collect();
    RunnerDoc {
        name: &audit.runner.name,
        root: &audit.runner.root,
        work: audit.runner.work_path(),
        state: audit.state,
        skipped: audit.skipped.as_deref(),
        repositories: of(AreaKind::Repository),
        runners_own: of(AreaKind::RunnersOwn),
        leftovers: &audit.leftovers,
    }
}

/// A repair. Paths of changes are relative to the work directory; at most a hundred are listed.
pub fn repair(report: &RepairReport, layout: Layout) -> String {
    Document::of(report, layout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
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
              "skipped": "a job changed its tree during the examination: not examined",
              "repositories": [],
              "runners_own": [],
              "leftovers": []
            }
          ],
          "notes": [
            "git is in no directory of paths.programs: objects are not checked"
          ]
        }
        "#);
    }

    #[test]
    fn a_repair() {
        insta::assert_snapshot!(repair(&samples::repair(Execution::Apply), Layout::Pretty), @r#"
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
              "reason": "it has another name, which may be elsewhere: only a reset helps"
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
