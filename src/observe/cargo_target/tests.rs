//! Target directories laid out by hand as cargo does, in both layouts.

#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use super::*;
use crate::model::{AccessTimes, MemberKind, Origin, UnitState};
use std::fs::{create_dir_all, hard_link, write};
use std::time::Duration;

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn hex(hash: u64) -> String {
    format!("{:016x}", hash.swap_bytes())
}

fn description(needs: &[u64]) -> String {
    let needs: Vec<_> = needs.iter().map(|hash| format!("[1,\"x\",false,{hash}]")).collect();
    format!("{{\"deps\":[{}],\"profile\":5,\"compile_kind\":0}}", needs.join(","))
}

/// A unit of the first layout: `name` ends in its hash.
fn first(profile: &Path, name: &str, kind: &str, hash: u64, needs: &[u64]) {
    let directory = profile.join(".fingerprint").join(name);
    create_dir_all(&directory).unwrap();
    create_dir_all(profile.join("deps")).unwrap();
    write(directory.join("invoked.timestamp"), "x").unwrap();
    write(directory.join(kind), hex(hash)).unwrap();
    write(directory.join(format!("{kind}.json")), description(needs)).unwrap();
    write(directory.join(format!("dep-{kind}")), "x").unwrap();
    write(profile.join(".cargo-lock"), "").unwrap();
}

fn second(profile: &Path, package: &str, id: &str, kind: &str, hash: u64, needs: &[u64]) {
    let unit = profile.join("build").join(package).join(id);
    create_dir_all(unit.join("fingerprint")).unwrap();
    create_dir_all(unit.join("out")).unwrap();
    write(unit.join("fingerprint").join(kind), hex(hash)).unwrap();
    write(unit.join("fingerprint").join(format!("{kind}.json")), description(needs)).unwrap();
    write(unit.join("out").join(format!("lib{package}.rlib")), vec![7; 9000]).unwrap();
    write(profile.join(".cargo-lock"), "").unwrap();
    write(profile.join(".cargo-build-lock"), "").unwrap();
}

fn read_at(path: &Path) -> Result<CargoTarget, TargetError> {
    read(&Dir::resolve(path).unwrap().0, Counted::All, later())
}

fn names(unit: &Unit) -> Vec<String> {
    unit.members.iter().map(|member| member.within.join(&member.name).display().to_string()).collect()
}

#[test]
fn units_of_the_first_layout_have_their_artefacts_and_uplifted_names() {
    let temp = tempfile::tempdir().unwrap();
    let debug = temp.path().join("debug");
    first(&debug, "dep-1111111111111111", "lib-dep", 11, &[]);
    first(&debug, "app-2222222222222222", "bin-app", 22, &[11]);
    write(debug.join("deps/libdep-1111111111111111.rlib"), vec![1; 20_000]).unwrap();
    write(debug.join("deps/dep-1111111111111111.d"), "x: /h/registry/src/i/dep-1/src/lib.rs\n").unwrap();
    write(debug.join("deps/app-2222222222222222"), vec![1; 30_000]).unwrap();
    write(debug.join("deps/app-2222222222222222.d"), "x: src/main.rs\n").unwrap();
    hard_link(debug.join("deps/app-2222222222222222"), debug.join("app")).unwrap();
    write(debug.join("deps/libgone-3333333333333333.rlib"), vec![1; 5000]).unwrap();
    create_dir_all(debug.join("incremental/app-1abc/s-1")).unwrap();
    create_dir_all(temp.path().join("doc/app")).unwrap();
    create_dir_all(temp.path().join("tmp/scratch")).unwrap();

    let target = read_at(temp.path()).unwrap();
    assert_eq!(target.locks, [Path::new("debug/.cargo-lock")]);
    let [app, dep] = &target.units[..] else { panic!("{:#?}", target.units) };
    assert_eq!((&app.hashes[..], &app.needs[..], app.origin), (&[22][..], &[11][..], Origin::Workspace));
    assert_eq!(dep.origin, Origin::Dependency);
    let app_names = [
        "debug/.fingerprint/app-2222222222222222",
        "debug/deps/app-2222222222222222",
        "debug/deps/app-2222222222222222.d",
        "debug/app",
    ];
    assert_eq!(names(app), app_names);
    assert_eq!(app.members[0].kind, MemberKind::Directory);
    assert!(app.bytes >= 30_000 && app.bytes < 60_000, "the linked executable counts once: {}", app.bytes);
    assert_eq!(app.bytes, app.members.iter().map(|member| member.allocated).sum::<u64>());
    let extras: Vec<_> =
        target.extras.iter().map(|e| (e.kind, e.members[0].name.display().to_string())).collect();
    assert!(extras.contains(&(ExtraKind::Leftover, "libgone-3333333333333333.rlib".into())), "{extras:?}");
    assert!(extras.contains(&(ExtraKind::Incremental, "app-1abc".into())));
    assert!(extras.contains(&(ExtraKind::Leftover, "doc".into())));
    assert!(extras.contains(&(ExtraKind::Leftover, "scratch".into())), "tmp itself stays: {extras:?}");
}

