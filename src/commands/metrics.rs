//! `metrics`, and the file that a sweep writes for node_exporter's text file collector.

use super::status::Holders;
use super::{Context, complain, now, output, print, status};
use crate::config::Config;
use crate::counters::{self, CountersError, CountersSnapshot, Work};
use crate::cycle::Stale;
use crate::model::metrics::{Sample, Tally, Trend};
use crate::model::{HostStatus, RunReport, Runner, Uid};
use crate::observe::snapshot::Snapshot;
use crate::policy::{counting, trend};
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::{escape, prometheus};
use crate::run_dir::RunDir;
use crate::setup::state::StateDir;
use crate::sys::dir::Dir;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::SystemTime;

/// Prints what monitoring is told.
pub(super) fn run(context: &Context) -> Exit {
    let run = RunDir::open_existing(&context.config.paths.run_dir).ok().flatten();
    match exposition(&context.snapshot(), run.as_ref()) {
        Ok(text) => {
            print(&text);
            Exit::Done
        }
        Err(error) => {
            complain(&error);
            Exit::Error
        }
    }
}

/// At the end of a sweep: takes in what all runs have counted, this one included, and writes the text file. None of it fails
/// the sweep.
pub(super) fn after_sweep(snapshot: &Snapshot<'_>, run: &RunDir, report: &RunReport) {
    let state = StateDir::at(&snapshot.config.paths.state_dir);
    let judge = Judge::new(snapshot);
    let known: HashSet<&str> = judge.runners.iter().map(|runner| runner.name.as_str()).collect();
    let work = Work {
        state: &state,
        run,
        believe: &|tally, writer| judge.believed(tally, writer),
        is_known: &|name| known.contains(name),
        now: judge.now,
    };
    let folded = counters::fold(&work, |samples| {
        for balance in &report.balances {
            let usage = balance.before.usage;
            let (before, after) = (usage.used_bytes, balance.after.used_bytes);
            let sample = Sample { at: epoch(judge.now), before, after, total: usage.total_bytes };
            trend::remember(samples, &escape::path(&balance.before.mount), sample);
        }
    });
    if let Err(error) = folded {
        fail(&format!("what was counted stays in {} for the next sweep: {error}", run.path().display()));
    }
    let Some(path) = &snapshot.config.metrics_textfile else { return };
    let written = exposition(snapshot, Some(run))
        .map_err(|error| error.to_string())
        .and_then(|text| output::write(path, text.as_bytes()).map_err(|error| error.to_string()));
    if let Err(error) = written {
        fail(&format!("metrics.textfile: {} could not be written: {error}", escape::path(path)));
    }
}

fn fail(text: &str) {
    complain(&text);
    Event::new(EventKind::Error, text).emit();
}

/// Everything that was counted on this host and is believed.
pub(super) fn counted(
    snapshot: &Snapshot<'_>,
    run: Option<&RunDir>,
) -> Result<CountersSnapshot, CountersError> {
    let judge = Judge::new(snapshot);
    let state = StateDir::at(&snapshot.config.paths.state_dir);
    counters::read(&state, run, &|tally, writer| judge.believed(tally, writer), judge.now)
}

/// Which counts are believed on this host.
struct Judge<'a> {
    trusted: Uid,
    runners: &'a [Runner],
    rules: Vec<String>,
    now: SystemTime,
}

impl<'a> Judge<'a> {
    fn new(snapshot: &'a Snapshot<'_>) -> Self {
        let Config { caches, paths, .. } = snapshot.config;
        Self {
            trusted: trusted(&paths.state_dir),
            runners: snapshot.runners(),
            rules: caches.iter().map(|rule| rule.name.clone()).collect(),
            now: now(),
        }
    }

    fn believed(&self, tally: Tally, writer: Uid) -> Tally {
        let input = counting::FoldInput { trusted: self.trusted, runners: self.runners, rules: &self.rules };
        counting::believed(tally, writer, &input)
    }
}

/// Whose sweeps keep the totals: the state directory's owner.
fn trusted(state_dir: &Path) -> Uid {
    let owner = Dir::resolve(state_dir).and_then(|(dir, _)| dir.status()).map(|status| status.owner);
    owner.unwrap_or(Uid::ROOT)
}

fn exposition(snapshot: &Snapshot<'_>, run: Option<&RunDir>) -> Result<String, CountersError> {
    let host = status::collect(snapshot, Holders::Unasked, Stale::Read);
    let told = counted(snapshot, run)?;
    let trends = trends(&host, &told, host.time);
    Ok(prometheus::host(&host, &told.totals, &trends))
}

fn trends(host: &HostStatus, snapshot: &CountersSnapshot, now: SystemTime) -> BTreeMap<String, Trend> {
    let trend = |seen: &crate::model::FilesystemStatus| {
        let (mount, usage) = (escape::path(&seen.filesystem.mount), seen.filesystem.usage);
        let rate = trend::fill_rate(snapshot.samples.get(&mount)?, epoch(now), usage.used_bytes)?;
        let seconds_to_full = trend::seconds_to_full(usage.available_bytes, rate);
        Some((mount, Trend { bytes_per_second: rate, seconds_to_full }))
    };
    host.filesystems.iter().filter_map(trend).collect()
}

pub(super) fn epoch(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
