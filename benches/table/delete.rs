//! Deleting a claimed tree on the real path (in a thread confined by Landlock, the scan at hand as in a run), against `rm -rf` and,
//! where installed, `rmz`: the whole, and the time until half of the bytes are free, which is what a waiting job feels.

use super::figures::{Goal, Row, setting};
use super::trees::{Shape, peer, places};
use disk_guard::observe::measure::{self, measure};
use disk_guard::reclaim::confinement::Confinement;
use disk_guard::reclaim::remove_tree::{Progress, RemovalExtent, RemoveOptions};
use disk_guard::sys::dir::Dir;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// When half of the tree's bytes were free, and when all.
#[derive(Clone, Copy)]
struct Times {
    half: Duration,
    whole: Duration,
}

pub(crate) fn rows() -> Vec<Row> {
    let rounds = setting("ROUNDS", 5);
    let peers: Vec<(&'static str, PathBuf)> =
        ["rm", "rmz"].into_iter().filter_map(|name| Some((name, peer(name)?))).collect();
    let mut rows = Vec::new();
    for place in places() {
        for shape in Shape::ALL {
            let mut ours = Vec::new();
            let mut theirs = vec![Vec::new(); peers.len()];
            for round in 0..rounds {
                // Whoever comes first in a round changes with the round.
                for turn in 0..=peers.len() {
                    let who = (turn + round) % (peers.len() + 1);
                    let tree = place.path.join("tree");
                    shape.make(&tree).expect("the tree is made");
                    match peers.get(who) {
                        None => ours.push(delete_ours(&place.path)),
                        Some(peer) => theirs[who].push(delete_theirs(peer, &place.path, &tree)),
                    }
                    assert!(!tree.exists());
                }
            }
            let halves = |times: &[Times]| times.iter().map(|times| times.half).collect::<Vec<_>>();
            let wholes = |times: &[Times]| times.iter().map(|times| times.whole).collect::<Vec<_>>();
            let tree = format!("{}, {}", shape.label(), place.label);
            for ((name, _), theirs) in peers.iter().zip(&theirs) {
                let anchor = if *name == "rm" { "`rm -rf`" } else { name };
                let (half, whole) = match (*name, shape) {
                    ("rm", Shape::Real) => (Goal::OfAnchor(0.2), Goal::OfAnchor(0.5)),
                    ("rm", Shape::Small) => (Goal::None, Goal::OfAnchor(0.63)),
                    _ => (Goal::None, Goal::OfAnchor(1.0)),
                };
                rows.push(Row::beside(
                    format!("deleting to half of the bytes: {tree}"),
                    anchor,
                    &halves(theirs),
                    &halves(&ours),
                    half,
                ));
                rows.push(Row::beside(
                    format!("deleting all of it: {tree}"),
                    anchor,
                    &wholes(theirs),
                    &wholes(&ours),
                    whole,
                ));
            }
        }
    }
    rows
}

fn delete_ours(place: &Path) -> Times {
    let parent = Dir::resolve(place).expect("the place opens").0;
    let scan = measure(&parent.descend("tree").expect("the tree opens"), &measure::MeasureOptions::default())
        .expect("the tree is read");
    let progress = Progress::default();
    let options = RemoveOptions { threads: 2, deadline: None, enough: None, progress: &progress };
    watch(place, |done| {
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let confinement = Confinement::to([&parent]);
                assert_eq!(confinement.lack(), None, "what is measured is the confined deletion");
                confinement.delete((&parent, OsStr::new("tree")), &scan.largest, &options)
            });
            done(&mut || work.is_finished());
            let extent = work.join().expect("no panic");
            assert!(matches!(extent, RemovalExtent::Whole), "{extent:?}");
        });
    })
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
    let goal = free().saturating_sub(before) / 2;
    let at = samples.iter().find(|(_, now)| now.saturating_sub(before) >= goal);
    Times { half: at.map_or(whole, |(time, _)| *time), whole }
}
