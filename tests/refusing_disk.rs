//! A disk that refuses: over quota, broken, read-only. What can be freed is freed, what cannot is told and lies whole in its place
//! or in trash, and the next run on a disk that has recovered finishes.
//!
//! Real where a kernel lends itself to it (a read-only remount of every filesystem), injected where it does not (quotas, a
//! broken medium): the call is not made and returns the error.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

mod kit;

use kit::{Canary, Entry, Fs, Host, MIB, Run, Runner, calls_of, can_refuse};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

struct Scene {
    host: Host,
    runner: Runner,
    /// Sorted by the repository's name, which the faults go by.
    victim: PathBuf,
    control: PathBuf,
    checkouts: [Canary; 2],
}

impl Scene {
    fn on(fs: Fs) -> Self {
        let mut host = Host::on(fs);
        host.configure(|settings| settings.want_everything());
        let (one, two) = (host.runner("actions-runner-1").build(), host.runner("actions-runner-2").build());
        let victim = one.cache("acme/victim", "target", MIB, 2 * DAY);
        let control = two.cache("acme/control", "target", MIB, 2 * DAY);
        let sources = |cache: &Path| Canary::of(&cache.parent().expect("the checkout").join("src"));
        let checkouts = [sources(&victim), sources(&control)];
        Self { host, runner: one, victim, control, checkouts }
    }

    /// Runs `disk-guard ARGUMENTS` on a disk on which the calls that `refused` picks fail with `errno`; how many did.
    fn refused(
        &self,
        arguments: &[&str],
        errno: Errno,
        mut refused: impl FnMut(&Entry) -> bool + Send + 'static,
    ) -> (Run, usize) {
        let (run, calls) = calls_of(&self.host.call(arguments), &self.host.program(), move |entry| {
            let refuse = refused(entry);
            if refuse {
                entry.fail(errno);
            }
            refuse
        });
        (run, calls.into_iter().filter(|refused| *refused).count())
    }

    /// The files of the victim that are left, in its place or in trash.
    fn left(&self) -> usize {
        fn count(directory: &Path, within: bool) -> usize {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let sums = entries.map(|entry| {
                let name = entry.file_name();
                let name = name.as_encoded_bytes();
                let within = within || name == b"target" || name.starts_with(b".disk-guard");
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => count(&entry.path(), within),
                    _ => usize::from(within),
                }
            });
            sums.sum()
        }
        count(&self.runner.work, false)
    }

    #[track_caller]
    fn recovers(&self, case: &str) {
        let sweep = self.host.sweep();
        assert_eq!(self.left(), 0, "{case}: the next run finishes: {:#}", sweep.0);
        assert_eq!(self.host.status().0["trash_bytes"], 0, "{case}");
        self.checkouts.iter().for_each(Canary::assert_intact);
    }
}

/// Whether the call is about something of the victim's runner.
fn is_the_victims(entry: &Entry, work: &Path) -> bool {
    entry.file(0).starts_with(work)
}

/// What is refused, with what, and what becomes of the victim.
struct Fault {
    what: &'static str,
    number: libc::c_long,
    errno: Errno,
    /// Only calls whose first name contains this.
    name: &'static str,
    outcome: &'static str,
    /// Files of the victim's that stay.
    stays: Stays,
}

#[derive(PartialEq)]
enum Stays {
    Nothing,
    Something,
    Everything,
}

