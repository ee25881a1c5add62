//! A table of endings: each is staged by the files that it leaves, with everything to be seen and with one witness or another gone,
//! and the verdict is compared with the truth.
//!
//! A cause that is wrong is a defect when it is called certain, and so is a truth that was ruled out, whatever was lost.

use crate::kit;
use crate::postmortem::staged::{END, Lost, Stage, Trace};
use serde_json::Value;
use std::collections::HashMap;

/// What happened, what the verdict should be, and how it is staged.
type Ending = (&'static str, &'static str, fn(&mut Trace));

fn group(trace: &Trace) -> String {
    format!("/system.slice/{}", trace.unit)
}

/// The kernel's two lines about a kill.
fn oom(trace: &mut Trace, pid: i32, comm: &str, scope: &str, of: &str) {
    let words = if scope == "global_oom" { "Out of memory" } else { "Memory cgroup out of memory" };
    trace.kernel(
        END - 1,
        &format!("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,{scope},task_memcg={of},task={comm},pid={pid},uid=1000"),
    );
    trace.kernel(
        END - 1,
        &format!("{words}: Killed process {pid} ({comm}) total-vm:8049460kB, anon-rss:7939412kB, UID:1000"),
    );
}

fn last_words(trace: &mut Trace, words: &str) {
    trace.listener_at(END + 1, "ERR", "JobDispatcher", "Unhandled exception happened in worker:");
    trace.listener_at(END + 1, "ERR", "JobDispatcher", words);
}

const NO_SPACE: &str = "Unhandled exception. System.IO.IOException: No space left on device : '/srv/r/_diag/Worker_x-utc.log'\n   at System.IO.RandomAccess.WriteAtOffset(SafeFileHandle handle)";
const MESSAGE: &str = " {\n  \"value\": \"grep 'System.IO.IOException: No space left on device' log\",\n  \"ref\": \"fix/ENOSPC-message\"\n}\n";

