//! What the next build costs after a cargo target has been trimmed: CPU seconds, as a share of a whole cold build.
//!
//! `cargo bench --bench warm [-- --runs N] [--goals 10,30,60]`
//!
//! Two targets of one real project (a command line tool with some forty dependencies, all of them this package's own):
//! - *history*: built with other flags and features, and after edits, before the builds of today; most of it no build uses any more;
//! - *in use*: what the builds of today use, and nothing else.
//!
//! The builds of today are `cargo build` and `cargo test --no-run`. Each figure is what they take after the target has lost so many
//! percent of its bytes, without an edit and with one, less what they take on the untouched target. Peers in the same run: the
//! oldest files first, as `find -mtime` scripts do, the whole target, and `cargo sweep --maxsize` where that is installed. Every
//! executable that comes of it is compared with that of the untouched target.
//!
//! CPU seconds, not wall time: the machine may be busy.
#![allow(clippy::disallowed_methods, reason = "the bench lays out files of its own and reads the clock")]

mod project;

use project::{Cost, Layout, Project};

/// A way of making room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Nothing,
    DiskGuard,
    OldestFiles,
    CargoSweep,
    Whole,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::DiskGuard => "disk-guard",
            Self::OldestFiles => "oldest files",
            Self::CargoSweep => "cargo-sweep",
            Self::Whole => "whole target",
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value =
        |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
    let goals: Vec<u64> = value("--goals").map_or_else(
        || vec![10, 30, 60],
        |list| list.split(',').filter_map(|goal| goal.parse().ok()).collect(),
    );
    let runs: usize = value("--runs").and_then(|runs| runs.parse().ok()).unwrap_or(1);
    let only = value("--layout").map(String::as_str);
    for (name, layout) in [("first", Layout::First), ("second", Layout::Second)] {
        if only.is_none_or(|only| only == name) {
            of_layout(layout, &goals, runs);
        }
    }
}

fn of_layout(layout: Layout, goals: &[u64], runs: usize) {
    let mut project = Project::new(layout);
    project.make_history();
    project.keep("history");
    let size = project.bytes();
    println!("\n{layout:?} layout, target with history, {} MiB", size >> 20);
    table(&mut project, "history", goals, runs);
    project.restore("history");
    project.keep_only_what_is_used();
    project.keep("in use");
    println!("\n{layout:?} layout, everything in use, {} MiB", project.bytes() >> 20);
    table(&mut project, "in use", goals, runs);
}

fn table(project: &mut Project, kept: &str, goals: &[u64], runs: usize) {
    for edit in [false, true] {
        let measure = |way: Way, goal: u64| {
            let mut costs: Vec<(f64, u64, Cost)> = (0..runs)
                .map(|_| {
                    project.restore(kept);
                    let freed = make_room(project, way, goal);
                    let cost = project.builds_of_today(edit);
                    (cost.seconds, freed, cost)
                })
                .collect();
            costs.sort_by(|one, other| one.0.total_cmp(&other.0));
            costs.swap_remove(runs / 2)
        };
        let (untouched, _, reference) = measure(Way::Nothing, 0);
        let (whole, _, _) = measure(Way::Whole, 100);
        let cold = whole - untouched;
        let words = if edit { "then a commit" } else { "no commit" };
        println!("  {words}: untouched {untouched:.1} s, whole target {whole:.1} s of CPU");
        for goal in goals {
            for way in [Way::DiskGuard, Way::OldestFiles, Way::CargoSweep] {
                if way == Way::CargoSweep && !project::has_cargo_sweep() {
                    continue;
                }
                let (seconds, freed, cost) = measure(way, *goal);
                let share = 100.0 * (seconds - untouched) / cold;
                let same = if cost.executables == reference.executables { "equal" } else { "DIFFERENT" };
                println!(
                    "    goal {goal:>2} %  {:<13} freed {:>5} MiB  rebuild {share:>6.1} %  executables {same}",
                    way.name(),
                    freed >> 20
                );
            }
        }
    }
}

fn make_room(project: &Project, way: Way, percent: u64) -> u64 {
    let before = project.bytes();
    let goal = before * percent / 100;
    match way {
        Way::Nothing => {}
        Way::DiskGuard => project.trim(goal),
        Way::OldestFiles => project.remove_oldest_files(goal),
        Way::CargoSweep => project.cargo_sweep(before - goal),
        Way::Whole => project.remove_target(),
    }
    before - project.bytes()
}
