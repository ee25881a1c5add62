//! Claims of some files of a directory.

use super::super::files::Moved;
use super::*;
use crate::model::{Member, MemberKind};
use crate::sys::testing::NOBODY;
use std::os::unix::fs::{chown, symlink};

/// Three files of the cache are planned, `debug/lib.rlib` is not.
pub(super) fn scene() -> (Scene, Vec<Member>) {
    let mut scene = super::scene();
    let members: Vec<Member> = [("", "one"), ("debug", "two"), ("", "three")]
        .map(|(within, name)| planned(&scene, within, name))
        .into();
    scene.cache.part = Part::Files(members.clone().into());
    (scene, members)
}

fn planned(scene: &Scene, within: &str, name: &str) -> Member {
    let below = Path::new("r/r/target").join(within);
    write(scene.path.join("work").join(&below).join(name), name).unwrap();
    let status = scene.work.descend(&below).unwrap().status_of(name).unwrap();
    Member {
        kind: MemberKind::File,
        group: None,
        within: within.into(),
        name: name.into(),
        id: status.id,
        owner: status.owner,
        allocated: 0,
    }
}

impl Scene {
    /// The planned files that are in their place.
    pub(super) fn left(&self) -> Vec<&'static str> {
        let in_place = |below: &&str| {
            let name = below.rsplit('/').next().unwrap();
            std::fs::read_to_string(self.cache.path.join(below)).is_ok_and(|text| text == name)
        };
        ["one", "debug/two", "three"].into_iter().filter(in_place).collect()
    }

    #[track_caller]
    fn claimed(&self) -> Vec<Member> {
        let outcome = self.claim(&mut |_| Vec::new());
        let Claim::Claimed(Claimed { part: Part::Files(part), parent, name, .. }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(parent.descend(&name).unwrap().names(9).unwrap().len(), part.len());
        part.to_vec()
    }
}

#[test]
fn the_files_that_are_planned_lie_in_trash_and_the_others_stay() {
    let (scene, members) = scene();
    assert_eq!(scene.claimed(), members);
    assert!(scene.left().is_empty() && scene.is_in_place());
    assert_eq!(scene.trash().len(), 1);
}

#[test]
fn doubt_before_leaves_all_of_them_and_doubt_after_puts_all_back() {
    for (asked_at, restored) in [(1, false), (2, true)] {
        let (scene, _) = scene();
        let mut asked = 0;
        let outcome = scene.claim(&mut |_| {
            asked += 1;
            assert_eq!(scene.left().is_empty(), asked == 2, "the second look is after the renames");
            if asked == asked_at { busy() } else { Vec::new() }
        });
        match outcome {
            Claim::Restored(evidence) => assert!(restored && evidence == busy()),
            Claim::Refused(evidence) => assert!(!restored && evidence == busy()),
            other => panic!("{other:?}"),
        }
        assert_eq!(scene.left().len(), 3);
        assert!(scene.trash().is_empty(), "no slot is left behind");
    }
}

/// The job has begun after the renames and without its files, which must not reappear during the job.
#[test]
fn fenced_files_are_not_put_back_under_a_running_job() {
    let (scene, members) = scene();
    let mut asked = 0;
    let outcome = scene.claim(&mut |_| {
        asked += 1;
        if asked == 1 {
            return Vec::new();
        }
        Trash::open(&scene.work, scene.owner).unwrap().unwrap().fence().unwrap();
        busy()
    });
    let Claim::Claimed(Claimed { part, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(part, Part::Files(members.into()));
    assert!(scene.left().is_empty());
    let fenced = |name: &OsString| name.to_string_lossy().starts_with("fenced-");
    assert_eq!(scene.trash().iter().filter(|name| fenced(name)).count(), 3);
}

/// As with a whole cache, an entry that its runner has created anew is kept; the others are moved back.
#[test]
fn doubtful_files_that_were_recreated_meanwhile_are_trash() {
    let (scene, members) = scene();
    let mut asked = 0;
    let outcome = scene.claim(&mut |_| {
        asked += 1;
        if asked == 1 {
            return Vec::new();
        }
        write(scene.cache.path.join("one"), "anew").unwrap();
        busy()
    });
    let Claim::Claimed(Claimed { part, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(part, Part::Files([members[0].clone()].into()));
    assert_eq!(scene.left(), ["debug/two", "three"]);
    assert_eq!(std::fs::read_to_string(scene.cache.path.join("one")).unwrap(), "anew");
}

#[test]
fn a_file_that_differs_from_the_plan_is_kept_and_the_others_are_deleted() {
    for swap in ["another file", "a link", "a directory", "gone", "another owner"] {
        let (scene, members) = scene();
        let path = scene.cache.path.join("debug/two");
        match swap {
            "another owner" if is_root() => chown(&path, Some(NOBODY), None).unwrap(),
            "another owner" => continue,
            _ => std::fs::rename(&path, scene.cache.path.join("moved")).unwrap(),
        }
        match swap {
            "another file" => write(&path, "two").unwrap(),
            "a link" => symlink("../moved", &path).unwrap(),
            "a directory" => std::fs::create_dir(&path).unwrap(),
            _ => {}
        }
        assert_eq!(scene.claimed(), [members[0].clone(), members[2].clone()], "{swap}");
        assert_eq!(path.symlink_metadata().is_ok(), swap != "gone", "{swap}");
        assert_eq!(scene.cache.path.join("moved").exists(), swap != "another owner", "{swap}");
    }
}

/// A claim that names a directory, or only files that no longer exist, claims nothing.
#[test]
fn a_directory_is_no_file_and_where_nothing_is_left_nothing_is_claimed() {
    let (mut scene, members) = scene();
    let debug = scene.work.descend("r/r/target").unwrap().status_of("debug").unwrap();
    let directory = Member { within: "".into(), name: "debug".into(), id: debug.id, ..members[0].clone() };
    scene.cache.part = Part::Files([directory].into());
    let Claim::Changed(why) = scene.claim(&mut |_| Vec::new()) else { panic!("it is not even moved") };
    assert_eq!(why, "debug is another file by now");
    assert!(scene.is_in_place() && scene.trash().is_empty());
    scene.cache.part = Part::Files(members.into());
    assert_eq!(scene.claimed().len(), 3, "the control");
}

/// Swapped after it was compared, so that another file is in the slot: it is moved back, or beside the entry in its place.
#[test]
fn a_file_swapped_during_the_move_is_not_trash() {
    let (scene, members) = scene();
    let slot = Trash::open_or_make(&scene.work, scene.owner).unwrap().make_slot().unwrap();
    let in_slot = scene.path.join("work/.disk-guard/trash").join(&slot.name).join("0");
    let moved = || Moved {
        place: CacheEntry { parent: scene.work.descend("r/r/target").unwrap().into(), name: "one".into() },
        member: &members[0],
        slot_name: "0".into(),
    };
    let place = scene.cache.path.join("one");
    std::fs::rename(&place, &in_slot).unwrap();
    assert!(moved().compared(&slot).is_ok() && in_slot.exists(), "the control: it is what was planned");
    std::fs::rename(&in_slot, scene.cache.path.join("planned")).unwrap();

    write(&in_slot, "second").unwrap();
    assert!(moved().compared(&slot).is_err());
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "second");

    write(&in_slot, "third").unwrap();
    let Err(setback) = moved().compared(&slot) else { panic!("it is not what was planned") };
    let reason = setback.to_string();
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "second");
    let kept = scene.cache.path.join(reason.rsplit(' ').next().unwrap());
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "third", "{reason}");
}
