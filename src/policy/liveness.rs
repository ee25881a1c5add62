//! Evidence about runners, and the state that follows from it.
//!
//! Evidence is collected for a group of runners that share a work directory, so activity in the shared directory counts for each of them.
//! Unknown protects: a lease that cannot be read, a Worker that cannot be attributed, or a host that cannot be seen whole makes a runner
//! [`Liveness::Unknown`], which is treated as busy.

use super::shared_work_dirs;
use crate::model::{
    Attribution, Evidence, EvidenceKind, HeldBy, Holder, HostFacts, JobReceived, LeaseSeen, LeaseState,
    ListenerSeen, Liveness, LockKind, LockState, ProcessId, Runner, RunnerFacts, Uid, Visibility, Weight,
    Work, WorkerSeen, strongest,
};
use std::path::Component;
use std::time::{Duration, SystemTime};

/// A line's time has whole seconds.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// The processes that do not count: the hook's own job, seen from inside.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exempt<'a> {
    /// The hook, its ancestors up to the Worker, and the Listener above. They are identified by pid and start time, because a pid can be
    /// reused, and never by directory: any other process in the hook's work directory is a stranger.
    pub lineage: &'a [ProcessId],
}

impl Exempt<'_> {
    fn covers(&self, process: ProcessId) -> bool {
        self.lineage.contains(&process)
    }
}

/// What is known about each runner, in the order of `facts.runners`, and then about each cache of `facts.declared`.
pub fn evidence(facts: &HostFacts, exempt: Exempt<'_>) -> Vec<Vec<Evidence>> {
    let runners: Vec<&Runner> = facts.runners.iter().map(|runner| &runner.runner).collect();
    let groups = shared_work_dirs::groups(&runners);
    let members = shared_work_dirs::members(&groups);
    let host = about_the_host(facts);
    let own: Vec<Vec<Evidence>> = (0..runners.len()).map(|index| about_one(facts, index, exempt)).collect();
    let of_group = |members: &[usize]| {
        in_order(members.iter().flat_map(|index| own[*index].iter().cloned()).chain(host.iter().cloned()))
    };
    let of_groups: Vec<_> = members.iter().map(|members| of_group(members)).collect();
    let mut all: Vec<_> = groups.iter().map(|group| of_groups[*group].clone()).collect();
    for (index, declared) in facts.declared.iter().enumerate() {
        let users = declared.users.iter().map(|user| (runners[*user].name.as_str(), all[*user].as_slice()));
        let of_declared = of_declared(facts, index, users, exempt);
        all.push(of_declared);
    }
    all
}

/// What is known about one cache outside of work directories. `of_users` is the evidence of each runner that may use it: activity of any
/// of them protects it.
pub fn of_declared<'e>(
    facts: &HostFacts,
    index: usize,
    of_users: impl Iterator<Item = (&'e str, &'e [Evidence])>,
    exempt: Exempt<'_>,
) -> Vec<Evidence> {
    let declared = &facts.declared[index];
    let (cache, place) = (declared.cache(), facts.runners.len() + index);
    let mut found = about_the_host(facts);
    for (name, evidence) in of_users {
        // A mount of the host in a runner's own work directory does not concern other runners.
        let counts = |e: &&Evidence| e.kind != EvidenceKind::MountInside || e.weight != Weight::Forbids;
        let counting: Vec<Evidence> = evidence.iter().filter(counts).cloned().collect();
        if let Some(first) = strongest(&counting) {
            let detail = format!("{name} may use it: {}", first.detail);
            found.push(Evidence { detail, within: None, ..first.clone() });
        }
    }
    let holders = facts.processes.holders.iter().filter(|holder| holder.runner == place);
    for holder in holders.filter(|holder| !exempt.covers(holder.process)) {
        let detail = format!("pid {} ({}) uses it: {}", holder.process.pid, holder.comm, holder.how);
        found.push(Evidence::within(EvidenceKind::ProcessInside, Weight::InUse, cache.path.clone(), detail));
    }
    mounts(facts, place, &mut found);
    locks(&declared.stand_in, &mut found);
    for unlocated in facts.processes.unlocated.iter().filter(|unlocated| unlocated.runner == place) {
        found.push(Evidence::new(EvidenceKind::Visibility, Weight::CannotTell, unlocated.reason.clone()));
    }
    if let Some(reason) = &declared.stand_in.other_hosts {
        found.push(Evidence::new(EvidenceKind::Visibility, Weight::CannotTell, reason.clone()));
    }
    in_order(found.into_iter())
}

