//! Runner pods and ephemeral runners of a cluster: `kubectl get pods,ephemeralrunners -o json`.
//!
//! An ephemeral runner and its pod are one environment; a pod that nobody owns is one by itself. A pod that another
//! controller owns is that controller's.
//!
//! # What the runner's container tells
//!
//! A container that has a started or a terminated state, now or before, has run. Only one that waits, was never restarted
//! and has no last state has never started. No status yet, two kinds of state at once, a pod without a container that is
//! the runner's: unknown.
//!
//! # Who claims it
//!
//! A job that was assigned to the runner; its set, while that wants no fewer runners than there are (another would be made
//! in its place); GitHub's own list of runners, when a snapshot of it is configured: a runner that is busy there, or online.
//! A snapshot that is old, cut off or unreadable stops the whole entry.
//!
//! # Deleting
//!
//! The request names the uid and, for the pod, the version that was just looked at: the API server itself refuses when the
//! pod has changed in between.

mod shapes;

use super::{Source, SourceError, json};
use crate::model::reap::{Environment, State};
use crate::reap::program::Tool;
use serde_json::{Value, json as object};
use shapes::{Github, is_sane_path, text, uint};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::SystemTime;

pub(super) struct Kubernetes {
    tool: Tool,
    snapshot: Option<PathBuf>,
}

impl Kubernetes {
    pub(super) fn new(tool: Tool, snapshot: Option<PathBuf>) -> Self {
        Self { tool, snapshot }
    }

    fn get(&self, what: &str) -> Result<Vec<Value>, SourceError> {
        let call = format!("kubectl get {what}");
        items(&call, &self.tool.output(&["get", what, "-o", "json"])?)
    }
}

impl Source for Kubernetes {
    fn list(&self, now: SystemTime) -> Result<Vec<Environment>, SourceError> {
        let github = self.snapshot.as_deref().map(|path| Github::read(path, now)).transpose()?;
        let items = self.get("pods,ephemeralrunners")?;
        // Where they cannot be listed, what their sets want is not known, and theirs stays.
        Ok(environments(&items, || self.get("ephemeralrunnersets").ok(), github.as_ref()))
    }

    fn delete(&self, environment: &Environment) -> Result<(), SourceError> {
        let targets: Value = serde_json::from_str(&environment.handle).unwrap_or_default();
        let targets = targets.as_array().filter(|targets| !targets.is_empty());
        let targets =
            targets.ok_or_else(|| SourceError::Refused("its place in the API is not known".to_owned()))?;
        for target in targets {
            let mut preconditions = object!({"uid": target["uid"]});
            if target["version"].is_string() {
                preconditions["resourceVersion"] = target["version"].clone();
            }
            let options =
                object!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
            let path = text(target, "/path");
            self.tool.output_of(&["delete", "--raw", path, "-f", "-"], options.to_string().as_bytes())?;
        }
        Ok(())
    }
}

/// The items of a list that `kubectl` prints.
fn items(call: &str, answer: &[u8]) -> Result<Vec<Value>, SourceError> {
    let mut list: Value = json(call, answer)?;
    if !text(&list, "/metadata/continue").is_empty() || uint(&list, "/metadata/remainingItemCount") > 0 {
        return Err(SourceError::Partial(format!("{call} was paged and more is left")));
    }
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if text(&list, "/kind").ends_with("List") => Ok(items),
        _ => Err(super::not_understood(call, "it is no list")),
    }
}

/// What `kubectl get pods,ephemeralrunners` says, without any set.
#[cfg(any(test, fuzzing))]
pub(crate) fn listed(answer: &[u8]) -> Result<Vec<Environment>, SourceError> {
    Ok(environments(&items("kubectl get", answer)?, || None, None))
}

/// What lies in a cluster: each ephemeral runner with its pods, and each pod by itself. The sets are asked for when a runner is of one.
fn environments(
    items: &[Value],
    sets: impl FnOnce() -> Option<Vec<Value>>,
    github: Option<&Github>,
) -> Vec<Environment> {
    let (runners, pods): (Vec<&Value>, Vec<&Value>) = items
        .iter()
        .filter(|item| matches!(text(item, "/kind"), "Pod" | "EphemeralRunner"))
        .partition(|item| text(item, "/kind") == "EphemeralRunner");
    let has_owned = runners.iter().any(|runner| shapes::owner(runner).is_some());
    let sets = if has_owned { sets() } else { None };
    let wanted = Wanted::count(&runners, sets.as_deref().unwrap_or_default());
    let mut of_runner: HashMap<&str, Vec<&Value>> = HashMap::new();
    let mut all = Vec::new();
    for &pod in &pods {
        match shapes::owner(pod) {
            Some(owner) if text(owner, "/kind") == "EphemeralRunner" => {
                of_runner.entry(text(owner, "/uid")).or_default().push(pod);
            }
            owner => all.push(pod_alone(pod, owner, github)),
        }
    }
    for runner in runners {
        let pods = of_runner.remove(text(runner, "/metadata/uid")).unwrap_or_default();
        all.push(ephemeral(runner, &pods, &wanted, github));
    }
    // Pods of runners that are not there any more are being collected by the cluster.
    all.extend(of_runner.into_values().flatten().map(|pod| Environment {
        claim: Some("its runner is gone, and the cluster collects it".to_owned()),
        ..environment(pod, shapes::pod_state(pod))
    }));
    all
}

/// How many runners each set has, and how many it wants.
struct Wanted<'a> {
    has: HashMap<&'a str, u64>,
    wants: HashMap<&'a str, u64>,
}

