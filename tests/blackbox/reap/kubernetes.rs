//! Runner pods and ephemeral runners, listed and deleted by a `kubectl` that replays a cluster.

use super::{KUBECTL, Tool, outcomes, three_hours_pass};
use crate::kit::Host;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

fn runner_object(name: &str, set: &str, more: Value) -> Value {
    json!({"apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner",
        "metadata": {"name": name, "namespace": "ci", "uid": format!("u-{name}"), "resourceVersion": "5",
            "creationTimestamp": "2020-01-01T00:00:00Z",
            "ownerReferences": [{"kind": "EphemeralRunnerSet", "name": set, "uid": set, "controller": true}]},
        "status": more})
}

fn pod_object(name: &str, container: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "ci", "uid": format!("p-{name}"), "resourceVersion": "77",
            "creationTimestamp": "2020-01-01T00:00:00Z",
            "ownerReferences": [{"kind": "EphemeralRunner", "name": name, "uid": format!("u-{name}"), "controller": true}]},
        "spec": {"containers": [{"name": "runner"}]},
        "status": {"phase": "Pending", "containerStatuses": [container]}})
}

#[test]
fn only_the_runner_pod_that_never_started_is_deleted() {
    let mut host = Host::new();
    let kubectl = Tool::new(&host, "kubectl", &KUBECTL);
    let snapshot = host.base.join("runners.json");
    let more = format!("busy_snapshot = {:?}", snapshot.display().to_string());
    kubectl.entry(&mut host, "pods", "kubernetes", &more);
    let waiting = json!({"name": "runner", "state": {"waiting": {"reason": "ImagePullBackOff"}}, "started": false, "restartCount": 0, "lastState": {}});
    let running = json!({"name": "runner", "state": {"running": {}}, "started": true});
    let restarted = json!({"name": "runner", "state": {"waiting": {}}, "started": false, "restartCount": 1, "lastState": {"terminated": {}}});
    for (name, set, container, status) in [
        ("vm-1", "set-0", &waiting, json!({"phase": "Pending"})),
        ("vm-busy", "set-0", &waiting, json!({"phase": "Pending"})),
        ("vm-job", "set-0", &waiting, json!({"phase": "Pending", "jobRequestId": 7})),
        ("vm-running", "set-0", &running, json!({"phase": "Running"})),
        ("vm-restarted", "set-0", &restarted, json!({"phase": "Running"})),
        ("vm-wanted", "set-1", &waiting, json!({"phase": "Pending"})),
    ] {
        kubectl.put(name, runner_object(name, set, status));
        kubectl.put(&format!("{name}~pod"), pod_object(name, container.clone()));
    }
    for (set, replicas) in [("set-0", 0), ("set-1", 1)] {
        kubectl.put(&format!("{set}~set"), json!({"metadata": {"uid": set}, "spec": {"replicas": replicas}}));
    }
    let run = host.guard(&["reap", "--json"]).expect_code(&[1]);
    assert!(
        run.stdout().contains("runners.json cannot be used") && outcomes(&run).is_empty(),
        "{}",
        run.stdout()
    );
    let busy = json!({"total_count": 1, "runners": [{"id": 1, "name": "vm-busy", "status": "offline", "busy": true}]});
    std::fs::write(&snapshot, busy.to_string()).expect("a file");
    let expected = |outcome: &str| {
        vec![
            format!("vm-1 never-started {outcome}"),
            "vm-busy claimed kept".into(),
            "vm-job claimed kept".into(),
            "vm-restarted terminated kept".into(),
            "vm-running unproven kept".into(),
            "vm-wanted claimed kept".into(),
        ]
    };
    // It starts between the plan and its delete: the API server itself refuses, for the pod has another version.
    kubectl.misbehave("[ $verb = delete ] && { echo 'Conflict: the object has been modified' >&2; exit 1; }");
    let run = host.guard(&["reap", "--json"]).expect_code(&[1]);
    assert_eq!(outcomes(&run), expected("failed"));
    kubectl.misbehave("[ $verb = list ] && { echo '{\"kind\":\"List\",\"metadata\":{\"continue\":\"abc\"},\"items\":[]}'; exit 0; }");
    let run = host.guard(&["reap", "--json"]).expect_code(&[1]);
    assert!(run.stdout().contains("more is left"), "{}", run.stdout());
    kubectl.misbehave("");
    let _ = std::fs::remove_file(kubectl.dir.join("bodies"));
    kubectl.calls();
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(outcomes(&run), expected("reaped"));
    let deletes: Vec<String> =
        kubectl.calls().into_iter().filter(|call| call.starts_with("delete")).collect();
    assert_eq!(
        deletes,
        [
            "delete --raw /api/v1/namespaces/ci/pods/vm-1 -f -",
            "delete --raw /apis/actions.github.com/v1alpha1/namespaces/ci/ephemeralrunners/vm-1 -f -",
        ]
    );
    let bodies = std::fs::read_to_string(kubectl.dir.join("bodies")).expect("they were read");
    let bodies: Vec<Value> = bodies.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(bodies[0]["preconditions"], json!({"uid": "p-vm-1", "resourceVersion": "77"}));
    assert_eq!(bodies[1]["preconditions"], json!({"uid": "u-vm-1"}));
}

