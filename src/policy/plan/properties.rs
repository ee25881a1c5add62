//! Properties of every plan, for any facts, stated independently of the implementation.

use super::tests::{DISK, cache_rule, facts, now, paths, rules, runner};
use super::*;
use crate::config::SiblingClaim;
use crate::model::{Coverage, EvidenceKind, Uid, Weight, Work};
use proptest::prelude::*;
use proptest::sample::{Index, select};

const OTHER_DISK: FilesystemId = FilesystemId { major: 8, minor: 2 };
const ENDLESS: Need = Need { bytes: u64::MAX, inodes: u64::MAX };

/// A case: facts, the evidence of each runner, the actor and the needs.
#[derive(Debug, Clone)]
struct GeneratedCase {
    facts: HostFacts,
    evidence: Vec<Vec<Evidence>>,
    actor: Actor,
    rules: Rules,
    cache_rules: Vec<CacheRule>,
    needs: Vec<(FilesystemId, Need)>,
    dealt_with: HashSet<PathBuf>,
}

impl GeneratedCase {
    fn plan(&self) -> Plan {
        let input = PlanInput {
            actor: &self.actor,
            rules: &self.rules,
            cache_rules: &self.cache_rules,
            needs: &self.needs,
            out_of_reach: OutOfReach::TakeAll,
            for_jobs: &[],
            dealt_with: &self.dealt_with,
        };
        make(&self.facts, &self.evidence, &input)
    }

    /// With a need that cannot be met: everything removable is removed.
    fn greedy(&self) -> Plan {
        Self { needs: self.needs.iter().map(|(disk, _)| (*disk, ENDLESS)).collect(), ..self.clone() }.plan()
    }

    fn index_of(&self, action: &Action) -> usize {
        self.facts.runners.iter().position(|runner| runner.runner == action.runner).unwrap()
    }

    /// Whether this is the hook's own runner, and no other runner shares its work directory.
    fn is_own(&self, index: usize) -> bool {
        let shares = |other: usize| {
            let (one, other) = (&self.facts.runners[index].runner, &self.facts.runners[other].runner);
            one.work_path().starts_with(other.work_path()) || other.work_path().starts_with(one.work_path())
        };
        matches!(self.actor, Actor::Hook { own, .. } if own == index)
            && (0..self.facts.runners.len()).all(|other| other == index || !shares(other))
    }

    /// Whether there is any evidence against removing a cache of this runner.
    fn is_protected(&self, index: usize, cache: &Cache) -> bool {
        let owner = self.facts.runners[index].runner.work_dir().map(|work| work.owner);
        let is_ours = match self.rules.acting_as {
            Uid::ROOT => cache.owner == Uid::ROOT || Some(cache.owner) == owner,
            user => cache.owner == user,
        };
        let evidence = &self.evidence[index];
        // A mount of the host itself: its content, and the directories that contain it.
        let is_of_host = |e: &Evidence| e.kind == EvidenceKind::MountInside && e.weight == Weight::Forbids;
        let meets = |e: &Evidence| {
            let meets = |place: &PathBuf| place.starts_with(&cache.path) || cache.path.starts_with(place);
            e.within.as_ref().is_none_or(meets)
        };
        let is_used = if self.is_own(index) {
            evidence.iter().any(|e| match e.kind {
                EvidenceKind::MountInside => meets(e),
                EvidenceKind::WorkerProcess | EvidenceKind::Lease | EvidenceKind::JobReceived => true,
                EvidenceKind::UnattributedWorker => e.within.is_some(),
                EvidenceKind::ProcessInside => e.within.as_ref().is_none_or(|place| {
                    let work = self.facts.runners[index].runner.work_path();
                    let repository = work.join(cache.below_work.iter().next().unwrap_or_default());
                    place == work || place.starts_with(repository)
                }),
                EvidenceKind::BuildLock | EvidenceKind::DirectoryLock => {
                    e.within.as_ref().is_none_or(|place| place.starts_with(&cache.path))
                }
                _ => false,
            })
        } else {
            let is_excused = |e: &Evidence| {
                (e.kind == EvidenceKind::Unguarded && self.rules.allow_unguarded)
                    || (is_of_host(e) && !meets(e))
            };
            let is_cold = cache.measure.is_some_and(|measure| {
                let limit = self.rules.now - self.rules.idle_floor;
                measure.coverage == Coverage::Whole && measure.newest.is_none_or(|newest| newest <= limit)
            });
            !is_cold || self.rules.claim == SiblingClaim::Never || !evidence.iter().all(is_excused)
        };
        is_used || !is_ours
    }

    fn gain<'p>(&self, disk: FilesystemId, removals: impl Iterator<Item = &'p Action>) -> Need {
        let here = removals.filter(|action| disk_of(action) == disk);
        here.fold(Need::default(), |sum, action| sum.plus(action.cache.yields()))
    }
}

