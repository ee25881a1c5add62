//! Ends of jobs, staged by the files that they leave: a runner's logs, a lease, the journal, systemd's account.
//!
//! The lines are those that runner 2.336.0 writes (src/Runner.Listener/JobDispatcher.cs, src/Runner.Worker/Worker.cs and
//! src/Runner.Sdk/ProcessInvoker.cs of actions/runner).

use crate::kit::{Call, Host};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

/// A job begins at 0, and ends, if it does, about here.
pub(crate) const END: i64 = 330;

/// Everything that one end leaves behind. Seconds count from the job's receipt.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) pid: i32,
    pub(crate) job: String,
    pub(crate) unit: String,
    began: i64,
    /// By the second at which each log was begun.
    listener: Vec<(i64, String)>,
    worker: Vec<(i64, String)>,
    pub(crate) kernel: Vec<Value>,
    pub(crate) journal: Vec<Value>,
    /// What systemd says beyond the usual.
    pub(crate) properties: Vec<(&'static str, String)>,
    pub(crate) boot: Option<&'static str>,
}

impl Trace {
    /// The `number`th job of a test that began at `began`, received and with a Worker, renewed until near its end.
    pub(crate) fn new(number: usize, began: i64) -> Self {
        let mut trace = Self {
            pid: 4_100_000 + number as i32,
            job: format!("0f0e0d0c-0000-5000-8000-{number:012}"),
            unit: format!("actions.runner.acme-app.row-{number}.service"),
            began,
            listener: vec![(-60, String::new())],
            worker: vec![(0, String::new())],
            kernel: Vec::new(),
            journal: Vec::new(),
            properties: Vec::new(),
            boot: None,
        };
        let (job, pid) = (trace.job.clone(), trace.pid);
        trace.listener(-60, "Listener", "Runner is built for Linux (X64) - linux-x64.");
        trace.dispatch(
            0,
            &format!("Job request 0 for plan 3b580d00-0000-0000-0000-000000000000 job {job} received."),
        );
        trace.dispatch(0, &format!("Start renew job request 0 for job {job}."));
        trace.process(0, "  File name: '/srv/r/bin/Runner.Worker'");
        trace.process(0, &format!("Process started with process id {pid}, waiting for process exit."));
        trace.dispatch(1, &format!("Send job request message to worker for job {job}."));
        for minute in 0..5 {
            trace.dispatch(
                60 * minute + 1,
                &format!("Successfully renew job {job}, job is valid till 7/23/2025 2:42:09 AM"),
            );
        }
        trace.worker(0, "HostContext", "Well known directory 'Bin': '/srv/r/bin'");
        trace.worker(0, "Worker", "Version: 2.336.0");
        trace.worker(1, "Worker", "Message received.");
        trace.worker(1, "Worker", "Job message:");
        trace.worker_raw(" {\n  \"jobDisplayName\": \"build\"\n}\n");
        trace.worker(1, "JobRunner", &format!("Job ID {job}"));
        trace.worker(
            END - 5,
            "JobServerQueue",
            "Try to append 1 batches web console lines, success rate: 1/1.",
        );
        trace
    }

