//! Output of tools about machines, containers and pods. Their owners choose names and labels, and a tool may change its wording.

use crate::model::reap::{Environment, EnvironmentState};
use crate::reap::sources::{SourceError, command, containers, kubernetes, libvirt, lima, tart};
use serde_json::{Value, json};
use std::time::SystemTime;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000)
}

/// Whether the source gives no reason to keep it.
fn may_go(environment: &Environment) -> bool {
    let is_at_rest = matches!(environment.state, EnvironmentState::Stopped | EnvironmentState::NeverStarted);
    is_at_rest && environment.claim.is_none() && environment.doubt.is_none() && !environment.is_ending
}

/// No environment in a changed answer may be deleted.
#[track_caller]
fn stays(listed: Result<Vec<Environment>, SourceError>) {
    if let Ok(listed) = listed {
        let going = listed.iter().find(|environment| may_go(environment));
        assert!(going.is_none(), "{going:?}");
    }
}

fn with(value: &Value, key: &str, other: impl Into<Value>) -> Value {
    let mut value = value.clone();
    if let Value::Object(fields) = &mut value {
        fields.insert(key.to_owned(), other.into());
    }
    value
}

fn without(value: &Value, key: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().and_then(|fields| fields.remove(key));
    value
}

fn objects(bytes: &[u8]) -> impl Iterator<Item = Value> {
    let values: Vec<Value> = serde_json::from_slice(bytes).unwrap_or_default();
    values.into_iter().filter(Value::is_object)
}

/// `tart list`: a machine counts as stopped only if all three fields agree.
pub fn tart(bytes: &[u8]) {
    if tart::listed(bytes, now()).is_err() {
        return;
    }
    for machine in objects(bytes) {
        for key in ["Source", "Running", "State"] {
            for changed in [without(&machine, key), with(&machine, key, "suspended")] {
                stays(tart::listed(json!([changed]).to_string().as_bytes(), now()));
            }
        }
        stays(tart::listed(json!([with(&machine, "Running", true)]).to_string().as_bytes(), now()));
    }
}

/// `limactl list`: an instance without a status, with errors, or protected is kept.
pub fn lima(bytes: &[u8]) {
    if lima::listed(bytes).is_err() {
        return;
    }
    let instances = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    for instance in instances.flatten().filter(Value::is_object) {
        for changed in [
            without(&instance, "status"),
            with(&instance, "status", "stopped"),
            with(&instance, "errors", json!(["it broke"])),
            with(&instance, "protected", true),
        ] {
            stays(lima::listed(changed.to_string().as_bytes()));
        }
    }
}

/// `COMMAND list`: an incomplete list is rejected, and so is one with an unknown word; an environment with any doubtful field is kept.
pub fn environment_list(bytes: &[u8]) {
    if command::listed(bytes).is_err() {
        return;
    }
    let Ok(document @ Value::Object(_)) = serde_json::from_slice(bytes) else { return };
    for changed in [
        without(&document, "complete"),
        with(&document, "complete", false),
        with(&document, "schema", 2),
        without(&document, "environments"),
    ] {
        assert!(command::listed(changed.to_string().as_bytes()).is_err(), "{changed}");
    }
    let listed = |item: Value| {
        let changed = with(&document, "environments", json!([item]));
        command::listed(changed.to_string().as_bytes())
    };
    let items = document["environments"].as_array().into_iter().flatten();
    for item in items.filter(|item| item.is_object()) {
        for key in ["job", "claim"] {
            stays(listed(with(item, key, "acme/app")));
        }
        stays(listed(with(item, "state", "Stopped")));
        stays(listed(with(item, "since", "yesterday")));
        assert!(listed(with(item, "stat", "running")).is_err());
        assert!(listed(without(item, "id")).is_err() && listed(without(item, "state")).is_err());
    }
}

