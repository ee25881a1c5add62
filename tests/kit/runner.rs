//! A runner's directory, in every shape that occurs.

use super::cache::{Age, give_to, grow_old, plant_cache};
use super::host::Host;
use super::job::Listener;
use super::processes::standin;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `.runner`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DotRunner {
    /// camelCase with a byte order mark, as `config.sh` writes it.
    Configured,
    /// PascalCase with string values, as `--jitconfig` writes it.
    Jit,
    /// An ephemeral runner's after its one job.
    Absent,
}

/// Builds a [`Runner`]; see [`Host::runner`].
#[derive(Debug)]
pub(crate) struct RunnerBuilder<'a> {
    host: &'a Host,
    root: PathBuf,
    agent: Option<String>,
    dot_runner: DotRunner,
    work_folder: String,
    linked_bin: bool,
    env: Option<String>,
    line_end: &'static str,
    user: Option<(u32, u32)>,
}

impl<'a> RunnerBuilder<'a> {
    pub(crate) fn new(host: &'a Host, root: PathBuf) -> Self {
        let env = format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={}", host.started_script().display())
            + &format!("\nACTIONS_RUNNER_HOOK_JOB_COMPLETED={}\n", host.completed_script().display());
        Self {
            host,
            root,
            agent: None,
            dot_runner: DotRunner::Configured,
            work_folder: "_work".into(),
            linked_bin: true,
            env: Some(env),
            line_end: "\n",
            user: host.runner_user,
        }
    }

    /// `agentName`; otherwise the directory's name.
    pub(crate) fn named(mut self, agent: &str) -> Self {
        self.agent = Some(agent.to_owned());
        self
    }

    pub(crate) fn jit(mut self) -> Self {
        self.dot_runner = DotRunner::Jit;
        self
    }

    pub(crate) fn without_dot_runner(mut self) -> Self {
        self.dot_runner = DotRunner::Absent;
        self
    }

    pub(crate) fn work_folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.work_folder = folder.as_ref().to_str().expect("UTF-8").to_owned();
        self
    }

    /// `bin` is a real directory: a runner that has never updated itself.
    pub(crate) fn plain_bin(mut self) -> Self {
        self.linked_bin = false;
        self
    }

    pub(crate) fn unguarded(mut self) -> Self {
        self.env = Some("LANG=C.UTF-8\n".into());
        self
    }

    /// `.env`, word for word.
    pub(crate) fn env(mut self, text: &str) -> Self {
        self.env = Some(text.to_owned());
        self
    }

    /// `.runner` and `.env` with CRLF line ends.
    pub(crate) fn crlf(mut self) -> Self {
        self.line_end = "\r\n";
        self
    }

    /// Whose it is and as whom its jobs run.
    pub(crate) fn user(mut self, user: u32, group: u32) -> Self {
        self.user = Some((user, group));
        self
    }

    pub(crate) fn build(self) -> Runner {
        let name = self.root.file_name().expect("a root has a name").to_string_lossy().into_owned();
        let agent = self.agent.clone().unwrap_or_else(|| name.clone());
        let bin = self.root.join(if self.linked_bin { "bin.2.336.0" } else { "bin" });
        for directory in [&bin, &self.root.join("externals"), &self.root.join("_diag/pages")] {
            std::fs::create_dir_all(directory).expect("a directory of the runner");
        }
        if self.linked_bin {
            std::os::unix::fs::symlink("bin.2.336.0", self.root.join("bin")).expect("the link to bin");
        }
        install(&standin(), &bin.join("Runner.Listener"));
        // One file under two names: small disks have little room.
        std::fs::hard_link(bin.join("Runner.Listener"), bin.join("Runner.Worker")).expect("a second name");
        self.write_dot_runner(&agent);
        self.write(".service", &format!("actions.runner.acme-widgets.{agent}.service"));
        if let Some(env) = &self.env {
            self.write(".env", env);
        }
        let work = resolve(
            &self.root,
            if self.dot_runner == DotRunner::Absent { "_work" } else { &self.work_folder },
        );
        if work != Path::new("/") {
            for directory in ["_temp", "_actions/actions/checkout/v4", "_tool/Python", "_update"] {
                std::fs::create_dir_all(work.join(directory)).expect("a directory of the runner's own");
            }
        }
        let name = if self.dot_runner == DotRunner::Absent { name } else { agent };
        let runner = Runner {
            name,
            bin,
            work,
            user: self.user,
            sockets: self.host.sockets(),
            root: self.root.clone(),
        };
        if let Some((user, group)) = self.user {
            give_to(&runner.root, user, group);
            if runner.work != Path::new("/") {
                give_to(&runner.work, user, group);
            }
        }
        runner
    }

    fn write_dot_runner(&self, agent: &str) {
        let text = match self.dot_runner {
            DotRunner::Absent => return,
            DotRunner::Configured => serde_json::to_string_pretty(&json!({
                "agentId": 21, "agentName": agent, "poolId": 1, "poolName": "Default", "ephemeral": false,
                "serverUrl": "https://pipelines.actions.githubusercontent.com/x", "gitHubUrl": "https://github.com/acme/widgets",
                "workFolder": self.work_folder,
            })),
            DotRunner::Jit => serde_json::to_string_pretty(&json!({
                "AgentId": "21", "AgentName": agent, "PoolId": "1", "PoolName": "Default", "Ephemeral": "true",
                "ServerUrl": "https://pipelines.actions.githubusercontent.com/x", "GitHubUrl": "https://github.com/acme/widgets",
                "WorkFolder": self.work_folder,
            })),
        };
        self.write(".runner", &format!("\u{feff}{}", text.expect("JSON can be written")));
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.root.join(name), text.replace('\n', self.line_end))
            .expect("a file of the runner");
    }
}

