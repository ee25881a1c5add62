//! Deleting a tree, against `rm -rf` and, where installed, `rmz`: the whole, and the time until half and nine tenths of the
//! bytes are free (statvfs, sampled), which is what a job that waits for space feels.
//!
//! Our times begin with a claimed tree whose scan is at hand, as in a run; the scan's own time is shown beside them.

mod common;

use common::{Shape, median, milliseconds, peer, places, ratio, setting};
use disk_guard::observe::measure::{self, measure};
use disk_guard::reclaim::remove_tree::{Extent, Options, Progress, remove_tree};
use disk_guard::sys::dir::Dir;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// When how much of the tree's bytes were free.
#[derive(Clone, Copy)]
struct Times {
    half: Duration,
    nine_tenths: Duration,
    whole: Duration,
}

fn main() {
    let rounds = setting("ROUNDS", 5);
    let peers: Vec<(&str, PathBuf)> =
        ["rm", "rmz"].into_iter().filter_map(|name| Some((name, peer(name)?))).collect();
    for place in places() {
        for shape in Shape::ALL {
            let mut ours = Vec::new();
            let mut scans = Vec::new();
            let mut theirs = vec![Vec::new(); peers.len()];
            for round in 0..rounds {
                // Whoever comes first in a round changes with the round.
                for turn in 0..=peers.len() {
                    let who = (turn + round) % (peers.len() + 1);
                    let tree = place.path.join("tree");
                    shape.make(&tree).expect("the tree is made");
                    if who == peers.len() {
                        let (scan, times) = delete_ours(&place.path);
                        scans.push(scan);
                        ours.push(times);
                    } else {
                        theirs[who].push(delete_theirs(&peers[who], &place.path, &tree));
                    }
                    assert!(!tree.exists());
                }
            }
            report(place.label, shape, &scans, &ours, peers.iter().map(|(name, _)| *name).zip(theirs));
        }
    }
}

fn delete_ours(place: &Path) -> (Duration, Times) {
    let parent = Dir::resolve(place).expect("the place opens").0;
    let begun = Instant::now();
    let scan = measure(&parent.descend("tree").expect("the tree opens"), &measure::Options::default())
        .expect("the tree is read");
    let scanned = begun.elapsed();
    let progress = Progress::default();
    let options = Options { threads: 2, deadline: None, progress: &progress };
    let times = watch(place, |done| {
        std::thread::scope(|scope| {
            let work = scope.spawn(|| remove_tree(&parent, OsStr::new("tree"), &scan.largest, &options));
            done(&mut || work.is_finished());
            let removal = work.join().expect("no panic");
            assert!(matches!(removal.extent, Extent::Whole), "{removal:?}");
        });
    });
    (scanned, times)
}

fn delete_theirs((name, program): &(&str, PathBuf), place: &Path, tree: &Path) -> Times {
    watch(place, |done| {
        let mut command = Command::new(program);
        if *name == "rm" {
            command.arg("-rf");
        }
        let mut child = command.arg(tree).spawn().expect("the peer starts");
        done(&mut || child.try_wait().expect("a child can be waited for").is_some());
    })
}

/// Starts a deletion and samples the free space until it is done.
fn watch(place: &Path, start: impl FnOnce(&mut dyn FnMut(&mut dyn FnMut() -> bool))) -> Times {
    let free = || {
        let vfs = rustix::fs::statvfs(place).expect("statvfs works");
        vfs.f_bfree * vfs.f_frsize
    };
    let (before, begun) = (free(), Instant::now());
    let mut samples = Vec::new();
    let mut whole = Duration::ZERO;
    start(&mut |is_done| {
        while !is_done() {
            samples.push((begun.elapsed(), free()));
            std::thread::sleep(Duration::from_micros(300));
        }
        whole = begun.elapsed();
    });
    let goal = free().saturating_sub(before);
    let reached = |tenths: u64| {
        let at = samples.iter().find(|(_, now)| now.saturating_sub(before) >= goal / 10 * tenths);
        at.map_or(whole, |(time, _)| *time)
    };
    Times { half: reached(5), nine_tenths: reached(9), whole }
}

fn report<'a>(
    place: &str,
    shape: Shape,
    scans: &[Duration],
    ours: &[Times],
    theirs: impl Iterator<Item = (&'a str, Vec<Times>)>,
) {
    let of = |times: &[Times], what: fn(&Times) -> Duration| times.iter().map(what).collect::<Vec<_>>();
    println!("{place}, {}: median ms until 50 %, 90 %, all of the bytes are free", shape.label());
    let kinds: [fn(&Times) -> Duration; 3] = [|t| t.half, |t| t.nine_tenths, |t| t.whole];
    let figures = kinds.map(|kind| format!("{:8.1}", milliseconds(&of(ours, kind)))).join(" ");
    println!("  disk-guard {figures}   (its scan before that: {:.1})", milliseconds(scans));
    for (name, times) in theirs {
        let figures = kinds.map(|kind| format!("{:8.1}", milliseconds(&of(&times, kind)))).join(" ");
        let faster = kinds.map(|kind| format!("{:.2}x", 1.0 / ratio(&of(ours, kind), &of(&times, kind))));
        let with_scan = median(
            times
                .iter()
                .zip(ours.iter().zip(scans))
                .map(|(t, (o, scan))| t.half.as_secs_f64() / (o.half + *scan).as_secs_f64()),
        );
        println!(
            "  {name:10} {figures}   disk-guard is {} as fast; 50 % with the scan {with_scan:.2}x",
            faster.join(", ")
        );
    }
}
