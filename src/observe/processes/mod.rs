//! The processes of this host, and which of them use which runner's work directory.
//!
//! Invariants: nothing is written, signalled or traced; command lines and environments are not read (except for [`environ_names_hook`]);
//! anything unreadable is reported ([`ProcessFacts::visibility`]) and never taken for absence; a process that ended while it was read is
//! no evidence. One scan serves all runners. The meaning of the facts is decided elsewhere.
//!
//! Known limits, all of the kernel's making: files that a process holds through io_uring, an unreceived SCM_RIGHTS message, a
//! loop device or a swap area have no name below `/proc/PID` (a claimed tree is asked for them: [`super::openers`]); a bind
//! mount that was detached lazily (`umount -l`) has no mount point to compare with.

mod ancestry;
mod attribution;
pub(crate) mod environment;
mod executable;
mod held;
mod lineage;
mod mapped;
mod mount_names;
mod packages;
mod prefixes;
mod reach;
mod scan;
mod sight;
mod visibility;

pub(crate) use crate::sys::mountinfo;
pub use attribution::Whose;
pub(super) use environment::environ_names_paths;
pub use environment::{HookVariable, environ_names_hook};
pub use lineage::{LineageError, OwnRunner, own_runner};
pub use sight::{SightError, log_begun, sees_directory};
pub use visibility::hidepid;

use crate::actions_runner::layout;
use crate::model::{
    Attribution, ListenerSeen, MountSeen, PathGlob, Pid, ProcessFacts, Runner, Stranger, Visibility,
    WorkerReach, WorkerSeen,
};
use crate::sys::process::{LookError, Proc, started};
use crate::sys::process_dir::{ProcessDir, Processes};
use executable::LISTENER;
use mount_names::{MountNames, WorkDirPlace};
use scan::ProcessScan;
use std::cell::LazyCell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use visibility::{Hidden, obstacles, verdict};

/// How often the walk is repeated because a namespace gave a work directory a new name. Two passes are common on hosts with containers; a
/// host that adds names faster than they are read is not fully visible.
const PASSES: usize = 4;

/// The maximum of remarks about unknown runners.
const MAX_STRANGERS: usize = 256;

/// Further knowledge about the processes' possible runners.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// The group of the shared directory, which runners' users are in.
    pub group: Option<u32>,
    /// Globs of directories in which packages keep the runner's programs (`runners.programs`).
    pub programs: &'a [PathGlob],
}

/// Looks at every process once, for all runners.
pub fn observe(proc: &Proc, runners: &[Runner], given: Given<'_>) -> ProcessFacts {
    observe_with_caches(proc, runners, &[], given)
}