fn endings() -> Vec<Ending> {
    vec![
        ("succeeded", "clean-end", |t| {
            t.completed("Succeeded");
            t.finished(100);
        }),
        ("failed by itself", "clean-end", |t| {
            t.completed("Failed");
            t.finished(102);
        }),
        ("failed, and its linker was killed in its group", "out-of-memory", |t| {
            t.completed("Failed");
            t.finished(102);
            let group = group(t);
            oom(t, 90_210, "ld.lld", &format!("oom_memcg={group}"), &group);
        }),
        ("failed, and a linker was killed in a sibling's group", "clean-end", |t| {
            t.completed("Failed");
            t.finished(102);
            oom(t, 90_211, "ld.lld", "global_oom", "/system.slice/actions.runner.acme-app.other.service");
        }),
        ("failed on a work directory's disk that is full", "disk-full", |t| {
            t.worker_at(END - 3, "ERR", "JobExtension", "System.IO.IOException: No space left on device : '/w/_PipelineMapping/o/r/PipelineFolder.json'");
            t.completed("Failed");
            t.finished(102);
        }),
        ("failed, and its script names a full disk", "clean-end", |t| {
            t.worker(END - 5, "Worker", "Job message:");
            t.worker_raw(MESSAGE);
            t.worker(
                END - 4,
                "StepsRunner",
                "Processing step: DisplayName='Run grep 'No space left on device' log'",
            );
            t.completed("Failed");
            t.finished(102);
        }),
        ("cancelled", "cancelled", |t| {
            t.dispatch(
                END - 50,
                &format!("Job cancellation request {} received, cancellation timeout 5 minutes.", t.job),
            );
            t.told_to_stop();
            t.stopped("Canceled", 103);
        }),
        ("cancelled for the next job", "cancelled", |t| {
            t.dispatch(END - 51, "Job request 0 for plan 3b580d00-0000-0000-0000-000000000000 job ffffffff-0000-5000-8000-000000000001 received.");
            t.listener_at(END - 51, "ERR", "JobDispatcher", &format!("We are not yet checking the state of jobrequest {} status. Cancel running worker right away.", t.job));
            t.told_to_stop();
            t.stopped("Canceled", 102);
            t.dispatch(END + 1, "Start renew job request 0 for job ffffffff-0000-5000-8000-000000000001.");
            t.dispatch(END + 2, "Worker finished for job ffffffff-0000-5000-8000-000000000001. Code: 100");
            t.dispatch(
                END + 2,
                "finish job request for job ffffffff-0000-5000-8000-000000000001 with result: Succeeded",
            );
        }),
        ("cancelled, and did not stop in time", "stopped-by-listener", |t| {
            t.dispatch(
                END - 50,
                &format!("Job cancellation request {} received, cancellation timeout 1 minutes.", t.job),
            );
            t.worker(END - 50, "Worker", "Cancellation/Shutdown message received.");
            t.dispatch(END - 50, &format!("Send job cancellation message to worker for job {}.", t.job));
            t.dispatch(
                END - 1,
                &format!(
                    "worker process for job {} haven't exit within cancellation timout, kill running worker.",
                    t.job
                ),
            );
            t.exited(END, 137);
            t.dispatch(END, "worker process has been killed.");
            t.dispatch(END, &format!("finish job request for job {} with result: Canceled", t.job));
        }),
        ("cancelled, and killed for want of memory meanwhile", "out-of-memory", |t| {
            t.dispatch(
                END - 50,
                &format!("Job cancellation request {} received, cancellation timeout 5 minutes.", t.job),
            );
            t.worker(END - 50, "Worker", "Cancellation/Shutdown message received.");
            t.stopped("Canceled", 137);
            let group = group(t);
            oom(t, t.pid, "Runner.Worker", &format!("oom_memcg={group}"), &group);
        }),
        ("systemctl stop", "unit-stopped", |t| {
            t.listener(END - 51, "HostContext", "Runner will be shutdown for UserCancelled");
            t.told_to_stop();
            t.worker(END - 50, "HostContext", "Runner will be shutdown for UserCancelled");
            t.stopped("Canceled", 102);
            t.properties = vec![
                ("ActiveState", "inactive".into()),
                ("ExecMainCode", "1".into()),
                ("ExecMainExitTimestampMonotonic", t.monotonic(END + 2)),
            ];
            let unit = t.unit.clone();
            t.service(END - 52, "systemd", &format!("Stopping {unit} - GitHub Actions Runner..."));
        }),
        ("Ctrl-C at run.sh", "runner-stopped", |t| {
            t.listener(END - 51, "Runner", "Received Ctrl-C signal, stop Runner.Listener and Runner.Worker.");
            t.listener(END - 51, "HostContext", "Runner will be shutdown for UserCancelled");
            t.told_to_stop();
            t.worker(END - 50, "HostContext", "Runner will be shutdown for UserCancelled");
            t.stopped("Canceled", 102);
        }),
        ("the host went down in good order", "reboot", |t| {
            t.listener(END - 51, "HostContext", "Runner will be shutdown for OperatingSystemShutdown");
            t.told_to_stop();
            t.worker(END - 50, "HostContext", "Runner will be shutdown for OperatingSystemShutdown");
            t.stopped("Canceled", 102);
            t.service(END - 52, "systemd-logind", "System is rebooting.");
        }),
        ("the host went down at once", "reboot", |t| t.boot = Some("11111111-2222-3333-4444-555555555555")),
        ("the service withdrew the job", "lost-contact", |t| {
            t.dispatch(END - 51, "TaskAgentJobTokenExpiredException received renew job request 0, job is no longer valid, stop renew job request.");
            t.told_to_stop();
            t.stopped("Abandoned", 102);
        }),
        ("renewals ran out of retries", "lost-contact", |t| {
            t.listener_at(
                END - 60,
                "ERR",
                "JobDispatcher",
                &format!("Catch exception during renew runner job {}.", t.job),
            );
            t.dispatch(
                END - 51,
                &format!("Lock renewal has run out of retry, stop renew lock for job {}.", t.job),
            );
            t.told_to_stop();
            t.stopped("Abandoned", 103);
        }),
        ("killed by the kernel at its group's limit", "out-of-memory", |t| {
            t.finished(137);
            let group = group(t);
            oom(t, t.pid, "Runner.Worker", &format!("oom_memcg={group}"), &group);
        }),
        ("killed by the kernel, the host being out of memory", "out-of-memory", |t| {
            t.finished(137);
            let group = group(t);
            oom(t, t.pid, "Runner.Worker", "global_oom", &group);
        }),
        ("killed with its group after a compiler", "out-of-memory", |t| {
            t.finished(137);
            let group = group(t);
            oom(t, 90_212, "rustc", &format!("oom_memcg={group}"), &group);
        }),
        ("killed by earlyoom", "out-of-memory", |t| {
            t.finished(143);
            let words = format!(
                "sending SIGTERM to process {} uid 1000 \"Runner.Worker\": badness 904, VmRSS 301 MiB",
                t.pid
            );
            t.service(END - 1, "earlyoom", &words);
        }),
        ("killed by systemd-oomd", "out-of-memory", |t| {
            t.finished(137);
            let words = format!(
                "Killed {} due to memory pressure for /system.slice being 60.7% > 50.00% for > 20s",
                group(t)
            );
            t.service(END - 1, "systemd-oomd", &words);
        }),
        ("killed by a person", "killed", |t| {
            t.finished(137);
            let words = format!("ci : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/kill -9 {}", t.pid);
            t.service(END, "sudo", &words);
        }),
        ("killed by nobody known", "killed", |t| t.finished(143)),
        ("killed, and its script names a full disk", "killed", |t| {
            t.worker(END - 5, "Worker", "Job message:");
            t.worker_raw(MESSAGE);
            t.finished(137);
        }),
        ("killed, while a sibling's Worker was for want of memory", "killed", |t| {
            t.finished(137);
            oom(
                t,
                4_190_001,
                "Runner.Worker",
                "global_oom",
                "/system.slice/actions.runner.acme-app.other.service",
            );
        }),
        ("killed, with a log of two pages", "killed", |t| {
            t.next_worker_page(200);
            t.worker(201, "JobServerQueue", "Try to append 1 batches web console lines, success rate: 1/1.");
            t.finished(143);
        }),
        ("killed, and its end far from the end of the Listener's log", "killed", |t| {
            t.finished(143);
            for _ in 0..12_000 {
                t.listener(END + 5, "BrokerMessageListener", "Get next message.");
            }
        }),
        ("crashed, and a thread's id is told", "crash", |t| {
            t.finished(139);
            let thread = t.pid + 50_000;
            t.kernel(END - 1, &format!(".NET TP Worker[{thread}]: segfault at 8 ip 00007fa5 sp 00007ffe error 4 in libcoreclr.so[1000+2000]"));
        }),
        ("crashed, and the kernel was silent", "crash", |t| t.finished(139)),
        ("aborted by an exception of its own", "crash", |t| {
            t.finished(134);
            last_words(
                t,
                "Unhandled exception. System.NullReferenceException: Object reference not set to an instance of an object.",
            );
        }),
        ("the disk was full, by its last words", "disk-full", |t| {
            t.finished(134);
            last_words(t, NO_SPACE);
        }),
        ("the disk was full, and no log could say so", "disk-full", |t| {
            let job = t.job.clone();
            t.worker_raw("[2026-01-02 03:04:05Z INFO JobServerQueue] ");
            t.exited(END, 134);
            t.dispatch(END, &format!("Worker finished for job {job}. Code: 134"));
            let cut = format!("[{} INFO JobDispatcher] ", "2026-01-02 03:04:05Z");
            t.listener_raw(&cut);
        }),
        ("the disk was full, and Listeners came and wrote nothing", "disk-full", |t| {
            let job = t.job.clone();
            t.exited(END, 1);
            t.dispatch(END, &format!("Worker finished for job {job}. Code: 1"));
            for restart in 1..8 {
                t.next_listener_log(END + 5 * restart);
            }
            t.unit_output(
                END + 1,
                "System.IO.IOException: No space left on device : '/srv/r/_diag/Runner_x-utc.log'",
            );
        }),
        ("no descriptor was left", "files-exhausted", |t| {
            t.finished(134);
            last_words(t, "Unhandled exception. System.IO.IOException: Too many open files : '/srv/r/_work'");
        }),
        ("tasks that could not be started", "tasks-exhausted", |t| {
            let group = group(t);
            t.kernel(END - 1, &format!("cgroup: fork rejected by pids controller in {group}"));
            t.worker_at(END - 1, "ERR", "Worker", "An error occurred trying to start process '/usr/bin/docker' with working directory '/srv/w'. Resource temporarily unavailable");
            t.finished(1);
        }),
        ("a disk failed", "disk-failed", |t| {
            t.kernel(END - 2, "I/O error, dev sda, sector 5 op 0x0:(READ) flags 0x80700");
            t.worker_at(END - 1, "ERR", "Worker", "System.IO.IOException: Input/output error : '/srv/w/x'");
            t.finished(1);
        }),
        ("ended itself with an error", "runner-error", |t| {
            t.worker_at(END - 1, "ERR", "Worker", "System.TimeoutException: The operation has timed out.");
            t.finished(1);
        }),
        ("ended itself with an error, and said that the job had completed", "runner-error", |t| {
            t.completed("Failed");
            t.finished(1);
        }),
        ("ended itself with an error, after a child was taken in its place", "runner-error", |t| {
            let pid = t.pid;
            t.kernel(
                END - 60,
                &format!("Out of memory: Kill process {pid} (Runner.Worker) score 68 or sacrifice child"),
            );
            t.kernel(END - 60, "Killed process 90213 (python3) total-vm:11968kB, anon-rss:4288kB, file-rss:3972kB, shmem-rss:0kB");
            t.finished(1);
        }),
        ("the Listener died, and nobody came", "listener-died", |_| {}),
        ("the Listener died, and another came", "listener-died", |t| {
            t.next_listener_log(END + 5);
            t.listener(END + 5, "Listener", "Runner is built for Linux (X64) - linux-x64.");
        }),
    ]
}

