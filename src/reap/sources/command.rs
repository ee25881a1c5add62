//! A program of the administrator's own.
//!
//! `COMMAND list` prints one document, `COMMAND delete ID` deletes one environment:
//!
//! ```json
//! {"schema": 1, "complete": true, "environments": [
//!   {"id": "vm-7", "name": "runner-7", "state": "stopped", "since": "2026-03-04T14:25:10Z", "created": "2026-03-04T13:00:00Z",
//!    "bytes": 1234, "holds": ["/srv/vm-7.img"], "labels": {"ci": "yes"}, "mark": "boot 3",
//!    "job": "acme/app #4711", "runner": "runner-7", "claim": "kept for inspection"}]}
//! ```
//!
//! `id` and `state` are required, the rest is optional. `state` is `running`, `stopped`, `never-started` or `terminated`; any other value
//! is unknown. `job`, `claim`: it is in use. `runner`: it is deleted only while that runner of this host is provably idle. `complete` must
//! be true: an incomplete list reaps nothing.

use super::{EnvironmentSource, SourceError, json, time};
use crate::model::reap::{Environment, EnvironmentState};
use crate::reap::program::Tool;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

pub(super) struct CommandSource {
    tool: Tool,
}

#[derive(Deserialize)]
struct CommandListing {
    schema: u32,
    #[serde(default)]
    complete: bool,
    environments: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    id: String,
    name: Option<String>,
    state: String,
    since: Option<String>,
    created: Option<String>,
    bytes: Option<u64>,
    #[serde(default)]
    holds: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    mark: String,
    job: Option<String>,
    runner: Option<String>,
    claim: Option<String>,
}

impl CommandSource {
    pub(super) fn new(tool: Tool) -> Self {
        Self { tool }
    }
}

impl EnvironmentSource for CommandSource {
    fn list(&self, _: SystemTime) -> Result<Vec<Environment>, SourceError> {
        listed(&self.tool.output(&["list"])?)
    }

    fn delete(&self, environment: &Environment) -> Result<(), SourceError> {
        self.tool.output(&["delete", &environment.id])?;
        Ok(())
    }
}

/// The output of `COMMAND list`.
pub(crate) fn listed(answer: &[u8]) -> Result<Vec<Environment>, SourceError> {
    let document: CommandListing = json("COMMAND list", answer)?;
    if document.schema != 1 {
        return Err(SourceError::Partial(format!("its schema is {}, expected 1", document.schema)));
    }
    if !document.complete {
        return Err(SourceError::Partial("it does not contain `\"complete\": true`".to_owned()));
    }
    Ok(document.environments.into_iter().map(environment).collect())
}

fn environment(item: Item) -> Environment {
    // A time that is present and invalid means that the environment is not what it seems.
    let times = [&item.since, &item.created].map(|text| text.as_deref().map(|text| (text, time(text))));
    let broken = times.iter().flatten().find(|(_, time)| time.is_none()).map(|(text, _)| (*text).to_owned());
    let [since, created] = times.map(|found| found.and_then(|(_, time)| time));
    let state = match (item.state.as_str(), broken) {
        ("running", _) => EnvironmentState::Running,
        (_, Some(text)) => EnvironmentState::Unknown(format!("`{text}` is no RFC 3339 time")),
        ("stopped", None) => EnvironmentState::Stopped,
        ("never-started", None) => EnvironmentState::NeverStarted,
        ("terminated", None) => EnvironmentState::Terminated,
        (other, None) => EnvironmentState::Unknown(format!("state `{other}`")),
    };
    let claim = item.claim.or_else(|| item.job.as_ref().map(|job| format!("it belongs to the job {job}")));
    let name = item.name.unwrap_or_else(|| item.id.clone());
    Environment {
        since,
        created,
        mark: item.mark,
        labels: item.labels.into_iter().collect(),
        holds: item.holds,
        bytes: item.bytes,
        job: item.job,
        runner: item.runner,
        claim,
        ..Environment::new(item.id, name, state)
    }
}
