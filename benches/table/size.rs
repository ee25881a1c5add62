//! Sizing with a warm cache against `du -s` and, where installed, `diskus`: one tree, and the many caches of a host, whose second
//! `status` finds nothing changed. Peers are timed as processes, we too. And the memory of a plan over thousands of caches.

use super::figures::{Goal, Row, setting};
use super::kit::Host;
use super::stage::{self, arguments};
use super::trees::{Shape, peer, places};
use disk_guard::observe::measure::{MeasureOptions, measure};
use disk_guard::observe::remembered::QUIET_BY_OWN_CLOCK;
use disk_guard::sys::dir::Dir;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Makes this program the one that is measured.
pub(crate) const SIZE_OF: &str = "--size-of";

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = one_tree();
    rows.extend(many_caches());
    rows.push(memory());
    rows
}

pub(crate) fn size_of(tree: &Path) {
    let tree = Dir::resolve(tree).expect("the tree opens").0;
    let scan = measure(&tree, &MeasureOptions { largest: 0, ..MeasureOptions::default() })
        .expect("the tree is read");
    println!("{:?}", scan.measure);
}

fn one_tree() -> Vec<Row> {
    let us = std::env::current_exe().expect("a bench has a binary");
    let peers = ["du", "diskus"].into_iter().filter_map(|name| Some((name, peer(name)?)));
    let peers: Vec<(&str, PathBuf)> = peers.collect();
    let rounds = setting("ROUNDS", 5) * 3;
    let mut rows = Vec::new();
    for place in places() {
        for shape in Shape::ALL {
            let tree = place.path.join("tree");
            shape.make(&tree).expect("the tree is made");
            let mut ours = Vec::new();
            let mut theirs = vec![Vec::new(); peers.len()];
            for round in 0..=rounds {
                let mut of_us = vec![OsString::from(SIZE_OF), tree.clone().into()];
                let took = stage::run(&us, &of_us);
                // The first round warms the cache.
                ours.extend((round > 0).then_some(took));
                for ((name, program), theirs) in peers.iter().zip(&mut theirs) {
                    of_us = vec![tree.clone().into()];
                    if *name == "du" {
                        of_us.insert(0, "-s".into());
                    }
                    let took = stage::run(program, &of_us);
                    theirs.extend((round > 0).then_some(took));
                }
            }
            for ((name, _), theirs) in peers.iter().zip(&theirs) {
                let goal = Goal::OfAnchor(if *name == "du" { 0.4 } else { 0.65 });
                let what = format!("sizing {}, {}, warm", shape.label(), place.label);
                rows.push(Row::beside(what, name, theirs, &ours, goal));
            }
            stage::run(Path::new("rm"), &[OsString::from("-rf"), tree.into()]);
        }
    }
    rows
}

/// A `status` of a host with many caches, the first (nothing is remembered) and the second; by itself, and with the container
/// engines of this computer, which are other programs and are asked meanwhile.
fn many_caches() -> Vec<Row> {
    let (runners, each, files) = (20, 10, setting("FILES_OF_A_CACHE", 1_000));
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    for number in 1..=runners {
        let root = stage::plant_runner(&host, number);
        for cache in 0..each {
            stage::plant_cache(&root, &format!("r{cache}"), files, 0);
        }
    }
    let without_engines = host.base.join("no-programs");
    std::fs::create_dir(&without_engines).expect("a directory of the stage");
    let without_engines = format!("programs = [{without_engines:?}]\n");
    let du = |host: &Host| stage::run(Path::new("du"), &[OsString::from("-s"), host.runners().into()]);
    let status = |host: &Host| stage::run(&host.program(), &arguments(&host.config(), &["status", "--json"]));
    du(&host);
    // Sizes are remembered of what has rested for a while.
    std::thread::sleep(QUIET_BY_OWN_CLOCK + Duration::from_secs(1));
    let mut times: [Vec<Duration>; 4] = Default::default();
    let [anchor, first, second, with_engines] = &mut times;
    for _ in 0..setting("ROUNDS", 5) {
        forget(&host);
        host.configure(|settings| settings.extra.clone_from(&without_engines));
        anchor.push(du(&host));
        first.push(status(&host));
        second.push(status(&host));
        host.configure(|settings| settings.extra.clear());
        with_engines.push(status(&host));
    }
    let caches = format!("{} caches of {files} files", runners * each);
    vec![
        Row::beside(format!("`status`, {caches}, warm"), "`du -s`", anchor, first, Goal::OfAnchor(0.47)),
        Row::beside(
            "a second `status`, nothing changed",
            "`du -s`",
            anchor,
            second,
            Goal::OfAnchor(1.0 / 15.0),
        ),
        Row::beside("the same, container engines asked", "`du -s`", anchor, with_engines, Goal::None),
    ]
}

/// Nothing is remembered.
fn forget(host: &Host) {
    let _ = std::fs::remove_dir_all(host.state_dir().join("sizes"));
}

fn memory() -> Row {
    let (runners, each) = (setting("MEMORY_RUNNERS", 200), 20);
    let mut host = Host::on(super::kit::Fs::Ext4 { mib: 16 << 10, inodes: 400_000 });
    host.configure(super::kit::Settings::want_everything);
    for number in 1..=runners {
        let root = stage::plant_runner(&host, number);
        for cache in 0..each {
            // Each of these files is worth being listed among the largest.
            stage::plant_cache(&root, &format!("r{cache}"), 40, 64 << 10);
        }
    }
    let peak = stage::peak(&host.program(), &arguments(&host.config(), &["plan", "--json"]));
    Row::alone(
        format!("peak memory of a plan over {} caches", runners * each),
        "MiB",
        vec![peak],
        Goal::AtMost(24.0),
    )
}
