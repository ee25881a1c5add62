//! The protocol: who may do what in which state, and what comes of it.

use super::mutation::Mutation;
use super::promises;
use super::state::{At, BATCH, Broken, Claim, GUARDS, Guard, Job, RUNNERS, Runner, Slot, State};
use super::step::Step;
use stateright::{Model, Property};

/// A host: its runners, its guards, and what may go wrong on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    /// Runners whose jobs pass through the started-hook.
    pub(crate) guarded: [bool; RUNNERS],
    /// Runners whose Worker the process table does not show as one: the lease alone tells of it.
    pub(crate) hidden: [bool; RUNNERS],
    /// Runners of which something cannot be examined.
    pub(crate) opaque: [bool; RUNNERS],
    /// Runners whose lease cannot be written: the process table alone tells of the Worker.
    pub(crate) leaseless: [bool; RUNNERS],
    /// Runners whose hook has a run directory of its own, as in a container: its lock excludes nobody, its lease is seen by nobody.
    pub(crate) apart: [bool; RUNNERS],
    /// Runners in whose work directory a Worker of a runner that nobody has named works, all the time.
    pub(crate) strangers: [bool; RUNNERS],
    /// Whether a build goes on when its Worker is killed.
    pub(crate) builds_outlive: bool,
    /// Runners that have a cache.
    pub(crate) cached: [bool; RUNNERS],
    /// Jobs, by runner.
    pub(crate) jobs: [u8; RUNNERS],
    /// The guards.
    pub(crate) guards: [Role; GUARDS],
    /// Whether one hold of the lock may serve several claims.
    pub(crate) batches: bool,
    /// Rounds of a guard.
    pub(crate) rounds: u8,
    /// SIGKILLs in all.
    pub(crate) kills: u8,
    /// Hooks that fail, in all.
    pub(crate) fails: u8,
    /// Swaps in all.
    pub(crate) swaps: u8,
    /// What is left out of the protocol, to see that it is needed.
    pub(crate) mutation: Option<Mutation>,
}

/// Who a guard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `cycle::Role::Sweep`.
    Sweep,
    /// `cycle::Role::Hook` of this runner.
    Hook(usize),
}

impl Host {
    /// Three guarded runners with a job each, two sweeps, and nothing that goes wrong.
    pub(crate) fn plain() -> Self {
        Self {
            guarded: [true; RUNNERS],
            hidden: [false; RUNNERS],
            opaque: [false; RUNNERS],
            leaseless: [false; RUNNERS],
            apart: [false; RUNNERS],
            strangers: [false; RUNNERS],
            builds_outlive: false,
            cached: [true; RUNNERS],
            jobs: [1; RUNNERS],
            guards: [Role::Sweep; GUARDS],
            batches: false,
            rounds: 1,
            kills: 0,
            fails: 0,
            swaps: 0,
            mutation: None,
        }
    }

    pub(crate) fn with(self, mutation: Mutation) -> Self {
        Self { mutation: Some(mutation), ..self }
    }

    /// Whether its runners are all alike, and its guards belong to none of them.
    pub(crate) fn is_uniform(&self) -> bool {
        fn same<T: PartialEq>(of: [T; RUNNERS]) -> bool {
            of.iter().all(|one| *one == of[0])
        }
        let of_runners = same(self.guarded) && same(self.hidden) && same(self.opaque) && same(self.strangers);
        let of_jobs = same(self.leaseless) && same(self.apart) && same(self.cached) && same(self.jobs);
        of_runners && of_jobs && self.guards.iter().all(|role| *role == Role::Sweep)
    }

    fn lacks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// `policy::liveness::evidence` and `policy::protection::against`: whether something speaks against this guard's claiming
    /// this runner's cache. The first look is at all processes.
    fn doubts(&self, state: &State, guard: usize, runner: usize) -> bool {
        self.doubts_again(state, guard, runner) || state.runners[runner].build
    }

