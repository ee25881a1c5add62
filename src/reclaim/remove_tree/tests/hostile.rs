//! Trees that resist deletion: mounts, swaps, refills, missing permissions, full disks. Each test also deletes something.

use super::super::*;
use super::{assert_whole, first_error, names, remove};
use crate::sys::testing::{
    NOBODY, as_nobody, fast_temp_dir, handle, in_private_mounts, is_root, mount_image, nest, run, skipped,
};
use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn bind(source: &Path, target: &Path) {
    assert!(run("mount", &["--bind".as_ref(), source.as_os_str(), target.as_os_str()]));
}

#[test]
fn mounts_inside_are_left_alone_and_reported() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (tree, outside) = (temp.path().join("tree"), temp.path().join("outside"));
    fs::create_dir_all(tree.join("deep/mnt")).unwrap();
    fs::create_dir(tree.join("tmpfs")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "alive").unwrap();
    fs::write(tree.join("file"), "").unwrap();
    (0..500).for_each(|file| fs::write(tree.join(format!("deep/{file}")), "").unwrap());
    in_private_mounts(|| {
        bind(&outside, &tree.join("deep/mnt"));
        bind(&outside.join("canary"), &tree.join("file"));
        let tmpfs = tree.join("tmpfs");
        assert!(run("mount", &["-t".as_ref(), "tmpfs".as_ref(), "t".as_ref(), tmpfs.as_os_str()]));
        fs::write(tree.join("tmpfs/canary"), "alive").unwrap();
        let removal = remove(temp.path(), "tree");
        let (first, errors) = first_error(&removal);
        assert!(matches!(first, RemoveError::Mount { .. }), "{first:?}");
        assert_eq!((errors, removal.files, removal.directories), (3, 500, 0));
        assert_eq!(names(&tree), ["deep", "file", "tmpfs"]);
        assert_eq!(names(&tree.join("deep")), ["mnt"]);
        assert_eq!(names(&tree.join("tmpfs")), ["canary"]);
    });
    assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "alive");
    assert_whole(&remove(temp.path(), "tree"));
    assert_eq!(names(temp.path()), ["outside"]);
}

/// Runs `attack` over and over while the tree is being deleted.
fn while_attacked(temp: &Path, attack: impl Fn() + Sync) -> Removal {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                attack();
            }
        });
        // On a thread of its own: if it panics, the attack ends all the same.
        let removal = scope.spawn(|| remove(temp, "tree")).join();
        over.store(true, Ordering::Relaxed);
        removal.unwrap()
    })
}

#[test]
fn directories_swapped_for_links_lead_nowhere() {
    let temp = fast_temp_dir();
    let outside = temp.path().join("outside");
    fs::create_dir_all(outside.join("kept")).unwrap();
    fs::write(outside.join("canary"), "alive").unwrap();
    fs::write(outside.join("kept/canary"), "alive").unwrap();
    let tree = temp.path().join("tree");
    let mut removed = 0;
    for _ in 0..20 {
        fs::create_dir_all(&tree).unwrap();
        for dir in 0..40 {
            fs::create_dir_all(tree.join(format!("{dir}/kept"))).unwrap();
            fs::write(tree.join(format!("{dir}/canary")), "bait").unwrap();
            fs::write(tree.join(format!("{dir}/kept/canary")), "bait").unwrap();
        }
        let next = AtomicU64::new(0);
        let removal = while_attacked(temp.path(), || {
            let dir = tree.join((next.fetch_add(1, Ordering::Relaxed) % 40).to_string());
            let aside = temp.path().join("aside");
            // A swap as an owner does it: the directory goes aside, a link takes its place.
            let swap = |from: &Path, to: &Path| {
                let named = |path: &Path| CString::new(path.file_name().unwrap().as_bytes()).unwrap();
                let of = |path: &Path| Dir::open(path.parent().unwrap());
                calls::move_up(&of(from)?, &named(from), &of(to)?, &named(to)).map_err(io::Error::from)
            };
            if swap(&dir, &aside).is_ok() {
                let _ = symlink(&outside, &dir);
                let _ = swap(&aside, &tree.join("moved"));
            }
        });
        removed += removal.files;
        let _ = remove(temp.path(), "aside");
        assert_whole(&remove(temp.path(), "tree"));
    }
    assert!(removed > 100, "the attack did not keep everything from going: {removed}");
    assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "alive");
    assert_eq!(fs::read_to_string(outside.join("kept/canary")).unwrap(), "alive");
}

