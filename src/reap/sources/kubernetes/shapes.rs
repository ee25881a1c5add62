//! What the API's objects and GitHub's list of runners say, field by field; nothing is guessed from a missing one.

use super::super::{SourceError, json, time};
use crate::model::reap::State;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// An older snapshot tells of other jobs.
const SNAPSHOT_AGE: Duration = Duration::from_secs(900);

const SNAPSHOT_BYTES: u64 = 64 << 20;

/// The text at a place; empty where there is none.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a place; 0 where there is none.
pub(super) fn uint(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// Who controls it.
pub(super) fn owner(item: &Value) -> Option<&Value> {
    let owners = item.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    owners.iter().find(|owner| owner["controller"] == Value::Bool(true)).or_else(|| owners.first())
}

/// One word for the API: no way up, no query.
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

/// What the runner's container is doing.
pub(super) fn pod_state(pod: &Value) -> State {
    let unknown = |what: &str| State::Unknown(what.to_owned());
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let name = match containers.map(Vec::as_slice) {
        Some([only]) => text(only, "/name"),
        Some(several) if several.iter().any(|container| text(container, "/name") == "runner") => "runner",
        _ => return unknown("no container is recognised as the runner's"),
    };
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    let Some(status) = statuses.into_iter().flatten().find(|status| text(status, "/name") == name) else {
        return unknown("no status of the runner's container yet");
    };
    container_state(status)
}

/// The rows of the runner's container.
pub(super) fn container_state(status: &Value) -> State {
    let unknown = |what: &str| State::Unknown(what.to_owned());
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
        ["running"] => State::Running,
        ["terminated"] => State::Terminated,
        ["waiting"] if is_started => State::Running,
        // It has run, and may do so again: it waits for its restart.
        ["waiting"] if has_ended_before || restarts > 0 => State::Terminated,
        ["waiting"] => State::NeverStarted,
        [] => unknown("the container has an empty state"),
        _ => State::Unknown(format!("the container is {}", kinds.join(" and "))),
    }
}

/// The whole pod has ended, by the API's own word, which is final.
pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// When its last container ended.
pub(super) fn finished(pod: &Value) -> Option<SystemTime> {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array)?;
    statuses.iter().filter_map(|status| time(text(status, "/state/terminated/finishedAt"))).max()
}

/// GitHub's list of runners: `GET /orgs/ORG/actions/runners`, all pages in one document.
pub(super) struct Github {
    runners: HashMap<String, GithubRunner>,
}

#[derive(Deserialize)]
struct GithubList {
    total_count: usize,
    runners: Vec<GithubRunner>,
}

#[derive(Deserialize)]
struct GithubRunner {
    name: String,
    status: String,
    busy: bool,
}

impl Github {
    pub(super) fn read(path: &Path, now: SystemTime) -> Result<Self, SourceError> {
        let unusable = |why: String| SourceError::Snapshot { path: path.display().to_string(), why };
        let options = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let file = std::fs::OpenOptions::new().read(true).custom_flags(options).open(path);
        let file = file.map_err(|error| unusable(error.to_string()))?;
        let metadata = file.metadata().map_err(|error| unusable(error.to_string()))?;
        if !metadata.is_file() {
            return Err(unusable("it is no file".to_owned()));
        }
        let written = metadata.modified().map_err(|error| unusable(error.to_string()))?;
        if now.duration_since(written).unwrap_or_default() > SNAPSHOT_AGE {
            let minutes = SNAPSHOT_AGE.as_secs() / 60;
            return Err(unusable(format!(
                "it was written more than {minutes} min ago: fetch it anew before each run"
            )));
        }
        let mut bytes = Vec::new();
        file.take(SNAPSHOT_BYTES).read_to_end(&mut bytes).map_err(|error| unusable(error.to_string()))?;
        let list: GithubList = json("the snapshot", &bytes).map_err(|error| unusable(error.to_string()))?;
        if list.runners.len() != list.total_count {
            let (has, total) = (list.runners.len(), list.total_count);
            return Err(unusable(format!("it holds {has} of {total} runners: put all pages into it")));
        }
        Ok(Self { runners: list.runners.into_iter().map(|runner| (runner.name.clone(), runner)).collect() })
    }

    /// What GitHub says for the runner of one of these names.
    pub(super) fn claim(&self, names: &[&str]) -> Option<String> {
        let runner = names.iter().find_map(|name| self.runners.get(*name))?;
        match (runner.busy, runner.status.as_str()) {
            (true, _) => Some("GitHub says that it is busy".to_owned()),
            (false, "offline") => None,
            (false, status) => Some(format!("GitHub says that it is {status}")),
        }
    }
}
