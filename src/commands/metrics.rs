//! `metrics`, and the file that a sweep writes for node_exporter's text file collector.

use super::status::Holders;
use super::{Context, complain, now, print, status};
use crate::config::Config;
use crate::counters::{self, CountersError, Told, Work};
use crate::cycle::Stale;
use crate::model::metrics::{Sample, Tally, Trend};
use crate::model::{HostStatus, RunReport, Runner, Uid};
use crate::observe::filesystems::MountTable;
use crate::observe::runners;
use crate::policy::{counting, trend};
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::{escape, prometheus};
use crate::run_dir::RunDir;
use crate::setup::place;
use crate::setup::state::{StateDir, own};
use crate::sys::dir::Dir;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Prints what monitoring is told.
pub(super) fn run(context: &Context) -> Exit {
    let run = RunDir::open_existing(&context.config.paths.run_dir).ok().flatten();
    match exposition(context, run.as_ref()) {
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
pub(super) fn after_sweep(context: &Context, run: &RunDir, report: &RunReport) {
    let state = StateDir::at(&context.config.paths.state_dir);
    let judge = Judge::new(context, now());
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
    let Some(path) = &context.config.metrics_textfile else { return };
    let written = exposition(context, Some(run))
        .map_err(|error| error.to_string())
        .and_then(|text| write(path, &text).map_err(|error| error.to_string()));
    if let Err(error) = written {
        fail(&format!("metrics.textfile: {} could not be written: {error}", escape::path(path)));
    }
}

fn fail(text: &str) {
    complain(&text);
    Event::new(EventKind::Error, text).emit();
}

/// Everything that was counted on this host and is believed.
pub(super) fn counted(context: &Context, run: Option<&RunDir>) -> Result<Told, CountersError> {
    let judge = Judge::new(context, now());
    let state = StateDir::at(&context.config.paths.state_dir);
    counters::read(&state, run, &|tally, writer| judge.believed(tally, writer), judge.now)
}

/// Which counts are believed on this host.
struct Judge {
    trusted: Uid,
    runners: Vec<Runner>,
    rules: Vec<String>,
    now: SystemTime,
}

impl Judge {
    fn new(context: &Context, now: SystemTime) -> Self {
        let Config { runners, caches, .. } = &context.config;
        let found = runners::discover(&runners.roots, &MountTable::read(&context.proc)).runners;
        let rules = caches.iter().map(|rule| rule.name.clone()).collect();
        Self { trusted: trusted(&context.config.paths.state_dir), runners: found, rules, now }
    }

    fn believed(&self, tally: Tally, writer: Uid) -> Tally {
        let terms = counting::Terms { trusted: self.trusted, runners: &self.runners, rules: &self.rules };
        counting::believed(tally, writer, &terms)
    }
}

/// Whose sweeps keep the totals: the state directory's owner.
fn trusted(state_dir: &Path) -> Uid {
    let owner = Dir::resolve(state_dir).and_then(|(dir, _)| dir.status()).map(|status| status.owner);
    owner.unwrap_or(Uid::ROOT)
}

fn exposition(context: &Context, run: Option<&RunDir>) -> Result<String, CountersError> {
    let host = status::collect(context, Holders::Unasked, Stale::Read);
    let told = counted(context, run)?;
    let trends = trends(&host, &told, host.time);
    Ok(prometheus::host(&host, &told.totals, &trends))
}

fn trends(host: &HostStatus, told: &Told, now: SystemTime) -> BTreeMap<String, Trend> {
    let trend = |seen: &crate::model::FilesystemStatus| {
        let (mount, usage) = (escape::path(&seen.filesystem.mount), seen.filesystem.usage);
        let rate = trend::fill_rate(told.samples.get(&mount)?, epoch(now), usage.used_bytes)?;
        let seconds_to_full = trend::seconds_to_full(usage.available_bytes, rate);
        Some((mount, Trend { bytes_per_second: rate, seconds_to_full }))
    };
    host.filesystems.iter().filter_map(trend).collect()
}

pub(super) fn epoch(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Whole or not at all, and readable by all. The directory may belong to the exporter's user: no component of the path may be
/// a link, and a link in the file's place is replaced, not followed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let (directory, name) = match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(directory), Some(name)) => (directory, name),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file")),
    };
    let dir = Dir::open(directory).map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ELOOP | nix::libc::ENOTDIR) => io::Error::other(format!(
            "{} is no directory, or leads through a symbolic link: write the path without links",
            escape::path(directory)
        )),
        Some(nix::libc::ENOENT) => io::Error::other(format!(
            "the directory {} does not exist: make it, or name the one that node_exporter reads \
             (--collector.textfile.directory)",
            escape::path(directory)
        )),
        _ => error,
    })?;
    place::replace(&dir, name, text.as_bytes(), own(0o644))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests remove their own files")]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn the_text_file_is_replaced_whole_and_no_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let (_, base) = Dir::resolve(temp.path()).unwrap();
        std::fs::create_dir_all(base.join("dir")).unwrap();
        std::fs::write(base.join("victim"), "precious").unwrap();
        let file = base.join("dir/disk-guard.prom");
        symlink("../victim", &file).unwrap();
        write(&file, "one\n").unwrap();
        write(&file, "two\n").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(std::fs::read(base.join("victim")).unwrap(), b"precious");
        assert_eq!(std::fs::read_dir(base.join("dir")).unwrap().count(), 1, "no draft is left");

        std::fs::create_dir(base.join("elsewhere")).unwrap();
        symlink("elsewhere", base.join("link")).unwrap();
        let error = write(&base.join("link/x.prom"), "x").unwrap_err().to_string();
        assert!(error.contains("without links"), "{error}");
        assert_eq!(std::fs::read_dir(base.join("elsewhere")).unwrap().count(), 0);
        let error = write(&base.join("missing/x.prom"), "x").unwrap_err().to_string();
        assert!(error.contains("does not exist"), "{error}");
    }
}
