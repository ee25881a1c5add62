//! The second half of goal 8: a host of 200 runners with 20 caches each is judged and planned from remembered facts. Nothing
//! here asks the system for anything but the time.
//!
//! `cargo bench --bench plan [-- RUNNERS CACHES]`.

use disk_guard::config::Config;
use disk_guard::model::{
    Attribution, Cache, Coverage, FileId, Filesystem, FilesystemId, Guarded, HostFacts, Job, JobReceived,
    Lease, LeaseSeen, LeaseState, ListenerSeen, Measure, Pid, ProcessFacts, ProcessId, Runner, RunnerFacts,
    StartTime, Uid, Usage, Visibility, Work, WorkDir, WorkerSeen,
};
use disk_guard::policy::plan::{self, Actor, OutOfReach, PlanInput};
use disk_guard::policy::protection::Rules;
use disk_guard::policy::{liveness, pressure};
use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 15;
const DISK: FilesystemId = FilesystemId { major: 8, minor: 1 };
const GIB: u64 = 1 << 30;
const GOAL: Duration = Duration::from_secs(1);

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let (runners, caches) = (numbers.next().unwrap_or(200), numbers.next().unwrap_or(20));
    let facts = facts(runners, caches);
    let config = Config::default();
    let rules = Rules {
        claim: config.siblings.claim,
        idle_floor: config.siblings.idle_floor,
        allow_unguarded: false,
        acting_as: Uid::ROOT,
        now: facts.now,
    };
    let needs = [(DISK, pressure::need(&facts.filesystems[0].usage, &config.watermarks))];
    println!("{runners} runners with {caches} caches each, every fourth busy, medians of {ROUNDS}");
    let mut whole = Duration::ZERO;
    let mut line = |what: &str, took: Duration| {
        println!("{what:<44} {:>9.2} ms", took.as_secs_f64() * 1e3);
        whole += took;
    };
    let evidence = liveness::evidence(&facts, liveness::Exempt::default());
    line("evidence", median(|| drop(liveness::evidence(&facts, liveness::Exempt::default()))));
    for (what, actor) in [
        ("plan of a sweep", Actor::Sweep),
        ("plan of a hook", Actor::Hook { own: runners / 2, job_directory: None }),
    ] {
        let input = PlanInput {
            actor: &actor,
            rules: &rules,
            cache_rules: &config.caches,
            needs: &needs,
            out_of_reach: OutOfReach::TakeAll,
            for_jobs: &[],
            dealt_with: &HashSet::new(),
        };
        let plan = plan::make(&facts, &evidence, &input);
        assert!(plan.removals().count() > 0, "something goes");
        assert!(plan.actions.len() == runners * caches, "everything is told");
        line(what, median(|| drop(plan::make(&facts, &evidence, &input))));
    }
    println!("goal: under a second");
    assert!(whole < GOAL, "{whole:?}");
}

fn median(mut work: impl FnMut()) -> Duration {
    let time = |()| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    };
    let mut times: Vec<Duration> = std::iter::repeat_n((), ROUNDS).map(time).collect();
    times.sort();
    times[times.len() / 2]
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn facts(runners: usize, caches: usize) -> HostFacts {
    let busy = (0..runners).filter(|number| number % 4 == 0);
    let usage = Usage {
        total_bytes: 4_000 * GIB,
        used_bytes: 3_800 * GIB,
        available_bytes: 200 * GIB,
        inodes_total: 1 << 28,
        inodes_free: 1 << 27,
    };
    let processes = ProcessFacts {
        visibility: Visibility::Complete,
        workers: busy.clone().map(worker).collect(),
        listeners: (0..runners)
            .map(|runner| ListenerSeen {
                process: process(100_000 + runner),
                runner,
                owner: Uid(1000),
                started: UNIX_EPOCH,
                is_ordered: true,
            })
            .collect(),
        strangers: Vec::new(),
        binds: Vec::new(),
        holders: Vec::new(),
        mounts: Vec::new(),
        unlocated: Vec::new(),
    };
    HostFacts {
        now: now(),
        runners: (0..runners).map(|number| runner(number, caches)).collect(),
        declared: Vec::new(),
        processes,
        leases: busy.map(lease).collect(),
        turn: Default::default(),
        filesystems: vec![Filesystem { id: DISK, mount: "/srv".into(), fs_type: "ext4".into(), usage }],
        notes: Vec::new(),
        remarks: Vec::new(),
    }
}

fn process(number: usize) -> ProcessId {
    ProcessId { pid: Pid(number as i32 + 2), start: StartTime(number as u64) }
}

fn worker(runner: usize) -> WorkerSeen {
    WorkerSeen {
        process: process(runner),
        owner: Uid(1000),
        attribution: Attribution::Runner(runner),
        reach: Default::default(),
    }
}

fn root_of(number: usize) -> FileId {
    FileId { dev: 1, ino: number as u64 }
}

fn lease(runner: usize) -> LeaseSeen {
    let lease = Lease {
        worker: process(runner),
        boot_id: "boot".into(),
        pid_namespace: 1,
        root: format!("/srv/actions-runner-{runner}").into(),
        root_id: root_of(runner),
        work_id: None,
        job: Job::default(),
        since: now(),
        reserved: None,
    };
    LeaseSeen {
        file: runner.to_string(),
        owner: Uid(1000),
        root: Some(root_of(runner)),
        lease: Some(lease),
        state: LeaseState::Live,
    }
}

fn runner(number: usize, caches: usize) -> RunnerFacts {
    let root = std::path::PathBuf::from(format!("/srv/actions-runner-{number}"));
    let work = WorkDir {
        path: root.join("_work"),
        id: FileId { dev: 1, ino: 1_000_000 + number as u64 },
        owner: Uid(1000),
        filesystem: DISK,
    };
    RunnerFacts {
        caches: (0..caches).map(|cache| self::cache(&work, number, cache)).collect(),
        runner: Runner {
            name: format!("runner-{number}"),
            root,
            root_id: root_of(number),
            owner: Uid(1000),
            work: Work::Present(work),
        },
        guarded: Guarded::Yes,
        other_hosts: None,
        received: JobReceived::No,
        locks: Vec::new(),
        leftovers: Vec::new(),
    }
}

fn cache(work: &WorkDir, runner: usize, number: usize) -> Cache {
    let below: std::path::PathBuf = format!("repository-{number}/repository-{number}/target").into();
    let age = Duration::from_secs(3_600 * (1 + (number * 7 + runner * 13) as u64 % 150));
    Cache {
        path: work.path.join(&below),
        below_work: below,
        base: None,
        part: Default::default(),
        rule: "cargo-target".into(),
        id: FileId { dev: 1, ino: 10_000_000 + (runner * 10_000 + number) as u64 },
        owner: Uid(1000),
        measure: Some(Measure {
            bytes: GIB * (1 + number as u64 % 5) / 4,
            files: 6_000,
            directories: 900,
            newest: Some(now() - age),
            coverage: Coverage::Whole,
        }),
        used: None,
        largest: std::sync::Arc::default(),
    }
}
