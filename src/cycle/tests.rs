//! The loop with an observer that records each event, on a host of plain files.

#![expect(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use super::*;
use crate::plain_host::PlainHost;
use crate::reclaim::trash::Trash;
use crate::sys::dir::Dir;
use std::any::Any;
use std::fs;

/// Writes down each step by its name.
#[derive(Default)]
struct FakeObserver {
    steps: Vec<String>,
    /// Where a cache is, to see whether it is in its place at each step.
    watched: PathBuf,
    was_there: Vec<bool>,
}

impl FakeObserver {
    fn note(&mut self, step: impl Into<String>) {
        self.steps.push(step.into());
        self.was_there.push(self.watched.exists());
    }
}

impl Steps for FakeObserver {
    fn step(&mut self, step: Step<'_>) -> Option<Box<dyn Any>> {
        self.note(match step {
            Step::Claimed(_) => "claimed".to_owned(),
            Step::Deleting { .. } => "deleting".to_owned(),
            Step::Ended(outcome, _) => outcome.result.as_str().to_owned(),
        });
        None
    }
}

impl RunEvents for FakeObserver {
    fn pressure(&mut self, _: &Filesystem, _: Level) {
        self.note("pressure");
    }
    fn trash(&mut self, _: &Path, _: u64, failure: Option<&str>) {
        assert_eq!(failure, None);
        self.note("trash");
    }
    fn unconfined(&mut self, _: &str) {}
    fn lock_taken(&mut self, mode: LockMode, _: Duration) {
        self.note(if mode == LockMode::Exclusive { "exclusive" } else { "shared" });
    }
    fn lock_failed(&mut self, _: LockMode, _: &LockError) {
        self.note("no lock");
    }
}

/// A runner with one cache, a run directory, and a configuration.
struct Scene {
    files: PlainHost,
    config: Config,
    run: RunDir,
}

impl Scene {
    /// Its rule allows this size.
    fn new(max_size: &str) -> Self {
        let files = PlainHost::new();
        files.runner_with_a_cache();
        let more = format!(
            "[hook]\nlock_wait = \"1s\"\n[pressure]\nmin_free = \"0\"\nmin_free_inodes = \"0%\"\nhigh = \"100%\"\n\
             critical = \"100%\"\n[[cache]]\nname = \"cargo-target\"\nmax_size = \"{max_size}\"\n"
        );
        let config = files.config("runner", &more);
        let run = RunDir::open(&config.paths.run_dir).unwrap();
        Self { files, config, run }
    }

    /// The cache is larger than its rule allows.
    fn over_its_limit() -> Self {
        Self::new("1KiB")
    }

    fn cache(&self) -> PathBuf {
        self.files.base.join("runner/_work/app/app/target")
    }

    fn root(&self) -> FileId {
        Dir::resolve(&self.files.base.join("runner")).unwrap().0.status().unwrap().id
    }

    /// A hook of the only runner, which applies the limits of its rules.
    fn hook(&self) -> Role {
        hook_of(self.root())
    }

    fn run(&self, actor: Role) -> (RunReport, Result<(), CycleError>, FakeObserver) {
        let mut observer = FakeObserver { watched: self.cache(), ..FakeObserver::default() };
        let cycle = Cycle {
            config: &self.config,
            proc: &Proc::new(Path::new("/proc")),
            run: &self.run,
            actor,
            rooms: &[],
            clock: SystemTime::now,
            deadline: Instant::now() + Duration::from_secs(60),
            events: &mut observer,
        };
        let (report, result) = cycle.run();
        (report, result, observer)
    }
}

fn hook_of(root: FileId) -> Role {
    Role::SelfClean { root, wanted: BTreeSet::new(), limits: true, lineage: Vec::new() }
}

