//! Which runners there are, and where they work.
//!
//! Roots come from the configuration's globs. The files inside a root are written by the runner's user: `.runner` is read bounded, through
//! a handle, and decides only which directory is looked at. A work directory that is not plainly the runner's own is listed as unusable,
//! and is never touched. A root that only a user's link leads to does not count.

use super::filesystems::MountTable;
use super::ownership::Ways;
pub use super::root_globs::is_allowed;
use super::root_globs::{self, Expander};
use crate::actions_runner::layout;
use crate::actions_runner::settings::{self, Settings};
use crate::model::{DeclaredFacts, FileId, PathGlob, Remark, Runner, Uid, Work, WorkDir};
use crate::sys::dir::{Dir, Status};
use crate::sys::reach;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// GitHub gives runners names of at most 64 characters; a longer one is ignored.
const MAX_NAME: usize = 256;

/// `.runner` is a few hundred bytes.
const MAX_SETTINGS: u64 = 64 * 1024;

/// Why the runner's place of work is unknown.
const NO_SETTINGS: &str = "it has no `.runner` and no `_work`: it is not configured, or was ephemeral and has ended; where its \
     jobs have worked, and what they have left there, is not known";

/// The result.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// Each runner once, however many globs or links lead to it; runner-2 before runner-10.
    pub runners: Vec<Runner>,
    /// Caches outside of work directories that the configuration declares.
    pub declared: Vec<DeclaredFacts>,
    /// The directories that hold those, or have held some, in the form of work directories.
    pub bases: Vec<Runner>,
    /// How many runners each glob matched, in the order of the configuration.
    pub matches: Vec<(String, usize)>,
    /// For people: failures.
    pub notes: Vec<String>,
    /// For the administrator: closed directories of other users, and other remarks that do not concern a job.
    pub remarks: Vec<Remark>,
}

/// What a user who may not look into the runners' directories can do.
pub const RUN_AS_ROOT: &str = "run as root to see the runners there";

/// The remark about directories that only other users may search.
pub const ROOTS_CLOSED: &str = "roots-closed";

/// The maximum of unreadable directories that are named.
const MAX_NAMED: usize = 3;

impl Discovery {
    /// The runners, and the directories from which declared caches are claimed.
    pub fn holders(&self) -> Vec<Runner> {
        self.runners.iter().chain(&self.bases).cloned().collect()
    }

    /// One remark for all the directories that the globs could not search. A home that is closed to others is normal.
    fn remark_closed(&mut self, closed: &BTreeSet<PathBuf>) {
        // What lies below a closed directory is closed with it.
        let is_outermost = |place: &&PathBuf| !place.ancestors().skip(1).any(|above| closed.contains(above));
        let closed: Vec<&PathBuf> = closed.iter().filter(is_outermost).collect();
        if closed.is_empty() {
            return;
        }
        let named: Vec<String> =
            closed.iter().take(MAX_NAMED).map(|place| place.display().to_string()).collect();
        let others = match closed.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        self.remarks.push(Remark {
            id: ROOTS_CLOSED.into(),
            is_fault: false,
            said: format!("runners.roots: {}{others} cannot be read: Permission denied", named.join(", ")),
            fix: RUN_AS_ROOT.into(),
        });
    }

    /// Runners of the same name are shown with their roots.
    fn tell_names_apart(&mut self) {
        let mut bearers: HashMap<String, usize> = HashMap::new();
        for runner in &self.runners {
            *bearers.entry(runner.name.clone()).or_default() += 1;
        }
        for runner in self.runners.iter_mut().filter(|runner| bearers[&runner.name] > 1) {
            runner.name = format!("{} in {}", runner.name, runner.root.display());
        }
    }

    /// Notes if the built-in globs match nothing. They name every usual place, so only all together count, and only where this user could
    /// have found something.
    pub fn note_empty_built_in_globs(&mut self) {
        let is_closed = self.remarks.iter().any(|remark| remark.id == ROOTS_CLOSED);
        if self.runners.is_empty() && !is_closed {
            self.notes.push(
                "runners.roots is not set and matches nothing with its default, the usual places (`disk-guard check-config` lists \
                 them): no directory there holds `.runner`, `bin/Runner.Listener` or `_work`"
                    .to_owned(),
            );
        }
    }

    /// Notes each glob that matches nothing.
    pub fn note_empty_globs(&mut self) {
        let empty: Vec<&str> =
            self.matches.iter().filter(|(_, n)| *n == 0).map(|(glob, _)| glob.as_str()).collect();
        if !empty.is_empty() {
            self.notes.push(format!(
                "runners.roots matches nothing with {}: no directory there holds `.runner`, `bin/Runner.Listener` or `_work`",
                empty.join(", ")
            ));
        }
    }
}

