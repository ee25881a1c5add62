//! What the next builds cost after a cargo target has been trimmed: CPU seconds, as a share of a whole cold build.
//!
//! `cargo bench --bench warm [-- --layout first|second] [--target history|in-use] [--goals 10,30,60] [--runs N]
//! [--project DIR --edit FILE]`
//!
//! Two targets of one real project (a command line tool with some twenty dependencies, all of them this package's own; or the one in
//! `DIR`, whose dependencies have to be in cargo's cache, and of which a commit changes `FILE`):
//! - *history*: built with other flags and features, and after edits, before the builds of today; most of it no build uses any more;
//! - *in use*: what the builds of today use, and nothing else.
//!
//! The builds of today are `cargo build`, `cargo test --no-run` and `cargo build --release`. Each figure is what they take after the
//! target has lost so many percent of its bytes, less what they take on the untouched target; with a commit, both after an edit of
//! one source file. Peers in the same run, without a commit: the oldest files first, as `find -mtime` scripts do, the whole target,
//! and `cargo sweep --maxsize` where that is installed. Every executable that comes of it, those of tests among them, is compared with
//! that of the untouched target. The goals are those of docs/src/performance.md.
//!
//! CPU seconds, not wall time: the machine may be busy.
#![allow(clippy::disallowed_methods, reason = "the bench lays out files of its own and reads the clock")]

#[allow(dead_code, reason = "the tests of trims use more of it")]
#[path = "../../tests/blackbox/trim/project.rs"]
mod project;
mod subject;
mod ways;

use project::{Layout, Project};
use subject::{Built, Kept, Subject};
use ways::Way;

/// What is asked for.
struct Wish {
    goals: Vec<u64>,
    runs: usize,
    layout: Option<String>,
    target: Option<String>,
    arguments: Vec<String>,
}

impl Wish {
    fn of(arguments: &[String]) -> Self {
        let value =
            |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
        let goals = value("--goals").map_or("10,30,60", String::as_str).split(',');
        Self {
            goals: goals.filter_map(|goal| goal.parse().ok()).collect(),
            runs: value("--runs").and_then(|runs| runs.parse().ok()).unwrap_or(1).max(1),
            layout: value("--layout").cloned(),
            target: value("--target").cloned(),
            arguments: arguments.to_vec(),
        }
    }

    fn wants(wish: Option<&String>, name: &str) -> bool {
        wish.is_none_or(|wish| wish == name)
    }
}

/// The most that the rebuild may cost, in percent of a cold build, where there is a goal.
fn most(target: &str, commit: bool, goal: u64) -> Option<f64> {
    match (target, commit, goal) {
        ("history", _, 30 | 60) => Some(1.0),
        ("in-use", false, 30) => Some(15.0),
        ("in-use", true, 30) => Some(5.0),
        _ => None,
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let wish = Wish::of(&arguments);
    for (name, layout) in [("first", Layout::First), ("second", Layout::Second)] {
        if Wish::wants(wish.layout.as_ref(), name) {
            of_layout(layout, &wish);
        }
    }
}

fn of_layout(layout: Layout, wish: &Wish) {
    let subject = Subject::of(Project::empty(layout), &wish.arguments);
    if Wish::wants(wish.target.as_ref(), "history") {
        subject.make_history();
        let history = subject.keep("history");
        println!("\n{layout:?} layout, target with history, {} MiB", subject.bytes() >> 20);
        table(&subject, &history, "history", wish);
        subject.restore(&history);
    }
    if Wish::wants(wish.target.as_ref(), "in-use") {
        subject.make_all_in_use();
        let in_use = subject.keep("in-use");
        println!("\n{layout:?} layout, everything in use, {} MiB", subject.bytes() >> 20);
        table(&subject, &in_use, "in-use", wish);
    }
}

fn table(subject: &Subject, kept: &Kept, target: &str, wish: &Wish) {
    let measure = |way: Way, goal: u64, commit: bool| -> (u64, Built) {
        let mut all: Vec<(u64, Built)> = (0..wish.runs)
            .map(|_| {
                subject.restore(kept);
                let freed = way.make_room(subject, subject.bytes() * goal / 100);
                (freed, subject.builds_of_today(commit))
            })
            .collect();
        all.sort_by(|one, other| one.1.seconds.total_cmp(&other.1.seconds));
        all.swap_remove(wish.runs / 2)
    };
    let bytes = {
        subject.restore(kept);
        subject.bytes()
    };
    let (_, whole) = measure(Way::Whole, 100, false);
    let mut cold = whole.seconds;
    for commit in [false, true] {
        let (_, untouched) = measure(Way::Nothing, 0, commit);
        if !commit {
            cold -= untouched.seconds;
            let same = if whole.executables == untouched.executables { "equal" } else { "DIFFERENT" };
            println!(
                "  a cold build takes {cold:.1} s of CPU, its {} executables are {same}",
                whole.executables.len()
            );
        }
        let words = if commit { "commit" } else { "no commit" };
        println!("  {words}: untouched {:.1} s", untouched.seconds);
        for goal in &wish.goals {
            for way in ways::compared().into_iter().filter(|way| !commit || *way == Way::DiskGuard) {
                let (freed, built) = measure(way, *goal, commit);
                let share = 100.0 * (built.seconds - untouched.seconds) / cold;
                let same = if built.executables == untouched.executables { "equal" } else { "DIFFERENT" };
                let verdict = match most(target, commit, *goal).filter(|_| way == Way::DiskGuard) {
                    Some(most) if share <= most => format!("goal {most} %: met"),
                    Some(most) => format!("goal {most} %: MISSED"),
                    None => String::new(),
                };
                println!(
                    "    {goal:>2} %  {:<13} freed {:>5} MiB = {:>4.1} %  rebuild {share:>6.1} % ({:>2} units)  executables {same}  {verdict}",
                    way.name(),
                    freed >> 20,
                    100.0 * freed as f64 / bytes as f64,
                    built.compiled,
                );
            }
        }
    }
}
