mod hostile;

use super::*;
use crate::sys::testing::{
    fast_temp_dir, handle, in_own_process, is_root, joined, limit_open_files, nest, odd_names,
    peak_resident_bytes,
};
use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Deletes the entry `name` of `path`.
fn remove(path: &Path, name: &str) -> Removal {
    remove_within(path, name, None)
}

fn remove_within(path: &Path, name: &str, deadline: Option<Instant>) -> Removal {
    let progress = Progress::default();
    let options = RemoveOptions { threads: 2, deadline, enough: None, progress: &progress };
    let removal = remove_tree(&handle(path), OsStr::new(name), &[], &options);
    let counted = (progress.files.into_inner(), progress.directories.into_inner());
    assert_eq!(counted, (removal.files, removal.directories), "progress counts along");
    removal
}

fn remove_listed(root: &Path, list: &[LargeFile], options: &RemoveOptions<'_>) -> Removed {
    let files: Vec<Listed<'_>> = list.iter().map(|file| (0, file)).collect();
    largest_first::remove(&[handle(root)], &files, options, &[options.progress])
}

#[track_caller]
fn assert_whole(removal: &Removal) {
    assert!(matches!(removal.extent, RemovalExtent::Whole), "{removal:?}");
}

#[track_caller]
fn first_error(removal: &Removal) -> (&RemoveError, u64) {
    match &removal.extent {
        RemovalExtent::Part { first, errors } => (first, *errors),
        RemovalExtent::Whole => panic!("something should have been left: {removal:?}"),
    }
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_tree_with_every_kind_of_entry_is_deleted_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let (tree, outside) = (temp.path().join("tree"), temp.path().join("outside"));
    fs::create_dir_all(tree.join("a/b/empty")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("linked"), "content").unwrap();
    fs::hard_link(outside.join("linked"), tree.join("a/linked")).unwrap();
    for name in odd_names() {
        fs::write(joined(&tree, &name), "odd").unwrap();
        fs::create_dir(joined(&tree.join("a/b"), &name)).unwrap();
    }
    symlink(&outside, tree.join("a/link")).unwrap();
    symlink(".", tree.join("a/b/loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    nix::unistd::mkfifo(&tree.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::File::create(tree.join("sparse")).unwrap().write_all_at(b"x", 1 << 34).unwrap();
    let mut files = odd_names().len() as u64 + 6;
    if is_root() {
        use nix::sys::stat::{Mode, SFlag, makedev, mknod};
        mknod(&tree.join("null"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)).unwrap();
        files += 1;
    }

    let removal = remove(temp.path(), "tree");
    assert_whole(&removal);
    assert_eq!((removal.files, removal.directories), (files, 4 + odd_names().len() as u64));
    assert_eq!(names(temp.path()), ["outside"]);
    assert_eq!(fs::read_to_string(outside.join("linked")).unwrap(), "content");
}

#[test]
fn a_file_is_a_tree_of_one_entry_and_a_missing_tree_is_complete() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("outside")).unwrap();
    fs::write(temp.path().join("outside/canary"), "x").unwrap();
    symlink("outside", temp.path().join("link")).unwrap();
    fs::write(temp.path().join("file"), "x").unwrap();
    for (name, files) in [("link", 1), ("file", 1), ("gone", 0)] {
        let removal = remove(temp.path(), name);
        assert_whole(&removal);
        assert_eq!((removal.files, removal.directories), (files, 0), "{name}");
    }
    assert_eq!(names(temp.path()), ["outside"]);
    assert_eq!(names(&temp.path().join("outside")), ["canary"]);
}

#[test]
fn only_a_single_name_is_taken() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir_all(temp.path().join("here/tree/deep")).unwrap();
    let here = temp.path().join("here");
    for name in ["", ".", "..", "/", "tree/deep", "../here", "tree/", "tr\0ee"] {
        let removal = remove(&here, name);
        assert_eq!(first_error(&removal).1, 1, "{name:?}");
    }
    assert_eq!(names(&here.join("tree")), ["deep"]);
    assert_whole(&remove(&here, "tree"));
    assert!(names(&here).is_empty());
}

