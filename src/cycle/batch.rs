//! Claims in batches: under one hold of the host lock several caches are claimed, with one look at processes and leases before all of
//! their renames and one after them. Each claim goes through the steps of a single one in the same order (slot, look, rename, look, undo
//! on any doubt), so the properties that `tests/model` proves for one claim hold for each.
//!
//! **Before the lock.** The slots are made and the look before the renames is taken: a job that begins after that look removes the slot
//! and writes a lease. Under the lock the directory of leases is compared with its content at that look. When a job has begun or ended
//! meanwhile, the lock is released and the look repeated before the lock is taken anew. If jobs begin faster than that, or may begin
//! without our hook, the look is taken under the lock ([`Scrutiny::is_fenced`]).
//!
//! **Under the lock.** The renames, the look after them, and the undo of claims. A hold renames no more than it has time for; the rest of
//! the batch waits for the next one. Only the looks at leases and processes grow with the number of runners. Between two holds, other
//! processes that wait for the lock get it.

use super::scrutiny::Scrutiny;
use super::{Cycle, CycleError, MAX_GIVING_WAY, SweepState};
use crate::lock::ExclusiveLock;
use crate::model::{Action, ActionResult, Decision, HostFacts, KeepReason, Uid};
use crate::observe::caches::open_work;
use crate::reclaim::claim::{Claim, Phase, Renamed, Reserved, claim, needs_place_beside};
use crate::reclaim::execute::ClaimedTree;
use crate::sys::dir::Dir;
use rustix::process::{Resource, getrlimit};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The number of claims that share one look before the lock.
const BATCH: usize = 64;

/// The intended length of a hold, or one and a half times the length of its look if that is longer. A look that has to be taken before the
/// renames as well is added.
const HOLD: Duration = Duration::from_millis(50);

/// The number of looks taken without the lock before one is taken under it.
const LOOKS: usize = 4;

/// The minimum time for asking the kernel whether files are open.
const QUESTIONS: Duration = Duration::from_millis(2);

/// The time between two holds in which the lock is free: a waiting process that is woken needs a moment to take it.
const PAUSE: Duration = Duration::from_millis(4);

/// How many caches one round claims: each holds three descriptors until it is deleted, of the limit of this process.
fn most_claims() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / 8).unwrap_or(usize::MAX).clamp(1, 128)
}

/// The advice where a directory cannot be moved within its own filesystem.
const IMMOVABLE: &str = "on an overlay it is in the image's layers, where its removal would free nothing: mount a volume for work directories; elsewhere it belongs to another project's quota: assign the whole work directory to one project";

/// `EXDEV`: an overlay returns it for a directory that it would have to copy, and a project quota for a directory of another project.
fn is_immovable(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::CrossesDevices
}

/// A claim that has ended.
struct ClaimEnd<'p> {
    action: &'p Action,
    work: Option<Dir>,
    claim: Claim,
}

impl<'p> ClaimEnd<'p> {
    fn needs_place_beside(&self) -> bool {
        // After the attempt its work directory is open.
        self.work.is_none()
            && matches!(&self.claim, Claim::Failed(error) if needs_place_beside(&self.action.cache, error))
    }

    /// The tree, where one was claimed under `lock`; itself otherwise.
    fn settle(self, lock: &ExclusiveLock) -> Result<ClaimedTree<Dir>, Self> {
        match (self.claim, self.work) {
            (Claim::Claimed(claimed), Some(work)) => Ok(ClaimedTree::new(lock, self.action, work, claimed)),
            (claim, work) => Err(Self { action: self.action, work, claim }),
        }
    }
}

