//! From facts to a verdict. Pure.
//!
//! Every cause has one examination, which collects the evidence for and against it. The cause with the greatest confidence is reported; of
//! two equal ones the more specific one ([`Cause`]'s order). Evidence for another cause is listed behind.
//!
//! Only a source that cannot be wrong makes a cause certain: the kernel, an exit code, a boot id, systemd. A runner's own log is written
//! by its user and makes a cause at most likely, unless an exit code agrees with it. A source that was not read rules nothing out.

mod advice;
mod disk;
mod host;
mod memory;
mod process;
mod service;
mod tasks;
mod whose;

use super::exit_code::{self, Ending};
use crate::model::postmortem::{
    Cause, Confidence, Diagnosis, Ended, Facts, HostDeed, HostLine, KernelLine, ListenerLog, LogLine,
    Missing, Observed, Proof, Reported, RuledOut, WorkerLog,
};
use std::time::{Duration, SystemTime};

/// The maximum distance between two clocks or two logs for the same moment.
const SLACK: Duration = Duration::from_secs(120);

/// The result of an examination.
#[derive(Debug, Default)]
struct CauseFinding {
    suspicion: Option<Confidence>,
    evidence: Vec<Proof>,
    cleared: Option<String>,
}

impl CauseFinding {
    fn suspect(confidence: Confidence, evidence: Vec<Proof>) -> Self {
        Self { suspicion: Some(confidence), evidence, cleared: None }
    }

    /// Possibly related: worth knowing, and no basis for a verdict.
    fn hint(evidence: Vec<Proof>) -> Self {
        Self { evidence, ..Self::default() }
    }

    fn cleared(by: impl Into<String>) -> Self {
        Self { cleared: Some(by.into()), ..Self::default() }
    }
}

/// Collects the evidence for and against one cause.
type Examination = fn(&Facts) -> CauseFinding;

/// All examinations, with the cause of each.
const EXAMINATIONS: [(Cause, Examination); 17] = [
    (Cause::OutOfMemory, memory::out_of_memory),
    (Cause::DiskFull, disk::full),
    (Cause::FilesExhausted, disk::files_exhausted),
    (Cause::TasksExhausted, tasks::exhausted),
    (Cause::DiskFailed, disk::failed),
    (Cause::DiskGuard, disk::guard),
    (Cause::Reboot, host::reboot),
    (Cause::StoppedByListener, service::stopped_by_listener),
    (Cause::UnitStopped, host::unit_stopped),
    (Cause::RunnerStopped, service::runner_stopped),
    (Cause::LostContact, service::lost_contact),
    (Cause::Cancelled, service::cancelled),
    (Cause::Suspended, host::suspended),
    (Cause::Crash, process::crash),
    (Cause::Killed, process::killed),
    (Cause::ListenerDied, host::listener_died),
    (Cause::RunnerError, process::runner_error),
];

/// Why.
pub fn judge(facts: &Facts) -> Diagnosis {
    let ended = ended(facts);
    let mut suspects: Vec<(Confidence, Cause, Vec<Proof>)> = Vec::new();
    let (mut hints, mut ruled_out) = (Vec::new(), Vec::new());
    for (cause, examine) in EXAMINATIONS {
        let CauseFinding { suspicion, evidence, cleared } = examine(facts);
        if let Some(confidence) = suspicion {
            suspects.push((confidence, cause, evidence));
        } else if let Some(by) = cleared {
            ruled_out.push(RuledOut { cause, by });
        } else {
            hints.extend(evidence);
        }
    }
    suspects.sort_by_key(|(confidence, cause, _)| (std::cmp::Reverse(*confidence), *cause));
    let (cause, confidence) = conclude(facts, ended, &suspects);
    let mut evidence = endings(facts, cause);
    // Other evidence explains a death; a normal end needs no other explanation.
    suspects.retain(|(_, suspect, _)| ended == Ended::Abruptly || *suspect == cause);
    evidence.extend(suspects.into_iter().flat_map(|(_, _, evidence)| evidence));
    evidence.extend(hints.into_iter().filter(|_| ended == Ended::Abruptly));
    dedup(&mut evidence);
    ruled_out.retain(|ruled| ruled.cause != cause);
    Diagnosis {
        ended,
        cause,
        confidence,
        summary: advice::summary(facts, ended, cause, &evidence),
        evidence,
        ruled_out: if ended == Ended::Abruptly { ruled_out } else { Vec::new() },
        missing: if ended == Ended::Abruptly { missing(facts) } else { Vec::new() },
        advice: advice::advice(cause, ended).to_owned(),
    }
}

