//! The Worker: one job, each part of it on command.
//!
//! Commands, in a job's order: `prepare {work, repository, id, name, run_id, env}`, `hook {which}`, `steps {file}`,
//! `cancel`, `finish {code}`; and instead of `finish`, `die {how}`. Hooks and steps run in a thread of their own, so that a job can be cancelled meanwhile;
//! their ends are events.

use crate::control::{self, Control, text};
use crate::log::Log;
use crate::script::Script;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

struct Worker {
    log: Log,
    control: Arc<Control>,
    workspace: PathBuf,
    /// What hooks and steps find in their environment beyond the Worker's own.
    env: BTreeMap<String, String>,
    tracking: String,
    /// The script that runs now, if it is one that a cancellation signals.
    step: Arc<Mutex<Option<i32>>>,
}

pub(crate) fn run(root: &Path) -> ExitCode {
    let log = Log::open(root, "Worker");
    log.info("Worker", "Version: 2.336.0");
    let tracking = format!("github_{:08x}-{}", std::process::id(), jiff::Timestamp::now().as_nanosecond());
    let socket = std::env::var_os(control::SOCKET).expect("the test names its socket");
    let (control, commands) = Control::connect(Path::new(&socket)).expect("the test listens");
    control.tell(&json!({"event": "hello", "pid": std::process::id(), "tracking": tracking}));
    let mut worker = Worker {
        log,
        control: Arc::new(control),
        workspace: root.to_owned(),
        env: BTreeMap::new(),
        tracking,
        step: Arc::default(),
    };
    for command in commands {
        match text(&command, "do") {
            "prepare" => worker.prepare(&command),
            "hook" => worker.hook(text(&command, "which")),
            "steps" => worker.steps(text(&command, "file")),
            "cancel" => worker.cancel(),
            "finish" => {
                worker.kill_orphans();
                worker.log.info("JobRunner", "Job result after all post-job steps finish: Succeeded");
                worker.log.info("Worker", "Job completed.");
                return ExitCode::from(command["code"].as_u64().unwrap_or(100) as u8);
            }
            "die" => return worker.die(text(&command, "how"), Path::new(text(&command, "at"))),
            "note" => {
                worker.log.info(text(&command, "source"), text(&command, "text"));
                worker.control.tell(&json!({"event": "noted"}));
            }
            "complain" => {
                worker.log.error("StepsRunner", text(&command, "text"));
                worker.control.tell(&json!({"event": "complained"}));
            }
            other => panic!("the Worker knows no `{other}`"),
        }
    }
    worker.kill_orphans();
    ExitCode::FAILURE
}

impl Worker {
    /// A death of the Worker's own: by a fault, by memory, by an exception that nothing catches. Only the last has last words.
    fn die(&self, how: &str, at: &Path) -> ExitCode {
        match how {
            "segv" => segfault(),
            "memory" => loop {
                // Touched, so that it counts.
                std::mem::forget(vec![1_u8; 1 << 20]);
            },
            "disk" => {
                let block = vec![0x5a; 64 << 10];
                let error = std::fs::File::create(at.join("layer.tar"))
                    .and_then(|mut file| {
                        loop {
                            std::io::Write::write_all(&mut file, &block)?;
                        }
                    })
                    .map(|(): ()| ())
                    .expect_err("a disk has an end");
                // As .NET words it.
                let words = error.to_string();
                let words = words.split(" (os error").next().unwrap_or_default();
                self.log.error(
                    "Worker",
                    &format!("System.IO.IOException: {words} : '{}'", at.join("layer.tar").display()),
                );
                self.log.raw("   at System.IO.RandomAccess.WriteAtOffset(SafeFileHandle handle, ReadOnlySpan`1 buffer)");
                ExitCode::from(1)
            }
            other => panic!("the Worker knows no death by `{other}`"),
        }
    }

    /// Everything before the job-started hook. On a full disk parts of it fail; the event names them.
    fn prepare(&mut self, command: &Value) {
        let work = PathBuf::from(text(command, "work"));
        let repository = text(command, "repository").to_owned();
        let (_, name) = repository.split_once('/').expect("a repository is owner/name");
        let pipeline = work.join(name);
        self.workspace = pipeline.join(name);
        let temp = work.join("_temp");
        let mut failures = Vec::new();
        let mut note = |what: &str, result: std::io::Result<()>| {
            if let Err(error) = result {
                failures.push(format!("{what}: {error}"));
            }
        };
        note("_tool", std::fs::create_dir_all(work.join("_tool")));
        let _ = std::fs::remove_dir_all(&temp);
        note("_temp", std::fs::create_dir_all(temp.join("_runner_file_commands")));
        let mapping = work.join("_PipelineMapping").join(&repository);
        note("_PipelineMapping", std::fs::create_dir_all(&mapping));
        let tracking = json!({
            "repositoryName": repository, "pipelineDirectory": name, "workspaceDirectory": format!("{name}/{name}"),
        });
        note(
            "PipelineFolder.json",
            std::fs::write(mapping.join("PipelineFolder.json"), tracking.to_string()),
        );
        note("workspace", std::fs::create_dir_all(&self.workspace));
        let _ = std::fs::remove_dir_all(work.join("_actions"));
        note("_actions", std::fs::create_dir_all(work.join("_actions")));
        note("event.json", {
            let workflow = temp.join("_github_workflow");
            std::fs::create_dir_all(&workflow)
                .and_then(|()| std::fs::write(workflow.join("event.json"), "{\"action\":\"opened\"}"))
        });
        self.environment(command, &work, &repository, &pipeline);
        self.log.info("JobRunner", &format!("Job ID {}", text(command, "id")));
        self.control.tell(&json!({"event": "prepared", "failures": failures}));
    }