fn disk_of(action: &Action) -> FilesystemId {
    action.runner.work_dir().unwrap().filesystem
}

/// Bytes, age in seconds, and what else may be odd about a cache.
fn any_caches() -> impl Strategy<Value = Vec<(u64, u64, u8)>> {
    proptest::collection::vec((0u64..1000, 0u64..5000, any::<u8>()), 0..5)
}

fn any_runner(number: u64) -> impl Strategy<Value = RunnerFacts> {
    (any_caches(), any::<bool>()).prop_map(move |(caches, is_elsewhere)| {
        let names: Vec<String> = (0..caches.len()).map(|i| format!("r{i}/r/target")).collect();
        let listed: Vec<(&str, u64, u64)> =
            names.iter().zip(&caches).map(|(name, (bytes, age, _))| (name.as_str(), *bytes, *age)).collect();
        let mut made = runner(number, &listed);
        if let Work::Present(work) = &mut made.runner.work {
            work.filesystem = if is_elsewhere { OTHER_DISK } else { DISK };
        }
        for (cache, (_, _, odd)) in made.caches.iter_mut().zip(&caches) {
            match odd % 16 {
                0 => cache.owner = Uid(77),
                1 => cache.owner = Uid::ROOT,
                2 => cache.measure = None,
                3 => cache.measure.as_mut().unwrap().coverage = Coverage::Part,
                4 => cache.measure.as_mut().unwrap().newest = None,
                5 => cache.measure.as_mut().unwrap().newest = Some(now() + Duration::from_secs(60)),
                _ => cache.measure.as_mut().unwrap().files = u64::from(*odd),
            }
        }
        made
    })
}

/// Some evidence, at a place that depends on one of the runner's caches.
fn any_evidence() -> impl Strategy<Value = (EvidenceKind, Weight, u8, Index)> {
    let bearings = vec![Weight::InUse, Weight::CannotTell, Weight::Forbids];
    (select(EvidenceKind::ALL.to_vec()), select(bearings), 0u8..5, any::<Index>())
}

fn placed((kind, weight, place, which): &(EvidenceKind, Weight, u8, Index), facts: &RunnerFacts) -> Evidence {
    let cache =
        (!facts.caches.is_empty()).then(|| facts.caches[which.index(facts.caches.len())].path.clone());
    let within = match (place, cache) {
        (1, Some(cache)) => Some(cache),
        (2, Some(cache)) => Some(cache.join("debug")),
        (3, Some(cache)) => cache.parent().map(Path::to_path_buf),
        (4, _) => Some("/elsewhere".into()),
        _ => None,
    };
    Evidence { kind: *kind, weight: *weight, within, detail: "x".into() }
}