/// The same. `caches` are places of their own, in the form of further runners with such a work directory: in the result they come after
/// the runners.
pub fn observe_with_caches(
    proc: &Proc,
    runners: &[Runner],
    caches: &[Runner],
    given: Given<'_>,
) -> ProcessFacts {
    let first_cache = runners.len();
    let runners: &[Runner] = &[runners, caches].concat();
    let own_mounts = mountinfo::read_own(proc.root()).ok();
    let own_mounts = own_mounts.as_deref().and_then(mountinfo::parse);
    let mut reasons = obstacles(proc, own_mounts.as_deref());
    let (mut places, unlocated) = mount_names::locate(own_mounts.as_deref().unwrap_or_default(), runners);
    for place in places.iter_mut().filter(|place| place.runner >= first_cache) {
        place.set_base(runners[place.runner].root.as_os_str().as_encoded_bytes());
    }
    let mount_names = Mutex::new(MountNames::new(own_mounts.as_deref().unwrap_or_default(), places));

    let processes = match Processes::open(proc) {
        Ok(processes) => processes,
        Err(error) => {
            reasons.push(format!("{} cannot be opened: {error}", proc.root().display()));
            return blind(reasons, unlocated);
        }
    };
    let own = match lineage::own_pid(proc) {
        Ok(own) => Some(own),
        Err(error) => {
            reasons.push(format!("we are not in {}: {error}", proc.root().display()));
            None
        }
    };
    let mut found = ProcessScan::default();
    for pass in 0.. {
        let pids = match processes.pids() {
            Ok(pids) => pids,
            Err(error) => {
                reasons.push(format!("{} cannot be listed: {error}", proc.root().display()));
                return blind(reasons, unlocated);
            }
        };
        if let Some(own) = own.filter(|own| !pids.contains(own)) {
            // A list without this process may lack any process.
            reasons.push(format!("{} does not list ourselves, pid {own}", proc.root().display()));
        }
        found = scan::walk(&processes, &mount_names, &pids, own);
        let mut mount_names = mount_names.lock().unwrap_or_else(PoisonError::into_inner);
        if !mount_names.grown {
            break;
        }
        if pass + 1 == PASSES {
            reasons.push("mounts change faster than they can be read".to_owned());
            break;
        }
        mount_names.begin_again();
    }
    let mount_names = mount_names.into_inner().unwrap_or_else(PoisonError::into_inner);

    let placed = || unlocated.is_empty().then_some(mount_names.places.as_slice());
    let mut hidden = std::mem::take(&mut found.hidden);
    let mounts = own_mounts.as_deref().unwrap_or_default();
    let view = WorkerView { proc, runners, places: &placed, mounts, given };
    let workers = workers_of(&processes, &found.workers, view, &mut hidden);
    let listeners = listeners_of(&processes, &found.listeners, view);
    reasons.extend(hidden.reason());
    let strangers = strangers(&processes, &found, &workers, &listeners, given.programs);
    ProcessFacts {
        visibility: verdict(reasons),
        holders: ancestry::under_workers(&processes, found.holders, &workers),
        workers,
        listeners,
        strangers,
        binds: mount_names.binds.into_iter().map(|(path, process)| (process, as_path(path))).collect(),
        mounts: mount_names.seen.into_iter().map(mount_seen).collect(),
        unlocated,
    }
}

fn blind(reasons: Vec<String>, unlocated: Vec<crate::model::Unlocated>) -> ProcessFacts {
    ProcessFacts {
        visibility: Visibility::Partial(reasons),
        workers: Vec::new(),
        listeners: Vec::new(),
        strangers: Vec::new(),
        binds: Vec::new(),
        holders: Vec::new(),
        mounts: Vec::new(),
        unlocated,
    }
}

/// Whether every process of the host is seen from here.
pub fn sees_all(proc: &Proc) -> bool {
    workers(proc, &[], Given::default()).1 == Visibility::Complete
}

/// Every `Runner.Worker` by name, and whether all names could be read: the cheap question that is repeated under the host lock. Of
/// processes with other names only the name is read.
pub fn workers(proc: &Proc, runners: &[Runner], given: Given<'_>) -> (Vec<WorkerSeen>, Visibility) {
    let own_mounts = mountinfo::read_own(proc.root()).ok();
    let own_mounts = own_mounts.as_deref().and_then(mountinfo::parse);
    let mut reasons = obstacles(proc, own_mounts.as_deref());
    let processes = match Processes::open(proc).and_then(|processes| Ok((processes.pids()?, processes))) {
        Ok(listed) => listed,
        Err(error) => {
            reasons.push(format!("{} cannot be listed: {error}", proc.root().display()));
            return (Vec::new(), Visibility::Partial(reasons));
        }
    };
    let (pids, processes) = processes;
    if !lineage::own_pid(proc).is_ok_and(|own| pids.contains(&own)) {
        reasons.push(format!("{} does not list ourselves", proc.root().display()));
    }
    let (matching, mut hidden) = scan::workers(&processes, &pids);
    let mut seen = Vec::new();
    if !matching.is_empty() {
        // Only a Worker that belongs to none of them is compared with their places, which takes longer with every runner.
        let mounts = own_mounts.as_deref().unwrap_or_default();
        let located = LazyCell::new(|| mount_names::locate(mounts, runners).0);
        let placed = || attribution::all_placed(&located, runners);
        let view = WorkerView { proc, runners, places: &placed, mounts, given };
        seen = workers_of(&processes, &matching, view, &mut hidden);
    }
    reasons.extend(hidden.reason());
    (seen, verdict(reasons))
}

/// The facts that Workers are judged by.
#[derive(Clone, Copy)]
struct WorkerView<'v> {
    proc: &'v Proc,
    runners: &'v [Runner],
    /// Returns their work directories; none when not all could be placed.
    places: &'v dyn Fn() -> Option<&'v [WorkDirPlace]>,
    /// Our own mounts.
    mounts: &'v [mountinfo::Mount<'v>],
    given: Given<'v>,
}

