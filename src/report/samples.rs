use crate::model::ledger::*;
use crate::model::*;
use crate::policy::ledger as policy;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub(super) const GIB: u64 = 1 << 30;

/// 2026-03-04 14:25:10 UTC.
pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_634_310)
}

pub(super) fn ago(seconds: u64) -> SystemTime {
    now() - Duration::from_secs(seconds)
}

pub(super) fn filesystem(mount: &str, total: u64, used: u64) -> Filesystem {
    Filesystem {
        id: FilesystemId { major: 8, minor: mount.len() as u32 },
        mount: mount.into(),
        fs_type: "ext4".into(),
        usage: Usage {
            total_bytes: total,
            used_bytes: used,
            available_bytes: total - used,
            inodes_total: 1000,
            inodes_free: 880,
        },
    }
}

pub(super) fn runner(name: &str) -> Runner {
    let root = PathBuf::from(format!("/home/ci/{name}"));
    Runner {
        name: name.into(),
        root_id: FileId { dev: 1, ino: 2 },
        owner: Uid(1001),
        work: Work::Present(WorkDir {
            path: root.join("_work"),
            id: FileId { dev: 1, ino: 3 },
            owner: Uid(1001),
            filesystem: FilesystemId { major: 8, minor: "/home".len() as u32 },
        }),
        root,
    }
}

pub(super) fn cache(runner: &Runner, below: &str, bytes: u64, newest: SystemTime) -> Cache {
    Cache {
        path: runner.work_path().join(below),
        below_work: below.into(),
        base: None,
        part: Default::default(),
        rule: "cargo-target".into(),
        id: FileId { dev: 1, ino: 9 },
        owner: Uid(1001),
        measure: Some(Measure {
            bytes,
            files: 6386,
            directories: 898,
            newest: Some(newest),
            coverage: Coverage::Whole,
        }),
        used: None,
        largest: Default::default(),
    }
}

pub(super) fn worker() -> Evidence {
    Evidence::new(EvidenceKind::WorkerProcess, Weight::InUse, "Worker pid 4711")
}

pub(super) fn hidden() -> Evidence {
    Evidence::new(
        EvidenceKind::Visibility,
        Weight::CannotTell,
        "process 991 of uid 1002 cannot be examined: its open files may lie here",
    )
}

pub(super) fn recent(path: &Path) -> Evidence {
    Evidence::within(
        EvidenceKind::RecentContent,
        Weight::Forbids,
        path.to_owned(),
        "newest content is 3 min old, the idle floor is 10 min",
    )
}

fn status_of(runner: Runner, state: Liveness, evidence: Vec<Evidence>, caches: Vec<Cache>) -> RunnerStatus {
    let bytes = caches.iter().map(Cache::bytes).sum();
    let free = state == Liveness::Idle && evidence.is_empty();
    RunnerStatus {
        runner,
        state,
        guarded: Guarded::Yes,
        drained: None,
        evidence,
        job: None,
        caches,
        reclaimable_bytes: if free { bytes } else { 0 },
        blocked_bytes: if free { 0 } else { bytes },
    }
}

/// What holds a disk.
pub(super) fn holding() -> Vec<SpaceHolder> {
    let holder = |class, path: &str, bytes, is_whole| SpaceHolder {
        class,
        path: path.into(),
        runner: "runner-1".into(),
        filesystem: FilesystemId { major: 8, minor: 5 },
        bytes,
        inodes: bytes >> 20,
        by_inodes: false,
        is_whole,
        remedy: "remove it".into(),
    };
    vec![
        holder(SpaceClass::ToolCache, "/home/ci/runner-1/_work/_tool/go", 60 * GIB, true),
        holder(SpaceClass::BuildTree, "/home/ci/runner-1/_work/x/x/b\n::error::", 7 * GIB, false),
    ]
}

