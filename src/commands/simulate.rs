//! `simulate`: how many jobs would have died, on simulated hosts; and how full this host's disks would have been.

use super::{Context, complain, present, print, show};
use crate::config::units::Size;
use crate::config::{Config, Named};
use crate::counters;
use crate::ledger::answer;
use crate::model::ledger::{ActionKind, Record, Trust};
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::setup::state::StateDir;
use crate::simulate::{
    Admission, Builds, Case, HOSTS, Host, OnShort, Outcome, PastDisk, Sampling, replay, run as simulate,
};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What the command line asks for.
pub(super) struct Wish<'a> {
    pub(super) hosts: &'a [String],
    pub(super) seeds: u64,
    pub(super) days: u32,
    pub(super) sensitivity: bool,
}

/// Simulates every case on every host that is asked for.
pub(super) fn run(context: &Context, wish: &Wish<'_>, as_json: bool) -> Exit {
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
    present(
        &context.screen,
        as_json,
        || json::simulation(&rows, wish.seeds, wish.days),
        || human::simulation(&rows, wish.seeds, wish.days, &context.screen),
    );
    Exit::Done
}

/// Plays this host's past again.
pub(super) fn history(context: &Context, size: Option<Size>, against: Option<&Path>, as_json: bool) -> Exit {
    let own = context.config.watermarks;
    let marks = match against.map(|path| Config::load(path, Named::ByHand)).transpose() {
        Ok(other) => other.map_or(own, |config| config.watermarks),
        Err(error) => {
            complain(&error);
            return Exit::ConfigInvalid;
        }
    };
    let samples = match counters::samples(&StateDir::at(&context.config.paths.state_dir)) {
        Ok(samples) => samples,
        Err(error) => {
            complain(&error);
            return Exit::Error;
        }
    };
    let rows: Vec<PastDisk> = samples
        .iter()
        .filter_map(|(mount, samples)| {
            let was = samples.last()?.total;
            let size = size.map_or(was, |Size(bytes)| bytes);
            let replayed = replay(samples, &own, size, &marks);
            Some(PastDisk { mount: mount.clone(), was, size, replayed })
        })
        .collect();
    let oldest = samples.values().filter_map(|samples| samples.first()).map(|sample| sample.at).min();
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(oldest.unwrap_or_default());
    let builds = oldest.map(|_| builds_since(context, since)).unwrap_or_default();
    if as_json {
        print(&json::past(&rows, &builds));
    } else {
        show(&context.screen, &human::past(&rows, &builds, &context.screen));
    }
    Exit::Done
}

/// Jobs that began since then, and those whose runner had lost a cache of that repository since its job before.
fn builds_since(context: &Context, since: SystemTime) -> Builds {
    let ledger = answer::read(&context.config.paths, since, &answer::owners(context.snapshot().runners()));
    let mut entries: Vec<&Record> = ledger
        .entries
        .iter()
        .filter(|judged| !matches!(judged.trust, Trust::Foreign(_)))
        .map(|judged| &judged.entry.record)
        .filter(|record| record.time >= since)
        .collect();
    entries.sort_by_key(|record| record.time);
    let mut builds = Builds::default();
    let mut gone: HashSet<(&str, &str)> = HashSet::new();
    for record in entries {
        let Some(runner) = record.details.runner.as_deref() else { continue };
        match (record.deed, &record.details.path, record.details.repository.as_deref()) {
            (ActionKind::Removed, Some(path), _) => {
                let names = path.iter().filter_map(|name| name.to_str());
                gone.extend(names.map(|name| (runner, name)));
            }
            (ActionKind::Lease, _, Some(repository)) if record.details.message.contains("begins") => {
                let name = repository.rsplit('/').next().unwrap_or(repository);
                builds.began += 1;
                builds.cold += usize::from(gone.remove(&(runner, name)));
            }
            _ => {}
        }
    }
    builds
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
