//! Lack of memory: kills by the kernel, kills by daemons that act before the kernel, and the runtime's own exception.

use super::whose::{Victim, victim};
use super::{
    CauseFinding, code, host_is_complete, host_lines, is_during_job, is_in_span, kernel, kernel_is_complete,
    listener_line, worker_line,
};
use crate::model::postmortem::{
    Cause, Complaint, Confidence, Ended, Facts, HostDeed, HostLine, KernelEvent, KernelLine, LogLine,
    OomScope, Proof,
};
use crate::postmortem::exit_code::{self, Ending};
use std::time::{Duration, SystemTime};

const CAUSE: Cause = Cause::OutOfMemory;

/// A kill of another process in the runner's group ends the Worker this soon, where systemd or the kernel ends the whole group
/// (`OOMPolicy=`, `memory.oom.group`).
const WITH_THE_GROUP: Duration = Duration::from_secs(60);

/// A step's own process ends this soon when its container's main process was killed.
const WITH_THE_STEP: Duration = Duration::from_secs(10);

/// A report of the kernel or of a daemon about the Worker makes it certain, unless the exit code contradicts. A kill of another process of
/// the job is possible at most: the Worker survives its children.
pub(super) fn out_of_memory(facts: &Facts) -> CauseFinding {
    let found = [
        of_the_worker(facts),
        of_a_daemon(facts),
        of_the_unit(facts),
        of_others(facts),
        of_the_runtime(facts),
    ];
    let mut suspicion = None;
    let mut evidence = Vec::new();
    for (confidence, lines) in found.into_iter().flatten() {
        suspicion = suspicion.max(Some(confidence));
        evidence.extend(lines);
    }
    match suspicion {
        Some(confidence) => {
            evidence.extend(scope(facts));
            evidence.extend(counted(facts));
            CauseFinding::suspect(confidence, evidence)
        }
        None => match of_anybody(facts) {
            hints if hints.is_empty() => nothing_found(facts),
            hints => CauseFinding::hint(hints),
        },
    }
}

/// Whether anything may have killed the Worker for lack of memory.
pub(super) fn is_suspected(facts: &Facts) -> bool {
    let found = out_of_memory(facts);
    found.suspicion.is_some() || !found.evidence.is_empty()
}

/// Kills that may or may not concern this runner.
fn of_anybody(facts: &Facts) -> Vec<Proof> {
    let fits = exit(facts).is_none_or(|code| matches!(code, 137 | 143));
    kernel(facts, CAUSE, |line| {
        fits && is_in_span(facts, line.at) && victim(facts, line) == Some(Victim::Perhaps)
    })
}

type Suspicion = Option<(Confidence, Vec<Proof>)>;

fn is_kill(line: &KernelLine) -> bool {
    matches!(line.event, KernelEvent::OomKill { .. })
}

fn exit(facts: &Facts) -> Option<i32> {
    code(facts).map(|(code, _)| code)
}

fn of_the_worker(facts: &Facts) -> Suspicion {
    let lines = facts.kernel.known().into_iter().flat_map(|log| &log.lines);
    let sure = lines.filter_map(|line| match victim(facts, line)? {
        Victim::Worker(sure) => Some(sure),
        _ => None,
    });
    let sure = sure.max()?;
    let told = kernel(facts, CAUSE, |line| matches!(victim(facts, line), Some(Victim::Worker(_))));
    // A reused pid, if the exit code is another one.
    let fits = exit(facts).is_none_or(|code| code == 137);
    Some((if fits { sure } else { Confidence::Possible }, told))
}

