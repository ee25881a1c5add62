//! Runner pods and ephemeral runners of a cluster: `kubectl get pods,ephemeralrunners -o json`.
//!
//! An ephemeral runner and its pod are one environment; a pod without an owner is one by itself. A pod that another controller owns
//! belongs to that controller.
//!
//! # The runner's container
//!
//! A container with a started or a terminated state, now or before, has run. Only one that waits, was never restarted and has no last
//! state has never started; so has the container of a pending pod without any status. A pod that is `Failed` or `Succeeded` is over,
//! unless a container is reported as running. Two kinds of state at once, or a pod without the runner's container: unknown.
//!
//! # Claims
//!
//! A job that was assigned to the runner; its set, while that needs it ([`sets`]); GitHub's own list of runners, when a snapshot of it is
//! configured ([`github`]): a runner that is busy there, or online. A snapshot that is old, cut off or unreadable stops the whole entry.
//!
//! # Idle leaks
//!
//! A runner whose container runs, without a job, and that its set does not want, is never deleted by its pod's state alone: GitHub must
//! report that it is not busy, and its pod or its node that no `Runner.Worker` runs in it ([`worker`]), both again right before its
//! delete. The same holds for runners of an older generation, when the entry asks for those. Its runner object is deleted first: the
//! controller removes it from GitHub, which refuses while a job runs, and only then releases it; the pod is deleted after that, by the
//! controller or by this program.
//!
//! # Deleting
//!
//! The request names the uid and, for the pod, the version that was just looked at: the API server itself refuses when the pod has changed
//! in between.

mod github;
mod sets;
mod shapes;
mod worker;

use super::{EnvironmentSource, Objection, SourceError, json};
use crate::model::reap::{Environment, EnvironmentState, ReapRule};
use crate::reap::program::Tool;
use crate::sys::program::ProgramError;
use github::{Github, Word};
use serde_json::{Value, json as object};
use sets::{Sets, Want};
use shapes::{is_sane_path, text, uint};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use worker::ContainerAddress;

/// Phases after which an ephemeral runner without a pod is not given another one.
const OVER: [&str; 3] = ["Failed", "Succeeded", "Outdated"];

pub(super) struct Kubernetes {
    tool: Tool,
    snapshot: Option<PathBuf>,
    stale_generation: bool,
    worker_check: Vec<String>,
    min_age: Duration,
    most_logs: usize,
}

/// What a listing is judged by.
#[derive(Clone, Copy, Default)]
struct Knowledge<'a> {
    github: Option<&'a Github>,
    takes_stale: bool,
}

impl Kubernetes {
    pub(super) fn new(tool: Tool, rule: &ReapRule) -> Self {
        Self {
            tool,
            snapshot: rule.busy_snapshot.clone(),
            stale_generation: rule.stale_generation,
            worker_check: rule.worker_check.clone(),
            min_age: rule.min_age,
            most_logs: rule.max_per_run,
        }
    }

    /// Whether the runner of this uid is still there.
    fn has_runner(&self, uid: &str) -> Result<bool, SourceError> {
        let runners = self.get("ephemeralrunners")?;
        Ok(runners.iter().any(|runner| text(runner, "/metadata/uid") == uid))
    }

    fn get(&self, what: &str) -> Result<Vec<Value>, SourceError> {
        let call = format!("kubectl get {what}");
        items(&call, &self.tool.output(&["get", what, "-o", "json"])?)
    }
}

impl EnvironmentSource for Kubernetes {
    fn list(&self, now: SystemTime) -> Result<Vec<Environment>, SourceError> {
        let items = self.get("pods,ephemeralrunners")?;
        // Last, so that the listing is judged by the newest data.
        let github = self.snapshot.as_deref().map(|path| Github::read(path, now)).transpose()?;
        // If they cannot be listed, it is unknown what their sets want, and theirs are kept.
        let knowledge = Knowledge { github: github.as_ref(), takes_stale: self.stale_generation };
        Ok(environments(&items, || self.get("ephemeralrunnersets").ok(), knowledge))
    }

    fn objection(&self, environment: &Environment) -> Option<Objection> {
        let handle: Value = serde_json::from_str(&environment.handle).unwrap_or_default();
        match ContainerAddress::of(&handle) {
            Some(place) => place.objection(&self.tool, &self.worker_check),
            None => Some(Objection::CannotTell("where its pod runs is not known".to_owned())),
        }
    }

    /// Runners whose assigned job was gone, and that have waited since. GitHub counts on them, and they never work again.
    fn remarks(&self, listing: &[&Environment], now: SystemTime) -> Vec<String> {
        let is_old = |created: Option<SystemTime>| {
            created
                .and_then(|created| now.duration_since(created).ok())
                .is_some_and(|age| age >= self.min_age)
        };
        let mut running: Vec<&Environment> = listing
            .iter()
            .copied()
            .filter(|found| {
                matches!(found.state, EnvironmentState::Running | EnvironmentState::Idle)
                    && is_old(found.created)
            })
            .collect();
        running.sort_by_key(|found| found.created);
        let mut remarks = Vec::new();
        for found in running.into_iter().take(self.most_logs) {
            let handle: Value = serde_json::from_str(&found.handle).unwrap_or_default();
            let Some(place) = ContainerAddress::of(&handle) else { continue };
            if !place.lost_its_job(&self.tool) || self.objection(found).is_some_and(Objection::is_work) {
                continue;
            }
            remarks.push(format!(
                "{} is stale: the last word of its log is `Job message not found`, it is older than min_age, and no work was observed in it; only the rules for idle runners delete it, or `kubectl delete ephemeralrunner {}`",
                found.name, place.runner
            ));
        }
        remarks
    }

