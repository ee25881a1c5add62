//! The families. A part of the program with figures to show adds its lines here: a counter to [`counters`], the present state of the host
//! to [`gauges`].

use super::{Exposition, Labels, MetricType, seconds};
use crate::model::metrics::{Counter, Histogram, OUTCOMES, Series, Timing, Totals, Trend};
use crate::model::reap::ReapRecord;
use crate::model::stores::StoresRecord;
use crate::model::{
    Capacity, DeclaredStatus, DiskForecast, EvidenceKind, HostStatus, Level, Limit, Liveness, RunnerGroup,
    RunnerStatus, TrimTier, Visibility,
};
use crate::report::escape;
use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

/// Everything for monitoring: the present state, the counts, and how fast each filesystem fills, by mount point, if that is known. Counts
/// that cannot be read are left out: a zero would look like a reset.
pub fn host(status: &HostStatus, totals: Option<&Totals>, trends: &BTreeMap<String, Trend>) -> String {
    let mut out = Exposition::default();
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    out.family(MetricType::Gauge, "build_info", "Always 1; the version of disk-guard.", [(version, 1.0)]);
    filesystems(&mut out, status, trends);
    runners(&mut out, status);
    declared(&mut out, &status.declared);
    gauges(&mut out, status);
    capacity(&mut out, &status.capacity);
    status.reap.iter().for_each(|record| reaper(&mut out, record));
    status.stores.iter().for_each(|record| stores(&mut out, record));
    if let Some(totals) = totals {
        counters(&mut out, totals);
        timings(&mut out, totals);
        last_sweep(&mut out, totals);
    }
    out.text
}

fn filesystems(out: &mut Exposition, status: &HostStatus, trends: &BTreeMap<String, Trend>) {
    let all = || {
        status.filesystems.iter().map(|seen| {
            let mount = escape::path(&seen.filesystem.mount);
            (vec![("mountpoint", mount.clone())], seen, trends.get(&mount).copied())
        })
    };
    out.family(
        MetricType::Gauge,
        "filesystem_used_ratio",
        "Share of a filesystem with work directories that is in use, as df counts it: used / (used + available).",
        all().map(|(labels, seen, _)| (labels, seen.filesystem.usage.used_ratio())),
    );
    out.family(
        MetricType::Gauge,
        "filesystem_available_bytes",
        "Bytes that a job can still take.",
        all().map(|(labels, seen, _)| (labels, seen.filesystem.usage.available_bytes as f64)),
    );
    out.family(
        MetricType::Gauge,
        "filesystem_inodes_free_ratio",
        "Share of the inodes that is free; 1 where inodes are not counted.",
        all().map(|(labels, seen, _)| (labels, seen.filesystem.usage.inodes_free_ratio())),
    );
    let level = |labels: &Labels<'static>, level: Level, is: Level| {
        (with(labels, "level", level.as_str()), f64::from(level == is))
    };
    out.family(
        MetricType::Gauge,
        "filesystem_level",
        "1 for the level at which a filesystem is by the configured watermarks and floors, 0 for the others.",
        all().flat_map(|(labels, seen, _)| {
            [Level::Ok, Level::High, Level::Critical].map(|each| level(&labels, each, seen.level))
        }),
    );
    out.family(
        MetricType::Gauge,
        "filesystem_fill_bytes_per_second",
        "How fast jobs fill a filesystem, over the last two hours; what sweeps free is not counted against it.",
        all().filter_map(|(labels, _, trend)| Some((labels, trend?.bytes_per_second))),
    );
    out.family(
        MetricType::Gauge,
        "filesystem_seconds_to_full",
        "When a filesystem will be full at this rate; +Inf while it does not fill.",
        all().filter_map(|(labels, _, trend)| Some((labels, trend?.seconds_to_full))),
    );
    forecasts(out, status);
    targets(out, status);
}

/// The content of cargo targets.
fn targets(out: &mut Exposition, status: &HostStatus) {
    let sum = |tier: TrimTier| {
        let of = status.targets.iter().flat_map(|target| &target.tiers).filter(|(each, _)| *each == tier);
        of.fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes)) as f64
    };
    let tiers = if status.targets.is_empty() { &[] } else { TrimTier::ALL };
    out.family(
        MetricType::Gauge,
        "target_bytes",
        "Bytes in the cargo targets that were read, by how dear they are to lose: broken and unused cost no build anything.",
        tiers.iter().map(|tier| (vec![("tier", tier.as_str().to_owned())], sum(*tier))),
    );
}