#[test]
fn each_refusal_is_told_costs_one_cache_at_most_and_is_made_good_by_the_next_run() {
    if !kit::sees_everything() || !can_refuse() {
        return;
    }
    use Stays::{Everything, Nothing, Something};
    let fault =
        |what, number, errno, name, outcome, stays| Fault { what, number, errno, name, outcome, stays };
    for fault in [
        // Without a slot the cache is claimed beside its place.
        fault("no directory can be made", libc::SYS_mkdirat, Errno::EDQUOT, "", "removed", Nothing),
        fault("no directory can be made", libc::SYS_mkdirat, Errno::ENOSPC, "", "removed", Nothing),
        fault("no directory can be made", libc::SYS_mkdirat, Errno::EROFS, "", "failed", Everything),
        fault("no directory can be made", libc::SYS_mkdirat, Errno::EIO, "", "failed", Everything),
        fault("nothing can be renamed", libc::SYS_renameat2, Errno::EIO, "target", "failed", Everything),
        fault("nothing can be renamed", libc::SYS_renameat2, Errno::EROFS, "target", "failed", Everything),
        fault("nothing can be renamed", libc::SYS_renameat2, Errno::EDQUOT, "target", "removed", Nothing),
        fault("nothing can be renamed", libc::SYS_renameat2, Errno::ENOSPC, "target", "removed", Nothing),
        fault("one file stays", libc::SYS_unlinkat, Errno::EIO, "libwidget-0000", "failed", Something),
        fault("nothing can be removed", libc::SYS_unlinkat, Errno::EIO, "", "failed", Everything),
        fault("nothing can be removed", libc::SYS_unlinkat, Errno::EROFS, "", "failed", Everything),
        // Whether a build holds it cannot be told: that protects.
        fault(
            "a directory cannot be opened",
            libc::SYS_openat2,
            Errno::EIO,
            "incremental",
            "kept",
            Everything,
        ),
    ] {
        let case = format!("{}: {}", fault.what, fault.errno);
        let scene = Scene::on(Fs::Directory);
        let (work, files) = (scene.runner.work.clone(), scene.left());
        let mut claiming = false;
        let (run, refused) = scene.refused(&["sweep", "--json"], fault.errno, move |entry| {
            // From the claim on: what cannot be looked at is no candidate to begin with.
            claiming |= entry.number == libc::SYS_mkdirat && is_the_victims(entry, &work);
            let first =
                (fault.number != libc::SYS_renameat2) || !entry.text(3).starts_with(".disk-guard-trash");
            claiming
                && first
                && entry.number == fault.number
                && is_the_victims(entry, &work)
                && entry.text(1).contains(fault.name)
        });
        assert!(refused > 0, "{case}: it has happened");
        let run = run.expect_code(&[0, 20]);
        let report = run.report();
        assert_eq!(report.outcome(&scene.control), "removed", "{case}: {:#}", report.0);
        assert_eq!(report.outcome(&scene.victim), fault.outcome, "{case}: {:#}", report.0);
        if fault.outcome == "failed" {
            let detail = report.action(&scene.victim)["detail"].to_string();
            let said = std::io::Error::from(fault.errno).to_string();
            assert!(detail.contains(&said), "{case}: {detail} does not say {said}");
        }
        let left = scene.left();
        let stays = match left {
            0 => Stays::Nothing,
            left if left == files => Stays::Everything,
            _ => Stays::Something,
        };
        assert!(stays == fault.stays, "{case}: {left} of {files} files are left");
        scene.recovers(&case);
    }
}

#[test]
fn a_hook_on_a_disk_that_refuses_everything_lets_its_job_begin() {
    if !can_refuse() {
        return;
    }
    for errno in [Errno::EDQUOT, Errno::ENOSPC, Errno::EIO, Errno::EROFS] {
        let scene = Scene::on(Fs::Directory);
        let (work, files) = (scene.runner.work.clone(), scene.left());
        let root = scene.runner.root.to_str().expect("UTF-8");
        let arguments = ["hook", "started", "--runner-root", root];
        let (run, refused) = scene.refused(&arguments, errno, move |entry| {
            let writes = [libc::SYS_mkdirat, libc::SYS_renameat2, libc::SYS_unlinkat, libc::SYS_fchmod];
            writes.contains(&entry.number) && is_the_victims(entry, &work)
        });
        let run = run.expect_code(&[0]);
        assert!(refused > 0, "{errno}: it has happened");
        assert_eq!(scene.left(), files, "{errno}: nothing is lost");
        let said = std::io::Error::from(errno).to_string();
        let said = said.split(" (").next().expect("some text");
        assert!(run.stdout().contains(said), "{errno}: the log tells why: {}", run.stdout());
        scene.recovers(&errno.to_string());
    }
}

#[test]
fn a_disk_that_has_become_read_only_is_told_and_freed_when_it_is_writable_again() {
    if !kit::needs_root("mounts small filesystems") {
        return;
    }
    for fs in [
        Fs::Ext4 { mib: 64, inodes: 1500 },
        Fs::Xfs { mib: 300 },
        Fs::Btrfs { mib: 128 },
        Fs::Tmpfs { mib: 64, inodes: 1500 },
    ] {
        let scene = Scene::on(fs);
        let disk = scene.host.runners();
        let remount = |flags| {
            let flags = MsFlags::MS_REMOUNT | flags;
            mount(None::<&str>, &disk, None::<&str>, flags, None::<&str>).expect("it can be remounted");
        };
        remount(MsFlags::MS_RDONLY);
        let canaries = [Canary::of(&scene.victim), Canary::of(&scene.control)];
        let run = scene.host.guard(&["sweep", "--json"]).expect_code(&[20]);
        for cache in [&scene.victim, &scene.control] {
            assert_eq!(run.report().outcome(cache), "failed", "{fs:?}: {:#}", run.report().0);
            let detail = run.report().action(cache)["detail"].to_string();
            assert!(detail.contains("Read-only file system"), "{fs:?}: {detail}");
        }
        let root = scene.runner.root.to_str().expect("UTF-8");
        let hook = scene.host.guard(&["hook", "started", "--runner-root", root]).expect_code(&[0]);
        assert!(hook.stdout().contains("Read-only"), "{fs:?}: {}", hook.stdout());
        canaries.iter().for_each(Canary::assert_intact);
        remount(MsFlags::empty());
        let sweep = scene.host.sweep();
        assert_eq!(sweep.outcome(&scene.victim), "removed", "{fs:?}: {:#}", sweep.0);
        scene.recovers(&format!("{fs:?}"));
    }
}
