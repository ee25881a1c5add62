//! Sets a host up and undoes that: connects every discovered runner to the hooks or removes them, does the same for the users' group
//! and the guard's units, and reports what has to be restarted.
//!
//! Everything is observed and decided before anything is changed.

mod recorded;
#[cfg(test)]
mod tests;

use crate::config::Config;
use crate::cycle::Preview;
use crate::model::{
    CommandOutcome, Execution, ListenerSeen, Liveness, Runner, SetupChange, SetupCommand, SetupOutcome,
    SetupReport, SetupRunner, Uid,
};
use crate::policy::liveness;
use crate::setup::group::{self, Membership};
use crate::setup::install::{self, Listening, PreparedEdit, Refusal, Unrecorded, Verb};
use crate::setup::state::{StateDir, StateError};
use crate::setup::units::{BOUNDS, OURS, Systemd, SystemdError};
use crate::setup::wiring::Scripts;
use crate::sys::process::Proc;
use crate::sys::program::Programs;
use crate::text::escape;
use recorded::Recorded;
use std::collections::BTreeSet;
use std::time::Duration;

/// The grain of file times and of process start times.
const GRAIN: Duration = Duration::from_millis(10);

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Install => "install",
        Verb::Uninstall => "uninstall",
    }
}

/// What a person asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstallOptions {
    /// What to do.
    pub(crate) verb: Verb,
    /// Whether anything is touched.
    pub(crate) execution: Execution,
    /// Whom it concerns.
    pub(crate) reach: RunnerSelection,
    /// Whether users join the group.
    pub(crate) group: SetupPart,
    /// Whether Listeners of idle runners are restarted.
    pub(crate) restart_idle: SetupPart,
}

/// Which runners are dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunnerSelection {
    /// All that the configuration's globs find, and all that is written down.
    All,
    /// What is written down, whatever the globs find; the package's own removal.
    Recorded,
}

/// Whether a part is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetupPart {
    /// It is.
    Done,
    /// It is left out.
    Left,
}

struct Setup<'a> {
    config: &'a Config,
    proc: &'a Proc,
    /// Who lives, now, by such a configuration.
    look: &'a dyn Fn(&Config) -> Preview,
    options: InstallOptions,
    programs: Programs<'a>,
    is_root: bool,
    report: SetupReport,
    /// Why the package's scripts do not learn what still names the hooks.
    unwritten: Option<StateError>,
}

/// Does what is asked for, or shows what it would do. Also returns why the package's scripts cannot be told what still names the
/// hooks, if that is so.
pub(crate) fn run(
    config: &Config,
    proc: &Proc,
    look: &dyn Fn(&Config) -> Preview,
    scripts: &Scripts,
    options: InstallOptions,
) -> (SetupReport, Option<StateError>) {
    let state = StateDir::at(&config.paths.state_dir);
    let recorded = match options.verb {
        Verb::Install => Recorded::default(),
        Verb::Uninstall => Recorded::read(config, proc, &state),
    };
    let config = &recorded.widen(config);
    let mut setup = Setup {
        config,
        proc,
        look,
        options,
        programs: Programs(&config.paths.programs),
        is_root: crate::sys::process::is_root(),
        report: SetupReport {
            verb: verb_name(options.verb),
            dry_run: options.execution.is_dry_run(),
            is_last: options.reach == RunnerSelection::Recorded,
            ..SetupReport::default()
        },
        unwritten: None,
    };
    setup.all(scripts, &state, &recorded);
    (setup.report, setup.unwritten)
}

/// A runner whose Listener does not know the change yet.
struct StaleListener {
    runner: Runner,
    pid: crate::model::Pid,
}

