//! The totals: reading them, and folding pending records in.

use super::record::{self, Parsed};
use crate::model::Uid;
use crate::model::metrics::{Histogram, Sample, Samples, SweepEnd, Tally, Totals};
use crate::run_dir::{Records, RunDir, RunDirError};
use crate::setup::place;
use crate::setup::place::own;
use crate::setup::state::{StateDir, StateError};
use crate::sys::dir::Dir;
use crate::sys::flock::{Probe, probe};
use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime};

const DIRECTORY: &str = "counters";
const FILE: &str = "totals.json";
const LOCK: &str = "lock";

/// Beyond this the file is not ours.
const MAX_BYTES: u64 = 8 << 20;

/// Records that one batch takes in; their names are in the totals until the next.
const BATCH: usize = 1024;

/// Batches of one fold. More is a flood, and the next sweep's.
const MAX_BATCHES: usize = 16;

/// Records of one user in one batch.
const MAX_OF_ONE: usize = 512;

/// Series that are kept. When there are more, those of runners that are gone make room.
const MAX_SERIES: usize = 4096;

/// A record without an end that is older than this was left by a run that was killed.
const UNFINISHED: Duration = Duration::from_secs(60);

/// Why counters could not be read or folded.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The shared directory.
    #[error(transparent)]
    Run(#[from] RunDirError),
    /// The file.
    #[error("the counters in the state directory cannot be {operation}: {source}")]
    File {
        /// The operation that failed.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// The data for monitoring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// All trusted counts.
    pub totals: Totals,
    /// The samples of filesystems by sweeps.
    pub samples: Samples,
}

/// The inputs of a fold.
pub struct FoldWork<'a> {
    /// The state directory.
    pub state: &'a StateDir,
    /// The shared directory.
    pub run: &'a RunDir,
    /// Returns the trusted part of a record of this user.
    pub believe: &'a dyn Fn(Tally, Uid) -> Tally,
    /// Whether there still is a runner of this name.
    pub is_known: &'a dyn Fn(&str) -> bool,
    /// The wall clock.
    pub now: SystemTime,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TotalsShape {
    version: u32,
    /// Grows with every batch: it shows a reader whether a fold happened in between.
    generation: u64,
    counts: Vec<(String, Vec<String>, u64)>,
    histograms: BTreeMap<String, (Vec<u64>, u64)>,
    last_sweep: Option<SweepEnd>,
    samples: BTreeMap<String, Vec<[u64; 4]>>,
    folded: Vec<String>,
}

/// The file's content.
#[derive(Default)]
struct TotalsFile {
    generation: u64,
    snapshot: CountersSnapshot,
    folded: BTreeSet<String>,
}

const VERSION: u32 = 1;

impl TotalsFile {
    fn of(shape: TotalsShape) -> Self {
        let mut snapshot = CountersSnapshot::default();
        for (name, labels, count) in shape.counts {
            if let Some(counter) = record::counter(&name).filter(|it| it.labels().len() == labels.len()) {
                snapshot.totals.counts.insert((counter, labels), count);
            }
        }
        for (name, (buckets, sum)) in shape.histograms {
            // One with other bounds is begun anew.
            let timing = record::timing(&name).filter(|it| it.bounds().len() + 1 == buckets.len());
            snapshot.totals.histograms.extend(timing.map(|timing| (timing, Histogram { buckets, sum })));
        }
        snapshot.totals.last_sweep = shape.last_sweep;
        let sample = |[at, before, after, total]: [u64; 4]| Sample { at, before, after, total };
        let samples = shape.samples.into_iter();
        snapshot.samples =
            samples.map(|(mount, list)| (mount, list.into_iter().map(sample).collect())).collect();
        Self { generation: shape.generation, snapshot, folded: shape.folded.into_iter().collect() }
    }

    fn shape(&self) -> TotalsShape {
        let totals = &self.snapshot.totals;
        let counts = totals.counts.iter();
        let histograms = totals.histograms.iter();
        let sample = |sample: &Sample| [sample.at, sample.before, sample.after, sample.total];
        let samples = self.snapshot.samples.iter();
        TotalsShape {
            version: VERSION,
            generation: self.generation,
            counts: counts
                .map(|((counter, labels), n)| (counter.as_str().into(), labels.clone(), *n))
                .collect(),
            histograms: histograms
                .map(|(timing, histogram)| {
                    (timing.as_str().into(), (histogram.buckets.clone(), histogram.sum))
                })
                .collect(),
            last_sweep: totals.last_sweep,
            samples: samples
                .map(|(mount, list)| (mount.clone(), list.iter().map(sample).collect()))
                .collect(),
            folded: self.folded.iter().cloned().collect(),
        }
    }

    /// `None` when there is none, or it cannot be parsed.
    fn load(dir: &Dir) -> Result<Option<Self>, CountersError> {
        let bytes = match dir.read_file(FILE, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|source| CountersError::File { operation: "read", source })?,
        };
        let shape = serde_json::from_slice::<TotalsShape>(&bytes).ok();
        Ok(shape.filter(|shape| shape.version == VERSION).map(Self::of))
    }

    fn save(&self, dir: &Dir) -> Result<(), CountersError> {
        let mut text = serde_json::to_vec(&self.shape()).expect("our records have string keys");
        text.push(b'\n');
        place::replace(dir, FILE, &text, own(0o644))
            .map_err(|source| CountersError::File { operation: "written", source })
    }

    /// Makes room among the series.
    fn forget(&mut self, is_known: &dyn Fn(&str) -> bool) {
        let counts = &mut self.snapshot.totals.counts;
        if counts.len() > MAX_SERIES {
            counts.retain(|(counter, labels), _| counter.labels().len() < 3 || is_known(&labels[0]));
        }
        while counts.len() > MAX_SERIES {
            counts.pop_last();
        }
    }
}

