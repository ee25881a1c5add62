//! Which process a kernel message concerns: the Worker, its runner's group, perhaps these, or another one.

use super::{code, is_in_span};
use crate::actions_runner::layout;
use crate::actions_runner::unit;
use crate::model::postmortem::{Confidence, Facts, KernelEvent, KernelLine, OomScope};
use crate::postmortem::exit_code::{self, Ending};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The Listener logs its Worker's end this soon: logs have whole seconds.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Which process was killed, or faulted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    /// The Worker, with this confidence.
    Worker(Confidence),
    /// Another process of the runner's group.
    Own,
    /// Unknown.
    Perhaps,
    /// A process outside of the runner.
    Other,
}

/// The victim of an out-of-memory kill.
pub(super) fn victim(facts: &Facts, line: &KernelLine) -> Option<Victim> {
    let KernelEvent::OomKill { pid, comm, scope, group } = &line.event else { return None };
    let is_own = match (group, scope) {
        (Some(group), _) => is_own_group(facts, group),
        (None, OomScope::Group(limit)) => is_own_limit(facts, limit),
        _ => None,
    };
    let is_named = comm == layout::WORKER;
    let worker = facts.death.worker_pid.filter(|_| facts.pids_are_the_kernels);
    let is_then = is_in_span(facts, line.at);
    Some(match (worker, is_own) {
        // A pid alone is reused; together with its time it is not.
        (Some(worker), _) if worker == *pid && is_then && (is_named || is_own != Some(false)) => {
            Victim::Worker(Confidence::Certain)
        }
        (_, Some(false)) => Victim::Other,
        // A group has one Worker at a time; its pid may be from another namespace.
        (_, Some(true)) if is_named && is_its_end(facts, line.at) => Victim::Worker(Confidence::Certain),
        // Many runners' Workers have the same name, and this one's pid is known.
        (Some(_), None) if is_named => Victim::Other,
        // The same pid and name, and only the namespaces differ: two views of one process.
        (None, None) if facts.death.worker_pid == Some(*pid) && is_named && is_then => {
            Victim::Worker(Confidence::Likely)
        }
        // Or is known in another namespace.
        (None, None) if facts.death.worker_pid.is_some() => Victim::Perhaps,
        (None, is_own) if is_named && is_then => Victim::Worker(match (is_own, facts.death.ended) {
            (Some(_), _) | (None, Some(_)) => Confidence::Likely,
            (None, None) => Confidence::Possible,
        }),
        (_, Some(true)) => Victim::Own,
        (_, None) => Victim::Perhaps,
    })
}

/// Whether a kill is the end that the Listener logged.
fn is_its_end(facts: &Facts, at: SystemTime) -> bool {
    let distance = |ended: SystemTime| ended.duration_since(at).or_else(|_| at.duration_since(ended));
    let is_close = facts.death.ended.is_some_and(|ended| distance(ended).is_ok_and(|away| away <= AT_ONCE));
    is_close && code(facts).is_some_and(|(code, _)| code == 137)
}

/// Which process a fault concerns. Threads are reported by their own ids, and those of .NET have names of their own: `.NET TP Worker`.
pub(super) fn faulted(facts: &Facts, line: &KernelLine) -> Option<Victim> {
    let KernelEvent::Fault { pid, comm } = &line.event else { return None };
    if !is_in_span(facts, line.at) {
        return Some(Victim::Other);
    }
    let is_named = comm == layout::WORKER || comm.starts_with(".NET ");
    let is_fault = code(facts).is_some_and(|(code, _)| matches!(exit_code::ending(code), Ending::Fault(_)));
    Some(match facts.death.worker_pid.filter(|_| facts.pids_are_the_kernels) {
        Some(worker) if worker == *pid => Victim::Worker(Confidence::Certain),
        // A thread's id is greater than its process's pid, until pids wrap around.
        Some(_) if is_named && is_fault => Victim::Worker(Confidence::Likely),
        None if is_named && (is_fault || comm == layout::WORKER) => Victim::Worker(match facts.death.ended {
            Some(_) => Confidence::Likely,
            None => Confidence::Possible,
        }),
        _ if is_named => Victim::Perhaps,
        _ => Victim::Other,
    })
}

/// Whether a cgroup is the runner's: none when unknown.
pub(super) fn is_own_group(facts: &Facts, path: &str) -> Option<bool> {
    if let Some(unit) = &facts.unit_name
        && path.split('/').any(|part| part == unit)
    {
        return Some(true);
    }
    // Every process is in the root group or below it.
    let own = facts.memory.known().map(|memory| memory.group.as_str()).filter(|group| *group != "/");
    match own {
        Some(own) => Some(Path::new(path).starts_with(own)),
        // Another runner's unit is not this one's, and a process in its unit is in no other group.
        None if facts.unit.known().is_some() || is_of_a_runner(path) => Some(false),
        None => None,
    }
}

/// Whether a process that was killed because this group was at its limit is the runner's: below the runner's group it is; above it others
/// are included as well.
fn is_own_limit(facts: &Facts, limit: &str) -> Option<bool> {
    let own = facts.memory.known().map(|memory| memory.group.as_str()).filter(|group| *group != "/");
    if own.is_some_and(|own| limit != own && Path::new(own).starts_with(limit)) {
        return None;
    }
    is_own_group(facts, limit)
}

fn is_of_a_runner(path: &str) -> bool {
    path.split('/').any(|part| unit::is_named_so(part.as_bytes()))
}
