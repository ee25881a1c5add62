//! Deaths of jobs that a sweep examines by itself.

use super::keep::{Saved, Shelf};
use super::observe::{Observer, Subject};
use super::{examine, key};
use crate::config::Config;
use crate::lease;
use crate::ledger::answer;
use crate::model::postmortem::{Case, Cause, Ended};
use crate::model::{HostFacts, Job, LeaseState};
use crate::observe::processes;
use crate::report::events::{Event, EventKind};
use crate::run_dir::RunDir;
use crate::sys::process::Proc;
use crate::sys::program::Programs;
use crate::text::escape;
use std::time::{Duration, SystemTime};

/// The ledger and the kernel's messages are read from this much before the time in question: a job began earlier than it died.
pub(super) const BEFORE: Duration = Duration::from_secs(3600);

/// The maximum of deaths that one sweep examines. The rest of a flood of leases is left to the next.
const MAX_A_SWEEP: usize = 16;

/// A death before this boot is reported by the first sweep after it, not by one a week later.
const BEFORE_BOOT: Duration = Duration::from_secs(24 * 3600);

/// An event's evidence is cut here.
const MAX_EVIDENCE: usize = 2000;

/// All except jobs that still run, that ended well or failed by themselves, and that were cancelled and stopped.
pub(super) fn is_of_interest(case: &Case) -> bool {
    case.verdict.ended == Ended::Abruptly
        || !matches!(case.verdict.cause, Cause::CleanEnd | Cause::Cancelled | Cause::Running)
}

/// A sweep's question: which jobs have died since the last one.
pub(crate) struct Deaths<'a> {
    pub(crate) config: &'a Config,
    pub(crate) proc: &'a Proc,
    pub(crate) run: &'a RunDir,
    /// The present host; asked only if there is something to examine.
    pub(crate) look: &'a dyn Fn() -> HostFacts,
    /// The wall clock now.
    pub(crate) now: SystemTime,
}

impl Deaths<'_> {
    /// Examines leases whose Worker ended without `Job completed.`, and jobs that a reboot has cut off, and reports the new ones. It fails
    /// no sweep: its own error is a warning.
    pub(crate) fn report(&self, tell: &mut dyn FnMut(Event)) {
        let attempt = std::panic::AssertUnwindSafe(|| self.look_into(tell));
        if std::panic::catch_unwind(attempt).is_err() {
            let text = "a post-mortem failed with an internal error; the sweep continues. Please report it";
            tell(Event::new(EventKind::Error, text));
        }
    }

    fn look_into(&self, tell: &mut dyn FnMut(Event)) {
        let shelf = Shelf::at(&self.config.paths.state_dir);
        let Some(from) = self.earliest(&shelf) else { return };
        let host = &(self.look)();
        let programs = Programs(&self.config.paths.programs);
        let quick = Observer::new(self.proc, programs, host, None, from);
        let mut dead = Vec::new();
        for index in 0..host.runners.len() {
            // An unreadable log proves no death.
            let subjects = quick.subjects(index).unwrap_or_default();
            let fresh = subjects.into_iter().enumerate().filter(|(place, subject)| {
                !subject.lives
                    && (subject.lease.is_some() || (*place == 0 && is_cut_off_by_boot(&quick, subject)))
                    && quick.may_be_of_interest(subject)
                    && !shelf.knows(&key(&quick, subject))
            });
            dead.extend(fresh.map(|(_, subject)| subject));
        }
        let boot_id = self.proc.boot_id().unwrap_or_default();
        if !shelf.knows_boot(&boot_id) {
            // If this cannot be recorded the next sweep looks again.
            let _ = shelf.note_boot(&boot_id);
        }
        if dead.is_empty() {
            return;
        }
        dead.truncate(MAX_A_SWEEP);
        let owners = answer::owners(host.runners.iter().map(|facts| &facts.runner));
        let ledger = answer::read(&self.config.paths, from, &owners);
        let observer = Observer::new(self.proc, programs, host, Some(&ledger), from);
        for subject in &dead {
            let (case, raw) = examine(&observer, subject);
            if is_of_interest(&case) {
                let kept = shelf.keep(&key(&observer, subject), &case, &raw);
                // A lease is removed by this sweep, so a death that cannot be recorded is reported once all the same; a log is kept.
                if matches!(kept, Ok(Saved::New)) || (kept.is_err() && subject.lease.is_some()) {
                    tell(event(&observer, subject, &case));
                }
            }
        }
    }

    /// From when on logs are to be read; none when there is nothing to examine, as on most sweeps.
    fn earliest(&self, shelf: &Shelf) -> Option<SystemTime> {
        let view = lease::LeaseView { proc: self.proc, sees_all: processes::sees_all, now: self.now };
        let leases = lease::read_all(self.run, view).unwrap_or_default();
        let dead = leases.iter().filter(|seen| seen.state == LeaseState::Dead);
        let of_leases = dead.filter_map(|seen| Some(seen.lease.as_ref()?.since)).min();
        let is_new_boot = self.proc.boot_id().is_ok_and(|boot_id| !shelf.knows_boot(&boot_id));
        let of_boot = is_new_boot.then(|| self.now.checked_sub(2 * BEFORE_BOOT)).flatten();
        // A forged lease may have any date.
        let oldest = self.now.checked_sub(7 * BEFORE_BOOT)?;
        let from = [of_leases, of_boot].into_iter().flatten().min()?;
        Some(from.max(oldest).checked_sub(BEFORE).unwrap_or(oldest))
    }
}

