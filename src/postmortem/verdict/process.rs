//! What ends a process: the kernel's want of memory, its own faults, other people's signals, its own errors.

use super::{
    Finding, code, is_during_job, is_in_span, is_worker, kernel, kernel_is_complete, listener_line,
    sure_of_worker, worker_line,
};
use crate::postmortem::exit_code::{self, Ending};
use crate::postmortem::nouns::{
    Cause, Complaint, Confidence, Facts, KernelEvent, KernelLine, OomScope, Proof,
};

/// The kernel's own word about the Worker makes certain. A kill of another process of the job is possible at most: the Worker
/// survives its children.
pub(super) fn out_of_memory(facts: &Facts) -> Finding {
    const CAUSE: Cause = Cause::OutOfMemory;
    let is_kill = |line: &KernelLine| matches!(line.event, KernelEvent::OomKill { .. });
    let own = kernel(facts, CAUSE, |line| is_kill(line) && is_worker(facts, line));
    if !own.is_empty() {
        let mut evidence = own;
        evidence.extend(scope(facts));
        evidence.extend(counted(facts));
        return Finding::suspect(sure_of_worker(facts), evidence);
    }
    let unit_says = facts.unit.known().filter(|unit| unit.result == "oom-kill");
    if let Some(unit) = unit_says.filter(|unit| unit.main_exited.is_none_or(|at| is_in_span(facts, at))) {
        let text = format!("{}: Result=oom-kill", unit.name);
        let mut evidence =
            vec![Proof { source: "systemd".into(), at: unit.main_exited, text, points_to: CAUSE }];
        evidence.extend(counted(facts));
        return Finding::suspect(Confidence::Likely, evidence);
    }
    let is_killed = code(facts).is_none_or(|(code, _)| code == 137);
    let others = kernel(facts, CAUSE, |line| concerns(facts, line) && is_in_span(facts, line.at));
    if !others.is_empty() && is_killed {
        let mut evidence = others;
        evidence.extend(counted(facts));
        return Finding::suspect(Confidence::Possible, evidence);
    }
    if !is_killed {
        return Finding::cleared("the kernel kills with SIGKILL, which would have been noted as 137");
    }
    if kernel_is_complete(facts) {
        return Finding::cleared(
            "the kernel's messages of that time are all there and tell of no such kill of this Worker, nor in its group",
        );
    }
    match facts.memory.known() {
        Some(memory) if memory.oom_kills > 0 => Finding::suspect(Confidence::Possible, counted(facts)),
        Some(memory) if memory.counts_below => {
            Finding::cleared(format!("{} counts no such kill since the group was made", memory.file))
        }
        _ => Finding::default(),
    }
}

/// Whether a kill of another process has to do with this runner: all of the host lacked memory, or the runner's own group, or
/// one above or below it. What happens in other groups is theirs.
fn concerns(facts: &Facts, line: &KernelLine) -> bool {
    let KernelEvent::OomKill { scope, group, .. } = &line.event else { return false };
    let Some(own) = facts.memory.known().map(|memory| memory.group.as_str()) else {
        return *scope == OomScope::Host;
    };
    // Everybody is in the root's group or below it.
    let holds = |above: &str, below: &str| above != "/" && std::path::Path::new(below).starts_with(above);
    match (scope, group) {
        (OomScope::Host, _) => true,
        (OomScope::Group(limit), _) if holds(limit, own) || holds(own, limit) => true,
        (_, Some(group)) => holds(own, group),
        _ => false,
    }
}

/// Whose limit it was, in words.
fn scope(facts: &Facts) -> Option<Proof> {
    let lines = facts.kernel.known()?.lines.iter();
    let (line, scope, group) =
        lines.filter(|line| is_worker(facts, line)).find_map(|line| match &line.event {
            KernelEvent::OomKill { scope, group, .. } => Some((line, scope, group)),
            _ => None,
        })?;
    let of = group.as_ref().map(|group| format!(" of the cgroup {group}")).unwrap_or_default();
    let text = match scope {
        OomScope::Host => format!("the whole host was out of memory; the process{of} was chosen"),
        OomScope::Group(limit) => format!("the cgroup {limit} was at its limit, the host was not"),
        OomScope::SomeGroup => "a cgroup was at its limit, the host was not".to_owned(),
    };
    Some(Proof { source: "kernel".into(), at: Some(line.at), text, points_to: Cause::OutOfMemory })
}

