//! The demo's throw-away host: three runners with caches, and the jobs that run on them.

use super::disk::{DemoDisk, DiskKind};
use crate::actions_runner::environment::HookVariable;
use crate::actions_runner::layout;
use crate::clock::now;
use crate::report::stream::print;
use nix::sys::statvfs::statvfs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) const MIB: u64 = 1 << 20;

/// How a cache directory is tagged (the Cache Directory Tagging Specification).
pub(super) const TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag created by cargo.\n";

/// The throw-away host.
pub(super) struct DemoHost {
    root: PathBuf,
    program: PathBuf,
    config: PathBuf,
    colour: String,
}

/// When a job of the demo ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// When the demo ends it.
    AtTheEnd,
    /// As soon as its hook has returned.
    AfterTheHook,
}

impl DemoHost {
    pub(super) fn build(disk: &DemoDisk, colour: &str) -> io::Result<Self> {
        let root = disk.root().to_owned();
        let program = root.join("disk-guard");
        std::fs::copy("/proc/self/exe", &program)?;
        let host = Self { config: root.join("config.toml"), root, program, colour: colour.to_owned() };
        for number in 1..=3 {
            host.install_runner(number)?;
        }
        let day = Duration::from_secs(86_400);
        host.cache(2, "legacy", 6 * MIB, 6 * day)?;
        host.cache(2, "lib", 4 * MIB, 2 * day)?;
        host.cache(3, "tools", 14 * MIB, 3 * day)?;
        host.cache(3, "site", 2 * MIB, Duration::from_secs(60))?;
        host.configure(0)?;
        Ok(host)
    }

    fn configure(&self, min_free: u64) -> io::Result<()> {
        let root = self.root.display();
        std::fs::write(
            &self.config,
            format!(
                "[pressure]\nmin_free = \"{min_free}\"\nmin_free_inodes = \"0%\"\n\n[runners]\nroots = [\"{root}/actions-runner-*\"]\n\n\
                 [paths]\nrun_dir = \"{root}/run\"\nstate_dir = \"{root}/state\"\n"
            ),
        )
    }

    fn runner(&self, number: u32) -> PathBuf {
        self.root.join(format!("actions-runner-{number}"))
    }

    /// A runner as it looks after its installation: a `.runner` with a BOM, a hook in `.env`, a `bin`.
    fn install_runner(&self, number: u32) -> io::Result<()> {
        let root = self.runner(number);
        std::fs::create_dir_all(root.join("bin"))?;
        std::fs::create_dir_all(root.join("_work/_temp"))?;
        std::fs::write(
            root.join(layout::SETTINGS),
            format!("\u{feff}{{\"agentName\": \"runner-{number}\", \"workFolder\": \"_work\"}}"),
        )?;
        let hook = root.join("job-started.sh");
        let script = format!(
            "exec {} --config {} --log-level error hook started\n",
            self.program.display(),
            self.config.display()
        );
        std::fs::write(&hook, script)?;
        std::fs::write(
            root.join(layout::ENV),
            format!("{}={}\n", HookVariable::JobStarted.name(), hook.display()),
        )?;
        // A Worker is recognised by the name of its executable.
        std::fs::hard_link(&self.program, root.join("bin/Runner.Worker"))?;
        std::fs::set_permissions(root.join("bin/Runner.Worker"), std::fs::Permissions::from_mode(0o755))
    }

    /// Makes a cargo target of this size whose newest file has this age.
    fn cache(&self, runner: u32, repository: &str, bytes: u64, age: Duration) -> io::Result<()> {
        let target = self.runner(runner).join(layout::WORK).join(repository).join(repository).join("target");
        let deps = target.join("debug/deps");
        std::fs::create_dir_all(&deps)?;
        std::fs::write(target.join("CACHEDIR.TAG"), TAG)?;
        let each = bytes / 16;
        for number in 0..16 {
            std::fs::write(deps.join(format!("lib{repository}-{number}.rlib")), vec![7; each as usize])?;
        }
        let then = std::fs::FileTimes::new().set_modified(now() - age);
        for file in walkdir::WalkDir::new(&target)
            .into_iter()
            .filter_map(Result::ok)
            .filter(|e| e.file_type().is_file())
        {
            std::fs::File::options().write(true).open(file.path())?.set_times(then)?;
        }
        Ok(())
    }

    /// Fills the disk to just above its high watermark; returns the bytes written.
    pub(super) fn fill(&self, disk: &DemoDisk) -> io::Result<u64> {
        let usage = statvfs(&self.root).map_err(io::Error::from)?;
        let (blocks, free) =
            (usage.blocks() * usage.fragment_size(), usage.blocks_available() * usage.fragment_size());
        let bytes = match disk.kind() {
            DiskKind::OwnDisk => free.saturating_sub(blocks * 11 / 100),
            DiskKind::Budget => {
                // The floor is 30 MiB above what is free, so 30 MiB have to be reclaimed.
                self.configure(free + 30 * MIB)?;
                8 * MIB
            }
        };
        let data = self.runner(1).join("_work/app/app/dataset.bin");
        let mut file = std::fs::File::create(data)?;
        let chunk = vec![1; MIB as usize];
        let mut written = 0;
        while written < bytes {
            let part = chunk.len().min((bytes - written) as usize);
            file.write_all(&chunk[..part])?;
            written += part as u64;
        }
        Ok(written)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).args(["--color", &self.colour]);
        command
    }

    /// Starts a Worker on a runner, as its Listener would.
    pub(super) fn start_job(&self, number: u32, repository: &str, leave: Leave) -> io::Result<DemoJob> {
        let root = self.runner(number);
        let name = repository.rsplit('/').next().unwrap_or(repository);
        let workspace = root.join(layout::WORK).join(name).join(name);
        std::fs::create_dir_all(&workspace)?;
        let mut worker = Command::new(root.join("bin/Runner.Worker"));
        worker.arg("demo-actor").arg(root.join("job-started.sh")).arg(&workspace).arg(repository);
        if leave == Leave::AtTheEnd {
            worker.arg("--build");
        }
        let mut child = worker
            .current_dir(root.join("bin"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let output = child.stdout.take().map(BufReader::new).ok_or_else(|| io::Error::other("no pipe"))?;
        Ok(DemoJob { child, output })
    }
}

/// A job that has been started.
pub(super) struct DemoJob {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

/// How a job ended.
pub(super) struct JobEnd {
    pub(super) ok: bool,
    pub(super) line: String,
}

impl DemoJob {
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        Ok((self.output.read_line(&mut line)? > 0).then(|| line.trim_end().to_owned()))
    }

    pub(super) fn wait_until_building(&mut self) -> io::Result<()> {
        while let Some(line) = self.line()? {
            if line == "building" {
                return Ok(());
            }
        }
        Err(io::Error::other("the live job did not start"))
    }

    pub(super) fn show_log(&mut self) -> io::Result<()> {
        while let Some(line) = self.line()? {
            print(&format!("    | {line}\n"));
        }
        print("\n");
        self.child.wait().map(drop)
    }

    pub(super) fn finish(&mut self) -> io::Result<JobEnd> {
        drop(self.child.stdin.take());
        let mut last = String::from("it printed nothing");
        while let Some(line) = self.line()? {
            last = line;
        }
        Ok(JobEnd { ok: self.child.wait()?.success(), line: last })
    }
}

impl Drop for DemoJob {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
