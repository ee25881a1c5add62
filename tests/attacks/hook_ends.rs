//! Every end of a started-hook. A sweep has looked at an idle runner and is suspended before its rename, as a stopped process or a
//! frozen group would be; then a job begins, and its hook ends in one way or another. Whatever that way is, the sweep's rename comes
//! too late. Without any hook it does not: that is the control.

use crate::kit::{
    Canary, Host, MIB, Runner, SHARED_GID, Script, Stopped, needs_root, sees_everything, standin, until,
};
use crate::scene::DAY;
use disk_guard::setup::wiring::{Present, Scripts, wire};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const USER: (u32, u32) = (12_031, SHARED_GID);

/// A host with a runner whose cache is about to be taken, and a sibling whose cache may go.
struct Scene {
    host: Host,
    runner: Runner,
    sibling: Runner,
    cache: PathBuf,
    scripts: u32,
}

/// How a hook ended, beside a sweep that had looked before.
struct Ended {
    hook: Script,
    /// Its job's lease.
    has_lease: bool,
    /// What came of the sweep's claim. `restored`: it has moved the tree under the running job, has seen it then, and put it back.
    claim: String,
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
        let cache = runner.cache("acme/widgets", "target", MIB / 4, 2 * DAY);
        // Its hook is not exchanged: a sweep that has stood still looks at it anew.
        let (shared, own) = (host.started_script(), host.base.join("hooks/sibling-started.sh"));
        fs::copy(&shared, &own).expect("our own file");
        let env = fs::read_to_string(sibling.root.join(".env")).expect("our own file");
        assert!(env.contains(shared.to_str().expect("UTF-8")), "{env}");
        let env = env.replace(shared.to_str().expect("UTF-8"), own.to_str().expect("UTF-8"));
        fs::write(sibling.root.join(".env"), env).expect("our own file");
        Self { host, runner, sibling, cache, scripts: 0 }
    }

    /// `disk-guard --config CONFIG hook started`, with this in place of `from` in the configuration.
    fn guard_with(&mut self, from: &str, to: &str) -> String {
        self.scripts += 1;
        let config = fs::read_to_string(self.calm()).expect("our own file");
        assert!(config.contains(from), "{config}");
        let path = self.host.base.join(format!("config-{}.toml", self.scripts));
        fs::write(&path, config.replacen(from, to, 1)).expect("our own file");
        self.guard_by(&path)
    }

    fn guard_by(&self, config: &Path) -> String {
        format!("{} --config {} hook started", self.host.program().display(), config.display())
    }

    fn guard(&self) -> String {
        self.guard_by(&self.calm())
    }

    /// The script that packages ship, with this program in place of the installed one.
    fn shipped(&self, program: &Path) -> String {
        let script = include_str!("../../hooks/job-started.sh");
        let script = script.replace("/usr/bin/disk-guard", &program.display().to_string());
        let script = script.replace("/run/disk-guard", &self.host.run_dir().display().to_string());
        script.replace("command -v disk-guard", "false")
    }

    /// The script that `install` makes where a hook of somebody else's stands, with our scripts in this directory.
    fn chain(&self, hooks: &Path) -> String {
        let theirs = self.program("theirs.sh", b"true\n");
        let env = format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={}\n", theirs.display());
        let present = Present { root: &self.runner.root, env: Some(env.as_bytes()), record: None };
        let (ours, chains) = (Scripts::in_dir(hooks), Scripts::in_dir(&self.host.base));
        let edit = wire(present, &ours, &chains, &|_, _| false).expect("a script can be chained");
        edit.chains[0].1.clone()
    }

    /// A program that is not ours.
    fn program(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.host.base.join(name);
        fs::write(&path, content).expect("our own file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
        path
    }

    /// A sweep looks and stands still; a job begins, with this script as its hook; the sweep goes on.
    #[track_caller]
    fn end(&self, script: &str, job_goes_on: &str) -> Ended {
        self.end_and(script, job_goes_on, || ())
    }

    /// The same, with something before the job's end.
    #[track_caller]
    fn end_and(&self, script: &str, job_goes_on: &str, before_the_end: impl FnOnce()) -> Ended {
        let control = self.sibling.cache("acme/widgets", "target", MIB / 4, 2 * DAY);
        let mut listener = self.runner.listen();
        // What came before: a job whose hook had nothing to fear.
        let calm = self.host.started_script();
        let ours = fs::read_to_string(&calm).expect("our own file");
        fs::write(&calm, format!("exec {}\n", self.guard_by(&self.calm()))).expect("our own file");
        let mut job = listener.begin_job("acme/app");
        job.hook_started().expect_ok();
        // Without a completed-hook: that would take what an earlier sweep wanted.
        job.finish(&mut listener);
        let canary = Canary::of(&self.cache);

        let work = self.runner.work.clone();
        let sweep = Stopped::at(&self.host.call(&["sweep", "--json"]), move |call| {
            call.number == libc::SYS_renameat2 && call.text(1) == "target" && call.file(0).starts_with(&work)
        });
        fs::write(&calm, script).expect("our own file");
        let mut job = listener.begin_job("acme/app");
        let hook = job.hook_started();
        if !job_goes_on.is_empty() {
            assert_eq!(job.steps(job_goes_on).code, 0);
        }
        let of_it = format!("-{}-", job.pid);
        let has_lease = self.host.leases().iter().any(|lease| {
            let name = lease.file_name().unwrap_or_default().to_string_lossy();
            // Not one that was being written.
            name.contains(&of_it) && !name.starts_with('.')
        });
        // A look of the sweep at a dead mount would be waited for by its tracer.
        before_the_end();
        let report = sweep.release().expect_code(&[0, 20]).report();
        canary.assert_intact();
        assert!(!control.exists(), "the sibling's cache goes: {:#}", report.0);
        fs::write(&calm, ours).expect("our own file");
        job.finish(&mut listener);
        Ended { hook, has_lease, claim: report.outcome(&self.cache).to_owned() }
    }

    /// A configuration by which no disk is ever under pressure.
    fn calm(&self) -> PathBuf {
        let config = fs::read_to_string(self.host.config()).expect("our own file");
        let path = self.host.base.join("calm.toml");
        let calm = config.replacen("high = \"1%\"\nlow = \"0%\"", "high = \"100%\"\nlow = \"99%\"", 1);
        assert_ne!(calm, config);
        fs::write(&path, calm).expect("our own file");
        path
    }
}