/// A host with every kind of runner on it.
pub(super) fn host() -> HostStatus {
    let (one, two, three) = (runner("runner-1"), runner("runner-2"), runner("runner-3"));
    let (four, odd) = (runner("build-farm-frankfurt-rack-12-runner-04"), runner("日本\u{202e}語\n::error::"));
    let busy_caches = vec![cache(&one, "app/app/target", 12 * GIB + GIB / 3, ago(130))];
    let idle_caches = vec![
        cache(&two, "app/app/target", 8 * GIB + GIB / 8, ago(3 * 86_400)),
        cache(&two, "lib/lib/target", 300 << 20, ago(12 * 86_400)),
    ];
    let recent = vec![recent(&four.work_path().join("app/app/target"))];
    let mut part = cache(&three, "app/app/target", 18 * GIB, ago(5 * 3600));
    part.measure.as_mut().expect("it is measured").coverage = Coverage::Part;
    let mut busy = status_of(one, Liveness::Busy, vec![worker(), hidden()], busy_caches);
    busy.job = Some(JobView {
        job: Job { repository: "acme/app".into(), run_id: "1234567890".into(), job: "build".into() },
        since: ago(23 * 60),
    });
    let mut unguarded = status_of(
        odd.clone(),
        Liveness::Idle,
        vec![Evidence::new(
            EvidenceKind::Unguarded,
            Weight::Forbids,
            "/home/ci/x/.env names no hook of ours",
        )],
        vec![cache(&odd, "x/x/target", 2 * GIB, ago(40 * 60))],
    );
    unguarded.guarded = Guarded::No("/home/ci/x/.env names no hook of ours".into());
    let mut idle = status_of(two, Liveness::Idle, vec![], idle_caches);
    idle.drained = Some(OutOfService { by_hand: true, since: ago(7200) });
    let unknown = status_of(three, Liveness::Unknown, vec![hidden()], vec![part]);
    let young_caches = vec![cache(&four, "app/app/target", 4 * GIB, ago(180))];
    let young = status_of(four, Liveness::Idle, recent, young_caches);
    HostStatus {
        host: "ci-host-07".into(),
        time: now(),
        visibility: Visibility::Partial(vec!["processes of uid 1002 are not readable: run as root".into()]),
        lock: LockView {
            held: true,
            holders: vec![LockHolder { pid: Pid(77), process: "disk-guard".into(), since: Some(ago(3)) }],
        },
        trash_bytes: GIB + GIB / 5,
        holding: vec![],
        filesystems: vec![
            FilesystemStatus { filesystem: filesystem("/home", 234 * GIB, 213 * GIB), level: Level::High },
            FilesystemStatus {
                filesystem: filesystem("/srv/ci", 100 * GIB, 98 * GIB),
                level: Level::Critical,
            },
        ],
        reap: None,
        stores: None,
        dedupe: None,
        other_disks: vec![Disk {
            mount: "/".into(),
            fs_type: "ext4".into(),
            usage: filesystem("/", 50 * GIB, 13 * GIB).usage,
        }],
        runners: vec![busy, idle, unknown, young, unguarded],
        declared: vec![],
        capacity: capacity(),
        forecasts: Vec::new(),
        targets: Vec::new(),
        notes: vec!["runner-9 vanished while it was looked at".into()],
        rules: vec![],
        roots_are_built_in: false,
        are_roots_closed: false,
        root_matches: vec![RootMatches { pattern: "/home/*/*runner*".into(), runners: 5 }],
    }
}

/// Two live jobs on a disk that fills.
pub(super) fn forecast() -> DiskForecast {
    let job = |runner: &str, job: &str, gib: [u64; 3], basis, claimed_bytes| JobForecast {
        runner: runner.into(),
        job: Job { repository: "acme/app".into(), run_id: "77".into(), job: job.into() },
        reserved_bytes: gib[0] * GIB,
        realised_bytes: gib[1] * GIB,
        expected_bytes: gib[2] * GIB,
        basis,
        claimed_bytes,
    };
    DiskForecast {
        filesystem: filesystem("/home", 234 * GIB, 213 * GIB),
        room: Room { need: 31 * GIB, expected: 22 * GIB },
        jobs: vec![
            job("runner-1", "build", [20, 4, 16], Basis::History, None),
            job("x\n::error::y", "test", [8, 2, 6], Basis::Host, Some(900 * GIB)),
        ],
        trend: Some(metrics::Trend { bytes_per_second: 2e6, seconds_to_full: 11_000.0 }),
    }
}

