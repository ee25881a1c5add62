//! Every end of a claim. A hook under pressure works in a process that its supervisor watches over; that process is stopped in the
//! middle of a claim of a sibling's cache, the sibling's job begins meanwhile, and then the claim ends in one way or another: its
//! supervisor dies, is told to end, or has no patience left; or the process is woken. Whatever the way is, the job keeps what it had
//! when its hook returned.

use crate::kit::{
    Canary, Host, Job, Listener, MIB, Runner, SHARED_GID, Stopped, is_alive, needs_root, sees_everything,
    until,
};
use crate::scene::DAY;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

const USER: (u32, u32) = (12_031, SHARED_GID);

/// A runner whose cache is claimed, and another whose hook claims it.
struct Scene {
    host: Host,
    runner: Runner,
    sibling: Runner,
    cache: PathBuf,
}

/// Where in a claim the process is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// It has looked at Workers, leases and processes, and is about to rename.
    BeforeTheRename,
    /// It has renamed, and is about to look again.
    AfterTheRename,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// SIGCONT to the process.
    Woken,
    /// SIGKILL to its supervisor.
    SupervisorKilled,
    /// SIGTERM to its supervisor.
    SupervisorTold,
    /// Its supervisor waits no longer.
    TimedOut,
}

/// A claim that stands still: the hook, and the process that does its work.
struct Claim {
    hook: Stopped,
    worker: i32,
}

impl Claim {
    /// The process has ended or goes on, and so has the whole hook.
    fn end(self, how: End) {
        let signal = |pid: i32, signal: Signal| kill(Pid::from_raw(pid), signal).expect("it lives");
        match how {
            End::Woken => signal(self.worker, Signal::SIGCONT),
            End::SupervisorKilled => signal(self.hook.pid(), Signal::SIGKILL),
            End::SupervisorTold => signal(self.hook.pid(), Signal::SIGTERM),
            End::TimedOut => {}
        }
        let run = self.hook.release();
        let is_as_expected = match how {
            End::SupervisorKilled => run.signal == Some(libc::SIGKILL),
            _ => run.code == Some(0),
        };
        assert!(is_as_expected, "{how:?}: {run:?}");
        let says = run.stdout();
        assert_eq!(says.contains("took longer than"), how == End::TimedOut, "{how:?}: {says}");
        assert_eq!(says.contains("was terminated"), how == End::SupervisorTold, "{how:?}: {says}");
        until("the claimer to be gone", || (!is_alive(self.worker)).then_some(()));
    }
}

impl Scene {
    fn new() -> Self {
        let mut host = Host::new();
        host.configure(|settings| {
            settings.want_everything();
            settings.lock_wait = "1s";
        });
        let build = |name: &str| host.runner(name).user(USER.0, USER.1).build();
        let (runner, sibling) = (build("actions-runner-1"), build("actions-runner-2"));
        // The runner's own hook has no reason to claim anything.
        let config = fs::read_to_string(host.config()).expect("our own file");
        let calm = config.replacen("high = \"1%\"\nlow = \"0%\"", "high = \"100%\"\nlow = \"99%\"", 1);
        assert_ne!(calm, config);
        let hasty = config.replacen("time_limit = \"1min\"", "time_limit = \"1s\"", 1);
        assert_ne!(hasty, config);
        fs::write(host.base.join("calm.toml"), calm).expect("our own file");
        fs::write(host.base.join("hasty.toml"), hasty).expect("our own file");
        let script = format!(
            "exec {} --config {} hook started\n",
            host.program().display(),
            host.base.join("calm.toml").display()
        );
        fs::write(host.started_script(), script).expect("our own file");
        let cache = runner.checkout("acme/widgets").join("target");
        Self { host, runner, sibling, cache }
    }

    /// A Listener that has had a job whose hook had nothing to fear, and is idle.
    fn idle(&self) -> Listener {
        let mut listener = self.runner.listen();
        let mut job = listener.begin_job("acme/app");
        job.hook_started().expect_ok();
        job.finish(&mut listener);
        if !self.cache.exists() {
            self.runner.cache("acme/widgets", "target", MIB / 4, 2 * DAY);
        }
        listener
    }

