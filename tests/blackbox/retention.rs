//! The runner's own logs, leftovers and old versions: they go with age, of idle runners, by their names and places alone.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{self, Host, Runner, grow_old, sees_everything};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const GUID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn host() -> Host {
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    host
}

fn file(path: &Path, age: Duration) -> PathBuf {
    std::fs::create_dir_all(path.parent().expect("it lies in a directory")).expect("a directory");
    std::fs::write(path, "x").expect("a file of the test");
    grow_old(path, age);
    path.to_owned()
}

/// A runner that has been in use for a year: what of it is to go, and what is to stay.
fn aged(host: &Host, name: &str) -> (Runner, Vec<PathBuf>, Vec<PathBuf>) {
    let runner = host.runner(name).build();
    let (root, diag) = (&runner.root, runner.root.join("_diag"));
    let log =
        |kind: &str, day: u32, age| file(&diag.join(format!("{kind}_202601{day:02}-050607-utc.log")), age);
    let mut gone = vec![
        log("Runner", 1, 30 * DAY),
        log("Worker", 1, 30 * DAY),
        log("Worker", 2, 15 * DAY),
        file(&diag.join(format!("pages/{GUID}_{GUID}_1.log")), 20 * DAY),
        file(&diag.join(format!("blocks/{GUID}_{GUID}.1")), 20 * DAY),
    ];
    let mut kept = vec![
        log("Runner", 2, 30 * DAY),
        log("Runner", 3, 30 * DAY),
        log("Worker", 3, 15 * DAY),
        log("Worker", 4, 15 * DAY),
        log("Worker", 0, 13 * DAY),
        file(&diag.join("notes.log"), 90 * DAY),
        file(&diag.join("pages/notes.log"), 90 * DAY),
        file(&root.join("Worker_20260101-050607-utc.log"), 90 * DAY),
    ];
    let link = diag.join("Worker_20250101-050607-utc.log");
    symlink(file(&host.base.join("precious"), 90 * DAY), &link).expect("a link");
    grow_old(&link, 90 * DAY);
    kept.extend([link, host.base.join("precious")]);

    for version in ["bin.2.335.0", "externals.2.335.0", "bin.2.337.0", "bin.backup"] {
        file(&root.join(version).join("lib/file"), 200 * DAY);
        grow_old(&root.join(version), 100 * DAY);
    }
    std::fs::remove_dir_all(root.join("externals")).expect("the plain one");
    file(&root.join("externals.2.336.0/node20/file"), 100 * DAY);
    symlink("externals.2.336.0", root.join("externals")).expect("a link");
    for link in ["bin", "externals"] {
        grow_old(&root.join(link), 20 * DAY);
    }
    gone.extend(["bin.2.335.0", "externals.2.335.0"].map(|name| root.join(name)));
    kept.extend(
        ["bin.2.336.0", "bin.2.337.0", "bin.backup", "externals.2.336.0"].map(|name| root.join(name)),
    );

    file(&runner.work.join("_temp/0b1c.sh"), 2 * DAY);
    grow_old(&runner.work.join("_temp"), 2 * DAY);
    gone.push(runner.work.join("_temp/0b1c.sh"));
    kept.extend(["_actions", "_tool"].map(|name| {
        grow_old(&runner.work.join(name), 300 * DAY);
        runner.work.join(name)
    }));
    (runner, gone, kept)
}

fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[track_caller]
fn assert_all(paths: &[PathBuf], there: bool) {
    for path in paths {
        assert_eq!(is_there(path), there, "{}", path.display());
    }
}

#[test]
fn only_old_files_of_the_runners_own_are_deleted() {
    if !sees_everything() {
        return;
    }
    let host = host();
    let (runner, gone, kept) = aged(&host, "actions-runner-1");
    let plan = host.plan();
    for (path, rule) in
        [("_diag", "runner-logs"), ("bin.2.335.0", "old-versions"), ("externals.2.335.0", "old-versions")]
    {
        let action = plan.action(&runner.root.join(path));
        assert_eq!(
            (action["outcome"].as_str(), action["rule"].as_str()),
            (Some("planned"), Some(rule)),
            "{action:#}"
        );
        assert_eq!(action["reason"], "age", "{action:#}");
    }
    assert_eq!(plan.action(&runner.work.join("_temp"))["rule"], "job-temp");
    assert_all(&gone, true);

    let swept = host.sweep();
    assert_eq!(swept.with_outcome("removed").len(), 4, "{:#}", swept.0);
    assert_all(&gone, false);
    assert_all(&kept, true);
    assert_eq!(std::fs::read_dir(runner.root.join(".disk-guard/trash")).expect("its own trash").count(), 0);
    let again = host.sweep();
    assert!(again.with_outcome("removed").is_empty(), "{:#}", again.0);

    // Each log is told by its own name: what stays beside it was not touched.
    let why = |path: &Path| {
        host.guard(&["why", path.to_str().expect("UTF-8"), "--json"]).report().0["verdict"].clone()
    };
    assert_eq!(why(&gone[0]), "removed");
    assert_eq!(why(&gone[3]), "removed");
    assert_ne!(why(&kept[0]), "removed");
    assert_eq!(why(&runner.root.join("_diag")), "removed-inside");
}

