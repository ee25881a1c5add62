//! In which order a cargo target directory is trimmed, the cheapest to lose first.
//!
//! 1. Units that no build can reuse: their fingerprint is gone or torn, or one of their dependencies no longer exists.
//! 2. Units that no build has used since others were used. At a job's end the guard resets the access times of every unit that the job has
//!    used (see `observe::cargo_target::reference`), so units with the same change time belong to one job, and the change times newer than
//!    a unit's count the jobs since it was used. What a build uses is closed under dependencies. Where that does not hold, access times
//!    prove nothing, and the newest unit of each role, with its dependencies, counts as used.
//! 3. What belongs to no unit, then incremental state.
//! 4. Units in use: a unit together with all that depends on it, the least build time for a byte first. Units of the workspace cost
//!    nothing here, because the next commit rebuilds them anyway. Each unit is a step of its own, after those that depend on it, so
//!    that a trim removes no more than it needs.

use crate::model::{
    AccessTimes, CargoTarget, ExtraKind, Origin, ReferenceBits, TrimOffer, TrimStep, TrimTier, Unit,
    UnitState,
};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::time::{Duration, SystemTime};

/// Change times that are closer than this belong to the end of one job. Resetting access times takes milliseconds.
const SAME_JOB: Duration = Duration::from_secs(1);

/// The cost of building any unit beside the compiler's own time: a process, and cargo's work for it.
const EACH_UNIT: Duration = Duration::from_millis(50);

/// A closure that frees less is not worth its build.
const WORTH_IT: u64 = 64 << 10;

/// Up to this many units in use are ordered one closure after the other, each against what is left; more are ordered once, so that the
/// time stays bounded.
const MAX_GREEDY: usize = 2000;

/// Orders the content of `target`. `access_times` is that of its filesystem.
pub fn offer(target: &CargoTarget, access_times: AccessTimes) -> TrimOffer {
    let graph = Graph::of(&target.units);
    let (bits, jobs_since) = reference_bits(&graph, access_times);
    let standing = graph.standing(&bits, &jobs_since);
    let mut steps = Vec::new();
    for (tier, wanted) in [(TrimTier::Broken, UnitStanding::Broken), (TrimTier::Unused, UnitStanding::Unused)]
    {
        let mut found: Vec<usize> =
            (0..target.units.len()).filter(|index| standing[*index] == wanted).collect();
        found.sort_by_key(|index| {
            (std::cmp::Reverse(jobs_since[*index]), last_use(&target.units[*index]), *index)
        });
        steps.extend(found.into_iter().map(|index| step(tier, &target.units, &[index], Duration::ZERO)));
    }
    for (tier, kind) in
        [(TrimTier::Leftover, ExtraKind::Leftover), (TrimTier::Incremental, ExtraKind::Incremental)]
    {
        let mut extras: Vec<_> = target.extras.iter().filter(|extra| extra.kind == kind).collect();
        extras.sort_by_key(|extra| extra.changed);
        steps.extend(extras.into_iter().map(|extra| TrimStep {
            tier,
            bytes: extra.bytes,
            cost: Duration::ZERO,
            last_used: extra.changed,
            units: 0,
            members: extra.members.clone(),
        }));
    }
    let live: BTreeSet<usize> =
        (0..target.units.len()).filter(|index| standing[*index] == UnitStanding::Live).collect();
    steps.extend(graph.live_steps(live));
    TrimOffer { steps, locks: target.locks.clone(), bits, bytes: target.bytes }
}

/// When a build last used a unit: when it read its fingerprint, or built it.
pub fn last_use(unit: &Unit) -> SystemTime {
    unit.read.max(unit.built)
}