#[test]
fn each_step_is_reported_when_it_happens_and_in_one_order() {
    let scene = Scene::over_its_limit();
    let (report, result, observer) = scene.run(scene.hook());
    result.unwrap();
    let steps: Vec<&str> = observer.steps.iter().map(String::as_str).collect();
    assert_eq!(steps[..5], ["shared", "exclusive", "claimed", "deleting", "removed"], "{steps:?}");
    let at = |step: &str| observer.was_there[steps.iter().position(|found| *found == step).unwrap()];
    assert!(at("exclusive") && !at("claimed"), "it leaves its place under the lock");
    assert!(!scene.cache().exists());
    assert_eq!(report.outcomes.len(), 1);
    assert_eq!(report.outcomes[0].result, ActionResult::Removed);
    assert!(report.freed_bytes >= 10_000 && report.goal_met);
    let work = Dir::resolve(&scene.files.base.join("runner/_work")).unwrap().0;
    let trash = Trash::open(&work, acting_as()).unwrap().unwrap();
    assert_eq!(trash.dir().names(9).unwrap(), Vec::<std::ffi::OsString>::new(), "the slot is discarded");
}

#[test]
fn below_its_limit_and_without_pressure_nothing_is_touched() {
    let scene = Scene::new("1GiB");
    let (report, result, observer) = scene.run(scene.hook());
    result.unwrap();
    assert!(!observer.steps.iter().any(|step| step == "exclusive"), "{:?}", observer.steps);
    assert!(scene.cache().exists() && report.freed_bytes == 0 && report.goal_met);
    let large = Scene::over_its_limit();
    large.run(large.hook()).1.unwrap();
    assert!(!large.cache().exists(), "the same cache above its limit is removed");
}

#[test]
fn a_lock_that_others_hold_ends_the_run_and_is_reported() {
    let scene = Scene::over_its_limit();
    let held = crate::lock::ExclusiveLock::acquire(&scene.run, Duration::ZERO).unwrap();
    let (report, result, observer) = scene.run(scene.hook());
    assert!(matches!(result, Err(CycleError::Lock(_))));
    assert_eq!(observer.steps.last().map(String::as_str), Some("no lock"), "{:?}", observer.steps);
    assert!(scene.cache().exists() && !report.goal_met && report.freed_bytes == 0);
    drop(held);
    scene.run(scene.hook()).1.unwrap();
    assert!(!scene.cache().exists(), "once it is free the run does its work");
}

#[test]
fn a_hook_of_an_unknown_runner_touches_nothing() {
    let scene = Scene::over_its_limit();
    let (report, result, observer) = scene.run(hook_of(FileId { dev: 0, ino: 0 }));
    result.unwrap();
    assert!(observer.steps.is_empty() && report.outcomes.is_empty() && scene.cache().exists());
    scene.run(scene.hook()).1.unwrap();
    assert!(!scene.cache().exists(), "its own runner's hook removes it");
}

#[test]
fn a_preview_looks_at_the_same_caches_and_touches_nothing() {
    let scene = Scene::over_its_limit();
    let proc = Proc::new(Path::new("/proc"));
    let deadline = Instant::now() + Duration::from_secs(60);
    let scope = PreviewScope {
        whose: |_: &[Runner]| CacheScope::Everybody,
        rooms: &[],
        stale: StaleUnits::Leave,
        memory: None,
    };
    let snapshot = Snapshot::take(&scene.config, &proc, SystemTime::now());
    let preview = preview(&snapshot, Leases::In(&scene.run), deadline, scope);
    let planned: Vec<PathBuf> = preview.plan.actions.iter().map(|action| action.cache.path.clone()).collect();
    assert_eq!(planned, [scene.cache()]);
    let report = preview.report();
    assert!(report.dry_run && report.freed_bytes == 0 && scene.cache().exists());
    let (done, ..) = scene.run(scene.hook());
    assert_eq!(done.outcomes[0].action.cache.path, planned[0]);
}

#[test]
fn unfinished_trash_is_deleted_first_and_counts_as_freed() {
    let scene = Scene::over_its_limit();
    let work = Dir::resolve(&scene.files.base.join("runner/_work")).unwrap().0;
    Trash::open_or_make(&work, acting_as()).unwrap();
    let left = scene.files.base.join("runner/_work/.disk-guard/trash/left-by-a-crash");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("tree"), [7; 50_000]).unwrap();
    let (report, result, observer) = scene.run(scene.hook());
    result.unwrap();
    let at = |step: &str| observer.steps.iter().position(|found| found == step).unwrap();
    assert!(at("trash") < at("claimed"), "{:?}", observer.steps);
    assert!(!left.exists() && report.freed_bytes >= 60_000, "{}", report.freed_bytes);
}

