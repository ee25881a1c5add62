//! The control group of each runner: its own memory and task limits, which a job meets before the host's.
//!
//! A runner's group is that of its Listener, else of its Worker, as the kernel reports it; the root group limits nothing and is
//! left out.

use crate::model::{Attribution, HostFacts, RunnerGroup, Share};
use crate::sys::cgroup::{Group, Hierarchies, number};
use crate::sys::process::Proc;

/// Limits above this are v1's way to say "none" (`PAGE_COUNTER_MAX`, in bytes).
const NO_LIMIT: u64 = 1 << 62;

/// The groups of the runners that run.
pub fn of_runners(proc: &Proc, facts: &HostFacts) -> Vec<RunnerGroup> {
    let hierarchies = Hierarchies::read(proc);
    let processes = &facts.processes;
    (0..facts.runners.len())
        .filter_map(|index| {
            let listener = processes.listeners.iter().find(|listener| listener.runner == index);
            let pid = listener.map(|listener| listener.process.pid).or_else(|| {
                let worker =
                    processes.workers.iter().find(|worker| worker.attribution == Attribution::Runner(index));
                worker.map(|worker| worker.process.pid)
            })?;
            let group = Group::of(proc, pid)?.below_root()?;
            Some(examine(&hierarchies, &group, facts.runners[index].runner.name.clone()))
        })
        .collect()
}

fn examine(hierarchies: &Hierarchies, group: &Group, runner: String) -> RunnerGroup {
    let place = hierarchies.place(group);
    let two = |file: &str| number(&place.unified.as_ref()?.join(file));
    let memory = |file: &str| number(&place.memory.as_ref()?.join(file));
    let pids = |file: &str| number(&place.pids.as_ref()?.join(file));
    let limit = |found: Option<u64>| found.filter(|limit| *limit < NO_LIMIT).unwrap_or(0);
    let share = |used: Option<u64>, of: Option<u64>| used.map(|used| Share { used, of: limit(of) });
    RunnerGroup {
        runner,
        group: group.path().to_owned(),
        memory: share(two("memory.current"), two("memory.max"))
            .or_else(|| share(memory("memory.usage_in_bytes"), memory("memory.limit_in_bytes"))),
        memory_peak: two("memory.peak").or_else(|| memory("memory.max_usage_in_bytes")),
        oom_kills: place.oom_kills().ok().map(|count| count.value),
        tasks: share(two("pids.current"), two("pids.max"))
            .or_else(|| share(pids("pids.current"), pids("pids.max"))),
        forks_refused: place.forks_refused().ok().map(|count| count.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pid;
    use std::ffi::OsStr;
    use std::path::PathBuf;

    fn write(at: PathBuf, text: impl AsRef<[u8]>) {
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, text).unwrap();
    }

    /// A machine whose process 42 is in `cgroup`, with `mounts`, one more by a name that is not UTF-8, and the files of one group.
    fn examined(cgroup: &str, mounts: &[(&str, &str)], files: &[(&str, &str)]) -> Option<RunnerGroup> {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        let table: String = mounts
            .iter()
            .map(|(at, kind)| format!("31 23 0:28 / {}/{at} rw - {kind}\n", base.display()))
            .collect();
        let odd = b"30 23 0:29 / /mnt/\xff\\040x rw - tmpfs t rw\n";
        write(base.join("proc/self").join(OsStr::new("mountinfo")), [odd, table.as_bytes()].concat());
        write(base.join("proc/42/cgroup"), cgroup);
        files.iter().for_each(|(at, text)| write(base.join(at), text));
        let proc = Proc::new(&base.join("proc"));
        let group = Group::of(&proc, Pid(42))?.below_root()?;
        Some(examine(&Hierarchies::read(&proc), &group, "runner-1".into()))
    }

    #[test]
    fn both_hierarchies_are_read_and_the_root_group_is_left_out() {
        let group = examined(
            "0::/system.slice/a.service\n",
            &[("cg", "cgroup2 cgroup2 rw")],
            &[
                ("cg/system.slice/a.service/memory.current", "1000\n"),
                ("cg/system.slice/a.service/memory.max", "max\n"),
                ("cg/system.slice/a.service/memory.peak", "5000\n"),
                ("cg/system.slice/a.service/memory.events", "low 0\nhigh 0\nmax 4\noom 2\noom_kill 3\n"),
                ("cg/system.slice/a.service/pids.current", "9\n"),
                ("cg/system.slice/a.service/pids.max", "10\n"),
                ("cg/system.slice/a.service/pids.events", "max 7\n"),
            ],
        )
        .unwrap();
        assert_eq!(group.group, "/system.slice/a.service");
        assert_eq!(group.memory, Some(Share { used: 1000, of: 0 }), "no limit of its own");
        assert_eq!((group.memory_peak, group.oom_kills), (Some(5000), Some(3)));
        assert_eq!((group.tasks, group.forks_refused), (Some(Share { used: 9, of: 10 }), Some(7)));

        let group = examined(
            "8:pids:/\n4:memory:/ci/a\n0::/\n",
            &[("cg", "cgroup2 cgroup2 rw"), ("m", "cgroup cgroup rw,memory"), ("p", "cgroup cgroup rw,pids")],
            &[
                ("m/ci/a/memory.usage_in_bytes", "700\n"),
                ("m/ci/a/memory.limit_in_bytes", "1000\n"),
                ("m/ci/a/memory.max_usage_in_bytes", "990\n"),
                ("m/ci/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
            ],
        )
        .unwrap();
        assert_eq!(group.memory, Some(Share { used: 700, of: 1000 }));
        assert_eq!((group.memory_peak, group.oom_kills), (Some(990), Some(1)));
        assert_eq!((group.tasks, group.forks_refused), (None, None));

        assert_eq!(examined("0::/\n", &[("cg", "cgroup2 cgroup2 rw")], &[]), None);
        assert_eq!(examined("nonsense", &[], &[]), None);
    }
}
