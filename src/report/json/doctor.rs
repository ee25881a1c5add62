//! `doctor --json`.

use super::{Layout, SCHEMA, document};
use crate::model::{Check, by_fix};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
pub(super) struct Doc<'a> {
    schema: u32,
    checks: Vec<CheckDoc<'a>>,
    remedies: Vec<RemedyDoc<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct RemedyDoc<'a> {
    fix: String,
    state: &'static str,
    checks: Vec<&'a str>,
}

#[derive(Serialize, JsonSchema)]
struct CheckDoc<'a> {
    id: &'a str,
    state: &'static str,
    detail: &'a str,
    fix: Option<&'a str>,
}

/// The document for `doctor`.
pub fn doctor(checks: &[Check], layout: Layout) -> String {
    let remedies = by_fix(checks).into_iter().map(|remedy| RemedyDoc {
        fix: remedy.fix,
        state: remedy.state.as_str(),
        checks: remedy.checks.iter().map(|check| check.id.as_str()).collect(),
    });
    let checks = checks.iter().map(|check| CheckDoc {
        id: &check.id,
        state: check.state.as_str(),
        detail: &check.detail,
        fix: check.fix.as_deref(),
    });
    let doc = Doc { schema: SCHEMA, checks: checks.collect(), remedies: remedies.collect() };
    document(&doc, layout)
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
