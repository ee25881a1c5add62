//! Caches outside of work directories: the matches of a `[[cache]]`'s `roots`.
//!
//! The administrator names them, so they are looked at by path, but accepted only if nobody else can redirect that path: no link on the
//! way, and every directory on it writable only by root and the cache's own owner. The owner is the one that the rule names, otherwise
//! root or the user of a runner. A match has the rule's marker, is in no work directory and is no mount point. It is claimed from the
//! highest directory on its own mount that the glob names, whose trash takes it.

use super::caches::{has_any_marker, is_checkout};
use super::filesystems::MountTable;
use super::ownership::Ways;
use super::root_globs::Expander;
use super::runners::Discovery;
use crate::config::{Config, ConfigError, DEFAULT_PATH, Named};
use crate::model::{
    Cache, CacheRule, DeclaredFacts, GlobPart, Guarded, JobReceived, Part, PathGlob, Runner, RunnerFacts,
    Uid, Work, WorkDir,
};
use crate::sys::dir::{Dir, Status};
use crate::sys::reach;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name for the holder of such a cache in places that otherwise name a runner.
pub const NAME: &str = "declared";

/// The maximum of them in one run.
const MAX_FOUND: usize = 4096;

/// The maximum of remarks about rejected matches of one rule.
const MAX_NOTES: usize = 8;

/// A glob that is not trusted.
#[derive(Debug, PartialEq, Eq)]
pub struct DeclarationFault {
    /// Which key of its rule.
    pub key: &'static str,
    /// The rule's name.
    pub rule: String,
    /// The glob; of the key `owner` its value.
    pub found: String,
    /// The problem.
    pub why: String,
}

/// The parts of the rules that cannot be trusted on this host: directories on the way that others can write, unknown owners.
pub fn faults(rules: &[CacheRule]) -> Vec<DeclarationFault> {
    let mut found = Vec::new();
    let mut ways = Ways::default();
    for rule in rules.iter().filter(|rule| !rule.roots.is_empty()) {
        reach::watch();
        let owner = match rule.owner.as_deref().map(uid) {
            Some(None) => {
                found.push(DeclarationFault {
                    key: "owner",
                    rule: rule.name.clone(),
                    found: rule.owner.clone().unwrap_or_default(),
                    why: "there is no such user".into(),
                });
                continue;
            }
            owner => owner.flatten(),
        };
        for root in &rule.roots {
            let top = literal(root);
            // That is a fault of the host and not of the configuration: such caches are kept, and everything else continues.
            if ways.is_silent(&top) {
                continue;
            }
            if let Some(why) = ways.foreign_hand(&top, owner.unwrap_or(Uid::ROOT)) {
                found.push(DeclarationFault {
                    key: "roots",
                    rule: rule.name.clone(),
                    found: root.text().to_owned(),
                    why,
                });
            }
        }
    }
    found
}

/// The configuration that a person names, or the one in its customary place.
///
/// # Errors
/// [`ConfigError`]; also if users other than its owner could exchange what it declares as a cache.
pub fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
    match named {
        Some(path) => load_at(path, Named::ByHand),
        None => load_at(Path::new(DEFAULT_PATH), Named::ByDefault),
    }
}

/// As [`load`]. In addition root refuses a configuration that others could replace by writing to a directory on its path. Hooks do not make
/// these calls: they act with their own runner's rights only.
///
/// # Errors
/// [`ConfigError`].
pub fn load_for_verbs(named: Option<&Path>) -> Result<Config, ConfigError> {
    let config = load(named)?;
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    let others = crate::sys::process::is_root().then(|| Ways::default().exchanged_by_others(path)).flatten();
    match others {
        Some((place, why)) => Err(ConfigError::Untrusted { path: place.display().to_string(), why }),
        None => Ok(config),
    }
}

