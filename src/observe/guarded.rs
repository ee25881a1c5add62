//! Whether a runner's jobs run our started-hook.
//!
//! Only then is the order between a claim and a job's start certain. It must hold for every Listener of the root: each has read
//! `<root>/.env` once, at its own start, and starts its Workers with that. A hook that has run under a Listener has left a record, which
//! proves it. Before a Listener's first job there is none; then the runner counts as guarded when all of these hold: the Listener sees our
//! run directory and not another one at that path; its `.env` has not been modified since it started; and the hook in the `.env`, or
//! otherwise in its own environment, is a script whose first command is ours, with our run directory. If a time is uncertain or a file
//! cannot be read or followed, the runner is unguarded. Without any Listener no job begins before a new one has read the present `.env`.
//!
//! The runner's user can write all of these files; forging them harms no other user, and never frees anything of another runner.

mod unproved;

use super::dotenv::{self, Says};
use super::filesystems::MountTable;
use super::hook_script;
use super::processes::{self, HookVariable};
use crate::actions_runner::layout;
use crate::hook_record;
use crate::model::{Guarded, ListenerSeen, Runner, Stranger};
use crate::run_dir::RunDir;
use crate::sys::dir::{Dir, changed};
use crate::sys::process::{Proc, since_boot, started};
use crate::sys::reach;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use unproved::{ConfigFault, HookDoubt, Unproved};

/// The variable that names the hook.
pub const STARTED_VARIABLE: &str = HookVariable::JobStarted.name();

/// `.env` and configuration files are short.
const MAX_BYTES: u64 = 256 * 1024;

/// The resolution of file times and of process start times. The runner's runtime needs longer until it reads its `.env`.
const GRAIN: Duration = Duration::from_millis(10);

/// The default places of the guard's configuration and of its run directory.
const DEFAULT_CONFIG: &str = "/etc/disk-guard/config.toml";
const DEFAULT_RUN_DIR: &str = "/run/disk-guard";

/// The entries of the run directory that hooks and claims must share: the lock, and the directory of leases.
const SHARED: [&str; 2] = ["host.lock", "leases"];

/// By how much a log's name may be earlier than its Listener: less than any clock change.
const CLOCK_SET: Duration = Duration::from_secs(60);

/// The inputs of the check.
#[derive(Debug, Clone, Copy)]
pub struct GuardCheck<'a> {
    /// The process table.
    pub proc: &'a Proc,
    /// The shared directory, if there is one yet.
    pub run: Option<&'a RunDir>,
    /// Our own mounts.
    pub mounts: &'a MountTable,
    /// The scripts that this look has read already.
    pub scripts: &'a JudgedScripts,
}

/// The results for started-hooks that one look has examined: mostly all runners of a host name the same one.
#[derive(Debug, Default)]
pub struct JudgedScripts(RefCell<HashMap<PathBuf, Result<(), Arc<HookDoubt>>>>);

/// Judges one runner by all of its running Listeners. `strangers` are processes of no known runner.
pub fn judge(
    runner: &Runner,
    listeners: &[&ListenerSeen],
    strangers: &[Stranger],
    look: GuardCheck<'_>,
) -> Guarded {
    let env = read_env(runner);
    let judged = match listeners {
        [] => env.and_then(|env| look.by_env(&env, None)).and_then(|()| look.is_new_to(runner, strangers)),
        listeners => listeners.iter().try_for_each(|listener| look.at_listener(runner, listener, &env)),
    };
    match judged {
        Ok(()) => Guarded::Yes,
        Err(why) => Guarded::No(why.to_string()),
    }
}

/// A `.env` and its last change; empty and without a change if it is missing. It is next to `.runner` wherever the program is: nixpkgs'
/// package reads it there, too.
#[derive(Debug, Clone, Default)]
struct Env {
    bytes: Vec<u8>,
    changed: Option<SystemTime>,
}

fn read_env(runner: &Runner) -> Result<Env, Unproved> {
    let read = || -> io::Result<Env> {
        let root = Dir::open(&runner.root)?;
        let file = match root.open_file(layout::ENV) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Env::default()),
            result => result?,
        };
        let metadata = file.metadata()?;
        // A file that was moved, unpacked or copied into its place has an old modification time, and a recent change time.
        let changed = metadata.modified()?.max(changed(&metadata));
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Env { bytes, changed: Some(changed) })
    };
    read().map_err(|error| Unproved::Env(Arc::new(error)))
}

