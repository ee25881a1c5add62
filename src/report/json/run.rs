//! `plan --json` and `sweep --json`.

use super::{Document, Layout, reap, stores};
use crate::as_json;
use crate::model::dedupe::DedupeReport;
use crate::model::reap::ReapReport;
use crate::model::stores::StoresReport;
use crate::model::{
    ActionResult, Balance, Evidence, Outcome, RunReport, Shortfall, SpaceHolder, TargetView, Usage,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize, JsonSchema)]
pub(super) struct RunDoc<'a> {
    dry_run: bool,
    goal_met: bool,
    filesystems: Vec<BalanceDoc<'a>>,
    actions: Vec<ActionDoc<'a>>,
    freed_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reap: Option<Vec<reap::ReapEntryDoc<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedupe: Option<&'a DedupeReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stores: Option<Vec<stores::StoreDoc<'a>>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    holding: &'a [SpaceHolder],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    targets: &'a [TargetView],
    notes: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct BalanceDoc<'a> {
    #[serde(flatten, with = "as_json::AtMount")]
    mount: &'a Path,
    before: UsageDoc,
    after: UsageDoc,
    #[serde(skip_serializing_if = "Option::is_none")]
    out_of_reach: Option<ShortfallDoc>,
}

/// The goal is out of reach there: its shortfall, what all caches would give, the lower goal instead.
#[derive(Serialize, JsonSchema)]
struct ShortfallDoc {
    aim: &'static str,
    lacking_bytes: u64,
    lacking_inodes: u64,
    caches_bytes: u64,
    caches_inodes: u64,
}

