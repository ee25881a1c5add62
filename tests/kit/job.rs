//! A runner's live side: its Listener and the Workers it starts, each step of a job on the test's word.

use super::line::{Expected, Line, next_socket};
use super::processes::{end, end_tracked, process_state};
use super::runner::Runner;
use super::runner_output::{RunnerOutput, parse_as_runner};
use super::wait::until;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A live `Runner.Listener`. Dropped, it is killed; its Worker is not.
#[derive(Debug)]
pub(crate) struct Listener {
    child: Child,
    line: Line,
    runner: Runner,
    jobs: u32,
}

impl Listener {
    pub(crate) fn start(runner: &Runner) -> Self {
        Self::start_with(runner, &[])
    }

    /// With what its unit puts into its environment.
    pub(crate) fn start_with(runner: &Runner, environment: &[(&str, &str)]) -> Self {
        let socket = Expected::at(next_socket(&runner.sockets));
        let mut command = Command::new(runner.root.join("bin/Runner.Listener"));
        command.args(["run", "--startuptype", "service"]).current_dir(&runner.root);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/nonexistent");
        command.envs(environment.iter().copied());
        command.env("STANDIN_CONTROL", &socket.path).stdin(Stdio::null());
        if let Some((user, group)) = runner.user {
            command.uid(user).gid(group);
        }
        let child = until("the Listener's file to be free for execution", || match command.spawn() {
            Ok(child) => Some(child),
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
            Err(error) => panic!("the Listener of {} does not start: {error}", runner.name),
        });
        let (line, _) = socket.arrive();
        Self { child, line, runner: runner.clone(), jobs: 0 }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The log says that a job was received; there is no Worker yet.
    pub(crate) fn receive(&mut self) {
        self.jobs += 1;
        let id = self.job_id();
        self.line.send(&json!({"do": "receive", "id": id, "request": self.jobs}));
        self.line.expect("received");
    }

    /// The Worker of the received job is up; it has done nothing yet.
    pub(crate) fn start_worker(&mut self, repository: &str) -> Job {
        let socket = Expected::at(next_socket(&self.runner.sockets));
        let id = self.job_id();
        self.line.send(&json!({"do": "run", "id": id, "name": "build", "socket": socket.path}));
        let running = self.line.expect("running");
        assert!(running["error"].is_null(), "no Worker: {running}");
        let (line, hello) = socket.arrive();
        let pid = hello["pid"].as_i64().expect("a pid") as i32;
        let (_, start) = process_state(pid).expect("the Worker lives");
        Job {
            line,
            pid,
            start,
            tracking: hello["tracking"].as_str().expect("text").to_owned(),
            runner: self.runner.clone(),
            repository: repository.to_owned(),
            id,
            run_id: format!("90{}", self.jobs),
            scripts: 0,
        }
    }

    /// A job for `repository` up to the point where the started-hook is due.
    pub(crate) fn begin_job(&mut self, repository: &str) -> Job {
        self.receive();
        let mut job = self.start_worker(repository);
        let failures = job.prepare(&[]);
        assert!(failures.is_empty(), "the job could not be prepared: {failures:?}");
        job
    }

    /// Waits for the Worker's end as the Listener sees it; its exit code.
    pub(crate) fn finished(&mut self) -> i64 {
        self.line.expect("finished")["code"].as_i64().expect("a code")
    }

    /// Updates itself while idle.
    pub(crate) fn update(&mut self, version: &str) {
        self.line.send(&json!({"do": "update", "version": version}));
        let updated = self.line.expect("updated");
        assert!(updated["error"].is_null(), "{updated}");
    }

    /// SIGKILL. The Worker lives on.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn job_id(&self) -> String {
        format!("8f2c41d7-5a60-5d0c-9a3e-{:012x}", self.jobs)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A live `Runner.Worker` and its job. Dropped, it ends with everything it has started.
#[derive(Debug)]
pub(crate) struct Job {
    line: Line,
    pub(crate) pid: i32,
    start: u64,
    pub(crate) tracking: String,
    runner: Runner,
    repository: String,
    id: String,
    pub(crate) run_id: String,
    scripts: u32,
}

impl Job {
    /// Everything the runner does before the hook, with `env` put over the hooks' environment. What failed.
    pub(crate) fn prepare(&mut self, env: &[(&str, &str)]) -> Vec<String> {
        let env: serde_json::Map<String, Value> =
            env.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.line.send(&json!({
            "do": "prepare", "work": self.runner.work, "repository": self.repository, "id": self.id, "name": "build",
            "run_id": self.run_id, "runner": self.runner.name, "env": env,
        }));
        let prepared = self.line.expect("prepared");
        let failures = prepared["failures"].as_array().expect("a list");
        failures.iter().map(|failure| failure.as_str().expect("text").to_owned()).collect()
    }

    /// Runs the job-started hook to its end.
    pub(crate) fn hook_started(&mut self) -> Script {
        self.start_hook("started");
        self.await_hook("started")
    }

    /// Runs the job-completed hook to its end.
    pub(crate) fn hook_completed(&mut self) -> Script {
        self.start_hook("completed");
        self.await_hook("completed")
    }

    /// Starts a hook; `started` or `completed`. Its pid.
    pub(crate) fn start_hook(&mut self, which: &str) -> i32 {
        self.line.send(&json!({"do": "hook", "which": which}));
        self.line.expect(&format!("{which} started"))["pid"].as_i64().expect("a pid") as i32
    }

    pub(crate) fn await_hook(&mut self, which: &str) -> Script {
        Script::from_event(&self.line.expect(which))
    }

    /// The hook's result if it ends within `time`.
    pub(crate) fn poll_hook(&mut self, which: &str, time: Duration) -> Option<Script> {
        self.line.wait(which, time).map(|event| Script::from_event(&event))
    }

    /// Runs `script` as the job's steps, to its end.
    pub(crate) fn steps(&mut self, script: &str) -> Script {
        self.start_steps(script);
        self.await_steps()
    }

    /// Starts the job's steps. Their pid.
    pub(crate) fn start_steps(&mut self, script: &str) -> i32 {
        let file = self.step_file(script);
        self.line.send(&json!({"do": "steps", "file": file}));
        self.line.expect("steps started")["pid"].as_i64().expect("a pid") as i32
    }

    pub(crate) fn await_steps(&mut self) -> Script {
        Script::from_event(&self.line.expect("steps"))
    }

    /// The user cancels: a step is killed, a hook is not.
    pub(crate) fn cancel(&mut self) {
        self.line.send(&json!({"do": "cancel"}));
        self.line.expect("cancelled");
    }

    /// Ends the job: orphans are killed, the Worker exits with 100, the Listener has noted it.
    pub(crate) fn finish(mut self, listener: &mut Listener) {
        self.line.send(&json!({"do": "finish", "code": 100}));
        assert_eq!(listener.finished(), 100);
    }

    /// The Worker dies of its own, `how`: `segv`, `memory`, `disk` (it fills the one at `at`). Its exit code, as the Listener
    /// notes it.
    pub(crate) fn die(&mut self, how: &str, at: &std::path::Path, listener: &mut Listener) -> i64 {
        self.line.send(&json!({"do": "die", "how": how, "at": at}));
        listener.finished()
    }

    /// The Worker's own log has this line, as an error of a step.
    pub(crate) fn complain(&mut self, text: &str) {
        self.line.send(&json!({"do": "complain", "text": text}));
        self.line.expect("complained");
    }

    /// The Worker's own log has this line of one of its parts, at INFO.
    pub(crate) fn note(&mut self, source: &str, text: &str) {
        self.line.send(&json!({"do": "note", "source": source, "text": text}));
        self.line.expect("noted");
    }

    /// Ends the job with this code; the Listener has noted it.
    pub(crate) fn finish_with(mut self, code: i64, listener: &mut Listener) {
        self.line.send(&json!({"do": "finish", "code": code}));
        assert_eq!(listener.finished(), code);
    }

    /// SIGKILL to the Worker alone; its children live on until this is dropped.
    pub(crate) fn kill_worker(&mut self) {
        kill(Pid::from_raw(self.pid), Signal::SIGKILL).expect("the Worker lives");
        until("the Worker to die", || (!super::processes::is_alive(self.pid)).then_some(()));
    }

    fn step_file(&mut self, script: &str) -> PathBuf {
        self.scripts += 1;
        let path = self.runner.sockets.join(format!("{}-{}.sh", self.pid, self.scripts));
        std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(script.as_bytes()))
            .expect("a script can be written");
        path
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.line.hang_up();
        let gone = || !matches!(process_state(self.pid), Some((state, start)) if start == self.start && state != 'Z');
        // It has its own orphans to end first.
        for _ in 0..500 {
            if gone() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        end(self.pid, self.start);
        end_tracked(&self.tracking);
    }
}

/// How a hook or the steps ended.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) code: i64,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Somebody still held a pipe 5 s after the end.
    pub(crate) held: bool,
    pub(crate) duration: Duration,
}

impl Script {
    fn from_event(event: &Value) -> Self {
        assert!(event["error"].is_null() && event["absent"].is_null(), "the script did not run: {event}");
        let bytes = |key: &str| STANDARD.decode(event[key].as_str().expect("text")).expect("base64");
        Self {
            code: event["code"].as_i64().expect("a code"),
            stdout: bytes("stdout"),
            stderr: bytes("stderr"),
            held: event["held"].as_bool().expect("yes or no"),
            duration: Duration::from_millis(event["milliseconds"].as_u64().expect("a figure")),
        }
    }

    /// Both streams, for people.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr))
    }

    /// What the runner would make of the output.
    pub(crate) fn parsed(&self) -> RunnerOutput {
        parse_as_runner(&self.stdout, &self.stderr)
    }

    /// Panics, showing the output, unless it ended with 0 and printed nothing the runner would obey.
    #[track_caller]
    pub(crate) fn expect_ok(self) -> Self {
        assert_eq!(self.code, 0, "the script failed:\n{}", self.text());
        self.parsed().assert_safe();
        self
    }
}
