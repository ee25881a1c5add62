//! Real deaths, and what is found out about them.

use crate::kit::{self, Fs, Host, Job, Listener, MIB, MemoryGroup, Report, Runner};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// A host whose sweeps have looked for what the boot has cut off.
fn host() -> Host {
    let mut host = Host::new();
    // Of a journal that this machine may have only its own host's deaths are to be told.
    let empty = host.base.join("no-programs");
    std::fs::create_dir(&empty).expect("ours");
    host.configure(|settings| settings.extra = format!("programs = [{empty:?}]\n"));
    host.configure(calm);
    // As tmpfiles.d makes it: without it nobody's hooks leave entries, and the ledger clears nobody.
    std::fs::create_dir(host.state_dir().join("ledger.d")).expect("ours");
    host.sweep();
    // The runner's logs know whole seconds: a job of this one may have begun before the ledger did.
    let second = || jiff::Timestamp::now().as_second();
    let then = second();
    kit::until("the next second", || (second() > then).then_some(()));
    host
}

/// However full the disk of this machine is, the host's is not.
fn calm(settings: &mut kit::Settings) {
    (settings.high, settings.low, settings.critical) = (99, 98, 100);
}

/// A job up to its first step, with its lease.
fn begin(runner: &Runner) -> (Listener, Job) {
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    (listener, job)
}

/// What `postmortem --runner` says of the runner's last job.
#[track_caller]
fn ask(host: &Host, runner: &Runner) -> Value {
    let report = host.guard(&["postmortem", "--runner", &runner.name, "--json"]).expect_code(&[0]).report();
    report.0["deaths"][0].clone()
}

#[track_caller]
fn expect(death: &Value, cause: &str, confidence: &str) {
    assert_eq!((&death["cause"], &death["confidence"]), (&cause.into(), &confidence.into()), "{death:#}");
    assert_eq!(death["ended"], "abruptly", "{death:#}");
}

/// The texts of a list, each in one line.
fn told(death: &Value, list: &str) -> String {
    death[list].as_array().expect("a list").iter().map(|item| format!("{item}\n")).collect()
}

#[track_caller]
fn expect_in(death: &Value, list: &str, words: &[&str]) {
    let text = told(death, list);
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in {list}:\n{text}");
    }
}

/// `WORD PID`, or what of it the kernel says where the test's pids are of another namespace than the kernel's.
fn with_pid(before: &str, pid: i32, behind: &str) -> String {
    // PROC_PID_INIT_INO (include/linux/proc_ns.h)
    let is_first =
        std::fs::read_link("/proc/self/ns/pid").is_ok_and(|ns| ns == Path::new("pid:[4026531836]"));
    if is_first { format!("{before}{pid}{behind}") } else { behind.to_owned() }
}

fn sees_kernel() -> bool {
    // The ring is closed to containers, and there is no journal in a test.
    let is_open = std::fs::File::open("/dev/kmsg").is_ok();
    if !is_open {
        let _ =
            std::io::Write::write_all(&mut std::io::stderr(), b"skipped in part: /dev/kmsg cannot be read\n");
    }
    is_open
}

#[test]
fn a_worker_that_is_killed_for_want_of_memory() {
    if !kit::needs_root("makes a memory cgroup") || !sees_kernel() {
        return;
    }
    let Some(group) = MemoryGroup::of(48 * MIB) else { return };
    let host = host();
    let runner = host.runner("actions-runner-1").build();
    let mut listener = runner.listen();
    group.add(listener.pid());
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    assert_eq!(job.die("memory", Path::new("/"), &mut listener), 137);
    let death = ask(&host, &runner);
    expect(&death, "out-of-memory", "certain");
    let pid = with_pid("Killed process ", job.pid, " (Runner.Worker)");
    expect_in(
        &death,
        "evidence",
        &[&pid, "disk-guard-test", "was at its limit", "137 = 128 + 9", "oom_kill 1"],
    );
    expect_in(&death, "ruled_out", &["disk-full", "disk-guard", "listener-died", "reboot"]);
    assert!(!told(&death, "ruled_out").contains("killed"), "what was sent, and by whom, is the same signal");
    assert_eq!((&death["repository"], &death["run_id"]), (&"acme/app".into(), &job.run_id.as_str().into()));
}