/// What is known about the host and about the runners of one group: for each of them the same as [`evidence`].
pub fn of_group(facts: &HostFacts, members: &[usize], exempt: Exempt<'_>) -> Vec<Evidence> {
    let own = members.iter().flat_map(|index| about_one(facts, *index, exempt));
    in_order(own.chain(about_the_host(facts)))
}

fn in_order(evidence: impl Iterator<Item = Evidence>) -> Vec<Evidence> {
    let mut all: Vec<Evidence> = evidence.collect();
    all.sort_by(|a, b| (a.kind, &a.within, &a.detail).cmp(&(b.kind, &b.within, &b.detail)));
    all.dedup();
    all
}

/// The state that follows from a runner's evidence. Only activity counts: recent content and a missing hook forbid a claim although no job
/// runs.
pub fn judge(evidence: &[Evidence]) -> Liveness {
    if evidence.iter().any(|e| e.weight == Weight::InUse) {
        Liveness::Busy
    } else if evidence.iter().any(|e| e.weight == Weight::CannotTell) {
        Liveness::Unknown
    } else {
        Liveness::Idle
    }
}

fn about_the_host(facts: &HostFacts) -> Vec<Evidence> {
    let mut found = Vec::new();
    if let Visibility::Partial(reasons) = &facts.processes.visibility {
        found.extend(
            reasons.iter().map(|r| Evidence::new(EvidenceKind::Visibility, Weight::CannotTell, r.clone())),
        );
    }
    found
}

/// The Workers that cannot be attributed to a runner, and why.
fn unattributed<'f>(
    facts: &'f HostFacts,
    exempt: Exempt<'f>,
) -> impl Iterator<Item = (&'f WorkerSeen, &'f str)> {
    let workers = facts.processes.workers.iter().filter(move |worker| !exempt.covers(worker.process));
    workers.filter_map(|worker| match &worker.attribution {
        Attribution::Unattributed(reason) => Some((worker, reason.as_str())),
        Attribution::Runner(_) | Attribution::Elsewhere(_) => None,
    })
}

/// Whether a lease of the Worker's own user says which runner the Worker belongs to. Such a lease proves that the Worker does not work for
/// runners of other users. It proves nothing among that user's own runners: any of the user's jobs could have written it, to make another
/// of these runners look idle.
fn is_vouched_for(facts: &HostFacts, worker: &WorkerSeen) -> bool {
    facts.leases.iter().any(|seen| {
        seen.state == LeaseState::Live
            && seen.owner == worker.owner
            && seen.lease.as_ref().is_some_and(|lease| lease.worker == worker.process)
    })
}

/// Whether an unattributed Worker cannot be at work in this runner's directory: it runs as a user that owns no runner, has no runner's
/// group, is not inside this work directory and cannot write it. Such a process is evidence of nothing about this runner.
fn is_bystander(facts: &HostFacts, index: usize, worker: &WorkerSeen) -> bool {
    let owns = |runner: &Runner| {
        runner.owner == worker.owner || runner.work_dir().is_some_and(|work| work.owner == worker.owner)
    };
    let reach = &worker.reach;
    worker.owner != Uid::ROOT
        && reach.is_whole
        && !reach.runners.contains(&index)
        && !reach.is_member
        && !facts.runners.iter().any(|runner| owns(&runner.runner))
}

/// Workers that cannot be attributed, as evidence about one runner. If the process or its user shows that it could be at work in this
/// runner's work directory, the evidence names that directory.
fn strangers(facts: &HostFacts, index: usize, exempt: Exempt<'_>, found: &mut Vec<Evidence>) {
    let runner = &facts.runners[index].runner;
    for (worker, reason) in
        unattributed(facts, exempt).filter(|(worker, _)| !is_bystander(facts, index, worker))
    {
        let is_vouched_for = is_vouched_for(facts, worker);
        let could_be_here = worker.owner == Uid::ROOT
            || worker.reach.runners.contains(&index)
            || runner.work_dir().is_some_and(|work| work.owner == worker.owner);
        let is_near = worker.owner == runner.owner || (could_be_here && !is_vouched_for);
        if is_near || !is_vouched_for {
            let detail =
                format!("Runner.Worker pid {} of uid {}: {reason}", worker.process.pid, worker.owner);
            let evidence = Evidence::new(EvidenceKind::UnattributedWorker, Weight::CannotTell, detail);
            found.push(Evidence { within: is_near.then(|| runner.work_path().to_owned()), ..evidence });
        }
    }
}