fn capacity() -> Capacity {
    let group = RunnerGroup {
        runner: "runner-1".into(),
        group: "/system.slice/actions.runner.acme.runner-1.service".into(),
        memory: Some(Share { used: 3 * GIB, of: 8 * GIB }),
        memory_peak: Some(7 * GIB),
        oom_kills: Some(0),
        tasks: Some(Share { used: 40, of: 0 }),
        forks_refused: None,
    };
    let deleted = DeletedFile {
        pid: Pid(4242),
        comm: "java".into(),
        path: "/home/ci/\u{1b}[31mheap.bin".into(),
        mount: "/home".into(),
        bytes: 14 * GIB,
    };
    let facts = CapacityFacts {
        files: Some(Share { used: 9_800, of: 10_000 }),
        groups: vec![group],
        deleted: vec![deleted],
        ..CapacityFacts::default()
    };
    let disk = FilesystemStatus { filesystem: filesystem("/home", 234 * GIB, 213 * GIB), level: Level::High };
    crate::capacity::verdict::judge(&facts, &[disk])
}

fn action(cache: Cache, runner: &Runner, decision: Decision) -> Action {
    Action { runner: runner.clone(), cache, decision }
}

/// A run that removed, kept, restored and failed; or the plan of one.
pub(super) fn run(execution: Execution) -> RunReport {
    let dry_run = execution.is_dry_run();
    let (one, two, three) = (runner("runner-1"), runner("runner-2"), runner("runner-3"));
    let odd_path = Path::new(OsStr::from_bytes(b"caf\xe9/caf\xe9/target"));
    let mut odd = cache(&two, "x", 2 * GIB, ago(9 * 86_400));
    odd.path = two.work_path().join(odd_path);
    odd.below_work = odd_path.to_owned();
    let gone = cache(&two, "app/app/target", 8 * GIB, ago(3 * 86_400));
    let busy = cache(&one, "app/app/target", 12 * GIB, ago(130));
    let also_busy = cache(&one, "lib/lib/target", GIB, ago(140));
    let doubtful = cache(&three, "app/app/target", 3 * GIB, ago(86_400 * 4));
    let done = |result: ActionResult| if dry_run { ActionResult::Planned } else { result };
    let pressure = Decision::Remove(RemoveReason::Pressure);
    let protected = Decision::Keep(KeepReason::Protected(vec![worker()]));
    let outcomes = vec![
        Outcome { action: action(gone, &two, pressure.clone()), result: done(ActionResult::Removed) },
        Outcome {
            action: action(odd, &two, Decision::Remove(RemoveReason::Age)),
            result: done(ActionResult::Failed("unlinkat \u{1b}[2Jx: permission denied".into())),
        },
        Outcome {
            action: action(doubtful, &three, pressure),
            result: done(ActionResult::Restored(vec![worker()])),
        },
        Outcome { action: action(busy, &one, protected.clone()), result: ActionResult::Kept },
        Outcome { action: action(also_busy, &one, protected), result: ActionResult::Kept },
    ];
    let before = filesystem("/home", 234 * GIB, 213 * GIB);
    let after = if dry_run { before.usage } else { filesystem("/home", 234 * GIB, 205 * GIB).usage };
    RunReport {
        dry_run,
        goal_met: false,
        balances: vec![Balance { before, after, shortfall: None }],
        outcomes,
        freed_bytes: if dry_run { 0 } else { 8 * GIB },
        dedupe: None,
        holding: vec![],
        targets: Vec::new(),
        notes: vec!["/opt/actions-runner* matches nothing".into()],
    }
}

