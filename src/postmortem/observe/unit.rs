//! systemd's properties of a runner's unit. The unit's name comes from the runner's own file and is trusted only when systemd reports that
//! the unit works in that root (see [`crate::setup::units`]).

use super::clock;
use crate::model::Runner;
use crate::model::postmortem::{Observed, UnitRecord};
use crate::setup::units::{Systemd, SystemdError};
use crate::sys::program::{Bounds, Programs};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

const BOUNDS: Bounds = Bounds::new(Duration::from_secs(10), 16 << 10);

const PROPERTIES: &str = "--property=Result,ActiveState,ExecMainCode,ExecMainStatus,ExecMainExitTimestampMonotonic,NRestarts,ControlGroup";

/// The unit of `runner`, when systemd runs this host.
pub(super) fn look(
    programs: Programs<'_>,
    systemd: &Result<Systemd<'_>, SystemdError>,
    runner: &Runner,
    now: SystemTime,
) -> Observed<UnitRecord> {
    let how = "install the runner as a service: `./svc.sh install`";
    let unit = match systemd {
        Ok(systemd) => systemd.unit_of(runner).map_err(|error| error.to_string()),
        Err(reason) => Err(reason.to_string()),
    };
    let name = match unit {
        Ok(unit) => unit.name,
        Err(reason) => return Observed::missing(format!("the runner's unit: {reason}"), how),
    };
    match programs.text("systemctl", &["show", PROPERTIES, "--", &name], BOUNDS) {
        Ok(text) => Observed::Known(state(name, &text, now, clock::monotonic())),
        Err(error) => Observed::missing(format!("the runner's unit: {error}"), how),
    }
}

/// `KEY=VALUE` lines. A time of 0 means none.
fn state(name: String, text: &str, now: SystemTime, monotonic: Duration) -> UnitRecord {
    let values: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |key: &str| values.get(key).copied().unwrap_or_default();
    let number = |key: &str| value(key).parse::<i32>().ok();
    let exited = value("ExecMainExitTimestampMonotonic").parse::<u64>().ok().filter(|micros| *micros > 0);
    let ago = exited.map(|micros| monotonic.saturating_sub(Duration::from_micros(micros)));
    UnitRecord {
        name,
        result: value("Result").to_owned(),
        active: value("ActiveState").to_owned(),
        main: number("ExecMainCode").filter(|code| *code > 0).zip(number("ExecMainStatus")),
        main_exited: ago.and_then(|ago| now.checked_sub(ago)),
        restarts: value("NRestarts").parse().unwrap_or_default(),
        group: Some(value("ControlGroup").to_owned()).filter(|group| !group.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_become_a_state() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let text = "Result=oom-kill\nActiveState=failed\nExecMainCode=2\nExecMainStatus=9\nNRestarts=3\n\
                    ExecMainExitTimestampMonotonic=90000000\nControlGroup=/system.slice/a=b.service";
        let found = state("u".into(), text, now, Duration::from_secs(100));
        assert_eq!((found.result.as_str(), found.main, found.restarts), ("oom-kill", Some((2, 9)), 3));
        assert_eq!(found.main_exited, Some(now - Duration::from_secs(10)));
        assert_eq!(found.group.as_deref(), Some("/system.slice/a=b.service"));
        let running = state(
            "u".into(),
            "Result=success\nExecMainCode=0\nExecMainExitTimestampMonotonic=0",
            now,
            Duration::ZERO,
        );
        assert_eq!((running.main, running.main_exited), (None, None));
    }
}