/// earlyoom, systemd-oomd and similar daemons kill before the kernel has to, by SIGTERM first or by SIGKILL at once.
fn of_a_daemon(facts: &Facts) -> Suspicion {
    let is_meant = |line: &HostLine| line.deed == HostDeed::MemoryKill && is_in_span(facts, line.at);
    let told = host_lines(facts, CAUSE, is_meant);
    let lines = facts.host.known().into_iter().flat_map(|log| &log.lines).filter(|line| is_meant(line));
    let sure = lines.map(|line| match exit(facts) {
        Some(137 | 143) | None if !line.is_trusted => Confidence::Possible,
        Some(137 | 143)
            if matches!(line.source.as_str(), "earlyoom" | "nohang" | "systemd-oomd" | "oomd") =>
        {
            Confidence::Certain
        }
        // systemd and container runtimes report that some process of the unit or container was killed.
        Some(137 | 143) => Confidence::Likely,
        None => Confidence::Likely,
        Some(_) => Confidence::Possible,
    });
    Some((sure.max()?, told))
}

fn of_the_unit(facts: &Facts) -> Suspicion {
    let unit = facts.unit.known().filter(|unit| unit.result == "oom-kill")?;
    let is_then = unit.main_exited.is_none_or(|at| is_in_span(facts, at));
    let text = format!("{}: Result=oom-kill", unit.name);
    let proof = Proof { source: "systemd".into(), at: unit.main_exited, text, points_to: CAUSE };
    let fits = exit(facts).is_none_or(|code| matches!(code, 137 | 143));
    (is_then && fits).then(|| (Confidence::Likely, vec![proof]))
}

/// Kills of other processes of the runner's own group.
fn of_others(facts: &Facts) -> Suspicion {
    let ended = |line: &KernelLine| facts.death.ended.or(facts.death.last_sign).unwrap_or(line.at);
    let is_close = |line: &KernelLine| distance(ended(line), line.at) <= WITH_THE_GROUP;
    let is_own = |line: &KernelLine| is_kill(line) && victim(facts, line) == Some(Victim::Own);
    if super::ended(facts) == Ended::Cleanly {
        // The linker or the compiler of a job that failed.
        let step = facts.worker.known().and_then(|log| log.killed_step.as_ref());
        let is_meant =
            |line: &KernelLine| is_own(line) || step.is_some_and(|step| is_of_container(line, step));
        let mut told = kernel(facts, CAUSE, |line| is_meant(line) && is_during_job(facts, line.at));
        told.extend(step.filter(|_| !told.is_empty()).map(|line| worker_line(facts, line, CAUSE)));
        return (!told.is_empty()).then_some((Confidence::Likely, told));
    }
    let told = kernel(facts, CAUSE, |line| is_own(line) && is_in_span(facts, line.at));
    let with_the_group = matches!(exit(facts), Some(137 | 143))
        && facts
            .kernel
            .known()
            .is_some_and(|log| log.lines.iter().any(|line| is_own(line) && is_close(line)));
    let sure = if with_the_group { Confidence::Likely } else { Confidence::Possible };
    (!told.is_empty()).then_some((sure, told))
}

/// Whether a kill in a container is the end of this step: engines put the containers of jobs into groups of their own, outside of the
/// runner's.
fn is_of_container(line: &KernelLine, step: &LogLine) -> bool {
    let KernelEvent::OomKill { group: Some(group), .. } = &line.event else { return false };
    let is_container = |part: &str| {
        let scopes = ["docker-", "libpod-", "cri-containerd-", "crio-", "kubepods"];
        part == "docker" || scopes.iter().any(|start| part.starts_with(start))
    };
    group.split('/').any(is_container) && step.at.is_some_and(|at| distance(at, line.at) <= WITH_THE_STEP)
}

/// `System.OutOfMemoryException`, and `ENOMEM`.
fn of_the_runtime(facts: &Facts) -> Suspicion {
    let is_meant = |complaint: &Complaint, at: Option<SystemTime>| {
        *complaint == Complaint::Memory && at.is_none_or(|at| is_in_span(facts, at))
    };
    let worker = facts.worker.known().into_iter().flat_map(|log| &log.complaints);
    let worker = worker
        .filter(|(what, line)| is_meant(what, line.at))
        .map(|(_, line)| worker_line(facts, line, CAUSE));
    let listener = facts.listener.known().into_iter().flat_map(|log| &log.complaints);
    let listener =
        listener.filter(|(what, line)| is_meant(what, line.at)).map(|(_, line)| listener_line(line, CAUSE));
    let told: Vec<Proof> = worker.chain(listener).collect();
    let fits = exit(facts).is_some_and(exit_code::may_be_an_exception);
    (!told.is_empty() && fits).then_some((Confidence::Likely, told))
}