/// An entry of the ledger, by root, in a sweep.
fn entry(deed: ActionKind, seconds_ago: u64, path: Option<&str>) -> Judged {
    let details = Details {
        message: match deed {
            ActionKind::Pressure => "/home is 92 % full: high".into(),
            _ => String::new(),
        },
        run: Some("77-1".into()),
        scope: Some(Scope::Sweep),
        runner: path.map(|_| "runner-2".into()),
        rule: path.map(|_| "cargo-target".into()),
        path: path.map(PathBuf::from),
        bytes: path.map(|_| 8 * GIB),
        reason: path.map(|_| "pressure".into()),
        ..Details::default()
    };
    let record = LedgerRecord { deed, time: ago(seconds_ago), details };
    let writer = Writer {
        uid: Some(Uid(0)),
        pid: Some(Pid(77)),
        boot_id: Some("b00t".into()),
        exe: Some("/usr/bin/disk-guard".into()),
    };
    let sources = vec![Source::Journal, Source::File];
    Judged { entry: Entry { record, writer, sources }, trust: Trust::Root }
}

/// A sweep under pressure that removed one cache.
fn sweep() -> Vec<Judged> {
    let target = Some("/home/ci/runner-2/_work/app/app/target");
    let mut removed = entry(ActionKind::Removed, 7190, target);
    removed.entry.record.details.evidence =
        Some("no sign of use at the claim; newest content 3 d old".into());
    let mut ended = entry(ActionKind::Ended, 7180, None);
    ended.entry.record.details.evidence = Some("kept 2: worker-process 2".into());
    vec![
        entry(ActionKind::Begun, 7200, None),
        entry(ActionKind::Pressure, 7199, None),
        entry(ActionKind::Claimed, 7195, target),
        removed,
        ended,
    ]
}

/// An entry that another user's job has written in the guard's name.
fn forged() -> Judged {
    let mut forged = entry(ActionKind::Removed, 7000, Some("/home/ci/runner-1/_work/\u{1b}[2J\u{202e}"));
    forged.entry.writer = Writer { uid: Some(Uid(1009)), exe: None, ..forged.entry.writer };
    forged.entry.record.details.scope = Some(Scope::Hook("runner-9\n::error::x".into()));
    forged.entry.record.details.evidence = Some("\u{9b}31m".into());
    forged.entry.sources = vec![Source::File];
    forged.trust = Trust::Foreign("its path is not uid 1009's".into());
    forged
}

fn hook_with_nothing_to_do() -> Judged {
    let mut lease = entry(ActionKind::Lease, 7100, None);
    lease.entry.record.details.run = Some("88-1".into());
    lease.entry.record.details.scope = Some(Scope::Hook("runner-1".into()));
    lease.entry.writer = Writer { uid: Some(Uid(1001)), pid: Some(Pid(88)), ..lease.entry.writer };
    lease.trust = Trust::Owner(Uid(1001));
    lease
}

pub(super) fn ledger() -> Ledger {
    let reach = |source, since, gaps: &[&str]| LedgerReach {
        source,
        since: Some(ago(since)),
        span: UserSpan::Everybody,
        gaps: gaps.iter().map(|gap| (*gap).to_owned()).collect(),
    };
    let places = vec![
        reach(Source::Journal, 86_400, &["the journal is kept in memory: it starts with this boot"]),
        reach(Source::File, 30 * 86_400, &[]),
    ];
    let mut entries = sweep();
    entries.extend([hook_with_nothing_to_do(), forged()]);
    Ledger { entries, extent: Extent { places } }
}

fn window() -> Window {
    Window { from: ago(7800), to: ago(6600) }
}

pub(super) fn why_removed() -> Why {
    let path = PathBuf::from("/home/ci/runner-2/_work/app/app/target/debug");
    let gone = Presence::Gone("/home/ci/runner-2/_work/app/app".into(), ago(7195));
    policy::why(&ledger(), (path, None), gone, Some("runner-2".into()), window())
}