/// Which caches a hook of the only runner sizes, by the names of the repositories, for a given shortfall.
fn sized_for(scene: &Scene, bytes: u64) -> (Vec<String>, Vec<String>) {
    let proc = Proc::new(Path::new("/proc"));
    let snapshot = Snapshot::take(&scene.config, &proc, SystemTime::now());
    let mut events = FakeObserver::default();
    let cycle = Cycle {
        config: &scene.config,
        proc: &proc,
        run: &scene.run,
        actor: Role::Hook { root: scene.root(), job_directory: Some("own".into()), lineage: Vec::new() },
        rooms: &[],
        clock: SystemTime::now,
        deadline: Instant::now() + Duration::from_secs(60),
        events: &mut events,
    };
    let look = HostObserver {
        snapshot: &snapshot,
        leases: Leases::In(&scene.run),
        leftovers: None,
        now: SystemTime::now(),
        deadline: cycle.deadline,
        memory: None,
    };
    let actor = cycle.actor_among(snapshot.runners()).unwrap();
    let on = snapshot.runners()[0].work_dir().unwrap().filesystem;
    let needs = [(on, Need { bytes, inodes: 0 })];
    let rules = rules(&scene.config, SystemTime::now());
    let mut searched = look.search(CacheScope::Everybody);
    let sizing = sizing::Sizing { actor: &actor, needs: &needs, rules: &rules };
    let aside = cycle.size(&look, &mut searched, sizing, &SweepState::default());
    let name = |cache: &Cache| cache.repository_dir().display().to_string();
    let sized = look.complete(searched).runners.remove(0).caches;
    assert!(sized.iter().all(|cache| cache.measure.is_some()), "{sized:?}");
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    (sorted(sized.iter().map(name).collect()), sorted(aside.iter().map(|(_, cache)| name(cache)).collect()))
}

#[test]
fn a_hook_sizes_caches_in_their_turn_until_they_suffice() {
    let scene = Scene::new("1GiB");
    let work = scene.files.base.join("runner/_work");
    let day = Duration::from_secs(86_400);
    for (repository, days) in [("app", 4), ("b", 3), ("c", 2), ("own", 9), ("unmarked", 0)] {
        let cache = work.join(repository).join(repository).join("target");
        fs::create_dir_all(cache.join("debug")).unwrap();
        fs::write(cache.join("debug/lib.rlib"), vec![7; 100_000]).unwrap();
        fs::write(cache.join("CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
        if days > 0 {
            let dir = Dir::resolve(&work).unwrap().0;
            let used = SystemTime::now() - days * day;
            crate::uses::mark(&dir, acting_as(), std::ffi::OsStr::new(repository), used).unwrap();
        }
    }
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    // A cache that no job has marked is sized in any case: its age is known from its content.
    for (bytes, sized, aside) in [
        (1, &["app", "unmarked"][..], &["b", "c", "own"][..]),
        (150_000, &["app", "b", "unmarked"], &["c", "own"]),
        (250_000, &["app", "b", "c", "unmarked"], &["own"]),
        (1 << 40, &["app", "b", "c", "own", "unmarked"], &[]),
    ] {
        assert_eq!(sized_for(&scene, bytes), (names(sized), names(aside)), "{bytes}");
    }
}

/// A look at processes does not show our own handles, nor handles in flight.
#[test]
fn a_file_that_is_open_where_no_process_shows_it_keeps_its_cache() {
    let scene = Scene::over_its_limit();
    fs::write(scene.cache().join("debug/lib.rlib"), vec![7; 1 << 20]).unwrap();
    let file = || fs::File::open(scene.cache().join("debug/lib.rlib")).unwrap();
    if crate::sys::file_lease::is_open_elsewhere(&file()).is_none() {
        return;
    }
    let held = file();
    let (report, result, _) = scene.run(scene.hook());
    result.unwrap();
    assert_eq!(report.outcomes[0].result.as_str(), "restored", "{:?}", report.outcomes);
    assert!(scene.cache().join("debug/lib.rlib").exists(), "it is back in its place");
    drop(held);
    scene.run(scene.hook()).1.unwrap();
    assert!(!scene.cache().exists(), "the control: when it is closed the cache goes");
}
