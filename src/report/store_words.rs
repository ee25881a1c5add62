//! The decisions about stores, and their results, in words. Nothing here is escaped except the result of [`deed`].

use super::{escape, words};
use crate::model::stores::{Leaves, StoreReason, StoreReport, StoreResult, StoreVerdict};

/// Why a store is left alone.
pub fn leaves(why: &Leaves) -> String {
    match why {
        Leaves::NotNeeded => "nothing is needed from it".to_owned(),
        Leaves::AtItsFloor => "it holds no more than `keep` leaves it".to_owned(),
        Leaves::Rests => {
            "its last collection failed or freed almost nothing; it is left alone for an hour".to_owned()
        }
        Leaves::InUse(who) => format!("a build may be running: {who}"),
        Leaves::Unusable(why) => why.clone(),
    }
}

/// Why it is to be collected, and how much.
pub(super) fn why(report: &StoreReport) -> String {
    match &report.verdict {
        StoreVerdict::Leave(why) => leaves(why),
        StoreVerdict::Collect(reason, portion) => {
            let because = match reason {
                StoreReason::Pressure => "its disk lacks space",
                StoreReason::Size => "it is larger than `max_size`",
            };
            let how_much = match report.kind.is_bounded() {
                true => format!("{} of it", words::size(portion.bytes)),
                false => "everything that its tool releases".to_owned(),
            };
            format!("{because}: {how_much}")
        }
    }
}

/// The result; none if nothing was asked of it.
pub(super) fn result(report: &StoreReport) -> Option<String> {
    let freed = words::size(report.freed_bytes);
    match &report.result {
        StoreResult::Planned | StoreResult::Kept => None,
        StoreResult::Collected => {
            let is_little = report.freed_bytes < report.asked_bytes() / 10;
            let word = if is_little { "its tool reports success, and freed" } else { "freed" };
            Some(format!("{word} {freed} in {}", words::span(report.took)))
        }
        StoreResult::Interrupted(who) => {
            Some(format!("ended after {}: {who}; freed {freed}", words::span(report.took)))
        }
        StoreResult::Failed(why) => Some(format!("FAILED: {why}")),
        StoreResult::Deferred => Some("left for the next run: the time of this one is over".to_owned()),
    }
}

/// The detail beside the outcome, for JSON and the record.
pub fn detail(report: &StoreReport) -> Option<String> {
    match (&report.result, &report.verdict) {
        (StoreResult::Interrupted(why) | StoreResult::Failed(why), _) => Some(why.clone()),
        (StoreResult::Kept, StoreVerdict::Leave(why)) => Some(leaves(why)),
        _ => None,
    }
}

/// The verdict's name for JSON and the journal.
pub fn reason(report: &StoreReport) -> &'static str {
    match &report.verdict {
        StoreVerdict::Collect(reason, _) => reason.as_str(),
        StoreVerdict::Leave(why) => why.as_str(),
    }
}

/// One line for the journal.
pub fn deed(report: &StoreReport) -> String {
    let name = format!("{} ({})", report.name, report.kind);
    let came = result(report).unwrap_or_default();
    let text = match report.result {
        StoreResult::Collected => format!("collected the store {name}: {}; {came}", why(report)),
        StoreResult::Interrupted(_) => format!("the collection of the store {name} {came}"),
        _ => format!("the store {name}: {}; {came}", why(report)),
    };
    escape::text(&text).into_owned()
}