/// Expands the globs. From here on, mounts that do not answer are left alone ([`reach`]).
pub fn discover(patterns: &[PathGlob], mounts: &MountTable) -> Discovery {
    reach::watch();
    let mut found = Discovery::default();
    let mut seen = HashSet::new();
    let mut ways = Ways::default();
    let mut expander = Expander::new();
    for pattern in patterns {
        let mut matches = 0;
        for path in expander.expand(pattern, &mut found.notes) {
            let examined = match look(&path, mounts, &mut ways).map(|seen| seen.map(|(runner, _)| runner)) {
                Err(error) if reach::is_silence(&error) => {
                    found.notes.push(format!("{} cannot be examined: {error}", path.display()));
                    Ok(Some(out_of_reach(path.clone(), &error, found.runners.len())))
                }
                examined => examined,
            };
            match examined {
                Ok(Some(runner)) => {
                    if let Some(reason) = ways.stray(&path, &runner.root, patterns) {
                        found.notes.push(reason);
                        continue;
                    }
                    matches += 1;
                    if seen.insert(runner.root_id) {
                        found.notes.extend(silence_of_work(&runner));
                        found.runners.push(runner);
                    }
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    found.notes.push(format!("{} vanished during the examination", path.display()));
                }
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    expander.closed.insert(path.clone());
                }
                Err(error) => found.notes.push(format!("{} cannot be examined: {error}", path.display())),
            }
        }
        found.matches.push((pattern.text().to_owned(), matches));
    }
    found.runners.sort_by_cached_key(|runner| natural(&runner.root));
    found.remark_closed(&expander.closed);
    found.tell_names_apart();
    found
}

/// The reason for a work directory that is not entered because a mount there, or on the way to it, does not answer.
fn silence_of_work(runner: &Runner) -> Option<String> {
    let Work::Unusable { path, .. } = &runner.work else { return None };
    let error = reach::check(path).err()?;
    Some(format!("{}: the work directory of {} is not searched: {error}", path.display(), runner.name))
}

/// A match that cannot be looked into may be a runner: it is listed, as unknown.
fn out_of_reach(root: PathBuf, error: &io::Error, index: usize) -> Runner {
    Runner {
        name: root.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        // No file: nothing that is opened is equal to it.
        root_id: FileId { dev: u64::MAX, ino: u64::MAX - index as u64 },
        owner: Uid(u32::MAX),
        work: Work::Unusable {
            path: root.join(layout::WORK),
            reason: format!("the runner cannot be examined: {error}"),
        },
        root,
    }
}

/// Looks at one directory; `None` when it is no runner's root.
///
/// # Errors
/// The error of opening it.
pub fn examine(path: &Path, mounts: &MountTable) -> io::Result<Option<Runner>> {
    Ok(examine_and_hold(path, mounts)?.map(|(runner, _)| runner))
}

/// The same, with the handle of the work directory that was looked at, where there is one that may be used.
///
/// # Errors
/// As [`examine`].
pub fn examine_and_hold(path: &Path, mounts: &MountTable) -> io::Result<Option<(Runner, Option<Dir>)>> {
    look(path, mounts, &mut Ways::default())
}

