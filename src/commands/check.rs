//! `check`: is it provably idle? For other cleaners, which ask before they delete.

use super::{Context, complain, look, print, show};
use crate::cli::CheckArgs;
use crate::cycle::Preview;
use crate::model::{Bearing, Cache, CheckResult, Evidence, EvidenceKind, Liveness, Runner};
use crate::policy::liveness;
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::sys::dir::Dir;
use std::path::{Path, PathBuf};

/// Answers with the exit code, and says why.
pub(super) fn run(context: &Context, question: &CheckArgs) -> Exit {
    let (preview, _) = look::at(context);
    let answer = match (&question.runner, &question.path) {
        (Some(name), _) => about_runner(context, &preview, name),
        (None, Some(path)) => about_path(context, &preview, path),
        (None, None) => Err("neither --runner nor --path was given".to_owned()),
    };
    match answer {
        Ok(result) => {
            if question.json {
                print(&json::check(&result, json::Layout::Pretty));
            } else {
                show(&context.screen, &human::check(&result, &context.screen));
            }
            Exit::of_check(result.state)
        }
        Err(reason) => {
            complain(&reason);
            Exit::Error
        }
    }
}

fn about_runner(context: &Context, preview: &Preview, name: &str) -> Result<CheckResult, String> {
    let runners: Vec<&Runner> = preview.facts.runners.iter().map(|facts| &facts.runner).collect();
    look::named(&runners, name).map(|index| verdict(context, preview, index, None))
}

/// A path that no runner owns is not ours to judge: that is unknown, not idle.
fn about_path(context: &Context, preview: &Preview, path: &Path) -> Result<CheckResult, String> {
    let real = resolve(path).map_err(|error| format!("{} cannot be resolved: {error}", path.display()))?;
    let owner =
        preview.facts.runners.iter().position(|facts| {
            real.starts_with(&facts.runner.root) || real.starts_with(facts.runner.work_path())
        });
    Ok(match owner {
        Some(index) => verdict(context, preview, index, Some(real)),
        None => CheckResult {
            runner: None,
            path: Some(real),
            state: Liveness::Unknown,
            evidence: vec![Evidence::new(
                EvidenceKind::Visibility,
                Bearing::CannotTell,
                "the path belongs to no runner that runners.roots finds",
            )],
        },
    })
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
fn verdict(context: &Context, preview: &Preview, index: usize, path: Option<PathBuf>) -> CheckResult {
    let facts = &preview.facts.runners[index];
    let asked = |cache: &&Cache| {
        path.as_ref().is_none_or(|path| path.starts_with(&cache.path) || cache.path.starts_with(path))
    };
    let evidence = preview.objections(index, facts.caches.iter().filter(asked), &context.config);
    let state = liveness::judge(&preview.evidence[index]);
    CheckResult { runner: Some(facts.runner.name.clone()), path, state, evidence }
}
