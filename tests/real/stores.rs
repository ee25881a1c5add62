//! Stores of real tools: ccache, sccache, Go, pnpm, and Docker with a daemon of its own. What is not installed is skipped, and said.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Fs, Host, needs_root};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The builder of these tests: whose stores they are.
const USER: u32 = 12_345;

/// A host with one idle runner and a disk for stores.
struct Stage {
    host: Host,
    disk: PathBuf,
}

impl Stage {
    fn new(mib: u64) -> Self {
        let mut host = Host::new();
        let disk = host.base.join("disk");
        host.mount(Fs::Ext4 { mib, inodes: 20_000 }, &disk);
        own(&disk);
        Self { host, disk }
    }

    /// A directory of the builder's on the disk.
    fn directory(&self, name: &str) -> PathBuf {
        let path = self.disk.join(name);
        std::fs::create_dir(&path).expect("a directory");
        own(&path);
        path
    }

    /// Runs as the builder, in a directory, with a home on the disk.
    fn build(&self, at: &Path, variables: &[(&str, &Path)], words: &[&str]) -> String {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(at).uid(USER).gid(USER).env("HOME", &self.disk);
        command.envs(variables.iter().copied());
        said(&mut command)
    }

    fn collect(&mut self, entry: &str) -> Value {
        self.host.configure(|settings| settings.extra = entry.to_owned());
        let run = self.host.guard(&["stores", "--json"]);
        let report: Value = serde_json::from_slice(&run.stdout).expect("JSON");
        report["stores"][0].clone()
    }
}

fn own(path: &Path) {
    std::os::unix::fs::chown(path, Some(USER), Some(USER)).expect("root gives away");
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&all));
    String::from_utf8_lossy(&all).trim().to_owned()
}

fn has(programs: &[&str]) -> bool {
    needs_root("runs tools as another user")
        && programs.iter().all(|name| {
            ["/usr/bin", "/usr/sbin"].iter().any(|at| Path::new(at).join(name).exists())
                || kit::skip(&format!("{name} is not installed"))
        })
}

/// Bytes in the files of a directory.
fn bytes(path: &Path) -> u64 {
    let listed = said(Command::new("du").args(["-s", "--block-size=1"]).arg(path));
    listed.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

/// Sources whose objects hardly compress.
fn sources(at: &Path, count: usize) -> Vec<String> {
    let name = |n: usize| format!("f{n}.c");
    for n in 0..count {
        let mut seed = 0x9e37_79b9_u32.wrapping_mul(n as u32 + 1);
        let numbers: Vec<String> = (0..60_000)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 1).to_string()
            })
            .collect();
        let text = format!("const unsigned d{n}[] = {{{}}};\n", numbers.join(","));
        std::fs::write(at.join(name(n)), text).expect("a source");
    }
    (0..count).map(name).collect()
}

#[test]
fn ccache_keeps_what_was_used_last_and_its_settings() {
    if !has(&["ccache", "cc"]) {
        return;
    }
    let mut stage = Stage::new(64);
    let _runner = stage.host.runner("actions-runner-1").build();
    let (cache, work) = (stage.directory("ccache"), stage.directory("work"));
    let names = sources(&work, 24);
    let compile = |name: &str| stage.build(&work, &[("CCACHE_DIR", &cache)], &["ccache", "cc", "-c", name]);
    for name in &names {
        compile(name);
    }
    let before = bytes(&cache);
    let found = stage.collect(&format!(
        "[[store]]\nkind = \"ccache\"\npath = {:?}\nmax_size = \"2MiB\"\n",
        cache.display().to_string()
    ));
    assert_eq!((&found["outcome"], &found["reason"]), (&"collected".into(), &"size".into()), "{found:#}");
    let after = bytes(&cache);
    assert!(after < before && after <= 3 << 20 && after > 100 << 10, "{before} -> {after}");
    assert!(found["freed_bytes"].as_u64().expect("a number") > (before - after) / 2, "{found:#}");
    let limit = stage.build(&work, &[("CCACHE_DIR", &cache)], &["ccache", "--get-config", "max_size"]);
    assert!(limit.contains('5') && limit.contains('G'), "its own limit is as it was: {limit}");
    stage.build(&work, &[("CCACHE_DIR", &cache)], &["ccache", "cc", "-c", &names[0]]);
}

fn has_server() -> bool {
    let servers = Command::new("pgrep").args(["-u", &USER.to_string(), "-x", "sccache"]).output();
    !servers.expect("pgrep runs").stdout.is_empty()
}

