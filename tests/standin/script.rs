//! Running one script as the runner does: `bash -e FILE`, whatever the job's log shows, standard input at its end,
//! standard output and error piped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long the runner waits for the pipes of a script whose process has ended.
const PIPES_AFTER_EXIT: Duration = Duration::from_secs(5);

pub(crate) struct Script {
    pub(crate) file: PathBuf,
    pub(crate) workspace: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    /// Not for the script: what the Worker's own environment holds for us.
    pub(crate) without: &'static str,
}

impl Script {
    /// Runs it to its end. `on_start` is told the pid.
    pub(crate) fn run(&self, event: &str, on_start: impl FnOnce(u32)) -> Value {
        let begun = Instant::now();
        let mut command = Command::new("bash");
        command.arg("-e").arg(&self.file);
        command.current_dir(&self.workspace).envs(&self.env).env_remove(self.without);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return json!({"event": event, "error": error.to_string()}),
        };
        drop(child.stdin.take());
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), "500");
        on_start(child.id());
        let stdout = drain(child.stdout.take().expect("piped"));
        let stderr = drain(child.stderr.take().expect("piped"));
        let status = child.wait().expect("it is our child");
        let exited = Instant::now();
        let (stdout, stdout_held) = collect(&stdout, exited + PIPES_AFTER_EXIT);
        let (stderr, stderr_held) = collect(&stderr, exited + PIPES_AFTER_EXIT);
        json!({
            "event": event,
            "code": status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            "stdout": STANDARD.encode(stdout),
            "stderr": STANDARD.encode(stderr),
            "held": stdout_held || stderr_held,
            "milliseconds": begun.elapsed().as_millis() as u64,
        })
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n) = pipe.read(&mut buffer) {
            if n == 0 || send.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    receive
}

/// Everything up to the pipe's end or the deadline, and whether somebody still holds the pipe then.
fn collect(pipe: &mpsc::Receiver<Vec<u8>>, deadline: Instant) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match pipe.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(part) => all.extend(part),
            Err(mpsc::RecvTimeoutError::Disconnected) => return (all, false),
            Err(mpsc::RecvTimeoutError::Timeout) => return (all, true),
        }
    }
}
