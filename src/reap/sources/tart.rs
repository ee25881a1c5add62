//! Tart's virtual machines: `tart list --format json`, `tart delete NAME`.
//!
//! Local ones only: pulled images are a cache. Tart reports at most when a machine was last accessed, which is when it was last cloned or
//! started; that counts if it is longer ago than it was first seen stopped. Sizes, which a run changes, are the mark. A suspended machine
//! can be resumed and is not stopped.

use super::{EnvironmentSource, SourceError, json, time};
use crate::model::reap::{Environment, EnvironmentState};
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
    #[serde(rename = "Accessed", default)]
    accessed: Value,
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

impl EnvironmentSource for Tart {
    fn list(&self, now: SystemTime) -> Result<Vec<Environment>, SourceError> {
        listed(&self.tool.output(&["list", "--format", "json"])?, now)
    }

    fn delete(&self, environment: &Environment) -> Result<(), SourceError> {
        self.tool.output(&["delete", &environment.id])?;
        Ok(())
    }
}

/// The output of `tart list --format json`.
pub(crate) fn listed(answer: &[u8], now: SystemTime) -> Result<Vec<Environment>, SourceError> {
    let machines: Vec<Machine> = json("tart list", answer)?;
    let is_pulled =
        |machine: &Machine| machine.source.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("oci"));
    Ok(machines
        .into_iter()
        .filter(|machine| !is_pulled(machine))
        .map(|machine| environment(machine, now))
        .collect())
}

fn environment(machine: Machine, now: SystemTime) -> Environment {
    let state = state(&machine);
    let accessed = machine.accessed.as_str().unwrap_or_default();
    let exactly = time(accessed);
    let stamp = exactly.map(|_| format!("/{accessed}")).unwrap_or_default();
    Environment {
        last_used: exactly.filter(|used| *used <= now),
        mark: format!("{}/{}{stamp}", machine.disk, machine.size),
        // Gigabytes on disk.
        bytes: machine.size.as_f64().filter(|size| *size >= 0.0).map(|size| (size * 1e9) as u64),
        holds: vec!["its disk".to_owned()],
        ..Environment::new(machine.name.clone(), machine.name, state)
    }
}

/// Both fields must agree.
fn state(machine: &Machine) -> EnvironmentState {
    match (machine.source.as_deref(), machine.running, machine.state.as_deref()) {
        (_, Some(true), _) | (_, _, Some("running")) => EnvironmentState::Running,
        (Some("local"), Some(false), Some("stopped")) => EnvironmentState::Stopped,
        (Some("local"), Some(false), Some("suspended")) => EnvironmentState::Suspended,
        (source, running, state) => EnvironmentState::Unknown(format!(
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
    fn when_it_was_last_accessed() {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        let of = |accessed: Value| {
            let machine = serde_json::json!([{"Source": "local", "Name": "a", "Size": 1, "Running": false, "State": "stopped", "Accessed": accessed}]);
            let found = listed(machine.to_string().as_bytes(), now).unwrap().remove(0);
            (found.last_used.map(|used| now.duration_since(used).unwrap().as_secs()), found.mark)
        };
        for (accessed, ago, mark) in [
            ("2027-01-15T07:00:00Z".into(), Some(3600), "null/1/2027-01-15T07:00:00Z"),
            ("2028-01-01T00:00:00Z".into(), None, "null/1/2028-01-01T00:00:00Z"),
            ("yesterday".into(), None, "null/1"),
            (Value::from(1_700_000_000), None, "null/1"),
            (Value::Null, None, "null/1"),
        ] {
            assert_eq!(of(accessed.clone()), (ago, mark.to_owned()), "{accessed}");
        }
    }

    #[test]
    fn states() {
        for (text, expected) in [
            (r#"{"Source":"local","Name":"a","Running":false,"State":"stopped"}"#, "stopped"),
            (r#"{"Source":"local","Name":"a","Running":true,"State":"running"}"#, "running"),
            (r#"{"Source":"local","Name":"a","Running":true,"State":"stopped"}"#, "running"),
            (r#"{"Source":"local","Name":"a","Running":false,"State":"running"}"#, "running"),
            (r#"{"Source":"local","Name":"a","Running":false,"State":"suspended"}"#, "suspended"),
            (r#"{"Source":"local","Name":"a","Running":false}"#, "unknown"),
            (r#"{"Source":"local","Name":"a","State":"stopped"}"#, "unknown"),
            (r#"{"Name":"a","Running":false,"State":"stopped"}"#, "unknown"),
        ] {
            let machine: Machine = serde_json::from_str(text).unwrap();
            assert_eq!(state(&machine).as_str(), expected, "{text}");
        }
    }
}
