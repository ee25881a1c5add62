//! The host at a glance, as `status`, its page and its metrics show it.

use super::{forecast, whole_recalled};
use crate::capacity;
use crate::clock::now;
use crate::config::Config;
use crate::cycle::holding;
use crate::cycle::{Preview, StaleUnits};
use crate::dedupe::record as dedupe_record;
use crate::model::reap::ReapRecord;
use crate::model::{
    Action, Coverage, Decision, DeclaredFacts, DeclaredStatus, FileId, Filesystem, FilesystemStatus,
    HostStatus, JobView, KeepReason, LeaseState, LockView, OutOfService, Remark, RootMatches, RuleStatus,
    RunnerStatus, SpaceHolder,
};
use crate::observe::caches::open_work;
use crate::observe::host_lock;
use crate::observe::measure::{self, measure};
use crate::observe::runners::ROOTS_CLOSED;
use crate::observe::snapshot::Snapshot;
use crate::policy::{liveness, pressure};
use crate::reap::record as reap_record;
use crate::reclaim::trash::Trash;
use crate::run_dir::RunDir;
use crate::setup::drain::{By, Drained};
use crate::setup::state::{RecordKind, StateDir};
use crate::stores::record;
use crate::sys::process::Proc;
use crate::text::words;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

/// Whether to look for what uses the space of a disk whose goal is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HolderSearch {
    Asked,
    Unasked,
}

/// Observes the host; with `stale` also some of its cargo targets.
pub(crate) fn collect(snapshot: &Snapshot<'_>, holders: HolderSearch, stale: StaleUnits) -> HostStatus {
    let (config, proc) = (snapshot.config, snapshot.proc);
    let engines = capacity::ask_engines(&config.paths.programs);
    let patience = if holders == HolderSearch::Asked { forecast::PATIENCE } else { Duration::from_secs(1) };
    let (preview, run, survey) = whole_recalled(snapshot, patience, stale);
    let lock = run.as_ref().map(|run| lock_view(proc, run)).unwrap_or_default();
    let trash_bytes = trash_bytes(&preview);
    let filesystems = judged(config, &preview.facts.filesystems);
    let shown: HashSet<_> = filesystems.iter().map(|fs| fs.filesystem.mount.clone()).collect();
    let drained = drained(config);
    let one = |index| runner(config, &preview, &drained, index);
    let runners = (0..preview.facts.runners.len()).map(one).collect();
    let mut notes = preview.facts.notes.clone();
    notes.extend(preview.facts.remarks.iter().map(Remark::as_note));
    notes.extend(floors_out_of_reach(&preview, config));
    let declared = declared(config, &preview);
    notes.extend(sum_of_declared(&declared));
    notes.extend(remembered(&preview));
    let capacity = capacity::examine(proc, engines, &preview.facts, &filesystems);
    let visibility = preview.facts.processes.visibility.clone();
    let root_matches = preview.root_matches.iter().cloned();
    let root_matches = root_matches.map(|(pattern, runners)| RootMatches { pattern, runners }).collect();
    HostStatus {
        capacity,
        host: crate::observe::inventory::host_name(),
        time: now(),
        visibility,
        lock,
        trash_bytes,
        other_disks: snapshot
            .mounts
            .disks()
            .into_iter()
            .filter(|disk| !shown.contains(&disk.mount))
            .collect(),
        filesystems,
        runners,
        declared,
        forecasts: survey.disks,
        targets: preview.plan.targets.clone(),
        reap: last_reaping(config),
        stores: record::last(config),
        dedupe: dedupe_record::last(config),
        notes,
        rules: rules(config),
        roots_are_built_in: config.runners.are_built_in,
        are_roots_closed: snapshot.found.remarks.iter().any(|remark| remark.id == ROOTS_CLOSED),
        root_matches,
        holding: match holders {
            HolderSearch::Asked => held(snapshot, preview),
            HolderSearch::Unasked => Vec::new(),
        },
    }
}

fn held(snapshot: &Snapshot<'_>, preview: Preview) -> Vec<SpaceHolder> {
    holding::holding(snapshot, &preview.report(), holding::PATIENCE)
}

/// The result of the reaper's last run.
pub(crate) fn last_reaping(config: &Config) -> Option<ReapRecord> {
    let state = StateDir::at(&config.paths.state_dir);
    let bytes = state.read_file(reap_record::DIRECTORY, reap_record::FILE, reap_record::MAX_BYTES).ok()??;
    let mut found = reap_record::parse(&bytes)?;
    found.entries.retain(|entry| config.reaps.iter().any(|rule| rule.name == entry.name));
    (!found.entries.is_empty()).then_some(found)
}

/// The filesystems against the configured watermarks.
pub(crate) fn judged(config: &Config, filesystems: &[Filesystem]) -> Vec<FilesystemStatus> {
    let marks = &config.watermarks;
    let status = |filesystem: &Filesystem| FilesystemStatus {
        level: pressure::level(&filesystem.usage, marks),
        filesystem: filesystem.clone(),
    };
    filesystems.iter().map(status).collect()
}

/// The runners that are out of service, by their roots; none where this process cannot read that.
fn drained(config: &Config) -> HashMap<String, OutOfService> {
    let state = StateDir::at(&config.paths.state_dir);
    let records: Vec<Drained> = state.load_all(RecordKind::Drained).unwrap_or_default();
    let since = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let of = |record: Drained| {
        let since = since(record.since_unix).unwrap_or(SystemTime::UNIX_EPOCH);
        (record.root, OutOfService { by_hand: record.by == By::Hand, since })
    };
    records.into_iter().map(of).collect()
}

