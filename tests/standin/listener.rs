//! The Listener: receives a job, starts a Worker for it, notes how it ended.
//!
//! Commands: `receive {job, plan, request}`, `run {socket, job}`, `finish` (only reports), `update {version}`, `exit`.

use crate::control::{self, Control, text};
use crate::log::Log;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

struct Listener {
    root: PathBuf,
    bin: PathBuf,
    log: Arc<Log>,
    control: Arc<Control>,
    /// `.env`: what the Worker finds in its environment. The Listener's own `/proc/PID/environ` does not show it.
    env: BTreeMap<String, String>,
    /// The pipes of `spawnclient`, kept open as long as the Listener lives.
    pipes: Vec<OwnedFd>,
}

pub(crate) fn run(root: &Path, bin: &Path) -> ExitCode {
    let socket = std::env::var_os(control::SOCKET).expect("the test names its socket");
    let (control, commands) = Control::connect(Path::new(&socket)).expect("the test listens");
    let log = Arc::new(Log::open(root, "Runner"));
    log.info("Listener", "Runner is built for Linux (X64) - linux-x64.");
    log.info("Terminal", "WRITE LINE: Listening for Jobs");
    let mut listener = Listener {
        root: root.to_owned(),
        bin: bin.to_owned(),
        log,
        control: Arc::new(control),
        env: read_env(&root.join(".env")),
        pipes: Vec::new(),
    };
    listener.control.tell(&json!({"event": "hello", "pid": std::process::id()}));
    for command in commands {
        match text(&command, "do") {
            "receive" => listener.receive(&command),
            "run" => listener.start_worker(&command),
            "update" => listener.update(text(&command, "version")),
            "exit" => return ExitCode::from(command["code"].as_u64().unwrap_or(0) as u8),
            other => panic!("the Listener knows no `{other}`"),
        }
    }
    ExitCode::FAILURE
}

impl Listener {
    fn receive(&self, command: &Value) {
        let job = text(command, "id");
        let plan = "6a1c2b9e-0d9d-4d3a-9f0e-3f6d1c0e7a55";
        self.log.info(
            "JobDispatcher",
            &format!("Job request {} for plan {plan} job {job} received.", command["request"]),
        );
        self.control.tell(&json!({"event": "received"}));
    }

    fn start_worker(&mut self, command: &Value) {
        let (job, name) = (text(command, "id").to_owned(), text(command, "name"));
        // Inheritable on purpose: `spawnclient` names them by number.
        let (to_worker, from_worker) =
            (nix::unistd::pipe().expect("a pipe"), nix::unistd::pipe().expect("a pipe"));
        let started = Command::new(self.bin.join("Runner.Worker"))
            .arg("spawnclient")
            .arg(to_worker.0.as_raw_fd().to_string())
            .arg(from_worker.1.as_raw_fd().to_string())
            .current_dir(&self.bin)
            .envs(&self.env)
            .env(control::SOCKET, text(command, "socket"))
            .env_remove("RUNNER_TRACKING_ID")
            .spawn();
        let mut worker = match started {
            Ok(worker) => worker,
            Err(error) => {
                self.control.tell(&json!({"event": "running", "error": error.to_string()}));
                return;
            }
        };
        self.pipes.extend([to_worker.1, from_worker.0]);
        self.log.info("Terminal", &format!("WRITE LINE: Running job: {name}"));
        self.control.tell(&json!({"event": "running", "pid": worker.id()}));
        let (log, control) = (Arc::clone(&self.log), Arc::clone(&self.control));
        std::thread::spawn(move || {
            let status = worker.wait().expect("the Worker is our child");
            let code = status.code().unwrap_or_else(|| {
                128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default()
            });
            log.info("JobDispatcher", &format!("Worker finished for job {job}. Code: {code}"));
            let result = match code {
                100 => "Succeeded",
                101 => "SucceededWithIssues",
                103 => "Canceled",
                102 => "Failed",
                104 => "Skipped",
                105 => "Abandoned",
                _ => {
                    log.error(
                        "JobDispatcher",
                        &format!("Return code {code} indicate worker encounter an unhandled exception or app crash, attach worker stdout/stderr to JobRequest result."),
                    );
                    "Failed"
                }
            };
            log.info("JobDispatcher", &format!("finish job request for job {job} with result: {result}"));
            control.tell(&json!({"event": "finished", "code": code}));
        });
    }

    /// What a self-update leaves: the download in `_work/_update`, a new `bin.X` and `externals.X`, and `bin` moved over.
    fn update(&self, version: &str) {
        let done = (|| -> std::io::Result<()> {
            let download = self.root.join("_work/_update");
            let bin = self.root.join(format!("bin.{version}"));
            for directory in [&download.join("bin"), &bin, &self.root.join(format!("externals.{version}"))] {
                std::fs::create_dir_all(directory)?;
            }
            std::fs::write(self.root.join("_work/_update.sh"), "#!/bin/bash\nexit 0\n")?;
            for name in ["Runner.Listener", "Runner.Worker"] {
                std::fs::copy(self.bin.join(name), download.join("bin").join(name))?;
                std::fs::copy(self.bin.join(name), bin.join(name))?;
            }
            let link = self.root.join("bin");
            let aside = self.root.join("bin.new");
            std::os::unix::fs::symlink(format!("bin.{version}"), &aside)?;
            std::fs::rename(&aside, &link)
        })();
        self.log.info("SelfUpdater", &format!("Upgrade to {version}."));
        self.control.tell(&json!({"event": "updated", "error": done.err().map(|e| e.to_string())}));
    }
}

/// Literal `KEY=VALUE` lines: no quotes, no comments.
fn read_env(path: &Path) -> BTreeMap<String, String> {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
