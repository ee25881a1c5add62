//! systemd, as far as runners and the guard's own units are concerned.
//!
//! `.service` in a runner's root names its unit, and is written by the runner's user: a forged one must not make root stop or start
//! anything else. So the unit's name must have the form of a runner's unit, and systemd itself must report that the unit works in that
//! very root (the template of `svc.sh` sets WorkingDirectory).

use crate::actions_runner::layout;
use crate::actions_runner::unit;
use crate::model::Runner;
use crate::sys::dir::Dir;
use crate::sys::program::{Bounds, ProgramError, ProgramRun, Programs};
use std::path::Path;
use std::time::Duration;

/// Our own units.
pub const OURS: [&str; 2] = ["disk-guard-sweep.timer", "disk-guard-request.path"];

/// The bounds of a program that sets a host up: `systemctl stop` of a runner waits for its Listener.
pub const BOUNDS: Bounds = Bounds::new(Duration::from_secs(90), 64 << 10);

/// A unit's name is one line.
const MAX_NAME: u64 = 512;

/// systemctl, when systemd runs this host.
#[derive(Debug, Clone, Copy)]
pub struct Systemd<'a> {
    programs: Programs<'a>,
}

/// An error of systemd, or of calling it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SystemdError(String);

impl From<ProgramError> for SystemdError {
    fn from(error: ProgramError) -> Self {
        Self(error.to_string())
    }
}

/// Why a name does not identify one runner.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnnamedError {
    /// No runner has it.
    #[error("there is no runner `{name}`; {}", known_runners(known))]
    Nobody {
        /// The name.
        name: String,
        /// The names of all runners.
        known: Vec<String>,
    },
    /// Several runners have it.
    #[error("{count} runners are called {name}: name one by its root directory")]
    Several {
        /// The name.
        name: String,
        /// Of how many.
        count: usize,
    },
}

fn known_runners(known: &[String]) -> String {
    match known {
        [] => "no runner is found at all: `disk-guard status`, run as root, lists where they are searched"
            .to_owned(),
        known => format!("known are: {}", known.join(", ")),
    }
}

/// The one runner of this name, with this root, or of this unit.
///
/// # Errors
/// [`UnnamedError`].
pub fn named(runners: &[&Runner], name: &str) -> Result<usize, UnnamedError> {
    let is_meant = |runner: &Runner| {
        runner.name == name
            || runner.own_name() == name
            || runner.root.as_path() == Path::new(name)
            || name_in(&runner.root)
                .is_ok_and(|unit| unit == name || unit.strip_suffix(".service") == Some(name))
    };
    let matching: Vec<usize> = (0..runners.len()).filter(|index| is_meant(runners[*index])).collect();
    match matching[..] {
        [index] => Ok(index),
        [] => Err(UnnamedError::Nobody {
            name: name.to_owned(),
            known: runners.iter().map(|runner| runner.name.clone()).collect(),
        }),
        _ => Err(UnnamedError::Several { name: name.to_owned(), count: matching.len() }),
    }
}

/// Why a runner has no unit that the guard may control.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoUnit(pub String);

/// A runner's unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerUnit {
    /// Its name.
    pub name: String,
    /// Whether systemd counts it as running.
    pub is_active: bool,
    /// Whether it is stopping.
    pub is_stopping: bool,
}

impl<'a> Systemd<'a> {
    /// Asks whether systemd runs this host.
    ///
    /// # Errors
    /// [`SystemdError`]: why not.
    pub fn find(programs: Programs<'a>) -> Result<Self, SystemdError> {
        let run = programs.run("systemctl", &["is-system-running"], BOUNDS);
        // Its exit code reports the health of the host's units.
        let run = run.and_then(ProgramRun::ended).map_err(|error| match error {
            ProgramError::Missing { .. } => SystemdError("this host has no systemctl".to_owned()),
            other => other.into(),
        })?;
        match run.text().as_str() {
            "initializing" | "starting" | "running" | "degraded" | "maintenance" => Ok(Self { programs }),
            _ => Err(SystemdError("systemd does not run this host".to_owned())),
        }
    }

