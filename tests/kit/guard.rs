//! Running disk-guard and reading what it says.

use super::wait;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

/// A command line, and as whom it runs.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// User and group; `None` = those of the test.
    pub(crate) user: Option<(u32, u32)>,
}

impl Call {
    /// The command, with all three streams in hand and an environment of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir("/");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Run {
        let mut child = self.command().spawn().expect("disk-guard starts");
        let output = Capture::of(&mut child);
        let deadline = Instant::now() + wait::deadline();
        let status = loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{:?} did not end within {:?}", self.arguments, wait::deadline());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        output.finish(status)
    }
}

/// What the streams carry while the process runs.
pub(crate) struct Capture {
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

impl Capture {
    pub(crate) fn of(child: &mut std::process::Child) -> Self {
        Self {
            stdout: read_all(child.stdout.take().expect("piped")),
            stderr: read_all(child.stderr.take().expect("piped")),
        }
    }

    pub(crate) fn finish(self, status: ExitStatus) -> Run {
        Run {
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout.join().expect("reading does not panic"),
            stderr: self.stderr.join().expect("reading does not panic"),
        }
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.read_to_end(&mut all);
        all
    })
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Run {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Panics, showing everything, unless the exit code is one of `codes`.
    #[track_caller]
    pub(crate) fn expect_code(self, codes: &[i32]) -> Self {
        assert!(
            self.code.is_some_and(|code| codes.contains(&code)),
            "exit code {:?} (signal {:?}), expected one of {codes:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.signal,
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// The document on standard output.
    #[track_caller]
    pub(crate) fn report(&self) -> Report {
        let value: Value = serde_json::from_slice(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "no JSON on stdout ({error}), exit code {:?}\n--- stdout\n{}\n--- stderr\n{}",
                self.code,
                self.stdout(),
                self.stderr()
            )
        });
        assert_eq!(value["schema"], 1, "every document has its schema: {value}");
        Report(value)
    }
}

/// One of the contract's JSON documents.
#[derive(Debug, Clone)]
pub(crate) struct Report(pub(crate) Value);

impl Report {
    fn list(&self, key: &str) -> &[Value] {
        self.0[key].as_array().unwrap_or_else(|| panic!("the document lacks `{key}`: {:#}", self.0))
    }

    /// `plan`, `sweep`: the action for `path`, which has to be there exactly once.
    #[track_caller]
    pub(crate) fn action(&self, path: &Path) -> &Value {
        let wanted = path.to_str().expect("UTF-8");
        let found: Vec<&Value> = self.list("actions").iter().filter(|a| a["path"] == wanted).collect();
        assert_eq!(found.len(), 1, "one action for {wanted} in {:#}", self.0);
        found[0]
    }

    /// The outcome of `path`.
    #[track_caller]
    pub(crate) fn outcome(&self, path: &Path) -> &str {
        self.action(path)["outcome"].as_str().expect("an outcome is text")
    }

    /// Whether there is an action for `path`.
    pub(crate) fn lists(&self, path: &Path) -> bool {
        self.list("actions").iter().any(|action| action["path"].as_str().map(Path::new) == Some(path))
    }

    /// The paths whose outcome is `outcome`, in the document's order.
    pub(crate) fn with_outcome(&self, outcome: &str) -> Vec<PathBuf> {
        let actions = self.list("actions").iter().filter(|action| action["outcome"] == outcome);
        actions.map(|action| PathBuf::from(action["path"].as_str().expect("a path is text"))).collect()
    }

    /// The kinds of evidence that an action or a runner shows.
    pub(crate) fn kinds(of: &Value) -> BTreeSet<String> {
        let evidence = of["evidence"].as_array().into_iter().flatten();
        evidence
            .map(|e| e["kind"].as_str().unwrap_or_else(|| panic!("evidence has a kind: {e}")).to_owned())
            .collect()
    }

    /// The evidence for the action on `path`.
    #[track_caller]
    pub(crate) fn evidence(&self, path: &Path) -> BTreeSet<String> {
        Self::kinds(self.action(path))
    }

    /// `status`: the runner of this name.
    #[track_caller]
    pub(crate) fn runner(&self, name: &str) -> &Value {
        let found: Vec<&Value> = self.list("runners").iter().filter(|r| r["name"] == name).collect();
        assert_eq!(found.len(), 1, "one runner `{name}` in {:#}", self.0);
        found[0]
    }

    /// `status`, `plan`, `sweep`: the filesystem mounted at `mount`.
    #[track_caller]
    pub(crate) fn filesystem(&self, mount: &Path) -> &Value {
        let wanted = mount.to_str().expect("UTF-8");
        let found: Vec<&Value> = self.list("filesystems").iter().filter(|f| f["mount"] == wanted).collect();
        assert_eq!(found.len(), 1, "one filesystem at {wanted} in {:#}", self.0);
        found[0]
    }
}
