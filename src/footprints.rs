//! How much the jobs of one runner have written: the size of a job's repository on its runner at the end of the job, by repository and
//! job.
//!
//! The file is `<work>/.disk-guard/footprints`, written by the completed-hook; it survives reboots. On a full disk nothing is written, and
//! the older runs remain.
//!
//! Jobs can write it. It decides how much room is made before that runner's own jobs begin, never what may be removed; the amount that one
//! job can ask for is bounded ([`crate::policy::forecast::most_of_one`]). Of a file that is too long, damaged, of another format, or with
//! times in the future or impossible sizes, only the sound part counts, which may be nothing; the rest is reported.

use crate::model::Job;
use crate::reclaim::trash;
use crate::setup::place;
use crate::setup::place::own;
use crate::sys::dir::Dir;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FILE: &str = "footprints";

const VERSION: u32 = 1;

/// The guard never writes a longer file: the names of remembered jobs are short.
const MAX_BYTES: u64 = 128 << 10;

/// Jobs of one runner that are remembered, the latest; and runs of each.
const MAX_JOBS: usize = 128;
const MAX_RUNS: usize = 20;

/// Names are cut here.
const MAX_NAME: usize = 200;

/// No repository is larger.
const MAX_FOOTPRINT: u64 = 1 << 50;

/// How far ahead of ours the clock may have been.
const MAX_AHEAD: Duration = Duration::from_secs(86_400);

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FootprintsFile {
    version: u32,
    jobs: Vec<FootprintEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FootprintEntry {
    repository: String,
    job: String,
    /// When it last ended, in seconds since the epoch.
    at: u64,
    /// Bytes, the latest run last.
    runs: Vec<u64>,
}

/// The recorded sizes of the jobs of one runner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprints {
    jobs: Vec<FootprintEntry>,
    /// The part of the file that is not trusted, for people.
    pub fault: Option<String>,
}

impl Footprints {
    /// Reads the file of a work directory; without a file nothing is known.
    pub fn of(work: &Dir, now: SystemTime) -> Self {
        // By one path: every system call before a job counts.
        match work.read_file_and_status(Path::new(trash::HOME).join(FILE), MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Ok((_, status)) if status.links != 1 => Self::faulty("it has a second name".to_owned()),
            Ok((bytes, _)) => Self::understand(&bytes, now),
            Err(error) => Self::faulty(format!("it cannot be read: {error}")),
        }
    }

    fn faulty(fault: String) -> Self {
        Self { jobs: Vec::new(), fault: Some(fault) }
    }

    /// From the file's text.
    pub(crate) fn understand(text: &[u8], now: SystemTime) -> Self {
        let written: FootprintsFile = match serde_json::from_slice(text) {
            Ok(written) => written,
            Err(error) => return Self::faulty(format!("it cannot be understood: {error}")),
        };
        if written.version != VERSION {
            return Self::faulty(format!("it is of version {}, expected {VERSION}", written.version));
        }
        if written.jobs.len() > MAX_JOBS {
            return Self::faulty(format!("it has {} jobs, expected at most {MAX_JOBS}", written.jobs.len()));
        }
        let latest = now + MAX_AHEAD;
        let is_sound = |entry: &FootprintEntry| {
            let at = UNIX_EPOCH.checked_add(Duration::from_secs(entry.at));
            at.is_some_and(|at| at <= latest)
                && (1..=MAX_RUNS).contains(&entry.runs.len())
                && entry.runs.iter().all(|bytes| *bytes <= MAX_FOOTPRINT)
        };
        let (jobs, unsound): (Vec<_>, Vec<_>) = written.jobs.into_iter().partition(is_sound);
        let fault = (!unsound.is_empty()).then(|| {
            format!(
                "{} of its jobs are from the future, of sizes that no disk has, or not of 1 to {MAX_RUNS} runs",
                unsound.len()
            )
        });
        Self { jobs, fault }
    }

    /// The footprints of a job, in bytes, the latest run last.
    pub fn runs(&self, job: &Job) -> &[u64] {
        let known = self.jobs.iter().find(|entry| entry.is_of(job));
        known.map_or(&[], |entry| &entry.runs)
    }

    /// Those of every job.
    pub fn all(&self) -> impl Iterator<Item = &[u64]> {
        self.jobs.iter().map(|entry| entry.runs.as_slice())
    }

    /// Adds a run, and forgets the oldest where there are too many.
    pub fn learn(&mut self, job: &Job, bytes: u64, now: SystemTime) {
        let at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let index = self.jobs.iter().position(|entry| entry.is_of(job));
        let mut entry = index.map_or_else(
            || FootprintEntry { repository: cut(&job.repository), job: cut(&job.job), at, runs: Vec::new() },
            |index| self.jobs.remove(index),
        );
        entry.at = at;
        entry.runs.push(bytes.min(MAX_FOOTPRINT));
        let surplus = entry.runs.len().saturating_sub(MAX_RUNS);
        entry.runs.drain(..surplus);
        self.jobs.insert(0, entry);
        self.jobs.truncate(MAX_JOBS);
    }

