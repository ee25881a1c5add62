//! `[[reap]]`: the checks of an entry, and its rule.

use super::{Problems, raw};
use crate::model::reap::{EnvironmentKind, Pattern, ReapRule};
use std::collections::HashSet;
use std::time::Duration;
use toml::Spanned;

/// One run never deletes more, whatever is asked for.
const MOST_PER_RUN: usize = 1000;

/// Notes every problem of every entry.
pub(super) fn check(entries: &[Spanned<raw::Reap>], problems: &mut Problems<'_>) {
    let mut names = HashSet::new();
    for entry in entries.iter().map(Spanned::get_ref) {
        let name = entry.name.get_ref();
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins_well || name.len() > 64 || !name.bytes().all(is_fit) {
            let expected =
                "expected a letter or digit, then letters, digits, `-`, `_`, `.`, at most 64 in all";
            problems.add(&entry.name, format_args!("reap.name: found `{name}`, {expected}"));
        } else if !names.insert(name) {
            problems.add(
                &entry.name,
                format_args!("reap.name: `{name}` is there twice, expected distinct names"),
            );
        }
        check_kind(entry, problems);
        if entry.r#match.get_ref().is_empty() {
            problems.add(
                &entry.r#match,
                "reap.match: found an empty list, expected at least one pattern: nothing is ever everything",
            );
        }
        for (key, patterns) in [("reap.match", &entry.r#match), ("reap.keep", &entry.keep)] {
            for pattern in patterns.get_ref() {
                if let Err(why) = Pattern::parse(pattern) {
                    problems.add(patterns, format_args!("{key}: `{}` {why}", beginning(pattern)));
                }
            }
        }
        for (key, span) in [("reap.max_age", &entry.max_age), ("reap.timeout", &entry.timeout)] {
            if span.get_ref().0.is_zero() {
                problems.add(span, format_args!("{key}: found 0, expected a duration above 0"));
            }
        }
        for (key, number) in [("reap.batch", &entry.batch), ("reap.max_per_run", &entry.max_per_run)] {
            if !(1..=MOST_PER_RUN).contains(number.get_ref()) {
                problems.add(
                    number,
                    format_args!("{key}: found {}, expected 1 to {MOST_PER_RUN}", number.get_ref()),
                );
            }
        }
    }
}

fn check_kind(entry: &raw::Reap, problems: &mut Problems<'_>) {
    let kind = EnvironmentKind::named(entry.kind.get_ref());
    if kind.is_none() {
        let names = EnvironmentKind::NAMES.join(", ");
        problems.add(
            &entry.kind,
            format_args!("reap.kind: found `{}`, expected one of {names}", entry.kind.get_ref()),
        );
    }
    let of_kubernetes = kind.is_none_or(|kind| kind == EnvironmentKind::Kubernetes);
    if let (Some(span), false) = (&entry.min_age, of_kubernetes) {
        problems.add(span, "reap.min_age: expected only where reap.kind is kubernetes");
    }
    if let (Some(span), false) = (&entry.stale_generation, of_kubernetes) {
        problems.add(span, "reap.stale_generation: expected only where reap.kind is kubernetes");
    }
    if !entry.worker_check.get_ref().is_empty() && !of_kubernetes {
        problems.add(&entry.worker_check, "reap.worker_check: expected only where reap.kind is kubernetes");
    }
    let check = entry.worker_check.get_ref();
    if !check.is_empty() && !check.iter().any(|word| word.contains("{runner}") || word.contains("{pod}")) {
        problems.add(
            &entry.worker_check,
            "reap.worker_check: found neither {runner} nor {pod} in it, expected a placeholder for the runner",
        );
    }
    let command = entry.command.get_ref();
    if kind == Some(EnvironmentKind::Command) && command.is_empty() {
        problems.add(
            &entry.kind,
            "reap.command: it is missing, expected the program that lists and deletes, such as [\"/usr/local/sbin/my-vms\"]",
        );
    }
    for (key, words) in [("reap.command", &entry.command), ("reap.worker_check", &entry.worker_check)] {
        let Some(first) = words.get_ref().first() else { continue };
        let is_name = !first.is_empty() && !first.contains('/') && first != "." && first != "..";
        if !is_name && !first.starts_with('/') {
            problems.add(
                words,
                format_args!("{key}: found `{first}`, expected a program's name or absolute path, with each argument as a word of its own"),
            );
        }
    }
    let snapshot = &entry.busy_snapshot;
    if !snapshot.get_ref().as_os_str().is_empty() {
        problems.absolute("reap.busy_snapshot", snapshot);
        if kind.is_some_and(|kind| kind != EnvironmentKind::Kubernetes) {
            problems.add(snapshot, "reap.busy_snapshot: expected only where reap.kind is kubernetes");
        }
    }
}

/// The beginning of a text, for messages: a configuration may contain very long values.
fn beginning(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn patterns(texts: &[String]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).expect("it has been checked")).collect()
}