impl Cycle<'_> {
    /// Takes the lock for claims. `None` when other guards have claimed something since this run's look at the trash: its space will be
    /// free soon, and the round begins again.
    pub(super) fn lock_for_claims(
        &mut self,
        facts: &HostFacts,
        state: &mut SweepState,
    ) -> Result<Option<ExclusiveLock>, CycleError> {
        loop {
            let lock = self.exclusive()?;
            let last = lock.last_claims();
            if last == state.last_claims || state.gave_way >= MAX_GIVING_WAY {
                return Ok(Some(lock));
            }
            // Looking at all trash takes longer with every runner, so it is not done under the lock.
            drop(lock);
            state.last_claims = last;
            state.gave_way += 1;
            if self.newly_claimed(facts, state) {
                return Ok(None);
            }
        }
    }

    /// Claims the planned caches in batches: the claimed trees, and whether more was planned than this round may claim. Claims that fail
    /// are recorded.
    pub(super) fn claim_all(
        &mut self,
        planned: &[&Action],
        facts: &HostFacts,
        scrutiny: &mut Scrutiny<'_>,
        looked: Instant,
        state: &mut SweepState,
    ) -> Result<(Vec<ClaimedTree<Dir>>, bool), CycleError> {
        let mut taken: Vec<ClaimedTree<Dir>> = Vec::new();
        let mut rest = planned;
        let mut batch = ClaimBatch::default();
        // Caches without room in a slot are claimed in place. That is announced in the lock's file, which has room for one announcement:
        // each gets a hold of its own.
        let mut beside: VecDeque<&Action> = VecDeque::new();
        let mut is_first = true;
        let limit = self.config.hook.lock_wait / 2;
        let is_stale = || looked.elapsed() > limit;
        while !(rest.is_empty() && beside.is_empty() && batch.waiting.is_empty()) {
            if is_stale() || taken.len() >= most_claims() {
                batch.discard();
                return Ok((taken, true));
            }
            let begun = Instant::now();
            if beside.is_empty() && batch.waiting.is_empty() {
                let most = BATCH.min(most_claims() - taken.len());
                let (next, ended) = ClaimBatch::of(&rest[..rest.len().min(most)], scrutiny);
                rest = &rest[next.waiting.len() + ended.len()..];
                batch = next;
                let ended = ended.into_iter().chain(batch.look_unless_under_lock(scrutiny));
                beside.extend(self.note_ended(ended.collect(), begun.elapsed(), state));
                continue;
            }
            if !std::mem::take(&mut is_first) {
                std::thread::sleep(PAUSE);
            }
            let lock = match self.lock_for_claims(facts, state) {
                Ok(Some(lock)) if !is_stale() => lock,
                stopped => {
                    batch.discard();
                    return match stopped {
                        // The trees that have been claimed are deleted all the same.
                        Err(error) if taken.is_empty() => Err(error),
                        _ => Ok((taken, true)),
                    };
                }
            };
            let begun = Instant::now();
            let ended = match beside.pop_front() {
                Some(action) => vec![claim_alone(&lock, action, scrutiny)],
                None if batch.may_look_again(scrutiny) => {
                    drop(lock);
                    let ended = batch.look(scrutiny);
                    beside.extend(self.note_ended(ended, begun.elapsed(), state));
                    continue;
                }
                None => batch.claim(&lock, scrutiny),
            };
            let (mut claimed, mut failed) = (Vec::new(), Vec::new());
            for ended in ended {
                match ended.settle(&lock) {
                    Ok(tree) => claimed.push(tree),
                    Err(ended) => failed.push(ended),
                }
            }
            if !claimed.is_empty() {
                state.last_claims = lock.note_claims();
            }
            drop(lock);
            for tree in claimed {
                tree.report(self.events);
                taken.push(tree);
            }
            beside.extend(self.note_ended(failed, begun.elapsed(), state));
        }
        Ok((taken, false))
    }

    /// Records the results of failed claims, and returns those that are to be claimed in place.
    fn note_ended<'p>(
        &mut self,
        ended: Vec<ClaimEnd<'p>>,
        took: Duration,
        state: &mut SweepState,
    ) -> Vec<&'p Action> {
        let (beside, ended): (Vec<_>, Vec<_>) = ended.into_iter().partition(ClaimEnd::needs_place_beside);
        ended.into_iter().for_each(|ended| self.not_claimed(ended.action, ended.claim, took, state));
        beside.into_iter().map(|ended| ended.action).collect()
    }

    /// Records the result of a failed claim.
    fn not_claimed(&mut self, action: &Action, claim: Claim, took: Duration, state: &mut SweepState) {
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

/// Claims that have their slots and wait for the lock.
#[derive(Default)]
struct ClaimBatch<'p> {
    waiting: VecDeque<(&'p Action, Reserved)>,
    /// Whether the look before the renames may be taken before the lock.
    is_fenced: bool,
    /// The number of these looks.
    looks: usize,
    /// The duration of a look at Workers and leases only, if there was one.
    takes: Option<Duration>,
}

impl<'p> ClaimBatch<'p> {
    /// Makes slots for the first of these, as far as they are of one kind; returns those that have ended already.
    fn of(planned: &[&'p Action], scrutiny: &Scrutiny<'_>) -> (Self, Vec<ClaimEnd<'p>>) {
        let is_fenced = planned.first().is_some_and(|first| scrutiny.is_fenced(first));
        let mut ended = Vec::new();
        let mut batch = Self { is_fenced, ..Self::default() };
        for &action in planned.iter().take_while(|action| scrutiny.is_fenced(action) == is_fenced) {
            match open(action).and_then(|(work, owner)| Reserved::new(&work, owner, &action.cache)) {
                Ok(reserved) => batch.waiting.push_back((action, reserved)),
                Err(claim) => ended.push(ClaimEnd { action, work: None, claim }),
            }
        }
        (batch, ended)
    }

    /// Looks at all of them; returns those that have evidence against them.
    fn look(&mut self, scrutiny: &mut Scrutiny<'_>) -> Vec<ClaimEnd<'p>> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let begun = Instant::now();
        if scrutiny.look_again(self.waiting.iter().map(|(action, _)| *action)) {
            self.takes = Some(begun.elapsed());
        }
        self.looks += 1;
        let mut refused = Vec::new();
        for (action, reserved) in std::mem::take(&mut self.waiting) {
            let doubts = scrutiny.doubts(action, None);
            if doubts.is_empty() {
                self.waiting.push_back((action, reserved));
            } else {
                // A cache that another guard has claimed meanwhile cannot be looked at.
                let changed = open(action).and_then(|(work, _)| reserved.check(&work, &action.cache));
                discard(action, reserved);
                let claim = changed.err().unwrap_or(Claim::Refused(doubts));
                refused.push(ClaimEnd { action, work: None, claim });
            }
        }
        refused
    }

    fn look_unless_under_lock(&mut self, scrutiny: &mut Scrutiny<'_>) -> Vec<ClaimEnd<'p>> {
        if self.is_fenced { self.look(scrutiny) } else { Vec::new() }
    }

    /// Whether the last look may be acted on now, under the lock.
    fn is_looked_at(&self, scrutiny: &Scrutiny<'_>) -> bool {
        self.is_fenced && self.looks > 0 && scrutiny.is_still()
    }

    /// Whether the last look is stale and has to be repeated without the lock.
    fn may_look_again(&self, scrutiny: &Scrutiny<'_>) -> bool {
        self.is_fenced && self.looks < LOOKS && !self.is_looked_at(scrutiny)
    }

    /// Claims as many of them as fit into one hold of the lock; returns how they ended.
    fn claim(&mut self, lock: &ExclusiveLock, scrutiny: &mut Scrutiny<'_>) -> Vec<ClaimEnd<'p>> {
        let mut ended = Vec::new();
        let mut before = Duration::ZERO;
        if !self.is_looked_at(scrutiny) {
            ended.extend(lock.while_looking(|| self.look(scrutiny)));
            before = lock.held_for();
        }
        // If the look alone takes that long, the renames may take half as long: each hold has to be worth its look.
        let look = self.takes.unwrap_or(HOLD / 2);
        let time = HOLD.saturating_sub(look).max(look / 2);
        let mut renamed: Vec<(&Action, Dir, Renamed<'_>)> = Vec::new();
        while let Some((action, reserved)) = self.waiting.pop_front() {
            match rename(lock, action, reserved, scrutiny) {
                Ok((work, claim)) => renamed.push((action, work, claim)),
                Err(claim) => ended.push(ClaimEnd { action, work: None, claim }),
            }
            if lock.held_for() - before > time {
                break;
            }
        }
        let begun = Instant::now();
        let mut look =
            || lock.while_looking(|| scrutiny.look_again(renamed.iter().map(|(action, ..)| *action)));
        if !renamed.is_empty() && look() {
            self.takes = Some(begun.elapsed());
        }
        let left = (before + HOLD).saturating_sub(lock.held_for()).max(QUESTIONS);
        let until = Instant::now() + left;
        for (action, work, claim) in renamed {
            let doubts = lock.while_looking(|| scrutiny.doubts_of_renamed(action, claim.tree(), until));
            ended.push(ClaimEnd { action, work: Some(work), claim: claim.settle(doubts) });
        }
        ended
    }

    /// Leaves the rest as it is.
    fn discard(self) {
        self.waiting.into_iter().for_each(|(action, reserved)| discard(action, reserved));
    }
}

/// Renames one, unless its locks are held now.
fn rename<'p>(
    lock: &ExclusiveLock,
    action: &'p Action,
    reserved: Reserved,
    scrutiny: &mut Scrutiny<'_>,
) -> Result<(Dir, Renamed<'p>), Claim> {
    let (work, prepared) = lock.while_looking(|| {
        let (work, owner) = open(action)?;
        let prepared = reserved.prepare(&work, owner, &action.cache)?;
        Ok::<_, Claim>((work, prepared))
    })?;
    let doubts = lock.while_looking(|| scrutiny.doubts(action, None));
    match doubts.is_empty() {
        true => Ok((work, prepared.rename()?)),
        false => Err(prepared.refuse(doubts)),
    }
}

fn discard(action: &Action, reserved: Reserved) {
    if let Ok((work, owner)) = open(action) {
        reserved.discard(&work, owner);
    }
}

/// The directory that a cache is claimed from, and its owner.
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
fn claim_alone<'p>(lock: &ExclusiveLock, action: &'p Action, scrutiny: &mut Scrutiny<'_>) -> ClaimEnd<'p> {
    let (work, owner) = match open(action) {
        Ok(opened) => opened,
        Err(claim) => return ClaimEnd { action, work: None, claim },
    };
    let claim = claim(lock, &work, owner, &action.cache, &mut |moment| {
        lock.while_looking(|| {
            scrutiny.look_again(std::iter::once(action));
            match moment {
                Phase::Before => scrutiny.doubts(action, None),
                Phase::After(tree) => scrutiny.doubts_of_renamed(action, tree, Instant::now() + QUESTIONS),
            }
        })
    });
    ClaimEnd { action, work: Some(work), claim }
}