#[test]
fn a_name_outside_of_the_target_keeps_the_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let debug = temp.path().join("target/debug");
    first(&debug, "app-2222222222222222", "bin-app", 22, &[]);
    let artefact = debug.join("deps/app-2222222222222222");
    write(&artefact, vec![1; 1 << 20]).unwrap();
    assert!(read_at(&temp.path().join("target")).unwrap().units[0].bytes > 1 << 20);
    hard_link(&artefact, temp.path().join("released")).unwrap();
    assert!(read_at(&temp.path().join("target")).unwrap().units[0].bytes < 1 << 20);
}

#[test]
fn both_layouts_in_one_profile_and_below_a_platform() {
    let temp = tempfile::tempdir().unwrap();
    let release = temp.path().join("x86_64-unknown-linux-gnu/release");
    first(&release, "dep-1111111111111111", "lib-dep", 11, &[]);
    second(&release, "app", "4444444444444444", "bin-app", 44, &[11]);
    let target = read_at(temp.path()).unwrap();
    let labels: Vec<_> = target.units.iter().map(|unit| unit.label.as_str()).collect();
    assert_eq!(labels, ["dep lib-dep", "app bin-app"]);
    assert_eq!(names(&target.units[1]), ["x86_64-unknown-linux-gnu/release/build/app/4444444444444444"]);
}

#[test]
fn units_that_cargo_cannot_reuse_are_broken_and_unknown_formats_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let debug = temp.path().join("debug");
    first(&debug, "dep-1111111111111111", "lib-dep", 11, &[]);
    first(&debug, "other-2222222222222222", "lib-other", 22, &[]);
    let directory = debug.join(".fingerprint/dep-1111111111111111");
    for (file, content) in [("lib-dep", ""), ("lib-dep.json", "{\"deps\":[")] {
        let before = std::fs::read(directory.join(file)).unwrap();
        write(directory.join(file), content).unwrap();
        assert_eq!(read_at(temp.path()).unwrap().units[0].state, UnitState::Broken, "{file}");
        write(directory.join(file), before).unwrap();
    }
    assert_eq!(read_at(temp.path()).unwrap().units[0].state, UnitState::Complete);

    write(directory.join("lib-dep.json"), "{\"deps\":[{}],\"profile\":5}").unwrap();
    assert!(matches!(read_at(temp.path()), Err(TargetError::UnknownLayout(_))));
    for unit in ["dep-1111111111111111/lib-dep.json", "other-2222222222222222/lib-other.json"] {
        std::fs::remove_file(debug.join(".fingerprint").join(unit)).unwrap();
    }
    assert!(
        matches!(read_at(temp.path()), Err(TargetError::UnknownLayout(_))),
        "no unit says what it was built from"
    );
    std::fs::remove_dir_all(&debug).unwrap();
    create_dir_all(temp.path().join("classes")).unwrap();
    assert!(matches!(read_at(temp.path()), Err(TargetError::UnknownLayout(_))));
}

