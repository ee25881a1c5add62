//! Control groups, of both versions: where a group's files are, and their values. On a hybrid host each value is in the hierarchy with its
//! controller: memory may be in the first version's, and tasks in the second's.

use super::mountinfo;
use super::process::Proc;
use crate::model::Pid;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// These files are short.
const MAX_BYTES: u64 = 64 << 10;

/// Where the hierarchies are mounted.
#[derive(Debug, Default)]
pub struct Hierarchies {
    unified: Option<Mounted>,
    memory: Option<Mounted>,
    pids: Option<Mounted>,
}

/// A mount point, and the group that is the root there.
#[derive(Debug)]
struct Mounted {
    point: PathBuf,
    root: PathBuf,
}

/// A group by its path in each hierarchy that it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    unified: Option<String>,
    memory: Option<String>,
    pids: Option<String>,
}

/// The directories of a group.
#[derive(Debug, Default)]
pub struct Place {
    /// Of the second version.
    pub unified: Option<PathBuf>,
    /// Of the first version's controller `memory`.
    pub memory: Option<PathBuf>,
    /// Of the first version's controller `pids`.
    pub pids: Option<PathBuf>,
}

/// The value of a counter.
#[derive(Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub value: u64,
    /// The file.
    pub file: PathBuf,
    /// Whether it is a file of the second version, which counts groups below as well.
    pub is_unified: bool,
}

impl Group {
    /// The group of a process; the root's path is `/`.
    pub fn of(proc: &Proc, pid: Pid) -> Option<Self> {
        // `hierarchy:controllers:path`, the second version's as `0::path`.
        let text = read(&proc.path_of(pid, "cgroup")).ok()?;
        let mut group = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if controllers.is_empty() {
                group.unified = Some(path.to_owned());
            }
            for controller in controllers.split(',') {
                match controller {
                    "memory" => group.memory = Some(path.to_owned()),
                    "pids" => group.pids = Some(path.to_owned()),
                    _ => {}
                }
            }
        }
        (group != Self::default()).then_some(group)
    }

    /// The group with this path in every hierarchy, as systemd creates a unit's group.
    pub fn named(path: &str) -> Self {
        let path = Some(path.to_owned());
        Self { unified: path.clone(), memory: path.clone(), pids: path }
    }

    /// The same without the hierarchies in which it is the root group, which limits nothing; none if there is no other.
    pub fn below_root(mut self) -> Option<Self> {
        for path in [&mut self.unified, &mut self.memory, &mut self.pids] {
            path.take_if(|path| path == "/");
        }
        (self != Self::default()).then_some(self)
    }

    /// Its path, in the second version's hierarchy where it is in that.
    pub fn path(&self) -> &str {
        self.unified.as_ref().or(self.memory.as_ref()).or(self.pids.as_ref()).map_or("/", String::as_str)
    }

    /// Its path in the hierarchy that counts its memory.
    pub fn path_of(&self, kills: &Count) -> &str {
        let path = if kills.is_unified { &self.unified } else { &self.memory };
        path.as_deref().unwrap_or_default()
    }
}

