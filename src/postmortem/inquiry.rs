//! The deaths that a person asks about: those in the present logs of runners, and recorded ones.

use super::deaths::{BEFORE, is_of_interest};
use super::keep::{self, Shelf};
use super::observe::{Observer, Subject, logs};
use super::{examine, key};
use crate::config::Config;
use crate::ledger::answer;
use crate::model::ledger::{Judged, Ledger};
use crate::model::postmortem::Report;
use crate::model::{HostFacts, Remark, Runner};
use crate::setup::units::{UnnamedError, named};
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::sys::program::Programs;
use std::path::Path;
use std::time::SystemTime;

/// The question.
pub(crate) struct Question<'a> {
    pub(crate) config: &'a Config,
    pub(crate) proc: &'a Proc,
    /// The host as it is now.
    pub(crate) host: &'a HostFacts,
    /// The runner; all runners if none is named.
    pub(crate) runner: Option<&'a str>,
    /// Since when.
    pub(crate) since: SystemTime,
}

impl Question<'_> {
    /// The deaths, the latest first.
    ///
    /// # Errors
    /// [`UnnamedError`]: no runner has this name, and nothing is left of one that had it.
    pub(crate) fn answer(&self) -> Result<Report, UnnamedError> {
        let &Question { config, proc, host, runner, since } = self;
        let runners: Vec<_> = host.runners.iter().map(|facts| &facts.runner).collect();
        let from = since.checked_sub(BEFORE).unwrap_or(SystemTime::UNIX_EPOCH);
        let ledger = answer::read(&config.paths, from, &answer::owners(runners.iter().copied()));
        let shelf = Shelf::at(&config.paths.state_dir);
        let mut gone = None;
        let wanted: Vec<usize> = match runner.map(|name| (name, named(&runners, name))) {
            None => (0..runners.len()).collect(),
            Some((_, Ok(index))) => vec![index],
            Some((name, Err(reason))) => match formerly(&runners, name) {
                Some(index) => vec![index],
                None => {
                    gone = Some(trace_of(&shelf, &ledger, name).ok_or(reason)?);
                    Vec::new()
                }
            },
        };
        let observer = Observer::new(proc, Programs(&config.paths.programs), host, Some(&ledger), from);
        let mut report = Report {
            since,
            runner: runner.map(str::to_owned),
            jobs: 0,
            runners: wanted.len(),
            cases: Vec::new(),
            notes: gone.into_iter().collect(),
        };
        if runners.is_empty() {
            report.notes.push("no runner was found: nothing was examined".to_owned());
            report.notes.extend(host.remarks.iter().map(Remark::as_note));
        }
        let mut examined = Vec::new();
        for index in wanted {
            let subjects = observer.subjects(index).unwrap_or_else(|error| {
                report.notes.push(format!("{}: its logs cannot be read: {error}", runners[index].name));
                Vec::new()
            });
            let alone = observer.without_worker(index, &subjects);
            let all = subjects.iter().chain(&alone);
            for subject in all.filter(|subject| is_since(&observer, subject, since)) {
                report.jobs += 1;
                if runner.is_none() && !observer.may_be_of_interest(subject) {
                    continue;
                }
                let case = examine(&observer, subject).0;
                if runner.is_some() || is_of_interest(&case) {
                    examined.push(key(&observer, subject));
                    report.cases.push(case);
                }
            }
        }
        remember(&shelf, &mut report, &runners, &examined);
        report.cases.sort_by_key(|case| std::cmp::Reverse(keep::time(case)));
        Ok(report)
    }
}

/// A runner that had this name: an ephemeral one deletes its `.runner` with its name after its one job, and leaves its logs.
fn formerly(runners: &[&Runner], name: &str) -> Option<usize> {
    runners.iter().position(|runner| {
        let root = Dir::open(&runner.root);
        root.is_ok_and(|root| logs::listener::agent_name(&root).as_deref() == Some(name))
    })
}

/// The remains of a runner that is gone with its root: recorded deaths, and its entries in the ledger.
fn trace_of(shelf: &Shelf, ledger: &Ledger, name: &str) -> Option<String> {
    let kept = shelf.load();
    let told = ledger.entries.iter().filter(|judged| judged.trust.is_authentic()).map(Judged::record);
    let last =
        told.filter(|record| record.details.runner.as_deref() == Some(name)).max_by_key(|record| record.time);
    let is_kept = kept.iter().any(|case| case.death.runner == name);
    (is_kept || last.is_some()).then(|| {
        let last =
            last.map(|record| format!("; its last entry in disk-guard's ledger: {}", record.details.message));
        let last = last.unwrap_or_default();
        format!(
            "{name} is no longer a runner of this host: only the records kept about it are available{last}"
        )
    })
}

