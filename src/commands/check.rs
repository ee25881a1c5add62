//! `check`: whether a runner, or the owner of a path, is provably idle. Other cleaners ask this before they delete.

use super::{Context, complain, overview, print, show};
use crate::cli::CheckArgs;
use crate::cycle::Preview;
use crate::model::{Cache, CheckResult, Evidence, EvidenceKind, Liveness, Runner, Weight};
use crate::observe::host::CacheScope;
use crate::policy::liveness;
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::setup::units;
use crate::sys::dir::Dir;
use std::path::{Path, PathBuf};

/// Answers with the exit code, and says why.
pub(super) fn run(context: &Context, question: &CheckArgs) -> Exit {
    let mut subject = Err(String::new());
    // Only the caches of the runner in question are sized.
    let (preview, _) = overview::at(&context.snapshot(), |runners| {
        subject = find(runners, question);
        match &subject {
            Ok(Subject { runner: Some(index), .. }) => CacheScope::Runner(*index),
            _ => CacheScope::Nobody,
        }
    });
    let result = match subject {
        Ok(subject) => verdict(context, &preview, subject),
        Err(reason) => {
            complain(&reason);
            return Exit::Error;
        }
    };
    if question.json {
        print(&json::check(&result, json::Layout::Pretty));
    } else {
        show(&context.screen, &human::check(&result, &context.screen));
    }
    Exit::of_check(result.state)
}

/// What is asked about.
struct Subject {
    /// The runner's index; `None` when the path belongs to none.
    runner: Option<usize>,
    path: Option<PathBuf>,
}

fn find(runners: &[Runner], question: &CheckArgs) -> Result<Subject, String> {
    match (&question.runner, &question.path) {
        (Some(name), _) => Ok(Subject { runner: Some(named(runners, name)?), path: None }),
        (None, Some(path)) => {
            let real =
                resolve(path).map_err(|error| format!("{} cannot be resolved: {error}", path.display()))?;
            let owns =
                |runner: &Runner| real.starts_with(&runner.root) || real.starts_with(runner.work_path());
            Ok(Subject { runner: runners.iter().position(owns), path: Some(real) })
        }
        (None, None) => Err("neither --runner nor --path was given".to_owned()),
    }
}

fn named(runners: &[Runner], name: &str) -> Result<usize, String> {
    units::named(&runners.iter().collect::<Vec<_>>(), name).map_err(|error| error.to_string())
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

/// The state speaks of liveness alone, as everywhere; what else would keep the guard's own hands off is among the evidence.
/// A path that no runner owns is not ours to judge: that is unknown, not idle.
fn verdict(context: &Context, preview: &Preview, subject: Subject) -> CheckResult {
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
    let evidence = preview.objections(index, facts.caches.iter().filter(asked), &context.config);
    let state = liveness::judge(&preview.evidence[index]);
    CheckResult { runner: Some(facts.runner.name.clone()), path, state, evidence }
}
