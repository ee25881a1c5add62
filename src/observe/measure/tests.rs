use super::*;
use crate::sys::testing::{
    as_nobody, fast_temp_dir, handle, in_own_process, in_private_mounts, is_root, joined, limit_open_files,
    nest, odd_names, peak_resident_bytes, run,
};
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

fn scan(path: &Path) -> Scan {
    measure(&handle(path), &MeasureOptions::default()).unwrap()
}

fn du(path: &Path) -> u64 {
    let output = std::process::Command::new("du").args(["-s", "-B1"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split('\t').next().unwrap().parse().unwrap()
}

#[test]
fn the_sums_are_those_of_du() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    for (index, directory) in ["a", "a/b", "a/b/c", "flat"].iter().enumerate() {
        fs::create_dir(root.join(directory)).unwrap();
        fs::write(root.join(directory).join("data"), vec![1; index * 70_000]).unwrap();
    }
    for file in 0..3000 {
        fs::write(root.join(format!("flat/{file}")), "x").unwrap();
    }
    for name in odd_names() {
        fs::write(joined(root, &name), "odd").unwrap();
    }
    fs::hard_link(root.join("a/b/c/data"), root.join("flat/again")).unwrap();
    symlink("/usr", root.join("link")).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let found = scan(root);
    assert_eq!(found.measure.bytes, du(root));
    assert_eq!(found.measure.directories, 5);
    assert_eq!(found.measure.files, 4 + 3000 + odd_names().len() as u64 + 3);
    assert_eq!(found.measure.coverage, Coverage::Whole);
    for threads in [1, 4] {
        let again = measure(&handle(root), &MeasureOptions { threads, ..MeasureOptions::default() }).unwrap();
        assert_eq!(again, found, "{threads} threads");
    }
    let listed: Vec<_> = found.largest.iter().map(|file| file.below.to_str().unwrap()).collect();
    assert_eq!(listed, ["flat/data", "a/b/c/data", "flat/again", "a/b/data"], "both names of the linked one");
}

#[test]
fn a_sparse_file_counts_what_it_holds() {
    let temp = tempfile::tempdir().unwrap();
    let file = fs::File::create(temp.path().join("sparse")).unwrap();
    file.write_all_at(&[1; 4096], 1 << 30).unwrap();
    file.sync_all().unwrap();
    let found = scan(temp.path()).measure;
    assert_eq!(found.bytes, du(temp.path()));
    assert!((4096..1 << 20).contains(&found.bytes), "{}", found.bytes);
}

#[test]
fn the_newest_is_the_youngest_of_anything_but_directories() {
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(scan(temp.path()).measure.newest, None, "the root was made just now, and is a directory");
    fs::create_dir(temp.path().join("deep")).unwrap();
    let times = [5, 900, 70].map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    for (time, name) in times.into_iter().zip(["a", "deep/b", "c"]) {
        fs::File::create(temp.path().join(name)).unwrap().set_modified(time).unwrap();
    }
    assert_eq!(scan(temp.path()).measure.newest, Some(times[1]));
}

#[test]
fn past_the_deadline_nothing_more_is_looked_at() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "x").unwrap();
    let look = |deadline| {
        let options = MeasureOptions { deadline: Some(deadline), ..MeasureOptions::default() };
        measure(&handle(temp.path()), &options).unwrap().measure
    };
    let late = look(Instant::now());
    assert_eq!((late.coverage, late.files, late.newest), (Coverage::Part, 0, None));
    let early = look(Instant::now() + Duration::from_secs(60));
    assert_eq!((early.coverage, early.files), (Coverage::Whole, 1));
}

#[test]
fn an_unreadable_directory_makes_the_result_partial() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for directory in ["closed", "open"] {
        fs::create_dir(temp.path().join(directory)).unwrap();
        fs::write(temp.path().join(directory).join("file"), "x").unwrap();
    }
    fs::set_permissions(temp.path().join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    let closed = handle(&temp.path().join("closed"));
    assert!(measure(&closed, &MeasureOptions::default()).is_ok());
    as_nobody(|| {
        let found = scan(temp.path()).measure;
        assert_eq!((found.coverage, found.files), (Coverage::Part, 1));
        assert_eq!(scan(&temp.path().join("open")).measure.coverage, Coverage::Whole);
        assert!(
            measure(&closed, &MeasureOptions::default()).is_err(),
            "a root that cannot be read is an error"
        );
    });
}

