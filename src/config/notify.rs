//! `[notify]`: its checks and its settings.

use super::{Problems, raw};
use crate::model::incident::IncidentKind;
use std::path::Path;
use std::time::Duration;

/// The program that receives incidents, and how often it is run.
#[derive(Debug, Clone)]
pub struct Notify {
    /// The program and its arguments; empty = nothing is reported.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// The minimum time between two runs of it.
    pub interval: Duration,
    /// After how long an incident that lasts is reported again; zero = never.
    pub repeat: Duration,
    /// The kinds that are reported.
    pub on: Vec<IncidentKind>,
}

/// Nothing is waited for longer.
const LONGEST: Duration = Duration::from_secs(600);

/// Notes every problem.
pub(super) fn check(notify: &raw::Notify, problems: &mut Problems<'_>) {
    if let Some(program) = notify.command.get_ref().first().filter(|word| !Path::new(word).is_absolute()) {
        problems.add(
            &notify.command,
            format_args!(
                "notify.command: found `{program}`, expected a program's absolute path, with each argument as a word of its own"
            ),
        );
    }
    let timeout = notify.timeout.get_ref();
    if timeout.0.is_zero() || timeout.0 > LONGEST {
        problems.add(
            &notify.timeout,
            format_args!("notify.timeout: found {timeout}, expected above 0 and at most 10min"),
        );
    }
}

impl From<raw::Notify> for Notify {
    fn from(raw: raw::Notify) -> Self {
        Self {
            command: raw.command.into_inner(),
            timeout: raw.timeout.into_inner().0,
            interval: raw.interval.0,
            repeat: raw.repeat.0,
            on: raw.on,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_program_is_named_by_its_path_and_waited_for_with_a_bound() {
        for (text, expected) in [
            ("[notify]\ncommand = [\"curl\"]", vec!["line 2", "notify.command", "`curl`", "absolute path"]),
            ("[notify]\ntimeout = \"0\"", vec!["line 2", "notify.timeout", "above 0"]),
            ("[notify]\ntimeout = \"1h\"", vec!["line 2", "notify.timeout", "10min"]),
            ("[notify]\non = [\"fire\"]", vec!["line 2", "fire", "critical-disk"]),
            ("[notify]\ncommand = \"/bin/x\"", vec!["line 2"]),
        ] {
            let error = Config::parse(text).expect_err(text).to_string();
            assert!(expected.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
        let good =
            Config::parse("[notify]\ncommand = [\"/usr/bin/curl\", \"-s\"]\non = [\"leak\"]\nrepeat = \"0\"")
                .unwrap();
        assert_eq!(good.notify.command, ["/usr/bin/curl", "-s"]);
        assert!(good.notify.repeat.is_zero() && good.notify.on.len() == 1);
        assert!(Config::default().notify.command.is_empty(), "nobody is told by default");
    }
}
