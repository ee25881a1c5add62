//! Which runners use the most of a disk, for the job that finds it full.

use crate::model::{ActionResult, CacheHolder, FilesystemId, LeaseSeen, LeaseState, RunReport};
use std::collections::BTreeMap;

/// The runners whose caches take most of `disk` after a run, at most `limit`, the largest first. The job comes from the leases alone: a
/// directory's name does not prove which repository it belongs to.
pub fn top(report: &RunReport, disk: FilesystemId, leases: &[LeaseSeen], limit: usize) -> Vec<CacheHolder> {
    let mut holdings: BTreeMap<_, CacheHolder> = BTreeMap::new();
    let stays = report.outcomes.iter().filter(|outcome| outcome.result != ActionResult::Removed);
    for action in stays.map(|outcome| &outcome.action) {
        if action.runner.work_dir().is_none_or(|work| work.filesystem != disk) {
            continue;
        }
        let root = action.runner.root_id;
        let holding = holdings.entry((root.dev, root.ino)).or_insert_with(|| CacheHolder {
            runner: action.runner.name.clone(),
            bytes: 0,
            job: leases
                .iter()
                .filter(|seen| seen.root == Some(root) && seen.state == LeaseState::Live)
                .find_map(|seen| Some(seen.lease.as_ref()?.job.clone())),
        });
        holding.bytes = holding.bytes.saturating_add(action.cache.bytes());
    }
    let mut holdings: Vec<CacheHolder> = holdings.into_values().filter(|holding| holding.bytes > 0).collect();
    holdings.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.runner.cmp(&other.runner)));
    holdings.truncate(limit);
    holdings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::*;
    use std::time::SystemTime;

    const DISK: FilesystemId = FilesystemId { major: 1, minor: 2 };

    fn outcome(number: u64, bytes: u64, disk: FilesystemId, result: ActionResult) -> Outcome {
        let work = WorkDir {
            path: "/w".into(),
            id: FileId { dev: 1, ino: number },
            owner: Uid(1),
            filesystem: disk,
        };
        let runner = Runner {
            name: format!("r{number}"),
            root: "/r".into(),
            root_id: FileId { dev: 9, ino: number },
            owner: Uid(1),
            work: Work::Present(work),
        };
        let measure = Measure { bytes, files: 1, directories: 1, newest: None, coverage: Coverage::Whole };
        let cache = Cache {
            base: None,
            part: Default::default(),
            path: "/w/a/a/target".into(),
            below_work: "a/a/target".into(),
            rule: "x".into(),
            id: FileId { dev: 1, ino: number },
            owner: Uid(1),
            measure: Some(measure),
            used: None,
            largest: Default::default(),
        };
        Outcome { action: Action { runner, cache, decision: Decision::Keep(KeepReason::NotNeeded) }, result }
    }

    #[test]
    fn the_largest_holders_come_first_with_the_jobs_of_their_leases() {
        let elsewhere = FilesystemId { major: 7, minor: 7 };
        let report = RunReport {
            outcomes: vec![
                outcome(1, 5, DISK, ActionResult::Kept),
                outcome(2, 4, DISK, ActionResult::Kept),
                outcome(2, 4, DISK, ActionResult::Failed("x".into())),
                outcome(3, 99, DISK, ActionResult::Removed),
                outcome(4, 99, elsewhere, ActionResult::Kept),
                outcome(5, 1, DISK, ActionResult::Kept),
                outcome(6, 0, DISK, ActionResult::Kept),
            ],
            ..RunReport::default()
        };
        let lease = |ino: u64, state: LeaseState| LeaseSeen {
            file: "f".into(),
            owner: Uid(1),
            root: Some(FileId { dev: 9, ino }),
            lease: Some(Lease {
                worker: ProcessId { pid: Pid(1), start: StartTime(1) },
                boot_id: "b".into(),
                pid_namespace: 1,
                root: "/r".into(),
                root_id: FileId { dev: 9, ino },
                work_id: None,
                job: Job { repository: format!("o/{ino}"), run_id: "7".into(), job: "j".into() },
                since: SystemTime::UNIX_EPOCH,
                reserved: None,
            }),
            state,
        };
        let leases = [lease(2, LeaseState::Live), lease(1, LeaseState::Dead)];
        let top = top(&report, DISK, &leases, 2);
        let told: Vec<_> = top
            .iter()
            .map(|h| (h.runner.as_str(), h.bytes, h.job.as_ref().map(|job| job.repository.as_str())))
            .collect();
        assert_eq!(told, [("r2", 8, Some("o/2")), ("r1", 5, None)]);
        assert_eq!(super::top(&report, DISK, &[], 9).len(), 3, "who has nothing is not told of");
    }
}
