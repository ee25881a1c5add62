//! What the started-hook asks of the kernel on a healthy disk: little, and the same whatever the host holds. Counted, not
//! timed; the times stand in `benches/table/hook.rs`.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

mod looks;

use crate::kit;
use crate::kit::{Host, MIB, Runner, calls_of};
use nix::libc;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The goal, for what comes after the dynamic loader: the packaged program is linked statically.
const CALLS: usize = 150;

/// And what a hook may ask more where jobs are remembered: two files to read.
const MORE: usize = 14;

const DAY: Duration = Duration::from_secs(86_400);

/// One system call, with the path in its arguments where it names one.
#[derive(Debug)]
struct SystemCall {
    number: libc::c_long,
    path: Option<PathBuf>,
}

/// Runs the hook below a Worker and writes down its system calls.
fn hook(host: &Host, runner: &Runner) -> Vec<SystemCall> {
    let (run, calls) = calls_of(&runner.hook_below_a_worker(host, "started"), &host.program(), |entry| {
        let path = match entry.number {
            libc::SYS_openat | libc::SYS_openat2 | libc::SYS_statx | libc::SYS_newfstatat => {
                Some(entry.file(0).join(entry.text(1)))
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => Some(entry.text(0).into()),
            libc::SYS_getdents64 => Some(entry.file(0)),
            _ => None,
        };
        SystemCall { number: entry.number, path }
    });
    // The standard library's debug builds ask with fcntl whether a descriptor is open before they close it.
    let calls: Vec<SystemCall> = calls.into_iter().filter(|call| call.number != libc::SYS_fcntl).collect();
    // Its first word of its own is to ask for the standard streams.
    let loaded = calls.iter().position(|call| call.number == libc::SYS_poll).expect("it asks");
    let calls: Vec<SystemCall> = calls.into_iter().skip(loaded).collect();
    assert_eq!((run.code, run.stdout().as_str()), (Some(0), ""), "{}", run.stderr());
    assert!(run.stderr().contains("lease") || Path::new("/run/systemd/journal/socket").exists());
    calls
}

/// On a busy machine the supervisor wakes up meanwhile, and looks: the least of some runs is the hook's own.
fn least(host: &Host, runner: &Runner) -> Vec<SystemCall> {
    (0..10).map(|_| hook(host, runner)).min_by_key(Vec::len).expect("some runs")
}

/// Ends them also when the test fails.
struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|child| drop(child.kill()));
        self.0.iter_mut().for_each(|child| drop(child.wait()));
    }
}

fn crowd(size: usize) -> Crowd {
    let sleep = || {
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("sleep starts")
    };
    Crowd((0..size).map(|_| sleep()).collect())
}

fn calm() -> Host {
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    host
}

#[test]
fn on_a_healthy_disk_the_hook_asks_little_and_the_same_on_every_host() {
    let host = calm();
    let runner = host.runner("actions-runner-1").build();
    hook(&host, &runner); // Makes what is made once.
    let alone = least(&host, &runner);
    println!("{} system calls", alone.len());
    assert!(alone.len() < CALLS, "{} system calls: {alone:#?}", alone.len());

    for number in 2..=40 {
        host.runner(&format!("actions-runner-{number}")).build().cache("acme/app", "target", 4096, DAY);
    }
    for repository in ["acme/app", "acme/widgets"] {
        runner.cache(repository, "target", MIB, DAY);
    }
    let _crowd = crowd(100);
    let in_a_crowd = hook(&host, &runner);
    // Two processes: in which order the calls of one come among those of the other, and how often one wakes up, is chance.
    let numbers = |calls: &[SystemCall]| {
        let mut numbers: Vec<_> = calls.iter().map(|call| call.number).collect();
        let waiting = [
            libc::SYS_poll,
            libc::SYS_wait4,
            libc::SYS_pidfd_open,
            libc::SYS_signalfd4,
            // Whether it is orphaned.
            libc::SYS_getppid,
        ];
        let signals = numbers.iter().filter(|number| **number == libc::SYS_signalfd4).count();
        numbers.retain(|number| !waiting.contains(number));
        numbers.sort();
        // What was opened for waiting is closed at the end.
        let first = numbers.iter().position(|number| *number == libc::SYS_close).expect("it closes files");
        numbers.drain(first..first + signals);
        numbers
    };
    assert_eq!(numbers(&alone), numbers(&in_a_crowd), "{in_a_crowd:#?}");
}