/// The need of live jobs.
fn forecasts(out: &mut Exposition, status: &HostStatus) {
    type Figure = fn(&DiskForecast) -> u64;
    let figures: [(&str, &str, Figure); 4] = [
        ("filesystem_need_bytes", "What has to be available for live jobs in 95 of 100 cases.", |disk| {
            disk.room.need
        }),
        ("filesystem_expected_bytes", "What live jobs are expected to add to a filesystem.", |disk| {
            disk.room.expected
        }),
        (
            "filesystem_reserved_bytes",
            "What live jobs are expected to hold at their ends.",
            DiskForecast::reserved_bytes,
        ),
        ("filesystem_realised_bytes", "What live jobs hold now.", DiskForecast::realised_bytes),
    ];
    for (name, help, figure) in figures {
        let series = status
            .forecasts
            .iter()
            .map(|disk| (vec![("mountpoint", escape::path(&disk.filesystem.mount))], figure(disk) as f64));
        out.family(MetricType::Gauge, name, help, series);
    }
}

fn runners(out: &mut Exposition, status: &HostStatus) {
    let named = names(&status.runners);
    let all = || status.runners.iter().zip(&named).map(|(seen, name)| (vec![("runner", name.clone())], seen));
    let states = [Liveness::Busy, Liveness::Idle, Liveness::Unknown];
    out.family(
        MetricType::Gauge,
        "runner_state",
        "1 for the state in which a runner is, 0 for the others.",
        all().flat_map(|(labels, seen)| {
            states.map(|state| (with(&labels, "state", state.as_str()), f64::from(state == seen.state)))
        }),
    );
    out.family(
        MetricType::Gauge,
        "runner_guarded",
        "1 for a runner with jobs that run the hook.",
        all().map(|(labels, seen)| (labels, f64::from(seen.guarded.is_guarded()))),
    );
    out.family(
        MetricType::Gauge,
        "runner_drained",
        "1 for a runner that is out of service, or will be when its job has ended.",
        all().map(|(labels, seen)| (labels, f64::from(seen.drained.is_some()))),
    );
    out.family(
        MetricType::Gauge,
        "cache_bytes",
        "Bytes in a runner's caches, by the rule that declares them.",
        all().flat_map(|(labels, seen)| {
            let cache =
                move |cache: &crate::model::Cache| (with(&labels, "rule", &cache.rule), cache.bytes() as f64);
            seen.caches.iter().map(cache).collect::<Vec<_>>()
        }),
    );
    out.family(
        MetricType::Gauge,
        "reclaimable_bytes",
        "Bytes that a sweep could take from a runner now.",
        all().map(|(labels, seen)| (labels, seen.reclaimable_bytes as f64)),
    );
    out.family(
        MetricType::Gauge,
        "blocked_bytes",
        "Bytes in a runner's caches that must not be taken now.",
        all().map(|(labels, seen)| (labels, seen.blocked_bytes as f64)),
    );
}

/// Caches outside of work directories belong to no single runner: by rule, and whether they could be removed.
fn declared(out: &mut Exposition, declared: &[DeclaredStatus]) {
    let of_rule = |free: Option<bool>| {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for status in declared {
            let counts = free.is_none_or(|free| free == status.is_reclaimable);
            let bytes = if counts { status.cache.bytes() as f64 } else { 0.0 };
            *sums.entry(&status.cache.rule).or_default() += bytes;
        }
        sums.into_iter().map(|(rule, bytes)| (vec![("rule", rule.to_owned())], bytes)).collect::<Vec<_>>()
    };
    for (name, help, free) in [
        ("declared_bytes", "Bytes in caches outside of work directories, by rule.", None),
        ("declared_reclaimable_bytes", "Bytes of those that a sweep could take now.", Some(true)),
        ("declared_blocked_bytes", "Bytes of those that must not be taken now.", Some(false)),
    ] {
        out.family(MetricType::Gauge, name, help, of_rule(free));
    }
}

/// Runners with the same name are distinguished by their directories.
fn names(runners: &[RunnerStatus]) -> Vec<String> {
    let mut bearers: HashMap<&str, usize> = HashMap::new();
    for runner in runners {
        *bearers.entry(&runner.runner.name).or_default() += 1;
    }
    let name = |seen: &RunnerStatus| match bearers[seen.runner.name.as_str()] {
        1 => seen.runner.name.clone(),
        _ => format!("{} in {}", seen.runner.name, escape::path(&seen.runner.root)),
    };
    runners.iter().map(name).collect()
}