    fn at(&self, second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.began + second).expect("near now")
    }

    fn line(&self, second: i64, level: &str, source: &str, message: &str) -> String {
        format!("[{} {level:<4} {source}] {message}\n", self.at(second).strftime("%Y-%m-%d %H:%M:%SZ"))
    }

    pub(crate) fn listener_at(&mut self, second: i64, level: &str, source: &str, message: &str) {
        let line = self.line(second, level, source, message);
        self.listener_raw(&line);
    }

    pub(crate) fn listener(&mut self, second: i64, source: &str, message: &str) {
        self.listener_at(second, "INFO", source, message);
    }

    pub(crate) fn listener_raw(&mut self, text: &str) {
        self.listener.last_mut().expect("a log").1.push_str(text);
    }

    pub(crate) fn dispatch(&mut self, second: i64, message: &str) {
        self.listener(second, "JobDispatcher", message);
    }

    pub(crate) fn process(&mut self, second: i64, message: &str) {
        self.listener(second, "ProcessInvokerWrapper", message);
    }

    /// Another Listener begins a log.
    pub(crate) fn next_listener_log(&mut self, second: i64) {
        self.listener.push((second, String::new()));
    }

    pub(crate) fn worker_at(&mut self, second: i64, level: &str, source: &str, message: &str) {
        let line = self.line(second, level, source, message);
        self.worker_raw(&line);
    }

    pub(crate) fn worker(&mut self, second: i64, source: &str, message: &str) {
        self.worker_at(second, "INFO", source, message);
    }

    pub(crate) fn worker_raw(&mut self, text: &str) {
        self.worker.last_mut().expect("a log").1.push_str(text);
    }

    pub(crate) fn next_worker_page(&mut self, second: i64) {
        self.worker.push((second, String::new()));
    }

    /// The Worker's process is gone, and the Listener has seen its exit code.
    pub(crate) fn exited(&mut self, second: i64, code: i32) {
        let pid = self.pid;
        self.process(
            second,
            &format!("Finished process {pid} with exit code {code}, and elapsed time 00:05:55.9134266."),
        );
    }

    /// The usual end.
    pub(crate) fn finished(&mut self, code: i32) {
        let (second, job) = (END, self.job.clone());
        self.exited(second, code);
        self.dispatch(second, &format!("Worker finished for job {job}. Code: {code}"));
        if !(100..=105).contains(&code) {
            self.dispatch(second, &format!("Return code {code} indicate worker encounter an unhandled exception or app crash, attach worker stdout/stderr to JobRequest result."));
        }
        let result = if code == 100 { "Succeeded" } else { "Failed" };
        self.dispatch(second, &format!("finish job request for job {job} with result: {result}"));
        self.dispatch(second, &format!("Stop renew job request for job {job}."));
    }

    /// The Worker's own words of such an end.
    pub(crate) fn completed(&mut self, result: &str) {
        self.worker(END - 1, "JobRunner", &format!("Job result after all job steps finish: {result}"));
        self.worker(END - 1, "JobRunner", "Raising job completed against run service");
        self.worker(END, "Worker", "Job completed.");
    }

    /// The end of a job that the Worker was told to stop, at `END - 50`.
    pub(crate) fn stopped(&mut self, result: &str, code: i32) {
        let job = self.job.clone();
        self.dispatch(END - 50, &format!("Send job cancellation message to worker for job {job}."));
        self.exited(END, code);
        self.dispatch(END, &format!("finish job request for job {job} with result: {result}"));
        self.dispatch(END, &format!("Stop renew job request for job {job}."));
    }

    /// The Worker's own words of such an end: `Job completed.` is not among them.
    pub(crate) fn told_to_stop(&mut self) {
        self.worker(END - 50, "Worker", "Cancellation/Shutdown message received.");
        self.worker(END - 2, "JobRunner", "Job result after all job steps finish: Canceled");
        self.worker(END - 1, "JobRunner", "Raising job completed against run service");
    }

    fn entry(&self, second: i64, message: &str, fields: Value) -> Value {
        let mut entry = fields;
        entry["__REALTIME_TIMESTAMP"] = ((self.began + second) * 1_000_000).to_string().into();
        entry["MESSAGE"] = message.into();
        entry
    }

    pub(crate) fn kernel(&mut self, second: i64, message: &str) {
        let entry = self.entry(second, message, json!({"_TRANSPORT": "kernel"}));
        self.kernel.push(entry);
    }

    /// An entry of a service, written by root.
    pub(crate) fn service(&mut self, second: i64, service: &str, message: &str) {
        let fields = json!({"SYSLOG_IDENTIFIER": service, "_COMM": service, "_UID": "0"});
        let entry = self.entry(second, message, fields);
        self.journal.push(entry);
    }

    /// The output of the runner's unit.
    pub(crate) fn unit_output(&mut self, second: i64, message: &str) {
        let fields = json!({"SYSLOG_IDENTIFIER": "runsvc.sh", "_SYSTEMD_UNIT": self.unit});
        let entry = self.entry(second, message, fields);
        self.journal.push(entry);
    }

    /// CLOCK_MONOTONIC in microseconds at a second of the job.
    pub(crate) fn monotonic(&self, second: i64) -> String {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("Linux").tv_sec();
        ((now - (jiff::Timestamp::now().as_second() - self.began - second)) * 1_000_000).to_string()
    }
}

/// What can be lost of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Nothing,
    WorkerLog,
    ListenerLog,
    Lease,
}

