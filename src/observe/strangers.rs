//! Runners that `runners.roots` does not match but that exist: their processes run, or systemd has a unit for them. They are reported,
//! with the glob that would add them. Nothing is decided by them, and nothing of theirs is touched.

use crate::actions_runner::unit;
use crate::model::{HostFacts, Remark};
use crate::sys::dir::Dir;
use glob::Pattern;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The directories of units that people install.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"];

/// A unit is short, and a directory of them holds hundreds.
const MAX_UNIT: u64 = 64 << 10;
const MAX_UNITS: usize = 1 << 14;

/// The maximum of roots that are reported one by one; a host has dozens.
const MAX_TOLD: usize = 64;

/// One remark for each root that no glob matches.
pub fn remarks(facts: &HostFacts) -> Vec<Remark> {
    let mut found: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (root, unit) in units(&UNITS.map(Path::new)) {
        found.insert(root, format!("the unit {unit}"));
    }
    for stranger in &facts.processes.strangers {
        let by = format!("{} pid {}", stranger.program, stranger.process.pid);
        found.insert(stranger.root.clone(), by);
    }
    let known = |root: &Path| facts.runners.iter().any(|runner| runner.runner.root == root);
    found.retain(|root, _| !known(root) && !is_known_by_identity(root, facts));
    let roots: Vec<&Path> = found.keys().map(PathBuf::as_path).collect();
    let told = found.iter().take(MAX_TOLD).map(|(root, by)| Remark {
        id: format!("not-named:{}", root.display()),
        is_fault: true,
        said: format!(
            "the runner in {} ({by}) is not matched by runners.roots: it is not guarded",
            root.display()
        ),
        fix: format!("add \"{}\" to runners.roots", glob_for(root, &roots)),
    });
    let more = found.len().checked_sub(MAX_TOLD + 1).map(|more| Remark {
        id: "not-named".into(),
        is_fault: true,
        said: format!("{} more runners are outside of runners.roots", more + 1),
        fix: "name their directories in runners.roots".into(),
    });
    told.chain(more).collect()
}

fn is_known_by_identity(root: &Path, facts: &HostFacts) -> bool {
    let id = Dir::resolve(root).and_then(|(dir, _)| dir.status()).map(|status| status.id);
    id.is_ok_and(|id| facts.runners.iter().any(|runner| runner.runner.root_id == id))
}

/// A glob that matches a runner's directory: with its neighbours, when several of them are in one directory of their own.
fn glob_for(root: &Path, all: &[&Path]) -> String {
    let escaped = |path: &Path| Pattern::escape(&path.to_string_lossy());
    match root.parent() {
        Some(parent) if parent.components().count() > 2 => {
            let beside = all.iter().filter(|other| other.parent() == Some(parent)).count();
            if beside > 1 { format!("{}/*", escaped(parent)) } else { escaped(root) }
        }
        _ => escaped(root),
    }
}

/// The working directories of units with a runner's name.
fn units(places: &[&Path]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for place in places {
        let Ok((dir, _)) = Dir::resolve(place) else { continue };
        for name in dir.names(MAX_UNITS).unwrap_or_default() {
            let is_runners = unit::is_named_so(name.as_bytes());
            let Some(text) = is_runners.then(|| dir.read_file(&name, MAX_UNIT).ok()).flatten() else {
                continue;
            };
            found.extend(working_directory(&text).map(|root| (root, name.to_string_lossy().into_owned())));
        }
    }
    found
}

/// `WorkingDirectory=` of a unit file, the last one that is absolute.
fn working_directory(unit: &[u8]) -> Option<PathBuf> {
    let mut values = unit.split(|&byte| byte == b'\n').filter_map(|line| {
        let value = line.trim_ascii().strip_prefix(b"WorkingDirectory=")?.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        value.starts_with(b"/").then(|| PathBuf::from(OsStr::from_bytes(value)))
    });
    values.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_runners_name_their_roots_and_others_do_not() {
        let temp = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("actions.runner.acme-app.ci-1.service", "[Service]\nWorkingDirectory=/opt/r 1\nUser=ci\n"),
            ("actions.runner.acme-app.ci-2.service", "[Service]\nWorkingDirectory = x\n"),
            ("other.service", "[Service]\nWorkingDirectory=/opt/other\n"),
        ] {
            std::fs::write(temp.path().join(name), text).unwrap();
        }
        let found = units(&[temp.path(), Path::new("/no/such")]);
        assert_eq!(found, [("/opt/r 1".into(), "actions.runner.acme-app.ci-1.service".into())]);
    }

    #[test]
    fn a_glob_names_neighbours_together_and_never_all_of_a_top_level() {
        let all = ["/srv/gha/a-1", "/srv/gha/a-2", "/opt/x", "/opt/y", "/data/w/r[1]"].map(Path::new);
        let globs: Vec<String> = all.iter().map(|root| glob_for(root, &all)).collect();
        assert_eq!(globs, ["/srv/gha/*", "/srv/gha/*", "/opt/x", "/opt/y", "/data/w/r[[]1[]]"]);
        for (glob, root) in globs.iter().zip(all) {
            assert!(Pattern::new(glob).unwrap().matches_path(root), "{glob}");
        }
    }
}