/// Why a Worker was asked to stop, and then stopped.
const STOPS: [Cause; 6] = [
    Cause::StoppedByListener,
    Cause::Reboot,
    Cause::UnitStopped,
    Cause::RunnerStopped,
    Cause::LostContact,
    Cause::Cancelled,
];

/// Causes that make a job fail without ending its Worker.
const FAILURES: [Cause; 4] =
    [Cause::OutOfMemory, Cause::DiskFull, Cause::FilesExhausted, Cause::TasksExhausted];

/// A normal end remains one, whatever else was seen: only the reason for a stop, or for a failed job, is reported. A living Worker has not
/// died, but its runner may have.
fn conclude(
    facts: &Facts,
    ended: Ended,
    suspects: &[(Confidence, Cause, Vec<Proof>)],
) -> (Cause, Confidence) {
    let suspected = |wanted: &[Cause]| {
        let likely = |confidence: &Confidence| *confidence >= Confidence::Likely;
        suspects.iter().find(|(confidence, cause, _)| likely(confidence) && wanted.contains(cause))
    };
    match ended {
        Ended::NotYet => match suspected(&[Cause::ListenerDied]) {
            Some((confidence, cause, _)) => (*cause, *confidence),
            None => (Cause::Running, Confidence::Certain),
        },
        Ended::Cleanly => {
            if let Some((confidence, cause, _)) = suspected(&STOPS) {
                return (*cause, *confidence);
            }
            match suspected(&FAILURES).filter(|_| has_failed(facts)) {
                Some((_, cause, _)) => (*cause, Confidence::Likely),
                // `Job completed.` alone is also logged when the job's task ended by an exception.
                None if code(facts).is_some() => (Cause::CleanEnd, Confidence::Certain),
                None => (Cause::CleanEnd, Confidence::Likely),
            }
        }
        Ended::Abruptly => match suspects.first() {
            Some((confidence, cause, _)) => (*cause, *confidence),
            None => (Cause::Unknown, Confidence::Possible),
        },
    }
}

/// A known exit code shows how the Worker ended. Without one, a result that the Listener has reported does, `Job completed.`
/// (src/Runner.Worker/Worker.cs), or that the Worker was asked to stop and then reported the job's end (JobRunner.cs).
fn ended(facts: &Facts) -> Ended {
    let listener = facts.listener.known();
    if let Some((code, _)) = code(facts) {
        return match exit_code::ending(code) {
            Ending::Result(_) => Ended::Cleanly,
            _ => Ended::Abruptly,
        };
    }
    let result = listener.and_then(|log| log.result.as_ref()).map(|(result, _)| *result);
    // A Worker that died is logged as `Failed`, too.
    let is_noted = result.is_some_and(|result| result != Reported::Failed);
    // Cancelled before its Worker was there.
    let is_noted = is_noted
        || listener
            .is_some_and(|log| log.closed.is_some() && log.cancelled.is_some() && log.worker_pid.is_none());
    let is_stopped = listener.is_some_and(|log| log.stopped.is_some());
    let said_so = facts
        .worker
        .known()
        .is_some_and(|log| log.completed.is_some() || (log.cancelled.is_some() && log.reported.is_some()));
    if (is_noted && !is_stopped) || said_so {
        Ended::Cleanly
    } else if facts.worker_lives {
        Ended::NotYet
    } else {
        Ended::Abruptly
    }
}

/// Whether the job's result is a failure, or is not known.
fn has_failed(facts: &Facts) -> bool {
    let of_worker = facts.worker.known().and_then(|log| log.result.as_ref()).map(|(result, _)| *result);
    match (code(facts), of_worker) {
        (Some((code, _)), _) => !matches!(code, 100 | 101 | 103 | 104),
        (None, Some(result)) => result == Reported::Failed,
        (None, None) => true,
    }
}

/// The Worker's exit code.
fn code(facts: &Facts) -> Option<(i32, &LogLine)> {
    facts.listener.known()?.finished.as_ref().map(|(code, line)| (*code, line))
}

