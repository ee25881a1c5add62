//! The decision: pure. Whether an environment is leaked, and if not, why it is kept.
//!
//! The strongest reason is reported: what protects an environment comes before how young it is.

use crate::model::Liveness;
use crate::model::reap::patterns;
use crate::model::reap::{Environment, EnvironmentState, ReapDecision, ReapReason, ReapRule, Stays};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// The inputs of the decision.
#[derive(Debug)]
pub struct ReapInput<'a> {
    /// The entry.
    pub rule: &'a ReapRule,
    /// The state of each runner that an environment names. One that is missing here is unknown.
    pub runners: &'a HashMap<String, Liveness>,
    /// Now.
    pub now: SystemTime,
}

impl ReapInput<'_> {
    /// The verdict on an environment first seen in its state at `first_seen`; `None` when `match` does not name it.
    pub fn decide(&self, environment: &Environment, first_seen: SystemTime) -> Option<ReapDecision> {
        patterns::first(&self.rule.matches, environment)?;
        Some(match self.protection(environment) {
            Some(stays) => ReapDecision::Stay(stays),
            None => self.by_age(environment, first_seen),
        })
    }

    /// How long it has been in its state. A time in the future counts as zero.
    pub fn seen_for(&self, environment: &Environment, first_seen: SystemTime) -> Duration {
        let first_seen = environment.last_used.map_or(first_seen, |used| used.min(first_seen));
        self.elapsed(environment.since.unwrap_or(first_seen))
    }

    fn elapsed(&self, then: SystemTime) -> Duration {
        self.now.duration_since(then).unwrap_or_default()
    }

    fn protection(&self, environment: &Environment) -> Option<Stays> {
        let members = environment.members.iter().map(|(name, labels)| Environment {
            labels: labels.clone(),
            ..Environment::new(environment.id.clone(), name.clone(), environment.state.clone())
        });
        let of_member = |member: Environment| patterns::first(&self.rule.keep, &member);
        if let Some(pattern) =
            patterns::first(&self.rule.keep, environment).or_else(|| members.into_iter().find_map(of_member))
        {
            return Some(Stays::Kept(pattern.text().to_owned()));
        }
        if environment.is_ending {
            return Some(Stays::Ending);
        }
        match &environment.state {
            EnvironmentState::Running => return Some(Stays::Running),
            EnvironmentState::Suspended => return Some(Stays::Suspended),
            EnvironmentState::Terminated => return Some(Stays::Terminated),
            EnvironmentState::Unknown(what) => return Some(Stays::Unknown(what.clone())),
            EnvironmentState::Stopped | EnvironmentState::NeverStarted | EnvironmentState::Idle => {}
        }
        if !is_plain(&environment.id) {
            return Some(Stays::Unknown("its name cannot be handed to a program safely".to_owned()));
        }
        if let Some(claim) = &environment.claim {
            return Some(Stays::Claimed(claim.clone()));
        }
        let runner = environment.runner.as_deref()?;
        match self.runners.get(runner) {
            Some(Liveness::Idle) => None,
            Some(state) => Some(Stays::RunnerInUse(format!("its runner {runner} is {state}"))),
            None => Some(Stays::RunnerInUse(format!("its runner {runner} is not known on this host"))),
        }
    }

    fn by_age(&self, environment: &Environment, first_seen: SystemTime) -> ReapDecision {
        let age = self.elapsed(environment.created.or(environment.since).unwrap_or(first_seen));
        let seen = self.seen_for(environment, first_seen);
        let young = |seen, needed| ReapDecision::Stay(Stays::Young { seen, needed });
        let reason = match environment.state {
            // It has one job in its life: the time without one counts.
            EnvironmentState::Idle if age < self.rule.min_age => return young(age, self.rule.min_age),
            EnvironmentState::Idle => ReapReason::Idle,
            EnvironmentState::NeverStarted => {
                let grace = self.rule.never_started_grace;
                if age < grace {
                    return ReapDecision::Stay(Stays::Waiting { age, grace });
                }
                ReapReason::NeverStarted
            }
            _ => ReapReason::Stopped,
        };
        if reason != ReapReason::Idle && seen < self.rule.max_age {
            return young(seen, self.rule.max_age);
        }
        match &environment.doubt {
            Some(missing) => ReapDecision::Stay(Stays::Unproven(missing.clone())),
            None => ReapDecision::Reap(reason),
        }
    }
}

/// Whether an id is a single word for every program and every shell, no option, and no path to elsewhere: over `ssh` it passes through a
/// shell.
pub fn is_plain(id: &str) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:@+/,".contains(&byte);
    let is_way = |part: &str| matches!(part, "." | ".." | "");
    id.len() <= 512
        && !id.split('/').any(is_way)
        && id.as_bytes().first().is_some_and(is_first)
        && id.bytes().all(is_plain)
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
