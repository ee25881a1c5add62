//! One simulated host, minute by minute.

use super::SimulationOutcome;
use super::workload::{SimulatedHost, SimulatedJob};
use crate::config::{Config, Watermarks};
use crate::model::Usage;
use crate::policy::forecast::{Estimate, Known, growth, need};
use crate::policy::pressure;
use std::collections::VecDeque;

const GIB: f64 = (1u64 << 30) as f64;

/// Footprints of one job that are kept, and of all jobs of the host.
const KEPT: usize = 20;
const KEPT_OF_ALL: usize = 200;

/// How space is freed at a job's start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Admission {
    /// Caches are removed until this many GiB are free.
    Floor(f64),
    /// The default watermarks.
    Watermarks,
    /// Caches are removed until the expected need of the live jobs and of this one is free.
    Forecast,
}

/// What happens to a job if there is not enough space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnShortage {
    /// It continues.
    GoOn,
    /// It is refused.
    Refuse,
}

/// How the bytes that live jobs have used so far are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// They are measured on demand.
    Now,
    /// The sweep measures them every fifteen minutes.
    BySweep,
}

/// One case to simulate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulationCase {
    /// How space is freed.
    pub admission: Admission,
    /// Minutes between two sweeps.
    pub sweep_every: u32,
    /// The maximum number of minutes that a job waits for space, while live siblings may still free some.
    pub wait_at_most: u32,
    /// What the job does after that.
    pub on_short: OnShortage,
    /// The share of jobs without history.
    pub unknown: f64,
    /// A factor on estimates: 0.8 underestimates by a fifth.
    pub bias: f64,
    /// How siblings are measured.
    pub sampling: Sampling,
    /// The number of equal disks that the host's disk is divided into; runners are distributed in turn.
    pub disks: usize,
    /// The number of simulated days.
    pub days: u32,
}

impl SimulationCase {
    /// A case with a sweep every fifteen minutes, without waiting, with history for all jobs, and with one disk.
    pub fn of(admission: Admission) -> Self {
        Self {
            admission,
            sweep_every: 15,
            wait_at_most: 0,
            on_short: OnShortage::GoOn,
            unknown: 0.0,
            bias: 1.0,
            sampling: Sampling::Now,
            disks: 1,
            days: 21,
        }
    }
}

/// A cache on a runner: its size, and when it was last used.
#[derive(Debug, Clone, Copy, Default)]
struct Warm {
    gib: f64,
    used: u32,
}

#[derive(Debug, Clone)]
struct Live {
    job: SimulatedJob,
    since: u32,
    minutes: f64,
    /// The bytes that it adds and keeps, and all bytes that it adds.
    growth: f64,
    peak: f64,
    grown: f64,
    sampled: f64,
    was_warm: f64,
    expected: Estimate,
}

#[derive(Debug, Clone)]
struct Waiting {
    job: SimulatedJob,
    since: u32,
}

/// The history of earlier runs, as the state directory would contain it.
#[derive(Debug, Default)]
struct SimulatedFootprints {
    by_kind: Vec<VecDeque<f64>>,
    all: VecDeque<f64>,
}

impl SimulatedFootprints {
    fn learn(&mut self, job: &SimulatedJob, footprint: f64) {
        let remember = |list: &mut VecDeque<f64>, most: usize| {
            list.push_back(footprint);
            if list.len() > most {
                list.pop_front();
            }
        };
        if job.is_known {
            remember(&mut self.by_kind[job.kind], KEPT);
        }
        remember(&mut self.all, KEPT_OF_ALL);
    }
}

struct Simulation<'c> {
    case: &'c SimulationCase,
    disk: f64,
    other: f64,
    free: Vec<f64>,
    warm: Vec<Vec<Warm>>,
    live: Vec<Option<Live>>,
    waiting: Vec<Option<Waiting>>,
    footprints: SimulatedFootprints,
    marks: Watermarks,
    sum: SimulationOutcome,
    started: f64,
    cold: f64,
    waited: f64,
}

