//! The model's traces on real runners: real hooks below real Workers and real sweeps, each held at the system calls between which
//! the model's steps lie. After every step the host is as the model says.

mod stage;
mod traces;

use super::kit;
use super::protocol;
use stage::Stage;
use std::collections::BTreeSet;
use traces::{Playable, Trace};

/// One cache, two jobs, of which one on another runner, two sweeps, a death.
fn playable() -> Playable {
    Playable(protocol::Host {
        cached: [true, false, false],
        jobs: [1, 1, 0],
        guarded: [true, true, false],
        kills: 1,
        ..protocol::Host::plain()
    })
}

/// Plays `trace` from its beginning to its end.
fn play(model: &Playable, trace: &Trace, host: &kit::Host) {
    let mut stage = Stage::on(host);
    let states = trace.states(model);
    stage.compare(&states[0], "at the beginning");
    for (at, (step, after)) in trace.steps.iter().zip(&states[1..]).enumerate() {
        stage.take(*step, after);
        stage.compare(after, &format!("after {:?}", &trace.steps[..=at]));
    }
    stage.next_run_finishes(&trace.steps);
}

#[test]
fn real_hooks_and_sweeps_follow_the_models_steps() {
    if !kit::sees_everything() {
        return;
    }
    let model = playable();
    let host = stage::host();
    let mut seen = BTreeSet::new();
    for trace in traces::of_interest(&model).into_iter().chain(traces::sample(&model)) {
        eprintln!("{:?}", trace.steps);
        play(&model, &trace, &host);
        seen.extend(trace.steps.iter().map(traces::name));
    }
    let wanted: BTreeSet<String> = traces::PLAYED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(seen, wanted, "every kind of step has been taken");
}