#[test]
fn a_worker_that_somebody_kills_and_one_that_crashes() {
    let host = host();
    let runner = host.runner("actions-runner-1").build();
    let (mut listener, mut job) = begin(&runner);
    job.kill_worker();
    assert_eq!(listener.finished(), 137);
    let death = ask(&host, &runner);
    // Nobody can say what the host's daemons did: this host has no journal.
    expect(&death, "killed", "likely");
    expect_in(&death, "evidence", &["Code: 137", "does not show the sender", "without `Job completed.`"]);
    expect_in(&death, "ruled_out", &["crash", "disk-full", "disk-guard"]);
    expect_in(&death, "missing", &["out-of-memory daemons"]);
    assert!(!told(&death, "ruled_out").contains("out-of-memory"), "{death:#}");
    drop(job);

    let crashing = host.runner("actions-runner-2").build();
    let (mut listener, mut job) = begin(&crashing);
    assert_eq!(job.die("segv", Path::new("/"), &mut listener), 139);
    let death = ask(&host, &crashing);
    expect(&death, "crash", "certain");
    expect_in(&death, "evidence", &["139 = 128 + 11", "SIGSEGV"]);
    if sees_kernel() && nix::unistd::geteuid().is_root() {
        expect_in(&death, "evidence", &[&with_pid("Runner.Worker[", job.pid, "]: segfault at 8")]);
        expect_in(&death, "ruled_out", &["killed", "out-of-memory"]);
    }
    assert!(!death["summary"].as_str().expect("text").contains("killed"));
}

#[test]
fn a_worker_on_a_disk_that_is_full() {
    if !kit::needs_root("mounts a small filesystem") {
        return;
    }
    let mut host = host();
    let work = host.base.join("work-disk");
    host.mount(Fs::Tmpfs { mib: 16, inodes: 500 }, &work);
    let runner = host.runner("actions-runner-1").work_folder(work.join("_work")).build();
    let (mut listener, mut job) = begin(&runner);
    assert_eq!(job.die("disk", &runner.work, &mut listener), 1);
    let death = ask(&host, &runner);
    expect(&death, "disk-full", "certain");
    expect_in(
        &death,
        "evidence",
        &["No space left on device", "layer.tar", "is full now", "It is not a signal"],
    );
    expect_in(&death, "ruled_out", &["killed", "out-of-memory"]);
    drop(job);

    // The same for people.
    let text = host.guard(&["postmortem"]).expect_code(&[0]).stdout();
    assert!(text.starts_with("1 death since "), "{text}");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains("the Worker found no space left on the disk (exit code 1) (disk-full, certain)"),
        "{text}"
    );
    assert!(text.contains("What to do"), "{text}");
}

#[test]
fn a_listener_that_is_killed() {
    let host = host();
    let runner = host.runner("actions-runner-1").build();
    let (listener, mut job) = begin(&runner);
    listener.kill();
    let living = ask(&host, &runner);
    assert_eq!(
        (&living["ended"], &living["cause"]),
        (&"not-yet".into(), &"listener-died".into()),
        "{living:#}"
    );
    job.kill_worker();
    let death = ask(&host, &runner);
    expect(&death, "listener-died", "likely");
    expect_in(&death, "evidence", &["no Listener of this runner is running", "Job request 1"]);
    expect_in(&death, "missing", &["the Worker's exit code", "ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT"]);
    // Another one begins: the story is the same.
    let second = runner.listen();
    expect(&ask(&host, &runner), "listener-died", "likely");
    drop((second, job));
}

/// The lease outlives a boot where the shared directory does, as in this test.
#[test]
fn a_reboot() {
    let host = host();
    let runner = host.runner("actions-runner-1").build();
    let (listener, mut job) = begin(&runner);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux");
    listener.kill();
    job.kill_worker();
    let lease = host.leases().pop().expect("a lease");
    let text = std::fs::read_to_string(&lease).expect("ours");
    let other = "11111111-2222-3333-4444-555555555555";
    std::fs::write(&lease, text.replace(boot.trim(), other)).expect("ours");
    let death = ask(&host, &runner);
    expect(&death, "reboot", "certain");
    expect_in(&death, "evidence", &[other, boot.trim()]);
}

