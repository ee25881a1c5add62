//! Undoes what is recorded: the runners that `install` has wired and those that are out of service, wherever they are by now.
//!
//! The package's removal runs `uninstall --recorded`. Some Listeners and `.env` files still name the hooks after it, because a Listener
//! reads `.env` only when it starts, and a job whose hook is missing fails. So those are recorded, one line each, and the package
//! leaves the hook scripts in place while one of them may be run:
//!
//! ```text
//! PID START     a Listener, with the 22nd field of its /proc/PID/stat
//! env           a `.env` that still names them
//! ```

use super::Setup;
use crate::actions_runner::layout;
use crate::config::Config;
use crate::model::{HostFacts, ListenerSeen, PathGlob, Runner, SetupOutcome, SetupRunner, Work};
use crate::observe::filesystems::MountTable;
use crate::observe::{hook_script, runners};
use crate::setup::drain::{By, Drained};
use crate::setup::install;
use crate::setup::state::{RecordKind, StateDir};
use crate::setup::wiring::WiringRecord;
use crate::sys::dir::Dir;
use crate::sys::process::Proc;
use crate::sys::reach;
use crate::text::escape;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A Listener that started up to this long after a change of its `.env` counts as having read the file before the change.
const SLACK: Duration = Duration::from_secs(2);

/// What is recorded about runners.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The roots of all that were wired.
    wired: BTreeSet<PathBuf>,
    /// The roots among them at which there still is a runner; the configuration's globs need not find it.
    there: Vec<PathBuf>,
    /// Directories that hold no runner any more. Their `.env` would apply to the next runner there.
    pub(super) bare: Vec<Runner>,
    /// Roots whose directory does not exist any more.
    gone: Vec<PathBuf>,
    /// What cannot be undone: root or record, and why.
    stuck: Vec<(PathBuf, String)>,
}

impl Recorded {
    /// Reads the records and examines what they name. A directory that does not answer is left alone.
    pub(super) fn read(config: &Config, proc: &Proc, state: &StateDir) -> Self {
        reach::watch();
        let mut recorded = Self::default();
        let records = match state.load_each::<WiringRecord>(RecordKind::Wired) {
            Ok(records) => records,
            Err(error) => {
                recorded.stuck.push((config.paths.state_dir.clone(), error.to_string()));
                return recorded;
            }
        };
        let mounts = MountTable::read(proc);
        for record in records {
            match record {
                Ok(record) => recorded.look(PathBuf::from(record.root), &mounts),
                Err(error) => {
                    recorded.stuck.push((config.paths.state_dir.join("wired"), error.to_string()));
                }
            }
        }
        recorded
    }

    fn look(&mut self, root: PathBuf, mounts: &MountTable) {
        match runners::examine(&root, mounts) {
            Ok(Some(runner)) if runner.root == root => self.there.push(root.clone()),
            Ok(Some(runner)) => self.stuck.push((root.clone(), leads_elsewhere(&runner.root))),
            Ok(None) => match bare(&root) {
                Ok(runner) => self.bare.push(runner),
                Err(why) => self.stuck.push((root.clone(), why)),
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.gone.push(root.clone());
            }
            Err(error) => self.stuck.push((root.clone(), format!("it cannot be examined: {error}"))),
        }
        self.wired.insert(root);
    }

    /// The configuration, with the roots of wired runners added.
    pub(super) fn widen(&self, config: &Config) -> Config {
        let mut config = config.clone();
        config.runners.roots.extend(self.there.iter().map(|root| PathGlob::literal(root)));
        config
    }

    /// Whether `install` has wired the runner at `root`.
    pub(super) fn is_wired(&self, root: &Path) -> bool {
        self.wired.contains(root)
    }

    /// Reports what does not exist any more and what cannot be undone, and removes the records of the former.
    pub(super) fn settle(&self, setup: &mut Setup<'_>, state: &StateDir) {
        for root in &self.gone {
            let forgotten = match setup.options.execution.is_dry_run() {
                true => Ok(()),
                false => state.forget(RecordKind::Wired, root).and_then(|()| state.remove_chains(root)),
            };
            let outcome = match forgotten {
                Ok(()) => SetupOutcome::Unchanged,
                Err(error) => SetupOutcome::Failed(error.to_string()),
            };
            let note = "its directory is gone: there is nothing to restore, and its record is removed";
            setup.report.runners.push(entry(root, outcome, Some(note.into())));
        }
        for (root, why) in &self.stuck {
            setup.report.runners.push(entry(root, SetupOutcome::Blocked(why.clone()), None));
        }
    }