fn about_one(facts: &HostFacts, index: usize, exempt: Exempt<'_>) -> Vec<Evidence> {
    let runner = &facts.runners[index];
    let mut found = Vec::new();
    workers(facts, index, exempt, &mut found);
    strangers(facts, index, exempt, &mut found);
    leases(facts, &runner.runner, exempt, &mut found);
    holders(facts, index, exempt, &mut found);
    mounts(facts, index, &mut found);
    received(facts, index, exempt, &mut found);
    locks(runner, &mut found);
    for unlocated in facts.processes.unlocated.iter().filter(|unlocated| unlocated.runner == index) {
        found.push(Evidence::new(EvidenceKind::Visibility, Weight::CannotTell, unlocated.reason.clone()));
    }
    if let Work::Unusable { reason, .. } = &runner.runner.work {
        found.push(Evidence::new(EvidenceKind::Visibility, Weight::CannotTell, reason.clone()));
    }
    if let Some(reason) = &runner.other_hosts {
        found.push(Evidence::new(EvidenceKind::Visibility, Weight::CannotTell, reason.clone()));
    }
    if let crate::model::Guarded::No(reason) = &runner.guarded {
        found.push(Evidence::new(EvidenceKind::Unguarded, Weight::Forbids, reason.clone()));
    }
    found
}

fn workers(facts: &HostFacts, index: usize, exempt: Exempt<'_>, found: &mut Vec<Evidence>) {
    let mine =
        facts.processes.workers.iter().filter(|worker| worker.attribution == Attribution::Runner(index));
    for worker in mine.filter(|worker| !exempt.covers(worker.process)) {
        let detail =
            format!("Runner.Worker pid {} of {}", worker.process.pid, facts.runners[index].runner.name);
        found.push(Evidence::new(EvidenceKind::WorkerProcess, Weight::InUse, detail));
    }
}

fn leases(facts: &HostFacts, runner: &Runner, exempt: Exempt<'_>, found: &mut Vec<Evidence>) {
    for seen in facts.leases.iter().filter(|seen| speaks_of(seen, runner)) {
        match (&seen.state, &seen.lease) {
            (LeaseState::Live, Some(lease)) if !exempt.covers(lease.worker) => {
                let detail = format!(
                    "job {} of {}, Worker pid {}",
                    lease.job.job, lease.job.repository, lease.worker.pid
                );
                found.push(Evidence::new(EvidenceKind::Lease, Weight::InUse, detail));
            }
            (LeaseState::CannotTell(reason), _) => {
                let detail = format!("lease {} of uid {}: {reason}", seen.file, seen.owner);
                found.push(Evidence::new(EvidenceKind::Lease, Weight::CannotTell, detail));
            }
            _ => {}
        }
    }
}

/// Whether a lease concerns this runner. A lease that cannot be read concerns the runner in its file name; without such a name it concerns
/// every runner that its writer owns.
fn speaks_of(seen: &LeaseSeen, runner: &Runner) -> bool {
    let work = seen.lease.as_ref().and_then(|lease| lease.work_id);
    match seen.root {
        Some(root) => {
            root == runner.root_id || (work.is_some() && work == runner.work_dir().map(|dir| dir.id))
        }
        // A runner root owned by root usually has a work directory of another user.
        None => {
            let owns_work = runner.work_dir().is_some_and(|work| work.owner == seen.owner);
            seen.owner == Uid::ROOT || seen.owner == runner.owner || (runner.owner == Uid::ROOT && owns_work)
        }
    }
}

/// Whether it is the runner's own Listener, in the work directory itself or among the runner's own files there, as packages install it: a
/// Listener waits for jobs and does not work on one.
fn is_waiting(facts: &HostFacts, holder: &Holder) -> bool {
    let work = facts.runners[holder.runner].runner.work_path();
    let is_listener = |seen: &ListenerSeen| (seen.process, seen.runner) == (holder.process, holder.runner);
    let below = holder.path.strip_prefix(work).ok().map(|below| below.components().next());
    let is_runners = |first: Component<'_>| first.as_os_str().as_encoded_bytes().starts_with(b"_");
    below.is_some_and(|first| first.is_none_or(is_runners))
        && facts.processes.listeners.iter().any(is_listener)
}

fn holders(facts: &HostFacts, index: usize, exempt: Exempt<'_>, found: &mut Vec<Evidence>) {
    let mine = facts.processes.holders.iter().filter(|holder| holder.runner == index);
    let is_own =
        |holder: &Holder| exempt.covers(holder.process) || holder.under.is_some_and(|w| exempt.covers(w));
    for holder in mine.filter(|holder| !is_own(holder) && !is_waiting(facts, holder)) {
        let path = holder.path.display();
        let what = match holder.how {
            HeldBy::Cwd => format!("works in {path}"),
            HeldBy::Root => format!("is chrooted to {path}"),
            HeldBy::Executable => format!("runs {path}"),
            HeldBy::Mapping => format!("maps {path}"),
            HeldBy::OpenFile => format!("has {path} open"),
        };
        let detail = format!("pid {} ({}) {what}", holder.process.pid, holder.comm);
        // A path of another mount namespace, or one without a name, may be anywhere in the work directory.
        let within =
            Some(&holder.path).filter(|path| path.starts_with(facts.runners[index].runner.work_path()));
        let evidence = Evidence::new(EvidenceKind::ProcessInside, Weight::InUse, detail);
        found.push(Evidence { within: within.cloned(), ..evidence });
    }
}

