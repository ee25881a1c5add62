//! What a storm came to.

use super::build::{End, Ended};
use super::kit::Host;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) jobs: AtomicUsize,
    pub(crate) sweeps: AtomicUsize,
    pub(crate) paused: AtomicUsize,
    pub(crate) hooks_killed: AtomicUsize,
    pub(crate) sweeps_killed: AtomicUsize,
    pub(crate) workers_killed: AtomicUsize,
    ended: Mutex<Vec<Ended>>,
}

impl Tally {
    pub(crate) fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note(&self, mut ended: Ended, circumstances: (String, String)) {
        ended.circumstances = circumstances;
        if ended.end == End::Whole {
            ended.log.clear();
        }
        self.ended.lock().expect("held for one push").push(ended);
    }

    /// Builds that ended like this.
    pub(crate) fn of(&self, end: End) -> usize {
        self.count_ended(|ended| ended.end == end)
    }

    /// Builds that began, and so ended somehow.
    pub(crate) fn ended(&self) -> usize {
        self.count_ended(|_| true)
    }

    /// The logs of those that did not end well, and what the guards' ledger has about their runners.
    pub(crate) fn breakages(&self, host: &Host) -> String {
        let ended = self.ended.lock().expect("held for one look");
        let bad = ended.iter().filter(|ended| ended.end != End::Whole);
        let ledger = std::fs::read_to_string(host.state_dir().join("ledger.jsonl")).unwrap_or_default();
        let told = |ended: &Ended| {
            let (runner, circumstances) = &ended.circumstances;
            let about = |line: &&str| line.contains(&format!("/{runner}/"));
            let deeds: Vec<&str> = ledger.lines().filter(about).collect();
            format!("{:?}, {runner}, {circumstances}:\n{}\n{}\n", ended.end, ended.log, deeds.join("\n"))
        };
        bad.map(told).collect()
    }

    fn count_ended(&self, wanted: impl Fn(&Ended) -> bool) -> usize {
        self.ended.lock().expect("held for one look").iter().filter(|ended| wanted(ended)).count()
    }

    pub(crate) fn report(&self, host: &Host) -> Report {
        let history = host.guard(&["history", "--since", "24h ago", "--json"]).expect_code(&[0]).report();
        let rules = history.0["by_rule"].as_array().expect("a list");
        let removed = |rule: &str| {
            let total = rules.iter().find(|total| total["name"] == rule);
            total.map_or(0, |total| total["count"].as_u64().expect("a figure") as usize)
        };
        let of = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Report {
            jobs: of(&self.jobs),
            builds: self.ended(),
            broken: self.of(End::Broken),
            no_space: self.of(End::NoSpace),
            warm: self.count_ended(|ended| ended.warm),
            hooks_killed: of(&self.hooks_killed),
            workers_killed: of(&self.workers_killed),
            sweeps_killed: of(&self.sweeps_killed),
            paused: of(&self.paused),
            sweeps: of(&self.sweeps),
            reclaimed: removed("cargo-target"),
            finished: removed("trash"),
            reclaimed_bytes: history.0["freed_bytes"].as_u64().expect("a figure"),
            trash_bytes: host.status().0["trash_bytes"].as_u64().expect("a figure"),
        }
    }
}

/// For people, and for the last assertions.
pub(crate) struct Report {
    jobs: usize,
    builds: usize,
    broken: usize,
    no_space: usize,
    warm: usize,
    hooks_killed: usize,
    workers_killed: usize,
    sweeps_killed: usize,
    paused: usize,
    sweeps: usize,
    /// Trees that a guard has claimed and deleted.
    pub(crate) reclaimed: usize,
    /// Trees of guards that were killed, deleted by another.
    finished: usize,
    reclaimed_bytes: u64,
    pub(crate) trash_bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} jobs, {} builds ({} warm), {} broken, {} out of space; killed: {} hooks, {} Workers, {} sweeps; {} guards paused; \
             {} sweeps; {} trees reclaimed, {} finished after a killed guard, {} MiB in all, {} bytes left in trash",
            self.jobs,
            self.builds,
            self.warm,
            self.broken,
            self.no_space,
            self.hooks_killed,
            self.workers_killed,
            self.sweeps_killed,
            self.paused,
            self.sweeps,
            self.reclaimed,
            self.finished,
            self.reclaimed_bytes >> 20,
            self.trash_bytes
        )
    }
}
