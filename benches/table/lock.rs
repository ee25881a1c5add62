//! The host lock: how long a sweep's claims keep it from others, and what a job's hook waits for meanwhile. Real processes, real
//! looks: a sweep as a process, hooks below Workers of their own, and a crowd.

use super::figures::{Goal, Row, median, setting, time};
use super::kit::Host;
use super::stage::{self, Crowd, arguments};
use disk_guard::lock::SharedLock;
use disk_guard::run_dir::RunDir;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const HOOKS: usize = 64;
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn rows() -> Vec<Row> {
    let (claims, crowd, rounds) = (setting("CLAIMS", 100), setting("PROCESSES", 5_000), setting("ROUNDS", 5));
    let scene = Scene::new(claims);
    let _crowd = Crowd::asleep(crowd);
    let (mut renames, mut looks, mut longest, mut each) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        scene.plant();
        renames.push(scene.rename());
        looks.push(stage::run(Path::new("pgrep"), &["-f", "Runner.Worker"]));
        let held = scene.sweep(|| ());
        longest.push(held.iter().copied().max().unwrap_or_default());
        each.push(held.iter().sum::<Duration>() / claims as u32);
    }
    let (mut calm, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        calm.push(median(&scene.hooks()));
        scene.plant();
        let mut hooks = Vec::new();
        scene.sweep(|| hooks = scene.hooks());
        busy.push(median(&hooks));
    }
    let beside = format!("{claims} claims of a sweep beside {crowd} processes");
    vec![
        Row::beside(
            format!("longest hold of the host lock, {beside}"),
            "`pgrep -f`",
            &looks,
            &longest,
            Goal::AtMost(50.0),
        ),
        Row::beside("all holds, a claim's share", "a rename", &renames, &each, Goal::None),
        Row::beside(
            format!("{HOOKS} started-hooks on a healthy disk while it claims, median"),
            "without it",
            &calm,
            &busy,
            Goal::AtMost(10.0),
        ),
    ]
}

/// Runners with one cache each, which a sweep wants all and hooks do not.
struct Scene {
    host: Host,
    roots: Vec<PathBuf>,
    run: RunDir,
    calm: PathBuf,
    _shared: tempfile::TempDir,
}

impl Scene {
    fn new(claims: usize) -> Self {
        let mut host = Host::new();
        let shared =
            tempfile::Builder::new().prefix("dg-bench-").tempdir_in("/dev/shm").expect("tmpfs at /dev/shm");
        let calm = host.base.join("calm.toml");
        host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
        let on_tmpfs = |host: &Host| {
            let text = fs::read_to_string(host.config()).expect("a file of the stage");
            text.replace(
                &format!("{:?}", host.run_dir().display().to_string()),
                &format!("{:?}", shared.path()),
            )
        };
        fs::write(&calm, on_tmpfs(&host)).expect("a file of the stage");
        host.configure(super::kit::Settings::want_everything);
        fs::write(host.config(), on_tmpfs(&host)).expect("a file of the stage");
        let run = RunDir::open(shared.path()).expect("a run directory");
        let roots = (1..=claims + HOOKS).map(|number| stage::plant_runner(&host, number)).collect();
        Self { host, roots, run, calm, _shared: shared }
    }

    fn plant(&self) {
        for root in &self.roots[HOOKS..] {
            stage::plant_cache(root, "widgets", 10, 0);
        }
    }

    fn rename(&self) -> Duration {
        let from = stage::target(&self.roots[HOOKS], "widgets");
        let to = self.roots[HOOKS].join("_work/away");
        let took = time(|| fs::rename(&from, &to).expect("it can be renamed"));
        fs::rename(to, from).expect("it goes back");
        took
    }

    /// Sweeps, and tells of each time that somebody who takes the lock shared had to wait.
    fn sweep(&self, meanwhile: impl FnOnce()) -> Vec<Duration> {
        let is_over = AtomicBool::new(false);
        let mut waits = Vec::new();
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut waits = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    waits.push(time(|| drop(SharedLock::acquire(&self.run, LONG).expect("it is shared"))));
                    std::thread::sleep(Duration::from_micros(500));
                }
                waits
            });
            let sweep = scope.spawn(|| {
                let arguments = arguments(&self.host.config(), &["sweep"]);
                stage::run(&self.host.program(), &arguments)
            });
            meanwhile();
            sweep.join().expect("no panic");
            is_over.store(true, Ordering::Relaxed);
            waits = watcher.join().expect("no panic");
        });
        assert!(!stage::target(&self.roots[HOOKS], "widgets").exists(), "it has claimed");
        waits.retain(|wait| *wait > Duration::from_micros(200));
        waits
    }

    /// Hooks of as many runners, four at a time.
    fn hooks(&self) -> Vec<Duration> {
        let hook = |root: &Path| {
            let arguments = arguments(&self.calm, &["hook", "started"]);
            stage::timed(stage::below_worker(root, &self.host.program(), &arguments))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = self.roots[..HOOKS]
                .chunks(HOOKS / 4)
                .map(|roots| scope.spawn(move || roots.iter().map(|root| hook(root)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        })
    }
}
