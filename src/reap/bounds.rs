//! A tool's data about an environment may be of any length, and the environment's maker may have chosen it: it is cut here, before it is
//! judged, recorded and reported. An environment with a cut name is unknown: by that name it may be another one.

use crate::model::reap::{Environment, EnvironmentState};

/// The maximum length of one text.
const TEXT: usize = 1024;
/// The maximum of things that belong to an environment, and of its labels.
const MANY: usize = 256;

/// Keeps an environment within bounds.
pub(super) fn keep(environment: &mut Environment) {
    let is_cut = [
        cut(&mut environment.id, TEXT),
        cut(&mut environment.name, TEXT),
        // For a pod it lists all of its content.
        cut(&mut environment.mark, 64 * TEXT),
    ];
    if let EnvironmentState::Unknown(what) = &mut environment.state {
        cut(what, TEXT);
    }
    let texts =
        [&mut environment.job, &mut environment.runner, &mut environment.claim, &mut environment.doubt];
    for text in texts.into_iter().flatten().chain(environment.holds.iter_mut().take(MANY)) {
        cut(text, TEXT);
    }
    environment.holds.truncate(MANY);
    // An omitted label could have been one that `keep` matches.
    let has_too_many = environment.labels.len() > MANY;
    let is_long = |(key, value): &(String, String)| key.len() > TEXT || value.len() > 64 * TEXT;
    if is_cut.contains(&true) || has_too_many || environment.labels.iter().any(is_long) {
        environment.state = EnvironmentState::Unknown("its description is longer than the limit".to_owned());
        environment.labels.truncate(MANY);
        environment.labels.retain(|label| !is_long(label));
    }
}

/// Whether a text had to be cut.
fn cut(text: &mut String, most: usize) -> bool {
    if text.len() <= most {
        return false;
    }
    text.truncate((0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
    text.push_str(" ...");
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlong_fields_are_cut_and_their_environment_is_unknown() {
        let fine = Environment {
            labels: vec![("ci".into(), "x".repeat(4000))],
            holds: vec!["disk".into()],
            ..Environment::new("vm-1", "runner-1", EnvironmentState::Stopped)
        };
        let kept = |change: &dyn Fn(&mut Environment)| {
            let mut environment = fine.clone();
            change(&mut environment);
            keep(&mut environment);
            environment
        };
        assert_eq!(kept(&|_| ()), fine, "the control");
        let long = "\u{fc}".repeat(5_000_000);
        for (what, change) in [
            ("name", &(|e: &mut Environment| e.name.clone_from(&long)) as &dyn Fn(&mut Environment)),
            ("id", &|e| e.id.clone_from(&long)),
            ("mark", &|e| e.mark.clone_from(&long)),
            ("label", &|e| e.labels.push(("keep".into(), long.clone()))),
            ("labels", &|e| e.labels = vec![("a".into(), "b".into()); 10_000]),
        ] {
            let environment = kept(change);
            assert_eq!(environment.state.as_str(), "unknown", "{what}");
            let length = environment.name.len() + environment.id.len() + environment.mark.len();
            assert!(length < 68 * TEXT && environment.labels.len() <= MANY, "{what}");
        }
        let told = kept(&|e| {
            e.holds = vec![long.clone(); 1000];
            e.claim = Some(long.clone());
        });
        assert_eq!(told.state, EnvironmentState::Stopped);
        assert!(
            told.holds.len() == MANY
                && told.holds[0].len() < 2 * TEXT
                && told.claim.unwrap().len() < 2 * TEXT
        );
    }
}
