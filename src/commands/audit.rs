//! `audit`: what would make checkouts on this host fail.

use super::{Context, Format, complain, now, overview, present};
use crate::hygiene::observe::AreaInspection;
use crate::hygiene::policy;
use crate::model::Remark;
use crate::model::hygiene::{AuditReport, RunnerAudit};
use crate::policy::liveness;
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::runs::remediate;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What is not seen by then is said to be unseen.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Audits the host; the exit code says how grave it is.
pub(super) fn run(context: &Context, format: Format) -> Exit {
    let report = audit(context);
    present(
        &context.screen,
        format,
        || json::audit(&report, now(), json::Layout::Pretty),
        || human::audit(&report, now(), &context.screen),
    );
    if report.runners.is_empty() {
        complain(&"no runner was found: `disk-guard doctor` lists the searched directories");
        return Exit::Error;
    }
    Exit::of_audit(report.verdict)
}

fn audit(context: &Context) -> AuditReport {
    let alive = overview::alive(&context.snapshot());
    let git = remediate::git(&context.host());
    let mut notes = alive.facts.notes.clone();
    if alive.facts.runners.is_empty() {
        notes.extend(alive.facts.remarks.iter().map(Remark::as_note));
    }
    if git.is_none() {
        notes.push("git is in no directory of paths.programs: objects are not checked".to_owned());
    }
    let look = AreaInspection {
        now: now(),
        floor: context.config.siblings.idle_floor,
        deadline: Instant::now() + TIME_LIMIT,
        git: git.as_ref(),
    };
    let mut works = HashMap::new();
    let mut runners = Vec::new();
    for (facts, evidence) in alive.facts.runners.iter().zip(&alive.evidence) {
        let runner = &facts.runner;
        let state = liveness::judge(evidence);
        let skipped = |why: String| RunnerAudit {
            runner: runner.clone(),
            state,
            skipped: Some(why),
            areas: Vec::new(),
            leftovers: Vec::new(),
        };
        let shared = runner.work_dir().and_then(|work| works.insert(work.id, runner.name.clone()));
        runners.push(match shared {
            Some(other) => skipped(format!("its work directory is that of {other}")),
            None => look
                .at(runner, state)
                .unwrap_or_else(|error| skipped(format!("its work directory cannot be examined: {error}"))),
        });
    }
    let (verdict, contaminated) = policy::host(&runners);
    AuditReport { runners, verdict, contaminated, notes }
}
