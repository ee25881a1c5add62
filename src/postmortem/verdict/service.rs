//! Actions of the service, and of the runner on its behalf, on a job: cancel it, withdraw it, stop it.
//!
//! The Listener asks its Worker to stop, and kills it when it does not (src/Runner.Listener/JobDispatcher.cs, v2.336.0). Then neither
//! writes its usual last line: not `Worker finished`, nor `Job completed.`.

use super::{CauseFinding, code, host, host_is_complete, listener_line, logs, shutdown, worker_line};
use crate::model::postmortem::{Cause, Confidence, Facts, Proof, Reported};
use crate::postmortem::exit_code::{self, Ending};

/// Whether the exit code is one of the Worker's own results, none when it is not known.
fn is_result(facts: &Facts) -> Option<bool> {
    code(facts).map(|(code, _)| matches!(exit_code::ending(code), Ending::Result(_)))
}

fn result(facts: &Facts) -> Option<Reported> {
    facts.listener.known()?.result.as_ref().map(|(result, _)| *result)
}

/// The exit code and the Listener agree; or there is only one of them; or the Worker ended otherwise than it was asked to.
fn confidence(facts: &Facts) -> Confidence {
    match is_result(facts) {
        Some(true) => Confidence::Certain,
        None => Confidence::Likely,
        Some(false) => Confidence::Possible,
    }
}

/// The job was cancelled, by a person or by a job that came after it.
pub(super) fn cancelled(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::Cancelled;
    let (listener, worker) = logs(facts);
    let is_otherwise = !shutdown(facts, CAUSE).is_empty()
        || listener.is_some_and(|log| log.lost_contact.is_some())
        || result(facts) == Some(Reported::Abandoned);
    let of_listener = listener.and_then(|log| log.cancelled.as_ref());
    let of_worker = worker.and_then(|log| log.cancelled.as_ref());
    if is_otherwise
        || (of_listener.is_none() && of_worker.is_none() && result(facts) != Some(Reported::Cancelled))
    {
        return CauseFinding::default();
    }
    let mut evidence: Vec<Proof> = of_listener.map(|line| listener_line(line, CAUSE)).into_iter().collect();
    evidence.extend(of_worker.map(|line| worker_line(facts, line, CAUSE)));
    let sure = match (result(facts), code(facts).map(|(code, _)| code)) {
        (Some(Reported::Cancelled), _) | (_, Some(103)) => confidence(facts),
        // It ended by itself before it was asked.
        (Some(_), _) | (_, Some(_)) => Confidence::Possible,
        // The Listener's log does not show how it ended: the Worker's own shows that it reached its end.
        (None, None) if worker.is_some_and(|log| log.reported.is_some() || log.completed.is_some()) => {
            Confidence::Likely
        }
        (None, None) => Confidence::Possible,
    };
    CauseFinding::suspect(sure, evidence)
}

/// The runner was asked to shut down, and stopped its job.
pub(super) fn runner_stopped(facts: &Facts) -> CauseFinding {
    let evidence = shutdown(facts, Cause::RunnerStopped);
    if evidence.is_empty() {
        return CauseFinding::default();
    }
    let sure = match (result(facts), is_result(facts)) {
        // It ended by itself before it was asked.
        (Some(Reported::Succeeded | Reported::SucceededWithIssues), _) => Confidence::Possible,
        // The stop by systemd or of the whole host is distinguished if those sources can be read.
        (Some(_), Some(true))
            if host_is_complete(facts)
                && (facts.unit_name.is_none() || facts.unit.known().is_some())
                && !host::goes_down_with_the_host(facts) =>
        {
            Confidence::Certain
        }
        // A Worker that is stopped may end by an exception.
        _ => Confidence::Likely,
    };
    CauseFinding::suspect(sure, evidence)
}

/// The service withdrew the job, or could not be reached for too long.
pub(super) fn lost_contact(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::LostContact;
    let Some(log) = facts.listener.known() else { return CauseFinding::default() };
    let is_abandoned = result(facts) == Some(Reported::Abandoned);
    let evidence: Vec<Proof> = [&log.lost_renewal, &log.lost_contact]
        .into_iter()
        .flatten()
        .map(|line| listener_line(line, CAUSE))
        .collect();
    match (&log.lost_contact, is_abandoned) {
        (Some(_), _) | (None, true) => CauseFinding::suspect(confidence(facts), evidence),
        // It was tried again, and succeeded as far as is known.
        (None, false) if !evidence.is_empty() && !log.has_end() => {
            CauseFinding::suspect(Confidence::Possible, evidence)
        }
        (None, false) => CauseFinding::default(),
    }
}

/// The Listener killed its Worker: it had not stopped in time, or could not be reached any more.
pub(super) fn stopped_by_listener(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::StoppedByListener;
    let Some(log) = facts.listener.known() else { return CauseFinding::default() };
    let Some(stopped) = &log.stopped else { return CauseFinding::default() };
    let reasons = [&log.cancelled, &log.lost_contact, &log.shutdown].into_iter().flatten();
    let evidence: Vec<Proof> =
        [stopped].into_iter().chain(reasons).map(|line| listener_line(line, CAUSE)).collect();
    // A lost pipe may be that of a Worker that has died before.
    let is_lost_pipe = stopped.text.contains(" failed, kill running worker");
    let sure = match code(facts).map(|(code, _)| code) {
        Some(137) if !is_lost_pipe => Confidence::Certain,
        Some(137) | None => Confidence::Likely,
        Some(_) => Confidence::Possible,
    };
    CauseFinding::suspect(sure, evidence)
}
