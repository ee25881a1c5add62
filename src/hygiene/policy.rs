//! Decisions: the verdict that follows from findings, and the evidence that forbids a repair. Pure.

use crate::model::hygiene::{
    AreaCondition, AreaKind, AreaScan, Defect, Finding, FindingKind, RemediateMode, RunnerAudit, Severity,
};
use crate::model::{Evidence, EvidenceKind, Weight};
use std::cmp::Reverse;

/// How many entries of a kind are shown.
const EXAMPLES: usize = 3;

/// The repair that a kind of finding needs.
pub fn severity(kind: FindingKind) -> Severity {
    match kind {
        FindingKind::ForeignOwner | FindingKind::LockedDirectory | FindingKind::StaleLock => {
            Severity::Repairable
        }
        FindingKind::HardLinked
        | FindingKind::Special
        | FindingKind::Interrupted
        | FindingKind::BrokenGit
        | FindingKind::DamagedObject => Severity::Replace,
        FindingKind::UnfinishedTransfer
        | FindingKind::ReadOnlyFile
        | FindingKind::Abandoned
        | FindingKind::Mount
        | FindingKind::Unseen => Severity::Note,
    }
}

/// The findings of a walk, kind by kind, the most severe first.
pub fn findings(seen: &AreaScan) -> Vec<Finding> {
    let mut findings: Vec<Finding> = seen
        .counts
        .iter()
        .map(|(kind, count)| {
            let entries = seen.defects.iter().filter(|defect| defect.kind == *kind);
            Finding {
                kind: *kind,
                severity: severity(*kind),
                count: *count,
                examples: entries.take(EXAMPLES).map(|defect| defect.below.clone()).collect(),
                detail: seen.details.get(kind).cloned().unwrap_or_default(),
            }
        })
        .collect();
    findings.sort_by_key(|finding| (Reverse(finding.severity), finding.kind));
    findings
}

/// The verdict that follows from them.
pub fn verdict(findings: &[Finding]) -> AreaCondition {
    match findings.iter().map(|finding| finding.severity).max() {
        None | Some(Severity::Note) => AreaCondition::Clean,
        Some(Severity::Repairable) => AreaCondition::Repairable,
        Some(Severity::Replace) => AreaCondition::Replace,
    }
}

/// The worst of all, and how many repositories are not clean.
pub fn host(runners: &[RunnerAudit]) -> (AreaCondition, usize) {
    let areas = || runners.iter().flat_map(|runner| &runner.areas);
    let worst = areas().map(|area| area.verdict).max().unwrap_or(AreaCondition::Clean);
    let bad =
        areas().filter(|area| area.kind == AreaKind::Repository && area.verdict != AreaCondition::Clean);
    (worst, bad.count())
}

/// The best repair of an area; `None` when nothing is to be done. The runner's own directories are never replaced.
pub fn recommended(kind: AreaKind, findings: &[Finding]) -> Option<RemediateMode> {
    let has = |wanted: FindingKind| findings.iter().any(|finding| finding.kind == wanted);
    match (verdict(findings), kind) {
        (AreaCondition::Clean, _) => None,
        (AreaCondition::Replace, AreaKind::Repository) => Some(RemediateMode::Reset),
        _ if has(FindingKind::ForeignOwner) => Some(RemediateMode::Chown),
        _ if has(FindingKind::LockedDirectory) || has(FindingKind::StaleLock) => Some(RemediateMode::Unlock),
        _ => None,
    }
}

/// Whether this mode deals with an entry.
pub fn concerns(mode: RemediateMode, kind: FindingKind) -> bool {
    match mode {
        RemediateMode::Unlock => {
            matches!(kind, FindingKind::LockedDirectory | FindingKind::ReadOnlyFile | FindingKind::StaleLock)
        }
        RemediateMode::Chown => {
            matches!(kind, FindingKind::ForeignOwner | FindingKind::HardLinked | FindingKind::Special)
        }
        RemediateMode::Reset => false,
    }
}

/// Whether a sweep repairs this by itself: owner and mode of entries that make checkouts fail, nothing else.
pub fn is_safe(defect: &Defect) -> bool {
    matches!(defect.kind, FindingKind::ForeignOwner | FindingKind::LockedDirectory)
}

/// Why an entry must not be changed, whoever asks.
pub fn forbidden(defect: &Defect) -> Option<&'static str> {
    match defect.kind {
        FindingKind::HardLinked => Some("it has another name, which may be elsewhere: only a reset helps"),
        FindingKind::Special => {
            Some("it is a device, a socket, a FIFO or a set-uid program: only a reset helps")
        }
        _ => None,
    }
}

/// Whether a runner takes jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobIntake {
    /// It may be given a job at any time.
    In,
    /// It is drained and its Listener is gone: no job can begin.
    Out,
}