/// A copy of `program` at `path`, made by another process: while this one had it open for writing, a concurrent test could
/// fork, and so keep it open past the moment in which it is to be executed.
fn install(program: &Path, path: &Path) {
    let copied = Command::new("cp").arg(program).arg(path).status().expect("cp runs");
    assert!(copied.success(), "the stand-in can be copied to {}", path.display());
}

/// `root/folder` without `..`, without asking the filesystem: it may not be there yet.
fn resolve(root: &Path, folder: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in root.join(folder).components() {
        match part {
            std::path::Component::ParentDir => {
                resolved.pop();
            }
            std::path::Component::CurDir => {}
            part => resolved.push(part),
        }
    }
    resolved
}

/// A runner on disk.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    /// As the guard should call it.
    pub(crate) name: String,
    pub(crate) root: PathBuf,
    /// The real directory of its programs.
    pub(crate) bin: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) sockets: PathBuf,
}

impl Runner {
    /// `_work/<name>/<name>` with a small checkout in it.
    pub(crate) fn checkout(&self, repository: &str) -> PathBuf {
        let name = repository.rsplit('/').next().expect("never empty");
        let checkout = self.work.join(name).join(name);
        std::fs::create_dir_all(checkout.join(".git")).expect("a checkout");
        std::fs::create_dir_all(checkout.join("src")).expect("a checkout");
        for (file, text) in [
            (".git/HEAD", "ref: refs/heads/main\n"),
            ("Cargo.toml", "[package]\nname = \"widget\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
            ("src/lib.rs", "//! Widgets.\n"),
        ] {
            std::fs::write(checkout.join(file), text).expect("a file of the checkout");
        }
        let mapping = self.work.join("_PipelineMapping").join(repository);
        std::fs::create_dir_all(&mapping).expect("a mapping");
        let pipeline = json!({"repositoryName": repository, "pipelineDirectory": name});
        std::fs::write(mapping.join("PipelineFolder.json"), pipeline.to_string()).expect("a mapping");
        self.own(&self.work.join(name));
        self.own(&self.work.join("_PipelineMapping"));
        checkout
    }

    /// A cargo target directory named `directory` in the checkout of `repository`, about `bytes` large, last written
    /// `age` ago.
    pub(crate) fn cache(&self, repository: &str, directory: &str, bytes: u64, age: Age) -> PathBuf {
        let name = repository.rsplit('/').next().expect("never empty");
        let checkout = self.work.join(name).join(name);
        if !checkout.join("Cargo.toml").exists() {
            self.checkout(repository);
        }
        let target = checkout.join(directory);
        plant_cache(&target, bytes, age);
        self.own(&target);
        target
    }

    /// Gives `tree` to the runner's user.
    pub(crate) fn own(&self, tree: &Path) {
        if let Some((user, group)) = self.user {
            give_to(tree, user, group);
        }
    }

    /// Starts its Listener, idle.
    pub(crate) fn listen(&self) -> Listener {
        Listener::start(self)
    }

    /// Takes write permission from every directory in `tree`, as Go's module cache does.
    pub(crate) fn make_read_only(tree: &Path) {
        if std::fs::symlink_metadata(tree).expect("it is there").is_dir() {
            for entry in std::fs::read_dir(tree).expect("it can be read") {
                Self::make_read_only(&entry.expect("an entry").path());
            }
            std::fs::set_permissions(tree, PermissionsExt::from_mode(0o555)).expect("it is ours");
        }
    }
}
