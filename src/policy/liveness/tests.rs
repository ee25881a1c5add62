//! Each kind of evidence from its facts, beside a runner without any.

use super::*;
use crate::model::{
    FileId, FilesystemId, ForeignLock, Guarded, Holder, Job, Lease, MountSeen, Pid, ProcessId, StartTime,
    Unlocated, WorkDir, WorkerReach, WorkerSeen,
};
use proptest::prelude::*;
use std::path::PathBuf;
use std::time::SystemTime;

fn process(pid: i32) -> ProcessId {
    ProcessId { pid: Pid(pid), start: StartTime(1) }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn runner(number: u64) -> RunnerFacts {
    RunnerFacts {
        runner: Runner {
            name: format!("runner-{number}"),
            root: format!("/srv/actions-runner-{number}").into(),
            root_id: FileId { dev: 1, ino: number },
            owner: Uid(1000),
            work: Work::Present(WorkDir {
                path: format!("/srv/actions-runner-{number}/_work").into(),
                id: FileId { dev: 1, ino: 100 + number },
                owner: Uid(1000),
                filesystem: FilesystemId { major: 8, minor: 1 },
            }),
        },
        guarded: Guarded::Yes,
        other_hosts: None,
        received: JobReceived::No,
        caches: Vec::new(),
        locks: Vec::new(),
        leftovers: Vec::new(),
    }
}

/// Two runners without any known fact.
fn quiet() -> HostFacts {
    HostFacts::quiet(at(1000), vec![runner(1), runner(10)])
}

fn worker(pid: i32, attribution: Attribution) -> WorkerSeen {
    WorkerSeen { process: process(pid), owner: Uid(1000), attribution, reach: WorkerReach::default() }
}

/// A process with a Worker's name, outside of every directory, of a user that can write none of them.
fn bystander() -> WorkerSeen {
    let reach = WorkerReach { runners: Vec::new(), is_whole: true, is_member: false };
    WorkerSeen {
        owner: Uid(65534),
        reach,
        ..worker(7, Attribution::Unattributed("its executable is /tmp/x".into()))
    }
}

fn lease_of(runner: u64, worker: i32, state: LeaseState) -> LeaseSeen {
    let root_id = FileId { dev: 1, ino: runner };
    let lease = Lease {
        worker: process(worker),
        boot_id: "b".into(),
        pid_namespace: 1,
        root: "/r".into(),
        root_id,
        work_id: None,
        job: Job { repository: "o/r".into(), run_id: "1".into(), job: "build".into() },
        since: at(1),
        reserved: None,
    };
    LeaseSeen { file: "f".into(), owner: Uid(1000), root: Some(root_id), lease: Some(lease), state }
}

fn holder(pid: i32, path: &str) -> Holder {
    Holder {
        runner: 0,
        process: process(pid),
        under: None,
        comm: "rustc".into(),
        how: HeldBy::Cwd,
        path: path.into(),
    }
}

fn listener(started: u64) -> ListenerSeen {
    ListenerSeen { process: process(50), runner: 0, owner: Uid(1000), started: at(started), is_ordered: true }
}

/// In a log that was last modified at 30.
fn pending(detail: &str, at: Option<SystemTime>) -> JobReceived {
    JobReceived::Pending { detail: detail.into(), at, written: Some(self::at(30)) }
}

type Change = fn(&mut HostFacts);

/// What is changed, the first runner's resulting state, its evidence, and the second runner's resulting state.
#[test]
fn every_kind_of_evidence_names_its_runner() {
    use EvidenceKind as Kind;
    use Liveness::{Busy, Idle, Unknown};
    let cases: Vec<(&str, Change, Liveness, Option<Kind>, Liveness)> = vec![
        ("nothing", |_| {}, Idle, None, Idle),
        (
            "its Worker",
            |f| f.processes.workers.push(worker(7, Attribution::Runner(0))),
            Busy,
            Some(Kind::WorkerProcess),
            Idle,
        ),
        (
            "a Worker of nobody knows whom",
            |f| f.processes.workers.push(worker(7, Attribution::Unattributed("hidden".into()))),
            Unknown,
            Some(Kind::UnattributedWorker),
            Unknown,
        ),
        (
            "a Worker of a runner elsewhere",
            |f| f.processes.workers.push(worker(7, Attribution::Elsewhere("/opt/x".into()))),
            Idle,
            None,
            Idle,
        ),
        ("a live lease", |f| f.leases.push(lease_of(1, 7, LeaseState::Live)), Busy, Some(Kind::Lease), Idle),
        ("a dead lease", |f| f.leases.push(lease_of(1, 7, LeaseState::Dead)), Idle, None, Idle),
        (
            "a lease that cannot be judged",
            |f| f.leases.push(lease_of(1, 7, LeaseState::CannotTell("x".into()))),
            Unknown,
            Some(Kind::Lease),
            Idle,
        ),
        (
            "a lease by the shared work directory",
            |f| {
                let mut seen = lease_of(99, 7, LeaseState::Live);
                seen.lease.as_mut().unwrap().work_id = Some(FileId { dev: 1, ino: 101 });
                f.leases.push(seen);
            },
            Busy,
            Some(Kind::Lease),
            Idle,
        ),
        (
            "garbage in the lease directory",
            |f| {
                let state = LeaseState::CannotTell("garbage".into());
                f.leases.push(LeaseSeen { root: None, lease: None, ..lease_of(1, 7, state) });
            },
            Unknown,
            Some(Kind::Lease),
            Unknown,
        ),
        (
            "a process inside",
            |f| f.processes.holders.push(holder(7, "/srv/actions-runner-1/_work/r")),
            Busy,
            Some(Kind::ProcessInside),
            Idle,
        ),
        (
            "a mount",
            |f| {
                f.processes.mounts.push(MountSeen {
                    is_of_host: false,
                    runner: 0,
                    process: process(7),
                    comm: "sh".into(),
                    mount_point: "/__w".into(),
                    inside: "/srv/actions-runner-1/_work".into(),
                });
            },
            Busy,
            Some(Kind::MountInside),
            Idle,
        ),
        (
            "a build lock",
            |f| {
                f.runners[0].locks.push(ForeignLock {
                    cache: "/c".into(),
                    kind: LockKind::Build,
                    state: LockState::Held,
                    file: "/c/l".into(),
                });
            },
            Busy,
            Some(Kind::BuildLock),
            Idle,
        ),
        (
            "a directory lock that cannot be tried",
            |f| {
                f.runners[0].locks.push(ForeignLock {
                    cache: "/c".into(),
                    kind: LockKind::Directory,
                    state: LockState::CannotTell("x".into()),
                    file: "/c".into(),
                });
            },
            Unknown,
            Some(Kind::DirectoryLock),
            Idle,
        ),
        (
            "a job received by a live Listener",
            |f| {
                f.processes.listeners.push(listener(10));
                f.runners[0].received = pending("Running job: x", Some(at(20)));
            },
            Busy,
            Some(Kind::JobReceived),
            Idle,
        ),
        (
            "a job received by a Listener that is gone",
            |f| f.runners[0].received = pending("x", Some(at(20))),
            Idle,
            None,
            Idle,
        ),
        (
            "a job received by a Listener whose start is known to two seconds",
            |f| {
                f.processes.listeners.push(listener(22));
                f.runners[0].received = pending("x", Some(at(20)));
            },
            Busy,
            Some(Kind::JobReceived),
            Idle,
        ),
        (
            "a job received before the Listener was restarted",
            |f| {
                f.processes.listeners.push(listener(500));
                f.runners[0].received = pending("x", Some(at(20)));
            },
            Idle,
            None,
            Idle,
        ),
        (
            "a job by the old time of a line, in a log that is younger than its Listener: the clock was set",
            |f| {
                f.processes.listeners.push(listener(500));
                f.runners[0].received =
                    JobReceived::Pending { detail: "x".into(), at: Some(at(20)), written: Some(at(501)) };
            },
            Unknown,
            Some(Kind::JobReceived),
            Idle,
        ),
        (
            "a job received before a Listener whose start cannot be put in order",
            |f| {
                f.processes.listeners.push(ListenerSeen { is_ordered: false, ..listener(500) });
                f.runners[0].received = pending("x", Some(at(20)));
            },
            Unknown,
            Some(Kind::JobReceived),
            Idle,
        ),
        (
            "a job received, by two Listeners, of which one was started since",
            |f| {
                f.processes.listeners.extend([listener(500), listener(10)]);
                f.runners[0].received = pending("x", Some(at(20)));
            },
            Busy,
            Some(Kind::JobReceived),
            Idle,
        ),
        (
            "a job received by nobody here, in a directory that hosts share",
            |f| {
                f.runners[0].other_hosts = Some("on nfs4".into());
                f.runners[0].received = pending("x", Some(at(20)));
            },
            Busy,
            Some(Kind::JobReceived),
            Idle,
        ),
        (
            "a directory that hosts share",
            |f| f.runners[0].other_hosts = Some("on nfs4".into()),
            Unknown,
            Some(Kind::Visibility),
            Idle,
        ),
        (
            "a Worker by name alone, of a user who owns no runner",
            |f| f.processes.workers.push(bystander()),
            Idle,
            None,
            Idle,
        ),
        (
            "the same, of a member of the group",
            |f| {
                let reach = WorkerReach { is_member: true, ..bystander().reach };
                f.processes.workers.push(WorkerSeen { reach, ..bystander() });
            },
            Unknown,
            Some(Kind::UnattributedWorker),
            Unknown,
        ),
        (
            "the same, of which not all is seen",
            |f| f.processes.workers.push(WorkerSeen { reach: WorkerReach::default(), ..bystander() }),
            Unknown,
            Some(Kind::UnattributedWorker),
            Unknown,
        ),
        (
            "the same, that reaches the second one's work directory",
            |f| {
                let reach = WorkerReach { runners: vec![1], ..bystander().reach };
                f.processes.workers.push(WorkerSeen { reach, ..bystander() });
            },
            Idle,
            None,
            Unknown,
        ),
        (
            "the same, of root",
            |f| f.processes.workers.push(WorkerSeen { owner: Uid::ROOT, ..bystander() }),
            Unknown,
            Some(Kind::UnattributedWorker),
            Unknown,
        ),
        (
            "the same, of a runner's owner",
            |f| f.processes.workers.push(WorkerSeen { owner: Uid(1000), ..bystander() }),
            Unknown,
            Some(Kind::UnattributedWorker),
            Unknown,
        ),
        (
            "a Listener's log that cannot be read",
            |f| f.runners[0].received = JobReceived::CannotTell("EIO".into()),
            Unknown,
            Some(Kind::JobReceived),
            Idle,
        ),
        (
            "no hook: idle, and not to be claimed",
            |f| f.runners[0].guarded = Guarded::No("no .env".into()),
            Idle,
            Some(Kind::Unguarded),
            Idle,
        ),
        (
            "hidden processes",
            |f| f.processes.visibility = Visibility::Partial(vec!["hidepid".into()]),
            Unknown,
            Some(Kind::Visibility),
            Unknown,
        ),
        (
            "a work directory that cannot be placed",
            |f| f.processes.unlocated.push(Unlocated { runner: 0, reason: "x".into() }),
            Unknown,
            Some(Kind::Visibility),
            Idle,
        ),
        (
            "a work directory that must not be worked in",
            |f| f.runners[0].runner.work = Work::Unusable { path: "/".into(), reason: "root".into() },
            Unknown,
            Some(Kind::Visibility),
            // It contains the other one.
            Unknown,
        ),
    ];
    for (what, change, first, kind, second) in cases {
        let mut facts = quiet();
        change(&mut facts);
        let evidence = evidence(&facts, Exempt::default());
        assert_eq!(judge(&evidence[0]), first, "{what}: {:?}", evidence[0]);
        assert_eq!(evidence[0].iter().map(|e| e.kind).next(), kind, "{what}");
        assert_eq!(judge(&evidence[1]), second, "{what}: {:?}", evidence[1]);
    }
}

#[test]
fn runners_that_share_a_work_directory_share_their_evidence() {
    let mut facts = quiet();
    facts.runners[1].runner.work = facts.runners[0].runner.work.clone();
    facts.processes.workers.push(worker(7, Attribution::Runner(0)));
    let evidence = evidence(&facts, Exempt::default());
    assert_eq!(judge(&evidence[1]), Liveness::Busy);
    assert_eq!(evidence[0], evidence[1]);
}

#[test]
fn a_hooks_own_job_does_not_protect_from_it_and_a_second_worker_does() {
    let mut facts = quiet();
    facts.processes.workers.push(worker(7, Attribution::Runner(0)));
    facts.processes.listeners.push(listener(10));
    facts.runners[0].received = pending("x", Some(at(20)));
    facts.processes.holders.push(holder(8, "/srv/actions-runner-1/_work/r/r"));
    facts.leases.push(lease_of(1, 7, LeaseState::Live));
    let lineage = [process(8), process(7), process(50)];
    assert!(evidence(&facts, Exempt { lineage: &lineage })[0].is_empty());
    facts.processes.workers.push(worker(9, Attribution::Runner(0)));
    assert_eq!(judge(&evidence(&facts, Exempt { lineage: &lineage })[0]), Liveness::Busy);
}

#[test]
fn a_reused_pid_is_a_stranger_and_a_child_of_the_hooks_worker_is_none() {
    let mut facts = quiet();
    let lineage = [process(8), process(7), process(50)];
    let own = |facts: &HostFacts| judge(&evidence(facts, Exempt { lineage: &lineage })[0]);
    let child = Holder { under: Some(process(7)), ..holder(70, "/srv/actions-runner-1/_work/r/r") };
    facts.processes.holders.push(child.clone());
    assert_eq!(own(&facts), Liveness::Idle, "of the hook's own job");
    let other = ProcessId { start: StartTime(9), ..process(7) };
    facts.processes.holders[0] = Holder { under: Some(other), ..child.clone() };
    assert_eq!(own(&facts), Liveness::Busy, "of a later Worker of the same pid");
    facts.processes.holders[0] =
        Holder { process: ProcessId { start: StartTime(9), ..process(8) }, under: None, ..child };
    assert_eq!(own(&facts), Liveness::Busy, "a later process of the hook's pid");
    facts.processes.holders.clear();
    facts.processes.workers.push(WorkerSeen { process: other, ..worker(7, Attribution::Runner(0)) });
    assert_eq!(own(&facts), Liveness::Busy, "a later Worker of the same pid");
    facts.processes.workers.clear();
    let mut lease = lease_of(1, 7, LeaseState::Live);
    lease.lease.as_mut().unwrap().worker = other;
    facts.leases.push(lease);
    assert_eq!(own(&facts), Liveness::Busy, "a later Worker's lease");
}

#[test]
fn the_hooks_own_job_excuses_no_other_listener() {
    let mut facts = quiet();
    facts.processes.listeners.push(listener(10));
    facts.runners[0].received = pending("x", Some(at(20)));
    let lineage = [process(50)];
    assert!(evidence(&facts, Exempt { lineage: &lineage })[0].is_empty(), "the control");
    facts.processes.listeners.push(ListenerSeen { process: process(51), ..listener(12) });
    assert_eq!(judge(&evidence(&facts, Exempt { lineage: &lineage })[0]), Liveness::Busy);
}

/// Where a Worker that belongs to no known runner could be at work, the evidence reports it: it counts for the hook there as well.
#[test]
fn a_worker_of_an_unknown_runner_protects_the_work_directories_it_could_be_in() {
    let mut facts = quiet();
    facts.runners[0].runner.owner = Uid(1001);
    facts.runners[1].runner.owner = Uid(1002);
    for index in 0..2 {
        let Work::Present(work) = &mut facts.runners[index].runner.work else { unreachable!() };
        work.owner = Uid(1001 + index as u32);
    }
    for (owner, reach, near) in [
        (Uid(1001), vec![], [true, false]),
        (Uid(1002), vec![], [false, true]),
        (Uid(1003), vec![], [false, false]),
        (Uid(1003), vec![1], [false, true]),
        (Uid::ROOT, vec![], [true, true]),
    ] {
        let seen = worker(7, Attribution::Unattributed("x".into()));
        let reach = WorkerReach { runners: reach, ..WorkerReach::default() };
        facts.processes.workers = vec![WorkerSeen { owner, reach, ..seen }];
        let found = evidence(&facts, Exempt::default());
        let told: Vec<bool> = found.iter().map(|evidence| evidence[0].within.is_some()).collect();
        assert_eq!(told, near, "{owner}");
        assert!(found.iter().all(|evidence| evidence.len() == 1), "told once: {found:?}");
    }
}

/// A hook cannot read which runner another user's Worker belongs to. That user's own lease proves that it is one of that user's runners,
/// but not which one: any of the user's jobs could have written it.
#[test]
fn a_worker_that_its_own_user_vouches_for_is_not_unattributed() {
    let mut facts = quiet();
    facts.runners.push(runner(11));
    facts.runners[1].runner.owner = Uid(2000);
    facts.processes.workers.push(worker(7, Attribution::Unattributed("hidden".into())));
    facts.leases.push(lease_of(1, 7, LeaseState::Live));
    let found = evidence(&facts, Exempt::default());
    let liveness: Vec<Liveness> = found.iter().map(|evidence| judge(evidence)).collect();
    assert_eq!(liveness, [Liveness::Busy, Liveness::Idle, Liveness::Unknown]);
    facts.leases[0].owner = Uid(4);
    assert_eq!(
        judge(&evidence(&facts, Exempt::default())[1]),
        Liveness::Unknown,
        "another user's word counts nothing"
    );
}

#[test]
fn a_path_held_in_another_mount_namespace_may_be_anywhere() {
    let mut facts = quiet();
    facts.processes.holders.push(holder(7, "/__w/r/r/target"));
    facts.processes.holders.push(holder(8, "/srv/actions-runner-1/_work/r/r/target"));
    let within: Vec<Option<PathBuf>> =
        evidence(&facts, Exempt::default())[0].iter().map(|e| e.within.clone()).collect();
    assert_eq!(within, [None, Some("/srv/actions-runner-1/_work/r/r/target".into())]);
}

/// A lease that is empty and has no runner's name concerns every runner of its writer.
#[test]
fn an_unreadable_lease_protects_every_runner_of_its_writer() {
    for (writer, expected) in [
        (0, [Liveness::Unknown, Liveness::Unknown]),
        (1000, [Liveness::Unknown, Liveness::Idle]),
        (2000, [Liveness::Idle, Liveness::Unknown]),
        (3000, [Liveness::Idle, Liveness::Idle]),
    ] {
        let mut facts = quiet();
        facts.runners[1].runner.owner = Uid(2000);
        let state = LeaseState::CannotTell("garbage".into());
        facts.leases.push(LeaseSeen { file: "x".into(), owner: Uid(writer), root: None, lease: None, state });
        let found = evidence(&facts, Exempt::default());
        assert_eq!([judge(&found[0]), judge(&found[1])], expected, "by uid {writer}");
    }
}

/// One additional observation about a runner.
fn any_sight() -> impl Strategy<Value = (usize, u8)> {
    (0usize..2, 0u8..14)
}

fn see(facts: &mut HostFacts, (index, what): (usize, u8)) {
    let number = [1, 10][index];
    let work = format!("/srv/actions-runner-{number}/_work");
    let lock =
        |kind, state| ForeignLock { cache: work.clone().into(), kind, state, file: work.clone().into() };
    match what {
        0 => facts.processes.workers.push(worker(7, Attribution::Runner(index))),
        1 => facts.processes.workers.push(worker(8, Attribution::Unattributed("hidden".into()))),
        2 => facts.processes.workers.push(worker(9, Attribution::Elsewhere("/opt/x".into()))),
        3 => facts.leases.push(lease_of(number, 7, LeaseState::Live)),
        4 => facts.leases.push(lease_of(number, 8, LeaseState::Live)),
        5 => facts.leases.push(lease_of(number, 7, LeaseState::Dead)),
        6 => facts.leases.push(lease_of(number, 7, LeaseState::CannotTell("x".into()))),
        7 => facts.processes.holders.push(Holder { runner: index, ..holder(60, &work) }),
        8 => facts.processes.unlocated.push(Unlocated { runner: index, reason: "x".into() }),
        9 => facts.processes.visibility = Visibility::Partial(vec!["hidepid".into()]),
        10 => facts.processes.listeners.push(ListenerSeen { runner: index, ..listener(40) }),
        11 => facts.runners[index].locks.push(lock(LockKind::Build, LockState::Held)),
        12 => facts.runners[index].locks.push(lock(LockKind::Directory, LockState::CannotTell("x".into()))),
        _ => facts.runners[index].received = pending("x", None),
    }
}

fn rank(liveness: Liveness) -> u8 {
    match liveness {
        Liveness::Idle => 0,
        Liveness::Unknown => 1,
        Liveness::Busy => 2,
    }
}

proptest! {
    /// An additional observation never makes a runner look less alive, and existing evidence remains.
    #[test]
    fn seeing_more_never_makes_a_runner_idle(sights in proptest::collection::vec(any_sight(), 0..5), one_more in any_sight()) {
        let mut facts = quiet();
        sights.into_iter().for_each(|sight| see(&mut facts, sight));
        let before = evidence(&facts, Exempt::default());
        see(&mut facts, one_more);
        let after = evidence(&facts, Exempt::default());
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(rank(judge(after)) >= rank(judge(before)), "{:?} became {:?}", before, after);
            // A job that a Listener may have received is certain once a Listener is seen that could start it.
            let was = before.iter().filter(|e| e.kind != EvidenceKind::JobReceived);
            prop_assert!(was.into_iter().all(|e| after.contains(e)), "{:?} lost some in {:?}", before, after);
        }
    }
}
