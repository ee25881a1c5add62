//! The trusted part of the host's counters, and what is derived from it: the totals, and how fast disks fill.

use super::{CountersError, CountersSnapshot, FoldWork};
use crate::config::Config;
use crate::model::metrics::{Sample, Tally, Trend};
use crate::model::{HostStatus, RunReport, Runner, Uid};
use crate::observe::snapshot::Snapshot;
use crate::policy::{counting, trend};
use crate::run_dir::RunDir;
use crate::setup::state::StateDir;
use crate::sys::dir::Dir;
use crate::text::escape;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::SystemTime;

/// At the end of a sweep: folds the records of all runs, including this one, and adds this sweep's samples of the disks.
///
/// # Errors
/// [`CountersError`]; the records stay for the next sweep then.
pub(crate) fn fold_in(
    snapshot: &Snapshot<'_>,
    run: &RunDir,
    report: &RunReport,
    now: SystemTime,
) -> Result<(), CountersError> {
    let state = StateDir::at(&snapshot.config.paths.state_dir);
    let judge = Judge::new(snapshot, now);
    let known: HashSet<&str> = judge.runners.iter().map(|runner| runner.name.as_str()).collect();
    let work = FoldWork {
        state: &state,
        run,
        believe: &|tally, writer| judge.believed(tally, writer),
        is_known: &|name| known.contains(name),
        now: judge.now,
    };
    super::fold(&work, |samples| {
        for balance in &report.balances {
            let usage = balance.before.usage;
            let (before, after) = (usage.used_bytes, balance.after.used_bytes);
            let sample = Sample { at: epoch(judge.now), before, after, total: usage.total_bytes };
            trend::remember(samples, &escape::path(&balance.before.mount), sample);
        }
    })
}

/// All trusted counts of this host.
pub(crate) fn counted(
    snapshot: &Snapshot<'_>,
    run: Option<&RunDir>,
    now: SystemTime,
) -> Result<CountersSnapshot, CountersError> {
    let judge = Judge::new(snapshot, now);
    let state = StateDir::at(&snapshot.config.paths.state_dir);
    super::read(&state, run, &|tally, writer| judge.believed(tally, writer), judge.now)
}

/// Decides which counts are trusted on this host.
struct Judge<'a> {
    trusted: Uid,
    runners: &'a [Runner],
    rules: Vec<String>,
    now: SystemTime,
}

impl<'a> Judge<'a> {
    fn new(snapshot: &'a Snapshot<'_>, now: SystemTime) -> Self {
        let Config { caches, paths, .. } = snapshot.config;
        Self {
            trusted: trusted(&paths.state_dir),
            runners: snapshot.runners(),
            rules: caches.iter().map(|rule| rule.name.clone()).collect(),
            now,
        }
    }

    fn believed(&self, tally: Tally, writer: Uid) -> Tally {
        let input = counting::FoldInput { trusted: self.trusted, runners: self.runners, rules: &self.rules };
        counting::believed(tally, writer, &input)
    }
}

/// The user whose sweeps write the totals: the state directory's owner.
fn trusted(state_dir: &Path) -> Uid {
    let owner = Dir::resolve(state_dir).and_then(|(dir, _)| dir.status()).map(|status| status.owner);
    owner.unwrap_or(Uid::ROOT)
}

/// How fast each disk fills.
pub(crate) fn trends(
    host: &HostStatus,
    snapshot: &CountersSnapshot,
    now: SystemTime,
) -> BTreeMap<String, Trend> {
    let trend = |seen: &crate::model::FilesystemStatus| {
        let (mount, usage) = (escape::path(&seen.filesystem.mount), seen.filesystem.usage);
        let rate = trend::fill_rate(snapshot.samples.get(&mount)?, epoch(now), usage.used_bytes)?;
        let seconds_to_full = trend::seconds_to_full(usage.available_bytes, rate);
        Some((mount, Trend { bytes_per_second: rate, seconds_to_full }))
    };
    host.filesystems.iter().filter_map(trend).collect()
}

/// Seconds since 1970.
pub(crate) fn epoch(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metrics::Counter;
    use crate::model::{Balance, Filesystem, FilesystemId, Usage};
    use crate::sys::process::Proc;
    use std::time::Duration;

    /// A sweep's count and sample are in the totals afterwards; a record with a name that no run has is not.
    #[test]
    fn counts_of_a_sweep_are_reported_and_its_disk_is_remembered() {
        let temp = tempfile::tempdir().unwrap();
        let base = Dir::resolve(temp.path()).unwrap().1;
        let text = format!(
            "[runners]\nroots = [\"{0}/none*\"]\n[paths]\nstate_dir = \"{0}/state\"\nrun_dir = \"{0}/run\"\n",
            base.display()
        );
        let config = Config::parse(&text).unwrap();
        let run = RunDir::open(&base.join("run")).unwrap();
        let proc = Proc::new(Path::new("/proc"));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let snapshot = Snapshot::take(&config, &proc, now);
        std::fs::create_dir(base.join("state")).unwrap();
        let mut tally = Tally::default();
        tally.count(Counter::Errors, &[], 3);
        super::super::leave(&run, "77-1", &tally).unwrap();
        let usage =
            Usage { total_bytes: 100, used_bytes: 60, available_bytes: 40, inodes_total: 0, inodes_free: 0 };
        let before = Filesystem {
            id: FilesystemId { major: 8, minor: 1 },
            mount: "/home".into(),
            fs_type: "ext4".into(),
            usage,
        };
        let balance = Balance { before, after: Usage { used_bytes: 50, ..usage }, shortfall: None };
        let report = RunReport { balances: vec![balance], ..RunReport::default() };
        fold_in(&snapshot, &run, &report, now).unwrap();
        let told = counted(&snapshot, Some(&run), now).unwrap();
        assert_eq!(told.totals.counts.get(&(Counter::Errors, Vec::new())), Some(&3));
        assert_eq!(told.samples["/home"].last().map(|sample| (sample.before, sample.after)), Some((60, 50)));
        fold_in(&snapshot, &run, &RunReport::default(), now).unwrap();
        let again = counted(&snapshot, Some(&run), now).unwrap();
        assert_eq!(again.totals.counts.get(&(Counter::Errors, Vec::new())), Some(&3), "each record once");
    }
}
