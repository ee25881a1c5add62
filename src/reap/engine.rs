//! One entry's run: list, decide, and for each leaked one: look again, delete, look again.
//!
//! Only environments in the plan are deleted; execution may skip or stop, it never adds. The order is by age in the state: the longest
//! idle is deleted first. The run ends at its deadline, give or take one environment.

use super::bounds;
use super::decision::ReapInput;
use super::first_seen::FirstSeen;
use super::sources::{EnvironmentSource, SourceError, distinct};
use crate::model::Execution;
use crate::model::Liveness;
use crate::model::reap::{
    EntryReport, Environment, EnvironmentState, ReapDecision, ReapResult, ReapRule, Reaping, Stays,
};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

/// How long between looks at an environment that is being deleted.
const ENDING_LOOK: Duration = Duration::from_secs(1);

/// How many running ones are asked whether anything works in them, for each one that a run may delete.
const ASKED: usize = 3;

/// Receives events as they happen.
pub trait ReapEvents {
    /// Something is about to be deleted for the first time in this entry's run.
    fn begun(&mut self, rule: &ReapRule);
    /// The result of a delete.
    fn outcome(&mut self, rule: &ReapRule, reaping: &Reaping, took: Duration);
    /// The source could not list.
    fn list_failed(&mut self, rule: &ReapRule, why: &str);
}

/// The inputs of a run.
pub struct ReapRun<'a> {
    /// The entry.
    pub rule: &'a ReapRule,
    /// The tool that lists and deletes.
    pub source: &'a dyn EnvironmentSource,
    /// The state of this host's runners; asked only when an environment names one.
    pub runners: &'a dyn Fn(&BTreeSet<String>) -> HashMap<String, Liveness>,
    /// The wall clock.
    pub clock: fn() -> SystemTime,
    /// When to stop.
    pub deadline: Instant,
    /// Whether anything is deleted.
    pub execution: Execution,
    /// The receiver of events.
    pub events: &'a mut dyn ReapEvents,
}

