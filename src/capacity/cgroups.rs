//! The control group of each runner: its own memory and task limits, which a job meets before the host's.
//!
//! A runner's group is that of its Listener, else of its Worker, as the kernel tells it; the root group limits nothing and is
//! left out. Both hierarchies are read, and each figure comes from the one whose controller is there: on a hybrid host memory
//! may be v1's and tasks v2's.

use crate::model::{Attribution, HostFacts, Pid, RunnerGroup, Share};
use crate::sys::mountinfo;
use crate::sys::process::Proc;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

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
            let places = hierarchies.places_of(proc, pid)?;
            Some(places.examine(facts.runners[index].runner.name.clone()))
        })
        .collect()
}

/// Where the hierarchies are mounted: each with its mount point and the group that is its root there.
#[derive(Debug, Default)]
struct Hierarchies {
    unified: Option<(PathBuf, PathBuf)>,
    memory: Option<(PathBuf, PathBuf)>,
    pids: Option<(PathBuf, PathBuf)>,
}

/// The directories of one group.
#[derive(Debug, Default)]
struct Places {
    name: String,
    unified: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
}

impl Hierarchies {
    fn read(proc: &Proc) -> Self {
        let mut found = Self::default();
        let table = mountinfo::read_own(proc.root()).unwrap_or_default();
        for mount in mountinfo::parse(&table).unwrap_or_default() {
            let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
            let place = (path(&mount.point), path(&mount.root));
            let has = |controller| mountinfo::option(mount.options, controller).is_some();
            match mount.kind {
                b"cgroup2" => found.unified = found.unified.or(Some(place)),
                b"cgroup" if has("memory") => found.memory = found.memory.or(Some(place)),
                b"cgroup" if has("pids") => found.pids = found.pids.or(Some(place)),
                _ => {}
            }
        }
        found
    }

    /// `/proc/PID/cgroup`: `hierarchy:controllers:path`, v2 as `0::path`.
    fn places_of(&self, proc: &Proc, pid: Pid) -> Option<Places> {
        let text = std::fs::read_to_string(proc.path_of(pid, "cgroup")).ok()?;
        let mut places = Places::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if path == "/" {
                continue;
            }
            let below = |hierarchy: &Option<(PathBuf, PathBuf)>| {
                let (mount, root) = hierarchy.as_ref()?;
                Some(mount.join(Path::new(path).strip_prefix(root).ok()?))
            };
            match controllers {
                "" => places.unified = below(&self.unified),
                "memory" => places.memory = below(&self.memory),
                "pids" => places.pids = below(&self.pids),
                _ => continue,
            }
            places.name = path.to_owned();
        }
        (!places.name.is_empty()).then_some(places)
    }
}

impl Places {
    fn examine(&self, runner: String) -> RunnerGroup {
        let two = |file: &str| number(self.unified.as_deref()?, file);
        let memory = |file: &str| number(self.memory.as_deref()?, file);
        let pids = |file: &str| number(self.pids.as_deref()?, file);
        let limit = |found: Option<u64>| found.filter(|limit| *limit < NO_LIMIT).unwrap_or(0);
        let share = |used: Option<u64>, of: Option<u64>| used.map(|used| Share { used, of: limit(of) });
        RunnerGroup {
            runner,
            group: self.name.clone(),
            memory: share(two("memory.current"), two("memory.max"))
                .or_else(|| share(memory("memory.usage_in_bytes"), memory("memory.limit_in_bytes"))),
            memory_peak: two("memory.peak").or_else(|| memory("memory.max_usage_in_bytes")),
            oom_kills: self
                .unified
                .as_deref()
                .and_then(|dir| entry(dir, "memory.events", "oom_kill"))
                .or_else(|| entry(self.memory.as_deref()?, "memory.oom_control", "oom_kill")),
            tasks: share(two("pids.current"), two("pids.max"))
                .or_else(|| share(pids("pids.current"), pids("pids.max"))),
            forks_refused: self
                .unified
                .as_deref()
                .and_then(|dir| entry(dir, "pids.events", "max"))
                .or_else(|| entry(self.pids.as_deref()?, "pids.events", "max")),
        }
    }
}

/// The number in a file; `None` for `max` and for what is not there.
fn number(dir: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

/// The number behind a word at a line's beginning.
fn entry(dir: &Path, file: &str, word: &str) -> Option<u64> {
    let text = std::fs::read_to_string(dir.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let places = Hierarchies::read(&proc).places_of(&proc, Pid(42))?;
        Some(places.examine("runner-1".into()))
    }

    #[test]
    fn both_hierarchies_are_read_and_the_root_group_is_none() {
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