#[test]
fn a_tree_that_is_refilled_is_given_up_in_the_end() {
    let temp = fast_temp_dir();
    let deep = temp.path().join("tree/a/b");
    fs::create_dir_all(&deep).unwrap();
    let made = AtomicU64::new(0);
    let removal = while_attacked(temp.path(), || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        let _ = fs::create_dir_all(&deep);
        let _ = fs::create_dir(deep.join(number.to_string()));
        let _ = fs::write(deep.join(format!("{number}/file")), "");
        let _ = fs::write(deep.join(format!("f{number}")), "");
    });
    // Which side wins is chance; the test requires that it terminates and reports what it saw.
    if let RemovalExtent::Part { first, .. } = &removal.extent {
        assert!(matches!(first, RemoveError::Refilled { .. }), "{first:?}");
    }
    assert_whole(&remove(temp.path(), "tree"));
}

#[test]
fn directories_without_permissions_are_deleted_by_their_owner() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let own = |path: &Path, mode| {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let tree = temp.path().join("tree");
    for directory in ["closed/inner", "read-only/inner", "blind", "foreign", "foreign-empty"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
        fs::write(tree.join(directory).join("file"), "x").unwrap();
    }
    run("rm", &[tree.join("foreign-empty/file").as_os_str()]);
    fs::set_permissions(tree.join("foreign-empty"), fs::Permissions::from_mode(0o700)).unwrap();
    for (path, mode) in [
        ("closed/inner", 0),
        ("closed", 0),
        ("read-only/inner", 0o500),
        ("read-only", 0o500),
        ("blind", 0o300),
        ("", 0o000),
    ] {
        own(&tree.join(path), mode);
    }
    own(temp.path(), 0o755);
    as_nobody(|| {
        let removal = remove(temp.path(), "tree");
        let (first, errors) = first_error(&removal);
        assert_eq!(errors, 1, "{first:?}");
        assert_eq!(first.to_string(), "cannot unlink tree/foreign/file");
        assert_eq!(first.source().unwrap().to_string(), io::Error::from_raw_os_error(13).to_string());
        assert_eq!((removal.files, removal.directories), (3, 6));
    });
    assert_eq!(names(&tree), ["foreign"]);
    assert_eq!(fs::metadata(tree.join("foreign")).unwrap().uid(), 0);
    assert_whole(&remove(temp.path(), "tree"));
}

#[test]
fn immutable_files_are_kept_and_the_rest_is_deleted() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("tree");
    for directory in ["kept", "gone"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
        fs::write(tree.join(directory).join("file"), "x").unwrap();
    }
    let file = tree.join("kept/file");
    if !run("chattr", &["+i".as_ref(), file.as_os_str()]) {
        return skipped("no immutable files here");
    }
    let removal = remove(temp.path(), "tree");
    run("chattr", &["-i".as_ref(), file.as_os_str()]);
    let (first, errors) = first_error(&removal);
    assert_eq!((first.to_string().as_str(), errors), ("cannot unlink tree/kept/file", 1));
    assert_eq!((removal.files, removal.directories), (1, 1));
    assert_whole(&remove(temp.path(), "tree"));
}

