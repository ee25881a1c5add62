//! `postmortem --json`.

use super::{Layout, SCHEMA, document, path_fields, time};
use crate::postmortem::nouns::{Case, Death, Report, Verdict};
use serde::Serialize;

#[derive(Serialize)]
struct Doc<'a> {
    schema: u32,
    since: String,
    runner: Option<&'a str>,
    runners: usize,
    jobs: usize,
    deaths: Vec<CaseDoc<'a>>,
    notes: &'a [String],
}

/// The nouns carry their own names: those of the record that is kept are the same.
#[derive(Serialize)]
struct CaseDoc<'a> {
    #[serde(flatten)]
    death: &'a Death,
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_bytes: Option<String>,
    #[serde(flatten)]
    verdict: &'a Verdict,
    examined: String,
    kept: bool,
}

impl<'a> CaseDoc<'a> {
    fn new(case: &'a Case) -> Self {
        let (root, root_bytes) = path_fields(&case.death.root);
        Self {
            death: &case.death,
            root,
            root_bytes,
            verdict: &case.verdict,
            examined: time(case.examined),
            kept: case.kept,
        }
    }
}

/// The document for `postmortem`.
pub fn postmortem(report: &Report, layout: Layout) -> String {
    let doc = Doc {
        schema: SCHEMA,
        since: time(report.since),
        runner: report.runner.as_deref(),
        runners: report.runners,
        jobs: report.jobs,
        deaths: report.cases.iter().map(CaseDoc::new).collect(),
        notes: &report.notes,
    };
    document(&doc, layout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_death_with_everything() {
        let text = postmortem(&samples::postmortem(), Layout::Pretty);
        insta::assert_snapshot!(text, @"");
    }
}
