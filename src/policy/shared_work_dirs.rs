//! Which runners share a work directory: their work directories are the same, or one lies inside another.

use crate::model::Runner;
use std::collections::HashMap;

/// For each runner the index of its group's first member.
pub fn groups(runners: &[&Runner]) -> Vec<usize> {
    let mut first: Vec<usize> = (0..runners.len()).collect();
    let mut by_id = HashMap::new();
    for (index, work) in runners.iter().enumerate().filter_map(|(i, runner)| Some((i, runner.work_dir()?))) {
        let same = *by_id.entry(work.id).or_insert(index);
        join(&mut first, same, index);
    }
    // Work directories that are absent or unusable count as well: only their path is known, and it protects. In the order of paths, the
    // content of a directory follows it directly.
    let mut by_path: Vec<usize> = (0..runners.len()).collect();
    by_path.sort_by_key(|index| runners[*index].work_path());
    let mut above: Vec<usize> = Vec::new();
    for index in by_path {
        while above.pop_if(|top| !runners[index].work_path().starts_with(runners[*top].work_path())).is_some()
        {
        }
        if let Some(top) = above.last() {
            join(&mut first, *top, index);
        }
        above.push(index);
    }
    (0..runners.len()).map(|index| find(&mut first, index)).collect()
}

/// The members of each group, by the index of its first.
pub fn members(groups: &[usize]) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); groups.len()];
    for (index, group) in groups.iter().enumerate() {
        members[*group].push(index);
    }
    members
}

/// The first member of a runner's group as far as it is known.
fn find(first: &mut [usize], index: usize) -> usize {
    let mut group = index;
    while first[group] != group {
        first[group] = first[first[group]];
        group = first[group];
    }
    group
}

fn join(first: &mut [usize], one: usize, other: usize) {
    let (one, other) = (find(first, one), find(first, other));
    first[one.max(other)] = one.min(other);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileId, FilesystemId, Uid, Work, WorkDir};

    fn runner(ino: u64, work: &str) -> Runner {
        Runner {
            name: work.into(),
            root: "/r".into(),
            root_id: FileId { dev: 1, ino: ino + 1000 },
            owner: Uid(1),
            work: Work::Present(WorkDir {
                path: work.into(),
                id: FileId { dev: 1, ino },
                owner: Uid(1),
                filesystem: FilesystemId { major: 8, minor: 1 },
            }),
        }
    }

    #[test]
    fn shared_and_nested_work_directories_are_one_fate_and_neighbours_are_not() {
        let runners = [
            runner(1, "/a/runner-1/_work"),
            runner(2, "/a/runner-10/_work"),
            runner(1, "/elsewhere/same-inode"),
            runner(4, "/a/runner-10/_work/inner"),
            runner(5, "/b/_work"),
        ];
        let all: Vec<&Runner> = runners.iter().collect();
        assert_eq!(groups(&all), [0, 1, 0, 1, 4]);
    }

    /// By the definition: each runner compared with each.
    fn one_by_one(runners: &[&Runner]) -> Vec<usize> {
        let overlap = |a: &Runner, b: &Runner| {
            let same = a.work_dir().zip(b.work_dir()).is_some_and(|(a, b)| a.id == b.id);
            let (a, b) = (a.work_path(), b.work_path());
            same || a.starts_with(b) || b.starts_with(a)
        };
        let mut first: Vec<usize> = (0..runners.len()).collect();
        for later in 0..runners.len() {
            for earlier in (0..later).filter(|earlier| overlap(runners[*earlier], runners[later])) {
                let (keep, change) = (first[earlier].min(first[later]), first[earlier].max(first[later]));
                first.iter_mut().filter(|group| **group == change).for_each(|group| *group = keep);
            }
        }
        first
    }

    proptest::proptest! {
        #[test]
        fn groups_are_those_of_the_definition(
            works in proptest::collection::vec((0_u64..12, "(/[ab]){1,3}(-x|.y)?"), 0..14)
        ) {
            let runners: Vec<Runner> = works.iter().map(|(ino, work)| runner(*ino, work)).collect();
            let all: Vec<&Runner> = runners.iter().collect();
            let groups = groups(&all);
            proptest::prop_assert_eq!(&groups, &one_by_one(&all));
            for (group, members) in members(&groups).iter().enumerate() {
                proptest::prop_assert!(members.iter().all(|member| groups[*member] == group));
            }
        }
    }
}