/// `/run` is empty after a boot: a Worker's log that ends before it tells, once.
#[test]
fn a_reboot_that_took_the_lease_along() {
    let mut host = Host::new();
    host.configure(calm);
    let runner = host.runner("actions-runner-1").build();
    let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux");
    let seconds: f64 = uptime.split('.').next().expect("a figure").parse().expect("a figure");
    let before = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds as i64 + 600);
    let name = format!("Worker_{}-utc.log", before.strftime("%Y%m%d-%H%M%S"));
    let line = format!("[{} INFO Worker] Version: 2.336.0\n", before.strftime("%Y-%m-%d %H:%M:%SZ"));
    std::fs::write(runner.root.join("_diag").join(&name), &line).expect("ours");
    let told = |host: &Host| host.guard(&["sweep"]).expect_code(&[0]).stderr().matches("postmortem").count();
    assert_eq!(told(&host), 1);
    assert_eq!(told(&host), 0, "once a death");
    let death = host.guard(&["postmortem", "--since", "9000h ago", "--json"]).expect_code(&[0]).report();
    expect(&death.0["deaths"][0], "reboot", "likely");
}

/// The guard is asked first when something is gone. It did remove something at that time: from another runner.
#[test]
fn the_guards_own_sweep_is_cleared_with_a_list_of_what_it_deleted() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = host();
    host.configure(kit::Settings::want_everything);
    let (runner, other) = (host.runner("actions-runner-1").build(), host.runner("actions-runner-2").build());
    let own = runner.cache("acme/app", "target", MIB, 2 * DAY);
    let gone = other.cache("acme/widgets", "target", MIB, 2 * DAY);
    // So that its own hook leaves it alone.
    let (mut listener, mut job) = {
        let mut listener = runner.listen();
        let job = listener.begin_job("acme/app");
        (listener, job)
    };
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    job.hook_started().expect_ok();
    host.configure(kit::Settings::want_everything);
    let sweep = host.sweep();
    assert_eq!(sweep.outcome(&gone), "removed", "{:#}", sweep.0);
    assert!(own.exists(), "a live job's cache stays");
    job.kill_worker();
    assert_eq!(listener.finished(), 137);
    let death = ask(&host, &runner);
    assert_eq!(death["cause"], "killed", "{death:#}");
    let guard =
        death["ruled_out"].as_array().expect("a list").iter().find(|ruled| ruled["cause"] == "disk-guard");
    let by = guard.unwrap_or_else(|| panic!("the guard is cleared: {death:#}"))["by"].as_str().expect("text");
    assert!(by.contains(gone.to_str().expect("UTF-8")) && by.contains("nothing of this runner"), "{by}");
}

#[test]
fn a_clean_finish_is_not_reported_as_a_death() {
    let host = host();
    let runner = host.runner("actions-runner-1").build();
    let (mut listener, mut job) = begin(&runner);
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
    let ended = ask(&host, &runner);
    assert_eq!((&ended["ended"], &ended["cause"]), (&"cleanly".into(), &"clean-end".into()), "{ended:#}");
    assert!(told(&ended, "missing").is_empty() && told(&ended, "ruled_out").is_empty());
    let all = host.guard(&["postmortem", "--json"]).expect_code(&[0]).report();
    assert_eq!(
        (&all.0["jobs"], all.0["deaths"].as_array().map(Vec::len)),
        (&1.into(), Some(0)),
        "{:#}",
        all.0
    );
    assert!(!host.guard(&["sweep"]).expect_code(&[0]).stderr().contains("postmortem"));

    // A job without its completed-hook leaves its lease; it ended cleanly all the same.
    let (mut listener, job) = begin(&host.runner("actions-runner-2").build());
    job.finish(&mut listener);
    assert!(!host.guard(&["sweep"]).expect_code(&[0]).stderr().contains("postmortem"));
    assert!(host.leases().is_empty(), "and the lease is gone");
}

