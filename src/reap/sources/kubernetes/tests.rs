use super::*;
use serde_json::json;

fn status(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_row_of_a_runners_container() {
    for (what, text, expected) in [
        (
            "running and started",
            r#"{"state":{"running":{}},"started":true,"restartCount":0,"lastState":{}}"#,
            "running",
        ),
        ("running, not started yet", r#"{"state":{"running":{}},"started":false}"#, "running"),
        ("terminated", r#"{"state":{"terminated":{"exitCode":0}},"started":false}"#, "terminated"),
        (
            "terminated, then restarted",
            r#"{"state":{"running":{}},"started":true,"restartCount":1,"lastState":{"terminated":{}}}"#,
            "running",
        ),
        (
            "terminated, waiting for its restart",
            r#"{"state":{"waiting":{"reason":"CrashLoopBackOff"}},"started":false,"restartCount":1,"lastState":{"terminated":{}}}"#,
            "terminated",
        ),
        (
            "restarted, its last state forgotten",
            r#"{"state":{"waiting":{}},"started":false,"restartCount":2,"lastState":{}}"#,
            "terminated",
        ),
        (
            "waiting",
            r#"{"state":{"waiting":{"reason":"ImagePullBackOff"}},"started":false,"restartCount":0,"lastState":{}}"#,
            "never-started",
        ),
        ("waiting, nothing else is told", r#"{"state":{"waiting":{}}}"#, "never-started"),
        ("waiting and started at once", r#"{"state":{"waiting":{}},"started":true}"#, "running"),
        ("two states", r#"{"state":{"waiting":{},"running":{}},"started":false}"#, "unknown"),
        ("no state", r#"{"started":false}"#, "unknown"),
        ("an empty state", r#"{"state":{},"started":false}"#, "unknown"),
        ("a state of the future", r#"{"state":{"hibernated":{}},"started":false}"#, "unknown"),
        ("a shape of the future", r#"{"state":{"waiting":{}},"started":"no"}"#, "unknown"),
        ("restarts that are no number", r#"{"state":{"waiting":{}},"restartCount":"0"}"#, "unknown"),
        ("a last state that is no object", r#"{"state":{"waiting":{}},"lastState":"x"}"#, "terminated"),
    ] {
        assert_eq!(shapes::container_state(&status(text)).as_str(), expected, "{what}");
    }
}

fn pod(name: &str, containers: Value, status: Value, owner: Option<(&str, &str)>) -> Value {
    let owners: Vec<Value> = owner
        .into_iter()
        .map(|(kind, uid)| json!({"kind": kind, "name": uid, "uid": uid, "controller": true}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "ci", "uid": format!("{name}-uid"), "resourceVersion": "7",
            "creationTimestamp": "2026-03-04T10:00:00Z", "ownerReferences": owners},
        "spec": {"containers": containers}, "status": status,
    })
}

#[test]
fn the_runners_container_is_found_or_it_is_not() {
    let waiting = |name: &str| json!({"name": name, "state": {"waiting": {}}, "started": false});
    for (what, containers, statuses, expected) in [
        ("one container", json!([{"name": "x"}]), json!([waiting("x")]), "never-started"),
        (
            "the runner's among others",
            json!([{"name": "dind"}, {"name": "runner"}]),
            json!([{"name": "dind", "state": {"running": {}}}, waiting("runner")]),
            "never-started",
        ),
        (
            "two strangers",
            json!([{"name": "a"}, {"name": "b"}]),
            json!([waiting("a"), waiting("b")]),
            "unknown",
        ),
        (
            "no container status, and no phase that says why",
            json!([{"name": "runner"}]),
            json!([]),
            "unknown",
        ),
        (
            "the status of another one only",
            json!([{"name": "runner"}, {"name": "b"}]),
            json!([waiting("b")]),
            "unknown",
        ),
        ("no containers at all", json!([]), json!([]), "unknown"),
    ] {
        let pod = pod("p", containers, json!({"phase": "Running", "containerStatuses": statuses}), None);
        assert_eq!(shapes::pod_state(&pod).as_str(), expected, "{what}");
    }
}

#[test]
fn the_phase_of_a_pod_decides_about_its_containers() {
    let runs = json!([{"name": "runner", "state": {"running": {}}, "started": true}]);
    let waits = json!([{"name": "runner", "state": {"waiting": {}}, "started": false}]);
    let another = json!([{"name": "dind", "state": {"running": {}}}]);
    for (what, status, expected) in [
        ("never given to a node", json!({"phase": "Pending"}), "never-started"),
        ("the same, an empty list", json!({"phase": "Pending", "containerStatuses": []}), "never-started"),
        (
            "pending, and another container runs",
            json!({"phase": "Pending", "containerStatuses": another}),
            "unknown",
        ),
        ("running without a status", json!({"phase": "Running"}), "unknown"),
        ("its node is lost", json!({"phase": "Unknown"}), "unknown"),
        (
            "its node is lost while it waits",
            json!({"phase": "Unknown", "containerStatuses": waits}),
            "unknown",
        ),
        ("a phase of the future", json!({"phase": "Hibernated"}), "unknown"),
        (
            "it waits in a phase of the future",
            json!({"phase": "Hibernated", "containerStatuses": waits}),
            "unknown",
        ),
        ("no phase", json!({}), "unknown"),
        ("it waits, and there is no phase", json!({"containerStatuses": waits}), "unknown"),
        ("it waits", json!({"phase": "Pending", "containerStatuses": waits}), "never-started"),
        ("evicted", json!({"phase": "Failed", "reason": "Evicted"}), "terminated"),
        ("evicted before it began", json!({"phase": "Failed", "containerStatuses": waits}), "terminated"),
        ("evicted, and a container runs", json!({"phase": "Failed", "containerStatuses": runs}), "unknown"),
        ("ended", json!({"phase": "Succeeded"}), "terminated"),
    ] {
        let pod = pod("p", json!([{"name": "dind"}, {"name": "runner"}]), status, None);
        assert_eq!(shapes::pod_state(&pod).as_str(), expected, "{what}");
    }
}

fn runner(name: &str, status: Value, set: Option<&str>) -> Value {
    let owners: Vec<Value> = set
        .into_iter()
        .map(|set| json!({"kind": "EphemeralRunnerSet", "name": set, "uid": set, "controller": true}))
        .collect();
    json!({
        "apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner",
        "metadata": {"name": name, "namespace": "ci", "uid": name, "resourceVersion": "9",
            "creationTimestamp": "2026-03-04T10:00:00Z", "ownerReferences": owners},
        "status": status,
    })
}

#[test]
fn the_claimant_of_an_ephemeral_runner_is_recognised() {
    let waiting = json!({"phase": "Pending", "containerStatuses": [{"name": "runner", "state": {"waiting": {}}, "started": false}]});
    let set = |replicas: u64| Some(vec![json!({"metadata": {"uid": "set"}, "spec": {"replicas": replicas}})]);
    for (what, status, sets, state, is_claimed) in [
        ("surplus", json!({"phase": "Pending"}), set(0), "never-started", false),
        ("wanted", json!({"phase": "Pending"}), set(1), "never-started", true),
        ("sets cannot be listed", json!({"phase": "Pending"}), None, "never-started", true),
        ("its set is gone", json!({"phase": "Pending"}), Some(vec![]), "never-started", true),
        (
            "it has a job",
            json!({"phase": "Pending", "jobRequestId": 4711, "jobRepositoryName": "acme/app"}),
            set(0),
            "never-started",
            true,
        ),
        ("the phase says otherwise", json!({"phase": "Running"}), set(0), "unknown", false),
        ("no phase yet", json!({}), set(0), "never-started", false),
    ] {
        let runner = runner("r1", status, Some("set"));
        let pod = pod("r1", json!([{"name": "runner"}]), waiting.clone(), Some(("EphemeralRunner", "r1")));
        let found =
            ephemeral(&runner, &[&pod], &Sets::new(&[&runner], sets.as_deref()), Knowledge::default());
        assert_eq!((found.state.as_str(), found.claim.is_some()), (state, is_claimed), "{what}: {found:?}");
    }
}

#[test]
fn a_runner_without_a_pod_is_over_by_its_phase() {
    let set = |replicas: u64| Some(vec![json!({"metadata": {"uid": "set"}, "spec": {"replicas": replicas}})]);
    for (what, status, sets, state, is_claimed) in [
        (
            "failed for good",
            json!({"phase": "Failed", "reason": "TooManyPodFailures"}),
            set(0),
            "stopped",
            false,
        ),
        ("failed, and its set needs it", json!({"phase": "Failed"}), set(1), "stopped", true),
        ("failed, and sets cannot be listed", json!({"phase": "Failed"}), None, "stopped", true),
        ("failed, and its set is gone", json!({"phase": "Failed"}), Some(vec![]), "stopped", false),
        (
            "failed with a job, and its set is gone",
            json!({"phase": "Failed", "jobRequestId": 7}),
            Some(vec![]),
            "stopped",
            true,
        ),
        ("failed with a job", json!({"phase": "Failed", "jobRequestId": 7}), set(0), "stopped", true),
        ("ended", json!({"phase": "Succeeded"}), set(1), "stopped", false),
        ("its controller makes its pod anew", json!({"phase": "Running"}), set(0), "unknown", false),
        ("its pod is to come", json!({"phase": "Pending"}), set(0), "unknown", false),
    ] {
        let runner = runner("r1", status, Some("set"));
        let found = ephemeral(&runner, &[], &Sets::new(&[&runner], sets.as_deref()), Knowledge::default());
        assert_eq!((found.state.as_str(), found.claim.is_some()), (state, is_claimed), "{what}: {found:?}");
    }
}

/// A warm runner of a set, with what GitHub says.
fn warm(sets: &[Value], github: Option<&Github>, takes_stale: bool, status: Value) -> Environment {
    let runner = runner("r1", status, Some("set"));
    let running = json!({"phase": "Running", "containerStatuses": [{"name": "runner", "state": {"running": {}}, "started": true}]});
    let pod = pod("r1", json!([{"name": "runner"}]), running, Some(("EphemeralRunner", "r1")));
    ephemeral(&runner, &[&pod], &Sets::new(&[&runner], Some(sets)), Knowledge { github, takes_stale })
}

#[test]
fn a_warm_runner_is_idle_only_when_it_is_surplus_and_github_lists_it_idle() {
    let set = |uid: &str, replicas: u64, created: &str| {
        json!({"metadata": {"uid": uid, "creationTimestamp": created,
            "ownerReferences": [{"uid": "scale-set", "controller": true}]}, "spec": {"replicas": replicas}})
    };
    let (old, new) = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
    let (none, one) = (vec![set("set", 0, old)], vec![set("set", 1, old)]);
    let two = vec![set("set", 1, old), set("newer", 1, new)];
    let says = |name: &str, busy: bool| {
        let list = json!({"total_count": 1, "runners": [{"name": name, "status": "online", "busy": busy}]});
        Github::parse(list.to_string().as_bytes()).unwrap()
    };
    let (free, busy, stranger) = (says("r1", false), says("r1", true), says("r2", false));
    let running = || json!({"phase": "Running", "ready": true});
    for (what, sets, github, takes_stale, status, expected) in [
        ("unwanted, and GitHub says free", &none, Some(&free), false, running(), ("idle", false, false)),
        ("unwanted, and GitHub says busy", &none, Some(&busy), false, running(), ("idle", true, false)),
        (
            "unwanted, and GitHub does not know it",
            &none,
            Some(&stranger),
            false,
            running(),
            ("idle", false, true),
        ),
        ("unwanted, and GitHub is not asked", &none, None, false, running(), ("idle", false, true)),
        (
            "unwanted with a job",
            &none,
            Some(&free),
            false,
            json!({"phase": "Running", "jobId": "x"}),
            ("running", true, false),
        ),
        ("wanted", &one, Some(&free), false, running(), ("running", true, false)),
        ("its set is not known", &vec![], Some(&free), false, running(), ("running", true, false)),
        (
            "of an older generation, and nobody asked for those",
            &two,
            Some(&free),
            false,
            running(),
            ("running", true, false),
        ),
        ("of an older generation", &two, Some(&free), true, running(), ("idle", false, false)),
        ("of an older generation, without GitHub's word", &two, None, true, running(), ("idle", false, true)),
        (
            "of an older generation with a job",
            &two,
            Some(&free),
            true,
            json!({"phase": "Running", "jobId": "x"}),
            ("running", true, false),
        ),
    ] {
        let found = warm(sets, github, takes_stale, status);
        let seen = (found.state.as_str(), found.claim.is_some(), found.doubt.is_some());
        assert_eq!(seen, expected, "{what}: {found:?}");
    }
    let handle: Value = serde_json::from_str(&warm(&none, Some(&free), false, running()).handle).unwrap();
    assert_eq!(
        handle["targets"],
        json!([
            {"path": "/apis/actions.github.com/v1alpha1/namespaces/ci/ephemeralrunners/r1", "uid": "r1", "version": "9"},
            {"path": "/api/v1/namespaces/ci/pods/r1", "uid": "r1-uid", "behind": "r1"},
        ]),
        "its runner first, and its pod once that is gone"
    );
}

#[test]
fn pods_that_are_over_without_a_container_wait_to_be_seen_so() {
    let evicted =
        pod("p", json!([{"name": "runner"}]), json!({"phase": "Failed", "reason": "Evicted"}), None);
    let found = pod_alone(&evicted, None, None);
    assert_eq!((found.state, found.since), (EnvironmentState::Stopped, None));
    let ran = json!([{"name": "runner", "state": {"waiting": {}}}, {"name": "b", "state": {"terminated": {"finishedAt": "2026-03-04T11:00:00Z"}}}]);
    let lost =
        pod("p", json!([{"name": "runner"}]), json!({"phase": "Failed", "containerStatuses": ran}), None);
    assert_eq!(pod_alone(&lost, None, None).since, None, "when the other one ended is not known");
}

#[test]
fn pods_by_themselves() {
    let ended = json!({"phase": "Succeeded", "containerStatuses": [{"name": "runner", "state": {"terminated": {"finishedAt": "2026-03-04T11:00:00Z"}}}]});
    let containers = || json!([{"name": "runner"}]);
    let alone = pod_alone(&pod("p", containers(), ended.clone(), None), None, None);
    assert_eq!(
        (alone.state, alone.since),
        (EnvironmentState::Stopped, crate::reap::sources::time("2026-03-04T11:00:00Z"))
    );
    let owned = pod("p", containers(), ended, Some(("ReplicaSet", "x")));
    let owned = pod_alone(&owned, shapes::owner(&owned), None);
    assert_eq!((owned.state, owned.claim.is_some()), (EnvironmentState::Terminated, true));
    let crashed =
        json!({"phase": "Running", "containerStatuses": [{"name": "runner", "state": {"terminated": {}}}]});
    assert_eq!(
        pod_alone(&pod("p", containers(), crashed, None), None, None).state,
        EnvironmentState::Terminated
    );
}

#[test]
fn a_delete_names_the_pods_version_and_the_runners_uid() {
    let pod = pod("r1", json!([]), json!({}), None);
    let runner = runner("r1", json!({}), None);
    let found: Value =
        serde_json::from_str(&handle(&[&pod, &runner], EnvironmentState::NeverStarted)).unwrap();
    assert_eq!(
        found["targets"],
        json!([
            {"path": "/api/v1/namespaces/ci/pods/r1", "uid": "r1-uid", "version": "7"},
            {"path": "/apis/actions.github.com/v1alpha1/namespaces/ci/ephemeralrunners/r1", "uid": "r1"},
        ])
    );
    let mut odd = pod.clone();
    odd["metadata"]["name"] = "../secrets/x".into();
    assert_eq!(handle(&[&odd], EnvironmentState::Stopped), "");
    let mut unversioned = pod;
    unversioned["metadata"]["resourceVersion"] = Value::Null;
    assert_eq!(handle(&[&unversioned], EnvironmentState::Stopped), "");
}
