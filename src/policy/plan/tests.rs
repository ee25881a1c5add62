//! Table-driven tests of the plan.

use super::*;
use crate::config::SiblingClaim;
use crate::model::{
    Coverage, DirGlobs, EvidenceKind, FileId, Guarded, JobReceived, Measure, ReferenceBits, TrimStep, Uid,
    Weight, Work, WorkDir,
};

pub(super) const DISK: FilesystemId = FilesystemId { major: 8, minor: 1 };
const NOW: SystemTime = SystemTime::UNIX_EPOCH;

pub(super) fn now() -> SystemTime {
    NOW + Duration::from_secs(1_000_000_000)
}

pub(super) fn cache(work: &str, below: &str, bytes: u64, age: u64) -> Cache {
    let path = Path::new(work).join(below);
    // Identities only have to differ.
    let ino = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(*b)));
    Cache {
        path,
        below_work: below.into(),
        base: None,
        part: Default::default(),
        rule: "cargo-target".into(),
        id: FileId { dev: 1, ino },
        owner: Uid(1000),
        measure: Some(Measure {
            bytes,
            files: 1,
            directories: 1,
            newest: Some(now() - Duration::from_secs(age)),
            coverage: Coverage::Whole,
        }),
        used: None,
        largest: std::sync::Arc::default(),
    }
}

pub(super) fn runner(number: u64, caches: &[(&str, u64, u64)]) -> RunnerFacts {
    let work = format!("/srv/actions-runner-{number}/_work");
    RunnerFacts {
        runner: Runner {
            name: format!("runner-{number}"),
            root: format!("/srv/actions-runner-{number}").into(),
            root_id: FileId { dev: 1, ino: number },
            owner: Uid(1000),
            work: Work::Present(WorkDir {
                path: work.clone().into(),
                id: FileId { dev: 1, ino: 100 + number },
                owner: Uid(1000),
                filesystem: DISK,
            }),
        },
        guarded: Guarded::Yes,
        other_hosts: None,
        received: JobReceived::No,
        caches: caches.iter().map(|(below, bytes, age)| cache(&work, below, *bytes, *age)).collect(),
        locks: Vec::new(),
        leftovers: Vec::new(),
    }
}

pub(super) fn facts(runners: Vec<RunnerFacts>) -> HostFacts {
    HostFacts::quiet(now(), runners)
}

pub(super) fn rules() -> Rules {
    Rules {
        claim: SiblingClaim::Idle,
        idle_floor: Duration::from_secs(600),
        allow_unguarded: false,
        acting_as: Uid::ROOT,
        now: now(),
    }
}

pub(super) fn cache_rule(max_age: Option<u64>, max_size: Option<u64>) -> CacheRule {
    CacheRule {
        name: "cargo-target".into(),
        dirs: DirGlobs::parse(&["target"]).unwrap(),
        depth: 3,
        markers: vec!["CACHEDIR.TAG".into()],
        max_age: max_age.map(Duration::from_secs),
        max_size,
        ..CacheRule::default()
    }
}

fn removed(facts: &HostFacts, evidence: &[Vec<Evidence>], actor: &Actor, bytes: u64) -> Vec<String> {
    let needs = [(DISK, Need { bytes, inodes: 0 })];
    let rules = rules();
    let input = PlanInput {
        actor,
        rules: &rules,
        cache_rules: &[],
        needs: &needs,
        out_of_reach: OutOfReach::TakeAll,
        for_jobs: &[],
        dealt_with: &HashSet::new(),
    };
    paths(&make(facts, evidence, &input))
}

pub(super) fn paths(plan: &Plan) -> Vec<String> {
    let short = |path: &Path| path.to_str().unwrap().strip_prefix("/srv/actions-runner-").unwrap().to_owned();
    plan.removals().map(|action| short(&action.cache.path)).collect()
}

fn hook(own: usize, job: &str) -> Actor {
    Actor::Hook { own, job_directory: Some(job.into()) }
}

