//! Which traces are played.

use crate::promises;
use crate::protocol::Host;
use crate::state::{At, Slot, State};
use crate::step::Step;
use stateright::{Checker, Model, Property};
use std::collections::BTreeSet;

/// The kinds of steps that are played. Not among them: swaps and hooks under pressure, which `tests/blackbox/claim.rs` and `tests/storm/race.rs`
/// play, hooks that fail, which `tests/attacks` plays, and a guard that gives up waiting, which does nothing.
pub(super) const PLAYED: [&str; 25] = [
    "StartWorker",
    "LeaveLease",
    "TimeOut",
    "LeaveLateLease",
    "FenceLists",
    "FenceRemoves",
    "FenceTakes",
    "Return",
    "Build",
    "EndLease",
    "EndWorker",
    "KillWorker",
    "EmptyTrash",
    "DeleteTrash",
    "Look",
    "End",
    "AcquireExclusive",
    "MakeSlot",
    "LookBefore",
    "Rename",
    "LookAfter",
    "PutBack",
    "Release",
    "Delete",
    "Kill",
];

/// The variant's name.
pub(super) fn name(step: &Step) -> String {
    let text = format!("{step:?}");
    text.split('(').next().expect("never empty").to_owned()
}

/// Steps from the beginning.
pub(super) struct Trace {
    pub(super) steps: Vec<Step>,
}

impl Trace {
    /// The states along it, the first included.
    pub(super) fn states(&self, model: &Playable) -> Vec<State> {
        let mut states = model.init_states();
        for step in &self.steps {
            states
                .push(model.0.next_state(states.last().expect("the first"), *step).expect("it is possible"));
        }
        states
    }
}

/// The part of the model in which real processes take exactly the model's way.
pub(super) struct Playable(pub(super) Host);

impl Playable {
    fn is_playable(&self, state: &State, step: Step, possible: &[Step]) -> bool {
        match step {
            // A real hook gives up only while somebody else has the lock.
            Step::TimeOut(_) => state.is_locked(),
            // A real sweep ends when nothing is left to be claimed, and waits for the lock for minutes.
            Step::End(guard) => {
                !possible.iter().any(|other| matches!(other, Step::Look(by, _) if *by == guard))
            }
            Step::GiveUp(_) | Step::LoseSupervisor(_) => false,
            // A real sweep releases the lock then, and looks again before it: several times.
            Step::AcquireExclusive(guard) => !state.guards[guard].turned,
            // The model's looks take no notice of the other guard's open handles; a real one may see a process inside.
            Step::Look(guard, _) | Step::LookBefore(guard) | Step::LookAfter(guard) => {
                matches!(
                    state.guards[1 - guard].at,
                    At::Off | At::Begin | At::Slotted | At::Cleared | At::Done
                )
            }
            // What a dead guard leaves is a tree in trash, or nothing; an empty slot, which the next run removes, is not modelled.
            Step::Kill(guard) => matches!(state.guards[guard].claims[0].slot, Slot::None | Slot::Tree(_)),
            _ => true,
        }
    }
}

impl Model for Playable {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        self.0.init_states()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let mut possible = Vec::new();
        self.0.actions(state, &mut possible);
        steps.extend(possible.iter().copied().filter(|step| self.is_playable(state, *step, &possible)));
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        self.0.next_state(state, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::sometimes(promises::FENCED, |_: &Self, state: &State| {
                state.guards.iter().any(|guard| guard.at == At::Done)
                    && state.runners[0].place == Some(0)
                    && state.runners[0].lease
                    && state
                        .guards
                        .iter()
                        .any(|guard| guard.at == At::Settled && guard.claims[0].slot == Slot::None)
            }),
            Property::sometimes(promises::TAKEN, |_: &Self, state: &State| {
                let it = &state.runners[0];
                it.trash == 1 && it.lease && it.place.is_some()
            }),
            Property::sometimes(promises::RESTORED, |_: &Self, state: &State| {
                let it = &state.runners[0];
                it.place == Some(0) && it.lease && state.guards[0].at == At::Done && it.jobs == 0
            }),
            Property::sometimes(promises::JOBS_DONE, |_: &Self, state: &State| {
                state.runners.iter().all(|runner| runner.jobs == 0 && !runner.job.has_worker())
                    && state.runners[0].removed == 1
                    && state.runners[0].made == 2
            }),
        ]
    }
}

/// The shortest ways to what is worth seeing.
pub(super) fn of_interest(model: &Playable) -> Vec<Trace> {
    let checker = Playable(model.0).checker().spawn_bfs().join();
    let mut found: Vec<_> = checker.discoveries().into_iter().collect();
    found.sort_by_key(|(name, _)| *name);
    assert_eq!(found.len(), model.properties().len(), "each can be reached");
    found.into_iter().map(|(_, path)| Trace { steps: path.into_actions() }).collect()
}

/// Of many random walks those that show something new: a kind of step in a situation in which no earlier one has shown it.
pub(super) fn sample(model: &Playable) -> Vec<Trace> {
    const WALKS: usize = 3000;
    const TRACES: usize = 8;
    let mut dice = Dice(1);
    let walks: Vec<Trace> = (0..WALKS).map(|_| walk(model, &mut dice)).collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut chosen = Vec::new();
    let sights: Vec<BTreeSet<String>> = walks.iter().map(|walk| sights(model, walk)).collect();
    for _ in 0..TRACES {
        let news = |at: &usize| sights[*at].difference(&seen).count();
        let best = (0..WALKS).max_by_key(|at| (news(at), WALKS - at)).expect("there are walks");
        seen.extend(sights[best].iter().cloned());
        chosen.push(best);
    }
    chosen.into_iter().map(|at| Trace { steps: walks[at].steps.clone() }).collect()
}

fn walk(model: &Playable, dice: &mut Dice) -> Trace {
    let mut state = model.init_states()[0];
    let mut steps = Vec::new();
    loop {
        let mut possible = Vec::new();
        model.actions(&state, &mut possible);
        let Some(step) = dice.pick(&possible) else { return Trace { steps } };
        state = model.next_state(&state, step).expect("it is possible");
        steps.push(step);
    }
}

/// Each step's kind, where it left its actor, and how far the other actors were.
fn sights(model: &Playable, trace: &Trace) -> BTreeSet<String> {
    let states = trace.states(model);
    let told = trace.steps.iter().zip(&states).zip(&states[1..]).map(|((step, before), after)| {
        let guard = step.guard().map(|guard| (after.guards[guard].at, after.guards[guard].claims[0].slot));
        let claim = before.guards.iter().map(|guard| guard.at).max();
        format!("{} {guard:?} {:?} {claim:?}", name(step), before.runners[0].job)
    });
    told.collect()
}

/// Numbers without a pattern, the same in every run (Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn pick(&mut self, from: &[Step]) -> Option<Step> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (self.0 >> 33) as usize;
        from.get(number.checked_rem(from.len())?).copied()
    }
}