/// Reads a configuration, and refuses one with declared caches that users other than their owner could exchange.
///
/// # Errors
/// [`ConfigError`].
pub fn load_at(path: &Path, named: Named) -> Result<Config, ConfigError> {
    let config = Config::load(path, named)?;
    let problems: Vec<String> = faults(&config.caches)
        .into_iter()
        .map(|fault| {
            let line = config.line_of(&fault.rule, fault.key, &fault.found).unwrap_or_default();
            format!("  line {line}: cache.{}: found `{}`, but {}", fault.key, fault.found, fault.why)
        })
        .collect();
    match problems.is_empty() {
        true => Ok(config),
        false => {
            Err(ConfigError::Invalid { path: path.display().to_string(), problems: problems.join("\n") })
        }
    }
}

/// A user's number, by name or number.
fn uid(owner: &str) -> Option<Uid> {
    match owner.parse() {
        Ok(number) => Some(Uid(number)),
        Err(_) => nix::unistd::User::from_name(owner).ok().flatten().map(|user| Uid(user.uid.as_raw())),
    }
}

/// The directories that a glob names before its first wildcard, and that hold its matches.
fn literal(root: &PathGlob) -> PathBuf {
    let above = root.parts().split_last().map_or(&[][..], |(_, above)| above);
    let named = above.iter().map_while(|part| match part {
        GlobPart::Named(name) => Some(name),
        GlobPart::Wild(_) => None,
    });
    named.fold(PathBuf::from("/"), |path, name| path.join(name))
}

/// The directories from which caches that this runner's jobs may use are claimed: those that the globs name, and the mounts below them on
/// the way to a match. A hook fences there what belongs to its own user.
pub fn tops(rules: &[CacheRule], runner: &str, mounts: &MountTable) -> Vec<PathBuf> {
    let of_its_own = rules.iter().filter(|rule| may_use(rule, runner));
    let mut found = Vec::new();
    for root in of_its_own.flat_map(|rule| &rule.roots) {
        let top = literal(root);
        let is_on_the_way = |point: &&Path| *point != top && point.starts_with(&top) && leads_to(root, point);
        found.extend(mounts.points().filter(is_on_the_way).map(Path::to_owned));
        found.push(top);
    }
    found.sort();
    found.dedup();
    found
}

/// Whether a match of a glob can be below `place`.
fn leads_to(root: &PathGlob, place: &Path) -> bool {
    let names: Vec<_> = place.iter().skip(1).collect();
    let is_part = |(name, part): (&&OsStr, &GlobPart)| match part {
        GlobPart::Named(named) => named == name,
        GlobPart::Wild(pattern) => {
            name.to_str().is_some_and(|name| pattern.matches_with(name, PathGlob::OPTIONS))
        }
    };
    names.len() < root.parts().len() && names.iter().zip(root.parts()).all(is_part)
}

/// Whether jobs of a runner of this name may use the caches that a rule declares.
fn may_use(rule: &CacheRule, runner: &str) -> bool {
    rule.runners.iter().any(|glob| glob.matches(runner))
}

