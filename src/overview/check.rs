//! Whether a runner, or the runner that owns a path, is provably idle.

use super::at;
use crate::config::Config;
use crate::cycle::Preview;
use crate::model::{Cache, CheckResult, Evidence, EvidenceKind, Liveness, Runner, Weight};
use crate::observe::host::CacheScope;
use crate::observe::snapshot::Snapshot;
use crate::policy::liveness;
use crate::setup::units::{self, UnnamedError};
use crate::sys::dir::Dir;
use std::path::{Path, PathBuf};

/// The question.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CheckQuestion<'a> {
    /// A runner by its name or its unit's.
    Runner(&'a str),
    /// The runner that owns this path.
    Path(&'a Path),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// No runner is meant, or several.
    #[error(transparent)]
    Unnamed(#[from] UnnamedError),
    /// The path leads nowhere.
    #[error("{path} cannot be resolved: {source}")]
    Unresolved { path: String, source: std::io::Error },
}

/// Answers, with all evidence. Only the caches of the runner in question are sized.
///
/// # Errors
/// See [`CheckError`].
pub(crate) fn answer(
    snapshot: &Snapshot<'_>,
    question: CheckQuestion<'_>,
) -> Result<CheckResult, CheckError> {
    let mut subject = None;
    let (preview, _) = at(snapshot, |runners| {
        let found = find(runners, &question);
        let scope = match &found {
            Ok(CheckSubject { runner: Some(index), .. }) => CacheScope::Runner(*index),
            _ => CacheScope::Nobody,
        };
        subject = Some(found);
        scope
    });
    let subject = subject.unwrap_or_else(|| find(snapshot.runners(), &question))?;
    Ok(verdict(snapshot.config, &preview, subject))
}

/// The subject of the question.
struct CheckSubject {
    /// The runner's index; `None` when the path belongs to none.
    runner: Option<usize>,
    path: Option<PathBuf>,
}

fn find(runners: &[Runner], question: &CheckQuestion<'_>) -> Result<CheckSubject, CheckError> {
    match question {
        CheckQuestion::Runner(name) => {
            let index = units::named(&runners.iter().collect::<Vec<_>>(), name)?;
            Ok(CheckSubject { runner: Some(index), path: None })
        }
        CheckQuestion::Path(path) => {
            let real = resolve(path)
                .map_err(|source| CheckError::Unresolved { path: path.display().to_string(), source })?;
            let owns =
                |runner: &Runner| real.starts_with(&runner.root) || real.starts_with(runner.work_path());
            Ok(CheckSubject { runner: runners.iter().position(owns), path: Some(real) })
        }
    }
}

/// The real path of a file or directory: that of its directory, with its own name.
fn resolve(path: &Path) -> std::io::Result<PathBuf> {
    if let Ok((_, real)) = Dir::resolve(path) {
        return Ok(real);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| std::io::Error::other("it has no name"))?;
    Ok(Dir::resolve(parent)?.1.join(name))
}

/// The state is that of liveness alone, as everywhere; the evidence lists whatever else would keep the guard from deleting. A path that
/// no runner owns is unknown, not idle.
fn verdict(config: &Config, preview: &Preview, subject: CheckSubject) -> CheckResult {
    let path = subject.path;
    let Some(index) = subject.runner else {
        let reason = "the path belongs to no runner that runners.roots finds";
        let evidence = vec![Evidence::new(EvidenceKind::Visibility, Weight::CannotTell, reason)];
        return CheckResult { runner: None, path, state: Liveness::Unknown, evidence };
    };
    let facts = &preview.facts.runners[index];
    let asked = |cache: &&Cache| {
        path.as_ref().is_none_or(|path| path.starts_with(&cache.path) || cache.path.starts_with(path))
    };
    let evidence = preview.objections(index, facts.caches.iter().filter(asked), config);
    let state = liveness::judge(&preview.evidence[index]);
    CheckResult { runner: Some(facts.runner.name.clone()), path, state, evidence }
}
