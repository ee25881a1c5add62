//! `[[store]]`: the checks of an entry, and its rule.

use super::{Problems, raw};
use crate::model::stores::{StoreKind, StoreRule};
use std::collections::HashSet;
use std::path::{Component, Path};
use toml::Spanned;

/// Notes every problem of every entry.
pub(super) fn check(entries: &[Spanned<raw::Store>], problems: &mut Problems<'_>) {
    let mut names = HashSet::new();
    for entry in entries.iter().map(Spanned::get_ref) {
        let at = entry.name.as_ref().unwrap_or(&entry.kind);
        let name = at.get_ref();
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if entry.name.is_some() && (!begins_well || name.len() > 64 || !name.bytes().all(is_fit)) {
            let expected =
                "expected a letter or digit, then letters, digits, `-`, `_`, `.`, at most 64 in all";
            problems.add(at, format_args!("store.name: found `{name}`, {expected}"));
        } else if !names.insert(name) {
            problems.add(
                at,
                format_args!("store.name: `{name}` is there twice, expected distinct names (without a name it is the kind's)"),
            );
        }
        match StoreKind::named(entry.kind.get_ref()) {
            Some(kind) => check_kind(entry, kind, problems),
            None => problems.add(
                &entry.kind,
                format_args!(
                    "store.kind: found `{}`, expected one of {}",
                    entry.kind.get_ref(),
                    StoreKind::NAMES.join(", ")
                ),
            ),
        }
        if entry.timeout.get_ref().0.is_zero() {
            problems.add(&entry.timeout, "store.timeout: found 0, expected a duration above 0");
        }
        let (cap, keep) = (entry.max_size.get_ref().0, entry.keep.get_ref().0);
        if cap > 0 && keep > cap {
            problems.add(
                &entry.keep,
                "store.keep: found more than store.max_size, expected at most as much as that",
            );
        }
        if let Some(first) = entry.command.get_ref().first() {
            let is_name = !first.is_empty() && !first.contains('/') && first != "." && first != "..";
            if !is_name && !first.starts_with('/') {
                problems.add(
                    &entry.command,
                    format_args!("store.command: found `{first}`, expected a program's name or absolute path, with each argument as a word of its own"),
                );
            }
        }
    }
}

fn check_kind(entry: &raw::Store, kind: StoreKind, problems: &mut Problems<'_>) {
    let path = &entry.path;
    let is_sound = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.get_ref().as_os_str().is_empty() {
        problems.absolute("store.path", path);
        let is_whole_disk = path.get_ref() == Path::new("/");
        if is_whole_disk || path.get_ref().is_absolute() && !path.get_ref().components().all(is_sound) {
            problems.add(
                path,
                format_args!(
                    "store.path: found `{}`, expected the directory of the {kind} store, without `..`",
                    path.get_ref().display()
                ),
            );
        }
    } else if kind.is_directory() {
        problems.add(
            &entry.kind,
            format_args!(
                "store.path: it is missing, expected the directory of the {kind} store, such as \"{}\"",
                example(kind)
            ),
        );
    }
    if kind.usual_program().is_none() && entry.command.get_ref().is_empty() {
        problems.add(
            &entry.kind,
            "store.command: it is missing, expected Bazel's collector of disk caches (`bazel build //src/tools/diskcache:gc`), such as [\"/usr/local/bin/disk-cache-gc\"]",
        );
    }
    if entry.keep.get_ref().0 > 0 && !kind.is_bounded() {
        problems.add(
            &entry.keep,
            format_args!("store.keep: a {kind} store cannot be asked to keep a part; leave it out"),
        );
    }
    if *entry.beside_jobs.get_ref() && !kind.locks_builds_out() {
        problems.add(
            &entry.beside_jobs,
            format_args!("store.beside_jobs: nothing keeps a {kind} collection and builds apart, expected only where store.kind is ccache or nix"),
        );
    }
}

fn example(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Sccache => "/home/ci/.cache/sccache",
        StoreKind::Pnpm => "/home/ci/.local/share/pnpm/store",
        StoreKind::Go => "/home/ci/.cache/go-build",
        StoreKind::BazelDisk => "/home/ci/.cache/bazel-disk",
        _ => "/home/ci/.cache/ccache",
    }
}