fn gauges(out: &mut Exposition, status: &HostStatus) {
    out.family(
        MetricType::Gauge,
        "root_matches",
        "Runners that an entry of runners.roots finds.",
        status.root_matches.iter().map(|root| (vec![("root", root.pattern.clone())], root.runners as f64)),
    );
    out.family(
        MetricType::Gauge,
        "rule_enabled",
        "0 for a cache rule that `enabled = false` switches off: what it would match is left alone.",
        status.rules.iter().map(|rule| (vec![("rule", rule.name.clone())], f64::from(rule.is_enabled))),
    );
    out.family(
        MetricType::Gauge,
        "roots_built_in",
        "1 when runners.roots is not configured: then most of its entries find nothing, and that is no fault.",
        [(Vec::new(), f64::from(status.roots_are_built_in))],
    );
    let trash = [(Vec::new(), status.trash_bytes as f64)];
    out.family(MetricType::Gauge, "trash_bytes", "Bytes that are claimed and not deleted yet.", trash);
    let is_complete = matches!(status.visibility, Visibility::Complete);
    out.family(
        MetricType::Gauge,
        "visibility_complete",
        "1 when every process of the host could be seen; else no sibling is provably idle.",
        [(Vec::new(), f64::from(is_complete))],
    );
    // How long it has been held is unknown, but at most as long as its oldest holder lives.
    let age = |since: SystemTime| status.time.duration_since(since).unwrap_or_default().as_secs_f64();
    let held = status.lock.holders.iter().filter_map(|holder| holder.since).map(age).fold(0.0, f64::max);
    out.family(
        MetricType::Gauge,
        "lock_held_seconds",
        "Age of the oldest process that holds the host lock; 0 when it is free.",
        [(Vec::new(), held)],
    );
}

/// What the host can run out of. The holders of deleted files change with every look, so that space is labelled by its kind.
fn capacity(out: &mut Exposition, capacity: &Capacity) {
    let limit = |limit: &Limit| {
        let subject = limit.subject.clone().unwrap_or_default();
        (
            vec![("resource", limit.resource.to_owned()), ("subject", escape::text(&subject).into_owned())],
            limit.ratio,
        )
    };
    out.family(
        MetricType::Gauge,
        "limit_used_ratio",
        "How near the host, a disk (by mount point) or a runner's control group is to one of its limits; 1 is its end.",
        capacity.limits.iter().map(limit),
    );
    let mut held: BTreeMap<&str, u64> = BTreeMap::new();
    for holding in &capacity.holdings {
        let sum = held.entry(holding.kind).or_default();
        *sum = sum.saturating_add(holding.bytes);
    }
    out.family(
        MetricType::Gauge,
        "held_bytes",
        "Bytes outside of every cache rule: deleted files still open, containers, the journal, blocks reserved for root.",
        held.into_iter().map(|(kind, bytes)| (vec![("kind", kind.to_owned())], bytes as f64)),
    );
    let groups = |value: fn(&RunnerGroup) -> Option<u64>| {
        let runner = |group: &RunnerGroup| vec![("runner", escape::text(&group.runner).into_owned())];
        capacity
            .groups
            .iter()
            .filter_map(move |group| Some((runner(group), value(group)? as f64)))
            .collect::<Vec<_>>()
    };
    out.family(
        MetricType::Gauge,
        "runner_memory_peak_bytes",
        "The most memory that a runner's control group has had since it was made.",
        groups(|group| group.memory_peak),
    );
    out.family(
        MetricType::Gauge,
        "runner_oom_kills",
        "Processes of a runner's control group that were killed for memory since it was made.",
        groups(|group| group.oom_kills),
    );
}

/// The result of the reaper's last run, if one is configured.
fn reaper(out: &mut Exposition, record: &ReapRecord) {
    let mut leaked: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &record.entries {
        *leaked.entry(&entry.kind).or_default() += entry.counts.leaked;
    }
    out.family(
        MetricType::Gauge,
        "leaked",
        "Environments of jobs that outlived them and were still there after the reaper's last run.",
        leaked.into_iter().map(|(kind, count)| (vec![("kind", kind.to_owned())], count as f64)),
    );
    out.family(
        MetricType::Counter,
        "reaped_total",
        "Leaked environments deleted.",
        by_kind(&record.reaped_total),
    );
    out.family(
        MetricType::Counter,
        "reap_failures_total",
        "Deletes of leaked environments that failed, or left what they reported as deleted.",
        by_kind(&record.failed_total),
    );
}

/// The results of stores, if one is configured.
fn stores(out: &mut Exposition, record: &StoresRecord) {
    let sized = record.stores.iter().filter_map(|store| {
        let labels = vec![("store", store.name.clone()), ("kind", store.kind.clone())];
        Some((labels, store.bytes? as f64))
    });
    out.family(
        MetricType::Gauge,
        "store_bytes",
        "Size of a store when it was last asked for.",
        sized.collect::<Vec<_>>(),
    );
    out.family(
        MetricType::Counter,
        "store_freed_bytes_total",
        "Bytes that came free while stores were collected by their own tools, as measured.",
        by_kind(&record.freed_total),
    );
    out.family(
        MetricType::Counter,
        "store_failures_total",
        "Collections of stores that failed, or with an unusable tool.",
        by_kind(&record.failed_total),
    );
}