    /// The same under the lock.
    fn doubts_again(&self, state: &State, guard: usize, runner: usize) -> bool {
        let is_own = self.guards[guard] == Role::Hook(runner);
        // `policy::liveness::Exempt`: the hook's own Worker, as long as it is that which lives.
        let is_exempt = is_own && !state.guards[guard].is_orphan;
        let seen = &state.runners[runner];
        let worker = seen.job.has_worker() && !self.hidden[runner] && !is_exempt;
        let lease = seen.lease && !is_exempt;
        // Never a directory: whoever else works in the hook's own protects it.
        let stranger = self.strangers[runner] && !(is_own && self.lacks(Mutation::ExemptDirectory));
        let unknown = self.opaque[runner] && !is_own && !self.lacks(Mutation::FailOpen);
        let unguarded = !self.guarded[runner] && !is_own && !self.lacks(Mutation::ClaimUnguarded);
        // Never exempt: it is no descendant of the Worker that lives.
        let build = seen.build && state.guards[guard].turned && !self.lacks(Mutation::NoTurn);
        worker || lease || stranger || unknown || unguarded || build
    }

    /// Whether this runner's job is live. A started-hook that works for it has not returned, so it is not.
    fn is_live(&self, state: &State, runner: usize) -> bool {
        match state.runners[runner].job {
            _ if self.strangers[runner] => true,
            _ if state.runners[runner].build => true,
            Job::Running => true,
            // Without its lease nobody can know of a Worker that the process table does not show.
            Job::Ending => !self.hidden[runner],
            _ => false,
        }
    }

    /// Steps of the jobs and their hooks.
    fn job_steps(&self, state: &State, runner: usize, steps: &mut Vec<Step>) {
        let it = &state.runners[runner];
        let is_late_first = self.lacks(Mutation::FenceBeforeLease);
        match it.job {
            Job::None if it.jobs > 0 => steps.push(Step::StartWorker(runner)),
            Job::None => {}
            Job::Beginning if !self.lacks(Mutation::NoFirstFence) => steps.push(Step::FenceLists(runner)),
            Job::FirstListed(_) => steps.push(Step::FenceRemoves(runner)),
            Job::FirstRemoved(_) => steps.push(Step::FenceTakes(runner)),
            Job::Beginning | Job::Waiting => {
                if !state.is_locked() || self.apart[runner] || self.lacks(Mutation::NoLock) {
                    steps.push(Step::LeaveLease(runner));
                }
                if !self.lacks(Mutation::NoTimeOut) {
                    steps.push(Step::TimeOut(runner));
                }
            }
            Job::Leased => match self.guards.iter().position(|role| *role == Role::Hook(runner)) {
                Some(guard) if !state.guards[guard].at.is_running() => steps.push(Step::Relieve(runner)),
                _ => steps.push(Step::Return(runner)),
            },
            Job::Late if self.lacks(Mutation::NoWayOut) => steps.push(Step::Return(runner)),
            Job::Late if is_late_first => steps.push(Step::FenceLists(runner)),
            Job::Late => steps.push(Step::LeaveLateLease(runner)),
            Job::Unfenced if self.lacks(Mutation::NoFence) => steps.push(Step::Return(runner)),
            Job::Unfenced => steps.push(Step::FenceLists(runner)),
            Job::FenceListed(_) => steps.push(Step::FenceRemoves(runner)),
            Job::FenceRemoved(_) => steps.push(Step::FenceTakes(runner)),
            Job::Fenced if is_late_first && !it.lease => steps.push(Step::LeaveLateLease(runner)),
            Job::Fenced => steps.push(Step::Return(runner)),
            // The guard's steps.
            Job::Relieving => {}
            Job::Running => {
                if it.place.is_none() && self.cached[runner] {
                    steps.push(Step::Build(runner));
                }
                steps.push(Step::EndLease(runner));
            }
            Job::Ending => steps.push(Step::EndWorker(runner)),
        }
        if it.job.is_in_hook() && it.job <= Job::Late && state.fails > 0 {
            steps.push(Step::LoseSupervisor(runner));
            if it.job < Job::Late {
                steps.push(Step::Fail(runner));
            }
        }
        if it.job.has_worker() && state.kills > 0 {
            steps.push(Step::KillWorker(runner));
        }
        if it.build {
            steps.push(Step::EndBuild(runner));
        }
        if state.swaps > 0 && !it.job.has_worker() {
            steps.push(Step::Swap(runner));
        }
    }