/// The span in which the end lies: from the last sign of life to the first observation of the end, or otherwise now.
fn span(facts: &Facts) -> (SystemTime, SystemTime) {
    let death = &facts.death;
    let from = death.last_sign.or(death.started).unwrap_or(SystemTime::UNIX_EPOCH);
    let to = death.ended.map(|ended| ended + SLACK).or(went_down(facts)).unwrap_or(facts.now);
    (from.checked_sub(SLACK).unwrap_or(from), to)
}

/// When this boot began, if the job began in an earlier one: no job survives a boot.
fn went_down(facts: &Facts) -> Option<SystemTime> {
    let clock = facts.clock.known()?;
    let death = &facts.death;
    let is_older = match &death.boot_id {
        Some(boot_id) => *boot_id != clock.boot_id,
        None => death.last_sign.or(death.started).is_some_and(|last| last < clock.booted),
    };
    is_older.then_some(clock.booted)
}

fn is_in_span(facts: &Facts, at: SystemTime) -> bool {
    let (from, to) = span(facts);
    from <= at && at <= to
}

/// Whether it happened while the job ran.
fn is_during_job(facts: &Facts, at: SystemTime) -> bool {
    let (from, to) = (facts.death.started.unwrap_or(SystemTime::UNIX_EPOCH), span(facts).1);
    from.checked_sub(SLACK).unwrap_or(from) <= at && at <= to
}

/// Kernel messages that `wanted` chooses, as evidence.
fn kernel(facts: &Facts, points_to: Cause, wanted: impl Fn(&KernelLine) -> bool) -> Vec<Proof> {
    let log = facts.kernel.known();
    let lines = log.into_iter().flat_map(|log| log.lines.iter().map(move |line| (log.source, line)));
    lines
        .filter(|(_, line)| wanted(line))
        .map(|(source, line)| Proof {
            source: format!("kernel ({source})"),
            at: Some(line.at),
            text: line.text.clone(),
            points_to,
        })
        .collect()
}

/// Whether the kernel's messages have no gap in the time in question.
fn kernel_is_complete(facts: &Facts) -> bool {
    facts.kernel.known().is_some_and(|log| log.is_complete)
}

fn worker_line(facts: &Facts, line: &LogLine, points_to: Cause) -> Proof {
    let name = facts.worker.known().map_or("", |log| log.name.as_str());
    proof(format!("Worker log {name}"), line, points_to)
}

fn listener_line(line: &LogLine, points_to: Cause) -> Proof {
    proof("Listener log".to_owned(), line, points_to)
}

/// Lines of the journal about actions of services and people, as evidence.
fn host_lines(facts: &Facts, points_to: Cause, wanted: impl Fn(&HostLine) -> bool) -> Vec<Proof> {
    let lines = facts.host.known().into_iter().flat_map(|log| &log.lines);
    lines
        .filter(|line| wanted(line))
        .map(|line| Proof {
            source: format!("journal ({})", line.source),
            at: Some(line.at),
            text: line.text.clone(),
            points_to,
        })
        .collect()
}

/// Whether the journal has a line of this kind in the span of the end that only root or the service itself can have written.
fn host_did(facts: &Facts, deed: HostDeed) -> bool {
    let lines = facts.host.known().into_iter().flat_map(|log| &log.lines);
    lines.into_iter().any(|line| line.deed == deed && line.is_trusted && is_in_span(facts, line.at))
}

/// Whether the journal leaves no gap in the minutes around the end.
fn host_is_complete(facts: &Facts) -> bool {
    facts.host.known().is_some_and(|log| log.is_complete)
}

fn proof(source: String, line: &LogLine, points_to: Cause) -> Proof {
    Proof { source, at: line.at, text: line.text.clone(), points_to }
}

