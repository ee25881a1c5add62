//! What three real cargo targets of one project, in three runners, take less of the disk when equal files share their blocks.
//!
//! `cargo bench --bench dedupe [-- --project DIR --edit FILE]`, as root: it mounts a btrfs and an xfs of its own. The project is the one
//! of `benches/warm`, or that in `DIR`, of which a commit changes `FILE`.
//!
//! Each runner builds the same project in its own checkout with one cargo home: debug, tests, release. Then one sweep shares what is
//! equal, with the budget of the defaults. Of that the bench tells how much of a further runner's target lies on the disk no more, by
//! the filesystem's own count, and how fast the kernel compares. Afterwards every file is what it was, a build in each runner compiles
//! nothing, and a build after an edit in one runner changes no file of another.
//!
//! The time for a GiB is told twice: as the sweep saw it, waiting for everybody else as it does, and in CPU seconds that the sweep
//! took more than one after it that finds everything shared. The goals are those of docs/src/performance.md.
#![allow(clippy::disallowed_methods, reason = "the stage is made and removed here")]

#[path = "../../tests/kit/mod.rs"]
mod kit;
#[allow(dead_code, reason = "the tests of trims use more of it")]
#[path = "../../tests/blackbox/trim/project.rs"]
mod project;
#[allow(dead_code, reason = "the bench of trims uses more of it")]
#[path = "../warm/subject.rs"]
mod subject;

use kit::{Canary, Fs, Host};
use project::{Layout, Project};
use std::path::Path;
use std::process::Command;
use subject::{Subject, cpu_seconds};

/// What a further runner's target is to give, in percent of it; and GiB a second.
const SHARE: f64 = 55.0;
const SPEED: f64 = 1.0;

const RUNNERS: [&str; 3] = ["actions-runner-1", "actions-runner-2", "actions-runner-3"];

fn main() {
    if !kit::needs_root("mounts filesystems") {
        return;
    }
    for (name, fs) in [("btrfs", Fs::Btrfs { mib: 3072 }), ("xfs", Fs::Xfs { mib: 3072 })] {
        on(name, fs);
    }
}

fn on(name: &str, fs: Fs) {
    let mut host = Host::on(fs);
    host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (100, 99, 100);
        settings.extra = "[dedupe]\nenabled = true\n".into();
    });
    let arguments: Vec<String> = std::env::args().collect();
    let subjects = RUNNERS.map(|name| {
        let checkout = host.runner(name).build().checkout("acme/app");
        Subject::of(Project::empty_in(&checkout, Layout::First), &arguments)
    });
    let built = subjects.each_ref().map(|subject| subject.builds_of_today(false));
    sync(&host.runners());
    let bytes = subjects.each_ref().map(Subject::bytes);
    let canaries = subjects.each_ref().map(|subject| Canary::of(&subject.project.target()));

    let before = cpu_seconds();
    let done = host.sweep().0["dedupe"].clone();
    let between = cpu_seconds();
    sync(&host.runners());
    let again = host.sweep().0["dedupe"].clone();
    // What the kernel compares is a part of the first sweep alone.
    let cpu = (between - before) - (cpu_seconds() - between);
    let figure = |of: &serde_json::Value, key: &str| of[key].as_f64().expect("a figure");
    canaries.iter().for_each(Canary::assert_intact);
    assert_eq!(figure(&again, "shared_bytes"), 0.0, "nothing is left for another sweep: {again:#}");

    let (compared, took) = (figure(&done, "compared_bytes"), figure(&done, "duration_seconds"));
    let further = (bytes[1] + bytes[2]) as f64;
    let share = 100.0 * figure(&done, "freed_bytes") / further;
    let gib = (1u64 << 30) as f64;
    let (fast, in_cpu) = (compared / gib / took, compared / gib / cpu);
    let verdict = |is_met: bool| if is_met { "met" } else { "MISSED" };
    println!("\n{name}: three targets of {} MiB", bytes.map(|bytes| (bytes >> 20).to_string()).join(", "));
    println!("  {done}");
    println!("  freed of each further target: {share:.1} % (goal {SHARE} %: {})", verdict(share >= SHARE));
    println!(
        "  compared: {fast:.2} GiB/s, {in_cpu:.2} GiB a CPU second (goal {SPEED} GiB/s: {})",
        verdict(fast >= SPEED)
    );

    let mut compiled = Vec::new();
    for (subject, before) in subjects.iter().zip(&built) {
        let now = subject.builds_of_today(false);
        compiled.push(now.compiled);
        assert_eq!(now.executables, before.executables, "every executable is what it was");
    }
    println!("  builds after it compile {compiled:?} units, executables equal");
    let others = [0, 2].map(|index| Canary::of(&subjects[index].project.target()));
    let edited = subjects[1].builds_of_today(true);
    assert!(edited.compiled > 0, "an edit is built");
    others.iter().for_each(Canary::assert_intact);
    println!("  a build after an edit in one runner leaves every file of the others");
}

fn sync(at: &Path) {
    assert!(Command::new("sync").arg("-f").arg(at).status().is_ok_and(|status| status.success()));
}