fn runner(
    config: &Config,
    preview: &Preview,
    drained: &HashMap<String, OutOfService>,
    index: usize,
) -> RunnerStatus {
    let facts = &preview.facts.runners[index];
    let actions: Vec<&Action> =
        preview.plan.actions.iter().filter(|action| action.runner.root_id == facts.runner.root_id).collect();
    let sum = |wanted: fn(&Decision) -> bool| -> u64 {
        actions.iter().filter(|action| wanted(&action.decision)).map(|action| action.cache.bytes()).sum()
    };
    RunnerStatus {
        runner: facts.runner.clone(),
        state: liveness::judge(&preview.evidence[index]),
        guarded: facts.guarded.clone(),
        drained: drained.get(facts.runner.root.to_string_lossy().as_ref()).copied(),
        evidence: preview.objections(index, facts.caches.iter(), config),
        job: job(preview, index),
        caches: facts.caches.clone(),
        reclaimable_bytes: sum(may_go),
        blocked_bytes: sum(|decision| {
            matches!(
                decision,
                Decision::Keep(
                    KeepReason::Protected(_) | KeepReason::SiblingsOff | KeepReason::ForeignOwner(_)
                )
            )
        }),
    }
}

fn job(preview: &Preview, index: usize) -> Option<JobView> {
    let root: FileId = preview.facts.runners[index].runner.root_id;
    let live =
        preview.facts.leases.iter().filter(|seen| seen.state == LeaseState::Live && seen.root == Some(root));
    let lease = live.filter_map(|seen| seen.lease.as_ref()).max_by_key(|lease| lease.since)?;
    Some(JobView { job: lease.job.clone(), since: lease.since })
}

fn lock_view(proc: &Proc, run: &RunDir) -> LockView {
    run.lock_id().map(|id| host_lock::holders(proc, id)).unwrap_or_default()
}

/// Bytes in the trash of all work directories, each counted once.
fn trash_bytes(preview: &Preview) -> u64 {
    let mut seen = HashSet::new();
    let declared = preview.facts.declared.iter().map(|declared| &declared.stand_in);
    let works = preview.facts.runners.iter().chain(declared).filter_map(|facts| facts.runner.work_dir());
    let options = measure::MeasureOptions { threads: 2, largest: 0, deadline: None };
    works
        .filter(|work| seen.insert(work.id))
        .filter_map(|work| Trash::open(&open_work(work).ok()?, work.owner).ok()?)
        .filter_map(|trash| measure(trash.dir(), &options).ok())
        // Empty directories of the guard are not worth a line.
        .map(|scan| if scan.measure.files == 0 { 0 } else { scan.measure.bytes })
        .sum()
}

fn rules(config: &Config) -> Vec<RuleStatus> {
    let enabled = config.caches.iter().map(|rule| RuleStatus { name: rule.name.clone(), is_enabled: true });
    let off = config.switched_off.iter().map(|name| RuleStatus { name: name.clone(), is_enabled: false });
    enabled.chain(off).collect()
}

/// Whether a sweep could remove the cache that this decision is about.
fn may_go(decision: &Decision) -> bool {
    matches!(decision, Decision::Remove(_) | Decision::Keep(KeepReason::NotNeeded))
}

fn declared(config: &Config, preview: &Preview) -> Vec<DeclaredStatus> {
    let facts = &preview.facts;
    let decisions: HashMap<FileId, &Decision> =
        preview.plan.actions.iter().map(|action| (action.cache.id, &action.decision)).collect();
    let status = |(index, declared): (usize, &DeclaredFacts)| {
        let cache = declared.cache();
        let names = declared.users.iter().map(|user| facts.runners[*user].runner.name.clone());
        DeclaredStatus {
            evidence: preview.objections(facts.runners.len() + index, std::iter::once(cache), config),
            is_reclaimable: decisions.get(&cache.id).is_some_and(|decision| may_go(decision)),
            runners: names.collect(),
            cache: cache.clone(),
        }
    };
    facts.declared.iter().enumerate().map(status).collect()
}

/// Caches outside of work directories are in no runner's line.
fn sum_of_declared(declared: &[DeclaredStatus]) -> Option<String> {
    let sum = |wanted: fn(&DeclaredStatus) -> bool| {
        words::size(declared.iter().filter(|one| wanted(one)).map(|one| one.cache.bytes()).sum())
    };
    (!declared.is_empty()).then(|| {
        format!(
            "{} declared outside of work directories, {}; {} of it could be removed now (`disk-guard plan` lists them)",
            words::count(declared.len(), "cache"),
            sum(|_| true),
            sum(|one| one.is_reclaimable)
        )
    })
}

/// The note about sizes that are from an earlier look.
fn remembered(preview: &Preview) -> Option<String> {
    let caches = preview.facts.runners.iter().flat_map(|facts| &facts.caches);
    let since = caches.filter_map(|cache| match cache.measure?.coverage {
        Coverage::Remembered { since } => Some(since),
        Coverage::Whole | Coverage::Part => None,
    });
    let since: Vec<SystemTime> = since.collect();
    let oldest = since.iter().min()?;
    Some(format!(
        "sizes of {} are remembered, the oldest from {} ago: no directory in them has changed since; files that have grown in place are not noticed",
        words::count(since.len(), "cache"),
        words::span(now().duration_since(*oldest).unwrap_or_default())
    ))
}

fn floors_out_of_reach(preview: &Preview, config: &Config) -> Vec<String> {
    let marks = &config.watermarks;
    let out = preview.facts.filesystems.iter().filter(|fs| pressure::floor_is_out_of_reach(&fs.usage, marks));
    out.map(|fs| {
        format!(
            "pressure.min_free is {}, {} has {} in all: it is not applied there",
            words::size(marks.min_free),
            fs.mount.display(),
            words::size(fs.usage.total_bytes)
        )
    })
    .filter(|_| marks.min_free > 0)
    .collect()
}