    fn guard_steps(&self, state: &State, guard: usize, steps: &mut Vec<Step>) {
        let it = &state.guards[guard];
        let is_free = !state.is_locked() || self.lacks(Mutation::NoLock);
        let next = usize::from(it.next);
        let is_slotless = it.claims[next].slot == Slot::None;
        match it.at {
            At::Off if self.guards[guard] != Role::Sweep => {}
            At::Off | At::Begin => {
                if is_free || self.lacks(Mutation::TrashWithoutLock) {
                    steps.push(Step::EmptyTrash(guard));
                }
                if it.at == At::Begin {
                    steps.push(Step::GiveUp(guard));
                }
            }
            At::Listed => steps.push(Step::DeleteTrash(guard)),
            At::Emptied => {
                let present = (0..RUNNERS).filter(|runner| state.runners[*runner].place.is_some());
                let idle: Vec<usize> = present.filter(|runner| !self.doubts(state, guard, *runner)).collect();
                steps.extend(idle.iter().map(|runner| Step::Look(guard, *runner)));
                if self.batches {
                    let pairs = idle.iter().flat_map(|one| idle.iter().map(move |other| (*one, *other)));
                    let pairs = pairs.filter(|(one, other)| one < other);
                    steps.extend(pairs.map(|(one, other)| Step::LookForBoth(guard, one, other)));
                }
                steps.push(Step::End(guard));
            }
            At::Planned if self.looks_first(next) => steps.push(Step::LookBefore(guard)),
            At::Planned => steps.push(Step::MakeSlot(guard)),
            At::Slotted => steps.push(Step::LookBefore(guard)),
            At::Cleared => {
                if is_free {
                    steps.push(Step::AcquireExclusive(guard));
                }
                steps.push(Step::GiveUp(guard));
            }
            At::Holding => steps.push(Step::LookUnderLock(guard)),
            At::Sure if self.looks_first(next) && is_slotless => steps.push(Step::MakeSlot(guard)),
            At::Sure => steps.push(Step::Rename(guard)),
            At::Renamed => steps.push(Step::LookAfter(guard)),
            At::Doubted => steps.push(Step::PutBack(guard)),
            At::Settled => steps.push(Step::Release(guard)),
            At::Released => steps.push(Step::Delete(guard)),
            At::Done => {}
        }
        if it.at.is_running() && state.kills > 0 {
            steps.push(Step::Kill(guard));
        }
    }

    /// Whether the slot of this claim of a batch is made after the look.
    fn looks_first(&self, claim: usize) -> bool {
        self.lacks(Mutation::SlotAfterLook) || (claim > 0 && self.lacks(Mutation::LaterSlotsAfterLook))
    }

