use crate::counters::record::{self, Parsed};
use crate::lease::{file_name, root_of_name, text, understand};
use crate::model::{
    Attribution, FileId, FilesystemId, Guarded, HostFacts, JobReceived, Lease, LeaseSeen, LeaseState,
    Liveness, Pid, ProcessId, Runner, RunnerFacts, StartTime, Uid, Visibility, Work, WorkDir, WorkerReach,
    WorkerSeen,
};
use crate::policy::liveness::{Exempt, evidence, judge};
use crate::run_dir::MAX_RECORD_BYTES;
use crate::tickets;
use std::path::Component;
use std::time::SystemTime;

/// A lease: a lease that is written is read back equal, its name identifies its root, and no lease makes its writer's runner idle.
pub fn lease(bytes: &[u8]) {
    let (choices, content) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
    let understood = understand(content);
    if let Ok(lease) = &understood {
        assert_eq!(understand(&text(lease)).ok().as_ref(), Some(lease));
        let name = file_name(lease.root_id, lease.worker);
        assert_eq!(root_of_name(&name), Some(lease.root_id), "{name}");
    }
    let name = String::from_utf8_lossy(content);
    forged(choices, root_of_name(&name), understood.ok());
}

/// A Worker that belongs to no known runner.
const WORKER: ProcessId = ProcessId { pid: Pid(7), start: StartTime(1) };
const USERS: [u32; 2] = [1000, 1001];

/// Adds a lease to every kind of facts, and compares the states of each runner without and with it.
fn forged(choices: u8, root: Option<FileId>, lease: Option<Lease>) {
    let choice = |bit: u8| choices >> bit & 1 == 1;
    let writer = Uid(USERS[usize::from(choice(0))]);
    let state = match (choice(1), choice(2)) {
        (true, _) if lease.is_some() => LeaseState::Live,
        (_, true) if lease.is_some() => LeaseState::Dead,
        _ => LeaseState::CannotTell("forged".into()),
    };
    let root = lease.as_ref().map(|lease| lease.root_id).or(root);
    let before =
        host(Sketch { has_stranger: choice(3), is_of_second_user: choice(4), is_partial: choice(5) });
    let mut after = before.clone();
    after.leases.push(LeaseSeen { file: "forged".into(), owner: writer, root, lease, state });

    let liveness = |facts: &HostFacts| -> Vec<Liveness> {
        evidence(facts, Exempt::default()).iter().map(|evidence| judge(evidence)).collect()
    };
    let stranger =
        before.processes.workers.iter().find(|worker| worker.process == WORKER).map(|worker| worker.owner);
    for ((runner, before), after) in before.runners.iter().zip(liveness(&before)).zip(liveness(&after)) {
        // A lease can only explain a Worker of its writer's own, and such a Worker is not another user's.
        if runner.runner.owner == writer || stranger != Some(writer) {
            assert!(rank(after) >= rank(before), "{}: {before:?} became {after:?}", runner.runner.name);
        } else {
            assert!(before != Liveness::Busy || after == Liveness::Busy);
        }
    }
}

fn rank(liveness: Liveness) -> u8 {
    match liveness {
        Liveness::Idle => 0,
        Liveness::Unknown => 1,
        Liveness::Busy => 2,
    }
}

/// What varies between hosts.
struct Sketch {
    /// A Worker runs that belongs to no known runner.
    has_stranger: bool,
    /// It runs as the second user.
    is_of_second_user: bool,
    /// Not all processes are visible.
    is_partial: bool,
}

/// Four runners of two users.
fn host(sketch: Sketch) -> HostFacts {
    let owner = Uid(USERS[usize::from(sketch.is_of_second_user)]);
    let stranger = WorkerSeen {
        process: WORKER,
        owner,
        attribution: Attribution::Unattributed("hidden".into()),
        reach: WorkerReach::default(),
    };
    let mut facts = HostFacts::quiet(SystemTime::UNIX_EPOCH, (1..=4).map(runner).collect());
    facts.processes.workers = sketch.has_stranger.then_some(stranger).into_iter().collect();
    if sketch.is_partial {
        facts.processes.visibility = Visibility::Partial(vec!["hidepid".into()]);
    }
    facts
}

fn runner(number: u64) -> RunnerFacts {
    let root = std::path::PathBuf::from(format!("/srv/actions-runner-{number}"));
    let owner = Uid(USERS[number as usize % 2]);
    let filesystem = FilesystemId { major: 8, minor: 1 };
    let work =
        WorkDir { path: root.join("_work"), id: FileId { dev: 1, ino: 100 + number }, owner, filesystem };
    let name = format!("runner-{number}");
    RunnerFacts {
        runner: Runner {
            name,
            root,
            root_id: FileId { dev: 1, ino: number },
            owner,
            work: Work::Present(work),
        },
        guarded: Guarded::Yes,
        other_hosts: None,
        received: JobReceived::No,
        caches: Vec::new(),
        locks: Vec::new(),
        leftovers: Vec::new(),
    }
}

/// A ticket names a bounded number of places, all below a work directory.
pub fn ticket(bytes: &[u8]) {
    let asked = tickets::understand(bytes);
    assert!(asked.len() <= 64);
    for path in &asked {
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{}", path.display());
    }
    let written = tickets::text(&asked);
    assert!(written.len() as u64 <= MAX_RECORD_BYTES);
    let again = tickets::understand(&written);
    assert!(again.is_subset(&asked));
    let length: usize = asked.iter().map(|path| 6 * path.as_os_str().len() + 8).sum();
    assert!(length as u64 > MAX_RECORD_BYTES - 256 || again == asked, "there was room for all");
}

/// A run's counts: a record is one line and is read back equal; a line without its end is not read; labels are bounded.
pub fn count_record(bytes: &[u8]) {
    let tally = match record::parse(bytes) {
        Parsed::Tally(tally) => tally,
        Parsed::Unfinished => {
            assert!(!bytes.ends_with(b"\n"));
            return;
        }
        Parsed::Junk => return,
    };
    assert!(tally.counts.len() + tally.timings.len() <= bytes.len());
    for (counter, labels) in tally.counts.keys() {
        assert_eq!(labels.len(), counter.labels().len());
        assert!(labels.iter().all(|label| label.chars().count() <= 128));
    }
    let line = record::write(&tally);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(record::parse(&line), Parsed::Tally(tally));
    assert_eq!(record::parse(&line[..line.len() - 1]), Parsed::Unfinished);
}
