//! Containers of Docker and Podman, with their anonymous volumes, and dangling images.
//!
//! Containers are listed by id and then examined, all of them: a stopped one also uses its image. One that vanishes between the two is
//! left out when the engine itself reports that; any other gap makes the listing fail. Deletes are without force: the engine refuses a
//! running container, and an image in use. Images are listed only when a pattern matches them, and only dangling ones (`-a` is never
//! used). An infra container of Podman represents its pod, and is deleted by `pod rm` ([`pods`]).

mod pods;

use super::{EnvironmentSource, SourceError, json, not_understood, time};
use crate::model::reap::{Class, Environment, EnvironmentState};
use crate::reap::program::Tool;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::time::SystemTime;

/// How many are examined by one call: far below any limit of a command line.
const CHUNK: usize = 500;

/// Labels by which the maker of a container marks what it belongs to.
const RUNNER_LABEL: &str = "disk-guard.runner";
const JOB_LABEL: &str = "disk-guard.job";

/// What an engine is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    Containers,
    /// Dangling images as well.
    WithImages,
}

pub(super) struct Containers {
    tool: Tool,
    listing: Listing,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    name: String,
    created: String,
    state: ContainerState,
    #[serde(default)]
    image: String,
    #[serde(default)]
    is_infra: bool,
    #[serde(default)]
    pod: String,
    config: Option<ContainerConfig>,
    host_config: Option<HostConfig>,
    #[serde(default)]
    mounts: Option<Vec<ContainerMount>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerState {
    status: Option<String>,
    running: Option<bool>,
    started_at: Option<String>,
    finished_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    restart_policy: Option<RestartPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerMount {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineImage {
    id: String,
    size: Option<u64>,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

impl Containers {
    pub(super) fn new(tool: Tool, listing: Listing) -> Self {
        Self { tool, listing }
    }

    fn containers(&self) -> Result<Vec<Container>, SourceError> {
        let ids = ids("ps", &self.tool.output(&["ps", "-a", "-q", "--no-trunc"])?)?;
        self.examine("container", &ids, |container: &Container| &container.id)
    }

    fn images(&self) -> Result<Vec<EngineImage>, SourceError> {
        let list = ["images", "-q", "--no-trunc", "--filter", "dangling=true"];
        let mut ids = ids("images", &self.tool.output(&list)?)?;
        ids.dedup();
        self.examine("image", &ids, |image: &EngineImage| &image.id)
    }

    /// All data about each; those that the engine reports as gone are left out.
    fn examine<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
        ids: &[String],
        id: impl Fn(&T) -> &String,
    ) -> Result<Vec<T>, SourceError> {
        let mut all = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK) {
            let mut arguments = vec!["inspect", "--type", kind];
            arguments.extend(chunk.iter().map(String::as_str));
            let said = self.tool.run(&arguments)?;
            let call = format!("inspect --type {kind}");
            let found: Vec<T> = json(&call, &said.output)?;
            let known: HashSet<&str> = found.iter().map(|item| bare(id(item))).collect();
            let complaint = said.complaint.to_lowercase();
            let is_gone = |id: &String| complaint.contains("no such") && complaint.contains(bare(id));
            let missing = chunk.iter().find(|id| !known.contains(bare(id)) && !is_gone(id));
            if let Some(missing) = missing {
                return Err(SourceError::Partial(format!(
                    "{missing} is missing from it: {}",
                    said.complaint
                )));
            }
            if known.len() == chunk.len() {
                said.success()?;
            }
            all.extend(found);
        }
        Ok(all)
    }
}

impl EnvironmentSource for Containers {
    fn list(&self, _: SystemTime) -> Result<Vec<Environment>, SourceError> {
        // Images first: a container that is made meanwhile is then seen to use its image.
        let images = if self.listing == Listing::WithImages { self.images()? } else { Vec::new() };
        let containers = self.containers()?;
        // If they cannot be listed, pods are kept, and the rest continues.
        let names = if containers.iter().any(pods::is_infra) {
            let said = self.tool.output(&["pod", "ps", "--format", "json"]).ok();
            said.and_then(|said| pods::names(&said).ok()).unwrap_or_default()
        } else {
            pods::Names::new()
        };
        Ok(environments(containers, images, &names))
    }

    fn delete(&self, environment: &Environment) -> Result<(), SourceError> {
        match environment.class {
            Class::Environment if !environment.handle.is_empty() => {
                let mut parts = environment.handle.split(' ');
                let pod = parts.next().unwrap_or_default();
                let members: Vec<&str> = parts.collect();
                // Its content first: a pod leaves anonymous volumes behind.
                if !members.is_empty() {
                    self.tool.output(&[&["rm", "--volumes"], members.as_slice()].concat())?;
                }
                self.tool.output(&["pod", "rm", pod])?
            }
            Class::Environment => self.tool.output(&["rm", "--volumes", &environment.id])?,
            Class::Image => self.tool.output(&["rmi", &environment.id])?,
        };
        Ok(())
    }
}

/// Containers, and the images that none of them needs.
fn environments(
    containers: Vec<Container>,
    images: Vec<EngineImage>,
    names: &pods::Names,
) -> Vec<Environment> {
    let used: HashSet<String> =
        containers.iter().map(|container| bare(&container.image).to_owned()).collect();
    let images = images.into_iter().map(|image| image_environment(image, &used));
    pods::environments(containers, names).into_iter().chain(images).collect()
}

/// The output of `inspect` for containers and for images.
#[cfg(any(test, fuzzing))]
pub(crate) fn examined(containers: &[u8], images: &[u8]) -> Result<Vec<Environment>, SourceError> {
    Ok(environments(json("inspect", containers)?, json("inspect", images)?, &pods::Names::new()))
}

/// Podman writes image ids without their algorithm.
fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// One id a line, and nothing else.
pub(crate) fn ids(call: &str, output: &[u8]) -> Result<Vec<String>, SourceError> {
    let text = std::str::from_utf8(output).map_err(|error| not_understood(call, error))?;
    let is_id = |id: &str| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lines = text.lines().filter(|line| !line.is_empty());
    let ids: Result<Vec<String>, SourceError> = lines
        .map(|line| {
            if is_id(bare(line)) {
                Ok(line.to_owned())
            } else {
                Err(not_understood(call, format!("`{line}` is no id")))
            }
        })
        .collect();
    ids
}

fn environment(container: Container) -> Environment {
    let state = state(&container.state);
    let labels: Vec<(String, String)> =
        container.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect();
    let label = |wanted: &str| labels.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone());
    let policy = container.host_config.and_then(|config| config.restart_policy).map(|policy| policy.name);
    let comes_back = policy.filter(|policy| matches!(policy.as_str(), "always" | "unless-stopped"));
    let (runner, job) = (label(RUNNER_LABEL), label(JOB_LABEL));
    let claim = job
        .as_ref()
        .map(|job| format!("it belongs to the job {job}"))
        .or_else(|| comes_back.map(|policy| format!("its restart policy is {policy}")));
    let created = time(&container.created);
    let started = container.state.started_at.as_deref().and_then(time);
    let finished = container.state.finished_at.as_deref().and_then(time);
    let volumes = container.mounts.unwrap_or_default();
    let volumes = volumes.iter().filter(|mount| mount.r#type == "volume" && is_anonymous(&mount.name));
    let stamp = |time: &Option<String>| time.clone().unwrap_or_default();
    Environment {
        since: match state {
            EnvironmentState::Stopped => finished.max(started),
            EnvironmentState::NeverStarted => created,
            _ => None,
        },
        created,
        mark: format!("{}/{}", stamp(&container.state.started_at), stamp(&container.state.finished_at)),
        holds: volumes.map(|mount| format!("anonymous volume {}", &mount.name[..12])).collect(),
        labels,
        job: job.clone(),
        runner,
        claim,
        ..Environment::new(container.id, container.name.trim_start_matches('/'), state)
    }
}

fn is_anonymous(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A status alone is not enough: the times must agree.
fn state(found: &ContainerState) -> EnvironmentState {
    let started = found.started_at.as_deref().and_then(time);
    let finished = found.finished_at.as_deref().and_then(time);
    match (found.status.as_deref(), found.running) {
        (Some("running" | "paused" | "restarting" | "stopping"), _) | (_, Some(true)) => {
            EnvironmentState::Running
        }
        (Some("created" | "configured" | "initialized"), Some(false)) if started.is_none() => {
            EnvironmentState::NeverStarted
        }
        (Some("exited" | "stopped"), Some(false)) if started.is_some() && finished.is_some() => {
            EnvironmentState::Stopped
        }
        (status, _) => EnvironmentState::Unknown(format!(
            "status {}, started {}, finished {}",
            status.unwrap_or("missing"),
            if started.is_some() { "yes" } else { "no" },
            if finished.is_some() { "yes" } else { "no" }
        )),
    }
}

/// An image has no state: it is used by a container, or it is not. Not every engine reports when it was added.
fn image_environment(image: EngineImage, used: &HashSet<String>) -> Environment {
    let id = bare(&image.id);
    let state = match image.repo_tags.as_deref() {
        Some([_, ..]) => EnvironmentState::Unknown("it is dangling and has a name".to_owned()),
        _ if used.contains(id) => EnvironmentState::Running,
        _ => EnvironmentState::Stopped,
    };
    Environment {
        class: Class::Image,
        bytes: image.size,
        ..Environment::new(image.id.clone(), id.get(..12).unwrap_or(id), state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let zero = "0001-01-01T00:00:00Z";
        let then = "2026-03-04T14:25:10.123456789Z";
        for (status, running, started, finished, expected) in [
            ("running", true, then, zero, "running"),
            ("paused", true, then, zero, "running"),
            ("restarting", true, then, then, "running"),
            ("exited", true, then, then, "running"),
            ("exited", false, then, then, "stopped"),
            ("exited", false, "2026-03-04T14:25:10+01:00", then, "stopped"),
            ("exited", false, zero, zero, "unknown"),
            ("exited", false, then, zero, "unknown"),
            ("created", false, zero, zero, "never-started"),
            ("created", false, then, then, "unknown"),
            ("configured", false, zero, zero, "never-started"),
            ("dead", false, then, then, "unknown"),
            ("removing", false, then, then, "unknown"),
        ] {
            let found = ContainerState {
                status: Some(status.into()),
                running: Some(running),
                started_at: Some(started.into()),
                finished_at: Some(finished.into()),
            };
            assert_eq!(state(&found).as_str(), expected, "{status} {running} {started} {finished}");
        }
        let bare = ContainerState { status: None, running: None, started_at: None, finished_at: None };
        assert_eq!(state(&bare).as_str(), "unknown");
    }

    #[test]
    fn lists_of_ids_hold_nothing_else() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(ids("ps", format!("{id}\nsha256:{id}\n").as_bytes()).unwrap().len(), 2);
        for text in [&id[..63], "WARNING: no", "0123\n"] {
            assert!(ids("ps", text.as_bytes()).is_err(), "{text}");
        }
    }
}
