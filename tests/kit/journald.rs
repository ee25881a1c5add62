//! A real systemd-journald for one test, in a mount namespace of its own with an empty `/run`.
//!
//! The namespace belongs to a thread, and everything that the thread starts lives in it: Listeners, Workers, hooks. It
//! vanishes with the last of them. Only this journald is ever signalled, by its own pid.

use super::wait::until;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = "/lib/systemd/systemd-journald";
const SOCKET: &str = "/run/systemd/journal/socket";
const FILES: &str = "/run/log/journal";

/// Keeps everything in memory and in its own files, takes all that comes, and leaves the kernel's log and audit alone.
const CONFIGURATION: &str = "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=\nRateLimitIntervalSec=0\nRateLimitBurst=0\n\
                             ForwardToSyslog=no\nForwardToKMsg=no\nForwardToConsole=no\nForwardToWall=no\n";

/// Whether a test that needs a journald may run; says so when it may not.
pub(crate) fn needs_journald() -> bool {
    let installed = Path::new(PROGRAM).exists();
    if !installed {
        eprintln!("skipped: {PROGRAM} is not installed");
    }
    installed && super::needs_root("starts a journald in a mount namespace of its own")
}

/// Runs `test` with an empty `/run` that only it and what it starts can see.
pub(crate) fn in_own_run<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let isolated = || {
        // Of this thread alone; nothing that happens below / is seen outside.
        unshare(CloneFlags::CLONE_NEWNS).expect("root may have a mount namespace");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("mounts can be private");
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("size=256m")).expect("a tmpfs");
        test()
    };
    let ended = std::thread::scope(|scope| scope.spawn(isolated).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A live journald. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Journald {
    child: Child,
}

impl Journald {
    /// Starts it and waits until it listens. Only inside [`in_own_run`].
    pub(crate) fn start() -> Self {
        let drop_in = Path::new("/run/systemd/journald.conf.d");
        assert!(!drop_in.exists() && !Path::new(SOCKET).exists(), "this /run is not the test's own");
        std::fs::create_dir_all(drop_in).expect("a directory on our own tmpfs");
        std::fs::create_dir_all("/run/systemd/journal").expect("a directory on our own tmpfs");
        std::fs::write(drop_in.join("test.conf"), CONFIGURATION).expect("a file on our own tmpfs");
        // systemd lets datagram queues grow to 512; the kernel's own default is 10. The limit belongs to a network
        // namespace and to the sockets made in it. A test that is killed takes its journald along.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c"]);
        command.arg(format!("echo 512 >/proc/sys/net/unix/max_dgram_qlen; exec {PROGRAM}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let journald = Self { child: command.spawn().expect("setpriv and unshare are part of util-linux") };
        until("journald to listen", || connect().map(drop));
        journald
    }

    /// All entries of disk-guard, in order. A field that is no printable UTF-8 is a list of bytes.
    pub(crate) fn entries(&self) -> Vec<Map<String, Value>> {
        journalctl(&["--sync"]);
        let text = journalctl(&["-D", FILES, "-o", "json", "--all", "SYSLOG_IDENTIFIER=disk-guard"]);
        text.lines().map(|line| serde_json::from_str(line).expect("journalctl speaks JSON")).collect()
    }

    /// It takes nothing any more until [`Self::go_on`].
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        until("journald to stop", || {
            super::process_state(self.pid()).is_some_and(|(state, _)| state == 'T').then_some(())
        });
    }

    /// It takes everything that has queued up.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Fills its queue to the brim. What fills it is nobody's entry.
    pub(crate) fn fill(&self) {
        loop {
            let socket = connect().expect("it listens");
            socket.set_nonblocking(true).expect("a socket can be polled");
            // A socket has a budget of its own for what is under way: when a fresh one cannot send, the queue is full.
            if socket.send(b"FILLER=1\n").is_err() {
                return;
            }
            while socket.send(b"FILLER=1\n").is_ok() {}
        }
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("it is our child");
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.connect(SOCKET).ok().map(|()| socket)
}

/// Runs journalctl; its output.
pub(crate) fn journalctl(arguments: &[&str]) -> String {
    let mut command = Command::new("journalctl");
    let output = command.args(arguments).env("LC_ALL", "C.UTF-8").output().expect("journalctl runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "journalctl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}
