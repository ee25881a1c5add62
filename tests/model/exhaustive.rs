//! Every state of several hosts.

use super::promises;
use super::protocol::{Host, Role};
use super::state::{GUARDS, RUNNERS, State};
use stateright::{Checker, Model};
use std::cmp::Reverse;
use std::collections::HashSet;

/// Visits all states, and expects every invariant to hold in each, and each of `controls` to be reached in some.
fn check(name: &str, host: Host, controls: &[&'static str]) {
    let begun = std::time::Instant::now();
    let builder = host.checker().threads(2);
    let checker: Box<dyn Checker<Host>> = if host.is_uniform() {
        Box::new(builder.symmetry_fn(representative).spawn_dfs().join())
    } else {
        Box::new(builder.spawn_bfs().join())
    };
    eprintln!(
        "{name}: {} states, {} transitions, depth {}, {:.1?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed()
    );
    assert!(checker.is_done(), "{name}: all states were visited");
    for (promise, path) in checker.discoveries() {
        assert!(!promises::ALL.contains(&promise), "{name}: {promise}: {path:#?}");
    }
    for control in controls.iter().chain(&[promises::RECLAIMED, promises::JOBS_DONE]) {
        assert!(checker.discovery(control).is_some(), "{name}: {control}");
    }
}

/// Runners that are alike may change places: of all states that differ by that alone, one.
fn representative(state: &State) -> State {
    let mark = |runner: usize| {
        let of_guard = |guard: usize| {
            let it = &state.guards[guard];
            let claim = it.claims().iter().position(|claim| usize::from(claim.target) == runner);
            (claim, it.listed >> runner & 1)
        };
        (state.runners[runner], std::array::from_fn::<_, GUARDS, _>(of_guard))
    };
    let mut order: [usize; RUNNERS] = std::array::from_fn(|runner| runner);
    order.sort_by_key(|runner| mark(*runner));
    let mut alike = *state;
    for (new, old) in order.into_iter().enumerate() {
        alike.runners[new] = state.runners[old];
    }
    for guard in 0..GUARDS {
        let (it, was) = (&mut alike.guards[guard], &state.guards[guard]);
        let place = |old: usize| order.iter().position(|at| *at == old).expect("a permutation");
        for (claim, was) in it.claims.iter_mut().zip(was.claims()) {
            claim.target = place(usize::from(was.target)) as u8;
        }
        it.listed = (0..RUNNERS).fold(0, |bits, old| bits | (was.listed >> old & 1) << place(old));
    }
    alike
}

/// `DISK_GUARD_SOAK` adds the death to the three jobs, which makes it four times as many states.
#[test]
fn three_guarded_runners_and_two_sweeps() {
    let host = Host::plain();
    check("two sweeps", host, &promises::CONTROLS);
    check("two sweeps, a death", Host { kills: 1, jobs: [1, 1, 0], ..host }, &promises::CONTROLS);
    if std::env::var_os("DISK_GUARD_SOAK").is_some() {
        check("two sweeps, three jobs, a death", Host { kills: 1, ..host }, &promises::CONTROLS);
    }
}

#[test]
fn a_hook_under_pressure_a_sweep_and_a_runner_without_a_hook() {
    let host = Host { guards: [Role::Sweep, Role::Hook(0)], guarded: [true, true, false], ..Host::plain() };
    check("a hook and a sweep, no deaths", host, &[promises::FENCED]);
    check("a hook and a sweep, two deaths", Host { kills: 2, ..host }, &[]);
    check("a hook and a sweep, two rounds", Host { rounds: 2, kills: 1, ..host }, &[]);
}

#[test]
fn an_orphaned_hook_and_its_runners_next_job() {
    let host = Host { guards: [Role::Sweep, Role::Hook(0)], jobs: [2, 1, 0], kills: 1, ..Host::plain() };
    check("an orphaned hook", host, &[]);
}

#[test]
fn builds_that_outlive_their_workers() {
    let host = Host { builds_outlive: true, kills: 1, jobs: [1, 1, 0], ..Host::plain() };
    check("two sweeps", host, &[]);
    let pressed = Host { jobs: [2, 1, 0], guards: [Role::Sweep, Role::Hook(0)], ..host };
    check("a sweep, and the hook of the next job", pressed, &[]);
    let alone = Host { jobs: [1, 0, 0], ..host };
    let unwritten = Host { leaseless: [true, false, false], ..alone };
    check("a job without a lease", unwritten, &[]);
    check("a job whose hook has lost its supervisor", Host { fails: 1, ..alone }, &[]);
}

/// `cycle::batch`.
#[test]
fn several_claims_with_shared_looks() {
    let host = Host { batches: true, jobs: [1, 1, 0], ..Host::plain() };
    check("two sweeps in batches", host, &promises::CONTROLS);
    let one = Host { jobs: [1, 0, 0], ..host };
    check("two sweeps in batches, a death", Host { kills: 1, ..one }, &[promises::FENCED, promises::TAKEN]);
    check("two sweeps in batches, a hook fails", Host { fails: 1, ..one }, &[promises::FENCED]);
    check("two sweeps in batches, a swap", Host { swaps: 1, ..one }, &[promises::RESTORED]);
    let pressed = Host { guards: [Role::Sweep, Role::Hook(0)], ..host };
    check("a sweep and a hook in batches", pressed, &[promises::FENCED]);
    let outlived = Host { builds_outlive: true, kills: 1, ..one };
    check("two sweeps in batches, a build outlives its Worker", outlived, &[]);
}

#[test]
fn a_worker_with_a_single_piece_of_evidence() {
    let host = Host { kills: 1, jobs: [1, 1, 0], ..Host::plain() };
    check("a Worker without a lease", Host { leaseless: [true, false, false], ..host }, &[]);
    check("a Worker that is not seen", Host { hidden: [true, false, false], ..host }, &[]);
    check("a runner that cannot be examined", Host { opaque: [true, false, false], ..host }, &[]);
}

#[test]
fn hooks_that_fail_at_any_step() {
    let host = Host { fails: 2, jobs: [1, 1, 0], ..Host::plain() };
    check("two hooks fail", host, &[promises::FENCED]);
    let pressed = Host { fails: 1, guards: [Role::Sweep, Role::Hook(0)], ..host };
    check("a hook under pressure fails", pressed, &[promises::FENCED]);
    let apart = Host { apart: [true, false, false], ..host };
    check("a hook fails that has a run directory of its own", apart, &[promises::FENCED]);
}

#[test]
fn directories_that_change_under_the_guards_eyes() {
    check("swaps", Host { swaps: 2, jobs: [1, 0, 0], ..Host::plain() }, &[]);
}

/// What [`NO_HANG`](super::promises::NO_HANG) leaves open: that a hook's own steps could go round in a circle. Each one leads on.
#[test]
fn every_step_of_a_hook_leads_on_to_its_return() {
    let host = Host { guards: [Role::Sweep, Role::Hook(0)], rounds: 2, jobs: [1, 1, 0], ..Host::plain() };
    let mut waiting = host.init_states();
    let mut seen: HashSet<State> = waiting.iter().copied().collect();
    let mut steps_of_hooks = 0;
    while let Some(state) = waiting.pop() {
        for (step, next) in host.next_steps(&state) {
            if let Some(runner) = step.hook() {
                let (was, is) = (state.runners[runner].job, next.runners[runner].job);
                assert!(was < is, "{step:?}: {was:?} -> {is:?}");
                steps_of_hooks += 1;
            } else if let Some(guard) = step.guard() {
                let left = |state: &State| (Reverse(state.guards[guard].rounds), state.guards[guard].at);
                assert!(left(&state) < left(&next), "{step:?}: {state:?}");
                steps_of_hooks += usize::from(guard == 1);
            }
            if seen.insert(next) {
                waiting.push(next);
            }
        }
    }
    assert!(steps_of_hooks > 1000, "{steps_of_hooks}");
}
