//! Claiming a cache: one rename under the host lock, checked before and after.
//!
//! ```text
//! slot made -> cache opened and compared -> doubt? -> renamed into the slot -> compared again -> doubt? -> claimed
//! ```
//! Whatever does not compare, and any doubt, puts the tree back where it was. The lock is held for a few renames, whatever
//! the size of the trees. What "doubt" is, the caller knows: it looks again at the evidence each time it is asked.

#![expect(clippy::disallowed_methods, reason = "this is where renaming and removing belong")]

use super::trash::{Slot, TREE, Trash, is_full, unique};
use crate::lock::ExclusiveLock;
use crate::model::{CLAIMED_BESIDE, Cache, Evidence, Uid};
use crate::sys::dir::{Dir, Status};
use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

/// What a claim came to.
#[derive(Debug)]
pub enum Claim {
    /// The tree lies in trash.
    Claimed(Claimed),
    /// Doubt before the rename: nothing was touched.
    Refused(Vec<Evidence>),
    /// Doubt after the rename: it is back in its place.
    Restored(Vec<Evidence>),
    /// It is not what was planned: another directory, another owner, or gone. Left as it is.
    Changed(String),
    /// The system refused. Nothing was touched.
    Failed(io::Error),
}

/// A tree in trash, ready to be deleted: `name` in `parent`.
#[derive(Debug)]
pub struct Claimed {
    /// The slot, or the cache's own former parent.
    pub parent: Dir,
    /// The tree's name in it.
    pub name: OsString,
    /// The slot to discard when the tree is gone.
    pub slot: Option<Slot>,
}

/// A second look at the evidence, by the caller.
pub type Doubt<'a> = dyn FnMut(Moment<'_>) -> Vec<Evidence> + 'a;

/// When doubt is asked for, and where the tree is then.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// Before the rename: in its place.
    Before,
    /// After it: here.
    After(&'a Dir),
}

/// Claims `cache`, which was found below `work`.
pub fn claim(
    _lock: &ExclusiveLock,
    work: &Dir,
    work_owner: Uid,
    cache: &Cache,
    doubt: &mut Doubt<'_>,
) -> Claim {
    let place = match Place::find(work, cache) {
        Ok(place) => place,
        Err(reason) => return Claim::Changed(reason),
    };
    // The slot comes before the look at the evidence: a hook that removes it has overtaken that look.
    match Trash::open_or_make(work, work_owner).and_then(|trash| Ok((trash.make_slot()?, trash))) {
        Ok((slot, trash)) => {
            let result = place.take(&slot.dir, OsStr::new(TREE), cache, doubt);
            match result {
                Ok(()) => match slot.dir.try_clone() {
                    Ok(parent) => Claim::Claimed(Claimed { parent, name: TREE.into(), slot: Some(slot) }),
                    // Out of descriptors: it is in trash, and the next run deletes it.
                    Err(error) => Claim::Failed(error),
                },
                Err(outcome) => {
                    trash.discard(&slot);
                    outcome
                }
            }
        }
        // No inode and no spare: a rename within the parent directory needs neither.
        Err(error) if is_full(&error) => {
            let name = unique(CLAIMED_BESIDE);
            let taken = place.parent.try_clone().map_err(Claim::Failed).and_then(|parent| {
                place.take(&parent, &name, cache, doubt)?;
                Ok(Claimed { parent, name, slot: None })
            });
            taken.map_or_else(|outcome| outcome, Claim::Claimed)
        }
        Err(error) => Claim::Failed(error),
    }
}

/// Where a cache lies now.
struct Place {
    parent: Dir,
    name: OsString,
}

impl Place {
    /// Opens the cache's parent and makes sure that the cache in it is the one that was planned.
    fn find(work: &Dir, cache: &Cache) -> Result<Self, String> {
        let name = cache.below_work.file_name().ok_or("it has no name")?.to_owned();
        let above = cache.below_work.parent().unwrap_or(Path::new("."));
        let parent =
            work.descend(above).map_err(|error| format!("{} cannot be opened: {error}", above.display()))?;
        // By opening it: a mount point has the same status as what is mounted, but cannot be opened from here.
        let found = parent.descend(&name).and_then(|dir| dir.status()).map_err(|error| error.to_string())?;
        compare(&found, cache)?;
        Ok(Self { parent, name })
    }

