use super::*;
use crate::sys::testing::{in_private_mounts, is_root, mount_small, take_all_inodes};
use std::path::Path;

fn view(proc: &Proc) -> LeaseView<'_> {
    LeaseView { proc, sees_all: |_| false, now: UNIX_EPOCH }
}

fn sample(proc: &Proc, worker: ProcessId) -> Lease {
    Lease {
        worker,
        boot_id: proc.boot_id().unwrap(),
        pid_namespace: proc.pid_namespace().unwrap(),
        root: "/srv/actions-runner-1".into(),
        root_id: FileId { dev: 10, ino: 77 },
        work_id: Some(FileId { dev: 10, ino: 78 }),
        job: Job { repository: "o/r".into(), run_id: "5".into(), job: "build".into() },
        since: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        reserved: Some(Reservation {
            bytes: 7 << 30,
            deviation: 1 << 30,
            basis: Basis::History,
            directory: Some("r".into()),
        }),
    }
}

/// A lease ends with its Worker, with its boot, and when its pid belongs to another process.
#[test]
fn a_lease_lives_exactly_as_long_as_its_worker() {
    let temp = tempfile::tempdir().unwrap();
    let run = RunDir::open(temp.path()).unwrap();
    let proc = Proc::new(Path::new("/proc"));
    let mut worker = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let id = proc.identify(Pid(worker.id() as i32)).unwrap().id;

    let live = sample(&proc, id);
    write(&run, &live).unwrap();
    write(&run, &Lease { boot_id: "another".into(), root_id: FileId { dev: 1, ino: 1 }, ..live.clone() })
        .unwrap();
    let reused = ProcessId { start: StartTime(id.start.0 + 1), ..id };
    write(&run, &sample(&proc, reused)).unwrap();
    write(&run, &Lease { pid_namespace: 1, root_id: FileId { dev: 2, ino: 2 }, ..live.clone() }).unwrap();
    run.publish(Records::Leases, "a-b-1-2", b"{garbage").unwrap();

    assert!(!has_annotation(&run, live.root_id, id));
    note_annotation(&run, live.root_id, id);
    assert!(has_annotation(&run, live.root_id, id) && !has_annotation(&run, live.root_id, reused));

    let states = |seen: &[LeaseSeen]| {
        let count = |wanted: fn(&LeaseState) -> bool| seen.iter().filter(|s| wanted(&s.state)).count();
        (
            count(|s| *s == LeaseState::Live),
            count(|s| *s == LeaseState::Dead),
            count(|s| matches!(s, LeaseState::CannotTell(_))),
        )
    };
    let seen = read_all(&run, view(&proc)).unwrap();
    assert_eq!(states(&seen), (1, 2, 2));
    assert_eq!(seen.iter().find(|s| s.state == LeaseState::Live).unwrap().lease.as_ref().unwrap(), &live);

    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(states(&read_all(&run, view(&proc)).unwrap()), (0, 3, 2));
    assert_eq!(remove_dead(&run, view(&proc)).unwrap(), 3);
    assert_eq!(states(&read_all(&run, view(&proc)).unwrap()), (0, 0, 2), "what cannot be judged stays");
}

/// Who sees all processes sees that the Worker in the name of a broken lease is gone; anything less keeps the lease.
#[test]
fn a_broken_lease_ends_when_the_worker_in_its_name_is_certainly_gone() {
    let temp = tempfile::tempdir().unwrap();
    let run = RunDir::open(temp.path()).unwrap();
    let proc = Proc::new(Path::new("/proc"));
    let me = proc.identify(Pid(std::process::id() as i32)).unwrap().id;
    let root = FileId { dev: 10, ino: 77 };
    let gone = ProcessId { pid: Pid(i32::MAX), start: StartTime(5) };
    let reused = ProcessId { start: StartTime(me.start.0 + 1), ..me };
    let dead = [file_name(root, gone), file_name(root, reused)];
    let kept = [file_name(root, me), "a-4d-2147483647-05".into(), "a-4d-x-5".into(), "garbage".into()];
    for (number, name) in dead.iter().chain(&kept).enumerate() {
        let broken = [&b""[..], b"{garbage", b"{\"worker_pid\":1}"][number % 3];
        run.publish(Records::Leases, name, broken).unwrap();
    }
    assert_eq!(remove_dead(&run, view(&proc)).unwrap(), 0, "not all processes are visible");
    assert_eq!(remove_dead(&run, LeaseView { sees_all: |_| true, ..view(&proc) }).unwrap(), 2);
    assert!(dead.iter().all(|name| !run.holds(Records::Leases, name)));
    assert!(kept.iter().all(|name| run.holds(Records::Leases, name)));
}

/// Claims look at all processes again when they see that a job has begun since their look.
#[test]
fn a_lease_that_cannot_be_left_shows_all_the_same() {
    if !is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    in_private_mounts(|| {
        mount_small(temp.path());
        let run = RunDir::open(temp.path()).unwrap();
        run.prepare(Records::Leases).unwrap();
        let proc = Proc::new(Path::new("/proc"));
        let lease = sample(&proc, proc.identify(Pid(std::process::id() as i32)).unwrap().id);
        take_all_inodes(temp.path());
        let before = run.roll(Records::Leases).unwrap();
        // The clock of files has ticks.
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(run.roll(Records::Leases).unwrap(), before, "the control: nothing has happened");
        write(&run, &lease).unwrap_err();
        let after = run.roll(Records::Leases).unwrap();
        assert!(after.0 > before.0 && after.1 == before.1, "{before:?} {after:?}");
    });
}