impl Hierarchies {
    /// Where they are mounted now.
    pub fn read(proc: &Proc) -> Self {
        let mut found = Self::default();
        let table = mountinfo::read_own(proc.root()).unwrap_or_default();
        for mount in mountinfo::parse(&table).unwrap_or_default() {
            let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
            let place = || Mounted { point: path(&mount.point), root: path(&mount.root) };
            let has = |controller| mountinfo::option(mount.options, controller).is_some();
            match mount.kind {
                b"cgroup2" => {
                    found.unified.get_or_insert_with(place);
                }
                b"cgroup" => {
                    if has("memory") {
                        found.memory.get_or_insert_with(place);
                    }
                    if has("pids") {
                        found.pids.get_or_insert_with(place);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Where a group's files are: nowhere for a group outside of the mounted part, or outside of our cgroup namespace.
    pub fn place(&self, group: &Group) -> Place {
        let below = |hierarchy: &Option<Mounted>, path: &Option<String>| {
            let (hierarchy, path) = (hierarchy.as_ref()?, path.as_ref()?);
            let rest = Path::new(path).strip_prefix(&hierarchy.root).ok()?;
            let is_within = rest.components().all(|part| matches!(part, Component::Normal(_)));
            is_within.then(|| hierarchy.point.join(rest))
        };
        Place {
            unified: below(&self.unified, &group.unified),
            memory: below(&self.memory, &group.memory),
            pids: below(&self.pids, &group.pids),
        }
    }
}

impl Place {
    /// How often processes of the group were killed because of the memory limit.
    ///
    /// # Errors
    /// The files without the value.
    pub fn oom_kills(&self) -> Result<Count, Vec<PathBuf>> {
        first([(&self.unified, "memory.events"), (&self.memory, "memory.oom_control")], "oom_kill")
    }

    /// How often a task could not be started in the group (`pids.events`, Documentation/admin-guide/cgroup-v2.rst).
    ///
    /// # Errors
    /// The files without the value.
    pub fn forks_refused(&self) -> Result<Count, Vec<PathBuf>> {
        first([(&self.unified, "pids.events"), (&self.pids, "pids.events")], "max")
    }
}

/// The value after a key in the first of two files that has it: the second version's, then the first's.
fn first(files: [(&Option<PathBuf>, &str); 2], word: &str) -> Result<Count, Vec<PathBuf>> {
    let mut silent = Vec::new();
    for (at, (dir, file)) in files.into_iter().enumerate() {
        let Some(dir) = dir else { continue };
        let file = dir.join(file);
        match entry(&file, word) {
            Some(value) => return Ok(Count { value, file, is_unified: at == 0 }),
            None => silent.push(file),
        }
    }
    Err(silent)
}

/// The number in a file; `None` for `max` and for a missing file.
pub fn number(file: &Path) -> Option<u64> {
    read(file).ok()?.trim().parse().ok()
}

/// The number after a key at a line's beginning.
fn entry(file: &Path, word: &str) -> Option<u64> {
    let text = read(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(at: PathBuf, text: impl AsRef<[u8]>) {
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, text).unwrap();
    }

    /// A machine with these mounts below its base, and one more by a name that is not UTF-8.
    fn machine(mounts: &[(&str, &str, &str)]) -> (tempfile::TempDir, Proc) {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().to_owned();
        let line = |(at, root, kind): &(&str, &str, &str)| {
            format!("31 23 0:28 {root} {}/{at} rw - {kind}\n", base.display())
        };
        let table: String = mounts.iter().map(line).collect();
        let odd = b"30 23 0:29 / /mnt/\xff\\040x rw - tmpfs t rw\n";
        write(base.join("proc/self/mountinfo"), [odd, table.as_bytes()].concat());
        let proc = Proc::new(&base.join("proc"));
        (temp, proc)
    }

    #[test]
    fn both_versions_are_counted_where_they_are() {
        let (temp, proc) = machine(&[
            ("cg/unified", "/", "cgroup2 cgroup2 rw"),
            ("cg/memory", "/", "cgroup cgroup rw,memory"),
            ("cg/pids", "/docker/x", "cgroup cgroup rw,pids"),
        ]);
        let hierarchies = Hierarchies::read(&proc);
        write(
            temp.path().join("cg/memory/a/memory.oom_control"),
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        );
        write(
            temp.path().join("cg/unified/b/memory.events"),
            "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n",
        );
        write(temp.path().join("cg/pids/b/pids.events"), "max 4\n");
        write(temp.path().join("secret/memory.events"), "oom_kill 9\n");
        let kills = |group: &str| {
            let count = hierarchies.place(&Group::named(group)).oom_kills().ok()?;
            Some((count.value, count.is_unified))
        };
        assert_eq!((kills("/a"), kills("/b"), kills("/gone")), (Some((3, false)), Some((1, true)), None));
        assert_eq!(kills("/../../secret"), None, "another namespace's path");
        let silent = hierarchies.place(&Group::named("/gone")).oom_kills().unwrap_err();
        assert_eq!(silent.len(), 2, "{silent:?}");
        let refused = |group: &str| hierarchies.place(&Group::named(group)).forks_refused().ok();
        assert_eq!(refused("/docker/x/b").map(|count| (count.value, count.is_unified)), Some((4, false)));
        assert_eq!(refused("/b"), None, "its group is not below what is mounted");
    }

    #[test]
    fn a_process_has_one_group_in_each_hierarchy() {
        let (temp, proc) = machine(&[]);
        let of = |text: &str| {
            write(temp.path().join("proc/7/cgroup"), text);
            Group::of(&proc, Pid(7))
        };
        let unit = of("0::/system.slice/x.service\n").unwrap();
        assert_eq!((unit.path(), unit.memory.is_none()), ("/system.slice/x.service", true));
        let hybrid = of("9:name=systemd:/\n4:memory:/a:b\n0::/z\n").unwrap();
        assert_eq!((hybrid.path(), hybrid.memory.as_deref()), ("/z", Some("/a:b")));
        assert_eq!(of("5:cpu,memory:/c\n").unwrap().path(), "/c");
        assert_eq!(of("0::/\n").and_then(Group::below_root), None);
        assert_eq!(of("4:memory:/a\n0::/\n").and_then(Group::below_root).unwrap().unified, None);
        assert_eq!(of("garbage"), None);
    }
}
