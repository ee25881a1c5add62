//! No task could be started: the pids controller refused it, or the user had reached the limit of processes.

use super::whose::is_own_group;
use super::{CauseFinding, code, disk, is_during_job, kernel};
use crate::model::postmortem::{Cause, Complaint, Confidence, Facts, KernelEvent, KernelLine, Proof};
use crate::postmortem::exit_code;

const CAUSE: Cause = Cause::TasksExhausted;

/// The kernel reports only a group's first refusal, so that its silence means nothing; the group counts them all.
pub(super) fn exhausted(facts: &Facts) -> CauseFinding {
    let whose = |line: &KernelLine| match &line.event {
        KernelEvent::ForkRejected { group } if is_during_job(facts, line.at) => {
            Some(is_own_group(facts, group))
        }
        _ => None,
    };
    let told = kernel(facts, CAUSE, |line| matches!(whose(line), Some(Some(true) | None)));
    let lines = facts.kernel.known().into_iter().flat_map(|log| &log.lines);
    let is_own = lines.into_iter().any(|line| whose(line) == Some(Some(true)));
    let logged = disk::complaints(facts, CAUSE, &[Complaint::Tasks]);
    let counted = facts.tasks.as_ref().filter(|tasks| tasks.refused > 0).map(|tasks| Proof {
        source: tasks.file.clone(),
        at: None,
        text: format!(
            "max {}: the number of tasks that could not be started since the group was created",
            tasks.refused
        ),
        points_to: CAUSE,
    });
    let is_exception = code(facts).is_some_and(|(code, _)| exit_code::may_be_an_exception(code));
    let is_result =
        code(facts).is_some_and(|(code, _)| matches!(exit_code::ending(code), exit_code::Ending::Result(_)));
    let confidence = match (is_own, !logged.is_empty()) {
        (true, true) if is_exception => Confidence::Certain,
        (true, _) | (false, true) if is_exception || is_result => Confidence::Likely,
        (false, false) if told.is_empty() => return nothing_found(facts),
        _ => Confidence::Possible,
    };
    CauseFinding::suspect(confidence, told.into_iter().chain(logged).chain(counted).collect())
}

fn nothing_found(facts: &Facts) -> CauseFinding {
    match disk::no_exception(facts) {
        Some(why) => CauseFinding::cleared(format!(
            "a process that can start no other ends with an exception, not with {why}"
        )),
        None => CauseFinding::default(),
    }
}
