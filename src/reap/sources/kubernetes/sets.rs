//! How many ephemeral runners their sets want, and of which generation.
//!
//! A set counts as its own the runners that are neither ending nor finished. Those above the wanted number are surplus, of the runners
//! without a job: first ended and waiting ones, then running ones, each the oldest first. The sets of one scale set are its generations;
//! the one that was made last is the current one.

use super::super::time;
use super::shapes::{self, owner, text, uint};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

/// The label by which a set, and in some releases a runner, names the specification that it was made from.
const SPEC_HASH: &str = "/metadata/annotations/actions.github.com~1runner-spec-hash";

/// Phases in which a runner is over, and no set counts it.
const FINISHED: [&str; 2] = ["Succeeded", "Outdated"];

/// A set's judgement of one of its runners.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// It has no set.
    NoSet,
    /// It needs this one, or that is unknown; why.
    Needed(String),
    /// There are more than it wants, and this is one of those.
    Surplus,
}

/// The sets of a cluster with their runners.
pub(super) struct Sets<'a> {
    sets: HashMap<&'a str, Set<'a>>,
    surplus: HashSet<&'a str>,
    /// Whether all of them were listed, so that a set which is not among them is gone.
    is_whole: bool,
}

struct Set<'a> {
    wants: u64,
    has: u64,
    scale_set: Option<String>,
    created: Option<SystemTime>,
    hash: &'a str,
    is_ending: bool,
}