/// Adds the rules' matches to a discovery, and the directories that hold them.
pub fn discover(rules: &[CacheRule], mounts: &MountTable, discovery: &mut Discovery) {
    let mut ways = Ways::default();
    let mut bases: BTreeMap<PathBuf, Runner> = BTreeMap::new();
    let mut found: Vec<DeclaredFacts> = Vec::new();
    for rule in rules.iter().filter(|rule| !rule.roots.is_empty()) {
        let mut notes = Vec::new();
        let owner = rule.owner.as_deref().and_then(uid).unwrap_or(Uid::ROOT);
        for root in &rule.roots {
            let top = literal(root);
            // A directory without any cache may hold trash. If a mount did not answer before, its writers are not known yet.
            if ways.foreign_hand(&top, owner).is_none()
                && let Ok(base) = Dir::open(&top).and_then(|dir| stand_in(&top, &dir, mounts))
            {
                bases.entry(top.clone()).or_insert(base);
            }
            let mut told = Vec::new();
            for path in Expander::new().expand(root, &mut told) {
                if found.len() >= MAX_FOUND {
                    notes.push(format!("there are more than {MAX_FOUND}: the others wait"));
                    break;
                }
                match examine(&path, &top, rule, mounts, discovery, &mut ways) {
                    Ok(Some((base, cache))) => {
                        let holder =
                            bases.entry(base.path.clone()).or_insert_with(|| holder_of(&base)).clone();
                        let users = users(rule, discovery);
                        found.push(DeclaredFacts { stand_in: facts(holder, cache), users });
                    }
                    Ok(None) => {}
                    Err(why) => notes.push(format!("{} is left alone: {why}", path.display())),
                }
            }
            notes.extend(told.into_iter().map(|note| note.replacen("runners.roots", "cache.roots", 1)));
        }
        let more = notes.len().saturating_sub(MAX_NOTES);
        let shown = notes.into_iter().take(MAX_NOTES);
        discovery.notes.extend(shown.map(|note| format!("cache rule {}: {note}", rule.name)));
        if more > 0 {
            discovery.notes.push(format!("cache rule {}: {more} more like these", rule.name));
        }
    }
    found.sort_by(|a, b| a.cache().path.cmp(&b.cache().path));
    // A cache inside another one is removed with it, and so are the claims of its users.
    found.dedup_by(|later, earlier| {
        let goes_with_it = later.cache().path.starts_with(&earlier.cache().path);
        if goes_with_it {
            let more = later.users.iter().filter(|user| !earlier.users.contains(user)).copied();
            earlier.users.extend(more.collect::<Vec<_>>());
        }
        goes_with_it
    });
    discovery.declared = found;
    discovery.bases = bases.into_values().collect();
}

fn users(rule: &CacheRule, discovery: &Discovery) -> Vec<usize> {
    let names = discovery.runners.iter().map(Runner::own_name).enumerate();
    names.filter(|(_, name)| may_use(rule, name)).map(|(index, _)| index).collect()
}

/// The cache that a match is, and where it is claimed from. Nothing if it is not a cache.
///
/// # Errors
/// Why it does not count, for people.
fn examine(
    path: &Path,
    top: &Path,
    rule: &CacheRule,
    mounts: &MountTable,
    discovery: &Discovery,
    ways: &mut Ways,
) -> Result<Option<(WorkDir, Cache)>, String> {
    let said = |error: io::Error| error.to_string();
    if mounts.has_at(path) {
        return Err("it is a mount point".into());
    }
    let parent_path = path.parent().ok_or("it has no name")?;
    let dir = match Dir::open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        dir => dir.map_err(said)?,
    };
    let parent = Dir::open(parent_path).map_err(said)?;
    if !has_any_marker(&parent, &dir, &rule.markers).map_err(said)? || is_checkout(&dir).map_err(said)? {
        return Ok(None);
    }
    let status = dir.status().map_err(said)?;
    match rule.owner.as_deref() {
        Some(owner) if uid(owner) == Some(status.owner) => {}
        Some(owner) => return Err(format!("it belongs to uid {}, and not to {owner}", status.owner)),
        None if status.owner == Uid::ROOT || is_a_runners(status.owner, discovery) => {}
        None => return Err(format!("it belongs to uid {}, which is no runner's user", status.owner)),
    }
    if let Some(why) = ways.foreign_hand(parent_path, status.owner) {
        return Err(why);
    }
    for runner in &discovery.runners {
        let meets = |place: &Path| place.starts_with(path) || path.starts_with(place);
        if meets(runner.work_path()) || runner.root.starts_with(path) {
            return Err(format!("it meets the directories of the runner {}", runner.name));
        }
    }
    let base = base(parent_path, top, &status, mounts).map_err(said)?;
    let below = path.strip_prefix(&base.path).map_err(|_| "it is outside of its glob")?.to_owned();
    let cache = Cache {
        path: path.to_owned(),
        base: Some(Arc::new(base.clone())),
        below_work: below,
        part: Part::Whole,
        rule: rule.name.clone(),
        id: status.id,
        owner: status.owner,
        measure: None,
        used: None,
        largest: Arc::default(),
    };
    Ok(Some((base, cache)))
}

