//! Tart's virtual machines: `tart list --format json`, `tart delete NAME`.
//!
//! Local ones only: images that were pulled are a cache. Tart tells no times, so their sizes, which a run changes, are the
//! mark. A suspended machine can be resumed and is not stopped.

use super::{Source, SourceError, json};
use crate::model::reap::{Environment, State};
use crate::reap::program::Tool;
use serde::Deserialize;
use serde_json::Value;
use std::time::SystemTime;

pub(super) struct Tart {
    tool: Tool,
}

#[derive(Deserialize)]
struct Machine {
    #[serde(rename = "Source")]
    source: Option<String>,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Disk", default)]
    disk: Value,
    #[serde(rename = "Size", default)]
    size: Value,
    #[serde(rename = "Running")]
    running: Option<bool>,
    #[serde(rename = "State")]
    state: Option<String>,
}

impl Tart {
    pub(super) fn new(tool: Tool) -> Self {
        Self { tool }
    }
}

impl Source for Tart {
    fn list(&self, _: SystemTime) -> Result<Vec<Environment>, SourceError> {
        listed(&self.tool.output(&["list", "--format", "json"])?)
    }

    fn delete(&self, environment: &Environment) -> Result<(), SourceError> {
        self.tool.output(&["delete", &environment.id])?;
        Ok(())
    }
}

/// What `tart list --format json` says.
pub(crate) fn listed(answer: &[u8]) -> Result<Vec<Environment>, SourceError> {
    let machines: Vec<Machine> = json("tart list", answer)?;
    let is_pulled =
        |machine: &Machine| machine.source.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("oci"));
    Ok(machines.into_iter().filter(|machine| !is_pulled(machine)).map(environment).collect())
}

fn environment(machine: Machine) -> Environment {
    let state = state(&machine);
    Environment {
        mark: format!("{}/{}", machine.disk, machine.size),
        // Gigabytes on disk.
        bytes: machine.size.as_f64().filter(|size| *size >= 0.0).map(|size| (size * 1e9) as u64),
        holds: vec!["its disk".to_owned()],
        ..Environment::new(machine.name.clone(), machine.name, state)
    }
}

/// Both fields have to agree.
fn state(machine: &Machine) -> State {
    match (machine.source.as_deref(), machine.running, machine.state.as_deref()) {
        (_, Some(true), _) | (_, _, Some("running")) => State::Running,
        (Some("local"), Some(false), Some("stopped")) => State::Stopped,
        (source, running, state) => State::Unknown(format!(
            "Source {}, Running {}, State {}",
            source.unwrap_or("missing"),
            running.map_or("missing".to_owned(), |running| running.to_string()),
            state.unwrap_or("missing")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        for (text, expected) in [
            (r#"{"Source":"local","Name":"a","Running":false,"State":"stopped"}"#, "stopped"),
            (r#"{"Source":"local","Name":"a","Running":true,"State":"running"}"#, "running"),
            (r#"{"Source":"local","Name":"a","Running":true,"State":"stopped"}"#, "running"),
            (r#"{"Source":"local","Name":"a","Running":false,"State":"running"}"#, "running"),
            (r#"{"Source":"local","Name":"a","Running":false,"State":"suspended"}"#, "unknown"),
            (r#"{"Source":"local","Name":"a","Running":false}"#, "unknown"),
            (r#"{"Source":"local","Name":"a","State":"stopped"}"#, "unknown"),
            (r#"{"Name":"a","Running":false,"State":"stopped"}"#, "unknown"),
        ] {
            let machine: Machine = serde_json::from_str(text).unwrap();
            assert_eq!(state(&machine).as_str(), expected, "{text}");
        }
    }
}