/// A host with many staged ends, one a runner.
pub(crate) struct Stage {
    pub(crate) host: Host,
    kernel: String,
    journal: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let host = Host::new();
        for directory in ["bin", "no-kernel", "no-journal", "nothing", "units"] {
            std::fs::create_dir(host.base.join(directory)).expect("ours");
        }
        let old = json!({"__REALTIME_TIMESTAMP": "1000000", "MESSAGE": "x"}).to_string() + "\n";
        Self { host, kernel: old.clone(), journal: old }
    }

    /// A runner of this name whose last job left this behind, but for what is lost.
    pub(crate) fn runner(&mut self, name: &str, trace: &Trace, lost: Lost) {
        let root = self.host.runners().join(name);
        for directory in ["_diag", "_work", "bin"] {
            std::fs::create_dir_all(root.join(directory)).expect("ours");
        }
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("ours");
        write(
            &root.join(".runner"),
            &json!({"agentId": 1, "agentName": name, "workFolder": "_work"}).to_string(),
        );
        write(&root.join(".service"), &format!("{}\n", trace.unit));
        let logs =
            [("Runner", &trace.listener, Lost::ListenerLog), ("Worker", &trace.worker, Lost::WorkerLog)];
        for (kind, pages, loss) in logs {
            for (second, text) in pages.iter().filter(|_| lost != loss) {
                let stamp = trace.at(*second).strftime("%Y%m%d-%H%M%S").to_string();
                write(&root.join("_diag").join(format!("{kind}_{stamp}-utc.log")), text);
            }
        }
        if lost != Lost::Lease {
            self.lease(&root, trace);
        }
        let mut unit = format!("LoadState=loaded\nWorkingDirectory={}\n", root.display());
        let usual = [
            ("ActiveState", "active".to_owned()),
            ("Result", "success".to_owned()),
            ("ExecMainCode", "0".to_owned()),
            ("ExecMainStatus", "0".to_owned()),
            ("ExecMainExitTimestampMonotonic", "0".to_owned()),
            ("NRestarts", "0".to_owned()),
            ("ControlGroup", format!("/system.slice/{}", trace.unit)),
        ];
        for (key, value) in usual {
            let own = trace.properties.iter().find(|(property, _)| *property == key);
            let _ = writeln!(unit, "{key}={}", own.map_or(&value, |(_, value)| value));
        }
        write(&self.host.base.join("units").join(&trace.unit), &unit);
        let rows = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
        self.kernel.push_str(&rows(&trace.kernel));
        self.journal.push_str(&rows(&trace.journal));
    }

    /// The guard, to whom the real kernel's ring is not shown: it knows nothing of what is staged.
    pub(crate) fn call(&self, arguments: &[&str]) -> Call {
        let call = self.host.call(arguments);
        if !nix::unistd::geteuid().is_root() {
            return call;
        }
        let hide = "mount --bind /dev/null /dev/kmsg && exec \"$@\"";
        let words = ["--mount", "sh", "-c", hide, "sh"].map(OsString::from);
        let arguments =
            words.into_iter().chain([call.program.into_os_string()]).chain(call.arguments).collect();
        Call { program: "/usr/bin/unshare".into(), arguments, user: None }
    }

    fn lease(&self, root: &Path, trace: &Trace) {
        let (status, work) =
            (std::fs::metadata(root).expect("ours"), std::fs::metadata(root.join("_work")).expect("ours"));
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux");
        let namespace = std::fs::metadata("/proc/self/ns/pid").expect("Linux").ino();
        let lease = json!({
            "worker_pid": trace.pid, "worker_start": 1, "boot_id": trace.boot.unwrap_or(boot.trim()), "pid_namespace": namespace,
            "root": root, "root_dev": status.dev(), "root_ino": status.ino(), "work": [work.dev(), work.ino()],
            "repository": "acme/app", "run_id": "4711", "job": "build", "since_unix": trace.began + 2,
        });
        let name = format!("{:x}-{:x}-{}-1", status.dev(), status.ino(), trace.pid);
        std::fs::write(self.host.run_dir().join("leases").join(name), lease.to_string()).expect("ours");
    }

    /// Writes the programs that answer in the host's name, and makes the guard ask those in `directory`: `bin`, or those of a host
    /// that lacks some.
    pub(crate) fn show(&mut self, directory: &str) {
        let base = self.host.base.clone();
        std::fs::write(base.join("kernel.json"), &self.kernel).expect("ours");
        std::fs::write(base.join("journal.json"), &self.journal).expect("ours");
        let base_text = base.display();
        let answer = |kernel: &str, journal: &str| {
            format!(
                "#!/bin/sh\ncase \"$*\" in *_TRANSPORT=kernel*) {kernel};; *) {journal};; esac\n\
                 case \"$*\" in *--reverse*) head -n 1 {base_text}/$f;; *) cat {base_text}/$f;; esac\n"
            )
        };
        let (kernel, journal) = ("f=kernel.json", "f=journal.json");
        let systemctl = format!(
            "#!/bin/sh\nif [ \"$1\" = is-system-running ]; then echo running; exit 0; fi\n\
             v=; for a in \"$@\"; do u=$a; case \"$a\" in --value) v=1;; --property=*) p=${{a#--property=}};; esac; done\n\
             if [ -n \"$v\" ]; then sed -n \"s/^$p=//p\" {base_text}/units/$u; else cat {base_text}/units/$u; fi\n"
        );
        let gone = "exit 1";
        program(&base.join("bin/journalctl"), &answer(kernel, journal));
        program(&base.join("no-kernel/journalctl"), &answer(gone, journal));
        program(&base.join("no-journal/journalctl"), &answer(kernel, gone));
        for directory in ["bin", "no-kernel", "no-journal"] {
            program(&base.join(directory).join("systemctl"), &systemctl);
        }
        let own = base.join(directory);
        self.host
            .configure(|settings| settings.extra = format!("programs = [{own:?}, \"/usr/bin\", \"/bin\"]\n"));
        if directory == "nothing" {
            self.host.configure(|settings| settings.extra = format!("programs = [{own:?}]\n"));
        }
    }
}

fn program(path: &PathBuf, text: &str) {
    std::fs::write(path, text).expect("ours");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("ours");
}
