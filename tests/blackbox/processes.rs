//! Facts about real processes: what the kernel shows, against what the observer makes of it. Every refusal has its control: a
//! second runner in the same scan, of which nothing is said. Mounts live in private namespaces and end with their process.

use crate::kit;
use disk_guard::model::{
    Attribution, FilesystemId, HeldBy, ProcessFacts, Runner, Visibility, Work, WorkDir, WorkerSeen,
};
use disk_guard::observe::processes::{
    Given, HookVariable, LineageError, environ_names_hook, observe, own_runner, workers,
};
use disk_guard::sys::dir::Dir;
use disk_guard::sys::process::Proc;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn proc() -> Proc {
    Proc::new(Path::new("/proc"))
}

fn is_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        println!("skipped, needs root: {test}");
    }
    is_root
}

/// A process that ends with the test.
struct Started(Child);

impl Started {
    /// Runs a shell script and waits until it says `ready`; it then replaces itself by what it `exec`s.
    fn script(command: &mut Command, script: &str, arguments: &[&Path]) -> Self {
        command.args(["sh", "-ec", script, "sh"]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut started = Self(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(started.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{script}");
        started
    }

    fn plain(script: &str, arguments: &[&Path]) -> Self {
        Self::script(&mut Command::new("env"), script, arguments)
    }

    /// In a mount namespace of its own.
    fn unshared(script: &str, arguments: &[&Path]) -> Self {
        Self::script(Command::new("unshare").args(["-m", "--propagation", "private"]), script, arguments)
    }

    fn program(path: &Path) -> Self {
        Self(Command::new(path).arg("60").current_dir("/").stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// By another process: while this one had the copy open for writing, a concurrent test could fork and so keep it open past
/// the moment in which it is to be executed.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// Two runners, `runner-1` and `runner-10`: the second is the control.
struct Host {
    temp: tempfile::TempDir,
    runners: Vec<Runner>,
    /// Its Workers would make idleness unprovable for tests that need it.
    _machine: nix::fcntl::Flock<std::fs::File>,
}

impl Host {
    fn new() -> Self {
        let machine = kit::share_machine();
        let temp = tempfile::tempdir().unwrap();
        std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let runners = ["runner-1", "runner-10"].iter().map(|name| runner(&temp.path().join(name))).collect();
        Self { temp, runners, _machine: machine }
    }

    fn root(&self) -> &Path {
        &self.runners[0].root
    }

    fn work(&self) -> &Path {
        self.runners[0].work_path()
    }

    /// A copy of sleep at `path` below the host.
    fn program(&self, path: &str) -> PathBuf {
        let path = self.temp.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        copy(Path::new("/bin/sleep"), &path);
        path
    }

    /// Facts of `runner-1` as soon as `wanted` holds, or after a while; the control has none in any of them.
    fn facts(&self, wanted: impl Fn(&ProcessFacts) -> bool) -> ProcessFacts {
        let begun = Instant::now();
        loop {
            let facts = observe(&proc(), &self.runners, Given::default());
            assert!(facts.holders.iter().all(|holder| holder.runner == 0), "the control: {facts:?}");
            assert!(facts.mounts.iter().all(|mount| mount.runner == 0), "the control: {facts:?}");
            assert_eq!(facts.unlocated, []);
            if wanted(&facts) || begun.elapsed() > Duration::from_secs(5) {
                return facts;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn held(&self, by: &Started, how: HeldBy) -> PathBuf {
        let is_it = |facts: &ProcessFacts| {
            facts
                .holders
                .iter()
                .find(|holder| holder.process.pid.0 == by.pid() && holder.how == how)
                .map(|holder| holder.path.clone())
        };
        let facts = self.facts(|facts| is_it(facts).is_some());
        is_it(&facts).unwrap_or_else(|| panic!("not held by {how}: {facts:?}"))
    }
}

/// A runner whose executables lie in `bin.2.336.0`, which `bin` links to, as after a self-update.
fn runner(root: &Path) -> Runner {
    std::fs::create_dir_all(root.join("_work/repo/target")).unwrap();
    std::fs::create_dir(root.join("bin.2.336.0")).unwrap();
    symlink("bin.2.336.0", root.join("bin")).unwrap();
    std::fs::write(root.join(".runner"), "\u{feff}{\"workFolder\":\"_work\"}").unwrap();
    let (root_dir, root) = Dir::resolve(root).unwrap();
    let (work_dir, work) = Dir::resolve(&root.join("_work")).unwrap();
    let (root_status, work_status) = (root_dir.status().unwrap(), work_dir.status().unwrap());
    Runner {
        name: root.file_name().unwrap().to_string_lossy().into_owned(),
        root,
        root_id: root_status.id,
        owner: root_status.owner,
        work: Work::Present(WorkDir {
            path: work,
            id: work_status.id,
            owner: work_status.owner,
            filesystem: FilesystemId { major: 0, minor: 0 },
        }),
    }
}

/// The Worker with this pid, by the whole scan and by the short one, which must agree.
fn worker(host: &Host, of: &Started) -> Attribution {
    let find = |seen: &[WorkerSeen]| {
        seen.iter().find(|worker| worker.process.pid.0 == of.pid()).map(|worker| worker.attribution.clone())
    };
    let facts = host.facts(|facts| find(&facts.workers).is_some());
    let by_scan = find(&facts.workers).unwrap_or_else(|| panic!("no such Worker: {facts:?}"));
    let (seen, _) = workers(&proc(), &host.runners, Given::default());
    assert_eq!(find(&seen).as_ref(), Some(&by_scan), "the short question has the same answer");
    by_scan
}

#[test]
fn a_worker_belongs_to_the_runner_in_which_its_executable_lies() {
    let host = Host::new();
    let program = host.program("runner-1/bin.2.336.0/Runner.Worker");
    let one = Started::program(&host.root().join("bin/Runner.Worker"));
    assert_eq!(worker(&host, &one), Attribution::Runner(0));
    let ten = Started::program(&host.program("runner-10/bin.2.336.0/Runner.Worker"));
    assert_eq!(worker(&host, &ten), Attribution::Runner(1), "not taken for runner-1");
    // A self-update removes the old executable under the Worker that still runs it.
    Command::new("rm").arg(&program).status().unwrap();
    assert_eq!(worker(&host, &one), Attribution::Runner(0));
}

/// .NET's own program is given the Worker as an assembly; a wrapper renames it.
#[test]
fn a_worker_that_another_program_runs_belongs_to_the_runner_in_which_it_lies() {
    let host = Host::new();
    let dotnet = host.program("dotnet/dotnet");
    copy(Path::new("/usr/bin/tail"), &dotnet);
    let run = |assembly: &Path, directory: &Path| {
        // It waits for the file, whether or not there is one.
        let mut command = Command::new(&dotnet);
        command.args(["-f", "/dev/null"]).arg(assembly).current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Started(command.spawn().unwrap())
    };
    let assembly = host.root().join("bin/Runner.Worker.dll");
    let by_path = run(&assembly, Path::new("/"));
    assert_eq!(worker(&host, &by_path), Attribution::Runner(0));
    drop(by_path);
    let ten = run(Path::new("Runner.Worker.dll"), &host.runners[1].root.join("bin"));
    assert_eq!(worker(&host, &ten), Attribution::Runner(1), "from its own directory");
    drop(ten);
    let wrapped = Started::program(&host.program("runner-1/bin.2.336.0/.Runner.Worker-wrapped"));
    assert_eq!(worker(&host, &wrapped), Attribution::Runner(0));
    // Another assembly is no Worker: the control.
    let other = run(Path::new("Worker.dll"), Path::new("/"));
    let (seen, _) = workers(&proc(), &host.runners, Given::default());
    assert!(seen.iter().all(|worker| worker.process.pid.0 != other.pid()), "{seen:?}");
}

#[test]
fn a_worker_of_an_unknown_user_protects_every_runner_unless_it_provably_works_elsewhere() {
    let host = Host::new();
    let decoy = Started::program(&host.program("decoy/Runner.Worker"));
    assert!(matches!(worker(&host, &decoy), Attribution::Unattributed(_)));
    drop(decoy);

    let stranger = Started::program(&host.program("stranger/bin/Runner.Worker"));
    let root = host.temp.path().join("stranger");
    let settings = root.join(".runner");
    let unattributed = |case: &str| {
        let found = worker(&host, &stranger);
        assert!(matches!(found, Attribution::Unattributed(_)), "{case}: {found:?}");
    };
    unattributed("no .runner");
    std::fs::write(&settings, "\u{feff}{\"WorkFolder\":\"_work\"}").unwrap();
    unattributed("no work directory");
    std::fs::create_dir(root.join("_work")).unwrap();
    let found = worker(&host, &stranger);
    assert!(matches!(found, Attribution::Elsewhere(_)), "the control: {found:?}");
    for overlapping in [host.work(), host.root(), &host.work().join("repo"), Path::new("/")] {
        std::fs::write(&settings, format!("{{\"workFolder\":{overlapping:?}}}")).unwrap();
        unattributed("overlapping work directory");
    }
    Command::new("ln").args(["-sfn"]).arg(host.work()).arg(root.join("link")).status().unwrap();
    std::fs::write(&settings, "{\"workFolder\":\"link\"}").unwrap();
    unattributed("a link into another runner's");
    std::fs::write(&settings, vec![b' '; 1 << 20]).unwrap();
    unattributed("a huge .runner");
    Command::new("rm").arg(&settings).status().unwrap();
    nix::unistd::mkfifo(&settings, nix::sys::stat::Mode::S_IRWXU).unwrap();
    unattributed("a FIFO");
}

#[test]
fn a_listener_is_seen_with_its_start() {
    let host = Host::new();
    let listener = Started::program(&host.program("runner-1/bin.2.336.0/Runner.Listener"));
    let facts = host.facts(|facts| !facts.listeners.is_empty());
    let [seen] = facts.listeners.as_slice() else { panic!("{facts:?}") };
    assert_eq!((seen.runner, seen.process.pid.0), (0, listener.pid()));
    let modified = std::fs::metadata(format!("/proc/{}", listener.pid())).unwrap().modified().unwrap();
    let apart = modified.duration_since(seen.started).unwrap_or_else(|error| error.duration());
    assert!(apart < Duration::from_secs(60), "{apart:?}");
}

#[test]
fn every_way_of_holding_something_is_seen() {
    let host = Host::new();
    let work = host.work();
    let cwd = Started::plain("cd \"$1\"; echo ready; exec sleep 60", &[&work.join("repo")]);
    assert_eq!(host.held(&cwd, HeldBy::Cwd), work.join("repo"));

    std::fs::write(work.join("log (deleted)"), "").unwrap();
    let open =
        Started::plain("exec 7<\"$1\"; echo ready; cd /; exec sleep 60", &[&work.join("log (deleted)")]);
    assert_eq!(host.held(&open, HeldBy::OpenFile), work.join("log (deleted)"));

    let program = host.program("runner-1/_work/repo/target/tool");
    let executed = Started::program(&program);
    assert_eq!(host.held(&executed, HeldBy::Executable), program);
    Command::new("rm").arg(&program).status().unwrap();
    let removed = format!("{} (deleted)", program.display());
    assert_eq!(host.held(&executed, HeldBy::Executable), Path::new(&removed));

    let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = libc.split_whitespace().find(|word| word.ends_with("/libc.so.6")).unwrap();
    std::fs::copy(libc.replace("libc.so.6", "libm.so.6"), work.join("m.so")).unwrap();
    let preload = work.join("m.so");
    let mapped = Started(
        Command::new("/bin/sleep").arg("60").current_dir("/").env("LD_PRELOAD", &preload).spawn().unwrap(),
    );
    assert_eq!(host.held(&mapped, HeldBy::Mapping), preload);

    let odd = work.join("odd \u{e9}\nname");
    std::fs::write(&odd, "").unwrap();
    // More open files than are tried by number, and with gaps.
    let script = "for fd in 3 4 5 6 7 8 9; do eval \"exec $fd</dev/null\"; done; exec 4<&-; exec 9<\"$1\"; \
                  echo ready; cd /; exec sleep 60";
    let gaps = Started::plain(script, &[&odd]);
    assert_eq!(host.held(&gaps, HeldBy::OpenFile), odd);
}

#[test]
fn a_thread_with_its_own_working_directory_is_seen() {
    let host = Host::new();
    let work = host.work().to_owned();
    // Test functions run on a thread that is not the first of their process.
    let probe = Started(
        probe_command(&std::env::current_exe().unwrap(), "thread")
            .env("PROBE_WORK", &work)
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    assert_eq!(host.held(&probe, HeldBy::Cwd), work);
}

#[test]
fn a_root_directory_inside_is_seen() {
    if !is_root("a_root_directory_inside_is_seen") {
        return;
    }
    let host = Host::new();
    // The same libraries and sleep, copied.
    let jail = host.work().join("jail");
    let list = Command::new("ldd").arg("/bin/sleep").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    for file in list.split_whitespace().filter(|word| word.starts_with('/')).chain(["/bin/sleep"]) {
        let target = jail.join(file.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        copy(Path::new(file), &target);
    }
    let mut command = Command::new("chroot");
    let jailed = Started(command.arg(&jail).args(["/bin/sleep", "60"]).spawn().unwrap());
    assert_eq!(host.held(&jailed, HeldBy::Root), jail);
    assert_eq!(host.held(&jailed, HeldBy::Executable), jail.join("bin/sleep"));
}

#[test]
fn a_mount_of_the_work_directory_in_another_namespace_is_seen() {
    if !is_root("a_mount_of_the_work_directory_in_another_namespace_is_seen") {
        return;
    }
    let host = Host::new();
    let point = host.temp.path().join("__w odd");
    std::fs::create_dir(&point).unwrap();
    let private = Started::unshared("echo ready; exec sleep 60", &[]);
    let facts = host.facts(|_| true);
    assert_eq!((facts.mounts, facts.holders), (vec![], vec![]), "a private copy of the host is no evidence");
    drop(private);

    let script = "mount --bind \"$1\" \"$2\"; cd \"$2/repo\"; echo ready; exec sleep 60";
    let bound = Started::unshared(script, &[host.work(), &point]);
    let facts = host.facts(|facts| !facts.mounts.is_empty());
    let [mount] = facts.mounts.as_slice() else { panic!("{facts:?}") };
    assert_eq!((mount.mount_point.as_path(), mount.inside.as_path()), (point.as_path(), host.work()));
    assert_eq!(mount.process.pid.0, bound.pid());
    assert_eq!(host.held(&bound, HeldBy::Cwd), point.join("repo"));
}

#[test]
fn a_path_held_under_another_name_is_found() {
    if !is_root("a_path_held_under_another_name_is_found") {
        return;
    }
    let host = Host::new();
    let point = host.temp.path().join("alias");
    std::fs::create_dir(&point).unwrap();
    let script = "mount --bind \"$1\" \"$2\"; cd \"$2/_work/repo\"; echo ready; exec sleep 60";
    let aliased = Started::unshared(script, &[host.root(), &point]);
    assert_eq!(host.held(&aliased, HeldBy::Cwd), point.join("_work/repo"));
    assert_eq!(host.facts(|_| true).mounts, [], "a mount of something above is no evidence by itself");
}

#[test]
fn mounts_inside_and_overlays_over_the_work_directory_are_seen() {
    if !is_root("mounts_inside_and_overlays_over_the_work_directory_are_seen") {
        return;
    }
    let host = Host::new();
    let inside = host.work().join("repo");
    let tmpfs = Started::unshared("mount -t tmpfs t \"$1\"; echo ready; exec sleep 60", &[&inside]);
    let facts = host.facts(|facts| !facts.mounts.is_empty());
    assert!(
        facts.mounts.iter().any(|mount| mount.mount_point == inside && mount.inside == inside),
        "{facts:?}"
    );
    drop(tmpfs);

    let (lower, point) = (host.work().join("repo/target"), host.temp.path().join("merged"));
    std::fs::create_dir(&point).unwrap();
    let script = "mount -t overlay o -o lowerdir=\"$1\":/usr/share \"$2\"; echo ready; exec sleep 60";
    let _overlay = Started::unshared(script, &[&lower, &point]);
    let facts = host.facts(|facts| !facts.mounts.is_empty());
    assert!(
        facts.mounts.iter().any(|mount| mount.mount_point == point && mount.inside == lower),
        "{facts:?}"
    );
}

#[test]
fn one_variable_of_an_environment_is_read() {
    let mut command = Command::new("/bin/sleep");
    command.arg("60").env_clear().env("TOKEN", "x").env(HookVariable::JobStarted.name(), "/opt/hook.sh");
    let started = Started(command.spawn().unwrap());
    let process = proc().identify(disk_guard::model::Pid(started.pid())).unwrap().id;
    let ask = |variable| {
        let begun = Instant::now();
        loop {
            match environ_names_hook(&proc(), process, variable) {
                Err(_) if begun.elapsed() < Duration::from_secs(5) => {}
                // Until exec is over the environment is ours.
                Ok(None) if begun.elapsed() < Duration::from_millis(300) => {}
                answer => return answer.unwrap(),
            }
        }
    };
    assert_eq!(ask(HookVariable::JobStarted), Some("/opt/hook.sh".into()));
    assert_eq!(ask(HookVariable::JobCompleted), None);
    let mut other = process;
    other.start.0 += 1;
    assert!(environ_names_hook(&proc(), other, HookVariable::JobStarted).is_err(), "another process");
}

#[test]
fn ones_own_runner_is_the_nearest_worker_above() {
    let host = Host::new();
    let lineage = |worker: Option<&Path>| {
        let shell = worker.unwrap_or(Path::new("/bin/bash"));
        let mut command = Command::new(shell);
        command
            .args(["-c", "\"$0\" --exact processes::probe --nocapture; exit $?"])
            .arg(std::env::current_exe().unwrap());
        output(command.env("PROBE", "lineage"))
    };
    let worker = host.root().join("bin.2.336.0/Runner.Worker");
    copy(Path::new("/bin/bash"), &worker);
    let found = lineage(Some(&worker));
    assert!(found.contains(&format!("root {}\n", host.root().display())), "{found}");
    assert!(lineage(None).contains("no worker"), "the control");
    let decoy = host.temp.path().join("Runner.Worker");
    copy(Path::new("/bin/bash"), &decoy);
    assert!(lineage(Some(&decoy)).contains("unclear"));
}

#[test]
fn an_unprivileged_observer_reports_what_it_cannot_see() {
    if !is_root("an_unprivileged_observer_reports_what_it_cannot_see") {
        return;
    }
    let (_host, binary) = probe_binary();
    let said = output(as_nobody(&mut Command::new("setpriv"), &binary).env("PROBE", "visibility"));
    assert!(said.contains("cannot be examined"), "{said}");
    assert!(said.contains("uid 0"), "{said}");
    let own = output(probe_command(&binary, "visibility"));
    // As root nothing stands in the way but what a sandbox hides of its own pid 1.
    let clear = own.contains("complete") || own.contains("1 process cannot be examined (pid 1 ");
    assert!(clear, "the control: {own}");
}

#[test]
fn hidden_processes_are_known_to_be_hidden() {
    if !is_root("hidden_processes_are_known_to_be_hidden") {
        return;
    }
    let (_host, binary) = probe_binary();
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid=65533", "--regid=65533", "--clear-groups", "--", "sleep", "60"]);
    let stranger = Started(stranger.spawn().unwrap());
    // A new procfs in a namespace of its own: remounting /proc would change it for the whole machine.
    for (options, hides) in
        [("hidepid=2", true), ("hidepid=1", true), ("hidepid=0", false), ("subset=pid", true)]
    {
        let script = "mount -t proc -o \"$0\" proc /proc && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-ec", script, options]);
        let said = output(as_nobody(command.arg("setpriv"), &binary).env("PROBE", "visibility"));
        assert_eq!(said.contains("/proc is mounted with"), hides, "{options}: {said}");
    }
    let script = "mount -t proc -o hidepid=2 proc /proc && exec \"$0\" --exact processes::probe --nocapture";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-ec", script]).arg(&binary);
    let said = output(command.env("PROBE", "visibility").env("PROBE_PID", stranger.pid().to_string()));
    assert!(!said.contains("hidepid"), "root sees everything all the same: {said}");
    assert!(said.contains("sees another user's process"), "{said}");
}

#[test]
fn another_pid_namespace_is_not_the_host() {
    if !is_root("another_pid_namespace_is_not_the_host") {
        return;
    }
    let (_host, binary) = probe_binary();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(&binary);
    let said =
        output(command.args(["--exact", "processes::probe", "--nocapture"]).env("PROBE", "visibility"));
    assert!(said.contains("not in the host's pid namespace"), "{said}");
}

// What follows runs in other processes, as other users and in other namespaces.

/// A copy of this test that everybody may run.
fn probe_binary() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = temp.path().join("probe");
    copy(&std::env::current_exe().unwrap(), &binary);
    (temp, binary)
}

fn probe_command(binary: &Path, what: &str) -> Command {
    let mut command = Command::new(binary);
    command.args(["--exact", "processes::probe", "--nocapture"]).env("PROBE", what).current_dir("/");
    command
}

fn as_nobody<'c>(setpriv: &'c mut Command, binary: &Path) -> &'c mut Command {
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(binary);
    setpriv.args(["--exact", "processes::probe", "--nocapture"]).current_dir("/")
}

fn output(mut command: impl std::borrow::BorrowMut<Command>) -> String {
    let output = command.borrow_mut().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Does nothing unless it is asked for by name.
#[test]
fn probe() {
    match std::env::var("PROBE").as_deref() {
        Ok("visibility") => {
            match observe(&proc(), &[], Given::default()).visibility {
                Visibility::Complete => println!("complete"),
                Visibility::Partial(reasons) => println!("{}", reasons.join("\n")),
            }
            let stranger = std::env::var("PROBE_PID").unwrap_or_default();
            if std::fs::read_link(format!("/proc/{stranger}/exe")).is_ok() {
                println!("sees another user's process");
            }
        }
        Ok("lineage") => match own_runner(&proc(), None) {
            Ok(own) => println!("root {}", own.root.display()),
            Err(LineageError::NoWorker { .. }) => println!("no worker"),
            Err(LineageError::Unclear { .. }) => println!("unclear"),
            Err(error) => println!("{error}"),
        },
        Ok("thread") => {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            nix::unistd::chdir(Path::new(&std::env::var("PROBE_WORK").unwrap())).unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
        _ => {}
    }
}
