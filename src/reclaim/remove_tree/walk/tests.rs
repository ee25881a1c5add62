//! How one thread handles one directory, in cases where a whole deletion would reach the same end in another way, or by chance.

use super::*;
use crate::reclaim::remove_tree::{Progress, Removal, RemovalExtent};
use crate::sys::testing::{NOBODY, as_nobody, handle, is_root};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::sync::Mutex;

/// A walk over what lies in a temporary directory, holding at most so many handles.
fn in_walk(handles: usize, body: impl FnOnce(&Path, &RemovalWalk<'_>)) -> Removal {
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (base, progress) = (handle(temp.path()), Progress::default());
    let (budget, options) = (
        HandleBudget::new(handles),
        RemoveOptions { threads: 1, deadline: None, enough: None, progress: &progress },
    );
    let walk = RemovalWalk::new(&base, &budget, &options);
    body(temp.path(), &walk);
    walk.into_errors().into_removal(Removed::default())
}

/// Runs `act` as the walk's only thread. Returns how many tasks it has shared, and what it has removed.
fn as_worker<'a>(walk: &RemovalWalk<'a>, act: impl FnOnce(&mut Worker<'_, 'a>) + Send) -> (Removed, usize) {
    let act = Mutex::new(Some(act));
    let sums = work_off(
        1,
        vec![RemovalTask::Deep(0..0)],
        Default::default,
        |stack, (removed, shared): &mut (Removed, usize), _, _| match act.lock().unwrap().take() {
            Some(act) => act(&mut Worker { walk, stack, removed, made: &mut Vec::new() }),
            None => *shared += 1,
        },
    );
    sums[0]
}

/// An open directory of the base.
fn node<'a>(base: &Path, name: &str) -> Arc<Node<'a>> {
    let _ = fs::create_dir(base.join(name));
    let dir = handle(&base.join(name));
    Arc::new(Node::new(dir, std::ffi::CString::new(name).unwrap().into(), None, None))
}

fn fill(directory: &Path, files: u64) {
    (0..files).for_each(|file| fs::write(directory.join(file.to_string()), "").unwrap());
}

fn names(path: &Path) -> Vec<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[track_caller]
fn assert_nothing_stays(removal: Removal) {
    assert!(matches!(removal.extent, RemovalExtent::Whole), "{removal:?}");
}

#[test]
fn a_large_directory_is_shared_once_and_a_small_one_is_not() {
    for (files, is_shared) in [(SHARED_FROM - 1, false), (SHARED_FROM, true), (2 * SHARED_FROM, true)] {
        assert_nothing_stays(in_walk(8, |base, walk| {
            let node = node(base, "large");
            fill(&base.join("large"), files);
            let (removed, shared) = as_worker(walk, |worker| {
                worker.read(Arc::clone(&node), &mut vec![MaybeUninit::uninit(); ENTRIES_BUFFER]);
                assert!(worker.made.is_empty(), "a file is no task");
            });
            assert_eq!((removed.files, shared), (files, usize::from(is_shared)));
            assert_eq!(node.entries.load(Ordering::Relaxed), files);
            assert_eq!(base.join("large").exists(), is_shared, "the other reader is not done");
        }));
    }
}

/// Two readers of one directory take turns; one that is alone reads on to the end.
#[test]
fn a_worker_that_shares_the_rest_of_a_directory_leaves_it_to_others() {
    for (buffer, files, is_shared) in [(4096, 2000, true), (1024, 200, false)] {
        assert_nothing_stays(in_walk(8, |base, walk| {
            let node = node(base, "large");
            fill(&base.join("large"), files);
            let (removed, shared) = as_worker(walk, |worker| {
                worker.read(Arc::clone(&node), &mut vec![MaybeUninit::uninit(); buffer]);
            });
            assert_eq!(shared, usize::from(is_shared));
            assert_eq!(removed.files < files, is_shared, "{removed:?}");
            assert_eq!((node.rereads.load(Ordering::Relaxed), removed.directories > 0), (0, !is_shared));
        }));
    }
}

#[test]
fn past_the_deadline_nothing_is_even_read() {
    for is_late in [true, false] {
        assert_nothing_stays(in_walk(8, |base, walk| {
            let node = node(base, "directory");
            fill(&base.join("directory"), 9);
            walk.late.store(is_late, Ordering::Relaxed);
            let (removed, _) = as_worker(walk, |worker| {
                worker.read(Arc::clone(&node), &mut vec![MaybeUninit::uninit(); ENTRIES_BUFFER]);
            });
            let (read, spoiled) =
                (node.entries.load(Ordering::Relaxed), node.spoiled.load(Ordering::Relaxed));
            assert_eq!((read, removed.files, spoiled), if is_late { (0, 0, true) } else { (9, 9, false) });
        }));
    }
}

