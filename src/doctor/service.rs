//! The timer, the path unit, and when the last sweep was.

use super::DoctorInput;
use crate::lengths;
use crate::model::Check;
use crate::setup::state::StateDir;
use crate::setup::units::{OURS, Systemd};
use crate::sys::program::Programs;
use std::time::Duration;

/// The timer that reports missing sweeps. It has an effect only if `[notify]` names a program.
const NOTIFY: &str = "disk-guard-notify.timer";

/// A sweep every fifteen minutes is the rule.
const RECENT: Duration = Duration::from_secs(2 * 3600);

pub(super) fn all(input: &DoctorInput<'_>) -> Vec<Check> {
    let [timer, path] = OURS;
    let systemd = Systemd::find(Programs(&input.config.paths.programs));
    let is_to_come = systemd.as_ref().is_ok_and(|systemd| has_yet_to_fire(systemd, timer));
    let mut checks = vec![last_sweep(input, is_to_come)];
    match systemd {
        Ok(systemd) => {
            checks.push(armed(&systemd, "timer", timer));
            checks.push(armed(&systemd, "path-unit", path));
            if !input.config.notify.command.is_empty() {
                checks.push(armed(&systemd, "notify-timer", NOTIFY));
            }
        }
        Err(why) => checks.push(Check::warn(
            "timer",
            format!("{why}: whether anything starts the sweep cannot be determined"),
            "run `disk-guard sweep` as root from cron every fifteen minutes",
        )),
    }
    checks
}

fn armed(systemd: &Systemd<'_>, id: &str, unit: &str) -> Check {
    let fix = format!("systemctl enable --now {unit}");
    match systemd.show(unit, &["LoadState", "ActiveState"]) {
        Ok(values) => match values.as_slice() {
            [load, active] if load == "loaded" && active == "active" => {
                Check::ok(id, format!("{unit} is armed"))
            }
            [load, _] if load == "loaded" => Check::fail(id, format!("{unit} is not armed"), fix),
            _ => Check::fail(id, format!("{unit} is not installed"), "install the package's units"),
        },
        Err(why) => Check::warn(id, format!("{unit}: {why}"), fix),
    }
}

/// A timer that waits for its first time, as right after the package has come.
fn has_yet_to_fire(systemd: &Systemd<'_>, timer: &str) -> bool {
    let values = systemd.show(timer, &["ActiveState", "LastTriggerUSec"]);
    values.is_ok_and(|values| values[0] == "active" && matches!(values[1].as_str(), "" | "n/a"))
}

fn last_sweep(input: &DoctorInput<'_>, is_to_come: bool) -> Check {
    let fix = "run disk-guard sweep, and have it started regularly: disk-guard install";
    match StateDir::at(&input.config.paths.state_dir).last_sweep() {
        None if is_to_come => Check::ok("last-sweep", "no sweep has run yet: its timer has not fired"),
        None => Check::warn("last-sweep", "no sweep has left a record", fix),
        Some(then) => {
            let age = input.now.duration_since(then).unwrap_or_default();
            let detail =
                format!("the last sweep ended {} ago", lengths::format(Duration::from_secs(age.as_secs())));
            if age > RECENT {
                Check::warn("last-sweep", detail, fix)
            } else {
                Check::ok("last-sweep", detail)
            }
        }
    }
}
