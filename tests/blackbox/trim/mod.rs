//! Trims of real cargo targets: cargo builds them, disk-guard takes units out of them by its own claims, cargo builds again.
//!
//! Both layouts are built by the toolchain at hand: the one of cargo 1.100 by its unstable name, which cargo accepts under
//! `RUSTC_BOOTSTRAP`. A toolchain that knows the name no more has it as its default.
#![allow(clippy::disallowed_methods, reason = "the test lays out files of its own and reads the clock")]

#[allow(dead_code, reason = "the bench of trims uses more of it")]
mod project;

use crate::kit;
use crate::kit::{Fs, Host, Runner, usage};
use disk_guard::model::{ReferenceBits, TrimTier};
use project::{Layout, Project};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LAYOUTS: [Layout; 2] = [Layout::First, Layout::Second];

#[test]
fn unused_units_are_deleted_and_the_next_build_compiles_nothing() {
    for layout in LAYOUTS {
        let project = Project::new(layout);
        project.build(&[]);
        project.build(&["--features", "extra"]);
        project.build_with_flags("-C debug-assertions=off");
        project.end_of_job();
        let job = project.build(&[]);
        assert_eq!(job.compiled, [] as [&str; 0], "{layout:?}: the job of today finds all of it");
        project.end_of_job();

        let offer = project.offer();
        assert_eq!(offer.bits, ReferenceBits::Trusted, "{layout:?}");
        let unused = offer.steps_for(u64::MAX, TrimTier::Leftover);
        let freed = offer.first(unused).bytes;
        assert!(freed > offer.bytes / 4, "{layout:?}: {freed} of {} bytes", offer.bytes);
        let before = project.executable();
        project.trim(&offer, unused);
        let after = project.build(&[]);
        assert_eq!(after.compiled, [] as [&str; 0], "{layout:?}: not one unit is built again");
        assert_eq!(project.executable(), before, "{layout:?}");
        let extra = project.build(&["--features", "extra"]);
        assert!(
            extra.compiled.contains(&"app".to_owned()),
            "{layout:?}: what was trimmed is built again: {extra:?}"
        );
    }
}

#[test]
fn after_any_number_of_steps_the_next_build_gives_the_same_executable_and_the_same_warnings() {
    for layout in LAYOUTS {
        let project = Project::new(layout);
        let first = project.build(&[]);
        assert_eq!(first.warnings, 1);
        let (executable, all) = (project.executable(), project.offer().steps.len());
        assert!(all > 5, "{layout:?}: {all} steps");
        for count in [1, all / 3, 2 * all / 3, all] {
            project.restored(|project| {
                project.trim(&project.offer(), count);
                let next = project.build(&[]);
                assert_eq!(
                    (next.warnings, project.executable()),
                    (1, executable.clone()),
                    "{layout:?} {count}"
                );
            });
        }
    }
}

/// A run that is killed between any two renames leaves one of these states.
#[test]
fn a_trim_that_ends_between_any_two_renames_leaves_a_target_that_builds() {
    for layout in LAYOUTS {
        let project = Project::new(layout);
        project.build(&[]);
        let executable = project.executable();
        let offer = project.offer();
        let members = offer.first(offer.steps.len()).members.len();
        // Each unit has two to four members; every boundary inside of one is among every third.
        let stride = if std::env::var_os("DISK_GUARD_SOAK").is_some() { 1 } else { 5 };
        for ended_after in (1..members).step_by(stride) {
            project.restored(|project| {
                project.trim_members(&project.offer(), ended_after);
                let next = project.build(&[]);
                assert_eq!(
                    (next.warnings, project.executable()),
                    (1, executable.clone()),
                    "{layout:?}: ended after {ended_after} of {members} renames"
                );
            });
        }
    }
}