fn mounts(facts: &HostFacts, index: usize, found: &mut Vec<Evidence>) {
    for mount in facts.processes.mounts.iter().filter(|mount| mount.runner == index) {
        if mount.is_of_host {
            let (inside, point) = (mount.inside.display(), mount.mount_point.display());
            let detail = match mount.inside == mount.mount_point {
                true => format!("{point} is a mount of the host itself: its content is kept"),
                false => format!("the host has {inside} mounted at {point}: it is kept"),
            };
            let inside = mount.inside.clone();
            found.push(Evidence::within(EvidenceKind::MountInside, Weight::Forbids, inside, detail));
            continue;
        }
        let detail = format!(
            "{} is mounted at {} for pid {} ({})",
            mount.inside.display(),
            mount.mount_point.display(),
            mount.process.pid,
            mount.comm
        );
        found.push(Evidence::within(EvidenceKind::MountInside, Weight::InUse, mount.inside.clone(), detail));
    }
}

fn received(facts: &HostFacts, index: usize, exempt: Exempt<'_>, found: &mut Vec<Evidence>) {
    let (detail, at, written) = match &facts.runners[index].received {
        JobReceived::No => return,
        JobReceived::Pending { detail, at, written } => (detail, *at, *written),
        JobReceived::CannotTell(reason) => {
            found.push(Evidence::new(EvidenceKind::JobReceived, Weight::CannotTell, reason.clone()));
            return;
        }
    };
    let listeners = || facts.processes.listeners.iter().filter(|listener| listener.runner == index);
    // The hook's own job is the one that its own Listener received; the job of another Listener is a different one.
    let others = || listeners().filter(|listener| !exempt.covers(listener.process));
    let mut tell =
        |weight, detail: String| found.push(Evidence::new(EvidenceKind::JobReceived, weight, detail));
    if others().any(|listener| heard_of(listener, at, written) == Heard::Yes) {
        tell(Weight::InUse, detail.clone());
    } else if others().any(|listener| heard_of(listener, at, written) == Heard::CannotTell) {
        tell(Weight::CannotTell, format!("{detail} (whether before its Listener was started is unknown)"));
    } else if listeners().any(|listener| exempt.covers(listener.process)) {
        // It is our own.
    } else if facts.runners[index].other_hosts.is_some() {
        tell(Weight::InUse, format!("{detail} (the Listener may run on another host)"));
    } else if facts.processes.visibility != Visibility::Complete {
        // A dead Listener starts no Worker any more; whether it is dead is only known when all processes are visible.
        tell(Weight::CannotTell, detail.clone());
    }
}

/// Whether a Listener knows of the job that a line of its runner's log reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Yes,
    No,
    /// The times cannot be put in order.
    CannotTell,
}

/// A Listener that was started after the line was written, and after its log was last modified, never received that job. A line older than
/// the Listener in a log that is newer was written before a clock change.
fn heard_of(listener: &ListenerSeen, at: Option<SystemTime>, written: Option<SystemTime>) -> Heard {
    match (at, written) {
        (Some(at), _) if listener.started <= at + CLOCK_SLACK => Heard::Yes,
        (Some(_), Some(written)) if listener.is_ordered && listener.started > written => Heard::No,
        (Some(_), _) => Heard::CannotTell,
        (None, _) => Heard::Yes,
    }
}

fn locks(runner: &RunnerFacts, found: &mut Vec<Evidence>) {
    for lock in &runner.locks {
        let (kind, who) = match lock.kind {
            LockKind::Build => (EvidenceKind::BuildLock, "a build holds"),
            LockKind::Directory => (EvidenceKind::DirectoryLock, "a process holds a flock on"),
        };
        let (weight, detail) = match &lock.state {
            LockState::Held => (Weight::InUse, format!("{who} {}", lock.file.display())),
            LockState::CannotTell(reason) => {
                (Weight::CannotTell, format!("{} cannot be tried: {reason}", lock.file.display()))
            }
        };
        found.push(Evidence::within(kind, weight, lock.cache.clone(), detail));
    }
}

#[cfg(test)]
mod tests;
