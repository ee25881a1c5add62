//! Open files of a claimed tree that the process table does not show: a descriptor in flight, io_uring, a loop device, the swap. The
//! kernel is asked by a lease on each file ([`crate::sys::file_lease`]), which detects all other users as well.
//!
//! It is additional evidence: asked of a tree that has been renamed, for an instant, for as many of its largest files as there is time
//! for. If the kernel does not answer there is none.

use crate::model::{Cache, Evidence, EvidenceKind, Part, Weight};
use crate::sys::dir::Dir;
use crate::sys::file_lease::is_open_elsewhere;
use std::path::PathBuf;
use std::time::Instant;

/// The maximum of files of one tree that are asked about.
const MAX_FILES: usize = 64;

/// The first file of `cache` that another process has open; `tree` is where it is now, as a whole or as the slot of its members.
pub fn in_tree(tree: &Dir, cache: &Cache, until: Instant) -> Option<Evidence> {
    let files: Vec<PathBuf> = match &cache.part {
        Part::Whole => cache.largest.iter().take(MAX_FILES).map(|file| file.below.clone()).collect(),
        Part::Files(_) | Part::Units(_) => {
            tree.names(MAX_FILES).unwrap_or_default().into_iter().map(PathBuf::from).collect()
        }
    };
    let mut files = files.into_iter().take_while(|_| Instant::now() < until);
    let held = files.find(|below| {
        let answer = tree.open_file(below).ok().and_then(|file| is_open_elsewhere(&file));
        answer == Some(true)
    })?;
    let (within, what) = match &cache.part {
        Part::Whole => (cache.path.join(&held), cache.path.join(&held).display().to_string()),
        // Only its claim knows its original place.
        Part::Files(_) | Part::Units(_) => {
            (cache.path.clone(), format!("a file of {}", cache.path.display()))
        }
    };
    let detail = format!("a process has {what} open");
    Some(Evidence::within(EvidenceKind::ProcessInside, Weight::InUse, within, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileId, LargeFile, Uid};
    use std::fs::{File, create_dir, write};
    use std::time::Duration;

    #[test]
    fn an_open_file_of_a_claimed_tree_speaks_against_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = crate::sys::dir::Dir::resolve(temp.path()).unwrap().1;
        create_dir(path.join("deps")).unwrap();
        let names = ["deps/a.rlib", "deps/b.rlib"];
        names.iter().for_each(|name| write(path.join(name), "content").unwrap());
        let largest = names.iter().map(|name| LargeFile { below: name.into(), allocated: 4096 });
        let cache = Cache {
            path: "/w/app/app/target".into(),
            below_work: "app/app/target".into(),
            base: None,
            part: Part::Whole,
            rule: "cargo-target".into(),
            id: FileId { dev: 0, ino: 0 },
            owner: Uid::ROOT,
            measure: None,
            used: None,
            largest: largest.collect(),
        };
        let tree = Dir::open(&path).unwrap();
        let soon = || Instant::now() + Duration::from_secs(10);
        let probe = File::open(path.join(names[0])).unwrap();
        if is_open_elsewhere(&probe).is_none() {
            return;
        }
        drop(probe);
        assert_eq!(in_tree(&tree, &cache, soon()), None);
        let held = File::open(path.join(names[1])).unwrap();
        let evidence = in_tree(&tree, &cache, soon()).expect("it is held");
        assert_eq!((evidence.kind, evidence.weight), (EvidenceKind::ProcessInside, Weight::InUse));
        assert!(evidence.detail.contains("/w/app/app/target/deps/b.rlib"), "{}", evidence.detail);
        assert_eq!(in_tree(&tree, &cache, Instant::now()), None, "no time, no answer");
        let members =
            Cache { part: Part::Files(Vec::new().into()), largest: Vec::new().into(), ..cache.clone() };
        let slot = Dir::open(&path.join("deps")).unwrap();
        assert!(in_tree(&slot, &members, soon()).is_some(), "members lie in the slot itself");
        drop(held);
        assert_eq!(in_tree(&tree, &cache, soon()), None);
        assert_eq!(in_tree(&slot, &members, soon()), None);
    }
}
