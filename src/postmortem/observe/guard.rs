//! The ledger's entries about disk-guard itself while a job ran. Entries that are not trusted clear and blame nobody.

use crate::model::Runner;
use crate::model::ledger::{ActionKind, Judged, Ledger, Scope, Window};
use crate::model::postmortem::{GuardDeed, GuardDeeds, LogLine};
use std::path::Path;

/// Actions elsewhere that are recorded; a busy host's guard makes many.
const MAX_ELSEWHERE: usize = 200;

/// The actions in `window`, relative to `runner`, whose work directory's disk is mounted at `mount`.
pub(super) fn deeds(ledger: &Ledger, runner: &Runner, mount: Option<&Path>, window: Window) -> GuardDeeds {
    let mut deeds = GuardDeeds { complete_since: ledger.extent.complete_since(), ..GuardDeeds::default() };
    let told = ledger.entries.iter().filter(|judged| judged.trust.is_authentic());
    for judged in told.filter(|judged| window.holds(judged.record().time)) {
        let record = judged.record();
        if record.deed == ActionKind::Pressure {
            // Another disk than this runner's is irrelevant.
            if mount.is_none_or(|mount| record.details.path.as_deref().is_none_or(|path| path == mount)) {
                let line = LogLine { at: Some(record.time), text: super::logs::cut(&record.details.message) };
                if record.details.reason.as_deref() == Some("critical") {
                    deeds.critical = Some(line.clone());
                }
                deeds.pressure = Some(line);
            }
            continue;
        }
        let Some(deed) = deed(judged) else { continue };
        if !(deed.path.starts_with(&runner.root) || deed.path.starts_with(runner.work_path())) {
            if deeds.elsewhere.len() < MAX_ELSEWHERE {
                deeds.elsewhere.push(deed);
            }
        } else if record
            .details
            .scope
            .as_ref()
            .is_some_and(|scope| *scope == Scope::Hook(runner.name.clone()))
        {
            deeds.by_own_hook.push(deed);
        } else if !is_told_by_its_claim(ledger, runner, judged) {
            deeds.here.push(deed);
        }
    }
    deeds
}

/// Whether an entry is about unfinished trash whose claim has an entry of its own: that one counts, at its own time. A hook that has met
/// its goal leaves the rest of a large tree to the next sweep, which may find it while the job runs.
fn is_told_by_its_claim(ledger: &Ledger, runner: &Runner, trash: &Judged) -> bool {
    let is_trash = |judged: &Judged| judged.record().details.reason.as_deref() == Some("trash");
    let is_earlier_claim = |judged: &Judged| {
        let record = judged.record();
        let is_of_runner = record
            .details
            .path
            .as_deref()
            .is_some_and(|path| path.starts_with(&runner.root) || path.starts_with(runner.work_path()));
        is_of_runner && record.deed == ActionKind::Claimed && record.time <= trash.record().time
    };
    is_trash(trash) && ledger.entries.iter().any(|told| told.trust.is_authentic() && is_earlier_claim(told))
}

fn deed(judged: &Judged) -> Option<GuardDeed> {
    let record = judged.record();
    let path = record.details.path.clone().filter(|_| record.deed.touches())?;
    Some(GuardDeed { at: record.time, deed: record.deed.as_str(), path, bytes: record.details.bytes })
}