fn can_be_tried() -> bool {
    needs_root("sweeps what others own") && sees_everything()
}

/// A way for a hook to end: its name, the script, what the job does before the sweep goes on, whether there is a lease.
type End = (&'static str, String, &'static str, bool);

#[track_caller]
fn assert_each_keeps_the_tree(scene: &Scene, ends: Vec<End>) {
    let moved = scene.end("true\n", "");
    assert_eq!(moved.claim, "restored", "the control: nobody has fenced");
    assert!(!moved.has_lease);
    for (name, script, then, has_lease) in ends {
        let ended = scene.end(&script, then);
        let text = ended.hook.text();
        assert_eq!(ended.claim, "changed", "{name}: its job's tree was moved\n{text}");
        assert_eq!(ended.hook.code, 0, "{name}:\n{text}");
        assert_eq!(ended.has_lease, has_lease, "{name}: a lease\n{text}");
        let parsed = ended.hook.parsed();
        parsed.assert_safe();
        assert!(parsed.annotations.len() <= 1, "{name}:\n{text}");
        assert!(ended.hook.duration < Duration::from_secs(8), "{name}: {:?}\n{text}", ended.hook.duration);
    }
}

#[test]
fn a_started_hook_that_stops_early_keeps_its_jobs_tree() {
    if !can_be_tried() {
        return;
    }
    let mut scene = Scene::new();
    let guard = scene.guard();
    let garbage = scene.program("garbage", b"\x7fELF\x02\x01\x01");
    let suicide = scene.program("suicide", b"#!/bin/sh\nkill -9 $$\n");
    let empty = scene.program("empty", b"");
    let missing = scene.host.base.join("missing");
    let options = scene.program("options.sh", scene.shipped(&missing).as_bytes());
    let options = options.display();
    let odd_shell = |how: &str| format!("{how} bash -e {options}\n");
    let impatient = scene
        .guard_with("lock_wait = \"1s\"\ntime_limit = \"1min\"", "lock_wait = \"1h\"\ntime_limit = \"1s\"");
    let ends = vec![
        ("nothing: it waits in vain for the lock", format!("exec {guard}\n"), "", true),
        ("no program", scene.shipped(&missing), "", false),
        ("a program that is an empty file", scene.shipped(&empty), "", false),
        (
            "no program, and a shell that expands no names",
            odd_shell("exec env SHELLOPTS=noglob:nounset"),
            "",
            false,
        ),
        (
            "no program, and a shell that fails without a name",
            odd_shell("exec env BASHOPTS=failglob"),
            "",
            false,
        ),
        (
            "no program, and functions in place of commands",
            format!("kill() {{ :; }}\ncommand() {{ :; }}\nexport -f kill command\n{}", odd_shell("exec")),
            "",
            false,
        ),
        ("no program, and no bash", format!("exec sh -e {options}\n"), "", false),
        ("no file can grow, which it may change", format!("ulimit -Sf 0\nexec {guard}\n"), "", true),
        ("no file can be opened, which it may change", format!("ulimit -Sn 5\nexec {guard}\n"), "", true),
        ("hardly any stack, which it may change", format!("ulimit -Ss 64\nexec {guard}\n"), "", true),
        ("a program that cannot be executed", scene.shipped(&garbage), "", false),
        ("a program that dies", scene.shipped(&suicide), "", false),
        ("no timer", format!("ulimit -i 0\nexec {guard}\n"), "", true),
        ("no process", format!("ulimit -u 0\nexec {guard}\n"), "", true),
        ("no file can grow", format!("ulimit -f 0\nexec {guard}\n"), "", false),
        ("a wait above its limit", format!("exec {impatient}\n"), "", true),
        ("a chain whose first link is missing", scene.chain(&missing), "", false),
        ("closed outputs", format!("exec {guard} >&- 2>&-\n"), "", true),
    ];
    assert_each_keeps_the_tree(&scene, ends);
}