impl GuardCheck<'_> {
    /// A Listener is identified by the path of its start. If that path leads to another directory now, for example because the whole root
    /// was exchanged, the Listener belongs to the old directory and starts its next Workers with the `.env` that it has read there.
    ///
    /// # Errors
    /// A Listener of the runner's user that may be such a process.
    fn is_new_to(&self, runner: &Runner, strangers: &[Stranger]) -> Result<(), Unproved> {
        let mut listeners = strangers
            .iter()
            .filter(|stranger| stranger.program == layout::LISTENER && stranger.owner == runner.owner)
            .peekable();
        if listeners.peek().is_none() {
            return Ok(());
        }
        let status = std::fs::symlink_metadata(&runner.root);
        let put_there = status.map_err(|error| Unproved::Root(Arc::new(error))).map(|root| changed(&root))?;
        let boot = self.proc.boot_time_exactly();
        let is_older = |stranger: &&Stranger| {
            let begun = boot.and_then(|boot| started(boot, stranger.process.start));
            begun.is_none_or(|begun| put_there > begun + GRAIN)
        };
        match listeners.find(is_older) {
            Some(stranger) => Err(Unproved::RootIsNewer {
                pid: stranger.process.pid,
                root: stranger.root.display().to_string(),
            }),
            None => Ok(()),
        }
    }

    /// # Errors
    /// Why jobs of this Listener are not proved to run our hook.
    fn at_listener(
        &self,
        runner: &Runner,
        listener: &ListenerSeen,
        env: &Result<Env, Unproved>,
    ) -> Result<(), Unproved> {
        let pid = listener.process.pid;
        let who = (listener.process, listener.owner);
        let may_touch = |path: &Path| self.mounts.shared_with_others(path).is_none();
        if self.run.is_some_and(|run| hook_record::stands(run, self.proc, runner.root_id, who, &may_touch)) {
            return Ok(());
        }
        let env = env.as_ref().map_err(Clone::clone)?;
        if let Some(changed) = env.changed {
            // The name of its log records when it was started by the wall clock of that time. If that is earlier than by the present
            // clock, the clock was set forward since, and a file's time from before that looks older than it is.
            let was_set = processes::log_begun(self.proc, listener.process, &runner.root.join(layout::DIAG))
                .is_some_and(|begun| begun + CLOCK_SET < listener.started);
            // Without a log, the sweeps' notes of the clock may show it.
            let was_noted = || {
                self.run.is_some_and(|run| {
                    run.clock_was_put_forward(self.proc, since_boot(listener.process.start))
                })
            };
            if !listener.is_ordered || was_set || was_noted() {
                return Err(Unproved::ClockWasSet(pid));
            }
            if changed > listener.started + GRAIN {
                return Err(Unproved::EnvIsNewer(pid));
            }
        }
        let inherited = || {
            processes::environ_names_hook(self.proc, listener.process, HookVariable::JobStarted)
                .map_err(|error| Unproved::Environment(Arc::new(error)))
        };
        let inherited = match dotenv::says(&env.bytes, HookVariable::JobStarted) {
            Ok(Says::Nothing) => inherited()?.map(PathBuf::from),
            _ => None,
        };
        self.by_env(env, inherited)?;
        match self.run {
            Some(run) => processes::sees_directory(self.proc, listener.process, run.path(), &SHARED)
                .map_err(Arc::new)
                .map_err(|why| Unproved::OtherView { pid, run: run.path().display().to_string(), why }),
            None => Ok(()),
        }
    }

    /// # Errors
    /// Why a hook of this `.env`, or of the Listener's environment, is not ours.
    fn by_env(&self, env: &Env, inherited: Option<PathBuf>) -> Result<(), Unproved> {
        let says = dotenv::says(&env.bytes, HookVariable::JobStarted);
        let hook = match says.map_err(Unproved::Encoding)? {
            Says::Value(value) => {
                if let Some(why) = dotenv::fails_every_job(value) {
                    let value = String::from_utf8_lossy(value).into_owned();
                    return Err(Unproved::FailsEveryJob { value, why });
                }
                PathBuf::from(OsStr::from_bytes(value))
            }
            Says::Unset => return Err(Unproved::Unset),
            Says::Nothing => match (inherited, env.changed) {
                (Some(hook), _) => hook,
                (None, None) => return Err(Unproved::NoEnv),
                (None, Some(_)) => return Err(Unproved::NotNamed),
            },
        };
        let known = self.scripts.0.borrow().get(&hook).cloned();
        let judged = known.unwrap_or_else(|| {
            let judged = self.runs_us(&hook).map_err(Arc::new);
            self.scripts.0.borrow_mut().insert(hook.clone(), judged.clone());
            judged
        });
        judged.map_err(|doubt| Unproved::Hook { hook: hook.display().to_string(), doubt })
    }

    fn runs_us(&self, hook: &Path) -> Result<(), HookDoubt> {
        if let Some(kind) = self.mounts.shared_with_others(hook) {
            return Err(HookDoubt::Shared(kind));
        }
        let us = hook_script::runs_us(hook)?;
        let Some(run) = self.run else { return Ok(()) };
        let config = us.config.unwrap_or_else(|| DEFAULT_CONFIG.into());
        let shown = |path: &Path| path.display().to_string();
        let theirs =
            run_dir_of(&config).map_err(|fault| HookDoubt::Config { config: shown(&config), fault })?;
        if theirs == run.path() {
            return Ok(());
        }
        let (theirs, ours) = (shown(&theirs), shown(run.path()));
        Err(HookDoubt::OtherRunDir { config: shown(&config), theirs, ours })
    }
}

