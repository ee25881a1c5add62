//! `stores`; also a part of a sweep that a person runs, and of `plan`.

use super::entries::{self, SweepPart};
use super::{Context, Format, complain, present};
use crate::model::Execution;
use crate::model::stores::{StoreRule, StoresReport};
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::runs::stores;

/// Collects, or shows what would be collected.
pub(super) fn run(context: &Context, execution: Execution, chosen: &[String], format: Format) -> Exit {
    let rules = match entries::chosen("store", &context.config.stores, |rule| &rule.name, chosen) {
        Ok(rules) => rules.into_iter().cloned().collect::<Vec<StoreRule>>(),
        Err(exit) => return exit,
    };
    let Some(report) = collect(context, &rules, execution) else { return Exit::Error };
    present(
        &context.screen,
        format,
        || json::stores(&report, json::Layout::Pretty),
        || human::stores(&report, &context.screen),
    );
    if report.is_failed() { Exit::Error } else { Exit::Done }
}

/// The part of a sweep or a plan; `None` where nothing is configured.
pub(super) fn part(context: &Context, part: SweepPart, execution: Execution) -> Option<StoresReport> {
    if context.config.stores.is_empty() || part == SweepPart::Left {
        return None;
    }
    let report = collect(context, &context.config.stores, execution)?;
    if report.is_failed() && execution == Execution::Apply {
        complain(
            &"stores could not all be collected; the sweep itself did not fail: see its report, or `disk-guard status`",
        );
    }
    Some(report)
}

/// `None` where the run cannot begin; that is reported.
fn collect(context: &Context, rules: &[StoreRule], execution: Execution) -> Option<StoresReport> {
    stores::run(&context.host(), rules, execution).inspect_err(|error| complain(error)).ok()
}
