//! A real systemd-journald for one test, in a mount namespace of its own with an empty `/run`.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = "/lib/systemd/systemd-journald";
const CONFIGURATION: &str = "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=\nRateLimitIntervalSec=0\nRateLimitBurst=0\n\
                             ForwardToSyslog=no\nForwardToKMsg=no\nForwardToConsole=no\nForwardToWall=no\n";

/// Whether it can be started; says so when not.
pub(super) fn is_to_be_had() -> bool {
    let is_installed = Path::new(PROGRAM).exists() && Path::new("/etc/machine-id").exists();
    if !is_installed {
        eprintln!("skipped: {PROGRAM} is not installed, or this machine has no id");
    }
    is_installed && super::kit::needs_root("starts a journald in a mount namespace of its own")
}

/// The running journald. Dropped, it is killed.
pub(super) struct Journald(Child);

impl Journald {
    fn start() -> Self {
        std::fs::create_dir_all("/run/systemd/journald.conf.d").expect("our own tmpfs");
        std::fs::create_dir_all("/run/systemd/journal").expect("our own tmpfs");
        std::fs::write("/run/systemd/journald.conf.d/test.conf", CONFIGURATION).expect("our own tmpfs");
        // A test that is killed takes its journald along.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", PROGRAM]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let journald = Self(command.spawn().expect("setpriv is part of util-linux"));
        super::kit::until("journald to listen", || {
            let socket = UnixDatagram::unbound().expect("a socket");
            socket.connect("/run/systemd/journal/socket").ok()
        });
        journald
    }

    /// Waits until all that was sent can be read.
    pub(super) fn sync(&self) {
        let status = Command::new("journalctl").arg("--sync").status().expect("journalctl runs");
        assert!(status.success());
    }

    /// Loses everything, as a reboot does to a journal in memory.
    pub(super) fn forget(&self) {
        let run = |argument: &str| {
            let output = Command::new("journalctl").arg(argument).output().expect("journalctl runs");
            assert!(output.status.success(), "{output:?}");
        };
        run("--rotate");
        run("--vacuum-time=1us");
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `test` with an empty `/run` and a journald that only it and what it starts can see.
pub(super) fn in_own_run(test: impl FnOnce(&Journald) + Send) {
    let isolated = || {
        unshare(CloneFlags::CLONE_NEWNS).expect("root may have a mount namespace");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("mounts can be private");
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("size=64m")).expect("a tmpfs");
        test(&Journald::start());
    };
    let ended = std::thread::scope(|scope| scope.spawn(isolated).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
