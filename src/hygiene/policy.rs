//! Decisions: what findings add up to, and what forbids a repair. Pure.

use crate::model::hygiene::{
    AreaKind, Blemish, Finding, FindingKind, Mode, RunnerAudit, Seen, Severity, Verdict,
};
use crate::model::{Bearing, Evidence, EvidenceKind};
use std::cmp::Reverse;

/// How many entries of a kind are shown.
const EXAMPLES: usize = 3;

/// What a kind of finding asks for.
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

/// What a walk saw, kind by kind, the gravest first.
pub fn findings(seen: &Seen) -> Vec<Finding> {
    let mut findings: Vec<Finding> = seen
        .counts
        .iter()
        .map(|(kind, count)| {
            let entries = seen.blemishes.iter().filter(|blemish| blemish.kind == *kind);
            Finding {
                kind: *kind,
                severity: severity(*kind),
                count: *count,
                examples: entries.take(EXAMPLES).map(|blemish| blemish.below.clone()).collect(),
                detail: seen.details.get(kind).cloned().unwrap_or_default(),
            }
        })
        .collect();
    findings.sort_by_key(|finding| (Reverse(finding.severity), finding.kind));
    findings
}

/// What they add up to.
pub fn verdict(findings: &[Finding]) -> Verdict {
    match findings.iter().map(|finding| finding.severity).max() {
        None | Some(Severity::Note) => Verdict::Clean,
        Some(Severity::Repairable) => Verdict::Repairable,
        Some(Severity::Replace) => Verdict::Replace,
    }
}

/// The worst of all, and how many repositories are not clean.
pub fn host(runners: &[RunnerAudit]) -> (Verdict, usize) {
    let areas = || runners.iter().flat_map(|runner| &runner.areas);
    let worst = areas().map(|area| area.verdict).max().unwrap_or(Verdict::Clean);
    let bad = areas().filter(|area| area.kind == AreaKind::Repository && area.verdict != Verdict::Clean);
    (worst, bad.count())
}

/// How an area is best put right; `None` when nothing is to be done. What is the runner's own is never replaced.
pub fn recommended(kind: AreaKind, findings: &[Finding]) -> Option<Mode> {
    let has = |wanted: FindingKind| findings.iter().any(|finding| finding.kind == wanted);
    match (verdict(findings), kind) {
        (Verdict::Clean, _) => None,
        (Verdict::Replace, AreaKind::Repository) => Some(Mode::Reset),
        _ if has(FindingKind::ForeignOwner) => Some(Mode::Chown),
        _ if has(FindingKind::LockedDirectory) || has(FindingKind::StaleLock) => Some(Mode::Unlock),
        _ => None,
    }
}

/// Whether an entry is a mode's business.
pub fn concerns(mode: Mode, kind: FindingKind) -> bool {
    match mode {
        Mode::Unlock => {
            matches!(kind, FindingKind::LockedDirectory | FindingKind::ReadOnlyFile | FindingKind::StaleLock)
        }
        Mode::Chown => {
            matches!(kind, FindingKind::ForeignOwner | FindingKind::HardLinked | FindingKind::Special)
        }
        Mode::Reset => false,
    }
}

/// Whether a sweep puts this right by itself: owner and mode of what checkouts fail by, nothing else.
pub fn is_safe(blemish: &Blemish) -> bool {
    matches!(blemish.kind, FindingKind::ForeignOwner | FindingKind::LockedDirectory)
}

/// Why an entry must not be changed, whoever asks.
pub fn forbidden(blemish: &Blemish) -> Option<&'static str> {
    match blemish.kind {
        FindingKind::HardLinked => Some("it has another name, which may lie elsewhere: only a reset helps"),
        FindingKind::Special => {
            Some("it is a device, a socket, a FIFO or a set-uid program: only a reset helps")
        }
        _ => None,
    }
}

/// Whether a runner takes jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// It may be given a job at any time.
    In,
    /// It is drained and its Listener is gone: no job can begin.
    Out,
}

/// What speaks against touching a runner's work directory now. That content is young does not: a person asks, or what is
/// put right is owner and mode alone. A runner without our hook could begin a job meanwhile unseen, unless it is out of
/// service.
pub fn objections(evidence: &[Evidence], service: Service, allow_unguarded: bool) -> Vec<Evidence> {
    let counts = |evidence: &&Evidence| match evidence.bearing {
        Bearing::InUse | Bearing::CannotTell => true,
        Bearing::Forbids => {
            evidence.kind == EvidenceKind::Unguarded && service == Service::In && !allow_unguarded
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
            (&[][..], Verdict::Clean, None, None),
            (&[ReadOnlyFile, Abandoned, Mount, Unseen], Verdict::Clean, None, None),
            (&[ForeignOwner], Verdict::Repairable, Some(Mode::Chown), Some(Mode::Chown)),
            (&[LockedDirectory], Verdict::Repairable, Some(Mode::Unlock), Some(Mode::Unlock)),
            (&[StaleLock, Abandoned], Verdict::Repairable, Some(Mode::Unlock), Some(Mode::Unlock)),
            (&[ForeignOwner, LockedDirectory], Verdict::Repairable, Some(Mode::Chown), Some(Mode::Chown)),
            (&[ForeignOwner, HardLinked], Verdict::Replace, Some(Mode::Reset), Some(Mode::Chown)),
            (&[Special], Verdict::Replace, Some(Mode::Reset), None),
            (&[Interrupted], Verdict::Replace, Some(Mode::Reset), None),
            (&[BrokenGit, StaleLock], Verdict::Replace, Some(Mode::Reset), Some(Mode::Unlock)),
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
        let one = runner(vec![area(Repository, Verdict::Repairable), area(Repository, Verdict::Clean)]);
        let other = runner(vec![area(Repository, Verdict::Replace), area(RunnersOwn, Verdict::Repairable)]);
        assert_eq!(host(std::slice::from_ref(&one)), (Verdict::Repairable, 1));
        assert_eq!(host(&[one, other]), (Verdict::Replace, 2));
        assert_eq!(host(&[]), (Verdict::Clean, 0));
    }

    #[test]
    fn whatever_could_be_a_job_forbids_it_and_young_content_does_not() {
        let of = |kind, bearing| Evidence::new(kind, bearing, "x");
        let all: Vec<Evidence> = EvidenceKind::ALL
            .iter()
            .map(|&kind| match kind {
                EvidenceKind::Unguarded | EvidenceKind::RecentContent => of(kind, Bearing::Forbids),
                EvidenceKind::Visibility | EvidenceKind::UnattributedWorker => of(kind, Bearing::CannotTell),
                _ => of(kind, Bearing::InUse),
            })
            .collect();
        for (service, allowed, expected) in [
            (Service::In, false, all.len() - 1),
            (Service::In, true, all.len() - 2),
            (Service::Out, false, all.len() - 2),
        ] {
            assert_eq!(objections(&all, service, allowed).len(), expected, "{service:?} {allowed}");
        }
        assert!(
            objections(&[of(EvidenceKind::RecentContent, Bearing::Forbids)], Service::In, false).is_empty()
        );
    }
}
