//! Deaths by disks: full, out of files, failing; and whether the guard caused them.

use super::{
    CauseFinding, SLACK, code, host_lines, is_during_job, is_in_span, kernel, listener_line, worker_line,
};
use crate::model::postmortem::{
    Cause, Complaint, Confidence, DiskNow, Facts, GuardDeed, HostDeed, HostLine, KernelEvent, KernelLine,
    LogLine, Proof,
};
use crate::postmortem::exit_code::{self, Ending};
use crate::text::{escape, words};
use std::time::{Duration, SystemTime};

/// A Listener that cannot write is restarted repeatedly, each time with an empty log (src/Misc/layoutbin/RunnerService.js).
const MANY_EMPTY_LOGS: usize = 3;

/// A disk that was above critical this long before the end may still have been full then.
const BEFORE_END: Duration = Duration::from_secs(600);

/// Complaints of these kinds in both logs, while the job ran.
pub(super) fn complaints(facts: &Facts, cause: Cause, wanted: &[Complaint]) -> Vec<Proof> {
    let is_meant = |complaint: &Complaint, at: Option<SystemTime>| {
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

/// Whether an exception can have ended the Worker.
fn may_be_an_exception(facts: &Facts) -> bool {
    code(facts).is_some_and(|(code, _)| exit_code::may_be_an_exception(code))
}

/// Whether SIGBUS ended the Worker, which a full or a failed disk sends by way of a mapped file.
fn may_be_a_mapped_file(facts: &Facts) -> bool {
    code(facts).is_some_and(|(code, _)| exit_code::may_be_a_mapped_files(code))
}

/// The same, with a sign of such a disk.
pub(super) fn broke_a_mapped_file(facts: &Facts) -> bool {
    let has_failed = || !of_failing_disks(facts).is_empty();
    let is_full = || Signs::of(facts).is_full() || !of_full_pools(facts).is_empty();
    may_be_a_mapped_file(facts) && (has_failed() || is_full())
}

/// The kernel's messages about disks that fail, while the job ran.
fn of_failing_disks(facts: &Facts) -> Vec<Proof> {
    let is_meant =
        |line: &KernelLine| line.event == KernelEvent::InputOutput && is_during_job(facts, line.at);
    kernel(facts, Cause::DiskFailed, is_meant)
}

/// And about disks without room.
fn of_full_pools(facts: &Facts) -> Vec<Proof> {
    let is_meant = |line: &KernelLine| line.event == KernelEvent::NoRoom && is_during_job(facts, line.at);
    kernel(facts, Cause::DiskFull, is_meant)
}

/// The signal or fault that ended the Worker, if it was no exception.
pub(super) fn no_exception(facts: &Facts) -> Option<&'static str> {
    match exit_code::ending(code(facts)?.0) {
        Ending::Signal(name) | Ending::Fault(name) => Some(name),
        Ending::Result(_) | Ending::Abort | Ending::Error => None,
    }
}

/// The confidence of an error's words: together with the exit code of an exception, and close to the end, they are certain.
fn sure_of_words(facts: &Facts, words: &[Proof]) -> Confidence {
    let end = facts.death.ended.or(facts.death.last_sign);
    let is_close = |at: SystemTime| end.is_none_or(|end| at + SLACK >= end);
    if no_exception(facts).is_some() {
        // A signal is no exception: earlier complaints may be unrelated.
        Confidence::Possible
    } else if may_be_an_exception(facts) && words.iter().any(|word| word.at.is_none_or(is_close)) {
        Confidence::Certain
    } else {
        Confidence::Likely
    }
}

/// `ENOSPC` in the runner's logs or on its unit's stderr, and if nothing could be written any more the signs of that.
pub(super) fn full(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::DiskFull;
    let mut words = complaints(facts, CAUSE, &[Complaint::NoSpace, Complaint::Quota]);
    words.extend(host_lines(facts, CAUSE, |line: &HostLine| {
        let is_meant = matches!(line.deed, HostDeed::Complaint(Complaint::NoSpace | Complaint::Quota));
        is_meant && is_during_job(facts, line.at)
    }));
    let signs = Signs::of(facts);
    // Without room in the pool below it, a filesystem fails with other errors.
    let told = of_full_pools(facts);
    if words.is_empty() && !told.is_empty() {
        words = complaints(facts, CAUSE, &[Complaint::InputOutput, Complaint::ReadOnly]);
    }
    if words.is_empty() && !told.is_empty() {
        // Another disk of the host may be meant.
        let least = if may_be_a_mapped_file(facts) { Confidence::Likely } else { Confidence::Possible };
        let sure = signs.speak(facts).map_or(least, |sure| sure.max(least));
        return CauseFinding::suspect(sure, told.into_iter().chain(signs.evidence(facts)).collect());
    }
    if !words.is_empty() {
        let sure = sure_of_words(facts, &words);
        words.extend(told);
        words.extend(signs.evidence(facts));
        return CauseFinding::suspect(sure, words);
    }
    match signs.speak(facts) {
        Some(sure) => CauseFinding::suspect(sure, signs.evidence(facts)),
        None => full_is_cleared(facts, &signs),
    }
}

/// The signs of a disk that is or was full when no log could take the words.
struct Signs {
    is_full_now: bool,
    was_critical: Option<LogLine>,
    pressure: Option<LogLine>,
    worker_is_cut: bool,
    listener_is_cut: Option<LogLine>,
    empty_logs: usize,
}

impl Signs {
    fn of(facts: &Facts) -> Self {
        let end = facts.death.ended.or(facts.death.last_sign);
        let is_late =
            |at: SystemTime| is_during_job(facts, at) && end.is_none_or(|end| at + BEFORE_END >= end);
        let during = |line: &Option<LogLine>| line.clone().filter(|line| line.at.is_some_and(is_late));
        let guard = facts.guard.known();
        let listener = facts.listener.known();
        Self {
            is_full_now: facts.disk.known().is_some_and(DiskNow::is_full),
            was_critical: guard.and_then(|guard| during(&guard.critical)),
            pressure: guard.and_then(|guard| during(&guard.pressure)),
            worker_is_cut: facts.worker.known().is_some_and(|log| log.is_cut),
            listener_is_cut: listener.and_then(|log| log.is_cut.clone()),
            empty_logs: listener.map_or(0, |log| log.empty_logs),
        }
    }

    fn is_full(&self) -> bool {
        self.is_full_now || self.was_critical.is_some()
    }

    fn restarts_in_vain(&self) -> bool {
        self.empty_logs >= MANY_EMPTY_LOGS
    }

    /// The confidence of the signs by themselves. A signal leaves none of them.
    fn speak(&self, facts: &Facts) -> Option<Confidence> {
        let is_cut = self.worker_is_cut || self.listener_is_cut.is_some();
        if may_be_a_mapped_file(facts) {
            return self.is_full().then_some(Confidence::Likely);
        }
        if may_be_an_exception(facts) {
            // An incomplete last line of a Listener could not be written: it lived to begin it.
            // An exception that names another reason was not caused by lack of space.
            let is_other = facts.listener.known().is_some_and(|log| log.exception.is_some());
            let is_likely =
                self.listener_is_cut.is_some() || self.restarts_in_vain() || (self.is_full() && !is_other);
            return match (is_likely, is_cut) {
                (true, _) => Some(Confidence::Likely),
                (false, true) => Some(Confidence::Possible),
                (false, false) => None,
            };
        }
        if code(facts).is_some() {
            return None;
        }
        match (self.restarts_in_vain(), self.is_full(), is_cut) {
            (true, true, _) | (true, _, true) => Some(Confidence::Likely),
            (true, false, false) | (false, true, true) => Some(Confidence::Possible),
            _ => None,
        }
    }

    fn evidence(&self, facts: &Facts) -> Vec<Proof> {
        const CAUSE: Cause = Cause::DiskFull;
        let mut evidence = Vec::new();
        let mut add = |source: &str, at, text: String| {
            evidence.push(Proof { source: source.to_owned(), at, text, points_to: CAUSE });
        };
        if let Some(line) = &self.listener_is_cut {
            add(
                "Listener log",
                line.at,
                format!("the log ends in the middle of a line: {}", line.text.trim()),
            );
        }
        if self.worker_is_cut
            && let Some(log) = facts.worker.known()
        {
            let at = log.last.as_ref().and_then(|line| line.at);
            add(&format!("Worker log {}", log.name), at, "the log ends in the middle of a line".to_owned());
        }
        if self.restarts_in_vain() {
            let text =
                format!("{} Listeners have started since and wrote nothing to their logs", self.empty_logs);
            add("Listener log", None, text);
        }
        if let Some(disk) = facts.disk.known().filter(|_| self.is_full_now) {
            let inodes = disk.inodes_free.map(|free| format!(", {free} inodes")).unwrap_or_default();
            let mount = escape::path(&disk.mount);
            let text = format!("{mount} is full now: {} bytes are available{inodes}", disk.available_bytes);
            add("statvfs", Some(facts.now), text);
        }
        for line in [&self.was_critical, &self.pressure].into_iter().flatten() {
            add("disk-guard's ledger", line.at, line.text.clone());
        }
        evidence
    }
}

/// A disk that has room now may have had none then: only an end that a full disk does not cause rules it out.
fn full_is_cleared(facts: &Facts, signs: &Signs) -> CauseFinding {
    let is_seen = facts.worker.known().is_some() && !signs.worker_is_cut && !signs.is_full_now;
    match (no_exception(facts), facts.disk.known()) {
        (Some(signal), Some(disk)) if is_seen && !may_be_a_mapped_file(facts) => {
            CauseFinding::cleared(format!(
                "no log of the runner mentions a full disk, {} is {} % full, and a process without disk space ends with an exception, not with {signal}",
                escape::path(&disk.mount),
                disk.used_percent
            ))
        }
        _ => CauseFinding::default(),
    }
}

/// `EMFILE` and `ENFILE`.
pub(super) fn files_exhausted(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::FilesExhausted;
    let logged = complaints(facts, CAUSE, &[Complaint::Descriptors, Complaint::FileTable]);
    let told =
        kernel(facts, CAUSE, |line| line.event == KernelEvent::FileTable && is_in_span(facts, line.at));
    match (logged.is_empty(), told.is_empty()) {
        (true, true) => match no_exception(facts).filter(|_| facts.worker.known().is_some()) {
            Some(signal) => CauseFinding::cleared(format!(
                "no log of the runner and no kernel message mentions too many open files, and those end a process with an exception, not with {signal}"
            )),
            None => CauseFinding::default(),
        },
        (true, false) => CauseFinding::suspect(Confidence::Possible, told),
        (false, _) => {
            let sure = sure_of_words(facts, &logged);
            CauseFinding::suspect(sure, logged.into_iter().chain(told).collect())
        }
    }
}

/// The kernel reports a disk's errors, the runner their effects.
pub(super) fn failed(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::DiskFailed;
    let told = of_failing_disks(facts);
    let logged = complaints(facts, CAUSE, &[Complaint::InputOutput, Complaint::ReadOnly]);
    match (told.is_empty(), logged.is_empty()) {
        (true, true) if super::kernel_is_complete(facts) => {
            CauseFinding::cleared("no kernel message mentions a failed disk")
        }
        (true, true) => CauseFinding::default(),
        (false, true) if may_be_a_mapped_file(facts) => CauseFinding::suspect(Confidence::Likely, told),
        // Another disk of the host may have failed.
        (false, true) => CauseFinding::suspect(Confidence::Possible, told),
        (told_nothing, false) => {
            let confidence = if told_nothing { Confidence::Likely } else { Confidence::Certain };
            CauseFinding::suspect(confidence, told.into_iter().chain(logged).collect())
        }
    }
}

/// Whether disk-guard itself removed anything of this runner while its job ran; and if not, the proof.
pub(super) fn guard(facts: &Facts) -> CauseFinding {
    let Some(guard) = facts.guard.known() else { return CauseFinding::default() };
    let during = |deed: &&GuardDeed| is_during_job(facts, deed.at);
    let here: Vec<Proof> =
        guard.here.iter().filter(during).filter(|deed| deed.deed != "restored").map(proof).collect();
    if !here.is_empty() {
        return CauseFinding::suspect(Confidence::Possible, here);
    }
    let from = facts.death.started.unwrap_or(std::time::SystemTime::UNIX_EPOCH);
    if guard.complete_since.is_none_or(|since| since > from) {
        return CauseFinding::default();
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
        own => format!(
            " but {} that its own hook removed before the job's first step",
            words::count(own, "cache")
        ),
    };
    CauseFinding::cleared(format!(
        "its ledger is complete since before the job began: while the job ran it removed nothing of this runner{own}, and {what}"
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
