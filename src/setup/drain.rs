//! Runners out of service: they finish their current job and take no other.
//!
//! Stopping a unit ends its Listener, which would cancel its job (actions/runner, JobDispatcher.ShutdownAsync). So a unit is stopped only
//! when its runner is provably idle; until then the runner is marked, its completed-hook requests a sweep, and the sweep stops it. A job
//! that is received between the last look and the stop is cancelled by the runner, and has to be restarted elsewhere: the window is a few
//! milliseconds. The mark survives a boot, and later sweeps enforce it. A unit that hangs in its stop is ended by systemd
//! (TimeoutStopSec): the guard waits for it once, and the mark remains.

use crate::model::{Level, Liveness};
use serde::{Deserialize, Serialize};

/// A runner that is out of service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// The format's version.
    pub schema: u32,
    /// Its name, for people.
    pub name: String,
    /// Its root.
    pub root: String,
    /// Who has drained it.
    pub by: By,
    /// When, in seconds since 1970.
    pub since_unix: u64,
}

/// Who has drained a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A person, who also puts it back into service.
    Hand,
    /// A sweep, because its disk was above critical; a sweep puts it back.
    Auto,
}

/// What to do with a drained runner now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainStep {
    /// Its unit is stopped already, or is about to be.
    Nothing,
    /// Stop its unit.
    Stop,
    /// Wait for its job, or for proof that it has none.
    Wait,
}

/// Decides for one drained runner.
pub fn step(state: Liveness, unit_is_active: bool) -> DrainStep {
    match (unit_is_active, state) {
        (false, _) => DrainStep::Nothing,
        (true, Liveness::Idle) => DrainStep::Stop,
        (true, Liveness::Busy | Liveness::Unknown) => DrainStep::Wait,
    }
}

/// The change that `drain.auto` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainChange {
    /// Nothing.
    Stay,
    /// Take it out of service.
    Drain,
    /// Put it back into service.
    Resume,
}

/// Decides by the filesystem of a runner's work directory: out of service above critical, back only when the goal (low) is reached. A
/// runner that a person took out of service is put back by a person only.
pub fn change(level: Level, goal_is_met: bool, drained: Option<By>) -> DrainChange {
    match (drained, level) {
        (None, Level::Critical) => DrainChange::Drain,
        (Some(By::Auto), level) if goal_is_met && level == Level::Ok => DrainChange::Resume,
        _ => DrainChange::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_idle_runners_unit_is_stopped() {
        for (state, active, expected) in [
            (Liveness::Idle, true, DrainStep::Stop),
            (Liveness::Idle, false, DrainStep::Nothing),
            (Liveness::Busy, true, DrainStep::Wait),
            (Liveness::Unknown, true, DrainStep::Wait),
            (Liveness::Busy, false, DrainStep::Nothing),
        ] {
            assert_eq!(step(state, active), expected, "{state:?} {active}");
        }
    }

    #[test]
    fn out_above_critical_and_back_only_at_low_and_never_against_a_person() {
        use DrainChange::{Drain, Resume, Stay};
        for (level, met, drained, expected) in [
            (Level::Ok, true, None, Stay),
            (Level::High, false, None, Stay),
            (Level::Critical, false, None, Drain),
            (Level::Critical, false, Some(By::Auto), Stay),
            (Level::High, false, Some(By::Auto), Stay),
            (Level::Ok, false, Some(By::Auto), Stay),
            (Level::Ok, true, Some(By::Auto), Resume),
            (Level::Ok, true, Some(By::Hand), Stay),
            (Level::Critical, false, Some(By::Hand), Stay),
        ] {
            assert_eq!(change(level, met, drained), expected, "{level:?} {met} {drained:?}");
        }
    }
}
