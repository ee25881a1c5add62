//! What the protocol promises, and what has to happen now and then for the promises to mean something.

use super::protocol::{Host, Role};
use super::state::{At, GUARDS, Guard, RUNNERS, Slot, State};
use super::step::Step;
use stateright::{Model, Property};

/// Invariant 1.
pub(crate) const LIVE: &str = "a live job's tree is never touched";
/// Invariant 2.
pub(crate) const UNKNOWN: &str = "unknown protects";
/// Invariant 4.
pub(crate) const IDENTITY: &str = "what is deleted is what was planned";
/// Invariant 7.
pub(crate) const NO_HANG: &str = "a hook depends on nobody to return";
/// Invariant 9.
pub(crate) const NOTHING_LOST: &str = "nothing is lost";

/// All of them.
pub(crate) const ALL: [&str; 5] = [LIVE, UNKNOWN, IDENTITY, NO_HANG, NOTHING_LOST];

/// Positive controls: what has to happen in some state, or the promises would be empty.
pub(crate) const RECLAIMED: &str = "something is reclaimed";
pub(crate) const BOTH_RECLAIMED: &str = "two runners' caches are reclaimed";
pub(crate) const FENCED: &str = "a fence makes a claim fail";
pub(crate) const TAKEN: &str = "a tree is in trash that nobody calls his own";
pub(crate) const RESTORED: &str = "a tree is on its way back";
pub(crate) const JOBS_DONE: &str = "every job is done";
/// Those that can be seen on any host with two sweeps.
pub(crate) const CONTROLS: [&str; 6] = [RECLAIMED, BOTH_RECLAIMED, FENCED, TAKEN, RESTORED, JOBS_DONE];

pub(crate) fn properties() -> Vec<Property<Host>> {
    vec![
        Property::always(LIVE, |_: &Host, state: &State| !state.broken.live),
        Property::always(UNKNOWN, |_: &Host, state: &State| !state.broken.unknown),
        Property::always(IDENTITY, |_: &Host, state: &State| !state.broken.identity),
        Property::always(NO_HANG, hooks_move_alone),
        Property::always(NOTHING_LOST, nothing_is_lost),
        Property::sometimes(RECLAIMED, |_: &Host, state: &State| {
            state.runners.iter().any(|runner| runner.removed > 0)
        }),
        Property::sometimes(BOTH_RECLAIMED, |_: &Host, state: &State| {
            state.runners.iter().filter(|runner| runner.removed > 0).count() == 2
        }),
        Property::sometimes(FENCED, |_: &Host, state: &State| {
            let is_fenced = |guard: &Guard| guard.claims().iter().any(|claim| claim.slot == Slot::Gone);
            state.guards.iter().any(|guard| guard.at == At::Sure && is_fenced(guard))
        }),
        Property::sometimes(TAKEN, |_: &Host, state: &State| {
            state.runners.iter().any(|runner| runner.trash > 0)
        }),
        Property::sometimes(RESTORED, |_: &Host, state: &State| {
            state.guards.iter().any(|guard| guard.at == At::Doubted)
        }),
        Property::sometimes(JOBS_DONE, |_: &Host, state: &State| {
            state.runners.iter().all(|runner| runner.jobs == 0 && !runner.job.has_worker())
        }),
    ]
}

/// A hook that has begun has, in every state, a step of its own that waits for nobody. Its steps only ever lead on to its return
/// (tested beside the exhaustive checks), so it returns whoever else is suspended or dead.
fn hooks_move_alone(host: &Host, state: &State) -> bool {
    let mut steps = Vec::new();
    host.actions(state, &mut steps);
    let works_for = |guard: usize, runner: usize| {
        host.guards[guard] == Role::Hook(runner) && !state.guards[guard].is_orphan
    };
    (0..RUNNERS).filter(|runner| state.runners[*runner].job.is_in_hook()).all(|runner| {
        state.broken != Default::default()
            || steps.iter().any(|step| {
                step.hook() == Some(runner) || step.guard().is_some_and(|guard| works_for(guard, runner))
            })
    })
}

/// Every tree that was ever made is somewhere; whatever is in trash goes with the next run, even if nobody lives on to see it.
fn nothing_is_lost(host: &Host, state: &State) -> bool {
    let mut dead = *state;
    dead.kills = GUARDS as u8 + 1;
    for guard in 0..GUARDS {
        if dead.guards[guard].at.is_running() {
            dead = host.next_state(&dead, Step::Kill(guard)).expect("anybody can be killed");
        }
    }
    if dead.is_locked() || state.broken.unsettled {
        return false;
    }
    dead.guards[0].at = At::Begin;
    for step in [Step::EmptyTrash(0), Step::DeleteTrash(0)] {
        if dead.guards[0].at != At::Emptied {
            dead = host.next_state(&dead, step).expect("it is its turn");
        }
    }
    dead.runners.iter().all(|runner| {
        runner.trash == 0 && runner.made == runner.removed + runner.aside + u8::from(runner.place.is_some())
    })
}