    fn job_step(&self, state: &mut State, step: Step) {
        match step {
            Step::StartWorker(r) => {
                let it = &mut state.runners[r];
                it.jobs -= 1;
                it.job = if self.guarded[r] { Job::Beginning } else { Job::Running };
            }
            Step::LeaveLease(r) => {
                self.leave_lease(state, r);
                state.runners[r].job = Job::Leased;
            }
            Step::TimeOut(r) => state.runners[r].job = Job::Late,
            Step::Fail(r) => {
                state.fails -= 1;
                if state.runners[r].job == Job::Relieving {
                    let guard = self.guard_of(r);
                    Self::die(state, guard);
                }
                state.runners[r].job = Job::Late;
            }
            Step::LoseSupervisor(r) => {
                state.fails -= 1;
                if state.runners[r].job == Job::Relieving {
                    let guard = self.guard_of(r);
                    Self::die(state, guard);
                }
                state.runners[r].job = Job::Unfenced;
                self.show_attempt(state, r);
            }
            Step::LeaveLateLease(r) => {
                self.leave_lease(state, r);
                let it = &mut state.runners[r];
                it.job = if it.job == Job::Late { Job::Unfenced } else { Job::Running };
            }
            Step::FenceLists(r) => {
                let seen = bits(|guard| self.claim_at(state, guard, r).is_some());
                let it = &mut state.runners[r];
                it.job = match it.job {
                    Job::Beginning => Job::FirstListed(seen),
                    _ => Job::FenceListed(seen),
                };
            }
            Step::FenceRemoves(r) => {
                let (Job::FirstListed(seen) | Job::FenceListed(seen)) = state.runners[r].job else {
                    unreachable!()
                };
                let mut full = 0;
                for guard in 0..GUARDS {
                    let Some(claim) = self.claim_at(state, guard, r) else { continue };
                    let slot = &mut state.guards[guard].claims[claim].slot;
                    match slot {
                        _ if seen & 1 << guard == 0 => {}
                        Slot::Empty => *slot = Slot::Gone,
                        Slot::Tree(_) => full |= 1 << guard,
                        Slot::None | Slot::Gone => {}
                    }
                }
                let it = &mut state.runners[r];
                it.job = match it.job {
                    Job::FirstListed(_) => Job::FirstRemoved(full),
                    _ => Job::FenceRemoved(full),
                };
            }
            Step::FenceTakes(r) => {
                let (Job::FirstRemoved(full) | Job::FenceRemoved(full)) = state.runners[r].job else {
                    unreachable!()
                };
                for guard in 0..GUARDS {
                    if full & 1 << guard != 0
                        && let Some(claim) = self.claim_at(state, guard, r)
                        && !state.guards[guard].at.is_settled()
                        && state.guards[guard].claims[claim].has_tree()
                    {
                        state.guards[guard].claims[claim].slot = Slot::Gone;
                        state.runners[r].trash += 1;
                    }
                }
                let it = &mut state.runners[r];
                it.job = match it.job {
                    Job::FirstRemoved(_) => Job::Waiting,
                    _ => Job::Fenced,
                };
            }
            Step::Relieve(r) => {
                state.runners[r].job = Job::Relieving;
                let guard = self.guard_of(r);
                state.guards[guard] = Guard { at: At::Begin, ..Guard::off(self.rounds) };
            }
            Step::Return(r) => state.runners[r].job = Job::Running,
            Step::Build(r) => state.runners[r].make(),
            Step::EndLease(r) => {
                state.runners[r].lease = false;
                state.runners[r].job = Job::Ending;
                self.turn(state);
            }
            Step::EndWorker(r) => state.runners[r].job = Job::None,
            Step::KillWorker(r) => {
                state.kills -= 1;
                if state.runners[r].job == Job::Relieving {
                    state.guards[self.guard_of(r)].is_orphan = true;
                }
                let it = &mut state.runners[r];
                it.build |= self.builds_outlive && it.job == Job::Running;
                // Its file is still there: no lease has gone.
                (it.lease, it.job) = (false, Job::None);
            }
            Step::EndBuild(r) => state.runners[r].build = false,
            Step::Swap(r) => {
                state.swaps -= 1;
                // What was there is carried off by whoever does this.
                if state.runners[r].place.is_some() {
                    state.runners[r].removed += 1;
                }
                state.runners[r].make();
            }
            _ => unreachable!("{step:?} is a guard's"),
        }
    }

    fn leave_lease(&self, state: &mut State, runner: usize) {
        let is_seen = !self.leaseless[runner] && !self.apart[runner];
        state.runners[runner].lease = is_seen && !self.lacks(Mutation::NoLease);
        match state.runners[runner].lease {
            true => self.turn(state),
            false => self.show_attempt(state, runner),
        }
    }

    /// `run_dir::RunDir::mark_attempt`, and the same in the script.
    fn show_attempt(&self, state: &mut State, runner: usize) {
        if !self.apart[runner] && !self.lacks(Mutation::NoAttempt) {
            self.turn(state);
        }
    }

    /// `model::JobsTurn`: who has looked before and is going to look again can tell. Where no build outlives its Worker it is of matter
    /// between the look before the lock and the lock alone.
    fn turn(&self, state: &mut State) {
        let is_between_looks = |guard: &&mut Guard| match self.builds_outlive {
            true => (At::Planned..=At::Renamed).contains(&guard.at),
            false => guard.at == At::Cleared,
        };
        state.guards.iter_mut().filter(is_between_looks).for_each(|guard| guard.turned = true);
    }

    fn guard_of(&self, runner: usize) -> usize {
        self.guards.iter().position(|role| *role == Role::Hook(runner)).expect("it is one")
    }

    /// What a guard that dies leaves behind.
    fn die(state: &mut State, guard: usize) {
        let it = state.guards[guard];
        for claim in it.claims().iter().filter(|claim| claim.has_tree()) {
            state.runners[usize::from(claim.target)].trash += 1;
        }
        state.guards[guard] = Guard { at: At::Done, ..Guard::off(0) };
    }