#[test]
fn any_depth_is_deleted_with_few_descriptors_and_little_memory() {
    in_own_process(
        "reclaim::remove_tree::tests::any_depth_is_deleted_with_few_descriptors_and_little_memory",
        || {
            limit_open_files(256);
            let temp = fast_temp_dir();
            for (depth, teeth) in [(100_000, 0), (20_000, 2)] {
                let tree = temp.path().join("tree");
                fs::create_dir(&tree).unwrap();
                nest(&tree, depth, teeth);
                let removal = remove(temp.path(), "tree");
                assert_whole(&removal);
                assert_eq!(removal.files, depth as u64);
                assert_eq!(removal.directories, (depth * (teeth + 1)) as u64 + 1);
                assert!(names(temp.path()).is_empty(), "nor is anything left that was moved up");
            }
            assert!(peak_resident_bytes() < 24 << 20, "{}", peak_resident_bytes());
        },
    );
}

#[test]
fn without_a_free_descriptor_the_deep_is_renamed_up() {
    in_own_process("reclaim::remove_tree::tests::without_a_free_descriptor_the_deep_is_renamed_up", || {
        limit_open_files(64);
        let temp = fast_temp_dir();
        let tree = temp.path().join("tree");
        fs::create_dir(&tree).unwrap();
        nest(&tree, 40, 1);
        let (parent, progress) = (handle(temp.path()), Progress::default());
        let options = RemoveOptions { threads: 1, deadline: None, enough: None, progress: &progress };
        let mut others: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        let removal = remove_tree(&parent, OsStr::new("tree"), &[], &options);
        assert_eq!(first_error(&removal).0.to_string(), "cannot open tree");
        others.truncate(others.len() - 8);
        assert_whole(&remove_tree(&parent, OsStr::new("tree"), &[], &options));
        drop(others);
        assert!(names(temp.path()).is_empty(), "nor is anything left that was moved up");
    });
}

#[test]
fn one_directory_of_200_000_entries_is_deleted() {
    let temp = fast_temp_dir();
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for file in 0..200_000 {
        fs::File::create(tree.join(file.to_string())).unwrap();
    }
    let removal = remove(temp.path(), "tree");
    assert_whole(&removal);
    assert_eq!((removal.files, removal.directories), (200_000, 1));
}

#[test]
fn the_listed_files_are_deleted_first_and_the_list_names_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("tree");
    fs::create_dir_all(tree.join("deps")).unwrap();
    fs::create_dir(temp.path().join("outside")).unwrap();
    symlink("../outside", tree.join("link")).unwrap();
    for file in ["tree/top", "tree/deps/big", "tree/deps/bigger", "tree/deps/small", "outside/canary"] {
        fs::write(temp.path().join(file), "x").unwrap();
    }
    let canary = temp.path().join("outside/canary");
    let list: Vec<_> = ["deps/bigger", "deps", "deps/gone", "top", "../outside/canary", "link/canary"]
        .iter()
        .map(PathBuf::from)
        .chain([canary.clone(), PathBuf::new(), PathBuf::from(".."), PathBuf::from("deps/big")])
        .map(|below| LargeFile { below, allocated: 1 })
        .collect();
    let progress = Progress::default();
    let options = RemoveOptions { threads: 2, deadline: None, enough: None, progress: &progress };
    let removed = remove_listed(&tree, &list, &options);
    assert_eq!((removed.files, removed.directories), (3, 0));
    assert_eq!(names(&tree), ["deps", "link"]);
    assert_eq!(names(&tree.join("deps")), ["small"]);
    assert!(canary.exists());

    let removal = remove_tree(&handle(temp.path()), OsStr::new("tree"), &list, &options);
    assert_whole(&removal);
    assert_eq!((removal.files, progress.files.into_inner()), (2, 5));
    assert!(canary.exists());
}

