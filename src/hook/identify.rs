//! Which runner a hook works for. It is found by ancestry, which needs no configuration: even if the configuration is invalid, a job's own
//! runner is known and can be fenced.

use super::Fault;
use super::fence::Ground;
use crate::actions_runner::environment;
use crate::clock::now;
use crate::config::Config;
use crate::model::{ProcessId, Runner};
use crate::observe::cargo_target::reference;
use crate::observe::filesystems::MountTable;
use crate::observe::processes::{self, Whose};
use crate::observe::runners;
use crate::sys::process::Proc;
use crate::text::escape;
use crate::uses;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The runner that a hook works for.
pub(super) struct Own {
    pub(super) runner: Runner,
    /// Its Worker; none when the runner was named by hand.
    pub(super) worker: Option<ProcessId>,
    /// Its Listener, as long as that lives.
    pub(super) listener: Option<ProcessId>,
    pub(super) lineage: Vec<ProcessId>,
    /// Its work directory, opened once.
    pub(super) ground: Option<Ground>,
    /// Its root, from its Worker's executable or from the command line.
    named: PathBuf,
}

impl Own {
    /// The directory below `_work` that the job uses. A hint from an environment that a job can forge: it decides only the order among own
    /// caches, and their age.
    pub(super) fn job_directory(&self) -> Option<PathBuf> {
        let workspace = PathBuf::from(std::env::var_os(environment::WORKSPACE)?);
        let below = workspace.strip_prefix(&self.runner.work_dir()?.path).ok()?;
        below.components().next().map(|first| PathBuf::from(first.as_os_str()))
    }

    /// Records when a job last used that. On a full disk that may be impossible: then the runner's own note is used.
    pub(super) fn mark_use(&self) {
        let work = self.ground.as_ref().map(Ground::dir);
        if let (Some(directory), Some(dir), Some(work)) = (self.job_directory(), self.runner.work_dir(), work)
        {
            let _ = uses::mark(work, dir.owner, directory.as_os_str(), now());
        }
    }

    /// Marks what the job has used of its cargo targets, so that unused units can be told apart. Bounded in time: the job's end waits for
    /// it. On a healthy host it takes some milliseconds.
    pub(super) fn mark_used_units(&self) {
        const TIME_LIMIT: Duration = Duration::from_millis(500);
        let work = self.ground.as_ref().map(Ground::dir);
        if let (Some(directory), Some(work)) = (self.job_directory(), work)
            && let Ok(checkouts) = work.descend(&directory)
        {
            reference::arm_below(&checkouts, Instant::now() + TIME_LIMIT);
        }
    }

    /// By ancestry, not by our environment: a job can forge every variable. Where the runner's program lies elsewhere, its Listener names
    /// the root, which then has to be our own user's. Only the runner's own filesystem is touched, so that no other one can delay this.
    pub(super) fn find(proc: &Proc, named: Option<&Path>) -> Result<Self, Fault> {
        Self::find_among(proc, named, None)
    }

    /// Tries again with the configuration when ancestry alone did not suffice: a package's program whose Listener's environment names no
    /// root.
    pub(super) fn or_by_programs(
        found: Result<Self, Fault>,
        proc: &Proc,
        named: Option<&Path>,
        config: &Config,
    ) -> Result<Self, Fault> {
        if found.is_ok() || config.runners.programs.is_empty() {
            return found;
        }
        let runners = runners::discover(&config.runners.roots, &MountTable::read(proc)).runners;
        let whose = Whose { proc, runners: &runners, programs: &config.runners.programs };
        Self::find_among(proc, named, Some(whose))
    }

    fn find_among(proc: &Proc, named: Option<&Path>, whose: Option<Whose<'_>>) -> Result<Self, Fault> {
        let (root, worker, listener, lineage, is_packaged) = match named {
            Some(root) => (root.to_owned(), None, None, Vec::new(), false),
            None => {
                let own = processes::own_runner(proc, whose).map_err(|error| {
                    format!("this runner cannot be identified ({error}); nothing was touched")
                })?;
                (own.root, Some(own.worker), own.listener, own.lineage, own.is_packaged)
            }
        };
        let shown = escape::path(&root);
        let (runner, work) = runners::examine_and_hold(&root, &MountTable::default())
            .map_err(|error| {
                format!("the runner's directory {shown} cannot be examined ({error}); nothing was touched")
            })?
            .ok_or_else(|| format!("{shown} contains no runner; nothing was touched"))?;
        if is_packaged && runner.owner.0 != nix::unistd::geteuid().as_raw() {
            let owner = runner.owner;
            let text = format!(
                "its Listener names {shown}, which belongs to uid {owner} and not to this user; nothing was touched"
            );
            return Err(text.into());
        }
        let ground = runner.work_dir().zip(work).map(|(work, dir)| Ground::of(work, dir));
        Ok(Self { runner, worker, listener, lineage, ground, named: root })
    }

    /// A root that the configuration does not allow does not count.
    pub(super) fn check_allowed(&self, config: &Config, proc: &Proc) -> Result<(), Fault> {
        if self.is_allowed(config, proc) {
            return Ok(());
        }
        let shown = escape::path(&self.named);
        let text = format!("{shown} is not among the runners that runners.roots allows; nothing was touched");
        Err(text.into())
    }

    /// The globs are matched against the path first; only if they do not match are they expanded, for a root behind a link.
    fn is_allowed(&self, config: &Config, proc: &Proc) -> bool {
        let patterns = &config.runners.roots;
        runners::is_allowed(&self.named, patterns)
            || runners::is_allowed(&self.runner.root, patterns)
            || runners::discover(patterns, &MountTable::read(proc))
                .runners
                .iter()
                .any(|runner| runner.root_id == self.runner.root_id)
    }
}
