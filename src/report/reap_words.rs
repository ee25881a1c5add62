//! The reaper's verdicts and results in words, for every sink that people read. All results are escaped.

use super::{escape, words};
use crate::model::reap::{
    Class, EntryReport, EnvironmentState, ReapDecision, ReapResult, ReapRule, Reaping, Stays,
};

/// The verdict's name for JSON and the journal.
pub fn verdict(verdict: &ReapDecision) -> &'static str {
    match verdict {
        ReapDecision::Reap(reason) => reason.as_str(),
        ReapDecision::Stay(stays) => stays.as_str(),
    }
}

/// One line for the journal.
pub fn deed(rule: &ReapRule, reaping: &Reaping) -> String {
    let what = match reaping.environment.class {
        Class::Environment => "environment",
        Class::Image => "image",
    };
    let name = format!("{} {what} {} ({})", rule.kind, escape::text(&reaping.environment.name), rule.name);
    match &reaping.result {
        ReapResult::Reaped => format!("reaped the {name}: {}", why(reaping)),
        ReapResult::Lied => format!("the {name} was reported as deleted by its tool and is still listed"),
        ReapResult::Failed(why) => format!("the {name} could not be reaped: {}", escape::text(why)),
        ReapResult::Changed(why) => {
            format!("left the {name} alone right before its delete: {}", escape::text(why))
        }
        ReapResult::Planned | ReapResult::Kept | ReapResult::Deferred(_) => format!("left the {name} alone"),
    }
}

/// The basis of a deletion.
pub fn grounds(reaping: &Reaping) -> String {
    let environment = &reaping.environment;
    let held = match environment.holds.len() {
        0 => String::new(),
        _ => {
            let named: Vec<String> =
                environment.holds.iter().take(8).map(|held| escape::text(held).into_owned()).collect();
            format!("; held {}", named.join(", "))
        }
    };
    let state = environment.state.as_str();
    format!(
        "{state} for {}, and still right before its delete; id {}{held}",
        words::span(reaping.seen_for),
        escape::text(&environment.id)
    )
}

/// Why it is deleted, or kept.
pub(super) fn why(reaping: &Reaping) -> String {
    let seen = words::span(reaping.seen_for);
    match &reaping.verdict {
        ReapDecision::Reap(crate::model::reap::ReapReason::Stopped) => match reaping.environment.class {
            Class::Environment => format!("stopped for {seen}"),
            Class::Image => format!("dangling and unused for {seen}"),
        },
        ReapDecision::Reap(crate::model::reap::ReapReason::NeverStarted) => {
            format!("never started, for {seen}")
        }
        ReapDecision::Reap(crate::model::reap::ReapReason::Idle) => {
            format!("it runs without a job and is surplus, for {seen}")
        }
        ReapDecision::Stay(stays) => match stays {
            Stays::Kept(pattern) => format!("listed in keep ({})", escape::text(pattern)),
            Stays::Running => match reaping.environment.class {
                Class::Environment => "it runs".to_owned(),
                Class::Image => "a container uses it".to_owned(),
            },
            Stays::Suspended => "it is suspended, and can be resumed".to_owned(),
            Stays::Unproven(why) => format!("it seems to be leaked, without proof: {}", escape::text(why)),
            Stays::Terminated => "it has ended, and its controller cleans up".to_owned(),
            Stays::Unknown(what) => format!("its shape is not known: {}", escape::text(what)),
            Stays::Ending => "it is being deleted already".to_owned(),
            Stays::Claimed(who) | Stays::RunnerInUse(who) => escape::text(who).into_owned(),
            Stays::Young { seen, needed } if reaping.environment.class == Class::Image => {
                format!("unused for {}, max_age is {}", words::span(*seen), words::span(*needed))
            }
            Stays::Young { seen, needed } if reaping.environment.state == EnvironmentState::Idle => {
                format!("idle for {}, min_age is {}", words::span(*seen), words::span(*needed))
            }
            Stays::Young { seen, needed } => {
                format!(
                    "{} for {}, max_age is {}",
                    reaping.environment.state.as_str(),
                    words::span(*seen),
                    words::span(*needed)
                )
            }
            Stays::Waiting { age, grace } => {
                format!(
                    "it has not started in {}, never_started_grace is {}",
                    words::span(*age),
                    words::span(*grace)
                )
            }
        },
    }
}

/// The result, if that is more than its verdict.
pub(super) fn result(result: &ReapResult) -> Option<String> {
    match result {
        ReapResult::Planned | ReapResult::Reaped | ReapResult::Kept => None,
        ReapResult::Changed(why) => {
            Some(format!("left alone right before its delete: {}", escape::text(why)))
        }
        ReapResult::Failed(why) => Some(escape::text(why).into_owned()),
        ReapResult::Lied => Some("its delete reported success, but it is still listed".to_owned()),
        ReapResult::Deferred(why) => Some(format!("left for the next run: {why}")),
    }
}

/// `5 listed, 3 matched: 1 leaked, 1 unknown`.
pub(super) fn sums(entry: &EntryReport) -> String {
    let mut text = format!("{} listed, {} matched", entry.listed, entry.reapings.len());
    let counts = [
        (entry.reaped(), "reaped"),
        (entry.leaked(), "leaked"),
        (entry.failed(), "failed"),
        (entry.waiting(), "not idle for long enough"),
        (entry.unproven(), "without proof"),
        (entry.unknown(), "unknown"),
    ];
    let named: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if !named.is_empty() {
        text.push_str(": ");
        text.push_str(&named.join(", "));
    }
    text
}