/// One pending record.
struct Pending {
    key: String,
    name: OsString,
    content: PendingContent,
}

enum PendingContent {
    Tally(Tally),
    Unfinished,
    Junk,
}

fn pending(run: &RunDir, now: SystemTime, most: usize) -> Result<Vec<Pending>, RunDirError> {
    let pending = run.read_some(Records::Counters, most)?.into_iter().map(|found| {
        let parsed = found.content.map(|bytes| record::parse(&bytes)).unwrap_or(Parsed::Junk);
        let age = found.modified.and_then(|time| now.duration_since(time).ok()).unwrap_or_default();
        let content = match parsed {
            Parsed::Tally(tally) => PendingContent::Tally(tally),
            Parsed::Unfinished if age < UNFINISHED => PendingContent::Unfinished,
            Parsed::Unfinished | Parsed::Junk => PendingContent::Junk,
        };
        Pending {
            key: format!("{}/{}", found.owner, found.name.to_string_lossy()),
            name: found.name,
            content,
        }
    });
    Ok(pending.collect())
}

/// The writer of a record, by its key.
fn writer(key: &str) -> Uid {
    Uid(key.split('/').next().and_then(|uid| uid.parse().ok()).unwrap_or(u32::MAX))
}

/// The totals with all pending records, without writing. A shared directory that is missing or not readable has no pending records.
///
/// # Errors
/// [`CountersError`] when the state directory is there and cannot be read.
pub fn read(
    state: &StateDir,
    run: Option<&RunDir>,
    believe: &dyn Fn(Tally, Uid) -> Tally,
    now: SystemTime,
) -> Result<CountersSnapshot, CountersError> {
    let load = || -> Result<TotalsFile, CountersError> {
        let dir = state.directory(DIRECTORY)?;
        Ok(dir.map(|dir| TotalsFile::load(&dir)).transpose()?.flatten().unwrap_or_default())
    };
    let mut kept = load()?;
    // Records first and totals afterwards: what a fold takes away meanwhile is then known by its name. Two folds meanwhile
    // would forget that name again; the second read detects this.
    for _ in 0..8 {
        let records = run.and_then(|run| pending(run, now, BATCH * MAX_BATCHES).ok()).unwrap_or_default();
        let again = load()?;
        let is_settled = again.generation <= kept.generation + 1;
        kept = again;
        if is_settled {
            for record in records.into_iter().filter(|record| !kept.folded.contains(&record.key)) {
                if let PendingContent::Tally(tally) = record.content {
                    kept.snapshot.totals.add(&believe(tally, writer(&record.key)));
                }
            }
            break;
        }
    }
    Ok(kept.snapshot)
}

/// Only the samples of filesystems by sweeps.
///
/// # Errors
/// [`CountersError`].
pub fn samples(state: &StateDir) -> Result<Samples, CountersError> {
    let dir = state.directory(DIRECTORY)?;
    let kept = dir.map(|dir| TotalsFile::load(&dir)).transpose()?.flatten();
    Ok(kept.map(|kept| kept.snapshot.samples).unwrap_or_default())
}

