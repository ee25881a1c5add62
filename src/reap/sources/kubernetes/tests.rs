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
        ("no container status yet", json!([{"name": "runner"}]), json!([]), "unknown"),
        (
            "the status of another one only",
            json!([{"name": "runner"}, {"name": "b"}]),
            json!([waiting("b")]),
            "unknown",
        ),
        ("no containers at all", json!([]), json!([]), "unknown"),
    ] {
        let pod = pod("p", containers, json!({"containerStatuses": statuses}), None);
        assert_eq!(shapes::pod_state(&pod).as_str(), expected, "{what}");
    }
    assert_eq!(
        shapes::pod_state(&pod("p", json!([{"name": "runner"}]), json!({"phase": "Pending"}), None)).as_str(),
        "unknown"
    );
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
fn who_claims_an_ephemeral_runner() {
    let waiting =
        json!({"containerStatuses": [{"name": "runner", "state": {"waiting": {}}, "started": false}]});
    let set = |replicas: u64| vec![json!({"metadata": {"uid": "set"}, "spec": {"replicas": replicas}})];
    for (what, status, sets, state, is_claimed) in [
        ("surplus", json!({"phase": "Pending"}), set(0), "never-started", false),
        ("wanted", json!({"phase": "Pending"}), set(1), "never-started", true),
        ("its set is not known", json!({"phase": "Pending"}), vec![], "never-started", true),
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
        let runners = [&runner];
        let found = ephemeral(&runner, &[&pod], &Wanted::count(&runners, &sets), None);
        assert_eq!((found.state.as_str(), found.claim.is_some()), (state, is_claimed), "{what}: {found:?}");
    }
    let runner = runner("r1", json!({"phase": "Pending"}), None);
    let found = ephemeral(&runner, &[], &Wanted::count(&[&runner], &[]), None);
    assert_eq!((found.state.as_str(), found.claim), ("unknown", None), "without its pod");
}

#[test]
fn pods_by_themselves() {
    let ended = json!({"phase": "Succeeded", "containerStatuses": [{"name": "runner", "state": {"terminated": {"finishedAt": "2026-03-04T11:00:00Z"}}}]});
    let containers = || json!([{"name": "runner"}]);
    let alone = pod_alone(&pod("p", containers(), ended.clone(), None), None, None);
    assert_eq!(
        (alone.state, alone.since),
        (State::Stopped, crate::reap::sources::time("2026-03-04T11:00:00Z"))
    );
    let owned = pod("p", containers(), ended, Some(("ReplicaSet", "x")));
    let owned = pod_alone(&owned, shapes::owner(&owned), None);
    assert_eq!((owned.state, owned.claim.is_some()), (State::Terminated, true));
    let crashed =
        json!({"phase": "Running", "containerStatuses": [{"name": "runner", "state": {"terminated": {}}}]});
    assert_eq!(pod_alone(&pod("p", containers(), crashed, None), None, None).state, State::Terminated);
}

#[test]
fn a_delete_names_the_pods_version_and_the_runners_uid() {
    let pod = pod("r1", json!([]), json!({}), None);
    let runner = runner("r1", json!({}), None);
    let targets: Value = serde_json::from_str(&handle(&[&pod, &runner])).unwrap();
    assert_eq!(
        targets,
        json!([
            {"path": "/api/v1/namespaces/ci/pods/r1", "uid": "r1-uid", "version": "7"},
            {"path": "/apis/actions.github.com/v1alpha1/namespaces/ci/ephemeralrunners/r1", "uid": "r1", "version": null},
        ])
    );
    let mut odd = pod.clone();
    odd["metadata"]["name"] = "../secrets/x".into();
    assert_eq!(handle(&[&odd]), "");
    let mut unversioned = pod;
    unversioned["metadata"]["resourceVersion"] = Value::Null;
    assert_eq!(handle(&[&unversioned]), "");
}

#[test]
fn what_githubs_list_says() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("runners.json");
    let list = |total: u64| {
        json!({"total_count": total, "runners": [
        {"name": "r1", "status": "online", "busy": true},
        {"name": "r2", "status": "online", "busy": false},
        {"name": "r3", "status": "offline", "busy": false},
        {"name": "r4", "status": "offline", "busy": true}]})
    };
    std::fs::write(&path, list(4).to_string()).unwrap();
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    let github = Github::read(&path, written).unwrap();
    for (name, is_claimed) in [("r1", true), ("r2", true), ("r3", false), ("r4", true), ("r5", false)] {
        assert_eq!(github.claim(&[name, ""]).is_some(), is_claimed, "{name}");
    }
    let why =
        |now: SystemTime| Github::read(&path, now).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(why(written + std::time::Duration::from_secs(3600)).contains("written more than 15 min ago"));
    std::fs::write(&path, list(5).to_string()).unwrap();
    assert!(why(written).contains("4 of 5 runners"), "{}", why(written));
    std::fs::write(&path, &list(4).to_string()[..60]).unwrap();
    assert!(why(written).contains("cannot be understood"), "{}", why(written));
    let missing = Github::read(&temp.path().join("none"), written).err().map(|error| error.to_string());
    assert!(missing.unwrap_or_default().contains("No such file"));
}
