//! `check --json`.

use super::{Document, Layout};
use crate::model::CheckResult;

/// The document for `check`. `runner` is null for a path that belongs to none.
pub fn check(result: &CheckResult, layout: Layout) -> String {
    Document::of(result, layout)
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