fn step(tier: TrimTier, units: &[Unit], taken: &[usize], cost: Duration) -> TrimStep {
    let of = || taken.iter().map(|index| &units[*index]);
    TrimStep {
        tier,
        bytes: of().map(|unit| unit.bytes).sum(),
        cost,
        last_used: of().map(last_use).max().unwrap_or(SystemTime::UNIX_EPOCH),
        units: taken.len(),
        members: of().flat_map(|unit| unit.members.iter().cloned()).collect(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitStanding {
    Broken,
    Unused,
    Live,
}

/// Which unit was built from which.
struct Graph<'u> {
    units: &'u [Unit],
    needs: Vec<Vec<usize>>,
    needed_by: Vec<Vec<usize>>,
    /// Units that need one which no longer exists.
    lacks: Vec<bool>,
}

impl<'u> Graph<'u> {
    fn of(units: &'u [Unit]) -> Self {
        let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, unit) in units.iter().enumerate() {
            unit.hashes.iter().for_each(|hash| by_hash.entry(*hash).or_default().push(index));
        }
        let mut graph = Self {
            units,
            needs: vec![Vec::new(); units.len()],
            needed_by: vec![Vec::new(); units.len()],
            lacks: vec![false; units.len()],
        };
        for (index, unit) in units.iter().enumerate() {
            for hash in &unit.needs {
                match by_hash.get(hash) {
                    None => graph.lacks[index] = true,
                    Some(found) => {
                        graph.needs[index].extend(found);
                        found.iter().for_each(|needed| graph.needed_by[*needed].push(index));
                    }
                }
            }
        }
        graph
    }

    /// `from` with all that is reached along `edges`.
    fn closure(edges: &[Vec<usize>], from: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<usize> = from.into_iter().collect();
        while let Some(index) = waiting.pop() {
            if reached.insert(index) {
                waiting.extend(&edges[index]);
            }
        }
        reached
    }

    fn standing(&self, bits: &ReferenceBits, jobs_since: &[usize]) -> Vec<UnitStanding> {
        let all = 0..self.units.len();
        let is_broken = |index: &usize| self.lacks[*index] || self.units[*index].state == UnitState::Broken;
        let broken = Self::closure(&self.needed_by, all.clone().filter(is_broken));
        let used: BTreeSet<usize> = match bits {
            ReferenceBits::Trusted => {
                let recent = all.clone().filter(|index| jobs_since[*index] == 0);
                Self::closure(&self.needs, recent)
            }
            ReferenceBits::Untrusted(_) => {
                let newest = self.newest_of_each_role(&broken);
                Self::closure(&self.needs, newest).difference(&broken).copied().collect()
            }
        };
        all.map(|index| match () {
            () if used.contains(&index) => UnitStanding::Live,
            () if broken.contains(&index) => UnitStanding::Broken,
            () => UnitStanding::Unused,
        })
        .collect()
    }

    /// Of the units that nothing depends on, the newest of each role.
    fn newest_of_each_role(&self, broken: &BTreeSet<usize>) -> Vec<usize> {
        let mut newest: HashMap<&str, usize> = HashMap::new();
        for (index, unit) in self.units.iter().enumerate() {
            let is_final = self.needed_by[index].iter().all(|by| broken.contains(by));
            if is_final && !broken.contains(&index) {
                let best = newest.entry(&unit.role).or_insert(index);
                if unit.built > self.units[*best].built {
                    *best = index;
                }
            }
        }
        newest.into_values().collect()
    }

    /// The cost of rebuilding a unit, as far as a commit does not rebuild it anyway.
    fn cost(&self, index: usize) -> Duration {
        match self.units[index].origin {
            Origin::Workspace => EACH_UNIT,
            Origin::Dependency => self.units[index].cost.saturating_add(EACH_UNIT),
        }
    }

    /// Units in use, closure by closure.
    fn live_steps(&self, mut left: BTreeSet<usize>) -> Vec<TrimStep> {
        let closure = |index: usize| {
            let mut all = Self::closure(&self.needed_by, [index]);
            all.retain(|member| left.contains(member));
            all
        };
        let price = |closure: &BTreeSet<usize>| self.price(closure.iter().copied());
        let mut waiting: Vec<BTreeSet<usize>> = left.iter().map(|index| closure(*index)).collect();
        let greedy = waiting.len() <= MAX_GREEDY;
        if !greedy {
            waiting.sort_by(|one, other| price(one).total_cmp(&price(other)));
            waiting.reverse();
        }
        let mut steps = Vec::new();
        while !waiting.is_empty() {
            let cheapest = if greedy {
                let prices = waiting.iter().map(price).enumerate();
                prices.min_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |(index, _)| index)
            } else {
                waiting.len() - 1
            };
            let mut taken = waiting.swap_remove(cheapest);
            taken.retain(|index| left.remove(index));
            if greedy {
                waiting.iter_mut().for_each(|closure| closure.retain(|index| left.contains(index)));
                waiting.retain(|closure| !closure.is_empty());
            }
            for unit in self.dependents_first(&taken) {
                steps.push(step(TrimTier::Live, self.units, &[unit], self.cost(unit)));
            }
        }
        steps
    }

    /// The units of a closure, each after all that depend on it, so that a trim can end between any two of them. Among those that may be
    /// next, the one with the least build time for a byte.
    fn dependents_first(&self, closure: &BTreeSet<usize>) -> Vec<usize> {
        // Prices are not negative, and the bits of such numbers are ordered as the numbers are.
        let turn = |index: usize| Reverse((self.price([index]).to_bits(), index));
        let mut waits_for: HashMap<usize, usize> = closure.iter().map(|index| (*index, 0)).collect();
        for needed in closure.iter().flat_map(|index| &self.needs[*index]) {
            waits_for.entry(*needed).and_modify(|dependents| *dependents += 1);
        }
        let free = waits_for.iter().filter(|(_, dependents)| **dependents == 0);
        let mut next: BinaryHeap<_> = free.map(|(index, _)| turn(*index)).collect();
        let mut ordered = Vec::new();
        while let Some(Reverse((_, index))) = next.pop() {
            ordered.push(index);
            waits_for.remove(&index);
            for needed in &self.needs[index] {
                if let Some(dependents) = waits_for.get_mut(needed) {
                    *dependents -= 1;
                    next.extend((*dependents == 0).then(|| turn(*needed)));
                }
            }
        }
        // Cargo makes no circles, but a job can forge fingerprints.
        ordered.extend(closure.iter().filter(|index| waits_for.contains_key(index)));
        ordered
    }

    /// Seconds of build time per byte; steps that free almost nothing are last.
    fn price(&self, units: impl IntoIterator<Item = usize>) -> f64 {
        let (mut bytes, mut cost) = (0, Duration::ZERO);
        for index in units {
            bytes += self.units[index].bytes;
            cost = cost.saturating_add(self.cost(index));
        }
        if bytes < WORTH_IT { f64::MAX } else { cost.as_secs_f64() / bytes as f64 }
    }
}