impl<'v> WorkerView<'v> {
    fn whose(&self) -> Whose<'v> {
        Whose { proc: self.proc, runners: self.runners, programs: self.given.programs }
    }
}

fn workers_of(
    processes: &Processes,
    pids: &[Pid],
    view: WorkerView<'_>,
    hidden: &mut Hidden,
) -> Vec<WorkerSeen> {
    let seen = |dir: &ProcessDir| -> Result<WorkerSeen, LookError> {
        let attribution: Attribution = attribution::attribute(processes, dir, view)?;
        let reach = match attribution {
            Attribution::Unattributed(_) => reach::of(dir, (view.places)(), view.mounts, view.given.group),
            Attribution::Runner(_) | Attribution::Elsewhere(_) => WorkerReach::default(),
        };
        Ok(WorkerSeen { process: dir.identify()?.id, owner: dir.owner()?, attribution, reach })
    };
    let mut workers = Vec::new();
    for &pid in pids {
        match processes.process(pid) {
            Ok(dir) => match seen(&dir) {
                Ok(worker) => workers.push(worker),
                Err(LookError::Gone(_)) => {}
                Err(error) => hidden.add(&dir, &error),
            },
            Err(LookError::Gone(_)) => {}
            Err(error) => hidden.add_unopened(pid, &error),
        }
    }
    workers
}

/// A Listener that cannot be attributed is no evidence about any runner; only its Worker would be.
fn listeners_of(processes: &Processes, pids: &[Pid], view: WorkerView<'_>) -> Vec<ListenerSeen> {
    if pids.is_empty() {
        return Vec::new();
    }
    let exact = view.proc.boot_time_exactly();
    let boot = exact.or_else(|| view.proc.boot_time()).unwrap_or(SystemTime::UNIX_EPOCH);
    pids.iter()
        .filter_map(|&pid| {
            let dir = processes.process(pid).ok()?;
            let runner = attribution::runner_of(&dir, LISTENER, view.whose()).ok()??;
            let process = dir.identify().ok()?.id;
            let owner = dir.owner().ok()?;
            let when = started(boot, process.start);
            Some(ListenerSeen {
                process,
                runner,
                owner,
                started: when.unwrap_or(SystemTime::UNIX_EPOCH),
                is_ordered: when.is_some() && exact.is_some(),
            })
        })
        .collect()
}

/// The runner's processes that belong to none of the known runners.
fn strangers(
    processes: &Processes,
    found: &ProcessScan,
    workers: &[WorkerSeen],
    listeners: &[ListenerSeen],
    programs: &[PathGlob],
) -> Vec<Stranger> {
    let is_worker_known = |pid: &Pid| {
        let own = |worker: &&WorkerSeen| matches!(worker.attribution, Attribution::Runner(_));
        workers.iter().filter(own).any(|worker| worker.process.pid == *pid)
    };
    let is_listener_known = |pid: &Pid| listeners.iter().any(|listener| listener.process.pid == *pid);
    let of = |pid: &Pid, program: &'static str| {
        let dir = processes.process(*pid).ok()?;
        let root = attribution::claimed_root(&dir, program.as_bytes(), programs)?;
        Some(Stranger { process: dir.identify().ok()?.id, program, owner: dir.owner().ok()?, root })
    };
    let listeners = found.listeners.iter().filter(|pid| !is_listener_known(pid));
    let workers = found.workers.iter().filter(|pid| !is_worker_known(pid));
    let listeners = listeners.filter_map(|pid| of(pid, layout::LISTENER));
    listeners.chain(workers.filter_map(|pid| of(pid, layout::WORKER))).take(MAX_STRANGERS).collect()
}

fn as_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

fn mount_seen(seen: mount_names::ForeignMount) -> MountSeen {
    let path = as_path;
    MountSeen {
        runner: seen.runner,
        process: seen.process,
        comm: seen.comm,
        mount_point: path(seen.point),
        inside: path(seen.inside),
        is_of_host: seen.is_of_host,
    }
}

#[cfg(test)]
mod tests;
