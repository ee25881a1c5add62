//! The fence of a hook's own runner: after it no claim that was begun before can take or move the tree of the job that is about to begin
//! (see [`crate::reclaim::trash`]). It needs no configuration and no lock.

use crate::actions_runner::environment;
use crate::model::{Uid, Usage, WorkDir};
use crate::reclaim::in_place_claim;
use crate::reclaim::trash::{HOME, Trash};
use crate::run_dir::RunDir;
use crate::sys::dir::Dir;
use std::io;
use std::path::{Path, PathBuf};

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
pub(super) fn by_place() {
    let variables = environment::PLACES;
    let named = variables.iter().filter_map(std::env::var_os).map(PathBuf::from);
    let places: Vec<PathBuf> = std::env::current_dir().into_iter().chain(named).collect();
    let is_absolute = |place: &&PathBuf| place.is_absolute();
    places.iter().filter(is_absolute).flat_map(|place| place.ancestors()).for_each(fence_at);
}

fn fence_at(place: &Path) {
    let own = Uid(nix::unistd::geteuid().as_raw());
    let trash = Dir::follow(place).and_then(|dir| Trash::open(&dir, own));
    if let Ok(Some(trash)) = trash {
        let _ = trash.fence();
    }
}