#[test]
fn a_started_hook_that_is_refused_system_calls_keeps_its_jobs_tree() {
    if !can_be_tried() {
        return;
    }
    let scene = Scene::new();
    let guard = scene.guard();
    let refuse = |calls: &[i64], errno: i32, run: &str| {
        let calls: Vec<String> = calls.iter().map(ToString::to_string).collect();
        format!("exec {} refuse {errno} {} {run}\n", standin().display(), calls.join(","))
    };
    let program = scene.host.program();
    let shipped = scene.shipped(&program).replace(&format!("{} hook started", program.display()), &guard);
    assert!(shipped.contains(&guard), "{shipped}");
    let shipped = scene.program("shipped.sh", shipped.as_bytes());
    // Without bash: that would try for a quarter of a minute, and then end in the same way.
    let script = format!("sh -e {}", shipped.display());
    let ends = vec![
        ("openat2, as by old container engines", refuse(&[libc::SYS_openat2], libc::EPERM, &guard), "", true),
        ("openat2 before Linux 5.6", refuse(&[libc::SYS_openat2], libc::ENOSYS, &guard), "", true),
        ("statx", refuse(&[libc::SYS_statx], libc::ENOSYS, &guard), "", false),
        ("renameat2", refuse(&[libc::SYS_renameat2], libc::EPERM, &guard), "", false),
        ("fork", refuse(&FORKS, libc::EAGAIN, &guard), "", true),
        ("fork, already its script", refuse(&FORKS, libc::EAGAIN, &script), "", true),
        ("more than four descriptors", format!("ulimit -n 4\nexec {guard}\n"), "", false),
        ("more than six descriptors", format!("ulimit -n 6\nexec {guard}\n"), "", false),
        (
            "more than four descriptors, and its program",
            format!("ulimit -n 4\n{}", scene.shipped(&scene.host.base.join("missing"))),
            "",
            false,
        ),
    ];
    assert_each_keeps_the_tree(&scene, ends);
}