impl ReapRun<'_> {
    /// Runs the entry. `seen` is updated by the listing.
    pub fn run(&mut self, seen: &mut FirstSeen) -> EntryReport {
        let mut report = EntryReport {
            name: self.rule.name.clone(),
            kind: self.rule.kind,
            listed: 0,
            error: None,
            reapings: Vec::new(),
            notes: Vec::new(),
        };
        let sight = ListingJudge { rule: self.rule, runners: self.runners, clock: self.clock };
        let listing = match self.list() {
            Ok(listing) => listing,
            Err(error) => {
                report.error = Some(error.to_string());
                if self.execution == Execution::Apply {
                    self.events.list_failed(self.rule, &error.to_string());
                }
                return report;
            }
        };
        report.listed = listing.len();
        seen.observe(&listing, (self.clock)());
        report.reapings = sight.judge(&listing, seen);
        if report.listed > 0 && report.reapings.is_empty() {
            report.notes.push(format!("`match` matches none of the {} that are listed", report.listed));
        }
        let matched: Vec<&Environment> = report.reapings.iter().map(|reaping| &reaping.environment).collect();
        report.notes.extend(self.source.remarks(&matched, (self.clock)()));
        let chosen = self.choose(&mut report.reapings);
        match self.execution {
            Execution::DryRun => self.preview(&mut report, &chosen),
            Execution::Apply => self.execute(&mut report, &chosen, &sight, seen),
        }
        report
    }

    fn list(&self) -> Result<Vec<Environment>, SourceError> {
        let mut listing = self.source.list((self.clock)())?;
        distinct(&listing)?;
        listing.iter_mut().for_each(bounds::keep);
        Ok(listing)
    }

    fn preview(&self, report: &mut EntryReport, chosen: &[usize]) {
        for &index in chosen {
            let reaping = &mut report.reapings[index];
            reaping.result = ReapResult::Planned;
            self.say_what_goes(&mut reaping.environment);
        }
    }

    /// For people only: a delete checks for itself.
    fn say_what_goes(&self, environment: &mut Environment) {
        if let Ok(holds) = self.source.holdings(environment) {
            environment.holds = holds;
        }
    }

    /// The leaked ones that this run deletes, the longest idle first; the others are left for the next. Running ones are asked first
    /// whether anything works in them.
    fn choose(&self, reapings: &mut [Reaping]) -> Vec<usize> {
        let (cap, mut chosen, mut asked) = (self.rule.max_per_run, Vec::new(), 0);
        for index in leaked(reapings) {
            let reaping = &mut reapings[index];
            if chosen.len() >= cap {
                reaping.result = ReapResult::Deferred("max_per_run is reached");
                continue;
            }
            if reaping.environment.state == EnvironmentState::Idle {
                if asked >= cap.saturating_mul(ASKED) || Instant::now() >= self.deadline {
                    reaping.result = ReapResult::Deferred("it was not asked whether anything works in it");
                    continue;
                }
                asked += 1;
                if let Some(objection) = self.source.objection(&reaping.environment) {
                    reaping.verdict = ReapDecision::Stay(objection.into());
                    continue;
                }
            }
            reaping.result = ReapResult::Deferred("the time of the run is over");
            chosen.push(index);
        }
        chosen
    }

    fn execute(
        &mut self,
        report: &mut EntryReport,
        chosen: &[usize],
        sight: &ListingJudge<'_>,
        seen: &FirstSeen,
    ) {
        if !chosen.is_empty() {
            self.events.begun(self.rule);
        }
        for (number, &index) in chosen.iter().enumerate() {
            if number > 0 && number % self.rule.batch == 0 {
                let left = self.deadline.saturating_duration_since(Instant::now());
                std::thread::sleep(self.rule.pause.min(left));
            }
            if Instant::now() >= self.deadline {
                report.notes.push("the time of this run is over; the rest is for the next one".to_owned());
                return;
            }
            let begun = Instant::now();
            let reaping = &mut report.reapings[index];
            match self.one(reaping, sight, seen) {
                Ok(result) => reaping.result = result,
                Err(stop) => {
                    reaping.result = stop.result;
                    report.error = Some(stop.why.clone());
                    self.events.list_failed(self.rule, &stop.why);
                }
            }
            let reaping = &report.reapings[index];
            if !matches!(reaping.result, ReapResult::Deferred(_)) {
                self.events.outcome(self.rule, reaping, begun.elapsed());
            }
            if report.error.is_some() {
                return;
            }
        }
    }

    /// One environment: looked at again, deleted, and searched.
    fn one(
        &self,
        reaping: &mut Reaping,
        sight: &ListingJudge<'_>,
        seen: &FirstSeen,
    ) -> Result<ReapResult, Stop> {
        let listing = self.list().map_err(|error| Stop {
            why: error.to_string(),
            result: ReapResult::Deferred("the listing before its delete failed"),
        })?;
        let fresh = match sight.recheck(reaping, &listing, seen) {
            Ok(fresh) => fresh,
            Err(changed) => return Ok(ReapResult::Changed(changed)),
        };
        if fresh.state == EnvironmentState::Idle
            && let Some(objection) = self.source.objection(fresh)
        {
            return Ok(ReapResult::Changed(changed(&objection.into(), &fresh.state)));
        }
        self.say_what_goes(&mut reaping.environment);
        let deleted = self.source.delete(fresh);
        let gone = self.is_gone(fresh);
        match (deleted, gone) {
            (Ok(()), Ok(Gone::Yes)) => Ok(ReapResult::Reaped),
            (Ok(()), Ok(Gone::No)) => Ok(ReapResult::Lied),
            (Ok(()), Ok(Gone::Again(state))) => Ok(ReapResult::Failed(format!(
                "it is listed again as {state}: created again under the same name, or never deleted"
            ))),
            (Ok(()), Ok(Gone::Ending)) => {
                Ok(ReapResult::Failed(format!("it is still being deleted after {:?}", self.rule.timeout)))
            }
            (Err(error), Ok(Gone::Yes)) => {
                Ok(ReapResult::Failed(format!("{error}; it is gone nevertheless")))
            }
            (Err(error), Ok(_)) => Ok(ReapResult::Failed(error.to_string())),
            (deleted, Err(error)) => {
                let deleted = deleted.err().map(|error| format!("{error}; ")).unwrap_or_default();
                let why = format!("{deleted}whether it is gone cannot be determined: {error}");
                Err(Stop { result: ReapResult::Failed(why), why: error.to_string() })
            }
        }
    }

    /// Whether it is gone; one that is being deleted is waited for.
    fn is_gone(&self, deleted: &Environment) -> Result<Gone, SourceError> {
        let patience = (Instant::now() + self.rule.timeout).min(self.deadline);
        loop {
            let listing = self.list()?;
            let Some(found) = listing.iter().find(|found| found.id == deleted.id) else {
                return Ok(Gone::Yes);
            };
            let is_same = found.state == deleted.state && found.mark == deleted.mark;
            match (found.is_ending, is_same) {
                (true, _) if Instant::now() >= patience => return Ok(Gone::Ending),
                (true, _) => std::thread::sleep(ENDING_LOOK),
                (false, true) => return Ok(Gone::No),
                (false, false) => return Ok(Gone::Again(found.state.as_str())),
            }
        }
    }
}

