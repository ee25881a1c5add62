//! Exit codes. Scripts rely on them: a number never changes its meaning, and only `main` exits.

use crate::model::Liveness;
use crate::model::hygiene::AreaCondition;
use std::process::ExitCode;
use strum::VariantArray;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
#[must_use]
#[repr(u8)]
pub enum Exit {
    /// Done; for `check`: provably idle.
    Done = 0,
    /// An operational error, or a refused job.
    Error = 1,
    /// The command line was wrong; clap exits with the same number.
    Usage = 2,
    /// The configuration is not valid.
    ConfigInvalid = 3,
    /// `check`: it is in use.
    Busy = 10,
    /// `check`: unknown.
    Unknown = 11,
    /// `audit`: something can be repaired in place.
    Repairable = 12,
    /// `audit`: something has to be cloned afresh.
    Replace = 13,
    /// `remediate --apply`, and a sweep that repairs work directories: more than one repository is contaminated, nothing was repaired.
    WiderIncident = 14,
    /// `sweep`: the disk is still above its goal.
    GoalNotReached = 20,
    /// The host lock was not obtained in time (`EX_TEMPFAIL`: try again).
    LockTimeout = 75,
}

impl Exit {
    /// All of them, by number.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The table for help texts. A constant, so that a hook's start does not pay for it; a test compares it with the enum.
    pub const TABLE: &str = "\
Exit codes:
   0  done (check: provably idle)
   1  operational error; hook: the job was refused
   2  usage
   3  configuration invalid
  10  check, remediate: busy
  11  check, remediate: unknown
  12  audit: something needs a repair in place
  13  audit: something needs a new clone
  14  remediate, sweep: nothing repaired, more than one repository is contaminated
  20  sweep: goal not reached
  75  host lock not obtained in time";

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The number's meaning, as in the table.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done (check: provably idle)",
            Self::Error => "operational error; hook: the job was refused",
            Self::Usage => "usage",
            Self::ConfigInvalid => "configuration invalid",
            Self::Busy => "check, remediate: busy",
            Self::Unknown => "check, remediate: unknown",
            Self::Repairable => "audit: something needs a repair in place",
            Self::Replace => "audit: something needs a new clone",
            Self::WiderIncident => {
                "remediate, sweep: nothing repaired, more than one repository is contaminated"
            }
            Self::GoalNotReached => "sweep: goal not reached",
            Self::LockTimeout => "host lock not obtained in time",
        }
    }

    /// The exit code of `check`.
    pub fn of_check(state: Liveness) -> Self {
        match state {
            Liveness::Idle => Self::Done,
            Liveness::Busy => Self::Busy,
            Liveness::Unknown => Self::Unknown,
        }
    }
}

impl Exit {
    /// The exit code of an `audit`.
    pub fn of_audit(verdict: AreaCondition) -> Self {
        match verdict {
            AreaCondition::Clean => Self::Done,
            AreaCondition::Repairable => Self::Repairable,
            AreaCondition::Replace => Self::Replace,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_contract() {
        let numbers: Vec<u8> = Exit::ALL.iter().map(|e| e.code()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 10, 11, 12, 13, 14, 20, 75]);
    }

    #[test]
    fn the_help_table_lists_every_code_with_its_meaning() {
        let lines: Vec<String> =
            Exit::ALL.iter().map(|e| format!("  {:>2}  {}", e.code(), e.meaning())).collect();
        assert_eq!(Exit::TABLE, format!("Exit codes:\n{}", lines.join("\n")));
    }

    #[test]
    fn only_idle_is_zero_for_a_check() {
        assert_eq!(Exit::of_check(Liveness::Idle), Exit::Done);
        assert_eq!(Exit::of_check(Liveness::Busy), Exit::Busy);
        assert_eq!(Exit::of_check(Liveness::Unknown), Exit::Unknown);
    }
}
