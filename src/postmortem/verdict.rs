//! From facts to a verdict. Pure.
//!
//! Every cause has one examination, which looks at all that speaks for or against it and returns what it found. The cause of
//! the greatest confidence is told; of two equal ones that which is more specific ([`Cause`]'s order). What speaks for another
//! cause stays among the evidence, behind.
//!
//! Only a witness that cannot err makes certain: the kernel, an exit code, a boot id. A runner's own log is written by its
//! user and makes at most likely, unless an exit code agrees with it. What was not seen rules nothing out.

mod advice;
mod disk;
mod host;
mod process;

use super::exit_code::{self, Ending};
use super::nouns::{
    Cause, Confidence, Ended, Facts, KernelEvent, KernelLine, Line, Missing, Proof, RuledOut, Seen, Verdict,
};
use std::time::{Duration, SystemTime};

/// How far two clocks and two logs may lie apart and still speak of the same moment.
const SLACK: Duration = Duration::from_secs(120);

/// What an examination found.
#[derive(Debug, Default)]
struct Finding {
    suspicion: Option<Confidence>,
    evidence: Vec<Proof>,
    cleared: Option<String>,
}

impl Finding {
    fn suspect(confidence: Confidence, evidence: Vec<Proof>) -> Self {
        Self { suspicion: Some(confidence), evidence, cleared: None }
    }

    fn cleared(by: impl Into<String>) -> Self {
        Self { cleared: Some(by.into()), ..Self::default() }
    }
}

/// Looks at all that speaks for or against one cause.
type Examination = fn(&Facts) -> Finding;

/// All examinations, with the cause that each is about.
const EXAMINATIONS: [(Cause, Examination); 12] = [
    (Cause::OutOfMemory, process::out_of_memory),
    (Cause::DiskFull, disk::full),
    (Cause::FilesExhausted, disk::files_exhausted),
    (Cause::DiskFailed, disk::failed),
    (Cause::DiskGuard, disk::guard),
    (Cause::Reboot, host::reboot),
    (Cause::Suspended, host::suspended),
    (Cause::Crash, process::crash),
    (Cause::Killed, process::killed),
    (Cause::ListenerDied, host::listener_died),
    (Cause::UnitStopped, host::unit_stopped),
    (Cause::RunnerError, process::runner_error),
];

