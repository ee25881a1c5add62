//! A reader that goes away ends any verb quietly; any other failure of standard output is told, and is exit code 1.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Host, needs_root};
use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};

/// Verbs that print, with what they need.
const VERBS: &[&[&str]] = &[
    &["status"],
    &["status", "--json"],
    &["plan"],
    &["sweep"],
    &["check", "--runner", "actions-runner-1"],
    &["doctor", "--json"],
    &["audit"],
    &["history"],
    &["blame", "--at", "now"],
    &["why", "actions-runner-1"],
    &["postmortem"],
    &["metrics"],
    &["reap"],
    &["check-config"],
];

fn run(host: &Host, verb: &[&str], stdout: Stdio) -> Output {
    let mut command = Command::new(host.program());
    command
        .arg("--config")
        .arg(host.config())
        .args(verb)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped());
    command.spawn().expect("it starts").wait_with_output().expect("it ends")
}

#[test]
fn unprintable_output_is_a_failure_and_a_closed_reader_is_not() {
    if !needs_root("looks at a host as root does") {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    host.runner("actions-runner-1").build();
    for verb in VERBS {
        let read = run(&host, verb, Stdio::piped());
        assert!(!read.stdout.is_empty(), "{verb:?} prints something");
        let full = OpenOptions::new().write(true).open("/dev/full").expect("it is there");
        let failed = run(&host, verb, full.into());
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(failed.status.code(), Some(1), "{verb:?}: {said}");
        assert!(said.contains("standard output cannot be written: No space left"), "{verb:?}: {said}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed = run(&host, verb, writer.into());
        let said = String::from_utf8_lossy(&closed.stderr).into_owned();
        assert_eq!(closed.status.code(), read.status.code(), "{verb:?}: {said}");
        assert!(!said.contains("Broken pipe") && !said.contains("panicked"), "{verb:?}: {said}");
    }
}

/// There a worker prints, and another process passes that on.
#[test]
fn unprintable_output_of_a_supervised_verb_is_a_failure_too() {
    if !needs_root("mounts") {
        return;
    }
    let host = Host::new();
    host.runner("actions-runner-1").build();
    let place = |name: &str| {
        let path = host.base.join(name);
        std::fs::create_dir(&path).expect("a directory");
        path.display().to_string()
    };
    let (lower, point) = (place("lower"), place("point"));
    let options = format!("lowerdir={lower}:{}", place("lowest"));
    let mounted = Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay", &point]).status();
    assert!(mounted.expect("mount runs").success());
    for (stdout, code) in [("/dev/null", 0), ("/dev/full", 1)] {
        let stdout = OpenOptions::new().write(true).open(stdout).expect("it is there");
        let ended = run(&host, &["status"], stdout.into());
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert_eq!(said.contains("standard output cannot be written: No space left"), code == 1, "{said}");
    }
}

#[test]
fn a_watch_ends_with_its_reader() {
    if !needs_root("looks at a host as root does") {
        return;
    }
    let host = Host::new();
    host.runner("actions-runner-1").build();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = run(&host, &["status", "--watch", "--json"], writer.into());
    assert_eq!(
        (ended.status.code(), ended.stderr.len()),
        (Some(0), 0),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}