/// Simulates one host from one seed.
pub fn run(host: &SimulatedHost, case: &SimulationCase, seed: u64) -> SimulationOutcome {
    let kinds = host.kinds();
    let minutes = case.days * 24 * 60;
    let jobs = host.jobs(&kinds, seed, f64::from(minutes), case.unknown);
    let disks = case.disks.max(1);
    let (disk, other) = (host.disk / disks as f64, host.other / disks as f64);
    let mut simulated = Simulation {
        case,
        disk,
        other,
        free: vec![disk - other; disks],
        warm: vec![vec![Warm::default(); kinds.len()]; host.runners],
        live: vec![None; host.runners],
        waiting: vec![None; host.runners],
        footprints: SimulatedFootprints { by_kind: vec![VecDeque::new(); kinds.len()], all: VecDeque::new() },
        marks: Config::default().watermarks,
        sum: SimulationOutcome::default(),
        started: 0.0,
        cold: 0.0,
        waited: 0.0,
    };
    let mut arriving = jobs.into_iter().peekable();
    let mut queue = VecDeque::new();
    for now in 0..minutes {
        while let Some(job) = arriving.next_if(|job| job.arrives <= f64::from(now)) {
            queue.push_back(job);
        }
        simulated.minute(now, &mut queue);
    }
    simulated.outcome()
}

