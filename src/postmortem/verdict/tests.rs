//! One table: the facts, and the verdict.

mod table;

use super::*;
use crate::model::postmortem::*;
use std::time::Duration;

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second)
}

fn line(second: u64, text: &str) -> LogLine {
    LogLine { at: Some(at(second)), text: text.into() }
}

/// A Worker that began at 0, wrote its last line at 100, and whose end the Listener logged at 101 with `code`. Every source was read, and
/// there is no evidence for anything.
fn died(code: Option<i32>) -> Facts {
    let death = Death {
        runner: "r".into(),
        root: "/srv/r".into(),
        worker_pid: Some(700),
        boot_id: Some("now".into()),
        started: Some(at(0)),
        last_sign: Some(at(100)),
        ended: code.map(|_| at(101)),
        ..Death::default()
    };
    Facts {
        death,
        now: at(1000),
        worker_lives: false,
        listener_since: Some(at(0) - Duration::from_secs(3600)),
        worker: Observed::Known(WorkerLog {
            name: "Worker_x-utc.log".into(),
            last: Some(line(100, "a line")),
            ..WorkerLog::default()
        }),
        listener: Observed::Known(ListenerLog {
            received: Some(line(0, "Job request 1 received.")),
            finished: code.map(|code| (code, line(101, "Worker finished"))),
            is_whole: true,
            ..ListenerLog::default()
        }),
        kernel: Observed::Known(KernelLog { source: "journal", is_complete: true, lines: Vec::new() }),
        host: Observed::Known(HostLog { is_complete: true, lines: Vec::new() }),
        unit: Observed::missing("unit", "how"),
        unit_name: None,
        pids_are_the_kernels: true,
        tasks: None,
        memory: Observed::missing("memory", "how"),
        pressure: Observed::missing("pressure", "how"),
        disk: Observed::Known(DiskNow {
            mount: "/home".into(),
            used_percent: 50,
            available_bytes: 1 << 30,
            inodes_free: Some(1000),
        }),
        guard: Observed::Known(GuardDeeds {
            complete_since: Some(at(0) - Duration::from_secs(60)),
            ..GuardDeeds::default()
        }),
        clock: Observed::Known(HostClock {
            boot_id: "now".into(),
            booted: at(0) - Duration::from_secs(9000),
            slept: Duration::ZERO,
            put_forward: Some(Duration::ZERO),
        }),
    }
}

fn worker(facts: &mut Facts) -> &mut WorkerLog {
    match &mut facts.worker {
        Observed::Known(log) => log,
        Observed::Unknown(_) => panic!("it is there"),
    }
}

fn listener(facts: &mut Facts) -> &mut ListenerLog {
    match &mut facts.listener {
        Observed::Known(log) => log,
        Observed::Unknown(_) => panic!("it is there"),
    }
}

fn says(facts: &mut Facts, second: u64, event: KernelEvent) {
    match &mut facts.kernel {
        Observed::Known(log) => {
            log.lines.push(KernelLine { at: at(second), event, text: "a message".into() })
        }
        Observed::Unknown(_) => panic!("it is there"),
    }
}

fn host_says(facts: &mut Facts, second: u64, deed: HostDeed, is_trusted: bool) {
    match &mut facts.host {
        Observed::Known(log) => {
            let (source, text) = ("somebody".into(), "an entry".into());
            log.lines.push(HostLine { at: at(second), source, deed, is_trusted, text });
        }
        Observed::Unknown(_) => panic!("it is there"),
    }
}

fn in_group(facts: &mut Facts, group: &str) {
    let (group, file) = (group.into(), "m".into());
    facts.memory = Observed::Known(MemoryEvents { group, file, oom_kills: 0, counts_below: false });
}

fn is_full_now(facts: &mut Facts) {
    let (mount, used_percent) = ("/".into(), 100);
    facts.disk = Observed::Known(DiskNow { mount, used_percent, available_bytes: 0, inodes_free: None });
}