/// A sweep has looked, and is suspended before it takes an old version out of the runner's root. A job begins meanwhile, whose hook
/// does not get the lock: it fences the root as it fences the work directory.
#[test]
fn a_hook_that_does_not_get_the_lock_fences_what_is_claimed_from_the_root() {
    if !sees_everything() {
        return;
    }
    let mut host = host();
    host.configure(|settings| settings.lock_wait = "1s");
    let (runner, _, _) = aged(&host, "actions-runner-1");
    let old = runner.root.join("bin.2.335.0");
    let mut listener = runner.listen();
    let mut before = listener.begin_job("acme/app");
    before.hook_started().expect_ok();
    before.finish(&mut listener);
    let root = runner.root.clone();
    let sweep = kit::Stopped::at(&host.call(&["sweep", "--json"]), move |call| {
        call.number == nix::libc::SYS_renameat2
            && call.file(0).starts_with(&root)
            && call.text(1) == "bin.2.335.0"
    });
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    let report = sweep.release().expect_code(&[0, 20]).report();
    // Not `restored`: it was never moved.
    assert_eq!(report.outcome(&old), "changed", "{:#}", report.0);
    assert!(is_there(&old));
    job.finish(&mut listener);
    assert_eq!(host.sweep().outcome(&old), "removed");
}

#[test]
fn nothing_of_a_runner_that_may_be_at_work_and_nothing_where_it_is_switched_off() {
    if !sees_everything() {
        return;
    }
    let mut host = host();
    let (runner, gone, kept) = aged(&host, "actions-runner-1");
    host.configure(|settings| {
        settings.extra = "[retention]\nlogs = \"0\"\ntemp = \"0\"\nversions = \"0\"\n".into()
    });
    assert!(host.sweep().with_outcome("removed").is_empty());
    assert_all(&gone, true);
    host.configure(|settings| settings.extra.clear());
    let mut listener = runner.listen();
    let job = listener.begin_job("acme/widgets");
    // The runner wipes _temp itself before a job; somebody's leftovers in it are no excuse.
    file(&runner.work.join("_temp/0b1c.sh"), 2 * DAY);
    grow_old(&runner.work.join("_temp"), 2 * DAY);
    let swept = host.sweep();
    assert!(swept.with_outcome("removed").is_empty(), "{:#}", swept.0);
    assert_all(&gone, true);
    assert_all(&kept, true);
    job.finish(&mut listener);
    drop(listener);
    grow_old(&runner.work.join("_temp"), 2 * DAY);
    host.sweep();
    assert_all(&gone[..3], false);
    assert!(!is_there(&runner.root.join("bin.2.335.0")));
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A service that was started before the update goes on running from where it was started.
#[test]
fn a_version_that_a_process_runs_from_is_kept() {
    if !sees_everything() {
        return;
    }
    let host = host();
    let (runner, _, _) = aged(&host, "actions-runner-1");
    let old = runner.root.join("externals.2.335.0");
    let node = old.join("node20/bin/node");
    std::fs::create_dir_all(node.parent().expect("it lies in a directory")).expect("a directory");
    std::fs::copy("/bin/sleep", &node).expect("a program");
    grow_old(&old, 100 * DAY);
    let service = Command::new("sh")
        .args(["-c", &format!("exec {} 600", node.display())])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let service = Ended(service);
    let exe = format!("/proc/{}/exe", service.0.id());
    kit::until("the service to run", || {
        std::fs::read_link(&exe).is_ok_and(|path| path == node).then_some(())
    });
    let swept = host.sweep();
    assert!(is_there(&node), "{:#}", swept.0);
    assert!(!is_there(&runner.root.join("bin.2.335.0")), "the other goes");
    let notes = swept.0["notes"].to_string();
    assert!(notes.contains("old version") && notes.contains("uses it"), "{notes}");
    drop(service);
    host.sweep();
    assert!(!is_there(&old), "without it, it goes");
}