/// How the end was logged, which belongs to every verdict.
fn endings(facts: &Facts, cause: Cause) -> Vec<Proof> {
    let mut evidence = Vec::new();
    if let Some(log) = facts.worker.known() {
        if let Some(line) = &log.completed {
            evidence.push(worker_line(facts, line, Cause::CleanEnd));
        } else if let Some(line) =
            log.last.as_ref().filter(|_| cause != Cause::Running && log.reported.is_none())
        {
            let cut = if log.is_cut { ", cut off" } else { "" };
            let text =
                format!("the log ends without `Job completed.`; its last line{cut}: {}", line.text.trim());
            let source = format!("Worker log {}", log.name);
            evidence.push(Proof { source, at: line.at, text, points_to: cause });
        }
        evidence.extend(log.cancelled.as_ref().map(|line| worker_line(facts, line, cause)));
    }
    let result = facts.listener.known().and_then(|log| log.result.as_ref());
    evidence.extend(result.map(|(_, line)| listener_line(line, cause)));
    if let Some((code, line)) = code(facts) {
        evidence.push(listener_line(line, cause));
        let exception = facts.listener.known().and_then(|log| log.exception.as_ref());
        evidence.extend(exception.map(|line| listener_line(line, cause)));
        let text = exit_code::meaning(code);
        evidence.push(Proof { source: "exit code".to_owned(), at: None, text, points_to: cause });
    }
    evidence
}

/// The same line may be evidence for two causes: it is reported once.
fn dedup(evidence: &mut Vec<Proof>) {
    let mut told: Vec<(String, Option<SystemTime>, String)> = Vec::new();
    evidence.retain(|proof| {
        let key = (proof.source.clone(), proof.at, proof.text.clone());
        let is_new = !told.contains(&key);
        if is_new {
            told.push(key);
        }
        is_new
    });
}

fn missing(facts: &Facts) -> Vec<Missing> {
    fn of<T>(seen: &Observed<T>) -> Option<Missing> {
        match seen {
            Observed::Known(_) => None,
            Observed::Unknown(missing) => Some(missing.clone()),
        }
    }
    let seen = [
        of(&facts.worker),
        of(&facts.listener),
        of(&facts.kernel),
        of(&facts.host),
        of(&facts.unit),
        of(&facts.memory),
        of(&facts.pressure),
        of(&facts.disk),
        of(&facts.guard),
        of(&facts.clock),
    ];
    let mut missing: Vec<Missing> = seen.into_iter().flatten().collect();
    if facts.listener.known().is_some_and(|log| !log.is_whole) {
        missing.push(Missing {
            what: "all of the Listener's logs: one cannot be read, or they are too long".to_owned(),
            how: "look for `Worker finished` and `finish job request` in the runner's _diag by hand"
                .to_owned(),
        });
    }
    if facts.host.known().is_some_and(|log| !log.is_complete) {
        missing.push(Missing {
            what: "some events of the host's services: the journal was too long, or does not reach back to the job's end"
                .to_owned(),
            how: "read `journalctl --since` of that minute by hand, as root".to_owned(),
        });
    }
    if facts.listener.known().is_some_and(|log| !log.has_end()) {
        missing.push(Missing {
            what: "the Worker's exit code: no Listener survived to record it".to_owned(),
            how: "set ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT=1 in the runner's .env, so that the journal keeps its last log lines".to_owned(),
        });
    }
    if facts.kernel.known().is_some_and(|log| !log.is_complete) {
        missing.push(Missing {
            what: "some of the kernel's messages: those that were kept do not reach back to the job's end"
                .to_owned(),
            how:
                "keep the journal on disk: `mkdir -p /var/log/journal && systemctl restart systemd-journald`"
                    .to_owned(),
        });
    }
    if let Some(guard) = facts.guard.known()
        && guard
            .complete_since
            .is_none_or(|since| since > facts.death.started.unwrap_or(SystemTime::UNIX_EPOCH))
    {
        missing.push(Missing {
            what: "a ledger of disk-guard that is complete since the job began".to_owned(),
            how: "let tmpfiles.d create ledger.d in the state directory, and keep the journal on disk"
                .to_owned(),
        });
    }
    missing
}

fn logs(facts: &Facts) -> (Option<&ListenerLog>, Option<&WorkerLog>) {
    (facts.listener.known(), facts.worker.known())
}

/// Whether the runner was asked to shut down, which cancels its job.
fn shutdown(facts: &Facts, points_to: Cause) -> Vec<Proof> {
    let (listener, worker) = logs(facts);
    let of_listener =
        listener.and_then(|log| log.shutdown.as_ref()).map(|line| listener_line(line, points_to));
    let of_worker =
        worker.and_then(|log| log.shutdown.as_ref()).map(|line| worker_line(facts, line, points_to));
    of_listener.into_iter().chain(of_worker).collect()
}

#[cfg(test)]
mod tests;
