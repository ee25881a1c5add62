//! The reaper on a real Docker and a real libvirt, each with a daemon of its own on a private socket, and on a real Podman. What is not installed is
//! skipped, and said.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Host, Run, deadline, needs_root};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A daemon that is asked to end with the test, and made to.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a daemon and waits until `ready` answers; `None`, with a line that says so, where it is not to be had.
fn start(program: &str, command: &mut Command, ready: impl Fn() -> bool) -> Option<Daemon> {
    let log = std::env::temp_dir().join(format!(
        "dg-daemon-{}-{}",
        program.rsplit('/').next()?,
        std::process::id()
    ));
    let skip = |why: &str| {
        let line = format!("skipped, {program} {why}\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        None
    };
    let output = std::fs::File::create(&log).expect("a log");
    command.stdin(Stdio::null()).stdout(output.try_clone().expect("a handle")).stderr(output);
    let child = match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return skip("is not installed"),
        child => child.expect("it starts"),
    };
    let mut daemon = Daemon(child);
    let deadline = Instant::now() + deadline();
    while !ready() {
        let ended = daemon.0.try_wait().expect("it is our child");
        if ended.is_some() || Instant::now() > deadline {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let _ = std::fs::remove_file(&log);
            return skip(&format!(
                "does not run here: {ended:?} {}",
                said.lines().last().unwrap_or_default()
            ));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let _ = std::fs::remove_file(&log);
    Some(daemon)
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn outcomes(run: &Run) -> Vec<String> {
    let report: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let environments = report["sources"][0]["environments"].as_array().expect("a list").iter();
    let mut all: Vec<String> = environments
        .map(|item| format!("{} {} {}", item["name"], item["reason"], item["outcome"]).replace('"', ""))
        .collect();
    all.sort();
    all
}

/// Everything that was remembered becomes a day older.
fn a_day_passes(host: &Host) {
    let path = host.state_dir().join("reap/seen-it.json");
    let mut seen: Value =
        serde_json::from_slice(&std::fs::read(&path).expect("it was remembered")).expect("JSON");
    for (_, item) in seen["seen"].as_object_mut().expect("by id") {
        item["first"] = (item["first"].as_u64().expect("seconds") - 86_400).into();
    }
    std::fs::write(&path, seen.to_string()).expect("it can be written");
}

fn entry(host: &mut Host, kind: &str, command: &[&str], more: &str) {
    host.configure(|settings| {
        writeln!(
            settings.extra,
            "[[reap]]\nname = \"it\"\nkind = {kind:?}\ncommand = {command:?}\npause = \"0s\"\n{more}"
        )
        .expect("writing to a string");
    });
}

/// An image's content: a shell's programs with their libraries, and a file that makes it differ.
fn image(docker: &dyn Fn(&[&str]) -> Command, base: &Path, tag: &str, difference: &str) -> String {
    let root = base.join("rootfs");
    for program in ["/bin/sleep", "/bin/true"] {
        let libraries = said(Command::new("ldd").arg(program));
        let paths = libraries.split_whitespace().filter(|word| word.starts_with('/')).chain([program]);
        for path in paths {
            let to = root.join(path.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
            std::fs::copy(path, &to).expect("a copy");
        }
    }
    std::fs::write(root.join("difference"), difference).expect("a file");
    let archive = base.join("image.tar");
    said(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."));
    said(&mut docker(&["import", archive.to_str().expect("UTF-8"), tag]))
}

#[test]
fn only_leaked_docker_containers_are_deleted_with_their_volumes() {
    if !needs_root("dockerd") {
        return;
    }
    let mut host = Host::new();
    let base = host.base.join("docker");
    std::fs::create_dir_all(&base).expect("a directory");
    let socket = format!("unix://{}", base.join("s").display());
    let client =
        ["/usr/bin/docker", "/usr/local/bin/docker"].into_iter().find(|path| Path::new(path).exists());
    let Some(client) = client else {
        eprintln!("skipped, docker is not installed");
        return;
    };
    let docker = |arguments: &[&str]| {
        let mut command = Command::new(client);
        command.args(["-H", &socket]).args(arguments);
        command
    };
    let mut daemon = Command::new("dockerd");
    daemon.args(["--iptables=false", "--bridge=none", "--storage-driver=vfs", "-H", &socket]);
    daemon.arg("--data-root").arg(base.join("data")).arg("--exec-root").arg(base.join("exec"));
    daemon.arg("--pidfile").arg(base.join("pid"));
    let is_ready = || docker(&["version"]).output().is_ok_and(|output| output.status.success());
    let Some(_daemon) = start("dockerd", &mut daemon, is_ready) else { return };
    entry(
        &mut host,
        "docker",
        &[client, "-H", &socket],
        "match = [\"ci-*\", \"label:ci\", \"image:*\"]\nmax_age = \"1s\"",
    );
    image(&docker, &base, "img:1", "1");
    let run = |name: &str, more: &[&str], program: &[&str]| {
        said(&mut docker(&[&["run", "--network", "none", "--name", name], more, program].concat()))
    };
    run("ci-done", &["-v", "/anonymous", "-v", "named:/named"], &["img:1", "/bin/true"]);
    run("labelled", &["--label", "ci=yes"], &["img:1", "/bin/true"]);
    run("ci-running", &["-d"], &["img:1", "/bin/sleep", "600"]);
    run("ci-policy", &["-d", "--restart", "unless-stopped"], &["img:1", "/bin/sleep", "600"]);
    said(&mut docker(&["stop", "-t", "0", "ci-policy"]));
    run("ci-job", &["--label", "disk-guard.job=acme/app #7"], &["img:1", "/bin/true"]);
    run("stranger", &[], &["img:1", "/bin/true"]);
    said(&mut docker(&["create", "--network", "none", "--name", "ci-created", "img:1", "/bin/true"]));
    // One image that nothing uses loses its name, and one that a stopped container uses.
    let unused = image(&docker, &base, "img:2", "2");
    image(&docker, &base, "img:2", "3");
    said(&mut docker(&["create", "--network", "none", "--name", "user", "img:2", "/bin/true"]));
    let used = image(&docker, &base, "img:2", "4");
    assert_ne!(unused, used);
    let first = host.guard(&["reap", "--dry-run", "--json"]).expect_code(&[0]);
    let dangling: Vec<String> = outcomes(&first)
        .into_iter()
        .filter(|line| !line.starts_with("ci-") && !line.starts_with('l'))
        .collect();
    assert_eq!(dangling.len(), 2, "{:?}", outcomes(&first));
    // Images tell no age of their own here: they have to be seen.
    host.guard(&["reap", "--json"]).expect_code(&[0]);
    a_day_passes(&host);
    let mut gone = false;
    for _ in 0..100 {
        host.guard(&["reap", "--json"]).expect_code(&[0]);
        let names = said(&mut docker(&["ps", "-a", "--format", "{{.Names}}"]));
        gone = !names.lines().any(|name| name == "ci-done" || name == "labelled");
        if gone {
            break;
        }
    }
    assert!(gone, "a second has passed since they ended");
    let mut names: Vec<String> =
        said(&mut docker(&["ps", "-a", "--format", "{{.Names}}"])).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["ci-created", "ci-job", "ci-policy", "ci-running", "stranger", "user"]);
    assert_eq!(
        said(&mut docker(&["volume", "ls", "-q"])),
        "named",
        "the anonymous one is gone, the named one stays"
    );
    let images = said(&mut docker(&["images", "-a", "-q", "--no-trunc"]));
    assert!(!images.contains(&unused), "{images}");
    assert_eq!(images.lines().count(), 3, "img:1, img:2 and the one that `user` uses: {images}");
    let rest = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert!(outcomes(&rest).contains(&"ci-policy claimed kept".to_owned()), "{:?}", outcomes(&rest));
    assert!(outcomes(&rest).contains(&"ci-created waiting kept".to_owned()), "{:?}", outcomes(&rest));
    said(&mut docker(&["rm", "-f", "ci-running"]));
}

/// Podman's own stores, which nothing runs in and nothing is mounted in when a test ends.
struct Emptied(Vec<String>);

impl Drop for Emptied {
    fn drop(&mut self) {
        for call in [["pod", "rm", "-f", "-t0", "-a"], ["container", "rm", "-f", "-t0", "-a"]] {
            let _ = Command::new(&self.0[0]).args(&self.0[1..]).args(call).output();
        }
    }
}

/// Podman with stores of its own. It has no daemon; `runc` runs its containers.
#[test]
fn only_leaked_podman_containers_and_pods_are_deleted() {
    if !needs_root("podman") {
        return;
    }
    let program =
        ["/usr/bin/podman", "/usr/local/bin/podman"].into_iter().find(|path| Path::new(path).exists());
    let Some(program) = program else {
        eprintln!("skipped, podman is not installed");
        return;
    };
    let mut host = Host::new();
    let base = host.base.join("podman");
    std::fs::create_dir_all(&base).expect("a directory");
    let config = base.join("containers.conf");
    let text = "[containers]\ndefault_ulimits=[\"nofile=20000:20000\",\"nproc=32000:32000\"]\n[engine]\nruntime=\"runc\"\nevents_logger=\"none\"\n";
    std::fs::write(&config, text).expect("a file");
    let words: Vec<String> = ["env", &format!("CONTAINERS_CONF={}", config.display()), program]
        .iter()
        .map(|word| (*word).to_owned())
        .chain(["root", "runroot", "tmpdir"].map(|name| format!("--{name}={}", base.join(name).display())))
        .chain(["--storage-driver=vfs", "--cgroup-manager=cgroupfs"].map(str::to_owned))
        .collect();
    let podman = |arguments: &[&str]| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(arguments);
        command
    };
    let _emptied = Emptied(words.clone());
    image(&podman, &base, "img:1", "1");
    let run = |name: &str, more: &[&str], program: &[&str]| {
        let network = ["--network", "none"];
        let network: &[&str] = if more.contains(&"--pod") { &[] } else { &network };
        said(&mut podman(&[&["run", "--name", name], network, more, &["img:1"], program].concat()))
    };
    run("ci-done", &["-v", "/anonymous", "-v", "named:/named"], &["/bin/true"]);
    run("ci-running", &["-d"], &["/bin/sleep", "600"]);
    run("ci-job", &["--label", "disk-guard.job=acme/app #7"], &["/bin/true"]);
    run("stranger", &[], &["/bin/true"]);
    let infra = ["--network", "none", "--infra-image", "img:1", "--infra-command", "/bin/sleep 600"];
    for pod in ["ci-pod", "ci-pod-live", "pod-of-others"] {
        said(&mut podman(&[&["pod", "create", "--name", pod], &infra[..]].concat()));
    }
    run("in-leaked", &["--pod", "ci-pod", "-v", "/anonymous"], &["/bin/true"]);
    run("in-live-1", &["--pod", "ci-pod-live"], &["/bin/true"]);
    run("in-live-2", &["-d", "--pod", "ci-pod-live"], &["/bin/sleep", "600"]);
    run("in-others", &["--pod", "pod-of-others"], &["/bin/true"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    entry(&mut host, "podman", &words, "match = [\"ci-*\"]\nmax_age = \"1s\"");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let report = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(
        outcomes(&report),
        [
            "ci-done stopped reaped",
            "ci-job claimed kept",
            "ci-pod stopped reaped",
            "ci-pod-live running kept",
            "ci-running running kept",
        ]
    );
    let mut names: Vec<String> = said(&mut podman(&["ps", "-a", "--format", "{{.Names}}"]))
        .lines()
        .filter(|name| !name.ends_with("-infra"))
        .map(str::to_owned)
        .collect();
    names.sort();
    assert_eq!(names, ["ci-job", "ci-running", "in-live-1", "in-live-2", "in-others", "stranger"]);
    let mut pods: Vec<String> =
        said(&mut podman(&["pod", "ps", "--format", "{{.Name}}"])).lines().map(str::to_owned).collect();
    pods.sort();
    assert_eq!(pods, ["ci-pod-live", "pod-of-others"]);
    assert_eq!(
        said(&mut podman(&["volume", "ls", "-q"])),
        "named",
        "anonymous ones are gone, the named one stays"
    );
    // An infra container by its own name is its pod's, and no delete of it is tried.
    let again = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert!(!outcomes(&again).iter().any(|line| line.contains("failed")), "{:?}", outcomes(&again));
}

/// libvirt's own test driver behind a real libvirtd: a connection that stays open keeps its state.
#[test]
fn libvirt_loses_a_leaked_domain_with_its_overlay_and_keeps_the_base() {
    if !needs_root("libvirtd") {
        return;
    }
    let mut host = Host::new();
    let base = host.base.join("lv");
    std::fs::create_dir_all(base.join("no-drivers")).expect("a directory");
    let config = base.join("libvirtd.conf");
    let text = format!(
        "unix_sock_dir = {:?}\nauth_unix_rw = \"none\"\nunix_sock_rw_perms = \"0700\"\n",
        base.display().to_string()
    );
    std::fs::write(&config, text).expect("a file");
    let uri = format!("test+unix:///default?socket={}", base.join("libvirt-sock").display());
    let virsh = |arguments: &[&str]| {
        let mut command = Command::new("virsh");
        command.args(["-c", &uri]).args(arguments);
        command
    };
    let mut daemon = Command::new("libvirtd");
    daemon
        .arg("-f")
        .arg(&config)
        .arg("-p")
        .arg(base.join("pid"))
        .env("LIBVIRT_DRIVER_DIR", base.join("no-drivers"));
    let is_ready = || virsh(&["list"]).output().is_ok_and(|output| output.status.success());
    let Some(_daemon) = start("libvirtd", &mut daemon, is_ready) else { return };
    // It waits for commands that do not come.
    let open = virsh(&[]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut open = Daemon(open.expect("virsh starts"));
    let _input = open.0.stdin.take();
    let volume = |name: &str, below: &str| {
        let file = base.join("volume.xml");
        let xml = format!("<volume><name>{name}</name><capacity>4096</capacity>{below}</volume>");
        std::fs::write(&file, xml).expect("a file");
        said(&mut virsh(&["vol-create", "default-pool", file.to_str().expect("UTF-8")]));
    };
    volume("base", "");
    let overlay = "<backingStore><path>/default-pool/base</path><format type='raw'/></backingStore>";
    for name in ["one.qcow2", "shared.qcow2", "live.qcow2"] {
        volume(name, overlay);
    }
    let define = |name: &str, disks: &[&str]| {
        let disks: String = disks
            .iter()
            .zip(["vda", "vdb", "vdc"])
            .map(|(disk, target)| {
                format!("<disk type='file' device='disk'><source file='/default-pool/{disk}'/><target dev='{target}'/></disk>")
            })
            .collect();
        let file = base.join("domain.xml");
        let xml = format!(
            "<domain type='test'><name>{name}</name><memory>1024</memory><os><type>hvm</type></os><devices>{disks}</devices></domain>"
        );
        std::fs::write(&file, xml).expect("a file");
        said(&mut virsh(&["define", file.to_str().expect("UTF-8")]));
    };
    define("ci-leaked", &["one.qcow2", "base", "shared.qcow2"]);
    define("ci-live", &["live.qcow2", "shared.qcow2"]);
    define("ci-autostart", &[]);
    said(&mut virsh(&["start", "ci-live"]));
    said(&mut virsh(&["autostart", "ci-autostart"]));
    entry(&mut host, "libvirt", &["virsh", "-c", &uri], "match = [\"ci-*\"]");
    let kept = ["ci-autostart claimed kept", "ci-leaked young kept", "ci-live running kept"];
    assert_eq!(outcomes(&host.guard(&["reap", "--json"]).expect_code(&[0])), kept);
    a_day_passes(&host);
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(
        outcomes(&run),
        ["ci-autostart claimed kept", "ci-leaked stopped reaped", "ci-live running kept"]
    );
    assert!(run.stdout().contains("/default-pool/one.qcow2"), "{}", run.stdout());
    let mut domains: Vec<String> =
        said(&mut virsh(&["list", "--all", "--name"])).lines().map(str::to_owned).collect();
    domains.sort();
    assert_eq!(domains, ["ci-autostart", "ci-live", "test"]);
    let volumes = said(&mut virsh(&["-q", "vol-list", "default-pool"]));
    let mut volumes: Vec<&str> = volumes.lines().filter_map(|line| line.split_whitespace().next()).collect();
    volumes.sort_unstable();
    assert_eq!(volumes, ["base", "live.qcow2", "shared.qcow2"], "its own overlay is gone, and no other");
}