#[test]
fn a_running_build_keeps_its_target() {
    let project = Project::new(Layout::First);
    project.build(&[]);
    let offer = project.offer();
    let build = project.hold_build_lock();
    let refused = project.claim(&offer, offer.steps.len());
    assert!(matches!(refused, disk_guard::reclaim::claim::Claim::Refused(_)), "{refused:?}");
    drop(build);
    assert_eq!(project.build(&[]).compiled, [] as [&str; 0]);
    project.trim(&offer, offer.steps.len());
    assert!(!project.build(&[]).compiled.is_empty(), "and without it units go");
}

/// Fills the disk until its Use% is `percent`.
fn fill_to(directory: &Path, percent: u64) {
    let mut ballast = File::options().create(true).append(true).open(directory.join("ballast")).unwrap();
    while usage(directory).0 < percent {
        ballast.write_all(&vec![0x5a; 256 << 10]).unwrap();
        ballast.sync_data().unwrap();
    }
}

/// A job that builds, from its started-hook to its completed-hook, which marks what it has used.
fn job(runner: &Runner, build: impl FnOnce()) {
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    std::thread::sleep(Duration::from_millis(1100));
    build();
    std::thread::sleep(Duration::from_millis(1100));
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
}

#[test]
fn under_pressure_a_sweep_deletes_unused_units_and_the_next_job_builds_warm() {
    if kit::needs_root("mounts an ext4") {
        take_what_no_job_uses(Fs::Ext4 { mib: 256, inodes: 20_000 }, |_| ());
    }
}

/// Nothing can be renamed out of a subvolume, so that units go to a slot of its own.
#[test]
fn the_same_in_a_checkout_and_a_target_that_are_subvolumes() {
    if !kit::needs_root("mounts a btrfs") {
        return;
    }
    for below in ["", "target"] {
        take_what_no_job_uses(Fs::Btrfs { mib: 256 }, |checkout| {
            let at = checkout.join(below);
            let _ = std::fs::remove_dir_all(&at);
            std::fs::create_dir_all(at.parent().expect("it has one")).expect("a directory");
            let made = Command::new("btrfs").args(["subvolume", "create"]).arg(&at).output();
            assert!(made.expect("btrfs-progs is installed").status.success());
            // Cargo leaves its tag in what it makes itself.
            std::fs::create_dir_all(checkout.join("target")).expect("a directory");
            std::fs::write(checkout.join("target/CACHEDIR.TAG"), kit::SIGNATURE).expect("a file");
        });
    }
}

fn take_what_no_job_uses(fs: Fs, prepare: impl Fn(&Path)) {
    let mut host = Host::on(fs);
    host.configure(|settings| settings.idle_floor = "0s");
    let runner = host.runner("actions-runner-1").build();
    let checkout = runner.checkout("acme/app");
    prepare(&checkout);
    let project = Project::in_checkout(&checkout, Layout::First);
    job(&runner, || drop(project.build(&["--features", "extra"])));
    job(&runner, || drop(project.build(&[])));
    let executable = project.executable();

    fill_to(&host.runners(), 86);
    host.configure(|settings| (settings.high, settings.low) = (85, 84));
    let plan = host.plan();
    assert_eq!(plan.with_outcome("planned"), [project.target()], "{:#}", plan.0);
    let sweep = host.guard(&["sweep", "--json"]).expect_code(&[0, 20]).report();
    assert_eq!(sweep.with_outcome("removed"), [project.target()], "{:#}", sweep.0);
    assert_eq!(project.build(&[]).compiled, [] as [&str; 0], "nothing that the last job used is gone");
    assert_eq!(project.executable(), executable);
    assert!(
        project.build(&["--features", "extra"]).compiled.contains(&"app".to_owned()),
        "what it did not use is"
    );
    for place in [&checkout, &project.target()] {
        let names = std::fs::read_dir(place).expect("it is there").flatten().map(|entry| entry.file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".disk-guard")).collect();
        assert!(left.is_empty(), "nothing of ours is left in {}: {left:?}", place.display());
    }
}