    /// The claim of this guard whose slot lies in this runner's trash, where its hook can reach it.
    fn claim_at(&self, state: &State, guard: usize, runner: usize) -> Option<usize> {
        let is_it = |claim: &Claim| usize::from(claim.target) == runner && claim.slot != Slot::None;
        state.guards[guard].claims().iter().position(is_it).filter(|_| !self.lacks(Mutation::NoSlot))
    }

    fn guard_step(&self, state: &mut State, step: Step) {
        match step {
            Step::EmptyTrash(g) => {
                let listed = (0..RUNNERS).fold(0, |seen, r| seen | u8::from(state.runners[r].trash > 0) << r);
                let others = state.guards[1 - g].claims().iter().enumerate();
                let slots = others.fold(0, |seen, (at, claim)| seen | u8::from(claim.has_tree()) << at);
                let it = &mut state.guards[g];
                (it.listed, it.listed_slots) = (listed, slots);
                it.at = if listed == 0 && slots == 0 { At::Emptied } else { At::Listed };
            }
            Step::DeleteTrash(g) => {
                for r in 0..RUNNERS {
                    if state.guards[g].listed & 1 << r != 0 && !self.lacks(Mutation::ForgetTrash) {
                        let it = &mut state.runners[r];
                        it.removed += std::mem::take(&mut it.trash);
                    }
                }
                for claim in 0..BATCH {
                    let is_listed = state.guards[g].listed_slots & 1 << claim != 0;
                    let other = &mut state.guards[1 - g];
                    if is_listed && other.claims[claim].has_tree() {
                        other.claims[claim].slot = Slot::Gone;
                        state.broken.unsettled |= other.at.may_put_back();
                        state.runners[usize::from(other.claims[claim].target)].removed += 1;
                    }
                }
                let it = &mut state.guards[g];
                (it.listed, it.listed_slots, it.at) = (0, 0, At::Emptied);
            }
            Step::Look(g, r) => self.plan(state, g, &[r]),
            Step::LookForBoth(g, one, other) => self.plan(state, g, &[one, other]),
            Step::AcquireExclusive(g) => {
                let newly_claimed = state.runners.iter().any(|runner| runner.trash > 0)
                    || state.guards[1 - g].claims().iter().any(Claim::has_tree);
                if newly_claimed {
                    self.next_round(state, g);
                } else if state.guards[g].turned && !self.lacks(Mutation::NoLookUnderLock) {
                    (state.guards[g].at, state.guards[g].next) = (At::Holding, 0);
                } else {
                    self.prepare(state, g);
                }
            }
            Step::End(g) | Step::GiveUp(g) => self.end(state, g),
            Step::MakeSlot(g) => self.make_slot(state, g),
            Step::LookBefore(g) => {
                self.look_again(state, g);
                state.guards[g].lead_on(At::Cleared);
                self.end_round_without_claims(state, g);
            }
            Step::LookUnderLock(g) => {
                self.look_again(state, g);
                self.prepare(state, g);
            }
            Step::Rename(g) => self.rename(state, g),
            Step::LookAfter(g) => {
                let blind = self.lacks(Mutation::NoRecheck) || self.lacks(Mutation::NoLookAfter);
                for at in 0..usize::from(state.guards[g].many) {
                    let claim = state.guards[g].claims[at];
                    let same = match claim.slot {
                        Slot::Tree(tree) => tree == claim.planned || self.lacks(Mutation::NoCompare),
                        _ => false,
                    };
                    let doubts = !blind && self.doubts_again(state, g, usize::from(claim.target));
                    state.guards[g].claims[at].is_doubted = !claim.is_over && (!same || doubts);
                }
                Self::next_doubted(state, g);
            }
            Step::PutBack(g) => self.put_back(state, g),
            Step::Release(g) => {
                let it = &mut state.guards[g];
                match it.claims().iter().position(Claim::has_tree) {
                    Some(first) => (it.at, it.next) = (At::Released, first as u8),
                    None => {
                        it.claims.iter_mut().for_each(|claim| claim.slot = Slot::None);
                        self.next_round(state, g);
                    }
                }
            }
            Step::Delete(g) => {
                let it = &mut state.guards[g];
                let claim = &mut it.claims[usize::from(it.next)];
                let (planned, target) = (claim.planned, usize::from(claim.target));
                if let Slot::Tree(tree) = std::mem::take(&mut claim.slot) {
                    state.broken.identity |= tree != planned;
                    state.runners[target].removed += 1;
                }
                match it.claims().iter().position(Claim::has_tree) {
                    Some(next) => it.next = next as u8,
                    None => self.next_round(state, g),
                }
            }
            Step::Kill(g) => {
                state.kills -= 1;
                let is_orphan = state.guards[g].is_orphan;
                Self::die(state, g);
                if let (Role::Hook(r), false) = (self.guards[g], is_orphan) {
                    // A started-hook that is killed fails its job: no steps run.
                    state.runners[r].lease = false;
                    state.runners[r].job = Job::Ending;
                }
            }
            _ => unreachable!("{step:?} is a job's"),
        }
    }

