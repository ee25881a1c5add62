//! Parses messages of the kernel: what each reports.
//!
//! A process's name is chosen by its owner, so a message is parsed starting from the kernel's own words.

use crate::model::postmortem::{KernelEvent, OomScope};

/// The longest name of a process, in bytes (`TASK_COMM_LEN`, include/linux/sched.h).
const MAX_COMM: usize = 15;

/// What a decision begins with.
pub(super) const DECISION: &str = "oom-kill:";

/// The content of a message, if it can be the cause of a death.
pub fn event(message: &str) -> Option<KernelEvent> {
    let of_memory = oom_decision(message).or_else(|| oom_kill(message)).or_else(|| oom_reaped(message));
    let of_memory = of_memory.or_else(|| oom_group(message)).or_else(|| oom_whole_group(message));
    of_memory.or_else(|| fork_rejected(message)).or_else(|| fault(message)).or_else(|| {
        // Longer than any process's name, with which other messages begin.
        let is_sleep = ["PM: suspend entry", "PM: suspend exit", "PM: hibernation: hibernation "];
        if message.starts_with("VFS: file-max limit") {
            Some(KernelEvent::FileTable)
        } else if is_sleep.iter().any(|start| message.starts_with(start)) {
            Some(KernelEvent::Suspend)
        } else if is_no_room(message) {
            Some(KernelEvent::NoRoom)
        } else {
            is_disk_error(message).then_some(KernelEvent::InputOutput)
        }
    })
}

/// `I/O error, dev sda, sector 5 op ...` (block/blk-core.c), and the filesystems' own messages.
fn is_disk_error(message: &str) -> bool {
    const STARTS: [&str; 8] = [
        "Buffer I/O error on dev",
        "Aborting journal on device ",
        "JBD2: Detected IO errors while flushing ",
        "lost page write due to ",
        "BTRFS critical (device ",
        "EXT4-fs error (device ",
        "BTRFS error (device ",
        "BTRFS: error (device ",
    ];
    const OF_A_MOUNT: [(&str, &str); 7] = [
        ("XFS (", "metadata I/O error"),
        ("XFS (", "log I/O error"),
        ("XFS (", "Filesystem has been shut down"),
        ("EXT4-fs (", "shut down requested"),
        ("EXT4-fs (", "I/O error while writing superblock"),
        ("XFS (", "Corruption of in-memory data"),
        ("EXT4-fs (", "Remounting filesystem read-only"),
    ];
    const REQUESTS: [&str; 5] = [
        "I/O error",
        "critical medium error",
        "critical target error",
        "critical nexus error",
        "timeout error",
    ];
    let is_nvme = message.starts_with("nvme nvme") && {
        [" timeout, ", ": Device not ready", ": controller is down"]
            .iter()
            .any(|words| message.contains(words))
    };
    REQUESTS.iter().any(|error| is_request(message, error))
        || is_hung(message)
        || is_nvme
        || (message.starts_with("md/raid") && message.contains(": Disk failure on "))
        || STARTS.iter().any(|start| message.starts_with(start))
        || OF_A_MOUNT.iter().any(|(start, words)| {
            let rest = message.strip_prefix(start).and_then(|rest| rest.split_once("): "));
            rest.is_some_and(|(_, rest)| rest.starts_with(words))
        })
}

/// `INFO: task NAME:PID blocked for more than 122 seconds.` (kernel/hung_task.c): it waits for a disk or a server that does not answer.
fn is_hung(message: &str) -> bool {
    message.starts_with("INFO: task ") && message.contains(" blocked for more than ")
}

/// `I/O error, dev sda, sector 5 op ...`, behind the name of a function in kernels before 5.17.
fn is_request(message: &str, error: &str) -> bool {
    let functions = ["blk_update_request: ", "print_req_error: ", "end_request: "];
    let request = functions.iter().find_map(|function| message.strip_prefix(function)).unwrap_or(message);
    let behind = request.strip_prefix(error).and_then(|rest| rest.strip_prefix(", dev "));
    let is_device = |name: &str| !name.is_empty() && !name.contains([' ', ':', ',']);
    behind.and_then(|rest| rest.split_once(", sector ")).is_some_and(|(device, _)| is_device(device))
}