fn by_kind(totals: &BTreeMap<String, u64>) -> Vec<(Vec<(&'static str, String)>, f64)> {
    totals.iter().map(|(kind, count)| (vec![("kind", kind.clone())], *count as f64)).collect()
}

fn counters(out: &mut Exposition, totals: &Totals) {
    let outcomes: Vec<&[&str]> = OUTCOMES.iter().map(std::slice::from_ref).collect();
    let kinds = EvidenceKind::NAMES;
    let evidence: Vec<&[&str]> = kinds.iter().map(std::slice::from_ref).collect();
    // Series with known labels exist from the beginning, so that their first increase is visible.
    let table: [(Counter, &str, &str, Vec<&[&str]>); 7] = [
        (Counter::Actions, "actions_total", "Outcomes for caches that a run examined.", outcomes),
        (
            Counter::Refusals,
            "refusals_total",
            "Caches left alone while their disk was under pressure, by the strongest evidence for being in use.",
            evidence,
        ),
        (
            Counter::Reclaimed,
            "reclaimed_bytes_total",
            "Bytes given back, by runner, rule and reason; the reason is trash for what earlier runs had left unfinished.",
            vec![],
        ),
        (
            Counter::DedupeFreed,
            "dedupe_freed_bytes_total",
            "Bytes that came free because equal files of several runners share their blocks, as measured.",
            vec![&[]],
        ),
        (
            Counter::JobsRefused,
            "jobs_refused_total",
            "Jobs refused because the disk stayed above critical (hook.on_exhausted).",
            vec![&[]],
        ),
        (
            Counter::LockTimeouts,
            "lock_timeouts_total",
            "Times that the host lock was not obtained within hook.lock_wait.",
            vec![&[]],
        ),
        (Counter::Errors, "errors_total", "Errors; the journal has the details.", vec![&[]]),
    ];
    for (counter, name, help, known) in table {
        let of_it = |((which, _), _): &(&Series, &u64)| *which == counter;
        let counted = totals.counts.iter().filter(of_it);
        let counted = counted.map(|((_, values), count)| (labels(counter, values), *count as f64));
        let zeros = known.into_iter().map(|values| (labels(counter, values), 0.0));
        out.family(MetricType::Counter, name, help, zeros.chain(counted));
    }
}

fn labels<T: AsRef<str>>(counter: Counter, values: &[T]) -> Labels<'static> {
    counter.labels().iter().copied().zip(values.iter().map(|value| value.as_ref().to_owned())).collect()
}

fn timings(out: &mut Exposition, totals: &Totals) {
    for (name, help, label, series) in [
        (
            "hook_duration_seconds",
            "How long hooks took.",
            "hook",
            [(Timing::HookStarted, "started"), (Timing::HookCompleted, "completed")],
        ),
        (
            "lock_wait_seconds",
            "How long the host lock was waited for, to be shared with others or to be held alone.",
            "mode",
            [(Timing::LockShared, "shared"), (Timing::LockExclusive, "exclusive")],
        ),
    ] {
        let none = series.each_ref().map(|(timing, _)| Histogram::new(*timing));
        out.histograms(
            name,
            help,
            series.iter().zip(&none).map(|((timing, value), none)| {
                let histogram = totals.histograms.get(timing).unwrap_or(none);
                let labels = vec![(label, (*value).to_owned())];
                (labels, timing.bounds(), histogram.buckets.as_slice(), histogram.sum)
            }),
        );
    }
}

fn last_sweep(out: &mut Exposition, totals: &Totals) {
    let Some(end) = totals.last_sweep else { return };
    for (name, help, value) in [
        ("last_sweep_timestamp_seconds", "When the last sweep ended.", end.at as f64),
        (
            "last_sweep_success",
            "1 when the last sweep could do its work, whatever came of it.",
            f64::from(end.success),
        ),
        (
            "last_sweep_goal_met",
            "1 when every disk under pressure had reached its goal at the end of the last sweep.",
            f64::from(end.goal_met),
        ),
        (
            "last_sweep_wider_contamination",
            "1 when the last sweep repaired no work directory because more than one is contaminated.",
            f64::from(end.wider_contamination),
        ),
        ("last_sweep_duration_seconds", "How long the last sweep took.", seconds(end.took)),
    ] {
        out.family(MetricType::Gauge, name, help, [(Vec::new(), value)]);
    }
}

fn with(labels: &Labels<'static>, name: &'static str, value: &str) -> Labels<'static> {
    [labels.as_slice(), &[(name, value.to_owned())]].concat()
}

#[cfg(test)]
mod tests;