#[test]
fn on_a_healthy_disk_no_directory_is_listed_and_nobody_elses_process_is_opened() {
    let host = calm();
    let runner = host.runner("actions-runner-1").build();
    runner.cache("acme/app", "target", MIB, DAY);
    let sibling = host.runner("actions-runner-2").build();
    let _crowd = crowd(1);
    hook(&host, &runner); // Makes the trash.
    let calls = hook(&host, &runner);
    let listed = calls.iter().filter(|call| call.number == libc::SYS_getdents64);
    let listed: Vec<&Path> = listed.filter_map(|call| call.path.as_deref()).collect();
    // To its end.
    let trash = runner.work.join(".disk-guard/trash");
    assert!(!listed.is_empty() && listed.iter().all(|path| *path == trash), "for the fence: {listed:?}");
    let made = calls.iter().filter(|call| [libc::SYS_clone, libc::SYS_clone3].contains(&call.number));
    assert_eq!(made.count(), 1, "the worker, and no thread");
    let paths: Vec<&Path> = calls.iter().filter_map(|call| call.path.as_deref()).collect();
    let below = |dir: &Path| paths.iter().filter(|path| path.starts_with(dir)).count();
    assert_eq!(below(&sibling.root), 0, "{paths:#?}");
    assert_eq!(below(&runner.work.join("app")), 0, "{paths:#?}");
    assert!(below(&runner.root) > 0, "its own runner is seen: the paths are read rightly: {paths:#?}");
    // Itself, its supervisor, its Worker, and the Worker's parent; by number and once as `self`.
    let mut pids: Vec<&std::ffi::OsStr> = paths
        .iter()
        .filter_map(|path| path.strip_prefix("/proc").ok()?.iter().next())
        .filter(|name| name.as_encoded_bytes()[0].is_ascii_digit())
        .collect();
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 4, "{pids:?}");
}

#[test]
fn the_forecast_costs_the_hook_two_small_files_on_a_disk_with_room() {
    let host = calm();
    let runner = host.runner("actions-runner-1").build();
    hook(&host, &runner); // Makes the trash.
    let without = least(&host, &runner).len();
    let footprints = r#"{"version":1,"jobs":[{"repository":"","job":"","at":1,"runs":[1048576]}]}"#;
    std::fs::write(runner.work.join(".disk-guard/footprints"), footprints).expect("our own file");
    let summary = r#"{"version":1,"largest":1048576,"worst":{"8:1":4194304}}"#;
    std::fs::write(host.run_dir().join("forecast.json"), summary).expect("our own file");
    for number in 2..=20 {
        host.runner(&format!("actions-runner-{number}")).build();
        std::fs::write(host.run_dir().join(format!("leases/1-{number}-1-1")), "{}").expect("our own file");
    }
    let with = least(&host, &runner);
    println!("{without} system calls, {} with a forecast", with.len());
    assert!(with.len() < CALLS && with.len() <= without + MORE, "{without} {with:#?}");
    let paths = |calls: &[SystemCall], of: &Path| {
        calls.iter().filter(|call| call.path.as_deref().is_some_and(|path| path.starts_with(of))).count()
    };
    assert_eq!(paths(&with, &host.run_dir().join("forecast.json")), 1, "{with:#?}");
    assert_eq!(paths(&with, &host.run_dir().join("leases/1-2-1-1")), 0, "no other job's lease is read");
}

#[test]
fn under_pressure_the_same_eyes_see_lists_being_read() {
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    let runner = host.runner("actions-runner-1").build();
    runner.cache("acme/app", "target", MIB, DAY);
    let look = |entry: &kit::Entry| (entry.number, entry.file(0));
    let (_, calls) = calls_of(&runner.hook_below_a_worker(&host, "started"), &host.program(), look);
    let listed = |dir: &Path| calls.iter().any(|(number, of)| *number == libc::SYS_getdents64 && of == dir);
    assert!(listed(Path::new("/proc")) && listed(&runner.work), "a positive control");
}