/// Adds pending records to the totals, and `samples` to the recorded samples. Does nothing while another fold runs, which adds them.
///
/// # Errors
/// [`CountersError`]; the records are then taken by the next fold.
pub fn fold(work: &FoldWork<'_>, remember: impl FnOnce(&mut Samples)) -> Result<(), CountersError> {
    let dir = work.state.directory_made(DIRECTORY)?;
    let Some(_lock) = lock(&dir).map_err(|source| CountersError::File { operation: "locked", source })?
    else {
        return Ok(());
    };
    let mut kept = TotalsFile::load(&dir)?.unwrap_or_default();
    remember(&mut kept.snapshot.samples);
    for batch in 0..MAX_BATCHES {
        let records = pending(work.run, work.now, BATCH)?;
        let is_full = records.len() == BATCH;
        if batch > 0 && !records.iter().any(|record| matches!(record.content, PendingContent::Tally(_))) {
            break;
        }
        take_in(&mut kept, &records, work);
        kept.generation += 1;
        kept.save(&dir)?;
        for record in records.iter().filter(|record| !matches!(record.content, PendingContent::Unfinished)) {
            work.run.remove(Records::Counters, &record.name)?;
        }
        if !is_full {
            break;
        }
    }
    Ok(())
}

fn take_in(kept: &mut TotalsFile, records: &[Pending], work: &FoldWork<'_>) {
    let mut of_one: BTreeMap<Uid, usize> = BTreeMap::new();
    let mut folded = BTreeSet::new();
    for record in records {
        let PendingContent::Tally(tally) = &record.content else { continue };
        folded.insert(record.key.clone());
        let writer = writer(&record.key);
        let count = of_one.entry(writer).or_default();
        *count += 1;
        if *count <= MAX_OF_ONE && !kept.folded.contains(&record.key) {
            kept.snapshot.totals.add(&(work.believe)(tally.clone(), writer));
        }
    }
    kept.folded = folded;
    kept.forget(work.is_known);
}