#[test]
fn reading_a_target_leaves_the_access_times_of_its_fingerprints() {
    let temp = tempfile::tempdir().unwrap();
    let debug = temp.path().join("debug");
    first(&debug, "dep-1111111111111111", "lib-dep", 11, &[]);
    let dir = Dir::resolve(&debug.join(".fingerprint/dep-1111111111111111")).unwrap().0;
    std::thread::sleep(Duration::from_millis(10));
    let before = dir.times_of("lib-dep").unwrap();
    read_at(temp.path()).unwrap();
    assert_eq!(dir.times_of("lib-dep").unwrap(), before);
}

#[test]
fn an_armed_fingerprint_shows_whether_it_was_read() {
    let temp = tempfile::tempdir().unwrap();
    let debug = temp.path().join("debug");
    for (name, hash) in [("dep-1111111111111111", 11), ("old-5555555555555555", 55)] {
        first(&debug, name, "lib-x", hash, &[]);
    }
    let target = Dir::resolve(temp.path()).unwrap().0;
    if reference::access_times(&Dir::resolve(&debug).unwrap().0) != AccessTimes::Move {
        eprintln!("access times do not move here: skipped");
        return;
    }
    let pause = || std::thread::sleep(Duration::from_millis(20));
    pause();
    assert_eq!(reference::arm(&target, later()).unwrap(), 2);
    pause();
    std::fs::read(debug.join(".fingerprint/dep-1111111111111111/lib-x")).unwrap();
    let read = read_at(temp.path()).unwrap();
    let used: Vec<_> = read.units.iter().map(|unit| unit.read > unit.armed).collect();
    assert_eq!(used, [true, false]);
}

#[test]
fn targets_of_any_name_in_a_checkout_are_armed_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    for (place, tagged) in [
        ("app/target", true),
        ("app/sub/build-output", true),
        ("app/.git/target", true),
        ("app/other", false),
    ] {
        let target = temp.path().join(place);
        first(&target.join("debug"), "dep-1111111111111111", "lib-dep", 11, &[]);
        if tagged {
            write(target.join("CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55").unwrap();
        }
    }
    let repository = Dir::resolve(temp.path()).unwrap().0;
    assert_eq!(reference::arm_below(&repository, later()), 2);
}

/// Blocks that a twin shares are not freed, and do not count where that is asked for.
#[test]
fn shared_blocks_do_not_count_where_only_own_bytes_do() {
    use crate::sys::testing::{on_filesystems_that_share, run};
    on_filesystems_that_share(|at| {
        let debug = at.join("target/debug");
        first(&debug, "dep-1111111111111111", "lib-dep", 11, &[]);
        first(&debug, "app-2222222222222222", "bin-app", 22, &[11]);
        let (shared, own) =
            (debug.join("deps/libdep-1111111111111111.rlib"), debug.join("deps/app-2222222222222222"));
        write(&shared, vec![1; 3 << 20]).unwrap();
        write(&own, vec![2; 2 << 20]).unwrap();
        // An uplifted name is a second one of the same file.
        hard_link(&own, debug.join("app")).unwrap();
        let twin = at.join("twin");
        let copy = ["--reflink=always".as_ref(), shared.as_os_str(), twin.as_os_str()];
        assert!(run("cp", &copy) && run("sync", &["-f".as_ref(), at.as_os_str()]));
        let bytes = |counted| -> Vec<u64> {
            let target = read(&Dir::resolve(&at.join("target")).unwrap().0, counted, later()).unwrap();
            target.units.iter().map(|unit| unit.bytes >> 20).collect()
        };
        assert_eq!((bytes(Counted::All), bytes(Counted::Own)), (vec![2, 3], vec![2, 0]), "{}", at.display());
    });
}