    /// Writes it.
    ///
    /// # Errors
    /// What the system reports, for example a full disk. The old file remains.
    pub fn keep(&self, work: &Dir) -> io::Result<()> {
        let home = work.descend(trash::HOME)?;
        let written = FootprintsFile { version: VERSION, jobs: self.jobs.clone() };
        let text = serde_json::to_vec(&written).expect("numbers and strings serialise");
        place::replace_soon(&home, FILE, &text, own(0o644))
    }

    /// Its path, for people.
    pub fn path(work: &Path) -> std::path::PathBuf {
        work.join(trash::HOME).join(FILE)
    }
}

impl FootprintEntry {
    fn is_of(&self, job: &Job) -> bool {
        self.repository == cut(&job.repository) && self.job == cut(&job.job)
    }
}

fn cut(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn job(name: &str) -> Job {
        Job { repository: "acme/app".into(), run_id: "1".into(), job: name.into() }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn runs_are_remembered_by_repository_and_job_the_latest_of_each() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join(".disk-guard")).unwrap();
        let (work, _) = Dir::resolve(temp.path()).unwrap();
        assert_eq!(Footprints::of(&work, at(9)), Footprints::default());
        for run in 0..30 {
            let mut known = Footprints::of(&work, at(run));
            known.learn(&job("build"), run, at(run));
            known.keep(&work).unwrap();
        }
        let known = Footprints::of(&work, at(30));
        assert_eq!(known.runs(&job("build")), (10..30).collect::<Vec<u64>>());
        assert_eq!(known.runs(&job("test")), [0u64; 0]);
        assert_eq!(work.descend(".disk-guard").unwrap().names(9).unwrap().len(), 1, "no draft is left");

        let mut many = known;
        (0..300).for_each(|n| many.learn(&job(&format!("{n}{}", "x".repeat(500))), n, at(40)));
        many.keep(&work).unwrap();
        let known = Footprints::of(&work, at(40));
        assert_eq!(
            (known.all().count(), known.fault.as_deref()),
            (MAX_JOBS, None),
            "and it can be read back"
        );
        assert_eq!(known.runs(&job(&format!("299{}", "x".repeat(500)))), [299]);
    }

    #[test]
    fn damaged_oversized_forged_and_future_histories_are_rejected_and_reported() {
        let text = |at: u64, bytes: u64| {
            format!(
                r#"{{"version":1,"jobs":[{{"repository":"acme/app","job":"build","at":{at},"runs":[{bytes}]}},
                {{"repository":"acme/app","job":"good","at":5,"runs":[7]}}]}}"#
            )
        };
        let now = at(1_000_000);
        let good = Footprints::understand(text(5, 9).as_bytes(), now);
        assert_eq!((good.runs(&job("build")), good.fault.as_deref()), (&[9][..], None), "the control");
        for (forged, told) in [
            (text(u64::MAX, 9), "future"),
            (text(2_000_000, 9), "future"),
            (text(5, u64::MAX), "sizes"),
            (text(5, 9).replace("[9]", "[]"), "sizes"),
            (text(5, 9).replace("[9]", &format!("{:?}", [1; 21])), "sizes"),
        ] {
            let known = Footprints::understand(forged.as_bytes(), now);
            assert!(known.fault.as_ref().is_some_and(|fault| fault.contains(told)), "{forged}: {known:?}");
            assert_eq!(known.runs(&job("build")), [0u64; 0], "{forged}");
            assert_eq!(known.runs(&job("good")), [7], "what is sound counts: {forged}");
        }
        for garbage in ["", "{", "[]", "{\"version\":2,\"jobs\":[]}", "{\"version\":1,\"jobs\":[],\"x\":1}"] {
            let known = Footprints::understand(garbage.as_bytes(), now);
            assert!(known.fault.is_some() && known.jobs.is_empty(), "{garbage}");
        }
    }

    #[test]
    fn no_link_is_followed_and_a_longer_file_is_not_read() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().join(".disk-guard");
        std::fs::create_dir(&home).unwrap();
        let (work, _) = Dir::resolve(temp.path()).unwrap();
        let file = home.join(FILE);
        std::fs::write(temp.path().join("victim"), "{\"version\":1,\"jobs\":[]}").unwrap();
        symlink("../victim", &file).unwrap();
        assert!(Footprints::of(&work, at(1)).fault.is_some());
        let mut known = Footprints::default();
        known.learn(&job("build"), 5, at(1));
        known.keep(&work).unwrap();
        assert_eq!(std::fs::read(temp.path().join("victim")).unwrap().len(), 23, "it is replaced");
        assert_eq!(Footprints::of(&work, at(1)).runs(&job("build")), [5]);
        std::fs::write(&file, vec![b' '; MAX_BYTES as usize + 1]).unwrap();
        assert!(Footprints::of(&work, at(1)).fault.is_some());
    }
}
