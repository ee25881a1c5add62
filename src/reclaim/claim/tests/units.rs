//! Claims of units of a cargo target: whole directories and files, in groups, under cargo's lock.

use super::*;
use crate::model::{Member, MemberKind, TrimPart, TrimTier};
use crate::sys::flock::{Probe, probe};
use std::fs::File;

const FINGERPRINT: &str = "debug/.fingerprint/dep-1";
const ARTEFACT: &str = "debug/deps/libdep-1.rlib";

/// Two units: `dep-1` and `app-2`, each with a fingerprint directory and an artefact.
fn scene() -> Scene {
    let mut scene = super::scene();
    let target = scene.cache.path.clone();
    for unit in ["dep-1", "app-2"] {
        create_dir_all(target.join("debug/.fingerprint").join(unit)).unwrap();
        write(target.join("debug/.fingerprint").join(unit).join("lib"), "0123456789abcdef").unwrap();
        create_dir_all(target.join("debug/deps")).unwrap();
        write(target.join(format!("debug/deps/lib{unit}.rlib")), unit).unwrap();
    }
    write(target.join("debug/.cargo-lock"), "").unwrap();
    let members: Vec<Member> = [(1, "dep-1"), (2, "app-2")]
        .iter()
        .flat_map(|(group, unit)| {
            let artefact = format!("lib{unit}.rlib");
            let directory = MemberKind::Directory;
            [
                member(&scene, directory, *group, "debug/.fingerprint", unit),
                member(&scene, MemberKind::File, *group, "debug/deps", &artefact),
            ]
        })
        .collect();
    scene.cache.part = Part::Units(
        TrimPart {
            members: members.into(),
            locks: [PathBuf::from("debug/.cargo-lock")].into(),
            bytes: 4096,
            units: 2,
            dearest: TrimTier::Unused,
        }
        .into(),
    );
    scene
}

fn member(scene: &Scene, kind: MemberKind, group: u32, within: &str, name: &str) -> Member {
    let status = scene.work.descend(Path::new("r/r/target").join(within)).unwrap().status_of(name).unwrap();
    Member {
        kind,
        group: Some(group),
        within: within.into(),
        name: name.into(),
        id: status.id,
        owner: status.owner,
        allocated: 0,
    }
}

impl Scene {
    fn has(&self, below: &str) -> bool {
        self.cache.path.join(below).exists()
    }
}

#[test]
fn units_are_deleted_whole_and_the_rest_of_the_target_is_kept() {
    let scene = scene();
    let Claim::Claimed(claimed) = scene.claim(&mut |_| Vec::new()) else { panic!() };
    let Part::Units(moved) = &claimed.part else { panic!("{:?}", claimed.part) };
    assert_eq!((moved.members.len(), moved.units), (4, 2));
    assert!(!scene.has(FINGERPRINT) && !scene.has(ARTEFACT));
    assert!(scene.is_in_place() && scene.has("debug/.cargo-lock"));
    assert_eq!(claimed.parent.descend(&claimed.name).unwrap().names(9).unwrap().len(), 4);
}

#[test]
fn a_build_that_holds_cargos_lock_keeps_its_units_and_one_that_comes_later_waits() {
    let scene = scene();
    let lock = scene.cache.path.join("debug/.cargo-lock");
    let Probe::Taken(build) = probe(File::open(&lock).unwrap()).unwrap() else { panic!() };
    match scene.claim(&mut |_| Vec::new()) {
        Claim::Refused(evidence) => assert_eq!(evidence[0].kind, EvidenceKind::BuildLock),
        other => panic!("{other:?}"),
    }
    assert!(scene.has(FINGERPRINT) && scene.has(ARTEFACT) && scene.trash().is_empty());

    drop(build);
    let mut looks = 0;
    let outcome = scene.claim(&mut |_| {
        looks += 1;
        let state = probe(File::open(&lock).unwrap()).unwrap();
        assert_eq!(matches!(state, Probe::Held), looks == 2, "the lock is held from the first rename on");
        Vec::new()
    });
    assert!(matches!(outcome, Claim::Claimed(_)), "{outcome:?}");
    assert!(matches!(probe(File::open(&lock).unwrap()).unwrap(), Probe::Taken(_)), "and is free again");
}

#[test]
fn doubt_after_the_renames_puts_every_unit_back_its_fingerprint_last() {
    let scene = scene();
    let mut looks = 0;
    let outcome = scene.claim(&mut |_| {
        looks += 1;
        if looks == 1 { Vec::new() } else { busy() }
    });
    assert!(matches!(outcome, Claim::Restored(_)), "{outcome:?}");
    assert!(scene.has(FINGERPRINT) && scene.has(ARTEFACT));
    assert!(scene.trash().is_empty());
}

#[test]
fn a_unit_with_a_replaced_fingerprint_keeps_its_artefacts_and_the_other_unit_is_deleted() {
    let scene = scene();
    std::fs::rename(scene.cache.path.join(FINGERPRINT), scene.path.join("gone")).unwrap();
    create_dir_all(scene.cache.path.join(FINGERPRINT)).unwrap();
    let Claim::Claimed(claimed) = scene.claim(&mut |_| Vec::new()) else { panic!() };
    let Part::Units(moved) = &claimed.part else { panic!() };
    assert_eq!(moved.members.iter().map(|member| member.group).collect::<Vec<_>>(), [Some(2), Some(2)]);
    assert!(scene.has(FINGERPRINT) && scene.has(ARTEFACT));
    assert!(!scene.has("debug/deps/libapp-2.rlib"));
}