fn three_runners() -> HostFacts {
    facts(vec![
        runner(1, &[("a/a/target", 10, 9000), ("b/b/target", 10, 5000), ("job/job/target", 10, 99_000)]),
        runner(2, &[("x/x/target", 10, 999_000)]),
        runner(3, &[("y/y/target", 10, 8000), ("z/z/target", 10, 30)]),
    ])
}

#[test]
fn a_hook_takes_its_own_coldest_first_its_jobs_last_and_then_siblings() {
    let facts = three_runners();
    let nothing = vec![Vec::new(); 3];
    let own = ["1/_work/a/a/target", "1/_work/b/b/target", "1/_work/job/job/target"];
    let siblings = ["2/_work/x/x/target", "3/_work/y/y/target"];
    for (need, expected) in [
        (0, vec![]),
        (1, own[..1].to_vec()),
        (11, own[..2].to_vec()),
        (30, own.to_vec()),
        (31, [&own[..], &siblings[..1]].concat()),
        (10_000, [&own[..], &siblings[..]].concat()),
    ] {
        assert_eq!(removed(&facts, &nothing, &hook(0, "job"), need), expected, "need {need}");
    }
}

#[test]
fn only_as_much_as_needed_is_planned() {
    let facts = facts(vec![runner(
        1,
        &[("a/a/target", 50, 9000), ("b/b/target", 12_800, 8000), ("c/c/target", 60, 7000)],
    )]);
    let nothing = vec![Vec::new()];
    assert_eq!(removed(&facts, &nothing, &hook(0, "-"), 50), ["1/_work/a/a/target"]);
    // With the large one the small ones are not needed any more.
    assert_eq!(removed(&facts, &nothing, &hook(0, "-"), 60), ["1/_work/b/b/target"]);
}

#[test]
fn every_kind_of_evidence_protects_one_sibling_and_the_other_is_planned() {
    let facts = three_runners();
    for &kind in EvidenceKind::ALL {
        for weight in [Weight::InUse, Weight::CannotTell, Weight::Forbids] {
            let evidence = vec![Vec::new(), vec![Evidence::new(kind, weight, "x")], Vec::new()];
            let gone = removed(&facts, &evidence, &Actor::Sweep, 10_000);
            assert!(!gone.iter().any(|path| path.starts_with("2/")), "{kind} {weight:?}: {gone:?}");
            assert!(gone.iter().any(|path| path.starts_with("3/")), "{kind} {weight:?}: {gone:?}");
        }
    }
}

#[test]
fn a_second_worker_in_its_own_work_directory_protects_a_hooks_own_caches() {
    let facts = three_runners();
    for (kind, within, protects) in [
        (EvidenceKind::WorkerProcess, None, true),
        (EvidenceKind::Lease, None, true),
        (EvidenceKind::Unguarded, None, false),
        (EvidenceKind::Visibility, None, false),
        (EvidenceKind::UnattributedWorker, None, false),
        (EvidenceKind::ProcessInside, Some("/srv/actions-runner-1/_work/job"), false),
        (EvidenceKind::ProcessInside, Some("/srv/actions-runner-1/_work/a/a/target/debug"), true),
        (EvidenceKind::BuildLock, Some("/srv/actions-runner-1/_work/a/a/target"), true),
        (EvidenceKind::MountInside, Some("/srv/actions-runner-1/_work"), true),
        (EvidenceKind::MountInside, Some("/srv/actions-runner-1/_work/job"), false),
        // A Worker that could be at work in this very directory, and strangers in the cache's checkout.
        (EvidenceKind::UnattributedWorker, Some("/srv/actions-runner-1/_work"), true),
        (EvidenceKind::ProcessInside, Some("/srv/actions-runner-1/_work/a/a"), true),
        (EvidenceKind::ProcessInside, Some("/srv/actions-runner-1/_work"), true),
        (EvidenceKind::ProcessInside, None, true),
    ] {
        let found =
            Evidence { kind, weight: Weight::InUse, within: within.map(PathBuf::from), detail: "x".into() };
        let gone = removed(&facts, &[vec![found], Vec::new(), Vec::new()], &hook(0, "job"), 1);
        assert_eq!(
            gone.first().is_some_and(|path| path == "1/_work/a/a/target"),
            !protects,
            "{kind} {within:?}"
        );
        assert_eq!(gone.len(), 1, "something is reclaimed all the same: {gone:?}");
    }
}

