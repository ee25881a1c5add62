//! How time grows: with runners and with files. What is printed is the exponent of the power that fits the times best: 1 is
//! linear, 2 quadratic. `DISK_GUARD_BENCH_RUNNERS` and `DISK_GUARD_BENCH_MOST_FILES` are the largest sizes, to be raised to 2,000 and
//! a million where time allows.

use super::figures::{Goal, Row, exponent, median, setting, time};
use super::kit::{Host, Settings};
use super::stage::{self, arguments};
use disk_guard::observe::measure::{self, measure};
use disk_guard::reclaim::confinement::Confinement;
use disk_guard::reclaim::remove_tree::{Progress, RemovalExtent, RemoveOptions};
use disk_guard::sys::dir::Dir;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

const MOST: f64 = 1.1;

pub(crate) fn rows() -> Vec<Row> {
    let (runners, files) = (setting("RUNNERS", 320), setting("MOST_FILES", 160_000));
    let (mut plans, mut sweeps) = (Vec::new(), Vec::new());
    for count in sizes(runners) {
        let (plan, sweep) = of_runners(count);
        plans.push((count as f64, plan));
        sweeps.push((count as f64, sweep));
    }
    let (mut sizing, mut deleting) = (Vec::new(), Vec::new());
    for count in sizes(files) {
        let (size, delete) = of_files(count);
        sizing.push((count as f64, size));
        deleting.push((count as f64, delete));
    }
    let row = |what: &str, points: &[(f64, Duration)]| {
        let told: Vec<String> =
            points.iter().map(|(size, time)| format!("{size}: {:.0} ms", time.as_secs_f64() * 1e3)).collect();
        let what = format!("growth of {what} ({})", told.join(", "));
        Row::alone(what, "as exponent", vec![exponent(points)], Goal::AtMost(MOST))
    };
    vec![
        row("a plan with runners", &plans),
        row("a sweep that claims a cache of each with runners", &sweeps),
        row("sizing with files", &sizing),
        row("deleting with files", &deleting),
    ]
}

/// Four sizes, each twice the one before. Below the first of them what does not grow is most of the time.
fn sizes(most: usize) -> [usize; 4] {
    [most / 8, most / 4, most / 2, most]
}

fn of_runners(count: usize) -> (Duration, Duration) {
    let mut host = Host::new();
    host.configure(Settings::want_everything);
    let roots: Vec<_> = (1..=count).map(|number| stage::plant_runner(&host, number)).collect();
    let plant = || {
        roots.iter().for_each(|root| drop(stage::plant_cache(root, "widgets", 20, 0)));
    };
    plant();
    let call = |verb: &str| stage::run(&host.program(), &arguments(&host.config(), &[verb]));
    let plan = median(&[(); 3].map(|()| call("plan")));
    let sweep = median(&[(); 3].map(|()| {
        plant();
        call("sweep")
    }));
    (plan, sweep)
}

fn of_files(count: usize) -> (Duration, Duration) {
    let temp = tempfile::tempdir_in("/dev/shm").expect("tmpfs at /dev/shm");
    let parent = Dir::resolve(temp.path()).expect("it opens").0;
    let (mut sizing, mut deleting) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        plant(&temp.path().join("tree"), count);
        let tree = parent.descend("tree").expect("it opens");
        sizing.push(time(|| drop(measure(&tree, &measure::MeasureOptions::default()).expect("it is read"))));
        let progress = Progress::default();
        let options = RemoveOptions { threads: 2, deadline: None, enough: None, progress: &progress };
        deleting.push(time(|| {
            let confinement = Confinement::to([&parent]);
            let extent = confinement.delete((&parent, OsStr::new("tree")), &[], &options);
            assert!(matches!(extent, RemovalExtent::Whole), "{extent:?}");
        }));
    }
    (median(&sizing), median(&deleting))
}

fn plant(tree: &Path, files: usize) {
    for number in 0..files {
        let directory = tree.join((number / 100).to_string());
        if number % 100 == 0 {
            fs::create_dir_all(&directory).expect("a directory of the stage");
        }
        fs::File::create(directory.join(number.to_string())).expect("a file of the stage");
    }
}
