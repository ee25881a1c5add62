//! Work directories with a quota of their own: each is judged by its project's limit, and relieved of what lies in it alone. A real
//! XFS with project quotas, in a user-mode Linux kernel: few hosts' kernels can make one on the spot.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::needs_root;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The machine's process 1. Its root is this host's, of which it writes to the directory of the test alone.
const INIT: &str = r#"#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /mnt; mount -t devtmpfs dev /dev
share=@SHARE@
scene() {
    set -e
    mkdir /mnt/disk
    mount -o prjquota /dev/ubda /mnt/disk
    for n in 1 2 3; do
        root=/mnt/disk/actions-runner-$n work=/mnt/disk/work-$n
        mkdir -p "$root/_diag" "$root/bin" "$work"
        echo "{\"agentName\":\"ci-$n\",\"workFolder\":\"$work\"}" >"$root/.runner"
        [ $n = 3 ] || xfs_quota -x -c "project -s -p $work $n" -c "limit -p bhard=64m $n" /mnt/disk
        target=$work/app/app/target
        mkdir -p "$target/debug/deps"
        echo 'Signature: 8a477f597d28d172789f06886806bc55' >"$target/CACHEDIR.TAG"
        head -c $((n == 2 ? 60 : 8))M /dev/zero >"$target/debug/deps/lib.rlib"
        find "$work" -exec touch -d '3 days ago' {} +
    done
    sync
    cat >/run/config.toml <<CONFIG
[pressure]
min_free = "0"
[runners]
roots = ["/mnt/disk/actions-runner-*"]
allow_unguarded = true
[paths]
run_dir = "/run/disk-guard"
state_dir = "/run/state"
CONFIG
    mkdir -m 755 /run/disk-guard /run/state
    @GUARD@ --config /run/config.toml status --json >"$share/before.json"
    @GUARD@ --config /run/config.toml sweep --json >"$share/sweep.json"
    ls -d /mnt/disk/work-*/app/app/target >"$share/left"
}
(scene) >"$share/trace" 2>&1
sync
echo o >/proc/sysrq-trigger
sleep 60
"#;

fn missing() -> Option<&'static str> {
    let is_there = |program: &str| {
        let places = ["/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        places.iter().any(|place| Path::new(place).join(program).exists())
    };
    ["linux.uml", "mkfs.xfs", "xfs_quota"].into_iter().find(|program| !is_there(program))
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Boots the machine with a disk, and gives the directory that it has written to.
fn boot() -> tempfile::TempDir {
    // Not in /tmp, which others may have hidden from the machine.
    let share = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let at = share.path().display().to_string();
    let init = share.path().join("init");
    let script = INIT.replace("@SHARE@", &at).replace("@GUARD@", env!("CARGO_BIN_EXE_disk-guard"));
    std::fs::write(&init, script).expect("a script");
    std::fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    let image = share.path().join("disk.img");
    run(Command::new("truncate").args(["-s", "400M"]).arg(&image));
    run(Command::new("mkfs.xfs").args(["-q", "-f"]).arg(&image));
    let console = std::fs::File::create(share.path().join("console")).expect("a file");
    // Its kernel has threads of its own: all of them end with the one that `timeout` ends.
    let ended = Command::new("timeout")
        .args(["--kill-after=5", "150", "linux.uml", "mem=512M", "rootfstype=hostfs", "rw", "quiet"])
        .args(["con=null", "con0=null,fd:1", &format!("umid=dg-quotas-{}", std::process::id())])
        .arg(format!("ubda={}", image.display()))
        .arg(format!("init={}", init.display()))
        .stdin(Stdio::null())
        .stdout(console.try_clone().expect("a file"))
        .stderr(console)
        .status()
        .expect("it starts");
    let told = |name: &str| std::fs::read_to_string(share.path().join(name)).unwrap_or_default();
    assert!(
        !told("left").is_empty(),
        "{ended}: {}\n{}\n{}",
        told("trace"),
        told("sweep.json"),
        told("console")
    );
    share
}

#[test]
fn a_work_directory_with_a_quota_is_judged_and_relieved_by_itself() {
    if !needs_root("boots a kernel of its own") {
        return;
    }
    if let Some(program) = missing() {
        eprintln!("skipped: {program} is not installed");
        return;
    }
    let share = boot();
    let read = |name: &str| -> Value {
        let text = std::fs::read_to_string(share.path().join(name)).expect("it was written");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
    };
    let before = read("before.json");
    let disks = before["filesystems"].as_array().expect("a list");
    let disk = |mount: &str| {
        let found = disks.iter().find(|disk| disk["mount"] == mount);
        found.unwrap_or_else(|| panic!("{mount}: {before:#}"))
    };
    assert_eq!(disks.len(), 3, "{before:#}");
    for mount in ["/mnt/disk/work-1", "/mnt/disk/work-2"] {
        assert_eq!(disk(mount)["total_bytes"], 64 << 20, "{before:#}");
    }
    let levels = ["/mnt/disk", "/mnt/disk/work-1", "/mnt/disk/work-2"].map(|mount| &disk(mount)["level"]);
    assert_eq!(levels, ["ok", "ok", "high"], "{before:#}");
    let sweep = read("sweep.json");
    assert_eq!(sweep["goal_met"], true, "{sweep:#}");
    let left: Vec<PathBuf> =
        std::fs::read_to_string(share.path().join("left")).unwrap().lines().map(PathBuf::from).collect();
    let targets = [1, 3].map(|n| PathBuf::from(format!("/mnt/disk/work-{n}/app/app/target")));
    assert_eq!(left, targets, "what lies under no pressure stays: {sweep:#}");
}