/// The evidence against touching a runner's work directory now. Recent content is none: either a person asks, or only owner and mode are
/// repaired. A runner without our hook could begin a job meanwhile unseen, unless it is out of service.
pub fn objections(evidence: &[Evidence], service: JobIntake, allow_unguarded: bool) -> Vec<Evidence> {
    let counts = |evidence: &&Evidence| match evidence.weight {
        Weight::InUse | Weight::CannotTell => true,
        Weight::Forbids => {
            evidence.kind == EvidenceKind::Unguarded && service == JobIntake::In && !allow_unguarded
        }
    };
    evidence.iter().filter(counts).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hygiene::AreaAudit;
    use crate::model::{FileId, Liveness, Runner, Uid, Work};

    fn finding(kind: FindingKind) -> Finding {
        Finding { kind, severity: severity(kind), count: 1, examples: Vec::new(), detail: String::new() }
    }

    #[test]
    fn the_gravest_finding_decides_and_the_mode_follows_it() {
        use AreaKind::{Repository, RunnersOwn};
        use FindingKind::*;
        for (kinds, expected, repository, own) in [
            (&[][..], AreaCondition::Clean, None, None),
            (&[ReadOnlyFile, Abandoned, Mount, Unseen], AreaCondition::Clean, None, None),
            (
                &[ForeignOwner],
                AreaCondition::Repairable,
                Some(RemediateMode::Chown),
                Some(RemediateMode::Chown),
            ),
            (
                &[LockedDirectory],
                AreaCondition::Repairable,
                Some(RemediateMode::Unlock),
                Some(RemediateMode::Unlock),
            ),
            (
                &[StaleLock, Abandoned],
                AreaCondition::Repairable,
                Some(RemediateMode::Unlock),
                Some(RemediateMode::Unlock),
            ),
            (
                &[ForeignOwner, LockedDirectory],
                AreaCondition::Repairable,
                Some(RemediateMode::Chown),
                Some(RemediateMode::Chown),
            ),
            (
                &[ForeignOwner, HardLinked],
                AreaCondition::Replace,
                Some(RemediateMode::Reset),
                Some(RemediateMode::Chown),
            ),
            (&[Special], AreaCondition::Replace, Some(RemediateMode::Reset), None),
            (&[Interrupted], AreaCondition::Replace, Some(RemediateMode::Reset), None),
            (
                &[BrokenGit, StaleLock],
                AreaCondition::Replace,
                Some(RemediateMode::Reset),
                Some(RemediateMode::Unlock),
            ),
        ] {
            let findings: Vec<Finding> = kinds.iter().copied().map(finding).collect();
            assert_eq!(verdict(&findings), expected, "{kinds:?}");
            assert_eq!(recommended(Repository, &findings), repository, "{kinds:?}");
            assert_eq!(recommended(RunnersOwn, &findings), own, "{kinds:?}");
        }
    }

    #[test]
    fn one_contaminated_repository_is_its_own_business_and_two_are_the_hosts() {
        let area = |kind, verdict| AreaAudit {
            name: "x".into(),
            path: "/x".into(),
            kind,
            verdict,
            mode: None,
            findings: Vec::new(),
            is_whole: true,
            notes: Vec::new(),
        };
        let runner = |areas| RunnerAudit {
            runner: Runner {
                name: "r".into(),
                root: "/r".into(),
                root_id: FileId { dev: 1, ino: 1 },
                owner: Uid(1),
                work: Work::Absent { path: "/r/_work".into() },
            },
            state: Liveness::Idle,
            skipped: None,
            areas,
            leftovers: Vec::new(),
        };
        use AreaKind::{Repository, RunnersOwn};
        let one =
            runner(vec![area(Repository, AreaCondition::Repairable), area(Repository, AreaCondition::Clean)]);
        let other = runner(vec![
            area(Repository, AreaCondition::Replace),
            area(RunnersOwn, AreaCondition::Repairable),
        ]);
        assert_eq!(host(std::slice::from_ref(&one)), (AreaCondition::Repairable, 1));
        assert_eq!(host(&[one, other]), (AreaCondition::Replace, 2));
        assert_eq!(host(&[]), (AreaCondition::Clean, 0));
    }

    #[test]
    fn any_possible_job_forbids_a_repair_and_young_content_does_not() {
        let of = |kind, weight| Evidence::new(kind, weight, "x");
        let all: Vec<Evidence> = EvidenceKind::ALL
            .iter()
            .map(|&kind| match kind {
                EvidenceKind::Unguarded | EvidenceKind::RecentContent => of(kind, Weight::Forbids),
                EvidenceKind::Visibility | EvidenceKind::UnattributedWorker => of(kind, Weight::CannotTell),
                _ => of(kind, Weight::InUse),
            })
            .collect();
        for (service, allowed, expected) in [
            (JobIntake::In, false, all.len() - 1),
            (JobIntake::In, true, all.len() - 2),
            (JobIntake::Out, false, all.len() - 2),
        ] {
            assert_eq!(objections(&all, service, allowed).len(), expected, "{service:?} {allowed}");
        }
        assert!(
            objections(&[of(EvidenceKind::RecentContent, Weight::Forbids)], JobIntake::In, false).is_empty()
        );
    }
}
