//! Deaths of a full disk, for real: eight runners build on a loop disk, each job writes what its kind writes and keeps it as a
//! cache, and dies when the disk is full. A fixed floor, the watermarks and the forecast in turn, from the same seed.
//!
//! With `DISK_GUARD_SOAK` set 200 jobs run; without it 36, and what they are held to is less.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

mod kit;

use kit::{Fs, Host, Job, Listener, Runner, usage};
use nix::fcntl::{FallocateFlags, fallocate};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const RUNNERS: usize = 8;

/// The disk, and what lies on it that no runner owns, in MiB.
const DISK: u64 = 540;
const OTHER: u64 = 40;

/// A kind of job: what its repository holds at its end, on average, and how often it comes against the others.
struct Kind {
    repository: &'static str,
    mib: u64,
    weight: u64,
}

const KINDS: [Kind; 6] = [
    Kind { repository: "acme/app", mib: 60, weight: 3 },
    Kind { repository: "acme/lib", mib: 30, weight: 3 },
    Kind { repository: "acme/web", mib: 45, weight: 2 },
    Kind { repository: "acme/big", mib: 85, weight: 1 },
    Kind { repository: "acme/doc", mib: 15, weight: 2 },
    Kind { repository: "acme/api", mib: 40, weight: 2 },
];

/// In minutes of a real host, a quarter of an hour.
const SWEEP_EVERY: Duration = Duration::from_secs(4);

/// How room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Floor,
    Watermarks,
    Forecast,
}

#[derive(Debug, Clone, Copy)]
struct Planned {
    kind: usize,
    mib: u64,
}

#[derive(Debug, Default)]
struct Outcome {
    done: usize,
    died: usize,
    took: Duration,
}

/// The same jobs for every way of making room: each is off its kind's mean by up to a quarter, and one in twenty is half as large again.
fn jobs(count: usize) -> VecDeque<Planned> {
    let mut rng = fastrand::Rng::with_seed(17);
    let weight: u64 = KINDS.iter().map(|kind| kind.weight).sum();
    let mut one = || {
        let mut drawn = rng.u64(0..weight);
        let kind = KINDS.iter().position(|kind| {
            let is_it = drawn < kind.weight;
            drawn = drawn.saturating_sub(kind.weight);
            is_it
        });
        let kind = kind.expect("the weights add up");
        let spread = rng.u64(75..=125) * if rng.u8(0..20) == 0 { 3 } else { 2 } / 2;
        Planned { kind, mib: KINDS[kind].mib * spread / 100 }
    };
    (0..count).map(|_| one()).collect()
}

/// Writes what is missing of the job's cache, in steps, as a build does.
fn script(job: Planned) -> String {
    format!(
        "mkdir -p target/debug && cd target || exit 1
         printf 'Signature: 8a477f597d28d172789f06886806bc55\\n# This file is a cache directory tag created by cargo.\\n' > CACHEDIR.TAG
         touch debug/.cargo-lock
         have=$(($(du -sm . | cut -f1) / 2 * 2))
         for part in $(seq 2 2 {mib}); do
             [ $part -gt $have ] || continue
             head -c 2M /dev/zero > debug/$part 2>/dev/null || exit 7
             sleep 0.06
         done
         touch debug/.cargo-lock",
        mib = job.mib
    )
}

/// Where a runner's job is.
enum Phase {
    Begins,
    Works,
    Ends { died: bool },
}

struct Busy {
    job: Job,
    planned: Planned,
    phase: Phase,
}

struct Lane {
    listener: Listener,
    busy: Option<Busy>,
    /// When it takes its next job.
    free_at: Instant,
}

fn settings(host: &mut Host, by: By) {
    host.configure(|settings| {
        settings.idle_floor = "0";
        settings.extra = "[forecast]\nenabled = false\n".into();
        match by {
            By::Floor => {
                (settings.high, settings.low, settings.critical) = (100, 99, 100);
                settings.min_free = "25MiB".into();
            }
            By::Watermarks => {}
            By::Forecast => settings.extra = "[forecast]\nunknown = \"40MiB\"\n".into(),
        }
    });
}