/// Why.
pub fn judge(facts: &Facts) -> Verdict {
    let ended = ended(facts);
    let mut suspects: Vec<(Confidence, Cause, Vec<Proof>)> = Vec::new();
    let mut ruled_out = Vec::new();
    for (cause, examine) in EXAMINATIONS {
        let Finding { suspicion, evidence, cleared } = examine(facts);
        if let Some(confidence) = suspicion {
            suspects.push((confidence, cause, evidence));
        } else if let Some(by) = cleared {
            ruled_out.push(RuledOut { cause, by });
        }
    }
    suspects.sort_by_key(|(confidence, cause, _)| (std::cmp::Reverse(*confidence), *cause));
    let (cause, confidence) = conclude(facts, ended, &suspects);
    let mut evidence = endings(facts, cause);
    suspects.retain(|(_, suspect, _)| ended != Ended::NotYet || *suspect == cause);
    evidence.extend(suspects.into_iter().flat_map(|(_, _, evidence)| evidence));
    dedup(&mut evidence);
    ruled_out.retain(|ruled| ruled.cause != cause);
    Verdict {
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

/// A clean end stays one, whatever else was seen: only a failed job can still be the disk's fault. A Worker that lives has not
/// died, but its runner may have.
fn conclude(
    facts: &Facts,
    ended: Ended,
    suspects: &[(Confidence, Cause, Vec<Proof>)],
) -> (Cause, Confidence) {
    let suspected = |wanted: Cause| suspects.iter().find(|(_, cause, _)| *cause == wanted);
    match ended {
        Ended::NotYet => match suspected(Cause::ListenerDied) {
            Some((confidence, cause, _)) => (*cause, *confidence),
            None => (Cause::Running, Confidence::Certain),
        },
        Ended::Cleanly => match suspected(Cause::DiskFull).filter(|_| has_failed(facts)) {
            Some((_, cause, _)) => (*cause, Confidence::Likely),
            None => (Cause::CleanEnd, Confidence::Certain),
        },
        Ended::Abruptly => match suspects.first() {
            Some((confidence, cause, _)) => (*cause, *confidence),
            None => (Cause::Unknown, Confidence::Possible),
        },
    }
}

/// `Job completed.` is a clean end; so is a result that the Listener has noted, should the log be gone.
fn ended(facts: &Facts) -> Ended {
    let said_so = facts.worker.known().is_some_and(|log| log.completed.is_some());
    let result = code(facts).is_some_and(|(code, _)| matches!(exit_code::ending(code), Ending::Result(_)));
    if said_so || result {
        Ended::Cleanly
    } else if facts.worker_lives {
        Ended::NotYet
    } else {
        Ended::Abruptly
    }
}

/// Whether the job's result is a failure, or is not known.
fn has_failed(facts: &Facts) -> bool {
    code(facts).is_none_or(|(code, _)| !matches!(code, 100 | 104))
}

/// The Worker's exit code.
fn code(facts: &Facts) -> Option<(i32, &Line)> {
    facts.listener.known()?.finished.as_ref().map(|(code, line)| (*code, line))
}

/// The span in which the end lies: from the last sign of life to when somebody saw the end, or else now.
fn span(facts: &Facts) -> (SystemTime, SystemTime) {
    let death = &facts.death;
    let from = death.last_sign.or(death.started).unwrap_or(SystemTime::UNIX_EPOCH);
    let to = death.ended.map(|ended| ended + SLACK).or(went_down(facts)).unwrap_or(facts.now);
    (from.checked_sub(SLACK).unwrap_or(from), to)
}

/// When this boot began, if the job was of an earlier one: it has not outlived that.
fn went_down(facts: &Facts) -> Option<SystemTime> {
    let clock = facts.clock.known()?;
    let death = &facts.death;
    let is_older = match &death.boot_id {
        Some(boot_id) => *boot_id != clock.boot_id,
        None => death.last_sign.or(death.started).is_some_and(|last| last < clock.booted),
    };
    is_older.then_some(clock.booted)
}

/// How far a kernel message about the Worker goes: without its pid it may be about any runner's Worker, which is less likely
/// when the moment of the end is known.
fn sure_of_worker(facts: &Facts) -> Confidence {
    match (facts.death.worker_pid, facts.death.ended) {
        (Some(_), _) => Confidence::Certain,
        (None, Some(_)) => Confidence::Likely,
        (None, None) => Confidence::Possible,
    }
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

/// Whether the kernel's messages leave no gap in the time asked about.
fn kernel_is_complete(facts: &Facts) -> bool {
    facts.kernel.known().is_some_and(|log| log.is_complete)
}

fn worker_line(facts: &Facts, line: &Line, points_to: Cause) -> Proof {
    let name = facts.worker.known().map_or("", |log| log.name.as_str());
    proof(format!("Worker log {name}"), line, points_to)
}

fn listener_line(line: &Line, points_to: Cause) -> Proof {
    proof("Listener log".to_owned(), line, points_to)
}

fn proof(source: String, line: &Line, points_to: Cause) -> Proof {
    Proof { source, at: line.at, text: line.text.clone(), points_to }
}

/// Whether the death's Worker is the process of this pid. A pid alone is reused; together with its time and name it is not.
fn is_worker(facts: &Facts, line: &KernelLine) -> bool {
    let (pid, comm) = match &line.event {
        KernelEvent::OomKill { pid, comm, .. } | KernelEvent::Fault { pid, comm } => (*pid, comm.as_str()),
        _ => return false,
    };
    let is_named = comm == "Runner.Worker";
    let is_it = match facts.death.worker_pid {
        Some(worker) => worker == pid,
        None => is_named,
    };
    // Threads of .NET have names of their own: `.NET TP Worker`.
    is_it && (is_named || facts.death.worker_pid.is_some()) && is_in_span(facts, line.at)
}

/// How the end was noted, which belongs to every verdict.
fn endings(facts: &Facts, cause: Cause) -> Vec<Proof> {
    let mut evidence = Vec::new();
    if let Some(log) = facts.worker.known() {
        if let Some(line) = &log.completed {
            evidence.push(worker_line(facts, line, Cause::CleanEnd));
        } else if let Some(line) = log.last.as_ref().filter(|_| cause != Cause::Running) {
            let cut = if log.is_cut { ", cut off" } else { "" };
            let text =
                format!("the log ends without `Job completed.`; its last line{cut}: {}", line.text.trim());
            let source = format!("Worker log {}", log.name);
            evidence.push(Proof { source, at: line.at, text, points_to: cause });
        }
        // Why a job was told to stop is the service's affair; that it was is worth knowing.
        evidence.extend(log.cancelled.as_ref().map(|line| worker_line(facts, line, cause)));
    }
    if let Some((code, line)) = code(facts) {
        evidence.push(listener_line(line, cause));
        let text = exit_code::meaning(code);
        evidence.push(Proof { source: "exit code".to_owned(), at: None, text, points_to: cause });
    }
    evidence
}

/// The same line may speak for two causes: it is told once.
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
    fn of<T>(seen: &Seen<T>) -> Option<Missing> {
        match seen {
            Seen::Known(_) => None,
            Seen::Unknown(missing) => Some(missing.clone()),
        }
    }
    let seen = [
        of(&facts.worker),
        of(&facts.listener),
        of(&facts.kernel),
        of(&facts.unit),
        of(&facts.memory),
        of(&facts.pressure),
        of(&facts.disk),
        of(&facts.guard),
        of(&facts.clock),
    ];
    let mut missing: Vec<Missing> = seen.into_iter().flatten().collect();
    if facts.listener.known().is_some_and(|log| log.finished.is_none()) {
        missing.push(Missing {
            what: "the Worker's exit code: no Listener lived to note it".to_owned(),
            how: "set ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT=1 in the runner's .env, so that the journal has its last words".to_owned(),
        });
    }
    if facts.kernel.known().is_some_and(|log| !log.is_complete) {
        missing.push(Missing {
            what: "some of the kernel's messages: what was kept does not reach back to the job's end"
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
            what: "a ledger of disk-guard that tells of everything since the job began".to_owned(),
            how: "let tmpfiles.d make ledger.d in the state directory, and keep the journal on disk"
                .to_owned(),
        });
    }
    missing
}

#[cfg(test)]
mod tests;