#[test]
fn a_nested_tree_is_deleted_on_a_disk_without_a_free_byte() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let disk = temp.path().join("disk");
    fs::create_dir(&disk).unwrap();
    in_private_mounts(|| {
        if !mount_image("ext4", 16, &temp.path().join("image"), &disk) {
            return skipped("no ext4 here");
        }
        let tree = disk.join("tree");
        fs::create_dir(&tree).unwrap();
        nest(&tree, 400, 1);
        let filler = fs::File::create(tree.join("filler")).unwrap();
        let mut at = 0;
        while let Ok(length) = filler.write_at(&[1; 1024], at) {
            at += length as u64;
        }
        assert_eq!(handle(&disk).usage().unwrap().available_bytes, 0);
        let removal = remove(&disk, "tree");
        assert_whole(&removal);
        assert_eq!((removal.files, removal.directories), (401, 801));
        assert_eq!(names(&disk), ["lost+found"]);
    });
}

/// To rename a directory up, its new parent may need a block: deleting the rest of the tree frees one.
#[test]
fn entries_that_need_space_to_be_moved_are_deleted_after_the_rest() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let disk = temp.path().join("disk");
    fs::create_dir(&disk).unwrap();
    in_private_mounts(|| {
        if !mount_image("ext4", 16, &temp.path().join("image"), &disk) {
            return skipped("no ext4 here");
        }
        let tree = disk.join("tree");
        fs::create_dir_all(tree.join("a")).unwrap();
        fs::create_dir(tree.join("b")).unwrap();
        // The directory that is listed last is entered first: that has to be the deep one.
        let listed: Vec<_> = fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [wide, deep] = &listed[..] else { panic!("{listed:?}") };
        fs::create_dir_all(deep.join("d/".repeat(250))).unwrap();
        let (filler, mut blocks) = (fs::File::create(disk.join("filler")).unwrap(), 0);
        while filler.write_all_at(&[1; 1024], blocks * 1024).is_ok() {
            blocks += 1;
        }
        filler.set_len((blocks - 64) * 1024).unwrap();
        let until_full = |make: &dyn Fn(u64) -> io::Result<()>| {
            let full = (0..2000).map(make).find_map(Result::err).expect("the disk is small");
            assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        };
        until_full(&|number| fs::create_dir(wide.join(number.to_string())));
        until_full(&|number| fs::write(disk.join(number.to_string()), ""));
        let progress = Progress::default();
        let options = RemoveOptions { threads: 1, deadline: None, enough: None, progress: &progress };
        let removal = remove_tree(&handle(&disk), OsStr::new("tree"), &[], &options);
        assert_whole(&removal);
        assert_eq!(removal.files, 0);
        assert!(!tree.exists());
    });
}

#[test]
fn btrfs_subvolumes_inside_are_deleted_with_the_tree() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let disk = temp.path().join("disk");
    fs::create_dir(&disk).unwrap();
    in_private_mounts(|| {
        if !mount_image("btrfs", 128, &temp.path().join("image"), &disk) {
            return skipped("no btrfs here");
        }
        fs::create_dir(disk.join("tree")).unwrap();
        let subvolume = disk.join("tree/subvolume");
        assert!(run("btrfs", &["subvolume".as_ref(), "create".as_ref(), subvolume.as_os_str()]));
        fs::create_dir(subvolume.join("deep")).unwrap();
        fs::write(subvolume.join("deep/file"), "x").unwrap();
        let inside = subvolume.join("deep/inside");
        assert!(run("btrfs", &["subvolume".as_ref(), "create".as_ref(), inside.as_os_str()]));
        let snapshot = disk.join("tree/snapshot");
        let words = ["subvolume", "snapshot", "-r"].map(OsStr::new);
        assert!(run("btrfs", &[&words[..], &[subvolume.as_os_str(), snapshot.as_os_str()]].concat()));
        let removal = remove(&disk, "tree");
        assert_whole(&removal);
        // A subvolume that holds another one is emptied; the others are deleted as a whole.
        assert_eq!((removal.files, removal.directories), (1, 5));
        assert!(names(&disk).is_empty());
    });
}