impl Simulation<'_> {
    fn minute(&mut self, now: u32, queue: &mut VecDeque<SimulatedJob>) {
        if now.is_multiple_of(15) {
            self.live.iter_mut().flatten().for_each(|live| live.sampled = live.grown);
        }
        if now.is_multiple_of(self.case.sweep_every.max(1)) {
            (0..self.free.len()).for_each(|disk| self.relieve(disk, None));
        }
        for runner in 0..self.live.len() {
            if self.live[runner].is_none() && self.waiting[runner].is_none() {
                self.waiting[runner] = queue.pop_front().map(|job| Waiting { job, since: now });
            }
        }
        let mut asking: Vec<usize> = (0..self.waiting.len()).filter(|i| self.waiting[*i].is_some()).collect();
        asking.sort_by_key(|runner| self.waiting[*runner].as_ref().map(|waiting| waiting.since));
        for runner in asking {
            self.admit(runner, now);
        }
        let runners = self.live.len();
        for step in 0..runners {
            self.work((now as usize + step) % runners, now);
        }
    }

    fn disk_of(&self, runner: usize) -> usize {
        runner % self.free.len()
    }

    /// The guard under pressure: caches are removed until the low mark is reached.
    fn relieve(&mut self, disk: usize, own: Option<(usize, usize)>) {
        let bytes = |gib: f64| (gib * GIB) as u64;
        let usage = Usage {
            total_bytes: bytes(self.disk),
            used_bytes: bytes(self.disk - self.free[disk]),
            available_bytes: bytes(self.free[disk]),
            inodes_total: 0,
            inodes_free: 0,
        };
        let need = pressure::need(&usage, &self.marks);
        if !need.is_met() {
            self.evict(disk, self.free[disk] + need.bytes as f64 / GIB, own);
        }
    }

    /// Removes idle caches, the coldest first, until this much is free. `own` is the runner of the starting job, which may remove its own
    /// caches except that of the job's kind. Returns whether the goal was reached.
    fn evict(&mut self, disk: usize, goal: f64, own: Option<(usize, usize)>) -> bool {
        if self.free[disk] >= goal {
            return true;
        }
        let mut candidates = Vec::new();
        for runner in (0..self.live.len()).filter(|runner| self.disk_of(*runner) == disk) {
            let is_idle = self.live[runner].is_none() && self.waiting[runner].is_none();
            let is_own = own.is_some_and(|(index, _)| index == runner);
            for (kind, warm) in self.warm[runner].iter().enumerate() {
                if warm.gib > 0.0 && (is_idle || is_own) && own != Some((runner, kind)) {
                    candidates.push((warm.used, runner, kind));
                }
            }
        }
        candidates.sort_unstable();
        for (_, runner, kind) in candidates {
            if self.free[disk] >= goal {
                break;
            }
            let gone = std::mem::take(&mut self.warm[runner][kind]).gib;
            self.free[disk] += gone;
            self.sum.evicted_gib_a_day += gone;
        }
        self.free[disk] >= goal
    }

    fn expected(&self, job: &SimulatedJob, runner: usize) -> Estimate {
        let bytes = |list: &VecDeque<f64>| list.iter().map(|gib| gib * GIB).collect::<Vec<_>>();
        let own = if job.is_known { bytes(&self.footprints.by_kind[job.kind]) } else { Vec::new() };
        let others = bytes(&self.footprints.all);
        let shares = self.warm.iter().map(|caches| caches[job.kind].gib * GIB);
        let estimate = growth(&Known {
            own: &own,
            largest_share: shares.max_by(f64::total_cmp).filter(|share| *share > 0.0),
            others: &others,
            unknown: 20.0 * GIB,
            warm: self.warm[runner][job.kind].gib * GIB,
        });
        let bias = self.case.bias;
        Estimate { mean: estimate.mean * bias, variance: estimate.variance * bias * bias }
    }

    fn admit(&mut self, runner: usize, now: u32) {
        let Some(waiting) = self.waiting[runner].clone() else { return };
        let (disk, job) = (self.disk_of(runner), waiting.job);
        let own = Some((runner, job.kind));
        let siblings: Vec<&Live> = self
            .live
            .iter()
            .enumerate()
            .filter(|(i, _)| self.disk_of(*i) == disk)
            .filter_map(|(_, l)| l.as_ref())
            .collect();
        let is_alone = siblings.is_empty();
        let expected = self.expected(&job, runner);
        let is_enough = match self.case.admission {
            Admission::Floor(gib) => self.evict(disk, gib, own),
            Admission::Watermarks => {
                self.relieve(disk, own);
                true
            }
            Admission::Forecast => {
                let used = |live: &Live| match self.case.sampling {
                    Sampling::Now => live.grown,
                    Sampling::BySweep => live.sampled,
                };
                let unrealised = siblings.iter().map(|live| live.expected.less(used(live) * GIB));
                let mut goal = need(unrealised.chain([expected])) / GIB;
                if is_alone {
                    // Waiting would free no more.
                    let all = self.disk - self.other - self.warm[runner][job.kind].gib;
                    goal = goal.min(all - 1.0);
                }
                self.evict(disk, goal, own) || is_alone
            }
        };
        if !is_enough && now - waiting.since < self.case.wait_at_most {
            return;
        }
        self.waiting[runner] = None;
        if !is_enough && self.case.on_short == OnShortage::Refuse {
            self.sum.refused += 1.0;
            return;
        }
        self.begin(runner, now, waiting.since, job, expected);
    }

    fn begin(&mut self, runner: usize, now: u32, asked: u32, job: SimulatedJob, expected: Estimate) {
        let warm = &mut self.warm[runner][job.kind];
        warm.used = now;
        let was_warm = warm.gib;
        let growth = (job.footprint - was_warm).max(job.footprint * 0.03);
        let missing = 1.0 - (was_warm / job.footprint).min(1.0);
        self.started += 1.0;
        self.cold += if missing > 0.5 { 1.0 } else { 0.0 };
        self.waited += f64::from(now - asked);
        self.live[runner] = Some(Live {
            since: now,
            minutes: job.minutes * (1.0 + 0.8 * missing),
            growth,
            peak: growth + job.temporary,
            grown: 0.0,
            sampled: 0.0,
            was_warm,
            expected,
            job,
        });
    }

    fn work(&mut self, runner: usize, now: u32) {
        let disk = self.disk_of(runner);
        let Some(live) = self.live[runner].as_mut() else { return };
        let done = (f64::from(now - live.since + 1) / live.minutes).min(1.0);
        let step = (live.peak * (done / 0.92).min(1.0) - live.grown).max(0.0);
        let kind = live.job.kind;
        if step > self.free[disk] {
            let grown = live.grown + self.free[disk];
            self.free[disk] = grown * 0.1;
            let warm = &mut self.warm[runner][kind];
            *warm = Warm { gib: warm.gib + grown * 0.9, used: now };
            self.sum.died += 1.0;
            self.sum.lost_hours += f64::from(now - live.since) / 60.0;
            self.live[runner] = None;
            return;
        }
        live.grown += step;
        self.free[disk] -= step;
        if done >= 1.0 {
            let ended = live.clone();
            self.footprints.learn(&ended.job, ended.grown + ended.was_warm);
            self.free[disk] += ended.grown - ended.growth;
            let warm = &mut self.warm[runner][kind];
            *warm = Warm { gib: warm.gib + ended.growth, used: now };
            self.sum.done += 1.0;
            self.live[runner] = None;
        }
    }

    fn outcome(self) -> SimulationOutcome {
        let ended = (self.sum.done + self.sum.died).max(1.0);
        SimulationOutcome {
            died_per_1000: 1000.0 * self.sum.died / ended,
            wait_minutes: self.waited / self.started.max(1.0),
            evicted_gib_a_day: self.sum.evicted_gib_a_day / f64::from(self.case.days.max(1)),
            cold_percent: 100.0 * self.cold / self.started.max(1.0),
            ..self.sum
        }
    }
}