fn counted(facts: &Facts) -> Vec<Proof> {
    let count = facts.memory.known().filter(|memory| memory.oom_kills > 0).map(|memory| Proof {
        source: memory.file.clone(),
        at: None,
        text: format!("oom_kill {} since the group was made", memory.oom_kills),
        points_to: Cause::OutOfMemory,
    });
    let stalled = facts.pressure.known().filter(|pressure| pressure.memory >= 10.0).map(|pressure| Proof {
        source: "/proc/pressure/memory".into(),
        at: Some(facts.now),
        text: format!("everything waited for memory in {:.0} % of the last 300 s", pressure.memory),
        points_to: Cause::OutOfMemory,
    });
    count.into_iter().chain(stalled).collect()
}

/// A fault that the kernel tells of, or an exit code that stands for one.
pub(super) fn crash(facts: &Facts) -> Finding {
    const CAUSE: Cause = Cause::Crash;
    let own = kernel(facts, CAUSE, |line| {
        matches!(line.event, KernelEvent::Fault { .. }) && is_worker(facts, line)
    });
    match code(facts).map(|(code, line)| (exit_code::ending(code), line)) {
        Some((Ending::Fault(_), line)) => {
            let mut evidence = own;
            evidence.push(listener_line(line, CAUSE));
            Finding::suspect(Confidence::Certain, evidence)
        }
        _ if !own.is_empty() => Finding::suspect(sure_of_worker(facts), own),
        Some((_, _)) => Finding::cleared("the exit code stands for no fault"),
        None if kernel_is_complete(facts) => {
            Finding::cleared("the kernel, which tells of every segmentation fault, tells of none")
        }
        None => Finding::default(),
    }
}

/// A signal that somebody sent. That of the kernel for want of memory is told apart by the kernel's messages alone.
pub(super) fn killed(facts: &Facts) -> Finding {
    const CAUSE: Cause = Cause::Killed;
    match code(facts).map(|(code, line)| (exit_code::ending(code), code, line)) {
        Some((Ending::Signal(_), code, line)) => {
            let is_own_kill = |line: &KernelLine| {
                matches!(line.event, KernelEvent::OomKill { .. }) && is_worker(facts, line)
            };
            let may_be_memory =
                code == 137 && (!kernel_is_complete(facts) || !kernel(facts, CAUSE, is_own_kill).is_empty());
            let confidence = if may_be_memory { Confidence::Likely } else { Confidence::Certain };
            Finding::suspect(confidence, vec![listener_line(line, CAUSE)])
        }
        Some((_, code, _)) => {
            Finding::cleared(format!("the exit code {code} stands for no signal that is sent"))
        }
        None => Finding::default(),
    }
}

/// A code that the Worker returned by itself and that is none of its own.
pub(super) fn runner_error(facts: &Facts) -> Finding {
    const CAUSE: Cause = Cause::RunnerError;
    let Some((code, line)) = code(facts) else { return Finding::default() };
    if exit_code::ending(code) != Ending::Error {
        return Finding::cleared(format!("{code} is no code that a failing program returns by itself"));
    }
    let mut evidence = vec![listener_line(line, CAUSE)];
    let memory = facts.worker.known().into_iter().flat_map(|log| &log.complaints);
    let memory = memory.filter(|(complaint, line)| {
        *complaint == Complaint::Memory && line.at.is_none_or(|at| is_during_job(facts, at))
    });
    evidence.extend(memory.map(|(_, line)| worker_line(facts, line, CAUSE)));
    Finding::suspect(Confidence::Likely, evidence)
}