    fn delete(&self, environment: &Environment) -> Result<(), SourceError> {
        let handle: Value = serde_json::from_str(&environment.handle).unwrap_or_default();
        let targets = handle["targets"].as_array().filter(|targets| !targets.is_empty());
        let targets =
            targets.ok_or_else(|| SourceError::Refused("its place in the API is not known".to_owned()))?;
        for target in targets {
            let behind = text(target, "/behind");
            if !behind.is_empty() && self.has_runner(behind)? {
                // Its controller is deleting it, and the pod is deleted with its runner.
                continue;
            }
            let mut preconditions = object!({"uid": target["uid"]});
            if target["version"].is_string() {
                preconditions["resourceVersion"] = target["version"].clone();
            }
            let options =
                object!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
            let path = text(target, "/path");
            match self.tool.output_of(&["delete", "--raw", path, "-f", "-"], options.to_string().as_bytes()) {
                Err(ProgramError::Failed { complaint, .. })
                    if !behind.is_empty() && complaint.contains("NotFound") => {}
                done => drop(done?),
            }
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

/// The output of `kubectl get pods,ephemeralrunners`, without any set.
#[cfg(any(test, fuzzing))]
pub(crate) fn listed(answer: &[u8]) -> Result<Vec<Environment>, SourceError> {
    Ok(environments(&items("kubectl get", answer)?, || None, Knowledge::default()))
}

/// The content of a cluster: each ephemeral runner with its pods, and each pod by itself. The sets are asked for when a runner belongs to
/// one.
fn environments(
    items: &[Value],
    sets: impl FnOnce() -> Option<Vec<Value>>,
    knowledge: Knowledge<'_>,
) -> Vec<Environment> {
    let (runners, pods): (Vec<&Value>, Vec<&Value>) = items
        .iter()
        .filter(|item| matches!(text(item, "/kind"), "Pod" | "EphemeralRunner"))
        .partition(|item| text(item, "/kind") == "EphemeralRunner");
    let has_owned = runners.iter().any(|runner| shapes::owner(runner).is_some());
    let sets = if has_owned { sets() } else { None };
    let sets = Sets::new(&runners, sets.as_deref());
    let mut of_runner: HashMap<&str, Vec<&Value>> = HashMap::new();
    let mut all = Vec::new();
    for &pod in &pods {
        match shapes::owner(pod) {
            Some(owner) if text(owner, "/kind") == "EphemeralRunner" => {
                of_runner.entry(text(owner, "/uid")).or_default().push(pod);
            }
            owner => all.push(pod_alone(pod, owner, knowledge.github)),
        }
    }
    for runner in runners {
        let pods = of_runner.remove(text(runner, "/metadata/uid")).unwrap_or_default();
        all.push(ephemeral(runner, &pods, &sets, knowledge));
    }
    // Pods of runners that no longer exist are being collected by the cluster.
    all.extend(of_runner.into_values().flatten().map(|pod| Environment {
        claim: Some("its runner is gone, and the cluster collects it".to_owned()),
        ..environment(pod, shapes::pod_state(pod))
    }));
    all
}

fn environment(item: &Value, state: EnvironmentState) -> Environment {
    let (namespace, name) = (text(item, "/metadata/namespace"), text(item, "/metadata/name"));
    let uid = text(item, "/metadata/uid");
    let kind = if text(item, "/kind") == "Pod" { "pod" } else { "ephemeralrunner" };
    let is_whole = !namespace.is_empty() && !name.is_empty() && !uid.is_empty();
    let state =
        if is_whole { state } else { EnvironmentState::Unknown("no namespace, name or uid".to_owned()) };
    let created = super::time(text(item, "/metadata/creationTimestamp"));
    let labels = item.pointer("/metadata/labels").and_then(Value::as_object);
    let labels = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Environment {
        created,
        since: if state == EnvironmentState::NeverStarted { created } else { None },
        is_ending: !text(item, "/metadata/deletionTimestamp").is_empty(),
        labels: labels.collect(),
        ..Environment::new(format!("{namespace}/{kind}/{name}@{uid}"), name, state)
    }
}

/// A pod without an ephemeral runner. One that has ended and has no owner is not cleaned up by any controller.
fn pod_alone(pod: &Value, owner: Option<&Value>, github: Option<&Github>) -> Environment {
    let state = match shapes::pod_state(pod) {
        EnvironmentState::Terminated if owner.is_none() && shapes::has_ended(pod) => {
            EnvironmentState::Stopped
        }
        state => state,
    };
    let name = text(pod, "/metadata/name");
    let claim = owner
        .map(|owner| format!("it belongs to the {} {}", text(owner, "/kind"), text(owner, "/name")))
        .or_else(|| github.and_then(|github| github.claim(&[name])));
    Environment {
        since: if state == EnvironmentState::Stopped {
            shapes::finished(pod)
        } else {
            super::time(text(pod, "/metadata/creationTimestamp"))
        },
        claim,
        handle: handle(&[pod], EnvironmentState::Stopped),
        ..environment(pod, state)
    }
}

fn ephemeral(runner: &Value, pods: &[&Value], sets: &Sets<'_>, knowledge: Knowledge<'_>) -> Environment {
    let phase = text(runner, "/status/phase");
    let job = shapes::job(runner);
    let names = [text(runner, "/metadata/name"), text(runner, "/status/runnerName")];
    let want = sets.want(runner);
    let is_stale = knowledge.takes_stale && matches!(want, Want::Needed(_)) && sets.is_stale(runner);
    let is_unwanted = want == Want::Surplus || is_stale;
    let state = match pods {
        [] if OVER.contains(&phase) => EnvironmentState::Stopped,
        [] => EnvironmentState::Unknown(format!(
            "it has no pod, phase {}",
            if phase.is_empty() { "missing" } else { phase }
        )),
        [pod] => match (shapes::pod_state(pod), phase) {
            (EnvironmentState::NeverStarted, "" | "Pending") => EnvironmentState::NeverStarted,
            (EnvironmentState::NeverStarted, phase) => {
                EnvironmentState::Unknown(format!("never started, and phase {phase}"))
            }
            (EnvironmentState::Running, _) if is_unwanted && job.is_none() => EnvironmentState::Idle,
            (state, _) => state,
        },
        pods => EnvironmentState::Unknown(format!("it has {} pods", pods.len())),
    };
    let word = knowledge.github.map(|github| github.word(&names));
    let said = match (&state, word) {
        // An idle runner is connected: that alone is no claim.
        (EnvironmentState::Idle, word) => (word == Some(Word::Busy)).then(|| Word::BUSY.to_owned()),
        _ => knowledge.github.and_then(|github| github.claim(&names)),
    };
    let needed = match want {
        Want::Needed(why) if !is_stale => Some(why),
        _ => None,
    };
    let needs_word = state == EnvironmentState::Idle || is_stale;
    let doubt = match word {
        None if needs_word => {
            Some("GitHub's word that it is not busy is missing: set `busy_snapshot`".to_owned())
        }
        Some(Word::Absent) if needs_word => {
            Some("GitHub's list does not contain it, so it may be busy".to_owned())
        }
        _ => None,
    };
    let claim = job.as_ref().map(|job| format!("it was assigned the job {job}")).or(said).or(needed);
    let parts: Vec<&Value> = pods.iter().copied().chain([runner]).collect();
    let found = environment(runner, state);
    Environment {
        since: if found.state == EnvironmentState::Idle { found.created } else { found.since },
        holds: pods.iter().map(|pod| format!("pod {}", text(pod, "/metadata/name"))).collect(),
        mark: pods.iter().map(|pod| text(pod, "/metadata/uid")).collect::<Vec<_>>().join(","),
        is_ending: parts.iter().any(|part| !text(part, "/metadata/deletionTimestamp").is_empty()),
        job,
        claim,
        doubt,
        handle: handle(&parts, found.state.clone()),
        ..found
    }
}

/// The API paths of each part, in the order in which they are deleted, and where the runner's container is.
///
/// A pod must be unchanged since it was looked at, and is deleted first: its end changes its runner. Of an idle one the runner is deleted
/// first, unchanged since it was looked at, and the pod once that is gone.
fn handle(parts: &[&Value], state: EnvironmentState) -> String {
    let is_idle = state == EnvironmentState::Idle;
    let runner = parts.iter().find(|part| text(part, "/kind") != "Pod");
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
        // The part that is deleted first must be unchanged since it was looked at.
        let is_first = is_pod != is_idle;
        (is_sane && !(is_first && version.is_empty())).then(|| {
            let mut target = object!({"path": path, "uid": text(part, "/metadata/uid")});
            if is_first {
                target["version"] = version.into();
            }
            if let (true, true, Some(runner)) = (is_idle, is_pod, runner) {
                target["behind"] = text(runner, "/metadata/uid").into();
            }
            target
        })
    };
    let targets: Option<Vec<Value>> = parts.iter().map(target).collect();
    let Some(mut targets) = targets else { return String::new() };
    if is_idle {
        targets.reverse();
    }
    let mut handle = object!({"targets": targets});
    if let (Some(runner), [pod, _]) = (runner, parts) {
        handle["place"] = object!({
            "runner": text(runner, "/metadata/name"),
            "namespace": text(pod, "/metadata/namespace"),
            "pod": text(pod, "/metadata/name"),
            "container": shapes::runner_container(pod).unwrap_or_default(),
            "node": text(pod, "/spec/nodeName"),
        });
    }
    handle.to_string()
}

#[cfg(test)]
mod tests;