/// A cluster of warm runners that nobody wants, and of some that are wanted or seem so.
fn warm_cluster(more: &str) -> (Host, Tool) {
    let mut host = Host::new();
    let kubectl = Tool::new(&host, "kubectl", &KUBECTL);
    let snapshot = host.base.join("runners.json");
    let more = format!("busy_snapshot = {:?}\nmax_age = \"100d\"\n{more}", snapshot.display().to_string());
    kubectl.entry(&mut host, "pods", "kubernetes", &more);
    let running = json!({"name": "runner", "state": {"running": {}}, "started": true, "restartCount": 0, "lastState": {}});
    for (name, set) in [
        ("vm-absent", "set-0"),
        ("vm-busy", "set-0"),
        ("vm-idle", "set-0"),
        ("vm-mute", "set-0"),
        ("vm-stale", "set-1"),
        ("vm-wanted", "set-2"),
        ("vm-works", "set-0"),
        ("vm-young", "set-0"),
    ] {
        let mut runner = runner_object(name, set, json!({"phase": "Running", "ready": true}));
        if name == "vm-young" {
            runner["metadata"]["creationTimestamp"] = "2999-01-01T00:00:00Z".into();
        }
        kubectl.put(name, runner);
        kubectl.put(&format!("{name}~pod"), pod_object(name, running.clone()));
    }
    for (set, replicas, created) in [
        ("set-0", 0, "2020-01-01T00:00:00Z"),
        ("set-1", 1, "2020-01-01T00:00:00Z"),
        ("set-2", 1, "2020-01-02T00:00:00Z"),
    ] {
        let owner = json!([{"uid": if set == "set-0" { "other" } else { "scale-set" }, "controller": true}]);
        let object = json!({"metadata": {"uid": set, "creationTimestamp": created, "ownerReferences": owner}, "spec": {"replicas": replicas}});
        kubectl.put(&format!("{set}~set"), object);
    }
    // As `gh api --paginate` leaves it: one document a page.
    let runner = |(id, name): (usize, &str)| json!({"id": id, "name": name, "status": "online", "busy": name == "vm-busy"});
    let names = ["vm-busy", "vm-idle", "vm-mute", "vm-stale", "vm-wanted", "vm-works", "vm-young"];
    let all: Vec<Value> = names.into_iter().enumerate().map(runner).collect();
    let page = |part: &[Value]| json!({"total_count": names.len(), "runners": part}).to_string();
    std::fs::write(&snapshot, page(&all[..3]) + &page(&all[3..])).expect("a file");
    (host, kubectl)
}

/// What their pods answer when they are asked for their processes, and what their logs say.
const PODS: &str = r#"case $1 in
exec) case $4 in vm-works) echo "disk-guard 9 1" ;; vm-mute) echo "no shell" >&2; exit 126 ;; *) echo "disk-guard 7 0" ;; esac; exit ;;
logs) [ "$4" = vm-wanted ] && echo "INFO Runner] Skipping message Job. Job message not found 'e420'."; echo "Listening for Jobs"; exit ;;
esac
"#;