/// A thin pool that is full (drivers/md/dm-thin.c), whose filesystems may still report free space; and filesystems that fail by
/// `ENOSPC`, which is 28.
fn is_no_room(message: &str) -> bool {
    const POOL: [&str; 5] = [
        "out-of-data-space",
        "out-of-metadata-space",
        "no free data space",
        "no free metadata space",
        "error = -28",
    ];
    let has_any = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    let is_number = |words: &&str, text: &str| {
        let behind = text.split_once(*words).map(|(_, rest)| rest);
        behind.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let of_a_mount =
        ["EXT4-fs (", "EXT4-fs error (", "EXT4-fs warning (", "XFS (", "BTRFS error (", "BTRFS: error ("]
            .iter()
            .find_map(|start| message.strip_prefix(start)?.split_once(')'));
    message.strip_prefix("device-mapper: thin: ").is_some_and(|rest| has_any(rest, &POOL))
        || is_request(message, "critical space allocation error")
        || of_a_mount.is_some_and(|(_, rest)| {
            ["error 28", "error -28", "errno=-28"].iter().any(|words| is_number(words, rest))
        })
}

/// `oom-kill:constraint=CONSTRAINT_MEMCG,...,oom_memcg=/a,task_memcg=/a/b,task=NAME,pid=7,uid=0` (mm/oom_kill.c, since 5.0).
fn oom_decision(message: &str) -> Option<KernelEvent> {
    let fields = message.strip_prefix(DECISION)?;
    // The name may hold anything but is followed by the kernel's words.
    let (fields, tail) = fields.rsplit_once(",pid=")?;
    let pid = tail.split(',').next()?.parse().ok()?;
    let (fields, comm) = fields.split_once(",task=")?;
    let field = |name: &str| {
        let start = fields.find(name)? + name.len();
        fields[start..].split(',').next().map(str::to_owned)
    };
    let scope = match field("oom_memcg=") {
        Some(group) => OomScope::Group(group),
        None => OomScope::Host,
    };
    Some(KernelEvent::OomKill { pid, comm: comm.to_owned(), scope, group: field("task_memcg=") })
}

/// `Out of memory: Killed process 7 (NAME) total-vm:...`, with `Memory cgroup out of memory` for a group's limit (mm/oom_kill.c).
///
/// Before 4.20 `Out of memory: Kill process 7 (NAME) score 68 or sacrifice child` names the chosen process, and `Killed process 8 (NAME)
/// total-vm:...` in a line of its own the killed one: the same, or a child of it.
fn oom_kill(message: &str) -> Option<KernelEvent> {
    let limits = [("Memory cgroup out of memory", OomScope::SomeGroup), ("Out of memory", OomScope::Host)];
    let of_limit = limits.into_iter().find_map(|(words, scope)| Some((scope, message.strip_prefix(words)?)));
    let (scope, rest) = match of_limit {
        // `Out of memory (oom_kill_allocating_task): Killed process ...`, and since 4.20 the same.
        Some((scope, rest)) => {
            let rest = rest.strip_prefix(" (oom_kill_allocating_task)").unwrap_or(rest);
            (scope, rest.strip_prefix(": ")?)
        }
        None => (OomScope::Unknown, message),
    };
    let is_choice = rest.starts_with("Kill process ") && scope != OomScope::Unknown;
    let rest = rest.strip_prefix(if is_choice { "Kill process " } else { "Killed process " })?;
    let (pid, rest) = rest.split_once(' ')?;
    let pid = pid.parse().ok()?;
    let (comm, behind) = rest.strip_prefix('(')?.rsplit_once(')')?;
    if is_choice {
        return behind.starts_with(" score ").then_some(KernelEvent::OomChoice { pid, scope });
    }
    // A process could have the words before it as its name: the kernel's words behind it are checked as well.
    let is_kernels =
        scope != OomScope::Unknown || behind.starts_with(" total-vm:") || behind.starts_with(", UID");
    is_kernels.then(|| KernelEvent::OomKill { pid, comm: comm.to_owned(), scope, group: None })
}

/// `oom_reaper: reaped process 7 (NAME), now anon-rss:0kB, ...` (mm/oom_kill.c): the same again, if the first line is lost.
fn oom_reaped(message: &str) -> Option<KernelEvent> {
    let (pid, rest) = message.strip_prefix("oom_reaper: reaped process ")?.split_once(' ')?;
    let (comm, behind) = rest.strip_prefix('(')?.rsplit_once("), now ")?;
    behind.starts_with("anon-rss:").then_some(())?;
    let (pid, comm) = (pid.parse().ok()?, comm.to_owned());
    Some(KernelEvent::OomKill { pid, comm, scope: OomScope::Unknown, group: None })
}

/// `Task in /a/b killed as a result of limit of /a` (mm/memcontrol.c, before 5.0).
fn oom_group(message: &str) -> Option<KernelEvent> {
    let (group, limit) = message.strip_prefix("Task in ")?.split_once(" killed as a result of limit of ")?;
    let is_path = |path: &str| path.starts_with('/');
    (is_path(group) && is_path(limit))
        .then(|| KernelEvent::OomGroup { group: group.to_owned(), limit: limit.to_owned() })
}

/// `Tasks in /a/b are going to be killed due to memory.oom.group set` (mm/memcontrol.c): containers of the kubelet have it set.
fn oom_whole_group(message: &str) -> Option<KernelEvent> {
    let group = message.strip_prefix("Tasks in ")?;
    let group = group.strip_suffix(" are going to be killed due to memory.oom.group set")?;
    group.starts_with('/').then(|| KernelEvent::OomWholeGroup { group: group.to_owned() })
}

/// `cgroup: fork rejected by pids controller in /a` (kernel/cgroup/pids.c): once in a group's life.
fn fork_rejected(message: &str) -> Option<KernelEvent> {
    let group = message.strip_prefix("cgroup: fork rejected by pids controller in ")?;
    Some(KernelEvent::ForkRejected { group: group.trim_end().to_owned() })
}

/// `NAME[7]: segfault at 0 ip ... in FILE[...]`, `traps: NAME[7] general protection fault ip:...`, `traps: NAME[7] trap invalid
/// opcode ip:...`.
///
/// The process's name is before the kernel's words, a file's name behind them, and both are chosen by their owner: the kernel's words
/// begin where the last name ends that is not longer than a process's name can be.
fn fault(message: &str) -> Option<KernelEvent> {
    // With the kernel's words around it each is longer than a name, with which other messages begin.
    const PLAIN: [&str; 3] = ["]: segfault at ", "]: unhandled exception", "]: unhandled signal"];
    const TRAPS: [&str; 2] = ["] general protection", "] trap "];
    let (message, words) = match message.strip_prefix("traps: ") {
        Some(rest) if rest.contains(" ip:") => (rest, &TRAPS[..]),
        // `process '/srv/FILE' started with executable stack` names a file that early.
        Some(_) => return None,
        None if message.starts_with("process '") => return None,
        None => (message, &PLAIN[..]),
    };
    let ends = words.iter().flat_map(|words| message.match_indices(words)).map(|(end, _)| end);
    let named = ends.filter_map(|end| {
        let (comm, pid) = message[..end].rsplit_once('[')?;
        (length(comm) <= MAX_COMM).then_some((end, pid.parse().ok()?, comm))
    });
    let (_, pid, comm) = named.max_by_key(|(end, ..)| *end)?;
    Some(KernelEvent::Fault { pid, comm: comm.to_owned() })
}

/// How long a name is, in bytes at least: `/dev/kmsg` has four characters, `\xff`, for a byte that cannot be shown.
fn length(comm: &str) -> usize {
    let is_escape = |at: usize| {
        comm.as_bytes().get(at + 2..at + 4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let escapes = comm.match_indices("\\x").filter(|(at, _)| is_escape(*at)).count();
    comm.chars().count() - 3 * escapes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::postmortem::observe::kernel) fn kill(
        pid: i32,
        comm: &str,
        scope: OomScope,
        group: Option<&str>,
    ) -> Option<KernelEvent> {
        Some(KernelEvent::OomKill { pid, comm: comm.into(), scope, group: group.map(str::to_owned) })
    }

    /// Lines of kernels 4.19 to 6.18.
    #[test]
    fn messages_are_taken_apart() {
        let fault = |pid, comm: &str| Some(KernelEvent::Fault { pid, comm: comm.into() });
        let group = |path: &str| OomScope::Group(path.into());
        for (message, expected) in [
            (
                "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/pm,task_memcg=/pm/a,task=python3,pid=15260,uid=0",
                kill(15260, "python3", group("/pm"), Some("/pm/a")),
            ),
            (
                "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,task=x,pid=1,uid=0,pid=7,uid=0",
                kill(7, "x,pid=1,uid=0", OomScope::Host, Some("/a")),
            ),
            (
                "Memory cgroup out of memory: Killed process 15260 (python3) total-vm:49460kB, anon-rss:39412kB, UID:0",
                kill(15260, "python3", OomScope::SomeGroup, None),
            ),
            ("Out of memory: Killed process 9 (a) b) total-vm:1kB", kill(9, "a) b", OomScope::Host, None)),
            (
                "Out of memory: Kill process 9 (rustc) score 900 or sacrifice child",
                Some(KernelEvent::OomChoice { pid: 9, scope: OomScope::Host }),
            ),
            (
                "Memory cgroup out of memory: Kill process 9 (rustc) score 900 or sacrifice child",
                Some(KernelEvent::OomChoice { pid: 9, scope: OomScope::SomeGroup }),
            ),
            (
                "Killed process 8 (cc1plus) total-vm:11968kB, anon-rss:4288kB, file-rss:3972kB",
                kill(8, "cc1plus", OomScope::Unknown, None),
            ),
            (
                "Out of memory (oom_kill_allocating_task): Killed process 8 (a) total-vm:1kB",
                kill(8, "a", OomScope::Host, None),
            ),
            ("Killed process 8 (x): page allocation failure: order:0", None),
            (
                "oom_reaper: reaped process 8 (Runner.Worker), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
                kill(8, "Runner.Worker", OomScope::Unknown, None),
            ),
            ("oom_reaper: page allocation failure: order:0", None),
            (
                "Task in /a/b killed as a result of limit of /a",
                Some(KernelEvent::OomGroup { group: "/a/b".into(), limit: "/a".into() }),
            ),
            (
                "cgroup: fork rejected by pids controller in /system.slice/a.service",
                Some(KernelEvent::ForkRejected { group: "/system.slice/a.service".into() }),
            ),
            (
                "python3[15446]: segfault at 0 ip 00007fa544185ad8 sp 00007ffe4b399758 error 4 in libc.so.6[167ad8,7fa544044000+156000]",
                fault(15446, "python3"),
            ),
            ("traps: x[1] trap [22] trap invalid opcode ip:7f", fault(22, "x[1] trap ")),
            (
                "x[22]: segfault at 0 ip 00007fa5 sp 00007ffe error 4 in victim[1]: segfault at 0[167ad8,7fa544044000+156000]",
                fault(22, "x"),
            ),
            (r"\xff\xff\xff\xff\xff\xff[22]: segfault at 0 ip", fault(22, r"\xff\xff\xff\xff\xff\xff")),
            (
                "traps: Runner.Worker[71] general protection fault ip:7f sp:7f error:0 in x.so",
                fault(71, "Runner.Worker"),
            ),
            (
                "traps: .NET TP Worker[71] trap invalid opcode ip:7f sp:7f error:0",
                fault(71, ".NET TP Worker"),
            ),
            ("I/O error, dev sda, sector 5 op 0x0:(READ)", Some(KernelEvent::InputOutput)),
            ("blk_update_request: I/O error, dev sda, sector 5", Some(KernelEvent::InputOutput)),
            (
                "EXT4-fs error (device sda1): ext4_lookup:1611: inode #2: comm x",
                Some(KernelEvent::InputOutput),
            ),
            ("VFS: file-max limit 1024 reached", Some(KernelEvent::FileTable)),
            ("PM: suspend entry (deep)", Some(KernelEvent::Suspend)),
            (
                "XFS (dm-0): metadata I/O error in \"xlog_ioend_work\" at daddr 0x1",
                Some(KernelEvent::InputOutput),
            ),
            ("EXT4-fs (sda1): Remounting filesystem read-only", Some(KernelEvent::InputOutput)),
            ("EXT4-fs (loop0): mounted filesystem", None),
            // A process's name.
            ("I/O error, dev : page allocation failure: order:0, mode:0x0", None),
            ("PM: hibernation: page allocation failure: order:0, mode:0x0", None),
            (
                "Tasks in /kubepods/pod1/c are going to be killed due to memory.oom.group set",
                Some(KernelEvent::OomWholeGroup { group: "/kubepods/pod1/c".into() }),
            ),
            ("Tasks in a b are going to be killed due to memory.oom.group set", None),
            ("end_request: I/O error, dev sda, sector 5", Some(KernelEvent::InputOutput)),
            ("print_req_error: critical target error, dev sda, sector 5", Some(KernelEvent::InputOutput)),
            ("nvme nvme0: I/O 512 (I/O Cmd) QID 4 timeout, aborting", Some(KernelEvent::InputOutput)),
            ("nvme nvme0: 8/0/0 default/read/poll queues", None),
            ("md/raid1:md0: Disk failure on sda1, disabling device.", Some(KernelEvent::InputOutput)),
            ("Aborting journal on device dm-0-8.", Some(KernelEvent::InputOutput)),
            ("XFS (dm-3): log I/O error -5", Some(KernelEvent::InputOutput)),
            (
                "device-mapper: thin: 253:4: switching pool to out-of-data-space (error IO) mode",
                Some(KernelEvent::NoRoom),
            ),
            ("device-mapper: thin: 253:4: reached low water mark for data device: sending event.", None),
            (
                "blk_update_request: critical space allocation error, dev dm-7, sector 18352128 op 0x1:(WRITE)",
                Some(KernelEvent::NoRoom),
            ),
            (
                "BTRFS: error (device sda1: state A) in btrfs_run_delayed_refs:2150: errno=-28 No space left",
                Some(KernelEvent::NoRoom),
            ),
            (
                "BTRFS: error (device sda1: state A) in btrfs_run_delayed_refs:2150: errno=-280 x",
                Some(KernelEvent::InputOutput),
            ),
            (
                "EXT4-fs (dm-7): Delayed block allocation failed for inode 12 at logical offset 0 with max blocks 2048 with error 28",
                Some(KernelEvent::NoRoom),
            ),
            (
                "XFS (dm-3): metadata I/O error in \"xfs_buf_ioend\" at daddr 0x1 len 8 error 28",
                Some(KernelEvent::NoRoom),
            ),
            (
                "INFO: task Runner.Worker:565 blocked for more than 122 seconds.",
                Some(KernelEvent::InputOutput),
            ),
            ("INFO: task list follows", None),
            ("oom-kill:nonsense", None),
            ("Out of memory: Killed process x (y)", None),
            ("", None),
        ] {
            assert_eq!(event(message), expected, "{message}");
        }
    }
}