    /// Starts the runners that a sweep has taken out of service, and reports those that a person has: nothing would bring them back.
    pub(super) fn bring_back(&self, setup: &mut Setup<'_>, facts: &HostFacts, state: &StateDir) {
        let drained = match state.load_each::<Drained>(RecordKind::Drained) {
            Ok(drained) => drained,
            Err(error) => return setup.report.notes.push(error.to_string()),
        };
        for record in drained {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    setup.report.notes.push(format!("a drained runner is not brought back: {error}"));
                    continue;
                }
            };
            let root = Path::new(&record.root);
            let name = escape::text(&record.name).into_owned();
            let runner = facts.runners.iter().map(|facts| &facts.runner).find(|runner| runner.root == root);
            let unit = match (runner, setup.systemd()) {
                (Some(runner), Ok(systemd)) => systemd.unit_of(runner).map_err(|error| error.to_string()),
                (Some(_), Err(why)) => Err(why.to_string()),
                (None, _) => Err(format!("no runner is found at {}", escape::path(root))),
            };
            let mut comes_back = true;
            match unit {
                Ok(unit) if unit.is_active && !unit.is_stopping => setup.report.notes.push(format!(
                    "{name} was to be drained after its job: it remains in service, its unit {} runs",
                    unit.name
                )),
                Ok(unit) => {
                    let words = vec!["systemctl".to_owned(), "start".into(), unit.name];
                    match record.by {
                        By::Auto => {
                            comes_back = setup.command(words, &format!("{name}: a sweep had taken it out of service"));
                        }
                        By::Hand => setup.for_you(
                            words,
                            format!("{name}: it was taken out of service by `disk-guard drain` and remains so until then"),
                        ),
                    }
                }
                Err(why) => setup
                    .report
                    .notes
                    .push(format!("{name} is out of service and is not started ({why}): start it by hand")),
            }
            if comes_back
                && !setup.options.execution.is_dry_run()
                && let Err(error) = state.forget(RecordKind::Drained, root)
            {
                setup.report.notes.push(error.to_string());
            }
        }
    }

    /// Reports what still names the hooks, and records it for the package's scripts.
    pub(super) fn note_what_still_names(&self, setup: &mut Setup<'_>, facts: &HostFacts, state: &StateDir) {
        let mut lines: Vec<String> = self.stuck.iter().map(|_| "env\n".to_owned()).collect();
        for (index, seen) in facts.runners.iter().enumerate() {
            let runner = &seen.runner;
            match install::named(runner) {
                Ok(hooks) if hooks.iter().any(|(variable, hook)| hook_script::is_ours(*variable, hook)) => {
                    lines.push("env\n".into());
                    let name = escape::text(&runner.name);
                    let env = runner.root.join(layout::ENV);
                    setup.report.notes.push(format!(
                        "{name}: {} names our hooks, and not by our record: it is left as it is. Take those lines out and restart \
                         its Listener",
                        escape::path(&env)
                    ));
                }
                Ok(_) => {}
                // Whether it names them is not known.
                Err(_) => lines.push("env\n".into()),
            }
            let listeners = facts.processes.listeners.iter().filter(|listener| listener.runner == index);
            lines.extend(listeners.filter(|listener| may_know(runner, listener)).map(|l| line(l.process)));
        }
        let strangers = &facts.processes.strangers;
        lines.extend(
            strangers.iter().filter(|stranger| stranger.program == layout::LISTENER).map(|s| line(s.process)),
        );
        lines.sort();
        lines.dedup();
        if setup.options.execution.is_dry_run() {
            return;
        }
        if let Err(error) = state.write_file("removal", "still-named", lines.concat().as_bytes()) {
            setup.unwritten = Some(error);
            setup
                .report
                .notes
                .push("the files that still name the hooks cannot be recorded: keep the hooks".into());
        }
    }
}

fn line(process: crate::model::ProcessId) -> String {
    format!("{} {}\n", process.pid, process.start.0)
}

/// Whether a Listener may have read a `.env` that named our hooks: it was started before that was last changed.
fn may_know(runner: &Runner, listener: &ListenerSeen) -> bool {
    let settled = install::env_settled(runner);
    !listener.is_ordered || settled.is_none_or(|at| at + SLACK >= listener.started)
}

fn leads_elsewhere(root: &Path) -> String {
    format!("a link leads to {} by now: take our hooks out of its `.env` by hand", root.display())
}

/// A directory that held a runner: its `.env` is restored, too.
fn bare(root: &Path) -> Result<Runner, String> {
    let (dir, found) = Dir::resolve(root).map_err(|error| format!("it cannot be opened: {error}"))?;
    if found != root {
        return Err(leads_elsewhere(&found));
    }
    let status = dir.status().map_err(|error| format!("it cannot be examined: {error}"))?;
    Ok(Runner {
        name: name_of(root),
        root: root.to_owned(),
        root_id: status.id,
        owner: status.owner,
        work: Work::Absent { path: root.join(layout::WORK) },
    })
}

fn name_of(root: &Path) -> String {
    root.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn entry(root: &Path, outcome: SetupOutcome, note: Option<String>) -> SetupRunner {
    SetupRunner {
        name: name_of(root),
        root: root.to_owned(),
        outcome,
        changes: Vec::new(),
        chains: Vec::new(),
        notes: note.into_iter().collect(),
    }
}
