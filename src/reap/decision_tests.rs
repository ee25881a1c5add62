use super::*;
use crate::model::reap::{Class, EnvironmentKind, Pattern};
use proptest::prelude::*;
use std::time::UNIX_EPOCH;

const HOUR: u64 = 3600;

fn at(seconds_ago: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000) - Duration::from_secs(seconds_ago)
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

fn rule() -> ReapRule {
    ReapRule {
        name: "e".into(),
        kind: EnvironmentKind::Command,
        command: vec!["x".into()],
        matches: patterns(&["vm-*", "image:*"]),
        keep: patterns(&["vm-keep*", "label:pet"]),
        max_age: Duration::from_secs(2 * HOUR),
        never_started_grace: Duration::from_secs(6 * HOUR),
        batch: 5,
        pause: Duration::ZERO,
        max_per_run: 20,
        timeout: Duration::from_secs(1),
        min_age: Duration::from_secs(3600),
        stale_generation: false,
        worker_check: vec![],
        busy_snapshot: None,
    }
}

fn decide(environment: &Environment, first_seen: u64) -> Option<ReapDecision> {
    let runners = HashMap::from([
        ("idle".to_owned(), Liveness::Idle),
        ("busy".to_owned(), Liveness::Busy),
        ("odd".to_owned(), Liveness::Unknown),
    ]);
    let rule = rule();
    let input = ReapInput { rule: &rule, runners: &runners, now: at(0) };
    input.decide(environment, at(first_seen))
}

/// The verdict's name: `reap:REASON`, `stay:WHY` or `not-matched`.
fn name(verdict: Option<ReapDecision>) -> String {
    match verdict {
        None => "not-matched".into(),
        Some(ReapDecision::Reap(reason)) => format!("reap:{}", reason.as_str()),
        Some(ReapDecision::Stay(stays)) => format!("stay:{}", stays.as_str()),
    }
}

#[test]
fn every_row_of_the_decision() {
    let vm = |state: EnvironmentState| Environment::new("vm-1", "vm-1", state);
    let stopped = || vm(EnvironmentState::Stopped);
    let never = || vm(EnvironmentState::NeverStarted);
    let (old, young) = (3 * HOUR, HOUR);
    for (what, environment, first_seen, expected) in [
        ("stopped, seen so for longer than max_age", stopped(), old, "reap:stopped"),
        ("stopped, exactly max_age", stopped(), 2 * HOUR, "reap:stopped"),
        ("stopped, one second less", stopped(), 2 * HOUR - 1, "stay:young"),
        ("stopped, just seen for the first time", stopped(), 0, "stay:young"),
        (
            "the source tells a longer time",
            Environment { since: Some(at(old)), ..stopped() },
            0,
            "reap:stopped",
        ),
        (
            "the source tells a shorter time",
            Environment { since: Some(at(young)), ..stopped() },
            old,
            "stay:young",
        ),
        (
            "stopped in the future",
            Environment { since: Some(at(0) + Duration::from_secs(9)), ..stopped() },
            old,
            "stay:young",
        ),
        ("running", vm(EnvironmentState::Running), old, "stay:running"),
        ("suspended", vm(EnvironmentState::Suspended), 100 * HOUR, "stay:suspended"),
        (
            "idle since it was made",
            Environment { created: Some(at(2 * HOUR)), ..vm(EnvironmentState::Idle) },
            0,
            "reap:idle",
        ),
        (
            "idle, made lately",
            Environment { created: Some(at(HOUR - 1)), ..vm(EnvironmentState::Idle) },
            9 * HOUR,
            "stay:young",
        ),
        (
            "idle without proof",
            Environment {
                doubt: Some("?".into()),
                created: Some(at(2 * HOUR)),
                ..vm(EnvironmentState::Idle)
            },
            0,
            "stay:unproven",
        ),
        (
            "idle, claimed and without proof",
            Environment { doubt: Some("?".into()), claim: Some("j".into()), ..vm(EnvironmentState::Idle) },
            9 * HOUR,
            "stay:claimed",
        ),
        (
            "never started, without proof",
            Environment { doubt: Some("?".into()), created: Some(at(9 * HOUR)), ..never() },
            old,
            "stay:unproven",
        ),
        (
            "last used long ago, just seen",
            Environment { last_used: Some(at(old)), ..stopped() },
            0,
            "reap:stopped",
        ),
        (
            "last used lately, seen long ago",
            Environment { last_used: Some(at(9)), ..stopped() },
            old,
            "reap:stopped",
        ),
        (
            "last used in the future, just seen",
            Environment { last_used: Some(at(0) + Duration::from_secs(9)), ..stopped() },
            0,
            "stay:young",
        ),
        ("terminated", vm(EnvironmentState::Terminated), 100 * HOUR, "stay:terminated"),
        ("unknown", vm(EnvironmentState::Unknown("?".into())), 100 * HOUR, "stay:unknown"),
        ("never started, beyond grace and age", never(), 7 * HOUR, "reap:never-started"),
        ("never started, beyond age, within grace", never(), 5 * HOUR, "stay:waiting"),
        (
            "never started, old by its own account, just seen",
            Environment { created: Some(at(9 * HOUR)), ..never() },
            0,
            "stay:young",
        ),
        (
            "never started, old and seen for long",
            Environment { created: Some(at(9 * HOUR)), ..never() },
            old,
            "reap:never-started",
        ),
        (
            "never started, made lately",
            Environment { created: Some(at(HOUR)), ..never() },
            9 * HOUR,
            "stay:waiting",
        ),
        (
            "never started, so since it was made",
            Environment { created: Some(at(9 * HOUR)), since: Some(at(9 * HOUR)), ..never() },
            0,
            "reap:never-started",
        ),
        ("not matched", Environment::new("x", "x", EnvironmentState::Stopped), old, "not-matched"),
        ("kept by name", Environment::new("k", "vm-keep-1", EnvironmentState::Stopped), old, "stay:keep"),
        (
            "kept by label",
            Environment { labels: vec![("pet".into(), "yes".into())], ..stopped() },
            old,
            "stay:keep",
        ),
        ("being deleted", Environment { is_ending: true, ..stopped() }, old, "stay:ending"),
        ("claimed", Environment { claim: Some("job 7".into()), ..stopped() }, old, "stay:claimed"),
        ("its runner is idle", Environment { runner: Some("idle".into()), ..stopped() }, old, "reap:stopped"),
        (
            "its runner is busy",
            Environment { runner: Some("busy".into()), ..stopped() },
            old,
            "stay:runner-in-use",
        ),
        (
            "its runner is unknown",
            Environment { runner: Some("odd".into()), ..stopped() },
            old,
            "stay:runner-in-use",
        ),
        (
            "its runner is not here",
            Environment { runner: Some("far".into()), ..stopped() },
            old,
            "stay:runner-in-use",
        ),
        (
            "never started, its runner busy",
            Environment { runner: Some("busy".into()), ..never() },
            9 * HOUR,
            "stay:runner-in-use",
        ),
        (
            "a name that a shell would read",
            Environment::new("vm-1;reboot", "vm-1", EnvironmentState::Stopped),
            old,
            "stay:unknown",
        ),
        (
            "a name that is an option",
            Environment::new("--all", "vm-1", EnvironmentState::Stopped),
            old,
            "stay:unknown",
        ),
        (
            "an image",
            Environment {
                class: Class::Image,
                ..Environment::new("sha256:00", "00", EnvironmentState::Stopped)
            },
            old,
            "reap:stopped",
        ),
        (
            "running and claimed: running weighs more",
            Environment { claim: Some("j".into()), ..vm(EnvironmentState::Running) },
            old,
            "stay:running",
        ),
    ] {
        assert_eq!(name(decide(&environment, first_seen)), expected, "{what}");
    }
}

