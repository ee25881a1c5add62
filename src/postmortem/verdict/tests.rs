//! One table: the facts, and the verdict.

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

#[test]
fn each_set_of_facts_leads_to_its_verdict() {
    use Cause::*;
    use Confidence::*;
    type Row = (&'static str, Option<i32>, fn(&mut Facts), Cause, Confidence);
    let table: &[Row] = &[
        ("an OOM kill of the Worker", Some(137), |f| says(f, 100, oom(700)), OutOfMemory, Certain),
        ("the same without a Listener", None, |f| says(f, 100, oom(700)), OutOfMemory, Certain),
        (
            "an OOM kill of the same pid long before",
            Some(137),
            |f| {
                f.death.started = Some(at(0) + Duration::from_secs(90));
                f.death.last_sign = Some(at(90_000));
                f.death.ended = Some(at(90_001));
                says(f, 10, oom(700));
            },
            Killed,
            Certain,
        ),
        (
            "an OOM kill in another group, and SIGKILL",
            Some(137),
            |f| {
                in_group(f, "/ci-2");
                says(f, 100, oom(9));
            },
            Killed,
            Certain,
        ),
        (
            "an OOM kill in a group that may be the runner's",
            Some(137),
            |f| says(f, 100, oom(9)),
            Killed,
            Likely,
        ),
        (
            "an OOM kill in the runner's own group, and SIGKILL with it",
            Some(137),
            |f| {
                in_group(f, "/ci");
                says(f, 100, oom(9));
            },
            OutOfMemory,
            Likely,
        ),
        (
            "an OOM kill in the group of the runner's unit, which is gone",
            Some(137),
            |f| {
                f.unit_name = Some("actions.runner.a.service".into());
                says(f, 100, kill_in(9, "ld", "/system.slice/actions.runner.a.service"));
            },
            OutOfMemory,
            Likely,
        ),
        (
            "an OOM kill of the Worker of a sibling",
            Some(137),
            |f| says(f, 100, kill_in(9, "Runner.Worker", "/system.slice/actions.runner.b.service")),
            Killed,
            Certain,
        ),
        (
            "the kernel's pids are not those of the Worker's namespace",
            Some(137),
            |f| {
                f.pids_are_the_kernels = false;
                in_group(f, "/ci");
                says(f, 100, kill_in(9, "Runner.Worker", "/ci/pod"));
            },
            OutOfMemory,
            Certain,
        ),
        (
            "the Worker's pid and name, seen from another namespace",
            Some(137),
            |f| {
                f.pids_are_the_kernels = false;
                says(f, 100, kill_in(700, "Runner.Worker", "/user.slice/user-1000.slice/session-3.scope"));
            },
            OutOfMemory,
            Likely,
        ),
        (
            "another pid of that name, seen from another namespace",
            Some(137),
            |f| {
                f.pids_are_the_kernels = false;
                says(f, 100, kill_in(701, "Runner.Worker", "/user.slice/user-1000.slice/session-3.scope"));
            },
            Killed,
            Likely,
        ),
        (
            "a full thin pool shows as an error of input and output",
            Some(134),
            |f| {
                says(f, 99, KernelEvent::NoRoom);
                listener(f).complaints.push((Complaint::InputOutput, line(101, "Input/output error")));
            },
            DiskFull,
            Certain,
        ),
        ("a pool of the host is full", Some(134), |f| says(f, 99, KernelEvent::NoRoom), Crash, Likely),
        ("SIGQUIT", Some(131), |_| {}, Killed, Certain),
        ("SIGXFSZ, which the kernel sends as well", Some(153), |_| {}, Killed, Likely),
        ("SIGPIPE, which the kernel sends as well", Some(141), |_| {}, Killed, Likely),
        (
            "a pid that was used again, and an exception",
            Some(1),
            |f| says(f, 100, oom(700)),
            RunnerError,
            Likely,
        ),
        (
            "earlyoom killed it",
            Some(143),
            |f| {
                host_says(f, 100, HostDeed::MemoryKill, true);
                if let Observed::Known(log) = &mut f.host {
                    log.lines[0].source = "earlyoom".into();
                }
            },
            OutOfMemory,
            Certain,
        ),
        (
            "systemd says that a process of the unit was killed for want of memory",
            Some(137),
            |f| host_says(f, 100, HostDeed::MemoryKill, true),
            OutOfMemory,
            Likely,
        ),
        (
            "a user's process that calls itself earlyoom",
            Some(143),
            |f| host_says(f, 100, HostDeed::MemoryKill, false),
            Killed,
            Likely,
        ),
        ("an order to kill", Some(137), |f| host_says(f, 100, HostDeed::Order, true), Killed, Certain),
        (
            "an order to kill, and no exit code",
            None,
            |f| host_says(f, 100, HostDeed::Order, true),
            Killed,
            Likely,
        ),
        (
            "SIGKILL, and nobody knows what services did",
            Some(137),
            |f| f.host = Observed::missing("a", "b"),
            Killed,
            Likely,
        ),
        (
            "the runtime's own lack of memory",
            Some(134),
            |f| listener(f).complaints.push((Complaint::Memory, line(101, "System.OutOfMemoryException"))),
            OutOfMemory,
            Likely,
        ),
        (
            "an OOM kill in the runner's group, and no exit code",
            None,
            |f| {
                in_group(f, "/ci");
                says(f, 100, oom(9));
            },
            OutOfMemory,
            Possible,
        ),
        (
            "an OOM kill at the limit of a group that holds others, too",
            None,
            |f| {
                in_group(f, "/ci/r");
                says(f, 100, oom(9));
            },
            Unknown,
            Possible,
        ),
        (
            "an OOM kill in another group, and no exit code",
            None,
            |f| {
                f.memory = Observed::Known(MemoryEvents {
                    group: "/ci-2".into(),
                    file: "m".into(),
                    oom_kills: 0,
                    counts_below: false,
                });
                says(f, 100, oom(9));
            },
            Unknown,
            Possible,
        ),
        ("an OOM kill of a child, and an exception", Some(1), |f| says(f, 100, oom(9)), RunnerError, Likely),
        ("SIGKILL by nobody known", Some(137), |_| {}, Killed, Certain),
        ("SIGKILL, and nobody knows what the kernel did", Some(137), kernel_is_cut, Killed, Likely),
        (
            "the unit says oom-kill",
            Some(137),
            |f| {
                kernel_is_cut(f);
                f.unit = Observed::Known(UnitRecord {
                    name: "u".into(),
                    result: "oom-kill".into(),
                    ..UnitRecord::default()
                });
            },
            OutOfMemory,
            Likely,
        ),
        (
            "the group counts kills",
            None,
            |f| {
                kernel_is_cut(f);
                f.listener_since = f.listener_since.map(|_| at(0));
                f.memory = Observed::Known(MemoryEvents {
                    group: "/ci".into(),
                    file: "m".into(),
                    oom_kills: 2,
                    counts_below: true,
                });
            },
            OutOfMemory,
            Possible,
        ),
        ("SIGTERM", Some(143), |_| {}, Killed, Certain),
        ("a literal 9 is no signal", Some(9), |_| {}, RunnerError, Likely),
        ("SIGSEGV", Some(139), |_| {}, Crash, Certain),
        ("SIGSEGV that the kernel tells of", None, |f| says(f, 100, segfault(700)), Crash, Certain),
        (
            "somebody else's fault",
            Some(143),
            |f| says(f, 100, KernelEvent::Fault { pid: 9, comm: "ld".into() }),
            Killed,
            Certain,
        ),
        ("a thread's fault", Some(139), |f| says(f, 100, thread_fault(".NET TP Worker")), Crash, Certain),
        (
            "a thread's fault, and no exit code",
            None,
            |f| says(f, 100, thread_fault(".NET TP Worker")),
            Unknown,
            Possible,
        ),
        ("an abort, and no word why", Some(134), |_| {}, Crash, Likely),
        (
            "an abort, and the Listener could not write either",
            Some(134),
            |f| listener(f).is_cut = Some(line(101, "")),
            DiskFull,
            Likely,
        ),
        ("an abort on a disk that is full now", Some(134), is_full_now, DiskFull, Likely),
        (
            "an abort by another exception, on a disk that is full now",
            Some(134),
            |f| {
                listener(f).exception =
                    Some(line(102, "Unhandled exception. System.NullReferenceException: x"));
                is_full_now(f);
            },
            Crash,
            Likely,
        ),
        (
            "an ephemeral runner that ends with its job",
            Some(137),
            |f| {
                kernel_is_cut(f);
                f.unit = Observed::Known(UnitRecord {
                    name: "u".into(),
                    result: "success".into(),
                    active: "inactive".into(),
                    main: Some((1, 0)),
                    main_exited: Some(at(103)),
                    ..UnitRecord::default()
                });
            },
            Killed,
            Likely,
        ),
        (
            "a container that was ended",
            Some(137),
            |f| host_says(f, 100, HostDeed::ContainerEnd, true),
            Killed,
            Likely,
        ),
        (
            "an abort on a disk that was above critical",
            Some(134),
            |f| guard(f).critical = Some(line(90, "/ is 100 % full: critical")),
            DiskFull,
            Likely,
        ),
        (
            "an abort, and the unit's own words",
            Some(134),
            |f| host_says(f, 101, HostDeed::Complaint(Complaint::NoSpace), true),
            DiskFull,
            Certain,
        ),
        (
            "Listeners that come and write nothing, on a full disk",
            None,
            |f| {
                listener(f).empty_logs = 20;
                is_full_now(f);
            },
            DiskFull,
            Likely,
        ),
        (
            "ENOSPC long before an exception",
            Some(1),
            |f| {
                (f.death.last_sign, f.death.ended) = (Some(at(800)), Some(at(801)));
                worker(f).complaints.push((Complaint::NoSpace, line(10, "No space left on device")));
            },
            DiskFull,
            Likely,
        ),
        (
            "tasks that could not be started",
            Some(1),
            |f| {
                in_group(f, "/ci");
                says(f, 99, rejected("/ci"));
                worker(f).complaints.push((Complaint::Tasks, line(99, "Resource temporarily unavailable")));
            },
            TasksExhausted,
            Certain,
        ),
        (
            "no task could be started somewhere else",
            Some(1),
            |f| {
                in_group(f, "/ci");
                says(f, 99, rejected("/other"));
            },
            RunnerError,
            Likely,
        ),
        (
            "the Listener killed it, which had not stopped in time",
            Some(137),
            |f| {
                listener(f).cancelled = Some(line(40, "Job cancellation request x received"));
                listener(f).stopped =
                    Some(line(100, "haven't exit within cancellation timout, kill running worker."));
            },
            StoppedByListener,
            Certain,
        ),
        (
            "killed for want of memory while it stopped",
            Some(137),
            |f| {
                listener(f).cancelled = Some(line(90, "Job cancellation request x received"));
                says(f, 100, oom(700));
            },
            OutOfMemory,
            Certain,
        ),
        (
            "the Listener's logs were not read to their end",
            None,
            |f| {
                f.listener_since = None;
                listener(f).is_whole = false;
            },
            Unknown,
            Possible,
        ),
        (
            "an abort after ENOSPC",
            Some(134),
            |f| {
                worker(f).complaints.push((Complaint::NoSpace, line(99, "No space left on device")));
            },
            DiskFull,
            Certain,
        ),
        (
            "an exception after ENOSPC",
            Some(1),
            |f| {
                listener(f).complaints.push((Complaint::NoSpace, line(100, "No space left on device")));
            },
            DiskFull,
            Certain,
        ),
        (
            "SIGKILL after ENOSPC",
            Some(137),
            |f| {
                worker(f).complaints.push((Complaint::NoSpace, line(99, "No space left on device")));
            },
            Killed,
            Certain,
        ),
        (
            "ENOSPC of an earlier job",
            Some(1),
            |f| {
                worker(f).complaints.push((
                    Complaint::NoSpace,
                    LogLine { at: Some(at(0) - Duration::from_secs(9999)), text: "x".into() },
                ));
            },
            RunnerError,
            Likely,
        ),
        (
            "a log cut off on a disk that is full",
            None,
            |f| {
                worker(f).is_cut = true;
                is_full_now(f);
            },
            DiskFull,
            Possible,
        ),
        (
            "too many open files",
            Some(134),
            |f| {
                worker(f).complaints.push((Complaint::Descriptors, line(99, "Too many open files")));
            },
            FilesExhausted,
            Certain,
        ),
        (
            "the file table is full, says the kernel",
            None,
            |f| says(f, 99, KernelEvent::FileTable),
            FilesExhausted,
            Possible,
        ),
        (
            "a disk failed, and the runner felt it",
            Some(134),
            |f| {
                says(f, 50, KernelEvent::InputOutput);
                worker(f).complaints.push((Complaint::InputOutput, line(99, "Input/output error")));
            },
            DiskFailed,
            Certain,
        ),
        ("some disk failed", None, |f| says(f, 50, KernelEvent::InputOutput), DiskFailed, Possible),
        ("SIGBUS, and nothing else", Some(135), |_| {}, Crash, Certain),
        (
            "SIGBUS, and a disk fails",
            Some(135),
            |f| says(f, 99, KernelEvent::InputOutput),
            DiskFailed,
            Likely,
        ),
        ("SIGBUS, and the disk is full", Some(135), is_full_now, DiskFull, Likely),
        ("SIGBUS, and a pool is full", Some(135), |f| says(f, 99, KernelEvent::NoRoom), DiskFull, Likely),
        ("SIGSEGV, and a disk fails", Some(139), |f| says(f, 99, KernelEvent::InputOutput), Crash, Certain),
        ("another boot", None, |f| f.death.boot_id = Some("before".into()), Reboot, Certain),
        (
            "another boot, and yet the Listener saw SIGKILL",
            Some(137),
            |f| f.death.boot_id = Some("before".into()),
            Killed,
            Certain,
        ),
        (
            "an OOM kill of some Worker and SIGKILL, when the pid is not known",
            Some(137),
            |f| {
                f.death.worker_pid = None;
                says(f, 100, oom(700));
            },
            OutOfMemory,
            Likely,
        ),
        (
            "an OOM kill of some Worker, when nothing more is known",
            None,
            |f| {
                f.death.worker_pid = None;
                says(f, 100, oom(700));
            },
            OutOfMemory,
            Possible,
        ),
        (
            "a log older than the boot, and a Worker's death in this one",
            None,
            |f| {
                (f.death.boot_id, f.death.worker_pid) = (None, None);
                says(f, 700, oom(700));
                if let Observed::Known(clock) = &mut f.clock {
                    clock.booted = at(500);
                }
            },
            Reboot,
            Likely,
        ),
        (
            "a log older than the boot",
            None,
            |f| {
                f.death.boot_id = None;
                if let Observed::Known(clock) = &mut f.clock {
                    clock.booted = at(500);
                }
            },
            Reboot,
            Likely,
        ),
        (
            "slept",
            None,
            |f| {
                says(f, 50, KernelEvent::Suspend);
                listener(f).silence = Some((at(50), Duration::from_secs(4000)));
            },
            Suspended,
            Likely,
        ),
        (
            "frozen from outside",
            None,
            |f| {
                if let Observed::Known(clock) = &mut f.clock {
                    clock.put_forward = Some(Duration::from_secs(111_000));
                }
            },
            Suspended,
            Possible,
        ),
        ("no Listener any more", None, |f| f.listener_since = None, ListenerDied, Likely),
        (
            "the running Listener is not the one",
            None,
            |f| f.listener_since = Some(at(200)),
            ListenerDied,
            Likely,
        ),
        ("the same Listener and no word", None, |_| {}, Unknown, Possible),
        (
            "stopped by hand",
            None,
            |f| {
                f.unit = Observed::Known(UnitRecord {
                    name: "u".into(),
                    result: "success".into(),
                    active: "inactive".into(),
                    main: Some((1, 0)),
                    main_exited: Some(at(101)),
                    ..UnitRecord::default()
                });
            },
            UnitStopped,
            Likely,
        ),
        (
            "the guard took a cache of a live job",
            None,
            |f| guard(f).here.push(removed(50, "/srv/r/_work/a/a/target")),
            DiskGuard,
            Possible,
        ),
        (
            "nothing could be seen",
            None,
            |f| {
                f.worker = Observed::missing("a", "b");
                f.listener = Observed::missing("a", "b");
                f.kernel = Observed::missing("a", "b");
                f.guard = Observed::missing("a", "b");
                f.disk = Observed::missing("a", "b");
                f.clock = Observed::missing("a", "b");
            },
            Unknown,
            Possible,
        ),
    ];
    for (what, code, change, cause, confidence) in table {
        let mut facts = died(*code);
        change(&mut facts);
        let verdict = judge(&facts);
        assert_eq!((verdict.cause, verdict.confidence), (*cause, *confidence), "{what}: {verdict:#?}");
        assert_eq!(verdict.ended, Ended::Abruptly, "{what}");
        assert!(verdict.ruled_out.iter().all(|ruled| ruled.cause != *cause), "{what}: {verdict:#?}");
        assert!(!verdict.advice.is_empty() && !verdict.summary.is_empty(), "{what}");
        let rests_on = verdict.evidence.iter().any(|proof| proof.points_to == *cause);
        assert!(rests_on || *cause == Unknown, "{what}: {verdict:#?}");
    }
}

/// Every cause of death is the outcome of a row above or of a test below.
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