/// Whether a job ended, or still wrote, since then.
fn is_since(observer: &Observer<'_>, subject: &Subject, since: SystemTime) -> bool {
    let last = || observer.worker_end(subject).ok().and_then(|(log, _)| log.last?.at);
    subject.lives || subject.begun >= since || last().is_some_and(|last| last >= since)
}

/// Merges recorded cases with present ones: a verdict from when the evidence existed counts for more than one without it, and of removed
/// runners nothing else is left.
fn remember(shelf: &Shelf, report: &mut Report, runners: &[&Runner], examined: &[keep::Key]) {
    for kept in shelf.load() {
        // By the name that it had then, or by its root: a removed runner has no other.
        let is_asked = report.runner.as_ref().is_none_or(|name| {
            let is_called = |runner: &&Runner| {
                runner.name == *name || runner.own_name() == *name || runner.root.as_os_str() == name.as_str()
            };
            let is_root = |root: &Path| kept.death.root == root;
            match runners.iter().filter(|runner| is_called(runner)).count() {
                0 => kept.death.runner == *name || is_root(Path::new(name)),
                _ => runners.iter().any(|runner| is_called(runner) && is_root(&runner.root)),
            }
        });
        if !is_asked || keep::time(&kept) < report.since {
            continue;
        }
        let own = kept.death.worker_log.as_ref().map(|log| keep::Key::new(&kept.death.root, log.as_bytes()));
        let found = own.and_then(|own| examined.iter().position(|key| *key == own));
        match found.map(|index| &mut report.cases[index]) {
            Some(case)
                if case.verdict.confidence < kept.verdict.confidence || case.death.repository.is_none() =>
            {
                *case = kept;
            }
            Some(_) => {}
            None => report.cases.push(kept),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]
mod tests {
    use super::*;
    use crate::clock::now;
    use crate::observe::snapshot::Snapshot;
    use crate::postmortem::keep::tests::case_of;
    use crate::postmortem::keep::{Key, Raw};
    use std::fs;
    use std::time::Duration;

    /// A runner without `.runner`, as an ephemeral one leaves its root, and one recorded death of a removed runner.
    fn scene() -> (tempfile::TempDir, Config) {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        let diag = base.join("ephemeral/_diag");
        fs::create_dir_all(&diag).unwrap();
        fs::create_dir_all(base.join("ephemeral/_work")).unwrap();
        fs::create_dir_all(base.join("ephemeral/bin")).unwrap();
        fs::write(base.join("ephemeral/bin/Runner.Listener"), "").unwrap();
        let log = "[2026-01-02 03:04:05Z INFO Listener] Settings\n  \"AgentName\": \"ephemeral-7\",\n";
        fs::write(diag.join("Runner_20260102-030405-utc.log"), log).unwrap();
        let config = Config::parse(&format!(
            "[runners]\nroots = [\"{0}/ephemeral\"]\n[paths]\nrun_dir = \"{0}/run\"\nstate_dir = \"{0}/state\"\n\
             programs = [\"{0}/none\"]\n",
            base.display()
        ));
        let case = case_of("gone", "/srv/gone", now());
        let shelf = Shelf::at(&base.join("state"));
        shelf.keep(&Key::new(Path::new("/srv/gone"), b"log"), &case, &Raw::default()).unwrap();
        (temp, config.unwrap())
    }

    fn ask(config: &Config, runner: Option<&str>, since: SystemTime) -> Result<Report, UnnamedError> {
        let proc = Proc::new(&config.paths.proc);
        let host = &crate::overview::alive(&Snapshot::take(config, &proc, now())).facts;
        Question { config, proc: &proc, host, runner, since }.answer()
    }

    #[test]
    fn a_removed_runner_is_answered_from_kept_records_and_an_unknown_name_is_refused() {
        let (_temp, config) = scene();
        let since = now() - Duration::from_secs(3600);
        let report = ask(&config, Some("gone"), since).unwrap();
        assert_eq!((report.cases.len(), report.runners), (1, 0));
        assert!(report.cases[0].kept && report.notes[0].contains("is no longer a runner of this host"));
        let later = ask(&config, Some("gone"), now() + Duration::from_secs(60)).unwrap();
        assert_eq!(later.cases, [], "it died before");
        let unknown = ask(&config, Some("nobody"), since).unwrap_err();
        assert!(unknown.to_string().contains("there is no runner `nobody`"), "{unknown}");
        assert_eq!(
            ask(&config, None, since).unwrap().cases.len(),
            1,
            "of all runners, and of those that were"
        );
    }

    #[test]
    fn an_ephemeral_runner_is_found_by_the_name_in_its_log() {
        let (_temp, config) = scene();
        let report = ask(&config, Some("ephemeral-7"), now() - Duration::from_secs(3600)).unwrap();
        assert_eq!((report.runners, report.jobs), (1, 0));
        assert_eq!(report.notes, Vec::<String>::new(), "its root is there");
    }
}
