#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use super::*;
use crate::model::{PathGlob, Work};
use crate::observe::filesystems::MountTable;
use crate::observe::runners::{discover, examine};
use std::fs::{create_dir_all, set_permissions, write};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};

fn mode(path: &Path, mode: u32) {
    set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn give(path: &Path, user: u32) {
    lchown(path, Some(user), Some(user)).unwrap();
}

/// Why the runner's work directory is refused, if it is.
fn refusal(root: &Path) -> Option<String> {
    match examine(root, &MountTable::default()).unwrap().unwrap().work {
        Work::Present(_) => None,
        Work::Unusable { reason, .. } => Some(reason),
        Work::Absent { path } => panic!("{} is not there", path.display()),
    }
}

/// Two users without an account; their groups have their own numbers.
const ONE: u32 = 61_001;
const OTHER: u32 = 61_002;

/// A runner below a directory `way`, in `work`, all of root's, open to nobody else.
struct Fixture {
    _temp: tempfile::TempDir,
    way: PathBuf,
    root: PathBuf,
    settings: PathBuf,
    work: PathBuf,
}

fn place() -> Fixture {
    let temp = tempfile::tempdir().unwrap();
    let way = temp.path().join("way");
    let root = way.join("actions-runner-1");
    let work = root.join("_work");
    create_dir_all(&work).unwrap();
    let settings = root.join(".runner");
    write(&settings, "{}").unwrap();
    for path in [&way, &root, &work] {
        mode(path, 0o755);
    }
    mode(&settings, 0o644);
    Fixture { _temp: temp, way, root, settings, work }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn every_writer_on_the_path_must_be_the_work_directorys_user() {
    if !is_root() {
        return;
    }
    // The change, and the text of the refusal; none if it is accepted.
    type Case = (&'static str, fn(&Fixture), Option<&'static str>);
    let cases: &[Case] = &[
        ("all of it root's", |_| {}, None),
        ("installed by root, works as a user", |p| give(&p.work, ONE), None),
        (
            "all of it a user's",
            |p| [&p.way, &p.root, &p.settings, &p.work].into_iter().for_each(|x| give(x, ONE)),
            None,
        ),
        (
            "a user's in a directory of root's",
            |p| [&p.root, &p.settings, &p.work].into_iter().for_each(|x| give(x, ONE)),
            None,
        ),
        ("a user's own settings", |p| [&p.settings, &p.work].into_iter().for_each(|x| give(x, ONE)), None),
        (
            "a user's own group may write",
            |p| {
                [&p.way, &p.root, &p.settings, &p.work].into_iter().for_each(|x| give(x, ONE));
                [&p.way, &p.root].into_iter().for_each(|x| mode(x, 0o2775));
                mode(&p.settings, 0o664);
            },
            None,
        ),
        ("everybody may write below the work directory", |p| mode(&p.work, 0o777), None),
        (
            "settings of somebody else",
            |p| {
                give(&p.work, ONE);
                give(&p.settings, OTHER);
            },
            Some("uid 61002 can write"),
        ),
        ("settings of a user, work of root", |p| give(&p.settings, ONE), Some("uid 61001 can write")),
        ("settings that everybody may write", |p| mode(&p.settings, 0o666), Some("everybody can write")),
        (
            "settings that a group may write",
            |p| {
                lchown(&p.settings, None, Some(OTHER)).unwrap();
                mode(&p.settings, 0o664);
            },
            Some("the group 61002 can write"),
        ),
        ("a root that everybody may write", |p| mode(&p.root, 0o777), Some("chmod o-w")),
        ("a root that everybody may write, sticky", |p| mode(&p.root, 0o1777), Some("chmod o-w")),
        ("a directory on the way that everybody may write", |p| mode(&p.way, 0o777), Some("chmod o-w")),
        ("the same, sticky: nothing in it can be exchanged", |p| mode(&p.way, 0o1777), None),
        (
            "a directory on the way that belongs to somebody else",
            |p| {
                [&p.root, &p.settings, &p.work].into_iter().for_each(|x| give(x, ONE));
                give(&p.way, OTHER);
            },
            Some("chown"),
        ),
    ];
    for (what, change, expected) in cases {
        let place = place();
        change(&place);
        match (refusal(&place.root), expected) {
            (None, None) => {}
            (Some(reason), Some(part)) => assert!(reason.contains(part), "{what}: {reason}"),
            (found, _) => panic!("{what}: {found:?}"),
        }
    }
}

#[test]
fn the_way_to_a_work_directory_elsewhere_counts_as_well() {
    if !is_root() {
        return;
    }
    let place = place();
    let elsewhere = place.way.join("disk");
    create_dir_all(elsewhere.join("work")).unwrap();
    write(&place.settings, format!("{{\"workFolder\": \"{}\"}}", elsewhere.join("work").display())).unwrap();
    give(&elsewhere.join("work"), ONE);
    mode(&elsewhere, 0o755);
    assert_eq!(refusal(&place.root), None, "the administrator's disk for a user's work");
    give(&elsewhere, OTHER);
    assert!(refusal(&place.root).unwrap().contains("uid 61002"));
    give(&elsewhere, ONE);
    assert_eq!(refusal(&place.root), None);
    // The same behind a link in a directory where another user may exchange it.
    let links = place.way.join("links");
    create_dir_all(&links).unwrap();
    symlink(&elsewhere, links.join("link")).unwrap();
    write(&place.settings, format!("{{\"workFolder\": \"{}\"}}", links.join("link/work").display())).unwrap();
    assert_eq!(refusal(&place.root), None);
    give(&links, OTHER);
    assert!(refusal(&place.root).unwrap().contains("links"));
}

#[test]
fn an_acl_counts_as_far_as_its_mask_lets_it() {
    if !is_root() {
        return;
    }
    let place = place();
    give(&place.work, ONE);
    let set = |entry: &str| {
        let done = std::process::Command::new("setfacl").args(["-m", entry]).arg(&place.root).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !set("u:61001:rwx") {
        eprintln!("skipped: no setfacl here, or a filesystem without ACLs");
        return;
    }
    assert_eq!(refusal(&place.root), None, "the work directory's own user");
    assert!(set("u:61002:rwx"));
    assert!(refusal(&place.root).unwrap().contains("uid 61002 can write"));
    assert!(set("m::r-x"));
    assert_eq!(refusal(&place.root), None, "the mask takes it away");
}

#[test]
fn a_link_to_what_no_glob_names_counts_only_when_root_alone_can_lay_it() {
    if !is_root() {
        return;
    }
    let place = place();
    let home = place.way.join("home");
    create_dir_all(home.join("ann")).unwrap();
    let glob = |path: PathBuf| PathGlob::parse(path.to_str().unwrap()).unwrap();
    let patterns = [glob(home.join("*/actions-runner*"))];
    let found = || discover(&patterns, &MountTable::default());
    symlink(&place.root, home.join("ann/actions-runner-1")).unwrap();
    assert_eq!(found().runners.len(), 1, "laid by root: {:?}", found().notes);
    give(&home.join("ann"), ONE);
    assert!(found().runners.is_empty());
    assert_eq!(found().matches[0].1, 0);
    let note = found().notes.join("\n");
    assert!(
        note.contains("its real path is") && note.contains("uid 61001") && note.contains("add its path"),
        "{note}"
    );
    // A directory on the way as well as the last component.
    std::fs::remove_file(home.join("ann/actions-runner-1")).unwrap();
    give(&home, ONE);
    symlink(&place.way, home.join("bob")).unwrap();
    assert!(found().runners.is_empty());
    // A glob's match counts whoever owns the link that leads there.
    let both = [patterns[0].clone(), glob(place.way.join("actions-runner*"))];
    assert_eq!(discover(&both, &MountTable::default()).runners.len(), 1);
}
