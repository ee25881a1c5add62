//! Events around a Worker: the host shuts down or sleeps, its Listener dies, systemd stops the unit.

use super::{
    CauseFinding, code, host_did, host_is_complete, host_lines, is_during_job, is_in_span, kernel,
    listener_line, shutdown,
};
use crate::model::postmortem::{
    Cause, Confidence, Facts, HostDeed, HostLine, KernelEvent, Proof, UnitRecord,
};
use crate::postmortem::exit_code::{self, Ending};
use std::time::Duration;

/// A Listener with a job is never silent this long: it renews the job's lease every minute.
const SILENCE: Duration = Duration::from_secs(600);

/// An orderly shutdown stops the runner this long before the next boot begins, at most.
const SHUTDOWN: Duration = Duration::from_secs(900);

/// The maximum difference of the clocks without a sleep of the host.
const DRIFT: Duration = Duration::from_secs(60);

/// Another boot proves it, unless the Listener has logged the end before.
pub(super) fn reboot(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::Reboot;
    let Some(clock) = facts.clock.known() else { return CauseFinding::default() };
    let death = &facts.death;
    let boots =
        |text: String| Proof { source: "boot".into(), at: Some(clock.booted), text, points_to: CAUSE };
    let goes_down =
        host_lines(facts, CAUSE, |line| line.deed == HostDeed::GoingDown && is_in_span(facts, line.at));
    if facts.listener.known().is_some_and(|log| log.has_end()) {
        let mut evidence = shutdown(facts, CAUSE);
        let is_followed = is_followed_by_a_boot(facts);
        if goes_down_with_the_host(facts) {
            evidence.extend(goes_down);
            evidence.extend(
                is_followed.then(|| boots("this boot started soon after the job was stopped".to_owned())),
            );
            return CauseFinding::suspect(Confidence::Likely, evidence);
        }
        return CauseFinding::cleared("the Listener survived to record the job's end");
    }
    match (&death.boot_id, death.last_sign.or(death.started)) {
        (Some(then), _) if *then != clock.boot_id => CauseFinding::suspect(
            Confidence::Certain,
            [
                vec![boots(format!("the job started in boot {then}; the current boot is {}", clock.boot_id))],
                goes_down,
            ]
            .concat(),
        ),
        (Some(_), _) => CauseFinding::cleared("the job started in the current boot"),
        (None, Some(last)) if last < clock.booted => CauseFinding::suspect(
            Confidence::Likely,
            vec![boots(
                "the Worker's last line is older than this boot, and no Listener has recorded its end"
                    .to_owned(),
            )],
        ),
        (None, Some(_)) => CauseFinding::cleared("the Worker still wrote after this boot had started"),
        (None, None) => CauseFinding::default(),
    }
}

fn is_followed_by_a_boot(facts: &Facts) -> bool {
    let after =
        facts.clock.known().zip(facts.death.ended).map(|(clock, ended)| clock.booted.duration_since(ended));
    after.is_some_and(|after| after.is_ok_and(|after| after < SHUTDOWN))
}

/// Whether the runner was asked to shut down because its host was: a host that shuts down stops its runners first.
pub(super) fn goes_down_with_the_host(facts: &Facts) -> bool {
    !shutdown(facts, Cause::Reboot).is_empty()
        && (is_followed_by_a_boot(facts) || host_did(facts, HostDeed::GoingDown))
}

/// Sleep shows in the kernel's messages and as a difference between the clocks; a machine that was paused from outside, as a jump of the
/// wall clock.
pub(super) fn suspended(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::Suspended;
    let mut evidence =
        kernel(facts, CAUSE, |line| line.event == KernelEvent::Suspend && is_during_job(facts, line.at));
    let has_slept = !evidence.is_empty();
    let silence = [
        ("Worker log", facts.worker.known().and_then(|log| log.silence)),
        ("Listener log", facts.listener.known().and_then(|log| log.silence)),
    ];
    // A Worker may be silent: a step that builds for an hour logs nothing.
    let listener_was_silent = silence[1].1.is_some_and(|(_, length)| length >= SILENCE);
    let mut add = |source: &str, at, text: String| {
        evidence.push(Proof { source: source.to_owned(), at, text, points_to: CAUSE });
    };
    if listener_was_silent {
        for (source, silence) in silence {
            if let Some((at, length)) = silence.filter(|(_, length)| *length >= SILENCE) {
                add(source, Some(at), format!("silent for {} s", length.as_secs()));
            }
        }
    }
    let mut jumped = false;
    if let Some(clock) = facts.clock.known() {
        if let Some(forward) = clock.put_forward.filter(|forward| *forward >= DRIFT) {
            jumped = true;
            let text = format!(
                "moved forward by {} s since the job's lease was written: this machine was frozen, or its clock was wrong",
                forward.as_secs()
            );
            add("wall clock", None, text);
        }
        if clock.slept >= DRIFT && (has_slept || listener_was_silent) {
            add("clocks", None, format!("the host has slept for {} s in this boot", clock.slept.as_secs()));
        }
    }
    let renewal = facts.listener.known().and_then(|log| log.lost_renewal.as_ref());
    if let Some(line) = renewal.filter(|_| has_slept || listener_was_silent || jumped) {
        evidence.push(listener_line(line, CAUSE));
    }
    match (has_slept || jumped, listener_was_silent) {
        (true, true) => CauseFinding::suspect(Confidence::Likely, evidence),
        (true, false) | (false, true) => CauseFinding::suspect(Confidence::Possible, evidence),
        (false, false) => match facts.clock.known() {
            Some(clock) if clock.slept < DRIFT && clock.put_forward.is_some() => {
                CauseFinding::cleared("the clocks agree: the host has not slept")
            }
            _ => CauseFinding::default(),
        },
    }
}

