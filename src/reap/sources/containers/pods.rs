//! Podman's pods. Each has an infra container, which holds its namespaces and cannot be removed by itself: it represents the pod here, and
//! is removed with it. The containers in the pod are listed separately as well.

use super::{Container, JOB_LABEL, RUNNER_LABEL, SourceError, environment, json};
use crate::model::reap::{Environment, EnvironmentState};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// `podman pod ps --format json`, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pod {
    id: String,
    name: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// The name of each pod, by its id, with its labels.
pub(super) type Names = HashMap<String, (String, Vec<(String, String)>)>;

pub(super) fn names(answer: &[u8]) -> Result<Names, SourceError> {
    let pods: Vec<Pod> = json("pod ps", answer)?;
    let named = |pod: Pod| (pod.id, (pod.name, pod.labels.unwrap_or_default().into_iter().collect()));
    Ok(pods.into_iter().map(named).collect())
}

/// Whether it represents a pod.
pub(super) fn is_infra(container: &Container) -> bool {
    container.is_infra && !container.pod.is_empty()
}

/// A pod, from its infra container and its content.
pub(super) fn pod(infra: Environment, id: &str, members: &[&Environment], names: &Names) -> Environment {
    let (name, labels) = match names.get(id) {
        Some((name, labels)) => (name.clone(), labels.clone()),
        None => (infra.name.clone(), infra.labels.clone()),
    };
    let label = |wanted: &str| labels.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone());
    let runners: BTreeSet<String> = members
        .iter()
        .filter_map(|member| member.runner.clone())
        .chain(infra.runner.clone())
        .chain(label(RUNNER_LABEL))
        .collect();
    let state = state(&infra, members);
    let job = members.iter().find_map(|member| member.job.clone()).or_else(|| label(JOB_LABEL));
    let claim = if !names.contains_key(id) || !is_id(id) {
        Some("what its pod is called is not known".to_owned())
    } else if runners.len() > 1 {
        Some("it belongs to several runners".to_owned())
    } else {
        let of_job = job.as_ref().map(|job| format!("it belongs to the job {job}"));
        let of_member = members.iter().chain([&&infra]).find_map(|part| part.claim.clone());
        of_job.or(of_member)
    };
    let mut marks: Vec<String> =
        members.iter().map(|member| format!("{}={}", member.id, member.mark)).collect();
    marks.sort();
    let parts = || members.iter().copied().chain([&infra]);
    let since = match state {
        EnvironmentState::Stopped => parts().filter_map(|part| part.since.or(part.created)).max(),
        EnvironmentState::NeverStarted => parts().filter_map(|part| part.created).max(),
        _ => None,
    };
    let holds = members.iter().flat_map(|member| {
        std::iter::once(format!("container {}", member.name)).chain(member.holds.iter().cloned())
    });
    let member_ids: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
    Environment {
        name,
        labels,
        state,
        since,
        created: parts().filter_map(|part| part.created).max(),
        mark: marks.join(","),
        holds: holds.collect(),
        members: members.iter().map(|member| (member.name.clone(), member.labels.clone())).collect(),
        job,
        runner: runners.into_iter().next(),
        claim,
        handle: [&[id][..], &member_ids].concat().join(" "),
        ..infra
    }
}

/// It is passed to podman unchanged.
fn is_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The infra container only waits: whether a pod is in use follows from its content, or from the infra container if there is none.
fn state(infra: &Environment, members: &[&Environment]) -> EnvironmentState {
    if members.is_empty() {
        return infra.state.clone();
    }
    let states = || members.iter().map(|member| &member.state);
    if let Some(odd) = states().find(|state| matches!(state, EnvironmentState::Unknown(_))) {
        return odd.clone();
    }
    if let EnvironmentState::Unknown(_) = &infra.state {
        return infra.state.clone();
    }
    match () {
        () if states().any(|state| *state == EnvironmentState::Running) => EnvironmentState::Running,
        () if states().all(|state| *state == EnvironmentState::NeverStarted) => match infra.state {
            // It was started, and its content may start at any moment.
            EnvironmentState::Running => EnvironmentState::Running,
            _ => EnvironmentState::NeverStarted,
        },
        () if states()
            .all(|state| matches!(state, EnvironmentState::Stopped | EnvironmentState::NeverStarted)) =>
        {
            EnvironmentState::Stopped
        }
        () => EnvironmentState::Unknown("what is in it is in different states".to_owned()),
    }
}

