//! `postmortem --json`.

use super::{Document, Layout};
use crate::as_json;
use crate::model::postmortem::{Case, Death, Diagnosis, Report};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;
use std::time::SystemTime;

#[derive(Serialize, JsonSchema)]
pub(super) struct PostmortemDoc<'a> {
    #[serde(with = "as_json::Time")]
    since: SystemTime,
    runner: Option<&'a str>,
    runners: usize,
    jobs: usize,
    deaths: Vec<CaseDoc<'a>>,
    notes: &'a [String],
}

/// A case, flat, and with the root, which the record on disk stores separately.
#[derive(Serialize, JsonSchema)]
struct CaseDoc<'a> {
    #[serde(flatten)]
    death: &'a Death,
    #[serde(flatten, with = "as_json::AtRoot")]
    root: &'a Path,
    #[serde(flatten)]
    verdict: &'a Diagnosis,
    #[serde(with = "as_json::Time")]
    examined: SystemTime,
    kept: bool,
}

impl<'a> CaseDoc<'a> {
    fn new(case: &'a Case) -> Self {
        Self {
            death: &case.death,
            root: &case.death.root,
            verdict: &case.verdict,
            examined: case.examined,
            kept: case.kept,
        }
    }
}

/// The document for `postmortem`.
pub fn postmortem(report: &Report, layout: Layout) -> String {
    let doc = PostmortemDoc {
        since: report.since,
        runner: report.runner.as_deref(),
        runners: report.runners,
        jobs: report.jobs,
        deaths: report.cases.iter().map(CaseDoc::new).collect(),
        notes: &report.notes,
    };
    Document::of(doc, layout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_death_with_everything() {
        let text = postmortem(&samples::postmortem(), Layout::Pretty);
        insta::assert_snapshot!(text, @r#"
        {
          "schema": 1,
          "since": "2026-03-04T13:25:10Z",
          "runner": "runner-1",
          "runners": 1,
          "jobs": 3,
          "deaths": [
            {
              "runner": "runner-1",
              "repository": "acme/app",
              "run_id": "77",
              "job": "build\n::error::x",
              "worker_pid": 4711,
              "boot_id": "b",
              "worker_log": "Worker_20260304-140000-utc.log",
              "started": "2026-03-04T14:00:00Z",
              "last_sign": "2026-03-04T14:24:00Z",
              "ended_at": "2026-03-04T14:24:01Z",
              "root": "/home/ci/runner-1",
              "ended": "abruptly",
              "cause": "out-of-memory",
              "confidence": "certain",
              "summary": "the kernel killed the Worker because the cgroup /ci was at its memory limit",
              "evidence": [
                {
                  "source": "Listener log",
                  "at": "2026-03-04T14:24:01Z",
                  "text": "Worker finished for job 8f. Code: 137",
                  "points_to": "out-of-memory"
                },
                {
                  "source": "exit code",
                  "at": null,
                  "text": "137 = 128 + 9: SIGKILL ended it",
                  "points_to": "out-of-memory"
                },
                {
                  "source": "kernel (journal)",
                  "at": "2026-03-04T14:24:00Z",
                  "text": "Memory cgroup out of memory: Killed process 4711 (\u001b[31m#\u0023[x])",
                  "points_to": "out-of-memory"
                }
              ],
              "ruled_out": [
                {
                  "cause": "disk-guard",
                  "by": "while the job ran it removed /home/ci/runner-2/_work/a/a/target (8 bytes) and nothing else"
                }
              ],
              "missing": [
                {
                  "what": "the runner's unit",
                  "how": "install it as a service"
                }
              ],
              "advice": "give the host more memory",
              "examined": "2026-03-04T14:24:10Z",
              "kept": true
            }
          ],
          "notes": [
            "runner-2: its logs cannot be read"
          ]
        }
        "#);
    }
}