#[test]
fn a_directory_is_renamed_up_when_no_handle_is_left_for_it_and_only_then() {
    for handles in [1, 0] {
        assert_nothing_stays(in_walk(handles, |base, walk| {
            let parent = Some(node(base, "parent"));
            fs::create_dir(base.join("parent/child")).unwrap();
            as_worker(walk, |worker| {
                assert_eq!(worker.enter(&parent, c"child".into()).is_some(), handles > 0);
                assert!(worker.enter(&None, c"parent".into()).is_some(), "a root is entered in any case");
            });
            assert_eq!(base.join("parent/child").exists(), handles > 0);
            assert_eq!(walk.deep.since(0).end, 1 - handles as u64);
            assert_eq!(names(base).len(), 2 - handles);
        }));
    }
}

/// Of another parent, which writes its `..`, and from a parent that may not be written.
#[test]
fn a_directory_without_permissions_to_be_moved_gets_them() {
    if !is_root() {
        return;
    }
    assert_nothing_stays(in_walk(8, |base, walk| {
        let parent = node(base, "parent");
        for (path, mode) in [("parent/child", 0o500), ("parent", 0o500)] {
            let _ = fs::create_dir(base.join(path));
            chown(base.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
            fs::set_permissions(base.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        as_nobody(|| {
            as_worker(walk, |worker| worker.move_up(Some(&parent), c"child"));
        });
        assert!(names(&base.join("parent")).is_empty());
        assert_eq!(names(base).len(), 2);
    }));
}

#[test]
fn an_entry_that_replaced_an_emptied_directory_is_deleted_instead() {
    assert_nothing_stays(in_walk(8, |base, walk| {
        let node = node(base, "directory");
        calls::remove_directory(walk.base, c"directory").unwrap();
        fs::write(base.join("directory"), "").unwrap();
        let (removed, _) =
            as_worker(walk, |worker| assert!(matches!(worker.finish(&node), WalkOutcome::Gone)));
        assert_eq!((removed.files, removed.directories), (1, 0));
        assert!(names(base).is_empty());
    }));
}

#[test]
fn a_directory_is_read_again_so_often_and_all_together_so_often() {
    let removal = in_walk(8, |base, walk| {
        let left = || walk.rereads.load(Ordering::Relaxed);
        while left() > 0 {
            let (before, node) = (left(), node(base, "refilled"));
            as_worker(walk, |worker| {
                for _ in 0..REREADS_EACH {
                    assert!(matches!(worker.read_again(&node), WalkOutcome::ReadAgain));
                }
                assert!(matches!(worker.read_again(&node), WalkOutcome::Stays), "as often as one may");
            });
            assert_eq!(left(), before - u64::from(REREADS_EACH));
        }
        let node = node(base, "refilled");
        as_worker(walk, |worker| assert!(matches!(worker.read_again(&node), WalkOutcome::Stays)));
    });
    let RemovalExtent::Part { first: RemoveError::Refilled { .. }, errors } = removal.extent else {
        panic!("{removal:?}")
    };
    assert_eq!(errors, REREADS_IN_ALL / u64::from(REREADS_EACH) + 1);
}

#[test]
fn a_mount_is_called_one_and_another_subvolume_is_not() {
    for (operation, errno, is_mount) in [
        (Operation::Open, Errno::XDEV, true),
        (Operation::MoveUp, Errno::XDEV, false),
        (Operation::Unlink, Errno::BUSY, true),
        (Operation::Open, Errno::ACCESS, false),
    ] {
        let removal = in_walk(8, |base, walk| {
            let parent = node(base, "parent");
            walk.stays(Some(&parent), c"it", operation, errno);
            assert!(parent.spoiled.load(Ordering::Relaxed), "what holds it stays too");
        });
        let RemovalExtent::Part { first, errors: 1 } = removal.extent else { panic!("{removal:?}") };
        assert_eq!(matches!(first, RemoveError::Mount { .. }), is_mount, "{first:?}");
        assert!(first.to_string().contains("parent/it"), "{first}");
    }
}