/// A job that was received and never logged as finished, by a Listener that is no longer running.
pub(super) fn listener_died(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::ListenerDied;
    let Some(log) = facts.listener.known() else { return CauseFinding::default() };
    if log.has_end() {
        return CauseFinding::cleared("it survived to record the job's end");
    }
    // The end may be in an unread part.
    let Some(received) = log.received.as_ref().filter(|_| log.is_whole) else {
        return CauseFinding::default();
    };
    let began = received.at.or(facts.death.started);
    let replaced = facts
        .listener_since
        .is_some_and(|since| began.is_some_and(|began| since > began + Duration::from_secs(5)));
    let is_gone = facts.listener_since.is_none();
    if log.restarted.is_none() && !replaced && !is_gone {
        return CauseFinding::cleared("the Listener that received the job still runs");
    }
    let mut evidence = vec![listener_line(received, CAUSE)];
    let unit = facts.unit.known().and_then(|unit| main_ended(facts, unit, CAUSE));
    if let Some(line) = &log.restarted {
        evidence.push(listener_line(line, CAUSE));
    }
    let text = match facts.listener_since {
        Some(_) => "the running Listener is not the one that received the job",
        None => "no Listener of this runner is running",
    };
    evidence.push(Proof {
        source: "processes".into(),
        at: Some(facts.now),
        text: text.to_owned(),
        points_to: CAUSE,
    });
    evidence.extend(unit);
    CauseFinding::suspect(Confidence::Likely, evidence)
}

/// systemd's own account: it stopped the unit, or its main process ended.
pub(super) fn unit_stopped(facts: &Facts) -> CauseFinding {
    const CAUSE: Cause = Cause::UnitStopped;
    // Events after an end did not cause it.
    let is_meant = |line: &HostLine| {
        matches!(line.deed, HostDeed::UnitStop | HostDeed::UnitKill)
            && is_in_span(facts, line.at)
            && facts.death.ended.is_none_or(|ended| line.at <= ended + Duration::from_secs(1))
    };
    let told = host_lines(facts, CAUSE, is_meant);
    let lines = facts.host.known().into_iter().flat_map(|log| &log.lines);
    let is_told = lines.into_iter().any(|line| line.is_trusted && is_meant(line));
    let shutdown = shutdown(facts, CAUSE);
    // An ephemeral runner ends with its one job, however that ended: its Listener was not stopped.
    let ends_by_itself = shutdown.is_empty() && facts.listener.known().is_some_and(|log| log.has_end());
    let unit = facts.unit.known();
    let ended_then = unit.is_some_and(|unit| unit.main_exited.is_some_and(|at| is_in_span(facts, at)));
    let main = unit.and_then(|unit| main_ended(facts, unit, CAUSE));
    let is_stop = unit.is_some_and(|unit| match unit.result.as_str() {
        // A stop by hand is a success to systemd.
        "success" => ended_then && unit.active == "inactive" && !ends_by_itself,
        "timeout" | "watchdog" => ended_then,
        _ => false,
    });
    let may_be = ended_then
        && unit.is_some_and(|unit| matches!(unit.result.as_str(), "signal" | "core-dump" | "exit-code"));
    let is_result = code(facts).is_some_and(|(code, _)| matches!(exit_code::ending(code), Ending::Result(_)));
    let sure = match (is_told || is_stop, may_be, unit) {
        // The runner logs it, too, and the Worker's end agrees.
        (true, ..) if !shutdown.is_empty() && is_result && !goes_down_with_the_host(facts) => {
            Confidence::Certain
        }
        (true, ..) => Confidence::Likely,
        (false, true, _) => Confidence::Possible,
        (false, false, _) if !told.is_empty() => Confidence::Possible,
        (false, false, Some(unit)) if unit.active == "active" && host_is_complete(facts) => {
            return CauseFinding::cleared(format!(
                "{} is active, and the journal contains no stop",
                unit.name
            ));
        }
        _ => return CauseFinding::default(),
    };
    CauseFinding::suspect(sure, told.into_iter().chain(main).chain(shutdown).collect())
}

fn main_ended(facts: &Facts, unit: &UnitRecord, points_to: Cause) -> Option<Proof> {
    let at = unit.main_exited.filter(|at| is_in_span(facts, *at))?;
    let how = match unit.main {
        Some((1, status)) => format!("exited with {status}"),
        Some((2 | 3, signal)) => format!("was ended by signal {signal}"),
        _ => "ended".to_owned(),
    };
    let text =
        format!("{}: the main process {how}; Result={}, {} restarts", unit.name, unit.result, unit.restarts);
    Some(Proof { source: "systemd".into(), at: Some(at), text, points_to })
}