/// Whether the Worker's last line is older than this boot, but not by much.
fn is_cut_off_by_boot(observer: &Observer<'_>, subject: &Subject) -> bool {
    let Some(booted) = observer.booted() else { return false };
    let last = observer.worker_end(subject).ok().and_then(|(log, _)| log.last?.at);
    last.is_some_and(|last| last < booted && last + BEFORE_BOOT > booted)
}

fn event(observer: &Observer<'_>, subject: &Subject, case: &Case) -> Event {
    let (death, verdict) = (&case.death, &case.verdict);
    let text = format!(
        "{}: {} ({})",
        escape::text(&death.runner),
        escape::text(&verdict.summary),
        verdict.confidence.as_str()
    );
    let told = |text: &Option<String>| text.clone().unwrap_or_default();
    let job = Job { repository: told(&death.repository), run_id: told(&death.run_id), job: told(&death.job) };
    let mut evidence = String::new();
    for proof in &verdict.evidence {
        let piece = format!("{}: {}; ", proof.source, proof.text);
        if evidence.len() + piece.len() > MAX_EVIDENCE {
            break;
        }
        evidence.push_str(&piece);
    }
    Event::new(EventKind::Postmortem, text)
        .runner(observer.runner(subject))
        .job(&job)
        .reason(verdict.cause.as_str())
        .summary(evidence.trim_end_matches("; ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    struct Scene {
        _temp: tempfile::TempDir,
        config: Config,
        run: RunDir,
        proc: Proc,
    }

    impl Scene {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let text = format!("[paths]\nstate_dir = \"{}/state\"\n", temp.path().display());
            let config = Config::parse(&text).unwrap();
            let run = RunDir::open(&temp.path().join("run")).unwrap();
            Self { _temp: temp, config, run, proc: Proc::new(Path::new("/proc")) }
        }

        fn deaths<'a>(&'a self, look: &'a dyn Fn() -> HostFacts) -> Deaths<'a> {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
            Deaths { config: &self.config, proc: &self.proc, run: &self.run, look, now }
        }
    }

    #[test]
    fn a_calm_host_is_not_looked_at_and_a_new_boot_is_looked_into_once() {
        let scene = Scene::new();
        let look = || -> HostFacts { panic!("nobody was to be looked at") };
        let deaths = scene.deaths(&look);
        let shelf = Shelf::at(&scene.config.paths.state_dir);
        let from = deaths.earliest(&shelf).expect("this boot is new");
        assert_eq!(from, deaths.now - 2 * BEFORE_BOOT - BEFORE);
        shelf.note_boot(&scene.proc.boot_id().unwrap()).unwrap();
        assert_eq!(deaths.earliest(&shelf), None);
        let mut told = 0;
        deaths.report(&mut |_| told += 1);
        assert_eq!(told, 0, "nothing was looked at");
    }

    #[test]
    fn a_fault_of_its_own_is_a_warning() {
        let scene = Scene::new();
        let look = || -> HostFacts { panic!("it fails") };
        let mut told = Vec::new();
        scene.deaths(&look).report(&mut |event| told.push(event.kind()));
        assert!(matches!(told[..], [EventKind::Error]), "{told:?}");
    }
}
