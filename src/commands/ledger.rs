//! `why`, `history` and `blame`: what was done, to what, on which evidence; or proof that nothing was.

use super::{Context, complain, now, present, show, trim};
use crate::ledger::{Journal, read_files, when};
use crate::model::Runner;
use crate::model::TargetView;
use crate::model::ledger::{Extent, Ledger, Ownership, Presence, Window};
use crate::policy::ledger as policy;
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::sys::dir::Dir;
use crate::sys::program::Programs;
use crate::text::words;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How far around the time at which a path vanished the guard's runs are listed.
const AROUND: Duration = Duration::from_secs(600);

/// And how far back for a path that is still there.
const LATELY: Duration = Duration::from_secs(24 * 3600);

/// Answers for a path.
pub(super) fn why(context: &Context, path: &Path, since: Option<&str>, as_json: bool) -> Exit {
    let now = now();
    let since = match since.map(|text| when::parse(text, now)).transpose() {
        Ok(since) => since,
        Err(reason) => return usage(&reason),
    };
    let owners = owners(context.snapshot().runners());
    let ledger = read(context, SystemTime::UNIX_EPOCH, &owners);
    if let Some(name) = path.to_str().filter(|name| !name.contains('/')) {
        if let Some(answer) = policy::why_environment(&ledger, name) {
            present(
                &context.screen,
                as_json,
                || json::why_environment(&answer, json::Layout::Pretty),
                || human::why_environment(&answer, now, &context.screen),
            );
            return Exit::Done;
        }
    }
    let path = of_runner(path, &owners).unwrap_or_else(|| path.to_owned());
    let path = match std::path::absolute(&path) {
        Ok(path) => without_dots(&path),
        Err(error) => return usage(&format!("{} is no path: {error}", path.display())),
    };
    let (real, presence) = look(&path);
    let real = real.filter(|real| *real != path);
    let window = match (since, &presence) {
        (Some(from), _) => Window { from, to: now },
        (None, Presence::Gone(_, changed)) => Window::around(*changed, AROUND),
        (None, Presence::Present | Presence::Hidden(_)) => Window { from: now - LATELY, to: now },
    };
    let spellings: Vec<&Path> = std::iter::once(path.as_path()).chain(real.as_deref()).collect();
    let runner = policy::runner_of(&spellings, &owners).map(str::to_owned);
    let answer = policy::why(&ledger, (path.clone(), real.clone()), presence, runner, window);
    present(
        &context.screen,
        as_json,
        || json::why(&answer, json::Layout::Pretty),
        || human::why(&answer, now, &context.screen),
    );
    if !as_json {
        // What is no cargo target, or cannot be read, has no such line.
        let target = trim::read(&path).ok().map(|offer| TargetView::of(&path, "", &offer));
        if let Some(text) = target.and_then(|target| words::unused(&target, now)) {
            show(&context.screen, &format!("\n{text}.\n"));
        }
    }
    Exit::Done
}

/// Answers for a time.
pub(super) fn blame(context: &Context, at: &str, reach: &str, as_json: bool) -> Exit {
    let now = now();
    let (at, reach) = match (when::parse(at, now), when::span(reach)) {
        (Ok(at), Ok(reach)) => (at, reach),
        (Err(reason), _) | (_, Err(reason)) => return usage(&reason),
    };
    // The whole ledger: the action before may be long ago.
    let ledger = read(context, SystemTime::UNIX_EPOCH, &owners(context.snapshot().runners()));
    let answer = policy::blame(&ledger, at, Window::around(at, reach));
    present(
        &context.screen,
        as_json,
        || json::blame(&answer, json::Layout::Pretty),
        || human::blame(&answer, now, &context.screen),
    );
    Exit::Done
}

/// What was done since a time.
pub(super) fn history(context: &Context, since: &str, as_json: bool) -> Exit {
    let now = now();
    let since = match when::parse(since, now) {
        Ok(since) => since,
        Err(reason) => return usage(&reason),
    };
    let ledger = read(context, since, &owners(context.snapshot().runners()));
    let answer = policy::history(&ledger, Window { from: since, to: now });
    present(
        &context.screen,
        as_json,
        || json::history(&answer, json::Layout::Pretty),
        || human::history(&answer, now, &context.screen),
    );
    Exit::Done
}

fn usage(reason: &str) -> Exit {
    complain(&reason);
    Exit::Usage
}

/// Both places, put together and judged. The journal comes first: it knows more of an entry's writer.
pub(super) fn read(context: &Context, since: SystemTime, owners: &[Ownership]) -> Ledger {
    let journal = Journal::of_host(Programs(&context.config.paths.programs)).read(since);
    let files = read_files(&context.config.paths.state_dir);
    let mut extent = Extent { places: vec![journal.reach, files.reach] };
    let mut entries = policy::judge(policy::merge(vec![journal.entries, files.entries]), owners);
    let left_out = policy::bound_foreign(&mut entries);
    if left_out > 0 {
        extent.places[1].gaps.push(format!(
            "{left_out} older entries that are not believed were left out: `journalctl -t disk-guard` and the files in {} have them",
            context.config.paths.state_dir.display()
        ));
    }
    Ledger { entries, extent }
}

/// Whose runner is whose.
pub(super) fn owners<'r>(runners: impl IntoIterator<Item = &'r Runner>) -> Vec<Ownership> {
    let owner = |runner: &Runner| Ownership {
        work: runner.work_path().to_owned(),
        work_owner: runner.work_dir().map_or(runner.owner, |work| work.owner),
        name: runner.name.clone(),
        root: runner.root.clone(),
        owner: runner.owner,
    };
    runners.into_iter().map(owner).collect()
}

/// The directory of the one runner of this name: where all lies that is recorded of it.
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

/// The path without `.` and `..`, by its letters alone: what it once led through may be gone.
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

/// The path without links, as far as it is there, and whether all of it is.
fn look(path: &Path) -> (Option<PathBuf>, Presence) {
    let missing = match std::fs::symlink_metadata(path) {
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
    fn dots_go_by_their_letters() {
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
        let (real, present) = look(&base.join("link/work/gone/deep"));
        assert_eq!(real.unwrap(), base.join("disk/work/gone/deep"));
        assert!(matches!(present, Presence::Gone(above, _) if above == base.join("link/work")));
        let (real, present) = look(&base.join("link/work"));
        assert_eq!((real.unwrap(), present), (base.join("disk/work"), Presence::Present));
        std::fs::write(base.join("file"), "").unwrap();
        let (real, present) = look(&base.join("file/below"));
        assert_eq!(real.unwrap(), base.join("file/below"));
        assert!(matches!(present, Presence::Gone(above, _) if above == base));
    }
}
