//! Which files are compared: files of the same repository, rule, name and size in caches of several runners on one disk. Nothing is
//! hashed, because the kernel compares the content anyway.

use crate::model::dedupe::{DedupeCache, DedupePair};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Smaller files cost more to compare than they save.
const SMALLEST: u64 = 64 << 10;

/// The pairs, the largest first.
pub fn pairs(caches: &[DedupeCache]) -> Vec<DedupePair> {
    let mut groups: HashMap<_, Vec<usize>> = HashMap::new();
    for (index, one) in caches.iter().enumerate() {
        // `_work/REPOSITORY/REPOSITORY/...`: the same below both work directories.
        let key = (one.filesystem, &one.cache.rule, &one.cache.below_work);
        groups.entry(key).or_default().push(index);
    }
    let mut found = Vec::new();
    for members in groups.into_values().filter(|members| members.len() > 1) {
        let mut first: HashMap<(&Path, u64), usize> = HashMap::new();
        for index in members {
            for file in caches[index].cache.largest.iter().filter(|file| file.allocated >= SMALLEST) {
                let source = *first.entry((&file.below, file.allocated)).or_insert(index);
                let is_same_tree = caches[source].cache.id == caches[index].cache.id;
                if source != index && !is_same_tree {
                    let below: PathBuf = file.below.clone();
                    found.push(DedupePair { source, target: index, below, bytes: file.allocated });
                }
            }
        }
    }
    found.sort_by(|one, other| {
        (other.bytes, &one.below, one.source, one.target).cmp(&(
            one.bytes,
            &other.below,
            other.source,
            other.target,
        ))
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cache, FileId, FilesystemId, LargeFile, Part, Runner, Uid, Work};

    fn cache(n: u64, minor: u32, below: &str, files: &[(&str, u64)]) -> DedupeCache {
        let largest: Vec<LargeFile> =
            files.iter().map(|(name, kib)| LargeFile { below: name.into(), allocated: kib << 10 }).collect();
        DedupeCache {
            runner: runner(n),
            cache: Cache {
                path: PathBuf::from("/w").join(below),
                base: None,
                below_work: below.into(),
                part: Part::Whole,
                rule: "cargo-target".into(),
                id: FileId { dev: 1, ino: n },
                owner: Uid(1),
                measure: None,
                used: None,
                largest: largest.into(),
            },
            filesystem: FilesystemId { major: 1, minor },
        }
    }

    fn runner(n: u64) -> Runner {
        Runner {
            name: format!("runner-{n}"),
            root: format!("/srv/runner-{n}").into(),
            root_id: FileId { dev: 1, ino: 1000 + n },
            owner: Uid(1),
            work: Work::Absent { path: "/w".into() },
        }
    }

    #[test]
    fn pairs_are_of_one_repository_name_and_size_on_one_disk_the_largest_first() {
        let files = [("debug/a", 900), ("debug/b", 2000), ("debug/small", 4)];
        let caches = [
            cache(1, 1, "app/app/target", &files),
            cache(2, 1, "app/app/target", &files),
            cache(3, 1, "app/app/target", &[("debug/a", 901), ("debug/b", 2000)]),
            cache(4, 2, "app/app/target", &files),
            cache(5, 1, "other/other/target", &files),
            cache(1, 1, "app/app/target", &files),
        ];
        let pairs = pairs(&caches);
        let shown = pairs.iter().map(|p| format!("{} {}->{}", p.below.display(), p.source, p.target));
        assert_eq!(shown.collect::<Vec<_>>(), ["debug/b 0->1", "debug/b 0->2", "debug/a 0->1"]);
    }
}