/// The number of jobs that have used units of this target since the last use of each unit, and whether that is reliable.
fn reference_bits(graph: &Graph<'_>, access_times: AccessTimes) -> (ReferenceBits, Vec<usize>) {
    let unknown = |reason: String| (ReferenceBits::Untrusted(reason), vec![0; graph.units.len()]);
    match access_times {
        AccessTimes::Move => {}
        AccessTimes::Stay => {
            return unknown("reads do not move access times on this filesystem (noatime)".to_owned());
        }
        AccessTimes::Unknown(reason) => return unknown(reason),
    }
    let ends = ends_of_jobs(graph.units);
    if ends.is_empty() {
        return unknown("no job has ended here since the guard has marked what jobs use".to_owned());
    }
    let since: Vec<usize> = graph
        .units
        .iter()
        .map(|unit| {
            let used = if unit.read > unit.armed { unit.read } else { unit.armed };
            ends.iter().filter(|end| end.duration_since(used).is_ok_and(|after| after > SAME_JOB)).count()
        })
        .collect();
    let is_closed = |index: usize| {
        let unit = &graph.units[index];
        let is_used = since[index] == 0 && unit.state == UnitState::Complete && !graph.lacks[index];
        !is_used || graph.needs[index].iter().all(|needed| since[*needed] == 0)
    };
    if !(0..graph.units.len()).all(is_closed) {
        let words = "access times do not show what builds have used: the last job seems to have used a unit without its dependencies";
        return (ReferenceBits::Untrusted(words.to_owned()), vec![0; since.len()]);
    }
    (ReferenceBits::Trusted, since)
}

/// The ends of jobs that have armed units, the newest first.
fn ends_of_jobs(units: &[Unit]) -> Vec<SystemTime> {
    let is_armed = |unit: &&Unit| unit.armed.duration_since(unit.built).is_ok_and(|after| after > SAME_JOB);
    let mut times: Vec<SystemTime> = units.iter().filter(is_armed).map(|unit| unit.armed).collect();
    times.sort_by(|one, other| other.cmp(one));
    let mut ends: Vec<SystemTime> = Vec::new();
    for time in times {
        if ends.last().is_none_or(|end| end.duration_since(time).is_ok_and(|before| before > SAME_JOB)) {
            ends.push(time);
        }
    }
    ends
}

#[cfg(test)]
mod tests;