#[test]
fn a_reservation_is_no_path_and_an_older_guards_lease_has_none() {
    let temp = tempfile::tempdir().unwrap();
    let _run = RunDir::open(temp.path()).unwrap();
    let proc = Proc::new(Path::new("/proc"));
    let me = proc.identify(Pid(std::process::id() as i32)).unwrap().id;
    let lease = sample(&proc, me);
    assert_eq!(understand(&text(&lease)).unwrap(), lease);
    let with = |field: &str, value: serde_json::Value| {
        let mut written: serde_json::Value = serde_json::from_slice(&text(&lease)).unwrap();
        written[field] = value;
        understand(written.to_string().as_bytes()).map(|lease| lease.reserved)
    };
    for hostile in ["../x", "/etc", "a/b", ".git", "_temp", ""] {
        let reserved = with("directory", hostile.into()).unwrap().unwrap();
        assert_eq!(reserved.directory, None, "{hostile}");
    }
    assert_eq!(with("reserved_bytes", serde_json::Value::Null).unwrap(), None);
    assert_eq!(with("reserved_by", "x".into()).unwrap().unwrap().basis, Basis::Unknown);
    assert!(with("reserved_bytes", "much".into()).is_err(), "what cannot be understood protects");
}

#[test]
fn a_lease_that_is_ended_is_gone_and_no_other_is() {
    let temp = tempfile::tempdir().unwrap();
    let run = RunDir::open(temp.path()).unwrap();
    let proc = Proc::new(Path::new("/proc"));
    let me = proc.identify(Pid(std::process::id() as i32)).unwrap().id;
    let one = sample(&proc, me);
    let other = Lease { root_id: FileId { dev: 10, ino: 78 }, ..one.clone() };
    write(&run, &one).unwrap();
    write(&run, &other).unwrap();
    end(&run, one.root_id, me).unwrap();
    let left: Vec<Option<Lease>> =
        read_all(&run, view(&proc)).unwrap().into_iter().map(|seen| seen.lease).collect();
    assert_eq!(left, [Some(other)]);
}

#[test]
fn the_name_identifies_the_root() {
    let worker = ProcessId { pid: Pid(4), start: StartTime(9) };
    let root = FileId { dev: 0xfe01, ino: 0xabc };
    assert_eq!(root_of_name(&file_name(root, worker)), Some(root));
    assert_eq!(root_of_name("what ever"), None);
}

#[test]
fn a_lease_of_another_pid_namespace_ends_with_its_worker_where_all_are_seen() {
    let temp = tempfile::tempdir().unwrap();
    let run = RunDir::open(temp.path()).unwrap();
    let proc = Proc::new(Path::new("/proc"));
    let me = proc.identify(Pid(std::process::id() as i32)).unwrap().id;
    let gone = ProcessId { start: StartTime(me.start.0 + 1), ..me };
    write(&run, &Lease { pid_namespace: 1, ..sample(&proc, me) }).unwrap();
    write(&run, &Lease { pid_namespace: 1, ..sample(&proc, gone) }).unwrap();
    let dead = |sees_all| {
        let seen = read_all(&run, LeaseView { sees_all, ..view(&proc) }).unwrap();
        seen.iter().filter(|seen| seen.state == LeaseState::Dead).count()
    };
    assert_eq!((dead(|_| false), dead(|_| true)), (0, 1));
}

#[test]
fn an_undecidable_lease_ends_after_the_longest_possible_job() {
    let temp = tempfile::tempdir().unwrap();
    let run = RunDir::open(temp.path()).unwrap();
    let proc = Proc::new(Path::new("/proc"));
    run.publish(Records::Leases, "a-b-1-2", b"{garbage").unwrap();
    let record = || run.read_all(Records::Leases).unwrap().remove(0);
    let written = record().changed.unwrap();
    let state = |days: u32, uptime_days: u32| {
        let now = written + Duration::from_secs(86_400) * days;
        let mut here = Here::at(LeaseView { now, ..view(&proc) });
        here.uptime = Duration::from_secs(86_400) * uptime_days;
        judge(record(), &here).state
    };
    assert_eq!(state(7, 30), LeaseState::Dead);
    assert!(matches!(state(5, 30), LeaseState::CannotTell(_)), "a job may take that long");
    assert!(matches!(state(300, 2), LeaseState::CannotTell(_)), "the wall clock was put forward");
    let me = proc.identify(Pid(std::process::id() as i32)).unwrap().id;
    let live = sample(&proc, me);
    let here = Here::at(LeaseView { now: written + 2 * LONGEST_JOB, ..view(&proc) });
    assert_eq!(state_of(&live, &here), LeaseState::Live, "a Worker that is seen has no such end");
}

#[test]
fn each_live_worker_keeps_one_lease() {
    let temp = tempfile::tempdir().unwrap();
    let run = RunDir::open(temp.path()).unwrap();
    let proc = Proc::new(Path::new("/proc"));
    let me = proc.identify(Pid(std::process::id() as i32)).unwrap().id;
    let one = sample(&proc, me);
    let other = Lease { root_id: FileId { dev: 10, ino: 78 }, ..one.clone() };
    write(&run, &one).unwrap();
    write(&run, &other).unwrap();
    run.publish(Records::Leases, "1-1-1-1", &text(&one)).unwrap();
    let mut seen = HashSet::new();
    let mut is_live = |name: &str| is_live(&run, view(&proc), OsStr::new(name), &mut seen);
    assert!(!is_live("1-1-1-1"), "under another's name");
    assert!(is_live(&file_name(one.root_id, me)));
    assert!(!is_live(&file_name(other.root_id, me)), "its second one");
}