    /// Renames the cache to `target` in `into`, with the checks around it.
    fn take(&self, into: &Dir, target: &OsStr, cache: &Cache, doubt: &mut Doubt<'_>) -> Result<(), Claim> {
        let doubts = doubt(Moment::Before);
        if !doubts.is_empty() {
            return Err(Claim::Refused(doubts));
        }
        match renameat_with(&self.parent, &self.name, into, target, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                return Err(Claim::Changed(
                    "its runner began a job, or it was removed, before it could be claimed".into(),
                ));
            }
            Err(error) => return Err(Claim::Failed(error.into())),
        }
        let found = into.descend(target).and_then(|tree| Ok((tree.status()?, tree)));
        let compared = found
            .map_err(|error| error.to_string())
            .and_then(|(found, tree)| compare(&found, cache).map(|()| tree));
        let (doubts, changed) = match compared {
            Ok(tree) => (doubt(Moment::After(&tree)), None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        if doubts.is_empty() && changed.is_none() {
            return Ok(());
        }
        match (self.put_back(into, target), changed) {
            (PutBack::Done, Some(reason)) => Err(Claim::Changed(reason)),
            (PutBack::Done, None) => Err(Claim::Restored(doubts)),
            (PutBack::Gone, _) => Ok(()),
        }
    }

    /// Puts the tree back, unless its runner has begun anew in its place or has fenced it off: then it is trash for good.
    fn put_back(&self, from: &Dir, name: &OsStr) -> PutBack {
        match renameat_with(from, name, &self.parent, &self.name, RenameFlags::NOREPLACE) {
            Ok(()) => PutBack::Done,
            Err(_) => PutBack::Gone,
        }
    }
}

enum PutBack {
    Done,
    Gone,
}

fn compare(found: &Status, cache: &Cache) -> Result<(), String> {
    if !found.is_dir() {
        Err("it is no longer a directory".to_owned())
    } else if found.id != cache.id {
        Err("another directory has taken its place".to_owned())
    } else if found.owner != cache.owner {
        Err(format!("its owner changed from uid {} to uid {}", cache.owner, found.owner))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bearing, EvidenceKind};
    use crate::run_dir::RunDir;
    use crate::sys::testing::{in_private_mounts, is_root, mount_small, run, take_all_inodes};
    use std::fs::{create_dir_all, write};
    use std::path::PathBuf;
    use std::time::Duration;

    struct Scene {
        _temp: tempfile::TempDir,
        path: PathBuf,
        work: Dir,
        owner: Uid,
        cache: Cache,
        lock: ExclusiveLock,
    }

    fn scene() -> Scene {
        let temp = tempfile::tempdir().unwrap();
        let path = Dir::resolve(temp.path()).unwrap().1;
        scene_in(temp, path)
    }

    fn scene_in(temp: tempfile::TempDir, path: PathBuf) -> Scene {
        let target = path.join("work/r/r/target");
        create_dir_all(target.join("debug")).unwrap();
        write(target.join("debug/lib.rlib"), "content").unwrap();
        let work = Dir::open(&path.join("work")).unwrap();
        let status = work.descend("r/r/target").unwrap().status().unwrap();
        let run = RunDir::open(&path.join("run")).unwrap();
        let cache = Cache {
            path: target,
            below_work: "r/r/target".into(),
            rule: "cargo-target".into(),
            id: status.id,
            owner: status.owner,
            measure: None,
            largest: std::sync::Arc::default(),
        };
        let lock = ExclusiveLock::acquire(&run, Duration::from_secs(1)).unwrap();
        Scene { _temp: temp, path, work, owner: status.owner, cache, lock }
    }

    impl Scene {
        fn claim(&self, doubt: &mut Doubt<'_>) -> Claim {
            claim(&self.lock, &self.work, self.owner, &self.cache, doubt)
        }

        fn is_in_place(&self) -> bool {
            std::fs::read_to_string(self.cache.path.join("debug/lib.rlib"))
                .is_ok_and(|text| text == "content")
        }

        fn trash(&self) -> Vec<OsString> {
            Trash::open(&self.work, self.owner)
                .unwrap()
                .map_or_else(Vec::new, |trash| trash.entries().unwrap())
        }
    }

    fn busy() -> Vec<Evidence> {
        vec![Evidence::new(EvidenceKind::WorkerProcess, Bearing::InUse, "x")]
    }

    #[test]
    fn without_doubt_it_lies_in_trash_whole() {
        let scene = scene();
        let Claim::Claimed(claimed) = scene.claim(&mut |_| Vec::new()) else { panic!() };
        assert!(!scene.cache.path.exists());
        let tree = claimed.parent.descend(&claimed.name).unwrap();
        assert_eq!(tree.read_file("debug/lib.rlib", 100).unwrap(), b"content");
        assert_eq!(scene.trash().len(), 1);
    }

    #[test]
    fn doubt_before_leaves_it_and_doubt_after_puts_it_back() {
        for (asked_at, restored) in [(1, false), (2, true)] {
            let scene = scene();
            let mut asked = 0;
            let outcome = scene.claim(&mut |_| {
                asked += 1;
                if asked == asked_at { busy() } else { Vec::new() }
            });
            match outcome {
                Claim::Restored(evidence) => assert!(restored && evidence == busy()),
                Claim::Refused(evidence) => assert!(!restored && evidence == busy()),
                other => panic!("{other:?}"),
            }
            assert!(scene.is_in_place());
            assert!(scene.trash().is_empty(), "no slot is left behind");
        }
    }

    /// A hook that gives up waiting for the lock fences; the claimer's look was before, its rename comes after.
    #[test]
    fn a_job_that_starts_between_the_look_and_the_rename_wins() {
        let scene = scene();
        let outcome = scene.claim(&mut |_| {
            Trash::open(&scene.work, scene.owner).unwrap().unwrap().fence().unwrap();
            Vec::new()
        });
        assert!(matches!(outcome, Claim::Changed(_)), "{outcome:?}");
        assert!(scene.is_in_place());
    }

    /// The job has begun after the rename and without its cache: it must not reappear under its hands.
    #[test]
    fn a_fenced_tree_is_not_put_back_under_a_running_job() {
        let scene = scene();
        let mut asked = 0;
        let outcome = scene.claim(&mut |_| {
            asked += 1;
            if asked == 1 {
                return Vec::new();
            }
            Trash::open(&scene.work, scene.owner).unwrap().unwrap().fence().unwrap();
            busy()
        });
        assert!(matches!(outcome, Claim::Claimed(_)), "{outcome:?}");
        assert!(!scene.cache.path.exists());
        assert!(scene.trash().iter().any(|name| name.to_string_lossy().starts_with("fenced-")));
    }

    #[test]
    fn what_was_swapped_stays_where_it_is() {
        type Swap = fn(&Path);
        let swaps: [(&str, Swap); 3] = [
            ("another directory", |target| {
                std::process::Command::new("mv")
                    .arg(target)
                    .arg(target.with_file_name("moved"))
                    .status()
                    .unwrap();
                create_dir_all(target).unwrap();
            }),
            ("a link", |target| {
                std::process::Command::new("mv")
                    .arg(target)
                    .arg(target.with_file_name("moved"))
                    .status()
                    .unwrap();
                std::os::unix::fs::symlink("moved", target).unwrap();
            }),
            ("gone", |target| {
                std::process::Command::new("mv")
                    .arg(target)
                    .arg(target.with_file_name("moved"))
                    .status()
                    .unwrap();
            }),
        ];
        for (what, swap) in swaps {
            let before = scene();
            swap(&before.cache.path);
            assert!(
                matches!(before.claim(&mut |_| Vec::new()), Claim::Changed(_)),
                "{what}, before the claim"
            );
            assert!(before.path.join("work/r/r/moved/debug/lib.rlib").exists());

            let between = scene();
            let mut asked = 0;
            let outcome = between.claim(&mut |_| {
                asked += 1;
                if asked == 1 {
                    swap(&between.cache.path);
                }
                Vec::new()
            });
            assert!(matches!(outcome, Claim::Changed(_)), "{what}, between look and rename: {outcome:?}");
            assert!(between.path.join("work/r/r/moved/debug/lib.rlib").exists());
            assert_eq!(
                between.cache.path.symlink_metadata().is_ok(),
                what != "gone",
                "what was there is back"
            );
        }
    }

    /// A trash that cannot be used for another reason than want of space is no reason to claim without one.
    #[test]
    fn without_a_usable_trash_nothing_is_claimed() {
        let scene = scene();
        write(scene.path.join("work/.disk-guard"), "").unwrap();
        assert!(matches!(scene.claim(&mut |_| Vec::new()), Claim::Failed(_)));
        assert!(scene.is_in_place());
        std::fs::remove_file(scene.path.join("work/.disk-guard")).unwrap();
        assert!(matches!(scene.claim(&mut |_| Vec::new()), Claim::Claimed(_)), "the control");
    }

    #[test]
    fn without_an_inode_it_is_claimed_in_its_own_place_and_doubted_like_any_other() {
        if !is_root() {
            return;
        }
        in_private_mounts(|| {
            let temp = tempfile::tempdir().unwrap();
            mount_small(temp.path());
            let path = temp.path().to_owned();
            let scene = scene_in(temp, path);
            take_all_inodes(&scene.path);
            assert!(matches!(scene.claim(&mut |_| busy()), Claim::Refused(_)));
            assert!(scene.is_in_place());
            let Claim::Claimed(claimed) = scene.claim(&mut |_| Vec::new()) else { panic!() };
            assert!(claimed.slot.is_none() && !scene.cache.path.exists());
            assert!(claimed.name.to_string_lossy().starts_with(CLAIMED_BESIDE));
            let tree = claimed.parent.descend(&claimed.name).unwrap();
            assert_eq!(tree.status().unwrap().id, scene.cache.id);
            assert!(run("umount", &["-l".as_ref(), scene.path.as_os_str()]));
        });
    }

    #[test]
    fn its_runner_having_built_anew_is_not_overwritten() {
        let scene = scene();
        let mut asked = 0;
        let outcome = scene.claim(&mut |_| {
            asked += 1;
            if asked == 1 {
                return Vec::new();
            }
            create_dir_all(scene.cache.path.join("new")).unwrap();
            busy()
        });
        assert!(matches!(outcome, Claim::Claimed(_)), "{outcome:?}");
        assert!(scene.cache.path.join("new").exists());
    }
}