pub(super) fn why_innocent() -> Why {
    let path = PathBuf::from("/home/ci/runner-1/_work/\u{1b}[2J\u{202e}/x");
    let gone = Presence::Gone("/home/ci/runner-1/_work".into(), ago(7000));
    policy::why(&ledger(), (path, None), gone, Some("runner-1".into()), window())
}

pub(super) fn blame() -> Blame {
    policy::blame(&ledger(), ago(7000), Window::around(ago(7000), Duration::from_secs(60)))
}

pub(super) fn history() -> History {
    policy::history(&ledger(), Window { from: ago(86_400), to: now() })
}

/// A death with every kind of line, hostile names included.
pub(crate) fn postmortem() -> crate::model::postmortem::Report {
    use crate::model::postmortem::*;
    let at = |seconds: u64| Some(now() - Duration::from_secs(seconds));
    let proof = |source: &str, at, text: &str| Proof {
        source: source.into(),
        at,
        text: text.into(),
        points_to: Cause::OutOfMemory,
    };
    let death = Death {
        runner: "runner-1".into(),
        root: "/home/ci/runner-1".into(),
        repository: Some("acme/app".into()),
        run_id: Some("77".into()),
        job: Some("build\n::error::x".into()),
        worker_pid: Some(4711),
        boot_id: Some("b".into()),
        worker_log: Some("Worker_20260304-140000-utc.log".into()),
        started: at(1510),
        last_sign: at(70),
        ended: at(69),
    };
    let verdict = Diagnosis {
        ended: Ended::Abruptly,
        cause: Cause::OutOfMemory,
        confidence: Confidence::Certain,
        summary: "the kernel killed the Worker because the cgroup /ci was at its memory limit".into(),
        evidence: vec![
            proof("Listener log", at(69), "Worker finished for job 8f. Code: 137"),
            proof("exit code", None, "137 = 128 + 9: SIGKILL ended it"),
            proof(
                "kernel (journal)",
                at(70),
                "Memory cgroup out of memory: Killed process 4711 (\u{1b}[31m##[x])",
            ),
        ],
        ruled_out: vec![RuledOut {
            cause: Cause::DiskGuard,
            by: "while the job ran it removed /home/ci/runner-2/_work/a/a/target (8 bytes) and nothing else"
                .into(),
        }],
        missing: vec![Missing { what: "the runner's unit".into(), how: "install it as a service".into() }],
        advice: "give the host more memory".into(),
    };
    let examined = now() - Duration::from_secs(60);
    Report {
        since: now() - Duration::from_secs(3600),
        runner: Some("runner-1".into()),
        jobs: 3,
        runners: 1,
        cases: vec![Case { death, verdict, examined, kept: true }],
        notes: vec!["runner-2: its logs cannot be read".into()],
    }
}