#[test]
fn a_sweep_reports_a_death_once_and_keeps_the_evidence_that_would_vanish() {
    let host = host();
    let runner = host.runner("actions-runner-1").build();
    let (mut listener, mut job) = begin(&runner);
    job.kill_worker();
    assert_eq!(listener.finished(), 137);
    let first = host.guard(&["sweep"]).expect_code(&[0]).stderr();
    let events: Vec<&str> = first.lines().filter(|line| line.contains("disk-guard: postmortem ")).collect();
    assert_eq!(events.len(), 1, "{first}");
    for part in ["runner=actions-runner-1", "reason=killed", "repository=acme/app", "SIGKILL", "job=build"] {
        assert!(events[0].contains(part), "`{part}` is missing in {}", events[0]);
    }
    let second = host.guard(&["sweep"]).expect_code(&[0]).stderr();
    assert!(!second.contains("postmortem"), "{second}");
    // A second lease of the same Worker, forged or left over, tells nothing new.
    assert!(host.leases().is_empty());

    drop((listener, job));
    std::fs::remove_dir_all(runner.root.join("_diag")).expect("ours");
    let kept = host.guard(&["postmortem", "--json"]).expect_code(&[0]).report().0["deaths"][0].clone();
    assert_eq!((&kept["cause"], &kept["kept"]), (&"killed".into(), &true.into()), "{kept:#}");
    assert_eq!(kept["repository"], "acme/app");
    let records = std::fs::read_dir(host.state_dir().join("postmortems")).expect("it is kept");
    let record = records.map(|entry| entry.expect("an entry").path()).find(|path| path.extension().is_some());
    let record = std::fs::read_to_string(record.expect("a record")).expect("ours");
    let record: Value = serde_json::from_str(&record).expect("JSON");
    assert!(record["raw"]["listener_log"].as_str().expect("text").contains("Code: 137"), "{record:#}");
    assert!(record["raw"]["worker_log"].as_str().expect("text").contains("Job ID"), "{record:#}");
}

