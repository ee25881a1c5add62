//! `doctor`: each finding with its fix.

use super::{Context, Format, now, overview, present};
use crate::capacity;
use crate::cli::Command;
use crate::config::{ConfigError, DEFAULT_PATH};
use crate::doctor::{self, DoctorInput};
use crate::model::{Check, CheckState};
use crate::report::exit::Exit;
use crate::report::human::Screen;
use crate::report::{human, json};
use std::path::Path;

/// Examines the host.
pub(super) fn run(context: &Context, config: Option<&Path>, format: Format) -> Exit {
    let engines = capacity::ask_engines(&context.config.paths.programs);
    let alive = overview::alive(&context.snapshot());
    let filesystems = overview::status::judged(&context.config, &alive.facts.filesystems);
    let input = DoctorInput {
        capacity: &capacity::examine(&context.proc, engines, &alive.facts, &filesystems),
        config: &context.config,
        proc: &context.proc,
        facts: &alive.facts,
        root_matches: &alive.root_matches,
        now: now(),
    };
    let path = config.unwrap_or(Path::new(DEFAULT_PATH));
    let origin = match path.exists() {
        true => format!("{} is valid", path.display()),
        false => format!("{} does not exist: the defaults apply", path.display()),
    };
    let mut checks = vec![Check::ok("configuration", origin)];
    checks.extend(doctor::examine(&input));
    tell(&checks, &context.screen, format)
}

/// An invalid configuration is the only finding: every other check depends on it.
pub(super) fn without_config(error: &ConfigError, screen: &Screen, command: &Command) -> Exit {
    let fix = match error {
        ConfigError::Untrusted { .. } | ConfigError::Read { .. } => "see the detail; then run doctor again",
        ConfigError::Invalid { .. } => "correct it; `disk-guard check-config` checks it",
    };
    let format = Format::of(matches!(command, Command::Doctor { json: true }));
    tell(&[Check::fail("configuration", error.to_string(), fix)], screen, format)
}

fn tell(checks: &[Check], screen: &Screen, format: Format) -> Exit {
    present(screen, format, || json::doctor(checks, json::Layout::Pretty), || human::doctor(checks, screen));
    let is_ill = checks.iter().any(|check| check.state == CheckState::Fail);
    if is_ill { Exit::Error } else { Exit::Done }
}