    /// A hook of the sibling claims the runner's cache, and its process is stopped there.
    fn claim(&self, at: At, how: End) -> Claim {
        let mut call = self.host.call(&["hook", "started", "--runner-root"]);
        call.arguments.push(self.sibling.root.clone().into());
        if how == End::TimedOut {
            call.arguments[1] = self.host.base.join("hasty.toml").into();
        }
        let (work, worker) = (self.runner.work.clone(), Arc::new(AtomicI32::new(0)));
        let (found, has_slot, has_renamed) =
            (Arc::clone(&worker), AtomicBool::new(false), AtomicBool::new(false));
        let hook = Stopped::at(&call, move |entry| {
            let is_here = entry.file(0).starts_with(&work);
            if entry.number == libc::SYS_mkdirat && is_here && entry.text(1).starts_with("slot-") {
                has_slot.store(true, Ordering::Relaxed);
            }
            // Locks are tried after all else has been looked at.
            let is_reached = match at {
                At::BeforeTheRename => {
                    entry.number == libc::SYS_flock && is_here && has_slot.load(Ordering::Relaxed)
                }
                At::AfterTheRename => has_renamed.load(Ordering::Relaxed),
            };
            if entry.number == libc::SYS_renameat2 && entry.text(1) == "target" && is_here {
                has_renamed.store(true, Ordering::Relaxed);
            }
            if is_reached {
                let process = entry.status("Tgid").and_then(|id| id.parse().ok()).expect("it has a number");
                found.store(process, Ordering::Relaxed);
            }
            is_reached
        });
        let worker = worker.load(Ordering::Relaxed);
        assert_ne!(worker, hook.pid(), "a hook's work is done by another process");
        hook.suspend(worker);
        Claim { hook, worker }
    }

    /// The runner's job begins.
    fn begin(&self, listener: &mut Listener) -> Job {
        let mut job = listener.begin_job("acme/widgets");
        job.hook_started().expect_ok();
        job
    }
}

#[test]
fn a_job_that_starts_during_an_interrupted_claim_keeps_its_tree() {
    if !(needs_root("stops processes of others") && sees_everything()) {
        return;
    }
    let scene = Scene::new();
    for how in [End::Woken, End::SupervisorKilled, End::SupervisorTold, End::TimedOut] {
        // The control: without a job it is claimed by who is woken.
        let listener = scene.idle();
        scene.claim(At::BeforeTheRename, End::Woken).end(End::Woken);
        assert!(!scene.cache.exists(), "it may go");
        drop(listener);

        let mut listener = scene.idle();
        let claim = scene.claim(At::BeforeTheRename, how);
        assert!(scene.cache.exists(), "{how:?}: it is not yet renamed");
        let job = scene.begin(&mut listener);
        let canary = Canary::of(&scene.cache);
        claim.end(how);
        canary.assert_intact();
        let beside = scene.host.sweep();
        canary.assert_intact();
        assert_ne!(beside.outcome(&scene.cache), "removed", "{how:?}: {:#}", beside.0);
        job.finish(&mut listener);
        drop(listener);

        // What was renamed before the job began stays away: the job builds anew, and keeps that.
        let mut listener = scene.idle();
        let claim = scene.claim(At::AfterTheRename, how);
        assert!(!scene.cache.exists(), "{how:?}: it is renamed");
        let mut job = scene.begin(&mut listener);
        let build = format!("mkdir {0} && echo new >{0}/mine", scene.cache.display());
        assert_eq!(job.steps(&build).code, 0, "{how:?}");
        let canary = Canary::of(&scene.cache);
        claim.end(how);
        canary.assert_intact();
        scene.host.sweep();
        canary.assert_intact();
        let trash = scene.runner.work.join(".disk-guard/trash");
        let left: Vec<_> =
            fs::read_dir(&trash).expect("it is there").flatten().map(|e| e.file_name()).collect();
        assert!(left.iter().all(|name| name == "spare"), "{how:?}: the next sweep finishes: {left:?}");
        job.finish(&mut listener);
        drop(listener);
        fs::remove_dir_all(&scene.cache).expect("our own");
    }
}
