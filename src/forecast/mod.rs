//! How much room live jobs need: what their leases reserve, minus what they hold now.
//!
//! A started-hook expects its job to write as much as its earlier runs ([`crate::footprints`]) and records that in its lease. A run that
//! makes room reads all leases and measures what their jobs hold ([`survey`]). A hook can only measure what its user may read; for the rest
//! it uses the measurements of the last sweep ([`Summary`]). `policy::forecast` decides what follows from that.
//!
//! On a disk with room for the largest jobs of all its runners a hook reads two small files and no lease ([`is_roomy`]).
//!
//! # Trust
//!
//! A lease counts if it belongs to its runner's owner or to root, once for each runner, and for at most [`policy::most_of_one`] bytes. A
//! forged lease makes room for the forger's own runner at the cost of idle caches, as a job could by filling the disk. A lease that claims
//! more is reported. Unreadable data counts as unknown.

mod summary;

pub use summary::Summary;

use crate::config::Config;
use crate::footprints::Footprints;
use crate::lease::{self, LeaseView};
use crate::model::{
    Basis, Cache, DiskForecast, FilesystemId, Job, JobForecast, Lease, LeaseSeen, LeaseState, Reservation,
    Room, Runner, Uid, Usage,
};
use crate::observe::caches::open_work;
use crate::observe::measure::{self, measure};
use crate::observe::snapshot::Snapshot;
use crate::policy::forecast as policy;
use crate::policy::forecast::{Estimate, Known};
use crate::run_dir::RunDir;
use crate::sys::dir::Dir;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Instant, SystemTime};
use summary::{MAX_LIVE, MAX_OTHERS};

/// Beyond what the largest jobs of all runners would take: the last sweep may have missed a larger one.
const MARGIN: u64 = 4;

/// The estimate for a hook's own job; none if no job of this host is recorded yet.
pub fn expect(
    config: &Config,
    own: &Footprints,
    summary: Option<&Summary>,
    job: &Job,
    directory: Option<&Path>,
) -> Option<Reservation> {
    let others = summary.map(|summary| floats(&summary.others)).unwrap_or_default();
    let runs = floats(own.runs(job));
    if runs.is_empty() && own.all().next().is_none() && others.is_empty() {
        return None;
    }
    let share = directory
        .and_then(Path::to_str)
        .and_then(|directory| summary?.shares.get(directory))
        .map(|bytes| *bytes as f64);
    let known = Known {
        own: &runs,
        largest_share: share,
        others: &others,
        unknown: config.forecast.unknown as f64,
        warm: 0.0,
    };
    let (estimate, basis) = policy::footprint(&known);
    Some(Reservation {
        bytes: policy::whole(estimate.mean),
        deviation: policy::whole(estimate.variance.sqrt()),
        basis,
        directory: directory.map(Path::to_owned),
    })
}

/// The estimate for a job without history.
pub fn unknown(config: &Config) -> Reservation {
    let bytes = config.forecast.unknown;
    Reservation { bytes, deviation: bytes / 2, basis: Basis::Unknown, directory: None }
}

fn floats(bytes: &[u64]) -> Vec<f64> {
    bytes.iter().map(|bytes| *bytes as f64).collect()
}

/// Whether so much is available that no look at other jobs is needed.
pub fn is_roomy(
    config: &Config,
    own: &Reservation,
    summary: Option<&Summary>,
    filesystem: FilesystemId,
    usage: &Usage,
) -> bool {
    let Some(summary) = summary else { return false };
    let most_guessed = policy::most_guessed(usage, &config.watermarks);
    let own = policy::room([(Estimate::from(own), own.basis)], most_guessed).need;
    let worst = summary.worst(filesystem);
    let worst = worst.saturating_add(worst / MARGIN).saturating_add(most_guessed);
    usage.available_bytes >= own.saturating_add(worst)
}

/// The inputs.
#[derive(Clone, Copy)]
pub struct ForecastInput<'a> {
    /// The runners and the mounts.
    pub snapshot: &'a Snapshot<'a>,
    /// The shared directory.
    pub run: &'a RunDir,
    /// How leases are judged.
    pub view: LeaseView<'a>,
    /// When to stop measuring.
    pub deadline: Instant,
}

/// The forecast of the host.
#[derive(Debug, Default)]
pub struct HostForecast {
    /// One for each filesystem with work directories; none where the forecast is switched off.
    pub disks: Vec<DiskForecast>,
    /// The present sizes of live jobs, by their leases.
    live: BTreeMap<String, u64>,
}

impl HostForecast {
    /// The space that has to be available, by filesystem.
    pub fn rooms(&self) -> Vec<(FilesystemId, Room)> {
        self.disks.iter().map(|disk| (disk.filesystem.id, disk.room)).collect()
    }

