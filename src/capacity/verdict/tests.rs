use super::*;
use crate::model::{ContainerStore, FilesystemId, Pid, Stall, Usage};

fn disk_of(used: u64, available: u64, inodes: (u64, u64), level: Level) -> FilesystemStatus {
    let usage = Usage {
        total_bytes: 100 * GIB,
        used_bytes: used * GIB,
        available_bytes: available * GIB,
        inodes_total: inodes.0,
        inodes_free: inodes.1,
    };
    let id = FilesystemId { major: 8, minor: 1 };
    let filesystem = Filesystem { id, mount: "/home".into(), fs_type: "ext4".into(), usage };
    FilesystemStatus { filesystem, level }
}

fn roomy() -> FilesystemStatus {
    disk_of(50, 50, (1000, 900), Level::Ok)
}

fn short_of(capacity: &Capacity) -> Vec<(&str, Level)> {
    let short = capacity.limits.iter().filter(|limit| limit.level > Level::Ok);
    short.map(|limit| (limit.resource, limit.level)).collect()
}

fn host_with(change: impl FnOnce(&mut CapacityFacts)) -> CapacityFacts {
    let mut facts = CapacityFacts {
        files: Some(Share { used: 10, of: 1000 }),
        tasks: Some(Share { used: 10, of: 1000 }),
        memory: Some(Share { used: 10, of: 1000 }),
        ..CapacityFacts::default()
    };
    change(&mut facts);
    facts
}

fn runner_group(change: impl FnOnce(&mut RunnerGroup)) -> RunnerGroup {
    let mut group = RunnerGroup {
        runner: "runner-1".into(),
        group: "/a".into(),
        memory: Some(Share { used: 10, of: 100 }),
        memory_peak: None,
        oom_kills: Some(0),
        tasks: None,
        forks_refused: None,
    };
    change(&mut group);
    group
}

/// Every limit, at its end: exactly that one is named as the real one.
#[test]
fn each_limit_is_distinguished_from_the_others() {
    use Level::{Critical, High};
    let full = Some(Share { used: 990, of: 1000 });
    let rows: Vec<(&str, Level, CapacityFacts, FilesystemStatus)> = vec![
        ("bytes", Critical, host_with(|_| {}), disk_of(98, 2, (1000, 900), Critical)),
        ("inodes", High, host_with(|_| {}), disk_of(50, 50, (1000, 10), High)),
        ("files", Critical, host_with(|facts| facts.files = full), roomy()),
        ("tasks", Critical, host_with(|facts| facts.tasks = full), roomy()),
        ("memory", Critical, host_with(|facts| facts.memory = full), roomy()),
        (
            "stall-memory",
            High,
            host_with(|facts| facts.stalls = vec![Stall { resource: "memory", some: 60.0, full: 20.0 }]),
            roomy(),
        ),
        (
            "stall-io",
            Critical,
            host_with(|facts| facts.stalls = vec![Stall { resource: "io", some: 90.0, full: 80.0 }]),
            roomy(),
        ),
        (
            "group-memory",
            High,
            host_with(|facts| {
                facts.groups = vec![runner_group(|group| group.memory = Some(Share { used: 90, of: 100 }))];
            }),
            roomy(),
        ),
        (
            "group-oom",
            High,
            host_with(|facts| facts.groups = vec![runner_group(|group| group.oom_kills = Some(2))]),
            roomy(),
        ),
        (
            "group-tasks",
            Critical,
            host_with(|facts| {
                facts.groups = vec![runner_group(|group| group.tasks = Some(Share { used: 100, of: 100 }))];
            }),
            roomy(),
        ),
    ];
    for (resource, level, facts, disk) in rows {
        let capacity = judge(&facts, &[disk]);
        assert_eq!(short_of(&capacity), [(resource, level)], "{resource}");
        let said = &capacity.limits[0].said;
        assert_eq!(capacity.verdict, format!("the real limit: {said}; nothing else is short"));
    }
    let calm = judge(&host_with(|_| {}), &[roomy()]);
    assert_eq!(short_of(&calm), []);
    assert_eq!(calm.verdict, "no limit is near; the nearest is bytes of /home at 50 %");
}

#[test]
fn a_busy_processor_and_full_swap_are_not_short() {
    let facts = host_with(|facts| {
        facts.stalls = vec![Stall { resource: "cpu", some: 99.0, full: 0.0 }];
        facts.swap = Some(Share { used: 100, of: 100 });
        facts.groups = vec![runner_group(|group| group.memory = Some(Share { used: u64::MAX, of: 0 }))];
    });
    let capacity = judge(&facts, &[roomy()]);
    assert_eq!(short_of(&capacity), []);
    assert_eq!(capacity.verdict, "no limit is near; the nearest is bytes of /home at 50 %");
}

#[test]
fn space_is_listed_by_the_user_who_can_free_it() {
    let file = |pid, bytes, path: &str| DeletedFile {
        pid: Pid(pid),
        comm: "java".into(),
        path: path.into(),
        mount: "/home".into(),
        bytes,
    };
    let facts = host_with(|facts| {
        facts.deleted =
            vec![file(7, 6 * GIB, "/home/x/big"), file(7, GIB, "/home/x/small"), file(9, GIB, "/home/y")];
        facts.journals = vec![("/var/log/journal".into(), 5 * GIB)];
        facts.stores = vec![
            ContainerStore {
                engine: "docker",
                root: "/home/docker".into(),
                bytes: 40 * GIB,
                reclaimable: Some(30 * GIB),
            },
            ContainerStore {
                engine: "podman",
                root: "/var/lib/c".into(),
                bytes: 40 * GIB,
                reclaimable: Some(1 << 20),
            },
        ];
    });
    let capacity = judge(&facts, &[disk_of(50, 45, (0, 0), Level::Ok)]);
    let listed: Vec<(&str, &str, u64, bool)> = capacity
        .holdings
        .iter()
        .map(|held| (held.kind, held.subject.as_str(), held.bytes / GIB, held.is_notable))
        .collect();
    assert_eq!(
        listed,
        [
            ("containers", "docker", 40, true),
            ("containers", "podman", 40, false),
            ("deleted-files", "java (pid 7)", 7, true),
            ("reserved", "/home", 5, false),
            ("journal", "/var/log/journal", 5, true),
            ("deleted-files", "java (pid 9)", 1, false),
        ]
    );
    assert!(capacity.holdings[2].said.contains("the largest /home/x/big"), "{:?}", capacity.holdings[2]);
}