    /// Claims that one look found nothing against.
    fn plan(&self, state: &mut State, g: usize, targets: &[usize]) {
        let mut claims = [Claim::default(); BATCH];
        for (claim, target) in claims.iter_mut().zip(targets) {
            (claim.target, claim.planned) =
                (*target as u8, state.runners[*target].place.expect("it is there"));
        }
        let it = &mut state.guards[g];
        (it.claims, it.many, it.next, it.turned, it.at) =
            (claims, targets.len() as u8, 0, false, At::Planned);
    }

    /// What this look speaks against comes to nothing. It is at all processes when a lease has come or gone since the one before.
    fn look_again(&self, state: &mut State, g: usize) {
        for at in 0..usize::from(state.guards[g].many) {
            let target = usize::from(state.guards[g].claims[at].target);
            let is_looked_at = at == 0 || !self.lacks(Mutation::LookAtFirstAlone);
            // What is gone by now cannot be looked at.
            let is_gone = state.runners[target].place.is_none();
            let doubts = is_gone || self.doubts_again(state, g, target);
            if is_looked_at && !self.lacks(Mutation::NoRecheck) && doubts {
                state.guards[g].claims[at].give_up();
            }
        }
        state.guards[g].turned = false;
    }

    /// `reclaim::claim::Reserved::prepare`: what is not what was planned by now comes to nothing.
    fn prepare(&self, state: &mut State, g: usize) {
        for at in 0..usize::from(state.guards[g].many) {
            let claim = &mut state.guards[g].claims[at];
            let is_there = state.runners[usize::from(claim.target)].place == Some(claim.planned);
            if !is_there && !self.lacks(Mutation::NoCompare) {
                claim.give_up();
            }
        }
        state.guards[g].lead_on(At::Sure);
    }

    /// Before the lock is taken: what has come to nothing needs none.
    fn end_round_without_claims(&self, state: &mut State, g: usize) {
        if state.guards[g].at == At::Settled {
            self.next_round(state, g);
        }
    }

    fn make_slot(&self, state: &mut State, g: usize) {
        let it = &mut state.guards[g];
        let at = usize::from(it.next);
        let claim = &mut it.claims[at];
        let is_there = state.runners[usize::from(claim.target)].place == Some(claim.planned);
        match is_there || self.lacks(Mutation::NoCompare) {
            true => claim.slot = Slot::Empty,
            false => claim.give_up(),
        }
        let (was, is_late) = (it.at, self.looks_first(at + 1));
        match was {
            // It is renamed next.
            At::Sure if it.claims[at].is_over => it.lead_on_from(at, At::Renamed),
            At::Sure => {}
            _ if is_late => it.lead_on(At::Slotted),
            _ => it.lead_on_from(at, At::Slotted),
        }
        // A new slot has a new name.
        state.guards[1 - g].listed_slots &= !(1 << at);
        if was == At::Planned {
            self.end_round_without_claims(state, g);
        }
    }

    fn rename(&self, state: &mut State, g: usize) {
        let at = usize::from(state.guards[g].next);
        let claim = state.guards[g].claims[at];
        let target = usize::from(claim.target);
        match (claim.slot, state.runners[target].place) {
            (Slot::Empty, Some(tree)) => {
                state.broken.live |= self.is_live(state, target);
                state.broken.unknown |= self.opaque[target] && self.guards[g] != Role::Hook(target);
                state.runners[target].place = None;
                state.guards[g].claims[at].slot = Slot::Tree(tree);
            }
            _ => state.guards[g].claims[at].give_up(),
        }
        state.guards[g].lead_on_from(at, At::Renamed);
    }

