//! Caches without a declaration: directories with a cache's tag that no rule covers, and directories outside of work directories that a
//! runner's `.env`, a link in a checkout or a live process's mount names as one. They are reported, with the rule that would declare them;
//! nothing of them is sized, entered or touched.

use super::caches::{CacheScan, WorkLink};
use super::dotenv::{self, Says};
use super::known_caches::{self, KnownCache};
use super::processes::environ_names_paths;
use crate::actions_runner::layout;
use crate::model::{CacheRule, HostFacts, ListenerSeen, Remark, Runner};
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use glob::Pattern;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// `.env` is short.
const MAX_ENV: u64 = 256 << 10;

/// The maximum of suggested rules, and of listed tagged directories.
const MAX_TOLD: usize = 16;

/// The place of the shipped rules.
const LIBRARY: &str = "/usr/share/doc/disk-guard/rules";

/// The findings of the walks through the work directories.
#[derive(Debug, Default)]
pub(super) struct UndeclaredFindings {
    tagged: Vec<PathBuf>,
    tagged_beside: Vec<PathBuf>,
    links: Vec<WorkLink>,
}

impl UndeclaredFindings {
    pub(super) fn take(&mut self, found: &mut CacheScan) {
        self.tagged.append(&mut found.tagged);
        self.tagged_beside.append(&mut found.tagged_beside);
        self.links.append(&mut found.links);
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.tagged.append(&mut other.tagged);
        self.tagged_beside.append(&mut other.tagged_beside);
        self.links.append(&mut other.links);
    }
}

/// A directory that could be declared.
struct UndeclaredDir {
    path: PathBuf,
    by: String,
    /// Its kind; `None`: it counts only if it is recognised, since a mount or a link can be of anything.
    kind: Option<&'static KnownCache>,
}

/// The suggestions so far, by glob and owner.
type Suggested = BTreeMap<(String, String), Suggestion>;

/// The first directory that one rule would declare, and their number.
struct Suggestion {
    path: PathBuf,
    by: String,
    kind: &'static KnownCache,
    count: usize,
}

/// One remark for each glob that would declare some of them, and one for the tagged directories in the work directories.
pub(super) fn remarks(
    facts: &HostFacts,
    met: &UndeclaredFindings,
    rules: &[CacheRule],
    proc: &Proc,
) -> Vec<Remark> {
    let mut suggested = Suggested::new();
    for UndeclaredDir { path, by, kind } in candidates(facts, met, proc) {
        if !is_outside(&path, facts) || is_declared(&path, rules) {
            continue;
        }
        // Mounts that do not answer are not entered (`sys::reach`).
        let dir = Dir::open(&path);
        let Some(kind) =
            kind.or_else(|| dir.as_ref().ok().and_then(|dir| known_caches::recognise(&path, dir)))
        else {
            continue;
        };
        let owner =
            dir.and_then(|dir| dir.status()).map(|status| status.owner.to_string()).unwrap_or_default();
        let known =
            suggested.entry((glob_for(&path), owner)).or_insert(Suggestion { path, by, kind, count: 0 });
        known.count += 1;
    }
    let mut told: Vec<Remark> =
        suggested.iter().take(MAX_TOLD).map(|((glob, owner), known)| declare(glob, owner, known)).collect();
    if let Some(more @ 1..) = suggested.len().checked_sub(MAX_TOLD) {
        told.push(Remark {
            id: "undeclared-more".into(),
            is_fault: false,
            said: format!("{more} more directories outside of the work directories are named as caches, and no rule reaches them"),
            fix: "declare those above first".into(),
        });
    }
    told.extend(tagged(met));
    told.extend(tagged_beside(met));
    told
}

fn declare(glob: &str, owner: &str, Suggestion { path, by, kind, count }: &Suggestion) -> Remark {
    let more = if *count > 1 { format!(" and {} more like it", count - 1) } else { String::new() };
    let owner = if owner.is_empty() { String::new() } else { format!("owner = \"{owner}\", ") };
    Remark {
        id: format!("undeclared:{glob}"),
        is_fault: false,
        said: format!(
            "{}{more}, which {by} names, is outside of the work directories: no rule covers it",
            path.display()
        ),
        fix: format!(
            "[[cache]] with a `name`, {}{owner}roots = [\"{}\"] would declare it",
            kind.marker_key(),
            glob.replace('\\', "\\\\").replace('"', "\\\"")
        ),
    }
}

