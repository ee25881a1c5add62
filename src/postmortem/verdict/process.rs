//! Ends of a process: its own faults, signals of others, its own errors.

use super::whose::{Victim, faulted};
use super::{
    CauseFinding, code, disk, host_did, host_is_complete, host_lines, is_in_span, kernel, kernel_is_complete,
    listener_line, memory,
};
use crate::model::postmortem::{Cause, Confidence, Facts, HostDeed};
use crate::postmortem::exit_code::{self, Ending};

/// A fault that the kernel reports, or an exit code that means one. The kernel does not report faults that the runtime handles first, nor
/// any if it is configured so (`debug.exception-trace`): its silence rules nothing out.
pub(super) fn crash(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::Crash;
    let lines = facts.kernel.known().into_iter().flat_map(|log| &log.lines);
    let sure = lines.filter_map(|line| match faulted(facts, line)? {
        Victim::Worker(sure) => Some(sure),
        Victim::Perhaps | Victim::Own | Victim::Other => None,
    });
    let sure = sure.max();
    let own = kernel(facts, CAUSE, |line| {
        matches!(faulted(facts, line), Some(Victim::Worker(_) | Victim::Perhaps))
    });
    match (code(facts).map(|(code, line)| (exit_code::ending(code), line)), sure) {
        (Some((Ending::Fault(_), line)), _) => {
            let sure = match disk::broke_a_mapped_file(facts) {
                true => Confidence::Possible,
                false => Confidence::Certain,
            };
            CauseFinding::suspect(sure, [own, vec![listener_line(line, CAUSE)]].concat())
        }
        // .NET's end after an exception, of any kind.
        (Some((Ending::Abort, line)), _) => {
            CauseFinding::suspect(Confidence::Likely, [own, vec![listener_line(line, CAUSE)]].concat())
        }
        (Some(_), _) => CauseFinding::cleared("the exit code corresponds to no fault"),
        (None, Some(sure)) => CauseFinding::suspect(sure, own),
        // A thread of .NET, of this Worker or of another program.
        (None, None) => CauseFinding::hint(own),
    }
}

/// A signal from a process. Only the kernel and the journal show which one, and whether it was for lack of memory.
pub(super) fn killed(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::Killed;
    let orders = host_lines(facts, CAUSE, |line| {
        matches!(line.deed, HostDeed::Order | HostDeed::ContainerEnd) && is_in_span(facts, line.at)
    });
    let has_order = host_did(facts, HostDeed::Order);
    match code(facts).map(|(code, line)| (exit_code::ending(code), code, line)) {
        Some((Ending::Signal(_), code, line)) => {
            let deeds = [HostDeed::UnitStop, HostDeed::UnitKill, HostDeed::ContainerEnd, HostDeed::GoingDown];
            let by_the_runner = facts
                .listener
                .known()
                .is_none_or(|log| log.stopped.is_some() || log.shutdown.is_some() || log.cancelled.is_some());
            let may_be_another = memory::is_suspected(facts)
                || by_the_runner
                || deeds.iter().any(|deed| host_did(facts, *deed));
            let all_was_seen = kernel_is_complete(facts) && host_is_complete(facts);
            let may_be_another = may_be_another || exit_code::may_be_the_kernels(code);
            let is_sure = !may_be_another && (all_was_seen || has_order);
            let confidence = if is_sure { Confidence::Certain } else { Confidence::Likely };
            CauseFinding::suspect(confidence, [vec![listener_line(line, CAUSE)], orders].concat())
        }
        // A fault's signal can be sent, too; the kernel reports only real faults.
        Some((Ending::Fault(_), code, _)) => {
            let lines = facts.kernel.known().into_iter().flat_map(|log| &log.lines);
            let is_own =
                lines.into_iter().any(|line| matches!(faulted(facts, line), Some(Victim::Worker(_))));
            match is_own {
                true => CauseFinding::cleared(format!("the kernel reports the fault that {code} stands for")),
                false => CauseFinding::default(),
            }
        }
        Some((_, code, _)) => CauseFinding::cleared(format!(
            "the exit code {code} corresponds to no signal that a process sends"
        )),
        None if has_order || host_did(facts, HostDeed::ContainerEnd) => {
            CauseFinding::suspect(Confidence::Likely, orders)
        }
        None => CauseFinding::default(),
    }
}

/// A code that the Worker returned by itself and that is none of its own results.
pub(super) fn runner_error(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::RunnerError;
    let Some((code, line)) = code(facts) else { return CauseFinding::default() };
    if exit_code::ending(code) != Ending::Error {
        return CauseFinding::cleared(format!("{code} is not a code that a failing program returns itself"));
    }
    CauseFinding::suspect(Confidence::Likely, vec![listener_line(line, CAUSE)])
}