#[test]
fn only_harmless_names_are_passed_to_a_program() {
    for (id, is_ok) in [
        ("runner-1", true),
        ("ns/pod-1", true),
        ("sha256:0a", true),
        ("", false),
        ("-rf", false),
        ("a b", false),
        ("a$b", false),
        ("a\nb", false),
        ("a'b", false),
        ("ä", false),
        ("../x", false),
        ("a/../b", false),
        ("a/./b", false),
        ("a//b", false),
        ("a/", false),
        ("a..b", true),
    ] {
        assert_eq!(is_plain(id), is_ok, "{id:?}");
    }
    assert!(!is_plain(&"a".repeat(513)));
}

#[test]
fn a_kept_part_keeps_the_whole() {
    let pod = Environment {
        members: vec![("db".into(), vec![("keep".into(), "yes".into())])],
        created: Some(SystemTime::UNIX_EPOCH),
        since: Some(SystemTime::UNIX_EPOCH),
        ..Environment::new("pod-1", "runner-pod", EnvironmentState::Stopped)
    };
    for (keep, stays) in [("db", true), ("label:keep=yes", true), ("other", false), ("label:keep=no", false)]
    {
        let rule = ReapRule { matches: patterns(&["runner-*"]), keep: patterns(&[keep]), ..rule() };
        let input = ReapInput {
            rule: &rule,
            runners: &HashMap::new(),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
        };
        let verdict = input.decide(&pod, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(matches!(verdict, ReapDecision::Stay(Stays::Kept(_))), stays, "{verdict:?}");
        assert_eq!(matches!(verdict, ReapDecision::Reap(_)), !stays, "{verdict:?}");
    }
}

proptest! {
    /// Whatever its other properties, an environment that is not positively stopped or never started is kept.
    #[test]
    fn only_two_states_are_ever_reaped(which in 0usize..5, age in 0u64..1_000_000, since in proptest::option::of(0u64..900_000), ending: bool, claimed: bool) {
        let states: [EnvironmentState; 5] =
            [EnvironmentState::Running, EnvironmentState::Stopped, EnvironmentState::NeverStarted, EnvironmentState::Terminated, EnvironmentState::Unknown("x".into())];
        let state = states[which].clone();
        let environment = Environment {
            since: since.map(at),
            is_ending: ending,
            claim: claimed.then(|| "j".into()),
            ..Environment::new("vm-1", "vm-1", state.clone())
        };
        if let Some(ReapDecision::Reap(reason)) = decide(&environment, age.min(900_000)) {
            prop_assert!(!ending && !claimed);
            prop_assert_eq!(reason == ReapReason::Stopped, state == EnvironmentState::Stopped);
            prop_assert_eq!(reason == ReapReason::NeverStarted, state == EnvironmentState::NeverStarted);
            prop_assert!(since.unwrap_or(age) >= 2 * HOUR);
        }
    }
}
