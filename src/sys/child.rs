//! A child process that is given something hostile to read: another user, few resources, no new rights, an end in time.

use crate::model::Uid;
use crate::sys::dir::Dir;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::set_no_new_privs;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How much of what a child prints is kept.
const MAX_OUTPUT: u64 = 16 * 1024;

/// What a child may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Address space, in bytes.
    pub memory: u64,
    /// Open files.
    pub files: u64,
    /// From its start to its end.
    pub time: Duration,
}

/// How a child ended.
#[derive(Debug)]
pub enum End {
    /// By itself; what it complained of.
    Exited(ExitStatus, String),
    /// It took too long, and was ended with all that it had started.
    OutOfTime,
}

/// Runs `command` as `user`, in `dir`, to its end or the end of its time. It leads a process group of its own, which is killed
/// whole; it dies with us; it writes no file and gains no rights. Its standard output is thrown away.
///
/// # Errors
/// When it cannot be started.
pub fn run(command: &mut Command, user: (Uid, u32), dir: &Dir, limits: Limits) -> io::Result<End> {
    // The descriptor is inherited until the program is executed: the child enters exactly the directory that was opened.
    command.current_dir(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    if nix::unistd::geteuid().as_raw() != user.0.0 {
        command.uid(user.0.0).gid(user.1);
    }
    confine(command, limits);
    let mut child = command.spawn()?;
    let group = Pid::from_raw(child.id() as i32);
    let complaint = child.stderr.take().map(|pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes);
            bytes
        })
    });
    let deadline = Instant::now() + limits.time;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    // Also after its own end: what it started and left is in the same group, and would keep the pipe open.
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
    let Some(status) = status else { return Ok(End::OutOfTime) };
    let complaint = complaint.and_then(|reader| reader.join().ok()).unwrap_or_default();
    Ok(End::Exited(status, String::from_utf8_lossy(&complaint).trim().to_owned()))
}

fn confine(command: &mut Command, limits: Limits) {
    let set = |resource: Resource, most: u64| {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(io::Error::from)
    };
    let prepare = move || {
        set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        set_no_new_privs(true)?;
        set(Resource::As, limits.memory)?;
        set(Resource::Nofile, limits.files)?;
        set(Resource::Cpu, limits.time.as_secs().max(1))?;
        set(Resource::Fsize, 0)?;
        set(Resource::Core, 0)
    };
    // SAFETY: between fork and exec only system calls are made (prctl, setrlimit), nothing is allocated and no lock is taken.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::dir::Dir;

    fn shell(script: &str, time: Duration) -> (tempfile::TempDir, io::Result<End>) {
        let temp = tempfile::tempdir().unwrap();
        let (dir, _) = Dir::resolve(temp.path()).unwrap();
        let me = (Uid(nix::unistd::geteuid().as_raw()), nix::unistd::getegid().as_raw());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env_clear().env("PATH", "/usr/bin:/bin");
        let end = run(&mut command, me, &dir, Limits { memory: 1 << 30, files: 64, time });
        (temp, end)
    }

    #[test]
    fn it_runs_in_its_directory_and_can_write_nothing() {
        let (temp, end) = shell("pwd >&2; ulimit -n >&2; echo x > file; exit 3", Duration::from_secs(20));
        let Ok(End::Exited(status, said)) = end else { panic!("{end:?}") };
        // SIGXFSZ for the shell itself, or an error from echo: in no case is anything written.
        assert_ne!(status.code(), Some(0));
        assert!(said.contains(temp.path().file_name().unwrap().to_str().unwrap()), "{said}");
        assert!(said.contains("\n64"), "{said}");
        assert_eq!(std::fs::read(temp.path().join("file")).unwrap_or_default(), b"");
    }

    #[test]
    fn its_whole_group_is_ended_in_time() {
        let (_temp, end) = shell("sleep 600 & echo $! >&2; sleep 600", Duration::from_millis(300));
        assert!(matches!(end, Ok(End::OutOfTime)), "{end:?}");
        let (_temp, end) = shell("sleep 600 & echo $! >&2", Duration::from_secs(20));
        let Ok(End::Exited(status, said)) = end else { panic!("{end:?}") };
        assert!(status.success());
        let alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{said}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!alive(), "pid {said} was started by it and outlives it");
    }
}
