mod files;
mod subvolume;
mod units;

use super::*;
use crate::model::{CLAIMED_BESIDE, EvidenceKind, FilesystemId, Weight, WorkDir};
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
    run: RunDir,
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
        base: None,
        part: Default::default(),
        rule: "cargo-target".into(),
        id: status.id,
        owner: status.owner,
        measure: None,
        used: None,
        largest: std::sync::Arc::default(),
    };
    let lock = ExclusiveLock::acquire(&run, Duration::from_secs(1)).unwrap();
    Scene { _temp: temp, path, work, owner: status.owner, cache, run, lock }
}

impl Scene {
    fn claim(&self, recheck: &mut Recheck<'_>) -> Claim {
        claim(&self.lock, &self.work, self.owner, &self.cache, recheck)
    }

    fn is_in_place(&self) -> bool {
        std::fs::read_to_string(self.cache.path.join("debug/lib.rlib")).is_ok_and(|text| text == "content")
    }

    fn trash(&self) -> Vec<OsString> {
        // Empty slots as well.
        Trash::open(&self.work, self.owner)
            .unwrap()
            .map_or_else(Vec::new, |trash| trash.dir().names(100).unwrap())
    }
}

fn busy() -> Vec<Evidence> {
    vec![Evidence::new(EvidenceKind::WorkerProcess, Weight::InUse, "x")]
}

#[test]
fn a_claim_without_doubt_is_in_trash_whole() {
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

/// A hook that stops waiting for the lock fences; the claim's look was before, its rename comes after.
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

/// The job has begun after the rename and without its cache, which must not reappear during the job.
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
fn a_swapped_tree_is_kept_at_its_name() {
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
        assert!(matches!(before.claim(&mut |_| Vec::new()), Claim::Changed(_)), "{what}, before the claim");
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
        assert_eq!(between.cache.path.symlink_metadata().is_ok(), what != "gone", "what was there is back");
    }
}

/// Two swaps in a row: neither of the trees was planned, so neither is deleted.
#[test]
fn a_swapped_tree_that_cannot_be_returned_is_kept_beside_its_name() {
    let scene = scene();
    let name = |name: &str| scene.cache.path.with_file_name(name);
    let place = CacheEntry::find(&scene.work, &scene.cache).unwrap();
    let slot = Trash::open_or_make(&scene.work, scene.owner).unwrap().make_slot().unwrap();
    // The first is planned, the second is what was renamed, the third is in its place by then.
    std::fs::rename(&scene.cache.path, name("planned")).unwrap();
    let renamed = scene.path.join("work/.disk-guard/trash").join(&slot.name).join(TREE);
    create_dir_all(&renamed).unwrap();
    write(renamed.join("content"), "second").unwrap();
    create_dir_all(scene.cache.path.join("third")).unwrap();
    assert!(matches!(place.put_back(&slot.dir, OsStr::new(TREE), &place.name), Restored::Failed));
    let reason = place.set_aside(&slot.dir, OsStr::new(TREE), "swapped");
    let kept = reason.rsplit(' ').next().unwrap();
    assert_eq!(std::fs::read_to_string(name(kept).join("content")).unwrap(), "second", "{reason}");
    assert!(scene.cache.path.join("third").exists() && name("planned").join("debug").exists());
}

impl Scene {
    fn claim_beside(&self, recheck: &mut Recheck<'_>) -> Claim {
        let place = CacheEntry::find(&self.work, &self.cache).unwrap();
        place.take_beside(&self.lock, &self.work, &self.cache, recheck)
    }

    /// The entries beside the cache with a claim's name.
    fn beside(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.cache.path.parent().unwrap()).unwrap();
        let mut found: Vec<PathBuf> = all.map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b".disk-guard-trash-"));
        found
    }
}

#[test]
fn without_a_slot_a_claim_can_be_fenced_off_too() {
    let fence = |scene: &Scene| super::super::in_place_claim::fence(&scene.run, &scene.work).unwrap();

    let control = scene();
    fence(&control);
    assert!(matches!(control.claim_beside(&mut |_| Vec::new()), Claim::Claimed(_)));
    assert!(!control.cache.path.exists());
    assert_eq!(control.beside().len(), 1);
    assert!(crate::lock::announced(&control.run).unwrap().is_empty());

    // Between the look and the rename: the job keeps its tree.
    let before = scene();
    let outcome = before.claim_beside(&mut |_| {
        fence(&before);
        Vec::new()
    });
    assert!(matches!(outcome, Claim::Changed(_)), "{outcome:?}");
    assert!(before.is_in_place());
    assert!(before.beside().is_empty(), "what the hook left is cleared away");

    // After the rename: it is not moved back during the job.
    let after = scene();
    let mut asked = 0;
    let outcome = after.claim_beside(&mut |_| {
        asked += 1;
        if asked == 1 {
            return Vec::new();
        }
        fence(&after);
        busy()
    });
    assert!(matches!(outcome, Claim::Claimed(_)), "{outcome:?}");
    assert!(!after.cache.path.exists());
    assert_eq!(after.beside().len(), 1, "it is there, for the next run to delete");
}

#[test]
fn a_forged_announcement_has_no_effect() {
    let scene = scene();
    let id = scene.work.status().unwrap().id;
    let whose = format!("{:x}-{:x}", id.dev, id.ino);
    let lies = [
        format!("{whose}\0../..\0.disk-guard-trash-1"),
        format!("{whose}\0/tmp\0.disk-guard-trash-1"),
        format!("{whose}\0r/r\0target"),
        format!("{whose}\0r/r\0.disk-guard-trash-/../../x"),
        "1-1\0r/r\0.disk-guard-trash-1".to_owned(),
        "\0\0\0\0".to_owned(),
    ];
    for lie in lies {
        scene.lock.announce(lie.as_bytes()).unwrap();
        let _ = super::super::in_place_claim::fence(&scene.run, &scene.work);
        assert!(scene.is_in_place() && scene.beside().is_empty(), "{lie:?}");
    }
    scene.lock.announce(format!("{whose}\0r/r\0.disk-guard-trash-1").as_bytes()).unwrap();
    super::super::in_place_claim::fence(&scene.run, &scene.work).unwrap();
    assert_eq!(scene.beside().len(), 1, "a true one is obeyed");
}

#[test]
fn a_new_build_of_the_runner_is_not_overwritten() {
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

/// A trash directory that fails for another reason than missing space must not be bypassed.
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
        let mut scene = scene_in(temp, path);
        take_all_inodes(&scene.path);
        // An entry that is claimed from elsewhere would not be found again beside its place.
        let owner = scene.owner;
        let filesystem = FilesystemId { major: 0, minor: 0 };
        let base = WorkDir { path: scene.path.clone(), id: scene.cache.id, owner, filesystem };
        scene.cache.base = Some(base.into());
        assert!(matches!(scene.claim(&mut |_| Vec::new()), Claim::Failed(_)));
        scene.cache.base = None;
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