fn run(by: By, count: usize) -> Outcome {
    let mut host = Host::on(Fs::Ext4 { mib: DISK, inodes: 40_000 });
    settings(&mut host, by);
    let ballast = std::fs::File::create(host.runners().join("other")).expect("our own file");
    fallocate(&ballast, FallocateFlags::empty(), 0, (OTHER << 20) as i64).expect("there is room");
    let runners: Vec<Runner> =
        (1..=RUNNERS).map(|number| host.runner(&format!("actions-runner-{number}")).build()).collect();
    let mut rng = fastrand::Rng::with_seed(5);
    let begun = Instant::now();
    let mut lanes: Vec<Lane> =
        runners.iter().map(|runner| Lane { listener: runner.listen(), busy: None, free_at: begun }).collect();
    let (mut queue, mut outcome, mut swept) = (jobs(count), Outcome::default(), begun);
    while !queue.is_empty() || lanes.iter().any(|lane| lane.busy.is_some()) {
        for lane in &mut lanes {
            let is_due = lane.busy.is_none() && Instant::now() >= lane.free_at;
            if let Some(planned) = is_due.then(|| queue.pop_front()).flatten() {
                lane.begin(planned, &mut outcome);
            } else if lane.advance(&mut outcome) {
                lane.free_at = Instant::now() + Duration::from_millis(rng.u64(0..400));
            }
        }
        if swept.elapsed() > SWEEP_EVERY {
            host.guard(&["sweep", "--json"]).expect_code(&[0, 20]);
            swept = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    outcome.took = begun.elapsed();
    let (percent, available) = usage(&host.runners());
    println!("{by:?}: {outcome:?}; at its end {percent} % full, {} MiB available", available >> 20);
    outcome
}

impl Lane {
    fn begin(&mut self, planned: Planned, outcome: &mut Outcome) {
        self.listener.receive();
        let mut job = self.listener.start_worker(KINDS[planned.kind].repository);
        if !job.prepare(&[]).is_empty() {
            // The runner itself finds no room for the job.
            outcome.died += 1;
            job.finish(&mut self.listener);
            return;
        }
        job.start_hook("started");
        self.busy = Some(Busy { job, planned, phase: Phase::Begins });
    }

    /// Whether its job has ended.
    fn advance(&mut self, outcome: &mut Outcome) -> bool {
        const AT_ONCE: Duration = Duration::from_millis(1);
        let Some(busy) = &mut self.busy else { return false };
        match busy.phase {
            Phase::Begins => {
                if let Some(hook) = busy.job.poll_hook("started", AT_ONCE) {
                    assert_eq!(hook.code, 0, "{}", hook.text());
                    busy.job.start_steps(&script(busy.planned));
                    busy.phase = Phase::Works;
                }
                false
            }
            Phase::Works => {
                if let Some(steps) = busy.job.poll_hook("steps", AT_ONCE) {
                    busy.job.start_hook("completed");
                    busy.phase = Phase::Ends { died: steps.code != 0 };
                }
                false
            }
            Phase::Ends { died } => {
                if busy.job.poll_hook("completed", AT_ONCE).is_none() {
                    return false;
                }
                *if died { &mut outcome.died } else { &mut outcome.done } += 1;
                let busy = self.busy.take().expect("it is busy");
                busy.job.finish(&mut self.listener);
                true
            }
        }
    }
}

/// What the forecast is there for: at most a fifth of the deaths of the watermarks, and no fewer jobs done.
#[test]
fn with_the_forecast_a_fifth_of_the_jobs_die_that_die_with_watermarks() {
    if !kit::needs_root("mounts a loop disk") {
        return;
    }
    let is_long = std::env::var_os("DISK_GUARD_SOAK").is_some();
    let count = if is_long { 200 } else { 36 };
    let floor = is_long.then(|| run(By::Floor, count));
    let (watermarks, forecast) = (run(By::Watermarks, count), run(By::Forecast, count));
    for outcome in floor.iter().chain([&watermarks, &forecast]) {
        assert_eq!(outcome.done + outcome.died, count);
    }
    assert!(watermarks.died > count / 25, "the watermarks are not put to the test: {watermarks:?}");
    assert!(forecast.done >= watermarks.done, "{watermarks:?} {forecast:?}");
    // In the short form a single job is half of what it is held to.
    let most = if is_long { watermarks.died / 5 } else { watermarks.died / 2 };
    assert!(forecast.died <= most, "{watermarks:?} {forecast:?}");
}