/// The lock of folds; `None` while another one holds it. Only the state directory's owner can open the file.
fn lock(dir: &Dir) -> io::Result<Option<File>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(openat(dir, LOCK, flags, Mode::from_raw_mode(0o600))?);
    Ok(match probe(file)? {
        Probe::Taken(file) => Some(file),
        Probe::Held => None,
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests remove their own files and read the clock")]
mod tests {
    use super::super::leave;
    use super::*;
    use crate::model::metrics::{Counter, SweepEnd, Timing};
    use std::path::Path;

    struct TestHost {
        temp: tempfile::TempDir,
        run: RunDir,
        state: StateDir,
    }

    impl TestHost {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let run = RunDir::open(&temp.path().join("run")).unwrap();
            let state = StateDir::at(&temp.path().join("state"));
            Self { temp, run, state }
        }

        fn fold(&self) -> Result<(), CountersError> {
            fold(&self.work(&|_| true), |_| {})
        }

        fn work<'a>(&'a self, is_known: &'a dyn Fn(&str) -> bool) -> FoldWork<'a> {
            let now = SystemTime::now();
            FoldWork { state: &self.state, run: &self.run, believe: &|tally, _| tally, is_known, now }
        }

        fn snapshot(&self) -> CountersSnapshot {
            read(&self.state, Some(&self.run), &|tally, _| tally, SystemTime::now()).unwrap()
        }

        fn errors(&self) -> u64 {
            self.snapshot().totals.get(Counter::Errors, &[])
        }

        fn records(&self) -> std::path::PathBuf {
            self.temp.path().join("run/counters")
        }

        fn pending(&self) -> usize {
            std::fs::read_dir(self.records()).map_or(0, Iterator::count)
        }
    }

    fn errors(count: u64) -> Tally {
        let mut tally = Tally { timings: vec![(Timing::LockShared, 7)], ..Tally::default() };
        tally.count(Counter::Errors, &[], count);
        tally
    }

    #[test]
    fn pending_and_folded_counts_are_reported_once() {
        let host = TestHost::new();
        assert_eq!(host.snapshot(), CountersSnapshot::default());
        leave(&host.run, "1-a", &errors(1)).unwrap();
        assert_eq!((host.errors(), host.pending()), (1, 1));
        host.fold().unwrap();
        assert_eq!((host.errors(), host.pending()), (1, 0));
        leave(&host.run, "2-b", &errors(5)).unwrap();
        assert_eq!(host.errors(), 6);
        host.fold().unwrap();
        host.fold().unwrap();
        assert_eq!(host.errors(), 6);
        assert_eq!(host.snapshot().totals.histograms[&Timing::LockShared].sum, 14);
        // Another boot: the shared directory is gone.
        std::fs::remove_dir_all(host.temp.path().join("run")).unwrap();
        let snapshot = read(&host.state, None, &|tally, _| tally, SystemTime::now()).unwrap();
        assert_eq!(snapshot.totals.get(Counter::Errors, &[]), 6);
    }

    /// Ended after the totals were written and before the records were removed.
    #[test]
    fn a_fold_that_was_cut_off_counts_nothing_twice() {
        let host = TestHost::new();
        leave(&host.run, "1-a", &errors(1)).unwrap();
        let record = std::fs::read(host.records().join("1-a")).unwrap();
        host.fold().unwrap();
        std::fs::write(host.records().join("1-a"), record).unwrap();
        assert_eq!(host.errors(), 1, "known by its name");
        leave(&host.run, "2-b", &errors(10)).unwrap();
        host.fold().unwrap();
        assert_eq!((host.errors(), host.pending()), (11, 0));
    }

    #[test]
    fn totals_that_cannot_be_written_leave_the_records() {
        let host = TestHost::new();
        leave(&host.run, "1-a", &errors(3)).unwrap();
        std::fs::create_dir_all(host.temp.path().join("state/counters/totals.json")).unwrap();
        assert!(host.fold().is_err());
        assert_eq!(host.pending(), 1);
        std::fs::remove_dir(host.temp.path().join("state/counters/totals.json")).unwrap();
        host.fold().unwrap();
        assert_eq!((host.errors(), host.pending()), (3, 0), "the control");
    }

    #[test]
    fn only_one_folds_and_the_other_leaves_the_records_to_it() {
        let host = TestHost::new();
        host.fold().unwrap();
        leave(&host.run, "1-a", &errors(3)).unwrap();
        let dir = host.state.directory(DIRECTORY).unwrap().unwrap();
        let held = lock(&dir).unwrap();
        host.fold().unwrap();
        assert_eq!((held.is_some(), host.pending()), (true, 1));
        drop(held);
        host.fold().unwrap();
        assert_eq!((host.errors(), host.pending()), (3, 0));
    }

    #[test]
    fn foreign_files_are_removed_and_drafts_are_left() {
        let host = TestHost::new();
        leave(&host.run, "1-good", &errors(1)).unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(host.records().join(name), bytes).unwrap();
        put("2-junk", b"junk\n");
        put("3-long", &vec![b'x'; 1 << 20]);
        put("4-young", b"{\"version\":1");
        put("5-killed", b"{\"version\":1");
        let old = SystemTime::now() - Duration::from_secs(600);
        File::options().write(true).open(host.records().join("5-killed")).unwrap().set_modified(old).unwrap();
        put("6-twice", b"{\"version\":1,\"counts\":[[\"errors\",[],100]]}\n");
        std::fs::hard_link(host.records().join("6-twice"), host.temp.path().join("second")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", host.records().join("7-link")).unwrap();
        std::fs::create_dir(host.records().join("8-directory")).unwrap();
        host.fold().unwrap();
        assert_eq!(host.errors(), 1);
        let left = std::fs::read_dir(host.records()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["4-young", "7-link", "8-directory"]);
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn a_flood_is_folded_batch_by_batch_and_one_user_counts_only_so_often() {
        let host = TestHost::new();
        for number in 0..BATCH + 10 {
            leave(&host.run, &format!("{number}-x"), &errors(1)).unwrap();
        }
        host.fold().unwrap();
        assert_eq!((host.errors(), host.pending()), (MAX_OF_ONE as u64 + 10, 0));
    }

    #[test]
    fn runners_that_are_gone_make_room_when_there_are_too_many_series() {
        let host = TestHost::new();
        let mut tally = Tally::default();
        for number in 0..MAX_SERIES + 2 {
            let name = if number % 2 == 0 { format!("gone-{number}") } else { format!("r{number}") };
            tally.count(Counter::Reclaimed, &[&name, "cargo-target", "pressure"], 1);
        }
        tally.count(Counter::Errors, &[], 1);
        let mut kept = TotalsFile::default();
        kept.snapshot.totals.add(&tally);
        kept.forget(&|name| !name.starts_with("gone"));
        assert_eq!(kept.snapshot.totals.counts.len(), MAX_SERIES / 2 + 2);
        assert!(host.snapshot().totals.counts.is_empty());
    }

    #[test]
    fn samples_and_the_last_sweep_are_kept_and_broken_ones_are_reset() {
        let host = TestHost::new();
        let end = SweepEnd { at: 9, took: 8, success: true, goal_met: false, wider_contamination: false };
        leave(&host.run, "1-a", &Tally { sweep: Some(end), ..errors(2) }).unwrap();
        let sample = Sample { at: 1, before: 2, after: 3, total: 4 };
        fold(&host.work(&|_| true), |samples| drop(samples.insert("/mnt".into(), vec![sample]))).unwrap();
        let snapshot = host.snapshot();
        assert_eq!((snapshot.totals.last_sweep, &snapshot.samples["/mnt"]), (Some(end), &vec![sample]));
        std::fs::write(host.temp.path().join("state/counters/totals.json"), "{").unwrap();
        assert_eq!(host.errors(), 0);
        leave(&host.run, "2-b", &errors(4)).unwrap();
        host.fold().unwrap();
        assert_eq!(host.errors(), 4);
    }
}
