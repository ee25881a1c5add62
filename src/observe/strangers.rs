//! Runners that discovery does not list but that exist: their processes run, or systemd has a unit for them. Those that no entry of
//! `runners.roots` matches are reported with the glob that would add them; those that an entry matches, with what hides them. Nothing
//! is decided by them, and nothing of theirs is touched.

use super::root_globs::is_allowed;
use super::runners::RUN_AS_ROOT;
use crate::actions_runner::unit;
use crate::model::{HostFacts, PathGlob, Remark};
use crate::sys::dir::Dir;
use crate::sys::reach;
use glob::Pattern;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The directories of units that people install.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"];

/// A unit is short, and a directory of them holds hundreds.
const MAX_UNIT: u64 = 64 << 10;
const MAX_UNITS: usize = 1 << 14;

/// The maximum of roots that are reported one by one; a host has dozens.
const MAX_TOLD: usize = 64;

/// The maximum of closed roots that are named in one remark.
const MAX_NAMED: usize = 3;

/// Why a root that exists, by a unit or a process, is not among the runners that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// No glob matches it.
    NotNamed,
    /// A glob does, and this user cannot look into it.
    Closed,
    /// A glob does, and it was not taken for a runner.
    NoRunner,
}

/// The roots that are not among the runners that were found: one remark for each that no glob matches, one for all that are closed.
pub fn remarks(facts: &HostFacts, globs: &[PathGlob]) -> Vec<Remark> {
    let mut found: BTreeMap<PathBuf, String> = BTreeMap::new();
    // The unit of a runner that was removed names a directory that is gone.
    let is_gone = |root: &Path| reach::symlink_metadata(root).is_err_and(|e| e.kind() == ErrorKind::NotFound);
    for (root, unit) in units(&UNITS.map(Path::new)).into_iter().filter(|(root, _)| !is_gone(root)) {
        found.insert(root, format!("the unit {unit}"));
    }
    for stranger in &facts.processes.strangers {
        let by = format!("{} pid {}", stranger.program, stranger.process.pid);
        found.insert(stranger.root.clone(), by);
    }
    let known = |root: &Path| facts.runners.iter().any(|runner| runner.runner.root == root);
    found.retain(|root, _| !known(root));
    let (mut closed, mut others) = (Vec::new(), Vec::new());
    found.retain(|root, by| {
        match missing(root, facts, globs) {
            Some(Missing::NotNamed) => return true,
            Some(Missing::Closed) => closed.push(root.clone()),
            Some(Missing::NoRunner) => others.extend(no_runner(root, by, facts)),
            None => {}
        }
        false
    });
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
    closed_to_us(&closed).into_iter().chain(told).chain(more).chain(others).collect()
}

/// `None` when it is known by its identity.
fn missing(root: &Path, facts: &HostFacts, globs: &[PathGlob]) -> Option<Missing> {
    let is_named = is_allowed(root, globs);
    match Dir::resolve(root).and_then(|(dir, _)| dir.status()) {
        Ok(status) if facts.runners.iter().any(|runner| runner.runner.root_id == status.id) => None,
        Ok(_) | Err(_) if !is_named => Some(Missing::NotNamed),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(Missing::Closed),
        Ok(_) | Err(_) => Some(Missing::NoRunner),
    }
}

/// Nothing where discovery has a note about the place already.
fn no_runner(root: &Path, by: &str, facts: &HostFacts) -> Option<Remark> {
    let root = root.display().to_string();
    (!facts.notes.iter().any(|note| note.contains(&root))).then(|| Remark {
        id: format!("no-runner:{root}"),
        is_fault: true,
        said: format!("{by} names the runner in {root}, which holds no `.runner`, `bin/Runner.Listener` or `_work`: it is not guarded"),
        fix: "configure the runner there, or remove the unit".into(),
    })
}

fn closed_to_us(roots: &[PathBuf]) -> Option<Remark> {
    let named: Vec<String> = roots.iter().take(MAX_NAMED).map(|root| root.display().to_string()).collect();
    let more = match roots.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!roots.is_empty()).then(|| Remark {
        id: "closed-roots".into(),
        is_fault: true,
        said: format!("this user cannot look into the runners in {}{more}", named.join(", ")),
        fix: RUN_AS_ROOT.into(),
    })
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
    fn a_root_that_a_glob_matches_is_never_reported_as_not_named() {
        let temp = tempfile::tempdir().unwrap();
        let base = Dir::resolve(temp.path()).unwrap().1;
        let named = base.join("actions-runner-1");
        std::fs::create_dir(&named).unwrap();
        let globs = [PathGlob::parse(base.join("actions-runner*").to_str().unwrap()).unwrap()];
        let mut facts = HostFacts::quiet(std::time::SystemTime::UNIX_EPOCH, Vec::new());
        assert_eq!(missing(&named, &facts, &globs), Some(Missing::NoRunner));
        assert_eq!(missing(&base, &facts, &globs), Some(Missing::NotNamed), "the control");
        let told = no_runner(&named, "the unit u", &facts).unwrap().as_note();
        assert!(told.contains("holds no `.runner`") && !told.contains("not matched"), "{told}");
        facts.notes.push(format!("{} is somebody else's", named.display()));
        assert_eq!(no_runner(&named, "the unit u", &facts), None);
    }

    #[test]
    fn closed_roots_are_one_remark_that_says_who_can_look() {
        assert_eq!(closed_to_us(&[]), None);
        let roots: Vec<PathBuf> = (1..=8).map(|n| format!("/home/ci/r-{n}").into()).collect();
        assert_eq!(
            closed_to_us(&roots).unwrap().as_note(),
            "this user cannot look into the runners in /home/ci/r-1, /home/ci/r-2, /home/ci/r-3 and 5 more; run as root to see the runners there"
        );
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
