//! What people wait for, in one table: each line with its anchor or peer of the same run, medians and quartiles, its goal, and
//! whether it is met.
//!
//! `cargo bench --bench table [-- SUBJECT...]`: `lock`, `hook`, `delete`, `size`, `evidence`, `pressure`, `growth`, `build`; all of them by
//! default. As root: it mounts filesystems of its own, and evidence is only whole for root. Peers that are not installed (`rmz`,
//! `diskus`) are left out.
//!
//! Environment, each `DISK_GUARD_BENCH_...`: `ROUNDS` (5), `HOOK_ROUNDS` (200), `PROCESSES` (5000), `HOLDING_PROCESSES` (1000), `CLAIMS`
//! (100), `ENTRIES` (100000, the tree of many small files), `MIB` (1024, the bytes of the real target's shape), `FILES_OF_A_CACHE`
//! (1000), `ITEMS` (250 types in each of eight crates that are built), `MEMORY_RUNNERS` (200, of 20 caches each), `RUNNERS` (320) and `MOST_FILES` (160000) for growth, `LOGS` (5000), `PEERS` (a directory with
//! programs that are not on the PATH), `PLACES` (which filesystems trees lie on: `ext4,tmpfs`; ext4 alone by default).
#![allow(clippy::disallowed_methods, reason = "the stage is made and removed here")]

mod build;
mod delete;
mod evidence;
mod figures;
mod growth;
mod hook;
#[path = "../../tests/kit/mod.rs"]
mod kit;
mod lock;
mod pressure;
mod size;
mod stage;
mod trees;

use figures::Row;
use std::ffi::OsString;
use std::path::Path;

type Subject = (&'static str, fn() -> Vec<Row>);

const SUBJECTS: [Subject; 8] = [
    ("lock", lock::rows),
    ("hook", hook::rows),
    ("delete", delete::rows),
    ("size", size::rows),
    ("evidence", evidence::rows),
    ("pressure", pressure::rows),
    ("growth", growth::rows),
    ("build", build::rows),
];

fn main() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match &arguments[..] {
        [mode, program, rest @ ..] if mode == stage::AS_WORKER => return stage::as_worker(program, rest),
        [mode, program, rest @ ..] if mode == stage::PEAK_OF => return stage::peak_of(program, rest),
        [mode, tree] if mode == size::SIZE_OF => return size::size_of(Path::new(tree)),
        _ => {}
    }
    let is_wanted = |name: &str| {
        let mut named = arguments.iter().filter(|argument| *argument != "--bench").peekable();
        named.peek().is_none() || named.any(|argument| argument == name)
    };
    let mut all = Vec::new();
    for (name, rows) in SUBJECTS.into_iter().filter(|(name, _)| is_wanted(name)) {
        let begun = std::time::Instant::now();
        all.extend(rows());
        eprintln!("{name}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    figures::print(&all);
}
