//! Limits other than space for caches, and what takes space that no cache rule covers.

use crate::model::{Capacity, Check, Level};

pub(super) fn all(capacity: &Capacity) -> Vec<Check> {
    let mut checks = Vec::new();
    for limit in capacity.limits.iter().filter(|limit| limit.level > Level::Ok) {
        let of = limit.subject.as_ref().map(|subject| format!(":{subject}")).unwrap_or_default();
        checks.push(Check::warn(
            format!("capacity:{}{of}", limit.resource),
            limit.said.as_str(),
            limit.advice,
        ));
    }
    for held in capacity.holdings.iter().filter(|held| held.is_notable) {
        checks.push(Check::warn(
            format!("space:{}:{}", held.kind, held.subject),
            held.said.as_str(),
            held.advice.as_str(),
        ));
    }
    if checks.is_empty() {
        checks.push(Check::ok("capacity", capacity.verdict.as_str()));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckState, Holding, Limit};

    #[test]
    fn short_and_large_resources_are_warnings_and_a_calm_host_is_one_green_line() {
        let limit = |level| Limit {
            resource: "files",
            subject: None,
            ratio: 0.9,
            level,
            said: "9 of 10 open files".into(),
            advice: "raise fs.file-max",
        };
        let held = |is_notable| Holding {
            kind: "journal",
            subject: "/var/log/journal".into(),
            bytes: 9,
            reclaimable: None,
            is_notable,
            said: "the journal takes 9 B".into(),
            advice: "vacuum it".into(),
        };
        let capacity = |level, is_notable| Capacity {
            limits: vec![limit(level)],
            holdings: vec![held(is_notable)],
            groups: Vec::new(),
            verdict: "no limit is near".into(),
        };
        let ids = |checks: &[Check]| checks.iter().map(|check| check.id.clone()).collect::<Vec<_>>();
        let short = all(&capacity(Level::Critical, true));
        assert_eq!(ids(&short), ["capacity:files", "space:journal:/var/log/journal"]);
        assert!(short.iter().all(|check| check.state == CheckState::Warn && check.fix.is_some()));
        let calm = all(&capacity(Level::Ok, false));
        assert_eq!(calm, [Check::ok("capacity", "no limit is near")]);
    }
}
