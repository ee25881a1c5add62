//! How much room live jobs need and when the disks are full, as `status`, `plan`, `forecast` and sweeps use it.

use crate::clock::now;
use crate::config::Config;
use crate::counters;
use crate::forecast::{self, ForecastInput, HostForecast};
use crate::lease;
use crate::model::metrics::{Sample, Trend};
use crate::model::{Cache, Filesystem, Runner};
use crate::observe::processes;
use crate::observe::snapshot::Snapshot;
use crate::policy::forecast::{next_sweep, time_to_full};
use crate::policy::trend;
use crate::run_dir::RunDir;
use crate::setup::state::StateDir;
use crate::setup::units::{BOUNDS, Systemd};
use crate::sys::program::Programs;
use crate::text::escape;
use std::time::{Duration, Instant, SystemTime};

/// How long live jobs' directories are measured where a person waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long they are measured in a sweep. After that the figures of the last sweep are used.
pub(crate) const IN_A_SWEEP: Duration = Duration::from_secs(30);

/// The unit that sweeps, and what starts it early.
const SERVICE: &str = "disk-guard-sweep.service";
const EARLY: &str = "disk-guard-sweep-early";

/// Observes the live jobs of all runners. Without the shared directory none is known.
pub(crate) fn survey(snapshot: &Snapshot<'_>, run: Option<&RunDir>, patience: Duration) -> HostForecast {
    let Some(run) = run else { return HostForecast::default() };
    let mut seen = forecast::survey(&look(snapshot, run, patience));
    let samples = samples(snapshot.config);
    for disk in &mut seen.disks {
        disk.trend = trend_of(&samples, &disk.filesystem, now());
    }
    seen
}

fn look<'a>(snapshot: &'a Snapshot<'a>, run: &'a RunDir, patience: Duration) -> ForecastInput<'a> {
    let view = lease::LeaseView { proc: snapshot.proc, sees_all: processes::sees_all, now: now() };
    ForecastInput { snapshot, run, view, deadline: Instant::now() + patience }
}

/// The samples of the disks by sweeps.
fn samples(config: &Config) -> crate::model::metrics::Samples {
    counters::samples(&StateDir::at(&config.paths.state_dir)).unwrap_or_default()
}

fn epoch(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn trend_of(
    samples: &crate::model::metrics::Samples,
    filesystem: &Filesystem,
    now: SystemTime,
) -> Option<Trend> {
    let known: &Vec<Sample> = samples.get(&*escape::path(&filesystem.mount))?;
    let rate = trend::fill_rate(known, epoch(now), filesystem.usage.used_bytes)?;
    let seconds_to_full = trend::seconds_to_full(filesystem.usage.available_bytes, rate);
    Some(Trend { bytes_per_second: rate, seconds_to_full })
}

/// At the end of a sweep: writes its measurements for hooks. Returns notes for people.
pub(crate) fn after_sweep<'c>(
    snapshot: &Snapshot<'_>,
    run: &RunDir,
    seen: &HostForecast,
    caches: impl Iterator<Item = (&'c Runner, &'c Cache)>,
) -> Vec<String> {
    if !snapshot.config.forecast.enabled {
        return Vec::new();
    }
    forecast::summarise(&look(snapshot, run, IN_A_SWEEP), seen, caches)
        .unwrap_or_else(|error| vec![format!("the forecast for hooks cannot be written: {error}")])
}

/// Schedules the next sweep earlier where a disk fills fast. Returns notes for people.
pub(crate) fn sweep_early(config: &Config, disks: &[Filesystem]) -> Option<String> {
    if !config.forecast.enabled {
        return None;
    }
    let samples = samples(config);
    let soonest = disks
        .iter()
        .filter_map(|disk| {
            let known = samples.get(&*escape::path(&disk.mount))?;
            Some((time_to_full(known, epoch(now()), &disk.usage)?, disk))
        })
        .min_by_key(|(time, _)| *time);
    let (to_full, disk) = soonest?;
    let due = next_sweep(Some(to_full));
    if due >= next_sweep(None) {
        return None;
    }
    let told = format!(
        "{} is full in {} min if it keeps filling like this; the next sweep is due in {} min",
        disk.mount.display(),
        to_full.as_secs() / 60,
        due.as_secs().div_ceil(60)
    );
    Some(match arm(config, due) {
        Ok(()) => told,
        Err(why) => format!("{told}, and starts with the timer: {why}"),
    })
}

/// Makes systemd start the sweep's unit once after this time. Only a sweep that runs as that unit does so, not one by hand.
fn arm(config: &Config, due: Duration) -> Result<(), String> {
    if std::env::var_os("INVOCATION_ID").is_none() {
        return Err("this sweep was not started by systemd".to_owned());
    }
    let programs = Programs(&config.paths.programs);
    let systemd = Systemd::find(programs).map_err(|error| error.to_string())?;
    if !systemd.knows(SERVICE) {
        return Err(format!("there is no unit {SERVICE}"));
    }
    // A timer that is left from before would keep the name in use.
    let _ = systemd.order(&["stop"], &[&format!("{EARLY}.timer")]);
    let unit = format!("--unit={EARLY}");
    let after = format!("--on-active={}s", due.as_secs());
    let systemctl = programs.find("systemctl").map_err(|error| error.to_string())?;
    let systemctl = systemctl.to_str().ok_or("systemctl has an odd path")?;
    let arguments = [
        "--quiet",
        "--collect",
        &unit,
        &after,
        "--timer-property=AccuracySec=5s",
        systemctl,
        "start",
        "--no-block",
        SERVICE,
    ];
    programs.text("systemd-run", &arguments, BOUNDS).map(drop).map_err(|error| error.to_string())
}
