//! `doctor --json`.

use super::{Document, Layout};
use crate::model::{Check, CheckState, by_fix};
use schemars::JsonSchema;
use serde::Serialize;

/// The checks, and what to do about them: a remedy names its checks.
#[derive(Serialize, JsonSchema)]
pub(super) struct Doctor<'a> {
    checks: &'a [Check],
    remedies: Vec<RemedyDoc<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct RemedyDoc<'a> {
    fix: String,
    state: CheckState,
    checks: Vec<&'a str>,
}

/// The document for `doctor`.
pub fn doctor(checks: &[Check], layout: Layout) -> String {
    let remedies = by_fix(checks).into_iter().map(|remedy| RemedyDoc {
        fix: remedy.fix,
        state: remedy.state,
        checks: remedy.checks.iter().map(|check| check.id.as_str()).collect(),
    });
    Document::of(Doctor { checks, remedies: remedies.collect() }, layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_with_and_without_a_fix() {
        let checks =
            [Check::ok("group", "it is there"), Check::fail("hook:a", "no `.env`", "disk-guard install")];
        insta::assert_snapshot!(doctor(&checks, Layout::Line), @r#"{"schema":1,"checks":[{"id":"group","state":"ok","detail":"it is there","fix":null},{"id":"hook:a","state":"fail","detail":"no `.env`","fix":"disk-guard install"}],"remedies":[{"fix":"disk-guard install","state":"fail","checks":["hook:a"]}]}"#);
    }
}
