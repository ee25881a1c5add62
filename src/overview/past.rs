//! A replay of this host's past: how full its disks would have been with another configuration or on a disk of another size.

use crate::config::Config;
use crate::config::units::Size;
use crate::counters::{self, CountersError};
use crate::footprints::Footprints;
use crate::forecast::{self, Summary};
use crate::ledger::answer;
use crate::model::ledger::{LedgerRecord, Trust};
use crate::model::{Job, Runner};
use crate::observe::caches::open_work;
use crate::observe::snapshot::Snapshot;
use crate::policy::forecast::Estimate;
use crate::run_dir::RunDir;
use crate::setup::state::StateDir;
use crate::simulate::past::{self, Expected, Past};
use crate::simulate::{Against, Builds, KnownPast, PastDisk, replay};
use crate::text::escape;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Replays what sweeps have seen of each disk and what the ledger knows of jobs, with `config` and, where `size` is given, on a disk of
/// that size.
///
/// # Errors
/// What sweeps have seen cannot be read.
pub(crate) fn replayed(
    snapshot: &Snapshot<'_>,
    config: &Config,
    size: Option<Size>,
) -> Result<(Vec<PastDisk>, Builds), CountersError> {
    let samples = counters::samples(&StateDir::at(&snapshot.config.paths.state_dir))?;
    let oldest = samples.values().filter_map(|samples| samples.first()).map(|sample| sample.at).min();
    let past = oldest.map(|at| jobs_since(snapshot, config, at)).unwrap_or_default();
    let disk = |(mount, samples): (&String, &Vec<_>)| {
        let was = samples.last().map(|sample: &crate::model::metrics::Sample| sample.total)?;
        let against = Against {
            size: size.map_or(was, |Size(bytes)| bytes),
            marks: config.watermarks,
            forecast: config.forecast.enabled,
        };
        let known = KnownPast {
            samples,
            jobs: past.jobs.get(mount).map_or(&[], Vec::as_slice),
            removals: past.removals.get(mount).map_or(&[], Vec::as_slice),
        };
        let replayed = replay(&known, &snapshot.config.watermarks, &against);
        Some(PastDisk { mount: mount.clone(), was, size: against.size, replayed })
    };
    let disks = samples.iter().filter_map(disk).collect();
    Ok((disks, past.builds))
}

/// The jobs since then, as the ledger has them, and what they are expected to hold.
fn jobs_since(snapshot: &Snapshot<'_>, config: &Config, at: u64) -> Past {
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
    let ledger = answer::read(&snapshot.config.paths, since, &answer::owners(snapshot.runners()));
    let mut entries: Vec<&LedgerRecord> = ledger
        .entries
        .iter()
        .filter(|judged| !matches!(judged.trust, Trust::Foreign(_)))
        .map(|judged| &judged.entry.record)
        .filter(|record| record.time >= since)
        .collect();
    entries.sort_by_key(|record| record.time);
    past::of(entries, expectations(snapshot, config))
}

/// By a runner's name and a job: the disk it works on, and what the job is expected to hold.
fn expectations<'c>(
    snapshot: &Snapshot<'_>,
    config: &'c Config,
) -> impl Fn(&str, &Job) -> Option<Expected> + 'c {
    let known = |runner: &Runner| {
        let work = open_work(runner.work_dir()?).ok()?;
        let mount = escape::path(&snapshot.mounts.filesystem_of(&work).ok()?.mount);
        Some((runner.name.clone(), (mount, Footprints::of(&work, snapshot.taken))))
    };
    let known: HashMap<String, (String, Footprints)> = snapshot.runners().iter().filter_map(known).collect();
    let run = RunDir::open_existing(&snapshot.config.paths.run_dir).ok().flatten();
    let summary = run.and_then(|run| Summary::of(&run));
    move |name, job| {
        let (mount, footprints) = known.get(name)?;
        let repository = Path::new(job.repository.rsplit('/').next().unwrap_or_default());
        let reserved = forecast::expect(config, footprints, summary.as_ref(), job, Some(repository));
        let reserved = reserved.unwrap_or_else(|| forecast::unknown(config));
        Some((mount.clone(), Estimate::from(&reserved), reserved.basis))
    }
}