/// All ways to start a process.
#[cfg(target_arch = "x86_64")]
const FORKS: [i64; 4] = [libc::SYS_clone, libc::SYS_clone3, libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const FORKS: [i64; 2] = [libc::SYS_clone, libc::SYS_clone3];

#[test]
fn a_started_hook_stopped_by_its_settings_keeps_its_jobs_tree() {
    if !can_be_tried() {
        return;
    }
    let mut scene = Scene::new();
    let run_dir = format!("run_dir = {:?}", scene.host.run_dir());
    let elsewhere = scene.host.base.join("elsewhere");
    fs::create_dir_all(elsewhere.join("leases")).expect("our own directory");
    for path in [&elsewhere, &elsewhere.join("leases")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("our own directory");
    }
    let unreadable = scene.host.base.join("unreadable.toml");
    fs::write(&unreadable, "").expect("our own file");
    fs::set_permissions(&unreadable, fs::Permissions::from_mode(0o600)).expect("our own file");
    let fifo = scene.host.base.join("fifo.toml");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o644)).expect("a FIFO");
    let missing = scene.host.base.join("missing");
    let run_dir_is = |path: &str| format!("run_dir = {path:?}");
    let ends = [
        ("an invalid value", scene.guard_with("high = \"100%\"", "high = \"x\""), true),
        ("an unknown key", scene.guard_with("[hook]", "[hook]\nx = 1"), true),
        ("a broken file", scene.guard_with("[hook]", "[hook"), true),
        ("no configuration", scene.guard_by(&missing), false),
        ("a configuration of others", scene.guard_by(&unreadable), false),
        ("a FIFO", scene.guard_by(&fifo), false),
        ("roots that leave it out", scene.guard_with("roots = [\"", "roots = [\"/x"), true),
        ("no run directory", scene.guard_with(&run_dir, &run_dir_is("/x")), false),
        (
            "another run directory",
            scene.guard_with(&run_dir, &run_dir_is(elsewhere.to_str().expect("UTF-8"))),
            false,
        ),
    ];
    let ends = ends.map(|(name, guard, has_lease)| (name, format!("exec {guard}\n"), "", has_lease));
    assert_each_keeps_the_tree(&scene, ends.into());
}

#[test]
fn a_started_hook_stopped_from_outside_keeps_its_jobs_tree() {
    if !can_be_tried() {
        return;
    }
    let mut scene = Scene::new();
    let guard = scene.guard();
    // By the time that it is ended it waits for the lock, also on a busy machine.
    let patient = scene.guard_with("lock_wait = \"1s\"", "lock_wait = \"10s\"");
    // What is left of it waits once more.
    let steady = scene.guard_with("lock_wait = \"1s\"", "lock_wait = \"3s\"");
    let kill_the_worker = |signal: &str| {
        format!(
            "{steady} & pid=$!\nsleep 1.5\nfor child in $(cat /proc/$pid/task/$pid/children); do kill -{signal} $child; done\nwait $pid\n"
        )
    };
    let tell = |signal: &str| format!("{patient} & pid=$!\nsleep 1.5\nkill -{signal} $pid\nwait $pid\n");
    let wait = "sleep 1";
    let ends = vec![
        ("a time-out around it", format!("timeout 2 {patient} || true\n"), "", true),
        ("a time-out that kills it", format!("timeout -s KILL 2 {patient} || true\n"), "", false),
        ("the background", format!("{guard} &\n"), wait, false),
        ("the background, elsewhere", format!("cd /\n{guard} >/dev/null 2>&1 </dev/null &\n"), wait, false),
        ("the background, while it waits", format!("{guard} &\nsleep 0.4\n"), wait, false),
        ("its worker's death", kill_the_worker("KILL"), "", true),
        ("a signal to its worker", kill_the_worker("SEGV"), "", true),
        ("a signal to it", tell("TERM"), "", true),
        ("a hang-up", tell("HUP"), "", true),
    ];
    assert_each_keeps_the_tree(&scene, ends);
}

/// Without a lease, claims could not tell that a job has begun and ended since they looked at all processes.
#[test]
fn a_script_without_its_program_leaves_a_sign_that_a_job_begins() {
    if !can_be_tried() {
        return;
    }
    let scene = Scene::new();
    let when = format!("stat -c %y {}", scene.host.run_dir().join("leases").display());
    let script = scene.shipped(&scene.host.base.join("missing"));
    let around = format!("before=$({when})\n(\n{script}\n)\n[ \"$before\" != \"$({when})\" ] || exit 9\n");
    let control = format!("before=$({when})\n(\ntrue\n)\n[ \"$before\" != \"$({when})\" ] || exit 9\n");
    assert_eq!(scene.end(&around, "").hook.expect_ok().code, 0);
    assert_eq!(scene.end(&control, "").hook.code, 9, "the control");
}

/// Which every process inherits from who started it.
#[test]
fn blocked_and_ignored_signals_keep_no_hook_waiting() {
    if !can_be_tried() {
        return;
    }
    let scene = Scene::new();
    let guard = scene.guard();
    for how in [
        "--block-signal",
        "--ignore-signal",
        "--block-signal=ALRM,VTALRM,TERM,CHLD --ignore-signal=PIPE",
        "--ignore-signal=ALRM,VTALRM,CHLD,TERM",
    ] {
        let ended = scene.end(&format!("exec env {how} {guard}\n"), "");
        assert_eq!(
            (ended.claim.as_str(), ended.has_lease),
            ("changed", true),
            "{how}:\n{}",
            ended.hook.text()
        );
        let ended = ended.hook.expect_ok();
        assert!(ended.duration < Duration::from_secs(5), "{how}: {:?}\n{}", ended.duration, ended.text());
        assert_eq!(ended.parsed().annotations.len(), 1, "{how}: it tells of the lock\n{}", ended.text());
    }
}