/// `docker inspect`: status, flag and times have to agree; a job's label and use as a container's image protect. `docker ps`: only ids.
pub fn containers(bytes: &[u8]) {
    if let Ok(ids) = containers::ids("ps", bytes) {
        assert!(ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b':')));
    }
    let Ok(all) = containers::examined(bytes, b"[]") else { return };
    assert!(all.iter().all(|environment| environment.holds.len() <= bytes.len()));
    for container in objects(bytes) {
        let listed =
            |container: &Value| containers::examined(json!([container]).to_string().as_bytes(), b"[]");
        let of_state = |state: Value| listed(&with(&container, "State", state));
        let state = &container["State"];
        for key in ["Status", "Running"] {
            stays(of_state(without(state, key)));
        }
        stays(of_state(with(state, "Running", true)));
        stays(of_state(with(state, "Status", "removing")));
        for key in ["StartedAt", "FinishedAt"] {
            let listed = of_state(without(state, key)).unwrap_or_default();
            assert!(
                listed.iter().all(|environment| environment.state != EnvironmentState::Stopped),
                "{listed:?}"
            );
        }
        stays(listed(&with(&container, "Config", json!({"Labels": {"disk-guard.job": "acme/app"}}))));
        for policy in ["always", "unless-stopped"] {
            stays(listed(&with(&container, "HostConfig", json!({"RestartPolicy": {"Name": policy}}))));
        }
        if let Some(image) = container["Image"].as_str() {
            let images = json!([{"Id": image}]).to_string();
            let all = containers::examined(json!([container]).to_string().as_bytes(), images.as_bytes());
            assert!(all.is_ok_and(|all| all.last().is_some_and(|image| !may_go(image))), "it is in use");
        }
    }
    // As images: any id, and images with a name are kept.
    if let Ok(images) = containers::examined(b"[]", bytes) {
        assert!(images.iter().all(|image| image.claim.is_none()));
    }
    for image in objects(bytes) {
        let named = json!([with(&image, "RepoTags", json!(["acme/app:1"]))]).to_string();
        stays(containers::examined(b"[]", named.as_bytes()));
    }
}

/// `kubectl get pods,ephemeralrunners`: a runner that has run never counts as never started; a missing field protects; a deletion uses a
/// plain path of the API.
pub fn pods(bytes: &[u8]) {
    let Ok(all) = kubernetes::listed(bytes) else { return };
    for environment in &all {
        let targets: Vec<Value> = match environment.handle.as_str() {
            "" => Vec::new(),
            handle => {
                let handle: Value = serde_json::from_str(handle).expect("a document of our own");
                handle["targets"].as_array().cloned().expect("a list of our own")
            }
        };
        for target in targets {
            let path = target["path"].as_str().expect("a path of our own");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-.".contains(&byte);
            assert!(path.starts_with("/api") && path.bytes().all(plain) && !path.contains(".."), "{path}");
        }
    }
    let Ok(list @ Value::Object(_)) = serde_json::from_slice(bytes) else { return };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut list = list.clone();
        list["items"].as_array_mut().into_iter().flatten().for_each(change);
        kubernetes::listed(list.to_string().as_bytes())
    };
    let statuses = |item: &mut Value, change: &dyn Fn(&mut Value)| {
        let found = item.pointer_mut("/status/containerStatuses").and_then(Value::as_array_mut);
        found.into_iter().flatten().for_each(change);
    };
    stays(changed(&|item| statuses(item, &|status| *status = with(status, "state", json!({"running": {}})))));
    stays(changed(&|item| statuses(item, &|status| *status = without(status, "state"))));
    stays(changed(&|item| *item = without(item, "status")));
    stays(changed(&|item| *item = without(item, "metadata")));
    let ran = changed(&|item| {
        statuses(item, &|status| *status = with(status, "restartCount", 1));
    });
    let never = |environment: &Environment| environment.state == EnvironmentState::NeverStarted;
    assert!(!ran.unwrap_or_default().iter().any(never), "it has been restarted");
    let paged = with(&list, "metadata", json!({"continue": "more"}));
    assert!(kubernetes::listed(paged.to_string().as_bytes()).is_err());
}

/// `virsh dumpxml` and `vol-dumpxml`: only a plain disk with an absolute path may be deleted, and its name contains no separator.
pub fn domains(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        if let Ok(id) = libvirt::uuid(line, &[]) {
            assert!(id.len() == 36 && id.starts_with(|first: char| first.is_ascii_hexdigit()), "{id}");
        }
    }
    let (disks, sources) = (libvirt::disks(&text), libvirt::sources(&text));
    assert_eq!(disks.is_ok(), sources.is_ok());
    let (Ok(disks), Ok(sources)) = (disks, sources) else { return };
    for disk in &disks {
        assert!(sources.contains(&disk.path), "another domain's use of it would not be seen");
        if disk.is_disk {
            assert!(disk.path.starts_with('/'));
            assert!(!disk.target.is_empty() && disk.target.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
    }
    if let Ok(Some(below)) = libvirt::backing(&text) {
        assert!(!below.trim().is_empty());
    }
}