fn kernel_is_cut(facts: &mut Facts) {
    if let Observed::Known(log) = &mut facts.kernel {
        log.is_complete = false;
    }
}

fn oom(pid: i32) -> KernelEvent {
    let scope = OomScope::Group("/ci".into());
    KernelEvent::OomKill {
        pid,
        comm: if pid == 700 { "Runner.Worker" } else { "rustc" }.into(),
        scope,
        group: None,
    }
}

fn kill_in(pid: i32, comm: &str, group: &str) -> KernelEvent {
    let (comm, group) = (comm.into(), Some(group.into()));
    KernelEvent::OomKill { pid, comm, scope: OomScope::Host, group }
}

fn thread_fault(comm: &str) -> KernelEvent {
    KernelEvent::Fault { pid: 731, comm: comm.into() }
}

fn rejected(group: &str) -> KernelEvent {
    KernelEvent::ForkRejected { group: group.into() }
}

fn segfault(pid: i32) -> KernelEvent {
    KernelEvent::Fault { pid, comm: "Runner.Worker".into() }
}

fn guard(facts: &mut Facts) -> &mut GuardDeeds {
    match &mut facts.guard {
        Observed::Known(deeds) => deeds,
        Observed::Unknown(_) => panic!("it is there"),
    }
}

fn removed(second: u64, path: &str) -> GuardDeed {
    GuardDeed { at: at(second), deed: "removed", path: path.into(), bytes: Some(5) }
}

/// Every cause of death is the outcome of a row of the table or of a test below.
#[test]
fn a_clean_end_is_no_death() {
    let mut facts = died(Some(100));
    worker(&mut facts).completed = Some(line(100, "Job completed."));
    let verdict = judge(&facts);
    assert_eq!((verdict.ended, verdict.cause), (Ended::Cleanly, Cause::CleanEnd));
    assert!(verdict.ruled_out.is_empty() && verdict.missing.is_empty() && verdict.advice.is_empty());

    // The disk reported errors, and the job succeeded all the same; others' deaths are not its evidence.
    worker(&mut facts).complaints.push((Complaint::NoSpace, line(50, "No space left on device")));
    says(&mut facts, 50, oom(9));
    let verdict = judge(&facts);
    assert_eq!(verdict.cause, Cause::CleanEnd);
    assert_eq!(verdict.evidence.len(), 3, "{verdict:#?}");
    // It failed.
    listener(&mut facts).finished = Some((102, line(101, "Worker finished")));
    let verdict = judge(&facts);
    assert_eq!(
        (verdict.ended, verdict.cause, verdict.confidence),
        (Ended::Cleanly, Cause::DiskFull, Confidence::Likely)
    );
    // Its linker was killed.
    let mut facts = died(Some(102));
    in_group(&mut facts, "/ci");
    says(&mut facts, 50, oom(9));
    let verdict = judge(&facts);
    assert_eq!((verdict.ended, verdict.cause), (Ended::Cleanly, Cause::OutOfMemory), "{verdict:#?}");
    in_group(&mut facts, "/ci-2");
    assert_eq!(judge(&facts).cause, Cause::CleanEnd, "somebody else's linker");
    // Its step was killed in the container that the job's engine made; a kill in it long before is no reason.
    for (second, cause) in [(98, Cause::OutOfMemory), (50, Cause::CleanEnd)] {
        let mut facts = died(Some(102));
        facts.unit_name = Some("actions.runner.a.service".into());
        worker(&mut facts).killed_step = Some(line(99, "Finished process 7 with exit code 137, and"));
        says(&mut facts, second, kill_in(9, "ld", "/system.slice/docker-3f1c.scope"));
        assert_eq!(judge(&facts).cause, cause, "{second}");
    }
}

