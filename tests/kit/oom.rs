//! The kernel's own way of ending a process: no memory is left in its group.

use super::processes::{is_alive, process_state};
use super::wait::until;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A memory cgroup (the first version's hierarchy) with a small limit, removed when dropped.
#[derive(Debug)]
pub(crate) struct TightGroup(PathBuf);

impl TightGroup {
    /// One of 8 MiB. `None`, and a line that says so, where there is no such hierarchy.
    pub(crate) fn make() -> Option<Self> {
        let path = Path::new("/sys/fs/cgroup/memory").join(format!("disk-guard-test-{}", std::process::id()));
        let made = std::fs::create_dir(&path)
            .and_then(|()| std::fs::write(path.join("memory.limit_in_bytes"), (8 << 20).to_string()));
        if let Err(error) = made {
            super::skip(&format!("no memory cgroup can be made at {}: {error}", path.display()));
            return None;
        }
        Some(Self(path))
    }

    /// Puts `victim` into the group as the one to be ended first, and another process that takes memory until none is left.
    /// Returns when the kernel has ended the victim.
    pub(crate) fn end(&self, victim: i32) {
        let killed = self.killed();
        std::fs::write(format!("/proc/{victim}/oom_score_adj"), "1000").expect("it is ours");
        std::fs::write(self.0.join("cgroup.procs"), victim.to_string()).expect("it can be moved");
        let script = format!("echo $$ >{}/cgroup.procs; exec tail /dev/zero", self.0.display());
        let mut hog = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        until("the kernel to end the victim", || (!is_alive(victim)).then_some(()));
        assert!(self.killed() > killed, "it was the kernel that ended {victim}: {:?}", process_state(victim));
        let _ = hog.kill();
        let _ = hog.wait();
    }

    /// How often the kernel has ended somebody here.
    fn killed(&self) -> u64 {
        let text = std::fs::read_to_string(self.0.join("memory.oom_control")).expect("the group is there");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.expect("the kernel counts them").parse().expect("a number")
    }
}

impl Drop for TightGroup {
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
