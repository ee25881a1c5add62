//! What cgroups and the kernel's stall information count. Both versions of cgroups are looked at: hosts have either, or both.

use crate::model::Pid;
use crate::model::postmortem::{MemoryEvents, Observed, Pressure, TaskEvents};
use crate::sys::process::Proc;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// Where cgroups are mounted.
pub const MOUNT: &str = "/sys/fs/cgroup";

/// These files are short.
const MAX_BYTES: u64 = 64 << 10;

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The memory group of a process, in either version.
pub fn group_of(proc: &Proc, pid: Pid) -> Option<Group> {
    let text = read(&proc.path_of(pid, "cgroup")).ok()?;
    let mut second = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if controllers.split(',').any(|controller| controller == "memory") {
            return Some(Group::First(path.to_owned()));
        }
        if controllers.is_empty() {
            second = Some(Group::Second(path.to_owned()));
        }
    }
    second
}

/// A cgroup by its path below its hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// In the memory hierarchy of the first version.
    First(String),
    /// In the one hierarchy of the second.
    Second(String),
}

impl Group {
    /// Its path.
    pub fn path(&self) -> &str {
        match self {
            Self::First(path) | Self::Second(path) => path,
        }
    }

    /// Where a file of it may be; nowhere outside of our cgroup namespace, where the path means nothing.
    fn places(&self, mount: &Path, controller: &str, file: &str) -> Vec<PathBuf> {
        let path = Path::new(self.path());
        if path.components().any(|part| part == Component::ParentDir) {
            return Vec::new();
        }
        let below: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let hierarchies = match self {
            Self::First(_) => vec![mount.join(controller)],
            // On a host with both versions the second stands beside the first.
            Self::Second(_) => vec![mount.to_owned(), mount.join("unified")],
        };
        hierarchies.into_iter().map(|hierarchy| hierarchy.join(&below).join(file)).collect()
    }
}

/// How often no task could be started in this group (`pids.events`, Documentation/admin-guide/cgroup-v2.rst).
pub fn task_events(mount: &Path, groups: &[Group]) -> Option<TaskEvents> {
    let files = groups.iter().flat_map(|group| group.places(mount, "pids", "pids.events"));
    files.into_iter().find_map(|file| {
        let text = read(&file).ok()?;
        let refused = text.lines().find_map(|line| line.strip_prefix("max ")?.trim().parse().ok())?;
        Some(TaskEvents { file: file.display().to_string(), refused })
    })
}

/// How often processes of this group were killed for want of memory.
pub fn memory_events(mount: &Path, groups: &[Group]) -> Observed<MemoryEvents> {
    let mut tried = Vec::new();
    for group in groups {
        let (file, path) = match group {
            Group::First(path) => ("memory.oom_control", path),
            Group::Second(path) => ("memory.events", path),
        };
        for file in group.places(mount, "memory", file) {
            match read(&file).ok().and_then(|text| count(&text)) {
                Some(oom_kills) => {
                    return Observed::Known(MemoryEvents {
                        group: path.clone(),
                        file: file.display().to_string(),
                        oom_kills,
                        counts_below: matches!(group, Group::Second(_)),
                    });
                }
                None => tried.push(file.display().to_string()),
            }
        }
    }
    let what = match tried.as_slice() {
        [] => "the runner's cgroup: neither its unit nor its Listener is there to name it".to_owned(),
        tried => format!("the cgroup's count of kills: {} cannot be read", tried.join(", ")),
    };
    Observed::missing(
        what,
        "run the runner as a systemd unit (`svc.sh install`), whose group outlives its processes",
    )
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Stall information of the whole host.
pub fn pressure(proc: &Proc) -> Observed<Pressure> {
    let full = |file: &str| -> Option<f64> {
        let text = read(&proc.root().join("pressure").join(file)).ok()?;
        let line = text.lines().find(|line| line.starts_with("full "))?;
        line.split(' ').find_map(|field| field.strip_prefix("avg300=")?.parse().ok())
    };
    match (full("memory"), full("io")) {
        (Some(memory), Some(io)) => Observed::Known(Pressure { memory, io }),
        _ => Observed::missing(
            "pressure stall information: this kernel keeps none",
            "boot with psi=1 (CONFIG_PSI)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_counted_where_they_are() {
        let temp = tempfile::tempdir().unwrap();
        let group = |path: &str, file: &str, text: &str| {
            std::fs::create_dir_all(temp.path().join(path)).unwrap();
            std::fs::write(temp.path().join(path).join(file), text).unwrap();
        };
        group("memory/a", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        group("unified/b", "memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n");
        group("secret", "memory.events", "oom_kill 9\n");
        let found = |group: Group| memory_events(temp.path(), &[group]);
        let kills = |group: Group| found(group).known().map(|events| (events.oom_kills, events.counts_below));
        assert_eq!(kills(Group::First("/a".into())), Some((3, false)));
        assert_eq!(kills(Group::Second("/b".into())), Some((1, true)));
        assert_eq!(kills(Group::First("/gone".into())), None);
        assert_eq!(kills(Group::Second("/../secret".into())), None, "another namespace's path");
        assert!(matches!(memory_events(temp.path(), &[]), Observed::Unknown(_)));
        group("b", "pids.events", "max 4\n");
        let refused =
            |path: &str| task_events(temp.path(), &[Group::Second(path.into())]).map(|events| events.refused);
        assert_eq!((refused("/b"), refused("/gone")), (Some(4), None));
    }

    #[test]
    fn a_process_has_one_memory_group() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("7")).unwrap();
        let proc = Proc::new(temp.path());
        for (text, group) in [
            ("0::/system.slice/x.service\n", Some(Group::Second("/system.slice/x.service".into()))),
            ("9:name=systemd:/\n4:memory:/a:b\n0::/z\n", Some(Group::First("/a:b".into()))),
            ("5:cpu,memory:/c\n", Some(Group::First("/c".into()))),
            ("garbage", None),
        ] {
            std::fs::write(temp.path().join("7/cgroup"), text).unwrap();
            assert_eq!(group_of(&proc, Pid(7)), group, "{text}");
        }
        assert!(matches!(pressure(&proc), Observed::Unknown(_)));
        std::fs::create_dir_all(temp.path().join("pressure")).unwrap();
        for file in ["memory", "io"] {
            let text = "some avg10=0.60 avg60=1.25 avg300=0.93 total=2\nfull avg10=0.01 avg60=0.45 avg300=12.58 total=9\n";
            std::fs::write(temp.path().join("pressure").join(file), text).unwrap();
        }
        assert_eq!(pressure(&proc).known().unwrap().memory, 12.58);
    }
}
