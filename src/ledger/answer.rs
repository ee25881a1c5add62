//! The data for a question to the ledger: all entries, judged, and the present state of the path in question.

use super::{Journal, read_files};
use crate::config::Paths;
use crate::model::Runner;
use crate::model::ledger::{Extent, Ledger, Ownership, Presence, Why, WhyEnvironment, Window};
use crate::policy::ledger as policy;
use crate::sys::dir::Dir;
use crate::sys::program::Programs;
use crate::sys::reach;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Both places, merged and judged. The journal comes first: it knows more about an entry's writer.
pub(crate) fn read(paths: &Paths, since: SystemTime, owners: &[Ownership]) -> Ledger {
    let journal = Journal::of_host(Programs(&paths.programs)).read(since);
    let files = read_files(&paths.state_dir);
    let mut extent = Extent { places: vec![journal.reach, files.reach] };
    let mut entries = policy::judge(policy::merge(vec![journal.entries, files.entries]), owners);
    let left_out = policy::bound_foreign(&mut entries);
    if left_out > 0 {
        extent.places[1].gaps.push(format!(
            "{left_out} older rejected entries were left out: `journalctl -t disk-guard` and the files in {} contain them",
            paths.state_dir.display()
        ));
    }
    Ledger { entries, extent }
}

/// How far around the time at which a path vanished runs are listed.
const AROUND: Duration = Duration::from_secs(600);

/// And how far back for a path that is still there.
const LATELY: Duration = Duration::from_secs(24 * 3600);

/// What `why` answers.
pub(crate) enum WhyAnswer {
    /// The name is that of an environment that the reaper has dealt with.
    Environment(WhyEnvironment),
    /// What happened to a path.
    Path(Why),
}

/// What became of `path`, or of the environment or runner of this name. Without a time it is about the time at which the path vanished,
/// or the last day while it is there.
///
/// # Errors
/// There is no working directory that a relative path could begin at.
pub(crate) fn why(
    paths: &Paths,
    owners: &[Ownership],
    path: &Path,
    since: Option<SystemTime>,
    now: SystemTime,
) -> io::Result<WhyAnswer> {
    let ledger = read(paths, SystemTime::UNIX_EPOCH, owners);
    if let Some(name) = path.to_str().filter(|name| !name.contains('/'))
        && let Some(answer) = policy::why_environment(&ledger, name)
    {
        return Ok(WhyAnswer::Environment(answer));
    }
    let path = of_runner(path, owners).unwrap_or_else(|| path.to_owned());
    let path = without_dots(&std::path::absolute(&path)?);
    let (real, presence) = presence(&path);
    let real = real.filter(|real| *real != path);
    let window = match (since, &presence) {
        (Some(from), _) => Window { from, to: now },
        (None, Presence::Gone(_, changed)) => Window::around(*changed, AROUND),
        (None, Presence::Present | Presence::Hidden(_)) => Window { from: now - LATELY, to: now },
    };
    let spellings: Vec<&Path> = std::iter::once(path.as_path()).chain(real.as_deref()).collect();
    let runner = policy::runner_of(&spellings, owners).map(str::to_owned);
    Ok(WhyAnswer::Path(policy::why(&ledger, (path, real), presence, runner, window)))
}

/// The owners of all runners.
pub(crate) fn owners<'r>(runners: impl IntoIterator<Item = &'r Runner>) -> Vec<Ownership> {
    let owner = |runner: &Runner| Ownership {
        work: runner.work_path().to_owned(),
        work_owner: runner.work_dir().map_or(runner.owner, |work| work.owner),
        name: runner.name.clone(),
        root: runner.root.clone(),
        owner: runner.owner,
    };
    runners.into_iter().map(owner).collect()
}

/// The root of the only runner of this name: all its recorded paths lie there.
fn of_runner(name: &Path, owners: &[Ownership]) -> Option<PathBuf> {
    let name = name.to_str().filter(|name| !name.contains('/'))?;
    let is_meant = |owner: &&Ownership| {
        owner.name == name || owner.root.file_name().is_some_and(|own| own.to_str() == Some(name))
    };
    let mut meant = owners.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(one), None) if one.work.starts_with(&one.root) => Some(one.root.clone()),
        (Some(one), None) => Some(one.work.clone()),
        _ => None,
    }
}

/// The path without `.` and `..`, lexically: the directories that it led through may be gone.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

/// The path without links, as far as it exists, and whether all of it exists.
fn presence(path: &Path) -> (Option<PathBuf>, Presence) {
    let missing = match reach::symlink_metadata(path) {
        Ok(_) => false,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => true,
        Err(error) => return (None, Presence::Hidden(error.to_string())),
    };
    for above in path.ancestors().skip(usize::from(!missing && path.parent().is_some())) {
        let Ok((dir, real)) = Dir::resolve(above) else { continue };
        let below = path.strip_prefix(above).unwrap_or(Path::new(""));
        let real = if below.as_os_str().is_empty() { real } else { real.join(below) };
        let present = match dir.status() {
            _ if !missing => Presence::Present,
            Ok(status) => Presence::Gone(above.to_owned(), status.modified),
            Err(error) => Presence::Hidden(error.to_string()),
        };
        return (Some(real), present);
    }
    (None, Presence::Hidden("no directory above it can be opened".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved_without_the_filesystem() {
        for (path, clean) in [("/a/./b/../c", "/a/c"), ("/../x/", "/x"), ("/", "/")] {
            assert_eq!(without_dots(Path::new(path)), Path::new(clean));
        }
    }

    #[test]
    fn a_path_that_is_gone_is_found_through_the_links_above_it() {
        let temp = tempfile::tempdir().unwrap();
        let (_, base) = Dir::resolve(temp.path()).unwrap();
        std::fs::create_dir_all(base.join("disk/work")).unwrap();
        std::os::unix::fs::symlink("disk", base.join("link")).unwrap();
        let (real, present) = presence(&base.join("link/work/gone/deep"));
        assert_eq!(real.unwrap(), base.join("disk/work/gone/deep"));
        assert!(matches!(present, Presence::Gone(above, _) if above == base.join("link/work")));
        let (real, present) = presence(&base.join("link/work"));
        assert_eq!((real.unwrap(), present), (base.join("disk/work"), Presence::Present));
        std::fs::write(base.join("file"), "").unwrap();
        let (real, present) = presence(&base.join("file/below"));
        assert_eq!(real.unwrap(), base.join("file/below"));
        assert!(matches!(present, Presence::Gone(above, _) if above == base));
    }
}