/// The infra containers of `all` become their pods.
pub(super) fn environments(all: Vec<Container>, names: &Names) -> Vec<Environment> {
    let pods: Vec<Option<(String, bool)>> = all
        .iter()
        .map(|container| (!container.pod.is_empty()).then(|| (container.pod.clone(), is_infra(container))))
        .collect();
    let mut found: Vec<Environment> = all.into_iter().map(environment).collect();
    for (index, of) in pods.iter().enumerate() {
        let Some((id, true)) = of else { continue };
        let members: Vec<&Environment> = found
            .iter()
            .zip(&pods)
            .filter(|(_, of)| of.as_ref().is_some_and(|(of, is_infra)| of == id && !is_infra))
            .map(|(member, _)| member)
            .collect();
        let pod = pod(found[index].clone(), id, &members, names);
        found[index] = pod;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, state: EnvironmentState) -> Environment {
        Environment::new(name, name, state)
    }

    #[test]
    fn the_containers_of_a_pod_decide_its_state() {
        let odd = || EnvironmentState::Unknown("?".into());
        let (run, stop, never) =
            (EnvironmentState::Running, EnvironmentState::Stopped, EnvironmentState::NeverStarted);
        for (what, infra, members, expected) in [
            ("its containers are over, and the infra one waits", &run, vec![&stop, &stop], "stopped"),
            ("all is over", &stop, vec![&stop], "stopped"),
            ("one was never started", &stop, vec![&stop, &never], "stopped"),
            ("one runs", &stop, vec![&stop, &run], "running"),
            ("made and never started", &never, vec![&never], "never-started"),
            ("started, and what is in it not yet", &run, vec![&never], "running"),
            ("empty and waiting", &run, vec![], "running"),
            ("empty and over", &stop, vec![], "stopped"),
        ] {
            let members: Vec<Environment> =
                members.into_iter().map(|state| part("m", state.clone())).collect();
            let members: Vec<&Environment> = members.iter().collect();
            assert_eq!(state(&part("i", infra.clone()), &members).as_str(), expected, "{what}");
        }
        let strange = part("m", odd());
        assert_eq!(state(&part("i", stop.clone()), &[&strange]).as_str(), "unknown");
        let fine = part("m", stop);
        assert_eq!(state(&part("i", odd()), &[&fine]).as_str(), "unknown");
    }

    #[test]
    fn a_claim_on_one_container_is_one_on_its_pod() {
        let id = "0123456789abcdef".repeat(4);
        let names: Names = [(id.clone(), ("ci-pod".to_owned(), vec![]))].into();
        let stopped = || part("m", EnvironmentState::Stopped);
        let of = |members: &[&Environment], names: &Names| {
            pod(part("i", EnvironmentState::Stopped), &id, members, names)
        };
        let free = of(&[&stopped()], &names);
        assert_eq!((free.name.as_str(), free.claim.clone()), ("ci-pod", None));
        assert_eq!((free.handle, free.members[0].0.as_str()), (format!("{id} m"), "m"));
        let claimed = Environment { claim: Some("its restart policy is always".into()), ..stopped() };
        assert!(of(&[&stopped(), &claimed], &names).claim.is_some());
        let ones = Environment { runner: Some("r1".into()), ..stopped() };
        let others = Environment { runner: Some("r2".into()), ..stopped() };
        assert_eq!(of(&[&ones], &names).runner.as_deref(), Some("r1"));
        assert!(of(&[&ones, &others], &names).claim.is_some());
        assert!(of(&[&stopped()], &Names::new()).claim.is_some(), "its name cannot be told");
        let labelled: Names =
            [(id.clone(), ("x".to_owned(), vec![(JOB_LABEL.to_owned(), "j".to_owned())]))].into();
        assert!(of(&[&stopped()], &labelled).claim.is_some());
        let odd: Names = [("--all".to_owned(), ("ci-pod".to_owned(), vec![]))].into();
        assert!(
            pod(part("i", EnvironmentState::Stopped), "--all", &[&stopped()], &odd).claim.is_some(),
            "no id"
        );
    }
}
