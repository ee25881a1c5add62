//! What `doctor` finds.

use crate::as_json::named;
use schemars::JsonSchema;
use serde::Serialize;
use strum::IntoStaticStr;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// Its stable name, with a colon and the checked object if there are several.
    pub id: String,
    /// Its state.
    pub state: CheckState,
    /// The observation.
    pub detail: String,
    /// The fix; none if nothing has to be done.
    pub fix: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn ok(id: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { id: id.into(), state: CheckState::Ok, detail: detail.into(), fix: None }
    }

    /// The guard works, but not as well as it could.
    pub fn warn(id: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id: id.into(), state: CheckState::Warn, detail: detail.into(), fix: Some(fix.into()) }
    }

    /// The guard does not work.
    pub fn fail(id: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id: id.into(), state: CheckState::Fail, detail: detail.into(), fix: Some(fix.into()) }
    }
}

/// Findings with the same fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy<'c> {
    /// The fix.
    pub fix: String,
    /// The worst of their states.
    pub state: CheckState,
    /// The findings, in their order.
    pub checks: Vec<&'c Check>,
}

/// The findings, grouped by their fix: the worst first, and equal ones in the order of the checks, in which prerequisites come first.
pub fn by_fix(checks: &[Check]) -> Vec<Remedy<'_>> {
    let mut remedies: Vec<Remedy<'_>> = Vec::new();
    for check in checks {
        let Some(fix) = &check.fix else { continue };
        let same =
            |remedy: &&mut Remedy<'_>| remedy.fix == *fix || is_restart(fix) && is_restart(&remedy.fix);
        match remedies.iter_mut().find(same) {
            Some(remedy) => {
                remedy.state = remedy.state.max(check.state);
                remedy.checks.push(check);
            }
            None => remedies.push(Remedy { fix: fix.clone(), state: check.state, checks: vec![check] }),
        }
    }
    for remedy in remedies.iter_mut().filter(|remedy| is_restart(&remedy.fix)) {
        if remedy.checks.iter().any(|check| check.fix.as_ref() != Some(&remedy.fix)) {
            remedy.fix =
                "disk-guard install --restart-idle, which restarts each Listener when its runner is idle"
                    .into();
        }
    }
    remedies.sort_by_key(|remedy| std::cmp::Reverse(remedy.state));
    remedies
}

/// Each Listener has a unit of its own, and one command restarts them all.
fn is_restart(fix: &str) -> bool {
    fix.starts_with("systemctl restart actions.runner.") || fix == RESTART_BY_HAND
}

/// The fix for a Listener without a unit.
pub const RESTART_BY_HAND: &str = "restart its Listener when it is idle";

/// Green, yellow or red.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum CheckState {
    /// Green.
    Ok,
    /// Yellow.
    Warn,
    /// Red.
    Fail,
}

impl CheckState {
    /// For JSON and people.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

named!(CheckState);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_findings_with_one_fix_are_one_remedy_and_the_worst_comes_first() {
        let checks = [
            Check::ok("kernel", "fine"),
            Check::warn("clock", "not kept", "set it"),
            Check::fail("hook:a", "no `.env`", "disk-guard install"),
            Check::fail("hook:b", "newer", "systemctl restart actions.runner.o.b.service"),
            Check::fail("member:c", "older", RESTART_BY_HAND),
            Check::warn("completed-hook:a", "none", "disk-guard install"),
        ];
        let remedies = by_fix(&checks);
        let ids =
            |remedy: &Remedy<'_>| remedy.checks.iter().map(|check| check.id.clone()).collect::<Vec<_>>();
        assert_eq!(
            remedies.iter().map(ids).collect::<Vec<_>>(),
            [vec!["hook:a", "completed-hook:a"], vec!["hook:b", "member:c"], vec!["clock"],]
        );
        assert_eq!(remedies[0].state, CheckState::Fail);
        assert!(remedies[1].fix.contains("--restart-idle"), "{}", remedies[1].fix);
        let alone = by_fix(&checks[3..4]);
        assert_eq!(alone[0].fix, "systemctl restart actions.runner.o.b.service", "one is named as it is");
    }
}
