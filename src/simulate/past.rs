//! This host's past jobs, read from the ledger, for the replay.

use super::replay::{Builds, PastJob, PastRemoval};
use crate::model::ledger::{ActionKind, JobPhase, LedgerRecord, Scope};
use crate::model::{Basis, Job};
use crate::policy::forecast::Estimate;
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

/// A runner's job: the mount point of its disk, and the bytes that the job is expected to hold.
pub type Expected = (String, Estimate, Basis);

/// The events of a span of time.
#[derive(Debug, Default, PartialEq)]
pub struct Past {
    /// The number of jobs that started, and of those that started cold.
    pub builds: Builds,
    /// By mount points, the jobs.
    pub jobs: HashMap<String, Vec<PastJob>>,
    /// By mount points, the bytes that hooks have freed.
    pub removals: HashMap<String, Vec<PastRemoval>>,
}

/// From entries in the order of their times. A job is cold if its runner has lost a cache of its repository since its previous job.
pub fn of<'r>(
    entries: impl IntoIterator<Item = &'r LedgerRecord>,
    expected: impl Fn(&str, &Job) -> Option<Expected>,
) -> Past {
    let mut past = Past::default();
    let mut gone: HashSet<(&str, &str)> = HashSet::new();
    let mut live: HashMap<&str, (String, usize)> = HashMap::new();
    for record in entries {
        let Some(runner) = record.details.runner.as_deref() else { continue };
        let at = record.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let job = Job {
            repository: record.details.repository.clone().unwrap_or_default(),
            run_id: record.details.run_id.clone().unwrap_or_default(),
            job: record.details.job.clone().unwrap_or_default(),
        };
        let (path, repository) = (record.details.path.as_ref(), record.details.repository.as_deref());
        match (record.deed, path, repository, record.details.phase) {
            (ActionKind::Removed, Some(path), ..) => {
                let names = path.iter().filter_map(|name| name.to_str());
                gone.extend(names.map(|name| (runner, name)));
                // The sweep's own sample contains the bytes that it has freed.
                let by_hook = matches!(record.details.scope, Some(Scope::Hook(_)));
                if let (true, Some(bytes), Some((mount, ..))) =
                    (by_hook, record.details.bytes, expected(runner, &job))
                {
                    past.removals.entry(mount).or_default().push(PastRemoval { at, bytes });
                }
            }
            (ActionKind::Lease, _, Some(repository), Some(JobPhase::Begun)) => {
                let name = repository.rsplit('/').next().unwrap_or(repository);
                let is_cold = gone.remove(&(runner, name));
                past.builds.began += 1;
                past.builds.cold += usize::from(is_cold);
                if let Some((mount, estimate, basis)) = expected(runner, &job) {
                    let jobs = past.jobs.entry(mount.clone()).or_default();
                    live.insert(runner, (mount, jobs.len()));
                    jobs.push(PastJob { began: at, ended: None, estimate, basis, is_cold });
                }
            }
            (ActionKind::Lease, _, Some(_), Some(JobPhase::Ended)) => {
                let Some((mount, index)) = live.remove(runner) else { continue };
                if let Some(job) = past.jobs.get_mut(&mount).and_then(|jobs| jobs.get_mut(index)) {
                    job.ended = Some(at);
                }
            }
            _ => {}
        }
    }
    past
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ledger::Details;
    use std::time::Duration;

    fn record(at: u64, deed: ActionKind, phase: Option<JobPhase>, runner: &str) -> LedgerRecord {
        LedgerRecord {
            deed,
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
            details: Details {
                // A runner may be named so that its messages read like those of the other phase.
                message: "a job begins, or has ended, on r1".into(),
                phase,
                runner: Some(runner.into()),
                repository: Some("acme/app".into()),
                run_id: Some("1".into()),
                job: Some("build".into()),
                ..Details::default()
            },
        }
    }

    #[test]
    fn jobs_begin_and_end_and_are_cold_after_their_cache_has_gone() {
        let removed = |at, scope| {
            let mut record = record(at, ActionKind::Removed, None, "r1");
            record.details.path = Some("/w/app/app/target".into());
            record.details.bytes = Some(7);
            record.details.scope = Some(scope);
            record.details.repository = None;
            record
        };
        let lease = |at, phase, runner| record(at, ActionKind::Lease, Some(phase), runner);
        let entries = [
            lease(1, JobPhase::Begun, "r1"),
            lease(5, JobPhase::Ended, "r1"),
            removed(6, Scope::Hook("r2".into())),
            removed(7, Scope::Sweep),
            lease(8, JobPhase::Begun, "r1"),
            lease(8, JobPhase::Begun, "r9"),
        ];
        let estimate = Estimate { mean: 3.0, variance: 1.0 };
        let past = of(&entries, |runner, job| {
            assert!(job.repository == "acme/app" || job.repository.is_empty());
            (runner == "r1").then(|| ("/".to_owned(), estimate, Basis::History))
        });
        let job = |began, ended, is_cold| PastJob { began, ended, estimate, basis: Basis::History, is_cold };
        assert_eq!(past.builds, Builds { began: 3, cold: 1 });
        assert_eq!(past.jobs["/"], [job(1, Some(5), false), job(8, None, true)], "of r9 nothing is known");
        assert_eq!(past.removals["/"], [PastRemoval { at: 6, bytes: 7 }], "the sweep's is in its sample");
    }
}
