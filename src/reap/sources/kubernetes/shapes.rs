//! Reads the API's objects and GitHub's list of runners, field by field; nothing is guessed from a missing one.

use super::super::time;
use crate::model::reap::EnvironmentState;
use serde_json::Value;
use std::time::SystemTime;

/// The text at a place; empty where there is none.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a place; 0 where there is none.
pub(super) fn uint(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// Its controller.
pub(super) fn owner(item: &Value) -> Option<&Value> {
    let owners = item.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    owners.iter().find(|owner| owner["controller"] == Value::Bool(true)).or_else(|| owners.first())
}

/// A single word for the API: no way up, no query.
pub(super) fn is_sane_path(path: &str) -> bool {
    !path.contains("..") && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-.".contains(&byte))
}

/// The job that the runner was given.
pub(super) fn job(runner: &Value) -> Option<String> {
    let status = runner.get("status")?;
    let name = text(status, "/jobDisplayName");
    let number =
        ["/jobRequestId", "/workflowRunId"].iter().map(|at| uint(status, at)).find(|number| *number > 0);
    let id = text(status, "/jobId");
    let repository = text(status, "/jobRepositoryName");
    if name.is_empty() && number.is_none() && id.is_empty() && repository.is_empty() {
        return None;
    }
    let number = number.map(|number| format!("#{number}"));
    let words = [Some(repository.to_owned()), number, Some(name.to_owned()), Some(id.to_owned())];
    let words: Vec<String> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    Some(words.join(" "))
}

/// The name of the container that is the runner's.
pub(super) fn runner_container(pod: &Value) -> Option<&str> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array)?;
    match containers.as_slice() {
        [only] => Some(text(only, "/name")),
        several => several.iter().map(|one| text(one, "/name")).find(|name| *name == "runner"),
    }
}

/// The phases in which the states of containers hold.
const LIVE: [&str; 2] = ["Pending", "Running"];

/// What the runner's container is doing.
pub(super) fn pod_state(pod: &Value) -> EnvironmentState {
    let unknown = |what: &str| EnvironmentState::Unknown(what.to_owned());
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    let statuses = statuses.map(Vec::as_slice).unwrap_or_default();
    if has_ended(pod) {
        // The phase is final. A container that is reported as running contradicts it.
        let odd = statuses.iter().map(container_state).find(is_alive);
        return odd.map_or(EnvironmentState::Terminated, |state| {
            EnvironmentState::Unknown(format!(
                "phase {}, and a container is {}",
                text(pod, "/status/phase"),
                state.as_str()
            ))
        });
    }
    let phase = text(pod, "/status/phase");
    if !LIVE.contains(&phase) {
        // Its node does not report, or this is a phase of the future: what its containers were said to do is not what they do now.
        return match phase {
            "" => unknown("it has no phase"),
            phase => EnvironmentState::Unknown(format!("its phase is {phase}")),
        };
    }
    let Some(name) = runner_container(pod) else {
        return unknown("no container is recognised as the runner's");
    };
    match statuses.iter().find(|status| text(status, "/name") == name) {
        Some(status) => container_state(status),
        // It was not assigned to a node, or its node has not reported any container yet.
        None if statuses.is_empty() && phase == "Pending" => EnvironmentState::NeverStarted,
        None => unknown("no status of the runner's container"),
    }
}

fn is_alive(state: &EnvironmentState) -> bool {
    matches!(state, EnvironmentState::Running | EnvironmentState::Unknown(_))
}

/// The rows of the runner's container.
pub(super) fn container_state(status: &Value) -> EnvironmentState {
    let unknown = |what: &str| EnvironmentState::Unknown(what.to_owned());
    let Some(state) = status.get("state").and_then(Value::as_object) else {
        return unknown("no state of the container");
    };
    let is_started = match status.get("started") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(started)) => *started,
        Some(_) => return unknown("`started` is neither true nor false"),
    };
    let kinds: Vec<&str> =
        state.iter().filter(|(_, value)| !value.is_null()).map(|(kind, _)| kind.as_str()).collect();
    let has_ended_before = status
        .get("lastState")
        .is_some_and(|last| last.as_object().is_none_or(|last| last.values().any(|value| !value.is_null())));
    let Some(restarts) = status.get("restartCount").map_or(Some(0), Value::as_u64) else {
        return unknown("`restartCount` is no number");
    };
    match kinds[..] {
        ["running"] => EnvironmentState::Running,
        ["terminated"] => EnvironmentState::Terminated,
        ["waiting"] if is_started => EnvironmentState::Running,
        // It has run, and may do so again: it waits for its restart.
        ["waiting"] if has_ended_before || restarts > 0 => EnvironmentState::Terminated,
        ["waiting"] => EnvironmentState::NeverStarted,
        [] => unknown("the container has an empty state"),
        _ => EnvironmentState::Unknown(format!("the container is {}", kinds.join(" and "))),
    }
}

/// The whole pod has ended, by the API's final state.
pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// When its last container ended; none while one of them is reported in another state.
pub(super) fn finished(pod: &Value) -> Option<SystemTime> {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array)?;
    let times: Option<Vec<SystemTime>> =
        statuses.iter().map(|status| time(text(status, "/state/terminated/finishedAt"))).collect();
    times?.into_iter().max()
}