    fn environment(&mut self, command: &Value, work: &Path, repository: &str, pipeline: &Path) {
        let temp = work.join("_temp");
        let commands = temp.join("_runner_file_commands");
        let path = |path: &Path| path.to_str().expect("tests put work directories at UTF-8 paths").to_owned();
        let pairs = [
            ("RUNNER_NAME", text(command, "runner").to_owned()),
            ("RUNNER_OS", "Linux".into()),
            ("RUNNER_ARCH", "X64".into()),
            ("RUNNER_ENVIRONMENT", "self-hosted".into()),
            ("RUNNER_TEMP", path(&temp)),
            ("RUNNER_TOOL_CACHE", path(&work.join("_tool"))),
            ("RUNNER_WORKSPACE", path(pipeline)),
            ("RUNNER_TRACKING_ID", self.tracking.clone()),
            ("GITHUB_ACTIONS", "true".into()),
            ("CI", "true".into()),
            ("GITHUB_WORKSPACE", path(&self.workspace)),
            ("GITHUB_REPOSITORY", repository.to_owned()),
            ("GITHUB_REPOSITORY_OWNER", repository.split('/').next().unwrap_or_default().to_owned()),
            ("GITHUB_RUN_ID", text(command, "run_id").to_owned()),
            ("GITHUB_RUN_NUMBER", "7".into()),
            ("GITHUB_RUN_ATTEMPT", "1".into()),
            ("GITHUB_JOB", text(command, "name").to_owned()),
            ("GITHUB_WORKFLOW", "ci".into()),
            ("GITHUB_EVENT_NAME", "push".into()),
            ("GITHUB_EVENT_PATH", path(&temp.join("_github_workflow/event.json"))),
            ("GITHUB_ACTOR", "octocat".into()),
            ("GITHUB_REF", "refs/heads/main".into()),
            ("GITHUB_SHA", "da39a3ee5e6b4b0d3255bfef95601890afd80709".into()),
            ("GITHUB_SERVER_URL", "https://github.com".into()),
            ("GITHUB_STEP_SUMMARY", path(&commands.join("step_summary_1"))),
            ("GITHUB_ENV", path(&commands.join("set_env_1"))),
            ("GITHUB_PATH", path(&commands.join("add_path_1"))),
            ("GITHUB_OUTPUT", path(&commands.join("set_output_1"))),
        ];
        self.env = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        for (key, value) in command["env"].as_object().into_iter().flatten() {
            self.env.insert(key.clone(), value.as_str().expect("environment values are text").to_owned());
        }
    }

    fn hook(&self, which: &str) {
        let key = format!("ACTIONS_RUNNER_HOOK_JOB_{}", which.to_uppercase());
        let Some(file) = std::env::var_os(&key) else {
            self.control.tell(&json!({"event": which, "absent": true}));
            return;
        };
        let mut env = self.env.clone();
        if which == "completed" {
            // What steps wrote to GITHUB_PATH comes first, also for the hook.
            let added = std::fs::read_to_string(&env["GITHUB_PATH"]).unwrap_or_default();
            let mut parts: Vec<&str> = added.lines().collect();
            parts.reverse();
            let inherited = std::env::var("PATH").unwrap_or_default();
            parts.push(&inherited);
            let path = parts.join(":");
            env.insert("PATH".into(), path);
        }
        self.start(which.to_owned(), PathBuf::from(file), env, Arc::default());
    }

    fn steps(&self, file: &str) {
        self.start("steps".into(), PathBuf::from(file), self.env.clone(), Arc::clone(&self.step));
    }

    fn start(
        &self,
        event: String,
        file: PathBuf,
        env: BTreeMap<String, String>,
        running: Arc<Mutex<Option<i32>>>,
    ) {
        let script = Script { file, workspace: self.workspace.clone(), env, without: control::SOCKET };
        let control = Arc::clone(&self.control);
        std::thread::spawn(move || {
            let result = script.run(&event, |pid| {
                *running.lock().expect("held for one assignment") = Some(pid as i32);
                control.tell(&json!({"event": format!("{event} started"), "pid": pid}));
            });
            *running.lock().expect("held for one assignment") = None;
            control.tell(&result);
        });
    }

    /// Cancelling signals a step; it does not signal a hook.
    fn cancel(&self) {
        self.log.info("Worker", "Cancellation/Shutdown message received.");
        if let Some(pid) = *self.step.lock().expect("held for one assignment") {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        self.control.tell(&json!({"event": "cancelled"}));
    }

    /// Every process whose environment carries this job's tracking id.
    fn kill_orphans(&self) {
        let wanted = format!("RUNNER_TRACKING_ID={}", self.tracking);
        let own = std::process::id().to_string();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let Ok(environ) = std::fs::read(entry.path().join("environ")) else { continue };
            if name.to_str() != Some(&own) && environ.split(|b| *b == 0).any(|pair| pair == wanted.as_bytes())
            {
                self.log.info("JobExtension", &format!("Terminate orphan process: pid ({pid})"));
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
}

/// A real one, of which the kernel tells.
#[allow(unsafe_code, reason = "a segmentation fault has no safe form")]
fn segfault() -> ExitCode {
    // The runtime's own handler would look into it first.
    // SAFETY: the default action is to die, which is what is wanted.
    unsafe {
        let default = nix::sys::signal::SigAction::new(
            nix::sys::signal::SigHandler::SigDfl,
            nix::sys::signal::SaFlags::empty(),
            nix::sys::signal::SigSet::empty(),
        );
        nix::sys::signal::sigaction(nix::sys::signal::Signal::SIGSEGV, &default)
            .expect("SIGSEGV has a default");
        std::ptr::with_exposed_provenance_mut::<u8>(8).write_volatile(1);
    }
    ExitCode::FAILURE
}
