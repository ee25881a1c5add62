//! Caches that nobody has declared: directories that bear a cache's tag and that no rule covers, and directories outside of work
//! directories that a runner's `.env`, a link in a checkout or a live process's mount names as one. They are told, with the
//! rule that would declare them; nothing of them is sized, entered or touched.

use super::caches::{Found, tag_of};
use crate::model::{CacheRule, HostFacts, Remark, Runner};
use crate::sys::dir::Dir;
use glob::Pattern;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// What of a runner's `.env` names a directory in which cargo builds.
const VARIABLES: [&str; 3] = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_BUILD_DIR"];

/// `.env` is short.
const MAX_ENV: u64 = 256 << 10;

/// So many rules are suggested, and so many tagged directories listed.
const MAX_TOLD: usize = 16;

/// Where the rules are that are shipped.
const LIBRARY: &str = "/usr/share/doc/disk-guard/rules";

/// What the walks through the work directories have met.
#[derive(Debug, Default)]
pub(super) struct Met {
    tagged: Vec<PathBuf>,
    links: Vec<(PathBuf, PathBuf)>,
}

impl Met {
    pub(super) fn take(&mut self, found: &mut Found) {
        self.tagged.append(&mut found.tagged);
        self.links.append(&mut found.links);
    }
}

/// A directory that could be declared.
struct Candidate {
    path: PathBuf,
    by: String,
    /// Whether it counts only if it is tagged: a mount can be of anything.
    needs_tag: bool,
}

/// One remark for each glob that would declare some of them, and one for what is tagged in the work directories.
pub(super) fn remarks(facts: &HostFacts, met: &Met, rules: &[CacheRule]) -> Vec<Remark> {
    let mut suggested: BTreeMap<(String, String), (PathBuf, String, usize)> = BTreeMap::new();
    for candidate in candidates(facts, met) {
        if !is_outside(&candidate.path, facts) || is_declared(&candidate.path, rules) {
            continue;
        }
        // Mounts that do not answer are not entered (`sys::reach`).
        let dir = Dir::open(&candidate.path);
        let is_tagged = dir.as_ref().is_ok_and(|dir| tag_of(dir).is_ok_and(|tag| tag.is_some()));
        if candidate.needs_tag && !is_tagged {
            continue;
        }
        let owner =
            dir.and_then(|dir| dir.status()).map(|status| status.owner.to_string()).unwrap_or_default();
        let known =
            suggested.entry((glob_for(&candidate.path), owner)).or_insert((candidate.path, candidate.by, 0));
        known.2 += 1;
    }
    let mut told: Vec<Remark> =
        suggested.into_iter().take(MAX_TOLD).map(|suggestion| declare(&suggestion)).collect();
    told.extend(tagged(met));
    told
}

fn declare(((glob, owner), (path, by, count)): &((String, String), (PathBuf, String, usize))) -> Remark {
    let more = if *count > 1 { format!(" and {} more like it", count - 1) } else { String::new() };
    let owner = if owner.is_empty() { String::new() } else { format!("owner = \"{owner}\", ") };
    Remark {
        id: format!("undeclared:{glob}"),
        is_fault: false,
        said: format!(
            "{}{more}, which {by} names, lies outside of the work directories: no rule reaches it",
            path.display()
        ),
        fix: format!("[[cache]] with a `name`, {owner}roots = [\"{glob}\"] would declare it"),
    }
}

fn tagged(met: &Met) -> Option<Remark> {
    let first = met.tagged.first()?;
    let name = first.file_name().unwrap_or_default().to_string_lossy();
    let listed: Vec<String> =
        met.tagged.iter().take(MAX_TOLD).map(|path| path.display().to_string()).collect();
    let more = match met.tagged.len().saturating_sub(MAX_TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(Remark {
        id: "tagged".into(),
        is_fault: false,
        said: format!("tagged as caches, and covered by no rule: {}{more}", listed.join(", ")),
        fix: format!(
            "[[cache]] with a `name`, dirs = [\"{}\"] would declare the first; see {LIBRARY}",
            Pattern::escape(&name)
        ),
    })
}

fn candidates(facts: &HostFacts, met: &Met) -> Vec<Candidate> {
    let runners = facts.runners.iter().map(|facts| &facts.runner);
    let by_env = runners.flat_map(|runner| {
        named_in_env(runner).into_iter().map(|(variable, path)| Candidate {
            path,
            by: format!("{variable} in the `.env` of {}", runner.name),
            needs_tag: false,
        })
    });
    let by_link = met.links.iter().filter_map(|(link, target)| {
        let path = normal(&link.parent()?.join(target))?;
        Some(Candidate { path, by: format!("the link {}", link.display()), needs_tag: false })
    });
    let by_mount = facts.processes.binds.iter().map(|(process, path)| Candidate {
        path: path.clone(),
        by: format!("a mount of pid {}", process.pid),
        needs_tag: true,
    });
    by_env.chain(by_link).chain(by_mount).collect()
}

/// Literal `KEY=VALUE` lines; the last one of a name counts.
fn named_in_env(runner: &Runner) -> Vec<(&'static str, PathBuf)> {
    let env = Dir::open(&runner.root).and_then(|root| root.read_file(".env", MAX_ENV)).unwrap_or_default();
    let value = |name: &str| {
        let lines = env.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next_back()
    };
    let named = VARIABLES.iter().filter_map(|name| {
        let value = value(name).filter(|value| value.starts_with(b"/"))?;
        Some((*name, normal(Path::new(OsStr::from_bytes(value)))?))
    });
    named.collect()
}

/// A path without `.` and `..`, by its text alone.
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
    let options = super::root_globs::options();
    let mut roots = rules.iter().flat_map(|rule| &rule.roots);
    roots.any(|root| {
        Pattern::new(root)
            .is_ok_and(|glob| path.ancestors().any(|part| glob.matches_path_with(part, options)))
    })
}

/// A glob for a directory and its like: what is numbered is left open, as far as that says which one of many it is.
fn glob_for(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut is_numbered = true;
    for component in path.components().rev() {
        let Component::Normal(name) = component else { continue };
        let name = name.to_string_lossy();
        is_numbered &= name.contains(|c: char| c.is_ascii_digit());
        parts.push(if is_numbered { without_numbers(&name) } else { Pattern::escape(&name) });
    }
    // What is all numbers would match everything at the top.
    if let Some(top) = parts.last_mut().filter(|top| top.contains('*')) {
        *top = Pattern::escape(
            &path.components().nth(1).map(|c| c.as_os_str().to_string_lossy()).unwrap_or_default(),
        );
    }
    parts.iter().rev().map(|part| format!("/{part}")).collect()
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