#[test]
fn sccache_makes_room_and_leaves_no_server() {
    if !has(&["sccache", "cc"]) {
        return;
    }
    let mut stage = Stage::new(64);
    let _runner = stage.host.runner("actions-runner-1").build();
    let (cache, work) = (stage.directory("sccache"), stage.directory("work"));
    let port = PathBuf::from("14997");
    let variables = [("SCCACHE_DIR", cache.as_path()), ("SCCACHE_SERVER_PORT", port.as_path())];
    for name in sources(&work, 24) {
        stage.build(&work, &variables, &["sccache", "cc", "-c", &name, "-o", "out.o"]);
    }
    stage.build(&work, &variables, &["sccache", "--stop-server"]);
    // The server answers before it has ended.
    let until = Instant::now() + Duration::from_secs(30);
    while has_server() {
        assert!(Instant::now() < until, "the builds' own server does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = bytes(&cache);
    let found = stage.collect(&format!(
        "[[store]]\nkind = \"sccache\"\npath = {:?}\nmax_size = \"2MiB\"\n",
        cache.display().to_string()
    ));
    assert_eq!(found["outcome"], "collected", "{found:#}");
    let after = bytes(&cache);
    assert!(before > 3 << 20 && after <= 5 << 19 && after > 100 << 10, "{before} -> {after}");
    assert!(!has_server(), "a server is left");
    // What is left of it is whole.
    stage.build(&work, &variables, &["sccache", "cc", "-c", "f23.c", "-o", "out.o"]);
    stage.build(&work, &variables, &["sccache", "--stop-server"]);
}

#[test]
fn go_empties_its_cache_when_the_disk_lacks_space() {
    if !has(&["go"]) {
        return;
    }
    let mut stage = Stage::new(256);
    let _runner = stage.host.runner("actions-runner-1").build();
    let (cache, work) = (stage.directory("go-build"), stage.directory("work"));
    std::fs::write(work.join("main.go"), "package main\nfunc main() { println(1) }\n").expect("a source");
    std::fs::write(work.join("go.mod"), "module x\n").expect("a module");
    let variables = [("GOCACHE", cache.as_path())];
    stage.build(&work, &variables, &["go", "build", "-o", "x", "."]);
    let before = bytes(&cache);
    let entry = format!("[[store]]\nkind = \"go\"\npath = {:?}\n", cache.display().to_string());
    let rests = stage.collect(&entry);
    assert_eq!((&rests["reason"], bytes(&cache)), (&"not-needed".into(), before), "{rests:#}");
    stage.host.configure(|settings| settings.want_everything());
    let found = stage.collect(&entry);
    assert_eq!(found["outcome"], "collected", "{found:#}");
    assert!(before > 100 << 10 && bytes(&cache) < before / 4, "{before} -> {}", bytes(&cache));
    stage.build(&work, &variables, &["go", "build", "-o", "x", "."]);
}

/// pnpm comes with no package of the system's: one that is in `PATH`, or that `DISK_GUARD_TEST_PNPM` names.
#[test]
fn pnpm_drops_packages_without_a_project_link() {
    let named = std::env::var("DISK_GUARD_TEST_PNPM").ok().map(PathBuf::from);
    let path = std::env::var("PATH").unwrap_or_default();
    let found =
        named.or_else(|| std::env::split_paths(&path).map(|at| at.join("pnpm")).find(|at| at.exists()));
    let Some(pnpm) = found.filter(|_| has(&["node"])) else {
        kit::skip("pnpm is not installed");
        return;
    };
    let mut stage = Stage::new(64);
    let _runner = stage.host.runner("actions-runner-1").build();
    let (store, project) = (stage.directory("store"), stage.directory("project"));
    let package = stage.directory("package");
    std::fs::write(package.join("package.json"), "{\"name\":\"p\",\"version\":\"1.0.0\"}").expect("a file");
    std::fs::write(package.join("data.js"), "//".repeat(1 << 20)).expect("a file");
    let archive = stage.disk.join("p.tgz");
    said(Command::new("tar").args(["-C"]).arg(&stage.disk).arg("-czf").arg(&archive).arg("package"));
    std::fs::write(
        project.join("package.json"),
        format!("{{\"name\":\"x\",\"dependencies\":{{\"p\":\"file:{}\"}}}}", archive.display()),
    )
    .expect("a file");
    let words = [
        pnpm.to_str().expect("UTF-8"),
        "install",
        "--offline",
        "--store-dir",
        store.to_str().expect("UTF-8"),
    ];
    stage.build(&project, &[], &words);
    let entry = format!(
        "[[store]]\nkind = \"pnpm\"\ncommand = [{:?}]\npath = {:?}\n",
        pnpm.display().to_string(),
        store.display().to_string()
    );
    stage.host.configure(|settings| settings.want_everything());
    let before = bytes(&store);
    assert!(before > 2 << 20, "{before}");
    let found = stage.collect(&entry);
    assert_eq!(found["outcome"], "collected", "{found:#}");
    assert!(bytes(&store) > before / 2, "a project links to it");
    let _ = std::fs::remove_dir_all(stage.host.state_dir().join("stores"));
    std::fs::remove_dir_all(project.join("node_modules")).expect("it is there");
    let found = stage.collect(&entry);
    assert_eq!(found["outcome"], "collected", "{found:#}");
    assert!(bytes(&store) < before / 2, "{before} -> {}", bytes(&store));
}

/// A real dockerd: images that no container uses go, as far as is needed, and none that one uses. Its build cache, which is empty
/// without a builder, is asked for in words that this Docker understands.
#[test]
fn docker_loses_unused_images_as_far_as_is_needed() {
    if !has(&["dockerd", "docker"]) {
        return;
    }
    let mut stage = Stage::new(192);
    let _runner = stage.host.runner("actions-runner-1").build();
    let base = stage.host.base.join("docker");
    std::fs::create_dir(&base).expect("a directory");
    let data = stage.directory("data");
    std::os::unix::fs::chown(&data, Some(0), Some(0)).expect("root's again");
    std::os::unix::fs::chown(&stage.disk, Some(0), Some(0)).expect("root's again");
    let socket = format!("unix://{}", base.join("s").display());
    let docker = |arguments: &[&str]| {
        let mut command = Command::new("/usr/bin/docker");
        command.args(["-H", &socket]).args(arguments);
        command
    };
    let log = std::fs::File::create(base.join("log")).expect("a log");
    let mut dockerd = Command::new("dockerd");
    dockerd.args(["--iptables=false", "--bridge=none", "--storage-driver=vfs", "-H", &socket]);
    dockerd.arg("--data-root").arg(&data).arg("--exec-root").arg(base.join("exec"));
    dockerd.arg("--pidfile").arg(base.join("pid")).stdout(log.try_clone().expect("a handle")).stderr(log);
    let mut daemon = Daemon(dockerd.spawn().expect("it starts"));
    let is_up = |daemon: &mut Daemon| {
        let deadline = Instant::now() + kit::deadline();
        loop {
            if docker(&["version"]).output().is_ok_and(|output| output.status.success()) {
                return true;
            }
            let ended = daemon.0.try_wait().expect("it is our child").is_some();
            if ended || std::time::Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    if !is_up(&mut daemon) {
        let text = std::fs::read_to_string(base.join("log")).unwrap_or_default();
        kit::skip(&format!("dockerd does not run here: {}", text.lines().last().unwrap_or_default()));
        return;
    }
    for n in 0..6_u8 {
        let root = base.join("rootfs");
        std::fs::create_dir_all(&root).expect("a directory");
        std::fs::write(root.join("data"), vec![n; 20 << 20]).expect("a file");
        let archive = base.join("image.tar");
        said(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."));
        said(&mut docker(&["import", archive.to_str().expect("UTF-8"), &format!("img:{n}")]));
    }
    said(&mut docker(&["create", "--network", "none", "--name", "user", "img:0", "/bin/true"]));
    let tags = || {
        let mut tags: Vec<String> =
            said(&mut docker(&["images", "--format", "{{.Tag}}"])).lines().map(str::to_owned).collect();
        tags.sort();
        tags
    };
    // 140 of 192 MB and the filesystem's own are in use: down to 60 % takes two of them.
    stage.host.configure(|settings| (settings.high, settings.low) = (70, 60));
    let command = format!("command = [\"/usr/bin/docker\", \"-H\", {socket:?}]\n");
    let found = stage.collect(&format!("[[store]]\nkind = \"docker-images\"\n{command}"));
    assert_eq!(found["outcome"], "collected", "{found:#}");
    let left = tags();
    assert!(left.contains(&"0".to_owned()), "the one that a container uses: {left:?}");
    assert!(left.contains(&"5".to_owned()) && !left.contains(&"1".to_owned()), "the newest stays: {left:?}");
    assert!((3..6).contains(&left.len()), "{left:?}");
    assert!(found["freed_bytes"].as_u64().expect("a number") >= 20 << 20, "{found:#}");
    stage.host.configure(|settings| settings.want_everything());
    let found = stage.collect(&format!("[[store]]\nkind = \"docker-images\"\n{command}"));
    assert_eq!((&found["outcome"], tags()), (&"collected".into(), vec!["0".to_owned()]), "{found:#}");
    said(&mut docker(&["builder", "prune", "--force", "--keep-storage=1000"]));
    let found = stage.collect(&format!("[[store]]\nkind = \"buildkit\"\n{command}"));
    assert_eq!((&found["bytes"], &found["reason"]), (&0.into(), &"at-its-floor".into()), "{found:#}");
    said(&mut docker(&["rm", "-f", "user"]));
}

/// A daemon that is asked to end with the test, and made to.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::time::Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
