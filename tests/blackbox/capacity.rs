//! Which limit is the real one: on real filesystems, with real processes and a real control group.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{self, Fs, Host, MIB, MemoryGroup, Report, Runner, fill_inodes};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn limit<'r>(report: &'r Report, resource: &str, subject: &str) -> &'r Value {
    let limits = report.0["capacity"]["limits"].as_array().expect("a list");
    let is_meant = |limit: &&Value| limit["resource"] == resource && limit["subject"] == subject;
    limits.iter().find(is_meant).unwrap_or_else(|| panic!("no limit {resource} of {subject} in {limits:#?}"))
}

fn holdings<'r>(report: &'r Report, kind: &str) -> Vec<&'r Value> {
    let holdings = report.0["capacity"]["holdings"].as_array().expect("a list");
    holdings.iter().filter(|held| held["kind"] == kind).collect()
}

fn verdict(report: &Report) -> &str {
    report.0["capacity"]["verdict"].as_str().expect("text")
}

#[test]
fn a_shortage_of_inodes_is_distinguished_from_one_of_bytes() {
    if !kit::needs_root("mounts a small filesystem") {
        return;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: 64, inodes: 2000 });
    host.configure(|settings| settings.min_free_inodes = 5);
    host.runner("actions-runner-1").build();
    let mount = host.runners();
    let calm = host.status();
    assert_eq!(limit(&calm, "inodes", mount.to_str().unwrap())["level"], "ok");
    fill_inodes(&mount.join("ballast"));
    let short = host.status();
    assert_eq!(limit(&short, "inodes", mount.to_str().unwrap())["level"], "high");
    assert_eq!(limit(&short, "bytes", mount.to_str().unwrap())["level"], "ok");
    assert!(
        verdict(&short).contains(&format!("0 of 2000 inodes of {}", mount.display())),
        "{}",
        verdict(&short)
    );
    let doctor = host.guard(&["doctor", "--json"]).stdout();
    assert!(doctor.contains(&format!("capacity:inodes:{}", mount.display())), "{doctor}");
}

/// A process that holds a deleted file open until it is dropped.
struct Hoarder(Child);

impl Hoarder {
    fn new(file: &Path, bytes: u64) -> Self {
        let script =
            format!("exec 3<>\"$1\"; head -c {bytes} /dev/zero >&3; rm \"$1\"; echo held; read -r end");
        let mut command = Command::new("bash");
        command.args(["-c", &script, "hoarder"]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("bash starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it speaks");
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for Hoarder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_deleted_file_that_is_held_open_has_a_holder() {
    if !kit::needs_root("mounts a small filesystem") {
        return;
    }
    let host = Host::on(Fs::Tmpfs { mib: 64, inodes: 2000 });
    host.runner("actions-runner-1").build();
    assert_eq!(holdings(&host.status(), "deleted-files").len(), 0);
    let hoarder = Hoarder::new(&host.runners().join("heap"), 20 * MIB);
    let report = host.status();
    let held = holdings(&report, "deleted-files");
    assert_eq!(held.len(), 1, "{held:#?}");
    assert_eq!(held[0]["subject"], format!("bash (pid {})", hoarder.0.id()));
    assert_eq!(held[0]["bytes"], 20 * MIB);
    let text = host.guard(&["status"]).stdout();
    assert!(text.contains("Beside caches") && text.contains("deleted files"), "{text}");
    drop(hoarder);
    assert_eq!(holdings(&host.status(), "deleted-files").len(), 0);
}

#[test]
fn blocks_that_root_keeps_and_what_engines_keep_are_named() {
    if !kit::needs_root("mounts a small filesystem") {
        return;
    }
    let mut host = Host::on(Fs::Ext4 { mib: 64, inodes: 2000 });
    host.runner("actions-runner-1").build();
    let programs = host.base.join("programs");
    std::fs::create_dir(&programs).unwrap();
    let docker = programs.join("docker");
    let answer = r#"{"Reclaimable":"9GB (90%)","Size":"10GB","Type":"Images"}"#;
    let text = format!(
        "#!/bin/sh\ncase $1 in system) echo '{answer}';; *) echo {};; esac\n",
        host.runners().display()
    );
    std::fs::write(&docker, text).unwrap();
    std::fs::set_permissions(&docker, PermissionsExt::from_mode(0o755)).unwrap();
    host.configure(|settings| {
        settings.extra = format!("programs = [{:?}]\n", programs.display().to_string())
    });
    let report = host.status();
    let reserved = holdings(&report, "reserved");
    assert_eq!(reserved.len(), 1, "{reserved:#?}");
    assert_eq!(reserved[0]["subject"], host.runners().to_str().unwrap());
    let bytes = reserved[0]["bytes"].as_u64().unwrap();
    assert!((2 * MIB..5 * MIB).contains(&bytes), "mkfs.ext4 was told to keep 5 %: {bytes}");
    let engines = holdings(&report, "containers");
    assert_eq!(engines.len(), 1, "{engines:#?}");
    assert_eq!(
        (&engines[0]["subject"], &engines[0]["reclaimable_bytes"]),
        (&"docker".into(), &9_000_000_000_u64.into())
    );
    let doctor = host.guard(&["doctor"]).stdout();
    assert!(doctor.contains("space (containers:docker)") && doctor.contains("never -a"), "{doctor}");
}

#[test]
fn a_runners_own_memory_limit_is_distinguished_from_the_hosts() {
    if !kit::needs_root("makes a control group") {
        return;
    }
    let Some(group) = MemoryGroup::of(64 * MIB) else { return };
    let host = Host::new();
    let runner: Runner = host.runner("actions-runner-1").build();
    let listener = runner.listen();
    group.add(listener.pid());
    let before = host.status();
    let groups = before.0["capacity"]["groups"].as_array().unwrap().clone();
    assert_eq!(
        (&groups[0]["memory_limit_bytes"], &groups[0]["oom_kills"]),
        (&(64 * MIB).into(), &0.into()),
        "{groups:#?}"
    );
    assert_eq!(limit(&before, "group-memory", "actions-runner-1")["level"], "ok");
    // A greedy process in the runner's group: the kernel kills it, and nobody else.
    group.fill();
    let after = host.status();
    let killed = limit(&after, "group-oom", "actions-runner-1");
    assert_eq!(killed["level"], "high", "{killed:#?}");
    assert!(verdict(&after).contains("killed for memory"), "{}", verdict(&after));
    assert!(kit::is_alive(listener.pid()), "only the greedy one went");
    drop(listener);
}
