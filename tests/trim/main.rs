//! Trims of real cargo targets: cargo builds them, disk-guard takes units out of them by its own claims, cargo builds again.
//!
//! Both layouts are built by the toolchain at hand: the one of cargo 1.100 by its unstable name, which cargo accepts under
//! `RUSTC_BOOTSTRAP`. A toolchain that knows the name no more has it as its default.
#![allow(clippy::disallowed_methods, reason = "the test lays out files of its own and reads the clock")]

mod project;

use disk_guard::model::{ReferenceBits, TrimTier};
use project::{Layout, Project};

const LAYOUTS: [Layout; 2] = [Layout::First, Layout::Second];

#[test]
fn units_that_no_job_has_used_go_and_the_build_after_it_compiles_nothing() {
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