#[derive(Debug, Default)]
struct Tally {
    right: usize,
    /// True, and less than could be known: what was lost would have told it.
    vague: usize,
    unknown: usize,
    wrong: Vec<String>,
    defects: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: &str, truth: &str, death: Option<&Value>) {
        // What needs no examination is not listed: it ended well, or was cancelled.
        let Some(death) = death else {
            if matches!(truth, "clean-end" | "cancelled") {
                self.right += 1;
            } else if what.starts_with("failed") || truth == "lost-contact" {
                // The job failed or was stopped, which is known, and why is not.
                self.unknown += 1;
            } else {
                self.wrong.push(format!("{what}: not told"));
            }
            return;
        };
        let (cause, confidence) =
            (death["cause"].as_str().expect("a cause"), death["confidence"].as_str().expect("text"));
        let told = format!("{what}: {cause}, {confidence}");
        match cause {
            cause if cause == truth => self.right += 1,
            "unknown" => self.unknown += 1,
            cause if is_vaguer(cause, truth) && confidence != "certain" => self.vague += 1,
            _ => {
                self.wrong.push(told.clone());
                if confidence == "certain" {
                    self.defects.push(told.clone());
                }
            }
        }
        let ruled_out = death["ruled_out"].as_array().expect("a list");
        if ruled_out.iter().any(|ruled| ruled["cause"] == truth) {
            self.defects.push(format!("{told}: {truth} was ruled out: {:#}", death["ruled_out"]));
        }
    }

    fn all(&self) -> usize {
        self.right + self.vague + self.unknown + self.wrong.len()
    }
}

