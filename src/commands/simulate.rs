//! `simulate`: how many jobs would have died, on simulated hosts; and how full this host's disks would have been.

use super::{Context, complain, now, output, present};
use crate::config::units::Size;
use crate::config::{Config, Named};
use crate::counters;
use crate::footprints::Footprints;
use crate::forecast::{self, Summary};
use crate::ledger::answer;
use crate::model::ledger::{LedgerRecord, Trust};
use crate::model::{Job, Runner};
use crate::observe::caches::open_work;
use crate::observe::snapshot::Snapshot;
use crate::policy::forecast::Estimate;
use crate::report::exit::Exit;
use crate::report::{html, human, json};
use crate::run_dir::RunDir;
use crate::setup::state::StateDir;
use crate::simulate::past::{self, Expected, Past};
use crate::simulate::{
    Admission, Against, Case, HOSTS, Host, Known, OnShort, Outcome, PastDisk, Sampling, replay,
    run as simulate,
};
use crate::text::escape;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How the answer is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape<'a> {
    Text,
    Json,
    /// As one page for a browser, to this file.
    Page(&'a Path),
}

impl<'a> Shape<'a> {
    pub(super) fn of(as_json: bool, page: Option<&'a Path>) -> Self {
        match page {
            Some(file) => Self::Page(file),
            None if as_json => Self::Json,
            None => Self::Text,
        }
    }

    fn tell(
        self,
        context: &Context,
        document: impl FnOnce() -> String,
        text: impl FnOnce() -> String,
        page: impl FnOnce() -> String,
    ) -> Exit {
        if let Self::Page(file) = self {
            return output::page(file, &page());
        }
        present(&context.screen, matches!(self, Self::Json), document, text);
        Exit::Done
    }
}

/// What the command line asks for.
pub(super) struct Wish<'a> {
    pub(super) hosts: &'a [String],
    pub(super) seeds: u64,
    pub(super) days: u32,
    pub(super) sensitivity: bool,
}

/// Simulates every case on every host that is asked for.
pub(super) fn run(context: &Context, wish: &Wish<'_>, shape: Shape<'_>) -> Exit {
    let known = || HOSTS.map(|host| host.name).join(", ");
    let mut hosts: Vec<&Host> = HOSTS.iter().collect();
    if let Some(unknown) = wish.hosts.iter().find(|name| !HOSTS.iter().any(|host| host.name == **name)) {
        complain(&format_args!("no host is called {unknown:?}; there are: {}", known()));
        return Exit::Usage;
    }
    hosts.retain(|host| wish.hosts.is_empty() || wish.hosts.iter().any(|name| name == host.name));
    let mut rows = Vec::new();
    for host in hosts {
        for (name, case) in cases(wish.sensitivity) {
            let case = Case { days: wish.days, ..case };
            let runs: Vec<Outcome> = (0..wish.seeds).map(|seed| simulate(host, &case, seed)).collect();
            rows.push((host.name, name, Outcome::mean(&runs)));
        }
    }
    shape.tell(
        context,
        || json::simulation(&rows, wish.seeds, wish.days),
        || human::simulation(&rows, wish.seeds, wish.days, &context.screen),
        || html::simulation(&rows, wish.seeds, wish.days, now()),
    )
}

/// What of this host's past is asked for.
pub(super) struct PastWish<'a> {
    pub(super) size: Option<Size>,
    pub(super) against: Option<&'a Path>,
}

/// Plays this host's past again.
pub(super) fn history(context: &Context, wish: &PastWish<'_>, shape: Shape<'_>) -> Exit {
    let other = match wish.against.map(|path| Config::load(path, Named::ByHand)).transpose() {
        Ok(other) => other,
        Err(error) => {
            complain(&error);
            return Exit::ConfigInvalid;
        }
    };
    let config = other.as_ref().unwrap_or(&context.config);
    let samples = match counters::samples(&StateDir::at(&context.config.paths.state_dir)) {
        Ok(samples) => samples,
        Err(error) => {
            complain(&error);
            return Exit::Error;
        }
    };
    let oldest = samples.values().filter_map(|samples| samples.first()).map(|sample| sample.at).min();
    let past = oldest.map(|at| jobs_since(context, config, at)).unwrap_or_default();
    let rows: Vec<PastDisk> = samples
        .iter()
        .filter_map(|(mount, samples)| {
            let was = samples.last()?.total;
            let against = Against {
                size: wish.size.map_or(was, |Size(bytes)| bytes),
                marks: config.watermarks,
                forecast: config.forecast.enabled,
            };
            let known = Known {
                samples,
                jobs: past.jobs.get(mount).map_or(&[], Vec::as_slice),
                removals: past.removals.get(mount).map_or(&[], Vec::as_slice),
            };
            let replayed = replay(&known, &context.config.watermarks, &against);
            Some(PastDisk { mount: mount.clone(), was, size: against.size, replayed })
        })
        .collect();
    let builds = past.builds;
    shape.tell(
        context,
        || json::past(&rows, &builds),
        || human::past(&rows, &builds, &context.screen),
        || html::past(&rows, &builds, now()),
    )
}

/// The jobs since then, as the ledger has them, and what they are expected to hold.
fn jobs_since(context: &Context, config: &Config, at: u64) -> Past {
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
    let snapshot = context.snapshot();
    let ledger = answer::read(&context.config.paths, since, &answer::owners(snapshot.runners()));
    let mut entries: Vec<&LedgerRecord> = ledger
        .entries
        .iter()
        .filter(|judged| !matches!(judged.trust, Trust::Foreign(_)))
        .map(|judged| &judged.entry.record)
        .filter(|record| record.time >= since)
        .collect();
    entries.sort_by_key(|record| record.time);
    past::of(entries, expectations(&snapshot, config))
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

fn cases(with_sensitivity: bool) -> Vec<(&'static str, Case)> {
    let forecast = Case::of(Admission::Forecast);
    let following = Case { sweep_every: 1, ..forecast };
    let refusing = OnShort::Refuse;
    let mut cases = vec![
        ("floor 25 GiB", Case::of(Admission::Floor(25.0))),
        ("watermarks", Case::of(Admission::Watermarks)),
        ("forecast", forecast),
        ("forecast, frequent sweep", following),
        ("forecast, wait 10 min", Case { wait_at_most: 10, ..following }),
        ("forecast, 60 min, else refuse", Case { wait_at_most: 60, on_short: refusing, ..following }),
    ];
    if with_sensitivity {
        cases.extend([
            ("forecast, 20 % unknown", Case { unknown: 0.2, ..forecast }),
            ("forecast, 50 % unknown", Case { unknown: 0.5, ..forecast }),
            ("forecast, 20 % too low", Case { bias: 0.8, ..forecast }),
            ("forecast, siblings by sweep", Case { sampling: Sampling::BySweep, ..forecast }),
            ("forecast, two disks", Case { disks: 2, ..forecast }),
            ("watermarks, two disks", Case { disks: 2, ..Case::of(Admission::Watermarks) }),
        ]);
    }
    cases
}