/// Ruled out only if every source that could have shown it was read.
fn nothing_found(facts: &Facts) -> CauseFinding {
    let (kernel, host) = (kernel_is_complete(facts), host_is_complete(facts));
    match exit(facts) {
        Some(137) | None if kernel && host => CauseFinding::cleared(
            "the kernel's messages and the journal of that time are complete and contain no out-of-memory kill of this Worker or in its group by the kernel, systemd-oomd or earlyoom",
        ),
        Some(137) | None => match facts.memory.known() {
            Some(memory) if memory.oom_kills > 0 && !kernel => {
                CauseFinding::suspect(Confidence::Possible, counted(facts))
            }
            _ => CauseFinding::default(),
        },
        Some(code) => match exit_code::ending(code) {
            Ending::Signal(_) if host => CauseFinding::cleared(
                "the kernel kills with SIGKILL, which would have been recorded as 137, and the journal of that time is complete and contains no out-of-memory daemon that killed this Worker",
            ),
            Ending::Signal(_) => CauseFinding::default(),
            Ending::Fault(_) => CauseFinding::cleared(
                "an out-of-memory kill sends SIGKILL or SIGTERM, which would have been recorded as 137 or 143",
            ),
            // An exception may be caused by a lack of memory that the runtime met itself.
            _ if facts.worker.known().is_some_and(|log| !log.is_cut)
                && facts.listener.known().is_some_and(|log| log.is_whole) =>
            {
                CauseFinding::cleared(
                    "SIGKILL and SIGTERM would have been recorded as 137 and 143, and the runner's complete logs mention no lack of memory",
                )
            }
            _ => CauseFinding::default(),
        },
    }
}

fn distance(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).or_else(|_| other.duration_since(one)).unwrap_or_default()
}

/// The group whose limit was exceeded when the Worker was killed.
pub(super) fn worker_scope(facts: &Facts) -> Option<(&KernelLine, &OomScope, Option<&String>)> {
    let lines = facts.kernel.known()?.lines.iter();
    lines.filter(|line| matches!(victim(facts, line), Some(Victim::Worker(_)))).find_map(|line| {
        match &line.event {
            KernelEvent::OomKill { scope, group, .. } => Some((line, scope, group.as_ref())),
            _ => None,
        }
    })
}

/// The same in words.
fn scope(facts: &Facts) -> Option<Proof> {
    let (line, scope, group) = worker_scope(facts)?;
    let of = group.map(|group| format!(" of the cgroup {group}")).unwrap_or_default();
    let text = match scope {
        OomScope::Host => format!("the whole host was out of memory; the process{of} was chosen"),
        OomScope::Group(limit) => format!("the cgroup {limit} was at its limit, the host was not"),
        OomScope::SomeGroup => "a cgroup was at its limit, the host was not".to_owned(),
        OomScope::Unknown => return None,
    };
    Some(Proof { source: "kernel".into(), at: Some(line.at), text, points_to: CAUSE })
}

fn counted(facts: &Facts) -> Vec<Proof> {
    let count = facts.memory.known().filter(|memory| memory.oom_kills > 0).map(|memory| Proof {
        source: memory.file.clone(),
        at: None,
        text: format!("oom_kill {} since the group was created", memory.oom_kills),
        points_to: CAUSE,
    });
    let stalled = facts.pressure.known().filter(|pressure| pressure.memory >= 10.0).map(|pressure| Proof {
        source: "/proc/pressure/memory".into(),
        at: Some(facts.now),
        text: format!("all tasks waited for memory in {:.0} % of the last 300 s", pressure.memory),
        points_to: CAUSE,
    });
    count.into_iter().chain(stalled).collect()
}