fn look(path: &Path, mounts: &MountTable, ways: &mut Ways) -> io::Result<Option<(Runner, Option<Dir>)>> {
    let (dir, root) = Dir::resolve(path)?;
    let (settings, is_configured) = match dir.read_file_and_status(layout::SETTINGS, MAX_SETTINGS) {
        Ok((bytes, status)) => {
            ways.know(&root.join(layout::SETTINGS), status);
            (settings::parse(&bytes).map_err(|error| error.to_string()), true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Ok(Settings::default()), false),
        Err(error) => (Err(format!("`.runner` cannot be read: {error}")), true),
    };
    // `bin` is a link after a self-update, so the Listener is searched through it. `_work` may be a mount.
    let is_runner = is_configured
        || root_globs::is_there(&dir, layout::WORK.as_ref()).is_ok_and(|is| is)
        || has_listener(&root);
    if !is_runner {
        return Ok(None);
    }
    let status = dir.status()?;
    ways.know(&root, status);
    let directory_name = || root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut held = None;
    let (name, work) = match settings {
        Ok(settings) => {
            let folder = settings.work_folder.unwrap_or_else(|| layout::WORK.into());
            let found = match find_work(&root, &folder, status.owner, mounts) {
                Ok((work, handle, work_status)) => {
                    ways.know(&work.path, work_status);
                    match ways.refusal(&root, is_configured, &root.join(&folder), work.owner) {
                        Some(reason) => Work::Unusable { path: work.path, reason },
                        None => {
                            held = Some(handle);
                            Work::Present(work)
                        }
                    }
                }
                // An ephemeral runner removes its settings when it ends.
                Err(Work::Absent { path }) if !is_configured => {
                    Work::Unusable { path, reason: NO_SETTINGS.into() }
                }
                Err(work) => work,
            };
            (settings.name.filter(|name| name.len() <= MAX_NAME).unwrap_or_else(directory_name), found)
        }
        Err(reason) => (directory_name(), Work::Unusable { path: root.join(layout::WORK), reason }),
    };
    Ok(Some((Runner { name, root, root_id: status.id, owner: status.owner, work }, held)))
}

fn has_listener(root: &Path) -> bool {
    Dir::resolve(&root.join(layout::BIN)).is_ok_and(|(bin, _)| bin.status_of(layout::LISTENER).is_ok())
}

/// Resolves `root / folder` as the runner does: absolute paths and `..` are accepted, links followed. A directory that may be the runner's
/// comes with its handle and status.
///
/// # Errors
/// The reason why there is none.
fn find_work(
    root: &Path,
    folder: &str,
    owner: Uid,
    mounts: &MountTable,
) -> Result<(WorkDir, Dir, Status), Work> {
    let configured = root.join(folder);
    let (dir, path) = match Dir::resolve(&configured) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Work::Absent { path: configured });
        }
        Err(error) => {
            let reason = format!("the work directory cannot be opened: {error}");
            return Err(Work::Unusable { path: configured, reason });
        }
    };
    let status = match dir.status() {
        Ok(status) => status,
        Err(error) => {
            let reason = format!("the work directory cannot be examined: {error}");
            return Err(Work::Unusable { path, reason });
        }
    };
    if let Some(reason) = not_its_own(root, &path, owner, status.owner) {
        return Err(Work::Unusable { path, reason });
    }
    let filesystem = mounts.pool_of(&dir, &status);
    Ok((WorkDir { path, id: status.id, owner: status.owner, filesystem }, dir, status))
}

/// A job can rewrite `.runner` for the next job, so a work directory is used only when it is plainly the runner's own.
fn not_its_own(root: &Path, work: &Path, root_owner: Uid, work_owner: Uid) -> Option<String> {
    if root.starts_with(work) {
        Some(format!("the work directory {} contains the runner itself", work.display()))
    } else if root_owner != Uid::ROOT && work_owner != root_owner {
        Some(format!("the work directory belongs to uid {work_owner}, the runner to uid {root_owner}"))
    } else {
        None
    }
}

