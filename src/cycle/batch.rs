//! Claims in batches: under one hold of the host lock several caches are claimed, with one look at processes and leases before
//! all of their renames and one after them. Each claim goes through the steps of a single one in the same order (slot, look,
//! rename, look, put back on any doubt), so what `tests/model` shows of one holds of each.
//!
//! What can be computed before is computed before: under the lock nothing grows with the number of runners but the looks at
//! leases and processes, which a batch shares. Between batches, whoever waits for the lock gets it.

use super::scrutiny::Scrutiny;
use super::{Cycle, CycleError, MAX_GIVING_WAY, State};
use crate::lock::ExclusiveLock;
use crate::model::{Action, ActionResult, Decision, HostFacts, KeepReason, Uid};
use crate::observe::caches::open_work;
use crate::reclaim::claim::{Claim, Phase, Prepared, Renamed, claim, needs_place_beside};
use crate::reclaim::execute::Tree;
use crate::sys::dir::Dir;
use rustix::process::{Resource, getrlimit};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many claims share one hold of the lock,
const BATCH: usize = 32;

/// and no further one is begun when preparing them has taken so long: directories may have to come from a slow disk.
const PREPARATION: Duration = Duration::from_millis(15);

/// So long the lock is left alone between two holds: a waiter that is woken needs a moment to take it.
const PAUSE: Duration = Duration::from_millis(4);

/// How many caches one round claims: each holds three descriptors until it is deleted, of all that this process may have.
fn most_claims() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / 8).unwrap_or(usize::MAX).clamp(1, 128)
}

/// What helps where a directory cannot be moved within its own filesystem.
const IMMOVABLE: &str = "on an overlay it lies in the image's layers, where its removal would free nothing: mount a volume for work \
                         directories; elsewhere it belongs to another project's quota: give all of the work directory one project";

/// `EXDEV`: so an overlay says of a directory that it would have to copy, and a project quota of one that is another's.
fn is_immovable(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::CrossesDevices
}

/// A claim that has come to its end.
struct Ended<'p> {
    action: &'p Action,
    work: Option<Dir>,
    claim: Claim,
}

impl<'p> Ended<'p> {
    fn needs_place_beside(&self) -> bool {
        matches!(&self.claim, Claim::Failed(error) if needs_place_beside(&self.action.cache, error))
    }

    /// The tree, where one was claimed under `lock`; what else it came to otherwise.
    fn settle(self, lock: &ExclusiveLock) -> Result<Tree<Dir>, (&'p Action, Claim)> {
        match (self.claim, self.work) {
            (Claim::Claimed(claimed), Some(work)) => Ok(Tree::new(lock, self.action, work, claimed)),
            (claim, _) => Err((self.action, claim)),
        }
    }
}

impl Cycle<'_> {
    /// Takes the lock for claims. `None` when other guards have claimed something since this run's look at the trash: its space
    /// is about to be free, and the round begins again.
    pub(super) fn lock_for_claims(
        &mut self,
        facts: &HostFacts,
        state: &mut State,
    ) -> Result<Option<ExclusiveLock>, CycleError> {
        loop {
            let lock = self.exclusive()?;
            let last = lock.last_claims();
            if last == state.last_claims || state.gave_way >= MAX_GIVING_WAY {
                return Ok(Some(lock));
            }
            // The look at everybody's trash takes longer with every runner: not under the lock.
            drop(lock);
            state.last_claims = last;
            state.gave_way += 1;
            if self.newly_claimed(facts, state) {
                return Ok(None);
            }
        }
    }

    /// Claims what is planned, in batches, the first of them under `lock`: what has been claimed, and whether more was planned
    /// than this round may claim. What does not come about is recorded.
    pub(super) fn claim_all(
        &mut self,
        lock: ExclusiveLock,
        planned: &[&Action],
        facts: &HostFacts,
        scrutiny: &mut Scrutiny<'_>,
        looked: Instant,
        state: &mut State,
    ) -> Result<(Vec<Tree<Dir>>, bool), CycleError> {
        let mut taken = Vec::new();
        let mut rest = planned;
        // What finds no room in a slot is claimed beside its place. That is announced in the lock's file, which has room for one:
        // each gets a hold of its own.
        let mut beside: VecDeque<&Action> = VecDeque::new();
        let mut held = Some(lock);
        while !(rest.is_empty() && beside.is_empty()) {
            if looked.elapsed() > self.config.hook.lock_wait / 2 || taken.len() >= most_claims() {
                return Ok((taken, true));
            }
            let lock = match held.take() {
                Some(lock) => lock,
                None => {
                    std::thread::sleep(PAUSE);
                    match self.lock_for_claims(facts, state) {
                        Ok(Some(lock)) => lock,
                        Ok(None) => return Ok((taken, true)),
                        // What has been claimed is deleted all the same.
                        Err(_) if !taken.is_empty() => return Ok((taken, true)),
                        Err(error) => return Err(error),
                    }
                }
            };
            let begun = Instant::now();
            let ended = match beside.pop_front() {
                Some(action) => vec![claim_alone(&lock, action, scrutiny)],
                None => {
                    let most = BATCH.min(most_claims() - taken.len());
                    let (ended, done) = claim_batch(&lock, &rest[..rest.len().min(most)], scrutiny);
                    rest = &rest[done..];
                    let (full, ended): (Vec<_>, Vec<_>) =
                        ended.into_iter().partition(Ended::needs_place_beside);
                    beside.extend(full.iter().map(|ended| ended.action));
                    ended
                }
            };
            let settled: Vec<_> = ended.into_iter().map(|ended| ended.settle(&lock)).collect();
            if settled.iter().any(Result::is_ok) {
                state.last_claims = lock.note_claims();
            }
            drop(lock);
            for settled in settled {
                match settled {
                    Ok(tree) => {
                        tree.report(self.events);
                        taken.push(tree);
                    }
                    Err((action, claim)) => self.not_claimed(action, claim, begun.elapsed(), state),
                }
            }
        }
        Ok((taken, false))
    }

    /// Records what a claim came to that claimed nothing.
    fn not_claimed(&mut self, action: &Action, claim: Claim, took: Duration, state: &mut State) {
        let (decision, result) = match claim {
            Claim::Claimed(_) => return,
            Claim::Restored(evidence) => (None, ActionResult::Restored(evidence)),
            Claim::Changed(reason) => (None, ActionResult::Changed(reason)),
            Claim::Failed(error) if is_immovable(&error) => {
                let on = action.cache.base(&action.runner).map(|base| base.filesystem);
                match on.is_some_and(|on| !state.giving.cannot_move(on)) {
                    true => (Some(KeepReason::GivesLittle), ActionResult::Kept),
                    false => {
                        let why = format!("it could not be moved to trash: {error}; {IMMOVABLE}");
                        (None, ActionResult::Failed(why))
                    }
                }
            }
            Claim::Failed(error) => {
                (None, ActionResult::Failed(format!("it could not be moved to trash: {error}")))
            }
            Claim::Refused(evidence) => (Some(KeepReason::Protected(evidence)), ActionResult::Kept),
        };
        let decision = decision.map_or_else(|| action.decision.clone(), Decision::Keep);
        let action = Action { decision, ..action.clone() };
        state.record(self.events, action, result, took);
    }
}

