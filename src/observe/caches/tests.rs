use super::*;
use crate::model::{DirGlobs, FileId, FilesystemId, Uid};
use std::fs::{create_dir_all, write};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::time::Duration;

const SIGNED: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# made by cargo\n";

fn rule() -> CacheRule {
    CacheRule {
        name: "cargo-target".into(),
        dirs: DirGlobs::parse(&["target", "target-*"]).unwrap(),
        depth: 3,
        markers: vec![TAG.into()],
        ..CacheRule::default()
    }
}

fn work_dir(path: &Path) -> WorkDir {
    let metadata = std::fs::metadata(path).unwrap();
    WorkDir {
        path: path.to_owned(),
        id: FileId { dev: metadata.dev(), ino: metadata.ino() },
        owner: Uid(metadata.uid()),
        filesystem: FilesystemId { major: 0, minor: 0 },
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn only_what_a_rule_declares_and_marks_is_a_cache() {
    let temp = tempfile::tempdir().unwrap();
    let work = Dir::resolve(temp.path()).unwrap().1;
    let caches = ["r/r/target", "r/r/target-x86", "r/r/sub/target", "r/r/a/b/target", "s/other/target"];
    let not = [
        ("r/target", true),            // not below a checkout
        ("r/r/a/b/c/target", true),    // too deep
        ("r/r/target/x/target", true), // inside a cache
        ("_actions/o/target", true),   // the runner's own
        ("r/r/.git/target", true),     // git's own
        ("r/r/my-target", true),       // another name
        ("q/q/target", false),         // no marker
    ];
    for (path, tagged) in caches.iter().map(|c| (*c, true)).chain(not) {
        create_dir_all(work.join(path)).unwrap();
        if tagged {
            write(work.join(path).join("CACHEDIR.TAG"), SIGNED).unwrap();
        }
    }
    create_dir_all(work.join("fake/fake/target")).unwrap();
    write(work.join("fake/fake/target/CACHEDIR.TAG"), "Signature: none").unwrap();
    create_dir_all(work.join("link/link")).unwrap();
    symlink(work.join("r/r/target"), work.join("link/link/target")).unwrap();
    create_dir_all(work.join("linked/linked/target")).unwrap();
    symlink(work.join("r/r/target/CACHEDIR.TAG"), work.join("linked/linked/target/CACHEDIR.TAG")).unwrap();

    let found = find(&work_dir(&work), &Matcher::new(&[rule()]), &MountTable::default(), soon()).unwrap();
    let mut paths: Vec<_> = found.caches.iter().map(|c| c.below_work.to_str().unwrap()).collect();
    paths.sort_unstable();
    let mut expected = caches.to_vec();
    expected.sort_unstable();
    assert_eq!(paths, expected);
    assert_eq!(found.caches[0].repository_dir(), Path::new("r"));
}

#[test]
fn a_flood_in_some_work_directories_leaves_room_for_the_others() {
    let temp = tempfile::tempdir().unwrap();
    let work = Dir::resolve(temp.path()).unwrap().1;
    for n in 0..FAIR_SHARE + 2 {
        let target = work.join(format!("r/r/{n}/target"));
        create_dir_all(&target).unwrap();
        write(target.join(TAG), SIGNED).unwrap();
    }
    let rules = [rule()];
    let matcher = Matcher::new(&rules);
    let look = || find(&work_dir(&work), &matcher, &MountTable::default(), soon()).unwrap();
    assert_eq!(look().caches.len(), FAIR_SHARE + 2);
    assert_eq!(matcher.found.load(Ordering::Relaxed), FAIR_SHARE + 2);
    matcher.found.store(MAX_OF_HOST, Ordering::Relaxed);
    let late = look();
    assert_eq!(late.caches.len(), FAIR_SHARE);
    assert!(late.notes[0].contains("more than 64 caches"), "{:?}", late.notes);
    assert_eq!(room(0), MAX_CACHES);
}

#[test]
fn a_name_of_any_bytes_is_matched() {
    use std::os::unix::ffi::OsStrExt as _;
    let temp = tempfile::tempdir().unwrap();
    let work = Dir::resolve(temp.path()).unwrap().1;
    let odd = work.join("r/r").join(OsStr::from_bytes(b"target-\xff\n"));
    create_dir_all(&odd).unwrap();
    write(odd.join("CACHEDIR.TAG"), SIGNED).unwrap();
    assert_eq!(
        find(&work_dir(&work), &Matcher::new(&[rule()]), &MountTable::default(), soon()).unwrap().caches[0]
            .path,
        odd
    );
}

#[test]
fn a_work_directory_that_was_swapped_is_not_looked_into() {
    let temp = tempfile::tempdir().unwrap();
    let base = Dir::resolve(temp.path()).unwrap().1;
    create_dir_all(base.join("w/r/r/target")).unwrap();
    write(base.join("w/r/r/target/CACHEDIR.TAG"), SIGNED).unwrap();
    let work = work_dir(&base.join("w"));
    assert_eq!(
        find(&work, &Matcher::new(&[rule()]), &MountTable::default(), soon()).unwrap().caches.len(),
        1
    );
    let other = WorkDir { id: FileId { dev: work.id.dev, ino: work.id.ino + 1 }, ..work };
    assert!(find(&other, &Matcher::new(&[rule()]), &MountTable::default(), soon()).is_err());
}

fn found(work: &Path, rules: &[CacheRule]) -> (Vec<String>, CacheScan) {
    let found = find(&work_dir(work), &Matcher::new(rules), &MountTable::default(), soon()).unwrap();
    let paths = found.caches.iter().map(|cache| cache.below_work.to_str().unwrap().to_owned());
    (paths.collect(), found)
}

fn build(place: PathBuf, tag: &str) {
    create_dir_all(place.join("debug/deps")).unwrap();
    write(place.join(TAG), tag).unwrap();
    write(place.join("debug/.cargo-lock"), "").unwrap();
}

#[test]
fn a_directory_tagged_by_cargo_is_a_cache_under_any_name_and_other_tags_are_reported() {
    const CARGOS: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
             # This file is a cache directory tag created by cargo.\n";
    let temp = tempfile::tempdir().unwrap();
    let work = Dir::resolve(temp.path()).unwrap().1;
    let deep = "r/r/1/2/3/4/5/6/7/out";
    for cargos in ["r/r/build-dir", deep, "r/r/.target"] {
        build(work.join(cargos), CARGOS);
    }
    // Beyond the depth, a checkout of its own, a package, and cargo's registry, where no build has been.
    build(work.join("r/r/1/2/3/4/5/6/7/8/out"), CARGOS);
    build(work.join("r"), CARGOS);
    build(work.join("r/r/nested"), CARGOS);
    create_dir_all(work.join("r/r/nested/.git")).unwrap();
    build(work.join("r/r/package"), CARGOS);
    write(work.join("r/r/package/Cargo.toml"), "").unwrap();
    create_dir_all(work.join("r/r/cargo/registry")).unwrap();
    write(work.join("r/r/cargo/registry").join(TAG), CARGOS).unwrap();
    // Another tool's, with any content.
    build(work.join("r/r/.venv"), SIGNED);
    build(work.join("r/r/.venv/lib/inner"), SIGNED);

    let rule = CacheRule { by_cargos_tag: true, depth: 8, ..rule() };
    let (paths, seen) = found(&work, std::slice::from_ref(&rule));
    assert_eq!(paths, ["r/r/.target", deep, "r/r/build-dir"]);
    assert_eq!(seen.tagged_beside, [work.join("r")]);
    let mut told = seen.tagged;
    told.sort();
    assert_eq!(told, ["r/r/.venv", "r/r/cargo/registry", "r/r/nested", "r/r/package"].map(|p| work.join(p)));
    let by_name_alone = CacheRule { by_cargos_tag: false, ..rule };
    assert!(found(&work, &[by_name_alone]).0.is_empty());
}

#[test]
fn a_marker_may_be_a_directory_or_lie_beside_and_one_of_several_suffices() {
    let temp = tempfile::tempdir().unwrap();
    let work = Dir::resolve(temp.path()).unwrap().1;
    let maven = |markers: &[&str]| {
        let markers = markers.iter().map(|&marker| marker.to_owned()).collect();
        found(&work, &[CacheRule { markers, ..rule() }]).0
    };
    create_dir_all(work.join("a/a/target/maven-status")).unwrap();
    create_dir_all(work.join("b/b/target")).unwrap();
    write(work.join("b/b/pom.xml"), "").unwrap();
    create_dir_all(work.join("c/c/target")).unwrap();
    // Links declare nothing.
    symlink("/", work.join("c/c/target/maven-status")).unwrap();
    symlink("/etc/passwd", work.join("c/c/pom.xml")).unwrap();
    assert_eq!(maven(&["maven-status"]), ["a/a/target"]);
    assert_eq!(maven(&["../pom.xml"]), ["b/b/target"]);
    assert_eq!(maven(&["../pom.xml", "maven-status"]), ["a/a/target", "b/b/target"]);
    assert!(maven(&["../../b"]).is_empty() && maven(&["CACHEDIR.TAG"]).is_empty());
}

#[test]
fn a_link_with_the_name_of_a_cache_is_reported_with_its_target() {
    let temp = tempfile::tempdir().unwrap();
    let work = Dir::resolve(temp.path()).unwrap().1;
    create_dir_all(work.join("r/r/rust")).unwrap();
    symlink("/srv/cache/target", work.join("r/r/rust/target")).unwrap();
    // Reported if it turns out to lead to a cache, unlike one that stays within.
    symlink("/srv/cache/other", work.join("r/r/rust/other")).unwrap();
    symlink("../x", work.join("r/r/rust/inner")).unwrap();
    let (paths, seen) = found(&work, &[rule()]);
    assert!(paths.is_empty());
    let mut told: Vec<_> =
        seen.links.iter().map(|link| (link.target.to_str().unwrap(), link.has_a_caches_name)).collect();
    told.sort_unstable();
    assert_eq!(told, [("/srv/cache/other", false), ("/srv/cache/target", true)]);
    assert!(seen.links.iter().all(|link| link.path.starts_with(work.join("r/r/rust"))));
}
