//! Which runner a hook works for.

use super::Fault;
use crate::config::Config;
use crate::model::{Pid, ProcessId, Runner};
use crate::observe::filesystems::MountTable;
use crate::observe::{processes, runners};
use crate::report::escape;
use crate::sys::process::Proc;
use std::path::Path;

/// The runner that a hook works for.
pub(super) struct Own {
    pub(super) runner: Runner,
    /// Its Worker; none when the runner was named by hand.
    pub(super) worker: Option<ProcessId>,
    pub(super) lineage: Vec<Pid>,
}

/// By ancestry, not by environment: a job can poison every variable. A root that the configuration does not allow is none.
pub(super) fn identify(config: &Config, proc: &Proc, named: Option<&Path>) -> Result<Own, Fault> {
    let (root, worker, lineage) = match named {
        Some(root) => (root.to_owned(), None, Vec::new()),
        None => {
            let own = processes::own_runner(proc).map_err(|error| {
                format!("it cannot be told which runner this is ({error}); nothing was touched")
            })?;
            (own.root, Some(own.worker), own.lineage.iter().map(|process| process.pid).collect())
        }
    };
    let shown = escape::path(&root);
    let runner = runners::examine(&root, &MountTable::default())
        .map_err(|error| {
            format!("the runner's directory {shown} cannot be examined ({error}); nothing was touched")
        })?
        .ok_or_else(|| format!("{shown} holds no runner; nothing was touched"))?;
    if !is_allowed(config, proc, &root, &runner) {
        let text = format!("{shown} is not among the runners that runners.roots allows; nothing was touched");
        return Err(text.into());
    }
    Ok(Own { runner, worker, lineage })
}

/// The globs judge the path first; only when they do not match it are they expanded, for a root behind a link.
fn is_allowed(config: &Config, proc: &Proc, root: &Path, runner: &Runner) -> bool {
    let patterns = &config.runners.roots;
    runners::is_allowed(root, patterns)
        || runners::is_allowed(&runner.root, patterns)
        || runners::discover(patterns, &MountTable::read(proc))
            .runners
            .iter()
            .any(|r| r.root_id == runner.root_id)
}
