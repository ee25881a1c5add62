//! What disks do to jobs: full, out of files, failing; and whether the guard was it.

use super::{Finding, code, is_during_job, is_in_span, kernel, listener_line, worker_line};
use crate::postmortem::exit_code::{self, Ending};
use crate::postmortem::nouns::{Cause, Complaint, Confidence, Facts, GuardDeed, KernelEvent, Proof, Seen};
use crate::report::escape;

/// Complaints of these kinds in both logs, while the job ran.
fn complaints(facts: &Facts, cause: Cause, wanted: &[Complaint]) -> Vec<Proof> {
    let is_meant = |complaint: &Complaint, at: Option<std::time::SystemTime>| {
        wanted.contains(complaint) && at.is_none_or(|at| is_during_job(facts, at))
    };
    let of_worker = facts.worker.known().into_iter().flat_map(|log| &log.complaints);
    let of_worker = of_worker.filter(|(complaint, line)| is_meant(complaint, line.at));
    let of_listener = facts.listener.known().into_iter().flat_map(|log| &log.complaints);
    let of_listener = of_listener.filter(|(complaint, line)| is_meant(complaint, line.at));
    of_worker
        .map(|(_, line)| worker_line(facts, line, cause))
        .chain(of_listener.map(|(_, line)| listener_line(line, cause)))
        .collect()
}

/// Whether the Worker can have ended by an exception: by itself, or by the abort that .NET makes of one.
fn may_be_an_exception(facts: &Facts) -> bool {
    code(facts).is_some_and(|(code, _)| code == 134 || exit_code::ending(code) == Ending::Error)
}

/// `ENOSPC` in the runner's logs. Together with an exit code that an exception leaves it is certain.
pub(super) fn full(facts: &Facts) -> Finding {
    const CAUSE: Cause = Cause::DiskFull;
    let mut evidence = complaints(facts, CAUSE, &[Complaint::NoSpace, Complaint::Quota]);
    let disk = facts.disk.known();
    let is_full_now = disk
        .is_some_and(|disk| disk.available_bytes < 1 << 20 || disk.inodes_free.is_some_and(|free| free < 16));
    let full_now = || {
        disk.filter(|_| is_full_now).map(|disk| Proof {
            source: "statvfs".into(),
            at: Some(facts.now),
            text: format!(
                "{} is full now: {} bytes are available{}",
                escape::path(&disk.mount),
                disk.available_bytes,
                disk.inodes_free.map(|free| format!(", {free} inodes")).unwrap_or_default()
            ),
            points_to: CAUSE,
        })
    };
    let pressure = facts.guard.known().and_then(|guard| guard.pressure.as_ref()).map(|line| Proof {
        source: "disk-guard's ledger".into(),
        at: line.at,
        text: line.text.clone(),
        points_to: CAUSE,
    });
    let is_cut = facts.worker.known().is_some_and(|log| log.is_cut);
    if evidence.is_empty() {
        if is_cut && is_full_now {
            return Finding::suspect(Confidence::Possible, full_now().into_iter().chain(pressure).collect());
        }
        return match (&facts.worker, disk) {
            (Seen::Known(_), Some(disk)) if !is_full_now && !is_cut => Finding::cleared(format!(
                "no log of the runner tells of a full disk, and {} is {} % full",
                escape::path(&disk.mount),
                disk.used_percent
            )),
            _ => Finding::default(),
        };
    }
    evidence.extend(full_now());
    evidence.extend(pressure);
    let confidence = if may_be_an_exception(facts) { Confidence::Certain } else { Confidence::Likely };
    // A signal is no exception: what complained before may have nothing to do with it.
    let is_signal = code(facts).is_some_and(|(code, _)| matches!(exit_code::ending(code), Ending::Signal(_)));
    Finding::suspect(if is_signal { Confidence::Possible } else { confidence }, evidence)
}

/// `EMFILE` and `ENFILE`.
pub(super) fn files_exhausted(facts: &Facts) -> Finding {
    const CAUSE: Cause = Cause::FilesExhausted;
    let logged = complaints(facts, CAUSE, &[Complaint::Descriptors, Complaint::FileTable]);
    let told =
        kernel(facts, CAUSE, |line| line.event == KernelEvent::FileTable && is_in_span(facts, line.at));
    match (logged.is_empty(), told.is_empty()) {
        (true, true) if facts.worker.known().is_some() => {
            Finding::cleared("no log of the runner and no kernel message tells of too many open files")
        }
        (true, true) => Finding::default(),
        (true, false) => Finding::suspect(Confidence::Possible, told),
        (false, _) => {
            let confidence =
                if may_be_an_exception(facts) { Confidence::Certain } else { Confidence::Likely };
            Finding::suspect(confidence, logged.into_iter().chain(told).collect())
        }
    }
}

/// The kernel tells of a disk's errors, the runner of what they did to it.
pub(super) fn failed(facts: &Facts) -> Finding {
    const CAUSE: Cause = Cause::DiskFailed;
    let told =
        kernel(facts, CAUSE, |line| line.event == KernelEvent::InputOutput && is_during_job(facts, line.at));
    let logged = complaints(facts, CAUSE, &[Complaint::InputOutput, Complaint::ReadOnly]);
    match (told.is_empty(), logged.is_empty()) {
        (true, true) if super::kernel_is_complete(facts) => {
            Finding::cleared("the kernel's messages tell of no disk that failed")
        }
        (true, true) => Finding::default(),
        // Some other disk of the host may have failed.
        (false, true) => Finding::suspect(Confidence::Possible, told),
        (told_nothing, false) => {
            let confidence = if told_nothing { Confidence::Likely } else { Confidence::Certain };
            Finding::suspect(confidence, told.into_iter().chain(logged).collect())
        }
    }
}

/// Whether disk-guard itself took something from this runner while its job ran; and if not, the proof.
pub(super) fn guard(facts: &Facts) -> Finding {
    let Some(guard) = facts.guard.known() else { return Finding::default() };
    let during = |deed: &&GuardDeed| is_during_job(facts, deed.at);
    let here: Vec<Proof> =
        guard.here.iter().filter(during).filter(|deed| deed.deed != "restored").map(proof).collect();
    if !here.is_empty() {
        return Finding::suspect(Confidence::Possible, here);
    }
    let from = facts.death.started.unwrap_or(std::time::SystemTime::UNIX_EPOCH);
    if guard.complete_since.is_none_or(|since| since > from) {
        return Finding::default();
    }
    let elsewhere: Vec<&GuardDeed> =
        guard.elsewhere.iter().filter(during).filter(|deed| deed.deed == "removed").collect();
    let what = match elsewhere.as_slice() {
        [] => "nothing else on this host".to_owned(),
        [deed] => format!("elsewhere {} alone", named(deed)),
        [deed, more @ ..] => format!("elsewhere {} and {} more", named(deed), more.len()),
    };
    let own = match guard.by_own_hook.iter().filter(during).filter(|deed| deed.deed == "removed").count() {
        0 => String::new(),
        own => format!(" but {own} caches that its own hook gave before the job's first step"),
    };
    Finding::cleared(format!(
        "its ledger tells of everything since before the job began: while the job ran it removed nothing of this runner{own}, and {what}"
    ))
}

fn named(deed: &GuardDeed) -> String {
    let bytes = deed.bytes.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
    format!("{}{bytes}", escape::path(&deed.path))
}

fn proof(deed: &GuardDeed) -> Proof {
    Proof {
        source: "disk-guard's ledger".into(),
        at: Some(deed.at),
        text: format!("{} {}", deed.deed, named(deed)),
        points_to: Cause::DiskGuard,
    }
}
