//! From the start of a job's hook to its end, on a disk that lacks half of one cache: what a job waits for under pressure. Twenty
//! runners on an ext4 of their own; the cache is the job's own runner's, or an idle sibling's beside a crowd of processes. The
//! anchor is `rm -rf` of the same tree.

use super::figures::{Goal, Row, setting};
use super::kit::{Fs, Host};
use super::stage::{self, Crowd, arguments};
use super::trees::{Shape, make_real};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const RUNNERS: usize = 20;

pub(crate) fn rows() -> Vec<Row> {
    let mib = setting("MIB", 1024);
    let mut host = Host::on(Fs::Ext4 { mib: 3 * mib as u64 + 512, inodes: 200_000 });
    let roots: Vec<PathBuf> = (1..=RUNNERS).map(|number| stage::plant_runner(&host, number)).collect();
    for root in &roots[2..] {
        stage::plant_cache(root, "small", 500, 4096);
    }
    let crowd = setting("PROCESSES", 5_000);
    let mut rows = vec![compare(
        &mut host,
        &roots[0],
        &roots[0],
        format!("pressure to half of an own cache ({}) free", Shape::Real.label()),
        0.5,
    )];
    let _crowd = Crowd::asleep(crowd);
    rows.push(compare(
        &mut host,
        &roots[0],
        &roots[1],
        format!("the same of a sibling's, {RUNNERS} runners, {crowd} processes"),
        2.5,
    ));
    rows
}

fn compare(host: &mut Host, own: &Path, whose: &Path, what: String, goal: f64) -> Row {
    let (mut anchors, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..setting("ROUNDS", 5) {
        let target = plant(whose);
        anchors.push(stage::run(Path::new("rm"), &[OsString::from("-rf"), target.into()]));
        let target = plant(whose);
        ours.push(under_pressure(host, own));
        assert!(!target.exists(), "it has not gone");
        finish(host);
    }
    Row::beside(what, "`rm -rf`", &anchors, &ours, Goal::OfAnchor(goal))
}

fn plant(root: &Path) -> PathBuf {
    let target = stage::target(root, "widgets");
    make_real(&target, setting("MIB", 1024) as u64 * 1024 * 1024).expect("the tree is made");
    // Not as cargo lays it out, so that it goes whole and not in parts.
    fs::rename(target.join("debug"), target.join("objects")).expect("it is ours");
    stage::make_cache_of(&target);
    rustix::fs::syncfs(fs::File::open(&target).expect("it opens")).expect("it is written back");
    target
}

fn available(host: &Host) -> u64 {
    let vfs = rustix::fs::statvfs(host.runners()).expect("statvfs works");
    vfs.f_bavail * vfs.f_frsize
}

fn under_pressure(host: &mut Host, own: &Path) -> Duration {
    let wanted = available(host) + setting("MIB", 1024) as u64 * 1024 * 1024 / 2;
    host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (100, 99, 100);
        settings.min_free = format!("{}KiB", wanted / 1024);
    });
    let hook = stage::below_worker(own, &host.program(), &arguments(&host.config(), &["hook", "started"]));
    let (took, said) = stage::told(hook);
    assert!(available(host) >= wanted - (1 << 20), "the bytes are not there: {said}");
    took
}

/// What is left in trash goes before the next round.
fn finish(host: &mut Host) {
    host.configure(|settings| settings.min_free = "0".into());
    stage::run(&host.program(), &arguments(&host.config(), &["sweep"]));
}
