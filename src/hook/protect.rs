//! The error path of a started-hook. However the hook ended, its job does not begin before the lease is written and the runner is fenced,
//! in this order: a claim that begins after the fence then sees the lease.

use super::fence;
use super::identify::Own;
use super::job;
use crate::cli::Cli;
use crate::config::{Config, DEFAULT_PATH, Paths};
use crate::lease;
use crate::model::ledger::JobPhase;
use crate::model::{Lease, ProcessId};
use crate::observe::declared;
use crate::observe::filesystems::MountTable;
use crate::reclaim::in_place_claim;
use crate::report::events::{Event, EventKind};
use crate::run_dir::RunDir;
use crate::sys::process::Proc;
use crate::sys::reach;
use crate::text::escape;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Writes the lease and fences. Needs no valid configuration.
///
/// # Errors
/// Why the runner is not fenced.
pub(super) fn protect(cli: &Cli, named: Option<&Path>, is_fenced: bool, now: SystemTime) -> io::Result<()> {
    // What has kept the hook may be a mount that does not answer, under the configuration or what that declares.
    reach::watch();
    let mut own = Own::find(&Proc::new(Path::new(PROC)), named);
    if !is_fenced {
        // Reading the configuration may also take until this process is ended.
        let _ = fence_first(own.as_ref().ok());
    }
    let config: Option<Config> = declared::load(cli.config.as_deref()).ok();
    let paths = config
        .as_ref()
        .map(|config| config.paths.clone())
        .unwrap_or_else(|| Paths::salvaged_from(cli.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH))));
    let proc = Proc::new(&paths.proc);
    if own.is_err() {
        own = Own::find(&proc, named);
    }
    if let Some(config) = &config {
        own = Own::or_by_programs(own, &proc, named, config);
    }
    let Ok(own) = own else {
        // It may have been known before: the waiting process is gone, and the ancestry with it.
        return fence::by_place();
    };
    let run = RunDir::open_existing(&paths.run_dir).ok().flatten();
    if let Some(run) = &run {
        leave_lease(&own, run, &proc, now);
    }
    let fenced = fence_off(&own, run.as_ref());
    if let Some(config) = &config {
        for (base, failure) in fence_declared(&own, config, &proc, run.as_ref()) {
            let base = escape::path(&base);
            let text = format!("claims on caches below {base} cannot be fenced off: {failure}");
            Event::new(EventKind::Error, text).runner(&own.runner).emit();
        }
    }
    fenced
}

/// Caches outside of work directories that the job may use. This user's hook cannot prevent a claim from another user's directory: in that
/// case the claim itself looks again after its rename, and undoes it if the cache is in use. Returns what could not be fenced, and why.
pub(super) fn fence_declared(
    own: &Own,
    config: &Config,
    proc: &Proc,
    run: Option<&RunDir>,
) -> Vec<(PathBuf, io::Error)> {
    if config.caches.iter().all(|rule| rule.roots.is_empty()) {
        return Vec::new();
    }
    let bases = declared::tops(&config.caches, own.runner.own_name(), &MountTable::read(proc));
    let fence = |base: PathBuf| Some((fence::around_declared(&base, run).err()?, base));
    bases.into_iter().filter_map(fence).map(|(failure, base)| (base, failure)).collect()
}

/// Where a hook looks for its own ancestry before it has read the configuration.
pub(super) const PROC: &str = "/proc";

/// The fence before anything that can fail.
///
/// # Errors
/// Why the runner is not fenced.
pub(super) fn fence_first(own: Option<&Own>) -> io::Result<()> {
    match own {
        Some(own) => {
            // Its own old versions and logs are claimed from its root. Whatever cannot be fenced there is not used by any job.
            let _ = fence::around_own(&own.runner.root);
            own.ground.as_ref().map_or_else(fence::by_place, |ground| ground.fence())
        }
        None => fence::by_place(),
    }
}

fn fence_off(own: &Own, run: Option<&RunDir>) -> io::Result<()> {
    let result = match &own.ground {
        Some(ground) => {
            let slots = ground.fence();
            let beside = run.map_or(Ok(()), |run| in_place_claim::fence(run, ground.dir()));
            slots.and(beside)
        }
        None => fence::by_place(),
    };
    if let Err(failure) = &result {
        let text = format!("claims on this runner cannot be fenced off: {failure}");
        Event::new(EventKind::Error, text).runner(&own.runner).emit();
    }
    result
}

fn leave_lease(own: &Own, run: &RunDir, proc: &Proc, now: SystemTime) {
    let Some(worker) = own.worker else { return };
    if lease::is_left(run, own.runner.root_id, worker) {
        return;
    }
    let left = lease_of(own, worker, proc, now)
        .map_err(|error| error.to_string())
        .and_then(|lease| lease::write(run, &lease).map_err(|error| error.to_string()));
    let event = match left {
        Ok(()) => begins(own),
        Err(error) => {
            Event::new(EventKind::Error, format!("no lease can be left: {error}")).runner(&own.runner)
        }
    };
    event.emit();
}

/// A job begins.
pub(super) fn begins(own: &Own) -> Event {
    let text = format!("a job begins on {}", escape::text(&own.runner.name));
    Event::new(EventKind::Lease, text).runner(&own.runner).job(&job()).phase(JobPhase::Begun)
}

/// Data for a lease that the host does not provide.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHere {
    #[error("this boot's id cannot be read: {0}")]
    Boot(io::Error),
    #[error("the pid namespace cannot be read: {0}")]
    Namespace(io::Error),
}

/// The lease of this job.
///
/// # Errors
/// What this host does not provide.
pub(super) fn lease_of(own: &Own, worker: ProcessId, proc: &Proc, now: SystemTime) -> Result<Lease, NoHere> {
    Ok(Lease {
        worker,
        boot_id: proc.boot_id().map_err(NoHere::Boot)?,
        pid_namespace: proc.pid_namespace().map_err(NoHere::Namespace)?,
        root: own.runner.root.clone(),
        root_id: own.runner.root_id,
        work_id: own.runner.work_dir().map(|work| work.id),
        job: job(),
        since: now,
        reserved: None,
    })
}