#[test]
fn a_warm_runner_is_deleted_only_when_github_lists_it_idle_and_its_pod_has_no_worker() {
    let (host, kubectl) = warm_cluster("");
    kubectl.misbehave(PODS);
    let expected = |outcome: &str| {
        vec![
            "vm-absent unproven kept".to_owned(),
            "vm-busy claimed kept".into(),
            format!("vm-idle idle {outcome}"),
            "vm-mute unproven kept".into(),
            "vm-stale running kept".into(),
            "vm-wanted running kept".into(),
            "vm-works claimed kept".into(),
            "vm-young young kept".into(),
        ]
    };
    let dry = host.guard(&["reap", "--dry-run", "--json"]).expect_code(&[0]);
    assert_eq!(outcomes(&dry), expected("planned"));
    assert!(dry.stdout().contains("vm-wanted is stale: the last word of its log"), "{}", dry.stdout());
    assert!(!dry.stdout().contains("vm-idle is stale"), "{}", dry.stdout());
    // A Worker begins between the plan and the delete.
    kubectl.calls();
    kubectl.misbehave(&format!(
        "{}{PODS}",
        r#"[ "$1 $4" = "exec vm-idle" ] && [ "$(grep -c '^exec -n ci vm-idle' calls)" -gt 1 ] && { echo "disk-guard 9 1"; exit; }"#.to_owned() + "\n"
    ));
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(outcomes(&run), expected("changed"));
    assert!(run.stdout().contains("a Runner.Worker runs in its pod"), "{}", run.stdout());
    // GitHub gives it a job between the two.
    kubectl.calls();
    kubectl.misbehave(&format!(
        "{}{PODS}",
        "[ $verb = list ] && [ \"$(grep -c 'get pods' calls)\" -gt 1 ] && sed -i 's/\"busy\":false/\"busy\":true/g' ../runners.json\n"
    ));
    let snapshot = host.base.join("runners.json");
    let before = std::fs::read(&snapshot).expect("it is there");
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert!(outcomes(&run).contains(&"vm-idle idle changed".to_owned()), "{:?}", outcomes(&run));
    std::fs::write(&snapshot, before).expect("a file");
    kubectl.misbehave(PODS);
    kubectl.calls();
    let _ = std::fs::remove_file(kubectl.dir.join("bodies"));
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(outcomes(&run), expected("reaped"));
    let calls: Vec<String> = kubectl.calls().into_iter().filter(|call| call.starts_with("delete")).collect();
    assert_eq!(
        calls,
        [
            "delete --raw /apis/actions.github.com/v1alpha1/namespaces/ci/ephemeralrunners/vm-idle -f -",
            "delete --raw /api/v1/namespaces/ci/pods/vm-idle -f -",
        ],
        "its runner first: the controller takes it off GitHub, which refuses while a job runs"
    );
    let bodies = std::fs::read_to_string(kubectl.dir.join("bodies")).expect("they were read");
    let bodies: Vec<Value> = bodies.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(bodies[0]["preconditions"], json!({"uid": "u-vm-idle", "resourceVersion": "5"}));
    assert_eq!(bodies[1]["preconditions"], json!({"uid": "p-vm-idle"}));
    let status = host.status();
    assert_eq!(status.0["reap"][0]["unproven"], 2, "{}", status.0["reap"]);
    // Without GitHub's list, nothing is taken by the pods' word alone.
    let config = std::fs::read_to_string(host.config())
        .expect("it is there")
        .replace("busy_snapshot", "#busy_snapshot");
    std::fs::write(host.config(), config).expect("it can be written");
    kubectl.put("vm-idle", runner_object("vm-idle", "set-0", json!({"phase": "Running"})));
    kubectl.put(
        "vm-idle~pod",
        pod_object("vm-idle", json!({"name": "runner", "state": {"running": {}}, "started": true})),
    );
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert!(outcomes(&run).contains(&"vm-idle unproven kept".to_owned()), "{:?}", outcomes(&run));
}