/// Whether a cause says the same as the truth, and less.
fn is_vaguer(cause: &str, truth: &str) -> bool {
    match cause {
        "killed" => truth == "out-of-memory",
        "runner-stopped" => matches!(truth, "unit-stopped" | "reboot"),
        "runner-error" => matches!(truth, "tasks-exhausted" | "disk-failed"),
        "cancelled" => matches!(truth, "stopped-by-listener" | "lost-contact"),
        _ => false,
    }
}

/// What is said of every runner.
fn deaths(stage: &Stage) -> HashMap<String, Value> {
    let report = stage.call(&["postmortem", "--json"]).run().expect_code(&[0]).report();
    let deaths = report.0["deaths"].as_array().expect("a list").clone();
    deaths.into_iter().map(|death| (death["runner"].as_str().expect("a name").to_owned(), death)).collect()
}

/// Stages the endings, each with one thing or nothing lost, and asks with one witness of the host or none hidden.
fn look_at<'e>(
    endings: impl Iterator<Item = (usize, &'e Ending)>,
    began: i64,
    all: &mut Tally,
    whole: &mut Tally,
) {
    let mut stage = Stage::new();
    let losses = [Lost::Nothing, Lost::WorkerLog, Lost::ListenerLog, Lost::Lease];
    let mut rows = Vec::new();
    for (number, (what, truth, staged)) in endings {
        for (place, lost) in losses.iter().enumerate() {
            let mut trace = Trace::new(4 * number + place, began);
            staged(&mut trace);
            if trace.boot.is_some() && *lost == Lost::Lease {
                // It alone tells of that boot: the times of the other files lie in this one.
                continue;
            }
            let name = format!("row-{}", 4 * number + place);
            stage.runner(&name, &trace, *lost);
            rows.push((name, format!("{what}, {lost:?} lost"), *truth));
        }
    }
    for hidden in ["bin", "no-kernel", "no-journal", "nothing"] {
        stage.show(hidden);
        let deaths = deaths(&stage);
        for (name, what, truth) in &rows {
            let what = format!("{what}, asked of {hidden}");
            all.count(&what, truth, deaths.get(name));
            if hidden == "bin" && what.contains("Nothing lost") {
                whole.count(&what, truth, deaths.get(name));
            }
        }
    }
}