impl<'a> Sets<'a> {
    /// `None` when the sets cannot be listed.
    pub(super) fn new(runners: &[&'a Value], listed: Option<&'a [Value]>) -> Self {
        let sets = listed.unwrap_or_default();
        let mut of_set: HashMap<&str, Vec<&'a Value>> = HashMap::new();
        for runner in runners {
            if let Some(owner) = owner(runner) {
                of_set.entry(text(owner, "/uid")).or_default().push(runner);
            }
        }
        let mut all = Self { sets: HashMap::new(), surplus: HashSet::new(), is_whole: listed.is_some() };
        for set in sets {
            let Some(wants) = set.pointer("/spec/replicas").map_or(Some(0), Value::as_u64) else { continue };
            let uid = text(set, "/metadata/uid");
            let own = of_set.get(uid).map(Vec::as_slice).unwrap_or_default();
            let counted: Vec<&Value> = own.iter().copied().filter(|runner| is_counted(runner)).collect();
            let has = counted.len() as u64;
            let mut jobless: Vec<&Value> =
                counted.into_iter().filter(|runner| shapes::job(runner).is_none()).collect();
            jobless.sort_by_key(|runner| {
                (rank(runner), text(runner, "/metadata/creationTimestamp"), text(runner, "/metadata/name"))
            });
            let surplus = usize::try_from(has.saturating_sub(wants)).unwrap_or_default();
            all.surplus.extend(jobless.into_iter().take(surplus).map(|runner| text(runner, "/metadata/uid")));
            all.sets.insert(
                uid,
                Set {
                    wants,
                    has,
                    scale_set: scale_set(set, own),
                    created: time(text(set, "/metadata/creationTimestamp")),
                    hash: text(set, SPEC_HASH),
                    is_ending: !text(set, "/metadata/deletionTimestamp").is_empty(),
                },
            );
        }
        all
    }

    /// Whether the set of this runner needs it.
    pub(super) fn want(&self, runner: &Value) -> Want {
        let Some(owner) = owner(runner) else { return Want::NoSet };
        let name = text(owner, "/name");
        let Some(set) = self.sets.get(text(owner, "/uid")) else {
            // A set that is gone wants nothing, and gives a runner that is over no other pod.
            if self.is_whole && (is_finished(runner) || rank(runner) == DEAD) {
                return Want::Surplus;
            }
            return Want::Needed(format!("how many runners its set {name} wants is not known"));
        };
        if self.surplus.contains(text(runner, "/metadata/uid")) || is_finished(runner) {
            return Want::Surplus;
        }
        Want::Needed(format!("its set {name} wants {} runners and has {}", set.wants, set.has))
    }

    /// Whether this runner is of an older generation than its scale set's current one.
    pub(super) fn is_stale(&self, runner: &Value) -> bool {
        let own = owner(runner).and_then(|owner| self.sets.get(text(owner, "/uid")));
        let Some(own) = own.filter(|set| set.scale_set.is_some()) else { return false };
        let is_current = |set: &&Set<'_>| set.scale_set == own.scale_set && !set.is_ending;
        let generations: Option<Vec<SystemTime>> =
            self.sets.values().filter(is_current).map(|set| set.created).collect();
        // One generation without a time, and none is known to be the last.
        let Some(newest) = generations.and_then(|times| times.into_iter().max()) else { return false };
        let is_older = own.created.is_some_and(|created| created < newest);
        let hash = text(runner, SPEC_HASH);
        is_older || !hash.is_empty() && !own.hash.is_empty() && hash != own.hash
    }
}

pub(super) fn is_finished(runner: &Value) -> bool {
    FINISHED.contains(&text(runner, "/status/phase"))
}

fn is_counted(runner: &Value) -> bool {
    text(runner, "/metadata/deletionTimestamp").is_empty() && !is_finished(runner)
}

const DEAD: u8 = 0;

/// The cost of losing it: nothing for a dead one, a warm start for a running one.
fn rank(runner: &Value) -> u8 {
    match text(runner, "/status/phase") {
        "Failed" => DEAD,
        "" | "Pending" => 1,
        _ => 2,
    }
}

/// What all generations of a scale set have in common.
fn scale_set(set: &Value, runners: &[&Value]) -> Option<String> {
    if let Some(owner) = owner(set) {
        return Some(format!("owner {}", text(owner, "/uid")));
    }
    let label = text(set, "/metadata/labels/actions.github.com~1scale-set-name");
    if !label.is_empty() {
        let namespace = text(set, "/metadata/labels/actions.github.com~1scale-set-namespace");
        return Some(format!("label {namespace}/{label}"));
    }
    let number = |spec: &Value| {
        let number = uint(spec, "/runnerScaleSetId");
        (number > 0).then(|| format!("number {} {number}", text(spec, "/githubConfigUrl")))
    };
    let of_set = set.pointer("/spec/ephemeralRunnerSpec").and_then(number);
    of_set.or_else(|| runners.first().and_then(|runner| runner.get("spec")).and_then(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(uid: &str, wants: u64, created: &str, more: &Value) -> Value {
        let mut metadata = json!({"uid": uid, "name": uid, "creationTimestamp": created});
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": metadata, "spec": {"replicas": wants}})
    }

    fn runner(name: &str, set: &str, created: &str, status: &Value) -> Value {
        json!({"metadata": {"name": name, "uid": name, "creationTimestamp": created,
            "ownerReferences": [{"kind": "EphemeralRunnerSet", "name": set, "uid": set, "controller": true}]},
            "spec": {"runnerScaleSetId": 7, "githubConfigUrl": "https://github.com/acme"}, "status": status})
    }

    #[test]
    fn as_many_are_surplus_as_there_are_too_many_and_the_least_loss_first() {
        let running = json!({"phase": "Running"});
        let all = [
            runner("old", "s", "2026-01-01T00:00:00Z", &running),
            runner("new", "s", "2026-01-02T00:00:00Z", &running),
            runner("works", "s", "2025-01-01T00:00:00Z", &json!({"phase": "Running", "jobRequestId": 4})),
            runner("pending", "s", "2026-01-03T00:00:00Z", &json!({"phase": "Pending"})),
            runner("failed", "s", "2026-01-04T00:00:00Z", &json!({"phase": "Failed"})),
            runner("over", "s", "2026-01-04T00:00:00Z", &json!({"phase": "Succeeded"})),
        ];
        let runners: Vec<&Value> = all.iter().collect();
        for (wants, expected) in [
            (5, vec!["over"]),
            (4, vec!["failed", "over"]),
            (3, vec!["pending", "failed", "over"]),
            (2, vec!["old", "pending", "failed", "over"]),
            (0, vec!["old", "new", "pending", "failed", "over"]),
        ] {
            let sets = [set("s", wants, "2026-01-01T00:00:00Z", &json!({}))];
            let found = Sets::new(&runners, Some(&sets[..]));
            let surplus: Vec<&str> = all
                .iter()
                .filter(|runner| found.want(runner) == Want::Surplus)
                .map(|runner| text(runner, "/metadata/name"))
                .collect();
            assert_eq!(surplus, expected, "{wants}");
        }
        let gone = Sets::new(&runners, Some(&[]));
        let is_left = |runner: &&Value| gone.want(runner) == Want::Surplus;
        let left: Vec<&str> =
            all.iter().filter(is_left).map(|runner| text(runner, "/metadata/name")).collect();
        assert_eq!(left, ["failed", "over"], "their set is gone");
        let none = Sets::new(&runners, None);
        assert!(
            all.iter().all(|runner| matches!(none.want(runner), Want::Needed(_))),
            "sets cannot be listed"
        );
    }

    #[test]
    fn generations() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let of = |uid: &str| json!({"ownerReferences": [{"kind": "AutoscalingRunnerSet", "uid": uid, "controller": true}]});
        let labelled = json!({"labels": {"actions.github.com/scale-set-name": "x", "actions.github.com/scale-set-namespace": "n"}});
        let stale = |sets: &[Value]| {
            let all = [runner("a", "s1", early, &json!({})), runner("b", "s2", early, &json!({}))];
            let runners: Vec<&Value> = all.iter().collect();
            let found = Sets::new(&runners, Some(sets));
            (found.is_stale(&all[0]), found.is_stale(&all[1]))
        };
        let pair = |one: &Value, other: &Value| [set("s1", 1, early, one), set("s2", 1, late, other)];
        assert_eq!(stale(&pair(&of("x"), &of("x"))), (true, false), "by their owner");
        assert_eq!(stale(&pair(&labelled, &labelled)), (true, false), "by their labels");
        assert_eq!(stale(&pair(&json!({}), &json!({}))), (true, false), "by the number of their runners");
        assert_eq!(stale(&pair(&of("x"), &of("y"))), (false, false), "two scale sets");
        let same = [set("s1", 1, early, &of("x")), set("s2", 1, early, &of("x"))];
        assert_eq!(stale(&same), (false, false), "made in the same second");
        let untimed = [set("s1", 1, early, &of("x")), set("s2", 1, "", &of("x"))];
        assert_eq!(stale(&untimed), (false, false), "one without a time");
        let mut ending = pair(&of("x"), &of("x"));
        ending[1]["metadata"]["deletionTimestamp"] = late.into();
        assert_eq!(stale(&ending), (false, false), "the newer one is being deleted");
        let mut older = runner("a", "s1", early, &json!({}));
        older["metadata"]["annotations"] = json!({"actions.github.com/runner-spec-hash": "aa"});
        let hashed = json!({"annotations": {"actions.github.com/runner-spec-hash": "bb"}});
        let sets = [set("s1", 1, early, &hashed)];
        assert!(
            Sets::new(&[&older], Some(&sets[..])).is_stale(&older),
            "its set was given another specification"
        );
        older["metadata"]["annotations"] = json!({"actions.github.com/runner-spec-hash": "bb"});
        assert!(!Sets::new(&[&older], Some(&sets[..])).is_stale(&older));
    }
}