#[test]
fn a_mount_of_the_hosts_own_protects_what_lies_there_and_what_holds_it_and_nothing_else() {
    let facts = three_runners();
    let target = "/srv/actions-runner-1/_work/a/a/target";
    for (place, protects) in [
        ("/srv/actions-runner-1/_work/_tool", false),
        ("/srv/actions-runner-1/_work/a/a/target/debug", true),
        (target, true),
        ("/srv/actions-runner-1/_work/a/a", true),
        ("/srv/actions-runner-1/_work/a/a/target2", false),
    ] {
        let found = Evidence::within(EvidenceKind::MountInside, Weight::Forbids, place.into(), "x");
        assert_eq!(
            crate::policy::liveness::judge(std::slice::from_ref(&found)),
            crate::model::Liveness::Idle
        );
        for actor in [hook(0, "job"), Actor::Sweep] {
            let gone = removed(&facts, &[vec![found.clone()], Vec::new(), Vec::new()], &actor, 1_000_000);
            assert_eq!(
                !gone.contains(&"1/_work/a/a/target".to_owned()),
                protects,
                "{place} {actor:?}: {gone:?}"
            );
            assert!(!gone.is_empty(), "{place}: the others go");
        }
    }
}

#[test]
fn a_shared_work_directory_is_nobodys_own() {
    let mut facts = three_runners();
    facts.runners[1].runner.work = facts.runners[0].runner.work.clone();
    facts.runners[1].caches.clear();
    let evidence = vec![vec![Evidence::new(EvidenceKind::Unguarded, Weight::Forbids, "x")]; 3];
    assert_eq!(removed(&facts, &evidence, &hook(0, "job"), 1), Vec::<String>::new());
    assert_eq!(removed(&facts, &vec![Vec::new(); 3], &hook(0, "job"), 1), ["1/_work/a/a/target"]);
}

#[test]
fn siblings_can_be_switched_off_and_unguarded_ones_allowed() {
    let facts = three_runners();
    let needs = [(DISK, Need { bytes: 31, inodes: 0 })];
    let plan = |rules: Rules, evidence: Vec<Evidence>| {
        let actor = hook(0, "job");
        let input = PlanInput {
            actor: &actor,
            rules: &rules,
            cache_rules: &[],
            needs: &needs,
            out_of_reach: OutOfReach::TakeAll,
            for_jobs: &[],
            dealt_with: &HashSet::new(),
        };
        paths(&make(&facts, &[Vec::new(), evidence.clone(), evidence], &input)).len()
    };
    let unguarded = vec![Evidence::new(EvidenceKind::Unguarded, Weight::Forbids, "x")];
    assert_eq!(plan(rules(), Vec::new()), 4);
    assert_eq!(plan(Rules { claim: SiblingClaim::Never, ..rules() }, Vec::new()), 3);
    assert_eq!(plan(rules(), unguarded.clone()), 3);
    assert_eq!(plan(Rules { allow_unguarded: true, ..rules() }, unguarded), 4);
}

