//! Two runners with a cache each, and a guard that is refused what a test picks.

use crate::kit::{Call, Canary, Entry, Fs, Host, MIB, Run, Runner, calls_of};
use nix::errno::Errno;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) struct Scene {
    pub(crate) host: Host,
    pub(crate) runner: Runner,
    /// Sorted by the repository's name, which the faults go by.
    pub(crate) victim: PathBuf,
    pub(crate) control: PathBuf,
    pub(crate) checkouts: [Canary; 2],
}

impl Scene {
    pub(crate) fn on(fs: Fs) -> Self {
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
    pub(crate) fn refused(
        &self,
        arguments: &[&str],
        errno: Errno,
        refused: impl FnMut(&Entry) -> bool + Send + 'static,
    ) -> (Run, usize) {
        self.refused_call(&self.host.call(arguments), errno, refused)
    }

    /// The same for any call that runs the guard.
    pub(crate) fn refused_call(
        &self,
        call: &Call,
        errno: Errno,
        mut refused: impl FnMut(&Entry) -> bool + Send + 'static,
    ) -> (Run, usize) {
        let (run, calls) = calls_of(call, &self.host.program(), move |entry| {
            let refuse = refused(entry);
            if refuse {
                entry.fail(errno);
            }
            refuse
        });
        (run, calls.into_iter().filter(|refused| *refused).count())
    }

    /// The files of the victim that are left, in its place or in trash.
    pub(crate) fn left(&self) -> usize {
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
    pub(crate) fn recovers(&self, case: &str) {
        let sweep = self.host.sweep();
        assert_eq!(self.left(), 0, "{case}: the next run finishes: {:#}", sweep.0);
        assert_eq!(self.host.status().0["trash_bytes"], 0, "{case}");
        self.checkouts.iter().for_each(Canary::assert_intact);
    }
}

/// Whether the call is about something of the victim's runner.
pub(crate) fn is_the_victims(entry: &Entry, work: &Path) -> bool {
    entry.file(0).starts_with(work)
}