/// `Job completed.` is also written when the job's task ended by an exception: a known exit code outranks it.
#[test]
fn a_known_exit_code_outranks_the_last_word() {
    for (code, ended, cause) in [
        (Some(1), Ended::Abruptly, Cause::RunnerError),
        (Some(137), Ended::Abruptly, Cause::Killed),
        (Some(102), Ended::Cleanly, Cause::CleanEnd),
        (None, Ended::Cleanly, Cause::CleanEnd),
    ] {
        let mut facts = died(code);
        worker(&mut facts).completed = Some(line(100, "Job completed."));
        let verdict = judge(&facts);
        assert_eq!((verdict.ended, verdict.cause), (ended, cause), "{code:?}");
        let sure =
            if code.is_some_and(|code| code == 102) { Confidence::Certain } else { Confidence::Likely };
        assert!(ended == Ended::Abruptly || verdict.confidence == sure, "{code:?}");
    }
}

#[test]
fn jobs_that_were_asked_to_stop() {
    use Cause::*;
    use Confidence::*;
    type Row = (&'static str, Option<i32>, Option<Reported>, fn(&mut Facts), Cause, Confidence);
    let table: &[Row] = &[
        ("cancelled", Some(103), Some(Reported::Cancelled), |_| {}, Cancelled, Certain),
        ("cancelled, and no code", None, Some(Reported::Cancelled), |_| {}, Cancelled, Likely),
        (
            "cancelled, by the Worker's log alone",
            None,
            None,
            |f| {
                f.listener = Observed::missing("a", "b");
                worker(f).cancelled = Some(line(90, "Cancellation/Shutdown message received."));
                worker(f).reported = Some(line(99, "Raising job completed event"));
            },
            Cancelled,
            Likely,
        ),
        (
            "a cancellation that came too late",
            Some(100),
            Some(Reported::Succeeded),
            |f| listener(f).cancelled = Some(line(100, "Job cancellation request x received")),
            CleanEnd,
            Certain,
        ),
        (
            "the runner was asked to shut down",
            Some(102),
            Some(Reported::Cancelled),
            |f| listener(f).shutdown = Some(line(90, "Runner will be shutdown for UserCancelled")),
            RunnerStopped,
            Certain,
        ),
        (
            "the same, and systemd had stopped it",
            Some(102),
            Some(Reported::Cancelled),
            |f| {
                listener(f).shutdown = Some(line(90, "Runner will be shutdown for UserCancelled"));
                host_says(f, 89, HostDeed::UnitStop, true);
            },
            UnitStopped,
            Certain,
        ),
        (
            "the same, before a reboot",
            Some(102),
            Some(Reported::Cancelled),
            |f| {
                listener(f).shutdown = Some(line(90, "Runner will be shutdown for OperatingSystemShutdown"));
                f.death.boot_id = Some("before".into());
                if let Observed::Known(clock) = &mut f.clock {
                    clock.booted = at(160);
                }
            },
            Reboot,
            Likely,
        ),
        (
            "the service took it away",
            Some(102),
            Some(Reported::Abandoned),
            |f| {
                listener(f).lost_contact =
                    Some(line(90, "TaskAgentJobNotFoundException received when renew job x"))
            },
            LostContact,
            Certain,
        ),
        ("abandoned, and no word why", Some(102), Some(Reported::Abandoned), |_| {}, LostContact, Certain),
    ];
    for (what, code, result, change, cause, confidence) in table {
        let mut facts = died(*code);
        listener(&mut facts).result = result.map(|result| (result, line(101, "finish job request")));
        change(&mut facts);
        let verdict = judge(&facts);
        assert_eq!((verdict.cause, verdict.confidence), (*cause, *confidence), "{what}: {verdict:#?}");
        assert_eq!(verdict.ended, Ended::Cleanly, "{what}");
        let listed =
            verdict.evidence.iter().all(|proof| proof.points_to == *cause || proof.points_to == CleanEnd);
        assert!(listed, "{what}: {verdict:#?}");
    }
}

#[test]
fn a_worker_that_lives_has_not_died_but_its_listener_may_have() {
    let mut facts = died(None);
    facts.worker_lives = true;
    assert_eq!((judge(&facts).ended, judge(&facts).cause), (Ended::NotYet, Cause::Running));
    facts.listener_since = None;
    assert_eq!((judge(&facts).ended, judge(&facts).cause), (Ended::NotYet, Cause::ListenerDied));
}

#[test]
fn only_a_complete_ledger_clears_the_guard_with_what_it_deleted_instead() {
    let by = |facts: &Facts| {
        let ruled = judge(facts).ruled_out.into_iter().find(|ruled| ruled.cause == Cause::DiskGuard);
        ruled.map(|ruled| ruled.by)
    };
    let mut facts = died(Some(137));
    assert!(by(&facts).unwrap().contains("nothing else on this host"));
    guard(&mut facts).elsewhere.push(removed(50, "/srv/other/_work/a/a/target"));
    assert!(
        by(&facts).unwrap().contains("elsewhere /srv/other/_work/a/a/target (5 bytes) alone"),
        "{:?}",
        by(&facts)
    );
    guard(&mut facts).elsewhere.push(removed(9000, "/srv/later"));
    assert!(by(&facts).unwrap().contains("alone"), "another time's deeds do not count");
    guard(&mut facts).by_own_hook.push(removed(1, "/srv/r/_work/b/b/target"));
    assert!(by(&facts).unwrap().contains("1 cache that its own hook removed"));
    guard(&mut facts).complete_since = Some(at(50));
    assert_eq!(by(&facts), None, "a ledger that begins later proves nothing");
    assert!(judge(&facts).missing.iter().any(|missing| missing.what.contains("ledger")));
    guard(&mut facts).here.push(removed(50, "/srv/r/_work/a/a/target"));
    assert_eq!(by(&facts), None);
}

#[test]
fn unobserved_causes_are_not_ruled_out() {
    let mut facts = died(None);
    kernel_is_cut(&mut facts);
    facts.clock = Observed::missing("clock", "how");
    let verdict = judge(&facts);
    let cleared: Vec<Cause> = verdict.ruled_out.iter().map(|ruled| ruled.cause).collect();
    for cause in [
        Cause::OutOfMemory,
        Cause::DiskFull,
        Cause::FilesExhausted,
        Cause::TasksExhausted,
        Cause::Crash,
        Cause::Killed,
        Cause::DiskFailed,
        Cause::Reboot,
        Cause::Suspended,
    ] {
        assert!(!cleared.contains(&cause), "{cause:?}: {verdict:#?}");
    }
    let missing: Vec<&str> = verdict.missing.iter().map(|missing| missing.what.as_str()).collect();
    assert!(
        missing.iter().any(|what| what.contains("exit code"))
            && missing.iter().any(|what| what.contains("kernel")),
        "{missing:?}"
    );
    // If every source was read each of them is cleared.
    let is_cleared =
        |facts: &Facts, cause: Cause| judge(facts).ruled_out.iter().any(|ruled| ruled.cause == cause);
    for cause in [
        Cause::OutOfMemory,
        Cause::DiskFull,
        Cause::FilesExhausted,
        Cause::TasksExhausted,
        Cause::DiskFailed,
        Cause::DiskGuard,
        Cause::Reboot,
        Cause::Suspended,
        Cause::Crash,
        Cause::ListenerDied,
        Cause::RunnerError,
    ] {
        assert!(is_cleared(&died(Some(143)), cause), "{cause:?}: {:#?}", judge(&died(Some(143))));
    }
    // The kernel's silence alone rules out neither daemons and people, nor faults that the runtime handles.
    for code in [Some(137), Some(143), None] {
        let mut facts = died(code);
        assert!(is_cleared(&facts, Cause::OutOfMemory), "{code:?}: the control");
        facts.host = Observed::missing("a", "b");
        assert!(!is_cleared(&facts, Cause::OutOfMemory), "{code:?}");
    }
    assert!(!is_cleared(&died(None), Cause::Crash) && !is_cleared(&died(Some(139)), Cause::Killed));
    // An exception may be caused by a disk that has room again.
    assert!(!is_cleared(&died(Some(1)), Cause::DiskFull));
}