/// `paths.run_dir` of a configuration. The hook itself checks the rest of it.
fn run_dir_of(config: &Path) -> Result<PathBuf, ConfigFault> {
    reach::check_way(config)?;
    // O_NONBLOCK: a FIFO in its place must not block.
    let file = match std::fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(config) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && config == Path::new(DEFAULT_CONFIG) => {
            return Ok(DEFAULT_RUN_DIR.into());
        }
        result => result?,
    };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(ConfigFault::NotRegular);
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| ConfigFault::Syntax(error.message().to_owned()))?;
    let run_dir = table.get("paths").and_then(|paths| paths.get("run_dir"));
    Ok(run_dir.and_then(toml::Value::as_str).unwrap_or(DEFAULT_RUN_DIR).into())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]
mod tests {
    use super::*;
    use crate::model::{FileId, Pid, ProcessId, StartTime, Uid, Work};
    use std::fs::{create_dir_all, write};

    struct Scene {
        _temp: tempfile::TempDir,
        runner: Runner,
        proc: Proc,
        mounts: MountTable,
        run: RunDir,
    }

    fn scene() -> Scene {
        let temp = tempfile::tempdir().unwrap();
        let base = Dir::resolve(temp.path()).unwrap().1;
        let root = base.join("actions-runner-1");
        create_dir_all(root.join("bin")).unwrap();
        let run = RunDir::open(&base.join("run")).unwrap();
        write(root.join("c.toml"), format!("[paths]\nrun_dir = {:?}\n", run.path())).unwrap();
        write(root.join("elsewhere.toml"), "[paths]\nrun_dir = \"/nowhere\"\n").unwrap();
        for (name, config) in
            [("ours.sh", "c.toml"), ("other-run.sh", "elsewhere.toml"), ("lost.sh", "none.toml")]
        {
            let config = root.join(config);
            write(root.join(name), format!("exec disk-guard --config {} hook started", config.display()))
                .unwrap();
        }
        write(root.join("other.sh"), "echo").unwrap();
        let runner = Runner {
            name: "one".into(),
            root: root.clone(),
            root_id: FileId { dev: 0, ino: 0 },
            owner: Uid(0),
            work: Work::Absent { path: root.join("_work") },
        };
        let proc = Proc::new(Path::new("/proc"));
        let mounts = MountTable::read(&proc);
        Scene { _temp: temp, runner, proc, mounts, run }
    }

    impl Scene {
        fn name(&self, script: &str) {
            let hook = self.runner.root.join(script);
            write(self.runner.root.join(".env"), format!("{STARTED_VARIABLE}={}\n", hook.display())).unwrap();
        }

        fn judge(&self, listeners: &[&ListenerSeen]) -> Guarded {
            let scripts = JudgedScripts::default();
            let look = GuardCheck {
                proc: &self.proc,
                run: Some(&self.run),
                mounts: &self.mounts,
                scripts: &scripts,
            };
            judge(&self.runner, listeners, &[], look)
        }

        /// This process as a Listener that started this long after everything here.
        fn listener(&self, seconds_later: i64) -> ListenerSeen {
            let me = self.proc.identify(Pid(std::process::id() as i32)).unwrap().id;
            let now = changed(&std::fs::metadata(&self.runner.root).unwrap());
            let by = Duration::from_secs(seconds_later.unsigned_abs());
            let started = if seconds_later < 0 { now - by } else { now + by };
            ListenerSeen { process: me, runner: 0, owner: Uid(0), started, is_ordered: true }
        }
    }

    #[test]
    fn without_a_listener_the_file_decides() {
        let scene = scene();
        assert!(!scene.judge(&[]).is_guarded(), "no .env");
        for (script, guarded) in [
            ("other.sh", false),
            ("missing.sh", false),
            ("other-run.sh", false),
            ("lost.sh", false),
            ("ours.sh", true),
        ] {
            scene.name(script);
            assert_eq!(scene.judge(&[]).is_guarded(), guarded, "{script}: {:?}", scene.judge(&[]));
        }
        let ours = scene.runner.root.join("ours.sh");
        for (text, guarded) in [
            (format!("{STARTED_VARIABLE}={}\r\nX=1\r\n", ours.display()), true),
            (format!("{STARTED_VARIABLE}={} \n", ours.display()), false),
            (format!("{STARTED_VARIABLE}={}\n{STARTED_VARIABLE}=\n", ours.display()), false),
            (format!("export {STARTED_VARIABLE}={}\n", ours.display()), false),
        ] {
            write(scene.runner.root.join(".env"), &text).unwrap();
            assert_eq!(scene.judge(&[]).is_guarded(), guarded, "{text:?}");
        }
    }