impl<'a> Wanted<'a> {
    fn count(runners: &[&'a Value], sets: &'a [Value]) -> Self {
        let mut has: HashMap<&str, u64> = HashMap::new();
        for runner in runners {
            if let Some(owner) = shapes::owner(runner) {
                *has.entry(text(owner, "/uid")).or_default() += 1;
            }
        }
        let wants = sets.iter().filter_map(|set| {
            let replicas = set.pointer("/spec/replicas").map_or(Some(0), Value::as_u64)?;
            Some((text(set, "/metadata/uid"), replicas))
        });
        Self { has, wants: wants.collect() }
    }

    /// Why the set of this runner wants it, or may.
    fn claim(&self, runner: &Value) -> Option<String> {
        let owner = shapes::owner(runner)?;
        let (uid, name) = (text(owner, "/uid"), text(owner, "/name"));
        let has = self.has.get(uid).copied().unwrap_or_default();
        match self.wants.get(uid) {
            None => Some(format!("how many runners its set {name} wants is not known")),
            Some(wants) if *wants >= has => {
                Some(format!("its set {name} wants {wants} runners and has {has}"))
            }
            Some(_) => None,
        }
    }
}

fn environment(item: &Value, state: State) -> Environment {
    let (namespace, name) = (text(item, "/metadata/namespace"), text(item, "/metadata/name"));
    let uid = text(item, "/metadata/uid");
    let kind = if text(item, "/kind") == "Pod" { "pod" } else { "ephemeralrunner" };
    let is_whole = !namespace.is_empty() && !name.is_empty() && !uid.is_empty();
    let state = if is_whole { state } else { State::Unknown("no namespace, name or uid".to_owned()) };
    let created = super::time(text(item, "/metadata/creationTimestamp"));
    let labels = item.pointer("/metadata/labels").and_then(Value::as_object);
    let labels = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Environment {
        created,
        since: if state == State::NeverStarted { created } else { None },
        is_ending: !text(item, "/metadata/deletionTimestamp").is_empty(),
        labels: labels.collect(),
        ..Environment::new(format!("{namespace}/{kind}/{name}@{uid}"), name, state)
    }
}

/// A pod without an ephemeral runner. One that has ended and that nobody owns is nobody's to clean up.
fn pod_alone(pod: &Value, owner: Option<&Value>, github: Option<&Github>) -> Environment {
    let state = match shapes::pod_state(pod) {
        State::Terminated if owner.is_none() && shapes::has_ended(pod) => State::Stopped,
        state => state,
    };
    let name = text(pod, "/metadata/name");
    let claim = owner
        .map(|owner| format!("it belongs to the {} {}", text(owner, "/kind"), text(owner, "/name")))
        .or_else(|| github.and_then(|github| github.claim(&[name])));
    Environment {
        since: if state == State::Stopped {
            shapes::finished(pod)
        } else {
            super::time(text(pod, "/metadata/creationTimestamp"))
        },
        claim,
        handle: handle(&[pod]),
        ..environment(pod, state)
    }
}

fn ephemeral(runner: &Value, pods: &[&Value], wanted: &Wanted<'_>, github: Option<&Github>) -> Environment {
    let phase = text(runner, "/status/phase");
    let state = match pods {
        [] => State::Unknown(format!(
            "it has no pod, phase {}",
            if phase.is_empty() { "missing" } else { phase }
        )),
        [pod] => match (shapes::pod_state(pod), phase) {
            (State::NeverStarted, "" | "Pending") => State::NeverStarted,
            (State::NeverStarted, phase) => State::Unknown(format!("never started, and phase {phase}")),
            (state, _) => state,
        },
        pods => State::Unknown(format!("it has {} pods", pods.len())),
    };
    let job = shapes::job(runner);
    let names = [text(runner, "/metadata/name"), text(runner, "/status/runnerName")];
    let claim = job
        .as_ref()
        .map(|job| format!("it was assigned the job {job}"))
        .or_else(|| github.and_then(|github| github.claim(&names)))
        .or_else(|| wanted.claim(runner));
    let parts: Vec<&Value> = pods.iter().copied().chain([runner]).collect();
    Environment {
        holds: pods.iter().map(|pod| format!("pod {}", text(pod, "/metadata/name"))).collect(),
        mark: pods.iter().map(|pod| text(pod, "/metadata/uid")).collect::<Vec<_>>().join(","),
        is_ending: parts.iter().any(|part| !text(part, "/metadata/deletionTimestamp").is_empty()),
        job,
        claim,
        handle: handle(&parts),
        ..environment(runner, state)
    }
}

/// Where the API has each part. A pod has to be as it was looked at; a runner is changed by the end of its pod.
fn handle(parts: &[&Value]) -> String {
    let target = |part: &&Value| {
        let (version, group) =
            (text(part, "/apiVersion"), if text(part, "/apiVersion").contains('/') { "apis" } else { "api" });
        let (kind, is_pod) = match text(part, "/kind") {
            "Pod" => ("pods", true),
            _ => ("ephemeralrunners", false),
        };
        let (namespace, name) = (text(part, "/metadata/namespace"), text(part, "/metadata/name"));
        let path = format!("/{group}/{version}/namespaces/{namespace}/{kind}/{name}");
        let is_sane = [version, namespace, name].iter().all(|piece| !piece.is_empty()) && is_sane_path(&path);
        let version = text(part, "/metadata/resourceVersion");
        (is_sane && !(is_pod && version.is_empty())).then(|| {
            object!({
                "path": path,
                "uid": text(part, "/metadata/uid"),
                "version": if is_pod { Value::from(version) } else { Value::Null },
            })
        })
    };
    let targets: Option<Vec<Value>> = parts.iter().map(target).collect();
    targets.map(|targets| Value::from(targets).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