    /// Whether a unit's file is there.
    pub fn knows(&self, unit: &str) -> bool {
        self.show(unit, &["LoadState"]).is_ok_and(|values| values == ["loaded"])
    }

    /// Properties of a unit, in the order of the question.
    ///
    /// # Errors
    /// [`SystemdError`]: the error of systemctl.
    pub fn show(&self, unit: &str, properties: &[&str]) -> Result<Vec<String>, SystemdError> {
        let value = |property: &&str| {
            let question = format!("--property={property}");
            self.programs.text("systemctl", &["show", "--value", &question, "--", unit], BOUNDS)
        };
        Ok(properties.iter().map(value).collect::<Result<_, _>>()?)
    }

    /// `systemctl VERB UNITS`.
    ///
    /// # Errors
    /// [`SystemdError`]: the error of systemctl.
    pub fn order(&self, verb: &[&str], units: &[&str]) -> Result<(), SystemdError> {
        let arguments = [verb, &["--"], units].concat();
        self.programs.text("systemctl", &arguments, BOUNDS)?;
        Ok(())
    }

    /// The unit that runs this runner.
    ///
    /// # Errors
    /// [`NoUnit`]: `.service` is missing, is not what `svc.sh` writes, or names a unit that does not work in this root.
    pub fn unit_of(&self, runner: &Runner) -> Result<RunnerUnit, NoUnit> {
        let name = name_in(&runner.root)?;
        let values = self.show(&name, &["LoadState", "WorkingDirectory", "ActiveState"]);
        let values = values.map_err(|error| NoUnit(error.to_string()))?;
        let [load, directory, active] = values.as_slice() else {
            return Err(NoUnit(format!("systemctl reports nothing about {name}")));
        };
        if load != "loaded" {
            return Err(NoUnit(format!("its unit {name} does not exist (systemd reports {load})")));
        }
        if Path::new(directory) != runner.root {
            return Err(NoUnit(format!(
                "its `.service` names {name}, which does not work in this root but in `{directory}`: not touched"
            )));
        }
        let is_active = matches!(active.as_str(), "active" | "activating" | "reloading" | "deactivating");
        let is_stopping = active == "deactivating";
        Ok(RunnerUnit { name, is_active, is_stopping })
    }
}

/// The name in `.service`.
pub(crate) fn name_in(root: &Path) -> Result<String, NoUnit> {
    let bytes = Dir::open(root).and_then(|dir| dir.read_file(layout::SERVICE, MAX_NAME)).map_err(
        |error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                NoUnit("it has no `.service`: it is not run by systemd".to_owned())
            }
            _ => NoUnit(format!("its `.service` cannot be read: {error}")),
        },
    )?;
    unit_named(&bytes)
}

/// The unit that the text of a `.service` names.
pub(crate) fn unit_named(bytes: &[u8]) -> Result<String, NoUnit> {
    let text = String::from_utf8_lossy(bytes);
    let name = text.trim_start_matches('\u{feff}').trim();
    if unit::is_valid(name) {
        Ok(name.to_owned())
    } else {
        Err(NoUnit(format!("its `.service` names `{name}`, which is no runner's unit: not touched")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_runners_unit_is_taken_from_a_runners_file() {
        let temp = tempfile::tempdir().unwrap();
        let root = Dir::resolve(temp.path()).unwrap().1;
        assert!(name_in(&root).unwrap_err().0.contains("not run by systemd"));
        for (text, good) in [
            ("actions.runner.acme-widgets.ci-1.service\n", true),
            ("\u{feff}actions.runner.acme.a_b.service", true),
            ("sshd.service", false),
            ("--force actions.runner.a.service", false),
            ("actions.runner.a.b.service sshd.service", false),
            ("actions.runner.a/../../etc.service", false),
            ("actions.runner.a.b.timer", false),
            ("", false),
        ] {
            std::fs::write(root.join(".service"), text).unwrap();
            assert_eq!(name_in(&root).is_ok(), good, "{text}");
        }
    }
}