#[test]
fn age_and_size_limits_hold_without_pressure_in_sweeps_and_in_a_runners_own_hook() {
    let facts = facts(vec![runner(
        1,
        &[("old/o/target", 5, 9000), ("big/b/target", 900, 700), ("ok/k/target", 5, 700)],
    )]);
    let cache_rules = [cache_rule(Some(8000), Some(800))];
    let rules = rules();
    let reasons = |actor: &Actor, bytes| {
        let needs = [(DISK, Need { bytes, inodes: 0 })];
        let input = PlanInput {
            actor,
            rules: &rules,
            cache_rules: &cache_rules,
            needs: &needs,
            out_of_reach: OutOfReach::TakeAll,
            for_jobs: &[],
            dealt_with: &HashSet::new(),
        };
        let plan = make(&facts, &[Vec::new()], &input);
        plan.removals().map(|a| a.decision.clone()).collect::<Vec<_>>()
    };
    let (age, size) = (Decision::Remove(RemoveReason::Age), Decision::Remove(RemoveReason::Size));
    assert_eq!(reasons(&Actor::Sweep, 0), [age.clone(), size.clone()]);
    assert_eq!(
        reasons(&Actor::Sweep, 905),
        [age.clone(), size.clone()],
        "the limits' yield counts against the need"
    );
    assert_eq!(reasons(&Actor::Sweep, 906), [age, size, Decision::Remove(RemoveReason::Pressure)]);
    assert_eq!(
        reasons(&hook(0, "-"), 0),
        [Decision::Remove(RemoveReason::Age), Decision::Remove(RemoveReason::Size)]
    );
    let exactly = [cache_rule(Some(9000), Some(900))];
    let input = PlanInput {
        actor: &Actor::Sweep,
        rules: &rules,
        cache_rules: &exactly,
        needs: &[],
        out_of_reach: OutOfReach::TakeAll,
        for_jobs: &[],
        dealt_with: &HashSet::new(),
    };
    assert_eq!(make(&facts, &[Vec::new()], &input).removals().count(), 0, "a limit itself is within it");
}

#[test]
fn young_unmeasured_and_foreign_caches_stay() {
    let mut facts = facts(vec![runner(
        1,
        &[("young/y/target", 9, 30), ("a/a/target", 9, 9000), ("b/b/target", 9, 9000)],
    )]);
    let nothing = vec![Vec::new()];
    assert_eq!(removed(&facts, &nothing, &Actor::Sweep, 100).len(), 2);
    facts.runners[0].caches[1].measure = None;
    assert_eq!(removed(&facts, &nothing, &Actor::Sweep, 100), ["1/_work/b/b/target"]);
    let floor = now() - Duration::from_secs(600);
    for (newest, goes) in [(floor, true), (floor + Duration::from_secs(1), false)] {
        facts.runners[0].caches[2].measure.as_mut().unwrap().newest = Some(newest);
        assert_eq!(
            removed(&facts, &nothing, &Actor::Sweep, 100).len() == 1,
            goes,
            "older than the idle floor"
        );
    }
    facts.runners[0].caches[2].measure.as_mut().unwrap().newest = Some(floor);
    facts.runners[0].caches[2].owner = Uid(77);
    assert!(removed(&facts, &nothing, &Actor::Sweep, 100).is_empty());
}

#[test]
fn inodes_are_freed_like_bytes() {
    let facts = facts(vec![runner(1, &[("a/a/target", 0, 9000), ("b/b/target", 500, 8000)])]);
    let actor = Actor::Sweep;
    let rules = rules();
    let needs = [(DISK, Need { bytes: 0, inodes: 2 })];
    let input = PlanInput {
        actor: &actor,
        rules: &rules,
        cache_rules: &[],
        needs: &needs,
        out_of_reach: OutOfReach::TakeAll,
        for_jobs: &[],
        dealt_with: &HashSet::new(),
    };
    assert_eq!(paths(&make(&facts, &[Vec::new()], &input)), ["1/_work/a/a/target"]);
}

/// An offer whose steps give so many bytes each.
fn offer(steps: &[(TrimTier, u64)]) -> TrimOffer {
    let step = |(tier, bytes): &(TrimTier, u64)| TrimStep {
        tier: *tier,
        bytes: *bytes,
        cost: Duration::ZERO,
        last_used: SystemTime::UNIX_EPOCH,
        units: 1,
        members: Vec::new(),
    };
    TrimOffer {
        steps: steps.iter().map(step).collect(),
        locks: Vec::new(),
        bits: ReferenceBits::Trusted,
        bytes: steps.iter().map(|(_, bytes)| bytes).sum(),
    }
}

/// What goes of each cache: all of it (`None`) or so many bytes.
fn parts(plan: &Plan) -> Vec<(String, Option<u64>)> {
    let part = |action: &Action| match &action.cache.part {
        Part::Units(trim) => Some(trim.bytes),
        Part::Whole | Part::Files(_) => None,
    };
    paths(plan).into_iter().zip(plan.removals().map(part)).collect()
}