/// Claims as many of these as one hold of the lock is for; how they ended, and how many there were.
fn claim_batch<'p>(
    lock: &ExclusiveLock,
    planned: &[&'p Action],
    scrutiny: &mut Scrutiny<'_>,
) -> (Vec<Ended<'p>>, usize) {
    let mut ended = Vec::new();
    let mut prepared: Vec<(&Action, Dir, Prepared<'_>)> = Vec::new();
    let mut done = 0;
    for &action in planned {
        if done > 0 && lock.held_for() > PREPARATION {
            break;
        }
        done += 1;
        match lock.while_looking(|| prepare(action)) {
            Ok((work, claim)) => prepared.push((action, work, claim)),
            Err(claim) => ended.push(Ended { action, work: None, claim }),
        }
    }
    if prepared.is_empty() {
        return (ended, done);
    }
    lock.while_looking(|| scrutiny.look_again(prepared.iter().map(|(action, ..)| *action)));
    let mut renamed: Vec<(&Action, Dir, Renamed<'_>)> = Vec::new();
    for (action, work, claim) in prepared {
        let doubts = lock.while_looking(|| scrutiny.doubts(action, None));
        let outcome = match doubts.is_empty() {
            true => claim.rename(),
            false => Err(claim.refuse(doubts)),
        };
        match outcome {
            Ok(claim) => renamed.push((action, work, claim)),
            Err(claim) => ended.push(Ended { action, work: Some(work), claim }),
        }
    }
    if !renamed.is_empty() {
        lock.while_looking(|| scrutiny.look_again(renamed.iter().map(|(action, ..)| *action)));
    }
    for (action, work, claim) in renamed {
        let doubts = lock.while_looking(|| scrutiny.doubts(action, Some(claim.tree())));
        ended.push(Ended { action, work: Some(work), claim: claim.settle(doubts) });
    }
    (ended, done)
}

fn prepare(action: &Action) -> Result<(Dir, Prepared<'_>), Claim> {
    let (work, owner) = open(action)?;
    let prepared = Prepared::new(&work, owner, &action.cache)?;
    Ok((work, prepared))
}

/// The directory that a cache is claimed from, and whose it is.
fn open(action: &Action) -> Result<(Dir, Uid), Claim> {
    let base = action
        .cache
        .base(&action.runner)
        .ok_or_else(|| Claim::Changed("its runner has no work directory any more".to_owned()))?;
    let work = open_work(base)
        .map_err(|error| Claim::Changed(format!("the work directory cannot be opened: {error}")))?;
    Ok((work, base.owner))
}

/// Claims one, with looks of its own.
fn claim_alone<'p>(lock: &ExclusiveLock, action: &'p Action, scrutiny: &mut Scrutiny<'_>) -> Ended<'p> {
    let (work, owner) = match open(action) {
        Ok(opened) => opened,
        Err(claim) => return Ended { action, work: None, claim },
    };
    let claim = claim(lock, &work, owner, &action.cache, &mut |moment| {
        let tree = match moment {
            Phase::Before => None,
            Phase::After(tree) => Some(tree),
        };
        lock.while_looking(|| {
            scrutiny.look_again(std::iter::once(action));
            scrutiny.doubts(action, tree)
        })
    });
    Ended { action, work: Some(work), claim }
}