/// `/a, /b and 3 more`
fn listed(paths: &[PathBuf]) -> String {
    let listed: Vec<String> = paths.iter().take(MAX_TOLD).map(|path| path.display().to_string()).collect();
    match paths.len().saturating_sub(MAX_TOLD) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

fn tagged_beside(met: &UndeclaredFindings) -> Option<Remark> {
    met.tagged_beside.first()?;
    Some(Remark {
        id: "tagged-beside".into(),
        is_fault: false,
        said: format!("tagged as caches, beside the checkouts, where no rule reaches: {}", listed(&met.tagged_beside)),
        fix: "build below the checkout (`CARGO_TARGET_DIR`, `build.target-dir`), or outside of the work directory under a [[cache]] with `roots`; remove what is there by hand".into(),
    })
}

fn tagged(met: &UndeclaredFindings) -> Option<Remark> {
    let first = met.tagged.first()?;
    let name = first.file_name().unwrap_or_default().to_string_lossy();
    Some(Remark {
        id: "tagged".into(),
        is_fault: false,
        said: format!("tagged as caches, and covered by no rule: {}", listed(&met.tagged)),
        fix: format!(
            "[[cache]] with a `name`, dirs = [\"{}\"] would declare the first; see {LIBRARY}",
            Pattern::escape(&name)
        ),
    })
}

fn candidates(facts: &HostFacts, met: &UndeclaredFindings, proc: &Proc) -> Vec<UndeclaredDir> {
    let by_env = facts.runners.iter().flat_map(|facts| named_in_env(&facts.runner));
    let by_unit = facts.processes.listeners.iter().flat_map(|listener| {
        let runner = facts.runners.get(listener.runner).map(|facts| &facts.runner);
        runner.map(|runner| named_in_environment(runner, listener, proc)).unwrap_or_default()
    });
    let by_link = met.links.iter().filter_map(|link| {
        let path = normal(&link.path.parent()?.join(&link.target))?;
        let kind = link.has_a_caches_name.then(KnownCache::default);
        Some(UndeclaredDir { path, by: format!("the link {}", link.path.display()), kind })
    });
    let by_mount = facts.processes.binds.iter().map(|(process, path)| UndeclaredDir {
        path: path.clone(),
        by: format!("a mount of pid {}", process.pid),
        kind: None,
    });
    by_env.chain(by_unit).chain(by_link).chain(by_mount).collect()
}

fn named(path: &Path, kind: &'static KnownCache, by: String) -> Option<UndeclaredDir> {
    let path = path.is_absolute().then(|| normal(path)).flatten()?;
    Some(UndeclaredDir { path, by, kind: Some(kind) })
}

/// The directories that a runner's `.env` names, read as the runner reads it.
fn named_in_env(runner: &Runner) -> Vec<UndeclaredDir> {
    let env =
        Dir::open(&runner.root).and_then(|root| root.read_file(layout::ENV, MAX_ENV)).unwrap_or_default();
    let value = |name: &str| match dotenv::says_of(&env, name) {
        Ok(Says::Value(value)) => Some(value),
        Ok(Says::Nothing | Says::Unset) | Err(_) => None,
    };
    let by = |variable: &str| format!("{variable} in the `.env` of {}", runner.name);
    let variables = known_caches::variables().filter_map(|variable| {
        let (path, kind) = known_caches::named_by(variable, Path::new(OsStr::from_bytes(value(variable)?)))?;
        named(&path, kind, by(variable))
    });
    variables.collect()
}

/// The environment of a Listener's unit.
fn named_in_environment(runner: &Runner, listener: &ListenerSeen, proc: &Proc) -> Vec<UndeclaredDir> {
    let read = environ_names_paths(proc, listener.process, known_caches::variables()).unwrap_or_default();
    let named = read.into_iter().filter_map(|(variable, path)| {
        let (path, kind) = known_caches::named_by(variable, &path)?;
        named(&path, kind, format!("{variable} in the environment of {}", runner.name))
    });
    named.collect()
}

/// A path without `.` and `..`, by its text only.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path.is_absolute().then_some(plain)
}

fn is_outside(path: &Path, facts: &HostFacts) -> bool {
    facts.runners.iter().all(|facts| {
        let runner = &facts.runner;
        !path.starts_with(runner.work_path())
            && !runner.root.starts_with(path)
            && !runner.work_path().starts_with(path)
    })
}

fn is_declared(path: &Path, rules: &[CacheRule]) -> bool {
    rules.iter().flat_map(|rule| &rule.roots).any(|root| root.covers(path))
}

/// A glob for a directory and similar ones: numbers become wildcards, if the number distinguishes one of many. The top directory is named,
/// and so is a user's home: a rule that crosses homes is refused.
fn glob_for(path: &Path) -> String {
    let names: Vec<_> = path.components().skip(1).map(|part| part.as_os_str().to_string_lossy()).collect();
    let named = if names.first().is_some_and(|top| top == "home") { 2 } else { 1 };
    let numbered = |name: &str| name.contains(|c: char| c.is_ascii_digit());
    let open = names.iter().skip(named).rev().take_while(|name| numbered(name)).count();
    let parts = names.iter().enumerate().map(|(at, name)| match at + open >= names.len() {
        true => without_numbers(name),
        false => Pattern::escape(name),
    });
    parts.map(|part| format!("/{part}")).collect()
}

fn without_numbers(name: &str) -> String {
    let mut open = String::new();
    for part in name.split_inclusive(|c: char| c.is_ascii_digit()) {
        let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
        open.push_str(&Pattern::escape(word));
        if word.len() < part.len() && !(word.is_empty() && open.ends_with('*')) {
            open.push('*');
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggested_glob_matches_what_it_is_for_and_its_like() {
        for (path, glob) in [
            ("/home/ci/cargo-target-1", "/home/ci/cargo-target-*"),
            ("/mnt/nvme/targets/app-ci/3205/run-9", "/mnt/nvme/targets/app-ci/*/run-*"),
            ("/home/cache/target-rust", "/home/cache/target-rust"),
            ("/srv/r2d2/target", "/srv/r2d2/target"),
            ("/data1/2/3", "/data1/*/*"),
            ("/srv/a[1]", "/srv/a[[]*[]]"),
            ("/home/ci2/target-3", "/home/ci2/target-*"),
        ] {
            assert_eq!(glob_for(Path::new(path)), glob);
            assert!(Pattern::new(glob).unwrap().matches(path), "{glob}");
        }
    }

    #[test]
    fn a_path_is_made_plain_by_its_text() {
        assert_eq!(normal(Path::new("/w/r/r/rust/../../../c/./t")), Some("/w/c/t".into()));
        assert_eq!(normal(Path::new("relative/t")), None);
    }
}