prop_compose! {
    fn any_case()(
        mut runners in (any_runner(1), any_runner(2), any_runner(3)).prop_map(|(a, b, c)| vec![a, b, c]),
        found in proptest::collection::vec(proptest::collection::vec(any_evidence(), 0..2), 3),
        own in 0usize..4,
        needs in proptest::collection::vec((0u64..3000, 0u64..500), 2),
        limits in (proptest::option::of(0u64..5000), proptest::option::of(0u64..1000)),
        switches in (0u8..4, any::<bool>(), any::<bool>(), 0u8..6),
        idle_floor in prop_oneof![1 => Just(0), 9 => 0u64..3000],
    ) -> GeneratedCase {
        let (is_off, allow_unguarded, is_root, shape) = switches;
        if shape == 0 {
            runners[1].runner.work = runners[0].runner.work.clone();
            runners[1].caches = runners[0].caches.clone();
        }
        let evidence = runners.iter().zip(&found)
            .map(|(facts, found)| found.iter().map(|found| placed(found, facts)).collect())
            .collect();
        let dealt_with = runners[2].caches.first().map(|cache| cache.path.clone()).filter(|_| shape == 1);
        GeneratedCase {
            facts: facts(runners),
            evidence,
            actor: if own < 3 { Actor::Hook { own, job_directory: Some("r0".into()) } } else { Actor::Sweep },
            rules: Rules {
                claim: if is_off == 0 { SiblingClaim::Never } else { SiblingClaim::Idle },
                idle_floor: Duration::from_secs(idle_floor),
                allow_unguarded,
                acting_as: if is_root { Uid::ROOT } else { Uid(1000) },
                ..rules()
            },
            cache_rules: vec![cache_rule(limits.0, limits.1)],
            needs: vec![
                (DISK, Need { bytes: needs[0].0, inodes: needs[0].1 }),
                (OTHER_DISK, Need { bytes: needs[1].0, inodes: needs[1].1 }),
            ],
            dealt_with: dealt_with.into_iter().collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn protected_caches_are_never_planned_and_others_can_be(case in any_case()) {
        for action in case.greedy().actions {
            let index = case.index_of(&action);
            let goes = matches!(action.decision, Decision::Remove(_));
            let is_of_use = !action.cache.yields().is_met();
            prop_assert!(!goes || !case.is_protected(index, &action.cache), "{:?}", action);
            prop_assert!(goes || !is_of_use || case.is_protected(index, &action.cache), "{:?}", action);
        }
    }

    #[test]
    fn every_candidate_is_decided_on_once_and_nothing_else_is(case in any_case()) {
        let mut decided: Vec<_> = case.plan().actions.iter().map(|action| action.cache.path.clone()).collect();
        decided.sort();
        let mut known: Vec<PathBuf> = case.facts.runners.iter().flat_map(|runner| &runner.caches)
            .map(|cache| cache.path.clone())
            .filter(|path| !case.dealt_with.contains(path))
            .collect();
        known.sort();
        known.dedup();
        prop_assert_eq!(decided, known);
    }

    #[test]
    fn the_plan_frees_enough_where_it_can_and_no_more_than_is_needed(case in any_case()) {
        let plan = case.plan();
        for (disk, need) in &case.needs {
            let gain = case.gain(*disk, plan.removals());
            let open = need.less(gain);
            for action in plan.actions.iter().filter(|action| disk_of(action) == *disk) {
                let yields = action.cache.yields();
                match &action.decision {
                    Decision::Remove(RemoveReason::Pressure) => {
                        let without = Need { bytes: gain.bytes - yields.bytes, inodes: gain.inodes - yields.inodes };
                        prop_assert!(need.less(without) != open, "{:?} is superfluous", action.cache.path);
                    }
                    Decision::Keep(KeepReason::NotNeeded) => {
                        prop_assert!(!yields.helps(open), "{:?} would have helped", action.cache.path);
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn under_pressure_a_hook_removes_its_own_first(case in any_case()) {
        let plan = case.plan();
        let Actor::Hook { own, .. } = case.actor else { return Ok(()) };
        let for_space = plan.removals().filter(|action| action.decision == Decision::Remove(RemoveReason::Pressure));
        let is_own: Vec<bool> = for_space.map(|action| case.index_of(action) == own).collect();
        prop_assert!(is_own.is_sorted_by(|earlier, later| earlier >= later), "{:?}", is_own);
    }

    /// The order in which runners' directories are listed is the filesystem's own affair.
    #[test]
    fn the_order_of_discovery_changes_nothing(case in any_case()) {
        let mut turned = case.clone();
        turned.facts.runners.iter_mut().for_each(|runner| runner.caches.reverse());
        turned.evidence.iter_mut().for_each(|evidence| evidence.reverse());
        turned.needs.reverse();
        prop_assert_eq!(paths(&turned.plan()), paths(&case.plan()));
        prop_assert_eq!(paths(&case.plan()), paths(&case.plan()));
    }

    #[test]
    fn more_evidence_never_lets_more_go(case in any_case(), at in 0usize..3, more in any_evidence()) {
        let before: HashSet<PathBuf> = case.greedy().removals().map(|action| action.cache.path.clone()).collect();
        let mut richer = case.clone();
        richer.evidence[at].push(placed(&more, &case.facts.runners[at]));
        for action in richer.greedy().removals() {
            prop_assert!(before.contains(&action.cache.path), "{:?} is let go by {:?}", action.cache.path, more);
        }
    }

    /// An unknown sibling loses nothing. The other runners of the same case show that something is removed.
    #[test]
    fn an_unknown_sibling_loses_nothing(case in any_case(), at in 0usize..3, kind in select(EvidenceKind::ALL.to_vec())) {
        let is_excused = kind == EvidenceKind::Unguarded && case.rules.allow_unguarded;
        prop_assume!(!case.is_own(at) && !is_excused);
        let mut unknown = case.clone();
        unknown.evidence[at].push(Evidence::new(kind, Weight::CannotTell, "x"));
        let name = &case.facts.runners[at].runner.name;
        prop_assert!(unknown.greedy().removals().all(|action| action.runner.name != *name));
        if let (true, Work::Present(_)) = (case.evidence[at].is_empty(), &case.facts.runners[at].runner.work) {
            let may_go = |cache: &&Cache| {
                !case.is_protected(at, cache) && !cache.yields().is_met() && !case.dealt_with.contains(&cache.path)
            };
            let free = case.facts.runners[at].caches.iter().filter(may_go).count();
            let gone = case.greedy().removals().filter(|action| action.runner.name == *name).count();
            let is_first = at != 1 || case.facts.runners[0].runner.work_path() != case.facts.runners[1].runner.work_path();
            prop_assert!(!is_first || gone == free, "the control: {} of {}", gone, free);
        }
    }
}