/// Two runners, two contaminated repositories, hostile names.
pub(super) fn audit() -> hygiene::AuditReport {
    use hygiene::*;
    let finding = |kind, severity, count, examples: &[&str], detail: &str| Finding {
        kind,
        severity,
        count,
        examples: examples.iter().map(PathBuf::from).collect(),
        detail: detail.into(),
    };
    let area = |name: &str, kind, verdict, mode, findings| AreaAudit {
        name: name.into(),
        path: runner("runner-1").work_path().join(name),
        kind,
        verdict,
        mode,
        findings,
        is_whole: true,
        notes: Vec::new(),
    };
    let foreign = finding(
        FindingKind::ForeignOwner,
        Severity::Repairable,
        1204,
        &["app/app/dist", "app/app/\u{1b}[2J"],
        "",
    );
    let locked = finding(FindingKind::LockedDirectory, Severity::Repairable, 2, &["app/app/gen"], "");
    let broken =
        finding(FindingKind::BrokenGit, Severity::Replace, 1, &[], "lib/lib/.git: missing blob 0f8fad5b");
    let gone = finding(
        FindingKind::Abandoned,
        Severity::Note,
        1,
        &[],
        "old: no repository of this runner's has this directory",
    );
    let busy = RunnerAudit {
        runner: runner("runner-2"),
        state: Liveness::Busy,
        skipped: Some("a job changed its tree during the examination: not examined".into()),
        areas: Vec::new(),
        leftovers: Vec::new(),
    };
    let idle = RunnerAudit {
        runner: runner("runner-1"),
        state: Liveness::Idle,
        skipped: None,
        areas: vec![
            area("_actions", AreaKind::RunnersOwn, AreaCondition::Clean, None, Vec::new()),
            area(
                "app",
                AreaKind::Repository,
                AreaCondition::Repairable,
                Some(RemediateMode::Chown),
                vec![foreign, locked],
            ),
            area(
                "lib",
                AreaKind::Repository,
                AreaCondition::Replace,
                Some(RemediateMode::Reset),
                vec![broken],
            ),
            area("old", AreaKind::Repository, AreaCondition::Clean, None, vec![gone]),
        ],
        leftovers: vec![Leftover {
            kind: LeftoverKind::OldVersion,
            path: "/home/ci/runner-1/bin.2.335.0".into(),
            newest: ago(40 * 86_400),
        }],
    };
    AuditReport {
        runners: vec![idle, busy],
        verdict: AreaCondition::Replace,
        contaminated: 2,
        notes: vec!["git is in no directory of paths.programs: objects are not checked".into()],
    }
}

/// Of three entries the owner of two can be repaired.
pub(super) fn repair(execution: Execution) -> hygiene::RepairReport {
    let dry_run = execution.is_dry_run();
    use hygiene::*;
    let result = if dry_run { Repaired::Planned } else { Repaired::Done };
    let change = |below: &str, result| Change { below: below.into(), what: "owner 0 -> 1001".into(), result };
    RepairReport {
        dry_run,
        runner: runner("runner-1"),
        path: runner("runner-1").work_path().join("app"),
        mode: RemediateMode::Chown,
        objections: Vec::new(),
        changes: vec![
            change(
                "app/app/passwd",
                Repaired::Refused("it has another name, which may be elsewhere: only a reset helps".into()),
            ),
            change("app/app/dist", result.clone()),
            change("app/app/dist/\u{1b}[2Jx\n::error::", result),
        ],
        done: 2,
        undone: 1,
        bytes: 0,
        notes: Vec::new(),
    }
}

/// A run of the reaper with every outcome, or its preview.
pub(super) fn reap(execution: Execution) -> crate::model::reap::ReapReport {
    let dry_run = execution.is_dry_run();
    use crate::model::reap::{
        EntryReport, Environment, EnvironmentKind, EnvironmentState, ReapDecision, ReapReason, ReapReport,
        ReapResult, Reaping, Stays,
    };
    let hours = |n: u64| std::time::Duration::from_secs(3600 * n);
    let row = |name: &str, verdict: ReapDecision, result: ReapResult| Reaping {
        environment: Environment {
            bytes: (name == "runner-1").then_some(88 * GIB),
            holds: if name == "runner-1" { vec!["its disk".into()] } else { vec![] },
            ..Environment::new(name, name, EnvironmentState::Stopped)
        },
        verdict,
        seen_for: hours(3),
        result: match (dry_run, result) {
            (true, ReapResult::Kept) => ReapResult::Kept,
            (true, _) => ReapResult::Planned,
            (false, result) => result,
        },
    };
    let stopped = || ReapDecision::Reap(ReapReason::Stopped);
    let young = Stays::Young { seen: hours(1), needed: hours(2) };
    let tart = EntryReport {
        name: "clones".into(),
        kind: EnvironmentKind::Tart,
        listed: 12,
        error: None,
        reapings: vec![
            row("runner-1", stopped(), ReapResult::Reaped),
            row("runner-2\n::error::", stopped(), ReapResult::Lied),
            row(
                "runner-3",
                ReapDecision::Reap(ReapReason::NeverStarted),
                ReapResult::Failed("`tart delete` failed: no".into()),
            ),
            row("runner-4", stopped(), ReapResult::Changed("it is running now".into())),
            row("runner-5", stopped(), ReapResult::Deferred("max_per_run is reached")),
            row("runner-6", ReapDecision::Stay(Stays::Running), ReapResult::Kept),
            row("runner-7", ReapDecision::Stay(Stays::Unknown("State suspended".into())), ReapResult::Kept),
            row("runner-8", ReapDecision::Stay(young), ReapResult::Kept),
        ],
        notes: vec![],
    };
    let blind = EntryReport {
        name: "vms".into(),
        kind: EnvironmentKind::Libvirt,
        listed: 0,
        error: Some("`virsh list` failed: no".into()),
        reapings: vec![],
        notes: vec![],
    };
    ReapReport { dry_run, entries: vec![tart, blind] }
}