impl Setup<'_> {
    fn is_recorded_only(&self) -> bool {
        self.options.reach == RunnerSelection::Recorded
    }

    fn all(&mut self, ours: &Scripts, state: &StateDir, recorded: &Recorded) {
        let alive = (self.look)(self.config);
        if !self.is_recorded_only() {
            self.report.notes.extend(alive.facts.notes.iter().cloned());
        }
        if !self.is_root {
            self.report.notes.push(
                "not root: only your own runners are wired; the group and the units are left to root".into(),
            );
        }
        let found = alive.facts.runners.iter().map(|facts| &facts.runner);
        let runners: Vec<&Runner> = found
            .filter(|runner| !self.is_recorded_only() || recorded.is_wired(&runner.root))
            .chain(&recorded.bare)
            .collect();
        let unrecorded = if self.is_recorded_only() { Unrecorded::Keep } else { Unrecorded::Remove };
        let looked: Vec<_> = runners
            .iter()
            .map(|runner| install::prepare(self.options.verb, runner, ours, state, unrecorded))
            .collect();
        let joins = self.group(runners.iter().zip(&looked));
        let mut stale = Vec::new();
        for (runner, prepared) in runners.iter().zip(looked) {
            let is_its =
                |seen: &&ListenerSeen| alive.facts.runners[seen.runner].runner.root_id == runner.root_id;
            let listener = alive.facts.processes.listeners.iter().find(is_its);
            let listening = if listener.is_some() { Listening::Now } else { Listening::No };
            let done = self.one(runner, prepared, state, listening);
            if let (Some(listener), Some((prepared, changed))) = (listener, done) {
                let late = prepared
                    .env_written()
                    .is_some_and(|at| !listener.is_ordered || at > listener.started + GRAIN);
                if changed || late || self.has_old_groups(runner, listener) || joins.contains(&runner.owner) {
                    stale.push(StaleListener { runner: (*runner).clone(), pid: listener.process.pid });
                }
            }
        }
        recorded.settle(self, state);
        self.units(&stale);
        if self.is_recorded_only() {
            recorded.bring_back(self, &alive.facts, state);
            recorded.note_what_still_names(self, &alive.facts, state);
        }
    }

    /// Whether a Listener was started before its user joined the group.
    fn has_old_groups(&self, runner: &Runner, listener: &ListenerSeen) -> bool {
        self.options.verb == Verb::Install
            && self.options.group == SetupPart::Done
            && group::membership(runner.owner) == Membership::Member
            && group::is_in_force(self.proc, listener.process.pid) == Some(false)
    }

    /// Wires one, unless this is a dry run. Whether its `.env` changes, when it was not refused.
    fn one(
        &mut self,
        runner: &Runner,
        prepared: Result<PreparedEdit, Refusal>,
        state: &StateDir,
        listening: Listening,
    ) -> Option<(PreparedEdit, bool)> {
        let mut entry = SetupRunner {
            name: runner.name.clone(),
            root: runner.root.clone(),
            outcome: SetupOutcome::Unchanged,
            changes: Vec::new(),
            chains: Vec::new(),
            notes: Vec::new(),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => {
                entry.outcome = match refusal {
                    Refusal::NotOurs(owner) => SetupOutcome::NotOurs(format!("it belongs to uid {owner}")),
                    Refusal::Blocked(why) => SetupOutcome::Blocked(why),
                };
                self.report.runners.push(entry);
                return None;
            }
        };
        let edit = &prepared.edit;
        let changes = edit.content.is_some();
        entry.changes = edit
            .changes
            .iter()
            .map(|change| SetupChange {
                line: change.line,
                removed: change.removed.clone(),
                added: change.added.clone(),
            })
            .collect();
        entry.chains = edit.chains.iter().map(|(path, _)| path.clone()).collect();
        entry.notes.clone_from(&edit.notes);
        entry.outcome = match (self.options.execution.is_dry_run(), changes) {
            (true, true) => SetupOutcome::Planned,
            (true, false) => SetupOutcome::Unchanged,
            (false, _) => match install::apply(self.options.verb, runner, &prepared, state, listening) {
                Ok(()) if changes => SetupOutcome::Changed,
                Ok(()) => SetupOutcome::Unchanged,
                Err(error) => SetupOutcome::Failed(error.to_string()),
            },
        };
        let failed = matches!(entry.outcome, SetupOutcome::Failed(_));
        self.report.runners.push(entry);
        (!failed).then_some((prepared, changes))
    }

    /// The users of the runners that are wired join the group. Returns those that do.
    fn group<'r>(
        &mut self,
        runners: impl Iterator<Item = (&'r &'r Runner, &'r Result<PreparedEdit, Refusal>)>,
    ) -> BTreeSet<Uid> {
        let mut joins = BTreeSet::new();
        if self.options.verb == Verb::Uninstall || self.options.group == SetupPart::Left || !self.is_root {
            return joins;
        }
        let owners: BTreeSet<Uid> =
            runners.filter(|(_, prepared)| prepared.is_ok()).map(|(runner, _)| runner.owner).collect();
        let mut group_is_there = group::exists();
        for owner in owners {
            match group::membership(owner) {
                Membership::NotNeeded | Membership::Member => {}
                Membership::Unknown(why) => self.report.notes.push(format!("group {}: {why}", group::NAME)),
                Membership::Missing(user) => {
                    if !group_is_there {
                        self.command(group::make_command(), "the group that runners share the lock through");
                        group_is_there = true;
                    }
                    let words = group::add_command(self.programs, &user);
                    self.command(words, "lets this user's runners use the lock and leave leases");
                    joins.insert(owner);
                }
            }
        }
        joins
    }

    /// systemctl, when systemd runs this host.
    fn systemd(&self) -> Result<Systemd<'_>, SystemdError> {
        Systemd::find(self.programs)
    }

    fn units(&mut self, stale: &[StaleListener]) {
        let systemd = Systemd::find(self.programs);
        match &systemd {
            // A package's scripts deal with its units.
            Ok(systemd) if self.is_root && !self.is_recorded_only() => {
                let (there, absent): (Vec<&str>, Vec<&str>) =
                    OURS.into_iter().partition(|unit| systemd.knows(unit));
                if !there.is_empty() {
                    let verb = if self.options.verb == Verb::Install { "enable" } else { "disable" };
                    let words = [&["systemctl", verb, "--now"], there.as_slice()].concat();
                    let why = "the timer's sweep, and sweeps that hooks ask for";
                    self.command(words.into_iter().map(str::to_owned).collect(), why);
                }
                if !absent.is_empty() && self.options.verb == Verb::Install {
                    self.report.notes.push(format!(
                        "{}: no such unit; install the package's units, or run `disk-guard sweep` from cron",
                        absent.join(", ")
                    ));
                }
            }
            Ok(_) => {}
            Err(why) if self.options.verb == Verb::Install => self.report.notes.push(format!(
                "{why}: no timer is armed; run `disk-guard sweep` as root every fifteen minutes"
            )),
            Err(_) => {}
        }
        for stale in stale {
            let unit = systemd
                .as_ref()
                .map_err(ToString::to_string)
                .and_then(|systemd| systemd.unit_of(&stale.runner).map_err(|error| error.to_string()));
            let name = escape::text(&stale.runner.name).into_owned();
            match unit {
                Ok(unit) => self.restart(&stale.runner, &name, unit.name),
                Err(why) => self.report.notes.push(format!(
                    "{name}: restart its Listener (pid {}) by hand when it is idle, for it reads `.env` only when it starts ({why})",
                    stale.pid
                )),
            }
        }
    }

    /// Restarts a Listener if that was asked for and its runner is idle at this moment; else a person does.
    fn restart(&mut self, runner: &Runner, name: &str, unit: String) {
        let words: Vec<String> = vec!["systemctl".into(), "restart".into(), unit];
        let why = format!("{name}: its Listener reads `.env` only when it starts");
        let mut state = None;
        if self.options.restart_idle == SetupPart::Done {
            let alive = (self.look)(self.config);
            let found = alive.facts.runners.iter().position(|seen| seen.runner.root_id == runner.root_id);
            state = found.map(|index| liveness::judge(&alive.evidence[index]));
        }
        match state {
            Some(Liveness::Idle) => drop(self.command(words, &why)),
            Some(state) => self.for_you(words, format!("{why}; it is {} now", state.as_str())),
            None => self.for_you(words, why),
        }
    }

    fn for_you(&mut self, words: Vec<String>, why: String) {
        self.report.commands.push(SetupCommand { words, why, outcome: CommandOutcome::ForYou });
    }

    /// Runs a command, or says that it would be run. Whether nothing went wrong.
    fn command(&mut self, words: Vec<String>, why: &str) -> bool {
        let outcome = if self.options.execution.is_dry_run() {
            CommandOutcome::Planned
        } else {
            let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            match self.programs.text(&words[0], &arguments, BOUNDS) {
                Ok(_) => CommandOutcome::Done,
                Err(error) => CommandOutcome::Failed(error.to_string()),
            }
        };
        let went_well = !matches!(outcome, CommandOutcome::Failed(_));
        self.report.commands.push(SetupCommand { words, why: why.to_owned(), outcome });
        went_well
    }
}