/// The result of a listing after a delete.
enum Gone {
    Yes,
    No,
    Ending,
    Again(&'static str),
}

/// The run cannot continue.
struct Stop {
    result: ReapResult,
    why: String,
}

/// How listings are judged.
struct ListingJudge<'a> {
    rule: &'a ReapRule,
    runners: &'a dyn Fn(&BTreeSet<String>) -> HashMap<String, Liveness>,
    clock: fn() -> SystemTime,
}

impl ListingJudge<'_> {
    /// A verdict for each that `match` matches.
    fn judge(&self, listing: &[Environment], seen: &FirstSeen) -> Vec<Reaping> {
        let runners = self.ask(listing.iter());
        let input = self.input(&runners);
        let judged = listing.iter().filter_map(|environment| {
            let first = seen.since(environment, input.now);
            let verdict = input.decide(environment, first)?;
            let seen_for = input.seen_for(environment, first);
            Some(Reaping { environment: environment.clone(), verdict, seen_for, result: ReapResult::Kept })
        });
        judged.collect()
    }

    /// The present environment, when all reasons for its deletion still hold.
    fn recheck<'l>(
        &self,
        planned: &Reaping,
        listing: &'l [Environment],
        seen: &FirstSeen,
    ) -> Result<&'l Environment, String> {
        let before = &planned.environment;
        let fresh = listing.iter().find(|fresh| fresh.id == before.id);
        let fresh = fresh.ok_or_else(|| "it is gone already".to_owned())?;
        if fresh.mark != before.mark || fresh.name != before.name {
            return Err("it has been used since it was examined".to_owned());
        }
        let runners = self.ask(std::iter::once(fresh));
        let input = self.input(&runners);
        match input.decide(fresh, seen.since(fresh, input.now)) {
            Some(verdict) if verdict == planned.verdict => Ok(fresh),
            Some(ReapDecision::Stay(stays)) => Err(changed(&stays, &fresh.state)),
            Some(ReapDecision::Reap(_)) | None => Err("it has changed since it was examined".to_owned()),
        }
    }

    fn ask<'e>(&self, environments: impl Iterator<Item = &'e Environment>) -> HashMap<String, Liveness> {
        let named: BTreeSet<String> =
            environments.filter_map(|environment| environment.runner.clone()).collect();
        if named.is_empty() { HashMap::new() } else { (self.runners)(&named) }
    }

    fn input<'t>(&'t self, runners: &'t HashMap<String, Liveness>) -> ReapInput<'t> {
        ReapInput { rule: self.rule, runners, now: (self.clock)() }
    }
}

fn changed(stays: &Stays, state: &EnvironmentState) -> String {
    match stays {
        Stays::RunnerInUse(why) | Stays::Claimed(why) | Stays::Unproven(why) => why.clone(),
        Stays::Ending => "another process is deleting it".to_owned(),
        Stays::Unknown(what) => format!("it is unknown now: {what}"),
        _ => format!("it is {} now", state.as_str()),
    }
}

/// The leaked ones, the longest idle first.
fn leaked(reapings: &[Reaping]) -> Vec<usize> {
    let mut leaked: Vec<usize> = (0..reapings.len())
        .filter(|index| matches!(reapings[*index].verdict, ReapDecision::Reap(_)))
        .collect();
    leaked.sort_by(|one, other| {
        let (one, other) = (&reapings[*one], &reapings[*other]);
        other.seen_for.cmp(&one.seen_for).then_with(|| one.environment.id.cmp(&other.environment.id))
    });
    leaked
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
