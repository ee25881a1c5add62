//! Which runners stand and fall together: those whose work directories are one, or lie inside one another.

use crate::model::Runner;

/// For each runner the index of its group's first member.
pub fn groups(runners: &[&Runner]) -> Vec<usize> {
    let mut first: Vec<usize> = (0..runners.len()).collect();
    for later in 1..runners.len() {
        for earlier in 0..later {
            if overlap(runners[earlier], runners[later]) {
                let (keep, change) = (first[earlier].min(first[later]), first[earlier].max(first[later]));
                first.iter_mut().filter(|group| **group == change).for_each(|group| *group = keep);
            }
        }
    }
    first
}

fn overlap(one: &Runner, other: &Runner) -> bool {
    if let (Some(a), Some(b)) = (one.work_dir(), other.work_dir())
        && a.id == b.id
    {
        return true;
    }
    // Also for a work directory that is absent or unusable: its path is all that is known of it, and it protects.
    let (a, b) = (one.work_path(), other.work_path());
    a.starts_with(b) || b.starts_with(a)
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
}
