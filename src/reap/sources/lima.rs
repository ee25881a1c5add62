//! Lima's instances: `limactl list --json` (one object a line), `limactl delete NAME` without force, which refuses a running one.

use super::{EnvironmentSource, SourceError, not_understood};
use crate::model::reap::{Environment, EnvironmentState};
use crate::reap::program::Tool;
use serde::Deserialize;
use std::time::SystemTime;

pub(super) struct Lima {
    tool: Tool,
}

#[derive(Deserialize)]
struct Instance {
    name: String,
    status: Option<String>,
    #[serde(default)]
    dir: String,
    disk: Option<u64>,
    #[serde(default)]
    protected: bool,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

impl Lima {
    pub(super) fn new(tool: Tool) -> Self {
        Self { tool }
    }
}

impl EnvironmentSource for Lima {
    fn list(&self, _: SystemTime) -> Result<Vec<Environment>, SourceError> {
        listed(&self.tool.output(&["list", "--json"])?)
    }

    fn delete(&self, environment: &Environment) -> Result<(), SourceError> {
        self.tool.output(&["delete", &environment.id])?;
        Ok(())
    }
}

/// The output of `limactl list --json`: one object after the other.
pub(crate) fn listed(answer: &[u8]) -> Result<Vec<Environment>, SourceError> {
    let instances = serde_json::Deserializer::from_slice(answer).into_iter::<Instance>();
    let instances: Result<Vec<Instance>, _> = instances.collect();
    let instances = instances.map_err(|error| not_understood("limactl list", error))?;
    Ok(instances.into_iter().map(environment).collect())
}

fn environment(instance: Instance) -> Environment {
    let state = match instance.status.as_deref() {
        Some("Stopped") if instance.errors.is_empty() => EnvironmentState::Stopped,
        Some("Running" | "Paused") => EnvironmentState::Running,
        Some(status) => EnvironmentState::Unknown(match instance.errors.len() {
            0 => format!("status {status}"),
            errors => format!("status {status} with {errors} errors"),
        }),
        None => EnvironmentState::Unknown("no status".to_owned()),
    };
    Environment {
        // The disk's nominal size: the real one is not reported.
        mark: format!("{}/{}", instance.dir, instance.disk.unwrap_or_default()),
        holds: if instance.dir.is_empty() { Vec::new() } else { vec![instance.dir] },
        claim: instance.protected.then(|| "it is protected (limactl protect)".to_owned()),
        ..Environment::new(instance.name.clone(), instance.name, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        for (text, expected, is_claimed) in [
            (r#"{"name":"a","status":"Stopped","dir":"/x"}"#, "stopped", false),
            (r#"{"name":"a","status":"Stopped","protected":true}"#, "stopped", true),
            (r#"{"name":"a","status":"Running"}"#, "running", false),
            (r#"{"name":"a","status":"Broken","errors":["x"]}"#, "unknown", false),
            (r#"{"name":"a","status":"Stopped","errors":["x"]}"#, "unknown", false),
            (r#"{"name":"a","status":"stopped"}"#, "unknown", false),
            (r#"{"name":"a"}"#, "unknown", false),
        ] {
            let environment = environment(serde_json::from_str(text).unwrap());
            assert_eq!(
                (environment.state.as_str(), environment.claim.is_some()),
                (expected, is_claimed),
                "{text}"
            );
        }
    }
}