    /// nixpkgs' runner reads the `.env` in its RUNNER_ROOT (env-sh-use-runner-root.patch), beside its `.runner`.
    #[test]
    fn a_runner_with_a_packaged_program_reads_the_env_file_of_its_root() {
        let scene = scene();
        std::fs::remove_dir(scene.runner.root.join("bin")).unwrap();
        scene.name("other.sh");
        assert!(!scene.judge(&[]).is_guarded());
        scene.name("ours.sh");
        assert!(scene.judge(&[]).is_guarded(), "{:?}", scene.judge(&[]));
        assert!(scene.judge(&[&scene.listener(60)]).is_guarded());
        assert!(!scene.judge(&[&scene.listener(-60)]).is_guarded(), "it has not read it");
    }

    #[test]
    fn a_listener_counts_when_it_has_read_the_current_files() {
        let scene = scene();
        scene.name("ours.sh");
        assert!(
            scene.judge(&[&scene.listener(60)]).is_guarded(),
            "{:?}",
            scene.judge(&[&scene.listener(60)])
        );
        assert!(!scene.judge(&[&scene.listener(-60)]).is_guarded(), "it has not read it");
        let both = [&scene.listener(60), &scene.listener(-60)];
        assert!(!scene.judge(&both).is_guarded(), "every Listener has to have read it");
        let unordered = ListenerSeen { is_ordered: false, ..scene.listener(60) };
        assert!(!scene.judge(&[&unordered]).is_guarded(), "what cannot be ordered is unknown");

        // A Listener's own log is begun when it starts: an older name shows that the clock was set forward.
        create_dir_all(scene.runner.root.join("_diag")).unwrap();
        let log = scene.runner.root.join("_diag/Runner_20200102-030405-utc.log");
        let open = std::fs::File::create(&log).unwrap();
        assert!(!scene.judge(&[&scene.listener(60)]).is_guarded(), "the clock was put forward");
        drop(open);
        assert!(scene.judge(&[&scene.listener(60)]).is_guarded(), "the control");

        // Without a log, a sweep's note of the clock shows it.
        scene.run.note_clock(&scene.proc).unwrap();
        assert!(scene.judge(&[&scene.listener(60)]).is_guarded(), "the control: it was not set");
        let noted = scene.run.path().join("clock");
        let line = std::fs::read_to_string(&noted).unwrap();
        let apart: u64 = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        write(&noted, format!("{} 0 {}\n", scene.proc.boot_id().unwrap(), apart - 3_600_000)).unwrap();
        assert!(!scene.judge(&[&scene.listener(60)]).is_guarded(), "it was put forward by an hour");
        std::fs::remove_file(&noted).unwrap();

        // Moved in with an old modification time, as rsync and tar do.
        let env = std::fs::File::options().append(true).open(scene.runner.root.join(".env")).unwrap();
        env.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        assert!(!scene.judge(&[&scene.listener(-60)]).is_guarded(), "its time of change tells");
        assert!(scene.judge(&[&scene.listener(60)]).is_guarded(), "the control");
    }

    #[test]
    fn a_recorded_hook_run_overrides_the_files() {
        let scene = scene();
        scene.name("other.sh");
        let listener = scene.listener(-60);
        assert!(!scene.judge(&[&listener]).is_guarded());
        let lease = crate::model::Lease {
            worker: listener.process,
            boot_id: scene.proc.boot_id().unwrap(),
            pid_namespace: scene.proc.pid_namespace().unwrap(),
            root: scene.runner.root.clone(),
            root_id: scene.runner.root_id,
            work_id: None,
            job: crate::model::Job::default(),
            since: SystemTime::UNIX_EPOCH,
            reserved: None,
        };
        hook_record::leave(&scene.run, &scene.proc, &lease, listener.process, None).unwrap();
        let listener = ListenerSeen { owner: Uid(nix::unistd::geteuid().as_raw()), ..listener };
        assert!(scene.judge(&[&listener]).is_guarded());
        let later = ProcessId { start: StartTime(listener.process.start.0 + 1), ..listener.process };
        let later = ListenerSeen { process: later, ..listener.clone() };
        assert!(
            !scene.judge(&[&listener, &later]).is_guarded(),
            "an older one's record does not count for it"
        );
    }
}