/// It deletes its `.runner`, and with it its name; later its root is removed as well.
#[test]
fn an_ephemeral_runner_that_is_gone_is_still_known() {
    let host = host();
    let runner = host.runner("actions-runner-1").named("ephemeral-7").build();
    let (mut listener, mut job) = begin(&runner);
    job.kill_worker();
    assert_eq!(listener.finished(), 137);
    drop((listener, job));
    let ask = || host.guard(&["postmortem", "--runner", "ephemeral-7", "--json"]);
    assert_eq!(ask().expect_code(&[0]).report().0["deaths"][0]["cause"], "killed");
    std::fs::remove_file(runner.root.join(".runner")).expect("ours");
    ask().expect_code(&[1]);
    // Its Listener has said who it is.
    let logs =
        std::fs::read_dir(runner.root.join("_diag")).expect("ours").map(|log| log.expect("an entry").path());
    let log =
        logs.into_iter().find(|log| log.to_string_lossy().contains("Runner_")).expect("the Listener's log");
    let text = std::fs::read_to_string(&log).expect("ours");
    let (first, rest) = text.split_once('\n').expect("lines");
    std::fs::write(&log, format!("{first}\n  \"AgentId\": 1,\n  \"AgentName\": \"ephemeral-7\",\n{rest}"))
        .expect("ours");
    assert_eq!(ask().expect_code(&[0]).report().0["deaths"][0]["cause"], "killed");
    // A sweep keeps its death, by the name that it had.
    std::fs::write(runner.root.join(".runner"), r#"{"agentId": 7, "agentName": "ephemeral-7"}"#)
        .expect("ours");
    host.sweep();
    std::fs::remove_dir_all(&runner.root).expect("ours");
    let report = ask().expect_code(&[0]).report();
    assert_eq!(report.0["deaths"][0]["cause"], "killed", "{:#}", report.0);
    assert!(report.0["notes"].to_string().contains("no longer a runner of this host"), "{:#}", report.0);
    host.guard(&["postmortem", "--runner", "ephemeral-8"]).expect_code(&[1]);
}

/// Whatever lies in `_diag`, nothing is followed, nothing blocks, and the other runner's death is told.
#[test]
fn hostile_logs_stop_nothing() {
    let host = host();
    let (hostile, runner) =
        (host.runner("actions-runner-1").build(), host.runner("actions-runner-2").build());
    let diag = hostile.root.join("_diag");
    std::fs::create_dir_all(&diag).expect("ours");
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let fifo = diag.join(format!("Worker_{now}-utc.log"));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    std::os::unix::fs::symlink("/etc/passwd", diag.join(format!("Runner_{now}-utc.log"))).expect("a link");
    let (mut listener, mut job) = begin(&runner);
    job.kill_worker();
    assert_eq!(listener.finished(), 137);
    let report: Report = host.guard(&["postmortem", "--json"]).expect_code(&[0]).report();
    let deaths = report.0["deaths"].as_array().expect("a list");
    let of = |name: &str| deaths.iter().find(|death| death["runner"] == name).expect("both are told");
    assert_eq!(of("actions-runner-2")["cause"], "killed");
    expect_in(of("actions-runner-1"), "missing", &["the Worker's log", "the Listener's log"]);
    assert!(!report.0.to_string().contains("root:x"), "nobody's file is read");
    drop(job);

    let escape = "[2026-01-02 03:04:05Z INFO Worker] \u{1b}[2J\u{202e}##[error]x No space left on device\n";
    let names = host.runner("actions-runner-3").build();
    let name = format!("Worker_{now}-utc.log");
    std::fs::write(names.root.join("_diag").join(name), escape).expect("ours");
    let text = host.guard(&["postmortem"]).expect_code(&[0]).stdout();
    assert!(text.contains(r"\x1b[2J") && !text.contains('\u{1b}') && !text.contains("##["), "{text}");
}

/// The disk is the cause: the job's log says so, once, and names who holds it by the leases.
#[test]
fn a_job_that_met_a_full_disk_reads_it_in_its_log_once() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = host();
    let (runner, other) = (host.runner("actions-runner-1").build(), host.runner("actions-runner-2").build());
    other.cache("acme/widgets", "target", 2 * MIB, 2 * DAY);
    let mut others = other.listen();
    let mut holding = others.begin_job("acme/widgets");
    holding.hook_started().expect_ok();

    let no_space = "System.IO.IOException: No space left on device : '/x\n::error::y'";
    let near_full = |settings: &mut kit::Settings| (settings.high, settings.low) = (1, 0);

    // The words alone are not enough: the disk has room, and had.
    let (mut listener, mut job) = begin(&runner);
    job.complain(no_space);
    assert!(job.hook_completed().expect_ok().parsed().annotations.is_empty());
    job.finish_with(102, &mut listener);

    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    job.complain(no_space);
    host.configure(near_full);
    let hook = job.hook_completed().expect_ok();
    let parsed = hook.parsed();
    assert_eq!(parsed.annotations.len(), 1, "{}", hook.text());
    let text = &parsed.annotations[0].1;
    for part in
        ["No space left on device", "not this change", "actions-runner-2 holds", "acme/widgets run 90"]
    {
        assert!(text.contains(part), "`{part}` is missing in {text}");
    }
    assert!(hook.text().contains("title=This host's disk%2C not your change::"), "{}", hook.text());
    job.finish_with(102, &mut listener);
    let ended = ask(&host, &runner);
    assert_eq!((&ended["ended"], &ended["cause"]), (&"cleanly".into(), &"disk-full".into()), "{ended:#}");

    // A job that only speaks of it has no annotation, however full the disk is.
    host.configure(calm);
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    job.note("StepsRunner", "Processing step: DisplayName='Run grep 'No space left on device' log'");
    host.configure(near_full);
    assert!(job.hook_completed().expect_ok().parsed().annotations.is_empty());
    job.finish(&mut listener);

    // A sweep has relieved the disk before the job ends: it was the disk all the same.
    host.configure(calm);
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    job.complain(no_space);
    host.configure(near_full);
    host.guard(&["sweep"]).expect_code(&[0, 20]);
    host.configure(calm);
    let hook = job.hook_completed().expect_ok();
    assert_eq!(hook.parsed().annotations.len(), 1, "{}", hook.text());
    job.finish_with(102, &mut listener);
    // Of the next job's time no sweep tells that, whose begin is known to the second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    job.complain(no_space);
    assert!(job.hook_completed().expect_ok().parsed().annotations.is_empty());
    job.finish_with(102, &mut listener);

    // The started-hook has said it: the completed-hook does not say it again.
    host.configure(|settings| {
        settings.want_everything();
        (settings.critical, settings.time_limit) = (1, "3s");
    });
    let mut job = listener.begin_job("acme/app");
    let hook = job.hook_started().expect_ok();
    assert_eq!(hook.parsed().annotations.len(), 1, "{}", hook.text());
    assert!(hook.parsed().annotations[0].1.contains("acme/widgets run 90"), "{}", hook.text());
    job.complain("No space left on device");
    assert!(job.hook_completed().expect_ok().parsed().annotations.is_empty());
    job.finish(&mut listener);
}