/// The rule of a valid entry.
pub(super) fn rule(entry: raw::Reap) -> ReapRule {
    let kind = EnvironmentKind::named(entry.kind.get_ref()).expect("it has been checked");
    let mut command = entry.command.into_inner();
    if command.is_empty() {
        command.push(usual_program(kind).to_owned());
    }
    let snapshot = entry.busy_snapshot.into_inner();
    ReapRule {
        name: entry.name.into_inner(),
        kind,
        command,
        matches: patterns(entry.r#match.get_ref()),
        keep: patterns(entry.keep.get_ref()),
        max_age: entry.max_age.into_inner().0,
        never_started_grace: entry.never_started_grace.0,
        batch: entry.batch.into_inner(),
        pause: entry.pause.0,
        max_per_run: entry.max_per_run.into_inner(),
        timeout: entry.timeout.into_inner().0,
        min_age: entry.min_age.map_or(Duration::from_secs(3600), |age| age.into_inner().0),
        stale_generation: entry.stale_generation.is_some_and(toml::Spanned::into_inner),
        worker_check: entry.worker_check.into_inner(),
        busy_snapshot: (!snapshot.as_os_str().is_empty()).then_some(snapshot),
    }
}

fn usual_program(kind: EnvironmentKind) -> &'static str {
    match kind {
        EnvironmentKind::Tart => "tart",
        EnvironmentKind::Docker => "docker",
        EnvironmentKind::Podman => "podman",
        EnvironmentKind::Libvirt => "virsh",
        EnvironmentKind::Lima => "limactl",
        EnvironmentKind::Kubernetes => "kubectl",
        EnvironmentKind::Command => unreachable!("a command has no usual program: it has been checked"),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::time::Duration;

    const GOOD: &str = "[[reap]]\nname = \"a\"\nkind = \"docker\"\nmatch = [\"ci-*\"]\n";

    #[test]
    fn an_entry_has_defaults_and_there_is_none_without_one() {
        assert!(Config::default().reaps.is_empty());
        assert!(!Config::default().effective().contains("reap"));
        let config = Config::parse(GOOD).unwrap();
        let rule = &config.reaps[0];
        assert_eq!(
            (rule.command.as_slice(), rule.batch, rule.max_per_run),
            (&["docker".to_owned()][..], 5, 20)
        );
        assert_eq!(
            (rule.max_age, rule.never_started_grace),
            (Duration::from_secs(7200), Duration::from_secs(21_600))
        );
        assert_eq!((rule.pause, rule.timeout), (Duration::from_secs(5), Duration::from_secs(60)));
        assert_eq!(Config::parse(&config.effective()).unwrap().reaps, config.reaps);
    }

    #[test]
    fn every_bad_value_names_its_line_what_was_found_and_what_is_expected() {
        for (text, expected) in [
            ("[[reap]]\nname = \"a\"\nkind = \"docker\"", vec!["line 1", "missing field `match`"]),
            ("[[reap]]\nkind = \"docker\"\nmatch = [\"a\"]", vec!["line 1", "missing field `name`"]),
            (&GOOD.replace("ci-*\"", "[\""), vec!["line 4", "reap.match", "`[`", "not a glob"]),
            (&GOOD.replace("\"ci-*\"", ""), vec!["line 4", "reap.match", "empty list"]),
            (&GOOD.replace("\"a\"", "\"../a\""), vec!["line 2", "reap.name", "`../a`"]),
            (
                &GOOD.replace("docker", "dokcer"),
                vec!["line 3", "reap.kind", "`dokcer`", "tart, docker, podman"],
            ),
            (&GOOD.replace("docker", "command"), vec!["line 3", "reap.command", "missing"]),
            (&format!("{GOOD}{GOOD}"), vec!["line 6", "twice"]),
            (&format!("{GOOD}keep = [\"label:\"]"), vec!["line 5", "reap.keep", "names no label"]),
            (&format!("{GOOD}max_age = \"0\""), vec!["line 5", "reap.max_age", "above 0"]),
            (&format!("{GOOD}max_age = \"soon\""), vec!["line 5", "`soon`", "2h"]),
            (&format!("{GOOD}batch = 0"), vec!["line 5", "reap.batch", "found 0", "1 to 1000"]),
            (&format!("{GOOD}max_per_run = 1001"), vec!["line 5", "reap.max_per_run", "1001"]),
            (&format!("{GOOD}timeout = \"0\""), vec!["line 5", "reap.timeout", "above 0"]),
            (&format!("{GOOD}command = [\"./x\"]"), vec!["line 5", "reap.command", "`./x`", "absolute path"]),
            (&format!("{GOOD}busy_snapshot = \"/x\""), vec!["line 5", "reap.busy_snapshot", "kubernetes"]),
            (&format!("{GOOD}min_age = \"1h\""), vec!["line 5", "reap.min_age", "kubernetes"]),
            (
                &format!("{GOOD}stale_generation = false"),
                vec!["line 5", "reap.stale_generation", "kubernetes"],
            ),
            (&format!("{GOOD}worker_check = [\"x\"]"), vec!["line 5", "reap.worker_check", "kubernetes"]),
            (
                &format!("{}worker_check = [\"./x\"]", GOOD.replace("docker", "kubernetes")),
                vec!["line 5", "reap.worker_check", "`./x`", "absolute path"],
            ),
            (&format!("{GOOD}matches = []"), vec!["line 5", "matches", "unknown field"]),
        ] {
            let error = Config::parse(text).expect_err(text).to_string();
            for part in expected {
                assert!(error.contains(part), "{text}: `{part}` is missing in:\n{error}");
            }
        }
    }

    #[test]
    fn a_pattern_that_is_too_large_is_refused_with_its_key_and_its_beginning() {
        let huge = format!("{{x,y}}{}*", "a".repeat(900_000));
        let text = format!("[[reap]]\nname = \"vms\"\nkind = \"docker\"\nmatch = [\"{huge}\"]\n");
        let error = Config::parse(&text).expect_err("it is too large").to_string();
        assert!(error.contains("reap.match: `{x,y}aaa") && error.contains("is not a glob"), "{:.300}", error);
        assert!(error.len() < 2000, "{} bytes", error.len());
        assert!(Config::parse(&text.replace(&huge, "{x,y}a*")).is_ok());
    }
}