/// Digits compare as numbers: runner-2 before runner-10.
fn natural(path: &Path) -> Vec<(String, u64)> {
    let text = path.to_string_lossy();
    let mut key = Vec::new();
    let mut rest = text.as_ref();
    while !rest.is_empty() {
        let word_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(word_end);
        let number_end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(number_end);
        key.push((word.to_owned(), number.parse().unwrap_or(u64::MAX)));
        rest = tail;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    #[test]
    fn a_runner_is_found_once_by_whatever_marks_it_and_decoys_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        let roots = ["actions-runner-10", "actions-runner-2", "actions-runner-1"].map(|name| base.join(name));
        create_dir_all(roots[0].join("_work")).unwrap();
        create_dir_all(roots[1].join("bin.2.336.0")).unwrap();
        write(roots[1].join("bin.2.336.0/Runner.Listener"), "").unwrap();
        symlink("bin.2.336.0", roots[1].join("bin")).unwrap();
        create_dir_all(&roots[2]).unwrap();
        write(roots[2].join(".runner"), "\u{feff}{\"agentName\":\"one\"}").unwrap();
        create_dir_all(base.join("actions-runner-decoy")).unwrap();
        write(base.join("actions-runner-file"), "").unwrap();
        symlink(&roots[0], base.join("actions-runner-link")).unwrap();

        let patterns = [base.join("actions-runner*"), base.join("nothing*")]
            .map(|p| PathGlob::parse(p.to_str().unwrap()).unwrap());
        let found = discover(&patterns, &MountTable::default());
        let names: Vec<&str> = found.runners.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["one", "actions-runner-2", "actions-runner-10"]);
        assert_eq!(
            found.matches.iter().map(|m| m.1).collect::<Vec<_>>(),
            [4, 0],
            "the link leads to a runner, too"
        );
        assert!(matches!(found.runners[0].work, Work::Absent { .. }));
        assert!(matches!(found.runners[2].work, Work::Present(_)));

        type Note = fn(&mut Discovery);
        let (configured, built_in): (Note, Note) =
            (Discovery::note_empty_globs, Discovery::note_empty_built_in_globs);
        for (note, patterns, noted) in [
            (configured, &patterns[..], true),
            (built_in, &patterns[..], false),
            (built_in, &patterns[1..], true),
        ] {
            let mut found = discover(patterns, &MountTable::default());
            note(&mut found);
            assert_eq!(
                found.notes.iter().any(|note| note.contains("matches nothing")),
                noted,
                "{:?}",
                found.notes
            );
        }
    }

    #[test]
    fn a_work_directory_that_is_not_plainly_its_own_is_unusable() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("actions-runner-1");
        create_dir_all(root.join("_work")).unwrap();
        create_dir_all(temp.path().join("elsewhere")).unwrap();
        let work = |folder: &str| {
            write(root.join(".runner"), format!("{{\"workFolder\": \"{folder}\"}}")).unwrap();
            examine(&root, &MountTable::default()).unwrap().unwrap().work
        };
        assert!(matches!(work("_work"), Work::Present(_)));
        assert!(matches!(work("../elsewhere"), Work::Present(_)));
        assert!(matches!(work(temp.path().join("elsewhere").to_str().unwrap()), Work::Present(_)));
        assert!(matches!(work("/"), Work::Unusable { .. }));
        assert!(matches!(work(".."), Work::Unusable { .. }));
        assert!(matches!(work("."), Work::Unusable { .. }));
        assert!(matches!(work("_none"), Work::Absent { .. }));
        create_dir_all(root.join("bin")).unwrap();
        write(root.join("bin/Runner.Listener"), "").unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test's own file")]
        std::fs::remove_file(root.join(".runner")).unwrap();
        let gone = || examine(&root, &MountTable::default()).unwrap().unwrap().work;
        assert!(matches!(gone(), Work::Present(_)), "the default work directory is there");
        #[expect(clippy::disallowed_methods, reason = "the test's own directory")]
        std::fs::remove_dir(root.join("_work")).unwrap();
        assert!(matches!(gone(), Work::Unusable { reason, .. } if reason.contains("ephemeral")));
        write(root.join(".runner"), "{broken").unwrap();
        assert!(matches!(
            examine(&root, &MountTable::default()).unwrap().unwrap().work,
            Work::Unusable { .. }
        ));

        assert!(not_its_own(Path::new("/r"), Path::new("/w"), Uid(5), Uid(6)).unwrap().contains("uid 6"));
        assert_eq!(not_its_own(Path::new("/r"), Path::new("/w"), Uid(0), Uid(6)), None, "installed by root");
    }

    #[test]
    fn runners_of_one_name_are_distinguished() {
        let temp = tempfile::tempdir().unwrap();
        let base = Dir::resolve(temp.path()).unwrap().1;
        for (root, name) in [("r-1", "ci"), ("r-2", "ci"), ("r-3", "other")] {
            create_dir_all(base.join(root)).unwrap();
            write(base.join(root).join(".runner"), format!("{{\"agentName\":\"{name}\"}}")).unwrap();
        }
        let patterns = [PathGlob::parse(base.join("r-*").to_str().unwrap()).unwrap()];
        let found = discover(&patterns, &MountTable::default()).runners;
        let names: Vec<&str> = found.iter().map(|runner| runner.name.as_str()).collect();
        let twin = |root: &str| format!("ci in {}", base.join(root).display());
        assert_eq!(names, [&twin("r-1"), &twin("r-2"), "other"]);
        let own: Vec<&str> = found.iter().map(Runner::own_name).collect();
        assert_eq!(own, ["ci", "ci", "other"]);
    }

    #[test]
    fn directories_closed_by_others_are_one_remark() {
        let mut found = Discovery::default();
        found.remark_closed(&BTreeSet::new());
        assert!(found.remarks.is_empty());
        found.remark_closed(&(0..500).map(|home| PathBuf::from(format!("/home/{home}"))).collect());
        assert_eq!(found.remarks.len(), 1);
        assert!(found.remarks[0].said.contains("/home/0, /home/1, /home/10 and 497 more"), "{found:?}");

        let mut found = Discovery { matches: vec![("/home/*/x".into(), 0)], ..Discovery::default() };
        found.remark_closed(&["/home/a", "/home/a/x", "/home/a/y/z", "/home/ab"].map(PathBuf::from).into());
        assert!(found.remarks[0].said.contains(": /home/a, /home/ab cannot be read"), "{found:?}");
        found.note_empty_built_in_globs();
        assert!(found.notes.is_empty(), "it is not known whether they match nothing: {found:?}");
        found.note_empty_globs();
        assert_eq!(found.notes.len(), 1);
    }
}