    fn put_back(&self, state: &mut State, g: usize) {
        let at = usize::from(state.guards[g].next);
        state.guards[g].claims[at].is_doubted = false;
        let claim = state.guards[g].claims[at];
        let target = usize::from(claim.target);
        if let Slot::Tree(tree) = claim.slot {
            if state.runners[target].place.is_none() {
                state.broken.live |= self.is_live(state, target);
                state.runners[target].place = Some(tree);
                state.guards[g].claims[at].give_up();
            } else if tree != claim.planned && !self.lacks(Mutation::NoAside) {
                state.runners[target].aside += 1;
                state.guards[g].claims[at].give_up();
            }
        }
        Self::next_doubted(state, g);
    }

    /// To the next claim that has to go back, if there is one.
    fn next_doubted(state: &mut State, g: usize) {
        let it = &mut state.guards[g];
        match it.claims().iter().position(|claim| claim.is_doubted) {
            Some(next) => (it.at, it.next) = (At::Doubted, next as u8),
            None => (it.at, it.next) = (At::Settled, 0),
        }
    }

    fn next_round(&self, state: &mut State, g: usize) {
        let it = &mut state.guards[g];
        match it.rounds.checked_sub(1) {
            Some(0) | None => self.end(state, g),
            Some(rounds) => {
                *it = Guard { at: At::Begin, is_orphan: it.is_orphan, ..Guard::off(rounds) };
            }
        }
    }

    fn end(&self, state: &mut State, g: usize) {
        let is_orphan = state.guards[g].is_orphan;
        state.guards[g] = Guard { at: At::Done, ..Guard::off(0) };
        if let (Role::Hook(r), false) = (self.guards[g], is_orphan) {
            state.runners[r].job = Job::Running;
        }
    }
}

fn bits(is_set: impl Fn(usize) -> bool) -> u8 {
    (0..GUARDS).fold(0, |bits, guard| bits | u8::from(is_set(guard)) << guard)
}

impl Guard {
    fn off(rounds: u8) -> Self {
        Self {
            at: At::Off,
            is_orphan: false,
            rounds,
            turned: false,
            claims: [Claim::default(); BATCH],
            many: 0,
            next: 0,
            listed: 0,
            listed_slots: 0,
        }
    }

    /// All claims have taken a step: on to the next, or, when all have come to nothing, to the end.
    fn lead_on(&mut self, to: At) {
        match self.claims().iter().position(|claim| !claim.is_over) {
            Some(first) => (self.at, self.next) = (to, first as u8),
            None => (self.at, self.next) = (At::Settled, 0),
        }
    }

    /// This claim has taken a step: it is the turn of the one after it, or they all go on.
    fn lead_on_from(&mut self, at: usize, to: At) {
        let after = (at + 1..usize::from(self.many)).find(|after| !self.claims[*after].is_over);
        match after {
            Some(after) => self.next = after as u8,
            None => self.lead_on(to),
        }
    }
}

impl Claim {
    /// It comes to nothing.
    fn give_up(&mut self) {
        (self.slot, self.is_over, self.is_doubted) = (Slot::None, true, false);
    }
}

impl Runner {
    fn make(&mut self) {
        self.place = Some(self.made);
        self.made += 1;
    }
}

impl Model for Host {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let runner = |runner: usize| Runner {
            job: Job::None,
            jobs: self.jobs[runner],
            lease: false,
            build: false,
            place: self.cached[runner].then_some(0),
            trash: 0,
            aside: 0,
            removed: 0,
            made: u8::from(self.cached[runner]),
        };
        vec![State {
            runners: std::array::from_fn(runner),
            guards: [Guard::off(self.rounds); GUARDS],
            kills: self.kills,
            fails: self.fails,
            swaps: self.swaps,
            broken: Broken::default(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        // What is broken stays broken: nothing more is to be learned from there.
        if state.broken != Broken::default() {
            return;
        }
        (0..RUNNERS).for_each(|runner| self.job_steps(state, runner, steps));
        (0..GUARDS).for_each(|guard| self.guard_steps(state, guard, steps));
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = *state;
        match (step.guard(), step) {
            (Some(_), _) | (None, Step::Kill(_)) => self.guard_step(&mut next, step),
            (None, _) => self.job_step(&mut next, step),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::properties()
    }
}
