//! `check --json`.

use super::{EvidenceDoc, Layout, SCHEMA, document, evidence, path_fields};
use crate::model::CheckResult;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
pub(super) struct Doc<'a> {
    schema: u32,
    runner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    state: &'static str,
    evidence: Vec<EvidenceDoc<'a>>,
}

/// The document for `check`. `runner` is null for a path that belongs to none.
pub fn check(result: &CheckResult, layout: Layout) -> String {
    let (path, path_bytes) = result.path.as_deref().map(path_fields).unzip();
    document(
        &Doc {
            schema: SCHEMA,
            runner: result.runner.as_deref(),
            path,
            path_bytes: path_bytes.flatten(),
            state: result.state.as_str(),
            evidence: evidence(&result.evidence),
        },
        layout,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Liveness;
    use crate::report::samples;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_busy_runner() {
        let result = CheckResult {
            runner: Some("runner-1".into()),
            path: None,
            state: Liveness::Busy,
            evidence: vec![samples::worker(), samples::recent("/home/ci/x".as_ref())],
        };
        insta::assert_snapshot!(check(&result, Layout::Pretty), @r#"
        {
          "schema": 1,
          "runner": "runner-1",
          "state": "busy",
          "evidence": [
            {
              "kind": "worker-process",
              "detail": "Worker pid 4711"
            },
            {
              "kind": "recent-content",
              "detail": "newest content is 3 min old, the idle floor is 10 min",
              "within": "/home/ci/x"
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_path_that_is_not_utf8_and_belongs_to_nobody() {
        let result = CheckResult {
            runner: None,
            path: Some(OsStr::from_bytes(b"/srv/caf\xe9").into()),
            state: Liveness::Unknown,
            evidence: vec![],
        };
        insta::assert_snapshot!(check(&result, Layout::Line), @r#"{"schema":1,"runner":null,"path":"/srv/caf\\xe9","path_bytes":"L3Nydi9jYWbp","state":"unknown","evidence":[]}"#);
    }
}