    /// The disk on which a runner works.
    pub fn disk_of(&self, work: &Dir, snapshot: &Snapshot<'_>) -> Option<&DiskForecast> {
        let id = snapshot.mounts.pool_of(work, &work.status().ok()?);
        self.disks.iter().find(|disk| disk.filesystem.id == id)
    }
}

/// Looks at the jobs of all runners.
pub fn survey(look: &ForecastInput<'_>) -> HostForecast {
    let (config, mounts) = (look.snapshot.config, &look.snapshot.mounts);
    let mut survey = HostForecast::default();
    if !config.forecast.enabled {
        return survey;
    }
    let summary = Summary::of(look.run).unwrap_or_default();
    let mut at: HashMap<FilesystemId, usize> = HashMap::new();
    let mut left: Vec<Vec<(Estimate, Basis)>> = Vec::new();
    for runner in look.snapshot.runners() {
        let Some(work) = runner.work_dir() else { continue };
        let Ok(filesystem) = open_work(work).and_then(|dir| mounts.filesystem_of(&dir)) else {
            continue;
        };
        at.entry(filesystem.id).or_insert_with(|| {
            survey.disks.push(DiskForecast {
                filesystem,
                room: Room::default(),
                jobs: Vec::new(),
                trend: None,
            });
            left.push(Vec::new());
            survey.disks.len() - 1
        });
    }
    for (runner, seen, lease) in live(look) {
        let Some(work) = runner.work_dir() else { continue };
        let Ok(dir) = open_work(work) else { continue };
        let pool = |status| mounts.pool_of(&dir, &status);
        let Some(index) = dir.status().ok().and_then(|status| at.get(&pool(status)).copied()) else {
            continue;
        };
        let disk = &mut survey.disks[index];
        let sampled = summary.live.get(&seen.file).copied().unwrap_or(0);
        let directory = lease.reserved.as_ref().and_then(|reserved| reserved.directory.as_deref());
        let held = directory.map_or(0, |below| held(&dir, below, look.deadline).max(sampled));
        let most = policy::most_of_one(&disk.filesystem.usage, summary.largest);
        let (job, unused) = job(config, runner, lease, held, most);
        if survey.live.len() < MAX_LIVE {
            survey.live.insert(seen.file.clone(), held);
        }
        left[index].push(unused);
        disk.jobs.push(job);
    }
    for (disk, left) in survey.disks.iter_mut().zip(left) {
        let most_guessed = policy::most_guessed(&disk.filesystem.usage, &config.watermarks);
        disk.room = policy::room(left, most_guessed);
        disk.jobs.sort_by(|a, b| {
            (b.expected_bytes, &a.runner, &a.job.run_id).cmp(&(a.expected_bytes, &b.runner, &b.job.run_id))
        });
    }
    survey
}