#[test]
fn runners_of_an_older_generation_are_deleted_where_configured() {
    let (host, kubectl) = warm_cluster("stale_generation = true");
    kubectl.misbehave(PODS);
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    for line in
        ["vm-stale idle reaped", "vm-wanted running kept", "vm-idle idle reaped", "vm-works claimed kept"]
    {
        assert!(outcomes(&run).contains(&line.to_owned()), "{line}: {:?}", outcomes(&run));
    }
}

#[test]
fn a_node_answers_for_its_pods_with_the_exit_codes_of_check() {
    for (code, expected) in [
        (0, "vm-idle idle reaped"),
        (10, "vm-idle claimed kept"),
        (11, "vm-idle unproven kept"),
        (3, "vm-idle unproven kept"),
        (127, "vm-idle unproven kept"),
    ] {
        let (mut host, kubectl) = warm_cluster("");
        kubectl.misbehave("[ $1 = exec ] && { touch asked; exit 1; }\n");
        let check = host.base.join("check.sh");
        let text = format!("#!/bin/sh\necho \"$*\" >>{}/asked\nexit {code}\n", host.base.display());
        std::fs::write(&check, text).expect("a script");
        std::fs::set_permissions(&check, PermissionsExt::from_mode(0o755)).expect("it is ours");
        host.configure(|settings| {
            let words = format!(
                "worker_check = [{:?}, \"{{runner}}\", \"{{namespace}}/{{pod}}\"]\n",
                check.display().to_string()
            );
            settings.extra.push_str(&words);
        });
        let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
        assert!(outcomes(&run).contains(&expected.to_owned()), "{code}: {:?}", outcomes(&run));
        let asked = std::fs::read_to_string(host.base.join("asked")).expect("it was asked");
        assert!(asked.lines().any(|line| line == "vm-idle ci/vm-idle"), "{asked}");
        assert!(!kubectl.dir.join("asked").exists(), "its pod is not asked as well");
    }
}

#[test]
fn ended_pods_and_runners_are_deleted_and_those_that_may_work_are_kept() {
    let mut host = Host::new();
    let kubectl = Tool::new(&host, "kubectl", &KUBECTL);
    kubectl.entry(&mut host, "pods", "kubernetes", "");
    let alone = |name: &str, status: Value| {
        let mut pod = pod_object(name, json!({}));
        pod["metadata"]["ownerReferences"] = json!([]);
        pod["status"] = status;
        kubectl.put(&format!("{name}~pod"), pod);
    };
    let runs = json!([{"name": "runner", "state": {"running": {}}, "started": true}]);
    alone("vm-evicted", json!({"phase": "Failed", "reason": "Evicted"}));
    alone("vm-live", json!({"phase": "Running", "containerStatuses": runs}));
    alone("vm-lost", json!({"phase": "Unknown", "containerStatuses": runs}));
    alone("vm-unscheduled", json!({"phase": "Pending"}));
    for (name, set, phase) in [
        ("vm-failed", "set-0", "Failed"),
        ("vm-failed-wanted", "set-1", "Failed"),
        ("vm-stuck", "set-0", "Running"),
    ] {
        kubectl.put(name, runner_object(name, set, json!({"phase": phase})));
    }
    let job = json!({"phase": "Failed", "jobRequestId": 7});
    kubectl.put("vm-failed-job", runner_object("vm-failed-job", "set-0", job));
    for (set, replicas) in [("set-0", 0), ("set-1", 1)] {
        kubectl.put(&format!("{set}~set"), json!({"metadata": {"uid": set}, "spec": {"replicas": replicas}}));
    }
    host.guard(&["reap"]).expect_code(&[0]);
    three_hours_pass(&host, "pods");
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(
        outcomes(&run),
        [
            "vm-evicted stopped reaped",
            "vm-failed stopped reaped",
            "vm-failed-job claimed kept",
            "vm-failed-wanted claimed kept",
            "vm-live running kept",
            "vm-lost unknown kept",
            "vm-stuck unknown kept",
        ]
    );
}