#[test]
fn every_ending_is_explained_with_any_of_its_evidence_missing() {
    let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux");
    let uptime: f64 = uptime.split(' ').next().expect("a figure").parse().expect("a figure");
    if uptime < 900.0 {
        kit::skip("the staged jobs would lie before this boot");
        return;
    }
    let began = jiff::Timestamp::now().as_second() - 500;
    let endings = endings();
    let (mut all, mut whole) = (Tally::default(), Tally::default());
    // What happens to a whole host has a host of its own: it would be a reason for the other ends.
    for of_host in [false, true] {
        let is_meant =
            |(_, ending): &(usize, &Ending)| matches!(ending.1, "reboot" | "disk-failed") == of_host;
        look_at(endings.iter().enumerate().filter(is_meant), began, &mut all, &mut whole);
    }
    let figure = format!(
        "post-mortems of {} staged ends: {} right, {} right and vague, {} unknown, {} wrong; with everything to be seen {} of {} right\n",
        all.all(),
        all.right,
        all.vague,
        all.unknown,
        all.wrong.len(),
        whole.right,
        whole.all()
    );
    let _ = std::io::Write::write_all(&mut std::io::stderr(), figure.as_bytes());
    assert!(endings.len() >= 40, "{}", endings.len());
    assert!(whole.wrong.is_empty() && whole.unknown + whole.vague == 0, "{whole:#?}");
    assert!(all.defects.is_empty(), "{:#?}", all.defects);
    // Most of what is wrong speaks of a job that said that it had completed, and of whose exit code the log is lost.
    assert!(all.wrong.len() * 50 <= all.all() && all.right * 3 >= all.all() * 2, "{figure}{:#?}", all.wrong);
}