#[test]
fn the_listed_files_of_several_directories_are_deleted_and_none_past_the_deadline() {
    let temp = tempfile::tempdir().unwrap();
    let below = ["a/one", "b/two", "a/three"];
    for (deadline, gone) in
        [(Some(Instant::now()), 0), (Some(Instant::now() + Duration::from_secs(60)), 3), (None, 3)]
    {
        let list = below.map(|below| {
            fs::create_dir_all(temp.path().join(below).parent().unwrap()).unwrap();
            fs::write(temp.path().join(below), "x").unwrap();
            LargeFile { below: below.into(), allocated: 1 }
        });
        let progress = Progress::default();
        let options = RemoveOptions { threads: 1, deadline, enough: None, progress: &progress };
        let removed = remove_listed(temp.path(), &list, &options);
        let left = below.iter().filter(|below| temp.path().join(below).exists()).count();
        assert_eq!((removed.files, left), (gone, 3 - gone as usize), "{deadline:?}");
    }
}

#[test]
fn past_the_deadline_nothing_more_is_removed() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("tree")).unwrap();
    fs::write(temp.path().join("tree/file"), "x").unwrap();
    let late = remove_within(temp.path(), "tree", Some(Instant::now()));
    let (first, errors) = first_error(&late);
    assert_eq!(errors, 1);
    assert_eq!(first.explained(), "out of time at tree: the rest is left for the next run");
    assert_eq!(names(&temp.path().join("tree")), ["file"]);
    assert_whole(&remove_within(temp.path(), "tree", Some(Instant::now() + Duration::from_secs(60))));
}

/// Looked at entry by entry, not only where a directory is entered.
#[test]
fn time_that_runs_out_in_a_flat_directory_ends_it_there() {
    let temp = fast_temp_dir();
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    (0..5000).for_each(|file| fs::write(tree.join(file.to_string()), "").unwrap());
    let removal = remove_within(temp.path(), "tree", Some(Instant::now() + Duration::from_millis(1)));
    assert!(matches!(first_error(&removal).0, RemoveError::OutOfTime { .. }), "{removal:?}");
    assert!(removal.files < 5000 && tree.exists(), "{removal:?}");
    assert_whole(&remove(temp.path(), "tree"));
}

#[test]
fn the_largest_files_of_several_trees_are_deleted_in_one_order_until_enough_is_free() {
    let temp = tempfile::tempdir().unwrap();
    let parent = handle(temp.path());
    let list = |sizes: &[u64]| -> Vec<LargeFile> {
        sizes.iter().map(|size| LargeFile { below: format!("d/{size}").into(), allocated: *size }).collect()
    };
    let lists = [list(&[9, 3]), list(&[7, 5, 1])];
    for (name, files) in ["one", "two"].iter().zip(&lists) {
        std::fs::create_dir_all(temp.path().join(name).join("d")).unwrap();
        for file in files {
            std::fs::write(temp.path().join(name).join(&file.below), "").unwrap();
        }
    }
    let progress = [Progress::default(), Progress::default()];
    let trees: Vec<Tree<'_>> = ["one", "two"]
        .iter()
        .zip(&lists)
        .zip(&progress)
        .map(|((name, largest), progress)| Tree { parent: &parent, name: name.as_ref(), largest, progress })
        .collect();
    let bytes = || [0, 1].map(|at: usize| progress[at].bytes.load(Ordering::Relaxed));
    let is_enough = || bytes().iter().sum::<u64>() >= 16;
    let enough = Some(Enough(&is_enough));
    let options = RemoveOptions { threads: 1, deadline: None, enough, progress: &Progress::default() };
    remove_largest(&trees, &options);
    assert_eq!(bytes(), [9, 7]);
    let left = |name: &str| std::fs::read_dir(temp.path().join(name).join("d")).unwrap().count();
    assert_eq!([left("one"), left("two")], [1, 2]);

    let removal = remove_tree(&parent, "two".as_ref(), &lists[1], &options);
    assert!(
        matches!(removal.extent, RemovalExtent::Part { first: RemoveError::Enough { .. }, .. }),
        "{:?}",
        removal.extent
    );
    assert_eq!(left("two"), 2, "it was enough before");
    let removal = remove_tree(&parent, "two".as_ref(), &lists[1], &RemoveOptions { enough: None, ..options });
    assert!(matches!(removal.extent, RemovalExtent::Whole) && !temp.path().join("two").exists());
}