/// The rule of a valid entry.
pub(super) fn rule(entry: raw::Store) -> StoreRule {
    let kind = StoreKind::named(entry.kind.get_ref()).expect("it has been checked");
    let mut command = entry.command.into_inner();
    if command.is_empty() {
        command.extend(kind.usual_program().map(str::to_owned));
    }
    let path = entry.path.into_inner();
    StoreRule {
        name: entry.name.map_or_else(|| kind.as_str().to_owned(), Spanned::into_inner),
        kind,
        command,
        path: (!path.as_os_str().is_empty()).then_some(path),
        max_size: entry.max_size.into_inner().0,
        keep: entry.keep.into_inner().0,
        timeout: entry.timeout.into_inner().0,
        beside_jobs: entry.beside_jobs.into_inner(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::time::Duration;

    const GOOD: &str = "[[store]]\nkind = \"buildkit\"\n";
    const CCACHE: &str = "[[store]]\nkind = \"ccache\"\npath = \"/home/ci/.cache/ccache\"\n";

    #[test]
    fn an_entry_has_defaults_and_there_is_none_without_one() {
        assert!(Config::default().stores.is_empty());
        assert!(!Config::default().effective().contains("store"));
        let config = Config::parse(&format!(
            "{GOOD}{CCACHE}max_size = \"20GiB\"\nkeep = \"5GiB\"\nbeside_jobs = true\n"
        ))
        .unwrap();
        let [docker, ccache] = &config.stores[..] else { panic!("two") };
        assert_eq!(
            (docker.name.as_str(), &docker.command[..], docker.max_size),
            ("buildkit", &["docker".to_owned()][..], 0)
        );
        assert_eq!(
            (docker.timeout, docker.beside_jobs, &docker.path),
            (Duration::from_secs(600), false, &None)
        );
        assert_eq!((ccache.max_size >> 30, ccache.keep >> 30, ccache.beside_jobs), (20, 5, true));
        assert_eq!(Config::parse(&config.effective()).unwrap().stores, config.stores);
    }

    #[test]
    fn every_bad_value_names_its_line_what_was_found_and_what_is_expected() {
        for (text, expected) in [
            ("[[store]]\nname = \"a\"".to_owned(), vec!["line 1", "missing field `kind`"]),
            (
                GOOD.replace("buildkit", "podman"),
                vec![
                    "line 2",
                    "store.kind",
                    "`podman`",
                    "buildkit, docker-images, containerd, sccache, ccache, nix, pnpm, go, bazel-disk",
                ],
            ),
            (format!("{GOOD}{GOOD}"), vec!["line 4", "store.name", "`buildkit` is there twice"]),
            (format!("{GOOD}name = \"../a\""), vec!["line 3", "store.name", "`../a`"]),
            (
                GOOD.replace("buildkit", "ccache"),
                vec!["line 2", "store.path", "missing", "/home/ci/.cache/ccache"],
            ),
            (GOOD.replace("buildkit", "go"), vec!["line 2", "store.path", "go-build"]),
            (CCACHE.replace("/home/ci", "~"), vec!["line 3", "store.path", "`~/.cache/ccache`", "absolute"]),
            (
                CCACHE.replace("/home/ci/.cache/ccache", "/"),
                vec!["line 3", "store.path", "`/`", "ccache store"],
            ),
            (CCACHE.replace("/home/ci", "/home/ci/.."), vec!["line 3", "store.path", "without `..`"]),
            (
                CCACHE.replace("\"ccache\"", "\"bazel-disk\""),
                vec!["line 2", "store.command", "missing", "diskcache"],
            ),
            (
                format!("{CCACHE}command = [\"./ccache\"]"),
                vec!["line 4", "store.command", "`./ccache`", "absolute path"],
            ),
            (
                format!("{CCACHE}max_size = \"1GiB\"\nkeep = \"2GiB\""),
                vec!["line 5", "store.keep", "store.max_size"],
            ),
            (
                format!("{}keep = \"1GiB\"", CCACHE.replace("\"ccache\"", "\"go\"")),
                vec!["line 4", "store.keep", "go"],
            ),
            (format!("{GOOD}timeout = \"0\""), vec!["line 3", "store.timeout", "above 0"]),
            (format!("{GOOD}max_size = \"much\""), vec!["line 3", "`much`"]),
            (
                format!("{GOOD}beside_jobs = true"),
                vec!["line 3", "store.beside_jobs", "buildkit", "ccache or nix"],
            ),
            (format!("{GOOD}budget = 1"), vec!["line 3", "budget", "unknown field"]),
        ] {
            let error = Config::parse(&text).expect_err(&text).to_string();
            for part in expected {
                assert!(error.contains(part), "{text}: `{part}` is missing in:\n{error}");
            }
        }
    }
}