impl ShortfallDoc {
    fn new(short: &Shortfall) -> Self {
        Self {
            aim: short.aim.as_str(),
            lacking_bytes: short.need.bytes,
            lacking_inodes: short.need.inodes,
            caches_bytes: short.reach.bytes,
            caches_inodes: short.reach.inodes,
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct UsageDoc {
    available_bytes: u64,
    used_percent: u8,
}

/// `bytes` is null when the cache was not measured. `detail` is the system's error or what changed, in words.
#[derive(Serialize, JsonSchema)]
struct ActionDoc<'a> {
    #[serde(flatten, with = "as_json::AtPath")]
    path: &'a Path,
    runner: &'a str,
    rule: &'a str,
    bytes: Option<u64>,
    outcome: &'static str,
    reason: &'static str,
    evidence: &'a [Evidence],
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl UsageDoc {
    fn new(usage: &Usage) -> Self {
        Self { available_bytes: usage.available_bytes, used_percent: usage.used_percent() }
    }
}

impl<'a> BalanceDoc<'a> {
    fn new(balance: &'a Balance) -> Self {
        let (before, after) = (UsageDoc::new(&balance.before.usage), UsageDoc::new(&balance.after));
        let out_of_reach = balance.shortfall.as_ref().map(ShortfallDoc::new);
        Self { mount: &balance.before.mount, before, after, out_of_reach }
    }
}

impl<'a> ActionDoc<'a> {
    fn new(outcome: &'a Outcome) -> Self {
        let action = &outcome.action;
        Self {
            path: &action.cache.path,
            runner: action.runner.own_name(),
            rule: &action.cache.rule,
            bytes: action.cache.measure.map(|m| m.bytes),
            outcome: outcome.result.as_str(),
            reason: action.decision.reason(),
            evidence: outcome.evidence(),
            detail: detail(&outcome.result),
        }
    }
}

fn detail(result: &ActionResult) -> Option<&str> {
    match result {
        ActionResult::Changed(words) | ActionResult::Failed(words) | ActionResult::Deferred(words) => {
            Some(words)
        }
        ActionResult::Planned | ActionResult::Removed | ActionResult::Kept | ActionResult::Restored(_) => {
            None
        }
    }
}

/// The document for a run without stores, and without entries to reap.
pub fn run(report: &RunReport, layout: Layout) -> String {
    sweep(report, None, None, layout)
}

/// The document for `plan` and `sweep`, with the results of stores and of the reaper.
pub fn sweep(
    report: &RunReport,
    stores: Option<&StoresReport>,
    reap: Option<&ReapReport>,
    layout: Layout,
) -> String {
    Document::of(
        RunDoc {
            dry_run: report.dry_run,
            goal_met: report.goal_met,
            filesystems: report.balances.iter().map(BalanceDoc::new).collect(),
            actions: report.outcomes.iter().map(ActionDoc::new).collect(),
            freed_bytes: report.freed_bytes,
            reap: reap.map(reap::entries),
            dedupe: report.dedupe.as_ref(),
            stores: stores.map(stores::entries),
            holding: &report.holding,
            targets: &report.targets,
            notes: &report.notes,
        },
        layout,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Execution;
    use crate::report::samples;

    #[test]
    fn what_holds_the_disk() {
        let report = RunReport { holding: samples::holding(), ..RunReport::default() };
        let document: serde_json::Value = serde_json::from_str(&run(&report, Layout::Line)).unwrap();
        let first = &document["holding"][0];
        assert_eq!((&first["class"], &first["whole"]), (&"tool-cache".into(), &true.into()));
        assert_eq!((&first["bytes"], &first["remedy"]), (&(60 * samples::GIB).into(), &"remove it".into()));
    }

    #[test]
    fn a_sweep() {
        insta::assert_snapshot!(run(&samples::run(Execution::Apply), Layout::Pretty), @r#"
        {
          "schema": 1,
          "dry_run": false,
          "goal_met": false,
          "filesystems": [
            {
              "mount": "/home",
              "before": {
                "available_bytes": 22548578304,
                "used_percent": 92
              },
              "after": {
                "available_bytes": 31138512896,
                "used_percent": 88
              }
            }
          ],
          "actions": [
            {
              "path": "/home/ci/runner-2/_work/app/app/target",
              "runner": "runner-2",
              "rule": "cargo-target",
              "bytes": 8589934592,
              "outcome": "removed",
              "reason": "pressure",
              "evidence": []
            },
            {
              "path": "/home/ci/runner-2/_work/caf\\xe9/caf\\xe9/target",
              "path_bytes": "L2hvbWUvY2kvcnVubmVyLTIvX3dvcmsvY2Fm6S9jYWbpL3RhcmdldA==",
              "runner": "runner-2",
              "rule": "cargo-target",
              "bytes": 2147483648,
              "outcome": "failed",
              "reason": "age",
              "evidence": [],
              "detail": "unlinkat \u001b[2Jx: permission denied"
            },
            {
              "path": "/home/ci/runner-3/_work/app/app/target",
              "runner": "runner-3",
              "rule": "cargo-target",
              "bytes": 3221225472,
              "outcome": "restored",
              "reason": "pressure",
              "evidence": [
                {
                  "kind": "worker-process",
                  "detail": "Worker pid 4711"
                }
              ]
            },
            {
              "path": "/home/ci/runner-1/_work/app/app/target",
              "runner": "runner-1",
              "rule": "cargo-target",
              "bytes": 12884901888,
              "outcome": "kept",
              "reason": "protected",
              "evidence": [
                {
                  "kind": "worker-process",
                  "detail": "Worker pid 4711"
                }
              ]
            },
            {
              "path": "/home/ci/runner-1/_work/lib/lib/target",
              "runner": "runner-1",
              "rule": "cargo-target",
              "bytes": 1073741824,
              "outcome": "kept",
              "reason": "protected",
              "evidence": [
                {
                  "kind": "worker-process",
                  "detail": "Worker pid 4711"
                }
              ]
            }
          ],
          "freed_bytes": 8589934592,
          "notes": [
            "/opt/actions-runner* matches nothing"
          ]
        }
        "#);
    }
}
