//! More than one contaminated repository: the cause is still active on this host. A repair would remove the traces without changing the
//! cause, so repairs stop until a person decides otherwise.

use super::{RepairError, Repairs};
use crate::hygiene::{observe, policy};
use crate::model::Liveness;
use crate::model::hygiene::{AreaCondition, AreaKind, AreaScan};
use crate::policy::liveness;
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long git's own judgement of all repositories may take. Repositories that are not judged by then do not count.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// The findings of a look over the whole host.
#[derive(Debug, Default)]
pub(super) struct HostContamination {
    /// Repositories that an audit would not report as clean.
    pub(super) repositories: Vec<PathBuf>,
    /// Areas with entries that a sweep repairs, by their runner's root and name.
    pub(super) safe: HashSet<(crate::model::FileId, OsString)>,
}

/// When Git is asked about repositories that seem clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskGit {
    /// Until more than one repository is contaminated.
    Always,
    /// The same, but only where one is found contaminated without it.
    BesideAFinding,
}

impl Repairs<'_> {
    /// Refuses where more than one repository of the host is contaminated, by the same measure as `audit`.
    ///
    /// # Errors
    /// [`RepairError::Widespread`].
    pub fn refuse_if_widespread(&mut self) -> Result<(), RepairError> {
        self.contamination(AskGit::Always).map(drop)
    }

    /// Looks over every idle runner. Git is asked last, about the repositories that seem clean, and only while its answer can matter:
    /// [`AskGit`] says when that is.
    pub(super) fn contamination(&mut self, ask_git: AskGit) -> Result<HostContamination, RepairError> {
        let mut found = HostContamination::default();
        let mut works = HashSet::new();
        let mut seemingly_clean = Vec::new();
        let sight = self.look_at_all();
        for (facts, evidence) in sight.facts.runners.iter().zip(&sight.evidence) {
            let state = liveness::judge(evidence);
            let is_new = facts.runner.work_dir().is_some_and(|work| works.insert(work.id));
            if !is_new || state == Liveness::Busy || Instant::now() > self.deadline {
                continue;
            }
            let Ok((work_dir, work)) = self.open(&facts.runner) else { continue };
            for name in observe::areas(&work).unwrap_or_default() {
                let look = self.over(None);
                let mut seen = look.tree(&work, work_dir.owner, &name, state);
                if seen.defects.iter().any(policy::is_safe) {
                    found.safe.insert((facts.runner.root_id, name.clone()));
                }
                if observe::kind_of(&name) != AreaKind::Repository {
                    continue;
                }
                look.git(&work, work_dir.owner, state, &mut seen, &mut Vec::new());
                if policy::verdict(&policy::findings(&seen)) != AreaCondition::Clean {
                    found.repositories.push(work_dir.path.join(&name));
                } else if state == Liveness::Idle && !seen.gits.is_empty() {
                    let gits = AreaScan { gits: seen.gits, ..AreaScan::default() };
                    seemingly_clean.push((facts.runner.clone(), name, gits));
                }
            }
        }
        let deadline = self.deadline.min(Instant::now() + TIME_LIMIT);
        for (runner, name, mut seen) in seemingly_clean {
            let is_moot = found.repositories.is_empty() && ask_git == AskGit::BesideAFinding
                || found.repositories.len() > 1;
            if is_moot || Instant::now() > deadline {
                break;
            }
            let Ok((work_dir, work)) = self.open(&runner) else { continue };
            let look = observe::AreaInspection { deadline, ..self.over(self.git) };
            look.git(&work, work_dir.owner, Liveness::Idle, &mut seen, &mut Vec::new());
            if policy::verdict(&policy::findings(&seen)) != AreaCondition::Clean {
                found.repositories.push(work_dir.path.join(&name));
            }
        }
        if found.repositories.len() > 1 {
            Err(RepairError::Widespread(found.repositories))
        } else {
            Ok(found)
        }
    }
}
