//! Sizing a tree with a warm cache, against `du -s` and, where installed, `diskus`; and the memory that a tree of
//! `DISK_GUARD_BENCH_MILLION` (0: not measured) files takes. Peers are timed as processes, we too: this program is started
//! again for each measurement.

mod common;

use common::{Shape, milliseconds, peak_resident_mib, peer, places, ratio, setting};
use disk_guard::observe::measure::{Options, measure};
use disk_guard::sys::dir::Dir;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Makes this program the one that is measured.
const OURS: &str = "DISK_GUARD_BENCH_SIZE_OF";

fn main() {
    if let Some(tree) = std::env::var_os(OURS) {
        return size_ours(Path::new(&tree));
    }
    let us = std::env::current_exe().expect("a bench has a binary");
    let mut programs: Vec<(&str, PathBuf, &[&str])> = vec![("disk-guard", us.clone(), &[])];
    programs.extend(peer("du").map(|path| ("du", path, &["-s"][..])));
    programs.extend(peer("diskus").map(|path| ("diskus", path, &[][..])));
    let rounds = setting("ROUNDS", 5) * 3;
    for place in places() {
        for shape in Shape::ALL {
            let tree = place.path.join("tree");
            shape.make(&tree).expect("the tree is made");
            let mut times = vec![Vec::new(); programs.len()];
            for round in 0..=rounds {
                for turn in 0..programs.len() {
                    let who = (turn + round) % programs.len();
                    let time = run(&programs[who].1, programs[who].2, &tree);
                    // The first round warms the cache.
                    if round > 0 {
                        times[who].push(time);
                    }
                }
            }
            println!("{}, {}: median ms", place.label, shape.label());
            for ((name, ..), their) in programs.iter().zip(&times) {
                println!(
                    "  {name:10} {:7.1}   disk-guard takes {:.2} of it",
                    milliseconds(their),
                    ratio(&times[0], their)
                );
            }
            Command::new("rm").arg("-rf").arg(&tree).status().expect("rm starts");
        }
    }
    memory(&us, setting("MILLION", 0));
}

fn size_ours(tree: &Path) {
    let tree = Dir::resolve(tree).expect("the tree opens").0;
    let scan = measure(&tree, &Options::default()).expect("the tree is read");
    println!(
        "{} files, {} directories, {} bytes, peak {:.1} MiB",
        scan.measure.files,
        scan.measure.directories,
        scan.measure.bytes,
        peak_resident_mib()
    );
}

fn run(program: &Path, arguments: &[&str], tree: &Path) -> Duration {
    let begun = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .arg(tree)
        .env(OURS, tree)
        .stdout(Stdio::null())
        .status()
        .expect("the program starts");
    assert!(status.success());
    begun.elapsed()
}

fn memory(us: &Path, files: usize) {
    if files == 0 {
        return;
    }
    for (label, in_each) in [("in one directory", files), ("in directories of ten", 10)] {
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let tree = temp.path().join("tree");
        for file in 0..files {
            let dir = tree.join((file / in_each).to_string());
            if file % in_each == 0 {
                fs::create_dir_all(&dir).expect("a directory is made");
            }
            File::create(dir.join(file.to_string())).expect("a file is made");
        }
        let output = Command::new(us).env(OURS, &tree).output().expect("this program starts");
        print!("{label}: {}", String::from_utf8_lossy(&output.stdout));
        Command::new("rm").arg("-rf").arg(&tree).status().expect("rm starts");
    }
}