/// The record of that run for `status`.
pub(super) fn reap_record() -> crate::model::reap::ReapRecord {
    crate::reap::record::after(None, &reap(Execution::Apply), &["clones", "vms"], ago(600))
}

/// A run over stores with every outcome, or its preview.
pub(super) fn stores(execution: Execution) -> crate::model::stores::StoresReport {
    let dry_run = execution.is_dry_run();
    use crate::model::stores::{
        Leaves, Portion, StoreFacts, StoreKind, StoreReason, StoreReport, StoreResult, StoreVerdict,
        StoresReport,
    };
    let collect = |reason, gib: u64| StoreVerdict::Collect(reason, Portion { bytes: gib * GIB, keep: None });
    let leave = |why| (StoreVerdict::Leave(why), StoreResult::Kept, 0);
    let rows = [
        (StoreKind::Buildkit, (collect(StoreReason::Pressure, 4), StoreResult::Collected, 4 * GIB)),
        (StoreKind::Ccache, (collect(StoreReason::Size, 2), StoreResult::Collected, 1 << 20)),
        (
            StoreKind::Nix,
            (collect(StoreReason::Pressure, 2), StoreResult::Failed("`nix` failed\u{1b}[m".into()), 0),
        ),
        (
            StoreKind::DockerImages,
            (
                collect(StoreReason::Pressure, 9),
                StoreResult::Interrupted("a job has begun: its lease is there".into()),
                GIB,
            ),
        ),
        (StoreKind::Go, (collect(StoreReason::Pressure, 9), StoreResult::Deferred, 0)),
        (StoreKind::Pnpm, leave(Leaves::InUse("runner-1 is busy".into()))),
        (StoreKind::Sccache, leave(Leaves::Unusable("sccache is in none of /usr/bin".into()))),
        (StoreKind::Containerd, leave(Leaves::NotNeeded)),
    ];
    let stores = rows.into_iter().map(|(kind, (verdict, result, freed_bytes))| StoreReport {
        name: kind.as_str().to_owned(),
        kind,
        facts: StoreFacts { path: Some("/srv/store".into()), bytes: Some(20 * GIB), ..StoreFacts::default() },
        result: match (dry_run, &verdict) {
            (true, StoreVerdict::Collect(..)) => StoreResult::Planned,
            _ => result,
        },
        verdict,
        freed_bytes: if dry_run { 0 } else { freed_bytes },
        took: Duration::from_secs(if dry_run { 0 } else { 12 }),
    });
    StoresReport { dry_run, stores: stores.collect() }
}

/// The record of that run, ten minutes ago.
pub(super) fn stores_record() -> crate::model::stores::StoresRecord {
    let report = stores(Execution::Apply);
    let names: Vec<&str> = report.stores.iter().map(|store| store.name.as_str()).collect();
    crate::stores::record::after(&crate::model::stores::StoresRecord::default(), &report, &names, ago(600))
}