/// A FUSE filesystem whose server has answered the kernel's greeting and nothing since: what waits for it is beyond SIGKILL.
struct Mute {
    place: PathBuf,
    _server: File,
}

impl Mute {
    fn at(place: PathBuf) -> Self {
        fs::create_dir(&place).expect("a place");
        let mut server =
            File::options().read(true).write(true).open("/dev/fuse").expect("the kernel has FUSE");
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other", server.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("mute"), &place, Some("fuse.mute"), flags, Some(options.as_str())).expect("root mounts");
        let mut request = vec![0; 1 << 17];
        let length = server.read(&mut request).expect("the greeting");
        assert!(length >= 56, "FUSE_INIT: {length}");
        // A header, and what FUSE_INIT is answered with: the same version, no wishes.
        let mut answer = vec![0; 16 + 64];
        answer[..4].copy_from_slice(&80_u32.to_ne_bytes());
        answer[8..16].copy_from_slice(&request[8..16]);
        answer[16..24].copy_from_slice(&request[40..48]);
        answer[36..40].copy_from_slice(&65_536_u32.to_ne_bytes());
        server.write_all(&answer).expect("the kernel takes it");
        let mut mute = server.try_clone().expect("a descriptor");
        std::thread::spawn(move || while mute.read(&mut request).is_ok() {});
        Self { place, _server: server }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let force = MntFlags::MNT_FORCE | MntFlags::MNT_DETACH;
        let _ = umount2(&self.place, force);
    }
}

/// Processes of the guard that live.
fn guards(scene: &Scene) -> Vec<PathBuf> {
    let program = scene.host.program();
    let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten().map(|entry| entry.path());
    processes.filter(|process| fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program)).collect()
}

#[test]
fn a_worker_that_not_even_a_kill_ends_is_left_behind() {
    if !can_be_tried() {
        return;
    }
    let scene = Scene::new();
    let mute = Mute::at(scene.host.base.join("mute"));
    let script = format!("exec {}\n", scene.guard_by(&mute.place.join("config.toml")));
    // The sweep, and its supervisor, since there is such a mount.
    let others = 2;
    // The kit, unlike the runner, waits for those whom it kills.
    let ended = scene.end_and(&script, "", || {
        assert!(guards(&scene).len() > others, "the mount is beyond SIGKILL: else this proves nothing");
        drop(mute);
        until("what was left behind to end", || (guards(&scene).len() == others).then_some(()));
    });
    let hook = ended.hook.expect_ok();
    assert_eq!(ended.claim, "changed", "{}", hook.text());
    assert!(!hook.held, "what is left behind holds nothing of the job's");
    assert!(hook.duration < Duration::from_secs(25), "{:?}", hook.duration);
    assert_eq!(hook.parsed().annotations.len(), 1, "{}", hook.text());
    assert!(hook.text().contains("took longer than 10 s"), "{}", hook.text());
}

/// As a runner leaves it that was once run as root.
#[test]
fn where_no_hook_could_fence_nothing_is_claimed() {
    if !can_be_tried() {
        return;
    }
    let scene = Scene::new();
    let trash = scene.runner.work.join(".disk-guard/trash");
    for (mode, owner, is_taken) in [(0o755, 0, false), (0o555, USER.0, false), (0o755, USER.0, true)] {
        let control = scene.sibling.cache("acme/widgets", "target", MIB / 4, 2 * DAY);
        fs::create_dir_all(trash.join("spare")).expect("a directory");
        std::os::unix::fs::chown(&trash, Some(owner), None).expect("root gives away");
        fs::set_permissions(&trash, fs::Permissions::from_mode(mode)).expect("a mode");
        let report = scene.host.sweep();
        assert_eq!(!scene.cache.exists(), is_taken, "{mode:o} {owner}: {:#}", report.0);
        assert!(!control.exists(), "{:#}", report.0);
        if !is_taken {
            let action = report.action(&scene.cache).to_string();
            assert!(action.contains("could not fence claims off"), "{action}");
        }
    }
}
