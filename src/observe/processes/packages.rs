//! Which runner a Listener belongs to whose program is in a package and whose environment names no root.
//!
//! The configuration names the directories of such programs (`runners.programs`). Such a Listener belongs to the runner of its own user in
//! whose root or work directory it was started, or whose log it has open. If several match, none counts. The program's path is text from
//! the process's own mount namespace, where a job can mount anything: so the result is valid only for the process's own user.

use super::sight::log_begun;
use crate::actions_runner::layout;
use crate::model::{FileId, PathGlob, Runner};
use crate::sys::process::{LookError, Proc};
use crate::sys::process_dir::ProcessDir;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Whether an executable lies in one of the declared directories. `name` is the program's.
pub(super) fn hold(programs: &[PathGlob], exe: &[u8], name: &[u8]) -> bool {
    let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
    let place = exe.strip_suffix(name).and_then(|place| place.strip_suffix(b"/"));
    let place = place.map(|place| Path::new(OsStr::from_bytes(place)));
    place.is_some_and(|place| programs.iter().any(|glob| glob.matches(place)))
}

/// The only runner that this Listener of a declared program matches.
pub(super) fn runner_of(
    proc: &Proc,
    dir: &ProcessDir,
    runners: &[Runner],
) -> Result<Option<usize>, LookError> {
    let owner = dir.owner()?;
    let mine: Vec<usize> = (0..runners.len()).filter(|&index| runners[index].owner == owner).collect();
    let place = dir.follow(c"cwd").ok().map(|(place, _)| place);
    let is_at = |index: usize| place.is_some_and(|place| is_its_own(&runners[index], place));
    if let Some(index) = only(mine.iter().copied().filter(|&index| is_at(index))) {
        return Ok(Some(index));
    }
    let process = dir.identify()?.id;
    let logs = |runner: &Runner| {
        [runner.root.as_path(), runner.work_path()].map(|place| resolved(&place.join(layout::DIAG)))
    };
    let writes = |index: &usize| {
        logs(&runners[*index]).iter().flatten().any(|logs| log_begun(proc, process, logs).is_some())
    };
    Ok(only(mine.iter().copied().filter(writes)))
}

/// Whether a directory is the runner's root or its work directory.
fn is_its_own(runner: &Runner, place: FileId) -> bool {
    runner.root_id == place || runner.work_dir().is_some_and(|work| work.id == place)
}

fn resolved(path: &Path) -> Option<PathBuf> {
    crate::sys::dir::Dir::resolve(path).ok().map(|(_, path)| path)
}

fn only(mut found: impl Iterator<Item = usize>) -> Option<usize> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_lies_in_a_declared_directory_itself_and_not_below_it() {
        let programs = ["/nix/store/*-github-runner-*/lib/github-runner", "/opt/r[1]"];
        let programs = programs.map(|glob| PathGlob::parse(glob).unwrap());
        for (exe, is_held) in [
            ("/nix/store/abc-github-runner-2.320/lib/github-runner/Runner.Listener", true),
            ("/nix/store/abc-github-runner-2.320/lib/github-runner/Runner.Listener (deleted)", true),
            ("/nix/store/x/abc-github-runner-2/lib/github-runner/Runner.Listener", false),
            ("/nix/store/abc-github-runner-2/lib/github-runner/bin/Runner.Listener", false),
            ("/nix/store/abc-github-runner-2/lib/github-runner/Runner.Worker", false),
            ("/nix/store/abc-github-runner-2/lib/github-runner/xRunner.Listener", false),
            ("/opt/r1/Runner.Listener", true),
            ("Runner.Listener", false),
            ("", false),
        ] {
            assert_eq!(hold(&programs, exe.as_bytes(), b"Runner.Listener"), is_held, "{exe}");
        }
        assert!(!hold(&[], b"/opt/r1/Runner.Listener", b"Runner.Listener"));
    }

    #[test]
    fn an_ambiguous_choice_is_none() {
        assert_eq!(only([3].into_iter()), Some(3));
        assert_eq!(only([3, 4].into_iter()), None);
        assert_eq!(only([].into_iter()), None);
    }
}
