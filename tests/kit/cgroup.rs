//! Memory groups of the kernel's first version of cgroups, small enough to be filled at once.

use super::processes::{is_alive, process_state};
use super::wait::until;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A memory cgroup with a limit, removed when dropped.
#[derive(Debug)]
pub(crate) struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// One of so many bytes, beside the test's own: what happens in it is no business of those who stay there. `None`, and a
    /// line that says so, where none can be made.
    pub(crate) fn of(limit: u64) -> Option<Self> {
        // A process of another pid namespace may have the same number.
        let path = |number: u32| {
            let name = format!("disk-guard-test-{}-{number}", std::process::id());
            Path::new("/sys/fs/cgroup/memory").join(name)
        };
        let is_taken = |made: &std::io::Result<()>| {
            made.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists)
        };
        let tries = (0..64).map(|number| (path(number), std::fs::create_dir(path(number))));
        let (path, made) = tries.into_iter().find(|(_, made)| !is_taken(made))?;
        let made = made.map(|()| Self(path.clone())).and_then(|group| {
            std::fs::write(path.join("memory.limit_in_bytes"), limit.to_string()).map(|()| group)
        });
        if let Err(error) = &made {
            super::skip(&format!("no memory cgroup can be made at {}: {error}", path.display()));
        }
        made.ok()
    }

    /// Puts a process into the group; what it starts from then on is in it too.
    pub(crate) fn add(&self, pid: i32) {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("root may move processes");
    }

    /// Puts `victim` into the group as the one to be ended first, and another process that takes memory until none is left.
    /// Returns when the kernel has ended the victim.
    pub(crate) fn end(&self, victim: i32) {
        let killed = self.killed();
        std::fs::write(format!("/proc/{victim}/oom_score_adj"), "1000").expect("it is ours");
        self.add(victim);
        let mut hog = self.hog();
        until("the kernel to end the victim", || (!is_alive(victim)).then_some(()));
        assert!(self.killed() > killed, "it was the kernel that ended {victim}: {:?}", process_state(victim));
        let _ = hog.kill();
        let _ = hog.wait();
    }

    /// Takes memory in the group until the kernel ends whoever takes it: nobody else is meant.
    pub(crate) fn fill(&self) {
        let mut hog = self.hog();
        until("the kernel to end the greedy one", || hog.try_wait().expect("it is our child"));
    }

    /// A process of the group that takes memory until none is left.
    fn hog(&self) -> Child {
        let script = format!("echo $$ >{}/cgroup.procs; exec tail /dev/zero", self.0.display());
        let mut hog = Command::new("sh");
        hog.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        hog.spawn().expect("a shell starts")
    }

    /// How often the kernel has ended somebody here.
    fn killed(&self) -> u64 {
        let text = std::fs::read_to_string(self.0.join("memory.oom_control")).expect("the group is there");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.expect("the kernel counts them").parse().expect("a number")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Whoever has just died may still be counted.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
