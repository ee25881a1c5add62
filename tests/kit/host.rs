//! One throw-away machine.

use super::disk::{Disk, Fs, unmount_below};
use super::guard::{Call, Report, Run};
use super::machine;
use super::runner::RunnerBuilder;
use super::settings::Settings;
use nix::fcntl::Flock;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Every host's directory starts with this, followed by the pid of its test and the host's number there: the next host of the
/// same program may stand before the last one's end has been looked at.
const PREFIX: &str = "dg-host-";
static HOSTS: AtomicU32 = AtomicU32::new(0);

/// The group of the unprivileged runners of a host; owns the run directory, as `disk-guard` does on a real one.
pub(crate) const SHARED_GID: u32 = 12_000;

/// A machine: runners below `runners/`, a configuration, run and state directories, the guard's binary and hook scripts.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) base: PathBuf,
    /// As whom runners run unless built otherwise; `None` = as the test.
    pub(crate) runner_user: Option<(u32, u32)>,
    settings: Settings,
    // Dropped in this order: filesystems first, then the directory below them, then the lock.
    disks: Vec<Disk>,
    _base: Base,
    _lock: Flock<File>,
}

impl Host {
    /// A machine in the temporary directory; no root needed.
    pub(crate) fn new() -> Self {
        Self::on(Fs::Directory)
    }

    /// A machine whose runners lie on a filesystem of their own (root only, but for [`Fs::Directory`]).
    pub(crate) fn on(fs: Fs) -> Self {
        let lock = machine::take();
        remove_leftovers();
        machine::wait_for_strangers();
        let base = std::env::temp_dir().join(format!(
            "{PREFIX}{}-{:04}",
            std::process::id(),
            HOSTS.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir(&base).expect("the directory is new: no two hosts share a name");
        let guard = Base(base.clone());
        for (directory, mode) in [
            ("", 0o755),
            ("run", 0o2755),
            ("run/leases", 0o1770),
            ("run/requests", 0o1770),
            ("run/tickets", 0o1770),
            ("run/counters", 0o1770),
            ("state", 0o755),
            ("sockets", 0o777),
            ("sbin", 0o755),
            ("hooks", 0o755),
            ("runners", 0o755),
        ] {
            let path = base.join(directory);
            std::fs::create_dir_all(&path).expect("a directory of the host");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("it is ours");
        }
        // As tmpfiles.d makes it.
        let host_lock = base.join("run/host.lock");
        File::create(&host_lock).expect("the host lock");
        std::fs::set_permissions(&host_lock, PermissionsExt::from_mode(0o660)).expect("it is ours");
        if nix::unistd::geteuid().is_root() {
            for name in ["run", "run/leases", "run/requests", "run/tickets", "run/counters", "run/host.lock"]
            {
                std::os::unix::fs::chown(base.join(name), Some(0), Some(SHARED_GID))
                    .expect("root gives away");
            }
        }
        let program = base.join("sbin/disk-guard");
        if std::fs::hard_link(env!("CARGO_BIN_EXE_disk-guard"), &program).is_err() {
            std::fs::copy(env!("CARGO_BIN_EXE_disk-guard"), &program).expect("the guard can be copied");
        }
        let disk = Disk::mount(fs, &base.join("runners"), &base.join("runners.img"));
        let host = Self {
            runner_user: None,
            settings: Settings::quiet(base.join("runners/*").to_str().expect("UTF-8").to_owned()),
            disks: disk.into_iter().collect(),
            base,
            _base: guard,
            _lock: lock,
        };
        host.write_settings();
        host.write_hook(&host.started_script(), "started");
        host.write_hook(&host.completed_script(), "completed");
        host
    }

    /// Changes the configuration.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.write_settings();
    }

    /// Another filesystem, at `at`.
    pub(crate) fn mount(&mut self, fs: Fs, at: &Path) {
        let image = self.base.join(format!("disk{}.img", self.disks.len()));
        // Before those it may lie on.
        self.disks.splice(0..0, Disk::mount(fs, at, &image));
    }

    /// Shows `from` at `at` too.
    pub(crate) fn bind(&mut self, from: &Path, at: &Path) {
        self.disks.insert(0, Disk::bind(from, at));
    }

    /// A runner at `runners/NAME`.
    pub(crate) fn runner(&self, name: &str) -> RunnerBuilder<'_> {
        RunnerBuilder::new(self, self.runners().join(name))
    }

    /// A runner at any other path.
    pub(crate) fn runner_at(&self, root: &Path) -> RunnerBuilder<'_> {
        RunnerBuilder::new(self, root.to_owned())
    }

    pub(crate) fn runners(&self) -> PathBuf {
        self.base.join("runners")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.base.join("run")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.base.join("state")
    }

    pub(crate) fn host_lock(&self) -> PathBuf {
        self.base.join("run/host.lock")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.base.join("config.toml")
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.base.join("sockets")
    }

    pub(crate) fn started_script(&self) -> PathBuf {
        self.base.join("hooks/job-started.sh")
    }

    pub(crate) fn completed_script(&self) -> PathBuf {
        self.base.join("hooks/job-completed.sh")
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.base.join("sbin/disk-guard")
    }

    /// `disk-guard --config CONFIG ARGUMENTS`, not yet run.
    pub(crate) fn call(&self, arguments: &[&str]) -> Call {
        let mut all: Vec<OsString> = vec!["--config".into(), self.config().into()];
        all.extend(arguments.iter().map(OsString::from));
        Call { program: self.program(), arguments: all, user: None }
    }

    /// Runs it.
    pub(crate) fn guard(&self, arguments: &[&str]) -> Run {
        self.call(arguments).run()
    }

    /// `plan --json`.
    #[track_caller]
    pub(crate) fn plan(&self) -> Report {
        self.guard(&["plan", "--json"]).expect_code(&[0, 20]).report()
    }

    /// `sweep --json`, whether or not it reaches its goal.
    #[track_caller]
    pub(crate) fn sweep(&self) -> Report {
        self.guard(&["sweep", "--json"]).expect_code(&[0, 20]).report()
    }

    /// `status --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Report {
        self.guard(&["status", "--json"]).expect_code(&[0]).report()
    }

    /// The shared directories as one user's machine has them: what the test itself made stays readable to all.
    pub(crate) fn leases(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.base.join("run/leases")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    fn write_settings(&self) {
        std::fs::write(self.config(), self.settings.to_toml(&self.run_dir(), &self.state_dir()))
            .expect("the configuration can be written");
    }

    /// What a runner's `.env` names: it has to be a `.sh`, and becomes the guard.
    fn write_hook(&self, path: &Path, which: &str) {
        let line =
            format!("exec {} --config {} hook {which}\n", self.program().display(), self.config().display());
        std::fs::write(path, format!("#!/bin/bash\n{line}")).expect("a hook script");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    }
}

/// The host's directory, removed at the end.
#[derive(Debug)]
struct Base(PathBuf);

impl Drop for Base {
    fn drop(&mut self) {
        if unmount_below(&self.0) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Removes what tests that were killed have left. Under the lock no live test has such a directory.
fn remove_leftovers() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && unmount_below(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