#[test]
fn unused_units_of_all_targets_are_planned_before_any_whole_target() {
    use TrimTier::{Incremental, Live, Unused};
    let facts = facts(vec![
        runner(1, &[("a/a/target", 100, 9000), ("b/b/target", 100, 5000)]),
        runner(2, &[("plain/target", 100, 99_000)]),
    ]);
    let evidence = vec![Vec::new(); 2];
    let offers: Offers = [
        ("1/_work/a/a/target", offer(&[(Unused, 30), (Incremental, 10), (Live, 60)])),
        ("1/_work/b/b/target", offer(&[(Unused, 20), (Live, 70)])),
    ]
    .map(|(path, offer)| (PathBuf::from(format!("/srv/actions-runner-{path}")), offer))
    .into();
    let rules = rules();
    let plan = |bytes: u64| {
        let needs = [(DISK, Need { bytes, inodes: 0 })];
        let input = PlanInput {
            actor: &Actor::Sweep,
            rules: &rules,
            cache_rules: &[],
            needs: &needs,
            out_of_reach: OutOfReach::TakeAll,
            for_jobs: &[],
            dealt_with: &HashSet::new(),
        };
        let mut parts = parts(&make_with(&facts, &evidence, &input, &offers));
        parts.sort();
        parts
    };
    let (a, b, plain) = ("1/_work/a/a/target", "1/_work/b/b/target", "2/_work/plain/target");
    let part = |path: &str, bytes: u64| (path.to_owned(), Some(bytes));
    let whole = |path: &str| (path.to_owned(), None);
    assert_eq!(plan(25), [part(a, 30)], "the coldest that can be taken apart");
    assert_eq!(plan(50), [part(a, 30), part(b, 20)]);
    assert_eq!(plan(60), [part(a, 40), part(b, 20)], "then incremental state");
    assert_eq!(plan(100), [part(a, 40), part(b, 20), whole(plain)], "then the coldest whole");
    assert_eq!(plan(220), [whole(a), part(b, 20), whole(plain)], "a whole one when all of it is needed");
    assert_eq!(plan(300), [whole(a), whole(b), whole(plain)]);
}

#[test]
fn unused_units_are_deleted_without_pressure_where_use_is_known() {
    let facts = facts(vec![runner(1, &[("a/a/target", 100, 9000)])]);
    let rule = CacheRule { stale: Some(Duration::from_secs(3 * 86_400)), ..cache_rule(None, None) };
    let used = |days: u64| now() - Duration::from_secs(days * 86_400);
    let mut offer = offer(&[(TrimTier::Unused, 30), (TrimTier::Unused, 20), (TrimTier::Live, 50)]);
    for (step, days) in offer.steps.iter_mut().zip([9, 1, 9]) {
        step.last_used = used(days);
    }
    let path = PathBuf::from("/srv/actions-runner-1/_work/a/a/target");
    let rules = rules();
    let plan = |actor: &Actor, offer: &TrimOffer| {
        let input = PlanInput {
            actor,
            rules: &rules,
            cache_rules: std::slice::from_ref(&rule),
            needs: &[],
            out_of_reach: OutOfReach::TakeAll,
            for_jobs: &[],
            dealt_with: &HashSet::new(),
        };
        make_with(&facts, &[Vec::new()], &input, &[(path.clone(), offer.clone())].into())
    };
    let sweep = plan(&Actor::Sweep, &offer);
    assert_eq!(parts(&sweep), [("1/_work/a/a/target".to_owned(), Some(30))]);
    assert!(sweep.removals().all(|action| action.decision == Decision::Remove(RemoveReason::Age)));
    assert_eq!(parts(&plan(&hook(0, "a"), &offer)), [], "a hook's job waits for no such thing");
    let unknown = TrimOffer { bits: ReferenceBits::Untrusted("noatime".into()), ..offer };
    assert_eq!(parts(&plan(&Actor::Sweep, &unknown)), []);
}
