//! Leftovers in a runner's directory outside of any repository.

use crate::actions_runner::layout;
use crate::model::Runner;
use crate::model::hygiene::{Leftover, LeftoverKind};
use crate::observe::retention;
use crate::sys::dir::Dir;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Entries of one directory that are looked at for the newest.
const MAX_ENTRIES: usize = 4096;

/// Everything that has been there for longer than `floor`.
pub(super) fn find(runner: &Runner, work: &Dir, now: SystemTime, floor: Duration) -> Vec<Leftover> {
    let mut found = Vec::new();
    let mut look = |kind, base: &Dir, path: &Path, name: &str| {
        if let Some(newest) = base.descend(name).ok().and_then(|dir| newest(&dir)) {
            found.push(Leftover { kind, path: path.join(name), newest });
        }
    };
    look(LeftoverKind::Update, work, runner.work_path(), layout::UPDATE);
    look(LeftoverKind::Temp, work, runner.work_path(), layout::TEMP);
    let root = Dir::open(&runner.root).ok();
    if let Some(root) = &root {
        for pages in layout::PAGES {
            look(LeftoverKind::Pages, root, &runner.root, &format!("{}/{pages}", layout::DIAG));
        }
    }
    if let Some(root) = root {
        found.extend(retention::old_versions(&root, &runner.root).into_iter().map(|old| Leftover {
            kind: LeftoverKind::OldVersion,
            path: PathBuf::from(&runner.root).join(old.name),
            newest: old.since,
        }));
    }
    found.retain(|leftover| now.duration_since(leftover.newest).is_ok_and(|age| age >= floor));
    found
}

/// The newest modification time of its content; `None` when it is empty.
fn newest(dir: &Dir) -> Option<SystemTime> {
    let names = dir.names(MAX_ENTRIES).ok()?;
    names.iter().filter_map(|name| dir.status_of(name.as_os_str()).ok()).map(|status| status.modified).max()
}
