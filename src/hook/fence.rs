//! The fence of a hook's own runner: after it no claim that was begun before can take or move the tree of the job that is about to begin
//! (see [`crate::reclaim::trash`]). It needs no configuration and no lock.

use crate::actions_runner::environment;
use crate::model::{Uid, Usage, WorkDir};
use crate::observe::hook_script;
use crate::reclaim::in_place_claim;
use crate::reclaim::trash::{HOME, Trash};
use crate::run_dir::RunDir;
use crate::sys::dir::Dir;
use nix::errno::Errno;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A work directory that is held open.
pub(super) struct Ground {
    dir: Dir,
    trash: io::Result<Option<Trash>>,
    owner: Uid,
}

impl Ground {
    /// Of the directory that was opened when the runner was examined: its path is not followed a second time.
    pub(super) fn of(work: &WorkDir, dir: Dir) -> Self {
        let trash = Trash::open(&dir, work.owner);
        Self { dir, trash, owner: work.owner }
    }

    /// Its handle.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// How full its filesystem is.
    pub(super) fn usage(&self) -> io::Result<Usage> {
        self.dir.usage()
    }

    pub(super) fn fence(&self) -> io::Result<()> {
        match &self.trash {
            Ok(trash) => trash.as_ref().map_or(Ok(()), Trash::fence),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }

    /// A spare inode for a disk without any; once it is used up, a claim does without.
    pub(super) fn keep_spare(&self) {
        let _ = match &self.trash {
            Ok(Some(trash)) => trash.keep_spare(),
            _ => Trash::open_or_make(&self.dir, self.owner).and_then(|trash| trash.keep_spare()),
        };
    }
}

/// Fences caches outside of work directories, which are claimed from this one.
///
/// # Errors
/// Why it cannot be fenced: for example, it belongs to another user.
pub(super) fn around_declared(base: &Path, run: Option<&RunDir>) -> io::Result<()> {
    let dir = match Dir::open(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    let own = Uid(nix::unistd::geteuid().as_raw());
    // Where nothing has ever been claimed there is no trash, and nothing to fence.
    let slots = Trash::open(&dir, own)?.map_or(Ok(()), |trash| trash.fence());
    let beside = run.map_or(Ok(()), |run| in_place_claim::fence(run, &dir));
    slots.and(beside)
}

/// Fences the trash in the runner's root.
///
/// # Errors
/// Why it cannot be fenced.
pub(super) fn around_own(root: &Path) -> io::Result<()> {
    // Most roots have no trash, which one call shows.
    if std::fs::symlink_metadata(root.join(HOME)).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    {
        return Ok(());
    }
    let own = Uid(nix::unistd::geteuid().as_raw());
    Trash::open(&Dir::open(root)?, own)?.map_or(Ok(()), |trash| trash.fence())
}

/// A hook without its ancestry, for example one that was put into the background, cannot tell which runner it works for. Its working
/// directory and its environment may be forged; they lead to nothing but a fence around directories of its own user.
///
/// # Errors
/// Why this process can fence nowhere, such as a filter that refuses a system call. That one place cannot be fenced is none.
pub(super) fn by_place() -> io::Result<()> {
    let variables = environment::PLACES;
    let named = variables.iter().filter_map(std::env::var_os).map(PathBuf::from);
    let places: Vec<PathBuf> = std::env::current_dir().into_iter().chain(named).collect();
    let is_absolute = |place: &&PathBuf| place.is_absolute();
    let around = places.iter().filter(is_absolute).flat_map(|place| place.ancestors());
    let mut all = Ok(());
    // Each of them, also after one that failed.
    for place in around {
        all = all.and(fence_at(place).or_else(of_the_place));
    }
    all
}

fn fence_at(place: &Path) -> io::Result<()> {
    let own = Uid(nix::unistd::geteuid().as_raw());
    let dir = Dir::follow(place)?;
    Trash::open(&dir, own)?.map_or(Ok(()), |trash| trash.fence())
}

/// An error that only this place has: it does not exist, belongs to another user, or lies behind a link or a mount.
fn of_the_place(error: io::Error) -> io::Result<()> {
    match error.raw_os_error().map(Errno::from_raw) {
        None | Some(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP | Errno::EXDEV) => Ok(()),
        Some(_) => Err(error),
    }
}

/// The first that can be started is used.
const SHELLS: [&str; 3] = ["/bin/bash", "/usr/bin/bash", "/bin/sh"];

/// The functions of the shipped script, and what is done with them.
fn in_shell(shell: &str, action: &str) -> Command {
    let mut command = Command::new(shell);
    command.args(["-c", &format!("set +e\n{}\n{action}\n", hook_script::fence())]);
    command
}

/// The same in plain shell, by the commands of the shipped script: where a filter or a limit refuses this program the calls that it needs,
/// those of coreutils may be allowed.
///
/// # Errors
/// Why claims may go on.
pub(super) fn by_shell() -> io::Result<()> {
    let run = |shell: &&str| {
        let mut command = in_shell(shell, "fence");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()
    };
    match SHELLS.iter().find_map(run) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(io::Error::other(status.to_string())),
        None => Err(io::Error::other("no shell can be started")),
    }
}

/// The same in the place of this process, which can start no other. Returns only when there is no shell.
pub(super) fn become_shell() {
    for shell in SHELLS {
        let _ = in_shell(shell, "fence_in_time\nexit 0").exec();
    }
}
