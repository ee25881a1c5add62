//! The hosts that are simulated, and the jobs that arrive there. Sizes are GiB, times minutes.

use super::random::{around_one, between, pause};
use fastrand::Rng;

/// A kind of job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobKind {
    /// Repository and job in one.
    pub name: String,
    /// Its average size at its end.
    pub footprint: f64,
    /// The spread of single runs, as the sigma of a log-normal distribution.
    pub spread: f64,
    /// Its temporary bytes until its end, as a share of its footprint.
    pub temporary: f64,
    /// Its duration with a warm cache.
    pub minutes: f64,
    /// Its frequency relative to the others.
    pub weight: f64,
}

/// A host.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedHost {
    /// Its name.
    pub name: &'static str,
    /// The size of its disk.
    pub disk: f64,
    /// The part that is not used by runners.
    pub other: f64,
    /// The number of its runners.
    pub runners: usize,
    /// The share of the runners' time that jobs would take with warm caches.
    pub load: f64,
    /// Its jobs.
    pub(super) kinds: fn() -> Vec<JobKind>,
}

/// The hosts of the published reports that the forecast was designed for.
pub const HOSTS: [SimulatedHost; 4] = [
    SimulatedHost { name: "signoff", disk: 700.0, other: 150.0, runners: 4, load: 0.45, kinds: signoff },
    SimulatedHost {
        name: "co-located",
        disk: 900.0,
        other: 120.0,
        runners: 14,
        load: 0.45,
        kinds: co_located,
    },
    SimulatedHost { name: "web", disk: 200.0, other: 40.0, runners: 8, load: 0.60, kinds: web },
    SimulatedHost { name: "gate", disk: 295.0, other: 25.0, runners: 3, load: 0.30, kinds: gate },
];

pub(super) fn kind(name: &str, [footprint, spread, temporary, minutes, weight]: [f64; 5]) -> JobKind {
    JobKind { name: name.to_owned(), footprint, spread, temporary, minutes, weight }
}

fn signoff() -> Vec<JobKind> {
    vec![
        kind("signoff", [110.0, 0.25, 0.15, 80.0, 5.0]),
        kind("build", [60.0, 0.3, 0.1, 45.0, 4.0]),
        kind("lint", [25.0, 0.3, 0.05, 20.0, 4.0]),
    ]
}

fn gate() -> Vec<JobKind> {
    vec![kind("gate-full", [85.0, 0.20, 0.25, 70.0, 5.0]), kind("gate-light", [22.0, 0.3, 0.1, 25.0, 4.0])]
}

fn co_located() -> Vec<JobKind> {
    let mut kinds = Vec::new();
    for repository in 0..8u32 {
        for (name, footprint, minutes, weight) in
            [("test", 38.0, 30.0, 3.0), ("cov", 55.0, 45.0, 1.5), ("lint", 16.0, 10.0, 3.0)]
        {
            let footprint = footprint * (0.7 + 0.06 * f64::from(repository));
            kinds.push(kind(&format!("r{repository}-{name}"), [footprint, 0.3, 0.1, minutes, weight]));
        }
    }
    kinds
}

fn web() -> Vec<JobKind> {
    let mut kinds = Vec::new();
    for repository in 0..6 {
        for (name, footprint, minutes, weight) in
            [("build", 9.0, 12.0, 3.0), ("e2e", 16.0, 25.0, 2.0), ("img", 22.0, 20.0, 1.0)]
        {
            kinds.push(kind(&format!("w{repository}-{name}"), [footprint, 0.35, 0.3, minutes, weight]));
        }
    }
    kinds
}

/// One job, with the properties that are unknown before it runs.
#[derive(Debug, Clone)]
pub(super) struct SimulatedJob {
    pub(super) arrives: f64,
    /// The index of its kind.
    pub(super) kind: usize,
    /// Whether its history is known under its name.
    pub(super) is_known: bool,
    pub(super) footprint: f64,
    pub(super) temporary: f64,
    pub(super) minutes: f64,
}

impl SimulatedHost {
    /// The jobs of this host.
    pub fn kinds(&self) -> Vec<JobKind> {
        (self.kinds)()
    }

    /// All jobs of this many minutes. One in 33 is much larger than its kind: a dependency bump, coverage, debug information.
    pub(super) fn jobs(&self, kinds: &[JobKind], seed: u64, minutes: f64, unknown: f64) -> Vec<SimulatedJob> {
        let mut rng = Rng::with_seed(seed);
        let weight: f64 = kinds.iter().map(|kind| kind.weight).sum();
        let length = kinds.iter().map(|kind| kind.weight * kind.minutes).sum::<f64>() / weight;
        let rate = self.load * self.runners as f64 / length;
        let (mut jobs, mut arrives) = (Vec::new(), 0.0);
        loop {
            arrives += pause(&mut rng, rate);
            if arrives >= minutes {
                return jobs;
            }
            let mut drawn = rng.f64() * weight;
            let index = kinds.iter().position(|kind| {
                drawn -= kind.weight;
                drawn < 0.0
            });
            let index = index.unwrap_or(kinds.len() - 1);
            let kind = &kinds[index];
            let bump = if rng.f64() > 0.03 { 1.0 } else { between(&mut rng, 1.3, 1.8) };
            let footprint = kind.footprint * around_one(&mut rng, kind.spread) * bump;
            let temporary = footprint * kind.temporary * between(&mut rng, 0.3, 1.5);
            let minutes = (kind.minutes * around_one(&mut rng, 0.2)).max(3.0);
            let is_known = rng.f64() >= unknown;
            jobs.push(SimulatedJob { arrives, kind: index, is_known, footprint, temporary, minutes });
        }
    }
}