fn is_a_runners(user: Uid, discovery: &Discovery) -> bool {
    discovery.runners.iter().any(|runner| runner.owner == user)
}

/// The highest directory above a cache that is on the same mount and device, and not above the directories that the glob names.
fn base(parent: &Path, top: &Path, cache: &Status, mounts: &MountTable) -> io::Result<WorkDir> {
    let mut highest = None;
    for place in parent.ancestors().take_while(|place| place.starts_with(top)) {
        let dir = Dir::open(place)?;
        let status = dir.status()?;
        if (status.mount_id, status.id.dev) != (cache.mount_id, cache.id.dev) {
            break;
        }
        highest = Some(work_dir(place, &dir, mounts)?);
    }
    highest.ok_or_else(|| io::Error::other("it is a mount, or a volume of its own"))
}

fn work_dir(path: &Path, dir: &Dir, mounts: &MountTable) -> io::Result<WorkDir> {
    let status = dir.status()?;
    let filesystem = mounts.pool_of(dir, &status);
    Ok(WorkDir { path: path.to_owned(), id: status.id, owner: status.owner, filesystem })
}

fn stand_in(path: &Path, dir: &Dir, mounts: &MountTable) -> io::Result<Runner> {
    Ok(holder_of(&work_dir(path, dir, mounts)?))
}

/// The directory that such caches are claimed from, in the form of a work directory.
fn holder_of(base: &WorkDir) -> Runner {
    Runner {
        name: NAME.into(),
        root: base.path.clone(),
        root_id: base.id,
        owner: base.owner,
        work: Work::Present(base.clone()),
    }
}

fn facts(holder: Runner, cache: Cache) -> RunnerFacts {
    RunnerFacts {
        runner: holder,
        guarded: Guarded::Yes,
        received: JobReceived::No,
        caches: vec![cache],
        locks: Vec::new(),
        leftovers: Vec::new(),
        other_hosts: None,
    }
}

/// A cache in the form that the scan of processes expects: as the work directory of a runner of its own.
pub(super) fn as_place(declared: &DeclaredFacts) -> Runner {
    let cache = declared.cache();
    let filesystem = declared.stand_in.runner.root_dir().filesystem;
    let place = WorkDir { path: cache.path.clone(), id: cache.id, owner: cache.owner, filesystem };
    Runner { root_id: cache.id, work: Work::Present(place), ..declared.stand_in.runner.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_part_of_a_glob_ends_before_its_first_wildcard_and_above_the_cache() {
        for (root, named) in [
            ("/mnt/nvme/targets/*/*/*", "/mnt/nvme/targets"),
            ("/mnt/nvme/t?/x", "/mnt/nvme"),
            ("/srv/targets", "/srv"),
        ] {
            assert_eq!(literal(&PathGlob::parse(root).unwrap()), Path::new(named));
        }
    }

    #[test]
    fn a_mount_leads_to_what_a_glob_matches_only_above_it() {
        for (place, leads) in [
            ("/mnt/nvme", true),
            ("/mnt/nvme/targets", true),
            ("/mnt/nvme/targets/run-1", false),
            ("/mnt/nvme/other", false),
            ("/mnt/a/b", false),
        ] {
            assert_eq!(
                leads_to(&PathGlob::parse("/mnt/*/targets/run-*").unwrap(), Path::new(place)),
                leads,
                "{place}"
            );
        }
    }

    #[test]
    fn an_unknown_owner_is_a_fault_and_a_number_is_none() {
        let rule = |owner: &str| CacheRule {
            name: "runs".into(),
            roots: vec![PathGlob::parse("/usr/local/share/targets/*").unwrap()],
            owner: Some(owner.into()),
            ..CacheRule::default()
        };
        assert_eq!(faults(&[rule("no-such-user-here")])[0].key, "owner");
        assert_eq!(faults(&[rule("0")]), []);
    }
}