/// The leases that count: one of each runner, the latest.
fn live<'r>(look: &ForecastInput<'r>) -> Vec<(&'r Runner, LeaseSeen, Lease)> {
    let runners = look.snapshot.runners();
    let mut found: HashMap<usize, (LeaseSeen, Lease)> = HashMap::new();
    for seen in lease::read_all(look.run, look.view).unwrap_or_default() {
        if seen.state == LeaseState::Dead {
            continue;
        }
        let Some(lease) = seen.lease.clone() else { continue };
        let of = |runner: &Runner| {
            let works_there = runner.work_dir().is_some_and(|work| work.owner == seen.owner);
            runner.root_id == lease.root_id
                && (seen.owner == runner.owner || works_there || seen.owner == Uid::ROOT)
        };
        let Some(index) = runners.iter().position(of) else { continue };
        if found.get(&index).is_none_or(|(_, known)| known.since < lease.since) {
            found.insert(index, (seen, lease));
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(index, (seen, lease))| (&runners[index], seen, lease)).collect()
}

/// The size of a directory in a work directory. If time runs out or something cannot be read, it is a lower bound.
fn held(work: &Dir, below: &Path, deadline: Instant) -> u64 {
    let options = measure::MeasureOptions { threads: 2, largest: 0, deadline: Some(deadline) };
    let scan = work.descend(below).and_then(|dir| measure(&dir, &options));
    scan.map_or(0, |scan| scan.measure.bytes)
}

fn job(
    config: &Config,
    runner: &Runner,
    lease: Lease,
    held: u64,
    most: u64,
) -> (JobForecast, (Estimate, Basis)) {
    let reserved = lease.reserved.unwrap_or_else(|| unknown(config));
    let believed = Reservation {
        bytes: reserved.bytes.min(most),
        // A claim of more than that is held free as it is, without a margin.
        deviation: reserved.deviation.min(most / 2).min(most.saturating_sub(reserved.bytes)),
        ..reserved.clone()
    };
    let left = Estimate::from(&believed).less(held as f64);
    let forecast = JobForecast {
        runner: runner.name.clone(),
        job: lease.job,
        reserved_bytes: believed.bytes,
        realised_bytes: held,
        expected_bytes: policy::whole(left.mean),
        basis: believed.basis,
        claimed_bytes: (reserved.bytes > most && reserved.basis != Basis::Unknown).then_some(reserved.bytes),
    };
    (forecast, (left, believed.basis))
}

/// Writes this sweep's measurements for hooks. Returns notes about runners' records that are not trusted.
///
/// # Errors
/// When the summary cannot be written: hooks know nothing of others then.
pub fn summarise<'c>(
    look: &ForecastInput<'_>,
    survey: &HostForecast,
    caches: impl Iterator<Item = (&'c Runner, &'c Cache)>,
) -> std::io::Result<Vec<String>> {
    let before = Summary::of(look.run).unwrap_or_default();
    let mut summary = Summary::new();
    summary.largest = before.largest;
    let mut shares: HashMap<(&Path, String), u64> = HashMap::new();
    for (runner, cache) in caches.filter(|(_, cache)| cache.base.is_none()) {
        if let Some(directory) = cache.repository_dir().to_str() {
            let share = shares.entry((&runner.root, directory.to_owned())).or_default();
            *share = share.saturating_add(cache.bytes());
        }
    }
    shares.iter().for_each(|((_, directory), bytes)| summary.add_share(directory, *bytes));
    survey.live.values().for_each(|bytes| summary.largest = summary.largest.max(*bytes));
    summary.live.clone_from(&survey.live);
    let mut notes = Vec::new();
    for runner in look.snapshot.runners() {
        let Some(work) = runner.work_dir() else { continue };
        let Ok(dir) = open_work(work) else { continue };
        let (Ok(status), Ok(usage)) = (dir.status(), dir.usage()) else { continue };
        let footprints = Footprints::of(&dir, look.view.now);
        notes.extend(told(runner, &footprints));
        let most = policy::most_of_one(&usage, summary.largest);
        let bound = |runs: &[u64]| policy::whole(policy::from_runs(&floats(runs)).bound()).min(most);
        summary.add_worst(
            look.snapshot.mounts.pool_of(&dir, &status),
            footprints.all().map(bound).max().unwrap_or(0),
        );
        let latest = footprints.all().filter_map(|runs| runs.last()).map(|bytes| (*bytes).min(most));
        let free = MAX_OTHERS.saturating_sub(summary.others.len());
        // A runner with many jobs takes at most a quarter of the list.
        summary.others.extend(latest.take(free.min(MAX_OTHERS / 4)));
    }
    for job in survey.disks.iter().flat_map(|disk| &disk.jobs) {
        notes.extend(job.claimed_bytes.map(|claimed| overclaimed(job, claimed)));
    }
    summary.publish(look.run)?;
    Ok(notes)
}

/// The note about a runner's footprints that are not trusted.
pub fn told(runner: &Runner, footprints: &Footprints) -> Option<String> {
    let fault = footprints.fault.as_ref()?;
    let path = Footprints::path(runner.work_path());
    Some(format!(
        "{}: the history of its jobs is rejected: {}: {fault}; the next job's end starts a new one",
        runner.name,
        path.display()
    ))
}

/// The note about a lease that claims more than one job may.
pub fn overclaimed(job: &JobForecast, claimed: u64) -> String {
    format!(
        "{}: its job declares a need of {} MiB, more than is accepted for one job; {} MiB are held free for it",
        job.runner,
        claimed >> 20,
        job.reserved_bytes >> 20
    )
}

/// A job has ended on the runner of this work directory: remembers what it took. `directory` is below the work directory.
///
/// # Errors
/// The system's error; a full disk among it.
pub fn learn(
    work: &Dir,
    directory: &Path,
    job: &Job,
    sampled: u64,
    (now, deadline): (SystemTime, Instant),
) -> std::io::Result<()> {
    let options = measure::MeasureOptions { threads: 2, largest: 0, deadline: Some(deadline) };
    let scan = measure(&work.descend(directory)?, &options)?;
    let usage = work.usage()?;
    let mut known = Footprints::of(work, now);
    let took = scan.measure.bytes.max(sampled);
    let before = known.runs(job).iter().copied().max().unwrap_or(0);
    // A measurement that was cut short by a full disk or the time limit is less than the job's real size.
    let is_whole =
        scan.measure.coverage == crate::model::Coverage::Whole && usage.available_bytes > took / 20;
    if is_whole || took > before {
        known.learn(job, took, now);
        known.keep(work)?;
    }
    Ok(())
}
