//! `reap`; also the last part of a sweep that a person runs.

use super::entries::{self, SweepPart};
use super::{Context, Format, complain, present};
use crate::model::Execution;
use crate::model::reap::{ReapReport, ReapRule};
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::runs::reap;

/// Reaps, or shows what would be reaped.
pub(super) fn run(context: &Context, execution: Execution, chosen: &[String], format: Format) -> Exit {
    let rules = match entries::chosen("reap", &context.config.reaps, |rule| &rule.name, chosen) {
        Ok(rules) => rules,
        Err(exit) => return exit,
    };
    let report = reap::run(&context.host(), &rules, execution);
    present(
        &context.screen,
        format,
        || json::reap(&report, json::Layout::Pretty),
        || human::reap(&report, &context.screen),
    );
    if report.is_failed() { Exit::Error } else { Exit::Done }
}

/// The sweep's part; `None` where nothing is configured.
pub(super) fn part(context: &Context, part: SweepPart, execution: Execution) -> Option<ReapReport> {
    let rules: Vec<&ReapRule> = context.config.reaps.iter().collect();
    if rules.is_empty() || part == SweepPart::Left {
        return None;
    }
    let report = reap::run(&context.host(), &rules, execution);
    if report.is_failed() {
        complain(
            &"the reaper failed in part; the sweep itself did not: see its report, or `disk-guard status`",
        );
    }
    Some(report)
}
