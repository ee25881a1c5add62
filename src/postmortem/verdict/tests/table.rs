//! The table of facts and their verdicts: each row changes the facts of an unexplained death.

use super::*;

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