#[test]
fn mounts_are_neither_entered_nor_counted() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (root, outside) = (temp.path().join("root"), temp.path().join("outside"));
    fs::create_dir_all(root.join("mnt")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(root.join("own"), vec![1; 100_000]).unwrap();
    fs::write(root.join("file"), "").unwrap();
    fs::write(outside.join("big"), vec![1; 1_000_000]).unwrap();
    let before = scan(&root).measure;
    assert_eq!((before.coverage, before.files), (Coverage::Whole, 2));
    in_private_mounts(|| {
        for (source, target) in [(outside.clone(), "mnt"), (outside.join("big"), "file")] {
            let target = root.join(target);
            assert!(run("mount", &["--bind".as_ref(), source.as_os_str(), target.as_os_str()]));
        }
        let found = scan(&root);
        assert_eq!((found.measure.coverage, found.measure.files), (Coverage::Part, 1));
        assert_eq!(found.largest.len(), 1);
    });
}

#[test]
fn any_depth_is_walked_with_few_descriptors_and_little_memory() {
    in_own_process(
        "observe::measure::tests::any_depth_is_walked_with_few_descriptors_and_little_memory",
        || {
            limit_open_files(64);
            let temp = fast_temp_dir();
            nest(temp.path(), 100_000, 0);
            let found = scan(temp.path()).measure;
            assert_eq!(found.coverage, Coverage::Whole);
            assert_eq!((found.files, found.directories), (100_000, 100_001));

            // Each level of a comb waits while the next is looked at: levels beyond the budget are reported as unseen.
            let comb = tempfile::tempdir_in(temp.path()).unwrap();
            nest(comb.path(), 20_000, 2);
            let found = scan(comb.path()).measure;
            assert!(found.directories > 10);
            assert!(found.coverage == Coverage::Part || found.directories == 60_001);
            assert!(peak_resident_bytes() < 24 << 20, "{}", peak_resident_bytes());
            assert!(
                run("rm", &["-rf".as_ref(), temp.path().as_os_str()]),
                "std cannot remove so deep a tree"
            );
        },
    );
}

#[test]
fn many_trees_are_measured_by_one_pool_each_as_by_itself() {
    let temp = tempfile::tempdir().unwrap();
    for tree in 0..40 {
        for file in 0..tree * 7 {
            let directory = temp.path().join(format!("{tree}/{}", file / 90));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(file.to_string()), vec![1; if file == 3 { 200_000 } else { 10 }])
                .unwrap();
        }
        fs::create_dir_all(temp.path().join(tree.to_string())).unwrap();
    }
    let tree = |number: usize| temp.path().join(number.to_string());
    for in_turn in [false, true] {
        let (order, found) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let open = |number: usize| {
            order.lock().unwrap().push(number);
            // One of them cannot be opened: the others are measured all the same.
            (number != 11).then(|| handle(&tree(number)))
        };
        measure_all(40, &MeasureOptions::default(), (true, in_turn), &open, &|number, scan, noted| {
            if in_turn {
                assert_eq!(order.lock().unwrap().last(), Some(&number), "the next one is not begun");
            }
            found.lock().unwrap().push((number, scan, noted.len() as u64));
        });
        let mut order = order.into_inner().unwrap();
        if !in_turn {
            order.sort_unstable();
        }
        assert_eq!(order, (0..40).collect::<Vec<_>>());
        let mut found = found.into_inner().unwrap();
        found.sort_by_key(|(number, ..)| *number);
        assert_eq!(found.len(), 39);
        for (number, scan, noted) in found {
            assert_eq!(
                scan,
                measure(&handle(&tree(number)), &MeasureOptions::default()).unwrap(),
                "{number}"
            );
            assert_eq!(noted, scan.measure.directories, "{number}");
        }
    }
}
