//! The incident itself: jobs that read and write their trees while the hooks and sweeps of others free space.
//!
//! The same harness runs a careless pruner, which has to break builds: otherwise the harness would prove nothing.
//! `DISK_GUARD_SOAK=N` makes it N times as long.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Host, Runner, SIGNATURE};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const RUNNERS: usize = 4;

/// A build: cold when there is no tree, warm otherwise; then it reads and writes its files over and over, and fails when
/// one of them is not what it wrote.
const BUILD: &str = r#"
deps=target/debug/deps
if test -d target; then
  echo warm
  test -f target/CACHEDIR.TAG
  for n in 1 2 3 4 5 6 7 8; do read -r word <$deps/lib$n.rlib; test "$word" = whole; done
else
  echo cold
  mkdir -p $deps
  echo 'SIGNATURE' >target/CACHEDIR.TAG
fi
exec 9>target/debug/.cargo-lock
for round in {1..ROUNDS}; do
  for n in 1 2 3 4 5 6 7 8; do echo $round-$n >$deps/lib$n.rlib; done
  for n in 1 2 3 4 5 6 7 8; do read -r word <$deps/lib$n.rlib; test "$word" = $round-$n; done
  test -f target/CACHEDIR.TAG
done
for n in 1 2 3 4 5 6 7 8; do echo whole >$deps/lib$n.rlib; done
"#;

/// What a run of the harness came to.
#[derive(Debug, Default)]
struct Tally {
    jobs: AtomicUsize,
    broken: AtomicUsize,
    cold: AtomicUsize,
    warm: AtomicUsize,
    swept: AtomicUsize,
}

impl Tally {
    fn of(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::Relaxed)
    }
}

/// How often everything is repeated.
fn soak() -> usize {
    std::env::var("DISK_GUARD_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// All runners at once, `jobs` jobs each.
fn run(host: &Host, jobs: usize, sweeps: bool, tally: &Tally) {
    let runners: Vec<Runner> = (1..=RUNNERS)
        .map(|n| {
            let root = host.runners().join(format!("actions-runner-{n}"));
            if root.exists() {
                std::fs::remove_dir_all(&root).expect("our own directory");
            }
            host.runner(&format!("actions-runner-{n}")).build()
        })
        .collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let working: Vec<_> =
            runners.iter().map(|runner| scope.spawn(move || work(runner, jobs, tally))).collect();
        let sweeping = scope.spawn(|| {
            while sweeps && !done.load(Ordering::Relaxed) {
                let run = host.guard(&["sweep", "--json"]).expect_code(&[0, 20, 75]);
                if run.code != Some(75) {
                    tally.swept.fetch_add(run.report().with_outcome("removed").len(), Ordering::Relaxed);
                }
            }
        });
        let results: Vec<_> = working.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        sweeping.join().expect("sweeps do not fail");
        results.into_iter().for_each(|result| result.expect("a runner does not fail"));
    });
}

/// One runner's day: job after job of the same repository.
fn work(runner: &Runner, jobs: usize, tally: &Tally) {
    let script = BUILD.replace("SIGNATURE", SIGNATURE).replace("ROUNDS", "150");
    let mut listener = runner.listen();
    for _ in 0..jobs {
        let mut job = listener.begin_job("acme/app");
        job.hook_started().expect_ok();
        let steps = job.steps(&script);
        tally.jobs.fetch_add(1, Ordering::Relaxed);
        if steps.code != 0 {
            tally.broken.fetch_add(1, Ordering::Relaxed);
            eprintln!("{}: {}", runner.name, steps.text());
        }
        let kind = if steps.text().starts_with("warm") { &tally.warm } else { &tally.cold };
        kind.fetch_add(1, Ordering::Relaxed);
        job.hook_completed().expect_ok();
        job.finish(&mut listener);
    }
}

/// Constant pressure, and siblings' trees that may go the instant they are idle.
fn pressed() -> Host {
    let mut host = Host::new();
    host.configure(|settings| {
        settings.want_everything();
        settings.idle_floor = "0s";
    });
    host
}

#[test]
fn no_build_breaks_while_hooks_and_sweeps_delete_idle_caches() {
    if !kit::sees_everything() {
        return;
    }
    let host = pressed();
    let tally = Tally::default();
    let jobs = 6 * soak();
    run(&host, jobs, true, &tally);
    assert_eq!(Tally::of(&tally.jobs), RUNNERS * jobs);
    assert_eq!(Tally::of(&tally.broken), 0, "{tally:?}");
    assert!(Tally::of(&tally.cold) > RUNNERS, "trees of ended jobs were taken: {tally:?}");
    let sweep = host.sweep();
    assert!(Tally::of(&tally.swept) + sweep.with_outcome("removed").len() > 0, "{tally:?}");
}

#[test]
fn without_pressure_every_build_but_the_first_is_warm() {
    let mut host = pressed();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let tally = Tally::default();
    run(&host, 2, true, &tally);
    assert_eq!((Tally::of(&tally.broken), Tally::of(&tally.swept)), (0, 0), "{tally:?}");
    assert_eq!((Tally::of(&tally.cold), Tally::of(&tally.warm)), (RUNNERS, RUNNERS), "{tally:?}");
}

#[test]
fn a_careless_pruner_in_the_same_place_breaks_builds() {
    let host = pressed();
    // What such hosts have: above a mark, every runner's targets go.
    let script = format!(
        "used=$(df --output=pcent {0} | tail -n 1 | tr -dc 0-9)\nif test \"$used\" -ge 1; then rm -rf {0}/*/_work/*/*/target || true; fi\n",
        host.runners().display()
    );
    for path in [host.started_script(), host.completed_script()] {
        std::fs::write(&path, &script).expect("our own script");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    }
    let tally = Tally::default();
    for _ in 0..20 {
        run(&host, 2, false, &tally);
        if Tally::of(&tally.broken) > 0 {
            return;
        }
    }
    panic!("the harness never catches a broken build: {tally:?}");
}
